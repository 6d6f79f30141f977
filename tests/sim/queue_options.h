/* tests/sim/queue_options.h: the command line of `kvasir-sim queue`. */
#ifndef KVASIR_SIM_QUEUE_OPTIONS_H
#define KVASIR_SIM_QUEUE_OPTIONS_H

#include "tests/sim/queue_engine.h"
#include "tests/sim/source.h"

#define SIM_QUEUE_POLICIES_MAX 16u
#define SIM_QUEUE_LIST_MAX     16u
#define SIM_QUEUE_SEEDS_MAX    1000u   /* no more than SIM_BOOTSTRAP_MAX */
#define SIM_QUEUE_PROGRAMS_MAX 100000u /* that are made up */

struct sim_queue_options {
  const struct sim_queue_policy_ops *policies[SIM_QUEUE_POLICIES_MAX];
  size_t n_policies;
  enum sim_queue_tails tails[SIM_QUEUE_TAILS];
  size_t n_tails; /* 1 of a trace, whatever that is like */
  double loads[SIM_QUEUE_LIST_MAX];
  size_t n_loads;
  double lowers[SIM_QUEUE_LIST_MAX]; /* bytes a second; 0: none */
  size_t n_lowers;
  uint32_t programs;  /* of a trace no more than these */
  bool is_below_said; /* something that is of a tier below */
  uint64_t seed;
  struct sim_source source;         /* n_paths 0: programs are made up, in these chunks, by these seeds */
  struct sim_queue_machine machine; /* without bandwidth */
  bool json;
  const char *plot; /* NULL: none */
};

/* "light", "heavy", "trace" */
const char *sim_queue_tails_name(const struct sim_queue_options *options, size_t tails);

/* As sim_options_parse. */
int sim_queue_options_parse(int argc, char **argv, struct sim_queue_options *options);

#endif
