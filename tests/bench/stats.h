/* tests/bench/stats.h: medians, percentiles and ratios of small sets of numbers. Pure functions; nothing blocks. */
#ifndef KVASIR_BENCH_STATS_H
#define KVASIR_BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_ROUNDS_MAX 64u

struct bench_summary {
  double median, min, max;
  size_t n; /* values it is made of; 0: the others are 0 */
};

/* At most BENCH_ROUNDS_MAX values are looked at. An even number's median is the mean of the middle two. */
struct bench_summary bench_summarise(const double *values, size_t n);

/* Sorts latencies in place, so that bench_percentile() can look at them. */
void bench_sort_u32(uint32_t *values, size_t n);

/*
 * The smallest of the sorted values that at least `percent` (0 to 100) of all do not exceed (nearest rank); 0 for
 * no values.
 */
uint32_t bench_percentile(const uint32_t *sorted, size_t n, double percent);

/* One measured value of each round. */
struct bench_series {
  double value[BENCH_ROUNDS_MAX];
  bool usable[BENCH_ROUNDS_MAX]; /* there is a value, and it counts */
  bool clean[BENCH_ROUNDS_MAX];  /* nobody else disturbed it */
  size_t rounds;
};

/* Sets the value of a round (< BENCH_ROUNDS_MAX; others are ignored). It counts for now, clean or not. */
void bench_series_set(struct bench_series *series, size_t round, double value, bool clean);

/*
 * Leaves out the rounds that are not clean, if at least half of them are. Else there is nothing better: all stay, and
 * false is returned. *dropped_p grows by the number left out; NULL is fine.
 */
bool bench_series_settle(struct bench_series *series, uint32_t *dropped_p);

/* Over the usable rounds. */
struct bench_summary bench_series_summary(const struct bench_series *series);

/*
 * value / reference within each round in which both are usable and the reference is above 0: the speed of a machine
 * drifts from one round to the next, so ratios are never made of medians.
 */
struct bench_summary bench_series_ratio(const struct bench_series *series,
                                        const struct bench_series *reference);

#endif
