/*
 * base/log.h: one line per event.
 *
 * Levels are defined by volume, so that nobody has to guess:
 *
 *   error  something is broken and a person must act; none in a healthy month
 *   warn   we lost or refused something and went on; a person should look some day; a few a day
 *   info   a state of the process changed (started, drained, peer lost); up to a few a minute, whatever the load
 *   debug  one or a few lines for each operation; for one node under a test's load
 *   trace  several lines for each frame or segment; for one request at a time
 *
 * Messages are lower case, without a full stop, name their objects ("chunk %s", "tier dram") and state the
 * cause that was seen; "%m" prints errno as in printf. An error is logged once, where it is decided what
 * becomes of it; callers forward it.
 *
 * Before anything is configured a process logs warn and above to stderr as text: that is what a library of
 * ours does inside somebody else's program. A host that wants the lines sets a sink; a program of ours calls
 * kvi_log_configure().
 *
 * All functions are thread-safe. kvi_log() below the volume in force costs one relaxed load. Above it:
 * formats into a buffer on the stack, no malloc, and calls the sink or write(2) once, in lines of at most
 * KVI_LOG_LINE_MAX bytes (longer ones are cut and end in "..."), so that lines of several processes on one
 * pipe do not mix. Control characters in a message are escaped: no outsider can forge a line.
 */
#ifndef KVI_BASE_LOG_H
#define KVI_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_LOG_LINE_MAX 4096u /* PIPE_BUF: a write up to this size is atomic on a pipe */

typedef enum kvi_log_level {
  KVI_LOG_ERROR = 0,
  KVI_LOG_WARN = 1,
  KVI_LOG_INFO = 2,
  KVI_LOG_DEBUG = 3,
  KVI_LOG_TRACE = 4,
} kvi_log_level;

typedef enum kvi_log_format {
  KVI_LOG_TEXT = 0, /* 2025-01-31T10:20:30.123Z warn  thread store.c:42 message */
  KVI_LOG_JSON = 1, /* {"time":"...","level":"warn","thread":"...","at":"store.c:42","message":"..."} */
} kvi_log_format;

/*
 * Takes one line: "line" holds "length" bytes in the format in force, ends in '\n' and in a NUL after it, and
 * is valid during the call only. Called from any thread, several at once. What it logs itself is dropped.
 */
typedef void (*kvi_log_sink_fn)(void *ctx, kvi_log_level level, const char *line, size_t length);

/* Sets volume and format. Values outside the enums are clamped. */
void kvi_log_configure(kvi_log_level level, kvi_log_format format);

/*
 * Sends every line to fn(ctx) in place of stderr; NULL: back to stderr. Returns when the former sink is
 * running in no thread, so that its ctx may be freed. Not to be called from a sink.
 */
void kvi_log_set_sink(kvi_log_sink_fn fn, void *ctx);

/* "error", "warn", "info", "debug", "trace". KVS_ERR_INVALID for any other word. */
kvs_status kvi_log_parse_level(const char *word, kvi_log_level *level_p);
const char *kvi_log_level_name(kvi_log_level level);

/* Lines the sink or stderr did not take (a full pipe, a closed descriptor), since the start. */
uint64_t kvi_log_lost(void);

extern atomic_int kvi_log_volume; /* read by kvi_log_enabled() only */

static inline bool kvi_log_enabled(kvi_log_level level)
{
  /* relaxed: a line more or less around a change of the volume is of no matter */
  return (int)level <= atomic_load_explicit(&kvi_log_volume, memory_order_relaxed);
}

/* Use the macros. */
void kvi_log_write(kvi_log_level level, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* kvi_log(KVI_LOG_WARN, "chunk %s: checksum does not fit", hex); keeps errno. */
#define kvi_log(level, ...)                                                                                  \
  do {                                                                                                       \
    if (kvi_log_enabled(level))                                                                              \
      kvi_log_write((level), __FILE__, __LINE__, __VA_ARGS__);                                               \
  } while (0)

#define kvi_log_error(...) kvi_log(KVI_LOG_ERROR, __VA_ARGS__)
#define kvi_log_warn(...)  kvi_log(KVI_LOG_WARN, __VA_ARGS__)
#define kvi_log_info(...)  kvi_log(KVI_LOG_INFO, __VA_ARGS__)
#define kvi_log_debug(...) kvi_log(KVI_LOG_DEBUG, __VA_ARGS__)
#define kvi_log_trace(...) kvi_log(KVI_LOG_TRACE, __VA_ARGS__)

/*
 * For events an outsider can cause at will (bad frames, refused connections): at most KVI_LOG_LIMIT_BURST
 * lines a second from one place in the source; the first line after a pause of it says how many were left
 * out.
 */
#define KVI_LOG_LIMIT_BURST 5u

typedef struct kvi_log_limit {
  _Atomic uint64_t window; /* second << 16 | lines of that second */
  _Atomic uint64_t left_out;
} kvi_log_limit;

/* True if a line may be written now; *left_out_p gets the number of lines left out since the last one.
 * Thread-safe. */
bool kvi_log_limit_pass(kvi_log_limit *limit, uint64_t *left_out_p);

#define kvi_log_limited(level, ...)                                                                          \
  do {                                                                                                       \
    static kvi_log_limit kvi_limit_;                                                                         \
    uint64_t kvi_left_out_;                                                                                  \
    if (kvi_log_enabled(level) && kvi_log_limit_pass(&kvi_limit_, &kvi_left_out_)) {                         \
      if (kvi_left_out_ > 0)                                                                                 \
        kvi_log_write((level), __FILE__, __LINE__, "%llu lines like the next were left out",                 \
                      (unsigned long long)kvi_left_out_);                                                    \
      kvi_log_write((level), __FILE__, __LINE__, __VA_ARGS__);                                               \
    }                                                                                                        \
  } while (0)

#endif
