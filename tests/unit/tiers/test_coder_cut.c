/*
 * Memory under pressure: a coded chunk loses a plane, if its owner allows it, before any chunk is evicted; what a lease holds, somebody reads, or the tier below has, loses
 * none. What is left of it is a chunk.
 */
#include "coder_testing.h"
#include "memory_medium.h"

#define ALL_PLANES   3u
#define BATCH        64u /* chunks that are looked at in one hold of the store's lock */
#define LOSS(planes) kvi_coded_loss(KVI_CODEC_LADDER, planes)

static struct kvi_store_config ladder_config(void)
{
  struct kvi_store_config config = coding_config();

  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = ALL_PLANES;
  return config;
}

/* Chunks of tensors alone, one after the other. */
static void put_coded(struct coding_store *c, uint64_t number)
{
  uint64_t before = store_stats_of(c->store).coded_chunks;

  assert_int_equal(store_put(&c->to, number * KINDS), KVS_OK);
  AWAIT_CODED(c->store);
  assert_int_equal(store_stats_of(c->store).coded_chunks, before + 1);
}

/* UINT32_MAX: it is not here. No use of it. */
static uint32_t loss_of(struct coding_store *c, uint64_t number)
{
  struct kvi_chunk_info info = chunk_info(c->store, c->space, number * KINDS);

  return info.length > 0 ? kvi_quality_loss(info.quality) : UINT32_MAX;
}

/* Free it. */
static uint8_t *payload_of(struct coding_store *c, uint64_t number, struct kvi_chunk_table *table_p)
{
  uint8_t key[KEY_BYTES], *bytes, *at;
  struct kvi_source source;

  testing_key(number * KINDS, key, KEY_BYTES);
  assert_int_equal(kvi_store_peek_open(c->store, TENANT, c->space, key, KEY_BYTES, &source), KVS_OK);
  assert_true(kvi_medium_fits(&source.table, source.iov, source.n_iov)); /* its checksums too */
  bytes = at = malloc(source.table.length);
  for (uint32_t i = 0; i < source.n_iov; at += source.iov[i++].length)
    memcpy(at, source.iov[i].base, source.iov[i].length);
  *table_p = source.table;
  kvi_store_get_close(c->store, &source);
  return bytes;
}

/* A part of the whole one, with as many planes as it says. */
static void check_rest(struct coding_store *c, uint64_t number, const uint8_t *whole)
{
  struct kvi_chunk_table table;
  uint8_t *bytes = payload_of(c, number, &table);
  uint8_t *layer = malloc(RAW / LAYERS);
  struct kvi_coded coded;

  assert_memory_equal(bytes, whole, table.length);
  assert_int_equal(kvi_coded_open(bytes, table.length, table.length, &coded), KVS_OK);
  assert_int_equal(LOSS(coded.planes), kvi_quality_loss(table.quality));
  for (uint32_t i = 0; i < LAYERS; i++)
    assert_int_equal(kvi_coded_layer(&coded, i, bytes, layer), KVS_OK);
  free(layer);
  free(bytes);
}

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

/* It leaves memory as good as it is below. */
static void what_is_below_loses_none(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = ladder_config();
  struct coding_store c;

  (void)state;
  config.medium = &medium->medium;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  for (uint64_t i = 0; i < 60; i++) {
    put_coded(&c, i);
    AWAIT(store_stats_of(c.store).medium_chunks == i + 1);
  }
  assert_true(store_stats_of(c.store).medium_only > 10);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  /* and where it cannot be written, planes go */
  memory_fail(medium, KVS_OK, KVS_ERR_FULL);
  for (uint64_t i = 60; store_stats_of(c.store).cut_chunks < 20; i++) {
    put_coded(&c, i);
    memory_settle(medium);
  }
  close_it(&c);
}

/* Nothing is below any more: it may lose planes as others do. */
static void what_was_below_may_lose_some(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = ladder_config();
  struct coding_store c;
  uint64_t n = 0;

  (void)state;
  config.medium = &medium->medium;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  for (; n < 5; n++) {
    put_coded(&c, n);
    AWAIT(store_stats_of(c.store).medium_chunks == n + 1);
  }
  memory_fail(medium, KVS_OK, KVS_ERR_TOO_LARGE);
  medium->owner.lost(medium->owner.ctx, 1, UINT64_MAX);
  assert_int_equal(store_stats_of(c.store).medium_chunks, 0);
  while (store_stats_of(c.store).cut_chunks < 5) {
    put_coded(&c, n++);
    memory_settle(medium);
    assert_int_equal(store_stats_of(c.store).evictions, 0);
  }
  for (uint64_t i = 0; i < 5; i++)
    assert_true(loss_of(&c, i) > LOSS(ALL_PLANES));
  close_it(&c);
}

/* As a use of it: with KVI_ADMIT_REUSED it is written then. */
static void use_it(struct coding_store *c, uint64_t number)
{
  struct kvi_get_terms terms = any_form;
  uint64_t before = store_stats_of(c->store).medium_chunks;
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  terms.loss_max = KVI_LOSS_MAX;
  testing_key(number * KINDS, key, KEY_BYTES);
  assert_int_equal(kvi_store_get_here(c->store, TENANT, c->space, key, KEY_BYTES, &terms, &source, &cause),
                   KVS_OK);
  kvi_store_get_close(c->store, &source);
  AWAIT(store_stats_of(c->store).medium_chunks == before + 1);
}

/* Nor when something else is older, and is evicted. */
static void evicting_others_cuts_none_that_are_below(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = ladder_config();
  struct coding_store c;

  (void)state;
  config.medium = &medium->medium;
  config.write = KVI_ADMIT_REUSED;
  open_with(&c, &config);
  for (uint64_t i = 0; i < 4; i++)
    put_coded(&c, i); /* not to lose anything, and never used */
  c.to.quality = QUALITY(0, 4);
  for (uint64_t i = 4; store_stats_of(c.store).evictions < 4; i++) {
    put_coded(&c, i);
    use_it(&c, i);
  }
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  memory_settle(medium);
  close_it(&c);
}

/* What can leave memory whole does, while it is the older one. */
static void demotion_comes_first(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = ladder_config();
  struct coding_store c;
  uint64_t n = 0;

  (void)state;
  config.medium = &medium->medium;
  config.write = KVI_ADMIT_REUSED;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  for (; n < 4; n++) {
    put_coded(&c, n);
    use_it(&c, n);
  }
  while (store_stats_of(c.store).medium_only < 4) {
    assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
    put_coded(&c, n++);
  }
  while (store_stats_of(c.store).cut_chunks == 0)
    put_coded(&c, n++);
  assert_int_equal(store_stats_of(c.store).evictions, 0);
  memory_settle(medium);
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

/* What waits for the tier below gets there whole: what has a copy there leaves, and then, whole, what can. */
static void one_old_chunk_does_not_cost_the_others_planes(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = ladder_config();
  struct coding_store c;
  uint64_t evictions, n = 0;

  (void)state;
  config.dram_bytes = 2 << 20;
  config.medium = &medium->medium;
  open_with(&c, &config);
  memory_fail(medium, KVS_OK, KVS_ERR_TOO_LARGE);
  put_coded(&c, n++); /* not to lose anything, and in memory only */
  memory_settle(medium);
  memory_fail(medium, KVS_OK, KVS_OK);
  c.to.quality = QUALITY(0, 4);
  for (; n <= 30; n++) {
    put_coded(&c, n);
    AWAIT(store_stats_of(c.store).medium_chunks == n);
  }
  memory_hold(medium, true);
  while (store_stats_of(c.store).medium_only < 30)
    put_coded(&c, n++);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  assert_int_equal(store_stats_of(c.store).evictions, 1);
  while (store_stats_of(c.store).evictions < 4)
    put_coded(&c, n++);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  evictions = store_stats_of(c.store).evictions;
  memory_fail(medium, KVS_OK, KVS_ERR_TOO_LARGE);
  memory_hold(medium, false);
  memory_settle(medium);
  while (store_stats_of(c.store).cut_chunks < 4) { /* what was not taken may lose some */
    put_coded(&c, n++);
    assert_int_equal(store_stats_of(c.store).evictions, evictions);
    memory_settle(medium);
  }
  memory_settle(medium);
  close_it(&c);
}

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

/* ---- many at once ---- */

#define THREADS 4u
#define MANY    48u
#define DELETED (MANY / 2) /* keys below it are deleted now and then */

struct crowd {
  struct coding_store *c;
  uint32_t id;
  atomic_uint *wrong, *broken;
};

/* It fits its checksums, and has lost no more than the reader takes. */
static kvs_status crowd_get(struct crowd *crowd, uint64_t number, uint32_t loss_max)
{
  struct kvi_get_terms terms = {.codings = 1u << KVI_CODING_KVC1, .loss_max = loss_max};
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  uint32_t cause;
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  status =
      kvi_store_get_here(crowd->c->store, TENANT, crowd->c->space, key, KEY_BYTES, &terms, &source, &cause);
  *crowd->wrong += status == KVS_MISS && cause == KVI_MISS_CORRUPT;
  if (status != KVS_OK)
    return status;
  *crowd->wrong += !kvi_medium_fits(&source.table, source.iov, source.n_iov) ||
                   kvi_quality_loss(source.table.quality) > loss_max;
  kvi_store_get_close(crowd->c->store, &source);
  return KVS_OK;
}

static void crowd_lease(struct crowd *crowd, uint64_t number, uint32_t loss_max)
{
  const uint8_t *space = crowd->c->space;
  uint8_t key[KEY_BYTES];
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = crowd->id,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = key,
                                   .key_length = KEY_BYTES,
                                   .n_keys = 1,
                                   .unchained = true,
                                   .loss_max = loss_max,
                                   .lease_ms = 600000};
  struct kvi_store_lookup_result result = {0};

  testing_key(number, key, KEY_BYTES);
  (void)kvi_store_lookup(crowd->c->store, &query, &result);
  for (int i = 0; result.lease != 0 && i < 4; i++)
    *crowd->broken += crowd_get(crowd, number, loss_max) != KVS_OK && number >= DELETED;
  kvi_store_release_owner(crowd->c->store, crowd->id);
}

static void crowd_run(void *arg)
{
  struct crowd *crowd = arg;
  uint64_t chunks, bytes;
  uint8_t key[KEY_BYTES];
  kvi_rand rand;

  kvi_rand_seed(&rand, crowd->id);
  for (uint32_t i = 0; i < 400; i++) {
    uint64_t number = kvi_rand_below(&rand, MANY);
    uint32_t what = (uint32_t)kvi_rand_below(&rand, 16);
    uint32_t loss_max = (uint32_t)kvi_rand_below(&rand, 5);

    testing_key(number, key, KEY_BYTES);
    if (what < 7)
      (void)store_put(&crowd->c->to, number);
    else if (what < 11)
      (void)crowd_get(crowd, number, loss_max);
    else if (what < 14)
      crowd_lease(crowd, number, loss_max);
    else if (what == 14 && number < DELETED)
      (void)kvi_store_delete(crowd->c->store, TENANT, crowd->c->space, key, KEY_BYTES);
    else if (what == 15)
      kvi_store_evict(crowd->c->store, TENANT, NULL, RAW, &chunks, &bytes);
  }
}

/* Whatever comes together: bytes fit, and what a lease holds stays as good as it was found. */
static void many_threads(void **state)
{
  struct kvi_store_config config = ladder_config();
  kvi_thread threads[THREADS] = {0};
  struct crowd crowds[THREADS];
  atomic_uint wrong = 0, broken = 0;
  struct coding_store c;
  uint64_t chunks, bytes;

  (void)state;
  for (uint64_t i = 0; i < KINDS; i++)
    (void)content_bytes(i); /* made before others look at them */
  config.dram_bytes = 512 << 10;
  config.codec_threads = 2;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  for (uint32_t t = 0; t < THREADS; t++) {
    crowds[t] = (struct crowd){.c = &c, .id = t + 1, .wrong = &wrong, .broken = &broken};
    assert_int_equal(kvi_thread_start(&threads[t], "test-crowd", crowd_run, &crowds[t]), KVS_OK);
  }
  for (uint32_t t = 0; t < THREADS; t++)
    kvi_thread_join(&threads[t]);
  assert_int_equal(wrong, 0);
  assert_int_equal(broken, 0);
  for (uint64_t i = MANY; store_stats_of(c.store).cut_chunks == 0; i++) {
    assert_int_equal(store_put(&c.to, i * KINDS), KVS_OK);
    AWAIT_CODED(c.store);
  }
  AWAIT_CODED(c.store);
  store_check(c.store, c.space);
  assert_int_equal(store_stats_of(c.store).leases, 0);
  kvi_store_evict(c.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  AWAIT(store_stats_of(c.store).dram.used_bytes == 0);
  assert_int_equal(store_stats_of(c.store).dram.payload_bytes, 0);
  assert_int_equal(store_stats_of(c.store).chunks, 0);
  kvi_store_close(c.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(planes_go_before_chunks),
      cmocka_unit_test(what_is_used_keeps_its_planes),
      cmocka_unit_test(the_owner_says_how_far),
      cmocka_unit_test(held_and_read_ones_lose_none),
      cmocka_unit_test(what_is_below_loses_none),
      cmocka_unit_test(what_was_below_may_lose_some),
      cmocka_unit_test(so_do_those_that_come_coded),
      cmocka_unit_test(without_a_codec_none_does),
      cmocka_unit_test(none_loses_more_than_it_tells),
      cmocka_unit_test(planes_go_together_where_one_frees_nothing),
      cmocka_unit_test(one_old_chunk_does_not_cost_the_others_planes),
      cmocka_unit_test(gone_ones_are_not_looked_at),
      cmocka_unit_test(held_ones_hide_none),
      cmocka_unit_test(planes_come_back),
      cmocka_unit_test(evicting_others_cuts_none_that_are_below),
      cmocka_unit_test(demotion_comes_first),
      cmocka_unit_test(many_threads),
  };

  return cmocka_run_group_tests_name("tiers/coder_cut", tests, NULL, NULL);
}
