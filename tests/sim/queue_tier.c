#include "tests/sim/queue_tier.h"

#include <stdlib.h>

#define TICK_NS 256u /* the node's policies tell times apart that differ by as much */

kvs_status sim_queue_tier_create(const struct sim_queue_work *work, const struct kvi_policy_ops *ops,
                                 uint32_t capacity, struct sim_queue_tier *tier)
{
  *tier = (struct sim_queue_tier){.work = work, .ops = ops, .capacity = capacity, .clock_ns = TICK_NS};
  tier->there = calloc((size_t)work->n_programs + 1, sizeof *tier->there);
  tier->holds = calloc((size_t)work->n_programs + 1, sizeof *tier->holds);
  if (!tier->there || !tier->holds)
    return KVS_ERR_NOMEM;
  return ops->create(work->n_chunks + 1, &tier->policy);
}

void sim_queue_tier_destroy(struct sim_queue_tier *tier)
{
  if (tier->policy)
    tier->ops->destroy(tier->policy);
  free(tier->there);
  free(tier->holds);
}

uint32_t sim_queue_tier_use(struct sim_queue_tier *tier, uint32_t program, uint32_t n, uint64_t now_ns)
{
  uint32_t first = tier->work->programs[program].first_chunk, there = tier->there[program];
  uint64_t at_ns = tier->clock_ns < now_ns ? now_ns / TICK_NS * TICK_NS : tier->clock_ns;

  for (uint32_t i = n; i-- > 0; at_ns += TICK_NS) {
    const struct kvi_policy_chunk what = {.parent = i > 0 ? first + i - 1 : KVI_POLICY_NONE,
                                          .place = i,
                                          .name = first + i + 1,
                                          .bytes = 1,
                                          .tokens = (float)tier->work->chunk_tokens};

    if (i < there)
      tier->ops->touch(tier->policy, first + i, at_ns);
    else
      tier->ops->insert(tier->policy, first + i, &what, at_ns);
  }
  tier->clock_ns = at_ns;
  if (n <= there)
    return 0;
  tier->there[program] = n;
  tier->used += n - there;
  return n - there;
}

static uint32_t last_of(const struct sim_queue_tier *tier, uint32_t program)
{
  return tier->work->programs[program].first_chunk + tier->there[program] - 1;
}

void sim_queue_tier_hold(struct sim_queue_tier *tier, uint32_t program)
{
  tier->ops->hold(tier->policy, last_of(tier, program));
  if (tier->holds[program]++ == 0)
    tier->held += tier->there[program];
}

void sim_queue_tier_let(struct sim_queue_tier *tier, uint32_t program)
{
  tier->ops->unhold(tier->policy, last_of(tier, program));
  if (--tier->holds[program] == 0)
    tier->held -= tier->there[program];
}

uint32_t sim_queue_tier_victim(struct sim_queue_tier *tier, uint64_t now_ns)
{
  return tier->ops->victim(tier->policy, KVI_POLICY_MEMORY,
                           tier->clock_ns > now_ns ? tier->clock_ns : now_ns);
}

void sim_queue_tier_evict(struct sim_queue_tier *tier, uint32_t chunk)
{
  tier->ops->remove(tier->policy, chunk);
  tier->there[tier->work->of_chunk[chunk]]--;
  tier->used--;
  tier->evicted++;
}
