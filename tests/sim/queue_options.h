/* tests/sim/queue_options.h: the command line of `kvasir-sim queue`. */
#ifndef KVASIR_SIM_QUEUE_OPTIONS_H
#define KVASIR_SIM_QUEUE_OPTIONS_H

#include "client/traces/hints.h"
#include "client/traces/read.h"
#include "client/traces/runs.h"
#include "tests/sim/queue_engine.h"

#define SIM_QUEUE_POLICIES_MAX 16u
#define SIM_QUEUE_LIST_MAX     16u
#define SIM_QUEUE_SEEDS_MAX    1000u /* no more than SIM_BOOTSTRAP_MAX */
#define SIM_QUEUE_PROGRAMS_MAX 100000u

struct sim_queue_options {
  const struct sim_queue_policy_ops *policies[SIM_QUEUE_POLICIES_MAX];
  size_t n_policies;
  enum sim_queue_tails tails[SIM_QUEUE_TAILS];
  size_t n_tails; /* 1 of a trace, whatever that is like */
  double loads[SIM_QUEUE_LIST_MAX];
  size_t n_loads;
  double lowers[SIM_QUEUE_LIST_MAX]; /* bytes a second; 0: none */
  size_t n_lowers;
  uint32_t programs; /* of a trace no more than these */
  uint64_t seed;
  uint32_t seeds;
  uint32_t chunk_tokens;            /* of a trace 0: by that */
  struct sim_queue_machine machine; /* without bandwidth */
  bool json;
  const char *plot; /* NULL: none */

  char **paths; /* of a trace; n_paths 0: programs are made up */
  int n_paths;
  bool is_load_said;
  enum sim_format format;
  enum sim_half half;
  enum sim_hint_level hints;
};

/* "light", "heavy", "trace" */
const char *sim_queue_tails_name(const struct sim_queue_options *options, size_t tails);

/* As sim_options_parse. */
int sim_queue_options_parse(int argc, char **argv, struct sim_queue_options *options);

#endif
