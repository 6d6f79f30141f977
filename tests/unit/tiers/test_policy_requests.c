/* What the policy "index" makes of requests: who goes on with what, what a request stores, and who it is when it is answered. */
#include "policy_testing.h"

static void extend_at(struct world *world, uint64_t program, uint32_t last, uint32_t n)
{
  struct kvi_policy_use use = {.program = program, .last = last, .n_chunks = n, .n_whole = n};

  ops->extend(world->policy, &use, world->now);
}

static bool answered(struct world *world, uint64_t program, uint32_t last, uint32_t n,
                     enum kvi_wait_kind kind)
{
  struct kvi_policy_wait wait = {.program = program, .last = last, .n_chunks = n, .kind = kind};

  return ops->wait(world->policy, &wait, world->now);
}

/* A look-up of a prompt of which nothing is there, and its chunks, in two batches. */
static uint32_t store(struct world *world, uint64_t program, uint32_t n)
{
  struct kvi_policy_use use = {.program = program, .last = KVI_POLICY_NONE, .n_whole = n};
  uint32_t last;

  ops->arrive(world->policy, &use, world->now);
  last = chain(world, KVI_POLICY_NONE, n / 2);
  extend_at(world, program, last, n / 2);
  last = chain(world, last, n - n / 2);
  extend_at(world, program, last, n);
  return last;
}

/* Which of two chains of equal length goes first, in ten seconds: one is known to be waited at for so long. */
static void tools_and_people(struct world *world)
{
  learn(world, 1, KVI_WAIT_TOOL, 20, 300, 0, 0);
  learn(world, 2, KVI_WAIT_HUMAN, 6000, 300, 0, 0);
}

/* What nobody has said anything of is worth what an unknown wait is that began when it was used last; also after a lease, and in the other group. */
static void said_nothing_of(void **state)
{
  struct world *world = *state;
  uint32_t told = chain(world, KVI_POLICY_NONE, 3), fresh, old;

  wait_at(world, 1, told, 3, KVI_WAIT_HUMAN, 0, 0);
  old = chain(world, KVI_POLICY_NONE, 1);
  world->now += 100 * SECOND;
  arrive_at(world, 2, told, 3);
  fresh = chain(world, KVI_POLICY_NONE, 3);
  assert_int_equal(ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), old);
  ops->hold(world->policy, fresh);
  ops->unhold(world->policy, fresh);
  assert_int_equal(ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), old);
  ops->touch(world->policy, old, world->now);
  world->now += 1000000 * SECOND;
  ops->touch(world->policy, fresh, world->now);
  assert_int_not_equal(ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), fresh);
  ops->move(world->policy, fresh, KVI_POLICY_MEDIUM); /* written meanwhile */
  ops->move(world->policy, told, KVI_POLICY_MEDIUM);
  assert_int_equal(ops->victim(world->policy, KVI_POLICY_MEDIUM, world->now), told);
}

/* What was left and is read again is not left any more. */
static void left_and_read(void **state)
{
  struct world *world = *state;
  uint32_t left = chain(world, KVI_POLICY_NONE, 2), other = chain(world, KVI_POLICY_NONE, 1);

  wait_at(world, 1, left, 2, KVI_WAIT_TOOL, 0, 0);
  wait_at(world, 2, other, 1, KVI_WAIT_TOOL, 0, 0);
  ops->close(world->policy, 1, world->now);
  world->now += 1000000 * SECOND;
  assert_int_equal(ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), left);
  ops->touch(world->policy, left, world->now);
  assert_int_equal(evict(world), other);
}

/* What ends while it is held, or while another goes on behind it, is known to have ended when that is over. */
static void ended_while_held(void **state)
{
  struct world *world = *state;

  for (uint32_t how = 0; how < 3; how++) {
    uint32_t ended = chain(world, KVI_POLICY_NONE, 3), other = chain(world, KVI_POLICY_NONE, 1), behind = 0;

    wait_at(world, 1, ended, 3, KVI_WAIT_TOOL, 0, 0);
    wait_at(world, 2, other, 1, KVI_WAIT_TOOL, 0, 0);
    if (how == 2)
      behind = chain(world, ended, 1);
    else
      ops->hold(world->policy, ended);
    ops->close(world->policy, 1, world->now);
    if (how == 2)
      (void)ops->remove(world->policy, behind);
    else
      ops->unhold(world->policy, ended);
    if (how == 1) { /* used again: not any more */
      ops->hold(world->policy, ended);
      ops->close(world->policy, 1, world->now);
      ops->touch(world->policy, ended, world->now + 1000 * SECOND);
      ops->unhold(world->policy, ended);
    }
    world->now += 1000 * SECOND;
    assert_int_equal(evict(world), how == 1 ? other : ended);
    while (evict(world) != KVI_POLICY_NONE)
      ;
    ops->close(world->policy, 2, world->now);
  }
}

/* Fresh chunks of many requests do not hide what was left behind. */
static void fresh_hide_nothing(void **state)
{
  struct world *world = *state;
  uint32_t ended = chain(world, KVI_POLICY_NONE, 3);

  wait_at(world, 2, ended, 3, KVI_WAIT_TOOL, 0, 0);
  ops->close(world->policy, 2, world->now);
  for (uint32_t i = 0; i < 500; i++)
    chain(world, KVI_POLICY_NONE, 2);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(evict(world), ended - i);
}

/* A request that stores its prompt bit by bit is one that waits at its end, by name or without. */
static void stored_bit_by_bit(void **state)
{
  struct world *world = *state;

  for (uint64_t program = 0; program < 2; program++) {
    uint32_t last = store(world, program, 40), other = chain(world, KVI_POLICY_NONE, 30);

    wait_at(world, 7, other, 30, KVI_WAIT_UNKNOWN, 0, 0);
    world->now += 5 * SECOND; /* nothing is spared any more */
    for (uint32_t i = 0; i < 30; i++)
      assert_int_equal(evict(world), other - i);
    while (evict(world) != last - 39)
      ;
    ops->close(world->policy, 7, world->now);
  }
}

/* What is behind a hole is nobody's, until the hole is filled. */
static void behind_a_hole(void **state)
{
  struct world *world = *state;
  uint32_t first = chain(world, KVI_POLICY_NONE, 1), missing = world->fresh++, last, other;

  last = chain(world, missing, 3);
  extend_at(world, 0, last, 5);
  other = chain(world, KVI_POLICY_NONE, 1);
  wait_at(world, 7, other, 1, KVI_WAIT_TOOL, 0, 0);
  world->now += 5 * SECOND;
  assert_int_not_equal(ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), other);
  ops->insert(world->policy, missing, TESTING_CHUNK(first), world->now);
  extend_at(world, 0, last, 5);
  assert_int_equal(evict(world), other);
}

/* An engine looks a prompt up at each step until it is scheduled: that is one request, and says nothing of how soon somebody returns. */
static void looked_up_often(void **state)
{
  struct world *world = *state;
  uint32_t often = chain(world, KVI_POLICY_NONE, 30), once = chain(world, KVI_POLICY_NONE, 31);

  for (uint32_t round = 0; round < 100; round++, world->now += 1000 * SECOND)
    for (uint32_t i = 0; i < 20; i++, world->now += SECOND / 100)
      arrive_at(world, 0, often, 30);
  arrive_at(world, 9, once, 31); /* of a program: from one request to its next, of which nothing is known */
  arrive_at(world, 0, often, 30);
  world->now += SECOND / 10;
  assert_int_equal(evict(world), often); /* 20 of 21 would have been back by now */
}

/* And while it waits for its turn, minutes perhaps, it is asked for again and again: what it waited for before is not over more often than once. */
static void asked_for_again(void **state)
{
  struct world *world = *state;
  uint32_t often = chain(world, KVI_POLICY_NONE, 30), once = chain(world, KVI_POLICY_NONE, 31);

  for (uint32_t round = 0; round < 100; round++, world->now += 1000 * SECOND)
    for (uint32_t i = 0; i < 20; i++, world->now += 15 * SECOND)
      arrive_at(world, 0, often, 30);
  arrive_at(world, 9, once, 31);
  arrive_at(world, 0, often, 30);
  world->now += 10 * SECOND;
  assert_int_equal(evict(world), often); /* 20 of 21 would have been back in 5 s */
}

/* A client that looks nothing up, and puts more each time: it is back by that. */
static void puts_alone(void **state)
{
  struct world *world = *state;
  struct kvi_policy_waiter waiter;
  uint32_t end = KVI_POLICY_NONE;

  for (uint32_t i = 0; i < 5; i++, world->now += 300 * SECOND) {
    end = chain(world, end, 1);
    extend_at(world, 0, end, i + 1);
  }
  assert_int_equal(ops->waiters(world->policy), 1);
  assert_true(ops->waiter(world->policy, 0, &waiter, world->now));
  assert_int_equal(waiter.last, end);
  assert_true(waiter.waits_s == 300);
}

/* A request may wait for long until it has its turn and stores what is missing: nobody is back by that. */
static void stored_late(void **state)
{
  struct world *world = *state;
  struct kvi_policy_use use = {.program = 5, .last = KVI_POLICY_NONE, .n_whole = 10};
  struct kvi_policy_waiter waiter;

  ops->arrive(world->policy, &use, world->now);
  world->now += 300 * SECOND;
  extend_at(world, 5, chain(world, KVI_POLICY_NONE, 5), 5);
  assert_true(ops->waiter(world->policy, 0, &waiter, world->now));
  assert_true(waiter.waits_s == 300 && waiter.n_chunks == 5 && waiter.n_whole == 10);
}

/* A program on many ranks has a chain in each of their spaces; what it says without chunks is of all of them. */
static void many_spaces(void **state)
{
  struct world *world = *state;
  struct kvi_policy_waiter waiter;
  uint32_t n = 0;

  for (uint32_t turn = 0; turn < 2; turn++, world->now += 10 * SECOND) {
    for (uint32_t space = 0; space < 40; space++) {
      uint32_t last = turn == 0 ? chain(world, KVI_POLICY_NONE, 5) : 5 * space + 4;
      struct kvi_policy_use use = {.program = 5, .last = last, .n_chunks = 5, .n_whole = 5, .space = space};

      ops->arrive(world->policy, &use, world->now);
    }
    assert_true(answered(world, 5, KVI_POLICY_NONE, 0, KVI_WAIT_TOOL));
  }
  for (uint32_t i = 0; i < ops->waiters(world->policy); i++)
    if (ops->waiter(world->policy, i, &waiter, world->now)) {
      assert_true(waiter.answered && waiter.kind == KVI_WAIT_TOOL && waiter.n_chunks == 5);
      n++;
    }
  assert_int_equal(n, 40);
}

/* Who claims a longer chain than there is, or larger chunks, gains nothing. */
static void claims(void **state)
{
  struct world *world = *state;
  uint32_t honest = chain(world, KVI_POLICY_NONE, 8), liar = chain(world, KVI_POLICY_NONE, 2);
  struct kvi_policy_use use = {
      .program = 1, .last = liar, .n_chunks = 4000000000u, .n_whole = 4000000000u, .chunk_tokens = 256};

  ops->arrive(world->policy, &use, world->now);
  wait_at(world, 2, honest, 8, KVI_WAIT_UNKNOWN, 0, 0);
  world->now += SECOND;
  arrive_at(world, 2, honest, 8);
  assert_int_equal(evict(world), liar);
}

/* It came without a name, and has one when it is answered; from then on it is that program's. */
static void named_when_answered(void **state)
{
  struct world *world = *state;
  uint32_t human, tool;

  tools_and_people(world);
  human = store(world, 0, 30);
  tool = store(world, 0, 10);
  assert_true(answered(world, 5, human, 30, KVI_WAIT_HUMAN));
  assert_true(answered(world, 6, tool, 10, KVI_WAIT_TOOL));
  assert_false(answered(world, 8, KVI_POLICY_NONE, 0, KVI_WAIT_TOOL)); /* nobody knows it */
  world->now += 10 * SECOND;
  for (uint32_t i = 0; i < 30; i++)
    assert_int_equal(evict(world), human - i);
  ops->close(world->policy, 6, world->now);
  assert_int_equal(evict(world), tool);
}

/* Of a program a little is left; it is back without its name, and has it when it is answered. Nothing is left behind twice. */
static void back_to_little(void **state)
{
  struct world *world = *state;

  for (uint32_t others = 0; others < 2; others++) {
    uint32_t start, last, n = 0;
    struct kvi_policy_use use = {.n_chunks = 3, .n_whole = 20};
    struct kvi_policy_waiter waiter;

    last = store(world, 0, 20);
    start = last - 17;
    assert_true(answered(world, 5, last, 20, KVI_WAIT_TOOL));
    if (others) /* somebody else waits where the rest of it ends */
      wait_at(world, 6, start, 3, KVI_WAIT_HUMAN, 0, 0);
    for (uint32_t i = 0; i < 17; i++)
      (void)ops->remove(world->policy, last - i);
    world->now += 30 * SECOND;
    use.last = start;
    ops->arrive(world->policy, &use, world->now);
    last = chain(world, start, 17);
    extend_at(world, 0, last, 20);
    assert_true(answered(world, 5, last, 20, KVI_WAIT_TOOL));
    for (uint32_t i = 0; i < ops->waiters(world->policy); i++)
      if (ops->waiter(world->policy, i, &waiter, world->now)) {
        assert_int_equal(waiter.last, waiter.program == 6 ? start : last);
        n++;
      }
    assert_int_equal(n, 1 + others);
    ops->close(world->policy, 5, world->now);
    ops->close(world->policy, 6, world->now);
  }
}

/* What a client says of its program, without chunks, is of the branch that it used last. */
static void answered_without_chunks(void **state)
{
  struct world *world = *state;
  uint32_t human, tool;

  tools_and_people(world);
  tool = store(world, 5, 10);
  assert_true(answered(world, 5, KVI_POLICY_NONE, 0, KVI_WAIT_TOOL));
  human = store(world, 5, 30);
  assert_true(answered(world, 5, KVI_POLICY_NONE, 0, KVI_WAIT_HUMAN));
  world->now += 10 * SECOND;
  assert_int_equal(evict(world), human);
  assert_int_not_equal(evict(world), tool);
}

/* All chunks of a program have gone; it comes again, and nothing of it is there: it is back, and that is learned. */
static void back_to_nothing(void **state)
{
  struct world *world = *state;
  struct kvi_policy_use use = {.program = 7, .last = KVI_POLICY_NONE, .n_whole = 2};
  uint32_t human, tool;

  learn(world, 1, KVI_WAIT_TOOL, 600, 300, 0, 0);
  for (uint32_t i = 0; i < 300; i++) {
    uint32_t last = store(world, 7, 2);

    assert_true(answered(world, 7, last, 2, KVI_WAIT_HUMAN));
    world->now += SECOND / 2;
    assert_int_equal(evict(world), last);
    assert_int_equal(evict(world), last - 1);
    ops->arrive(world->policy, &use, world->now);
    world->now += 5 * SECOND;
  }
  tool = chain(world, KVI_POLICY_NONE, 30);
  human = chain(world, KVI_POLICY_NONE, 10);
  wait_at(world, 3, human, 10, KVI_WAIT_HUMAN, 0, 0);
  wait_at(world, 4, tool, 30, KVI_WAIT_TOOL, 0, 0);
  world->now += SECOND / 4;
  assert_int_equal(evict(world), tool); /* though it is the longer one: people are back at once */
}

/* It has said that it ends. What is stored of its request after that, and was declined a moment before, does not make it come again. */
static void stored_after_its_end(void **state)
{
  struct world *world = *state;
  uint32_t last = chain(world, KVI_POLICY_NONE, 4);
  struct kvi_policy_use use = {.program = 1, .last = last, .n_chunks = 4, .n_whole = 5};
  const struct kvi_policy_wait end = {.program = 1, .last = last, .n_chunks = 4, .kind = KVI_WAIT_END};
  struct kvi_policy_waiter before, after;

  ops->arrive(world->policy, &use, world->now);
  assert_true(ops->wait(world->policy, &end, world->now));
  assert_true(ops->waiter(world->policy, 0, &before, world->now));
  use = (struct kvi_policy_use){
      .program = 1, .last = chain(world, last, 1), .n_chunks = 5, .n_whole = 5, .again_s = 2};
  ops->extend(world->policy, &use, world->now);
  assert_true(ops->waiter(world->policy, 0, &after, world->now));
  assert_int_equal(after.n_chunks, 5);
  assert_true(after.price < 1.1 * before.price);
}

/* Many chunks' bytes: of two chains that are worth the same the one goes that takes more room. */
static void by_bytes(void **state)
{
  struct world *world = *state;
  uint32_t large = chain(world, KVI_POLICY_NONE, 12), small = chain(world, KVI_POLICY_NONE, 10);
  struct kvi_policy_use use = {
      .program = 1, .last = large, .n_chunks = 12, .n_whole = 12, .chunk_bytes = 2000000};

  ops->arrive(world->policy, &use, world->now);
  use = (struct kvi_policy_use){
      .program = 2, .last = small, .n_chunks = 10, .n_whole = 10, .chunk_bytes = 1000000};
  ops->arrive(world->policy, &use, world->now);
  world->now += 5 * SECOND;
  assert_int_equal(evict(world), large);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(said_nothing_of, setup, teardown),
      cmocka_unit_test_setup_teardown(left_and_read, setup, teardown),
      cmocka_unit_test_setup_teardown(ended_while_held, setup, teardown),
      cmocka_unit_test_setup_teardown(fresh_hide_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(stored_bit_by_bit, setup, teardown),
      cmocka_unit_test_setup_teardown(behind_a_hole, setup, teardown),
      cmocka_unit_test_setup_teardown(looked_up_often, setup, teardown),
      cmocka_unit_test_setup_teardown(asked_for_again, setup, teardown),
      cmocka_unit_test_setup_teardown(puts_alone, setup, teardown),
      cmocka_unit_test_setup_teardown(stored_late, setup, teardown),
      cmocka_unit_test_setup_teardown(many_spaces, setup, teardown),
      cmocka_unit_test_setup_teardown(claims, setup, teardown),
      cmocka_unit_test_setup_teardown(named_when_answered, setup, teardown),
      cmocka_unit_test_setup_teardown(answered_without_chunks, setup, teardown),
      cmocka_unit_test_setup_teardown(back_to_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(back_to_little, setup, teardown),
      cmocka_unit_test_setup_teardown(stored_after_its_end, setup, teardown),
      cmocka_unit_test_setup_teardown(by_bytes, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
