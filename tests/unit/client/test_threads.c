/* Many threads on one client: puts of equal and of their own keys, gets, lookups, cancels, polls and waits. For tsan. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/unit/client/fixture.h"

enum { THREADS = 6, ROUNDS = 150, SIZE = 20000, SHARED_KEYS = 8 };

struct worker {
  struct fixture *fixture;
  uint32_t number;
  atomic_uint *wrong;
};

/* A get that hits brings the bytes of that key. */
static void check_get(struct worker *worker, uint32_t family, uint32_t i)
{
  uint8_t key[KEY], out[SIZE], expected[SIZE];
  struct fixture *f = worker->fixture;
  kvs_status status;

  test_key(family, i, key);
  status = get_one(f->space, f->client, key, out, sizeof(out), NULL);
  test_fill(expected, sizeof(expected), family * 1000 + i);
  if (status == KVS_OK ? memcmp(out, expected, sizeof(out)) != 0 : status != KVS_MISS)
    atomic_fetch_add(worker->wrong, 1);
}

static void check_put(struct worker *worker, uint32_t family, uint32_t i)
{
  uint8_t key[KEY], bytes[SIZE];
  struct fixture *f = worker->fixture;

  test_key(family, i, key);
  test_fill(bytes, sizeof(bytes), family * 1000 + i);
  if (put_one(f->space, f->client, key, bytes, sizeof(bytes)) != KVS_OK)
    atomic_fetch_add(worker->wrong, 1);
}

static void look_up_and_cancel(struct worker *worker)
{
  uint8_t keys[SHARED_KEYS][KEY], present[1];
  struct fixture *f = worker->fixture;
  const kvsc_call call = {.struct_size = sizeof(call), .present = present, .lease_ms = 50};
  kvsc_completion completion;
  kvsc_op op;

  for (uint32_t i = 0; i < SHARED_KEYS; i++)
    test_key(1, i, keys[i]);
  const kvsc_keys list = {.struct_size = sizeof(list), .n = SHARED_KEYS, .keys = keys[0]};
  if (kvsc_lookup(f->client, &f->space, 1, &list, &call, &op) != KVS_OK) {
    atomic_fetch_add(worker->wrong, 1);
    return;
  }
  (void)kvsc_cancel(f->client, op);
  if (kvsc_wait(f->client, op, 10000, &completion) != KVS_OK)
    atomic_fetch_add(worker->wrong, 1);
  else if (completion.lease != 0)
    (void)kvsc_release(f->client, completion.lease);
}

static void *work(void *arg)
{
  struct worker *worker = arg;

  for (uint32_t round = 0; round < ROUNDS; round++) {
    check_put(worker, 1, round % SHARED_KEYS); /* all threads the same: equal puts meet in flight */
    check_get(worker, 1, (round + worker->number) % SHARED_KEYS);
    check_put(worker, 10 + worker->number, round);
    check_get(worker, 10 + worker->number, round);
    look_up_and_cancel(worker);
    if (worker->number == 0 && round % 10 == 0) {
      uint64_t chunks, bytes;

      if (kvsc_evict(worker->fixture->client, NULL, UINT64_MAX, 0, &chunks, &bytes) != KVS_OK)
        atomic_fetch_add(worker->wrong, 1);
    }
  }
  return NULL;
}

static void many_threads(void **state)
{
  struct fixture fixture;
  struct worker workers[THREADS];
  pthread_t threads[THREADS];
  atomic_uint wrong = 0;
  kvsc_counters counters = {.struct_size = sizeof(counters)};

  (void)state;
  fixture_open(&fixture, 32u << 20, 0);
  for (uint32_t i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){.fixture = &fixture, .number = i, .wrong = &wrong};
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (uint32_t i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&wrong), 0);
  kvsc_get_counters(fixture.client, &counters);
  assert_int_equal(counters.in_flight, 0);
  assert_int_equal(counters.operations, counters.completions);
  fixture_close(&fixture);
}

/* One thread starts, another one polls by the eventfd's rules: none is lost, none comes twice. */
static void *poll_all(void *arg)
{
  struct fixture *fixture = arg;
  kvsc_completion completions[16];
  uint64_t sum = 0;
  size_t n = 0;

  (void)kvsc_fd(fixture->client);
  while (n < ROUNDS * 4) {
    size_t got = kvsc_poll(fixture->client, completions, 16);

    for (size_t i = 0; i < got; i++)
      sum += completions[i].user;
    n += got;
  }
  return (void *)(uintptr_t)sum;
}

static void a_poller_gets_each_once(void **state)
{
  struct fixture fixture;
  pthread_t thread;
  void *sum;

  (void)state;
  fixture_open(&fixture, 16u << 20, 16);
  assert_int_equal(pthread_create(&thread, NULL, poll_all, &fixture), 0);
  for (uint64_t i = 1; i <= ROUNDS * 4; i++) {
    const kvsc_call call = {.struct_size = sizeof(call), .user = i};
    kvsc_op op;

    while (kvsc_ping(fixture.client, &call, &op) == KVS_ERR_BUSY)
      sched_yield(); /* the bound of 16 is met now and then */
  }
  pthread_join(thread, &sum);
  assert_int_equal((uintptr_t)sum, (uintptr_t)ROUNDS * 4 * (ROUNDS * 4 + 1) / 2);
  fixture_close(&fixture);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(many_threads),
      cmocka_unit_test(a_poller_gets_each_once),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
