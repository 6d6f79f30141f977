/*
 * A store whose chunks are encoded on their way to the tier below, against a model of it: puts, gets, deletions and evictions in any order, on real files that are freed
 * and in plain memory that fails, by one thread and by many.
 */
#include "encoder_node.h"

#define N 48u /* chunks; memory has room for about a third of them */

/* ---- anything at any time ---- */

struct model {
  bool there[N]; /* it was put, and not deleted; it may have been evicted */
  kvi_rand rand;
};

static void model_step(struct node *node, struct model *model, struct memory_medium *memory)
{
  uint64_t i = kvi_rand_next(&model->rand) % N;
  uint32_t what = (uint32_t)(kvi_rand_next(&model->rand) % 16);
  uint64_t chunks, bytes;
  uint8_t key[KEY_BYTES];
  uint32_t cause;
  kvs_status status;
  bool coded;

  testing_key(i, key, KEY_BYTES);
  if (what < 5) {
    status = store_put(&node->to, i);
    assert_true(status == KVS_OK || status == KVS_EXISTS || status == KVS_ERR_BUSY || status == KVS_ERR_FULL);
    model->there[i] |= status == KVS_OK || status == KVS_EXISTS;
  } else if (what < 11) {
    status = store_get(node->store, node->space, i, what < 9 ? &any_form : &no_form, &coded, &cause);
    assert_true(status == KVS_OK || status == KVS_MISS);
    assert_true(status != KVS_OK || (model->there[i] && !(coded && what >= 9)));
    assert_true(status == KVS_OK || cause != KVI_MISS_CORRUPT);
  } else if (what == 11) {
    (void)kvi_store_delete(node->store, TENANT, node->space, key, KEY_BYTES);
    model->there[i] = false;
  } else if (what == 12 && i % 8 == 0) {
    kvi_store_evict(node->store, TENANT, NULL, 2 * RAW, &chunks, &bytes);
  } else if (memory && what == 13) {
    memory_let_go(memory, RAW);
  } else if (memory && what == 14) {
    memory_move(memory, (uint32_t)i);
  } else if (memory) {
    memory_fail(memory, i == 0 ? KVS_ERR_DEADLINE : KVS_OK, i == 1 ? KVS_ERR_FULL : KVS_OK);
  }
}

static void model_end(struct node *node)
{
  uint64_t chunks, bytes;

  quiet(node);
  store_check(node->store, node->space);
  do
    kvi_store_evict(node->store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  while (chunks > 0);
  AWAIT(stats_of_store(node).chunks == 0);
  assert_int_equal(space_info(node->store, node->space).bytes, 0);
  assert_int_equal(stats_of_store(node).medium_chunks, 0);
  assert_int_equal(stats_of_store(node).medium_only, 0);
}

static void over_memory(struct kvi_store_config base)
{
  for (uint64_t seed = 0; seed < 3; seed++) {
    struct memory_medium *memory = memory_medium_create(false);
    struct kvi_store_config config = base;
    struct model model = {0};
    struct node node;

    kvi_rand_seed(&model.rand, seed);
    config.medium = encoded(&memory->medium);
    node_start(&node, &config);
    for (uint32_t step = 0; step < 1500; step++)
      model_step(&node, &model, memory);
    memory_fail(memory, KVS_OK, KVS_OK);
    memory_settle(memory);
    model_end(&node);
    kvi_store_close(node.store);
  }
}

static void any_order_over_memory(void **state)
{
  (void)state;
  over_memory(config_of());
}

/* And encoded in memory too: what is put has two forms there, one after the other. */
static void any_order_over_memory_coded(void **state)
{
  (void)state;
  over_memory(config_coded());
}

static void over_files(struct fixture *f, struct kvi_store_config config)
{
  struct model model = {0};
  struct node node;

  kvi_rand_seed(&model.rand, 7);
  for (uint32_t start = 0; start < 5; start++) {
    node_on_volume_as(&node, f, config, start != 3); /* once without */
    store_check(node.store, node.space);
    for (uint32_t step = 0; step < 300; step++)
      model_step(&node, &model, NULL);
    if (start < 4)
      kvi_store_close(node.store);
  }
  model_end(&node);
  kvi_store_close(node.store);
}

static void any_order_over_files(void **state)
{
  over_files(*state, config_of());
}

static void any_order_over_files_coded(void **state)
{
  over_files(*state, config_coded());
}

/* More than the volume holds, some used all the time: chunks are let go and moved, and what is there is right, also after a start. */
static void a_full_volume_turns_over(void **state)
{
  enum { PUTS = 500, KEPT = 10 };
  uint32_t cause, there = 0;
  struct node node;
  bool coded;

  node_on_volume(&node, *state);
  for (uint64_t i = 0; i < PUTS; i++) {
    kvs_status status = store_put(&node.to, i);

    assert_true(status == KVS_OK || status == KVS_ERR_FULL || status == KVS_ERR_BUSY);
    if (i % 8 == 0)
      for (uint64_t k = 0; k < KEPT; k++)
        (void)store_get(node.store, node.space, k, &any_form, &coded, &cause);
    if (i % 16 == 0)
      quiet(&node);
  }
  quiet(&node);
  store_check(node.store, node.space);
  assert_true(stats_of_store(&node).medium.reclaims > 0);
  assert_true(stats_of_store(&node).medium_evicted_bytes > 0);
  for (int start = 0; start < 2; start++) {
    for (uint64_t i = 0; i < PUTS; i++) {
      kvs_status status = store_get(node.store, node.space, i, &any_form, &coded, &cause);

      assert_true(status == KVS_OK || (status == KVS_MISS && cause != KVI_MISS_CORRUPT));
      there += status == KVS_OK;
    }
    store_check(node.store, node.space);
    assert_int_equal(stats_of_store(&node).corrupt, 0);
    assert_true(there > KEPT);
    kvi_store_close(node.store);
    node_on_volume(&node, *state);
  }
  model_end(&node);
  kvi_store_close(node.store);
}

/* ---- many at once ---- */

#define THREADS 4u

struct crowd {
  struct node *node;
  uint64_t seed;
  atomic_uint *wrong;
};

static void crowd_run(void *arg)
{
  const struct crowd *crowd = arg;
  uint8_t key[KEY_BYTES];
  kvi_rand rand;

  kvi_rand_seed(&rand, crowd->seed);
  for (uint32_t i = 0; i < 150; i++) {
    uint64_t number = kvi_rand_next(&rand) % N, chunks, bytes;
    uint32_t what = (uint32_t)(kvi_rand_next(&rand) % 12), cause;
    struct getting getting;
    struct kvi_source source;
    kvs_status status;

    testing_key(number, key, KEY_BYTES);
    if (what < 4) {
      (void)store_put(&crowd->node->to, number);
    } else if (what < 10) {
      getting_init(&getting, what < 8 ? &any_form : &no_form);
      status = kvi_store_get_open(crowd->node->store, TENANT, crowd->node->space, key, KEY_BYTES,
                                  &getting.wait, &source, &cause);
      status = getting_end(&getting, status, &source, &cause);
      *crowd->wrong += status == KVS_MISS && cause == KVI_MISS_CORRUPT;
      if (status == KVS_OK)
        kvi_store_get_close(crowd->node->store, &source);
    } else if (what == 10) {
      (void)kvi_store_delete(crowd->node->store, TENANT, crowd->node->space, key, KEY_BYTES);
    } else {
      kvi_store_evict(crowd->node->store, TENANT, NULL, RAW, &chunks, &bytes);
    }
  }
}

static void threads_on(struct fixture *f, struct kvi_store_config config)
{
  struct crowd crowds[THREADS];
  kvi_thread threads[THREADS] = {0};
  atomic_uint wrong = 0;
  struct node node;

  node_on_volume_as(&node, f, config, true);
  for (uint64_t i = 0; i < KINDS; i++)
    (void)content_bytes(i); /* made before others look at them */
  for (uint32_t t = 0; t < THREADS; t++) {
    crowds[t] = (struct crowd){.node = &node, .seed = t, .wrong = &wrong};
    assert_int_equal(kvi_thread_start(&threads[t], "test-crowd", crowd_run, &crowds[t]), KVS_OK);
  }
  for (uint32_t t = 0; t < THREADS; t++)
    kvi_thread_join(&threads[t]);
  assert_int_equal(wrong, 0);
  model_end(&node);
  kvi_store_close(node.store);
}

static void many_threads(void **state)
{
  threads_on(*state, config_of());
}

static void many_threads_coded(void **state)
{
  threads_on(*state, config_coded());
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_order_over_memory),
      cmocka_unit_test(any_order_over_memory_coded),
      cmocka_unit_test_setup_teardown(any_order_over_files, setup, teardown),
      cmocka_unit_test_setup_teardown(any_order_over_files_coded, setup, teardown),
      cmocka_unit_test_setup_teardown(a_full_volume_turns_over, setup, teardown),
      cmocka_unit_test_setup_teardown(many_threads, setup, teardown),
      cmocka_unit_test_setup_teardown(many_threads_coded, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
