/*
 * tests/sim/queue_room.h: who gets room in the engine's pool: the part of the scheduler that is the same for all policies that know programs.
 *
 * - What is there of a program that is back and not let in yet stays until it is.
 * - What is there of a program that has ended, and nobody has used since, goes before everything else.
 * - If whoever is first would not fit even if all went that may, what is held for others is let go, that of the program that came last first: if nothing runs or loads, since nothing would change by waiting; or, where
 *   the policy says so, of programs that came later than the asker. Else nothing goes.
 * - The door, if the policy has prices: who asks loses a second for each second that it waits, shared by the chunks that it needs. What goes next goes only if keeping it saves less.
 *   But what is below goes at any price, and is not held, for a program that came before its own, if the link would bring as many chunks as are asked for, behind what is on its way, within give_way_s: whoever came first is
 *   to end first.
 *
 * Under a policy by request only the third holds, and there is nothing held. One thread.
 */
#ifndef KVASIR_SIM_QUEUE_ROOM_H
#define KVASIR_SIM_QUEUE_ROOM_H

#include "tests/sim/queue_policy.h"

struct sim_queue_room {
  struct sim_queue_pool *pool;
  const struct sim_queue_policy_ops *ops;
  void *policy;
  uint32_t *kept;  /* by program that is back and not let in yet: what it holds; KVI_POLICY_NONE: nothing */
  uint32_t *ended; /* programs, those perhaps of which something is there */
  uint32_t n_ended;
};

struct sim_queue_asker {
  uint32_t program;
  uint32_t chunks;   /* that must be free for it to begin; those of its own that are in the pool are held */
  bool is_desperate; /* nothing runs or loads */
};

/* All three are kept until destroy. KVS_ERR_NOMEM; destroy is fine then. */
kvs_status sim_queue_room_create(struct sim_queue_pool *pool, const struct sim_queue_policy_ops *ops,
                                 void *policy, struct sim_queue_room *room);
void sim_queue_room_destroy(struct sim_queue_room *room); /* all zero is fine */

void sim_queue_room_came(struct sim_queue_room *room, uint32_t program);
void sim_queue_room_started(struct sim_queue_room *room, uint32_t program);
void sim_queue_room_ended(struct sim_queue_room *room, uint32_t program);

/* Evicts until so many chunks are free. False: not at this cost; what was evicted may be less. A desperate asker gets what there is. */
bool sim_queue_room_make(struct sim_queue_room *room, const struct sim_queue_asker *asker, uint64_t now_ns);
/* When what was refused may be granted although nothing has happened until then, as since since_ns; UINT64_MAX: never. */
uint64_t sim_queue_room_changes_ns(const struct sim_queue_room *room, uint64_t since_ns, uint64_t now_ns);

#endif
