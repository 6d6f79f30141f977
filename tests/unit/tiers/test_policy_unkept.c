/* Announcements that do not come true: whoever closes its programs late, leaves them, or says the same again and never comes is known for it, and who is right beside it is not. */
#include "policy_testing.h"

#include "base/array.h"

#define SOURCE 3u
#define HONEST 11u
#define LIAR   22u
#define OTHER  33u
#define SAID_S 5.0 /* of what is compared */

static uint64_t next_program = 1000000;

static void later(struct world *world, double seconds)
{
  world->now += (uint64_t)(seconds * (double)SECOND);
}

static void tell(struct world *world, uint64_t client, uint64_t program, uint32_t last, double announced_s)
{
  const struct kvi_policy_wait wait = {.program = program,
                                       .last = last,
                                       .n_chunks = 1,
                                       .kind = KVI_WAIT_TOOL,
                                       .source = SOURCE,
                                       .client = client,
                                       .announced_s = announced_s};

  assert_true(ops->wait(world->policy, &wait, world->now));
}

/* A request, and at once its answer. */
static void ask(struct world *world, uint64_t client, uint64_t program, uint32_t last, double announced_s)
{
  arrive_at(world, program, last, 1);
  tell(world, client, program, last, announced_s);
}

static void end(struct world *world, uint64_t program)
{
  assert_true(ops->close(world->policy, program, world->now));
  (void)evict(world);
}

/* A program of the client's that is right so often, and ends at once. */
static void be_right(struct world *world, uint64_t client, uint32_t times)
{
  uint64_t program = next_program++;
  uint32_t last = chain(world, KVI_POLICY_NONE, 1);

  for (uint32_t i = 0; i < times; i++) {
    double seconds = 2 + i % 50;

    ask(world, client, program, last, seconds);
    later(world, 1.02 * seconds);
  }
  arrive_at(world, program, last, 1);
  end(world, program);
}

/* A program that says when it is back, and is not. closed_s: it is closed so much later; 0: never. */
static void lie(struct world *world, uint64_t client, double announced_s, double closed_s)
{
  uint64_t program = next_program++;

  ask(world, client, program, chain(world, KVI_POLICY_NONE, 1), announced_s);
  if (closed_s <= 0)
    return;
  later(world, closed_s);
  end(world, program);
}

static double price_at(const struct world *world, uint32_t last)
{
  struct kvi_policy_info info;

  ops->info(world->policy, last, &info);
  return info.price;
}

/* Somebody else comes, so that the policy knows how late it is. */
static double price_now(struct world *world, uint32_t last)
{
  arrive_at(world, next_program++, chain(world, KVI_POLICY_NONE, 1), 1);
  return price_at(world, last);
}

/* What its word is worth: the price shortly before the time that it announces. The program ends before that, which says nothing. */
static double word_of(struct world *world, uint64_t client, double announced_s)
{
  uint64_t program = next_program++;
  uint32_t last = chain(world, KVI_POLICY_NONE, 1);
  double price;

  ask(world, client, program, last, announced_s);
  later(world, 0.98 * SAID_S);
  price = price_now(world, last);
  end(world, program);
  return price;
}

/* Is what the liar says worth next to nothing, and what the other says as much as before? */
static void assert_known(struct world *world, double honest_before)
{
  double honest = word_of(world, HONEST, SAID_S), liar = word_of(world, LIAR, SAID_S);

  assert_true(honest > 0.7 * honest_before);
  assert_true(honest > 8 * liar);
}

static double learn_honest(struct world *world)
{
  be_right(world, HONEST, 200);
  return word_of(world, HONEST, SAID_S);
}

static void closed_late(void **state)
{
  static const double closed_s[] = {60, 10, 5.3}; /* far behind the announced time, and just behind */

  for (uint32_t i = 0; i < KVI_ARRAY_SIZE(closed_s); i++) {
    struct world *world;
    double before;

    assert_int_equal(setup((void **)&world), 0);
    before = learn_honest(world);
    for (uint32_t n = 0; n < 300; n++) {
      lie(world, LIAR, SAID_S, closed_s[i]);
      if (n % 4 == 0)
        be_right(world, HONEST, 2);
    }
    assert_known(world, before);
    (void)teardown((void **)&world);
  }
  (void)state;
}

/* They are never heard of again, and not one has lost its place. */
static void left(void **state)
{
  struct world *world = *state;
  double before = learn_honest(world);

  for (uint32_t n = 0; n < 300; n++) {
    lie(world, LIAR, SAID_S, 0);
    be_right(world, HONEST, 1);
  }
  assert_true((double)ops->waiters(world->policy) >= 300);
  assert_known(world, before);
}

/* Those that have not been used for longest lose their place in the table. */
static void lost_their_place(void **state)
{
  struct world *world = *state;
  double before = learn_honest(world);

  for (uint32_t n = 0; n < 2500; n++) {
    lie(world, LIAR, SAID_S, 0);
    later(world, 1);
    if (n % 8 == 0)
      be_right(world, HONEST, 1);
  }
  assert_true(ops->waiters(world->policy) < 2500);
  assert_known(world, before);
}

/* One request, and then it says again and again that it will be back. */
static void said_again(void **state)
{
  static const struct {
    double said_s[2], every_s;
  } rounds[] = {{{2, 2}, 2}, {{2, 2}, 1.9}, {{2, 2}, 2.1}, {{2, 2}, 0.9},    {{2, 2}, 0.1},
                {{2, 0}, 1}, {{2, 50}, 1},  {{5, 2}, 1.5}, {{0.1, 0.1}, 0.2}};

  for (uint32_t i = 0; i < KVI_ARRAY_SIZE(rounds); i++) {
    struct world *world;
    double before, liar, quiet;
    uint32_t last, silent;

    assert_int_equal(setup((void **)&world), 0);
    before = learn_honest(world);
    last = chain(world, KVI_POLICY_NONE, 1);
    silent = chain(world, KVI_POLICY_NONE, 1);
    arrive_at(world, 7, last, 1);
    for (uint32_t n = 0; n < 2000; n++) {
      tell(world, LIAR, 7, last, rounds[i].said_s[n % 2]);
      later(world, rounds[i].every_s);
      if (n % 50 == 0)
        be_right(world, HONEST, 1);
    }
    tell(world, LIAR, 7, last, 2);
    ask(world, 0, 8, silent, 0);
    later(world, 1.95);
    liar = price_now(world, last);
    quiet = price_at(world, silent);
    assert_true(liar < 2 * quiet);
    assert_known(world, before);
    (void)teardown((void **)&world);
  }
  (void)state;
}

/* What is said again is no return: of tools nobody is taken to be back after two seconds. */
static void again_is_no_return(void **state)
{
  struct world *world = *state;
  uint32_t last = chain(world, KVI_POLICY_NONE, 1), silent = chain(world, KVI_POLICY_NONE, 1);
  double before;

  learn(world, 1, KVI_WAIT_TOOL, 30, 100, 0, 0);
  ask(world, 0, 2, silent, 0);
  later(world, 1);
  before = price_now(world, silent);
  arrive_at(world, 7, last, 1);
  for (uint32_t n = 0; n < 500; n++) {
    tell(world, 0, 7, last, 0);
    later(world, 2);
    if (n % 20 == 0)
      learn(world, next_program++, KVI_WAIT_TOOL, 30, 1, 0, 0);
  }
  ask(world, 0, 2, silent, 0);
  later(world, 1);
  assert_true(price_now(world, silent) < 2 * before);
}

/* Who says something else of another's program does not spoil the other's word; nor can two of them unsay what they have said. */
static void of_anothers_program(void **state)
{
  struct world *world = *state;
  uint32_t last = chain(world, KVI_POLICY_NONE, 1);
  double before = learn_honest(world);

  for (uint32_t n = 0; n < 200; n++) {
    ask(world, HONEST, 7, last, 20);
    later(world, 2);
    tell(world, LIAR, 7, last, n % 2 == 0 ? 1000 : 1);
    later(world, 5);
    if (n % 10 == 0)
      be_right(world, HONEST, 1);
  }
  assert_true(word_of(world, HONEST, SAID_S) > 0.7 * before);
  for (uint32_t n = 0; n < 2000; n++) {
    tell(world, n % 2 == 0 ? LIAR : OTHER, 7, last, 2);
    later(world, 1.9);
    if (n % 50 == 0)
      be_right(world, HONEST, 1);
  }
  /* they are what their source is, which has been told wrong by them */
  assert_true(word_of(world, LIAR, SAID_S) < word_of(world, HONEST, SAID_S) / 3);
  assert_true(word_of(world, OTHER, SAID_S) < word_of(world, HONEST, SAID_S) / 3);
}

/* A client that looks nothing up, and puts more of its prompt and its answer before it is answered: it was back by that. */
static void stored_since(void **state)
{
  struct world *world = *state;
  uint32_t last = KVI_POLICY_NONE;
  double before = learn_honest(world);

  for (uint32_t n = 1; n <= 200; n++) {
    const struct kvi_policy_wait wait = {.program = 7,
                                         .n_chunks = n,
                                         .last = last = chain(world, last, 1),
                                         .kind = KVI_WAIT_TOOL,
                                         .source = SOURCE,
                                         .client = OTHER,
                                         .announced_s = 10};
    const struct kvi_policy_use use = {.program = 7, .last = last, .n_chunks = n, .n_whole = n};

    ops->extend(world->policy, &use, world->now);
    assert_true(ops->wait(world->policy, &wait, world->now));
    later(world, 10.2);
  }
  arrive_at(world, 7, last, 200);
  end(world, 7);
  assert_true(word_of(world, OTHER, SAID_S) > 0.7 * before);
  for (uint32_t n = 0; n < 100; n++) { /* it ends before it is answered */
    uint64_t program = next_program++;
    const struct kvi_policy_use use = {
        .program = program, .last = chain(world, KVI_POLICY_NONE, 1), .n_chunks = 2, .n_whole = 2};
    struct kvi_policy_use more = use;

    ask(world, OTHER, program, use.last, 10);
    later(world, 10.2);
    more.last = chain(world, use.last, 1);
    ops->extend(world->policy, &more, world->now);
    later(world, 5);
    end(world, program);
    (void)evict(world);
  }
  assert_true(word_of(world, OTHER, SAID_S) > 0.7 * before);
}

/* A harness that says how long it still takes: it was announced once, and is kept. */
static void said_what_is_left(void **state)
{
  struct world *world = *state;
  uint32_t last = chain(world, KVI_POLICY_NONE, 1);
  double before = learn_honest(world);

  for (uint32_t i = 0; i < 100; i++) {
    ask(world, OTHER, 7, last, 20);
    for (uint32_t n = 1; n < 7; n++) {
      later(world, 3);
      tell(world, OTHER, 7, last, 20.3 - 3 * n);
      if (n == 2)
        tell(world, OTHER, 7, last, 0); /* something else is said, and no time */
    }
    later(world, 2.4);
  }
  arrive_at(world, 7, last, 1);
  assert_true(word_of(world, OTHER, SAID_S) > 0.7 * before);
}

/* Its tool takes longer than it was said to: that was wrong, and what is said now counts, from when it began to wait. Said once more, no later than by a little, it is the same still. */
static void said_later(void **state)
{
  static const struct {
    double at_s, said_s, announced_s;
  } said[] = {{0, 5, 5}, {3, 600, 603}, {10, 620, 603}, {400, 100, 500}, {450, 0, 500}, {501, 2, 503}};
  struct world *world = *state;
  uint32_t last = chain(world, KVI_POLICY_NONE, 1);
  uint64_t began = world->now;
  struct kvi_policy_waiter waiter;

  arrive_at(world, 7, last, 1);
  for (uint32_t i = 0; i < KVI_ARRAY_SIZE(said); i++) {
    world->now = began + (uint64_t)(said[i].at_s * (double)SECOND);
    tell(world, OTHER, 7, last, said[i].said_s);
    assert_true(ops->waiter(world->policy, 0, &waiter, world->now));
    assert_true(waiter.announced_s == said[i].announced_s && waiter.waits_s == said[i].at_s);
  }
}

/* A harness that is right, and ends each of its runs: before its tool is back, when it is, after it has said no time, or one in five of them long after. */
static void honest_ones_end(void **state)
{
  for (uint32_t how = 0; how < 4; how++) {
    struct world *world;
    double before;

    assert_int_equal(setup((void **)&world), 0);
    before = learn_honest(world);
    for (uint32_t run = 0; run < 60; run++) {
      uint64_t program = next_program++;
      uint32_t last = chain(world, KVI_POLICY_NONE, 1);

      for (uint32_t i = 0; i < 5; i++) {
        double seconds = 2 + (run * 7 + i * 11) % 50;

        ask(world, OTHER, program, last, seconds);
        later(world, 1.02 * seconds);
      }
      ask(world, OTHER, program, last, how == 2 || (how == 3 && run % 5 != 0) ? 0 : 10);
      later(world, how == 0 ? 5 : how == 1 ? 10.5 : 600);
      end(world, program);
    }
    assert_true(word_of(world, OTHER, SAID_S) > (how == 0 ? 0.9 : 0.7) * before);
    assert_true(word_of(world, HONEST, SAID_S) > 0.9 * before);
    (void)teardown((void **)&world);
  }
  (void)state;
}

/* What ends before its time says nothing, not even a bit; nor does what ends unannounced. */
static void ended_before(void **state)
{
  struct world *world = *state, *other;
  double early, never;

  assert_int_equal(setup((void **)&other), 0);
  (void)learn_honest(world);
  (void)learn_honest(other);
  for (uint32_t i = 0; i < 200; i++) {
    lie(world, i % 2 == 0 ? HONEST : OTHER, SAID_S, 4.9);
    lie(world, i % 2 == 0 ? HONEST : OTHER, 0, 100);
  }
  for (uint64_t client = HONEST; client <= OTHER; client += OTHER - HONEST) {
    early = word_of(world, client, SAID_S);
    never = word_of(other, client, SAID_S);
    assert_true(early > 0.99 * never && early < 1.01 * never);
  }
  (void)teardown((void **)&other);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(closed_late),
      cmocka_unit_test_setup_teardown(left, setup, teardown),
      cmocka_unit_test_setup_teardown(lost_their_place, setup, teardown),
      cmocka_unit_test(said_again),
      cmocka_unit_test_setup_teardown(again_is_no_return, setup, teardown),
      cmocka_unit_test_setup_teardown(of_anothers_program, setup, teardown),
      cmocka_unit_test_setup_teardown(stored_since, setup, teardown),
      cmocka_unit_test_setup_teardown(said_what_is_left, setup, teardown),
      cmocka_unit_test_setup_teardown(said_later, setup, teardown),
      cmocka_unit_test(honest_ones_end),
      cmocka_unit_test_setup_teardown(ended_before, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
