#include "tests/bench/stats.h"

#include <stdlib.h>

static int compare_double(const void *a, const void *b)
{
  double x = *(const double *)a;
  double y = *(const double *)b;

  return (x > y) - (x < y);
}

static int compare_u32(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a;
  uint32_t y = *(const uint32_t *)b;

  return (x > y) - (x < y);
}

struct bench_summary bench_summarise(const double *values, size_t n)
{
  struct bench_summary summary = {0};
  double sorted[BENCH_ROUNDS_MAX];

  if (n > BENCH_ROUNDS_MAX)
    n = BENCH_ROUNDS_MAX;
  if (n == 0)
    return summary;
  for (size_t i = 0; i < n; i++)
    sorted[i] = values[i];
  qsort(sorted, n, sizeof sorted[0], compare_double);
  summary.n = n;
  summary.min = sorted[0];
  summary.max = sorted[n - 1];
  summary.median = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0;
  return summary;
}

void bench_sort_u32(uint32_t *values, size_t n)
{
  if (n > 1)
    qsort(values, n, sizeof values[0], compare_u32);
}

uint32_t bench_percentile(const uint32_t *sorted, size_t n, double percent)
{
  double exact = (double)n * percent / 100.0;
  size_t rank = exact > 0.0 ? (size_t)exact : 0;

  if (n == 0)
    return 0;
  if ((double)rank < exact)
    rank++;
  if (rank < 1)
    rank = 1;
  if (rank > n)
    rank = n;
  return sorted[rank - 1];
}

void bench_series_set(struct bench_series *series, size_t round, double value, bool clean)
{
  if (round >= BENCH_ROUNDS_MAX)
    return;
  series->value[round] = value;
  series->usable[round] = true;
  series->clean[round] = clean;
  if (series->rounds < round + 1)
    series->rounds = round + 1;
}

bool bench_series_settle(struct bench_series *series, uint32_t *dropped_p)
{
  size_t usable = 0;
  size_t clean = 0;

  for (size_t i = 0; i < series->rounds; i++) {
    usable += series->usable[i];
    clean += series->usable[i] && series->clean[i];
  }
  if (2 * clean < usable)
    return false;
  for (size_t i = 0; i < series->rounds; i++)
    series->usable[i] = series->usable[i] && series->clean[i];
  if (dropped_p != NULL)
    *dropped_p += (uint32_t)(usable - clean);
  return true;
}

struct bench_summary bench_series_summary(const struct bench_series *series)
{
  double values[BENCH_ROUNDS_MAX];
  size_t n = 0;

  for (size_t i = 0; i < series->rounds && i < BENCH_ROUNDS_MAX; i++)
    if (series->usable[i])
      values[n++] = series->value[i];
  return bench_summarise(values, n);
}

struct bench_summary bench_series_ratio(const struct bench_series *series,
                                        const struct bench_series *reference)
{
  double values[BENCH_ROUNDS_MAX];
  size_t n = 0;

  for (size_t i = 0; i < series->rounds && i < reference->rounds && i < BENCH_ROUNDS_MAX; i++)
    if (series->usable[i] && reference->usable[i] && reference->value[i] > 0.0)
      values[n++] = series->value[i] / reference->value[i];
  return bench_summarise(values, n);
}
