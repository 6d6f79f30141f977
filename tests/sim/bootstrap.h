/* tests/sim/bootstrap.h: how sure a mean over seeds is: the middle 95 % of the means of samples that are drawn from it with replacement (Efron 1979). */
#ifndef KVASIR_SIM_BOOTSTRAP_H
#define KVASIR_SIM_BOOTSTRAP_H

#include <stddef.h>

#define SIM_BOOTSTRAP_MAX 1000u /* values */

struct sim_interval {
  double value, low, high;
};

/* The least first. */
void sim_values_sort(double *values, size_t n);

/* The mean of n values. n: 1 to SIM_BOOTSTRAP_MAX; of one value low and high are that. The same values give the same interval. */
struct sim_interval sim_bootstrap_mean(const double *values, size_t n);
/* The mean of n values over that of as many others, pair by pair drawn together. */
struct sim_interval sim_bootstrap_ratio(const double *values, const double *others, size_t n);
/* As ratio, over the least of the means of n_others rows of n others each, one after the other: which row that is may differ from sample to sample. n_others 0: over 1. */
struct sim_interval sim_bootstrap_over_least(const double *values, const double *others, size_t n_others,
                                             size_t n);

#endif
