/*
 * A store that holds coded what was put raw: the coded form takes the raw one's place without a hole, whatever becomes of the chunk meanwhile, and is what goes to the tier
 * below. test_encoder_model.c takes all that in any order.
 */
#include "coder_testing.h"

#include "tiers/coder.h"

/* ---- the coded form ---- */

static void it_takes_less_memory(void **state)
{
  struct kvi_store_stats stats;
  struct coding_store c;
  uint64_t used;

  (void)state;
  open_default(&c);
  put_at_gate(&c, 0);
  used = store_stats_of(c.store).dram.used_bytes;
  assert_false(is_coded(&c, 0)); /* there all the while */
  assert_false(chunk_info(c.store, c.space, 0).leased);
  assert_int_equal(store_stats_of(c.store).coding, 1);
  let_it_code(&c);
  stats = store_stats_of(c.store);
  assert_int_equal(stats.coded_chunks, 1);
  assert_int_equal(stats.coded_raw_bytes, RAW);
  assert_in_range(stats.coded_bytes, RAW / 2, RAW * 4 / 5);
  assert_true(stats.code_ns > 0);
  assert_int_equal(stats.dram.payload_bytes, stats.coded_bytes);
  assert_int_equal(stats.dram.objects, 1);
  assert_true(stats.dram.used_bytes < used * 4 / 5);
  assert_int_equal(space_info(c.store, c.space).bytes, stats.coded_bytes);
  assert_int_equal(chunk_info(c.store, c.space, 0).length, stats.coded_bytes);
  assert_int_equal(chunk_info(c.store, c.space, 0).quality, kvi_quality(0, 0, KVI_CODING_KVC1));
  assert_true(is_coded(&c, 0));
  assert_int_equal(store_put(&c.to, 0), KVS_EXISTS);
  close_it(&c);
}

/* Memory that has room for 19 as they are put. */
static void it_holds_more_chunks(void **state)
{
  enum { N = 25 };
  struct coding_store c;
  uint64_t number = 0;

  (void)state;
  open_default(&c);
  for (uint32_t i = 0; i < N; i++, number++) {
    number += content_of(number) == TENSOR_NOISE;
    assert_int_equal(store_put(&c.to, number), KVS_OK);
    AWAIT_CODED(c.store);
  }
  assert_int_equal(store_stats_of(c.store).chunks, N);
  assert_int_equal(store_stats_of(c.store).evictions, 0);
  close_it(&c);
}

static void what_is_not_smaller_stays(void **state)
{
  struct kvi_store_stats stats;
  struct coding_store c;
  uint32_t calls;

  (void)state;
  open_default(&c);
  calls = gate_calls(&coding_gate);
  assert_int_equal(store_put(&c.to, 4), KVS_OK); /* noise */
  AWAIT_CODED(c.store);
  for (int i = 0; i < 3; i++)
    assert_false(is_coded(&c, 4));
  (void)lease(&c, 4, 0);
  assert_int_equal(store_put(&c.to, 4), KVS_EXISTS);
  AWAIT_CODED(c.store);
  assert_int_equal(gate_calls(&coding_gate), calls + 1);
  stats = store_stats_of(c.store);
  assert_int_equal(stats.uncoded_larger, 1);
  assert_int_equal(stats.coded_chunks, 0);
  assert_int_equal(stats.dram.payload_bytes, RAW);
  close_it(&c);
}

static void loss_is_the_owners_to_allow(void **state)
{
  struct kvi_store_config config = coding_config();
  struct coding_store c;
  uint32_t cause;
  bool coded;

  (void)state;
  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = 2;
  open_with(&c, &config);
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT_CODED(c.store);
  assert_int_equal(chunk_info(c.store, c.space, 0).quality, kvi_quality(0, 0, KVI_CODING_KVC1));
  c.to.quality = QUALITY(0, 3);
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  AWAIT_CODED(c.store);
  assert_int_equal(chunk_info(c.store, c.space, 1).quality,
                   kvi_quality(kvi_coded_loss(KVI_CODEC_LADDER, 2), 3, KVI_CODING_KVC1));
  assert_int_equal(get_as(&c, 1, 1, &coded, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_QUALITY);
  assert_int_equal(lease(&c, 1, 1), 0);
  assert_true(lease(&c, 1, 2) != 0);
  kvi_store_release_owner(c.store, 1);
  kvi_store_close(c.store);
}

/* Who puts again what memory has made lossier is told that it is there, as long as he allows that loss. */
static void an_equal_put_is_no_better(void **state)
{
  struct kvi_store_config config = coding_config();
  struct coding_store c;
  uint32_t calls, cause;
  bool coded;

  (void)state;
  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = 2;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT_CODED(c.store);
  calls = gate_calls(&coding_gate);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(store_put(&c.to, 0), KVS_EXISTS);
    AWAIT_CODED(c.store);
  }
  assert_int_equal(gate_calls(&coding_gate), calls);
  c.to.quality = QUALITY(0, 1); /* not so much of it */
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT_CODED(c.store);
  assert_int_equal(get_as(&c, 0, 0, &coded, &cause), KVS_OK);
  c.to.quality = QUALITY(2, 4); /* lost before it came */
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  AWAIT_CODED(c.store);
  c.to.quality = QUALITY(1, 4);
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  AWAIT_CODED(c.store);
  assert_int_equal(get_as(&c, 1, 1, &coded, &cause), KVS_OK);
  close_it(&c);
}

/* It was found as it was put, and stays so: what it is encoded with loses nothing. */
static void what_a_lease_holds_loses_nothing(void **state)
{
  struct kvi_store_config config = coding_config();
  struct coding_store c;
  uint64_t held;

  (void)state;
  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = 1;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, KVI_LOSS_MAX);
  put_at_gate(&c, 0); /* with loss: it is not held yet */
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  held = lease(&c, 0, 0);
  assert_true(held != 0);
  assert_true(chunk_info(c.store, c.space, 0).leased);
  assert_true(lease(&c, 1, 0) != 0); /* waits */
  let_it_code(&c);
  assert_true(is_coded(&c, 0));
  assert_true(is_coded(&c, 1));
  assert_int_equal(chunk_info(c.store, c.space, 0).quality, kvi_quality(0, KVI_LOSS_MAX, KVI_CODING_KVC1));
  assert_int_equal(kvi_store_release(c.store, 1, held), KVS_OK);
  kvi_store_release_owner(c.store, 1);
  close_it(&c);
}

/* ---- meanwhile ---- */

static void who_reads_keeps_what_he_reads(void **state)
{
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  struct coding_store c;
  uint32_t cause;

  (void)state;
  open_default(&c);
  put_at_gate(&c, 0);
  testing_key(0, key, KEY_BYTES);
  assert_int_equal(kvi_store_get_open(c.store, TENANT, c.space, key, KEY_BYTES, NULL, &source, &cause),
                   KVS_OK);
  let_it_code(&c);
  assert_true(is_coded(&c, 0));
  assert_true(store_stats_of(c.store).dram.zombie_bytes > 0);
  source_check(&source, 0, false);
  kvi_store_get_close(c.store, &source);
  assert_int_equal(store_stats_of(c.store).dram.zombie_bytes, 0);
  close_it(&c);
}

static void deleted_ones_do_not_come_back(void **state)
{
  struct coding_store c;
  uint32_t cause;
  bool coded;

  (void)state;
  open_default(&c);
  put_at_gate(&c, 0);
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  delete_it(&c, 0);
  delete_it(&c, 1); /* waits */
  let_it_code(&c);
  for (uint64_t i = 0; i < 2; i++) {
    assert_int_equal(get_as(&c, i, 0, &coded, &cause), KVS_MISS);
    assert_true(i == 0 || cause == KVI_MISS_DELETED); /* of one that went before it may not be known */
  }
  assert_int_equal(store_stats_of(c.store).coded_chunks, 0);
  AWAIT(store_stats_of(c.store).dram.used_bytes == 0);
  put_at_gate(&c, 0);
  delete_it(&c, 0);
  assert_int_equal(store_put(&c.to, 0), KVS_OK); /* another life of it */
  let_it_code(&c);
  assert_int_equal(store_stats_of(c.store).coded_chunks, 1);
  assert_true(is_coded(&c, 0));
  close_it(&c);
}

static void a_better_one_is_encoded_in_its_place(void **state)
{
  struct coding_store c;
  uint64_t held;

  (void)state;
  open_default(&c);
  c.to.quality = QUALITY(2, 4);
  put_at_gate(&c, 0);
  held = lease(&c, 0, 2);
  assert_true(held != 0);
  c.to.quality = QUALITY(0, 4);
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  let_it_code(&c);
  assert_int_equal(chunk_info(c.store, c.space, 0).quality, kvi_quality(0, 4, KVI_CODING_KVC1));
  assert_int_equal(store_stats_of(c.store).coded_chunks, 1);
  assert_int_equal(kvi_store_release(c.store, 1, held), KVS_OK); /* the entry's all the while */
  close_it(&c);
}

static void what_waits_can_be_evicted(void **state)
{
  struct coding_store c;
  uint64_t chunks, bytes;

  (void)state;
  open_default(&c);
  put_at_gate(&c, 0);
  for (uint64_t i = 1; i < 4; i++)
    assert_int_equal(store_put(&c.to, i), KVS_OK);
  kvi_store_evict(c.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 3); /* the first is being encoded */
  assert_int_equal(store_stats_of(c.store).dram.payload_bytes, RAW);
  let_it_code(&c);
  assert_int_equal(store_stats_of(c.store).coded_chunks, 1);
  assert_true(is_coded(&c, 0));
  close_it(&c);
}

/* The coded form needs room for a moment: nothing goes for it that a lease holds, nor the chunk itself. */
static void without_room_it_stays(void **state)
{
  struct kvi_store_config config = coding_config();
  struct coding_store c;

  (void)state;
  config.dram_bytes = RAW + 4096;
  open_with(&c, &config);
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT_CODED(c.store);
  assert_int_equal(store_stats_of(c.store).uncoded_full, 1);
  assert_false(is_coded(&c, 0));
  close_it(&c);

  config.dram_bytes *= 2;
  open_with(&c, &config);
  put_at_gate(&c, 0);
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  assert_true(lease(&c, 0, 0) != 0);
  assert_true(lease(&c, 1, 0) != 0);
  let_it_code(&c);
  assert_int_equal(store_stats_of(c.store).uncoded_full, 2);
  assert_int_equal(store_stats_of(c.store).evictions, 0);
  assert_false(is_coded(&c, 0));
  assert_false(is_coded(&c, 1));
  kvi_store_release_owner(c.store, 1);
  close_it(&c);
}

static void too_many_stay(void **state)
{
  struct kvi_store_config config = coding_config();
  struct coding_store c;

  (void)state;
  open_default(&c);
  put_at_gate(&c, 0);
  for (uint64_t i = 1; i < 8; i++) /* a quarter of memory is 5 */
    assert_int_equal(store_put(&c.to, i), KVS_OK);
  assert_int_equal(store_stats_of(c.store).uncoded_busy, 2);
  assert_int_equal(store_stats_of(c.store).coding, 6);
  let_it_code(&c);
  assert_true(is_coded(&c, 0));
  assert_true(is_coded(&c, 5));
  assert_false(is_coded(&c, 6));
  assert_false(is_coded(&c, 7));
  close_it(&c);

  config.dram_bytes = 32 << 20;
  open_with(&c, &config);
  put_at_gate(&c, 0);
  for (uint64_t i = 1; i < KVI_CODER_WAITING_MAX + 3; i++)
    assert_int_equal(store_put(&c.to, i), KVS_OK);
  assert_int_equal(store_stats_of(c.store).uncoded_busy, 2);
  close_it(&c);
}

/* What goes while it waits makes room for others. */
static void gone_ones_do_not_wait(void **state)
{
  struct coding_store c;

  (void)state;
  open_default(&c);
  put_at_gate(&c, 0);
  for (uint64_t i = 1; i < 6; i++) /* a quarter of memory */
    assert_int_equal(store_put(&c.to, i), KVS_OK);
  for (uint64_t i = 1; i < 6; i++)
    delete_it(&c, i);
  assert_int_equal(store_stats_of(c.store).coding, 1);
  for (uint64_t i = 11; i < 16; i++)
    assert_int_equal(store_put(&c.to, i), KVS_OK);
  assert_int_equal(store_stats_of(c.store).uncoded_busy, 0);
  let_it_code(&c);
  assert_true(is_coded(&c, 15));
  close_it(&c);
}

/* Another life of one that waited is one chunk. */
static void put_again_it_is_encoded_once(void **state)
{
  struct kvi_store_config config = coding_config();
  struct coding_store c;
  uint32_t calls = gate_calls(&coding_gate);

  (void)state;
  open_with(&c, &config);
  put_at_gate(&c, 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(store_put(&c.to, 1), KVS_OK);
    delete_it(&c, 1);
  }
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  assert_int_equal(store_stats_of(c.store).coding, 2);
  let_it_code(&c);
  assert_int_equal(gate_calls(&coding_gate), calls + 2);
  assert_int_equal(store_stats_of(c.store).coded_chunks, 2);
  close_it(&c);
}

/* It is not encoded, and nobody gets it. */
static void damage_is_dropped(void **state)
{
  struct kvi_damage damages[KVI_DAMAGES_MAX];
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  struct coding_store c;
  uint32_t cause;
  bool coded;

  (void)state;
  open_default(&c);
  put_at_gate(&c, 0); /* the thread has looked at nothing yet */
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  for (uint64_t i = 0; i < 2; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(kvi_store_peek_open(c.store, TENANT, c.space, key, KEY_BYTES, &source), KVS_OK);
    ((uint8_t *)source.iov[0].base)[RAW / 2] ^= 1;
    kvi_store_get_close(c.store, &source);
  }
  let_it_code(&c);
  for (uint64_t i = 0; i < 2; i++) {
    assert_int_equal(get_as(&c, i, 0, &coded, &cause), KVS_MISS);
    assert_true(i == 0 || cause == KVI_MISS_CORRUPT); /* of one that went before it may not be known */
  }
  assert_int_equal(store_stats_of(c.store).corrupt, 2);
  assert_int_equal(store_stats_of(c.store).coded_chunks, 0);
  assert_int_equal(kvi_damages_list(kvi_store_damages(c.store), damages), 2);
  assert_int_equal(damages[0].tier, KVI_TIER_DRAM);
  assert_int_equal(damages[0].found, KVI_DAMAGE_BY_CODER);
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT_CODED(c.store);
  assert_true(is_coded(&c, 0));
  close_it(&c);
}

static void it_closes_with_work_left(void **state)
{
  struct coding_store c;

  (void)state;
  for (int i = 0; i < 20; i++) {
    open_default(&c);
    for (uint64_t k = 0; k < 6; k++)
      assert_int_equal(store_put(&c.to, k), KVS_OK);
    kvi_store_close(c.store);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_takes_less_memory),
      cmocka_unit_test(it_holds_more_chunks),
      cmocka_unit_test(what_is_not_smaller_stays),
      cmocka_unit_test(loss_is_the_owners_to_allow),
      cmocka_unit_test(an_equal_put_is_no_better),
      cmocka_unit_test(what_a_lease_holds_loses_nothing),
      cmocka_unit_test(who_reads_keeps_what_he_reads),
      cmocka_unit_test(deleted_ones_do_not_come_back),
      cmocka_unit_test(a_better_one_is_encoded_in_its_place),
      cmocka_unit_test(what_waits_can_be_evicted),
      cmocka_unit_test(without_room_it_stays),
      cmocka_unit_test(too_many_stay),
      cmocka_unit_test(gone_ones_do_not_wait),
      cmocka_unit_test(put_again_it_is_encoded_once),
      cmocka_unit_test(damage_is_dropped),
      cmocka_unit_test(it_closes_with_work_left),
  };

  return cmocka_run_group_tests_name("tiers/coder", tests, NULL, NULL);
}
