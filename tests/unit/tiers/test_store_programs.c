/* A store under the policy "index": what hints and look-ups do to what stays, by a clock that the test turns. */
#include "store_testing.h"

#include <math.h>
#include <stdio.h>

#include "chains_testing.h"
#include "tiers/policy/continuum.h"
#include "tiers/policy/prefill.h"
#include "tiers/store_private.h"

#define ROOM 40u /* chunks */

static const struct kvi_tenant_config tenants[] = {{.name = TENANT}, {.name = LOUD}};

/* The medium may be NULL. */
static struct world *world_under(const char *policy, struct memory_medium *medium)
{
  const struct kvi_store_config config = {.dram_bytes = (uint64_t)ROOM * PAGE,
                                          .dram_page_bytes = PAGE,
                                          .max_chunks = 1024,
                                          .policy = policy,
                                          .tenants = tenants,
                                          .n_tenants = 2,
                                          .dram_high_mark = 90,
                                          .dram_low_mark = 70};

  return world_new(config, medium);
}

static int setup(void **state)
{
  *state = world_under("index", NULL);
  return 0;
}

static int setup_below(void **state)
{
  *state = world_under("index", memory_medium_create(false));
  return 0;
}

/* How long its tool takes is known, from a program that has ended. */
static void learn_tool(struct world *world, const char *program, uint32_t chain, const char *tool,
                       uint64_t seconds)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = tool}, ends = {.close = true};

  learn(world, program, chain, &waits, seconds);
  say(world, program, 0, 0, &ends);
}

/* The one who waits. */
static struct kvi_policy_waiter the_waiter(struct world *world)
{
  struct kvi_waiter_info info;

  assert_int_equal(kvi_store_waiters(world->store, world->tenant, &(uint64_t){0}, &info, 1), 1);
  return info.waiter;
}

/* Two agents wait for tools; a third prompt needs room. Who is back soon stays, also if it was there first, and loses nothing. */
static void by_tool(void **state)
{
  const struct kvi_program_hint quick = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"},
                                slow = {.wait_kind = KVI_WAIT_TOOL, .tool = "pytest"};
  struct world *world = *state;

  learn_tool(world, "one", 1, "grep", 2);
  learn_tool(world, "two", 2, "pytest", 1000);
  assert_int_equal(prompt(world, 3, 15), 0);
  say(world, "three", 3, 15, &quick);
  assert_int_equal(prompt(world, 4, 20), 0);
  say(world, "four", 4, 20, &slow);
  world->now += SECOND / 2;
  assert_int_equal(prompt(world, 5, 10), 0);
  assert_int_equal(there(world, 3), 15);
  assert_int_equal(there(world, 4), 15); /* from its end on */
  assert_int_equal(there(world, 5), 10);
}

/* What has ended goes first, all of it, though it was used last. */
static void ended(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_HUMAN}, ends = {.close = true};
  struct world *world = *state;

  prompt(world, 3, 15);
  say(world, "three", 3, 15, &waits);
  world->now += 3600 * SECOND;
  prompt(world, 4, 20);
  say(world, "four", 4, 20, &waits);
  say(world, "four", 0, 0, &ends);
  prompt(world, 5, 25);
  assert_int_equal(there(world, 3), 15);
  assert_int_equal(there(world, 4), 0);
  assert_int_equal(there(world, 5), 25);
}

/* A program is told of before it is answered: the chunks are its own from then on, and a hint without any is of them. */
static void named_first(void **state)
{
  const struct kvi_program_hint uses = {.turn = 1}, ends = {.wait_kind = KVI_WAIT_END};
  struct world *world = *state;

  prompt(world, 3, 15);
  say(world, "three", 3, 15, &uses);
  prompt(world, 4, 20);
  say(world, "three", 0, 0, &ends);
  prompt(world, 5, 20);
  assert_int_equal(there(world, 3), 0);
  assert_int_equal(there(world, 4), 20);
}

/* A program of which nothing is left comes without its name; it is back, and there once. */
static void back_to_nothing(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL};
  struct kvi_waiter_info infos[8];
  struct world *world = *state;
  uint64_t cursor = 0;

  for (uint32_t turn = 0; turn < 4; turn++, world->now += 100 * SECOND) {
    prompt(world, 3, 5);
    say(world, "three", 3, 5, &waits);
    kvi_store_evict(world->store, TENANT, NULL, UINT64_MAX, &(uint64_t){0}, &(uint64_t){0});
    assert_int_equal(there(world, 3), 0);
  }
  assert_int_equal(kvi_store_waiters(world->store, TENANT, &cursor, infos, 8), 1);
}

/* As vLLM's tier does: chunks of a chain are looked up one by one. Their program is back by that. */
static void looked_up_singly(void **state)
{
  struct kvi_policy_waiter waiter;
  struct world *world = *state;
  uint8_t keys[5 * KEY_BYTES];
  const uint8_t *space = world->space;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = 5,
                                   .unchained = true};
  struct kvi_store_lookup_result result = {0};

  prompt(world, 3, 5);
  world->now += 100 * SECOND;
  for (uint32_t i = 0; i < 5; i++)
    key_of(3, i, keys + (size_t)i * KEY_BYTES);
  assert_int_equal(kvi_store_lookup(world->store, &query, &result), KVS_OK);
  waiter = the_waiter(world);
  assert_true(waiter.waits_s < 1 && waiter.n_chunks == 5);
}

/* What is announced is the time with as many returns before it as after it; of who says only when nine in ten are back, that. */
static void announced(void **state)
{
  static const struct {
    uint32_t p50_ms, p90_ms;
    enum kvi_hint_outcome outcome;
    double announced_s;
  } said[] = {{9000, 0, KVI_HINT_ACCEPTED, 9},
              {9000, 20000, KVI_HINT_ACCEPTED, 9},
              {0, 20000, KVI_HINT_ACCEPTED, 20},
              {9000, 2000000000, KVI_HINT_CLIPPED, 9},
              {0, 2000000000, KVI_HINT_CLIPPED, 1e6},
              {0, 1000000000, KVI_HINT_ACCEPTED, 1e6},
              {2000000000, 2000000000, KVI_HINT_CLIPPED, 1e6}};
  struct world *world = *state;

  prompt(world, 3, 5);
  for (uint32_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    const struct kvi_program_hint waits = {.return_p50_ms = said[i].p50_ms, .return_p90_ms = said[i].p90_ms};

    assert_int_equal(hint(world, "three", 3, 5, &waits), said[i].outcome);
    assert_true(the_waiter(world).answered);
    assert_true(fabs(the_waiter(world).announced_s - said[i].announced_s) < 1e-3);
  }
}

static void answers(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL},
                                long_wait = {.wait_kind = KVI_WAIT_TOOL, .return_p50_ms = 1000000001};
  struct world *world = *state;

  assert_int_equal(hint(world, "nobody", 0, 0, &waits), KVI_HINT_DEFERRED);
  assert_int_equal(hint(world, "nobody", 7, 3, &waits), KVI_HINT_MISSING);
  prompt(world, 3, 5);
  say(world, "three", 3, 5, &waits);
  assert_int_equal(hint(world, "three", 3, 5, &long_wait), KVI_HINT_CLIPPED);
  say(world, "three", 0, 0, &waits);
}

/* A time to live and a priority are worth something, not everything. */
static void told_to_stay(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"},
                                keep = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep", .ttl_ms = 60000},
                                dear = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep", .priority = 100};
  struct world *world = *state;

  learn_tool(world, "one", 1, "grep", 2);
  for (uint32_t i = 0; i < 2; i++) {
    uint32_t stays = 10 + 10 * i;

    prompt(world, stays, 14);
    say(world, "stays", stays, 14, i == 0 ? &keep : &dear);
    prompt(world, stays + 1, 15);
    say(world, "goes", stays + 1, 15, &waits);
    world->now += i == 0 ? 30 * SECOND : SECOND;
    prompt(world, stays + 2, 20);
    assert_int_equal(there(world, stays), 14);
    assert_int_equal(there(world, stays + 1), 6);
    world->now += 100000 * SECOND;
    prompt(world, stays + 3, 30); /* and in the end it goes like any other */
    assert_int_not_equal(there(world, stays), 14);
  }
}

/* A priority stays until another is said, in the same wait too; 0 is one, if it is said, and the least. */
static void priorities_are_said(void **state)
{
  static const struct kvi_program_hint said[] = {
      {.wait_kind = KVI_WAIT_TOOL, .priority = 50, .has_priority = true},
      {.wait_kind = KVI_WAIT_TOOL, .priority = 100},
      {.wait_kind = KVI_WAIT_TOOL},
      {.priority = 0, .has_priority = true},
      {.wait_kind = KVI_WAIT_TOOL},
      {.wait_kind = KVI_WAIT_TOOL, .priority = 75}};
  static const double times[] = {1, 4, 4, 0.25, 0.25, 2};
  struct world *world = *state;
  double once = 0;

  prompt(world, 3, 5);
  for (uint32_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    say(world, "three", 3, 5, &said[i]);
    say(world, "three", 3, 5, &(struct kvi_program_hint){.wait_kind = KVI_WAIT_TOOL});
    once = i == 0 ? the_waiter(world).price : once;
    assert_true(fabs(the_waiter(world).price / once - times[i]) < 1e-3);
  }
}

/* Of tokens, in chunks of 256; a hint without keys has each branch count its own. */
static void ranges_are_of_tokens(void **state)
{
  static const struct {
    uint32_t range_tokens, keys;
    double times;
  } said[] = {{0, 5, 4}, {1024, 5, 1}, {1025, 5, 4}, {1024, 0, 1}, {1025, 0, 4}};
  const struct kvi_program_hint plain = {.wait_kind = KVI_WAIT_TOOL, .priority = 50};
  struct world *world = *state;
  double once;

  prompt(world, 3, 5);
  say(world, "three", 3, 5, &plain);
  once = the_waiter(world).price;
  for (uint32_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    const struct kvi_program_hint ranged = {
        .wait_kind = KVI_WAIT_TOOL, .priority = 100, .range_tokens = said[i].range_tokens};

    say(world, "three", said[i].keys > 0 ? 3 : 0, said[i].keys, &ranged);
    assert_true(fabs(the_waiter(world).price / once - said[i].times) < 1e-3);
  }
}

/* One tenant pins all that it puts, and is back for it each second; the other one's chunks, of people who are slow, stay: it has less than its share. */
static void a_loud_one_beside(void **state)
{
  const struct kvi_program_hint slow = {.wait_kind = KVI_WAIT_HUMAN}, pinned = {.wait_kind = KVI_WAIT_TOOL,
                                                                                .ttl_ms = 1000,
                                                                                .priority = 100,
                                                                                .return_p50_ms = 1000};
  struct world *world = *state;
  uint32_t has = 0;

  prompt(world, 3, 12);
  say(world, "three", 3, 12, &slow);
  world->tenant = LOUD;
  for (uint32_t i = 0; i < 400; i++, world->now += SECOND / 8) {
    char name[32];

    snprintf(name, sizeof(name), "loud %u", i % 8);
    prompt(world, 100 + i % 8, 5);
    say(world, name, 100 + i % 8, 5, &pinned);
  }
  for (uint32_t i = 0; i < 8; i++)
    has += there(world, 100 + i);
  assert_true(has > 2 * ROOM / 3 - 3); /* all that the other leaves, which is twice its share */
  world->tenant = TENANT;
  assert_int_equal(there(world, 3), 12);
}

/* By use of chains and by hints; what is there of a chain is what a prompt finds, and room is all that bounds it. */
static void with_each_policy(void **state)
{
  const struct kvi_program_hint uses = {.turn = 1}, waits = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"},
                                ends = {.close = true};
  kvi_rand rand;

  (void)state;
  for (size_t i = 0; kvi_policy_at(i); i++) {
    struct world *world = world_under(kvi_policy_at(i)->name, NULL);

    kvi_rand_seed(&rand, i);
    for (uint32_t step = 0; step < 400; step++, world->now += SECOND / 2) {
      uint32_t chain = (uint32_t)kvi_rand_below(&rand, 8), n = 1 + (uint32_t)kvi_rand_below(&rand, 15);
      uint32_t has = there(world, chain), all = 0;
      uint64_t what = kvi_rand_below(&rand, 8);
      char name[32];

      snprintf(name, sizeof(name), "program %u", chain);
      assert_int_equal(prompt(world, chain, n), has < n ? has : n);
      if (what < 6 && there(world, chain) > 0)
        say(world, name, chain, there(world, chain), what < 3 ? &uses : &waits);
      else
        (void)hint(world, name, 0, 0, what == 6 ? &waits : &ends);
      for (uint32_t k = 0; k < 8; k++)
        all += there(world, k);
      assert_true(all <= ROOM && all > 0);
    }
    world_end(world);
  }
}

/* Of two prompts the older one's program has been answered within the last two seconds, or earlier. */
static void pinned_for_two_seconds(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL};

  (void)state;
  for (uint64_t away_s = 1; away_s <= 3; away_s += 2) {
    struct world *world = world_under("fixed-ttl", NULL);

    prompt(world, 3, 15);
    say(world, "three", 3, 15, &waits);
    world->now += SECOND / 2;
    prompt(world, 4, 20);
    world->now += (away_s - 1) * SECOND;
    prompt(world, 4, 20);
    prompt(world, 5, 15);
    assert_int_equal(there(world, 3) == 15, away_s == 1);
    assert_int_equal(there(world, 4) == 20, away_s == 3);
    world_end(world);
  }
}

/* Clients that look up, put, and say at the answer what they wait for: no more is needed to learn how long a tool takes. Who waits for the quick one is pinned while it runs, so of two prompts the one that was used later goes. */
static void continuum_learns_from_answers(void **state)
{
  static const struct kvi_program_hint waits[] = {{.wait_kind = KVI_WAIT_TOOL, .tool = "grep"},
                                                  {.wait_kind = KVI_WAIT_TOOL, .tool = "pytest"}};

  (void)state;
  for (uint32_t tool = 0; tool < 2; tool++) {
    struct world *world = world_under("continuum", NULL);

    for (uint32_t i = 0; i < 2 * KVI_CONTINUUM_COLD + 10; i++) {
      prompt(world, 1, 1 + i / 100);
      say(world, "one", 1, 1 + i / 100, &waits[i % 2]);
      world->now += i % 2 ? 100 * SECOND : SECOND / 1000;
    }
    prompt(world, 3, 15);
    say(world, "three", 3, 15, &waits[tool]);
    world->now += SECOND / 10000;
    prompt(world, 4, 20);
    prompt(world, 5, 15);
    assert_int_equal(there(world, 3) == 15, tool == 0);
    assert_int_equal(there(world, 4) == 20, tool == 1);
    world_end(world);
  }
}

/* A chunk for each page is put and used, but for the last one; how many more are put until the first is gone? If `often`, its request asks for it again and again, and gets it, all within a second. */
static uint32_t stays_for(const char *policy, bool often)
{
  struct world *world = world_under(policy, NULL);
  uint32_t n = 0;

  for (uint32_t i = 0; i < ROOM; i++)
    prompt(world, i, 1);
  world->now += 2 * SECOND;
  for (uint32_t i = 0; i < ROOM - 1; i++)
    assert_int_equal(prompt(world, i, 1), 1);
  for (; there(world, 0) > 0 && n < 10 * ROOM; n++) {
    world->now += n == 0 ? SECOND / 2 : 0;
    for (uint32_t i = 0; often && n < 3 && i < 3; i++) {
      assert_int_equal(prompt(world, 0, 1), 1);
      assert_int_equal(get_chunk(world, 0, 0), KVS_OK);
    }
    prompt(world, ROOM + n, 1);
  }
  world_end(world);
  return n;
}

/* However a client asks, a request is one use. */
static void a_request_counts_once(void **state)
{
  static const char *const policies[] = {"lru", "lfu", "gdsf", "s3fifo"};

  (void)state;
  for (size_t i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
    uint32_t once = stays_for(policies[i], false), often = stays_for(policies[i], true);

    assert_true(once > 0 && once < 10 * ROOM);
    if (i == 0)
      assert_true(often > once); /* that goes by the time of the last one */
    else
      assert_int_equal(often, once);
  }
}

/* Bytes say little of what a model takes to compute; who has measured it is believed, up to 64 times what they say. */
static void costs_are_measured(void **state)
{
  static const double us[] = {0.1, 0.6, 1, 5, 1e6}; /* a token */
  const struct kvi_policy_use use = {.cost = (float)CHUNK / 256 / 327680};
  double by_bytes;

  prompt(*state, 1, 8);
  by_bytes = the_waiter(*state).value_s;
  assert_true(fabs(by_bytes / ((double)use.cost * kvi_prefill_s(256, 7, 8)) - 1) < 1e-3);
  for (uint32_t i = 0; i < sizeof(us) / sizeof(*us); i++) {
    struct world *world = *state;
    struct kvi_compute_measured measured = {.tokens = 100000, .us = (uint64_t)(us[i] * 100000)};
    double expected = us[i] / 1e6 * 256 * (1 + KVI_PREFILL_BETA / KVI_PREFILL_ALPHA * 256 * 15) /
                      (1 + KVI_PREFILL_BETA / KVI_PREFILL_ALPHA * 100000);

    expected = fmax(fmin(expected, 64 * by_bytes), by_bytes / 64);
    for (uint32_t n = 0; n < KVI_COMPUTE_KEPT; n++)
      (void)kvi_store_computed(world->store, world->tenant, world->space, &measured);
    world->now += 100 * SECOND;
    prompt(world, 1, 8);
    assert_true(fabs(the_waiter(world).value_s / expected - 1) < 1e-3);
  }
}

/* What four ranks compute together, and each has a part of, is counted once. */
static void costs_are_of_all_ranks(void **state)
{
  const struct kvi_compute_measured measured = {.tokens = 100000, .us = 12000};
  struct world *world = *state;
  kvs_space_desc desc = testing_space("ranks", KEY_BYTES);
  double values[2];

  for (uint32_t i = 0; i < 2; i++) {
    desc.tp_size = i == 0 ? 1 : 4;
    testing_space_open(world->store, i == 0 ? TENANT : LOUD, &desc, world->space);
    world->tenant = i == 0 ? TENANT : LOUD;
    for (uint32_t n = 0; n < KVI_COMPUTE_LEAST; n++)
      assert_int_equal(kvi_store_computed(world->store, world->tenant, world->space, &measured),
                       KVI_HINT_ACCEPTED);
    prompt(world, 1, 8);
    values[i] = the_waiter(world).value_s;
  }
  assert_true(fabs(values[0] / values[1] / 4 - 1) < 1e-3);
}

/* Over a medium nothing is lost, and who is soon back stays in memory, though used before. Who has ended leaves it before all others. */
static void out_of_memory(void **state)
{
  const struct kvi_program_hint quick = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"},
                                slow = {.wait_kind = KVI_WAIT_TOOL, .tool = "pytest"}, ends = {.close = true};
  struct world *world = *state;

  learn_tool(world, "one", 1, "grep", 2);
  learn_tool(world, "two", 2, "pytest", 1000);
  prompt(world, 3, 6);
  say(world, "three", 3, 6, &quick);
  prompt(world, 4, 6);
  say(world, "four", 4, 6, &slow);
  prompt(world, 5, 6);
  say(world, "five", 5, 6, &quick);
  say(world, "five", 0, 0, &ends);
  memory_settle(world->medium); /* all of it is on the medium, too */
  world->now += SECOND / 2;
  for (uint32_t i = 0; i < 4; i++) {
    prompt(world, 6 + i, 7);
    memory_settle(world->medium);
  }
  assert_int_equal(there(world, 3) + there(world, 4) + there(world, 5), 18);
  AWAIT(in_memory(world, 5) == 0);
  AWAIT(in_memory(world, 4) < 6);
  assert_int_equal(in_memory(world, 3), 6);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(by_tool, setup, world_teardown),
      cmocka_unit_test_setup_teardown(ended, setup, world_teardown),
      cmocka_unit_test_setup_teardown(named_first, setup, world_teardown),
      cmocka_unit_test_setup_teardown(back_to_nothing, setup, world_teardown),
      cmocka_unit_test_setup_teardown(looked_up_singly, setup, world_teardown),
      cmocka_unit_test_setup_teardown(announced, setup, world_teardown),
      cmocka_unit_test_setup_teardown(answers, setup, world_teardown),
      cmocka_unit_test_setup_teardown(told_to_stay, setup, world_teardown),
      cmocka_unit_test_setup_teardown(priorities_are_said, setup, world_teardown),
      cmocka_unit_test_setup_teardown(ranges_are_of_tokens, setup, world_teardown),
      cmocka_unit_test_setup_teardown(a_loud_one_beside, setup, world_teardown),
      cmocka_unit_test(with_each_policy),
      cmocka_unit_test(pinned_for_two_seconds),
      cmocka_unit_test(continuum_learns_from_answers),
      cmocka_unit_test(a_request_counts_once),
      cmocka_unit_test_setup_teardown(costs_are_measured, setup, world_teardown),
      cmocka_unit_test_setup_teardown(costs_are_of_all_ranks, setup, world_teardown),
      cmocka_unit_test_setup_teardown(out_of_memory, setup_below, world_teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
