/*
 * tests/sim/queue_work.h: what the queueing mode serves: programs that arrive by themselves, each a sequence of turns with waits between them.
 *
 * A turn's prompt is all that came before it in its program, and something new; its answer is part of the next prompt. So a program is one chain of chunks, of which each turn
 * uses a longer part. Chunks of different programs are different ones.
 */
#ifndef KVASIR_SIM_QUEUE_WORK_H
#define KVASIR_SIM_QUEUE_WORK_H

#include <stdint.h>

#include "client/traces/error.h"
#include "tiers/policy/policy.h"

struct sim_queue_turn {
  uint32_t input, output; /* tokens: the whole prompt, above 0, and its answer, above 0 */
  enum kvi_wait_kind kind;
  uint32_t tool;    /* what the program waits for after it: any number; 0: nothing that is known */
  uint64_t wait_ns; /* for it, once it is answered; of the last turn of no meaning */
};

struct sim_queue_program {
  uint64_t arrives_ns;
  uint32_t first_turn, n_turns; /* above 0 */
  uint32_t first_chunk;         /* of its chain: the k'th is first_chunk + k */
};

struct sim_queue_work {
  struct sim_queue_program *programs; /* by arrival */
  uint32_t n_programs;
  struct sim_queue_turn *turns;
  uint32_t n_turns, room_turns;
  uint32_t chunk_tokens;
  uint32_t n_chunks;  /* of all programs */
  uint32_t *of_chunk; /* by chunk: its program */
  uint32_t room_programs;
};

/* Empty. chunk_tokens: above 0. KVS_ERR_NOMEM. */
kvs_status sim_queue_work_create(uint32_t chunk_tokens, struct sim_queue_work **work_p);
void sim_queue_work_destroy(struct sim_queue_work *work); /* NULL is fine */

/* One that arrives no sooner than those before. Its turns are added after it. KVS_ERR_NOMEM. */
kvs_status sim_queue_work_program(struct sim_queue_work *work, uint64_t arrives_ns);
/* Of the program that was added last. input is no less than input and output of the turn before. KVS_ERR_NOMEM. */
kvs_status sim_queue_work_turn(struct sim_queue_work *work, const struct sim_queue_turn *turn);
/* When all are there: gives out the chunks. KVS_ERR_NOMEM. */
kvs_status sim_queue_work_done(struct sim_queue_work *work);

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
