/* tiers/rate.h: how fast bytes move while any do, so that operations side by side count together and idle time does not count. */
#ifndef KVASIR_TIERS_RATE_H
#define KVASIR_TIERS_RATE_H

#include <stdint.h>

#include "base/clock.h"

#define KVI_RATE_WINDOW_NS (50 * KVI_NS_PER_MS)

/* All 0 to begin with. The caller guards it. */
struct kvi_rate {
  uint64_t bytes_per_s; /* a decaying average; 0: not measured yet */
  uint64_t under_way, since_ns, bytes;
};

static inline void kvi_rate_begin(struct kvi_rate *rate, uint64_t now_ns)
{
  if (rate->under_way++ > 0)
    return;
  rate->since_ns = now_ns;
  rate->bytes = 0;
}

/* bytes: what it moved; 0 if it failed. Each begin has one end. */
static inline void kvi_rate_end(struct kvi_rate *rate, uint64_t bytes, uint64_t now_ns)
{
  uint64_t us = (now_ns - rate->since_ns) / KVI_NS_PER_US + 1, sample;

  rate->bytes += bytes;
  if (--rate->under_way > 0 && now_ns - rate->since_ns <= KVI_RATE_WINDOW_NS)
    return;
  sample = rate->bytes * 1000 / us * 1000;
  if (sample > 0)
    rate->bytes_per_s =
        rate->bytes_per_s == 0 ? sample : rate->bytes_per_s - rate->bytes_per_s / 8 + sample / 8;
  rate->since_ns = now_ns;
  rate->bytes = 0;
}

#endif
