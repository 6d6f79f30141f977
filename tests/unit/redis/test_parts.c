/* Addresses, the breaker, replies: what needs no server. */
#include "tests/unit/redis/testing.h"

#include "base/clock.h"
#include "tiers/redis/address.h"
#include "tiers/redis/breaker.h"
#include "tiers/redis/reply.h"

static void addresses(void **state)
{
  static const struct {
    const char *text, *host;
    uint16_t port;
  } good[] = {{"redis:1", "redis", 1},
              {"127.0.0.1:6379", "127.0.0.1", 6379},
              {"redis", "redis", 6379},
              {"[::1]:7000", "::1", 7000},
              {"[fe80::1]", "fe80::1", 6379}};
  static const char *const bad[] = {"",     ":1",     "a:0",  "a:65536", "a:",   "a:1x",    "::1",
                                    "[::1", "[::1]x", "[]:1", "a b:1",   "a:-1", "a:999999"};
  struct kvi_redis_address address;
  char text[KVI_REDIS_ADDRESS_MAX];

  (void)state;
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    assert_int_equal(kvi_redis_address_parse(good[i].text, 6379, &address), KVS_OK);
    assert_string_equal(address.host, good[i].host);
    assert_int_equal(address.port, good[i].port);
  }
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    assert_int_equal(kvi_redis_address_parse(bad[i], 6379, &address), KVS_ERR_INVALID);
  assert_int_equal(kvi_redis_address_parse("a", 0, &address), KVS_ERR_INVALID);
  assert_int_equal(kvi_redis_address_parse("[::1]:7000", 0, &address), KVS_OK);
  assert_string_equal(kvi_redis_address_format(&address, text), "[::1]:7000");
}

static void told_addresses(void **state)
{
  struct kvi_redis_address asked = {.host = "10.0.0.9", .port = 1}, address;

  (void)state;
  assert_int_equal(kvi_redis_address_told("::1:7000", 8, &asked, &address), KVS_OK);
  assert_string_equal(address.host, "::1");
  assert_int_equal(kvi_redis_address_told("h:7000@17000xx", 12, &asked, &address), KVS_OK);
  assert_int_equal(address.port, 7000);
  assert_int_equal(kvi_redis_address_told(":7001", 5, &asked, &address), KVS_OK);
  assert_string_equal(address.host, "10.0.0.9");
  assert_int_equal(address.port, 7001);
  assert_int_equal(kvi_redis_address_told("7001", 4, &asked, &address), KVS_ERR_INVALID);
  assert_int_equal(kvi_redis_address_told("", 0, &asked, &address), KVS_ERR_INVALID);
  assert_int_equal(kvi_redis_address_told("h:0", 3, &asked, &address), KVS_ERR_INVALID);
}

static void breaker_opens_and_closes(void **state)
{
  struct kvi_redis_breaker breaker = {.threshold = 3, .first_ms = 100, .longest_ms = 1000};
  uint64_t now = KVI_NS_PER_S, longest = 0;
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 1);
  assert_false(kvi_redis_breaker_fail(&breaker, &rand, now));
  assert_false(kvi_redis_breaker_fail(&breaker, &rand, now));
  assert_false(kvi_redis_breaker_succeed(&breaker)); /* an answer in between: counted anew */
  assert_false(kvi_redis_breaker_fail(&breaker, &rand, now));
  assert_false(kvi_redis_breaker_fail(&breaker, &rand, now));
  assert_true(kvi_redis_breaker_fail(&breaker, &rand, now));
  assert_true(kvi_redis_breaker_is_open(&breaker));
  assert_true(breaker.until_ns >= now + 50 * KVI_NS_PER_MS && breaker.until_ns <= now + 100 * KVI_NS_PER_MS);
  assert_false(kvi_redis_breaker_may_try(&breaker, breaker.until_ns - 1));
  assert_true(kvi_redis_breaker_may_try(&breaker, breaker.until_ns));
  assert_false(kvi_redis_breaker_fail(&breaker, &rand, now)); /* meanwhile: changes nothing */
  assert_int_equal(breaker.pause_ms, 100);
  for (int i = 0; i < 20; i++) { /* each attempt fails: longer, up to the bound, never all alike */
    now = breaker.until_ns;
    assert_false(kvi_redis_breaker_fail(&breaker, &rand, now));
    longest = breaker.until_ns - now > longest ? breaker.until_ns - now : longest;
  }
  assert_int_equal(breaker.pause_ms, 1000);
  assert_true(longest > 500 * KVI_NS_PER_MS && longest <= 1000 * KVI_NS_PER_MS);
  assert_int_equal(breaker.opened, 1);
  assert_true(kvi_redis_breaker_succeed(&breaker));
  assert_false(kvi_redis_breaker_is_open(&breaker));
  assert_true(kvi_redis_breaker_trip(&breaker, &rand, now));
  assert_int_equal(breaker.pause_ms, 100);
}

/* Replies come one by one, wherever the stream is cut. */
static void replies_in_pieces(void **state)
{
  static const char stream[] =
      "+OK\r\n:12\r\n$5\r\na\r\nbc\r\n$-1\r\n*2\r\n$1\r\nx\r\n*1\r\n:7\r\n-ERR no\r\n$0\r\n\r\n*0\r\n";
  static const int types[] = {REDIS_REPLY_STATUS, REDIS_REPLY_INTEGER, REDIS_REPLY_STRING, REDIS_REPLY_NIL,
                              REDIS_REPLY_ARRAY,  REDIS_REPLY_ERROR,   REDIS_REPLY_STRING, REDIS_REPLY_ARRAY};
  size_t length = sizeof(stream) - 1;

  (void)state;
  for (size_t piece = 1; piece <= length; piece++) {
    struct kvi_redis_reader reader;
    size_t n = 0;

    assert_int_equal(kvi_redis_reader_create(&reader), KVS_OK);
    for (size_t at = 0; at < length;) {
      size_t end = (at / piece + 1) * piece < length ? (at / piece + 1) * piece : length, used;
      redisReply *reply;
      kvs_status status = kvi_redis_reader_feed(&reader, stream + at, end - at, &used, &reply);

      at += used;
      if (status == KVS_PENDING) {
        assert_int_equal(at, end);
        continue;
      }
      assert_int_equal(status, KVS_OK);
      assert_true(n < 8);
      assert_int_equal(reply->type, types[n]);
      if (n == 2)
        assert_memory_equal(reply->str, "a\r\nbc", 5);
      n++;
      freeReplyObject(reply);
    }
    assert_int_equal(n, 8);
    kvi_redis_reader_destroy(&reader);
  }
}

static void hostile_replies(void **state)
{
  static const char *const bad[] = {"?what\r\n",
                                    "HTTP/1.1 400\r\n",
                                    "*2147483647\r\n",
                                    "*100000\r\n",
                                    "*-5\r\n",
                                    "$99999999999\r\n",
                                    "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"};
  char *long_line = malloc(KVI_REDIS_REPLY_BYTES_MAX + 2);
  struct kvi_redis_reader reader;
  redisReply *reply;
  size_t used;

  (void)state;
  assert_non_null(long_line);
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    kvs_status status;

    assert_int_equal(kvi_redis_reader_create(&reader), KVS_OK);
    status = kvi_redis_reader_feed(&reader, bad[i], strlen(bad[i]), &used, &reply);
    /* What is not refused at once waits for more than will ever be taken. */
    assert_true(status == KVS_ERR_PROTOCOL || status == KVS_PENDING ||
                (status == KVS_OK && reply->type == REDIS_REPLY_NIL));
    if (status == KVS_OK)
      freeReplyObject(reply);
    kvi_redis_reader_destroy(&reader);
  }
  assert_int_equal(kvi_redis_reader_create(&reader), KVS_OK);
  memset(long_line, 'x', KVI_REDIS_REPLY_BYTES_MAX + 1);
  long_line[0] = '+';
  assert_int_equal(kvi_redis_reader_feed(&reader, long_line, KVI_REDIS_REPLY_BYTES_MAX + 1, &used, &reply),
                   KVS_ERR_PROTOCOL);
  kvi_redis_reader_destroy(&reader);
  free(long_line);
}

static void refused_configurations(void **state)
{
  static const char *const one[] = {"127.0.0.1:1"}, *const two[] = {"127.0.0.1:1", "127.0.0.1:2"},
                           *const bad[] = {"127.0.0.1:x"};
  const struct {
    struct kvi_redis_config config;
    const char *says;
  } cases[] = {
      {{.addresses = one, .n_addresses = 1, .tls = true}, "TLS"},
      {{.n_addresses = 0}, "no address"},
      {{.addresses = two, .n_addresses = 2}, "several addresses"},
      {{.addresses = bad, .n_addresses = 1}, "127.0.0.1:x"},
      {{.addresses = one, .n_addresses = 1, .mode = KVI_REDIS_SENTINEL}, "master"},
      {{.addresses = one, .n_addresses = 1, .username = "u"}, "password"},
      {{.addresses = one, .n_addresses = 1, .connections = 17}, "bounds"},
      {{.addresses = one, .n_addresses = 1, .retry_first_ms = 10, .retry_longest_ms = 5}, "pause"},
  };

  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct kvi_redis *redis;
    char error[256];

    assert_int_equal(kvi_redis_open(&cases[i].config, error, sizeof(error), &redis), KVS_ERR_CONFIG);
    assert_null(redis);
    assert_non_null(strstr(error, cases[i].says));
    assert_int_equal(kvi_redis_open(&cases[i].config, NULL, 0, &redis), KVS_ERR_CONFIG);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(addresses),
      cmocka_unit_test(told_addresses),
      cmocka_unit_test(breaker_opens_and_closes),
      cmocka_unit_test(replies_in_pieces),
      cmocka_unit_test(hostile_replies),
      cmocka_unit_test(refused_configurations),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
