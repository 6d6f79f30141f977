/* Continuum's time to live as its paper has it; the intervals that the reports give. */
#include "tests/unit/traces/testing.h"

#include <math.h>

#include "tests/sim/bootstrap.h"
#include "tiers/policy/continuum.h"

#define TOOL 3u

static struct kvi_continuum *new_continuum(void)
{
  struct kvi_continuum *continuum;

  assert_int_equal(kvi_continuum_create(&continuum), KVS_OK);
  return continuum;
}

static void returned(struct kvi_continuum *continuum, uint32_t tool, double seconds, int times)
{
  for (int i = 0; i < times; i++)
    kvi_continuum_returned(continuum, tool, seconds);
}

/* Exponential with mean 1 s: P * B - t is largest at ln B. */
static void cold(void **state)
{
  struct kvi_continuum *continuum = new_continuum();

  (void)state;
  testing_near(kvi_continuum_ttl(continuum, TOOL, 0.9), 0);
  testing_near(kvi_continuum_ttl(continuum, TOOL, exp(2)), 2);
  returned(continuum, TOOL, 5, KVI_CONTINUUM_COLD);
  kvi_continuum_waited(continuum, exp(1) - 0.5);
  testing_near(kvi_continuum_ttl(continuum, TOOL, 0.5), 1);
  kvi_continuum_destroy(continuum);
}

/* 90 calls of 0.1 s and 30 of 10 s: with B = 5 the first are worth it, 0.75 * 5 - 0.1 against 5 - 10; with B = 100 all, 90 against 74.9; with B = 0.1 none. */
static void of_what_was_seen(void **state)
{
  struct kvi_continuum *continuum = new_continuum();

  (void)state;
  returned(continuum, TOOL, 10, 30);
  returned(continuum, TOOL, 0.1, 90);
  testing_near(kvi_continuum_ttl(continuum, TOOL, 5), 0.1);
  testing_near(kvi_continuum_ttl(continuum, TOOL, 100), 10);
  testing_near(kvi_continuum_ttl(continuum, TOOL, 0.1), 0);
  testing_near(kvi_continuum_ttl(continuum, TOOL + 1, 5), 0.1); /* of all tools */
  returned(continuum, TOOL + 1, 3, KVI_CONTINUUM_COLD);
  testing_near(kvi_continuum_ttl(continuum, TOOL + 1, 7),
               3); /* of all: 190/220 * 7 - 3 = 3.05, 90/220 * 7 - 0.1 = 2.76 */
  returned(continuum, TOOL + 1, 3, 1);
  testing_near(kvi_continuum_ttl(continuum, TOOL + 1, 2.9), 0); /* its own */
  kvi_continuum_destroy(continuum);
}

/* The correlation as its definition has it. */
static double eta_of(const uint32_t *turns, size_t n)
{
  double mean_k = 0, mean_left = 0, both = 0, of_k = 0, of_left = 0, samples = 0;

  for (size_t i = 0; i < n; i++)
    for (uint32_t k = 1; k <= turns[i]; k++) {
      mean_k += k;
      mean_left += turns[i] - k;
      samples++;
    }
  mean_k /= samples;
  mean_left /= samples;
  for (size_t i = 0; i < n; i++)
    for (uint32_t k = 1; k <= turns[i]; k++) {
      both += (k - mean_k) * (turns[i] - k - mean_left);
      of_k += (k - mean_k) * (k - mean_k);
      of_left += (turns[i] - k - mean_left) * (turns[i] - k - mean_left);
    }
  return -both / sqrt(of_k * of_left);
}

static void memoryfulness(void **state)
{
  const uint32_t turns[] = {3, 40, 7, 7, 12, 1, 90};
  struct kvi_continuum *continuum = new_continuum();

  (void)state;
  testing_near(kvi_continuum_eta(continuum), 1);
  kvi_continuum_ended(continuum, 10);
  testing_near(kvi_continuum_eta(continuum), 1);
  kvi_continuum_destroy(continuum);
  continuum = new_continuum();
  for (size_t i = 0; i < sizeof turns / sizeof *turns; i++)
    kvi_continuum_ended(continuum, turns[i]);
  testing_near(kvi_continuum_eta(continuum), eta_of(turns, sizeof turns / sizeof *turns));
  kvi_continuum_destroy(continuum);
}

/* T is that of the last 100. */
static void waits_are_forgotten(void **state)
{
  struct kvi_continuum *continuum = new_continuum();

  (void)state;
  for (int i = 0; i < 200; i++)
    kvi_continuum_waited(continuum, i < 100 ? 1000 : exp(1));
  testing_near(kvi_continuum_ttl(continuum, TOOL, 0), 1);
  kvi_continuum_destroy(continuum);
}

static void intervals(void **state)
{
  const double same[] = {4, 4, 4}, spread[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
               twice[] = {2, 4, 6, 8, 10, 12, 14, 16, 18, 20};
  struct sim_interval interval = sim_bootstrap_mean(same, 3), other;

  (void)state;
  testing_near(interval.low, 4);
  testing_near(interval.high, 4);
  interval = sim_bootstrap_mean(spread, 10);
  testing_near(interval.value, 5.5);
  /* The mean of 10 has a deviation of 2.87 / sqrt(10) = 0.91. */
  assert_true(interval.low > 3.3 && interval.low < 4.2 && interval.high > 6.8 && interval.high < 7.7);
  other = sim_bootstrap_mean(spread, 10);
  assert_memory_equal(&interval, &other, sizeof other);
  interval = sim_bootstrap_ratio(twice, spread, 10); /* drawn in pairs it is always 2 */
  testing_near(interval.low, 2);
  testing_near(interval.high, 2);
}

/* Of two others each is the less in its half of the samples: against the less of both nobody is 1.5 times as good. */
static void over_the_least(void **state)
{
  const double values[] = {3, 3, 3, 3}, others[] = {1, 3, 1, 3, 3, 1, 3, 1};
  struct sim_interval one = sim_bootstrap_ratio(values, others, 4),
                      interval = sim_bootstrap_over_least(values, others, 2, 4);

  (void)state;
  testing_near(interval.value, 1.5);
  testing_near(one.value, 1.5);
  testing_near(one.low, 1);
  testing_near(interval.low, 1.5);
  testing_near(interval.high, 3);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(cold),          cmocka_unit_test(of_what_was_seen),
                                     cmocka_unit_test(memoryfulness), cmocka_unit_test(waits_are_forgotten),
                                     cmocka_unit_test(intervals),     cmocka_unit_test(over_the_least)};

  return cmocka_run_group_tests_name("sim/continuum", tests, NULL, NULL);
}
