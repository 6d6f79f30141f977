/* A chunk is removed while the same node writes it: when both have ended it is not there, wherever the write was when the removal came. */
#include "tests/unit/redis/one_server.h"
#include "tests/unit/redis/testing.h"

static void assert_gone(struct kvi_redis *redis, const struct chunk *chunk)
{
  enum kvi_redis_cause cause;

  assert_int_equal(look(redis, chunk, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_REDIS_ABSENT);
}

/* The unlink comes later and later: before the look of the put, behind it, within the SET, behind that. */
static void at_any_moment(void **state)
{
  enum { ROUNDS = 60 };
  static struct asked asked[2];
  struct kvi_redis *redis = tier_open_single(&server);
  uint32_t canceled = 0;
  struct chunk chunk;

  (void)state;
  chunk_make(&chunk, 1, 8000000);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  for (unsigned round = 0; round < ROUNDS; round++) {
    asked_unlink(&asked[0], &chunk, PATIENCE_MS);
    run_all(redis, asked, 1);
    asked_put(&asked[0], &chunk, PATIENCE_MS);
    asked_unlink(&asked[1], &chunk, PATIENCE_MS);
    start_one_of(redis, asked, 2, 0);
    pause_ms(round % 12);
    start_one_of(redis, asked, 2, 1);
    await_all(asked, 2);
    assert_true(asked[0].op.status == KVS_OK || asked[0].op.status == KVS_ERR_CANCELED);
    canceled += asked[0].op.status == KVS_ERR_CANCELED;
    if (asked[0].op.status == KVS_OK) {
      assert_int_equal(asked[1].op.status, KVS_OK);
    }
    assert_gone(redis, &chunk);
  }
  assert_int_equal(stats_of(redis).put_canceled, canceled);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  assert_int_equal(get(redis, &chunk, NULL), KVS_OK);
  kvi_redis_close(redis);
  chunk_free(&chunk);
}

/* A server that stands still, with writes in all states: those that wait end at once; once it goes on nothing of any is left. */
static void while_it_stands_still(void **state)
{
  enum { N = 80 }; /* more than connections and pipelines take */
  static struct asked asked[2 * N];
  static struct chunk chunks[N];
  struct kvi_redis *redis = tier_open_single(&server);

  (void)state;
  for (size_t i = 0; i < N; i++)
    chunk_make(&chunks[i], 100 + i, 400000);
  assert_int_equal(put(redis, &chunks[0]), KVS_OK);
  for (size_t i = 0; i < N; i++) {
    asked_put(&asked[i], &chunks[i], PATIENCE_MS);
    asked_unlink(&asked[N + i], &chunks[i], PATIENCE_MS);
  }
  for (size_t i = 0; i < N; i++)
    start_one_of(redis, asked, 2 * N, i);
  pause_ms(20);
  server_freeze(&server, true);
  for (size_t i = 0; i < N; i++)
    start_one_of(redis, asked, 2 * N, N + i);
  pause_ms(20);
  server_freeze(&server, false);
  await_all(asked, 2 * N);
  for (size_t i = 0; i < N; i++)
    assert_gone(redis, &chunks[i]);
  kvi_redis_close(redis);
  for (size_t i = 0; i < N; i++)
    chunk_free(&chunks[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(at_any_moment),
      cmocka_unit_test(while_it_stands_still),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
