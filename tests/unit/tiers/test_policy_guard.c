/*
 * What was learned is not so any more: the policy "index" finds that the order by last use would have done better, and takes it. Tools were back in two minutes and people in three hours; now
 * people are back each second, and tools never.
 */
#include "policy_testing.h"

#include <string.h>

#define N      10u /* chunks of a program */
#define ROOM   40u
#define PEOPLE 2u
#define FIRST  100u /* handles of the programs begin here */

struct cache {
  struct world *world;
  bool resident[CAPACITY];
  uint32_t n;
};

static uint32_t handle_of(uint32_t program, uint32_t place)
{
  return FIRST + program * N + place;
}

/* Returns the hits. */
static uint32_t use(struct cache *cache, uint32_t program, enum kvi_wait_kind kind)
{
  struct world *world = cache->world;
  uint32_t hits = 0;

  while (hits < N && cache->resident[handle_of(program, hits)])
    hits++;
  if (hits > 0)
    ops->hold(world->policy, handle_of(program, hits - 1));
  for (; cache->n + N - hits > ROOM; cache->n--)
    cache->resident[evict(world)] = false;
  for (uint32_t i = hits; i < N; i++, cache->n++) {
    const struct kvi_policy_chunk chunk = {.parent = i > 0 ? handle_of(program, i - 1) : KVI_POLICY_NONE,
                                           .name = handle_of(program, i),
                                           .bytes = 1};

    ops->insert(world->policy, handle_of(program, i), &chunk, world->now);
    cache->resident[handle_of(program, i)] = true;
  }
  if (hits > 0)
    ops->unhold(world->policy, handle_of(program, hits - 1));
  for (uint32_t i = 0; i < N; i++)
    ops->touch(world->policy, handle_of(program, i), world->now);
  wait_at(world, 1000 + program, handle_of(program, N - 1), N, kind, 0, 0);
  return hits;
}

/* Two people and two tools a second: as many as there is room for. Returns the people's hits. */
static uint32_t seconds(struct cache *cache, uint32_t *tool, uint32_t n)
{
  uint32_t hits = 0;

  for (uint32_t i = 0; i < n; i++)
    for (uint32_t k = 0; k < PEOPLE; k++) {
      cache->world->now += SECOND / (2 * PEOPLE);
      use(cache, (*tool)++, KVI_WAIT_TOOL);
      cache->world->now += SECOND / (2 * PEOPLE);
      hits += use(cache, k, KVI_WAIT_HUMAN);
    }
  return hits;
}

/* Whether a prompt of one chunk that nobody knows is worth the victim. */
static bool admits(struct world *world)
{
  const struct kvi_policy_use use = {.last = KVI_POLICY_NONE,
                                     .n_whole = 1,
                                     .chunk_bytes =
                                         1e9F}; /* it takes so much that by price it is worth nothing */

  return ops->admits(world->policy, ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), &use, 1,
                     world->now);
}

static void last_use_takes_over(void **state)
{
  struct cache *cache = calloc(1, sizeof(*cache));
  uint32_t tool = PEOPLE, early, late;
  bool by_use = false;

  cache->world = *state;
  learn(cache->world, 1, KVI_WAIT_TOOL, 100, 2000, 0, 0);
  learn(cache->world, 2, KVI_WAIT_HUMAN, 10000, 2000, 0, 0);
  early = seconds(cache, &tool, 3);
  for (uint32_t i = 0; i < 147; i++) {
    (void)seconds(cache, &tool, 1);
    assert_int_equal(admits(cache->world), !ops->goes_by_price(cache->world->policy));
    by_use |= !ops->goes_by_price(cache->world->policy);
  }
  late = seconds(cache, &tool, 10);
  assert_true(early < 3 * PEOPLE * N / 2);
  assert_int_equal(late, 10 * PEOPLE * N);
  assert_true(by_use);
  free(cache);
}

/* What is deleted says nothing of the order: neither if its handle was a victim's before, nor if it was to go next itself, and did not (a put was declined). */
static void deleted(void **state)
{
  struct world *world = *state;
  uint32_t handle;

  (void)chain(world, KVI_POLICY_NONE, 1);
  handle = evict(world);
  for (uint32_t i = 0; i < 400; i++) {
    const struct kvi_policy_chunk chunk = {.parent = KVI_POLICY_NONE, .name = 5, .bytes = 1};

    world->now += 10 * SECOND;
    ops->insert(world->policy, handle, &chunk, world->now);
    wait_at(world, 7, handle, 1, KVI_WAIT_TOOL, 0, 0);
    if (i >= 200)
      assert_int_equal(ops->victim(world->policy, KVI_POLICY_MEMORY, world->now), handle);
    (void)ops->remove(world->policy, handle);
  }
  assert_true(ops->goes_by_price(world->policy));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(last_use_takes_over, setup, teardown),
                                     cmocka_unit_test_setup_teardown(deleted, setup, teardown)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
