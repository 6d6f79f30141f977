/*
 * tests/sim/queue_ttl.c: contexts that are pinned for a time after each answer, as Continuum does: nobody gets their memory until that is over; then they go by last use.
 *
 * A pin ends when its time is over and its program is still away, when the program is back, from when on queue_room.h keeps what it needs, and when that breaks it.
 */
#include <stdlib.h>

#include "tests/sim/queue_policy.h"
#include "tiers/policy/continuum.h"

#define FIXED_S 2.0
#define LEAST_S 0.01 /* shorter ones are none */

struct ttl {
  struct sim_queue_pool *pool;
  struct kvi_continuum *continuum; /* NULL: fixed */
  uint64_t *until_ns;              /* by program; 0: not pinned */
  uint32_t *held;                  /* by program, while it is pinned */
  uint32_t *tool;                  /* by program: what it waits for */
};

static void destroy(void *own)
{
  struct ttl *ttl = own;

  if (!ttl)
    return;
  kvi_continuum_destroy(ttl->continuum);
  free(ttl->until_ns);
  free(ttl->held);
  free(ttl->tool);
  free(ttl);
}

static kvs_status create(struct sim_queue_pool *pool, void **policy_p)
{
  struct ttl *ttl = calloc(1, sizeof *ttl);

  *policy_p = ttl;
  if (!ttl)
    return KVS_ERR_NOMEM;
  ttl->pool = pool;
  ttl->until_ns = calloc((size_t)pool->work->n_programs + 1, sizeof *ttl->until_ns);
  ttl->tool = calloc((size_t)pool->work->n_programs + 1, sizeof *ttl->tool);
  ttl->held = calloc((size_t)pool->work->n_programs + 1, sizeof *ttl->held);
  return ttl->until_ns && ttl->tool && ttl->held ? KVS_OK : KVS_ERR_NOMEM;
}

static kvs_status create_continuum(struct sim_queue_pool *pool, void **policy_p)
{
  kvs_status status = create(pool, policy_p);

  return status == KVS_OK ? kvi_continuum_create(&((struct ttl *)*policy_p)->continuum) : status;
}

static void unpin(void *own, uint32_t program)
{
  struct ttl *ttl = own;

  if (ttl->until_ns[program] == 0)
    return;
  ttl->until_ns[program] = 0;
  sim_queue_tier_let(&ttl->pool->tier, program, ttl->held[program]);
}

static void pin(struct ttl *ttl, uint32_t program, double seconds, uint64_t now_ns)
{
  uint32_t there = sim_queue_tier_there(&ttl->pool->tier, program);

  if (seconds < LEAST_S || there == 0)
    return;
  ttl->until_ns[program] = now_ns + (uint64_t)(seconds * (double)KVI_NS_PER_S);
  ttl->held[program] = sim_queue_tier_hold(&ttl->pool->tier, program, there);
}

static void came(void *own, const struct sim_queue_came *what, uint64_t now_ns)
{
  struct ttl *ttl = own;
  uint64_t answered_ns = ttl->pool->answered_ns[what->program];

  if (ttl->continuum && answered_ns > 0)
    kvi_continuum_returned(ttl->continuum, ttl->tool[what->program],
                           (double)(now_ns - answered_ns) / (double)KVI_NS_PER_S);
}

static void started(void *own, uint32_t program, double waited_s, uint32_t lost, uint64_t now_ns)
{
  struct ttl *ttl = own;

  (void)now_ns;
  (void)program;
  if (ttl->continuum && lost > 0)
    kvi_continuum_waited(ttl->continuum, waited_s);
}

/* Without a tier below the context is computed again, with one it is brought from there. */
static double reload_s(const struct sim_queue_pool *pool, uint32_t chunks)
{
  if (pool->lower.capacity > 0)
    return chunks * pool->bytes_per_chunk / pool->link.bytes_per_s;
  return sim_cost_of(&pool->cost, 0, (double)chunks * pool->work->chunk_tokens);
}

static void answered(void *own, const struct sim_queue_answered *what, uint64_t now_ns)
{
  struct ttl *ttl = own;

  ttl->tool[what->program] = what->turn->tool;
  if (what->is_last) {
    if (ttl->continuum)
      kvi_continuum_ended(ttl->continuum, what->number + 1);
    return;
  }
  pin(ttl, what->program,
      ttl->continuum ? kvi_continuum_ttl(ttl->continuum, what->turn->tool, reload_s(ttl->pool, what->chunks))
                     : FIXED_S,
      now_ns);
}

static void expire(void *own, uint64_t now_ns)
{
  struct ttl *ttl = own;

  for (uint32_t i = 0; i < ttl->pool->work->n_programs; i++)
    if (ttl->until_ns[i] > 0 && ttl->until_ns[i] <= now_ns && sim_queue_pool_is_away(ttl->pool, i))
      unpin(ttl, i);
}

/* The next pin that ends by itself. */
static uint64_t changes_ns(void *own, uint64_t now_ns)
{
  struct ttl *ttl = own;
  uint64_t next_ns = UINT64_MAX;

  for (uint32_t i = 0; i < ttl->pool->work->n_programs; i++)
    if (ttl->until_ns[i] > now_ns && ttl->until_ns[i] < next_ns && sim_queue_pool_is_away(ttl->pool, i))
      next_ns = ttl->until_ns[i];
  return next_ns;
}

const struct sim_queue_policy_ops sim_queue_fixed_ttl = {.name = "fixed-ttl",
                                                         .about = "pinned for 2 s after each answer",
                                                         .order = &kvi_policy_lru,
                                                         .create = create,
                                                         .destroy = destroy,
                                                         .started = started,
                                                         .answered = answered,
                                                         .expire = expire,
                                                         .unpin = unpin,
                                                         .changes_ns = changes_ns};
const struct sim_queue_policy_ops sim_queue_continuum = {
    .name = "continuum",
    .about = "pinned for the time that Continuum's formula gives",
    .order = &kvi_policy_lru,
    .create = create_continuum,
    .destroy = destroy,
    .came = came,
    .started = started,
    .answered = answered,
    .expire = expire,
    .unpin = unpin,
    .changes_ns = changes_ns};
/* Its paper's rule for who is first: pins of those who came later give way. */
const struct sim_queue_policy_ops sim_queue_continuum_fcfs = {
    .name = "continuum-fcfs",
    .about = "the same, but pins of later programs give way to whoever is first",
    .order = &kvi_policy_lru,
    .breaks_later = true,
    .create = create_continuum,
    .destroy = destroy,
    .came = came,
    .started = started,
    .answered = answered,
    .expire = expire,
    .unpin = unpin,
    .changes_ns = changes_ns};
