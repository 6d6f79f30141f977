#include "tests/sim/queue_report.h"

#include <math.h>
#include <string.h>

#include "tests/sim/options.h"

#define GB      1e9
#define GB_HOUR (1e9 * 3600)

/* The least that a share of them does not exceed. */
static double quantile(const double *sorted, uint32_t n, double share)
{
  uint32_t at = (uint32_t)ceil(share * n);

  return sorted[at > 0 ? at - 1 : 0];
}

struct sim_queue_run_sums sim_queue_sums(struct sim_queue_result *result)
{
  struct sim_queue_run_sums sums = {.result = *result};
  uint32_t n = result->programs;

  sums.result.jct_s = NULL;
  sim_values_sort(result->jct_s, n);
  for (uint32_t i = 0; i < n; i++)
    sums.jct_mean_s += result->jct_s[i] / n;
  sums.jct_p50_s = quantile(result->jct_s, n, 0.5);
  sums.jct_p95_s = quantile(result->jct_s, n, 0.95);
  sums.jct_max_s = result->jct_s[n - 1];
  return sums;
}

static const struct sim_queue_run_sums *runs_of(const struct sim_queue_report *report, size_t cell,
                                                size_t policy)
{
  return report->runs + (cell * report->options->n_policies + policy) * report->options->source.seeds;
}

static void means_of(const struct sim_queue_report *report, size_t cell, size_t policy, double *means)
{
  for (uint32_t i = 0; i < report->options->source.seeds; i++)
    means[i] = runs_of(report, cell, policy)[i].jct_mean_s;
}

/* The others with the common scheduler, or, if there are none, the policy itself. Returns how many. */
static size_t others_of(const struct sim_queue_report *report, size_t cell, size_t policy, double *means)
{
  const struct sim_queue_options *options = report->options;
  size_t n = 0;

  for (size_t i = 0; i < options->n_policies; i++)
    if (i != policy && !options->policies[i]->by_request)
      means_of(report, cell, i, means + n++ * options->source.seeds);
  if (n == 0)
    means_of(report, cell, policy, means + n++ * options->source.seeds);
  return n;
}

/* Of the tier below: loaded, and written to it too. */
static double bytes_of(const struct sim_queue_report *report, size_t cell, size_t policy, bool is_stored_too)
{
  double tokens = 0;

  for (uint32_t i = 0; i < report->options->source.seeds; i++) {
    const struct sim_queue_result *result = &runs_of(report, cell, policy)[i].result;

    tokens += (double)(result->loaded_tokens + (is_stored_too ? result->stored_tokens : 0));
  }
  return tokens * report->options->machine.bytes_per_token / report->options->source.seeds;
}

static double over_lru(const struct sim_queue_report *report, size_t cell, size_t policy, bool is_stored_too)
{
  for (size_t i = 0; i < report->options->n_policies; i++)
    if (strcmp(report->options->policies[i]->name, "lru") == 0) {
      double bytes = bytes_of(report, cell, i, is_stored_too);

      return bytes > 0 ? bytes_of(report, cell, policy, is_stored_too) / bytes : NAN;
    }
  return NAN;
}

struct sim_queue_row sim_queue_report_row(const struct sim_queue_report *report, size_t cell, size_t policy)
{
  const struct sim_queue_options *options = report->options;
  double means[SIM_QUEUE_SEEDS_MAX], others[SIM_QUEUE_POLICIES_MAX * SIM_QUEUE_SEEDS_MAX],
      n = options->source.seeds;
  struct sim_queue_row row = {0};

  means_of(report, cell, policy, means);
  row.jct_s = sim_bootstrap_mean(means, options->source.seeds);
  row.over_others =
      sim_bootstrap_over_least(means, others, others_of(report, cell, policy, others), options->source.seeds);
  for (uint32_t i = 0; i < options->source.seeds; i++) {
    const struct sim_queue_run_sums *run = &runs_of(report, cell, policy)[i];
    const struct sim_queue_result *result = &run->result;

    row.p50_s += run->jct_p50_s / n;
    row.p95_s += run->jct_p95_s / n;
    row.max_s += run->jct_max_s / n;
    row.hit_rate += (double)result->hit_tokens / (double)result->asked_tokens / n;
    row.computed_s += result->computed_s / n;
    row.first_s += result->first_s / n;
    row.stored_bytes += (double)result->stored_tokens * options->machine.bytes_per_token / n;
    row.link_share += result->link_busy_s / result->end_s / n;
    row.busy_share += result->busy_s / result->end_s / n;
    row.wasted_byte_s += result->wasted_byte_s / n;
    row.never_byte_s += result->never_byte_s / n;
    row.policy_us += (double)result->policy_ns / 1e3 / (double)result->turns / n;
  }
  row.loaded_bytes = bytes_of(report, cell, policy, false);
  row.loaded_over_lru = over_lru(report, cell, policy, false);
  row.bytes_over_lru = over_lru(report, cell, policy, true);
  return row;
}

const char *sim_queue_lower_name(double bandwidth, char *text, size_t room)
{
  if (bandwidth > 0)
    snprintf(text, room, "%g GB/s", bandwidth / GB);
  else
    snprintf(text, room, "none");
  return text;
}

struct cell {
  const char *tails;
  double load, lower;
};

static struct cell cell_of(const struct sim_queue_options *options, size_t cell)
{
  return (struct cell){.tails = sim_queue_tails_name(options, cell / options->n_lowers / options->n_loads),
                       .load = options->loads[cell / options->n_lowers % options->n_loads],
                       .lower = options->lowers[cell % options->n_lowers]};
}

/* One seed has no interval. */
static void put_interval(const struct sim_queue_report *report, const struct sim_interval *interval,
                         int width, int digits, FILE *out)
{
  fprintf(out, "%*.*f ", width, digits, interval->value);
  if (report->options->source.seeds > 1)
    fprintf(out, "[%*.*f %*.*f] ", width, digits, interval->low, width, digits, interval->high);
  else
    fprintf(out, "%*s ", 2 * width + 3, "-");
}

static void put_row(const struct sim_queue_report *report, size_t cell, size_t policy, FILE *out)
{
  struct sim_queue_row row = sim_queue_report_row(report, cell, policy);

  fprintf(out, "  %-14s ", report->options->policies[policy]->name);
  put_interval(report, &row.jct_s, 8, 1, out);
  put_interval(report, &row.over_others, 6, 3, out);
  fprintf(out, "%8.1f %8.1f %8.1f %6.3f %9.0f %9.0f ", row.p50_s, row.p95_s, row.max_s, row.hit_rate,
          row.computed_s, row.loaded_bytes / GB);
  if (isnan(row.loaded_over_lru))
    fprintf(out, "%6s %6s ", "-", "-");
  else
    fprintf(out, "%6.2f %6.2f ", row.loaded_over_lru, row.bytes_over_lru);
  fprintf(out, "%9.0f %4.0f%% %4.0f%% %9.1f %9.1f %6.1f\n", row.stored_bytes / GB, 100 * row.link_share,
          100 * row.busy_share, row.wasted_byte_s / GB_HOUR, row.never_byte_s / GB_HOUR, row.policy_us);
}

void sim_queue_report_table(const struct sim_queue_report *report, FILE *out)
{
  const struct sim_queue_options *options = report->options;
  char name[32];

  fprintf(out, "%u programs, %u %s; pool %.2fM tokens, ", report->programs, options->source.seeds,
          options->source.seeds > 1 ? "seeds" : "seed", options->machine.pool_tokens / 1e6);
  if (options->machine.lower_tokens > 0)
    fprintf(out, "below %.2fM; ", options->machine.lower_tokens / 1e6);
  fprintf(out, "times in seconds\n");
  for (size_t c = 0; c < sim_queue_cells(options); c++) {
    struct cell cell = cell_of(options, c);

    fprintf(out, "\n%s%s, load %g, below: %s; %.0f prefill seconds are new to everybody\n",
            options->source.n_paths > 0 ? "" : "tails ", cell.tails, cell.load,
            sim_queue_lower_name(cell.lower, name, sizeof name), sim_queue_report_row(report, c, 0).first_s);
    fprintf(out, "  %-14s %8s %-19s %6s %-15s %8s %8s %8s %6s %9s %9s %6s %6s %9s %5s %5s %9s %9s %6s\n",
            "POLICY", "JCT", "[95 %]", "/OTHER", "[95 %]", "P50", "P95", "MAX", "HITS", "PREFILL",
            "LOADED GB", "/LRU", "+ST", "STORED GB", "LINK", "BUSY", "WASTED", "NEVER", "us");
    for (size_t p = 0; p < options->n_policies; p++)
      put_row(report, c, p, out);
  }
  fprintf(out,
          "\nJCT: a program's time from its arrival to its last answer. /OTHER: over the least of the "
          "others of the cell with the same scheduler.\nHITS: tokens of prompts that were in the pool. "
          "PREFILL: seconds "
          "computed. LOADED, STORED: over the link. /LRU: loaded, over lru's; +ST: with what is "
          "stored.\nLINK, BUSY: share of the time "
          "that link and engine worked. WASTED: GB times hours kept for who did not come in time; NEVER: for "
          "who does not come at all, and nobody was told. us: of the "
          "policy "
          "for each turn.\n");
}

static void json_run(const struct sim_queue_run_sums *run, uint64_t seed, FILE *out)
{
  const struct sim_queue_result *result = &run->result;

  fprintf(
      out,
      "{\"seed\":%llu,\"jct_mean_s\":%.6f,\"jct_p50_s\":%.6f,\"jct_p95_s\":%.6f,\"jct_max_s\":%.6f,\"turns\":"
      "%"
      "llu,\"asked_tokens\":%llu,\"hit_tokens\":%llu,\"loaded_tokens\":%llu,\"computed_tokens\":%llu,"
      "\"answered_tokens\":%llu,\"stored_tokens\":%llu,\"computed_s\":%.6f,\"first_s\":%.6f,\"busy_s\":%.6f,"
      "\"end_s\":%.6f,\"link_busy_s\":%.6f,\"wasted_byte_s\":%.0f,\"never_byte_s\":%.0f,\"policy_ns\":%llu}",
      (unsigned long long)seed, run->jct_mean_s, run->jct_p50_s, run->jct_p95_s, run->jct_max_s,
      (unsigned long long)result->turns, (unsigned long long)result->asked_tokens,
      (unsigned long long)result->hit_tokens, (unsigned long long)result->loaded_tokens,
      (unsigned long long)result->computed_tokens, (unsigned long long)result->answered_tokens,
      (unsigned long long)result->stored_tokens, result->computed_s, result->first_s, result->busy_s,
      result->end_s, result->link_busy_s, result->wasted_byte_s, result->never_byte_s,
      (unsigned long long)result->policy_ns);
}

/* One seed has no interval. */
static void json_bounds(const struct sim_queue_report *report, const struct sim_interval *interval, FILE *out)
{
  if (report->options->source.seeds > 1)
    fprintf(out, "\"low\":%.6f,\"high\":%.6f", interval->low, interval->high);
  else
    fputs("\"low\":null,\"high\":null", out);
}

static void json_row(const struct sim_queue_report *report, size_t cell, size_t policy, FILE *out)
{
  const struct sim_queue_options *options = report->options;
  struct sim_queue_row row = sim_queue_report_row(report, cell, policy);

  fprintf(out, "{\"policy\":\"%s\",\"jct_s\":{\"mean\":%.6f,", options->policies[policy]->name,
          row.jct_s.value);
  json_bounds(report, &row.jct_s, out);
  fprintf(out, ",\"p50\":%.6f,\"p95\":%.6f,\"max\":%.6f},\"over_others\":{\"value\":%.6f,", row.p50_s,
          row.p95_s, row.max_s, row.over_others.value);
  json_bounds(report, &row.over_others, out);
  fprintf(out,
          "},\"token_hit_rate\":%.6f,\"paid_s\":%.6f,\"first_s\":%.6f,\"loaded_bytes\":%.0f,"
          "\"stored_bytes\":%.0f,\"link_share\":%.6f,\"busy_share\":%.6f,\"wasted_byte_s\":%.0f,"
          "\"never_byte_s\":%.0f,\"policy_us\":%.3f,\"seeds\":[",
          row.hit_rate, row.computed_s, row.first_s, row.loaded_bytes, row.stored_bytes, row.link_share,
          row.busy_share, row.wasted_byte_s, row.never_byte_s, row.policy_us);
  for (uint32_t i = 0; i < options->source.seeds; i++) {
    fputs(i > 0 ? "," : "", out);
    json_run(&runs_of(report, cell, policy)[i], options->seed + i, out);
  }
  fputs("]}", out);
}

void sim_queue_report_json(const struct sim_queue_report *report, FILE *out)
{
  const struct sim_queue_options *options = report->options;
  const struct sim_queue_machine *machine = &options->machine;

  fprintf(out,
          "{\"programs\":%u,\"half\":\"%s\",\"hints\":\"%s\",\"machine\":{\"alpha\":%g,\"beta\":%g,\"step_"
          "ms\":%g,\"step_tokens\":%u,\"pool_"
          "tokens\":%u,"
          "\"lower_tokens\":%u,\"bytes_per_token\":%.12g,\"chunk_tokens\":%u,\"link_weight\":%g,\"give_way_"
          "s\":%g,\"reload_"
          "cheaper\":%s},\"cells\":[",
          report->programs, sim_half_name(options->source.half), sim_hint_level_name(options->source.hints),
          machine->cost.alpha, machine->cost.beta, (double)machine->step_ns / 1e6, machine->step_tokens,
          machine->pool_tokens, machine->lower_tokens, machine->bytes_per_token, options->source.chunk_tokens,
          machine->link_weight, machine->give_way_s, machine->is_load_weighed ? "true" : "false");
  for (size_t c = 0; c < sim_queue_cells(options); c++) {
    struct cell cell = cell_of(options, c);

    fprintf(out, "%s\n{\"tails\":\"%s\",\"load\":%g,\"lower_bytes_per_s\":%.0f,\"rows\":[", c > 0 ? "," : "",
            cell.tails, cell.load, cell.lower);
    for (size_t p = 0; p < options->n_policies; p++) {
      fputs(p > 0 ? ",\n" : "\n", out);
      json_row(report, c, p, out);
    }
    fputs("]}", out);
  }
  fputs("]}\n", out);
}
