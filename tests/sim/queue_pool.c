#include "tests/sim/queue_pool.h"

void sim_queue_pool_evict(struct sim_queue_pool *pool, uint32_t chunk, uint64_t now_ns)
{
  uint32_t program = pool->tier.chunks[chunk].user;
  double kept_s = (double)(now_ns - pool->answered_ns[program]) / (double)KVI_NS_PER_S;

  if (pool->states[program] == SIM_QUEUE_GONE)
    pool->never_chunk_s += kept_s;
  else if (pool->states[program] != SIM_QUEUE_ENDED)
    pool->wasted_chunk_s += kept_s;
  sim_queue_tier_evict(&pool->tier, chunk);
}

double sim_queue_pool_loss_s(const struct sim_queue_pool *pool, uint32_t chunk, uint64_t now_ns)
{
  double tokens = pool->work->chunk_tokens, loaded_s;
  uint32_t n = pool->work->depth[chunk] + 1;
  double computed_s = sim_cost_of(&pool->cost, (n - 1) * tokens, n * tokens);

  if (pool->lower.capacity == 0 || !pool->lower.chunks[chunk].is_there)
    return computed_s;
  loaded_s =
      pool->link_weight * sim_queue_link_would_take_s(&pool->link, n * pool->bytes_per_chunk, now_ns) / n;
  return loaded_s < computed_s ? loaded_s : computed_s;
}
