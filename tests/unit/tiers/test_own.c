/*
 * What leaves a tenant's own memory for below, when its bound is reached and the node has room, under the policy "index": by the same prices as what leaves the node's, and by a clock that the test turns.
 */
#include "tenants_testing.h"

#include <math.h>

#include "base/clock.h"
#include "tiers/hint.h"

#define SECOND KVI_NS_PER_S
#define LONG   20u /* chunks of an agent */

struct world {
  struct fixture f;
  uint64_t now;
  uint64_t room; /* that a chunk takes */
};

static uint64_t clock_of(void *ctx)
{
  return ((const struct world *)ctx)->now;
}

/* A may have so many chunks in memory, of some hundred that it holds. */
static void bound(struct world *world, uint32_t chunks)
{
  kvi_store_tenant_set(world->f.store,
                       &(struct kvi_tenant_config){.name = A, .dram_bytes = chunks * world->room + ROOM});
}

static int setup_with(void **state, enum kvi_policy_admission write)
{
  struct world *world = calloc(1, sizeof(*world));
  struct kvi_store_config config = {.dram_bytes = 400 * ROOM,
                                    .max_chunks = 1024,
                                    .policy = "index",
                                    .write = write,
                                    .policy_clock = clock_of,
                                    .policy_clock_ctx = world};

  world->now = 1000 * SECOND;
  world->f.medium = memory_medium_create(false);
  fixture_open(&world->f, config, 0, 0);
  assert_int_equal(put(&world->f, B, 0, CHUNK), KVS_OK);
  memory_settle(world->f.medium);
  world->room = info_of(&world->f, B).dram_bytes;
  *state = world;
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
  struct world *world = *state;

  fixture_close(&world->f);
  free(world);
  return 0;
}

static void look(struct world *world, const char *tenant, uint32_t chain, uint32_t n, bool peek,
                 uint8_t *tiers)
{
  uint8_t keys[LONG * KEY_BYTES];
  const uint8_t *space = world->f.space;
  struct kvi_store_lookup query = {.tenant = tenant,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n,
                                   .peek = peek};
  struct kvi_store_lookup_result result = {.tiers = tiers};

  memset(tiers, 0, n);
  for (uint32_t i = 0; i < n; i++)
    testing_key(1000 * chain + i, keys + (size_t)i * KEY_BYTES, KEY_BYTES);
  assert_int_equal(kvi_store_lookup(world->f.store, &query, &result), KVS_OK);
}

/* As an engine does: the prompt is looked up, what lies below is got, and what is missing is put; each chunk has its copy before the next. Returns the chunks that were not in memory. */
static uint32_t prompt(struct world *world, const char *tenant, uint32_t chain, uint32_t n)
{
  uint8_t tiers[LONG], key[KEY_BYTES];
  uint32_t missing = 0, cause;

  look(world, tenant, chain, n, false, tiers);
  for (uint32_t i = 0; i < n; i++) {
    testing_key(1000 * chain + i, key, KEY_BYTES);
    if (tiers[i] == 0)
      assert_int_equal(put_in_chain(&world->f, tenant, 1000 * chain, i), KVS_OK);
    else if (tiers[i] != KVI_TIER_DRAM)
      assert_int_equal(waiting_get(world->f.store, tenant, world->f.space, key, 1000 * chain + i, &cause),
                       KVS_OK);
    missing += tiers[i] != KVI_TIER_DRAM;
    memory_settle(world->f.medium);
  }
  return missing;
}

/* Its chunks in memory, which are the first of it; all of it is somewhere. */
static uint32_t in_memory(struct world *world, uint32_t chain)
{
  uint8_t tiers[LONG];
  uint32_t n = 0;

  look(world, A, chain, LONG, true, tiers);
  while (n < LONG && tiers[n] == KVI_TIER_DRAM)
    n++;
  for (uint32_t i = n; i < LONG; i++)
    assert_int_equal(tiers[i], KVI_TIER_SSD);
  return n;
}

static void waits(struct world *world, const char *tenant, const char *program, uint32_t chain, uint32_t n,
                  const char *tool)
{
  uint8_t key[KEY_BYTES];
  struct kvi_hint_keys keys = {.space = world->f.space, .keys = key, .key_length = KEY_BYTES, .n_keys = 1};
  struct kvi_program_hint said = {
      .tenant = tenant, .program = program, .parent = "", .tool = tool, .wait_kind = KVI_WAIT_TOOL};

  testing_key(1000 * chain + n - 1, key, KEY_BYTES);
  assert_int_equal(kvi_store_hint(world->f.store, &said, &keys), KVI_HINT_ACCEPTED);
}

static uint32_t step(struct world *world, const char *program, uint32_t chain, const char *tool)
{
  uint32_t missing = prompt(world, A, chain, LONG);

  waits(world, A, program, chain, LONG, tool);
  return missing;
}

/* How long the tool takes is known from a hundred calls. */
static void learn(struct world *world, uint32_t chain, const char *tool, uint64_t seconds)
{
  for (uint32_t i = 0; i < 100; i++, world->now += seconds * SECOND) {
    prompt(world, B, chain, 1);
    waits(world, B, tool, chain, 1, tool);
  }
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
  assert_int_equal(put(&world->f, A, 500000 + id, CHUNK), KVS_OK);
  memory_settle(world->f.medium);
}

static void three_in_room_for(struct world *world, uint32_t chunks)
{
  learn(world, 5, "grep", 2);
  learn(world, 6, "build", 30);
  bound(world, chunks);
  step(world, "quick", QUICK, "grep");
  step(world, "slow", SLOW, "build");
  step(world, "lost", LOST, "wait-for-ci");
  something_else(world, 0);
}

/* Of three agents in memory for two and a half the one loses it whose tool never returns, from its end on; and nothing is lost. */
static void three_agents(void **state)
{
  struct world *world = *state;
  uint32_t left = LONG;

  three_in_room_for(world, 5 * LONG / 2);
  for (uint32_t i = 0; i < 20; i++) {
    uint32_t now = in_memory(world, LOST);

    assert_true(now <= left);
    left = now;
    assert_int_equal(in_memory(world, QUICK), LONG);
    assert_int_equal(in_memory(world, SLOW), LONG);
    assert_int_equal(live(world, 30), 0);
    something_else(world, 1 + i);
  }
  assert_true(left < LONG / 2);
  assert_true(info_of(&world->f, A).own_demotions >= LONG / 2);
  assert_int_equal(info_of(&world->f, A).own_evictions, 0);
}

static struct kvi_policy_waiter waiter_of(struct world *world, const char *program)
{
  uint64_t cursor = 0, hash = kvi_store_program_hash(world->f.store, A, program);
  struct kvi_waiter_info infos[32];
  size_t n = kvi_store_waiters(world->f.store, A, &cursor, infos, 32);

  for (size_t i = 0; i < n; i++)
    if (infos[i].waiter.program == hash)
      return infos[i].waiter;
  fail();
  return (struct kvi_policy_waiter){0};
}

/* What a tenant's own room costs is the price of what left it, while the node has room; it says how long who waits stays, and nothing to others. */
static void own_prices(void **state)
{
  struct world *world = *state;
  struct kvi_price_info node, own, other;
  struct kvi_policy_waiter quick, slow;

  three_in_room_for(world, 3 * LONG + 10);
  kvi_store_prices(world->f.store, A, &own);
  assert_true(own.prices[KVI_POLICY_MEMORY] == 0);
  assert_true(isinf(waiter_of(world, "slow").ttl_s));
  live(world, 90);
  bound(world, 5 * LONG / 2);
  for (uint32_t i = 1; i <= 5; i++)
    something_else(world, i);
  kvi_store_prices(world->f.store, NULL, &node);
  kvi_store_prices(world->f.store, A, &own);
  kvi_store_prices(world->f.store, B, &other);
  assert_true(own.by_price && own.prices[KVI_POLICY_MEMORY] > 0 && own.prices[KVI_POLICY_MEDIUM] == 0);
  assert_true(node.prices[KVI_POLICY_MEMORY] == 0 && other.prices[KVI_POLICY_MEMORY] == 0);
  quick = waiter_of(world, "quick");
  slow = waiter_of(world, "slow");
  assert_true(slow.tier_price == own.prices[KVI_POLICY_MEMORY] && quick.tier_price == slow.tier_price);
  assert_true(quick.price > slow.price && slow.price > slow.tier_price);
  assert_true(slow.ttl_s > 0 && slow.ttl_s < 1e6 && quick.ttl_s > 0 && quick.ttl_s < 1e6);
  world->now += 61 * SECOND; /* nothing had to go for a minute */
  kvi_store_prices(world->f.store, A, &own);
  assert_true(own.prices[KVI_POLICY_MEMORY] == 0);
}

/* What has a copy below and has ended leaves memory before anything is lost, also when many that have none stand before it in the tenant's queue. */
static void below_before_lost(void **state)
{
  const struct kvi_program_hint ends = {
      .tenant = A, .program = "quick", .parent = "", .tool = "", .close = true};
  struct world *world = *state;
  struct kvi_hint_keys no_keys = {0};
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  bound(world, 3 * LONG);
  step(world, "quick", QUICK, "grep");
  for (uint32_t i = 0; i < LONG; i++) {
    testing_key(1000 * QUICK + i, key, KEY_BYTES);
    assert_int_equal(waiting_get(world->f.store, A, world->f.space, key, 1000 * QUICK + i, &cause), KVS_OK);
    memory_settle(world->f.medium);
  }
  assert_int_equal(kvi_store_hint(world->f.store, &ends, &no_keys), KVI_HINT_ACCEPTED);
  for (uint32_t i = 0; i < 2 * LONG + 10; i++)
    something_else(world, i);
  assert_in_range(in_memory(world, QUICK), 9, 11);
  assert_int_equal(info_of(&world->f, A).own_evictions, 0);
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
