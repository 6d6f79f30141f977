/*
 * tests/sim/queue_work.h: what the queueing mode serves: programs that arrive by themselves, each a sequence of turns with waits between them.
 *
 * A turn has a chain of chunks, those of its prompt and of its answer. Of a program that is made up each turn's prompt is all that came before it, and something new; its answer is part of the next
 * prompt. So such a program is one chain, of which each turn uses a longer part, and chunks of different programs are different ones. In a trace chains begin alike wherever prompts do.
 */
#ifndef KVASIR_SIM_QUEUE_WORK_H
#define KVASIR_SIM_QUEUE_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "client/traces/cost.h"
#include "client/traces/error.h"
#include "tiers/policy/policy.h"

struct sim_queue_turn {
  uint32_t input, output; /* tokens: the whole prompt, above 0, and its answer, above 0 */
  enum kvi_wait_kind kind;
  uint32_t tool;    /* what the program waits for after it: any number; 0: nothing that is known */
  uint64_t wait_ns; /* for it, once it is answered; of the last turn of no meaning */

  /* What clients say of it, if not who it is and that it was the last. */
  uint64_t name;      /* of its program; 0: one of its own */
  bool is_unnamed;    /* nothing */
  bool is_end_untold; /* of the last turn: nobody knows that it is */
  double announced_s; /* when it will be back; 0: not said */
  uint64_t
      first_ref; /* of its chain, (input + output) / chunk_tokens chunks: by sim_queue_work_done, or made with it */
};

struct sim_queue_program {
  uint64_t arrives_ns;
  uint32_t first_turn, n_turns; /* above 0 */
};

struct sim_queue_work {
  struct sim_queue_program *programs; /* by arrival */
  uint32_t n_programs;
  struct sim_queue_turn *turns;
  uint32_t n_turns, room_turns;
  uint32_t chunk_tokens;
  uint32_t *refs;    /* chunks of chains */
  uint32_t n_chunks; /* of all programs */
  uint32_t *parent;  /* by chunk; KVI_POLICY_NONE: it begins a chain */
  uint32_t *depth;   /* by chunk; 0: it begins a chain */
  bool *is_shared;   /* by chunk: it is in chains of several programs; NULL: none is */
  uint32_t room_programs;
};

/* Empty. chunk_tokens: above 0. KVS_ERR_NOMEM. */
kvs_status sim_queue_work_create(uint32_t chunk_tokens, struct sim_queue_work **work_p);
void sim_queue_work_destroy(struct sim_queue_work *work); /* NULL is fine */

/* One that arrives no sooner than those before. Its turns are added after it. KVS_ERR_NOMEM. */
kvs_status sim_queue_work_program(struct sim_queue_work *work, uint64_t arrives_ns);
/* Of the program that was added last. input is no less than input and output of the turn before. KVS_ERR_NOMEM. */
kvs_status sim_queue_work_turn(struct sim_queue_work *work, const struct sim_queue_turn *turn);
/* When all are there: gives each program a chain. KVS_ERR_NOMEM. */
kvs_status sim_queue_work_done(struct sim_queue_work *work);

static inline uint32_t sim_queue_work_chain(const struct sim_queue_work *work, uint32_t turn,
                                            const uint32_t **chain_p)
{
  *chain_p = work->refs + work->turns[turn].first_ref;
  return (work->turns[turn].input + work->turns[turn].output) / work->chunk_tokens;
}

/* KVS_ERR_TOO_LARGE if such a context does not fit into such a pool, both in whole chunks. */
kvs_status sim_queue_work_fits(uint32_t context_tokens, uint32_t chunk_tokens, uint32_t pool_tokens,
                               struct sim_error *error);
/* Tokens of the largest context. */
uint32_t sim_queue_work_largest(const struct sim_queue_work *work);

struct sim_queue_machine;
/* At most so long takes it all: one turn after the other, everything computed and loaded. */
double sim_queue_work_longest_s(const struct sim_queue_work *work, const struct sim_queue_machine *machine);
/* What must be paid: each prompt without what was in some context before. seen: by chunk, all false. */
double sim_queue_work_first_s(const struct sim_queue_work *work, const struct sim_cost *cost, bool *seen);

/* ---- made-up programs ---- */

enum sim_queue_tails { SIM_QUEUE_LIGHT = 0, SIM_QUEUE_HEAVY, SIM_QUEUE_TAILS };

extern const char *const sim_queue_tails_names[SIM_QUEUE_TAILS];
/* Programs a second at load 1. */
double sim_queue_rate(enum sim_queue_tails tails);

/*
 * n programs with the moments of published ones (docs/simulator.md), done. They arrive independently of each other, load * sim_queue_rate a second. What they are follows from the seed alone: at
 * another load the same ones arrive in other distances. KVS_ERR_NOMEM.
 */
kvs_status sim_queue_work_make(enum sim_queue_tails tails, double load, uint32_t n, uint64_t seed,
                               uint32_t chunk_tokens, struct sim_queue_work **work_p);

#endif
