/*
 * Troubles of the connection: with a real server that dies, comes back, is frozen, full or forbids; and with a false one that answers
 * nonsense, which a real one does not.
 */
#include "tests/unit/redis/testing.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define SHORT_MS 300u

/* ---- the real server ---- */

static void dies_and_comes_back(void **state)
{
  struct redis_server server;
  enum kvi_redis_cause cause;
  struct kvi_redis *redis;
  struct chunk chunk;

  (void)state;
  server_start(&server, NULL);
  redis = tier_open_single(&server);
  chunk_make(&chunk, 1, 300000);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  server_kill(&server);
  assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_REDIS_DOWN);
  assert_int_equal(look(redis, &chunk, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_REDIS_DOWN);
  assert_int_equal(put(redis, &chunk), KVS_ERR_UNREACHABLE);
  server_restart(&server);
  put_until_ok(redis, &chunk);
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
  assert_true(stats_of(redis).breaker_opened >= 1);
  kvi_redis_close(redis);
  server_stop(&server);
  chunk_free(&chunk);
}

/* Killed with a pipeline full of chunks: each operation ends, and what is reported as got is right. */
static void dies_in_the_middle(void **state)
{
  enum { N = 64 };
  static struct asked asked[N];
  static struct chunk chunks[N];
  struct redis_server server;
  struct kvi_redis *redis;

  (void)state;
  server_start(&server, NULL);
  redis = tier_open_single(&server);
  for (size_t i = 0; i < N; i++)
    chunk_make(&chunks[i], 10 + i, 500000);
  for (int round = 0; round < 6; round++) {
    for (size_t i = 0; i < N; i++) {
      if (round % 2 == 0)
        asked_put(&asked[i], &chunks[i], PATIENCE_MS);
      else
        asked_get(&asked[i], &chunks[i], PATIENCE_MS);
    }
    start_all(redis, asked, N);
    pause_ms((unsigned)round * 5);
    server_kill(&server);
    await_all(asked, N);
    for (size_t i = 0; i < N; i++) {
      if (round % 2 == 1 && asked[i].op.status == KVS_OK)
        assert_memory_equal(asked[i].landed, chunks[i].payload, chunks[i].length);
      asked_free(&asked[i]);
    }
    server_restart(&server);
    for (size_t i = 0; i < N && round % 2 == 0; i++)
      put_until_ok(redis, &chunks[i]);
  }
  kvi_redis_close(redis);
  server_stop(&server);
  for (size_t i = 0; i < N; i++)
    chunk_free(&chunks[i]);
}

/* A server that stands still: everything ends by its deadline, then nothing is asked any more, then it is well again. */
static void stands_still(void **state)
{
  struct redis_server server;
  struct asked asked[16];
  struct kvi_redis *redis;
  struct chunk chunk, large;
  enum kvi_redis_cause cause;

  (void)state;
  server_start(&server, NULL);
  redis = tier_open_single(&server);
  chunk_make(&chunk, 1, 300000);
  chunk_make(&large, 2, 20000000);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  server_freeze(&server, true);
  for (size_t i = 0; i < 16; i++) {
    if (i % 3 == 0)
      asked_look(&asked[i], &chunk, SHORT_MS);
    else if (i % 3 == 1)
      asked_get(&asked[i], &chunk, SHORT_MS);
    else
      asked_put(&asked[i], &large, SHORT_MS);
  }
  run_all(redis, asked, 16);
  for (size_t i = 0; i < 16; i++) {
    assert_int_equal(asked[i].op.status, i % 3 == 2 ? KVS_ERR_DEADLINE : KVS_MISS);
    assert_int_equal(asked[i].op.cause, KVI_REDIS_DEADLINE);
    asked_free(&asked[i]);
  }
  for (kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
       ;) { /* the breaker opens: refused before any deadline */
    asked_look(&asked[0], &chunk, PATIENCE_MS);
    run_all(redis, asked, 1);
    if (asked[0].op.cause == KVI_REDIS_DEADLINE)
      break;
    assert_false(kvi_deadline_expired(patience));
    if (stats_of(redis).breaker_opened > 0)
      break;
  }
  assert_true(stats_of(redis).breaker_opened > 0);
  server_freeze(&server, false);
  get_until_ok(redis, &chunk);
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
  kvi_redis_close(redis);
  server_stop(&server);
  chunk_free(&chunk);
  chunk_free(&large);
}

/* What lies there although its put has failed was sent and not answered, and the put says so. */
static void stands_still_over_a_write(void **state)
{
  enum { N = 16, ROUNDS = 400 };
  static struct asked asked[N];
  static struct chunk chunks[N];
  struct redis_server server;
  struct kvi_redis *redis;
  uint32_t unsure = 0;

  (void)state;
  server_start(&server, NULL);
  redis = tier_open_single(&server);
  for (uint64_t round = 0; round < ROUNDS && unsure == 0; round++) {
    struct chunk before;

    for (size_t i = 0; i < N; i++) {
      chunk_make(&chunks[i], 1000 + round * N + i, 20000);
      asked_put(&asked[i], &chunks[i], SHORT_MS);
    }
    start_all(redis, asked, N);
    usleep((useconds_t)(round * 37 % 1500));
    server_freeze(&server, true);
    await_all(asked, N);
    server_freeze(&server, false);
    chunk_make(&before, 999999, 1000);
    put_until_ok(redis, &before); /* it is well again */
    for (size_t i = 0; i < N; i++) {
      enum kvi_redis_cause cause;

      if (look(redis, &chunks[i], &cause) == KVS_OK)
        assert_true(asked[i].op.status == KVS_OK || asked[i].op.unsure);
      unsure += asked[i].op.unsure;
      asked_free(&asked[i]);
      chunk_free(&chunks[i]);
    }
    chunk_free(&before);
  }
  assert_true(unsure > 0);
  kvi_redis_close(redis);
  server_stop(&server);
}

/* However many commands a look-up has, their one deadline is one silence: no reason to leave the server alone. Many silences in a row are. */
static void late_is_not_down(void **state)
{
  enum { N = 64 };
  static struct asked asked[N];
  struct redis_server server;
  struct kvi_redis *redis;
  struct chunk chunk;
  enum kvi_redis_cause cause;

  (void)state;
  server_start(&server, NULL);
  redis = tier_open_single(&server);
  chunk_make(&chunk, 1, 300000);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  server_freeze(&server, true);
  for (size_t i = 0; i < N; i++)
    asked_look(&asked[i], &chunk, SHORT_MS);
  run_all(redis, asked, N);
  for (size_t i = 0; i < N; i++) {
    assert_int_equal(asked[i].op.cause, KVI_REDIS_DEADLINE);
    asked_free(&asked[i]);
  }
  assert_int_equal(stats_of(redis).breaker_opened, 0);
  server_freeze(&server, false);
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
  assert_int_equal(look(redis, &chunk, &cause), KVS_OK);
  server_freeze(&server, true);
  for (kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS); stats_of(redis).breaker_opened == 0;) {
    assert_false(kvi_deadline_expired(patience));
    asked_look(&asked[0], &chunk, 20);
    run_all(redis, asked, 1);
    asked_free(&asked[0]);
  }
  server_freeze(&server, false);
  get_until_ok(redis, &chunk);
  kvi_redis_close(redis);
  server_stop(&server);
  chunk_free(&chunk);
}

/* Closing does not wait for a server that stands still. */
static void closed_under_way(void **state)
{
  struct redis_server server;
  struct asked asked[4];
  struct kvi_redis *redis;
  struct chunk chunk;

  (void)state;
  server_start(&server, NULL);
  redis = tier_open_single(&server);
  chunk_make(&chunk, 1, 3000000);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  server_freeze(&server, true);
  for (size_t i = 0; i < 4; i++)
    asked_get(&asked[i], &chunk, PATIENCE_MS);
  start_all(redis, asked, 4);
  kvi_redis_close(redis);
  await_all(asked, 4);
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(asked[i].op.status, KVS_MISS);
    assert_int_equal(asked[i].op.cause, KVI_REDIS_DOWN);
    asked_free(&asked[i]);
  }
  server_freeze(&server, false);
  server_stop(&server);
  chunk_free(&chunk);
}

static void full_is_no_fault(void **state)
{
  static const char *const arguments[] = {"--maxmemory", "8mb", "--maxmemory-policy", "noeviction", NULL};
  struct redis_server server;
  struct kvi_redis *redis;
  struct chunk chunk;
  kvs_status status = KVS_OK;
  uint64_t number;

  (void)state;
  server_start(&server, arguments);
  redis = tier_open_single(&server);
  for (number = 0; number < 50 && status == KVS_OK; number++) {
    chunk_make(&chunk, number, 1000000);
    status = put(redis, &chunk);
    chunk_free(&chunk);
  }
  assert_int_equal(status, KVS_ERR_FULL);
  chunk_make(&chunk, 0, 1000000);
  assert_int_equal(get(redis, &chunk, NULL), KVS_OK);
  assert_int_equal(put(redis, &chunk), KVS_EXISTS);
  assert_int_equal(stats_of(redis).breaker_opened, 0);
  assert_true(kvi_redis_is_up(redis));
  chunk_free(&chunk);
  kvi_redis_close(redis);
  server_stop(&server);
}

static struct kvi_redis *open_as(const struct redis_server *server, const char *user, const char *password)
{
  const char *addresses[] = {server->address};
  struct kvi_redis_config config = {.addresses = addresses,
                                    .n_addresses = 1,
                                    .username = user,
                                    .password = password,
                                    .retry_first_ms = 20,
                                    .retry_longest_ms = 100};

  return tier_open(&config);
}

static void passwords(void **state)
{
  static const char *const arguments[] = {"--requirepass", "right", NULL};
  struct redis_server server;
  struct kvi_redis *redis;
  struct chunk chunk;
  enum kvi_redis_cause cause;

  (void)state;
  server_start(&server, arguments);
  chunk_make(&chunk, 1, 1000);
  redis = open_as(&server, NULL, "wrong");
  assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_REDIS_DENIED);
  assert_int_equal(put(redis, &chunk), KVS_ERR_DENIED);
  kvi_redis_close(redis);
  redis = open_as(&server, NULL, NULL);
  assert_int_equal(look(redis, &chunk, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_REDIS_DENIED);
  kvi_redis_close(redis);
  redis = open_as(&server, NULL, "right");
  assert_int_equal(put(redis, &chunk), KVS_OK);
  kvi_redis_close(redis);
  redis = open_as(&server, "default", "right");
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
  kvi_redis_close(redis);
  server_stop(&server);
  chunk_free(&chunk);
}

/* The least a user needs, as the docs say; and one who may not write. */
static void users(void **state)
{
  struct redis_server server;
  struct kvi_redis *redis;
  struct chunk chunk, other;
  enum kvi_redis_cause cause;

  (void)state;
  server_start(&server, NULL);
  assert_string_equal(
      server_do(&server, "ACL SETUSER kv on >secret ~kvasir:* +ping +get +getrange +set +pexpire +unlink"),
      "OK");
  assert_string_equal(server_do(&server, "ACL SETUSER reader on >secret ~kvasir:* +ping +get +getrange"),
                      "OK");
  chunk_make(&chunk, 1, 1000);
  chunk_make(&other, 2, 1000);
  redis = open_as(&server, "kv", "secret");
  assert_int_equal(put(redis, &chunk), KVS_OK);
  assert_int_equal(put(redis, &chunk), KVS_EXISTS);
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
  assert_int_equal(stats_of(redis).breaker_opened, 0);
  kvi_redis_close(redis);
  redis = open_as(&server, "reader", "secret");
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
  assert_int_equal(put(redis, &other), KVS_ERR_DENIED);
  assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
  kvi_redis_close(redis);
  server_stop(&server);
  chunk_free(&chunk);
  chunk_free(&other);
}

/* ---- the false server ---- */

struct liar {
  int fd;
  uint16_t port;
  pthread_t thread;
  atomic_bool stop;
  const char *answer; /* to everything after the greeting */
  size_t answer_length;
  bool hang_up;
};

/* Each connection gets +OK and +PONG for the greeting, then the lie for whatever comes. One at a time is served of several. */
static void liar_serve(struct liar *liar, int fd, int *stage)
{
  char bytes[65536];
  ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

  if (got <= 0) {
    *stage = -1;
    return;
  }
  if (*stage == 0) { /* CLIENT SETNAME and PING come together */
    (void)send(fd, "+OK\r\n+PONG\r\n", 12, MSG_NOSIGNAL);
    *stage = 1;
    return;
  }
  (void)send(fd, liar->answer, liar->answer_length, MSG_NOSIGNAL);
  if (liar->hang_up)
    *stage = -1;
}

static void *liar_run(void *arg)
{
  struct liar *liar = arg;
  struct pollfd polls[33] = {{.fd = liar->fd, .events = POLLIN}};
  int stages[33] = {0};
  nfds_t n = 1;

  while (!atomic_load(&liar->stop)) {
    if (poll(polls, n, 20) <= 0)
      continue;
    for (nfds_t i = 1; i < n; i++) {
      if (polls[i].revents)
        liar_serve(liar, polls[i].fd, &stages[i]);
      if (stages[i] < 0) {
        close(polls[i].fd);
        polls[i] = polls[n - 1];
        stages[i] = stages[n - 1];
        n--;
        i--;
      }
    }
    if ((polls[0].revents & POLLIN) && n < 33) {
      polls[n] = (struct pollfd){.fd = accept(liar->fd, NULL, NULL), .events = POLLIN};
      stages[n++] = 0;
    }
  }
  for (nfds_t i = 1; i < n; i++)
    close(polls[i].fd);
  return NULL;
}

static void liar_start(struct liar *liar, const char *answer, size_t length, bool hang_up)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t at_length = sizeof(at);

  memset(liar, 0, sizeof(*liar));
  liar->answer = answer;
  liar->answer_length = length;
  liar->hang_up = hang_up;
  liar->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(liar->fd, (struct sockaddr *)&at, sizeof(at)), 0);
  assert_int_equal(listen(liar->fd, 64), 0);
  assert_int_equal(getsockname(liar->fd, (struct sockaddr *)&at, &at_length), 0);
  liar->port = ntohs(at.sin_port);
  assert_int_equal(pthread_create(&liar->thread, NULL, liar_run, liar), 0);
}

static void liar_stop(struct liar *liar)
{
  atomic_store(&liar->stop, true);
  pthread_join(liar->thread, NULL);
  close(liar->fd);
}

static void lies(void **state)
{
  static const struct {
    const char *answer;
    size_t length;
    bool hang_up;
  } cases[] = {
#define LIE(text) {text, sizeof(text) - 1, false}, {text, sizeof(text) - 1, true}
      LIE(""),
      LIE("\r\n"),
      LIE("?\r\n"),
      LIE("$"),
      LIE("$5\r\n"),
      LIE("$-2\r\n"),
      LIE("$9999999999999999999999999999999999\r\n"),
      LIE("$600000000\r\n"),
      LIE("$100\r\nKVR1\1\0"),
      LIE("$0\r\n\r\n"),
      LIE("*2147483647\r\n"),
      LIE("*1\r\n$5\r\nhello\r\n"),
      LIE(":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"),
      LIE("-MOVED 5 127.0.0.1:1\r\n"),
      LIE("-MOVED\r\n"),
      LIE("-ASK 99999 x\r\n"),
      LIE("-\r\n"),
      LIE("-LOADING\r\n"),
      LIE("HTTP/1.1 200 OK\r\n\r\n"),
      LIE("$200\r\nKVR1\1\0\x40\0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
          "xxxxxxxxxxxxxx"),
  };
  struct chunk chunk;

  (void)state;
  chunk_make(&chunk, 1, 4000000); /* more than a socket holds: the lie is there before the put is sent */
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct redis_server server = {0};
    struct asked asked[9];
    struct kvi_redis *redis;
    struct liar liar;

    liar_start(&liar, cases[i].answer, cases[i].length, cases[i].hang_up);
    snprintf(server.address, sizeof(server.address), "127.0.0.1:%u", (unsigned)liar.port);
    redis = tier_open_single(&server);
    for (size_t k = 0; k < 9; k++) {
      if (k % 3 == 0)
        asked_look(&asked[k], &chunk, SHORT_MS);
      else if (k % 3 == 1)
        asked_get(&asked[k], &chunk, SHORT_MS);
      else
        asked_put(&asked[k], &chunk, SHORT_MS);
    }
    run_all(redis, asked, 9);
    for (size_t k = 0; k < 9; k++) {
      assert_int_not_equal(asked[k].op.status, KVS_OK);
      assert_int_not_equal(asked[k].op.status, KVS_EXISTS);
      assert_int_not_equal(asked[k].op.cause, KVI_REDIS_NONE);
      asked_free(&asked[k]);
    }
    kvi_redis_close(redis);
    liar_stop(&liar);
  }
  chunk_free(&chunk);
}

static void nobody_there(void **state)
{
  struct redis_server server = {0};
  struct kvi_redis *redis;
  struct chunk chunk;
  enum kvi_redis_cause cause;

  (void)state;
  chunk_make(&chunk, 1, 1000);
  snprintf(server.address, sizeof(server.address), "127.0.0.1:%u", (unsigned)free_port());
  redis = tier_open_single(&server);
  assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_REDIS_DOWN);
  assert_false(kvi_redis_is_up(redis));
  kvi_redis_close(redis);
  snprintf(server.address, sizeof(server.address), "no-such-host.invalid:1");
  redis = tier_open_single(&server);
  assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
  assert_true(cause == KVI_REDIS_DOWN || cause == KVI_REDIS_DEADLINE);
  kvi_redis_close(redis);
  chunk_free(&chunk);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dies_and_comes_back),
      cmocka_unit_test(dies_in_the_middle),
      cmocka_unit_test(stands_still),
      cmocka_unit_test(stands_still_over_a_write),
      cmocka_unit_test(late_is_not_down),
      cmocka_unit_test(closed_under_way),
      cmocka_unit_test(full_is_no_fault),
      cmocka_unit_test(passwords),
      cmocka_unit_test(users),
      cmocka_unit_test(lies),
      cmocka_unit_test(nobody_there),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
