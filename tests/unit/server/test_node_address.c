/* Tests of "host:port" and of the early look whether a port is free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/node/address.h"

static bool parse_is_loopback(const char *text)
{
  struct kvi_node_address address;
  char error[KVI_ADDRESS_ERROR_MAX] = "";

  assert_int_equal(kvi_node_address_parse(text, &address, error, sizeof(error)), KVS_OK);
  assert_non_null(address.list);
  bool loopback = address.loopback;
  kvi_node_address_clear(&address);
  kvi_node_address_clear(&address); /* a second time is fine */
  return loopback;
}

static void test_loopback(void **state)
{
  (void)state;
  assert_true(parse_is_loopback("127.0.0.1:7070"));
  assert_true(parse_is_loopback("127.9.9.9:0"));
  assert_true(parse_is_loopback("[::1]:7070"));
  assert_false(parse_is_loopback("0.0.0.0:7070"));
  assert_false(parse_is_loopback("[::]:7070"));
  assert_false(parse_is_loopback("10.0.0.1:65535"));
}

static void test_malformed(void **state)
{
  static const char *const texts[] = {
      "",          ":",       ":7070",           "127.0.0.1", "127.0.0.1:", "a:b",          "::1:70",
      "[::1:7070", "[]:7070", "127.0.0.1:65536", "h:-1",      "[::1]7",     "127.0.0.1:1x", "127.0.0.1: 1"};
  char longest[600];

  (void)state;
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    struct kvi_node_address address;
    char error[KVI_ADDRESS_ERROR_MAX] = "";

    assert_int_equal(kvi_node_address_parse(texts[i], &address, error, sizeof(error)), KVS_ERR_INVALID);
    assert_null(address.list);
    assert_true(error[0] != '\0');
  }
  memset(longest, 'a', sizeof(longest));
  memcpy(longest + sizeof(longest) - 3, ":1", 3);
  struct kvi_node_address address;
  char error[KVI_ADDRESS_ERROR_MAX] = "";
  assert_int_equal(kvi_node_address_parse(longest, &address, error, sizeof(error)), KVS_ERR_INVALID);
}

static void test_try(void **state)
{
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof(in);
  char text[64], error[KVI_ADDRESS_ERROR_MAX] = "";
  int fd = socket(AF_INET, SOCK_STREAM, 0);

  (void)state;
  assert_int_equal(bind(fd, (struct sockaddr *)(void *)&in, size), 0);
  assert_int_equal(listen(fd, 1), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&in, &size), 0);
  snprintf(text, sizeof(text), "127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
  assert_int_equal(kvi_node_address_try(text, error, sizeof(error)), KVS_ERR_SYSTEM);
  assert_non_null(strstr(error, text));
  assert_non_null(strstr(error, "in use"));
  close(fd);
  assert_int_equal(kvi_node_address_try(text, error, sizeof(error)), KVS_OK);
  assert_int_equal(kvi_node_address_try("203.0.113.7:0", error, sizeof(error)),
                   KVS_ERR_SYSTEM); /* not ours */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_loopback),
      cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_try),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
