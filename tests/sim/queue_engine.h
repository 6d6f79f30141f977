/*
 * tests/sim/queue_engine.h: an engine in virtual time: it lets turns in, computes prompts in parts and answers token by token, and keeps contexts as a policy says. docs/simulator.md has the model.
 */
#ifndef KVASIR_SIM_QUEUE_ENGINE_H
#define KVASIR_SIM_QUEUE_ENGINE_H

#include "tests/sim/queue_policy.h"

/* The engine's numbers. */
struct sim_queue_machine {
  struct sim_cost cost;  /* of prompts, beside the step */
  uint64_t step_ns;      /* of a step in which every running answer gets a token */
  uint32_t step_tokens;  /* of prompts that a step computes at most, all turns together */
  uint32_t pool_tokens;  /* a program's context fits into it */
  uint32_t lower_tokens; /* the tier below; counts if bandwidth is above 0 */
  double bandwidth;      /* of the link from it, bytes a second; 0: there is no tier below */
  double bytes_per_token;
  double link_weight;   /* so many seconds of the engine is a second of the link to `index` */
  double give_way_s;    /* queue_room.h; 0: never */
  bool is_load_weighed; /* what is below is brought from there only if to compute it takes longer */
};
#define SIM_QUEUE_MACHINE_DEFAULT                                                                            \
  (struct sim_queue_machine)                                                                                 \
  {                                                                                                          \
    .cost = {3.2e-5, 5.2e-10}, .step_ns = 6000000, .step_tokens = 2048, .pool_tokens = 400000,               \
    .lower_tokens = 1600000, .bytes_per_token = 131072, .link_weight = 3, .give_way_s = 1                    \
  }

struct sim_queue_result {
  double *jct_s; /* by program: from its arrival to its last answer */
  uint32_t programs;
  uint64_t turns;
  uint64_t asked_tokens;    /* of all prompts */
  uint64_t hit_tokens;      /* of them found in the pool */
  uint64_t loaded_tokens;   /* brought from below */
  uint64_t computed_tokens; /* the rest: asked = hit + loaded + computed */
  uint64_t answered_tokens;
  uint64_t stored_tokens; /* written below */
  double computed_s;      /* prefill seconds paid */
  double first_s;         /* those of what was never computed before: nobody can pay less */
  double busy_s, end_s;   /* the engine's steps; when the last program ended */
  double link_busy_s;
  double wasted_byte_s, never_byte_s; /* queue_pool.h */
  uint64_t policy_ns;                 /* CPU time of the retention policy */
};
void sim_queue_result_free(struct sim_queue_result *result);

/* KVS_ERR_NOMEM; KVS_ERR_TOO_LARGE: a context does not fit into the pool; KVS_ERR_INVALID: it could take longer than SIM_QUEUE_LONGEST_S. */
#define SIM_QUEUE_LONGEST_S 9e9 /* 2^63 ns, and a little less */
kvs_status sim_queue_run(const struct sim_queue_work *work, const struct sim_queue_machine *machine,
                         const struct sim_queue_policy_ops *policy, struct sim_queue_result *result_p);

#endif
