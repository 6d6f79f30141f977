/* client/cli/replay_report.c: what came of a replay, as tables or JSON. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "client/cli/rank.h"
#include "client/cli/replay.h"

static const char *const kinds[REPLAY_KINDS] = {"lookup", "get", "put"};

/* Of one kind of operation, in seconds. */
struct latency {
  size_t n;
  double p50, p99, most;
};

static int by_value(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;

  return (x > y) - (x < y);
}

/* Sorts them; those that were not (0) are left out. */
static struct latency latency_of(float *seconds, size_t n)
{
  struct latency latency = {0};
  const float *first;

  qsort(seconds, n, sizeof *seconds, by_value);
  for (first = seconds; first < seconds + n && !(*first > 0); first++)
    ;
  latency.n = (size_t)(seconds + n - first);
  if (latency.n == 0)
    return latency;
  latency.p50 = first[cli_rank(latency.n, 50)];
  latency.p99 = first[cli_rank(latency.n, 99)];
  latency.most = first[latency.n - 1];
  return latency;
}

static double rate(uint64_t part, uint64_t whole)
{
  return whole > 0 ? (double)part / (double)whole : 0;
}

static void print_json(const struct replay *replay, const struct replay_run *run,
                       const struct latency latencies[REPLAY_KINDS])
{
  const struct replay_sums *sums = &replay->sums;
  const char *quote = sums->refused > 0 ? "\"" : "";

  printf("{\"requests\":%" PRIu64 ",\"requests_all\":%" PRIu64 ",\"elapsed_s\":%.3f,\"interrupted\":%s",
         sums->requests, run->requests_all, run->elapsed_s, run->interrupted ? "true" : "false");
  printf(",\"chunk_tokens\":%u,\"chunk_bytes\":%zu,\"input_tokens\":%" PRIu64 ",\"hit_tokens\":%" PRIu64
         ",\"token_hit_rate\":%.6f",
         replay->trace->chunk_tokens, replay->chunk_bytes, sums->input_tokens, sums->hit_tokens,
         rate(sums->hit_tokens, sums->input_tokens));
  printf(",\"chunks\":%" PRIu64 ",\"found\":%" PRIu64 ",\"hits\":%" PRIu64
         ",\"hit_rate\":%.6f,\"stored\":%" PRIu64 ",\"existed\":%" PRIu64 ",\"declined\":%" PRIu64
         ",\"refused\":%" PRIu64 ",\"refused_why\":%s%s%s,\"wrong\":%" PRIu64,
         sums->chunks, sums->found, sums->hits, rate(sums->hits, sums->chunks), sums->stored, sums->existed,
         sums->declined, sums->refused, quote,
         sums->refused > 0 ? kvs_status_name(sums->refused_why) : "null", quote, sums->wrong);
  printf(",\"read_bytes\":%" PRIu64 ",\"written_bytes\":%" PRIu64
         ",\"paid_s\":%.6f,\"whole_s\":%.6f,\"saved_s\":%.6f",
         sums->read_bytes, sums->written_bytes, sums->paid_s, sums->whole_s, sums->whole_s - sums->paid_s);
  printf(",\"hints\":%" PRIu64 ",\"hints_refused\":%" PRIu64 ",\"unanswered\":%" PRIu64 ",\"late\":%" PRIu64
         ",\"latest_s\":%.3f,\"latencies\":[",
         sums->hints, sums->hints_refused, sums->unanswered, sums->late, (double)sums->latest_ns / 1e9);
  for (int i = 0; i < REPLAY_KINDS; i++)
    printf("%s{\"name\":\"%s\",\"n\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}", i > 0 ? "," : "",
           kinds[i], latencies[i].n, latencies[i].p50 * 1e6, latencies[i].p99 * 1e6, latencies[i].most * 1e6);
  puts("]}");
}

__attribute__((format(printf, 3, 4))) static void add_row(struct cli_table *table, const char *what,
                                                          const char *format, ...)
{
  char value[160];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(value, sizeof value, format, arguments);
  va_end(arguments);
  cli_table_row(table, (const char *const[]){what, value});
}

static void print_sums(const struct replay *replay, const struct replay_run *run)
{
  const struct replay_sums *sums = &replay->sums;
  const char *const headings[] = {"REPLAY", ""};
  const bool to_the_right[] = {false, false};
  struct cli_table *table = cli_table_new(2, headings, to_the_right);
  char text[CLI_SIZE_TEXT], speed[CLI_SIZE_TEXT];

  add_row(table, "requests", "%" PRIu64 " of %" PRIu64 " in %s%s", sums->requests, run->requests_all,
          cli_time_text(run->elapsed_s, text), run->interrupted ? ", interrupted" : "");
  add_row(table, "token hit rate", "%.4f (%" PRIu64 " of %" PRIu64 ")",
          rate(sums->hit_tokens, sums->input_tokens), sums->hit_tokens, sums->input_tokens);
  add_row(table, "chunks", "%" PRIu64 " of %u tokens and %s", sums->chunks, replay->trace->chunk_tokens,
          cli_size_text((double)replay->chunk_bytes, text));
  add_row(table, "  found", "%" PRIu64, sums->found);
  add_row(table, "  came", "%" PRIu64 " (%.4f of all)", sums->hits, rate(sums->hits, sums->chunks));
  add_row(table, "  stored", "%" PRIu64 ", and %" PRIu64 " were there", sums->stored, sums->existed);
  if (sums->declined > 0)
    add_row(table, "  declined", "%" PRIu64, sums->declined);
  add_row(table, "  refused", "%" PRIu64 "%s%s", sums->refused, sums->refused > 0 ? ", the first: " : "",
          sums->refused > 0 ? kvs_status_text(sums->refused_why) : "");
  add_row(table, "  wrong bytes", "%" PRIu64, sums->wrong);
  add_row(table, "read", "%s, %s/s", cli_size_text((double)sums->read_bytes, text),
          cli_size_text((double)sums->read_bytes / (run->elapsed_s + 1e-9), speed));
  add_row(table, "written", "%s, %s/s", cli_size_text((double)sums->written_bytes, text),
          cli_size_text((double)sums->written_bytes / (run->elapsed_s + 1e-9), speed));
  add_row(table, "prefill saved", "%.1f s of %.1f s", sums->whole_s - sums->paid_s, sums->whole_s);
  if (replay->told != NULL)
    add_row(table, "hints", "%" PRIu64 ", of which %" PRIu64 " were not taken", sums->hints,
            sums->hints_refused);
  if (sums->unanswered > 0)
    add_row(table, "not answered", "%" PRIu64 " operations", sums->unanswered);
  if (replay->speed > 0)
    add_row(table, "late", "%" PRIu64 ", at most by %s", sums->late,
            cli_time_text((double)sums->latest_ns / 1e9, text));
  cli_table_print(table, stdout);
}

static void print_latencies(const struct latency latencies[REPLAY_KINDS])
{
  const char *const headings[] = {"LATENCY", "REQUESTS", "P50", "P99", "MAX"};
  const bool to_the_right[] = {false, true, true, true, true};
  struct cli_table *table = cli_table_new(5, headings, to_the_right);

  for (int i = 0; i < REPLAY_KINDS; i++) {
    char n[24], p50[CLI_SIZE_TEXT], p99[CLI_SIZE_TEXT], most[CLI_SIZE_TEXT];

    snprintf(n, sizeof n, "%zu", latencies[i].n);
    if (latencies[i].n > 0)
      cli_table_row(table, (const char *const[]){kinds[i], n, cli_time_text(latencies[i].p50, p50),
                                                 cli_time_text(latencies[i].p99, p99),
                                                 cli_time_text(latencies[i].most, most)});
  }
  cli_table_print(table, stdout);
}

void replay_report(struct replay *replay, const struct replay_run *run)
{
  struct latency latencies[REPLAY_KINDS];

  for (int i = 0; i < REPLAY_KINDS; i++)
    latencies[i] = latency_of(replay->seconds[i], replay->schedule->n);
  if (replay->cli->json) {
    print_json(replay, run, latencies);
    return;
  }
  print_sums(replay, run);
  putchar('\n');
  print_latencies(latencies);
}
