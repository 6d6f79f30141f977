/*
 * What leaves a tenant's own memory for below, when its bound is reached and the node has room, under the policy "index": by the same prices as what leaves the node's, and by a clock that the test turns.
 */
#include "tenants_testing.h"

#include <math.h>

#include "chains_testing.h"

#define LONG 20u /* chunks of an agent */

struct bounded {
  struct world world; /* of the fixture's store; what is done there is A's */
  struct fixture f;
  uint64_t room; /* that a chunk takes */
};

/* A may have so many chunks in memory, of some hundred that it holds. */
static void bound(struct bounded *bounded, uint32_t chunks)
{
  kvi_store_tenant_set(bounded->f.store,
                       &(struct kvi_tenant_config){.name = A, .dram_bytes = chunks * bounded->room + ROOM});
}

static int setup_with(void **state, enum kvi_policy_admission write)
{
  struct bounded *bounded = calloc(1, sizeof(*bounded));
  struct kvi_store_config config = {.dram_bytes = 400 * ROOM,
                                    .max_chunks = 1024,
                                    .policy = "index",
                                    .write = write,
                                    .policy_clock = world_clock,
                                    .policy_clock_ctx = &bounded->world};

  bounded->world.now = 1000 * SECOND;
  bounded->f.medium = memory_medium_create(false);
  fixture_open(&bounded->f, config, 0, 0);
  bounded->world.store = bounded->f.store;
  bounded->world.medium = bounded->f.medium;
  bounded->world.tenant = A;
  memcpy(bounded->world.space, bounded->f.space, KVS_DIGEST_SIZE);
  assert_int_equal(put(&bounded->f, B, 0, CHUNK), KVS_OK);
  memory_settle(bounded->f.medium);
  bounded->room = info_of(&bounded->f, B).dram_bytes;
  *state = bounded;
  return 0;
}

static int setup(void **state)
{
  return setup_with(state, KVI_ADMIT_ALL);
}

static int setup_reused(void **state)
{
  return setup_with(state, KVI_ADMIT_REUSED);
}

static int teardown(void **state)
{
  struct bounded *bounded = *state;

  fixture_close(&bounded->f);
  free(bounded);
  return 0;
}

/* As an engine does: the prompt is looked up, what lies below is got, and what is missing is put; each chunk has its copy before the next. Returns the chunks that were not in memory. */
static uint32_t request(struct world *world, uint32_t chain)
{
  uint8_t tiers[LONG];
  uint32_t missing = 0;

  look_up(world, chain, LONG, tiers);
  for (uint32_t i = 0; i < LONG; i++) {
    if (tiers[i] == 0)
      assert_int_equal(put_chunk(world, chain, i, CHUNK), KVS_OK);
    else if (tiers[i] != KVI_TIER_DRAM)
      assert_int_equal(get_chunk(world, chain, i), KVS_OK);
    missing += tiers[i] != KVI_TIER_DRAM;
    memory_settle(world->medium);
  }
  return missing;
}

/* Its chunks in memory, which are the first of it; all of it is somewhere. */
static uint32_t first_in_memory(struct world *world, uint32_t chain)
{
  uint8_t tiers[CHAIN_MOST];
  uint32_t n = 0;

  peek(world, chain, tiers);
  while (n < LONG && tiers[n] == KVI_TIER_DRAM)
    n++;
  for (uint32_t i = n; i < LONG; i++)
    assert_int_equal(tiers[i], KVI_TIER_SSD);
  return n;
}

static uint32_t step(struct world *world, const char *program, uint32_t chain, const char *tool)
{
  uint32_t missing = request(world, chain);

  say(world, program, chain, LONG, &(struct kvi_program_hint){.wait_kind = KVI_WAIT_TOOL, .tool = tool});
  return missing;
}

/* How long the tool takes is known from calls of B's. */
static void learn_tool(struct world *world, uint32_t chain, const char *tool, uint64_t seconds)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = tool};

  world->tenant = B;
  learn(world, tool, chain, &waits, seconds);
  memory_settle(world->medium);
  world->tenant = A;
}

enum { QUICK = 1, SLOW, LOST };

static uint32_t live(struct world *world, uint32_t seconds)
{
  uint32_t missing = 0;

  for (uint32_t second = 2; second <= seconds; second += 2) {
    world->now += 2 * SECOND;
    missing += step(world, "quick", QUICK, "grep");
    if (second % 30 == 0)
      missing += step(world, "slow", SLOW, "build");
  }
  return missing;
}

/* A prompt of one chunk, of which nobody says anything, and which comes once. */
static void something_else(struct world *world, uint32_t id)
{
  assert_int_equal(put_chunk(world, 500 + id, 0, CHUNK), KVS_OK);
  memory_settle(world->medium);
}

static void three_in_room_for(struct bounded *bounded, uint32_t chunks)
{
  struct world *world = &bounded->world;

  learn_tool(world, 5, "grep", 2);
  learn_tool(world, 6, "build", 30);
  bound(bounded, chunks);
  step(world, "quick", QUICK, "grep");
  step(world, "slow", SLOW, "build");
  step(world, "lost", LOST, "wait-for-ci");
  something_else(world, 0);
}

/* Of three agents in memory for two and a half the one loses it whose tool never returns, from its end on; and nothing is lost. */
static void three_agents(void **state)
{
  struct bounded *bounded = *state;
  struct world *world = &bounded->world;
  uint32_t left = LONG;

  three_in_room_for(bounded, 5 * LONG / 2);
  for (uint32_t i = 0; i < 20; i++) {
    uint32_t now = first_in_memory(world, LOST);

    assert_true(now <= left);
    left = now;
    assert_int_equal(first_in_memory(world, QUICK), LONG);
    assert_int_equal(first_in_memory(world, SLOW), LONG);
    assert_int_equal(live(world, 30), 0);
    something_else(world, 1 + i);
  }
  assert_true(left < LONG / 2);
  assert_true(info_of(&bounded->f, A).own_demotions >= LONG / 2);
  assert_int_equal(info_of(&bounded->f, A).own_evictions, 0);
}

static struct kvi_policy_waiter waiter_of(struct world *world, const char *program)
{
  struct kvi_policy_waiter waiter;

  assert_true(find_waiter(world, program, &waiter));
  return waiter;
}

/* What a tenant's own room costs is the price of what left it, while the node has room; it says how long who waits stays, and nothing to others. */
static void own_prices(void **state)
{
  struct bounded *bounded = *state;
  struct world *world = &bounded->world;
  struct kvi_price_info node, own, other;
  struct kvi_policy_waiter quick, slow;

  three_in_room_for(bounded, 3 * LONG + 10);
  kvi_store_prices(world->store, A, &own);
  assert_true(own.prices[KVI_POLICY_MEMORY] == 0);
  assert_true(isinf(waiter_of(world, "slow").ttl_s));
  live(world, 90);
  bound(bounded, 5 * LONG / 2);
  for (uint32_t i = 1; i <= 5; i++)
    something_else(world, i);
  kvi_store_prices(world->store, NULL, &node);
  kvi_store_prices(world->store, A, &own);
  kvi_store_prices(world->store, B, &other);
  assert_true(own.by_price && own.prices[KVI_POLICY_MEMORY] > 0 && own.prices[KVI_POLICY_MEDIUM] == 0);
  assert_true(node.prices[KVI_POLICY_MEMORY] == 0 && other.prices[KVI_POLICY_MEMORY] == 0);
  quick = waiter_of(world, "quick");
  slow = waiter_of(world, "slow");
  assert_true(slow.tier_price == own.prices[KVI_POLICY_MEMORY] && quick.tier_price == slow.tier_price);
  assert_true(quick.price > slow.price && slow.price > slow.tier_price);
  assert_true(slow.ttl_s > 0 && slow.ttl_s < 1e6 && quick.ttl_s > 0 && quick.ttl_s < 1e6);
  world->now += 61 * SECOND; /* nothing had to go for a minute */
  kvi_store_prices(world->store, A, &own);
  assert_true(own.prices[KVI_POLICY_MEMORY] == 0);
}

/* What has a copy below and has ended leaves memory before anything is lost, also when many that have none stand before it in the tenant's queue. */
static void below_before_lost(void **state)
{
  const struct kvi_program_hint ends = {.close = true};
  struct bounded *bounded = *state;
  struct world *world = &bounded->world;

  bound(bounded, 3 * LONG);
  step(world, "quick", QUICK, "grep");
  for (uint32_t i = 0; i < LONG; i++) {
    assert_int_equal(get_chunk(world, QUICK, i), KVS_OK);
    memory_settle(world->medium);
  }
  say(world, "quick", 0, 0, &ends);
  for (uint32_t i = 0; i < 2 * LONG + 10; i++)
    something_else(world, i);
  assert_in_range(first_in_memory(world, QUICK), 9, 11);
  assert_int_equal(info_of(&bounded->f, A).own_evictions, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(three_agents, setup, teardown),
      cmocka_unit_test_setup_teardown(own_prices, setup, teardown),
      cmocka_unit_test_setup_teardown(below_before_lost, setup_reused, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
