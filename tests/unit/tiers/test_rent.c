/* What a tenant's room in memory costs the others, by a clock that the test turns. */
#include "store_testing.h"

#include <math.h>
#include <stdio.h>

#include "chains_testing.h"

static const struct kvi_tenant_config tenants[] = {{.name = TENANT}, {.name = LOUD}};

static struct world *world_under(const char *policy)
{
  const struct kvi_store_config config = {.dram_bytes = (uint64_t)CHAIN_MOST * PAGE,
                                          .dram_page_bytes = PAGE,
                                          .max_chunks = 1024,
                                          .policy = policy,
                                          .tenants = tenants,
                                          .n_tenants = 2};

  return world_new(config, NULL);
}

static struct kvi_tenant_info info_of(struct world *world, uint32_t number)
{
  struct kvi_tenant_info info;

  assert_int_equal(kvi_store_tenants(world->store, number, &info, 1), 1);
  return info;
}

static double price(struct world *world)
{
  struct kvi_price_info prices;

  kvi_store_prices(world->store, NULL, &prices);
  return prices.prices[KVI_POLICY_MEMORY];
}

/* A prompt of an agent whose tool is back in two seconds. */
static void agent(struct world *world, const char *tenant, const char *program, uint32_t chain, uint32_t n)
{
  static const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"};

  world->tenant = tenant;
  prompt(world, chain, n);
  say(world, program, chain, n, &waits);
}

/* While there is room for all nobody pays. Then each pays for what it has, at the price of that time, and for the time since the last look. */
static void each_pays_for_its_room(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"}, ends = {.close = true};
  struct world *world = world_under("index");
  double first = 0, second = 0;

  (void)state;
  learn(world, "zero", 9, &waits, 2);
  say(world, "zero", 0, 0, &ends);
  drop_chunk(world, 9, 0);
  agent(world, TENANT, "one", 1, 20);
  kvi_store_rent(world->store);
  world->now += 100 * SECOND;
  kvi_store_rent(world->store);
  assert_int_equal(info_of(world, 1).rent_ns + info_of(world, 2).rent_ns, 0);
  agent(world, TENANT, "one", 1, 20);
  agent(world, LOUD, "two", 2, 15);
  agent(world, LOUD, "three", 3, 15); /* more than there is room for */
  kvi_store_rent(world->store);
  assert_true(price(world) > 0);
  for (uint32_t i = 0; i < 40; i++) {
    world->now += SECOND / 4;
    first += (double)info_of(world, 1).dram_bytes / 4;
    second += (double)info_of(world, 2).dram_bytes / 4;
    kvi_store_rent(world->store);
  }
  first = (double)info_of(world, 1).rent_ns / 1e9 / first; /* what a byte costs for a second */
  second = (double)info_of(world, 2).rent_ns / 1e9 / second;
  assert_true(first >= price(world)); /* in which shares count, which are 1 at most */
  assert_true(fabs(first / second - 1) < 0.05);
  assert_int_equal(info_of(world, 0).rent_ns, 0);
  world_end(world);
}

/* What a byte costs for a second where one who stays has so many chunks, and another with as large a share puts prompts without end. */
static double byte_rent(uint32_t chunks)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"}, ends = {.close = true};
  struct world *world = world_under("index");
  struct kvi_tenant_info quiet, loud;
  char program[16];

  learn(world, "zero", 9, &waits, 2);
  say(world, "zero", 0, 0, &ends);
  drop_chunk(world, 9, 0);
  kvi_store_rent(world->store);
  for (uint32_t i = 0; i < 200; i++) {
    snprintf(program, sizeof(program), "p%u", i % 12);
    agent(world, LOUD, program, 2 + i % 12, 8);
    world->now += SECOND / 4;
    if (i % 8 == 0)
      agent(world, TENANT, "one", 1, chunks);
    kvi_store_rent(world->store);
  }
  quiet = info_of(world, 1);
  loud = info_of(world, 2);
  assert_true(quiet.dram_bytes * 2 > chunks * PAGE);
  assert_true(fabs((double)quiet.rent_ns / (double)quiet.dram_bytes /
                       ((double)loud.rent_ns / (double)loud.dram_bytes) -
                   1) < 0.5);
  world_end(world);
  return (double)loud.rent_ns / (double)loud.dram_bytes;
}

/* Its share makes the chunks of who has too much cheap, so that they go first: not the room that they take. */
static void who_has_more_than_its_share_pays_for_all_of_it(void **state)
{
  double half = byte_rent(20);

  (void)state;
  assert_true(half > 0);
  assert_true(byte_rent(6) > half / 2);
  assert_true(byte_rent(1) > half / 2);
}

static void without_prices(void **state)
{
  struct world *world = world_under("lru");

  (void)state;
  prompt(world, 1, 30);
  prompt(world, 2, 30);
  for (uint32_t i = 0; i < 3; i++) {
    world->now += SECOND;
    kvi_store_rent(world->store);
  }
  assert_int_equal(info_of(world, 1).rent_ns, 0);
  world_end(world);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_pays_for_its_room),
                                     cmocka_unit_test(who_has_more_than_its_share_pays_for_all_of_it),
                                     cmocka_unit_test(without_prices)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
