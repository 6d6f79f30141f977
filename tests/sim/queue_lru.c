/* tests/sim/queue_lru.c: whoever asks gets room; what was not used for longest goes, from the tail. As engines do that keep what is left in free blocks. */
#include "tests/sim/queue_policy.h"

bool sim_queue_evict_until(struct sim_queue_pool *pool, uint32_t chunks, uint64_t now_ns)
{
  while (sim_queue_pool_free(pool) < chunks) {
    uint32_t victim = sim_queue_tier_victim(&pool->tier, now_ns);

    if (victim == KVI_POLICY_NONE)
      return false;
    sim_queue_pool_evict(pool, victim, now_ns);
  }
  return true;
}

static kvs_status create(struct sim_queue_pool *pool, void **policy_p)
{
  *policy_p = pool;
  return KVS_OK;
}

static void destroy(void *own)
{
  (void)own;
}

/* Nothing goes for whom it would not be enough. */
static bool make_room(void *own, const struct sim_queue_asker *asker, uint64_t now_ns)
{
  struct sim_queue_pool *pool = own;

  if (sim_queue_pool_free(pool) + pool->tier.used - pool->held < asker->chunks)
    return false;
  return sim_queue_evict_until(pool, asker->chunks, now_ns);
}

const struct sim_queue_policy_ops sim_queue_lru_fcfs = {
    .name = "lru-fcfs",
    .about = "least recently used; turns are let in as they come",
    .order = &kvi_policy_leaf_lru,
    .by_request = true,
    .create = create,
    .destroy = destroy,
    .make_room = make_room};
const struct sim_queue_policy_ops sim_queue_lru = {.name = "lru",
                                                   .about = "least recently used",
                                                   .order = &kvi_policy_leaf_lru,
                                                   .create = create,
                                                   .destroy = destroy,
                                                   .make_room = make_room};
