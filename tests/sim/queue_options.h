/* tests/sim/queue_options.h: the command line of `kvasir-sim queue`. */
#ifndef KVASIR_SIM_QUEUE_OPTIONS_H
#define KVASIR_SIM_QUEUE_OPTIONS_H

#include "tests/sim/queue_engine.h"

#define SIM_QUEUE_POLICIES_MAX 16u
#define SIM_QUEUE_LIST_MAX     16u
#define SIM_QUEUE_SEEDS_MAX    1000u /* no more than SIM_BOOTSTRAP_MAX */
#define SIM_QUEUE_PROGRAMS_MAX 100000u

struct sim_queue_options {
  const struct sim_queue_policy_ops *policies[SIM_QUEUE_POLICIES_MAX];
  size_t n_policies;
  enum sim_queue_tails tails[SIM_QUEUE_TAILS];
  size_t n_tails;
  double loads[SIM_QUEUE_LIST_MAX];
  size_t n_loads;
  double lowers[SIM_QUEUE_LIST_MAX]; /* bytes a second; 0: none */
  size_t n_lowers;
  uint32_t programs;
  uint64_t seed;
  uint32_t seeds;
  uint32_t chunk_tokens;
  struct sim_queue_machine machine; /* without bandwidth */
  bool json;
  const char *plot; /* NULL: none */
};

/* As sim_options_parse. */
int sim_queue_options_parse(int argc, char **argv, struct sim_queue_options *options);

#endif
