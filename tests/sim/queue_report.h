/* tests/sim/queue_report.h: what the queueing mode found: tables, a JSON document, a picture. */
#ifndef KVASIR_SIM_QUEUE_REPORT_H
#define KVASIR_SIM_QUEUE_REPORT_H

#include <stdio.h>

#include "tests/sim/bootstrap.h"
#include "tests/sim/queue_options.h"

/* One run: a policy in a cell with a seed. */
struct sim_queue_run_sums {
  double jct_mean_s, jct_p50_s, jct_p95_s, jct_max_s;
  struct sim_queue_result result; /* without jct_s */
};
/* Sorts result->jct_s. */
struct sim_queue_run_sums sim_queue_sums(struct sim_queue_result *result);

/* A cell is one of tails, load and tier below. */
struct sim_queue_report {
  const struct sim_queue_options *options;
  struct sim_queue_run_sums *runs; /* [tails][load][lower][policy][seed] */
  uint32_t programs;               /* of each run */
};

static inline size_t sim_queue_cells(const struct sim_queue_options *options)
{
  return options->n_tails * options->n_loads * options->n_lowers;
}

/* Of a policy in a cell: means over the seeds. */
struct sim_queue_row {
  struct sim_interval jct_s;
  struct sim_interval over_others; /* that over the least of the others of the cell with the same scheduler */
  double p50_s, p95_s, max_s;
  double hit_rate; /* tokens of prompts found in the pool */
  double computed_s, first_s;
  double loaded_bytes, stored_bytes;
  double loaded_over_lru,
      bytes_over_lru; /* loaded, and stored too, over those of lru; NAN: lru is not there, or loads nothing */
  double link_share, busy_share;
  double wasted_byte_s, never_byte_s;
  double policy_us; /* for each turn */
};
struct sim_queue_row sim_queue_report_row(const struct sim_queue_report *report, size_t cell, size_t policy);

/* "none", "25 GB/s" */
const char *sim_queue_lower_name(double bandwidth, char *text, size_t room);

void sim_queue_report_table(const struct sim_queue_report *report, FILE *out);
void sim_queue_report_json(const struct sim_queue_report *report, FILE *out);
void sim_queue_report_svg(const struct sim_queue_report *report, FILE *out); /* queue_plot.c */

#endif
