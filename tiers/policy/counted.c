/*
 * tiers/policy/counted.c: orders by how often a chunk was used: lfu, as LFU with dynamic aging (Arlitt and others, "Evaluating content management techniques for web proxy caches", 2000), and gdsf, GreedyDual-Size with frequency
 * (Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy", 1998), which weighs a use by the seconds to compute the chunk, for each byte.
 *
 * Both age as GreedyDual does: a chunk's number is L + uses * what a use is worth, and L is the number of the last victim, so that what was used often long ago goes at last. Of equal numbers the least recently used goes.
 * What was evicted is forgotten. L is one for both groups, so that their numbers compare.
 */
#include <stdlib.h>

#include "tiers/policy/heap.h"
#include "tiers/policy/prefill.h"

struct counted_chunk {
  double number;
  float worth; /* of a use */
  uint32_t uses;
};

struct counted {
  struct kvi_heap heap; /* first */
  bool weighs;
  double aged; /* L */
  struct counted_chunk *chunks;
};

static struct counted *counted_of(struct kvi_policy *policy)
{
  return (struct counted *)policy;
}

static struct kvi_heap_key counted_key(const struct kvi_policy *policy, uint32_t chunk)
{
  return (struct kvi_heap_key){.number = ((const struct counted *)policy)->chunks[chunk].number,
                               .time = kvi_word48_get(&policy->nodes[chunk].last_use)};
}

static void counted_destroy(struct kvi_policy *policy)
{
  if (policy)
    free(counted_of(policy)->chunks);
  kvi_heap_destroy(policy);
}

static kvs_status create(uint32_t capacity, bool weighs, struct kvi_policy **policy_p)
{
  kvs_status status = kvi_heap_create(sizeof(struct counted), capacity, true, counted_key, policy_p);

  if (status != KVS_OK)
    return status;
  counted_of(*policy_p)->weighs = weighs;
  counted_of(*policy_p)->chunks = calloc(capacity, sizeof(struct counted_chunk));
  if (counted_of(*policy_p)->chunks)
    return KVS_OK;
  counted_destroy(*policy_p);
  *policy_p = NULL;
  return KVS_ERR_NOMEM;
}

static kvs_status lfu_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  return create(capacity, false, policy_p);
}

static kvs_status gdsf_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  return create(capacity, true, policy_p);
}

static uint64_t counted_memory(const struct kvi_policy *policy)
{
  return kvi_heap_memory(policy) + sizeof(struct counted) - sizeof(struct kvi_heap) +
         (uint64_t)policy->capacity * sizeof(struct counted_chunk);
}

static float worth(const struct kvi_policy_chunk *chunk)
{
  double tokens = chunk->tokens > 0 ? chunk->tokens : KVI_PREFILL_TOKENS,
         cost = chunk->cost > 0 ? chunk->cost : 1;

  return (float)(cost * kvi_prefill_s(tokens, chunk->place, chunk->place + 1.0) /
                 (double)(chunk->bytes > 0 ? chunk->bytes : 1));
}

static void count(struct counted *counted, struct counted_chunk *chunk)
{
  chunk->uses += chunk->uses < UINT32_MAX;
  chunk->number = counted->aged + (double)chunk->uses * chunk->worth;
}

static void counted_insert(struct kvi_policy *policy, uint32_t handle, const struct kvi_policy_chunk *chunk,
                           uint64_t now_ns)
{
  struct counted_chunk *own = &counted_of(policy)->chunks[handle];

  *own = (struct counted_chunk){.worth = counted_of(policy)->weighs ? worth(chunk) : 1};
  count(counted_of(policy), own);
  kvi_forest_insert(policy, handle, chunk, now_ns);
}

static void counted_touch(struct kvi_policy *policy, uint32_t handle, uint64_t now_ns)
{
  if (!kvi_forest_is_resident(policy, handle))
    return;
  count(counted_of(policy), &counted_of(policy)->chunks[handle]);
  kvi_forest_touch(policy, handle, now_ns);
}

static uint32_t counted_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  struct counted *counted = counted_of(policy);
  uint32_t victim = kvi_heap_victim(policy, group, now_ns);

  if (victim != KVI_POLICY_NONE && counted->aged < counted->chunks[victim].number)
    counted->aged = counted->chunks[victim].number;
  return victim;
}

#define COUNTED_OPS                                                                                          \
  .destroy = counted_destroy, .memory = counted_memory, .insert = counted_insert, .link = kvi_forest_link,   \
  .touch = counted_touch, .hold = kvi_forest_hold, .unhold = kvi_forest_unhold, .remove = kvi_forest_remove, \
  .move = kvi_forest_move, .victim = counted_victim, .info = kvi_heap_info, .counts = true

const struct kvi_policy_ops kvi_policy_lfu = {.name = "lfu", .create = lfu_create, COUNTED_OPS};
const struct kvi_policy_ops kvi_policy_gdsf = {.name = "gdsf", .create = gdsf_create, COUNTED_OPS};
