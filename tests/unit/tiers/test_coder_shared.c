/*
 * Memory that holds chunks coded above a tier that nodes share, and a tier below beside it: a chunk is encoded once, and both get that form. And readers that do not decode.
 */
#include "coder_testing.h"
#include "memory_medium.h"
#include "shared_testing.h"

static void quiet_open(struct node *node, struct kvi_medium *below, struct memory_medium *lower,
                       uint32_t write_queue)
{
  struct kvi_store_config store = coding_config();
  struct kvi_shared_config shared = {.medium = &lower->medium, .write_queue = write_queue};
  kvs_space_desc desc = tensors_space();

  store.medium = below;
  node_open_over(node, &store, &shared);
  testing_space_open(node->store, TENANT, &desc, node->space);
}

static struct put_to to_service(const struct node *node)
{
  return (struct put_to){.service = node->service, .peer = &peer, .space = node->space};
}

static uint64_t kept_bytes(const struct memory_medium *medium)
{
  uint64_t bytes = 0;

  for (uint32_t i = 0; i < MEMORY_ITEMS; i++)
    bytes += medium->items[i].bytes ? medium->items[i].size - medium->items[i].payload_at : 0;
  return bytes;
}

static void both_get_the_coded_form(void **state)
{
  struct memory_medium *lower = memory_medium_create(true), *below = memory_medium_create(false);
  uint32_t calls = gate_calls(&coding_gate);
  struct put_to to;
  struct node node;

  (void)state;
  quiet_open(&node, &below->medium, lower, 0);
  to = to_service(&node);
  gate_set(&coding_gate, true);
  assert_int_equal(store_put(&to, 0), KVS_OK);
  assert_int_equal(store_put(&to, 1), KVS_OK);
  gate_await(&coding_gate, 1);
  assert_int_equal(shared_stats(&node).writes_queued, 2);
  assert_int_equal(memory_puts(lower) + memory_puts(below), 0);
  gate_set(&coding_gate, false);
  AWAIT(shared_stats(&node).writes == 2 && store_stats_of(node.store).medium_chunks == 2);
  assert_int_equal(gate_calls(&coding_gate), calls + 2);
  assert_int_equal(kept_bytes(lower), store_stats_of(node.store).coded_bytes);
  assert_int_equal(kept_bytes(below), store_stats_of(node.store).coded_bytes);
  assert_int_equal(shared_stats(&node).write_bytes, store_stats_of(node.store).coded_bytes);
  node_close(&node);
}

/* One that goes while others wait behind it does not hold them up. */
static void who_waits_behind_one_that_goes(void **state)
{
  struct memory_medium *lower = memory_medium_create(true);
  uint8_t key[KEY_BYTES];
  struct put_to to;
  struct node node;

  (void)state;
  quiet_open(&node, NULL, lower, 0);
  to = to_service(&node);
  gate_set(&coding_gate, true);
  for (uint64_t i = 0; i < 3; i++)
    assert_int_equal(store_put(&to, i), KVS_OK);
  gate_await(&coding_gate, 1);
  for (uint64_t i = 0; i < 2; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(kvi_store_delete(node.store, TENANT, node.space, key, KEY_BYTES), KVS_OK);
  }
  assert_int_equal(shared_stats(&node).writes_queued, 3);
  gate_set(&coding_gate, false);
  AWAIT(shared_stats(&node).writes == 1);
  assert_int_equal(shared_stats(&node).writes_lost, 2);
  assert_int_equal(kept_bytes(lower), store_stats_of(node.store).coded_bytes);
  node_close(&node);
}

/* When many wait, they go as they are. */
static void in_a_hurry_they_go_as_they_are(void **state)
{
  struct memory_medium *lower = memory_medium_create(true);
  struct put_to to;
  struct node node;

  (void)state;
  quiet_open(&node, NULL, lower, 4);
  to = to_service(&node);
  gate_set(&coding_gate, true);
  for (uint64_t i = 0; i < 3; i++)
    assert_int_equal(store_put(&to, i), KVS_OK);
  AWAIT(shared_stats(&node).writes == 1);
  assert_int_equal(kept_bytes(lower), RAW);
  gate_set(&coding_gate, false);
  AWAIT(shared_stats(&node).writes == 3);
  node_close(&node);
}

/* The tier goes while one waits for its form. */
static void the_tier_goes_first(void **state)
{
  (void)state;
  for (int i = 0; i < 50; i++) {
    struct memory_medium *lower = memory_medium_create(true);
    struct put_to to;
    struct node node;

    quiet_open(&node, NULL, lower, 0);
    to = to_service(&node);
    for (uint64_t k = 0; k < 4; k++)
      assert_int_equal(store_put(&to, k), KVS_OK);
    node_close(&node);
  }
}

/* ---- readers ---- */

/* By way of the node. */
static kvs_status node_get_exact(struct node *node, uint64_t number)
{
  uint32_t cause = KVI_MISS_NONE;
  struct getting getting;
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  getting_init(&getting, &any_form);
  status = node->service->ops->get_open(node->service->self, &peer, node->space, key, KEY_BYTES,
                                        &getting.wait, &source, &cause);
  status = getting_end(&getting, status, &source, &cause);
  if (status != KVS_OK)
    return status;
  source_check(&source, number, kvi_quality_coding(source.table.quality) != KVI_CODING_NONE);
  node->service->ops->get_close(node->service->self, &source);
  return KVS_OK;
}

/* What comes from the tier that nodes share lies in memory as it lies there: who wanted it as it was put finds it so the next time, too. */
static void what_comes_raw_stays_raw(void **state)
{
  struct memory_medium *lower = memory_medium_create(true);
  struct kvi_store_config config = coding_config();
  struct kvi_shared_config shared = {.medium = &lower->medium, .write_queue = 4};
  kvs_space_desc desc = tensors_space();
  uint64_t chunks, bytes;
  struct put_to to;
  struct node node;

  (void)state;
  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = 2;
  node_open_over(&node, &config, &shared);
  testing_space_open(node.store, TENANT, &desc, node.space);
  to = to_service(&node);
  to.quality = QUALITY(0, 4);
  gate_set(&coding_gate, true);
  for (uint64_t i = 0; i < 3; i++)
    assert_int_equal(store_put(&to, i), KVS_OK);
  AWAIT(shared_stats(&node).writes == 1); /* in a hurry: as it is */
  gate_set(&coding_gate, false);
  AWAIT(shared_stats(&node).writes == 3);
  AWAIT_CODED(node.store);
  assert_int_equal(kvi_quality_loss(chunk_info(node.store, node.space, 0).quality), 2);
  for (int i = 0; i < 3; i++) { /* a better copy, in place of memory's */
    assert_int_equal(node_get_exact(&node, 0), KVS_OK);
    AWAIT_CODED(node.store);
    assert_int_equal(shared_stats(&node).fetches, 1);
  }
  assert_int_equal(chunk_info(node.store, node.space, 0).quality, QUALITY(0, 4));
  kvi_store_evict(node.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 3);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(node_get_exact(&node, 0), KVS_OK);
    AWAIT_CODED(node.store);
    assert_int_equal(shared_stats(&node).fetches, 2);
  }
  assert_int_equal(chunk_info(node.store, node.space, 0).quality, QUALITY(0, 4));
  node_close(&node);
}

/* Who does not decode gets what was put, as from below. */
static void plain_readers_get_what_was_put(void **state)
{
  struct kvi_store_config config = coding_config();
  struct kvi_store_service_config serving = {.incarnation = 1, .decode_threads = 1};
  struct kvi_store_service *owner;
  const struct kvi_service *service;
  kvs_space_desc desc = tensors_space();
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES];
  struct put_to to = {.space = space};

  (void)state;
  assert_int_equal(kvi_store_open(&config, &to.store), KVS_OK);
  testing_space_open(to.store, TENANT, &desc, space);
  serving.store = to.store;
  assert_int_equal(kvi_store_service_create(&serving, &owner), KVS_OK);
  service = kvi_store_service_get(owner);
  for (uint64_t i = 0; i < KINDS; i++) {
    assert_int_equal(store_put(&to, i), KVS_OK);
    AWAIT_CODED(to.store);
  }
  for (uint64_t i = 0; i < KINDS; i++) {
    uint32_t cause = KVI_MISS_NONE;
    struct getting getting;
    struct kvi_source source;
    kvs_status status;

    testing_key(i, key, KEY_BYTES);
    getting_init(&getting, &no_form);
    status =
        service->ops->get_open(service->self, &peer, space, key, KEY_BYTES, &getting.wait, &source, &cause);
    assert_int_equal(getting_end(&getting, status, &source, &cause), KVS_OK);
    source_check(&source, i, false);
    service->ops->get_close(service->self, &source);
  }
  store_check(to.store, space);
  kvi_store_service_destroy(owner);
  kvi_store_close(to.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_get_the_coded_form),        cmocka_unit_test(who_waits_behind_one_that_goes),
      cmocka_unit_test(in_a_hurry_they_go_as_they_are), cmocka_unit_test(the_tier_goes_first),
      cmocka_unit_test(plain_readers_get_what_was_put), cmocka_unit_test(what_comes_raw_stays_raw),
  };

  return cmocka_run_group_tests_name("tiers/coder_shared", tests, NULL, NULL);
}
