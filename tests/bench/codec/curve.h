/* tests/bench/codec/curve.h: curves of rate over error, and how they compare. Pure; any thread. */
#ifndef KVASIR_BENCH_CODEC_CURVE_H
#define KVASIR_BENCH_CODEC_CURVE_H

#include <stdbool.h>
#include <stddef.h>

#define CODEC_CURVE_MAX 64u

struct codec_point {
  double error, bits;
};

struct codec_curve {
  struct codec_point points[CODEC_CURVE_MAX];
  size_t n;
};

/* Points without an error or a rate above 0, and more than CODEC_CURVE_MAX, are ignored. */
void codec_curve_add(struct codec_curve *curve, double error, double bits);

/* Sorts by error and leaves out each point that another one beats in both: what one would choose from. */
void codec_curve_settle(struct codec_curve *curve);

/* The rate at an error: straight lines over the error's logarithm. False: the settled curve does not reach there. */
bool codec_curve_at(const struct codec_curve *curve, double error, double *bits_p);

#endif
