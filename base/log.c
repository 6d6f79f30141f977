#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

atomic_int kvi_log_volume = KVI_LOG_WARN;

static atomic_int log_format = KVI_LOG_TEXT;
static _Atomic uint64_t lines_lost;

/* Held for reading while a sink runs, for writing while it is changed: that is how set_sink knows that the
 * old one has gone. */
static pthread_rwlock_t sink_lock = PTHREAD_RWLOCK_INITIALIZER;
static kvi_log_sink_fn sink_fn;
static void *sink_ctx;
static _Thread_local bool in_sink;

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

/* A line under construction. Room for the end ("...\"}\n" and NUL) is kept back. */
typedef struct line_buffer {
  char text[KVI_LOG_LINE_MAX + 1];
  size_t length;
  bool cut;
} line_buffer;

#define TAIL_ROOM 8u

static void put_bytes(line_buffer *line, const char *bytes, size_t length)
{
  if (line->cut || length > KVI_LOG_LINE_MAX - TAIL_ROOM - line->length) {
    line->cut = true;
    return;
  }
  memcpy(line->text + line->length, bytes, length);
  line->length += length;
}

static void put_text(line_buffer *line, const char *text)
{
  put_bytes(line, text, strlen(text));
}

/* Adds "text" so that it can neither end the line nor, in JSON, the string. */
static void put_escaped(line_buffer *line, const char *text, bool json)
{
  size_t left = strlen(text);

  while (left > 0 && !line->cut) {
    size_t width = kvi_utf8_length(text, left);
    unsigned char byte = (unsigned char)*text;
    char escape[8];

    if (json && (byte == '"' || byte == '\\')) {
      escape[0] = '\\';
      escape[1] = (char)byte;
      put_bytes(line, escape, 2);
    } else if (byte == '\n') {
      put_text(line, "\\n");
    } else if (width == 0 || byte < 0x20 || byte == 0x7f) {
      if (json && width == 0)
        put_text(line, "\\ufffd");
      else {
        snprintf(escape, sizeof escape, json ? "\\u%04x" : "\\x%02x", byte);
        put_text(line, escape);
      }
    } else {
      put_bytes(line, text, width);
    }
    text += width > 0 ? width : 1;
    left -= width > 0 ? width : 1;
  }
}

static void put_time(line_buffer *line)
{
  struct timespec now;
  struct tm utc;
  char text[64];

  clock_gettime(CLOCK_REALTIME, &now); /* for people to read: nothing is decided by it */
  gmtime_r(&now.tv_sec, &utc);
  size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(text + length, sizeof text - length, ".%03dZ", (int)(now.tv_nsec / 1000000));
  put_text(line, text);
}

static void put_line(line_buffer *line, kvi_log_level level, const char *at, const char *message)
{
  bool json = atomic_load_explicit(&log_format, memory_order_relaxed) == KVI_LOG_JSON;
  char thread[16] = "";

  line->length = 0;
  line->cut = false;
  pthread_getname_np(pthread_self(), thread, sizeof thread);
  if (json)
    put_text(line, "{\"time\":\"");
  put_time(line);
  put_text(line, json ? "\",\"level\":\"" : " ");
  put_text(line, level_names[level]);
  if (!json && strlen(level_names[level]) < 5)
    put_text(line, " ");
  put_text(line, json ? "\",\"thread\":\"" : " ");
  put_escaped(line, thread, json);
  put_text(line, json ? "\",\"at\":\"" : " ");
  put_escaped(line, at, json);
  put_text(line, json ? "\",\"message\":\"" : " ");
  put_escaped(line, message, json);
  if (line->cut) {
    memcpy(line->text + line->length, "...", 3);
    line->length += 3;
  }
  const char *end = json ? "\"}\n" : "\n";
  memcpy(line->text + line->length, end, strlen(end) + 1);
  line->length += strlen(end);
}

static void send_to_stderr(const line_buffer *line)
{
  ssize_t written;

  do {
    written = write(STDERR_FILENO, line->text, line->length);
  } while (written < 0 && errno == EINTR);
  if (written != (ssize_t)line->length)
    atomic_fetch_add_explicit(&lines_lost, 1, memory_order_relaxed);
}

void kvi_log_write(kvi_log_level level, const char *file, int line_number, const char *format, ...)
{
  int saved_errno = errno;
  char message[KVI_LOG_LINE_MAX];
  char at[128];
  line_buffer line;
  va_list args;

  if (in_sink || (int)level < KVI_LOG_ERROR || (int)level > KVI_LOG_TRACE)
    return;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args); /* errno is still the caller's: "%m" */
  va_end(args);
  const char *base = strrchr(file, '/');
  snprintf(at, sizeof at, "%s:%d", base != NULL ? base + 1 : file, line_number);
  put_line(&line, level, at, message);

  pthread_rwlock_rdlock(&sink_lock);
  if (sink_fn != NULL) {
    in_sink = true;
    sink_fn(sink_ctx, level, line.text, line.length);
    in_sink = false;
  } else {
    send_to_stderr(&line);
  }
  pthread_rwlock_unlock(&sink_lock);
  errno = saved_errno;
}

void kvi_log_configure(kvi_log_level level, kvi_log_format format)
{
  int volume = (int)level;

  if (volume < KVI_LOG_ERROR)
    volume = KVI_LOG_ERROR;
  if (volume > KVI_LOG_TRACE)
    volume = KVI_LOG_TRACE;
  atomic_store_explicit(&log_format, format == KVI_LOG_JSON ? KVI_LOG_JSON : KVI_LOG_TEXT,
                        memory_order_relaxed);
  atomic_store_explicit(&kvi_log_volume, volume, memory_order_relaxed);
}

void kvi_log_set_sink(kvi_log_sink_fn fn, void *ctx)
{
  pthread_rwlock_wrlock(&sink_lock);
  sink_fn = fn;
  sink_ctx = ctx;
  pthread_rwlock_unlock(&sink_lock);
}

kvs_status kvi_log_parse_level(const char *word, kvi_log_level *level_p)
{
  for (int i = KVI_LOG_ERROR; i <= KVI_LOG_TRACE; i++) {
    if (strcmp(word, level_names[i]) == 0) {
      *level_p = (kvi_log_level)i;
      return KVS_OK;
    }
  }
  return KVS_ERR_INVALID;
}

const char *kvi_log_level_name(kvi_log_level level)
{
  return (int)level < KVI_LOG_ERROR || (int)level > KVI_LOG_TRACE ? "unknown" : level_names[level];
}

uint64_t kvi_log_lost(void)
{
  return atomic_load_explicit(&lines_lost, memory_order_relaxed);
}

bool kvi_log_limit_pass(kvi_log_limit *limit, uint64_t *left_out_p)
{
  uint64_t second = kvi_now_ns() / KVI_NS_PER_S;
  uint64_t old = atomic_load_explicit(&limit->window, memory_order_relaxed);
  uint64_t new;

  *left_out_p = 0;
  /* relaxed: only the two counters themselves are exchanged, nothing is published by them */
  do {
    if (old >> 16 == second && (old & 0xFFFF) >= KVI_LOG_LIMIT_BURST) {
      atomic_fetch_add_explicit(&limit->left_out, 1, memory_order_relaxed);
      return false;
    }
    new = old >> 16 == second ? old + 1 : second << 16 | 1;
  } while (!atomic_compare_exchange_weak_explicit(&limit->window, &old, new, memory_order_relaxed,
                                                  memory_order_relaxed));
  *left_out_p = atomic_exchange_explicit(&limit->left_out, 0, memory_order_relaxed);
  return true;
}
