/* The tier with a real cluster of three masters: keys go where they belong, while slots move and masters die. */
#include "tests/unit/redis/testing.h"

#include <stdio.h>

#include "base/clock.h"

enum { MASTERS = 3, N = 60 };
static struct redis_server masters[MASTERS];

static void slots_add(struct redis_server *server, int from, int to)
{
  assert_string_equal(server_do(server, "CLUSTER ADDSLOTSRANGE %d %d", from, to), "OK");
}

static int start(void **state)
{
  static const char *const arguments[] = {"--cluster-enabled",
                                          "yes",
                                          "--cluster-node-timeout",
                                          "2000",
                                          "--cluster-require-full-coverage",
                                          "no",
                                          NULL};

  (void)state;
  for (int i = 0; i < MASTERS; i++)
    server_start(&masters[i], arguments);
  slots_add(&masters[0], 0, 5460);
  slots_add(&masters[1], 5461, 10922);
  slots_add(&masters[2], 10923, 16383);
  for (int i = 1; i < MASTERS; i++) {
    char bus[16];

    snprintf(bus, sizeof(bus), "%s", masters[i].arguments[3]); /* --cluster-port */
    assert_string_equal(server_do(&masters[0], "CLUSTER MEET 127.0.0.1 %d %s", (int)masters[i].port, bus),
                        "OK");
  }
  for (int i = 0; i < MASTERS; i++) {
    server_await(&masters[i], "cluster_slots_assigned:16384", "CLUSTER INFO");
    server_await(&masters[i], "cluster_state:ok", "CLUSTER INFO");
  }
  return 0;
}

static int stop(void **state)
{
  (void)state;
  for (int i = 0; i < MASTERS; i++)
    server_stop(&masters[i]);
  return 0;
}

static struct kvi_redis *open_it(void)
{
  const char *addresses[] = {masters[1].address}; /* one of them is enough */
  struct kvi_redis_config config = {.mode = KVI_REDIS_CLUSTER,
                                    .addresses = addresses,
                                    .n_addresses = 1,
                                    .connections = 2,
                                    .retry_first_ms = 20,
                                    .retry_longest_ms = 200};

  return tier_open(&config);
}

static void put_and_get_all(struct kvi_redis *redis, uint64_t from)
{
  static struct asked asked[N];
  static struct chunk chunks[N];

  for (size_t i = 0; i < N; i++) {
    chunk_make(&chunks[i], from + i, 1000 + i * 3001);
    asked_put(&asked[i], &chunks[i], PATIENCE_MS);
  }
  run_all(redis, asked, N);
  for (size_t i = 0; i < N; i++) {
    assert_int_equal(asked[i].op.status, KVS_OK);
    asked_get(&asked[i], &chunks[i], PATIENCE_MS);
  }
  run_all(redis, asked, N);
  for (size_t i = 0; i < N; i++) {
    assert_int_equal(asked[i].op.status, KVS_OK);
    assert_memory_equal(asked[i].landed, chunks[i].payload, chunks[i].length);
    asked_free(&asked[i]);
    chunk_free(&chunks[i]);
  }
}

static void spreads_over_masters(void **state)
{
  struct kvi_redis *redis = open_it();

  (void)state;
  put_and_get_all(redis, 0);
  for (int i = 0; i < MASTERS; i++)
    assert_true(strtol(server_do(&masters[i], "DBSIZE"), NULL, 10) > 0);
  assert_int_equal(stats_of(redis).servers, MASTERS);
  kvi_redis_close(redis);
}

static const char *id_of(int i)
{
  static char ids[MASTERS][64];

  snprintf(ids[i], sizeof(ids[i]), "%s", server_do(&masters[i], "CLUSTER MYID"));
  return ids[i];
}

/* A slot on its way: ASK for what has gone already, MOVED when all of it has. */
static void a_slot_moves(void **state)
{
  struct kvi_redis *redis = open_it();
  struct chunk chunk, fresh;
  enum kvi_redis_cause cause;
  const char *from_id, *to_id;
  uint16_t slot;
  int from, to;

  (void)state;
  chunk_make(&chunk, 1000, 50000);
  slot = kvi_redis_slot(chunk.key.bytes, chunk.key.length);
  from = slot <= 5460 ? 0 : slot <= 10922 ? 1 : 2;
  to = (from + 1) % MASTERS;
  from_id = id_of(from);
  to_id = id_of(to);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  assert_string_equal(server_do(&masters[to], "CLUSTER SETSLOT %d IMPORTING %s", (int)slot, from_id), "OK");
  assert_string_equal(server_do(&masters[from], "CLUSTER SETSLOT %d MIGRATING %s", (int)slot, to_id), "OK");
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK); /* still there */
  char port[8];
  snprintf(port, sizeof(port), "%u", (unsigned)masters[to].port);
  const char *migrate[] = {"MIGRATE", "127.0.0.1", port, (const char *)chunk.key.bytes, "0", "60000"};
  size_t lengths[] = {7, 9, strlen(port), chunk.key.length, 1, 5};
  assert_string_equal(server_do_argv(&masters[from], 6, migrate, lengths), "OK");
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK); /* by ASK */
  assert_int_equal(look(redis, &chunk, &cause), KVS_OK);
  assert_int_equal(put(redis, &chunk), KVS_EXISTS);
  assert_true(stats_of(redis).redirects >= 3);
  assert_string_equal(server_do(&masters[to], "CLUSTER SETSLOT %d NODE %s", (int)slot, to_id), "OK");
  assert_string_equal(server_do(&masters[from], "CLUSTER SETSLOT %d NODE %s", (int)slot, to_id), "OK");
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK); /* by MOVED */
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
  chunk_make(&fresh, 1001, 100);
  assert_int_equal(put(redis, &fresh), KVS_OK);
  kvi_redis_close(redis);
  chunk_free(&chunk);
  chunk_free(&fresh);
}

/* One master gone: its keys are misses, the others' are served; then it is back. */
static void a_master_dies(void **state)
{
  struct kvi_redis *redis = open_it();
  static struct chunk chunks[N];
  static struct asked asked[N];
  size_t hits = 0, misses = 0;

  (void)state;
  for (size_t i = 0; i < N; i++) {
    chunk_make(&chunks[i], 2000 + i, 10000);
    put_until_ok(redis, &chunks[i]);
  }
  server_kill(&masters[2]);
  for (size_t i = 0; i < N; i++)
    asked_get(&asked[i], &chunks[i], PATIENCE_MS);
  run_all(redis, asked, N);
  for (size_t i = 0; i < N; i++) {
    hits += asked[i].op.status == KVS_OK;
    misses += asked[i].op.status == KVS_MISS;
    if (asked[i].op.status == KVS_OK)
      assert_memory_equal(asked[i].landed, chunks[i].payload, chunks[i].length);
    asked_free(&asked[i]);
  }
  assert_true(hits > 0 && misses > 0);
  assert_int_equal(hits + misses, N);
  server_restart(&masters[2]);
  for (size_t i = 0; i < N; i++) {
    put_until_ok(redis, &chunks[i]); /* it came back empty */
    get_until_ok(redis, &chunks[i]);
    chunk_free(&chunks[i]);
  }
  kvi_redis_close(redis);
}

/* A cluster spoken to as if it was one server: a miss that says why, no crash. */
static void wrong_mode(void **state)
{
  struct kvi_redis *redis = tier_open_single(&masters[0]);
  size_t refused = 0;

  (void)state;
  for (uint64_t i = 0; i < 20; i++) {
    enum kvi_redis_cause cause;
    struct chunk chunk;

    chunk_make(&chunk, 3000 + i, 100);
    assert_int_equal(look(redis, &chunk, &cause), KVS_MISS);
    refused += cause == KVI_REDIS_REFUSED;
    chunk_free(&chunk);
  }
  assert_true(refused > 0);
  kvi_redis_close(redis);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(spreads_over_masters),
      cmocka_unit_test(a_slot_moves),
      cmocka_unit_test(a_master_dies),
      cmocka_unit_test(wrong_mode),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
