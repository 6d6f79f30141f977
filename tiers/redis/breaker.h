/*
 * tiers/redis/breaker.h: when to stop asking a Redis that does not answer, and when to try again.
 *
 * Closed: operations go through. After `threshold` failures in a row, none of them an answer, it is open: operations are refused at once, for a time that
 * doubles up to a bound and is spread by half at random, so that many nodes do not come back in step. When that time is over one
 * attempt is made (half open): an answer closes the breaker, a failure opens it for longer.
 *
 * One thread. Time is an argument.
 */
#ifndef KVASIR_TIERS_REDIS_BREAKER_H
#define KVASIR_TIERS_REDIS_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rand.h"

struct kvi_redis_breaker {
  uint32_t threshold, first_ms, longest_ms; /* set by the owner */
  uint32_t failures;                        /* in a row */
  uint32_t pause_ms;                        /* of the last opening, before it was spread; 0: closed */
  uint64_t until_ns;                        /* open until then */
  uint64_t opened;                          /* times, for the counters */
};

/* Something went wrong. True: it is open because of this one (so that it is logged once). */
bool kvi_redis_breaker_fail(struct kvi_redis_breaker *breaker, kvi_rand *rand, uint64_t now_ns);
/* The same, and open at once whatever the threshold: a connection was refused, the password is wrong. */
bool kvi_redis_breaker_trip(struct kvi_redis_breaker *breaker, kvi_rand *rand, uint64_t now_ns);
/* An answer came. True: it was open. */
bool kvi_redis_breaker_succeed(struct kvi_redis_breaker *breaker);

static inline bool kvi_redis_breaker_is_open(const struct kvi_redis_breaker *breaker)
{
  return breaker->pause_ms > 0;
}

/* Open, and its time is over: try once. */
static inline bool kvi_redis_breaker_may_try(const struct kvi_redis_breaker *breaker, uint64_t now_ns)
{
  return now_ns >= breaker->until_ns;
}

#endif
