/* Curves of waits against what is known in closed form, and against sums over single observations. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "testing.h"

#include "base/rand.h"
#include "tiers/policy/waits.h"

#define B KVI_WAIT_BUCKETS

static const struct kvi_waits none;

static double edge(uint32_t i)
{
  return i == 0 ? 0 : KVI_WAIT_FIRST * pow(10, (i - 1) / 10.0);
}

static double uniform(uint64_t *seed)
{
  return ((double)(kvi_splitmix64(seed) >> 11) + 0.5) / 9007199254740992.0;
}

static void assert_near(double a, double b, double part)
{
  if (!(fabs(a - b) <= part * fabs(b) + 1e-12))
    fail_msg("%g is not near %g", a, b);
}

static void curve_check(const struct kvi_wait_curve *curve)
{
  assert_true(curve->away[0] == 1);
  for (uint32_t i = 0; i <= B; i++) {
    assert_true(curve->away[i] >= 0 && curve->rate[i] >= 0 && isfinite(curve->rate[i]));
    assert_true(i == 0 || (curve->away[i] <= curve->away[i - 1] && curve->waited[i] >= curve->waited[i - 1]));
  }
}

/* Whoever waits without a memory comes back at the same rate however long it has waited. */
static void without_memory(void **state)
{
  struct kvi_waits waits = none;
  struct kvi_wait_curve curve;

  (void)state;
  for (uint32_t i = 0; i < 100000; i++)
    kvi_waits_back(&waits, -20 * log((i + 0.5) / 100000));
  kvi_wait_curve_build(&curve, &waits, NULL, 0);
  curve_check(&curve);
  for (uint32_t i = 0; i < 85; i++) {
    double age = 0.7 * i;

    assert_near(kvi_wait_curve_rate(&curve, age), 1 / 20.0, 0.07);
    assert_near(kvi_wait_curve_back_within(&curve, age, 20), 1 - exp(-1), 0.05);
    assert_near(kvi_wait_curve_rest(&curve, age, 0.5), 20 * log(2), 0.07);
    assert_near(kvi_wait_curve_gain(&curve, age, 0, 10), 1 - exp(-0.5), 0.07);
    assert_near(kvi_wait_curve_gain(&curve, age, 0.025, 1e6), 0.5, 0.07);
    assert_true(kvi_wait_curve_gain(&curve, age, 0.06, 1e6) < 0.01); /* more than a return in 20 s is worth */
    if (i % 10 == 5)                                                 /* the mean over its bucket */
      assert_near(kvi_wait_curve_density(&curve, age), exp(-age / 20) / 20, 0.3);
  }
}

/* All come back after the same time: the nearer it is the more it is worth to go on, and then nobody is left. */
static void all_alike(void **state)
{
  struct kvi_waits waits = none;
  struct kvi_wait_curve curve;
  double last = 0;

  (void)state;
  for (uint32_t i = 0; i < 100; i++)
    kvi_waits_back(&waits, 10);
  kvi_wait_curve_build(&curve, &waits, NULL, 0);
  curve_check(&curve);
  assert_near(kvi_wait_curve_rate(&curve, 0), 1 / 10.0, 0.15);
  for (uint32_t i = 0; i < 30; i++) {
    double rate = kvi_wait_curve_rate(&curve, 0.3 * i);

    assert_true(rate >= last);
    last = rate;
  }
  assert_true(last > 0.3);
  assert_true(kvi_wait_curve_rate(&curve, 14) == 0);
  assert_true(kvi_wait_curve_worth_until(&curve, 0.01) > 9 && kvi_wait_curve_worth_until(&curve, 0.01) < 14);
  assert_true(isinf(kvi_wait_curve_rest(&curve, 14, 0.5)));
}

/* Who never comes back is seen only in those who are still away. */
static void who_never_comes(void **state)
{
  struct kvi_waits waits = none;
  struct kvi_wait_curve with, without;

  (void)state;
  for (uint32_t i = 0; i < 50; i++)
    kvi_waits_back(&waits, 1);
  kvi_wait_curve_build(&without, &waits, NULL, 0);
  for (uint32_t i = 0; i < 50; i++)
    kvi_waits_away(&waits, 1000);
  kvi_wait_curve_build(&with, &waits, NULL, 0);
  curve_check(&with);
  assert_near(kvi_wait_curve_back_within(&without, 0, 100), 1, 1e-9);
  assert_near(kvi_wait_curve_back_within(&with, 0, 100), 0.5, 1e-9);
  assert_true(kvi_wait_curve_rate(&with, 10) == 0);
  assert_true(isinf(kvi_wait_curve_rest(&with, 0, 0.6)));
}

/* The share of those who were away long enough to be seen, bucket by bucket, counted one by one. */
static void as_counted_one_by_one(void **state)
{
  enum { N = 200 };
  uint64_t seed = 7;

  (void)state;
  for (uint32_t round = 0; round < 300; round++) {
    struct kvi_waits waits = none;
    struct kvi_wait_curve curve;
    uint32_t buckets[N], n = 1 + (uint32_t)(uniform(&seed) * (N - 1));
    bool back[N];
    double share = 1;

    for (uint32_t i = 0; i < n; i++) {
      buckets[i] = (uint32_t)(uniform(&seed) * uniform(&seed) * B);
      back[i] = uniform(&seed) < 0.7;
      (back[i] ? kvi_waits_back : kvi_waits_away)(&waits, (edge(buckets[i]) + edge(buckets[i] + 1)) / 2);
    }
    kvi_wait_curve_build(&curve, &waits, NULL, 0);
    curve_check(&curve);
    for (uint32_t b = 0; b < B; b++) {
      double of = 0, came = 0;

      for (uint32_t i = 0; i < n; i++) {
        of += buckets[i] < b ? 0 : buckets[i] == b && !back[i] ? 0.5 : 1;
        came += buckets[i] == b && back[i];
      }
      share *= of > 0 ? 1 - came / of : 1;
      assert_near(curve.away[b + 1], share, 1e-9);
    }
  }
}

/* No other moment to stop gives more. */
static void rate_is_the_most(void **state)
{
  uint64_t seed = 8;

  (void)state;
  for (uint32_t round = 0; round < 100; round++) {
    struct kvi_waits waits = none;
    struct kvi_wait_curve curve;

    for (uint32_t i = 0; i < 30; i++) {
      kvi_waits_back(&waits, exp(uniform(&seed) * 12 - 3));
      kvi_waits_away(&waits, exp(uniform(&seed) * 12 - 3));
    }
    kvi_wait_curve_build(&curve, &waits, NULL, 0);
    for (uint32_t i = 0; i < B; i++) {
      double most = 0;

      for (uint32_t stop = i + 1; stop <= B; stop++) {
        double waited = 0;

        for (uint32_t k = i; k < stop; k++)
          waited += (edge(k + 1) - edge(k)) * (curve.away[k] + curve.away[k + 1]) / 2;
        if (curve.away[i] > 1e-6)
          most = fmax(most, (curve.away[i] - curve.away[stop]) / waited);
      }
      assert_near(curve.rate[i], most, 1e-6);
    }
  }
}

/* A price below which it is not worth while, and the time until which it is, say the same. */
static void worth_until(void **state)
{
  uint64_t seed = 9;

  (void)state;
  for (uint32_t round = 0; round < 300; round++) {
    struct kvi_wait_curve curve;
    double price = exp(uniform(&seed) * 16 - 14), until;

    kvi_wait_curve_lognormal(&curve, exp(uniform(&seed) * 8 - 2), 0.3 + 3 * uniform(&seed), uniform(&seed));
    curve_check(&curve);
    until = kvi_wait_curve_worth_until(&curve, price);
    for (uint32_t i = 0; i <= B; i++)
      if (edge(i) > until * (1 + 1e-9))
        assert_true(curve.rate[i] < price);
    if (until > 0)
      assert_near(kvi_wait_curve_rate(&curve, until), price, 1e-6);
    assert_true(isinf(kvi_wait_curve_worth_until(&curve, 0)));
  }
}

static void quantiles(void **state)
{
  uint64_t seed = 10;

  (void)state;
  for (uint32_t round = 0; round < 1000; round++) {
    struct kvi_wait_curve curve;
    double age = exp(uniform(&seed) * 10 - 3), p = uniform(&seed) * 0.8, rest;

    kvi_wait_curve_lognormal(&curve, exp(uniform(&seed) * 8 - 2), 0.5 + 2 * uniform(&seed), 1);
    rest = kvi_wait_curve_rest(&curve, age, p);
    if (isfinite(rest))
      assert_near(kvi_wait_curve_back_within(&curve, age, rest), p, 1e-6);
  }
}

/* Where little was seen the larger group speaks, where much was seen it does not. */
static void leaning(void **state)
{
  struct kvi_waits waits = none, more = none;
  struct kvi_wait_curve larger, curve;

  (void)state;
  kvi_wait_curve_lognormal(&larger, 10, 1, 0.9);
  kvi_wait_curve_build(&curve, &waits, &larger, 20);
  for (uint32_t i = 0; i <= B; i++)
    assert_near(curve.away[i], larger.away[i], 1e-6);
  kvi_waits_back(&waits, 1000);
  kvi_wait_curve_build(&curve, &waits, &larger, 20);
  assert_near(kvi_wait_curve_rest(&curve, 0, 0.5), kvi_wait_curve_rest(&larger, 0, 0.5), 0.2);
  for (uint32_t i = 0; i < 10000; i++)
    kvi_waits_back(&more, 1000);
  kvi_waits_add(&waits, &more);
  kvi_wait_curve_build(&curve, &waits, &larger, 20);
  assert_near(kvi_wait_curve_rest(&curve, 0, 0.5), 1000, 0.2);
  kvi_waits_fade(&waits, 0);
  kvi_wait_curve_build(&curve, &waits, &larger, 20);
  assert_near(kvi_wait_curve_rest(&curve, 0, 0.5), kvi_wait_curve_rest(&larger, 0, 0.5), 1e-6);
}

/* Before the first bucket, behind the last, nothing seen at all, no number. */
static void at_the_ends(void **state)
{
  static const double times[] = {0, 1e-300, 0.05, 4e6, 1e9, INFINITY, NAN, -1};
  struct kvi_waits waits = none;
  struct kvi_wait_curve curve;

  (void)state;
  kvi_wait_curve_build(&curve, &waits, NULL, 0);
  curve_check(&curve);
  assert_true(kvi_wait_curve_rate(&curve, 1) == 0);
  for (uint32_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
    kvi_waits_back(&waits, times[i]);
    kvi_waits_away(&waits, times[i]);
  }
  kvi_wait_curve_build(&curve, &waits, NULL, 0);
  curve_check(&curve);
  for (uint32_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
    assert_true(isfinite(kvi_wait_curve_rate(&curve, times[i])));
    assert_true(isfinite(kvi_wait_curve_back_within(&curve, times[i], times[i])));
    assert_true(kvi_wait_curve_rest(&curve, times[i], 0.5) >= 0);
    assert_true(isfinite(kvi_wait_curve_density(&curve, times[i])));
    for (uint32_t j = 0; j < sizeof(times) / sizeof(times[0]); j++) {
      double gain = kvi_wait_curve_gain(&curve, times[i], 1, times[j]);

      assert_true(gain >= 0 && gain <= 1);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_memory),   cmocka_unit_test(all_alike),
      cmocka_unit_test(who_never_comes),  cmocka_unit_test(as_counted_one_by_one),
      cmocka_unit_test(rate_is_the_most), cmocka_unit_test(worth_until),
      cmocka_unit_test(quantiles),        cmocka_unit_test(leaning),
      cmocka_unit_test(at_the_ends),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
