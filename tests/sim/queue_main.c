#include "tests/sim/queue_main.h"

#include <stdlib.h>

#include "tests/sim/picture.h"
#include "tests/sim/progress.h"
#include "tests/sim/queue_report.h"

/* All tiers below and policies with the same programs. first: of the runs of this tails and load. */
static kvs_status run_programs(struct sim_queue_report *report, const struct sim_queue_work *work,
                               size_t first, uint32_t seed, double *done_p, struct sim_progress *bar)
{
  const struct sim_queue_options *options = report->options;
  struct sim_queue_machine machine = options->machine;
  double all = (double)(sim_queue_cells(options) * options->n_policies) * options->seeds;

  for (size_t i = 0; i < options->n_lowers; i++)
    for (size_t p = 0; p < options->n_policies; p++) {
      struct sim_queue_result result;
      kvs_status status;

      machine.bandwidth = options->lowers[i];
      status = sim_queue_run(work, &machine, options->policies[p], &result);
      if (status != KVS_OK)
        return status;
      report->runs[first + (i * options->n_policies + p) * options->seeds + seed] = sim_queue_sums(&result);
      sim_queue_result_free(&result);
      sim_progress_draw(bar, ++*done_p / all);
    }
  return KVS_OK;
}

static kvs_status run_all(struct sim_queue_report *report)
{
  const struct sim_queue_options *options = report->options;
  size_t stride = options->n_lowers * options->n_policies * options->seeds, first = 0;
  struct sim_progress bar;
  kvs_status status = KVS_OK;
  double done = 0;

  sim_progress_start(&bar);
  for (size_t t = 0; t < options->n_tails; t++)
    for (size_t l = 0; l < options->n_loads; l++, first += stride)
      for (uint32_t i = 0; i < options->seeds && status == KVS_OK; i++) {
        struct sim_queue_work *work;

        status = sim_queue_work_make(options->tails[t], options->loads[l], options->programs,
                                     options->seed + i, options->chunk_tokens, &work);
        if (status != KVS_OK)
          break;
        status = run_programs(report, work, first, i, &done, &bar);
        sim_queue_work_destroy(work);
      }
  sim_progress_wipe(&bar);
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
  int end = sim_queue_options_parse(argc, argv, &options);
  kvs_status status = KVS_ERR_NOMEM;

  if (end != 0)
    return end - 1;
  report.runs =
      calloc(sim_queue_cells(&options) * options.n_policies * options.seeds + 1, sizeof *report.runs);
  if (report.runs)
    status = run_all(&report);
  if (status == KVS_ERR_TOO_LARGE)
    sim_fail(&error, status, "a program's context does not fit into the pool");
  else if (status != KVS_OK)
    sim_fail(&error, status, "%s", kvs_status_text(status));
  else {
    (options.json ? sim_queue_report_json : sim_queue_report_table)(&report, stdout);
    if (options.plot != NULL)
      sim_picture_write(options.plot, draw_picture, &report, &error);
    if (fflush(stdout) != 0)
      sim_fail(&error, KVS_ERR_SYSTEM, "the results were not written");
  }
  free(report.runs);
  if (error.status == KVS_OK)
    return EXIT_SUCCESS;
  fprintf(stderr, "kvasir-sim: %s\n", error.text);
  return EXIT_FAILURE;
}
