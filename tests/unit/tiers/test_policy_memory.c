/*
 * Who leaves memory for below, under the policy "index": whose chunks would save the least time by being in memory, from the end of what is theirs alone; what others need too, and what
 * nobody is known to need, when it is shown.
 */
#include <math.h>

#include "policy_testing.h"

#include "base/rand.h"
#include "tiers/policy/index_private.h"

#define BYTE_S 1e-4 /* from below: less than to compute it */

static void to_both(struct world *world, uint32_t first, uint32_t n)
{
  for (uint32_t i = first; i < first + n; i++)
    ops->move(world->policy, i, KVI_POLICY_BOTH);
}

/* What leaves memory next, and leaves it. */
static uint32_t demote(struct world *world, uint32_t one)
{
  double price;
  uint32_t chunk = ops->demotion(world->policy, one, &price, world->now);

  if (chunk != KVI_POLICY_NONE)
    ops->move(world->policy, chunk, KVI_POLICY_MEDIUM);
  return chunk;
}

static void below_is_known(struct world *world)
{
  ops->memory_told(world->policy, CAPACITY, BYTE_S);
}

static bool waiter_of(struct world *world, uint64_t program, struct kvi_policy_waiter *waiter)
{
  for (uint32_t i = 0; i < ops->waiters(world->policy); i++)
    if (ops->waiter(world->policy, i, waiter, world->now) && waiter->program == program)
      return true;
  return false;
}

/* A chain of n chunks, in both, on which the program waits. Returns its last. */
static uint32_t waits_on(struct world *world, uint64_t program, uint32_t parent, uint32_t depth, uint32_t n,
                         enum kvi_wait_kind kind)
{
  uint32_t first = world->fresh, last = chain(world, parent, n);

  to_both(world, first, n);
  wait_at(world, program, last, depth + n, kind, 0, 0);
  return last;
}

static void known_waits(struct world *world)
{
  below_is_known(world);
  learn(world, 90, KVI_WAIT_TOOL, 2, 40, 0, 0);
  learn(world, 91, KVI_WAIT_HUMAN, 3000, 40, 0, 0);
}

/* Who is long away goes before who is soon back, though used later; all of it, from the end. */
static void slow_before_quick(void **state)
{
  struct world *world = *state;
  uint32_t quick, slow;

  known_waits(world);
  quick = waits_on(world, 1, KVI_POLICY_NONE, 0, 5, KVI_WAIT_TOOL);
  world->now += SECOND / 2;
  slow = waits_on(world, 2, KVI_POLICY_NONE, 0, 5, KVI_WAIT_HUMAN);
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(demote(world, KVI_POLICY_NONE), slow - i);
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(demote(world, KVI_POLICY_NONE), quick - i);
  assert_int_equal(demote(world, KVI_POLICY_NONE), KVI_POLICY_NONE);
}

static void what_is_closed_goes_first(void **state)
{
  struct world *world = *state;
  uint32_t slow, closed, other;

  known_waits(world);
  slow = waits_on(world, 1, KVI_POLICY_NONE, 0, 3, KVI_WAIT_HUMAN);
  closed = waits_on(world, 2, KVI_POLICY_NONE, 0, 3, KVI_WAIT_TOOL);
  assert_true(ops->close(world->policy, 2, world->now));
  other = waits_on(world, 3, KVI_POLICY_NONE, 0, 3, KVI_WAIT_TOOL);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(demote(world, other), closed - i);
  assert_int_equal(demote(world, other), slow);
}

static void assert_leaves(struct world *world, uint32_t last, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    assert_int_equal(demote(world, KVI_POLICY_NONE), last - i);
}

/* What is said of a beginning keeps that in memory, also while what is behind it is below; and what comes to memory behind it goes before it again. */
static void a_range_stays(void **state)
{
  struct world *world = *state;
  uint32_t ranged, other;

  known_waits(world);
  ranged = waits_on(world, 1, KVI_POLICY_NONE, 0, 6, KVI_WAIT_TOOL);
  other = waits_on(world, 2, KVI_POLICY_NONE, 0, 6, KVI_WAIT_TOOL);
  say(world, 1, ranged, 6, 100, 0, 3 * 256);
  say(world, 2, other, 6, 75, 0, 0);
  assert_leaves(world, ranged, 3);
  assert_leaves(world, other, 2);
  ops->move(world->policy, ranged - 2, KVI_POLICY_BOTH);
  assert_leaves(world, ranged - 2, 1);
  assert_leaves(world, other - 2, 4);
  assert_leaves(world, ranged - 3, 3);
  assert_int_equal(demote(world, KVI_POLICY_NONE), KVI_POLICY_NONE);
}

/* Several whose ranges are reached at once: none of them goes before who is worth less, and one does if there is nobody else. */
static void ranges_are_reached(void **state)
{
  struct world *world = *state;
  uint32_t lasts[100], other;

  known_waits(world);
  for (uint32_t i = 0; i < 100; i++) {
    lasts[i] = waits_on(world, 1 + i, KVI_POLICY_NONE, 0, 4, KVI_WAIT_TOOL);
    say(world, 1 + i, lasts[i], 4, 100, 0, 3 * 256);
  }
  other = waits_on(world, 200, KVI_POLICY_NONE, 0, 40, KVI_WAIT_TOOL);
  say(world, 200, other, 40, 75, 0, 0);
  for (uint32_t i = 0; i < 100; i++)
    ops->move(world->policy, lasts[i], KVI_POLICY_MEDIUM);
  for (uint32_t i = 0, n = 0; i < 100 * 3 + 40; i++) {
    uint32_t chunk = demote(world, KVI_POLICY_NONE);

    assert_int_not_equal(chunk, KVI_POLICY_NONE);
    n += chunk <= other && chunk + 40 > other;
    assert_true(i < 40 + 9 || n == 40); /* each call looks at some of the hundred */
  }
  assert_int_equal(demote(world, KVI_POLICY_NONE), KVI_POLICY_NONE);
}

/* A range that is said again and again, of a long chain of which no more is in memory, costs nobody else anything: who is worth less goes, and not the first that is shown. */
static void a_range_is_said_again(void **state)
{
  struct world *world = *state;
  const uint32_t whole = 1500;
  uint32_t lasts[2], dear, other;

  known_waits(world);
  for (uint32_t i = 0; i < 2; i++) {
    lasts[i] = waits_on(world, 1 + i, KVI_POLICY_NONE, 0, whole, KVI_WAIT_TOOL);
    say(world, 1 + i, lasts[i], whole, 100, 0, 256);
    for (uint32_t j = 0; j + 1 < whole; j++)
      ops->move(world->policy, lasts[i] - j, KVI_POLICY_MEDIUM);
  }
  for (uint32_t i = 0; i < 40; i++)
    (void)ops->demotion(world->policy, KVI_POLICY_NONE, &(double){0}, world->now);
  dear = waits_on(world, 4, KVI_POLICY_NONE, 0, 300, KVI_WAIT_TOOL);
  say(world, 4, dear, 300, 100, 0, 0);
  other = waits_on(world, 3, KVI_POLICY_NONE, 0, 300, KVI_WAIT_TOOL);
  say(world, 3, other, 300, 75, 0, 0);
  for (uint32_t i = 0; i < 240; i++) {
    if (i % 12 == 0)
      say(world, 1 + i / 12 % 2, lasts[i / 12 % 2], whole, 100, 0, 256);
    assert_int_equal(demote(world, dear - 299), other - i);
  }
}

/* A beginning that others need too, and that is shown, counts by the place that it has: in the range, or behind it. */
static void a_shared_range(void **state)
{
  struct world *world = *state;
  uint32_t shared, last, other;

  known_waits(world);
  shared = waits_on(world, 1, KVI_POLICY_NONE, 0, 5, KVI_WAIT_TOOL);
  (void)waits_on(world, 2, shared, 5, 3, KVI_WAIT_TOOL);
  last = waits_on(world, 3, shared, 5, 3, KVI_WAIT_TOOL);
  say(world, 3, last, 8, 100, 0, 4 * 256);
  for (uint32_t i = 0; i < 6; i++)
    assert_in_range(demote(world, KVI_POLICY_NONE), shared + 1, last);
  say(world, 3, last, 8, 100, 0, 4 * 256);
  other = waits_on(world, 4, KVI_POLICY_NONE, 0, 4, KVI_WAIT_TOOL);
  say(world, 4, other, 4, 75, 0, 0);
  assert_int_equal(demote(world, shared), shared); /* behind it */
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(demote(world, shared - 1 - i % 2), other - i);
}

/* Others who wait at the same end do not make its range worth less. */
static void others_at_a_range(void **state)
{
  struct world *world = *state;
  uint32_t last, other;

  known_waits(world);
  last = waits_on(world, 1, KVI_POLICY_NONE, 0, 6, KVI_WAIT_TOOL);
  wait_at(world, 2, last, 6, KVI_WAIT_TOOL, 0, 0);
  other = waits_on(world, 3, KVI_POLICY_NONE, 0, 6, KVI_WAIT_TOOL);
  say(world, 1, last, 6, 100, 0, 3 * 256);
  say(world, 3, other, 6, 80, 0, 0);
  assert_leaves(world, last, 3);
  assert_leaves(world, other, 6);
  assert_leaves(world, last - 3, 3);
}

/* All of a chain is read when it is used: a priority of its beginning, however small, has that stay longer than what is worth less, where reading takes longer than computing the beginning too. */
static void a_range_of_some_worth(void **state)
{
  struct world *world = *state;
  uint32_t last, other;

  ops->memory_told(world->policy, CAPACITY, 0.042);
  learn(world, 90, KVI_WAIT_TOOL, 2, 40, 0, 0);
  last = waits_on(world, 1, KVI_POLICY_NONE, 0, 500, KVI_WAIT_TOOL);
  say(world, 1, last, 500, 60, 0, 5 * 256);
  other = waits_on(world, 2, KVI_POLICY_NONE, 0, 500, KVI_WAIT_TOOL);
  say(world, 2, other, 500, 55, 0, 0);
  assert_leaves(world, last, 495);
  assert_leaves(world, other, 500);
  assert_leaves(world, last - 495, 5);
}

/* Many end at one chunk; one of them closes, and the last one to come is slow: what they need stays before what one needs who is as quick as they. */
static void many_at_one_end(void **state)
{
  struct world *world = *state;
  uint32_t shared, one;

  known_waits(world);
  shared = waits_on(world, 1, KVI_POLICY_NONE, 0, 3, KVI_WAIT_TOOL);
  for (uint64_t program = 2; program <= 6; program++)
    wait_at(world, program, shared, 3, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 7, shared, 3, KVI_WAIT_HUMAN, 0, 0);
  one = waits_on(world, 8, KVI_POLICY_NONE, 0, 3, KVI_WAIT_TOOL);
  assert_true(ops->close(world->policy, 6, world->now));
  assert_true(ops->close(world->policy, 7, world->now));
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(demote(world, KVI_POLICY_NONE), one - i);
  for (uint64_t program = 1; program <= 5; program++)
    assert_true(ops->close(world->policy, program, world->now));
  assert_int_equal(demote(world, KVI_POLICY_NONE), shared); /* with the last of them it has ended */
}

/* A beginning that several need, and somebody slow used last, is shown: it stays at least as long as what that one has behind it. */
static void a_beginning_is_shown(void **state)
{
  struct world *world = *state;
  uint32_t trunk, slow;

  known_waits(world);
  trunk = waits_on(world, 1, KVI_POLICY_NONE, 0, 3, KVI_WAIT_TOOL);
  waits_on(world, 2, trunk, 3, 2, KVI_WAIT_TOOL);
  slow = waits_on(world, 3, trunk, 3, 2, KVI_WAIT_HUMAN);
  assert_int_equal(demote(world, trunk), slow);
  assert_int_equal(demote(world, trunk), slow - 1);
}

static void used_after_its_end(void **state)
{
  struct world *world = *state;
  uint32_t closed, slow;

  known_waits(world);
  closed = waits_on(world, 1, KVI_POLICY_NONE, 0, 1, KVI_WAIT_TOOL);
  slow = waits_on(world, 2, KVI_POLICY_NONE, 0, 1, KVI_WAIT_HUMAN);
  assert_true(ops->close(world->policy, 1, world->now));
  world->now += 100 * SECOND;
  ops->touch(world->policy, closed, world->now); /* by a get */
  assert_int_equal(demote(world, KVI_POLICY_NONE), slow);
}

/* By last use, a tenant's share counts: a second at a tenth of it is ten. */
static void by_use_and_share(void **state)
{
  struct world *world = *state;
  struct kvi_policy_use use = {.n_chunks = 1, .n_whole = 1};
  uint32_t chunks[2];

  below_is_known(world);
  kvi_index_of(world->policy)->memory.shadow.live = KVI_SHADOW_BY_USE;
  for (uint32_t i = 0; i < 2; i++) {
    chunks[i] = use.last = chain(world, KVI_POLICY_NONE, 1);
    use.program = use.tenant = i + 1;
    to_both(world, chunks[i], 1);
    ops->arrive(world->policy, &use, world->now);
    world->now += SECOND;
  }
  ops->share(world->policy, 2, 0.1);
  assert_int_equal(demote(world, KVI_POLICY_NONE), chunks[1]);
}

/* One call looks at so many chunks and no more; the next goes on from there. */
static void looks_are_bounded(void **state)
{
  struct world *world = *state;
  uint32_t first, calls = 1, found;

  known_waits(world);
  first = world->fresh;
  (void)waits_on(world, 1, KVI_POLICY_NONE, 0, 3000, KVI_WAIT_TOOL);
  for (uint32_t i = 1; i < 3000; i++)
    ops->move(world->policy, first + i, KVI_POLICY_MEDIUM);
  while ((found = demote(world, KVI_POLICY_NONE)) == KVI_POLICY_NONE && calls < 100)
    calls++;
  assert_int_equal(found, first);
  assert_in_range(calls, 3000 / 256, 3000 / 256 + 2);
}

/* What is removed is in no group any more, whatever it was said to be in. */
static void removed_from_both(void **state)
{
  struct world *world = *state;
  uint32_t last;

  known_waits(world);
  last = waits_on(world, 1, KVI_POLICY_NONE, 0, 3, KVI_WAIT_TOOL);
  (void)ops->remove(world->policy, last - 1); /* deleted */
  for (uint32_t i = 0; i < 4; i++)
    assert_int_not_equal(demote(world, KVI_POLICY_NONE), last - 1);
}

/* What two continue stays until it has its turn itself. */
static void what_is_shared_stays(void **state)
{
  struct world *world = *state;
  uint32_t trunk, a, b;

  known_waits(world);
  trunk = waits_on(world, 1, KVI_POLICY_NONE, 0, 3, KVI_WAIT_TOOL);
  a = waits_on(world, 1, trunk, 3, 2, KVI_WAIT_TOOL);
  b = waits_on(world, 2, trunk, 3, 2, KVI_WAIT_HUMAN);
  assert_int_equal(demote(world, KVI_POLICY_NONE), b);
  assert_int_equal(demote(world, KVI_POLICY_NONE), b - 1);
  assert_int_equal(demote(world, KVI_POLICY_NONE), a);
  assert_int_equal(demote(world, KVI_POLICY_NONE), a - 1);
  assert_int_equal(demote(world, KVI_POLICY_NONE), KVI_POLICY_NONE);
  assert_int_equal(demote(world, trunk), trunk);
}

/* Of whom nothing is in memory any more is asked for nothing, until something is. */
static void what_comes_back_is_found(void **state)
{
  struct world *world = *state;
  uint32_t last;

  known_waits(world);
  last = waits_on(world, 1, KVI_POLICY_NONE, 0, 3, KVI_WAIT_TOOL);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(demote(world, KVI_POLICY_NONE), last - i);
  assert_int_equal(demote(world, KVI_POLICY_NONE), KVI_POLICY_NONE);
  ops->move(world->policy, last - 1, KVI_POLICY_BOTH); /* fetched */
  assert_int_equal(demote(world, KVI_POLICY_NONE), last - 1);
  assert_int_equal(demote(world, KVI_POLICY_NONE), KVI_POLICY_NONE);
}

/* Memory costs what the last who left it would have saved there; who waits is worth there what it takes from below. */
static void prices(void **state)
{
  struct world *world = *state;
  struct kvi_policy_waiter waiter;
  uint32_t last;
  double price, computed;

  known_waits(world);
  last = waits_on(world, 1, KVI_POLICY_NONE, 0, 80, KVI_WAIT_TOOL);
  assert_true(ops->tier_price(world->policy, KVI_POLICY_MEMORY, world->now) == 0);
  assert_true(waiter_of(world, 1, &waiter));
  assert_true(fabs(waiter.value_s - BYTE_S) < 1e-9 && waiter.price > 0 && waiter.tier_price == 0);
  assert_int_equal(ops->demotion(world->policy, KVI_POLICY_NONE, &price, world->now), last);
  assert_true(fabs(price / waiter.price - 1) < 1e-6);
  assert_true(ops->tier_price(world->policy, KVI_POLICY_MEMORY, world->now) == 0); /* it has not left it */
  for (uint32_t i = 0; i < 79; i++)
    assert_int_equal(demote(world, KVI_POLICY_NONE), last - i);
  assert_true(ops->tier_price(world->policy, KVI_POLICY_MEMORY, world->now) > price / 2);
  assert_true(ops->tier_price(world->policy, KVI_POLICY_MEDIUM, world->now) == 0);
  computed = waiter.value_s;
  assert_true(waiter_of(world, 1, &waiter)); /* its last chunk is below: to lose it would be to compute it */
  assert_true(waiter.value_s > 10 * computed && waiter.tier_price == 0);
}

/* Chunks of which nobody said anything are worth the less, the longer they were not used. */
static void nobodys(void **state)
{
  struct world *world = *state;
  uint32_t old, quick;

  known_waits(world);
  old = chain(world, KVI_POLICY_NONE, 1);
  to_both(world, old, 1);
  world->now += 100000 * SECOND;
  quick = waits_on(world, 1, KVI_POLICY_NONE, 0, 2, KVI_WAIT_TOOL);
  assert_int_equal(demote(world, old), old);
  assert_int_equal(demote(world, KVI_POLICY_NONE), quick);
}

/* The same of one tenant's alone: whatever others have; what has ended first; and all of it, when it is shown nothing. */
static void of_one_tenant(void **state)
{
  enum { TENANTS = 3, PROGRAMS = 8, LONG = 5 };
  struct world *world = *state;
  uint32_t first[TENANTS][PROGRAMS];
  double price;

  known_waits(world);
  for (uint32_t i = 0; i < PROGRAMS; i++) {
    for (uint32_t tenant = 0; tenant < TENANTS; tenant++) {
      uint64_t program = 10 * tenant + i + 1;
      struct kvi_policy_use use = {.program = program, .n_chunks = LONG, .n_whole = LONG, .tenant = tenant};
      struct kvi_policy_wait wait = {.program = program, .n_chunks = LONG, .kind = KVI_WAIT_TOOL};

      first[tenant][i] = world->fresh;
      use.last = wait.last = chain(world, KVI_POLICY_NONE, LONG);
      to_both(world, first[tenant][i], LONG);
      ops->arrive(world->policy, &use, world->now);
      assert_true(ops->wait(world->policy, &wait, world->now));
    }
    world->now += 10 * SECOND;
  }
  ops->close(world->policy, 10 + 5 + 1, world->now);
  for (uint32_t gone = 0; gone < PROGRAMS * LONG; gone++) {
    uint32_t chunk = ops->own_demotion(world->policy, 1, KVI_POLICY_NONE, &price, world->now), which = 0;

    while (which < PROGRAMS && (chunk < first[1][which] || chunk >= first[1][which] + LONG))
      which++;
    assert_true(which < PROGRAMS);
    assert_int_equal(chunk, first[1][which] + LONG - 1 - gone % LONG); /* one after the other, from the end */
    if (gone < LONG)
      assert_true(which == 5 && price == 0);
    ops->move(world->policy, chunk, KVI_POLICY_MEDIUM);
  }
  assert_int_equal(ops->own_demotion(world->policy, 1, KVI_POLICY_NONE, &price, world->now), KVI_POLICY_NONE);
  assert_true(ops->tier_price(world->policy, KVI_POLICY_MEMORY, world->now) == 0);
  assert_int_not_equal(ops->own_demotion(world->policy, 2, KVI_POLICY_NONE, &price, world->now),
                       KVI_POLICY_NONE);
  assert_int_equal(ops->own_demotion(world->policy, UINT32_MAX, KVI_POLICY_NONE, &price, world->now) <
                       world->fresh,
                   true); /* a number that is none is 0 */
}

/* Without a medium that was told of nothing is known of users, and what is shown goes. */
static void not_told(void **state)
{
  struct world *world = *state;
  uint32_t last = waits_on(world, 1, KVI_POLICY_NONE, 0, 2, KVI_WAIT_TOOL);
  double price;

  assert_int_equal(ops->demotion(world->policy, last, &price, world->now), last);
  assert_int_equal(ops->demotion(world->policy, KVI_POLICY_NONE, &price, world->now), KVI_POLICY_NONE);
}

/* What is said to leave memory is in both, whatever happens; and if anything is, and all are shown in turn, something does. */
static void at_random(void **state)
{
  enum { CHAINS = 30, LONG = 12 };
  struct world *world = *state;
  enum kvi_policy_group groups[CHAINS * LONG];
  uint32_t lengths[CHAINS] = {0};
  kvi_rand rand;

  kvi_rand_seed(&rand, 7);
  for (uint32_t step = 0; step < 60000; step++) {
    uint32_t which = (uint32_t)(kvi_rand_next(&rand) % CHAINS), first = which * LONG,
             what = (uint32_t)(kvi_rand_next(&rand) % 8), n = lengths[which];

    world->now += SECOND / 3;
    if (step % 100 == 0)
      ops->memory_told(world->policy, 64, BYTE_S);
    if (what < 2 && n < LONG) {
      const struct kvi_policy_chunk chunk = {.parent = n > 0 ? first + n - 1 : KVI_POLICY_NONE, .bytes = 1};

      ops->insert(world->policy, first + n, &chunk, world->now);
      groups[first + n] = KVI_POLICY_MEMORY;
      lengths[which]++;
    } else if (what == 2 && n > 0) {
      wait_at(world, 1 + which, first + n - 1, n, step & 1 ? KVI_WAIT_TOOL : KVI_WAIT_HUMAN, 0, 0);
    } else if (what == 3 && n > 0) {
      (void)ops->remove(world->policy, first + n - 1);
      lengths[which]--;
    } else if (what == 4) {
      ops->close(world->policy, 1 + which, world->now);
    } else if (what < 7 && n > 0) {
      uint32_t one = first + (uint32_t)(kvi_rand_next(&rand) % n);
      enum kvi_policy_group group = (enum kvi_policy_group)(kvi_rand_next(&rand) % 3);

      ops->move(world->policy, one, group);
      groups[one] = group;
    } else if (n > 0) {
      uint32_t one = first + (uint32_t)(kvi_rand_next(&rand) % n), shown, chunk;
      double price;

      shown = groups[one] == KVI_POLICY_BOTH ? one : KVI_POLICY_NONE;
      chunk = step & 1 ? ops->demotion(world->policy, shown, &price, world->now)
                       : ops->own_demotion(world->policy, 0, shown, &price, world->now);
      assert_true(shown == KVI_POLICY_NONE || chunk != KVI_POLICY_NONE);
      if (chunk == KVI_POLICY_NONE)
        continue;
      assert_true(chunk % LONG < lengths[chunk / LONG]);
      assert_int_equal(groups[chunk], KVI_POLICY_BOTH);
      ops->move(world->policy, chunk, KVI_POLICY_MEDIUM);
      groups[chunk] = KVI_POLICY_MEDIUM;
    }
  }
}

/* A branch's tag is no other's, when its number is given to another. */
static void tags(void **state)
{
  struct kvi_branches *branches;
  uint32_t branch, tag;

  (void)state;
  assert_int_equal(kvi_branches_create(4, &branches), KVS_OK);
  assert_int_equal(kvi_branches_of_tag(branches, 0), KVI_BRANCH_NONE);
  branch = kvi_branches_add(branches, 1, 7);
  tag = kvi_branches_tag(branches, branch);
  assert_int_not_equal(tag, 0);
  assert_int_equal(kvi_branches_of_tag(branches, tag), branch);
  kvi_branches_remove(branches, branch);
  assert_int_equal(kvi_branches_of_tag(branches, tag), KVI_BRANCH_NONE);
  assert_int_equal(kvi_branches_add(branches, 2, 7), branch);
  assert_int_equal(kvi_branches_of_tag(branches, tag), KVI_BRANCH_NONE);
  kvi_branches_destroy(branches);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(slow_before_quick, setup, teardown),
      cmocka_unit_test_setup_teardown(what_is_closed_goes_first, setup, teardown),
      cmocka_unit_test_setup_teardown(what_is_shared_stays, setup, teardown),
      cmocka_unit_test_setup_teardown(what_comes_back_is_found, setup, teardown),
      cmocka_unit_test_setup_teardown(a_range_stays, setup, teardown),
      cmocka_unit_test_setup_teardown(ranges_are_reached, setup, teardown),
      cmocka_unit_test_setup_teardown(a_range_is_said_again, setup, teardown),
      cmocka_unit_test_setup_teardown(a_shared_range, setup, teardown),
      cmocka_unit_test_setup_teardown(others_at_a_range, setup, teardown),
      cmocka_unit_test_setup_teardown(a_range_of_some_worth, setup, teardown),
      cmocka_unit_test_setup_teardown(many_at_one_end, setup, teardown),
      cmocka_unit_test_setup_teardown(a_beginning_is_shown, setup, teardown),
      cmocka_unit_test_setup_teardown(used_after_its_end, setup, teardown),
      cmocka_unit_test_setup_teardown(by_use_and_share, setup, teardown),
      cmocka_unit_test_setup_teardown(looks_are_bounded, setup, teardown),
      cmocka_unit_test_setup_teardown(removed_from_both, setup, teardown),
      cmocka_unit_test_setup_teardown(prices, setup, teardown),
      cmocka_unit_test_setup_teardown(nobodys, setup, teardown),
      cmocka_unit_test_setup_teardown(of_one_tenant, setup, teardown),
      cmocka_unit_test_setup_teardown(not_told, setup, teardown),
      cmocka_unit_test_setup_teardown(at_random, setup, teardown),
      cmocka_unit_test(tags),
  };

  return cmocka_run_group_tests_name("tiers/policy memory", tests, NULL, NULL);
}
