/*
 * base/clock.h: durations and deadlines by the machine's monotonic clock.
 *
 * No correctness rests on a wall clock, and instants of two machines are never compared: what travels is a
 * duration, and the receiver makes its own deadline of it. Every wait has a bound: there is no infinite
 * deadline, the longest is KVI_DEADLINE_MAX_MS away. All functions are thread-safe and do not block.
 */
#ifndef KVI_BASE_CLOCK_H
#define KVI_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define KVI_NS_PER_US       UINT64_C(1000)
#define KVI_NS_PER_MS       UINT64_C(1000000)
#define KVI_NS_PER_S        UINT64_C(1000000000)
#define KVI_DEADLINE_MAX_MS UINT64_C(3600000) /* one hour */

/* An instant of CLOCK_MONOTONIC. A zeroed one has expired. */
typedef struct kvi_deadline {
  uint64_t at_ns;
} kvi_deadline;

/* Nanoseconds since some instant before the start of the process; never goes back, never 0. */
static inline uint64_t kvi_now_ns(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * KVI_NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline uint64_t kvi_now_ms(void)
{
  return kvi_now_ns() / KVI_NS_PER_MS;
}

/* "ms" milliseconds after now_ns; more than KVI_DEADLINE_MAX_MS means KVI_DEADLINE_MAX_MS. For tests, and
 * several in a row. */
static inline kvi_deadline kvi_deadline_at(uint64_t now_ns, uint64_t ms)
{
  kvi_deadline deadline = {now_ns + (ms < KVI_DEADLINE_MAX_MS ? ms : KVI_DEADLINE_MAX_MS) * KVI_NS_PER_MS};

  return deadline;
}

/* "ms" milliseconds from now; more than KVI_DEADLINE_MAX_MS means KVI_DEADLINE_MAX_MS. 0 has expired at once.
 */
static inline kvi_deadline kvi_deadline_from_ms(uint64_t ms)
{
  return kvi_deadline_at(kvi_now_ns(), ms);
}

static inline bool kvi_deadline_expired(kvi_deadline deadline)
{
  return kvi_now_ns() >= deadline.at_ns;
}

static inline uint64_t kvi_deadline_remaining_ns(kvi_deadline deadline)
{
  uint64_t now = kvi_now_ns();

  return now >= deadline.at_ns ? 0 : deadline.at_ns - now;
}

/* Rounded up, so that a wait of this length does not end before the deadline; 0 only if it has expired. */
static inline uint64_t kvi_deadline_remaining_ms(kvi_deadline deadline)
{
  return (kvi_deadline_remaining_ns(deadline) + KVI_NS_PER_MS - 1) / KVI_NS_PER_MS;
}

static inline kvi_deadline kvi_deadline_earlier(kvi_deadline a, kvi_deadline b)
{
  return a.at_ns <= b.at_ns ? a : b;
}

/* The end of the first of n attempts that share what is left; the next one shares what is left then among n - 1. n > 0. */
static inline kvi_deadline kvi_deadline_share(kvi_deadline deadline, uint64_t now_ns, uint64_t n)
{
  uint64_t left = now_ns < deadline.at_ns ? deadline.at_ns - now_ns : 0;

  return n > 1 ? (kvi_deadline){deadline.at_ns - left + left / n} : deadline;
}

/* For pthread_cond_timedwait() on a condition variable that uses CLOCK_MONOTONIC. */
static inline struct timespec kvi_deadline_timespec(kvi_deadline deadline)
{
  struct timespec at = {.tv_sec = (time_t)(deadline.at_ns / KVI_NS_PER_S),
                        .tv_nsec = (long)(deadline.at_ns % KVI_NS_PER_S)};

  return at;
}

#endif
