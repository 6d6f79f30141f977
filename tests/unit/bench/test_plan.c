#include "tests/bench/plan.h"

#include "tests/unit/bench/testing.h"

static const bool everything[BENCH_WAYS] = {true, true, true, true, true, true, true, true};
static struct bench_plan plan;

static bool has(enum bench_way_id way, enum bench_op op, uint64_t size, enum bench_shape shape)
{
  struct bench_case what = {.way = way, .op = op, .size = size, .shape = shape};

  return bench_plan_find(&plan, &what) >= 0;
}

static void cases_are_not_repeated(void **state)
{
  (void)state;
  assert_true(bench_plan_make(&plan, everything, NULL));
  assert_true(plan.n > 50);
  assert_true(plan.n < BENCH_CASES_MAX); /* at the bound some would be missing */
  for (size_t i = 0; i < plan.n; i++)
    assert_int_equal(bench_plan_find(&plan, &plan.cases[i]), i);
}

static void what_ratios_need_is_measured_too(void **state)
{
  (void)state;
  assert_true(bench_plan_make(&plan, everything, "^grpc-tcp-get-2MiB-batch16$"));
  assert_true(has(BENCH_GRPC_TCP, BENCH_GET, 2 << 20, BENCH_BATCH16));
  assert_true(has(BENCH_RAW_TCP, BENCH_GET, 2 << 20, BENCH_D1));
  assert_true(has(BENCH_REDIS, BENCH_GET, 2 << 20, BENCH_D1));
  assert_false(has(BENCH_RAW_TCP, BENCH_PUT, 2 << 20, BENCH_D1));
  assert_false(has(BENCH_MEMCPY, BENCH_COPY, 2 << 20, BENCH_D1));
}

static void ways_that_are_not_there_are_left_out(void **state)
{
  bool without_redis[BENCH_WAYS];

  (void)state;
  memcpy(without_redis, everything, sizeof without_redis);
  without_redis[BENCH_REDIS] = false;
  assert_true(bench_plan_make(&plan, without_redis, "2MiB"));
  assert_false(has(BENCH_REDIS, BENCH_GET, 2 << 20, BENCH_D1));
  assert_true(has(BENCH_GRPC_TCP, BENCH_GET, 2 << 20, BENCH_D1));
}

static void pinned_names_match_too(void **state)
{
  (void)state;
  assert_true(bench_plan_make(&plan, everything, "^memcpy-copy-1MiB-d1-pin$"));
  assert_int_equal(plan.n, 1);
}

static void tiers_and_their_peers(void **state)
{
  bool available[BENCH_WAYS];
  size_t all;

  (void)state;
  for (size_t i = 0; i < BENCH_WAYS; i++)
    available[i] = true;
  assert_true(bench_plan_make_tier(&plan, available, NULL));
  all = plan.n;
  assert_true(all < BENCH_CASES_MAX);
  for (size_t i = 0; i < plan.n; i++)
    assert_int_equal(bench_plan_find(&plan, &plan.cases[i]), i);
  /* LMCache's adapter wherever the Redis tier has several connections. */
  assert_true(has(BENCH_LMCACHE_RESP, BENCH_PUT, 1 << 20, BENCH_C4));
  assert_true(has(BENCH_LMCACHE_RESP, BENCH_GET, 2 << 20, BENCH_C8));
  assert_false(has(BENCH_LMCACHE_RESP, BENCH_GET, 2 << 20, BENCH_D1));
  assert_true(bench_plan_make_tier(&plan, available, "^ssd-read-2MiB-d8$"));
  assert_true(has(BENCH_FIO, BENCH_READ, 2 << 20, BENCH_D8));
  assert_int_equal(plan.n, 2);
  available[BENCH_FIO] = false;
  assert_true(bench_plan_make_tier(&plan, available, NULL));
  assert_false(has(BENCH_FIO, BENCH_READ, 2 << 20, BENCH_D8));
  assert_true(has(BENCH_SSD, BENCH_READ, 2 << 20, BENCH_D8));
  assert_true(plan.n < all);
}

static void bad_expressions(void **state)
{
  (void)state;
  assert_false(bench_plan_make(&plan, everything, "("));
  assert_true(bench_plan_make(&plan, everything, "no such row"));
  assert_int_equal(plan.n, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cases_are_not_repeated),
      cmocka_unit_test(what_ratios_need_is_measured_too),
      cmocka_unit_test(ways_that_are_not_there_are_left_out),
      cmocka_unit_test(pinned_names_match_too),
      cmocka_unit_test(bad_expressions),
      cmocka_unit_test(tiers_and_their_peers),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
