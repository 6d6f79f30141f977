/* Tests of the place of the unix socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/node/unix_path.h"

static char directory[64], path[96], error[300];

static int make_directory(void **state)
{
  (void)state;
  strcpy(directory, "/tmp/kvasir-test-XXXXXX");
  error[0] = '\0';
  if (mkdtemp(directory) == NULL)
    return -1;
  snprintf(path, sizeof(path), "%s/node.sock", directory);
  return 0;
}

static int remove_directory(void **state)
{
  (void)state;
  unlink(path);
  return rmdir(directory);
}

static int listen_at(const char *where)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);

  strncpy(address.sun_path, where, sizeof(address.sun_path) - 1);
  assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(listen(fd, 1), 0);
  return fd;
}

static void test_fresh(void **state)
{
  (void)state;
  assert_int_equal(kvi_unix_path_prepare(path, error, sizeof(error)), KVS_OK);
  assert_int_equal(access(path, F_OK), -1);
}

static void test_directory_is_made(void **state)
{
  char nested[112], its_directory[100];
  struct stat made;

  (void)state;
  snprintf(its_directory, sizeof(its_directory), "%s/run", directory);
  snprintf(nested, sizeof(nested), "%s/s", its_directory);
  assert_int_equal(kvi_unix_path_prepare(nested, error, sizeof(error)), KVS_OK);
  assert_int_equal(stat(its_directory, &made), 0);
  assert_int_equal(made.st_mode & 07007, 0); /* nothing for others, whatever the umask */
  rmdir(its_directory);
}

static void test_directory_cannot_be_made(void **state)
{
  (void)state;
  assert_int_equal(kvi_unix_path_prepare("/proc/kvasir-test/s", error, sizeof(error)), KVS_ERR_SYSTEM);
  assert_non_null(strstr(error, "/proc/kvasir-test"));
}

static void test_bad_paths(void **state)
{
  char longest[200];

  (void)state;
  memset(longest, 'a', sizeof(longest));
  longest[0] = '/';
  longest[sizeof(longest) - 1] = '\0';
  assert_int_equal(kvi_unix_path_prepare(longest, error, sizeof(error)), KVS_ERR_SYSTEM);
  assert_int_equal(kvi_unix_path_prepare("relative", error, sizeof(error)), KVS_ERR_SYSTEM);
  assert_int_equal(kvi_unix_path_prepare("", error, sizeof(error)), KVS_ERR_SYSTEM);
}

static void test_stale_socket_is_replaced(void **state)
{
  (void)state;
  close(listen_at(path));
  assert_int_equal(access(path, F_OK), 0);
  assert_int_equal(kvi_unix_path_prepare(path, error, sizeof(error)), KVS_OK);
  assert_int_equal(access(path, F_OK), -1);
}

static void test_live_socket_is_left_alone(void **state)
{
  int fd = listen_at(path);

  (void)state;
  assert_int_equal(kvi_unix_path_prepare(path, error, sizeof(error)), KVS_ERR_SYSTEM);
  assert_non_null(strstr(error, "in use"));
  assert_int_equal(access(path, F_OK), 0);
  close(fd);
}

static void test_file_is_left_alone(void **state)
{
  FILE *file = fopen(path, "w");

  (void)state;
  fclose(file);
  assert_int_equal(kvi_unix_path_prepare(path, error, sizeof(error)), KVS_ERR_SYSTEM);
  assert_non_null(strstr(error, "not a socket"));
  assert_int_equal(access(path, F_OK), 0);
}

static void test_only_our_socket_is_removed(void **state)
{
  int first = listen_at(path);
  struct kvi_unix_path_id ours = kvi_unix_path_identify(path);
  struct kvi_unix_path_id none = {0, 0};

  (void)state;
  assert_true(ours.inode != 0);
  char aside[112];
  snprintf(aside, sizeof(aside), "%s/aside", directory);
  assert_int_equal(rename(path, aside), 0); /* keeps the inode from being given to the next */
  int second = listen_at(path);
  kvi_unix_path_remove(path, ours);
  kvi_unix_path_remove(path, none);
  assert_int_equal(access(path, F_OK), 0);
  kvi_unix_path_remove(path, kvi_unix_path_identify(path));
  assert_int_equal(access(path, F_OK), -1);
  kvi_unix_path_remove(path, ours); /* there is nothing: fine */
  unlink(aside);
  close(first);
  close(second);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, make_directory, remove_directory)
  const struct CMUnitTest tests[] = {
      CASE(test_fresh),
      CASE(test_directory_is_made),
      CASE(test_directory_cannot_be_made),
      CASE(test_bad_paths),
      CASE(test_stale_socket_is_replaced),
      CASE(test_live_socket_is_left_alone),
      CASE(test_file_is_left_alone),
      CASE(test_only_our_socket_is_removed),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
