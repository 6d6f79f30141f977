/* tests/bench/codec/statistics.h: numbers by which synthetic tensors are compared with real ones. */
#ifndef KVASIR_BENCH_CODEC_STATISTICS_H
#define KVASIR_BENCH_CODEC_STATISTICS_H

#include "tests/bench/codec/set.h"

struct codec_statistics {
  double q8_keys,
      q8_values; /* bits of a code of Q8_0 (blocks of 32), order 0; real ones: 7.6 to 7.7 together */
  double
      exponent_entropy; /* bits of a bf16 exponent, order 0 in each layer's keys and values; real ones: 2.5 to 3.0 */
  double correlation; /* of a channel's tokens with the next one, median over heads of the keys */
};

void codec_statistics_of(const struct codec_set *set, struct codec_statistics *statistics_p);

#endif
