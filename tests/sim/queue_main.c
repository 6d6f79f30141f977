#include "tests/sim/queue_main.h"

#include <stdlib.h>

#include "client/traces/schedule.h"
#include "tests/sim/picture.h"
#include "tests/sim/progress.h"
#include "tests/sim/queue_report.h"
#include "tests/sim/queue_trace.h"

struct cell_of_work {
  enum sim_queue_tails tails;
  double load;
  uint64_t seed;
};

/* All tiers below and policies with the same programs. first: of the runs of this tails and load. */
static kvs_status run_programs(struct sim_queue_report *report, const struct sim_queue_work *work,
                               size_t first, uint32_t seed, double *done_p, struct sim_progress *bar)
{
  const struct sim_queue_options *options = report->options;
  struct sim_queue_machine machine = options->machine;
  double all = (double)(sim_queue_cells(options) * options->n_policies) * options->source.seeds;

  for (size_t i = 0; i < options->n_lowers; i++)
    for (size_t p = 0; p < options->n_policies; p++) {
      struct sim_queue_result result;
      kvs_status status;

      machine.bandwidth = options->lowers[i];
      status = sim_queue_run(work, &machine, options->policies[p], &result);
      if (status != KVS_OK)
        return status;
      report->runs[first + (i * options->n_policies + p) * options->source.seeds + seed] =
          sim_queue_sums(&result);
      sim_queue_result_free(&result);
      sim_progress_draw(bar, ++*done_p / all);
    }
  return KVS_OK;
}

/* What is served, and fits; trace NULL: it is made up. */
static kvs_status make_work(const struct sim_queue_options *options, const struct sim_trace *trace,
                            const struct cell_of_work *cell, struct sim_queue_work **work_p,
                            struct sim_error *error)
{
  uint32_t chunk_tokens = options->source.chunk_tokens, pool_tokens = options->machine.pool_tokens;
  struct sim_schedule *schedule;
  struct sim_told *told;
  kvs_status status;

  *work_p = NULL;
  if (!trace) {
    status =
        sim_queue_work_make(cell->tails, cell->load, options->programs, cell->seed, chunk_tokens, work_p);
    return status == KVS_OK
               ? sim_queue_work_fits(sim_queue_work_largest(*work_p), chunk_tokens, pool_tokens, error)
               : status;
  }
  status = sim_source_order(&options->source, trace, cell->seed, cell->load, &schedule, &told, error);
  if (status != KVS_OK)
    return status;
  status = sim_queue_work_of_trace(trace, schedule, told, options->programs, pool_tokens, work_p, error);
  free(told);
  sim_schedule_destroy(schedule);
  return status;
}

static kvs_status run_all(struct sim_queue_report *report, const struct sim_trace *trace,
                          struct sim_error *error)
{
  const struct sim_queue_options *options = report->options;
  size_t stride = options->n_lowers * options->n_policies * options->source.seeds, first = 0;
  struct sim_progress bar;
  kvs_status status = KVS_OK;
  double done = 0;

  sim_progress_start(&bar);
  for (size_t t = 0; t < options->n_tails; t++)
    for (size_t l = 0; l < options->n_loads; l++, first += stride)
      for (uint32_t i = 0; i < options->source.seeds && status == KVS_OK; i++) {
        struct cell_of_work cell = {options->tails[t], options->loads[l], options->seed + i};
        struct sim_queue_work *work;

        status = make_work(options, trace, &cell, &work, error);
        if (status == KVS_OK) {
          report->programs = work->n_programs;
          status = run_programs(report, work, first, i, &done, &bar);
          if (status == KVS_ERR_INVALID)
            sim_fail(error, status, "what is to be served could take more than 285 years");
        }
        sim_queue_work_destroy(work);
      }
  sim_progress_wipe(&bar);
  if (status != KVS_OK && error->status == KVS_OK)
    sim_fail(error, status, "%s", kvs_status_text(status));
  return status;
}

static void draw_picture(const void *report, FILE *out)
{
  sim_queue_report_svg(report, out);
}

int sim_queue_main(int argc, char **argv)
{
  struct sim_error error = {0};
  struct sim_queue_options options;
  struct sim_queue_report report = {.options = &options};
  struct sim_trace *trace = NULL;
  struct sim_runs_found found;
  int end = sim_queue_options_parse(argc, argv, &options);

  if (end != 0)
    return end - 1;
  if (options.source.n_paths == 0 || sim_source_read(&options.source, &trace, &found, &error) == KVS_OK) {
    report.runs = calloc(sim_queue_cells(&options) * options.n_policies * options.source.seeds + 1,
                         sizeof *report.runs);
    if (!report.runs)
      sim_fail(&error, KVS_ERR_NOMEM, "%s", kvs_status_text(KVS_ERR_NOMEM));
    else if (run_all(&report, trace, &error) == KVS_OK) {
      (options.json ? sim_queue_report_json : sim_queue_report_table)(&report, stdout);
      sim_picture_end(options.plot, draw_picture, &report, &error);
    }
  }
  free(report.runs);
  sim_trace_destroy(trace);
  if (error.status == KVS_OK)
    return EXIT_SUCCESS;
  fprintf(stderr, "kvasir-sim: %s\n", error.text);
  return EXIT_FAILURE;
}
