/* tiers/redis/breaker.c: see breaker.h. */
#include "tiers/redis/breaker.h"

#include "base/clock.h"

bool kvi_redis_breaker_trip(struct kvi_redis_breaker *breaker, kvi_rand *rand, uint64_t now_ns)
{
  bool was_open = kvi_redis_breaker_is_open(breaker);
  uint64_t spread;

  breaker->failures++;
  if (was_open && now_ns < breaker->until_ns)
    return false; /* the other connections of the same failure */
  if (!was_open)
    breaker->pause_ms = breaker->first_ms;
  else
    breaker->pause_ms =
        breaker->pause_ms < breaker->longest_ms / 2 ? breaker->pause_ms * 2 : breaker->longest_ms;
  spread = kvi_rand_below(rand, breaker->pause_ms / 2 + 1);
  breaker->until_ns = now_ns + (breaker->pause_ms / 2 + breaker->pause_ms % 2 + spread) * KVI_NS_PER_MS;
  if (!was_open)
    breaker->opened++;
  return !was_open;
}

bool kvi_redis_breaker_fail(struct kvi_redis_breaker *breaker, kvi_rand *rand, uint64_t now_ns)
{
  if (!kvi_redis_breaker_is_open(breaker) && breaker->failures + 1 < breaker->threshold) {
    breaker->failures++;
    return false;
  }
  return kvi_redis_breaker_trip(breaker, rand, now_ns);
}

bool kvi_redis_breaker_succeed(struct kvi_redis_breaker *breaker)
{
  bool was_open = kvi_redis_breaker_is_open(breaker);

  breaker->failures = 0;
  breaker->pause_ms = 0;
  breaker->until_ns = 0;
  return was_open;
}
