/*
 * tests/sim/queue_policy.h: who keeps its context in the engine's pool while it waits, and who is let in: what a retention policy is to the queueing mode.
 *
 * Which chunk goes next is an order of the node (tiers/policy/policy.h), over the pool's tier. What is added here says who is not to go at all, and what the next one is worth: queue_room.h weighs that.
 */
#ifndef KVASIR_SIM_QUEUE_POLICY_H
#define KVASIR_SIM_QUEUE_POLICY_H

#include "tests/sim/queue_pool.h"

struct sim_queue_came {
  uint32_t program;
  const struct sim_queue_turn *turn;
};

struct sim_queue_answered {
  uint32_t program;
  const struct sim_queue_turn *turn;
  uint32_t number; /* of the turn, from 0 on */
  bool is_last;    /* the program has ended, and says so */
  uint32_t chunks; /* of its context, all in the pool */
};

struct sim_queue_policy_ops {
  const char *name, *about;
  const struct kvi_policy_ops *order; /* of the pool's tier */
  /* An engine that knows no programs: turns are let in by when they came, and who is back or has ended is like all others. Else queue_room.h. */
  bool by_request;
  bool
      breaks_later; /* what is held for programs that came later than whoever is first goes for it whenever it does not fit */

  /* Kept until destroy, the pool too. KVS_ERR_NOMEM. */
  kvs_status (*create)(struct sim_queue_pool *pool, void **policy_p);
  void (*destroy)(void *policy); /* NULL is fine */
  /* A turn has come, and waits to be let in. NULL: not asked for. */
  void (*came)(void *policy, const struct sim_queue_came *came, uint64_t now_ns);
  /* It is let in, after so many seconds; lost: chunks of its context that were in the pool before, and went. NULL: not asked for. */
  void (*started)(void *policy, uint32_t program, double waited_s, uint32_t lost, uint64_t now_ns);
  /* It is answered, and the program waits, or has ended. NULL: not asked for. */
  void (*answered)(void *policy, const struct sim_queue_answered *answered, uint64_t now_ns);
  /* Lets go of what it has held for long enough. NULL: it holds nothing. */
  void (*expire)(void *policy, uint64_t now_ns);
  /* Lets go of a program. NULL: it holds nothing. */
  void (*unpin)(void *policy, uint32_t program);
  /* The door: seconds saved for each second that this chunk stays, which goes next. NULL: no door; whoever asks gets what may go. */
  double (*price)(void *policy, uint32_t chunk, uint64_t now_ns);
  /* When what was refused may be granted although nothing has happened until then; UINT64_MAX: never. NULL: never. */
  uint64_t (*changes_ns)(void *policy, uint64_t now_ns);
};

extern const struct sim_queue_policy_ops sim_queue_lru_fcfs, sim_queue_lru, sim_queue_lru_door,
    sim_queue_fixed_ttl, sim_queue_continuum, sim_queue_continuum_fcfs, sim_queue_index_open, sim_queue_index;

#endif
