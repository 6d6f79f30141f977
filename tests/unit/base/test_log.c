#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "testing.h"

#include "base/log.h"

typedef struct capture {
  pthread_mutex_t lock;
  char last[KVI_LOG_LINE_MAX + 1];
  size_t length;
  size_t count;
  size_t broken;
} capture;

static void catch_line(void *ctx, kvi_log_level level, const char *line, size_t length)
{
  capture *caught = ctx;

  (void)level;
  pthread_mutex_lock(&caught->lock);
  caught->count++;
  if (length == 0 || length > KVI_LOG_LINE_MAX || strlen(line) != length || line[length - 1] != '\n' ||
      memchr(line, '\n', length) != line + length - 1)
    caught->broken++;
  memcpy(caught->last, line, length + 1);
  caught->length = length;
  pthread_mutex_unlock(&caught->lock);
}

static capture caught;

static int setup(void **state)
{
  (void)state;
  memset(&caught, 0, sizeof caught);
  pthread_mutex_init(&caught.lock, NULL);
  kvi_log_set_sink(catch_line, &caught);
  kvi_log_configure(KVI_LOG_INFO, KVI_LOG_TEXT);
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  kvi_log_set_sink(NULL, NULL);
  kvi_log_configure(KVI_LOG_WARN, KVI_LOG_TEXT);
  return 0;
}

static void volume_decides(void **state)
{
  (void)state;
  kvi_log_debug("not now");
  assert_int_equal(caught.count, 0);
  kvi_log_info("now");
  kvi_log_error("and now");
  assert_int_equal(caught.count, 2);
  kvi_log_configure((kvi_log_level)99, (kvi_log_format)99);
  assert_true(kvi_log_enabled(KVI_LOG_TRACE));
  kvi_log_configure((kvi_log_level)-5, KVI_LOG_TEXT);
  assert_true(kvi_log_enabled(KVI_LOG_ERROR));
  assert_false(kvi_log_enabled(KVI_LOG_WARN));
}

static void line_has_its_fields(void **state)
{
  (void)state;
  errno = ENOENT;
  kvi_log_warn("tier %s: %m", "dram");
  assert_int_equal(errno, ENOENT);
  assert_non_null(strstr(caught.last, " warn  "));
  assert_non_null(strstr(caught.last, " test_log.c:"));
  assert_non_null(strstr(caught.last, " tier dram: No such file or directory\n"));
  assert_int_equal(caught.last[10], 'T');
  assert_int_equal(caught.last[23], 'Z');
  assert_int_equal(caught.broken, 0);
}

static void nobody_can_forge_a_line(void **state)
{
  (void)state;
  kvi_log_info("name %s", "x\n2025-01-01 error\r\x1b[31m\xff\xc3\xa9\x7f");
  assert_int_equal(caught.broken, 0);
  assert_non_null(strstr(caught.last, "x\\n2025-01-01 error\\x0d\\x1b[31m\\xff\xc3\xa9\\x7f\n"));
  kvi_log_configure(KVI_LOG_INFO, KVI_LOG_JSON);
  kvi_log_info("say \"%s\"", "a\\b\n\t\xff\xc3\xa9");
  assert_int_equal(caught.last[0], '{');
  assert_non_null(strstr(caught.last, "\"level\":\"info\""));
  assert_non_null(strstr(caught.last, "\"message\":\"say \\\"a\\\\b\\n\\u0009\\ufffd\xc3\xa9\\\"\"}\n"));
  assert_int_equal(caught.broken, 0);
}

static void long_lines_are_cut(void **state)
{
  static char text[3 * KVI_LOG_LINE_MAX];

  (void)state;
  for (int json = 0; json <= 1; json++) {
    const char *end = json ? "...\"}\n" : "...\n";

    kvi_log_configure(KVI_LOG_INFO, json ? KVI_LOG_JSON : KVI_LOG_TEXT);
    for (size_t length = KVI_LOG_LINE_MAX - 200; length < sizeof text - 1;
         length += length < KVI_LOG_LINE_MAX ? 1 : 997) {
      memset(text, json ? '"' : 'a', length);
      text[length] = '\0';
      kvi_log_info("%s", text);
      assert_int_equal(caught.broken, 0);
    }
    assert_string_equal(caught.last + caught.length - strlen(end), end);
  }
}

static void level_words(void **state)
{
  kvi_log_level level = KVI_LOG_TRACE;

  (void)state;
  assert_int_equal(kvi_log_parse_level("error", &level), KVS_OK);
  assert_int_equal(level, KVI_LOG_ERROR);
  assert_int_equal(kvi_log_parse_level("trace", &level), KVS_OK);
  assert_int_equal(level, KVI_LOG_TRACE);
  assert_int_equal(kvi_log_parse_level("Info", &level), KVS_ERR_INVALID);
  assert_string_equal(kvi_log_level_name(KVI_LOG_DEBUG), "debug");
  assert_string_equal(kvi_log_level_name((kvi_log_level)17), "unknown");
}

static void limiter_lets_a_burst_through(void **state)
{
  kvi_log_limit limit = {0};
  uint64_t left_out = 0, passed = 0, refused = 0, told = 0;

  (void)state;
  for (int i = 0; i < 1000; i++) {
    if (kvi_log_limit_pass(&limit, &left_out)) {
      passed++;
      told += left_out;
    } else {
      refused++;
    }
  }
  /* the second may have turned while we ran, but not often */
  assert_true(passed >= KVI_LOG_LIMIT_BURST && passed < 500);
  assert_true(told + atomic_load(&limit.left_out) == refused);
  atomic_store(&limit.window, 0); /* as if a second had passed */
  assert_true(kvi_log_limit_pass(&limit, &left_out));
  assert_true(left_out > 0);
  assert_int_equal(atomic_load(&limit.left_out), 0);
}

static void limited_macro(void **state)
{
  (void)state;
  for (int i = 0; i < 300; i++)
    kvi_log_limited(KVI_LOG_INFO, "bad frame %d", i);
  assert_true(caught.count >= KVI_LOG_LIMIT_BURST && caught.count < 200);
}

static void log_again(void *ctx, kvi_log_level level, const char *line, size_t length)
{
  (void)level, (void)line, (void)length;
  ++*(int *)ctx;
  kvi_log_error("a sink that logs");
}

static void sink_that_logs_does_not_recurse(void **state)
{
  int calls = 0;

  (void)state;
  kvi_log_set_sink(log_again, &calls);
  kvi_log_error("one");
  assert_int_equal(calls, 1);
}

static void *log_many(void *arg)
{
  for (int i = 0; i < 500; i++)
    kvi_log_info("of %p line %d", arg, i);
  return NULL;
}

static void many_threads_whole_lines(void **state)
{
  pthread_t threads[4];

  (void)state;
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, log_many, &caught), 0);
  for (size_t i = 0; i < 20; i++)
    kvi_log_set_sink(catch_line, &caught); /* while they log */
  for (size_t i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(caught.count, 2000);
  assert_int_equal(caught.broken, 0);
}

/* Without a sink: one write to stderr for each line; one that stderr does not take is counted, not waited
 * for. */
static void stderr_gets_one_write(void **state)
{
  int ends[2], saved = dup(STDERR_FILENO);
  char packet[KVI_LOG_LINE_MAX + 1];

  (void)state;
  /* a packet pipe keeps the bounds of each write */
  assert_int_equal(pipe2(ends, O_DIRECT | O_NONBLOCK), 0);
  kvi_log_set_sink(NULL, NULL);
  dup2(ends[1], STDERR_FILENO);
  kvi_log_info("first");
  kvi_log_info("second");
  uint64_t lost = kvi_log_lost();
  for (int i = 0; i < 1000; i++)
    kvi_log_info("fill the pipe");
  uint64_t lost_after = kvi_log_lost();
  dup2(saved, STDERR_FILENO);
  close(saved);
  assert_true(lost_after > lost);
  ssize_t got = read(ends[0], packet, sizeof packet - 1);
  assert_true(got > 0);
  packet[got] = '\0';
  assert_non_null(strstr(packet, " first\n"));
  assert_null(strstr(packet, "second"));
  got = read(ends[0], packet, sizeof packet - 1);
  assert_true(got > 0);
  packet[got] = '\0';
  assert_non_null(strstr(packet, " second\n"));
  close(ends[0]);
  close(ends[1]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(volume_decides, setup, teardown),
      cmocka_unit_test_setup_teardown(line_has_its_fields, setup, teardown),
      cmocka_unit_test_setup_teardown(nobody_can_forge_a_line, setup, teardown),
      cmocka_unit_test_setup_teardown(long_lines_are_cut, setup, teardown),
      cmocka_unit_test_setup_teardown(level_words, setup, teardown),
      cmocka_unit_test_setup_teardown(limiter_lets_a_burst_through, setup, teardown),
      cmocka_unit_test_setup_teardown(limited_macro, setup, teardown),
      cmocka_unit_test_setup_teardown(sink_that_logs_does_not_recurse, setup, teardown),
      cmocka_unit_test_setup_teardown(many_threads_whole_lines, setup, teardown),
      cmocka_unit_test_setup_teardown(stderr_gets_one_write, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
