/*
 * Memory under pressure: a coded chunk loses a plane, if its owner allows it, before any chunk is evicted; what a lease holds, or somebody reads, loses none. What is left of it is a
 * chunk.
 */
#include "cut_testing.h"

#define BATCH 64u /* chunks that are looked at in one hold of the store's lock */

static void planes_go_before_chunks(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct kvi_chunk_table table;
  struct kvi_store_stats stats;
  struct coding_store c;
  uint32_t full, n = 0;
  uint8_t *whole;

  (void)state;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  put_coded(&c, n++);
  whole = payload_of(&c, 0, &table);
  while (store_stats_of(c.store).cut_chunks == 0)
    put_coded(&c, n++);
  full = n;
  assert_int_equal(loss_of(&c, 0), LOSS(ALL_PLANES - 1));
  assert_int_equal(loss_of(&c, n - 1), LOSS(ALL_PLANES));
  check_rest(&c, 0, whole);
  while (store_stats_of(c.store).evictions == 0)
    put_coded(&c, n++);
  stats = store_stats_of(c.store);
  assert_true(stats.chunks > full * 7 / 4);
  assert_true(stats.cut_chunks >= (uint64_t)ALL_PLANES * (full - 2));
  assert_true(stats.cut_bytes > 0);
  for (uint64_t i = stats.evictions; i < full; i++) /* the oldest are those that went */
    assert_int_equal(loss_of(&c, i), LOSS(0));
  assert_int_equal(stats.dram.payload_bytes, space_info(c.store, c.space).bytes);
  free(whole);
  close_it(&c);
}

static void what_is_used_keeps_its_planes(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct kvi_get_terms terms = any_form;
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  struct coding_store c;
  uint64_t put_at;
  uint32_t cause, n = 0;

  (void)state;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  put_coded(&c, n++);
  put_at = kvi_now_ns();
  AWAIT(kvi_now_ns() - put_at > 2 << 24); /* the steps in which uses are told apart */
  terms.loss_max = KVI_LOSS_MAX;
  testing_key(0, key, KEY_BYTES);
  assert_int_equal(kvi_store_get_here(c.store, TENANT, c.space, key, KEY_BYTES, &terms, &source, &cause),
                   KVS_OK);
  kvi_store_get_close(c.store, &source);
  while (store_stats_of(c.store).cut_chunks == 0)
    put_coded(&c, n++);
  assert_int_equal(loss_of(&c, 0), LOSS(ALL_PLANES));
  assert_int_equal(loss_of(&c, 1), LOSS(ALL_PLANES - 1));
  close_it(&c);
}

static void the_owner_says_how_far(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct coding_store c;

  (void)state;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, (uint16_t)LOSS(ALL_PLANES - 1));
  for (uint64_t i = 0; store_stats_of(c.store).evictions == 0; i++)
    put_coded(&c, i);
  assert_true(store_stats_of(c.store).cut_chunks > 5);
  for (uint64_t i = 1; i < 10; i++)
    assert_in_range(loss_of(&c, i), LOSS(ALL_PLANES), LOSS(ALL_PLANES - 1));
  kvi_store_close(c.store);
  open_with(&c, &config);
  c.to.quality = QUALITY(0, (uint16_t)LOSS(ALL_PLANES)); /* no further */
  for (uint64_t i = 0; store_stats_of(c.store).evictions == 0; i++)
    put_coded(&c, i);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  close_it(&c);
}

static void held_and_read_ones_lose_none(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct kvi_chunk_table table;
  struct kvi_source source;
  uint8_t key[KEY_BYTES], *whole;
  struct coding_store c;
  uint32_t n = 0;
  uint64_t held;

  (void)state;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  put_coded(&c, n++);
  put_coded(&c, n++);
  whole = payload_of(&c, 1, &table);
  held = lease(&c, 0, LOSS(ALL_PLANES));
  assert_true(held != 0);
  testing_key(KINDS, key, KEY_BYTES);
  assert_int_equal(kvi_store_peek_open(c.store, TENANT, c.space, key, KEY_BYTES, &source), KVS_OK);
  while (store_stats_of(c.store).cut_chunks < 8)
    put_coded(&c, n++);
  assert_int_equal(loss_of(&c, 0), LOSS(ALL_PLANES));
  assert_int_equal(loss_of(&c, 1), LOSS(ALL_PLANES));
  assert_int_equal(source.table.length, table.length);
  kvi_store_get_close(c.store, &source);
  assert_int_equal(kvi_store_release(c.store, 1, held), KVS_OK);
  while (loss_of(&c, 0) == LOSS(ALL_PLANES) || loss_of(&c, 1) == LOSS(ALL_PLANES))
    put_coded(&c, n++);
  assert_int_equal(store_stats_of(c.store).evictions, 0);
  check_rest(&c, 1, whole);
  free(whole);
  close_it(&c);
}

/* A chunk as clients encode it. Free its bytes. */
struct coded_chunk {
  uint32_t length, n_segments;
  struct kvi_segment segments[64];
  uint16_t quality;
  uint8_t *bytes;
};

static struct coded_chunk coded_make(void)
{
  struct kvi_store_config config = ladder_config();
  struct coded_chunk made;
  struct kvi_chunk_table table;
  struct coding_store c;

  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  put_coded(&c, 0);
  made.bytes = payload_of(&c, 0, &table);
  made.length = (uint32_t)table.length;
  made.n_segments = table.n_segments;
  made.quality = table.quality;
  for (uint32_t i = 0; i < table.n_segments; i++)
    made.segments[i] = kvi_chunk_table_segment(&table, i);
  close_it(&c);
  return made;
}

static void put_as_coded(struct coding_store *c, const struct coded_chunk *made, uint16_t quality,
                         uint64_t number)
{
  uint8_t key[KEY_BYTES];
  const uint8_t *at = made->bytes;
  struct kvi_landing landing;
  uint32_t lengths[64];
  struct kvi_put_request request = {.space = c->space,
                                    .key = key,
                                    .key_length = KEY_BYTES,
                                    .unchained = true,
                                    .length = made->length,
                                    .n_segments = made->n_segments,
                                    .segment_lengths = lengths,
                                    .quality = quality};

  testing_key(number * KINDS, key, KEY_BYTES);
  for (uint32_t i = 0; i < made->n_segments; i++)
    lengths[i] = made->segments[i].length;
  assert_int_equal(kvi_store_put_begin(c->store, TENANT, &request, NULL, NULL, &landing), KVS_OK);
  for (uint32_t i = 0; i < landing.n_iov; at += landing.iov[i++].length)
    memcpy(landing.iov[i].base, at, landing.iov[i].length);
  for (uint32_t i = 0; i < made->n_segments; i++)
    landing.segments[i].crc32c = made->segments[i].crc32c;
  assert_int_equal(kvi_store_put_commit(c->store, &landing), KVS_OK);
}

/* What clients put coded may lose planes too. */
static void so_do_those_that_come_coded(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct coded_chunk made = coded_make();
  struct coding_store c;

  (void)state;
  open_with(&c, &config);
  for (uint64_t n = 0; store_stats_of(c.store).cut_chunks < 5; n++)
    put_as_coded(&c, &made, made.quality, n);
  assert_int_equal(store_stats_of(c.store).evictions, 0);
  check_rest(&c, 0, made.bytes);
  free(made.bytes);
  close_it(&c);
}

/* Not in memory that was not asked to hold chunks coded. */
static void without_a_codec_none_does(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct coded_chunk made = coded_make();
  struct coding_store c;

  (void)state;
  config.codec_threads = 0;
  open_with(&c, &config);
  for (uint64_t n = 0; store_stats_of(c.store).evictions < 5; n++)
    put_as_coded(&c, &made, made.quality, n);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  free(made.bytes);
  close_it(&c);
}

/* It had lost more, before it was encoded, than its planes tell: with a plane less it would have lost more than it says. */
static void none_loses_more_than_it_tells(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct coded_chunk made = coded_make();
  struct coding_store c;

  (void)state;
  open_with(&c, &config);
  for (uint64_t n = 0; store_stats_of(c.store).evictions < 5; n++)
    put_as_coded(&c, &made, kvi_quality(3, 4, KVI_CODING_KVC1), n);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  free(made.bytes);
  close_it(&c);
}

/* Nor when one plane alone frees no page. */
static void planes_go_together_where_one_frees_nothing(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct kvi_chunk_table table;
  struct coding_store c;
  uint32_t n = 0;
  uint8_t *whole;

  (void)state;
  config.dram_page_bytes = 16384;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  put_coded(&c, n++);
  whole = payload_of(&c, 0, &table);
  while (store_stats_of(c.store).cut_chunks < 5) {
    put_coded(&c, n++);
    assert_int_equal(store_stats_of(c.store).evictions, 0);
  }
  assert_true(loss_of(&c, 0) > LOSS(ALL_PLANES - 1));
  check_rest(&c, 0, whole);
  free(whole);
  close_it(&c);
}

/* ---- what else is there ---- */

/* Many that have gone leave nothing behind. */
static void gone_ones_are_not_looked_at(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct coding_store c;
  uint64_t n = 0;

  (void)state;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  for (; n < 5; n++)
    put_coded(&c, n);
  for (; n < 300; n++) {
    put_coded(&c, n);
    delete_it(&c, n * KINDS);
  }
  while (store_stats_of(c.store).cut_chunks < 40) {
    put_coded(&c, n++);
    assert_int_equal(store_stats_of(c.store).evictions, 0);
  }
  for (uint64_t i = 0; i < 5; i++)
    assert_true(loss_of(&c, i) > LOSS(ALL_PLANES));
  close_it(&c);
}

/* Behind many that are held there may be others. */
static void held_ones_hide_none(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct coding_store c;
  uint64_t n = 0;

  (void)state;
  config.dram_bytes = 4 << 20;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  for (; n < 2 * BATCH + 2; n++) {
    put_coded(&c, n);
    if (n < BATCH + 2)
      assert_true(lease(&c, n * KINDS, LOSS(ALL_PLANES)) != 0);
  }
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  while (store_stats_of(c.store).cut_chunks < 3) {
    put_coded(&c, n++);
    assert_int_equal(store_stats_of(c.store).evictions, 0);
  }
  for (uint64_t i = 0; i < BATCH + 2; i++)
    assert_int_equal(loss_of(&c, i), LOSS(ALL_PLANES));
  kvi_store_release_owner(c.store, 1);
  close_it(&c);
}

/* Who puts again what the codec made lossier is told that it is there; what then lost planes, because room was needed, comes back as it was. */
static void planes_come_back(void **state)
{
  struct kvi_store_config config = ladder_config();
  struct coding_store c;
  uint64_t n = 0;

  (void)state;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  while (store_stats_of(c.store).cut_chunks == 0)
    put_coded(&c, n++);
  assert_int_equal(loss_of(&c, n - 1), LOSS(ALL_PLANES));
  assert_int_equal(store_put(&c.to, (n - 1) * KINDS), KVS_EXISTS);
  assert_int_equal(loss_of(&c, 0), LOSS(ALL_PLANES - 1));
  c.to.quality = QUALITY(0, (uint16_t)LOSS(ALL_PLANES)); /* so that it is not cut again */
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT_CODED(c.store);
  assert_int_equal(loss_of(&c, 0), LOSS(ALL_PLANES));
  c.to.quality = QUALITY(0, 4);
  assert_int_equal(loss_of(&c, 1), LOSS(ALL_PLANES - 1));
  assert_int_equal(store_put(&c.to, KINDS), KVS_OK);
  close_it(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(planes_go_before_chunks),
      cmocka_unit_test(what_is_used_keeps_its_planes),
      cmocka_unit_test(the_owner_says_how_far),
      cmocka_unit_test(held_and_read_ones_lose_none),
      cmocka_unit_test(so_do_those_that_come_coded),
      cmocka_unit_test(without_a_codec_none_does),
      cmocka_unit_test(none_loses_more_than_it_tells),
      cmocka_unit_test(planes_go_together_where_one_frees_nothing),
      cmocka_unit_test(gone_ones_are_not_looked_at),
      cmocka_unit_test(held_ones_hide_none),
      cmocka_unit_test(planes_come_back),
  };

  return cmocka_run_group_tests_name("tiers/coder_cut", tests, NULL, NULL);
}
