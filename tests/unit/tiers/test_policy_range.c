/* What is said of the beginning of a chain, under the policy "index": that stays, and what is behind it goes as if nothing had been said. (In memory over a medium: test_policy_memory.c.) */
#include "policy_testing.h"

#include <math.h>

#include "tiers/policy/prefill.h"

/* The chunks of a chain from its end on, down to its n'th, are the next to go. */
static void assert_goes(struct world *world, uint32_t last, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    assert_int_equal(evict(world), last - i);
}

/* A priority of a beginning keeps that, up to the whole of its last chunk, and nothing behind it. */
static void a_range_has_priority(void **state)
{
  struct world *world = *state;
  uint32_t ranged = chain(world, KVI_POLICY_NONE, 30), other = chain(world, KVI_POLICY_NONE, 30);

  wait_at(world, 1, ranged, 30, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 2, other, 30, KVI_WAIT_TOOL, 0, 0);
  say(world, 1, ranged, 30, 100, 0, 9 * 256 + 1); /* 10 chunks */
  say(world, 2, other, 30, 75, 0, 0);
  assert_goes(world, ranged, 20);
  assert_goes(world, other, 30);
  assert_goes(world, ranged - 20, 10);
}

/* So has a time to live, and while it lasts. */
static void a_range_has_a_time(void **state)
{
  struct world *world = *state;
  uint32_t ranged, other;

  learn(world, 9, KVI_WAIT_TOOL, 3000, 300, 0, 0);
  ranged = chain(world, KVI_POLICY_NONE, 30);
  other = chain(world, KVI_POLICY_NONE, 30);
  wait_at(world, 1, ranged, 30, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 2, other, 30, KVI_WAIT_TOOL, 0, 0);
  say(world, 1, ranged, 30, 0, 60, 10 * 256);
  say(world, 2, other, 30, 75, 0, 0);
  world->now += 30 * SECOND;
  assert_goes(world, ranged, 20);
  assert_goes(world, other, 30);
  assert_int_equal(evict(world), ranged - 20);
}

/* What is behind a beginning that is worth little is worth as little; and a range longer than the chain is all of it. */
static void a_range_of_little_worth(void **state)
{
  struct world *world = *state;
  uint32_t ranged = chain(world, KVI_POLICY_NONE, 30), other = chain(world, KVI_POLICY_NONE, 30);

  wait_at(world, 1, ranged, 30, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 2, other, 30, KVI_WAIT_TOOL, 0, 0);
  say(world, 1, ranged, 30, 10, 0, 10 * 256);
  say(world, 2, other, 30, 25, 0, UINT32_MAX);
  assert_goes(world, ranged, 30);
  assert_goes(world, other, 30);
}

/* What the first of all is worth, of the last of its chain. */
static double price_of(struct world *world)
{
  struct kvi_policy_waiter waiter;

  assert_true(ops->waiter(world->policy, 0, &waiter, world->now));
  return waiter.price;
}

/* Each of the two has its own: what is said of the one does not spread what was said of the other. */
static void each_has_its_own(void **state)
{
  struct world *world = *state;
  double once, timed;
  uint32_t last;

  learn(world, 9, KVI_WAIT_TOOL, 3000, 300, 0, 0);
  last = chain(world, KVI_POLICY_NONE, 30);
  wait_at(world, 1, last, 30, KVI_WAIT_TOOL, 0, 0);
  once = price_of(world);
  say(world, 1, last, 30, 0, 60, 4 * 256);
  assert_true(fabs(price_of(world) / once - 1) < 1e-3);
  say(world, 1, last, 30, 50, 0, 0);
  assert_true(fabs(price_of(world) / once - 1) < 1e-3);
  say(world, 1, last, 30, 75, 0, 28 * 256);
  assert_true(fabs(price_of(world) / once - 1) < 1e-3);
  assert_goes(world, last, 2);
  once *= kvi_prefill_s(256, 27, 28) / kvi_prefill_s(256, 29, 30);
  assert_true(fabs(price_of(world) / once - 2) < 1e-3);
  assert_goes(world, last - 2, 24);
  once *= kvi_prefill_s(256, 3, 4) / kvi_prefill_s(256, 27, 28);
  timed = price_of(world) / once;
  assert_true(timed > 20);
  world->now += 100 * SECOND;
  assert_true(price_of(world) / once < timed / 10);
}

/* What is said next is of another range: all, if it says none. With neither priority nor time it stays; the next request has none. */
static void ranges_are_said(void **state)
{
  static const struct {
    uint32_t priority, tokens;
    double times;
  } said[] = {{50, 0, 1},    {100, 29 * 256, 1}, {0, 0, 1},           {100, 29 * 256 + 1, 4},
              {0, 10, 4},    {100, 10, 1},       {100, 0, 4},         {75, 30 * 256, 2},
              {100, 256, 1}, {100, 31 * 256, 4}, {100, UINT32_MAX, 4}};
  struct kvi_policy_waiter waiter;
  struct world *world = *state;
  uint32_t last = chain(world, KVI_POLICY_NONE, 30);
  double once = 0;

  wait_at(world, 1, last, 30, KVI_WAIT_TOOL, 0, 0);
  for (uint32_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    say(world, 1, last, 30, said[i].priority, 0, said[i].tokens);
    assert_true(ops->waiter(world->policy, 0, &waiter, world->now));
    once = i == 0 ? waiter.price : once;
    assert_true(fabs(waiter.price / once - said[i].times) < 1e-3);
  }
  say(world, 1, last, 30, 100, 0, 256);
  assert_true(ops->waiter(world->policy, 0, &waiter, world->now));
  assert_int_equal(waiter.n_ranged, 1);
  world->now += 100 * SECOND;
  arrive_at(world, 1, last, 30);
  assert_true(ops->waiter(world->policy, 0, &waiter, world->now));
  assert_int_equal(waiter.n_ranged, 0);
}

/* What people are shown of two ranges is the one that holds both; and none, if one of them is of all. */
static void the_longer_range_is_shown(void **state)
{
  static const struct {
    uint32_t weighed, timed, shown; /* chunks; 0: all; UINT32_MAX: not said */
  } said[] = {{20, 5, 20}, {5, 20, 20}, {0, 5, 0}, {5, 0, 0}, {5, UINT32_MAX, 5}, {UINT32_MAX, 5, 5}};
  struct world *world = *state;
  uint32_t last = chain(world, KVI_POLICY_NONE, 30);

  for (uint32_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    struct kvi_policy_waiter waiter;

    world->now += 10 * SECOND;
    arrive_at(world, 1, last, 30);
    wait_at(world, 1, last, 30, KVI_WAIT_TOOL, 0, 0);
    if (said[i].weighed != UINT32_MAX)
      say(world, 1, last, 30, 100, 0, said[i].weighed * 256);
    if (said[i].timed != UINT32_MAX)
      say(world, 1, last, 30, 0, 60, said[i].timed * 256);
    assert_true(ops->waiter(world->policy, 0, &waiter, world->now));
    assert_int_equal(waiter.n_ranged, said[i].shown);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_range_has_priority, setup, teardown),
      cmocka_unit_test_setup_teardown(a_range_has_a_time, setup, teardown),
      cmocka_unit_test_setup_teardown(the_longer_range_is_shown, setup, teardown),
      cmocka_unit_test_setup_teardown(a_range_of_little_worth, setup, teardown),
      cmocka_unit_test_setup_teardown(each_has_its_own, setup, teardown),
      cmocka_unit_test_setup_teardown(ranges_are_said, setup, teardown),
  };

  return cmocka_run_group_tests_name("tiers/policy range", tests, NULL, NULL);
}
