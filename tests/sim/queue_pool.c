#include "tests/sim/queue_pool.h"

void sim_queue_pool_evict(struct sim_queue_pool *pool, uint32_t chunk, uint64_t now_ns)
{
  uint32_t program = pool->work->of_chunk[chunk];

  if (pool->states[program] != SIM_QUEUE_ENDED)
    pool->wasted_chunk_s += (double)(now_ns - pool->answered_ns[program]) / (double)KVI_NS_PER_S;
  sim_queue_tier_evict(&pool->tier, chunk);
}

double sim_queue_pool_loss_s(const struct sim_queue_pool *pool, uint32_t program, uint32_t from, uint32_t to,
                             uint64_t now_ns)
{
  double tokens = pool->work->chunk_tokens;
  double computed_s = sim_cost_of(&pool->cost, from * tokens, to * tokens);
  double loaded_s;

  if (pool->lower.capacity == 0 || pool->lower.there[program] < to)
    return computed_s;
  loaded_s = sim_queue_link_would_take_s(&pool->link, (to - from) * pool->bytes_per_chunk, now_ns);
  return loaded_s < computed_s ? loaded_s : computed_s;
}
