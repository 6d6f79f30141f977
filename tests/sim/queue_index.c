/*
 * tests/sim/queue_index.c: the node's policy `index` as it is.
 *
 * It is told what it costs to have a chunk again, from below or computed, so its prices are seconds saved for each second of keeping a chunk.
 */
#include "tests/sim/queue_policy.h"

/* What the node's policy takes for the seconds of computing tokens, if it is told a cost of 1. */
#define NODE_COST SIM_COST_DEFAULT
/*
 * At the door prices count so many times. An order needs no more than that they are in proportion; the door weighs them against a second of whoever asks, and what is computed again, or brought again, is in the way
 * of all who run. Chosen of 1, 1.5, 2 and 3 on seeds 1 to 6.
 */
#define DOOR_WEIGHT 2.0

static kvs_status create(struct sim_queue_pool *pool, void **policy_p)
{
  *policy_p = pool;
  return KVS_OK;
}

static void destroy(void *own)
{
  (void)own;
}

/* In parts of what the node's policy would take for computing it. */
static double cost_of(const struct sim_queue_pool *pool, uint32_t chunk, uint64_t now_ns)
{
  double tokens = pool->work->chunk_tokens, before = pool->work->depth[chunk] * tokens;

  return sim_queue_pool_loss_s(pool, chunk, now_ns) / sim_cost_of(&NODE_COST, before, before + tokens);
}

static uint64_t name_of(const struct sim_queue_turn *turn, uint32_t program)
{
  if (turn->is_unnamed)
    return 0;
  return turn->name > 0 ? turn->name : (uint64_t)program + 1;
}

static struct kvi_policy_use use_of(const struct sim_queue_pool *pool, const struct sim_queue_turn *turn,
                                    uint32_t program, uint32_t n_whole, uint64_t now_ns)
{
  const struct sim_queue_tier *tier = &pool->tier;
  uint32_t n = sim_queue_tier_there(tier, program), last = sim_queue_tier_last(tier, program);

  return (struct kvi_policy_use){.program = name_of(turn, program),
                                 .last = last,
                                 .n_chunks = n,
                                 .n_whole = n_whole > n ? n_whole : n,
                                 .chunk_tokens = (float)tier->work->chunk_tokens,
                                 .cost = n > 0 ? (float)cost_of(pool, last, now_ns) : 0};
}

static void came(void *own, const struct sim_queue_came *what, uint64_t now_ns)
{
  struct sim_queue_pool *pool = own;
  struct sim_queue_tier *tier = &pool->tier;
  struct kvi_policy_use use =
      use_of(pool, what->turn, what->program, what->turn->input / tier->work->chunk_tokens, now_ns);

  tier->ops->arrive(tier->policy, &use, tier->clock_ns > now_ns ? tier->clock_ns : now_ns);
}

static void answered(void *own, const struct sim_queue_answered *what, uint64_t now_ns)
{
  const struct sim_queue_pool *pool = own;
  const struct sim_queue_tier *tier = &pool->tier;
  struct kvi_policy_use use = use_of(pool, what->turn, what->program, what->chunks, now_ns);
  struct kvi_policy_wait wait = {.program = use.program,
                                 .last = use.last,
                                 .n_chunks = use.n_chunks,
                                 .kind = what->turn->kind,
                                 .tool = what->turn->tool,
                                 .announced_s = what->turn->announced_s};

  tier->ops->extend(tier->policy, &use, tier->clock_ns);
  if (wait.program == 0)
    return;
  tier->ops->wait(tier->policy, &wait, tier->clock_ns);
  if (what->is_last)
    tier->ops->close(tier->policy, wait.program, tier->clock_ns);
}

/* Seconds saved for each second that the chunk stays: chunks were told to be of one byte. Not the rank, which is the last use where the policy goes by that for a while. */
static double price(void *own, uint32_t chunk, uint64_t now_ns)
{
  const struct sim_queue_pool *pool = own;
  struct kvi_policy_info info;

  (void)now_ns;
  pool->tier.ops->info(pool->tier.policy, chunk, &info);
  return info.price * DOOR_WEIGHT;
}

const struct sim_queue_policy_ops sim_queue_index_open = {.name = "index-open",
                                                          .about = "the node's index, without a door",
                                                          .order = &kvi_policy_index,
                                                          .create = create,
                                                          .destroy = destroy,
                                                          .came = came,
                                                          .answered = answered};
const struct sim_queue_policy_ops sim_queue_index = {.name = "index",
                                                     .about = "the node's index, and its prices at the door",
                                                     .order = &kvi_policy_index,
                                                     .create = create,
                                                     .destroy = destroy,
                                                     .came = came,
                                                     .answered = answered,
                                                     .price = price};
