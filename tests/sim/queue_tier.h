/*
 * tests/sim/queue_tier.h: which chunks are in the engine's pool, or in the tier below it, and which goes next, by a policy of the node as it is: a chunk's number is its handle.
 *
 * Chunks come and go so that what is there of a program is a beginning of its chain. One thread.
 */
#ifndef KVASIR_SIM_QUEUE_TIER_H
#define KVASIR_SIM_QUEUE_TIER_H

#include "tests/sim/queue_work.h"

struct sim_queue_tier {
  const struct sim_queue_work *work;
  const struct kvi_policy_ops *ops;
  struct kvi_policy *policy;
  uint32_t capacity, used; /* chunks */
  uint32_t *there;         /* by program: so many chunks from its first one on */
  uint32_t *holds;         /* by program */
  uint32_t held;           /* chunks of programs that are held */
  uint64_t clock_ns;       /* of the policy: later than all uses so far */
  uint64_t evicted;        /* chunks */
};

/* KVS_ERR_NOMEM. */
kvs_status sim_queue_tier_create(const struct sim_queue_work *work, const struct kvi_policy_ops *ops,
                                 uint32_t capacity, struct sim_queue_tier *tier);
void sim_queue_tier_destroy(struct sim_queue_tier *tier); /* all zero is fine */

/*
 * The first n chunks of the program have been used: those that are there are touched, the rest is new, from the tail on a tick after the other, so that a tail is
 * always older than what is before it. There is room for them. Returns how many were new.
 */
uint32_t sim_queue_tier_use(struct sim_queue_tier *tier, uint32_t program, uint32_t n, uint64_t now_ns);
/* What is there of the program stays until it is let go. Never called for one of which nothing is there; calls nest. What was held is let go before the program gets more. */
void sim_queue_tier_hold(struct sim_queue_tier *tier, uint32_t program);
void sim_queue_tier_let(struct sim_queue_tier *tier, uint32_t program);
/* The chunk that goes next, without taking it out. KVI_POLICY_NONE: none may. */
uint32_t sim_queue_tier_victim(struct sim_queue_tier *tier, uint64_t now_ns);
/* Takes a victim out. */
void sim_queue_tier_evict(struct sim_queue_tier *tier, uint32_t chunk);

#endif
