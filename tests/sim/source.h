/* tests/sim/source.h: the trace that is said on a command line, for both modes: what is asked of it and would have no effect is refused. */
#ifndef KVASIR_SIM_SOURCE_H
#define KVASIR_SIM_SOURCE_H

#include "client/traces/hints.h"
#include "client/traces/read.h"
#include "client/traces/runs.h"

struct sim_source {
  char **paths;
  int n_paths;
  enum sim_format format;
  enum sim_half half;
  enum sim_hint_level hints;
  uint32_t chunk_tokens; /* 0: by the trace */
  uint32_t seeds;
  bool is_load_said, is_seeds_said;
};

/* Reads all of it, and leaves out what is not of the half. A trace that says when its requests came has one seed. The trace is the caller's even if this fails; NULL is fine then. The error is set. */
kvs_status sim_source_read(struct sim_source *source, struct sim_trace **trace_p,
                           struct sim_runs_found *found_p, struct sim_error *error);

/* The order of its requests, and by event what clients say, to be freed. Both NULL if it fails. The error is set. */
kvs_status sim_source_order(const struct sim_source *source, const struct sim_trace *trace, uint64_t seed,
                            double load, struct sim_schedule **schedule_p, struct sim_told **told_p,
                            struct sim_error *error);

#endif
