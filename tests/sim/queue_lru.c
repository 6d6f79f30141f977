/* tests/sim/queue_lru.c: what was not used for longest goes, from the tail. As engines do that keep what is left in free blocks. */
#include "tests/sim/queue_policy.h"

#define AGE_LEAST_NS (50 * KVI_NS_PER_MS)

static kvs_status create(struct sim_queue_pool *pool, void **policy_p)
{
  *policy_p = pool;
  return KVS_OK;
}

static void destroy(void *own)
{
  (void)own;
}

/* Who has been away for so long is thought to stay away for as long. */
static double price(void *own, uint32_t chunk, uint64_t now_ns)
{
  const struct sim_queue_pool *pool = own;
  uint64_t age_ns = now_ns - pool->answered_ns[pool->tier.chunks[chunk].user];

  return sim_queue_pool_loss_s(pool, chunk, now_ns) /
         ((double)(age_ns < AGE_LEAST_NS ? AGE_LEAST_NS : age_ns) / (double)KVI_NS_PER_S);
}

const struct sim_queue_policy_ops sim_queue_lru_fcfs = {
    .name = "lru-fcfs",
    .about = "least recently used; turns are let in as they come",
    .order = &kvi_policy_lru,
    .by_request = true,
    .create = create,
    .destroy = destroy};
const struct sim_queue_policy_ops sim_queue_lru = {.name = "lru",
                                                   .about = "least recently used",
                                                   .order = &kvi_policy_lru,
                                                   .create = create,
                                                   .destroy = destroy};
const struct sim_queue_policy_ops sim_queue_lru_door = {
    .name = "lru-door",
    .about = "least recently used, and a door: what is lost over the time since",
    .order = &kvi_policy_lru,
    .create = create,
    .destroy = destroy,
    .price = price};
