/*
 * tiers/policy/sieve.c: SIEVE (Zhang and others, "SIEVE is simpler than LRU", NSDI 2024) over prefix chains: a queue by when chunks came, and a hand that goes from old to new, over those that may not go. It takes back the mark of a chunk
 * that was used since it passed, and evicts the first leaf without one.
 *
 * The hand does not go from chunk to chunk, since most have others behind them: a leaf's key is the round in which the hand comes to it next, and its place in the queue, so the heap's least is the one that the hand meets next; and a use says which
 * round it may go in at the soonest.
 */
#include <stdlib.h>

#include "tiers/policy/heap.h"

#define NEAR                                                                                                 \
  64u /* chunks that came between a chunk and the one it follows, at most, if both came with one request */

struct sieve {
  struct kvi_heap heap; /* first */
  struct sieve_hand {
    uint64_t round, place; /* what came up to here is passed in this round */
    uint64_t newest;       /* the place of the last that came */
  } hands[2];              /* by group */
  uint64_t n_came;         /* so far */
  struct sieve_chunk {
    struct kvi_word48 place, least; /* the round before which it does not go */
  } * chunks;
};

static struct sieve *sieve_of(struct kvi_policy *policy)
{
  return (struct sieve *)policy;
}

/* The round in which the hand comes to it next. */
static uint64_t round_of(const struct sieve *sieve, uint32_t chunk)
{
  const struct sieve_hand *hand = &sieve->hands[sieve->heap.forest.nodes[chunk].group];

  return hand->round + (kvi_word48_get(&sieve->chunks[chunk].place) <= hand->place);
}

static bool is_marked(const struct sieve *sieve, uint32_t chunk)
{
  return kvi_word48_get(&sieve->chunks[chunk].least) > round_of(sieve, chunk);
}

static void mark(struct sieve *sieve, uint32_t chunk, bool is)
{
  kvi_word48_set(&sieve->chunks[chunk].least, is ? round_of(sieve, chunk) + 1 : 0);
}

static struct kvi_heap_key sieve_key(const struct kvi_policy *policy, uint32_t chunk)
{
  const struct sieve *sieve = (const struct sieve *)policy;
  uint64_t round = round_of(sieve, chunk), least = kvi_word48_get(&sieve->chunks[chunk].least);

  return (struct kvi_heap_key){.number = (double)(round > least ? round : least),
                               .time = kvi_word48_get(&sieve->chunks[chunk].place)};
}

static void sieve_destroy(struct kvi_policy *policy)
{
  if (policy)
    free(sieve_of(policy)->chunks);
  kvi_heap_destroy(policy);
}

static kvs_status sieve_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  kvs_status status = kvi_heap_create(sizeof(struct sieve), capacity, true, sieve_key, policy_p);

  if (status != KVS_OK)
    return status;
  sieve_of(*policy_p)->chunks = calloc(capacity, sizeof(struct sieve_chunk));
  if (sieve_of(*policy_p)->chunks)
    return KVS_OK;
  sieve_destroy(*policy_p);
  *policy_p = NULL;
  return KVS_ERR_NOMEM;
}

static uint64_t sieve_memory(const struct kvi_policy *policy)
{
  return kvi_heap_memory(policy) + sizeof(struct sieve) - sizeof(struct kvi_heap) +
         (uint64_t)policy->capacity * sizeof(struct sieve_chunk);
}

static void join(struct sieve *sieve, uint32_t chunk, enum kvi_policy_group group)
{
  kvi_word48_set(&sieve->chunks[chunk].place, ++sieve->n_came);
  sieve->hands[group].newest = sieve->n_came;
}

static void sieve_insert(struct kvi_policy *policy, uint32_t handle, const struct kvi_policy_chunk *chunk,
                         uint64_t now_ns)
{
  sieve_of(policy)->chunks[handle] = (struct sieve_chunk){0};
  join(sieve_of(policy), handle, KVI_POLICY_MEMORY);
  kvi_forest_insert(policy, handle, chunk, now_ns);
}

static void sieve_touch(struct kvi_policy *policy, uint32_t chunk, uint64_t now_ns)
{
  if (!kvi_forest_is_resident(policy, chunk))
    return;
  mark(sieve_of(policy), chunk, true);
  kvi_forest_touch(policy, chunk, now_ns);
}

/* Behind the newest the hand begins with the oldest again. What came just before it is next, as if it had come after it: a prompt goes from its end on, in whatever order it came. */
static uint32_t sieve_remove(struct kvi_policy *policy, uint32_t chunk)
{
  struct sieve *sieve = sieve_of(policy);
  struct sieve_hand *hand = &sieve->hands[policy->nodes[chunk].group];
  uint32_t parent = kvi_forest_parent(policy, chunk);
  uint64_t place = kvi_word48_get(&sieve->chunks[chunk].place),
           before = parent != KVI_POLICY_NONE ? kvi_word48_get(&sieve->chunks[parent].place) : place;

  if (!kvi_forest_is_resident(policy, chunk))
    return kvi_forest_remove(policy, chunk);
  if (before < place && place - before <= NEAR && policy->nodes[parent].group == policy->nodes[chunk].group) {
    bool marked = is_marked(sieve, parent);

    kvi_word48_set(&sieve->chunks[parent].place, place);
    mark(sieve, parent, marked);
  } else if (place == hand->newest && place == hand->place + 1) {
    hand->round++;
    hand->place = 0;
  }
  return kvi_forest_remove(policy, chunk);
}

/* It is the newest there. */
static void sieve_move(struct kvi_policy *policy, uint32_t chunk, enum kvi_policy_group group)
{
  struct sieve *sieve = sieve_of(policy);
  bool marked = is_marked(sieve, chunk);

  if (!kvi_forest_is_resident(policy, chunk) || policy->nodes[chunk].group == (uint32_t)group)
    return;
  join(sieve, chunk, group);
  kvi_word48_set(&sieve->chunks[chunk].least, marked ? sieve->hands[group].round + 1 : 0);
  kvi_forest_move(policy, chunk, group);
}

static uint32_t sieve_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  uint32_t victim = kvi_heap_victim(policy, group, now_ns);
  struct kvi_heap_key key;

  if (victim == KVI_POLICY_NONE)
    return KVI_POLICY_NONE;
  key = sieve_key(policy, victim);
  sieve_of(policy)->hands[group].round = (uint64_t)key.number;
  sieve_of(policy)->hands[group].place = key.time - 1;
  return victim;
}

const struct kvi_policy_ops kvi_policy_sieve = {
    .name = "sieve",
    .create = sieve_create,
    .destroy = sieve_destroy,
    .memory = sieve_memory,
    .insert = sieve_insert,
    .link = kvi_forest_link,
    .touch = sieve_touch,
    .hold = kvi_forest_hold,
    .unhold = kvi_forest_unhold,
    .remove = sieve_remove,
    .move = sieve_move,
    .victim = sieve_victim,
    .info = kvi_forest_info,
};
