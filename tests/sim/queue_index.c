/*
 * tests/sim/queue_index.c: the node's policy `index` as it is, and a price at the door: who asks for room loses a second for each second that it waits, and gets the memory of
 * those who wait elsewhere as far as keeping that saves less.
 *
 * The policy is told what it costs to have a chunk again, from below or computed, so its prices are seconds saved for each second of keeping a chunk.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/queue_policy.h"

/* What the node's policy takes for the seconds of computing tokens, if it is told a cost of 1. */
#define NODE_COST SIM_COST_DEFAULT

#define RETRY_NS (50 * KVI_NS_PER_MS) /* prices fall by themselves */

struct index {
  struct sim_queue_pool *pool;
  bool *kept; /* by program: it is back and not let in yet, and keeps what is there of it */
};

static void destroy(void *own)
{
  struct index *index = own;

  if (!index)
    return;
  free(index->kept);
  free(index);
}

static kvs_status create(struct sim_queue_pool *pool, void **policy_p)
{
  struct index *index = calloc(1, sizeof *index);

  *policy_p = index;
  if (!index)
    return KVS_ERR_NOMEM;
  index->pool = pool;
  index->kept = calloc((size_t)pool->work->n_programs + 1, sizeof *index->kept);
  return index->kept ? KVS_OK : KVS_ERR_NOMEM;
}

static void let(struct index *index, uint32_t program)
{
  if (!index->kept[program])
    return;
  index->kept[program] = false;
  sim_queue_tier_let(&index->pool->tier, program);
}

/* In parts of what the node's policy would take for computing the last of n chunks. */
static double cost_of(const struct sim_queue_pool *pool, uint32_t program, uint32_t n, uint64_t now_ns)
{
  double tokens = pool->work->chunk_tokens;

  return n == 0 ? 0
                : sim_queue_pool_loss_s(pool, program, n, now_ns) /
                      sim_cost_of(&NODE_COST, (n - 1) * tokens, n * tokens);
}

static struct kvi_policy_use use_of(const struct index *index, uint32_t program, uint32_t n_whole,
                                    uint64_t now_ns)
{
  const struct sim_queue_tier *tier = &index->pool->tier;
  uint32_t n = tier->there[program];

  return (struct kvi_policy_use){.program = (uint64_t)program + 1,
                                 .last = n > 0 ? tier->work->programs[program].first_chunk + n - 1
                                               : KVI_POLICY_NONE,
                                 .n_chunks = n,
                                 .n_whole = n_whole > n ? n_whole : n,
                                 .chunk_tokens = (float)tier->work->chunk_tokens,
                                 .cost = (float)cost_of(index->pool, program, n, now_ns)};
}

static void came(void *own, const struct sim_queue_came *what, uint64_t now_ns)
{
  struct index *index = own;
  struct sim_queue_tier *tier = &index->pool->tier;
  struct kvi_policy_use use =
      use_of(index, what->program, what->turn->input / tier->work->chunk_tokens, now_ns);

  tier->ops->arrive(tier->policy, &use, tier->clock_ns > now_ns ? tier->clock_ns : now_ns);
  if (use.n_chunks == 0)
    return;
  index->kept[what->program] = true;
  sim_queue_tier_hold(tier, what->program);
}

static void started(void *own, uint32_t program, double waited_s, uint32_t lost, uint64_t now_ns)
{
  (void)waited_s;
  (void)lost;
  (void)now_ns;
  let(own, program);
}

static void answered(void *own, const struct sim_queue_answered *what, uint64_t now_ns)
{
  struct index *index = own;
  const struct sim_queue_tier *tier = &index->pool->tier;
  struct kvi_policy_use use = use_of(index, what->program, what->chunks, now_ns);
  struct kvi_policy_wait wait = {.program = use.program,
                                 .last = use.last,
                                 .n_chunks = use.n_chunks,
                                 .kind = what->turn->kind,
                                 .tool = what->turn->tool};

  tier->ops->extend(tier->policy, &use, tier->clock_ns);
  tier->ops->wait(tier->policy, &wait, tier->clock_ns);
  if (what->is_last)
    tier->ops->close(tier->policy, wait.program, tier->clock_ns);
}

/* Seconds saved for each second that the chunk stays. */
static double price(const struct sim_queue_tier *tier, uint32_t chunk)
{
  struct kvi_policy_info info;
  double saved;

  tier->ops->info(tier->policy, chunk, &info);
  memcpy(&saved, &info.rank, sizeof saved);
  return saved;
}

static bool make_room(void *own, const struct sim_queue_asker *asker, uint64_t now_ns)
{
  struct index *index = own;
  struct sim_queue_pool *pool = index->pool;
  double most = 1.0 / asker->chunks; /* its second, shared by what has to go for it */

  while (sim_queue_pool_free(pool) < asker->chunks) {
    uint32_t victim = sim_queue_tier_victim(&pool->tier, now_ns);

    if (victim != KVI_POLICY_NONE) {
      if (!asker->is_desperate && price(&pool->tier, victim) > most)
        return false;
      sim_queue_pool_evict(pool, victim, now_ns);
      continue;
    }
    for (victim = pool->work->n_programs; victim-- > 0;)
      if (index->kept[victim] && victim != asker->program)
        break;
    if (!asker->is_desperate || victim == UINT32_MAX)
      return false;
    let(index, victim);
  }
  return true;
}

static uint64_t changes_ns(void *own, uint64_t now_ns)
{
  (void)own;
  return now_ns + RETRY_NS;
}

const struct sim_queue_policy_ops sim_queue_index = {.name = "index",
                                                     .about = "the node's index, and a price for letting in",
                                                     .order = &kvi_policy_index,
                                                     .create = create,
                                                     .destroy = destroy,
                                                     .came = came,
                                                     .started = started,
                                                     .answered = answered,
                                                     .make_room = make_room,
                                                     .changes_ns = changes_ns};
