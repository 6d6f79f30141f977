/* A small file that is there whole: with each system call of a write failing in its turn, and with the process ending there. */
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tiers/remember_file.h"

static bool others;

#define OLD    "old"
#define FRESH  "what is written anew, and is longer"
#define KILLED 42

struct folder {
  char path[64], file[96];
};

/* ---- system calls, which fail at a step ---- */

static uint32_t steps;     /* of them so far */
static uint32_t fails_at;  /* UINT32_MAX: never */
static bool kills, halves; /* a write that fails has written half */

static char calls[16]; /* what they were, a letter each */

static bool fails(char call)
{
  if (steps + 1 < sizeof(calls)) {
    calls[steps] = call;
    calls[steps + 1] = '\0';
  }
  if (steps++ != fails_at)
    return false;
  if (kills)
    _exit(KILLED);
  errno = EIO;
  return true;
}

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __real_close(int fd);
int __wrap_close(int fd);

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
  if (halves && steps == fails_at)
    (void)!__real_write(fd, bytes, length / 2);
  return fails('w') ? -1 : __real_write(fd, bytes, length);
}

int __wrap_fsync(int fd)
{
  return fails('s') ? -1 : __real_fsync(fd);
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
  return fails('n') ? -1 : __real_renameat(from_folder, from, to_folder, to);
}

int __wrap_close(int fd)
{
  int result = __real_close(fd);

  return fails('c') ? -1 : result;
}

/* ---- tests ---- */

static int setup(void **state)
{
  struct folder *folder = calloc(1, sizeof(*folder));

  fails_at = UINT32_MAX;
  kills = halves = false;
  snprintf(folder->path, sizeof(folder->path), "/tmp/kvasir-remember-XXXXXX");
  assert_non_null(mkdtemp(folder->path));
  snprintf(folder->file, sizeof(folder->file), "%s/state", folder->path);
  *state = folder;
  return 0;
}

static int teardown(void **state)
{
  static const char *const ends[] = {"", ".new", ".aside", ".lock", "/inner"};
  struct folder *folder = *state;
  char path[128];

  fails_at = UINT32_MAX;
  for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
    snprintf(path, sizeof(path), "%s%s", folder->file, ends[i]);
    (void)unlink(path);
  }
  (void)rmdir(folder->file);
  assert_int_equal(rmdir(folder->path), 0);
  free(folder);
  return 0;
}

static void assert_holds(const struct folder *folder, const char *text)
{
  uint8_t *bytes;
  size_t length;

  assert_int_equal(kvi_remember_file_read(folder->file, 4096, &bytes, &length, &others), KVS_OK);
  assert_int_equal(length, strlen(text));
  assert_memory_equal(bytes, text, length);
  free(bytes);
}

static kvs_status put(const struct folder *folder, const char *text)
{
  steps = 0;
  return kvi_remember_file_write(folder->file, (const uint8_t *)text, strlen(text));
}

static bool exists(const struct folder *folder, const char *end)
{
  char path[128];

  snprintf(path, sizeof(path), "%s%s", folder->file, end);
  return access(path, F_OK) == 0;
}

static void written_and_read(void **state)
{
  struct folder *folder = *state;
  struct stat stat_of;
  uint8_t *bytes;
  size_t length;

  assert_int_equal(kvi_remember_file_read(folder->file, 4096, &bytes, &length, &others), KVS_MISS);
  assert_int_equal(put(folder, OLD), KVS_OK);
  assert_string_equal(
      calls,
      "wscnsc"); /* what a power cut leaves: the bytes are flushed before they get the name, and then that */
  assert_holds(folder, OLD);
  assert_int_equal(put(folder, FRESH), KVS_OK);
  assert_holds(folder, FRESH);
  assert_int_equal(stat(folder->file, &stat_of), 0);
  assert_int_equal(stat_of.st_mode & 0777, 0600);
  assert_false(exists(folder, ".new"));
  assert_int_equal(kvi_remember_file_read(folder->file, 4, &bytes, &length, &others), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvi_remember_file_aside(folder->file), KVS_OK);
  assert_true(exists(folder, ".aside"));
  assert_int_equal(kvi_remember_file_read(folder->file, 4096, &bytes, &length, &others), KVS_MISS);
  assert_int_equal(kvi_remember_file_aside(folder->file), KVS_ERR_IO);
}

/* What a crash has left under the name that is written does not matter, nor who may read it. */
static void left_behind(void **state)
{
  struct folder *folder = *state;
  struct stat stat_of;
  char path[128];
  int fd;

  snprintf(path, sizeof(path), "%s.new", folder->file);
  fd = open(path, O_WRONLY | O_CREAT, 0644);
  assert_int_equal(write(fd, "half of something that is longer than the other", 40), 40);
  close(fd);
  assert_int_equal(put(folder, FRESH), KVS_OK);
  assert_holds(folder, FRESH);
  assert_int_equal(stat(folder->file, &stat_of), 0);
  assert_int_equal(stat_of.st_mode & 0777, 0600);
}

static void no_file(void **state)
{
  struct folder *folder = *state;
  struct folder nowhere = {.file = "/tmp/kvasir-there-is-no-such-folder/state"};
  uint8_t *bytes;
  size_t length;

  assert_int_equal(mkdir(folder->file, 0700), 0);
  assert_int_equal(kvi_remember_file_read(folder->file, 4096, &bytes, &length, &others), KVS_ERR_INVALID);
  assert_int_equal(put(folder, FRESH), KVS_ERR_IO);
  assert_int_equal(rmdir(folder->file), 0);
  assert_int_equal(symlink("/etc/passwd", folder->file), 0);
  assert_int_equal(kvi_remember_file_read(folder->file, 1 << 20, &bytes, &length, &others), KVS_ERR_INVALID);
  assert_int_equal(unlink(folder->file), 0);
  assert_int_equal(mkfifo(folder->file, 0600), 0); /* does not wait for somebody to write */
  assert_int_equal(kvi_remember_file_read(folder->file, 4096, &bytes, &length, &others), KVS_ERR_INVALID);
  assert_int_equal(put(&nowhere, FRESH), KVS_ERR_IO);
  assert_int_equal(kvi_remember_file_read(nowhere.file, 4096, &bytes, &length, &others), KVS_MISS);
}

/* How many calls a write takes. */
static uint32_t steps_of_a_write(const struct folder *folder)
{
  assert_int_equal(put(folder, OLD), KVS_OK);
  return steps;
}

static void each_step_fails(void **state)
{
  struct folder *folder = *state;
  uint32_t n = steps_of_a_write(folder);

  assert_true(n >= 4); /* the bytes, their flush, the name, its flush */
  for (uint32_t half = 0; half < 2; half++)
    for (uint32_t i = 0; i + 1 < n; i++) { /* the last one closes the folder */
      fails_at = UINT32_MAX;
      assert_int_equal(put(folder, OLD), KVS_OK);
      fails_at = i;
      halves = half == 1;
      assert_int_equal(put(folder, FRESH), KVS_ERR_IO);
      fails_at = UINT32_MAX;
      halves = false;
      assert_false(exists(folder, ".new"));
      assert_holds(folder, i < n - 2 ? OLD : FRESH); /* only the flush of the folder comes behind the name */
    }
}

static void each_step_is_the_last(void **state)
{
  struct folder *folder = *state;
  uint32_t n = steps_of_a_write(folder), seen_old = 0, seen_fresh = 0;

  for (uint32_t half = 0; half < 2; half++)
    for (uint32_t i = 0; i < n; i++) {
      uint8_t *bytes;
      size_t length;
      int status;
      pid_t child;

      fails_at = UINT32_MAX;
      assert_int_equal(put(folder, OLD), KVS_OK);
      child = fork();
      assert_true(child >= 0);
      if (child == 0) {
        fails_at = i;
        kills = true;
        halves = half == 1;
        (void)put(folder, FRESH);
        _exit(0);
      }
      assert_int_equal(waitpid(child, &status, 0), child);
      assert_true(WIFEXITED(status));
      assert_int_equal(WEXITSTATUS(status), KILLED);
      assert_int_equal(kvi_remember_file_read(folder->file, 4096, &bytes, &length, &others), KVS_OK);
      seen_old += length == strlen(OLD) && memcmp(bytes, OLD, length) == 0;
      seen_fresh += length == strlen(FRESH) && memcmp(bytes, FRESH, length) == 0;
      free(bytes);
    }
  assert_int_equal(seen_old + seen_fresh, 2 * n);
  assert_true(seen_old > 0 && seen_fresh > 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
  const struct CMUnitTest tests[] = {CASE(written_and_read), CASE(left_behind), CASE(no_file),
                                     CASE(each_step_fails), CASE(each_step_is_the_last)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
