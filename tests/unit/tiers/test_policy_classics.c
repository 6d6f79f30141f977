/* The policies that papers have: sieve against a plain queue with a hand, what s3fifo's queues are for, and pins. What all policies have in common is in test_policy.c; s3fifo against a model in unit/sim_policies. */
#include "testing.h"

#include <math.h>

#include "base/clock.h"
#include "tiers/policy/continuum.h"
#include "tiers/policy/policy.h"

#define N      64u
#define MANY   1024u
#define SECOND KVI_NS_PER_S
#define NONE   KVI_POLICY_NONE

/* ---- sieve ---- */

/* The queue from old to new, with gaps: a chunk's place is its index. */
struct queue {
  uint32_t at[100000];
  uint32_t place[N], children[N], parent[N];
  bool used[N], resident[N], held[N];
  uint32_t n, hand;
};

static bool may_go(const struct queue *queue, uint32_t chunk)
{
  return chunk != NONE && !queue->held[chunk] && queue->children[chunk] == 0;
}

static uint32_t queue_victim(struct queue *queue)
{
  bool any = false;

  for (uint32_t i = 0; i < N; i++)
    any |= queue->resident[i] && may_go(queue, i);
  while (any) {
    uint32_t chunk = queue->hand < queue->n ? queue->at[queue->hand] : NONE;

    if (may_go(queue, chunk) && !queue->used[chunk])
      return chunk;
    if (chunk != NONE)
      queue->used[chunk] = false;
    queue->hand = queue->hand + 1 < queue->n ? queue->hand + 1 : 0;
  }
  return NONE;
}

static void queue_remove(struct queue *queue, uint32_t chunk)
{
  uint32_t parent = queue->parent[chunk], place = queue->place[chunk];

  queue->resident[chunk] = false;
  queue->at[place] = NONE;
  if (parent != NONE)
    queue->children[parent]--;
  if (parent != NONE && queue->place[parent] < place && place - queue->place[parent] <= 64) {
    queue->at[queue->place[parent]] = NONE;
    queue->at[place] = parent;
    queue->place[parent] = place;
  } else if (place == queue->hand && place + 1 == queue->n) {
    queue->hand = 0;
  }
}

/* Only leaves are removed, and a parent comes before its children. */
static void sieve_like_the_queue(void **state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_sieve;
  static struct queue queue;
  kvi_rand rand;

  (void)state;
  for (uint64_t seed = 0; seed < 30; seed++) {
    struct kvi_policy *policy;

    memset(&queue, 0, sizeof(queue));
    kvi_rand_seed(&rand, seed);
    assert_int_equal(ops->create(N, &policy), KVS_OK);
    for (uint64_t now = 1000; now < 1000 + 256 * 10000; now += 256) {
      uint32_t chunk = (uint32_t)kvi_rand_below(&rand, N), victim;
      uint32_t parent = (uint32_t)kvi_rand_below(&rand, chunk + 1);

      if (!queue.resident[chunk] && kvi_rand_below(&rand, 2)) {
        parent = parent < chunk && queue.resident[parent] ? parent : NONE;
        ops->insert(policy, chunk, TESTING_CHUNK(parent), now);
        queue.parent[chunk] = parent;
        queue.children[chunk] = 0;
        if (parent != NONE)
          queue.children[parent]++;
        queue.resident[chunk] = true;
        queue.used[chunk] = false;
        queue.place[chunk] = queue.n;
        queue.at[queue.n++] = chunk;
      } else if (kvi_rand_below(&rand, 3) > 0) {
        ops->touch(policy, chunk, now);
        queue.used[chunk] = true;
      } else if (queue.resident[chunk]) {
        (queue.held[chunk] ? (void)ops->unhold(policy, chunk) : ops->hold(policy, chunk));
        queue.held[chunk] = !queue.held[chunk];
      }
      victim = ops->victim(policy, KVI_POLICY_MEMORY, now);
      assert_int_equal(victim, queue_victim(&queue));
      if (victim != NONE && kvi_rand_below(&rand, 2)) {
        (void)ops->remove(policy, victim);
        queue_remove(&queue, victim);
      }
    }
    ops->destroy(policy);
  }
}

/* ---- chains ---- */

struct world {
  const struct kvi_policy_ops *ops;
  struct kvi_policy *policy;
  uint64_t now;
  uint32_t fresh; /* handles from here on were never used */
};

static struct world world_new(const struct kvi_policy_ops *ops)
{
  struct world world = {.ops = ops, .now = 1000 * SECOND};

  assert_int_equal(ops->create(MANY, &world.policy), KVS_OK);
  return world;
}

/* Names are of the chain and the place. Returns the last chunk. */
static uint32_t chain(struct world *world, uint64_t name, uint32_t n)
{
  uint32_t parent = NONE;

  for (uint32_t i = 0; i < n; i++) {
    const struct kvi_policy_chunk chunk = {
        .parent = parent, .place = i, .name = name * 1000 + i, .bytes = 1, .tokens = 256};

    world->ops->insert(world->policy, world->fresh, &chunk, world->now);
    parent = world->fresh++;
  }
  world->now += SECOND / 1000;
  return parent;
}

/* From its end on. */
static void touch(struct world *world, uint32_t last, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    world->ops->touch(world->policy, last - i, world->now + i * 256);
  world->now += SECOND / 1000;
}

static uint32_t evict(struct world *world, enum kvi_policy_group group)
{
  uint32_t victim = world->ops->victim(world->policy, group, world->now);

  if (victim != NONE)
    (void)world->ops->remove(world->policy, victim);
  return victim;
}

static void expect_chain_goes(struct world *world, enum kvi_policy_group group, uint32_t last, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    assert_int_equal(evict(world, group), last - i);
}

/* A prompt that came from its beginning on goes from its end on, and all of it before another goes: by each policy that has no reason to see its chunks as different. */
static void a_prompt_goes_whole(void **state)
{
  const struct kvi_policy_ops *const all[] = {&kvi_policy_lru,       &kvi_policy_lfu,
                                              &kvi_policy_s3fifo,    &kvi_policy_sieve,
                                              &kvi_policy_fixed_ttl, &kvi_policy_continuum};

  (void)state;
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
    for (int group = 0; group < 2; group++) {
      struct world world = world_new(all[i]);
      uint32_t first = chain(&world, 1, 30), second = chain(&world, 2, 30);

      for (uint32_t k = 0; group == KVI_POLICY_MEDIUM && k < 60; k++)
        world.ops->move(world.policy, k, KVI_POLICY_MEDIUM);
      expect_chain_goes(&world, (enum kvi_policy_group)group, first, 30);
      expect_chain_goes(&world, (enum kvi_policy_group)group, second, 30);
      assert_int_equal(evict(&world, KVI_POLICY_MEMORY), NONE);
      assert_int_equal(evict(&world, KVI_POLICY_MEDIUM), NONE);
      world.ops->destroy(world.policy);
    }
}

/* What is used again, twice, outlives a scan of what is used once; by least recent use it would not. */
static void s3fifo_resists_scans(void **state)
{
  struct world world = world_new(&kvi_policy_s3fifo);
  uint32_t kept = chain(&world, 1, 10), evicted = 0;

  (void)state;
  touch(&world, kept, 10);
  touch(&world, kept, 10);
  for (uint32_t scan = 0; scan < 20; scan++) {
    (void)chain(&world, 2 + scan, 40);
    for (uint32_t i = 0; i < 40; i++) {
      uint32_t victim = evict(&world, KVI_POLICY_MEMORY);

      assert_true(victim > kept);
      evicted++;
    }
    world.fresh = world.fresh > MANY - 100 ? MANY - 100 : world.fresh; /* enough handles: 10 + 20 * 40 */
  }
  assert_int_equal(evicted, 800);
  world.ops->destroy(world.policy);
}

/* Who comes back soon after it has left the small queue, under another handle, goes to the main one, and stays while new ones go. */
static void s3fifo_knows_ghosts(void **state)
{
  (void)state;
  for (int is_named = 0; is_named < 2; is_named++) {
    struct world world = world_new(&kvi_policy_s3fifo);
    uint32_t back;

    for (uint64_t i = 0; i < 20; i++)
      (void)chain(&world, 100 + i, 1);
    assert_int_equal(evict(&world, KVI_POLICY_MEMORY), 0);
    assert_int_equal(evict(&world, KVI_POLICY_MEMORY), 1);
    back = chain(&world, is_named ? 100 : 999, 1);
    for (uint64_t i = 0; i < 20; i++)
      (void)chain(&world, 200 + i, 1);
    for (uint32_t i = 0; i < 30; i++) {
      uint32_t victim = evict(&world, KVI_POLICY_MEMORY);

      assert_true(victim != NONE);
      if (is_named)
        assert_int_not_equal(victim, back);
      if (victim == back)
        back = NONE;
    }
    assert_true(is_named ? back != NONE : back == NONE);
    world.ops->destroy(world.policy);
  }
}

/* A long chain of which each chunk was used is passed over in bounded time, and what goes is one that may. */
static void s3fifo_looks_at_so_many(void **state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_s3fifo;
  struct world world = {.ops = ops, .now = SECOND};
  uint32_t last;

  (void)state;
  assert_int_equal(ops->create(20000, &world.policy), KVS_OK);
  last = chain(&world, 0, 19999);
  touch(&world, last, 19999);
  touch(&world, last, 19999);
  expect_chain_goes(&world, KVI_POLICY_MEMORY, last, 19999);
  assert_int_equal(evict(&world, KVI_POLICY_MEMORY), NONE);
  ops->destroy(world.policy);
}

/* Deep chunks cost more to compute, and of two used as often the dearer for its bytes stays. */
static void gdsf_weighs(void **state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_gdsf;
  const struct kvi_policy_chunk chunks[] = {
      {.parent = NONE, .place = 500, .bytes = 10, .tokens = 256},
      {.parent = NONE, .place = 0, .bytes = 10, .tokens = 256},
      {.parent = NONE, .place = 0, .bytes = 1, .tokens = 256},
      {.parent = NONE, .place = 0, .bytes = 10, .tokens = 256, .cost = 0.5f}};
  const uint32_t expected[] = {3, 1, 0, 2};
  struct world world = world_new(ops);

  (void)state;
  for (uint32_t i = 0; i < 4; i++)
    ops->insert(world.policy, i, &chunks[i], world.now);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(evict(&world, KVI_POLICY_MEMORY), expected[i]);
  ops->destroy(world.policy);
}

/* ---- pins ---- */

static void arrive(struct world *world, uint64_t program, uint32_t last, uint32_t n)
{
  const struct kvi_policy_use use = {
      .program = program, .last = last, .n_chunks = n, .n_whole = n, .chunk_tokens = 256};

  world->ops->arrive(world->policy, &use, world->now);
}

static bool wait(struct world *world, uint64_t program, uint32_t last, uint32_t n, uint64_t tool)
{
  const struct kvi_policy_wait what = {
      .program = program, .last = last, .n_chunks = n, .kind = KVI_WAIT_TOOL, .tool = tool};

  return world->ops->wait(world->policy, &what, world->now);
}

/* The older one is pinned, so the other goes first; the pin is soft; and when it is over, what was used since stays longer. */
static void pins_are_soft(void **state)
{
  (void)state;
  for (int later = 0; later < 2; later++) {
    struct world world = world_new(&kvi_policy_fixed_ttl);
    uint32_t pinned = chain(&world, 1, 5), other = chain(&world, 2, 5), first, second;

    assert_true(wait(&world, 7, pinned, 5, 0));
    if (later) {
      world.now += 3 * SECOND;
      touch(&world, other, 5);
    }
    first = later ? pinned : other;
    second = later ? other : pinned;
    expect_chain_goes(&world, KVI_POLICY_MEMORY, first, 5);
    expect_chain_goes(&world, KVI_POLICY_MEMORY, second, 5);
    assert_int_equal(evict(&world, KVI_POLICY_MEMORY), NONE);
    world.ops->destroy(world.policy);
  }
}

/* Of two pins the one that ends first goes first, whatever was used last. */
static void pins_go_by_their_ends(void **state)
{
  struct world world = world_new(&kvi_policy_fixed_ttl);
  uint32_t first = chain(&world, 1, 5), second = chain(&world, 2, 5);

  (void)state;
  assert_true(wait(&world, 7, first, 5, 0));
  world.now += SECOND;
  assert_true(wait(&world, 8, second, 5, 0));
  touch(&world, first, 5);
  expect_chain_goes(&world, KVI_POLICY_MEMORY, first, 5);
  expect_chain_goes(&world, KVI_POLICY_MEMORY, second, 5);
  world.ops->destroy(world.policy);
}

/* A program is known once it has come by its name or was said to wait; it waits where it was last, also when the end of that is gone, and its handle is another's. */
static void programs_wait_where_they_were(void **state)
{
  struct world world = world_new(&kvi_policy_fixed_ttl);
  uint32_t last = chain(&world, 1, 5), other;

  (void)state;
  assert_false(wait(&world, 7, NONE, 0, 0));
  assert_false(world.ops->close(world.policy, 7, world.now));
  arrive(&world, 7, last, 5);
  (void)world.ops->remove(world.policy, last);
  world.fresh = last;
  other = chain(&world, 2, 1); /* the same handle */
  assert_int_equal(other, last);
  assert_true(wait(&world, 7, NONE, 0, 0));
  assert_int_equal(evict(&world, KVI_POLICY_MEMORY), other); /* not pinned */
  expect_chain_goes(&world, KVI_POLICY_MEMORY, last - 1, 4);
  assert_true(wait(&world, 7, NONE, 0, 0)); /* nothing of it is left */
  assert_true(world.ops->close(world.policy, 7, world.now));
  assert_false(wait(&world, 7, NONE, 0, 0));
  world.ops->destroy(world.policy);
}

/* More programs than there is room for: the ones not used for longest are forgotten. */
static void programs_have_a_bound(void **state)
{
  struct world world = world_new(&kvi_policy_continuum);
  uint32_t last = chain(&world, 1, 5);

  (void)state;
  for (uint64_t i = 1; i <= 5000; i++) {
    arrive(&world, i, last, 5);
    assert_true(wait(&world, i, last, 5, i));
  }
  assert_false(wait(&world, 1, NONE, 0, 1));
  assert_true(wait(&world, 5000, NONE, 0, 1));
  expect_chain_goes(&world, KVI_POLICY_MEMORY, last, 5);
  world.ops->destroy(world.policy);
}

/*
 * A tool that takes 3 s, and a person who takes 100 s: once that is known, who calls the tool with a long prompt is pinned for as long, and who waits for the other is not, since no prompt here costs 100 s. So the chain used
 * first stays.
 */
static void continuum_learns_tools(void **state)
{
  (void)state;
  for (uint64_t tool = 1; tool <= 2; tool++) {
    struct world world = world_new(&kvi_policy_continuum);
    uint32_t first, second;
    uint32_t learning = chain(&world, 1, 1);

    for (uint32_t i = 0; i < 2 * KVI_CONTINUUM_COLD + 10; i++) {
      arrive(&world, 7, learning, 1);
      assert_true(wait(&world, 7, learning, 1, 1 + i % 2));
      world.now += (i % 2 ? 100 : 3) * SECOND;
    }
    arrive(&world, 7, learning, 1);
    first = chain(&world, 2, 300); /* 76,800 tokens: 5.8 s */
    second = chain(&world, 3, 300);
    arrive(&world, 8, first, 300);
    assert_true(wait(&world, 8, first, 300, tool));
    world.now += SECOND;
    touch(&world, second, 300);
    world.now += SECOND;
    (void)world.ops->remove(world.policy, learning);
    assert_int_equal(evict(&world, KVI_POLICY_MEMORY), tool == 1 ? second : first);
    world.ops->destroy(world.policy);
  }
}

/* The calls that count are the last ones: a tool that has become slow is one. */
static void continuum_forgets(void **state)
{
  struct kvi_continuum *continuum;

  (void)state;
  assert_int_equal(kvi_continuum_create(&continuum), KVS_OK);
  for (uint32_t i = 0; i < 3 * KVI_CONTINUUM_OF_TOOL; i++)
    kvi_continuum_returned(continuum, 0, 1 + (double)(i * 7919 % 1000) / 1e6);
  assert_true(fabs(kvi_continuum_ttl(continuum, 0, 50) - 1) < 0.01);
  for (uint32_t i = 0; i < KVI_CONTINUUM_OF_TOOL; i++)
    kvi_continuum_returned(continuum, 0, 9);
  assert_true(fabs(kvi_continuum_ttl(continuum, 0, 50) - 9) < 0.01);
  kvi_continuum_destroy(continuum);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(sieve_like_the_queue),
                                     cmocka_unit_test(a_prompt_goes_whole),
                                     cmocka_unit_test(s3fifo_resists_scans),
                                     cmocka_unit_test(s3fifo_knows_ghosts),
                                     cmocka_unit_test(s3fifo_looks_at_so_many),
                                     cmocka_unit_test(gdsf_weighs),
                                     cmocka_unit_test(pins_are_soft),
                                     cmocka_unit_test(pins_go_by_their_ends),
                                     cmocka_unit_test(programs_wait_where_they_were),
                                     cmocka_unit_test(programs_have_a_bound),
                                     cmocka_unit_test(continuum_learns_tools),
                                     cmocka_unit_test(continuum_forgets)};

  return cmocka_run_group_tests_name("tiers/policy_classics", tests, NULL, NULL);
}
