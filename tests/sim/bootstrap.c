#include "tests/sim/bootstrap.h"

#include <stdlib.h>

#include "base/rand.h"

#define SAMPLES 2000u
#define SEED    20u

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

void sim_values_sort(double *values, size_t n)
{
  qsort(values, n, sizeof *values, by_value);
}

/* at: n numbers below n; NULL: all of them. */
static double sum_of(const double *values, const size_t *at, size_t n)
{
  double sum = 0;

  for (size_t i = 0; i < n; i++)
    sum += values[at ? at[i] : i];
  return sum;
}

static double over_least(const double *values, const double *others, size_t n_others, const size_t *at,
                         size_t n)
{
  double least = n_others > 0 ? sum_of(others, at, n) : (double)n;

  for (size_t i = 1; i < n_others; i++) {
    double sum = sum_of(others + i * n, at, n);

    least = sum < least ? sum : least;
  }
  return least > 0 ? sum_of(values, at, n) / least : 0;
}

struct sim_interval sim_bootstrap_over_least(const double *values, const double *others, size_t n_others,
                                             size_t n)
{
  double samples[SAMPLES];
  size_t at[SIM_BOOTSTRAP_MAX];
  kvi_rand random;

  kvi_rand_seed(&random, SEED);
  for (size_t i = 0; i < SAMPLES; i++) {
    for (size_t k = 0; k < n; k++)
      at[k] = (size_t)kvi_rand_below(&random, n);
    samples[i] = over_least(values, others, n_others, at, n);
  }
  sim_values_sort(samples, SAMPLES);
  return (struct sim_interval){.value = over_least(values, others, n_others, NULL, n),
                               .low = samples[SAMPLES / 40],
                               .high = samples[SAMPLES - 1 - SAMPLES / 40]};
}

struct sim_interval sim_bootstrap_ratio(const double *values, const double *others, size_t n)
{
  return sim_bootstrap_over_least(values, others, 1, n);
}

struct sim_interval sim_bootstrap_mean(const double *values, size_t n)
{
  return sim_bootstrap_over_least(values, NULL, 0, n);
}
