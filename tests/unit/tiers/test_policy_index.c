/* The policy "index": who stays, by what its waits have been like, what was announced, and what it would cost to compute again. */
#include "policy_testing.h"

#include <math.h>

#include "base/rand.h"

/* A tool that is back in two seconds, and people who take ten minutes: the same age, and not the same worth. */
static void by_kind(void **state)
{
  struct world *world = *state;
  uint32_t human, tool;

  learn(world, 1, KVI_WAIT_TOOL, 2, 300, 0, 0);
  learn(world, 2, KVI_WAIT_HUMAN, 600, 300, 0, 0);
  human = chain(world, KVI_POLICY_NONE, 10);
  tool = chain(world, KVI_POLICY_NONE, 10);
  wait_at(world, 3, human, 10, KVI_WAIT_HUMAN, 0, 0);
  wait_at(world, 4, tool, 10, KVI_WAIT_TOOL, 0, 0);
  world->now += SECOND;
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(evict(world),
                     human - i); /* from its end, though it came first and is shared by nobody */
  assert_int_equal(evict(world), tool);
}

/* A tool that should have been back long ago is worth less than a human who may still come. */
static void by_age(void **state)
{
  struct world *world = *state;
  uint32_t human, tool;

  learn(world, 1, KVI_WAIT_TOOL, 2, 300, 0, 0);
  learn(world, 2, KVI_WAIT_HUMAN, 600, 300, 0, 0);
  tool = chain(world, KVI_POLICY_NONE, 10);
  human = chain(world, KVI_POLICY_NONE, 10);
  wait_at(world, 4, tool, 10, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 3, human, 10, KVI_WAIT_HUMAN, 0, 0);
  world->now += 100 * SECOND;
  assert_int_equal(evict(world), tool);
  assert_int_equal(evict(world), tool - 1);
}

/* Two tools of one kind. */
static void by_tool(void **state)
{
  struct world *world = *state;
  uint32_t ends[2];

  for (uint32_t round = 0; round < 2; round++) { /* in the second one they wait for good */
    for (uint32_t i = 0; i < 2; i++) {
      struct kvi_policy_wait wait = {
          .program = 1 + i, .n_chunks = 10 + 20 * i, .kind = KVI_WAIT_TOOL, .tool = 5 + i};

      ends[i] = wait.last = chain(world, KVI_POLICY_NONE, wait.n_chunks);
      for (uint32_t k = 0; k < (round == 0 ? 300 : 1); k++) {
        arrive_at(world, wait.program, wait.last, wait.n_chunks);
        assert_true(ops->wait(world->policy, &wait, world->now));
        world->now += round == 0 ? (i == 0 ? 2 : 600) * SECOND : 0;
      }
      if (round == 0)
        ops->close(world->policy, 1 + i, world->now);
    }
  }
  world->now += SECOND;
  for (uint32_t i = 0; i < 40; i++) /* what was closed */
    assert_true(evict(world) < 40);
  for (uint32_t i = 0; i < 30; i++) /* the slow one, though it has the longer chain */
    assert_int_equal(evict(world), ends[1] - i);
  assert_int_equal(evict(world), ends[0]);
}

/* Attention is quadratic: the end of a long chain costs more to compute again. */
static void by_cost(void **state)
{
  struct world *world = *state;
  uint32_t few = chain(world, KVI_POLICY_NONE, 10), many = chain(world, KVI_POLICY_NONE, 1000);

  wait_at(world, 2, many, 1000, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 1, few, 10, KVI_WAIT_TOOL, 0, 0);
  world->now += 5 * SECOND;
  assert_int_equal(evict(world), few);
}

/* Of two that are worth the same the one goes whose tenant has more than its share, by a little too. */
static void by_share(void **state)
{
  struct world *world = *state;
  uint32_t mine = chain(world, KVI_POLICY_NONE, 12), others = chain(world, KVI_POLICY_NONE, 10);
  struct kvi_policy_use use = {.program = 1, .last = mine, .n_chunks = 12, .n_whole = 12, .tenant = 3};

  ops->arrive(world->policy, &use, world->now);
  use = (struct kvi_policy_use){.program = 2, .last = others, .n_chunks = 10, .n_whole = 10, .tenant = 1024};
  ops->arrive(world->policy, &use, world->now);
  world->now += 5 * SECOND;
  assert_int_equal(ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), others); /* the shorter one */
  ops->share(world->policy, 3, 0.9);
  assert_int_equal(evict(world), mine);
  ops->share(world->policy, 3, 1);
  assert_int_equal(evict(world), others);
  ops->share(world->policy, 1025, 0.1); /* nobody's */
  ops->share(world->policy, 1024, 1e-20);
  for (uint32_t i = 1; i < 10; i++)
    assert_int_equal(evict(world), others - i);
  assert_int_equal(evict(world), mine - 1);
}

static void closed_goes_first(void **state)
{
  struct world *world = *state;
  uint32_t open = chain(world, KVI_POLICY_NONE, 3), closed = chain(world, KVI_POLICY_NONE, 50);

  wait_at(world, 1, open, 3, KVI_WAIT_HUMAN, 0, 0);
  wait_at(world, 2, closed, 50, KVI_WAIT_TOOL, 0, 0);
  world->now += 1000 * SECOND;
  ops->touch(world->policy, closed, world->now);
  ops->close(world->policy, 2, world->now);
  for (uint32_t i = 0; i < 50; i++)
    assert_int_equal(evict(world), closed - i);
  assert_int_equal(evict(world), open);
}

static bool says_ended(const struct world *world, uint32_t chunk)
{
  struct kvi_policy_info info;

  ops->info(world->policy, chunk, &info);
  return info.ended;
}

/* Of what has ended that is told, chunk by chunk: not of what was left otherwise, of what others still wait at or go on from, or of what is used again. */
static void closed_is_told(void **state)
{
  struct world *world = *state;
  uint32_t prompt = chain(world, KVI_POLICY_NONE, 2), one = chain(world, prompt, 3),
           other = chain(world, prompt, 3);

  wait_at(world, 1, one, 5, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 2, other, 5, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 3, other, 5, KVI_WAIT_TOOL, 0, 0);
  assert_false(says_ended(world, one));
  ops->close(world->policy, 1, world->now);
  ops->close(world->policy, 2, world->now);
  assert_false(says_ended(world, other)); /* the third waits there */
  for (uint32_t i = 0; i < 3; i++) {
    assert_true(says_ended(world, one - i));
    assert_int_equal(evict(world), one - i);
  }
  assert_false(says_ended(world, prompt));
  ops->close(world->policy, 3, world->now);
  assert_true(says_ended(world, other));
  ops->touch(world->policy, other, world->now);
  assert_false(says_ended(world, other));
  while (evict(world) != KVI_POLICY_NONE)
    ;
  one = chain(world, KVI_POLICY_NONE, 3);
  wait_at(world, 4, one, 3, KVI_WAIT_TOOL, 0, 0);
  ops->close(world->policy, 4, world->now);
  assert_int_equal(evict(world), one);
  assert_true(says_ended(world, one - 1));
  wait_at(world, 5, one - 1, 2, KVI_WAIT_TOOL, 0, 0); /* another goes on with what is left */
  assert_false(says_ended(world, one - 1));
  assert_int_equal(evict(world), one - 1);
  assert_false(says_ended(world, one - 2));
}

/* Who says that it has ended is believed at first: its chain goes before one of the same age. Not any more when all who say so are soon back. */
static void said_to_have_ended(void **state)
{
  struct world *world = *state;

  for (uint32_t learned = 0; learned < 2; learned++) {
    uint32_t slow, over;

    learn(world, 90, KVI_WAIT_HUMAN, 600, 100, 0, 0);
    if (learned)
      learn(world, 91, KVI_WAIT_END, 2, 400, 0, 0);
    over = chain(world, KVI_POLICY_NONE, 3);
    wait_at(world, 1, over, 3, KVI_WAIT_END, 0, 0);
    slow = chain(world, KVI_POLICY_NONE, 3);
    wait_at(world, 2, slow, 3, KVI_WAIT_HUMAN, 0, 0);
    world->now += SECOND;
    assert_int_equal(evict(world), learned ? slow : over);
    for (uint32_t i = 1; i <= 2; i++)
      ops->close(world->policy, i, world->now);
    while (evict(world) != KVI_POLICY_NONE)
      ;
  }
}

/* It comes back after all. */
static void closed_and_used(void **state)
{
  struct world *world = *state;
  uint32_t other = chain(world, KVI_POLICY_NONE, 3), closed = chain(world, KVI_POLICY_NONE, 50);

  wait_at(world, 2, closed, 50, KVI_WAIT_TOOL, 0, 0);
  ops->close(world->policy, 2, world->now);
  wait_at(world, 1, other, 3, KVI_WAIT_TOOL, 0, 0);
  world->now += 10 * SECOND;
  wait_at(world, 2, closed, 50, KVI_WAIT_TOOL, 0, 0);
  assert_int_equal(evict(world), other);
}

/* Among many that are worth something it is found at once, and so is what was before it. */
static void closed_is_known(void **state)
{
  struct world *world = *state;
  uint32_t closed;

  for (uint32_t i = 0; i < 500; i++)
    wait_at(world, 10 + i, chain(world, KVI_POLICY_NONE, 1), 1, KVI_WAIT_TOOL, 0, 0);
  closed = chain(world, KVI_POLICY_NONE, 3);
  wait_at(world, 2, closed, 3, KVI_WAIT_TOOL, 0, 0);
  world->now += 5 * SECOND;
  ops->close(world->policy, 2, world->now);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(evict(world), closed - i);
}

/* Two who wait at a chunk are worth more than one at a chain a little longer. */
static void two_are_worth_more(void **state)
{
  struct world *world = *state;
  uint32_t one = chain(world, KVI_POLICY_NONE, 40), two = chain(world, KVI_POLICY_NONE, 20);

  wait_at(world, 1, one, 40, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 2, two, 20, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 3, two, 20, KVI_WAIT_TOOL, 0, 0);
  world->now += SECOND;
  assert_int_equal(evict(world), one);
}

/* A program has twelve branches at most: with the next one the first is given up, and what it alone had goes. */
static void twelve_branches(void **state)
{
  struct world *world = *state;
  uint32_t first = chain(world, KVI_POLICY_NONE, 30), other = chain(world, KVI_POLICY_NONE, 5);

  wait_at(world, 2, other, 5, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 1, first, 30, KVI_WAIT_TOOL, 0, 0);
  for (uint32_t i = 1; i < 12; i++)
    wait_at(world, 1, chain(world, KVI_POLICY_NONE, 10), 10, KVI_WAIT_TOOL, 0, 0);
  world->now += 5 * SECOND;
  assert_int_equal(ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), other);
  wait_at(world, 1, chain(world, KVI_POLICY_NONE, 10), 10, KVI_WAIT_TOOL, 0, 0);
  assert_int_equal(evict(world), first);
}

/* Two unnamed programs have a quarter of their chains in common: one does not take the place of the other. */
static void unnamed_and_alike(void **state)
{
  struct world *world = *state;
  uint32_t start = chain(world, KVI_POLICY_NONE, 10), one = chain(world, start, 30), other, another;

  other = chain(world, KVI_POLICY_NONE, 5);
  wait_at(world, 2, other, 5, KVI_WAIT_TOOL, 0, 0);
  arrive_at(world, 0, one, 40);
  world->now += SECOND;
  another = chain(world, start, 30);
  arrive_at(world, 0, another, 40);
  world->now += 4 * SECOND;
  assert_int_equal(evict(world), other);
}

/* What two programs begin with stays until both have lost what is behind it, also when one has ended. */
static void shared_stays(void **state)
{
  struct world *world = *state;
  uint32_t prompt = chain(world, KVI_POLICY_NONE, 20), one = chain(world, prompt, 5),
           two = chain(world, prompt, 5);

  wait_at(world, 1, one, 25, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 2, two, 25, KVI_WAIT_TOOL, 0, 0);
  ops->close(world->policy, 1, world->now);
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(evict(world), one - i);
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(evict(world), two - i);
  assert_int_equal(evict(world), prompt);
}

/* A program that goes on elsewhere leaves its old end behind, which goes first, in a moment. */
static void left_behind(void **state)
{
  struct world *world = *state;
  uint32_t start = chain(world, KVI_POLICY_NONE, 20), old = chain(world, start, 5), other, new;

  wait_at(world, 1, old, 25, KVI_WAIT_TOOL, 0, 0);
  other = chain(world, KVI_POLICY_NONE, 2);
  wait_at(world, 2, other, 2, KVI_WAIT_TOOL, 0, 0);
  world->now += SECOND;
  new = chain(world, start, 3);
  wait_at(world, 1, new, 23, KVI_WAIT_TOOL, 0, 0);
  world->now += 10 * SECOND;
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(evict(world), old - i);
  assert_int_equal(evict(world), other);
}

/* People who are back in a second, and tools that take ten minutes; those of the people have the shorter chain, and would go first if nothing were known. */
static void quick_people(struct world *world)
{
  uint32_t human, tool;

  learn(world, 1, KVI_WAIT_TOOL, 600, 300, 0, 0);
  tool = chain(world, KVI_POLICY_NONE, 30);
  human = chain(world, KVI_POLICY_NONE, 10);
  wait_at(world, 3, human, 10, KVI_WAIT_HUMAN, 0, 0);
  wait_at(world, 4, tool, 30, KVI_WAIT_TOOL, 0, 0);
  world->now += SECOND / 2;
  for (uint32_t i = 0; i < 30; i++)
    assert_int_equal(evict(world), tool - i);
  assert_int_equal(evict(world), human);
}

/* A branch whose chunks have all gone comes back: it is the same, and its wait is known. */
static void evicted_and_back(void **state)
{
  struct world *world = *state;

  for (uint32_t i = 0; i < 300; i++) {
    uint32_t last = chain(world, KVI_POLICY_NONE, 2);

    wait_at(world, 7, last, 2, KVI_WAIT_HUMAN, 0, 0);
    world->now += SECOND;
    assert_int_equal(evict(world), last);
    assert_int_equal(evict(world), last - 1);
  }
  quick_people(world);
}

/* A source that was right is believed, one that says anything is not. */
static void announced(void **state)
{
  struct world *world = *state;
  uint32_t soon, late, lied, true_one;
  kvi_rand rand;

  kvi_rand_seed(&rand, 3);
  for (uint32_t i = 0; i < 40; i++) {
    double s = 1 + (double)kvi_rand_below(&rand, 2000), said = 1 + (double)kvi_rand_below(&rand, 2000);

    learn(world, 100 + i, KVI_WAIT_TOOL, s, 10, 1, s);
    learn(world, 200 + i, KVI_WAIT_TOOL, s, 10, 2, said);
  }
  late = chain(world, KVI_POLICY_NONE, 30); /* the longer chain would stay if nothing had been said */
  soon = chain(world, KVI_POLICY_NONE, 10);
  wait_at(world, 1, late, 30, KVI_WAIT_TOOL, 1, 2000);
  wait_at(world, 2, soon, 10, KVI_WAIT_TOOL, 1, 20);
  world->now += SECOND;
  for (uint32_t i = 0; i < 30; i++)
    assert_int_equal(evict(world), late - i);
  assert_int_equal(evict(world), soon);
  ops->close(world->policy, 2, world->now);
  for (uint32_t i = 1; i < 10; i++)
    assert_int_equal(evict(world), soon - i);

  lied = chain(world, KVI_POLICY_NONE, 30);
  true_one = chain(world, KVI_POLICY_NONE, 10);
  wait_at(world, 3, lied, 30, KVI_WAIT_TOOL, 2, 20);
  wait_at(world, 4, true_one, 10, KVI_WAIT_TOOL, 1, 20);
  world->now += 15 * SECOND;
  assert_int_equal(evict(world), lied);
}

/* What foretells no better than silence does is not heeded: the longer chain stays, though it is said to be of use in an hour only. */
static void not_heeded(void **state)
{
  struct world *world = *state;
  uint32_t said, silent;
  kvi_rand rand;

  kvi_rand_seed(&rand, 4);
  for (uint32_t i = 0; i < 40; i++)
    learn(world, 100 + i, KVI_WAIT_TOOL, 5 + (double)kvi_rand_below(&rand, 5), 10, 2,
          1 + (double)kvi_rand_below(&rand, 5000));
  silent = chain(world, KVI_POLICY_NONE, 10);
  said = chain(world, KVI_POLICY_NONE, 30);
  wait_at(world, 1, said, 30, KVI_WAIT_TOOL, 2, 3600);
  wait_at(world, 2, silent, 10, KVI_WAIT_TOOL, 3, 0);
  world->now += SECOND;
  assert_int_equal(evict(world), silent);
}

/* A tool that was never seen is worth what its kind is, not nothing. */
static void unseen_tool(void **state)
{
  struct world *world = *state;
  uint32_t known, unseen;
  struct kvi_policy_wait wait = {.program = 3, .n_chunks = 30, .kind = KVI_WAIT_TOOL, .tool = 77};

  learn(world, 1, KVI_WAIT_TOOL, 20, 300, 0, 0);
  known = chain(world, KVI_POLICY_NONE, 10);
  unseen = chain(world, KVI_POLICY_NONE, 30);
  wait_at(world, 2, known, 10, KVI_WAIT_TOOL, 0, 0);
  wait.last = unseen;
  arrive_at(world, 3, unseen, 30);
  assert_true(ops->wait(world->policy, &wait, world->now));
  world->now += 5 * SECOND;
  assert_int_equal(evict(world), known); /* the shorter one */
}

/* Times that are none are not said: the shorter chain goes. */
static void no_times(void **state)
{
  static const double said[] = {1e-300, 5e-324, 1e-3, 1e308, INFINITY, NAN, -1};
  struct world *world = *state;
  uint32_t silent = chain(world, KVI_POLICY_NONE, 30);

  for (uint32_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    uint32_t last = chain(world, KVI_POLICY_NONE, 10);

    wait_at(world, 1, silent, 30, KVI_WAIT_TOOL, 0, 0);
    wait_at(world, 2 + i, last, 10, KVI_WAIT_TOOL, 0, said[i]);
    assert_int_equal(evict(world), last);
    ops->close(world->policy, 2 + i, world->now);
    for (uint32_t k = 1; k < 10; k++)
      assert_int_equal(evict(world), last - k);
  }
}

/* Many that have ended at a chunk do not hide the one that waits there. */
static void ended_hide_nobody(void **state)
{
  struct world *world = *state;
  uint32_t shared = chain(world, KVI_POLICY_NONE, 30), other = chain(world, KVI_POLICY_NONE, 10);

  wait_at(world, 1, shared, 30, KVI_WAIT_TOOL, 0, 0);
  for (uint32_t i = 0; i < 100; i++) {
    wait_at(world, 100 + i, shared, 30, KVI_WAIT_TOOL, 0, 0);
    ops->close(world->policy, 100 + i, world->now);
  }
  wait_at(world, 2, other, 10, KVI_WAIT_TOOL, 0, 0);
  world->now += 5 * SECOND;
  assert_int_equal(evict(world), other);
}

/* Programs that are not named are known by their chains: one goes on at its end, each second. */
static void unnamed(void **state)
{
  struct world *world = *state;
  uint32_t end, tool;

  learn(world, 1, KVI_WAIT_TOOL, 600, 300, 0, 0);
  end = chain(world, KVI_POLICY_NONE, 5);
  for (uint32_t i = 0; i < 300; i++) {
    end = chain(world, end, 1);
    arrive_at(world, 0, end, 6 + i);
    world->now += SECOND;
  }
  tool = chain(world, KVI_POLICY_NONE, 500);
  wait_at(world, 2, tool, 500, KVI_WAIT_TOOL, 0, 0);
  arrive_at(world, 0, chain(world, end, 1), 306);
  world->now += SECOND / 2;
  assert_int_equal(evict(world), tool);
}

static bool admits(struct world *world, const struct kvi_policy_use *use)
{
  return ops->admits(world->policy, ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), use, 10,
                     world->now);
}

/* A chunk that is worth less than what it would take the place of is not admitted. */
static void admission(void **state)
{
  struct world *world = *state;
  struct kvi_policy_use use = {.last = KVI_POLICY_NONE, .n_whole = 10};
  uint32_t tool, person = chain(world, KVI_POLICY_NONE, 1);

  learn(world, 1, KVI_WAIT_TOOL, 2, 300, 0, 0);
  for (uint32_t i = 0; i < 300; i++, world->now += 600 * SECOND)
    arrive_at(world, 0, person, 1);
  assert_int_equal(evict(world), person);
  tool = chain(world, KVI_POLICY_NONE, 10);
  wait_at(world, 4, tool, 10, KVI_WAIT_TOOL, 0, 0);
  assert_false(admits(world, &use));
  world->now += 100 * SECOND; /* the tool should be back long since */
  assert_true(admits(world, &use));
}

/* More branches than there is room for, and more of one program than it may have. */
static void bounded(void **state)
{
  struct world *world = *state;

  for (uint32_t round = 0; round < 3; round++)
    for (uint32_t i = 0; i < 1100; i++) {
      uint32_t last = chain(world, KVI_POLICY_NONE, 1);

      wait_at(world, round == 1 ? 7 : 1000 * round + i + 1, last, 1, KVI_WAIT_TOOL, i, 1);
      world->now += SECOND / 100;
    }
  world->now += 100 * SECOND;
  for (uint32_t i = 0; i < 3300; i++)
    assert_int_not_equal(evict(world), KVI_POLICY_NONE);
  assert_int_equal(evict(world), KVI_POLICY_NONE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(by_kind, setup, teardown),
      cmocka_unit_test_setup_teardown(by_age, setup, teardown),
      cmocka_unit_test_setup_teardown(by_tool, setup, teardown),
      cmocka_unit_test_setup_teardown(by_cost, setup, teardown),
      cmocka_unit_test_setup_teardown(by_share, setup, teardown),
      cmocka_unit_test_setup_teardown(closed_goes_first, setup, teardown),
      cmocka_unit_test_setup_teardown(closed_is_told, setup, teardown),
      cmocka_unit_test_setup_teardown(closed_is_known, setup, teardown),
      cmocka_unit_test_setup_teardown(two_are_worth_more, setup, teardown),
      cmocka_unit_test_setup_teardown(twelve_branches, setup, teardown),
      cmocka_unit_test_setup_teardown(unnamed_and_alike, setup, teardown),
      cmocka_unit_test_setup_teardown(said_to_have_ended, setup, teardown),
      cmocka_unit_test_setup_teardown(closed_and_used, setup, teardown),
      cmocka_unit_test_setup_teardown(shared_stays, setup, teardown),
      cmocka_unit_test_setup_teardown(left_behind, setup, teardown),
      cmocka_unit_test_setup_teardown(evicted_and_back, setup, teardown),
      cmocka_unit_test_setup_teardown(announced, setup, teardown),
      cmocka_unit_test_setup_teardown(not_heeded, setup, teardown),
      cmocka_unit_test_setup_teardown(unseen_tool, setup, teardown),
      cmocka_unit_test_setup_teardown(no_times, setup, teardown),
      cmocka_unit_test_setup_teardown(ended_hide_nobody, setup, teardown),
      cmocka_unit_test_setup_teardown(unnamed, setup, teardown),
      cmocka_unit_test_setup_teardown(admission, setup, teardown),
      cmocka_unit_test_setup_teardown(bounded, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
