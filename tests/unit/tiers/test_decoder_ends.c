/*
 * The ends of gets that are decoded: given up while they wait for the store, for a thread, for memory, while they are decoded and while they are told; the service's end; many readers of one
 * chunk; and all of that at once.
 */
#include "decoder_node.h"

#define N 40u /* chunks; memory has room for half of them */

static const struct decoding_config one = {.threads = 1};

static void node_fill(struct decoding_node *node, const struct decoding_config *how)
{
  decoding_node_open(node, how);
  for (uint64_t i = 0; i < N; i++)
    node_put(node, i, 0);
  assert_true(store_stats_of(node->store).medium_only > 10);
}

/* To memory, as it lies below. */
static void bring(struct decoding_node *node, uint64_t number)
{
  bool coded = false;
  uint32_t cause;

  assert_int_equal(node_get(node, number, &any_form, &coded, &cause), KVS_OK);
  assert_true(coded);
}

static bool unwait(struct decoding_node *node, struct getting *getting)
{
  return node->service->ops->get_unwait(node->service->self, &getting->wait);
}

static kvs_status start(struct decoding_node *node, uint64_t number, struct getting *getting)
{
  return node_get_start(node, node->space, number, &no_form, getting);
}

static void end(struct decoding_node *node)
{
  nothing_left(node, 0, N);
  store_check(node->store, node->space);
  decoding_node_close(node);
}

/* ---- given up ---- */

static void while_it_waits_for_the_store(void **state)
{
  struct decoding_node node;
  struct getting getting, again;

  (void)state;
  node_fill(&node, &one);
  memory_settle(node.below);
  memory_hold(node.below, true);
  assert_int_equal(start(&node, 0, &getting), KVS_PENDING);
  assert_int_equal(start(&node, 0, &again), KVS_PENDING);
  assert_true(unwait(&node, &getting));
  assert_false(unwait(&node, &getting)); /* there is nothing to give up any more */
  memory_hold(node.below, false);
  assert_int_equal(node_get_end(KVS_PENDING, &again), KVS_OK);
  source_check(&again.wait.source, 0, false);
  node_get_close(&node, &again);
  assert_int_equal(getting.ended.calls, 0);
  assert_int_equal(DECODES(&node), 1);
  end(&node);
}

static void while_it_waits_for_what_nodes_share(void **state)
{
  struct decoding_config how = {.threads = 1, .shared = true};
  struct decoding_node node;
  struct getting getting;

  (void)state;
  node_fill(&node, &how);
  AWAIT(memory_items(node.lower) == N);
  memory_settle(node.lower);
  memory_fail(node.below, KVS_ERR_DEADLINE, KVS_OK);
  memory_hold(node.lower, true);
  assert_int_equal(start(&node, 0, &getting), KVS_PENDING);
  memory_settle(node.below); /* the store has handed it over */
  assert_true(unwait(&node, &getting));
  memory_hold(node.lower, false);
  memory_settle(node.lower);
  assert_int_equal(getting.ended.calls, 0);
  assert_int_equal(DECODES(&node), 0);
  end(&node);
}

static void while_it_is_queued_and_decoded(void **state)
{
  struct getting decoded, queued, from_below;
  struct decoding_node node;

  (void)state;
  node_fill(&node, &one);
  bring(&node, 0);
  bring(&node, 1);
  gate_set(&decode_gate, true);
  assert_int_equal(start(&node, 0, &decoded), KVS_PENDING);
  gate_await(&decode_gate, 1);
  assert_int_equal(start(&node, 1, &queued), KVS_PENDING);
  assert_int_equal(start(&node, 5, &from_below), KVS_PENDING);
  AWAIT(WAITING(&node) == 2);
  assert_true(unwait(&node, &queued));
  assert_true(unwait(&node, &from_below));
  assert_int_equal(WAITING(&node), 0);
  assert_true(unwait(&node, &decoded)); /* though a thread is at it */
  assert_false(unwait(&node, &decoded));
  gate_set(&decode_gate, false);
  AWAIT(MEMORY(&node) == 0);
  assert_int_equal(decoded.ended.calls + queued.ended.calls + from_below.ended.calls, 0);
  end(&node);
}

/* Readers hold all the memory there is. */
static void while_it_waits_for_memory(void **state)
{
  struct decoding_node node;
  struct getting readers[64], getting;
  uint32_t n = 0;
  uint64_t most;

  (void)state;
  node_fill(&node, &one);
  bring(&node, 0);
  most = kvi_store_dram_bytes(node.store) / 8 + kvi_store_chunk_bytes_max(node.store);
  while ((n + 1) * (uint64_t)RAW <= most) {
    assert_in_range(n, 0, 63);
    assert_int_equal(node_get_end(start(&node, 0, &readers[n]), &readers[n]), KVS_OK);
    n++;
  }
  assert_int_equal(MEMORY(&node), n * (uint64_t)RAW);
  for (int round = 0; round < 2; round++) {
    assert_int_equal(start(&node, 0, &getting), KVS_PENDING);
    AWAIT(WAITING(&node) == 0); /* a thread has it */
    if (round == 0) {
      assert_true(unwait(&node, &getting));
    } else {
      node_get_close(&node, &readers[--n]);
      assert_int_equal(node_get_end(KVS_PENDING, &getting), KVS_OK);
      source_check(&getting.wait.source, 0, false);
      node_get_close(&node, &getting);
    }
  }
  while (n > 0) {
    source_check(&readers[--n].wait.source, 0, false);
    node_get_close(&node, &readers[n]);
  }
  end(&node);
}

/* ---- told ---- */

static struct gate tell_gate = GATE_INITIALIZER;
static struct decoding_node *telling_node;

/* Gives itself up, which is too late, and stands at the gate. */
static void told(struct kvi_get_wait *wait, kvs_status status, uint32_t cause)
{
  struct getting *getting = (struct getting *)wait;

  getting->cause = cause;
  assert_false(unwait(telling_node, getting));
  gate_pass(&tell_gate);
  test_wait_end(&getting->ended, status);
}

struct giving_up {
  struct decoding_node *node;
  struct getting *getting;
  atomic_bool begun;
  bool forgotten;
  uint32_t calls; /* of its done, when unwait came back */
};

static void *give_up(void *arg)
{
  struct giving_up *up = arg;

  atomic_store(&up->begun, true);
  up->forgotten = unwait(up->node, up->getting);
  pthread_mutex_lock(&up->getting->ended.mutex);
  up->calls = up->getting->ended.calls;
  pthread_mutex_unlock(&up->getting->ended.mutex);
  return NULL;
}

/* Whoever gives up meanwhile is told so when it has been: by a thread of the decoder, and by one of the medium. */
static void while_it_is_told(void **state)
{
  struct decoding_node node;

  (void)state;
  node_fill(&node, &one);
  telling_node = &node;
  bring(&node, 0);
  for (uint64_t number = 0; number < 5; number += 4) { /* coded, in memory; not coded, below */
    struct getting getting;
    struct giving_up up = {.node = &node, .getting = &getting};
    uint8_t key[KEY_BYTES];
    struct kvi_source source;
    pthread_t thread;
    uint32_t cause;

    assert_int_equal(content_of(number), number == 0 ? TENSORS : TENSOR_NOISE);
    gate_set(&tell_gate, true);
    testing_key(number, key, KEY_BYTES);
    getting_init(&getting, &no_form);
    getting.wait.done = told;
    assert_int_equal(node.service->ops->get_open(node.service->self, &peer, node.space, key, KEY_BYTES,
                                                 &getting.wait, &source, &cause),
                     KVS_PENDING);
    gate_await(&tell_gate, 1);
    assert_int_equal(pthread_create(&thread, NULL, give_up, &up), 0);
    AWAIT(atomic_load(&up.begun));
    gate_set(&tell_gate, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(up.forgotten);
    assert_int_equal(up.calls, 1); /* it came back after done */
    assert_int_equal(getting.ended.status, KVS_OK);
    source_check(&getting.wait.source, number, false);
    node_get_close(&node, &getting);
  }
  end(&node);
}

/* ---- the service's end ---- */

static void *service_end(void *arg)
{
  kvi_store_service_destroy(arg);
  return NULL;
}

/* What was given up may still be decoded. */
static void closed_while_one_is_decoded(void **state)
{
  struct getting decoded, queued;
  struct decoding_node node;
  pthread_t thread;

  (void)state;
  node_fill(&node, &one);
  bring(&node, 0);
  gate_set(&decode_gate, true);
  assert_int_equal(start(&node, 0, &decoded), KVS_PENDING);
  gate_await(&decode_gate, 1);
  assert_int_equal(start(&node, 0, &queued), KVS_PENDING);
  assert_true(unwait(&node, &decoded));
  assert_true(unwait(&node, &queued));
  assert_int_equal(pthread_create(&thread, NULL, service_end, node.owner), 0);
  gate_set(&decode_gate, false);
  assert_int_equal(pthread_join(thread, NULL), 0);
  node.owner = NULL;
  assert_int_equal(decoded.ended.calls + queued.ended.calls, 0);
  decoding_node_close(&node); /* nothing of the store is open: it would say so */
}

/* ---- many ---- */

static void many_readers_of_one_chunk(void **state)
{
  enum { READERS = 20 };
  struct decoding_config how = {.threads = 3};
  struct getting gettings[READERS];
  struct decoding_node node;
  uint32_t n_open = 0;

  (void)state;
  node_fill(&node, &how);
  memory_settle(node.below);
  memory_hold(node.below, true);
  for (uint32_t i = 0; i < READERS; i++)
    assert_int_equal(start(&node, 0, &gettings[i]), KVS_PENDING);
  for (uint32_t i = 0; i < READERS; i += 4)
    assert_true(unwait(&node, &gettings[i]));
  memory_hold(node.below, false);
  for (uint32_t i = 0; i < READERS; i++) {
    if (i % 4 == 0)
      continue;
    assert_int_equal(node_get_end(KVS_PENDING, &gettings[i]), KVS_OK);
    source_check(&gettings[i].wait.source, 0, false);
    n_open++;
  }
  assert_int_equal(DECODES(&node), n_open);
  assert_int_equal(store_stats_of(node.store).promotions, 1);
  for (uint32_t i = 0; i < READERS; i++)
    if (i % 4 != 0)
      node_get_close(&node, &gettings[i]);
  end(&node);
}

struct reader {
  struct decoding_node *node;
  uint64_t seed;
  uint32_t told, given_up, busy;
};

/* Gets of all chunks, each of which is waited for, or given up after a while of no length. */
static void *read_and_give_up(void *arg)
{
  struct reader *reader = arg;

  for (int i = 0; i < 300; i++) {
    uint64_t word = kvi_splitmix64(&reader->seed), number = word % N;
    struct getting getting;
    kvs_status status = start(reader->node, number, &getting);

    if (status == KVS_PENDING && word >> 32 & 1) {
      for (uint32_t turns = word >> 40 & 63; turns > 0; turns--)
        sched_yield();
      if (unwait(reader->node, &getting)) {
        reader->given_up++;
        continue;
      }
    }
    status = node_get_end(status, &getting);
    if (status == KVS_OK) {
      source_check(&getting.wait.source, number, false);
      node_get_close(reader->node, &getting);
      reader->told++;
    } else {
      assert_int_equal(status, KVS_ERR_BUSY);
      reader->busy++;
    }
  }
  return NULL;
}

static void many_at_once(void **state)
{
  enum { READERS = 6 };
  struct decoding_config how = {.threads = 2, .waiting = 3, .shared = true};
  struct reader readers[READERS];
  pthread_t threads[READERS];
  struct decoding_node node;
  uint32_t told_all = 0;

  (void)state;
  node_fill(&node, &how);
  for (uint32_t i = 0; i < KINDS; i++)
    (void)content_bytes(i); /* not by several at once */
  for (uint32_t i = 0; i < READERS; i++) {
    readers[i] = (struct reader){.node = &node, .seed = i};
    assert_int_equal(pthread_create(&threads[i], NULL, read_and_give_up, &readers[i]), 0);
  }
  for (uint32_t i = 0; i < READERS; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    told_all += readers[i].told;
  }
  assert_true(told_all > 0);
  memory_settle(node.below);
  memory_settle(node.lower);
  end(&node);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(while_it_waits_for_the_store),
      cmocka_unit_test(while_it_waits_for_what_nodes_share),
      cmocka_unit_test(while_it_is_queued_and_decoded),
      cmocka_unit_test(while_it_waits_for_memory),
      cmocka_unit_test(while_it_is_told),
      cmocka_unit_test(closed_while_one_is_decoded),
      cmocka_unit_test(many_readers_of_one_chunk),
      cmocka_unit_test(many_at_once),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
