/*
 * tests/sim/queue_tier.h: which chunks are in the engine's pool, or in the tier below it, and which goes next, by a policy of the node as it is: a chunk's number is its handle.
 *
 * Chunks come and go so that what is there of a chain is a beginning of it. A program's context is the chain of the turn that it is at. One thread.
 */
#ifndef KVASIR_SIM_QUEUE_TIER_H
#define KVASIR_SIM_QUEUE_TIER_H

#include "tests/sim/queue_work.h"

struct sim_queue_chunk {
  bool is_there;
  uint32_t user;     /* the program that used it last */
  uint32_t children; /* that are there */
  uint32_t covers;   /* holds of it, and children that have covers */
};

struct sim_queue_tier {
  const struct sim_queue_work *work;
  const uint32_t *turns; /* by program: the turn that it is at */
  const struct kvi_policy_ops *ops;
  struct kvi_policy *policy;
  uint32_t capacity, used; /* chunks */
  struct sim_queue_chunk *chunks;
  uint32_t *holds;   /* by program: that it has */
  uint32_t held;     /* chunks that cannot go for it */
  uint64_t clock_ns; /* of the policy: later than all uses so far */
  uint64_t evicted;  /* chunks */
};

/* turns is kept. KVS_ERR_NOMEM. */
kvs_status sim_queue_tier_create(const struct sim_queue_work *work, const uint32_t *turns,
                                 const struct kvi_policy_ops *ops, uint32_t capacity,
                                 struct sim_queue_tier *tier);
void sim_queue_tier_destroy(struct sim_queue_tier *tier); /* all zero is fine */

/* So many chunks of the program's context are there, from its first one on. O(log of all); and the last of them, KVI_POLICY_NONE if there is none. */
uint32_t sim_queue_tier_there(const struct sim_queue_tier *tier, uint32_t program);
uint32_t sim_queue_tier_last(const struct sim_queue_tier *tier, uint32_t program);
/* Those that a prompt of it may use: it has to compute a token at least. */
uint32_t sim_queue_tier_findable(const struct sim_queue_tier *tier, uint32_t program);

/*
 * The first n chunks of the program's context have been used: those that are there are touched, the rest is new, from the tail on a tick after the other, so that a tail is
 * always older than what is before it. There is room for them. Returns how many were new.
 */
uint32_t sim_queue_tier_use(struct sim_queue_tier *tier, uint32_t program, uint32_t n, uint64_t now_ns);
/* The first n chunks, n above 0, which are there, stay for the program until they are let go; calls nest. Returns what to let go. */
uint32_t sim_queue_tier_hold(struct sim_queue_tier *tier, uint32_t program, uint32_t n);
void sim_queue_tier_let(struct sim_queue_tier *tier, uint32_t program, uint32_t held);
/* The chunk that goes next, without taking it out. KVI_POLICY_NONE: none may. */
uint32_t sim_queue_tier_victim(struct sim_queue_tier *tier, uint64_t now_ns);
/* May it go? It is there. */
bool sim_queue_tier_may_go(const struct sim_queue_tier *tier, uint32_t chunk);
/* Takes one that may go out. */
void sim_queue_tier_evict(struct sim_queue_tier *tier, uint32_t chunk);

#endif
