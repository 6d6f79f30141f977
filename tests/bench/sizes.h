/* tests/bench/sizes.h: chunks of mixed sizes, as many of each: 64 KiB to 2 MiB, none of them a round number. */
#ifndef KVASIR_BENCH_SIZES_H
#define KVASIR_BENCH_SIZES_H

#include "base/rand.h"

#define BENCH_MIXED_MAX (2u << 20)

/* One of six sizes, doubling, and up to an eighth less. */
static inline uint32_t bench_mixed_size(kvi_rand *random)
{
  uint32_t most = UINT32_C(65536) << kvi_rand_below(random, 6);

  return most - (uint32_t)kvi_rand_below(random, most / 8);
}

#endif
