/* Tests of the datagram to systemd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/node/notify.h"

static void expect_datagram(const char *name)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char got[64] = "";
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

  strncpy(address.sun_path, name, sizeof(address.sun_path) - 1);
  if (name[0] == '@')
    address.sun_path[0] = '\0';
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
  assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
  setenv("NOTIFY_SOCKET", name, 1);
  kvi_notify("READY=1");
  assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), 7);
  assert_string_equal(got, "READY=1");
  close(fd);
}

static void test_path(void **state)
{
  char name[64];

  (void)state;
  snprintf(name, sizeof(name), "/tmp/kvasir-notify-%ld", (long)getpid());
  unlink(name);
  expect_datagram(name);
  unlink(name);
}

static void test_abstract(void **state)
{
  char name[64];

  (void)state;
  snprintf(name, sizeof(name), "@kvasir-notify-%ld", (long)getpid());
  expect_datagram(name);
}

static void test_nobody(void **state)
{
  char longest[300];

  (void)state;
  unsetenv("NOTIFY_SOCKET");
  kvi_notify("READY=1");
  setenv("NOTIFY_SOCKET", "", 1);
  kvi_notify("READY=1");
  setenv("NOTIFY_SOCKET", "relative", 1);
  kvi_notify("READY=1");
  memset(longest, '/', sizeof(longest) - 1);
  longest[sizeof(longest) - 1] = '\0';
  setenv("NOTIFY_SOCKET", longest, 1);
  kvi_notify("READY=1");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_path),
      cmocka_unit_test(test_abstract),
      cmocka_unit_test(test_nobody),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
