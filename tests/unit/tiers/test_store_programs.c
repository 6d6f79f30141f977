/* A store under the policy "index": what hints and look-ups do to what stays, by a clock that the test turns. */
#include "store_testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/hint.h"
#include "tiers/policy/continuum.h"
#include "tiers/policy/prefill.h"
#include "tiers/store_private.h"
#include "tiers/why.h"

#define SECOND KVI_NS_PER_S
#define ROOM   40u /* chunks */
#define LOUD   "loud"

struct world {
  struct kvi_store *store;
  struct memory_medium *medium; /* NULL: none */
  const char *tenant;           /* who does what is done */
  uint8_t space[KVS_DIGEST_SIZE];
  uint64_t now;
};

static uint64_t clock_of(void *ctx)
{
  return ((const struct world *)ctx)->now;
}

static const struct kvi_tenant_config tenants[] = {{.name = TENANT}, {.name = LOUD}};

static struct world *world_new(const char *policy, struct memory_medium *medium)
{
  struct world *world = calloc(1, sizeof(*world));
  struct kvi_store_config config = {.dram_bytes = (uint64_t)ROOM * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .max_chunks = 1024,
                                    .policy = policy,
                                    .tenants = tenants,
                                    .n_tenants = 2,
                                    .policy_clock = clock_of,
                                    .policy_clock_ctx = world,
                                    .medium = medium ? &medium->medium : NULL,
                                    .dram_high_mark = 90,
                                    .dram_low_mark = 70};
  kvs_space_desc desc = testing_space("programs", KEY_BYTES);

  world->now = 1000 * SECOND;
  assert_int_equal(kvi_store_open(&config, &world->store), KVS_OK);
  testing_space_open(world->store, TENANT, &desc, world->space);
  testing_space_open(world->store, LOUD, &desc, world->space);
  world->tenant = TENANT;
  world->medium = medium;
  return world;
}

static void world_end(struct world *world)
{
  kvi_store_close(world->store);
  free(world);
}

static int setup(void **state)
{
  *state = world_new("index", NULL);
  return 0;
}

static int setup_below(void **state)
{
  *state = world_new("index", memory_medium_create(false));
  return 0;
}

static int teardown(void **state)
{
  world_end(*state);
  return 0;
}

static void key_of(uint32_t chain, uint32_t place, uint8_t *key)
{
  testing_key(1000 * chain + place, key, KEY_BYTES);
}

/* As an engine does: the prompt of n chunks is looked up, and what is missing of it is put. Returns the hits. */
static uint32_t prompt(struct world *world, uint32_t chain, uint32_t n)
{
  uint8_t keys[ROOM * KEY_BYTES];
  const uint8_t *space = world->space;
  struct kvi_store_lookup query = {.tenant = world->tenant,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n};
  struct kvi_store_lookup_result result = {0};

  for (uint32_t i = 0; i < n; i++)
    key_of(chain, i, keys + (size_t)i * KEY_BYTES);
  assert_int_equal(kvi_store_lookup(world->store, &query, &result), KVS_OK);
  for (uint32_t i = result.prefix; i < n; i++)
    assert_int_equal(testing_put(world->store, world->tenant, world->space, keys + (size_t)i * KEY_BYTES,
                                 KEY_BYTES, i > 0 ? keys + (size_t)(i - 1) * KEY_BYTES : NULL, i, CHUNK, i),
                     KVS_OK);
  return result.prefix;
}

/* Chunks of the chain that are there, from its first on, and in which tiers; nobody notices. */
static uint32_t look(struct world *world, uint32_t chain, uint8_t *tiers)
{
  uint8_t keys[ROOM * KEY_BYTES];
  const uint8_t *space = world->space;
  struct kvi_store_lookup query = {.tenant = world->tenant,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = ROOM,
                                   .peek = true};
  struct kvi_store_lookup_result result = {.tiers = tiers};

  for (uint32_t i = 0; i < ROOM; i++)
    key_of(chain, i, keys + (size_t)i * KEY_BYTES);
  assert_int_equal(kvi_store_lookup(world->store, &query, &result), KVS_OK);
  return result.prefix;
}

static uint32_t there(struct world *world, uint32_t chain)
{
  return look(world, chain, NULL);
}

static uint32_t in_memory(struct world *world, uint32_t chain)
{
  uint8_t tiers[ROOM] = {0};
  uint32_t prefix = look(world, chain, tiers), n = 0;

  for (uint32_t i = 0; i < prefix; i++)
    n += tiers[i] == KVI_TIER_DRAM;
  return n;
}

/* n 0: without chunks; else the chain's n'th is named, alone. */
static enum kvi_hint_outcome hint(struct world *world, const char *program, uint32_t chain, uint32_t n,
                                  const struct kvi_program_hint *said)
{
  struct kvi_program_hint full = *said;
  uint8_t key[KEY_BYTES];
  struct kvi_hint_keys keys = {.space = world->space, .keys = key, .key_length = KEY_BYTES, .n_keys = n > 0};

  full.tenant = world->tenant;
  full.program = program;
  full.parent = "";
  if (!full.tool)
    full.tool = "";
  if (n > 0)
    key_of(chain, n - 1, key);
  return kvi_store_hint(world->store, &full, &keys);
}

/* Its tool, and how long it takes, is known from so many calls. */
static void learn(struct world *world, const char *program, uint32_t chain, const char *tool,
                  uint64_t seconds)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = tool}, ends = {.close = true};

  for (uint32_t i = 0; i < 100; i++) {
    prompt(world, chain, 1);
    assert_int_equal(hint(world, program, chain, 1, &waits), KVI_HINT_ACCEPTED);
    world->now += seconds * SECOND;
  }
  assert_int_equal(hint(world, program, 0, 0, &ends), KVI_HINT_ACCEPTED);
}

/* Two agents wait for tools; a third prompt needs room. Who is back soon stays, also if it was there first, and loses nothing. */
static void by_tool(void **state)
{
  const struct kvi_program_hint quick = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"},
                                slow = {.wait_kind = KVI_WAIT_TOOL, .tool = "pytest"};
  struct world *world = *state;

  learn(world, "one", 1, "grep", 2);
  learn(world, "two", 2, "pytest", 1000);
  assert_int_equal(prompt(world, 3, 15), 0);
  assert_int_equal(hint(world, "three", 3, 15, &quick), KVI_HINT_ACCEPTED);
  assert_int_equal(prompt(world, 4, 20), 0);
  assert_int_equal(hint(world, "four", 4, 20, &slow), KVI_HINT_ACCEPTED);
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
  assert_int_equal(hint(world, "three", 3, 15, &waits), KVI_HINT_ACCEPTED);
  world->now += 3600 * SECOND;
  prompt(world, 4, 20);
  assert_int_equal(hint(world, "four", 4, 20, &waits), KVI_HINT_ACCEPTED);
  assert_int_equal(hint(world, "four", 0, 0, &ends), KVI_HINT_ACCEPTED);
  prompt(world, 5, 25);
  assert_int_equal(there(world, 3), 15);
  assert_int_equal(there(world, 4), 0);
  assert_int_equal(there(world, 5), 25);
}

/* rule KVI_EVICT_RULES: it is not remembered. */
static struct kvi_departure departure(struct world *world, uint32_t chain, uint32_t place)
{
  uint8_t key[KEY_BYTES];
  struct kvi_why why;

  key_of(chain, place, key);
  assert_int_equal(kvi_store_why(world->store, TENANT, world->space, NULL, key, KEY_BYTES, 0, &why), KVS_OK);
  assert_false(why.here);
  if (!why.went)
    return (struct kvi_departure){.rule = KVI_EVICT_RULES};
  assert_int_equal(why.cause, why.departure.cause);
  return why.departure;
}

/* And why it is not there any more is that it has ended, of each of its chunks; of another that had to go it is not. So in memory, and for the want of an entry; an operator's word is one. */
static void ended_is_why(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_HUMAN}, ends = {.close = true};
  struct world *world = *state;
  struct kvi_store_stats stats;
  uint32_t told = 0;

  prompt(world, 3, 15);
  assert_int_equal(hint(world, "three", 3, 15, &waits), KVI_HINT_ACCEPTED);
  prompt(world, 4, 20);
  assert_int_equal(hint(world, "four", 4, 20, &waits), KVI_HINT_ACCEPTED);
  assert_int_equal(hint(world, "four", 0, 0, &ends), KVI_HINT_ACCEPTED);
  pthread_mutex_lock(&world->store->lock);
  assert_true(kvi_store_drop_one_locked(world->store));
  pthread_mutex_unlock(&world->store->lock);
  assert_int_equal(there(world, 4), 19);
  prompt(world, 5, 30);
  assert_int_equal(there(world, 4), 0);
  assert_int_equal(there(world, 3), 10);
  for (uint32_t i = 0; i < 20; i++) {
    struct kvi_departure gone = departure(world, 4, i);

    if (gone.rule == KVI_EVICT_RULES) /* its set of eight has others, of the same instant */
      continue;
    assert_int_equal(gone.cause, KVI_MISS_CLOSED);
    assert_int_equal(gone.rule, KVI_EVICT_CLOSED);
    told++;
  }
  assert_true(told > 0);
  for (uint32_t i = 10; i < 15; i++) {
    struct kvi_departure gone = departure(world, 3, i);

    assert_true(gone.rule == KVI_EVICT_RULES ||
                (gone.rule == KVI_EVICT_ROOM && gone.cause == KVI_MISS_EVICTED));
  }
  kvi_store_stats(world->store, &stats);
  assert_int_equal(stats.evictions_by[0][KVI_EVICT_CLOSED], 20);
  assert_int_equal(stats.evictions_by[0][KVI_EVICT_ROOM], 5);
  assert_int_equal(hint(world, "three", 0, 0, &ends), KVI_HINT_ACCEPTED);
  kvi_store_evict(world->store, TENANT, NULL, 1, &(uint64_t){0}, &(uint64_t){0});
  assert_int_equal(departure(world, 3, 9).rule, KVI_EVICT_ASKED);
}

/* A program is told of before it is answered: the chunks are its own from then on, and a hint without any is of them. */
static void named_first(void **state)
{
  const struct kvi_program_hint uses = {.turn = 1}, ends = {.wait_kind = KVI_WAIT_END};
  struct world *world = *state;

  prompt(world, 3, 15);
  assert_int_equal(hint(world, "three", 3, 15, &uses), KVI_HINT_ACCEPTED);
  prompt(world, 4, 20);
  assert_int_equal(hint(world, "three", 0, 0, &ends), KVI_HINT_ACCEPTED);
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
    assert_int_equal(hint(world, "three", 3, 5, &waits), KVI_HINT_ACCEPTED);
    kvi_store_evict(world->store, TENANT, NULL, UINT64_MAX, &(uint64_t){0}, &(uint64_t){0});
    assert_int_equal(there(world, 3), 0);
  }
  assert_int_equal(kvi_store_waiters(world->store, TENANT, &cursor, infos, 8), 1);
}

/* As vLLM's tier does: chunks of a chain are looked up one by one. Their program is back by that. */
static void looked_up_singly(void **state)
{
  struct kvi_waiter_info info;
  struct world *world = *state;
  uint64_t cursor = 0;
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
  assert_int_equal(kvi_store_waiters(world->store, TENANT, &cursor, &info, 1), 1);
  assert_true(info.waiter.waits_s < 1 && info.waiter.n_chunks == 5);
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
  struct kvi_waiter_info info;
  struct world *world = *state;

  prompt(world, 3, 5);
  for (uint32_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    const struct kvi_program_hint waits = {.return_p50_ms = said[i].p50_ms, .return_p90_ms = said[i].p90_ms};
    uint64_t cursor = 0;

    assert_int_equal(hint(world, "three", 3, 5, &waits), said[i].outcome);
    assert_int_equal(kvi_store_waiters(world->store, TENANT, &cursor, &info, 1), 1);
    assert_true(info.waiter.answered);
    assert_true(fabs(info.waiter.announced_s - said[i].announced_s) < 1e-3);
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
  assert_int_equal(hint(world, "three", 3, 5, &waits), KVI_HINT_ACCEPTED);
  assert_int_equal(hint(world, "three", 3, 5, &long_wait), KVI_HINT_CLIPPED);
  assert_int_equal(hint(world, "three", 0, 0, &waits), KVI_HINT_ACCEPTED);
}

/* A time to live and a priority are worth something, not everything. */
static void told_to_stay(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"},
                                keep = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep", .ttl_ms = 60000},
                                dear = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep", .priority = 100};
  struct world *world = *state;

  learn(world, "one", 1, "grep", 2);
  for (uint32_t i = 0; i < 2; i++) {
    uint32_t stays = 10 + 10 * i;

    prompt(world, stays, 14);
    assert_int_equal(hint(world, "stays", stays, 14, i == 0 ? &keep : &dear), KVI_HINT_ACCEPTED);
    prompt(world, stays + 1, 15);
    assert_int_equal(hint(world, "goes", stays + 1, 15, &waits), KVI_HINT_ACCEPTED);
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
  struct kvi_waiter_info info;
  struct world *world = *state;
  double once = 0;

  prompt(world, 3, 5);
  for (uint32_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    uint64_t cursor = 0;

    assert_int_equal(hint(world, "three", 3, 5, &said[i]), KVI_HINT_ACCEPTED);
    assert_int_equal(hint(world, "three", 3, 5, &(struct kvi_program_hint){.wait_kind = KVI_WAIT_TOOL}),
                     KVI_HINT_ACCEPTED);
    assert_int_equal(kvi_store_waiters(world->store, TENANT, &cursor, &info, 1), 1);
    once = i == 0 ? info.waiter.price : once;
    assert_true(fabs(info.waiter.price / once - times[i]) < 1e-3);
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
  assert_int_equal(hint(world, "three", 3, 12, &slow), KVI_HINT_ACCEPTED);
  world->tenant = LOUD;
  for (uint32_t i = 0; i < 400; i++, world->now += SECOND / 8) {
    char name[32];

    snprintf(name, sizeof(name), "loud %u", i % 8);
    prompt(world, 100 + i % 8, 5);
    assert_int_equal(hint(world, name, 100 + i % 8, 5, &pinned), KVI_HINT_ACCEPTED);
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
    struct world *world = world_new(kvi_policy_at(i)->name, NULL);

    kvi_rand_seed(&rand, i);
    for (uint32_t step = 0; step < 400; step++, world->now += SECOND / 2) {
      uint32_t chain = (uint32_t)kvi_rand_below(&rand, 8), n = 1 + (uint32_t)kvi_rand_below(&rand, 15);
      uint32_t has = there(world, chain), all = 0;
      uint64_t what = kvi_rand_below(&rand, 8);
      char name[32];

      snprintf(name, sizeof(name), "program %u", chain);
      assert_int_equal(prompt(world, chain, n), has < n ? has : n);
      if (what < 6 && there(world, chain) > 0)
        assert_int_equal(hint(world, name, chain, there(world, chain), what < 3 ? &uses : &waits),
                         KVI_HINT_ACCEPTED);
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
    struct world *world = world_new("fixed-ttl", NULL);

    prompt(world, 3, 15);
    assert_int_equal(hint(world, "three", 3, 15, &waits), KVI_HINT_ACCEPTED);
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
    struct world *world = world_new("continuum", NULL);

    for (uint32_t i = 0; i < 2 * KVI_CONTINUUM_COLD + 10; i++) {
      prompt(world, 1, 1 + i / 100);
      assert_int_equal(hint(world, "one", 1, 1 + i / 100, &waits[i % 2]), KVI_HINT_ACCEPTED);
      world->now += i % 2 ? 100 * SECOND : SECOND / 1000;
    }
    prompt(world, 3, 15);
    assert_int_equal(hint(world, "three", 3, 15, &waits[tool]), KVI_HINT_ACCEPTED);
    world->now += SECOND / 10000;
    prompt(world, 4, 20);
    prompt(world, 5, 15);
    assert_int_equal(there(world, 3) == 15, tool == 0);
    assert_int_equal(there(world, 4) == 20, tool == 1);
    world_end(world);
  }
}

static void get_first(struct world *world, uint32_t chain)
{
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  key_of(chain, 0, key);
  assert_int_equal(waiting_open(world->store, world->tenant, world->space, key, &source, &cause), KVS_OK);
  kvi_store_get_close(world->store, &source);
}

/* A chunk for each page is put and used, but for the last one; how many more are put until the first is gone? If `often`, its request asks for it again and again, and gets it, all within a second. */
static uint32_t stays_for(const char *policy, bool often)
{
  struct world *world = world_new(policy, NULL);
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
      get_first(world, 0);
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

/* What the last chunk of the one who waits costs to compute. */
static double value_of(struct world *world)
{
  struct kvi_waiter_info info;
  uint64_t cursor = 0;

  assert_int_equal(kvi_store_waiters(world->store, world->tenant, &cursor, &info, 1), 1);
  return info.waiter.value_s;
}

/* Bytes say little of what a model takes to compute; who has measured it is believed, up to 64 times what they say. */
static void costs_are_measured(void **state)
{
  static const double us[] = {0.1, 0.6, 1, 5, 1e6}; /* a token */
  const struct kvi_policy_use use = {.cost = (float)CHUNK / 256 / 327680};
  double by_bytes;

  prompt(*state, 1, 8);
  by_bytes = value_of(*state);
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
    assert_true(fabs(value_of(world) / expected - 1) < 1e-3);
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
    values[i] = value_of(world);
  }
  assert_true(fabs(values[0] / values[1] / 4 - 1) < 1e-3);
}

/* Over a medium nothing is lost, and who is soon back stays in memory, though used before. Who has ended leaves it before all others. */
static void out_of_memory(void **state)
{
  const struct kvi_program_hint quick = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"},
                                slow = {.wait_kind = KVI_WAIT_TOOL, .tool = "pytest"}, ends = {.close = true};
  struct world *world = *state;

  learn(world, "one", 1, "grep", 2);
  learn(world, "two", 2, "pytest", 1000);
  prompt(world, 3, 6);
  assert_int_equal(hint(world, "three", 3, 6, &quick), KVI_HINT_ACCEPTED);
  prompt(world, 4, 6);
  assert_int_equal(hint(world, "four", 4, 6, &slow), KVI_HINT_ACCEPTED);
  prompt(world, 5, 6);
  assert_int_equal(hint(world, "five", 5, 6, &quick), KVI_HINT_ACCEPTED);
  assert_int_equal(hint(world, "five", 0, 0, &ends), KVI_HINT_ACCEPTED);
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
      cmocka_unit_test_setup_teardown(by_tool, setup, teardown),
      cmocka_unit_test_setup_teardown(ended, setup, teardown),
      cmocka_unit_test_setup_teardown(ended_is_why, setup, teardown),
      cmocka_unit_test_setup_teardown(named_first, setup, teardown),
      cmocka_unit_test_setup_teardown(back_to_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(looked_up_singly, setup, teardown),
      cmocka_unit_test_setup_teardown(announced, setup, teardown),
      cmocka_unit_test_setup_teardown(answers, setup, teardown),
      cmocka_unit_test_setup_teardown(told_to_stay, setup, teardown),
      cmocka_unit_test_setup_teardown(priorities_are_said, setup, teardown),
      cmocka_unit_test_setup_teardown(a_loud_one_beside, setup, teardown),
      cmocka_unit_test(with_each_policy),
      cmocka_unit_test(pinned_for_two_seconds),
      cmocka_unit_test(continuum_learns_from_answers),
      cmocka_unit_test(a_request_counts_once),
      cmocka_unit_test_setup_teardown(costs_are_measured, setup, teardown),
      cmocka_unit_test_setup_teardown(costs_are_of_all_ranks, setup, teardown),
      cmocka_unit_test_setup_teardown(out_of_memory, setup_below, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
