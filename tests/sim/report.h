/* tests/sim/report.h: results as a table, a JSON document, or a picture. */
#ifndef KVASIR_SIM_REPORT_H
#define KVASIR_SIM_REPORT_H

#include <stdio.h>

#include "tests/sim/options.h"

/* All replays of one call of the program. */
struct sim_report {
  const struct sim_options *options;
  const struct sim_trace *trace;
  struct sim_runs_found found;
  uint64_t open_tokens;       /* mean over the seeds */
  struct sim_result *results; /* [capacity][policy][seed] */
  uint64_t *capacities;       /* tokens, [capacity][seed] */
};

/* As sim_moved: means over the seeds. */
struct sim_row_tier {
  double found, read, written;
};

/* A policy at a capacity: means over the seeds. */
struct sim_row {
  const struct sim_policy *policy;
  double capacity_tokens;
  double hit_rate, token_hit_rate;
  double paid_s, paid_least_s, paid_most_s, whole_s;
  double inserted, evicted;             /* chunks */
  struct sim_row_tier tiers[SIM_TIERS]; /* chunks */
  double ahead, ahead_used;             /* chunks, brought before they were asked for */
  double wasted, never;                 /* chunks times seconds */
  double ns_per_chunk;
  double
      gap_closed; /* of lru's seconds less belady's, the share that it saves; NAN: one of them is not there, or they are equal, or there is a tier that belady does not play */
};
struct sim_row sim_report_row(const struct sim_report *report, size_t capacity, size_t policy);

void sim_report_table(const struct sim_report *report, FILE *out);
void sim_report_json(const struct sim_report *report, FILE *out);

/* plot.c: hit rate and paid seconds over capacity, side by side, as SVG. */
void sim_report_svg(const struct sim_report *report, FILE *out);

#endif
