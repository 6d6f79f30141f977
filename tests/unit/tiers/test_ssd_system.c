/* The SSD tier on real files, and what the system answers: short reads and writes, interruptions, a directory that is read-only, no room. */
#define CHUNKS 100u
#include "medium_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/log.h"
#include "ssd_fixture.h"
#include "tiers/ssd/format.h"

#define BLOCK ((size_t)KVI_SSD_BLOCK)

/* ---- in the place of the C library's: the plain path's reads and writes ---- */

static atomic_bool answers_short;
static _Atomic uint32_t calls;
static _Atomic int64_t
    ends_at; /* reads from this place of a file on read nothing, as behind its end; 0: none */

/* The call with fewer bytes, by whole blocks: `places_p` is a copy of what is asked for. Every fourth is interrupted. */
static ssize_t call(long number, int fd, const struct iovec *places, int n, off_t at)
{
  struct iovec some[64];
  size_t left;

  calls++;
  if (number == SYS_preadv && ends_at > 0 && at >= ends_at)
    return 0;
  if (!answers_short)
    return syscall(number, fd, places, n, at, 0);
  if (calls % 4 == 0) {
    errno = calls % 8 == 0 ? EINTR : EAGAIN;
    return -1;
  }
  n = n < 64 ? n : 64;
  left = BLOCK * (1 + calls % 5);
  for (int i = 0; i < n; i++) {
    some[i] = places[i];
    some[i].iov_len = places[i].iov_len < left ? places[i].iov_len : left;
    left -= some[i].iov_len;
    if (left == 0)
      n = i + 1;
  }
  return syscall(number, fd, some, n, at, 0);
}

ssize_t preadv(int fd, const struct iovec *places, int n, off_t at)
{
  return call(SYS_preadv, fd, places, n, at);
}

ssize_t pwritev(int fd, const struct iovec *places, int n, off_t at)
{
  return call(SYS_pwritev, fd, places, n, at);
}

static int plain_setup(void **state)
{
  setup(state);
  ((struct fixture *)*state)->config.ring = false;
  return 0;
}

static int plain_teardown(void **state)
{
  answers_short = false;
  ends_at = 0;
  return teardown(state);
}

/* Every read and write is done in part, or interrupted, again and again, those of a start too. */
static void test_short_reads_and_writes(void **state)
{
  struct fixture *f = *state;

  answers_short = true;
  calls = 0;
  fixture_open(f);
  for (uint32_t round = 0; round < 2; round++) {
    for (uint32_t i = 0; i < 15; i++)
      assert_int_equal(put_number(f, round * 15 + i), KVS_OK);
    for (uint32_t i = 0; i < 15 * (round + 1); i++)
      assert_int_equal(get_number(f, i), KVS_OK);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(f->owner.n_found, 15 * (round + 1));
  }
  assert_true(calls > 500);
  answers_short = false;
  for (uint32_t i = 0; i < 30; i++) /* and it is what whole reads find */
    assert_int_equal(get_number(f, i), KVS_OK);
}

/* Somebody has cut a file: reading behind its end is an error, and ends. */
static void test_a_file_that_was_cut(void **state)
{
  struct fixture *f = *state;

  assert_true(length_of(20) > 20 * BLOCK); /* more than one call reads */
  fixture_open(f);
  assert_int_equal(put_number(f, 20), KVS_OK);
  ends_at = (off_t)(2 * BLOCK);
  answers_short = true;
  assert_int_equal(get_number(f, 20), KVS_ERR_IO);
  ends_at = 0;
  assert_int_equal(get_number(f, 20), KVS_OK);
}

/* ---- file systems without O_DIRECT, kernels without io_uring ---- */

static bool refuses_direct, refuses_ring;
static uint32_t n_direct; /* log files that were opened for direct reads and writes */

/* In the place of the C library's. */
int openat(int directory, const char *name, int flags, ...)
{
  mode_t mode = 0;
  int fd;

  if (flags & O_CREAT) {
    va_list more;

    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  if (refuses_direct && (flags & O_DIRECT)) {
    errno = EINVAL;
    return -1;
  }
  fd = (int)syscall(SYS_openat, directory, name, flags, mode);
  n_direct += fd >= 0 && (flags & O_DIRECT);
  return fd;
}

struct io_uring;
int __real_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
  return refuses_ring ? -ENOSYS : __real_io_uring_queue_init(entries, ring, flags);
}

/* What was logged since log_begin: other threads log, too. */
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static char logged[4 * KVI_LOG_LINE_MAX];

static void log_keep(void *ctx, kvi_log_level level, const char *line, size_t length)
{
  size_t used;

  (void)ctx, (void)level;
  pthread_mutex_lock(&log_mutex);
  used = strlen(logged);
  if (used + length < sizeof(logged))
    memcpy(logged + used, line, length + 1);
  pthread_mutex_unlock(&log_mutex);
}

static void log_begin(void)
{
  logged[0] = '\0';
  kvi_log_configure(KVI_LOG_INFO, KVI_LOG_TEXT);
  kvi_log_set_sink(log_keep, NULL);
}

static int refuses_teardown(void **state)
{
  refuses_direct = refuses_ring = false;
  kvi_log_set_sink(NULL, NULL);
  kvi_log_configure(KVI_LOG_WARN, KVI_LOG_TEXT);
  return teardown(state);
}

static uint32_t times_logged(const char *text)
{
  uint32_t n = 0;

  pthread_mutex_lock(&log_mutex);
  for (const char *at = logged; (at = strstr(at, text)) != NULL; at++)
    n++;
  pthread_mutex_unlock(&log_mutex);
  return n;
}

/* It opens, says what it does without once, holds chunks, and has them after a restart. */
static void works_without(struct fixture *f, const char *said, const char *by)
{
  log_begin();
  for (uint32_t round = 0; round < 2; round++) {
    fixture_open(f);
    assert_int_equal(f->owner.n_found, 10 * round);
    assert_int_equal(times_logged(said), round + 1);
    assert_int_equal(times_logged(by), round + 1);
    for (uint32_t i = 0; i < 10; i++)
      assert_int_equal(put_number(f, 10 * round + i), KVS_OK);
    for (uint32_t i = 0; i < 10 * (round + 1); i++)
      assert_int_equal(get_number(f, i), KVS_OK);
    fixture_close(f);
  }
}

static void test_no_direct(void **state)
{
  refuses_direct = true;
  n_direct = 0;
  works_without(*state, "the file system refuses O_DIRECT, the page cache is used", "log files of");
  assert_int_equal(n_direct, 0);
}

static void test_no_ring(void **state)
{
  refuses_ring = true;
  calls = 0;
  works_without(*state, "the kernel gives no io_uring, pread and pwrite are used",
                "bytes by pread and pwrite");
  assert_true(calls > 20);
}

/* Neither of them. */
static void test_no_direct_no_ring(void **state)
{
  refuses_direct = refuses_ring = true;
  works_without(*state, "the file system refuses O_DIRECT, the page cache is used",
                "bytes by pread and pwrite");
  assert_int_equal(times_logged("the kernel gives no io_uring"), 2);
}

/* ---- after a kill ---- */

/* Three chunks by a process that ends without a word. */
static void put_and_die(struct fixture *f)
{
  fixture_open(f);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(put_number(f, i), KVS_OK);
  _exit(0);
}

static bool holes_are_known(const struct fixture *f)
{
  char path[128];
  off_t data;
  int fd;

  snprintf(path, sizeof(path), "%s/probe", f->folder);
  fd = open(path, O_RDWR | O_CREAT, 0600);
  assert_int_equal(fallocate(fd, 0, 0, MIB), 0);
  data = lseek(fd, 0, SEEK_DATA);
  close(fd);
  return data < 0;
}

/* Of the open file and the prepared one only what was written is read. */
static void test_little_is_read_after_a_kill(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;
  int ended;
  pid_t child;

  if (!holes_are_known(f)) {
    print_message("the file system does not tell what was not written\n");
    skip();
  }
  f->config.bytes = 32 * MIB;
  f->config.file_bytes = 8 * MIB;
  child = fork();
  assert_true(child >= 0);
  if (child == 0)
    put_and_die(f);
  assert_int_equal(waitpid(child, &ended, 0), child);
  assert_int_equal(ended, 0);
  fixture_open(f);
  assert_int_equal(f->owner.n_found, 3);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_in_range(stats.recovery_read_bytes, 1, 3 * MIB);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
}

/* ---- directories ---- */

static void opens_without_a_directory(struct fixture *f)
{
  struct kvi_medium_stats stats;

  fixture_open(f);
  assert_int_equal(f->owner.n_found, 0);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_int_equal(stats.devices, 1);
  assert_int_equal(stats.devices_failed, 1);
  assert_int_equal(put_number(f, 1), KVS_ERR_IO);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_int_equal(stats.put_errors, 1);
  assert_int_equal(test_settle(f->owner.medium), KVS_ERR_IO);
}

/* Nobody may write there: /proc for root, whom rights do not keep out. */
static void test_a_directory_without_rights(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(chmod(f->folder, 0500), 0);
  if (access(f->folder, W_OK) == 0)
    f->paths[0] = "/proc";
  opens_without_a_directory(f);
  assert_int_equal(chmod(f->folder, 0700), 0);
}

/* Its device is not mounted. */
static void test_no_parent(void **state)
{
  struct fixture *f = *state;
  char path[128];

  snprintf(path, sizeof(path), "%s/none/ssd", f->folder);
  f->paths[0] = path;
  opens_without_a_directory(f);
}

/* Whatever becomes of the device, that path is wrong. */
static void test_no_directory(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *medium;
  char path[128];

  snprintf(path, sizeof(path), "%s/file", f->folder);
  f->paths[0] = path;
  close(open(path, O_WRONLY | O_CREAT, 0600));
  assert_int_equal(kvi_ssd_create(&f->config, &medium), KVS_ERR_INVALID);
  assert_null(medium);
}

/* No room for a single log file (a bound on file sizes stands for a full file system): the directory is out, and nothing is left there. */
static void test_no_room(void **state)
{
  struct fixture *f = *state;
  struct rlimit limit, small;
  char path[128];

  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  small = limit;
  small.rlim_cur = MIB / 2;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  opens_without_a_directory(f);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  snprintf(path, sizeof(path), "%s/log-00000.kvl", f->folder);
  assert_int_not_equal(access(path, F_OK), 0);
  fixture_close(f);
  fixture_open(f); /* there is room again */
  assert_int_equal(put_number(f, 1), KVS_OK);
}

int main(void)
{
#define CASE(test)         cmocka_unit_test_setup_teardown(test, setup, teardown)
#define PLAIN_CASE(test)   cmocka_unit_test_setup_teardown(test, plain_setup, plain_teardown)
#define REFUSES_CASE(test) cmocka_unit_test_setup_teardown(test, setup, refuses_teardown)
  const struct CMUnitTest tests[] = {
      PLAIN_CASE(test_short_reads_and_writes),
      PLAIN_CASE(test_a_file_that_was_cut),
      REFUSES_CASE(test_no_direct),
      REFUSES_CASE(test_no_ring),
      REFUSES_CASE(test_no_direct_no_ring),
      CASE(test_little_is_read_after_a_kill),
      CASE(test_a_directory_without_rights),
      CASE(test_no_parent),
      CASE(test_no_directory),
      CASE(test_no_room),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
