/*
 * tests/sim/queue_pool.h: the engine's memory: chunks of contexts that run, chunks of contexts that wait, and what is free; below it perhaps a larger tier behind a link, which has a copy of
 * all that was computed, as long as there is room.
 *
 * A turn takes the chunks that it will need, answer included, when it is admitted; those that were not there before belong to it alone until it is answered. So what was
 * admitted is never put off again.
 */
#ifndef KVASIR_SIM_QUEUE_POOL_H
#define KVASIR_SIM_QUEUE_POOL_H

#include <stdbool.h>

#include "client/traces/cost.h"
#include "tests/sim/queue_link.h"
#include "tests/sim/queue_tier.h"

/* What a program does. */
enum sim_queue_state {
  SIM_QUEUE_COMING = 0, /* it has not arrived */
  SIM_QUEUE_QUEUED,     /* a turn of it waits for admission */
  SIM_QUEUE_LOADING,    /* admitted; its context comes over the link */
  SIM_QUEUE_RUNNING,
  SIM_QUEUE_AWAY, /* it waits for a tool */
  SIM_QUEUE_GONE, /* it has ended, and nobody was told */
  SIM_QUEUE_ENDED
};

struct sim_queue_pool {
  const struct sim_queue_work *work;
  struct sim_cost cost;
  double bytes_per_chunk;
  struct sim_queue_tier tier, lower; /* lower.capacity 0: there is none */
  struct sim_queue_link link;
  double link_weight;
  double give_way_s;
  enum sim_queue_state *states; /* by program */
  uint32_t *turns;              /* by program: the turn that it is at, the next one from when it is back */
  uint64_t *answered_ns;        /* by program: its last answer */
  uint32_t taken;               /* chunks that are in no tier: they belong to such turns */
  double wasted_chunk_s; /* chunks that were kept through a part of a wait, and gone before it was over */
  double never_chunk_s;  /* the same of those that nobody came back for, where nobody was told */
};

/* Chunks that nobody has. */
static inline uint32_t sim_queue_pool_free(const struct sim_queue_pool *pool)
{
  return pool->tier.capacity - pool->tier.used - pool->taken;
}

/* Evicts a chunk from the pool's tier; it stays in the one below. */
void sim_queue_pool_evict(struct sim_queue_pool *pool, uint32_t chunk, uint64_t now_ns);

/* It waits for a tool, as far as anybody knows. */
static inline bool sim_queue_pool_is_away(const struct sim_queue_pool *pool, uint32_t program)
{
  return pool->states[program] == SIM_QUEUE_AWAY || pool->states[program] == SIM_QUEUE_GONE;
}

/*
 * What is lost with a chunk: the seconds to compute it, or its part of the time in which it comes from below with all that is before it, each second counting link_weight, whichever is
 * less.
 */
double sim_queue_pool_loss_s(const struct sim_queue_pool *pool, uint32_t chunk, uint64_t now_ns);

#endif
