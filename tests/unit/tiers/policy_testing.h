/* policy_testing.h: chains of chunks under the policy "index", programs that wait at their ends, and a clock that the test turns. */
#ifndef KVI_TESTS_UNIT_TIERS_POLICY_TESTING_H
#define KVI_TESTS_UNIT_TIERS_POLICY_TESTING_H

#include "testing.h"

#include "base/clock.h"
#include "tiers/policy/policy.h"

#define CAPACITY 4096u
#define SECOND   KVI_NS_PER_S

static const struct kvi_policy_ops *const ops = &kvi_policy_index;

struct world {
  struct kvi_policy *policy;
  uint64_t now;
  uint32_t fresh; /* handles from here on were never used */
};

static inline int setup(void **state)
{
  struct world *world = calloc(1, sizeof(*world));

  world->now = 1000 * SECOND;
  assert_int_equal(ops->create(CAPACITY, &world->policy), KVS_OK);
  *state = world;
  return 0;
}

static inline int teardown(void **state)
{
  struct world *world = *state;

  ops->destroy(world->policy);
  free(world);
  return 0;
}

/* A chain of n chunks behind parent. Returns its last chunk. */
static inline uint32_t chain(struct world *world, uint32_t parent, uint32_t n)
{
  while (n-- > 0) {
    ops->insert(world->policy, world->fresh, TESTING_CHUNK(parent), world->now);
    parent = world->fresh++;
  }
  return parent;
}

static inline void arrive_at(struct world *world, uint64_t program, uint32_t last, uint32_t n)
{
  struct kvi_policy_use use = {.program = program, .last = last, .n_chunks = n, .n_whole = n};

  ops->touch(world->policy, last, world->now);
  ops->arrive(world->policy, &use, world->now);
}

/* The program uses the chain now, is answered at once, and waits from then on. */
static inline void wait_at(struct world *world, uint64_t program, uint32_t last, uint32_t n,
                           enum kvi_wait_kind kind, uint32_t source, double announced_s)
{
  struct kvi_policy_wait wait = {.program = program,
                                 .last = last,
                                 .n_chunks = n,
                                 .kind = kind,
                                 .source = source,
                                 .announced_s = announced_s};

  arrive_at(world, program, last, n);
  assert_true(ops->wait(world->policy, &wait, world->now));
}

/* What is said of the first so many tokens of the chain that it waits at: a priority, or for how long. */
static inline void say(struct world *world, uint64_t program, uint32_t last, uint32_t n, uint32_t priority,
                       double ttl_s, uint32_t tokens)
{
  const struct kvi_policy_wait wait = {.program = program,
                                       .last = last,
                                       .n_chunks = n,
                                       .kind = KVI_WAIT_TOOL,
                                       .priority = priority,
                                       .ttl_s = ttl_s,
                                       .range_tokens = tokens};

  assert_true(ops->wait(world->policy, &wait, world->now));
}

static inline uint32_t evict(struct world *world)
{
  uint32_t victim = ops->victim(world->policy, KVI_POLICY_MEMORY, world->now);

  if (victim != KVI_POLICY_NONE)
    (void)kvi_policy_evict(ops, world->policy, victim);
  return victim;
}

/* What waits of a kind are like: a program of its own comes back `times` times. */
static inline void learn(struct world *world, uint64_t program, enum kvi_wait_kind kind, double seconds,
                         uint32_t times, uint32_t source, double announced_s)
{
  uint32_t last = chain(world, KVI_POLICY_NONE, 1);

  for (uint32_t i = 0; i < times; i++) {
    wait_at(world, program, last, 1, kind, source, announced_s);
    world->now += (uint64_t)(seconds * (double)SECOND);
  }
  ops->close(world->policy, program, world->now);
  assert_int_equal(evict(world), last);
}

#endif
