#include "tests/sim/queue_tier.h"

#include <stdlib.h>

#define TICK_NS 256u /* the node's policies tell times apart that differ by as much */

kvs_status sim_queue_tier_create(const struct sim_queue_work *work, const uint32_t *turns,
                                 const struct kvi_policy_ops *ops, uint32_t capacity,
                                 struct sim_queue_tier *tier)
{
  *tier = (struct sim_queue_tier){
      .work = work, .turns = turns, .ops = ops, .capacity = capacity, .clock_ns = TICK_NS};
  tier->chunks = calloc((size_t)work->n_chunks + 1, sizeof *tier->chunks);
  tier->holds = calloc((size_t)work->n_programs + 1, sizeof *tier->holds);
  if (!tier->chunks || !tier->holds)
    return KVS_ERR_NOMEM;
  return ops->create(work->n_chunks + 1, &tier->policy);
}

void sim_queue_tier_destroy(struct sim_queue_tier *tier)
{
  if (tier->policy)
    tier->ops->destroy(tier->policy);
  free(tier->chunks);
  free(tier->holds);
}

uint32_t sim_queue_tier_there(const struct sim_queue_tier *tier, uint32_t program)
{
  const uint32_t *chain;
  uint32_t low = 0, high = sim_queue_work_chain(tier->work, tier->turns[program], &chain);

  while (low < high) {
    uint32_t middle = low + (high - low) / 2;

    if (tier->chunks[chain[middle]].is_there)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

uint32_t sim_queue_tier_last(const struct sim_queue_tier *tier, uint32_t program)
{
  const uint32_t *chain;
  uint32_t n = sim_queue_tier_there(tier, program);

  sim_queue_work_chain(tier->work, tier->turns[program], &chain);
  return n > 0 ? chain[n - 1] : KVI_POLICY_NONE;
}

uint32_t sim_queue_tier_findable(const struct sim_queue_tier *tier, uint32_t program)
{
  uint32_t most = (tier->work->turns[tier->turns[program]].input - 1) / tier->work->chunk_tokens,
           there = sim_queue_tier_there(tier, program);

  return there < most ? there : most;
}

uint32_t sim_queue_tier_use(struct sim_queue_tier *tier, uint32_t program, uint32_t n, uint64_t now_ns)
{
  uint64_t at_ns = tier->clock_ns < now_ns ? now_ns / TICK_NS * TICK_NS : tier->clock_ns;
  uint32_t before = tier->used;
  const uint32_t *chain;

  sim_queue_work_chain(tier->work, tier->turns[program], &chain);
  for (uint32_t i = n; i-- > 0; at_ns += TICK_NS) {
    const struct kvi_policy_chunk what = {.parent = tier->work->parent[chain[i]],
                                          .place = i,
                                          .name = chain[i] + 1,
                                          .bytes = 1,
                                          .tokens = (float)tier->work->chunk_tokens};
    struct sim_queue_chunk *chunk = &tier->chunks[chain[i]];

    chunk->user = program;
    if (chunk->is_there) {
      tier->ops->touch(tier->policy, chain[i], at_ns);
      continue;
    }
    tier->ops->insert(tier->policy, chain[i], &what, at_ns);
    chunk->is_there = true;
    tier->used++;
    if (i > 0)
      tier->chunks[chain[i - 1]].children++;
  }
  tier->clock_ns = at_ns;
  return tier->used - before;
}

/* What is above a chunk that has covers has them already. */
uint32_t sim_queue_tier_hold(struct sim_queue_tier *tier, uint32_t program, uint32_t n)
{
  const uint32_t *chain;
  uint32_t held;

  sim_queue_work_chain(tier->work, tier->turns[program], &chain);
  held = chain[n - 1];
  tier->ops->hold(tier->policy, held);
  tier->holds[program]++;
  for (uint32_t i = held; i != KVI_POLICY_NONE && tier->chunks[i].covers++ == 0; i = tier->work->parent[i])
    tier->held++;
  return held;
}

void sim_queue_tier_let(struct sim_queue_tier *tier, uint32_t program, uint32_t held)
{
  tier->ops->unhold(tier->policy, held);
  tier->holds[program]--;
  for (uint32_t i = held; i != KVI_POLICY_NONE && --tier->chunks[i].covers == 0; i = tier->work->parent[i])
    tier->held--;
}

uint32_t sim_queue_tier_victim(struct sim_queue_tier *tier, uint64_t now_ns)
{
  return tier->ops->victim(tier->policy, KVI_POLICY_MEMORY,
                           tier->clock_ns > now_ns ? tier->clock_ns : now_ns);
}

bool sim_queue_tier_may_go(const struct sim_queue_tier *tier, uint32_t chunk)
{
  return tier->chunks[chunk].children + tier->chunks[chunk].covers == 0;
}

void sim_queue_tier_evict(struct sim_queue_tier *tier, uint32_t chunk)
{
  uint32_t parent = tier->work->parent[chunk];

  (void)kvi_policy_evict(tier->ops, tier->policy, chunk);
  tier->chunks[chunk].is_there = false;
  if (parent != KVI_POLICY_NONE)
    tier->chunks[parent].children--;
  tier->used--;
  tier->evicted++;
}
