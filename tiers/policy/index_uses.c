/*
 * tiers/policy/index_uses.c: which branch used a chunk last, and what the shadows make of uses and losses. Memory over a medium has a shadow of its own, of what leaves that.
 */
#include <stdlib.h>

#include "tiers/policy/index_private.h"

/* What is lost counts for a tenant as far as what it keeps does. */
static double shadow_cost(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  const struct kvi_index *index = ctx;

  return (double)index->shares[branch->tenant] * kvi_index_branch_cost(index, branch, from, to);
}

static double shadow_memory_cost(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  const struct kvi_index *index = ctx;

  return (double)index->shares[branch->tenant] * kvi_index_memory_cost(index, branch, from, to);
}

static double unknown_rate(const void *ctx, uint64_t used_ns, uint64_t now_ns)
{
  return kvi_index_unknown_rate(ctx, used_ns, now_ns);
}

kvs_status kvi_index_uses_start(struct kvi_index *index, uint32_t capacity)
{
  kvs_status status;

  index->evicted = KVI_POLICY_NONE;
  index->users = calloc(capacity, sizeof(*index->users));
  if (!index->users)
    return KVS_ERR_NOMEM;
  index->shadow.branches = index->memory.shadow.branches = index->branches;
  index->shadow.worth = (struct kvi_shadow_worth){
      .price = kvi_index_branch_price, .cost = shadow_cost, .unknown = unknown_rate, .ctx = index};
  index->memory.shadow.worth = (struct kvi_shadow_worth){
      .price = kvi_index_memory_price, .cost = shadow_memory_cost, .unknown = unknown_rate, .ctx = index};
  index->memory.shadow.below = true;
  status = kvi_shadow_start(&index->shadow, capacity);
  return status == KVS_OK ? kvi_shadow_start(&index->memory.shadow, capacity) : status;
}

void kvi_index_uses_end(struct kvi_index *index)
{
  kvi_shadow_end(&index->memory.shadow);
  kvi_shadow_end(&index->shadow);
  free(index->users);
}

uint64_t kvi_index_uses_memory(const struct kvi_index *index)
{
  return (uint64_t)index->forest.capacity * sizeof(*index->users) + kvi_shadow_memory(&index->shadow) +
         kvi_shadow_memory(&index->memory.shadow);
}

static void shadows_request(struct kvi_index *index, uint32_t branch, uint64_t now_ns)
{
  kvi_shadow_request(&index->shadow, branch, now_ns);
  if (index->memory.chunks > 0)
    kvi_shadow_request(&index->memory.shadow, branch, now_ns);
}

static void shadows_used(struct kvi_index *index, const struct kvi_shadow_use *below, uint64_t now_ns)
{
  struct kvi_shadow_use use = *below;

  if (index->memory.chunks > 0)
    kvi_shadow_used(&index->memory.shadow, below, now_ns);
  use.known = use.missed = false; /* it knows that by its names */
  kvi_shadow_used(&index->shadow, &use, now_ns);
}

void kvi_index_used(struct kvi_index *index, uint32_t branch, bool all, uint64_t now_ns)
{
  uint32_t *users = index->users, tag = kvi_branches_tag(index->branches, branch);
  uint32_t n = kvi_branch(index->branches, branch)->n_chunks;

  if (all)
    shadows_request(index, branch, now_ns);
  for (uint32_t chunk = kvi_branch(index->branches, branch)->last;
       n > 0 && chunk != KVI_POLICY_NONE && (all || users[chunk] != tag);
       chunk = kvi_forest_parent(&index->forest, chunk), n--) {
    const struct kvi_shadow_use use = {.branch = branch,
                                       .handle = chunk,
                                       .n = n,
                                       .known = users[chunk] != 0,
                                       .missed = index->forest.nodes[chunk].group == KVI_POLICY_MEDIUM};

    users[chunk] = tag;
    shadows_used(index, &use, now_ns);
  }
  kvi_index_memory_used(index, branch);
}

void kvi_index_evicted(struct kvi_policy *policy, uint32_t chunk)
{
  kvi_index_of(policy)->evicted = chunk;
}

void kvi_index_uses_gone(struct kvi_index *index, uint32_t chunk)
{
  if (chunk == index->evicted)
    kvi_shadow_lost(&index->shadow, chunk);
  else
    kvi_shadow_gone(&index->shadow, chunk);
  index->evicted = KVI_POLICY_NONE;
  kvi_shadow_gone(&index->memory.shadow, chunk);
  index->users[chunk] = 0;
}
