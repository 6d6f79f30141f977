/*
 * What is brought to memory before it is asked for, under the policy "index": of who is about to be back, the beginning first, if it is worth more there than what has to leave for it and the read; and of nobody who gets less and less likely to be
 * back.
 */
#include "policy_testing.h"

#include "base/rand.h"
#include "tiers/policy/index_private.h"

#define BYTE_S 1e-4 /* from below: less than to compute it */
#define HONEST 1u
#define LIAR   2u
#define LONG   6u /* chunks of a chain */

static void move_all(struct world *world, uint32_t last, uint32_t n, enum kvi_policy_group group)
{
  for (uint32_t i = 0; i < n; i++)
    ops->move(world->policy, last - i, group);
}

/* A chain of LONG chunks, in both, on which the program waits, for something that no other class is. Returns its last. */
static uint32_t waits_on(struct world *world, uint64_t program, enum kvi_wait_kind kind, uint32_t source,
                         double announced_s)
{
  uint32_t last = chain(world, KVI_POLICY_NONE, LONG);

  move_all(world, last, LONG, KVI_POLICY_BOTH);
  wait_at(world, program, last, LONG, kind, source, announced_s);
  return last;
}

static uint32_t asked(struct world *world, bool full, uint32_t *chunks, uint32_t most)
{
  const struct kvi_policy_ahead ahead = {.most = most, .full = full, .one = KVI_POLICY_NONE};

  return ops->promotion(world->policy, &ahead, chunks, world->now);
}

static bool is_wanted(struct world *world, bool full)
{
  uint32_t chunks[LONG];

  return asked(world, full, chunks, LONG) > 0;
}

/* Waits for something unknown end soon or late, the more rarely the later: who waits longer waits on for longer. */
static void falling_waits(struct world *world)
{
  static const double lengths[] = {0.1, 0.2, 0.4, 1, 2, 5, 10, 30, 100, 1000};

  for (uint32_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
    learn(world, 80 + i, KVI_WAIT_UNKNOWN, lengths[i], i < 6 ? 24 : 6, 0, 0);
}

/* Who said 30 s came after about 30 s, or after a tenth of an hour; who waits for people comes late. */
static void known_waits(struct world *world)
{
  ops->memory_told(world->policy, CAPACITY, BYTE_S);
  falling_waits(world);
  learn(world, 90, KVI_WAIT_APPROVAL, 29, 100, HONEST, 30);
  learn(world, 91, KVI_WAIT_APPROVAL, 3600, 100, LIAR, 30);
  learn(world, 92, KVI_WAIT_HUMAN, 30000, 100, 0, 0);
  learn(world, 93, KVI_WAIT_TOOL, 1, 100, 0, 0);
}

static void announced(void **state)
{
  struct world *world = *state;
  uint32_t last, chunks[LONG];

  known_waits(world);
  (void)waits_on(world, 1, KVI_WAIT_HUMAN, 0, 0);
  last = waits_on(world, 2, KVI_WAIT_APPROVAL, HONEST, 300);
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  world->now += 5 * SECOND;
  assert_false(is_wanted(world, true));
  world->now += 195 * SECOND;
  assert_false(is_wanted(world, true));
  world->now += 75 * SECOND;
  assert_int_equal(asked(world, true, chunks, 2), 2);
  for (uint32_t at = 0; at < LONG; at += 2) { /* the beginning first */
    assert_int_equal(asked(world, true, chunks, 2), 2);
    for (uint32_t i = 0; i < 2; i++) {
      assert_int_equal(chunks[i], last - LONG + 1 + at + i);
      ops->move(world->policy, chunks[i], KVI_POLICY_BOTH);
    }
  }
  assert_false(is_wanted(world, true));
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  assert_true(is_wanted(world, true));
  world->now += 7200 * SECOND; /* it has not come */
  assert_false(is_wanted(world, true));
}

static void not_a_liars(void **state)
{
  struct world *world = *state;
  uint32_t last;

  known_waits(world);
  (void)waits_on(world, 1, KVI_WAIT_HUMAN, 0, 0);
  last = waits_on(world, 2, KVI_WAIT_APPROVAL, LIAR, 30);
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  for (uint32_t i = 0; i < 60; i++) {
    assert_false(is_wanted(world, true));
    world->now += SECOND;
  }
}

static void not_what_has_ended(void **state)
{
  struct world *world = *state;
  uint32_t last;

  known_waits(world);
  (void)waits_on(world, 1, KVI_WAIT_HUMAN, 0, 0);
  last = waits_on(world, 2, KVI_WAIT_APPROVAL, HONEST, 30);
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  world->now += 27 * SECOND;
  assert_true(is_wanted(world, false));
  ops->close(world->policy, 2, world->now);
  assert_false(is_wanted(world, false));
}

/* All in memory is somebody's who is back within a second. */
static void not_for_what_is_worth_more(void **state)
{
  struct world *world = *state;
  uint32_t last;

  known_waits(world);
  last = waits_on(world, 1, KVI_WAIT_APPROVAL, HONEST, 30);
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  world->now += 27 * SECOND;
  (void)waits_on(world, 2, KVI_WAIT_TOOL, 0, 0);
  world->now += SECOND / 2;
  assert_false(is_wanted(world, true));
  assert_true(is_wanted(world, false));
}

/* What would have to leave memory is its own: it would only take the place of itself. */
static void not_for_its_own(void **state)
{
  struct world *world = *state;
  uint32_t last;

  known_waits(world);
  last = waits_on(world, 1, KVI_WAIT_APPROVAL, HONEST, 30);
  move_all(world, last, 1, KVI_POLICY_MEDIUM);
  world->now += 27 * SECOND;
  assert_false(is_wanted(world, true));
  assert_true(is_wanted(world, false));
}

/* Nothing was said, and of its kind most are back at once: it was the likeliest when it left. */
static void not_who_gets_unlikelier(void **state)
{
  struct world *world = *state;
  uint32_t last;

  known_waits(world);
  last = waits_on(world, 1, KVI_WAIT_UNKNOWN, 0, 0);
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  for (uint32_t i = 0; i < 100; i++) {
    world->now += SECOND;
    assert_false(is_wanted(world, false));
  }
}

/* Nothing was announced, but the others of its tool took a minute each. */
static void learned(void **state)
{
  struct world *world = *state;
  uint32_t last;

  known_waits(world);
  learn(world, 94, KVI_WAIT_SUBAGENT, 60, 100, 0, 0);
  (void)waits_on(world, 1, KVI_WAIT_HUMAN, 0, 0);
  last = waits_on(world, 2, KVI_WAIT_SUBAGENT, 0, 0);
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  world->now += 5 * SECOND;
  assert_false(is_wanted(world, true));
  world->now += 45 * SECOND;
  assert_true(is_wanted(world, true));
}

/* Another policy that is given what this one knows, with the same chunks. */
static struct kvi_policy *restarted(const struct world *world, uint32_t last)
{
  uint8_t bytes[KVI_POLICY_LEARNED_MAX];
  struct kvi_policy_kept kept;
  struct kvi_policy *policy;
  bool more = true;

  assert_int_equal(ops->create(CAPACITY, &policy), KVS_OK);
  ops->memory_told(policy, CAPACITY, BYTE_S);
  for (uint32_t i = 0; i < world->fresh; i++) {
    bool follows = i > last + 1 - LONG && i <= last;

    ops->insert(policy, i, TESTING_CHUNK(follows ? i - 1 : KVI_POLICY_NONE), world->now);
    ops->move(policy, i, KVI_POLICY_MEDIUM);
  }
  for (uint32_t part = 0; more; part++) {
    uint32_t length = ops->learned(world->policy, part, bytes, &more);

    assert_true(length == 0 || ops->learn(policy, bytes, length));
  }
  for (uint32_t i = 0; i < ops->waiters(world->policy); i++)
    if (ops->keep(world->policy, i, &kept))
      assert_true(ops->restore(policy, &kept, world->now));
  ops->relearn(policy, world->now);
  return policy;
}

/* The same after a restart: waits are known by their class only once all that was learned has come back. */
static void learned_before(void **state)
{
  const struct kvi_policy_ahead ahead = {.most = LONG, .one = KVI_POLICY_NONE};
  struct world *world = *state;
  uint32_t last, chunks[LONG];
  struct kvi_policy *policy;

  known_waits(world);
  learn(world, 94, KVI_WAIT_SUBAGENT, 60, 100, 0, 0);
  ops->relearn(world->policy, world->now); /* else its curves are those of a while ago */
  last = waits_on(world, 2, KVI_WAIT_SUBAGENT, 0, 0);
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  world->now += 5 * SECOND;
  policy = restarted(world, last);
  assert_int_equal(ops->promotion(policy, &ahead, chunks, world->now), 0);
  world->now += 45 * SECOND;
  assert_true(is_wanted(world, false));
  assert_int_equal(ops->promotion(policy, &ahead, chunks, world->now), LONG);
  ops->destroy(policy);
}

/* Not who is back already, nor whose order is the last use. */
static void not_now(void **state)
{
  struct world *world = *state;
  struct kvi_policy_use use = {.program = 1, .n_chunks = LONG, .n_whole = LONG};

  known_waits(world);
  use.last = waits_on(world, 1, KVI_WAIT_APPROVAL, HONEST, 30);
  move_all(world, use.last, LONG, KVI_POLICY_MEDIUM);
  world->now += 27 * SECOND;
  kvi_index_of(world->policy)->memory.shadow.live = KVI_SHADOW_BY_USE;
  assert_false(is_wanted(world, false));
  kvi_index_of(world->policy)->memory.shadow.live = KVI_SHADOW_BY_PRICE;
  assert_true(is_wanted(world, false));
  ops->arrive(world->policy, &use, world->now);
  assert_false(is_wanted(world, false));
}

static bool is_not_of(const void *ctx, uint32_t tenant, double bytes)
{
  return tenant != *(const uint32_t *)ctx && bytes > 0;
}

/* Whose tenant has no room is passed over, and others have their turn, be they worth less. */
static void not_who_may_not(void **state)
{
  struct world *world = *state;
  uint32_t none = 9, first, second, chunks[LONG];
  struct kvi_policy_ahead ahead = {.most = LONG, .one = KVI_POLICY_NONE, .may = is_not_of, .ctx = &none};
  struct kvi_policy_use use = {.n_chunks = LONG, .n_whole = LONG, .tenant = 1, .cost = 10};
  struct kvi_policy_wait wait = {
      .n_chunks = LONG, .kind = KVI_WAIT_APPROVAL, .source = HONEST, .announced_s = 30};

  known_waits(world);
  first = waits_on(world, 1, KVI_WAIT_APPROVAL, HONEST, 30);
  second = waits_on(world, 2, KVI_WAIT_APPROVAL, HONEST, 30);
  use.program = wait.program = 2;
  use.last = wait.last = second;
  ops->arrive(world->policy, &use, world->now);
  assert_true(ops->wait(world->policy, &wait, world->now));
  move_all(world, first, LONG, KVI_POLICY_MEDIUM);
  move_all(world, second, LONG, KVI_POLICY_MEDIUM);
  world->now += 27 * SECOND;
  assert_int_equal(ops->promotion(world->policy, &ahead, chunks, world->now), LONG);
  none = chunks[0] <= first ? 0 : 1;
  assert_int_equal(ops->promotion(world->policy, &ahead, chunks, world->now), LONG);
  assert_int_equal(chunks[LONG - 1], none == 0 ? second : first);
}

/* With many who wait each has its turn. */
static void one_of_many(void **state)
{
  struct world *world = *state;
  uint32_t last, calls = 0;

  known_waits(world);
  for (uint64_t i = 0; i < 300; i++)
    move_all(world, waits_on(world, 1000 + i, KVI_WAIT_APPROVAL, HONEST, 30000), LONG, KVI_POLICY_MEDIUM);
  last = waits_on(world, 1, KVI_WAIT_APPROVAL, HONEST, 30);
  move_all(world, last, LONG, KVI_POLICY_MEDIUM);
  world->now += 27 * SECOND;
  while (!is_wanted(world, false) && calls < 10)
    calls++;
  assert_in_range(calls, 1, 300 / 64 + 1);
}

/* Whatever happens, what is to be brought is below, once each, and in the order of its chain. */
static void at_random(void **state)
{
  enum { CHAINS = 30 };
  struct world *world = *state;
  enum kvi_policy_group groups[CHAINS * LONG] = {0};
  uint32_t lengths[CHAINS] = {0}, brought = 0;
  kvi_rand rand;

  kvi_rand_seed(&rand, 9);
  ops->memory_told(world->policy, 64, BYTE_S);
  for (uint32_t step = 0; step < 60000; step++) {
    uint32_t which = (uint32_t)(kvi_rand_next(&rand) % CHAINS), first = which * LONG,
             what = (uint32_t)(kvi_rand_next(&rand) % 8), n = lengths[which], chunks[4], found;

    world->now += SECOND / 3;
    if (what < 2 && n < LONG) {
      const struct kvi_policy_chunk chunk = {.parent = n > 0 ? first + n - 1 : KVI_POLICY_NONE, .bytes = 1};

      ops->insert(world->policy, first + n, &chunk, world->now);
      groups[first + n] = KVI_POLICY_MEMORY;
      lengths[which]++;
    } else if (what == 2 && n > 0) {
      wait_at(world, 1 + which, first + n - 1, n, KVI_WAIT_TOOL, HONEST, 1 + which);
    } else if (what == 3 && n > 0 && step % 5 == 0) {
      (void)ops->remove(world->policy, first + n - 1);
      lengths[which]--;
    } else if (what == 4 && step % 7 == 0) {
      ops->close(world->policy, 1 + which, world->now);
    } else if (what < 7 && n > 0) {
      for (uint32_t i = 0; i < n; i++)
        ops->move(world->policy, first + i, groups[first + i] = (kvi_rand_next(&rand) % 3));
    } else {
      kvi_index_of(world->policy)->memory.shadow.live =
          KVI_SHADOW_BY_PRICE; /* what dice do is worse than last use */
      found = asked(world, step % 2, chunks, 4);
      for (uint32_t i = 0; i < found; i++) {
        assert_true(chunks[i] % LONG < lengths[chunks[i] / LONG]);
        assert_int_equal(groups[chunks[i]], KVI_POLICY_MEDIUM);
        assert_true(i == 0 || (chunks[i] > chunks[i - 1] && chunks[i] / LONG == chunks[i - 1] / LONG));
        ops->move(world->policy, chunks[i], KVI_POLICY_BOTH);
        groups[chunks[i]] = KVI_POLICY_BOTH;
      }
      brought += found;
    }
  }
  assert_true(brought > 100);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(announced, setup, teardown),
      cmocka_unit_test_setup_teardown(not_a_liars, setup, teardown),
      cmocka_unit_test_setup_teardown(not_what_has_ended, setup, teardown),
      cmocka_unit_test_setup_teardown(not_for_what_is_worth_more, setup, teardown),
      cmocka_unit_test_setup_teardown(not_for_its_own, setup, teardown),
      cmocka_unit_test_setup_teardown(not_who_gets_unlikelier, setup, teardown),
      cmocka_unit_test_setup_teardown(learned, setup, teardown),
      cmocka_unit_test_setup_teardown(learned_before, setup, teardown),
      cmocka_unit_test_setup_teardown(not_now, setup, teardown),
      cmocka_unit_test_setup_teardown(not_who_may_not, setup, teardown),
      cmocka_unit_test_setup_teardown(one_of_many, setup, teardown),
      cmocka_unit_test_setup_teardown(at_random, setup, teardown),
  };

  return cmocka_run_group_tests_name("tiers/policy ahead", tests, NULL, NULL);
}
