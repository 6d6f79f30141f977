#include "tests/sim/report.h"

#include <math.h>
#include <string.h>

#define GB_HOUR (1e9 * 3600)

static const struct sim_result *results_of(const struct sim_report *report, size_t capacity, size_t policy)
{
  return report->results +
         (capacity * report->options->n_policies + policy) * (size_t)report->options->source.seeds;
}

static double share(double part, double whole)
{
  return whole > 0 ? part / whole : 0;
}

static struct sim_row row_without_gap(const struct sim_report *report, size_t capacity, size_t policy)
{
  const struct sim_result *results = results_of(report, capacity, policy);
  const uint64_t *capacities = report->capacities + capacity * report->options->source.seeds;
  double seeds = report->options->source.seeds;
  struct sim_row row = {
      .policy = report->options->policies[policy], .paid_least_s = INFINITY, .gap_closed = NAN};

  for (uint32_t i = 0; i < report->options->source.seeds; i++) {
    const struct sim_result *result = &results[i];

    row.capacity_tokens += (double)capacities[i] / seeds;
    row.hit_rate += share((double)result->hits, (double)result->chunks) / seeds;
    row.token_hit_rate += share((double)result->hit_tokens, (double)result->input_tokens) / seeds;
    row.paid_s += result->paid_s / seeds;
    row.paid_least_s = fmin(row.paid_least_s, result->paid_s);
    row.paid_most_s = fmax(row.paid_most_s, result->paid_s);
    row.whole_s += result->whole_s / seeds;
    row.inserted += (double)result->inserted / seeds;
    row.evicted += (double)result->evicted / seeds;
    for (size_t t = 0; t < SIM_TIERS; t++) {
      row.tiers[t].found += (double)result->moved[t].found / seeds;
      row.tiers[t].read += (double)result->moved[t].read / seeds;
      row.tiers[t].written += (double)result->moved[t].written / seeds;
    }
    row.wasted += result->wasted_chunk_s / seeds;
    row.never += result->never_chunk_s / seeds;
    row.ahead += (double)result->ahead / seeds;
    row.ahead_used += (double)result->ahead_used / seeds;
    row.ns_per_chunk += share((double)result->cpu_ns, (double)result->cpu_chunks) / seeds;
  }
  return row;
}

/* The paid seconds of a policy by its name; NAN: it was not asked for. */
static double paid_by(const struct sim_report *report, size_t capacity, const char *name)
{
  for (size_t i = 0; i < report->options->n_policies; i++)
    if (strcmp(sim_policy_name(report->options->policies[i]), name) == 0)
      return row_without_gap(report, capacity, i).paid_s;
  return NAN;
}

struct sim_row sim_report_row(const struct sim_report *report, size_t capacity, size_t policy)
{
  struct sim_row row = row_without_gap(report, capacity, policy);
  double lru = paid_by(report, capacity, "lru"), belady = paid_by(report, capacity, "belady");

  if (report->options->tiers[SIM_REDIS].share > 0)
    return row; /* lru has it, and belady plays one cache without it */
  if (lru > belady * (1 + 1e-9))
    row.gap_closed = (lru - row.paid_s) / (lru - belady);
  return row;
}

/* Was the policy replayed over this tier? */
static bool is_over(const struct sim_options *options, const struct sim_policy *policy, size_t tier)
{
  return tier == SIM_MEMORY || (options->tiers[tier].share > 0 && sim_policy_knows_tiers(policy));
}

struct loaded {
  double chunks, s;
};

/* What requests found below memory; s: what that takes. */
static struct loaded loaded_of(const struct sim_options *options, const struct sim_row *row, double bytes)
{
  struct loaded loaded = {0};

  for (size_t t = SIM_SSD; t < SIM_TIERS; t++)
    if (is_over(options, row->policy, t)) {
      loaded.chunks += row->tiers[t].found;
      loaded.s += row->tiers[t].found * bytes / options->tiers[t].bytes_per_s;
    }
  return loaded;
}

/* "3.00M" */
static void put_tokens(FILE *out, double tokens)
{
  fprintf(out, "%8.2fM", tokens / 1e6);
}

/* Of what is replayed: without what was left out. */
static void count_kept(const struct sim_trace *trace, uint64_t *requests_p, uint32_t *runs_p)
{
  *requests_p = 0;
  *runs_p = 0;
  for (uint32_t i = 0; i < trace->n_runs; i++) {
    *requests_p += trace->runs[i].left_out ? 0 : trace->runs[i].n_requests;
    *runs_p += !trace->runs[i].left_out;
  }
}

/* A line for each tier, if there is one below. */
static void put_tiers(const struct sim_options *options, const struct sim_row *row, double gib, FILE *out)
{
  bool is_below = is_over(options, row->policy, SIM_SSD) || is_over(options, row->policy, SIM_REDIS);

  for (size_t t = 0; is_below && t < SIM_TIERS; t++)
    if (is_over(options, row->policy, t))
      fprintf(out, "%9s  %-12s %.1f GiB found in %s, %.1f read, %.1f written\n", "", "",
              row->tiers[t].found * gib, sim_tier_names[t], row->tiers[t].read * gib,
              row->tiers[t].written * gib);
  if (is_over(options, row->policy, SIM_SSD) && options->ahead)
    fprintf(out, "%9s  %-12s %.1f GiB ahead of their use, of which %.1f were used\n", "", "",
            row->ahead * gib, row->ahead_used * gib);
}

static void put_row(const struct sim_report *report, const struct sim_row *row, FILE *out)
{
  const struct sim_options *options = report->options;
  double bytes = report->trace->chunk_tokens * options->bytes_per_token, gib = bytes / (1u << 30);
  struct loaded loaded = loaded_of(options, row, bytes);

  put_tokens(out, row->capacity_tokens);
  fprintf(out, "  %-12s %7.4f %7.4f %12.1f ", sim_policy_name(row->policy), row->hit_rate,
          row->token_hit_rate, row->paid_s);
  if (options->source.seeds > 1)
    fprintf(out, "%7.1f%% ", 100 * share(row->paid_most_s - row->paid_least_s, 2 * row->paid_s));
  else
    fprintf(out, "%8s ", "-");
  if (isnan(row->gap_closed))
    fprintf(out, "%6s ", "-");
  else
    fprintf(out, "%5.0f%% ", 100 * row->gap_closed);
  fprintf(out, "%11.0f %11.0f %9.1f %9.1f %10.1f %9.1f ", row->inserted, row->evicted, row->inserted * gib,
          (row->tiers[SIM_MEMORY].found + loaded.chunks) * gib, loaded.chunks * gib, loaded.s);
  if (sim_policy_knows_tiers(row->policy))
    fprintf(out, "%9.0f %9.0f ", row->wasted * bytes / GB_HOUR, row->never * bytes / GB_HOUR);
  else
    fprintf(out, "%9s %9s ", "-", "-");
  fprintf(out, "%9.1f\n", row->ns_per_chunk);
  put_tiers(options, row, gib, out);
}

void sim_report_table(const struct sim_report *report, FILE *out)
{
  const struct sim_options *options = report->options;
  const struct sim_trace *trace = report->trace;
  uint64_t requests;
  uint32_t runs;

  count_kept(trace, &requests, &runs);
  fprintf(out, "%llu requests", (unsigned long long)requests);
  if (trace->n_runs > 1)
    fprintf(out, ", %u runs", runs);
  if (trace->spread)
    fprintf(out, " (of %u; %u duplicates; %u groups)", trace->n_runs, report->found.duplicates,
            report->found.groups);
  fprintf(out, ", %u chunks of %u tokens in the trace", trace->n_chunks, trace->chunk_tokens);
  if (trace->n_runs > 1)
    fprintf(out, "; open working set %.2fM tokens", (double)report->open_tokens / 1e6);
  if (options->source.seeds > 1)
    fprintf(out, "; means of %u seeds", options->source.seeds);
  fprintf(out, "\n\n%9s  %-12s %7s %7s %12s %8s %6s %11s %11s %9s %9s %10s %9s %9s %9s %9s\n", "CAPACITY",
          "POLICY", "HITS", "TOKENS", "PAID s", "SPREAD", "GAP", "IN chunks", "OUT chunks", "IN GiB",
          "READ GiB", "LOADED GiB", "LOADED s", "WASTED", "NEVER", "ns/chunk");
  for (size_t c = 0; c < options->n_capacities; c++)
    for (size_t p = 0; p < options->n_policies; p++) {
      struct sim_row row = sim_report_row(report, c, p);

      put_row(report, &row, out);
    }
  fprintf(out,
          "\nWithout a cache: %.1f s. HITS: chunks of the longest resident prefix, of all chunks; TOKENS: "
          "the same in tokens. PAID: prefill\n"
          "seconds still to compute; SPREAD: half their range over the seeds. GAP: of what belady saves "
          "beyond lru, the share saved. IN, READ: put, and found by requests. LOADED: of that, from below, "
          "with --tiers. WASTED: GB times\n"
          "hours in memory of what went before it was needed again; NEVER: of what was never needed again.\n",
          sim_report_row(report, 0, 0).whole_s);
}

static void json_result(const struct sim_result *result, uint64_t seed, uint64_t capacity, FILE *out)
{
  fprintf(out,
          "{\"seed\":%llu,\"capacity_tokens\":%llu,\"requests\":%llu,\"chunks\":%llu,\"hits\":%llu,\"input_"
          "tokens\":%llu,"
          "\"hit_tokens\":%llu,\"inserted\":%llu,\"evicted\":%llu,\"paid_s\":%.6f,\"whole_s\":%.6f,\"cpu_"
          "ns\":%llu}",
          (unsigned long long)seed, (unsigned long long)capacity, (unsigned long long)result->requests,
          (unsigned long long)result->chunks, (unsigned long long)result->hits,
          (unsigned long long)result->input_tokens, (unsigned long long)result->hit_tokens,
          (unsigned long long)result->inserted, (unsigned long long)result->evicted, result->paid_s,
          result->whole_s, (unsigned long long)result->cpu_ns);
}

static void json_tiers(const struct sim_options *options, const struct sim_row *row, double bytes, FILE *out)
{
  fputs("\"tiers\":[", out);
  for (size_t t = 0; t < SIM_TIERS; t++)
    if (is_over(options, row->policy, t))
      fprintf(out, "%s{\"name\":\"%s\",\"found_bytes\":%.0f,\"read_bytes\":%.0f,\"written_bytes\":%.0f}",
              t > 0 ? "," : "", sim_tier_names[t], row->tiers[t].found * bytes, row->tiers[t].read * bytes,
              row->tiers[t].written * bytes);
  fputs("],", out);
}

static void json_waste(const struct sim_row *row, double bytes, FILE *out)
{
  if (sim_policy_knows_tiers(row->policy))
    fprintf(out, "\"wasted_byte_s\":%.0f,\"never_byte_s\":%.0f,", row->wasted * bytes, row->never * bytes);
  else
    fputs("\"wasted_byte_s\":null,\"never_byte_s\":null,", out);
}

static void json_row(const struct sim_report *report, size_t capacity, size_t policy, FILE *out)
{
  const struct sim_options *options = report->options;
  struct sim_row row = sim_report_row(report, capacity, policy);
  double bytes = report->trace->chunk_tokens * options->bytes_per_token;
  struct loaded loaded = loaded_of(options, &row, bytes);

  fprintf(
      out,
      "{\"policy\":\"%s\",\"capacity_tokens\":%.0f,\"hit_rate\":%.6f,\"token_hit_rate\":%.6f,\"paid_s\":%.6f,"
      "\"paid_least_s\":%.6f,\"paid_most_s\":%.6f,\"whole_s\":%.6f,\"inserted\":%.1f,\"evicted\":%.1f,"
      "\"inserted_bytes\":%.0f,\"evicted_bytes\":%.0f,\"loaded_bytes\":%.0f,\"loaded_s\":%.6f,\"ahead_"
      "bytes\":%.0f,\"ahead_used_bytes\":%.0f,\"ns_per_"
      "chunk\":%.2f,",
      sim_policy_name(row.policy), row.capacity_tokens, row.hit_rate, row.token_hit_rate, row.paid_s,
      row.paid_least_s, row.paid_most_s, row.whole_s, row.inserted, row.evicted, row.inserted * bytes,
      row.evicted * bytes, loaded.chunks * bytes, loaded.s, row.ahead * bytes, row.ahead_used * bytes,
      row.ns_per_chunk);
  json_tiers(options, &row, bytes, out);
  json_waste(&row, bytes, out);
  fputs("\"gap_closed\":", out);
  if (isnan(row.gap_closed))
    fputs("null", out);
  else
    fprintf(out, "%.6f", row.gap_closed);
  fputs(",\"seeds\":[", out);
  for (uint32_t i = 0; i < options->source.seeds; i++) {
    fputs(i > 0 ? "," : "", out);
    json_result(&results_of(report, capacity, policy)[i], options->seed + i,
                report->capacities[capacity * options->source.seeds + i], out);
  }
  fputs("]}", out);
}

/* As they were said. */
static void json_tier_sizes(const struct sim_options *options, FILE *out)
{
  fprintf(out, "\"tiers\":[{\"name\":\"%s\",\"share\":%g}", sim_tier_names[SIM_MEMORY],
          options->tiers[SIM_MEMORY].share);
  for (size_t t = SIM_SSD; t < SIM_TIERS; t++)
    if (options->tiers[t].share > 0)
      fprintf(out, ",{\"name\":\"%s\",\"share\":%g,\"bytes_per_s\":%.0f}", sim_tier_names[t],
              options->tiers[t].share, options->tiers[t].bytes_per_s);
  fputs("],", out);
}

void sim_report_json(const struct sim_report *report, FILE *out)
{
  const struct sim_options *options = report->options;
  const struct sim_trace *trace = report->trace;
  uint64_t requests;
  uint32_t runs;

  count_kept(trace, &requests, &runs);
  fprintf(out,
          "{\"trace\":{\"requests\":%llu,\"runs\":%u,\"duplicates\":%u,\"groups\":%u,\"chunks\":%u,\"chunk_"
          "tokens\":%u,"
          "\"open_tokens\":%llu},\"alpha\":%g,\"beta\":%g,\"bytes_per_token\":%.12g,\"load\":%g,\"warm_up\":%"
          "g,\"half\":\"%s\",\"hints\":\"%s\",\"ahead\":%s,",
          (unsigned long long)requests, runs, report->found.duplicates, report->found.groups, trace->n_chunks,
          trace->chunk_tokens, (unsigned long long)report->open_tokens, options->cost.alpha,
          options->cost.beta, options->bytes_per_token, options->load, options->warm_up,
          sim_half_name(options->source.half), sim_hint_level_name(options->source.hints),
          options->ahead ? "true" : "false");
  json_tier_sizes(options, out);
  fputs("\"rows\":[", out);
  for (size_t c = 0; c < options->n_capacities; c++)
    for (size_t p = 0; p < options->n_policies; p++) {
      fputs(c + p > 0 ? ",\n" : "\n", out);
      json_row(report, c, p, out);
    }
  fputs("]}\n", out);
}
