/* Many threads on one connector: put, get, look up, wait for layers, cancel, while others take the completions. */
#include "tests/unit/connector/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"

#define THREADS   6u
#define ROUNDS    30u /* THREADS * ROUNDS * CHUNKS stay below the 1024 chunks of a store of 64 MiB */
#define PER_CHUNK 2u
#define CHUNKS    4u
#define SLOTS     (PER_CHUNK * CHUNKS)

struct shared {
  kvs_connector *connector;
  kvs_space *space;
  struct test_keys keys;  /* that all threads put at once */
  unsigned char *payload; /* of those */
  _Atomic int failures;
  _Atomic uint32_t started, taken; /* of the operations that the taker takes */
  _Atomic bool over;
};

/* cmocka's asserts are for the test's own thread. */
#define CHECK(shared, condition)                                                                             \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      print_error("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
      atomic_fetch_add(&(shared)->failures, 1);                                                              \
    }                                                                                                        \
  } while (0)

struct worker {
  struct shared *shared;
  pthread_t thread;
  uint32_t number;
  struct test_memory memory;
};

static void put_own_and_get_back(struct worker *worker, kvi_rand *rand)
{
  static const int64_t slots[SLOTS] = {0, 1, 2, 3, 4, 5, 6, 7}, back[SLOTS] = {7, 6, 5, 4, 3, 2, 1, 0};
  struct shared *shared = worker->shared;
  size_t chunk_bytes = test_chunk_bytes(&worker->memory, PER_CHUNK);
  unsigned char *payload = malloc(CHUNKS * chunk_bytes), *got = malloc(chunk_bytes);
  uint8_t bytes[CHUNKS * KVS_HASH_SIZE];
  kvs_keys keys = {.struct_size = sizeof(keys), .n = CHUNKS, .keys = bytes};
  kvs_completion completion;
  kvs_op op = 0;

  CHECK(shared, kvi_random_bytes(bytes, sizeof(bytes)) == KVS_OK);
  test_fill(worker->memory.bytes, worker->memory.size, kvi_rand_next(rand));
  for (uint32_t i = 0; i < CHUNKS; i++)
    reference_gather(&worker->memory, slots + i * PER_CHUNK, PER_CHUNK, payload + i * chunk_bytes);
  CHECK(shared,
        kvs_put(shared->space, &keys, worker->memory.registered, slots, PER_CHUNK, NULL, &op) == KVS_OK);
  CHECK(shared,
        kvs_wait(shared->connector, op, WAIT_MS, &completion) == KVS_OK && completion.status == KVS_OK);
  test_fill(worker->memory.bytes, worker->memory.size, kvi_rand_next(rand));
  CHECK(shared,
        kvs_get(shared->space, &keys, worker->memory.registered, back, PER_CHUNK, NULL, &op) == KVS_OK);
  CHECK(shared, kvs_wait_layer(shared->connector, op, 1, WAIT_MS) == KVS_OK);
  CHECK(shared,
        kvs_wait(shared->connector, op, WAIT_MS, &completion) == KVS_OK && completion.status == KVS_OK);
  for (uint32_t i = 0; i < CHUNKS; i++) {
    reference_gather(&worker->memory, back + i * PER_CHUNK, PER_CHUNK, got);
    CHECK(shared, memcmp(got, payload + i * chunk_bytes, chunk_bytes) == 0);
  }
  free(payload);
  free(got);
}

/* All threads put the same chunk at the same time; whoever wins, the bytes are those. */
static void put_common(struct worker *worker, uint32_t round)
{
  struct shared *shared = worker->shared;
  size_t chunk_bytes = test_chunk_bytes(&worker->memory, PER_CHUNK);
  kvs_keys key = {
      .struct_size = sizeof(key), .n = 1, .keys = shared->keys.bytes + round * KVS_HASH_SIZE, .unchained = 1};
  unsigned char *got = malloc(chunk_bytes);
  kvs_buffer put = {.base = shared->payload, .length = chunk_bytes},
             get = {.base = got, .length = chunk_bytes};
  kvs_completion completion;
  kvs_op op = 0;

  CHECK(shared, kvs_put_buffers(shared->space, &key, &put, NULL, &op) == KVS_OK);
  CHECK(shared,
        kvs_wait(shared->connector, op, WAIT_MS, &completion) == KVS_OK && completion.status == KVS_OK);
  CHECK(shared, kvs_get_buffers(shared->space, &key, &get, NULL, &op) == KVS_OK);
  CHECK(shared,
        kvs_wait(shared->connector, op, WAIT_MS, &completion) == KVS_OK && completion.status == KVS_OK);
  CHECK(shared, memcmp(got, shared->payload, chunk_bytes) == 0);
  free(got);
}

/* Left for the taker: user 1 says so. */
static void start_for_the_taker(struct worker *worker, uint32_t round)
{
  struct shared *shared = worker->shared;
  kvs_keys key = {
      .struct_size = sizeof(key), .n = 1, .keys = shared->keys.bytes + round * KVS_HASH_SIZE, .unchained = 1};
  kvs_request request = {.struct_size = sizeof(request), .user = 1};
  kvs_op op = 0;

  atomic_fetch_add(&shared->started, 1);
  CHECK(shared, kvs_lookup(shared->connector, &shared->space, 1, &key, &request, &op) == KVS_OK);
  if (round % 3 == 0)
    kvs_cancel(shared->connector, op);
}

static void *work(void *arg)
{
  struct worker *worker = arg;
  kvi_rand rand;

  kvi_rand_seed(&rand, worker->number);
  for (uint32_t round = 0; round < ROUNDS; round++) {
    put_own_and_get_back(worker, &rand);
    put_common(worker, round);
  }
  return NULL;
}

static void run_workers(struct shared *shared, struct worker *workers, void *(*fn)(void *))
{
  for (uint32_t i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&workers[i].thread, NULL, fn, &workers[i]), 0);
  for (uint32_t i = 0; i < THREADS; i++)
    pthread_join(workers[i].thread, NULL);
  assert_int_equal(atomic_load(&shared->failures), 0);
}

static void *work_for_the_taker(void *arg)
{
  for (uint32_t round = 0; round < ROUNDS; round++)
    start_for_the_taker(arg, round);
  return NULL;
}

static void *take(void *arg)
{
  struct shared *shared = arg;
  kvi_deadline deadline = kvi_deadline_from_ms(WAIT_MS);

  while (!kvi_deadline_expired(deadline) &&
         !(atomic_load(&shared->over) && atomic_load(&shared->taken) == atomic_load(&shared->started))) {
    kvs_completion completions[8];
    size_t n = kvs_poll(shared->connector, completions, 8);

    for (size_t i = 0; i < n; i++)
      CHECK(shared, completions[i].user == 1 && completions[i].op != 0);
    atomic_fetch_add(&shared->taken, (uint32_t)n);
  }
  return NULL;
}

/* ---- a layer is waited for while another thread takes the completion ---- */

static void *wait_for_layers(void *arg)
{
  struct worker *worker = arg;
  struct shared *shared = worker->shared;
  static const int64_t slots[SLOTS] = {0, 1, 2, 3, 4, 5, 6, 7};

  for (uint32_t round = 0; round < ROUNDS; round++) {
    kvs_keys keys = {.struct_size = sizeof(keys), .n = CHUNKS, .keys = shared->keys.bytes, .unchained = 1};
    kvs_request request = {.struct_size = sizeof(request), .user = 1};
    kvs_status status;
    kvs_op op = 0;

    atomic_fetch_add(&shared->started, 1);
    CHECK(shared, kvs_get(shared->space, &keys, worker->memory.registered, slots, PER_CHUNK, &request, &op) ==
                      KVS_OK);
    status = kvs_wait_layer(shared->connector, op, 1, WAIT_MS);
    CHECK(shared, status == KVS_OK || status == KVS_ERR_INVALID); /* taken before the call began */
  }
  return NULL;
}

static void with_taker(struct shared *shared, struct worker *workers, void *(*fn)(void *))
{
  pthread_t takers[2];

  atomic_store(&shared->over, false);
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&takers[i], NULL, take, shared), 0);
  run_workers(shared, workers, fn);
  atomic_store(&shared->over, true);
  for (int i = 0; i < 2; i++)
    pthread_join(takers[i], NULL);
  assert_int_equal(atomic_load(&shared->taken), atomic_load(&shared->started));
  assert_int_equal(atomic_load(&shared->failures), 0);
}

static void threads_share_a_connector(void **state)
{
  struct shared shared = {.connector = test_open(NULL)};
  struct worker workers[THREADS];
  size_t chunk_bytes;

  (void)state;
  shared.space = test_space(shared.connector, "threads", 0);
  test_keys_init(&shared.keys, ROUNDS);
  for (uint32_t i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){.shared = &shared, .number = i + 1};
    test_memory_init(&workers[i].memory, shared.connector, 4, SLOTS, 16);
  }
  chunk_bytes = test_chunk_bytes(&workers[0].memory, PER_CHUNK);
  shared.payload = malloc(chunk_bytes);
  test_fill(shared.payload, chunk_bytes, 5);

  run_workers(&shared, workers, work);
  with_taker(&shared, workers, work_for_the_taker);
  with_taker(&shared, workers, wait_for_layers);

  for (uint32_t i = 0; i < THREADS; i++)
    test_memory_destroy(&workers[i].memory);
  free(shared.payload);
  kvs_close(shared.connector);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_a_connector)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
