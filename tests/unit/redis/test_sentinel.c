/* The tier with a real master, a replica and three sentinels: failover in the middle of pipelines. */
#include "tests/unit/redis/testing.h"

#include <stdio.h>

#include "base/clock.h"

enum { SENTINELS = 3, N = 24 };
static struct redis_server master, replica, sentinels[SENTINELS];

static int start(void **state)
{
  char port[8], configuration[512];
  const char *of[] = {"--replicaof", "127.0.0.1", port, "--repl-diskless-sync-delay", "0", NULL};
  static const char *const own[] = {"--repl-diskless-sync-delay", "0", NULL};

  (void)state;
  server_start(&master, own);
  snprintf(port, sizeof(port), "%u", (unsigned)master.port);
  server_start(&replica, of);
  server_await(&replica, "master_link_status:up", "INFO replication");
  snprintf(configuration, sizeof(configuration),
           "sentinel monitor mymaster 127.0.0.1 %u 2\nsentinel down-after-milliseconds mymaster 3000\n"
           "sentinel failover-timeout mymaster 3000\n",
           (unsigned)master.port);
  for (int i = 0; i < SENTINELS; i++)
    server_start_sentinel(&sentinels[i], configuration);
  for (int i = 0; i < SENTINELS; i++) { /* they know the replica and each other */
    server_await(&sentinels[i], "slaves=1,sentinels=3", "INFO sentinel");
  }
  return 0;
}

static int stop(void **state)
{
  (void)state;
  for (int i = 0; i < SENTINELS; i++)
    server_stop(&sentinels[i]);
  server_stop(&replica);
  server_stop(&master);
  return 0;
}

static struct kvi_redis *open_it(const char *name)
{
  const char *addresses[SENTINELS + 1];
  struct kvi_redis_config config = {.mode = KVI_REDIS_SENTINEL,
                                    .addresses = addresses,
                                    .n_addresses = SENTINELS + 1,
                                    .sentinel_master = name,
                                    .retry_first_ms = 20,
                                    .retry_longest_ms = 200};
  static char nobody[32];

  snprintf(nobody, sizeof(nobody), "127.0.0.1:%u", (unsigned)free_port());
  addresses[0] = nobody; /* one of them is not there */
  for (int i = 0; i < SENTINELS; i++)
    addresses[i + 1] = sentinels[i].address;
  return tier_open(&config);
}

static void unknown_master(void **state)
{
  struct kvi_redis *redis = open_it("other");
  struct asked asked;
  struct chunk chunk;

  (void)state;
  chunk_make(&chunk, 1, 100);
  asked_get(&asked, &chunk, 500);
  run_all(redis, &asked, 1);
  assert_int_equal(asked.op.status, KVS_MISS);
  assert_int_equal(asked.op.cause, KVI_REDIS_DEADLINE);
  kvi_redis_close(redis);
  chunk_free(&chunk);
}

static bool is_master(const struct redis_server *server)
{
  return strncmp(server_do(server, "ROLE"), "master", 6) == 0;
}

static void failover(void **state)
{
  static struct asked asked[N];
  static struct chunk chunks[N];
  struct kvi_redis *redis = open_it("mymaster");
  char all[8];

  (void)state;
  for (size_t i = 0; i < N; i++) {
    chunk_make(&chunks[i], i, 400000);
    asked_put(&asked[i], &chunks[i], PATIENCE_MS);
  }
  run_all(redis, asked, N);
  for (size_t i = 0; i < N; i++)
    assert_int_equal(asked[i].op.status, KVS_OK);
  snprintf(all, sizeof(all), "%d", N);
  server_await(&replica, all, "DBSIZE"); /* WAIT speaks of what its own connection wrote */
  for (size_t i = 0; i < N; i++)
    asked_get(&asked[i], &chunks[i], PATIENCE_MS);
  start_all(redis, asked, N);
  server_kill(&master); /* in the middle of the pipeline */
  await_all(asked, N);
  for (size_t i = 0; i < N; i++) {
    if (asked[i].op.status == KVS_OK)
      assert_memory_equal(asked[i].landed, chunks[i].payload, chunks[i].length);
    else
      assert_int_equal(asked[i].op.status, KVS_MISS);
    asked_free(&asked[i]);
  }
  for (size_t i = 0; i < N; i++) /* the replica has all, and becomes the master */
    get_until_ok(redis, &chunks[i]);
  assert_true(stats_of(redis).failovers >= 1);
  put_until_ok(redis, &chunks[0]);

  /* The old one comes back, is made a replica, and is master again by a failover that nobody dies of. */
  server_restart(&master);
  server_await(&master, "role:slave", "INFO replication");
  server_await(&master, "master_link_status:up", "INFO replication");
  for (int i = 0; i < SENTINELS; i++)
    server_await(&sentinels[i], "status=ok", "INFO sentinel");
  for (kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS); !is_master(&master); pause_ms(100)) {
    (void)server_do(&sentinels[0],
                    "SENTINEL FAILOVER mymaster"); /* again, for one may be given up on the way */
    assert_false(kvi_deadline_expired(patience));
  }
  for (size_t i = 0; i < N; i++)
    chunk_free(&chunks[i]);
  for (size_t i = 0; i < N; i++) {
    chunk_make(&chunks[i], 100 + i, 1000);
    put_until_ok(redis, &chunks[i]); /* READONLY on the way counts as no answer */
    get_until_ok(redis, &chunks[i]);
    chunk_free(&chunks[i]);
  }
  kvi_redis_close(redis);
}

/* Without any sentinel the master that is known stays. */
static void sentinels_go(void **state)
{
  struct kvi_redis *redis = open_it("mymaster");
  struct chunk chunk;
  enum kvi_redis_cause cause;

  (void)state;
  chunk_make(&chunk, 200, 1000);
  put_until_ok(redis, &chunk);
  for (int i = 0; i < SENTINELS; i++)
    server_kill(&sentinels[i]);
  for (int i = 0; i < 20; i++) {
    get_until_ok(redis, &chunk);
    pause_ms(20);
  }
  kvi_redis_close(redis);
  redis = open_it("mymaster"); /* nobody to ask */
  assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_REDIS_DOWN);
  kvi_redis_close(redis);
  chunk_free(&chunk);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unknown_master),
      cmocka_unit_test(failover),
      cmocka_unit_test(sentinels_go),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
