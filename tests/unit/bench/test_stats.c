#include "tests/bench/stats.h"

#include "tests/unit/bench/testing.h"

static void median_of_odd_and_even(void **state)
{
  const double odd[] = {3, 1, 2};
  const double even[] = {4, 1, 3, 2};
  struct bench_summary summary = bench_summarise(odd, 3);

  (void)state;
  assert_int_equal(summary.n, 3);
  assert_close(summary.median, 2);
  assert_close(summary.min, 1);
  assert_close(summary.max, 3);
  assert_close(bench_summarise(even, 4).median, 2.5);
  assert_close(bench_summarise(even, 1).median, 4);
}

static void summary_of_nothing_and_of_too_much(void **state)
{
  double many[BENCH_ROUNDS_MAX + 8];
  struct bench_summary summary = bench_summarise(NULL, 0);

  (void)state;
  assert_int_equal(summary.n, 0);
  assert_close(summary.median, 0);
  for (size_t i = 0; i < BENCH_ROUNDS_MAX + 8; i++)
    many[i] = (double)i;
  summary = bench_summarise(many, BENCH_ROUNDS_MAX + 8);
  assert_int_equal(summary.n, BENCH_ROUNDS_MAX);
  assert_close(summary.max, BENCH_ROUNDS_MAX - 1);
}

static void percentiles_by_nearest_rank(void **state)
{
  uint32_t values[100];

  (void)state;
  for (uint32_t i = 0; i < 100; i++)
    values[i] = 100 - i;
  bench_sort_u32(values, 100);
  assert_int_equal(bench_percentile(values, 100, 50), 50);
  assert_int_equal(bench_percentile(values, 100, 99), 99);
  assert_int_equal(bench_percentile(values, 100, 100), 100);
  assert_int_equal(bench_percentile(values, 100, 0), 1);
  assert_int_equal(bench_percentile(values, 1, 99), 1);
  assert_int_equal(bench_percentile(values, 3, 50), 2);
  assert_int_equal(bench_percentile(values, 0, 50), 0);
}

static void sorts_large_values(void **state)
{
  uint32_t values[] = {UINT32_MAX, 0, UINT32_MAX - 1};

  (void)state;
  bench_sort_u32(values, 3);
  assert_int_equal(values[0], 0);
  assert_int_equal(values[2], UINT32_MAX);
  bench_sort_u32(NULL, 0);
}

static void ratios_are_made_within_rounds(void **state)
{
  struct bench_series series = {0};
  struct bench_series reference = {0};
  struct bench_summary ratio;

  (void)state;
  /* Twice as fast in each round, on a machine that gets ten times faster: the ratio does not see that. */
  for (size_t i = 0; i < 3; i++) {
    double speed = i == 0 ? 1 : i == 1 ? 5 : 10;

    bench_series_set(&reference, i, speed, true);
    bench_series_set(&series, i, 2 * speed, true);
  }
  ratio = bench_series_ratio(&series, &reference);
  assert_int_equal(ratio.n, 3);
  assert_close(ratio.min, 2);
  assert_close(ratio.max, 2);
  assert_close(ratio.median, 2);
}

static void ratios_need_both_values(void **state)
{
  struct bench_series series = {0};
  struct bench_series reference = {0};

  (void)state;
  bench_series_set(&series, 0, 1, true);
  bench_series_set(&series, 1, 3, true);
  bench_series_set(&series, 2, 8, true);
  bench_series_set(&reference, 1, 2, true); /* none in round 0, nor in round 2 */
  assert_int_equal(bench_series_ratio(&series, &reference).n, 1);
  assert_close(bench_series_ratio(&series, &reference).median, 1.5);
  bench_series_set(&reference, 1, 0, true);
  assert_int_equal(bench_series_ratio(&series, &reference).n, 0);
}

static void disturbed_rounds_are_left_out(void **state)
{
  struct bench_series series = {0};
  uint32_t dropped = 0;

  (void)state;
  for (size_t i = 0; i < 5; i++)
    bench_series_set(&series, i, (double)i, i % 2 == 0);
  assert_true(bench_series_settle(&series, &dropped));
  assert_int_equal(dropped, 2);
  assert_int_equal(bench_series_summary(&series).n, 3);
  assert_close(bench_series_summary(&series).median, 2);
}

static void mostly_disturbed_rounds_stay(void **state)
{
  struct bench_series series = {0};
  uint32_t dropped = 0;

  (void)state;
  for (size_t i = 0; i < 5; i++)
    bench_series_set(&series, i, (double)i, i < 2);
  assert_false(bench_series_settle(&series, &dropped));
  assert_int_equal(dropped, 0);
  assert_int_equal(bench_series_summary(&series).n, 5);
}

static void rounds_beyond_the_bound_are_ignored(void **state)
{
  struct bench_series series = {0};

  (void)state;
  bench_series_set(&series, BENCH_ROUNDS_MAX, 1, true);
  assert_int_equal(series.rounds, 0);
  bench_series_set(&series, BENCH_ROUNDS_MAX - 1, 1, true);
  assert_int_equal(bench_series_summary(&series).n, 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(median_of_odd_and_even),
      cmocka_unit_test(summary_of_nothing_and_of_too_much),
      cmocka_unit_test(percentiles_by_nearest_rank),
      cmocka_unit_test(sorts_large_values),
      cmocka_unit_test(ratios_are_made_within_rounds),
      cmocka_unit_test(ratios_need_both_values),
      cmocka_unit_test(disturbed_rounds_are_left_out),
      cmocka_unit_test(mostly_disturbed_rounds_stay),
      cmocka_unit_test(rounds_beyond_the_bound_are_ignored),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
