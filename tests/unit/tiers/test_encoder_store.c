/*
 * A store whose chunks are encoded on their way to the tier below, on real files and in plain memory: what readers of all kinds get, and that lengths and counters are
 * right through put, write, demotion, fetch, restart, eviction and deletion. test_encoder_model.c takes all that in any order.
 */
#include "encoder_node.h"

#define N 48u /* chunks; memory has room for about a third of them */

static void node_fill(struct node *node)
{
  for (uint64_t i = 0; i < N; i++)
    node_put(node, i);
  store_check(node->store, node->space);
}

/* Whoever reads coded chunks gets each; the others what was not encoded, and what memory still has as it was put. */
static void readers_get_what_they_read(void **state)
{
  struct kvi_store_stats before, after;
  uint32_t cause, n_coded = 0;
  struct node node;
  bool coded;

  node_on_volume(&node, *state);
  node_fill(&node);
  before = stats_of_store(&node);
  assert_int_equal(before.medium.encoded_chunks, N - N / 5);
  assert_int_equal(before.medium.unencoded_larger, N / 5);
  assert_true(before.medium_only > N / 2);
  for (uint64_t i = 0; i < N; i++) {
    assert_int_equal(store_get(node.store, node.space, i, &any_form, &coded, &cause), KVS_OK);
    n_coded += coded;
    assert_false(coded && content_of(i) == TENSOR_NOISE);
  }
  assert_true(n_coded > N / 2);
  after = stats_of_store(&node);
  assert_int_equal(after.get_hits, before.get_hits + N);
  assert_int_equal(after.gets, before.gets + N);
  store_check(node.store, node.space);

  for (int round = 0; round < 2; round++)
    for (uint64_t i = 0; i < N; i++) {
      kvs_status status;

      before = stats_of_store(&node);
      status = store_get(node.store, node.space, i, &no_form, &coded, &cause);
      after = stats_of_store(&node);
      assert_int_equal(after.gets, before.gets + 1);
      if (status == KVS_OK) {
        assert_false(coded);
        assert_int_equal(after.get_hits, before.get_hits + 1);
        assert_int_equal(after.get_bytes, before.get_bytes + RAW);
        continue;
      }
      assert_int_equal(status, KVS_MISS);
      assert_int_equal(cause, KVI_MISS_QUALITY);
      assert_int_equal(content_of(i), TENSORS);
      assert_int_equal(after.get_hits, before.get_hits);
      assert_int_equal(after.get_bytes, before.get_bytes);
      assert_int_equal(after.get_misses[KVI_MISS_QUALITY], before.get_misses[KVI_MISS_QUALITY] + 1);
      assert_int_equal(store_put(&node.to, i), KVS_EXISTS);
      assert_int_equal(store_get(node.store, node.space, i, &any_form, &coded, &cause), KVS_OK);
      assert_true(coded);
    }
  store_check(node.store, node.space);
  kvi_store_close(node.store);
}

/* A put says what its bytes have lost; a get how much it takes, of either form. */
static void readers_say_what_loss_they_take(void **state)
{
  struct kvi_get_terms terms = any_form;
  struct node node;
  uint32_t cause;
  bool coded;

  for (uint64_t number = 3; number < 5; number++) { /* the second is noise: not encoded */
    node_on_volume(&node, *state);
    node.to.quality = kvi_quality(2, 4, KVI_CODING_NONE);
    node_put(&node, number);
    for (int form = 0; form < 2; form++) {
      for (terms.loss_max = 0; terms.loss_max < 5; terms.loss_max++) {
        kvs_status status = store_get(node.store, node.space, number, &terms, &coded, &cause);

        assert_int_equal(status, terms.loss_max < 2 ? KVS_MISS : KVS_OK);
        if (status == KVS_MISS)
          assert_int_equal(cause, KVI_MISS_QUALITY);
        else
          assert_int_equal(coded, form == 1 && number == 3);
      }
      assert_int_equal(stats_of_store(&node).get_misses[KVI_MISS_QUALITY], 2);
      store_check(node.store, node.space);
      kvi_store_close(node.store);
      node_on_volume(&node, *state); /* from now on as the medium has it */
    }
    kvi_store_close(node.store);
  }
}

/* ---- lengths ---- */

static struct kvi_chunk_info chunk_info(const struct node *node)
{
  struct kvi_chunk_info infos[2];
  uint64_t cursor = 0;

  assert_int_equal(kvi_store_chunks(node->store, TENANT, node->space, &cursor, infos, 2), 1);
  return infos[0];
}

/* One chunk in all its states: as it was put, on the medium, coded in memory, let go, and after a restart. */
static void lengths_follow_the_form(void **state)
{
  uint64_t stored, chunks, bytes;
  struct node node;
  uint32_t cause;
  bool coded;

  node_on_volume(&node, *state);
  node_put(&node, 0);
  stored = stats_of_store(&node).medium.encoded_bytes;
  assert_in_range(stored, 1, RAW - 1);
  assert_int_equal(chunk_info(&node).length, RAW);
  kvi_store_close(node.store);
  for (int encoder = 1; encoder >= 0; encoder--) {
    node_on_volume_as(&node, *state, config_of(), encoder);
    assert_int_equal(space_info(node.store, node.space).bytes, stored);
    assert_int_equal(chunk_info(&node).length, stored);
    assert_int_equal(chunk_info(&node).tier, KVI_TIER_SSD);
    assert_int_equal(store_get(node.store, node.space, 0, &no_form, &coded, &cause), KVS_MISS);
    assert_int_equal(cause, KVI_MISS_QUALITY);
    assert_int_equal(chunk_info(&node).tier, KVI_TIER_DRAM); /* it has come, and somebody else may read it */
    assert_int_equal(chunk_info(&node).length, stored);
    assert_int_equal(chunk_info(&node).quality, kvi_quality(0, 0, KVI_CODING_KVC1));
    assert_int_equal(store_get(node.store, node.space, 0, &any_form, &coded, &cause), KVS_OK);
    assert_true(coded);
    store_check(node.store, node.space);
    if (encoder)
      kvi_store_close(node.store);
  }
  kvi_store_evict(node.store, TENANT, NULL, 1, &chunks, &bytes);
  assert_int_equal(chunks, 1);
  assert_int_equal(bytes, stored);
  assert_int_equal(stats_of_store(&node).medium_evicted_bytes, stored);
  assert_int_equal(space_info(node.store, node.space).bytes, 0);
  kvi_store_close(node.store);
}

static void deleted_spaces_are_empty(void **state)
{
  uint8_t key[KEY_BYTES];
  struct node node;
  uint32_t cause;
  bool coded;

  node_on_volume(&node, *state);
  node_fill(&node);
  for (uint64_t i = 0; i < N; i += 3) /* some are in memory coded, some as they were put, some below */
    assert_int_equal(store_get(node.store, node.space, i, &any_form, &coded, &cause), KVS_OK);
  for (uint64_t i = 0; i < N; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(kvi_store_delete(node.store, TENANT, node.space, key, KEY_BYTES), KVS_OK);
    store_check(node.store, node.space);
  }
  assert_int_equal(space_info(node.store, node.space).bytes, 0);
  assert_int_equal(stats_of_store(&node).medium_chunks, 0);
  assert_int_equal(stats_of_store(&node).medium_only, 0);
  kvi_store_close(node.store);
  node_on_volume(&node, *state); /* none comes back */
  assert_int_equal(space_info(node.store, node.space).chunks, 0);
  kvi_store_close(node.store);
}

/* A deletion beside the write: whatever the worker is at, nothing is left. */
static void deleted_beside_the_encoder(void **state)
{
  uint8_t key[KEY_BYTES];
  struct node node;

  node_on_volume(&node, *state);
  gate_set(&gate, true);
  for (uint64_t i = 0; i < 8; i++)
    assert_int_equal(store_put(&node.to, i), KVS_OK);
  gate_await(&gate, 2);
  for (uint64_t i = 0; i < 8; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(kvi_store_delete(node.store, TENANT, node.space, key, KEY_BYTES), KVS_OK);
  }
  assert_int_equal(store_put(&node.to, 3), KVS_OK); /* again, beside the write of the one before */
  gate_set(&gate, false);
  AWAIT(stats_of_store(&node).medium_chunks == 1);
  AWAIT(stats_of_store(&node).dram.objects == 1);
  assert_int_equal(stats_of_store(&node).chunks, 1);
  store_check(node.store, node.space);
  kvi_store_close(node.store);
  node_on_volume(&node, *state);
  assert_int_equal(space_info(node.store, node.space).chunks, 1);
  kvi_store_close(node.store);
}

static void closed_while_it_encodes(void **state)
{
  struct node node;

  node_on_volume(&node, *state);
  for (uint64_t i = 0; i < 12; i++)
    assert_int_equal(store_put(&node.to, i), KVS_OK);
  kvi_store_close(node.store);
  node_on_volume(&node, *state);
  store_check(node.store, node.space);
  kvi_store_close(node.store);
}

/* ---- leases and marks ---- */

static void leases_hold_either_form(void **state)
{
  struct kvi_store_lookup_result result = {0};
  uint8_t keys[N * KEY_BYTES];
  uint64_t chunks, bytes;
  struct node node;
  const uint8_t *space = node.space;
  struct kvi_store_lookup lookup = {.tenant = TENANT,
                                    .owner = 1,
                                    .spaces = &space,
                                    .n_spaces = 1,
                                    .keys = keys,
                                    .key_length = KEY_BYTES,
                                    .n_keys = N,
                                    .unchained = true,
                                    .lease_ms = 600000};
  uint32_t cause;
  bool coded;

  node_on_volume(&node, *state);
  node_fill(&node);
  for (uint32_t i = 0; i < N; i++)
    testing_key(i, keys + (size_t)i * KEY_BYTES, KEY_BYTES);
  assert_int_equal(kvi_store_lookup(node.store, &lookup, &result), KVS_OK);
  assert_int_equal(result.lease_status, KVS_OK);
  kvi_store_evict(node.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 0);
  for (uint64_t i = 0; i < N; i++)
    assert_int_equal(store_get(node.store, node.space, i, &any_form, &coded, &cause), KVS_OK);
  store_check(node.store, node.space);
  assert_int_equal(kvi_store_release(node.store, 1, result.lease), KVS_OK);
  kvi_store_evict(node.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, N);
  assert_int_equal(space_info(node.store, node.space).bytes, 0);
  kvi_store_close(node.store);
}

/* A thread demotes ahead of need: what it lets go is as long as its copy. */
static void marks_demote_to_the_coded_length(void **state)
{
  struct kvi_store_config config = config_of();
  struct node node;

  config.dram_high_mark = 50;
  config.dram_low_mark = 20;
  node_on_volume_as(&node, *state, config, true);
  for (uint64_t i = 0; i < 16; i++)
    node_put(&node, i);
  AWAIT(stats_of_store(&node).demotions_by[KVI_DEMOTE_MARK] >= 4);
  store_check(node.store, node.space); /* it may still be at it */
  assert_true(space_info(node.store, node.space).bytes < 16 * RAW);
  kvi_store_close(node.store);
}

/* ---- what the medium is told, and tells ---- */

/* The medium asks for room by what lies on it, not by what memory has of the same chunk. */
static void room_is_counted_as_it_is_kept(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_store_config config = config_of();
  uint64_t stored;
  struct node node;

  (void)state;
  config.medium = encoded(&memory->medium);
  node_start(&node, &config);
  node_put(&node, 0);
  node_put(&node, 1);
  stored = stats_of_store(&node).medium.encoded_bytes;
  assert_true(memory->owner.make_room(memory->owner.ctx, 1) < RAW);
  assert_int_equal(stats_of_store(&node).medium_chunks, 1); /* one was enough */
  (void)memory->owner.make_room(memory->owner.ctx, 1);
  assert_int_equal(stats_of_store(&node).medium_evicted_bytes, stored);
  assert_int_equal(stats_of_store(&node).chunks, 0);
  assert_int_equal(space_info(node.store, node.space).bytes, 0);
  kvi_store_close(node.store);
}

/* A day's bytes are those that are written: a chunk's worth of them is too few for the chunk, and is there again when a coded one was shorter. */
static void the_budget_counts_what_is_written(void **state)
{
  struct kvi_store_config config = config_of();
  uint64_t stored;
  struct node node;

  config.chunk_bytes_max = RAW;
  config.write_day_bytes = 24 * (2 * RAW - 1000);
  node_on_volume_as(&node, *state, config, true);
  node_put(&node, 0);
  stored = stats_of_store(&node).medium.encoded_bytes;
  assert_true(2 * RAW - 1000 - stored >= RAW);
  node_put(&node, 1); /* it would not fit beside a whole one */
  assert_int_equal(stats_of_store(&node).writes_over_budget, 0);
  kvi_store_close(node.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(readers_get_what_they_read, setup, teardown),
      cmocka_unit_test_setup_teardown(readers_say_what_loss_they_take, setup, teardown),
      cmocka_unit_test_setup_teardown(lengths_follow_the_form, setup, teardown),
      cmocka_unit_test_setup_teardown(deleted_spaces_are_empty, setup, teardown),
      cmocka_unit_test_setup_teardown(deleted_beside_the_encoder, setup, teardown),
      cmocka_unit_test_setup_teardown(closed_while_it_encodes, setup, teardown),
      cmocka_unit_test_setup_teardown(leases_hold_either_form, setup, teardown),
      cmocka_unit_test_setup_teardown(marks_demote_to_the_coded_length, setup, teardown),
      cmocka_unit_test(room_is_counted_as_it_is_kept),
      cmocka_unit_test_setup_teardown(the_budget_counts_what_is_written, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
