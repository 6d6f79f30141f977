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

/* others NULL: all 1. */
struct sim_interval sim_bootstrap_ratio(const double *values, const double *others, size_t n)
{
  double samples[SAMPLES], sum = 0, over = 0;
  kvi_rand random;

  for (size_t i = 0; i < n; i++) {
    sum += values[i];
    over += others ? others[i] : 1;
  }
  kvi_rand_seed(&random, SEED);
  for (size_t i = 0; i < SAMPLES; i++) {
    double drawn = 0, drawn_over = 0;

    for (size_t k = 0; k < n; k++) {
      size_t at = (size_t)kvi_rand_below(&random, n);

      drawn += values[at];
      drawn_over += others ? others[at] : 1;
    }
    samples[i] = drawn_over > 0 ? drawn / drawn_over : 0;
  }
  sim_values_sort(samples, SAMPLES);
  return (struct sim_interval){.value = over > 0 ? sum / over : 0,
                               .low = samples[SAMPLES / 40],
                               .high = samples[SAMPLES - 1 - SAMPLES / 40]};
}

struct sim_interval sim_bootstrap_mean(const double *values, size_t n)
{
  return sim_bootstrap_ratio(values, NULL, n);
}
