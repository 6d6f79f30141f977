/* kvasir-sim: replays traces through cache policies in virtual time. docs/simulator.md. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/traces/schedule.h"
#include "tests/sim/options.h"
#include "tests/sim/picture.h"
#include "tests/sim/progress.h"
#include "tests/sim/queue_main.h"
#include "tests/sim/report.h"

/* What is under way, for the bar. */
struct under_way {
  struct sim_progress bar;
  double done, all; /* replays */
  uint32_t events;  /* of one */
};

static void draw(void *own, uint32_t done)
{
  struct under_way *progress = own;

  sim_progress_draw(&progress->bar, (progress->done + (double)done / progress->events) / progress->all);
}

static uint64_t tokens_of(const struct sim_capacity *capacity, const struct sim_schedule *schedule)
{
  return capacity->tokens > 0 ? capacity->tokens : (uint64_t)(capacity->open * (double)schedule->open_tokens);
}

/* A share of so many chunks, in whole ones, rounded down, but for what the share lacks as a number of a computer. */
static uint32_t share_of(double share, uint64_t chunks)
{
  double part = floor(share * (double)chunks + 1e-9);

  return part < 1 ? 1 : part < SIM_NONE - 1 ? (uint32_t)part : SIM_NONE - 1;
}

/* With an SSD that has all that is cached here, and memory a part of it; without one it is memory that has all. */
static void size_tiers(const struct sim_options *options, uint64_t chunks, struct sim_replay *replay)
{
  const struct sim_tier_size *tiers = options->tiers;
  double bytes = replay->trace->chunk_tokens * options->bytes_per_token;
  uint32_t memory = share_of(tiers[SIM_MEMORY].share, chunks);
  bool is_ssd = tiers[SIM_SSD].share > 0;

  replay->capacity = is_ssd ? share_of(tiers[SIM_SSD].share, chunks) : memory;
  replay->memory = is_ssd ? memory : 0;
  replay->load_s = is_ssd ? bytes / tiers[SIM_SSD].bytes_per_s : 0;
  replay->shared = tiers[SIM_REDIS].share > 0 ? share_of(tiers[SIM_REDIS].share, chunks) : 0;
}

/* All policies at all capacities, by one order of the requests. */
static kvs_status replay_seed(struct sim_report *report, const struct sim_schedule *schedule,
                              const struct sim_told *told, uint32_t seed, struct under_way *progress,
                              struct sim_error *error)
{
  const struct sim_options *options = report->options;
  struct sim_replay replay = {.trace = report->trace,
                              .schedule = schedule,
                              .told = told,
                              .cost = options->cost,
                              .warm_up = (uint32_t)(options->warm_up * schedule->n),
                              .ahead = options->ahead,
                              .progress = draw,
                              .own = progress};

  progress->events = schedule->n;
  for (size_t c = 0; c < options->n_capacities; c++) {
    uint64_t tokens = tokens_of(&options->capacities[c], schedule);

    report->capacities[c * options->source.seeds + seed] = tokens;
    size_tiers(options, tokens / report->trace->chunk_tokens, &replay);
    for (size_t p = 0; p < options->n_policies; p++) {
      struct sim_result *result =
          &report->results[(c * options->n_policies + p) * options->source.seeds + seed];
      kvs_status status = KVS_OK;

      if (c > 0 && sim_policy_is_infinite(options->policies[p]) && replay.memory == 0)
        *result = report->results[p * options->source.seeds + seed];
      else
        status = sim_replay_run(&replay, options->policies[p], result);
      if (status != KVS_OK)
        return sim_fail(error, status, "%s: %s", sim_policy_name(options->policies[p]),
                        kvs_status_text(status));
      progress->done++;
    }
  }
  return KVS_OK;
}

static kvs_status replay_all(struct sim_report *report, struct sim_error *error)
{
  const struct sim_options *options = report->options;
  struct under_way progress = {.all = (double)options->source.seeds *
                                      (double)(options->n_capacities * options->n_policies)};
  kvs_status status = KVS_OK;

  sim_progress_start(&progress.bar);
  for (uint32_t i = 0; i < options->source.seeds && status == KVS_OK; i++) {
    struct sim_schedule *schedule;
    struct sim_told *told;

    status = sim_source_order(&options->source, report->trace, options->seed + i, options->load, &schedule,
                              &told, error);
    if (status != KVS_OK)
      break;
    report->open_tokens += schedule->open_tokens / options->source.seeds;
    status = replay_seed(report, schedule, told, i, &progress, error);
    free(told);
    sim_schedule_destroy(schedule);
  }
  sim_progress_wipe(&progress.bar);
  return status;
}

static void draw_picture(const void *report, FILE *out)
{
  sim_report_svg(report, out);
}

/* Reads, replays and prints. */
static kvs_status work(struct sim_options *options, struct sim_trace **trace_p, struct sim_error *error)
{
  struct sim_report report = {.options = options};
  const struct sim_trace *trace;
  size_t cells;

  if (sim_source_read(&options->source, trace_p, &report.found, error) != KVS_OK)
    return error->status;
  trace = *trace_p;
  report.trace = trace;
  for (size_t i = 0; i < options->n_capacities; i++)
    if (options->capacities[i].open > 0 && trace->n_runs < 2)
      return sim_fail(
          error, KVS_ERR_INVALID,
          "the trace does not tell its runs, so it has no open working set: say capacities in tokens");
  cells = options->n_capacities * options->source.seeds;
  report.capacities = calloc(cells + 1, sizeof *report.capacities);
  report.results = calloc(cells * options->n_policies + 1, sizeof *report.results);
  if (!report.capacities || !report.results)
    sim_fail(error, KVS_ERR_NOMEM, "no memory for the results");
  else if (replay_all(&report, error) == KVS_OK) {
    (options->json ? sim_report_json : sim_report_table)(&report, stdout);
    sim_picture_end(options->plot, draw_picture, &report, error);
  }
  free(report.capacities);
  free(report.results);
  return error->status;
}

int main(int argc, char **argv)
{
  struct sim_error error = {0};
  struct sim_options options;
  struct sim_trace *trace = NULL;
  int end;

  if (argc > 1 && strcmp(argv[1], "queue") == 0)
    return sim_queue_main(argc - 1, argv + 1);
  end = sim_options_parse(argc, argv, &options);
  if (end != 0)
    return end - 1;
  work(&options, &trace, &error);
  sim_trace_destroy(trace);
  if (error.status == KVS_OK)
    return EXIT_SUCCESS;
  fprintf(stderr, "kvasir-sim: %s\n", error.text);
  return EXIT_FAILURE;
}
