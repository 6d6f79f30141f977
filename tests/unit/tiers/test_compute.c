/* What computing takes, from measurements that are exact, noisy, wrong or few; and the verdict against every split. */
#include "testing.h"

#include <math.h>

#include "tiers/compute.h"
#include "tiers/policy/prefill.h"

#define TOKEN_S  2e-4
#define TOKEN2_S 3e-9
#define CHUNKS   64u
#define TOKENS   256u

static struct kvi_compute_measured measured(uint32_t tokens, uint32_t from, double times)
{
  double seconds = tokens * (TOKEN_S + TOKEN2_S * (2.0 * from + tokens)) * times;

  return (struct kvi_compute_measured){.tokens = tokens, .from = from, .us = (uint64_t)(seconds * 1e6 + 0.5)};
}

static void tell(struct kvi_compute *compute, uint32_t tokens, uint32_t from, double times)
{
  struct kvi_compute_measured told = measured(tokens, from, times);

  assert_int_equal(kvi_compute_tell(compute, &told), KVI_HINT_ACCEPTED);
}

static void assert_near(double value, double expected, double part)
{
  if (fabs(value - expected) > expected * part)
    fail_msg("%g is not within %g of %g", value, part, expected);
}

static void a_line_is_found(void **state)
{
  struct kvi_compute compute = {0};

  (void)state;
  for (uint32_t i = 0; i < 8; i++) {
    assert_int_equal(kvi_compute_is_known(&compute), i >= KVI_COMPUTE_LEAST);
    tell(&compute, 4096, i * 8192, 1);
  }
  assert_near((double)compute.token_s, TOKEN_S, 0.01);
  assert_near((double)compute.token2_s, TOKEN2_S, 0.01);
  assert_near(kvi_compute_s(&compute, 0, 30000), 30000 * (TOKEN_S + TOKEN2_S * 30000), 0.01);
  assert_near(kvi_compute_s(&compute, 0, 10000) + kvi_compute_s(&compute, 10000, 30000),
              kvi_compute_s(&compute, 0, 30000), 1e-9);
  assert_near(kvi_compute_cost(&compute, 4096, 4352),
              (TOKEN_S + TOKEN2_S * 8448) / (KVI_PREFILL_ALPHA + KVI_PREFILL_BETA * 8448), 0.01);
}

/* A quarter of them is wrong, by as much as is believed. */
static void some_may_lie(void **state)
{
  uint64_t random = 3;

  (void)state;
  for (uint32_t turn = 0; turn < 50; turn++) {
    struct kvi_compute compute = {0};

    for (uint32_t i = 0; i < 40; i++)
      tell(&compute, 2048, (uint32_t)(kvi_splitmix64(&random) % 20) * 4096,
           i % 4 == turn % 4 ? (turn % 8 < 4 ? 100 : 0.01)
                             : 0.98 + 0.01 * (double)(kvi_splitmix64(&random) % 5));
    assert_near(kvi_compute_s(&compute, 0, 40000), 40000 * (TOKEN_S + TOKEN2_S * 40000), 0.2);
  }
}

/* The last ones count alone. */
static void it_changes_with_the_engine(void **state)
{
  struct kvi_compute compute = {0};

  (void)state;
  for (uint32_t i = 0; i < 100; i++)
    tell(&compute, 4096, i % 8 * 8192, 10);
  for (uint32_t i = 0; i < KVI_COMPUTE_KEPT; i++)
    tell(&compute, 4096, i % 8 * 8192, 1);
  assert_near((double)compute.token_s, TOKEN_S, 0.01);
  assert_near((double)compute.token2_s, TOKEN2_S, 0.01);
}

/* All of the same place: the slope is that of the known model, and what was measured is met. */
static void without_a_slope(void **state)
{
  struct kvi_compute compute = {0};

  (void)state;
  for (uint32_t i = 0; i < 20; i++)
    tell(&compute, 1000 + i, 0, 1);
  assert_near((double)compute.token2_s / (double)compute.token_s, KVI_PREFILL_BETA / KVI_PREFILL_ALPHA, 1e-5);
  assert_near(kvi_compute_s(&compute, 0, 1000), 1000 * (TOKEN_S + TOKEN2_S * 1000), 0.01);
}

/* Seconds that fall with the context, or are all of attention, give no negative part. */
static void nothing_is_negative(void **state)
{
  struct kvi_compute falls = {0}, steep = {0};

  (void)state;
  for (uint32_t i = 0; i < 16; i++) {
    struct kvi_compute_measured told = {.tokens = 4096, .from = i * 8192, .us = 1000000 - i * 50000};

    (void)kvi_compute_tell(&falls, &told);
    told.us = (uint64_t)i * i * 100000 + 10000;
    (void)kvi_compute_tell(&steep, &told);
  }
  assert_true(falls.token_s > 0 && falls.token2_s >= 0);
  assert_true(steep.token_s >= 0 && steep.token2_s > 0);
}

static void bounds(void **state)
{
  const struct {
    struct kvi_compute_measured told;
    enum kvi_hint_outcome outcome;
  } cases[] = {
      {{.tokens = 64, .us = 6400}, KVI_HINT_ACCEPTED},
      {{.tokens = 63, .us = 6400}, KVI_HINT_DEFERRED},
      {{.tokens = 0, .us = 6400}, KVI_HINT_REJECTED},
      {{.tokens = 64, .us = 0}, KVI_HINT_REJECTED},
      {{.tokens = KVI_COMPUTE_TOKENS_MOST + 1, .us = 6400}, KVI_HINT_REJECTED},
      {{.tokens = 64, .from = UINT32_MAX, .us = 6400}, KVI_HINT_REJECTED},
      {{.tokens = 64, .us = UINT64_MAX}, KVI_HINT_CLIPPED},
      {{.tokens = 1000, .us = 1}, KVI_HINT_CLIPPED},
      {{.tokens = KVI_COMPUTE_TOKENS_MOST, .from = KVI_COMPUTE_TOKENS_MOST, .us = UINT64_MAX},
       KVI_HINT_CLIPPED},
  };

  (void)state;
  for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    struct kvi_compute compute = {0};
    bool learns = cases[i].outcome == KVI_HINT_ACCEPTED || cases[i].outcome == KVI_HINT_CLIPPED;

    for (uint32_t n = 0; n < KVI_COMPUTE_LEAST; n++)
      assert_int_equal(kvi_compute_tell(&compute, &cases[i].told), cases[i].outcome);
    assert_int_equal(kvi_compute_is_known(&compute), learns);
    assert_true(compute.token_s <= (float)KVI_COMPUTE_TOKEN_S_MOST);
  }
}

/* ---- the verdict ---- */

static double whole_us(const struct kvi_verdict *verdict, const double *load_us, uint32_t n, uint32_t loaded)
{
  double from = (double)(verdict->first + loaded) * TOKENS, to = (double)(verdict->first + n) * TOKENS;
  double sum = 1e6 * kvi_compute_s(&verdict->compute, from, to);

  for (uint32_t i = 0; i < loaded; i++)
    sum += load_us[i];
  return sum;
}

static const struct kvi_compute engine = {.token_s = (float)TOKEN_S, .token2_s = (float)TOKEN2_S};

/* Chunks of any cost, in runs as tiers give them: no split is faster than what the verdict says. */
static void no_split_is_faster(void **state)
{
  uint64_t random = 5;
  uint32_t inside = 0;

  (void)state;
  for (uint32_t turn = 0; turn < 2000; turn++) {
    uint32_t first = turn % 3 ? 0 : (uint32_t)(kvi_splitmix64(&random) % 500);
    double load_us[CHUNKS], cost_us = 0, best_us;
    struct kvi_verdict verdict;

    kvi_verdict_begin(&verdict, &engine, TOKENS, first);
    for (uint32_t n = 1; n <= CHUNKS; n++) {
      if (n == 1 || kvi_splitmix64(&random) % 16 == 0)
        cost_us = (double)(kvi_splitmix64(&random) % 200000);
      load_us[n - 1] = cost_us;
      kvi_verdict_next(&verdict, cost_us);
      best_us = INFINITY;
      for (uint32_t loaded = 0; loaded <= n; loaded++)
        best_us = fmin(best_us, whole_us(&verdict, load_us, n, loaded));
      assert_near(whole_us(&verdict, load_us, n, verdict.worth), best_us, 1e-9);
      assert_near((double)kvi_verdict_worth_us(&verdict) + 1, best_us + 1, 1e-3);
      assert_near((double)kvi_verdict_compute_us(&verdict) + 1, whole_us(&verdict, load_us, n, 0) + 1, 1e-3);
    }
    inside += verdict.worth > 0 && verdict.worth < CHUNKS;
  }
  assert_true(inside > 100);
}

/* From one tier it is all or nothing, whatever begins with a latency: computing a chunk costs more the deeper it lies, loading does not. */
static void one_tier_is_all_or_nothing(void **state)
{
  uint32_t all = 0;

  (void)state;
  for (uint32_t cost = 0; cost < 400; cost++) {
    struct kvi_verdict verdict;

    kvi_verdict_begin(&verdict, &engine, TOKENS, 0);
    for (uint32_t n = 0; n < CHUNKS; n++)
      kvi_verdict_next(&verdict, cost * 300.0 + (n == 0 ? cost * 10000.0 : 0));
    assert_true(verdict.worth == 0 || verdict.worth == CHUNKS);
    all += verdict.worth > 0;
  }
  assert_in_range(all, 1, 399);
}

static void no_estimate_no_verdict(void **state)
{
  struct kvi_verdict verdict;

  (void)state;
  kvi_verdict_begin(&verdict, NULL, TOKENS, 0);
  kvi_verdict_next(&verdict, 1e9);
  assert_int_equal(verdict.worth, 1);
  assert_int_equal(kvi_verdict_compute_us(&verdict), 0);
  assert_int_equal(kvi_verdict_worth_us(&verdict), 0);
  kvi_verdict_begin(&verdict, &engine, TOKENS, 0);
  assert_int_equal(kvi_verdict_compute_us(&verdict), 0); /* of nothing */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_line_is_found),
      cmocka_unit_test(some_may_lie),
      cmocka_unit_test(it_changes_with_the_engine),
      cmocka_unit_test(without_a_slope),
      cmocka_unit_test(nothing_is_negative),
      cmocka_unit_test(bounds),
      cmocka_unit_test(no_split_is_faster),
      cmocka_unit_test(one_tier_is_all_or_nothing),
      cmocka_unit_test(no_estimate_no_verdict),
  };

  return cmocka_run_group_tests_name("tiers/compute", tests, NULL, NULL);
}
