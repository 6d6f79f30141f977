/* client/cli/stats.c: kvasirctl stats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"

static bool watch;

static const struct cli_option options[] = {
    {'w', "watch", NULL, "again and again, counters as rates; SECONDS apart (default 1)", CLI_FLAG, &watch},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* A count as people read it, bytes as sizes, seconds as times. */
static void value_text(const char *name, double value, bool rate, char *text, size_t size)
{
  char units[CLI_SIZE_TEXT];

  bool per_second = rate || strstr(name, "_per_second") != NULL;

  if (strstr(name, "bytes") != NULL)
    snprintf(text, size, "%s%s", cli_size_text(value, units), per_second ? "/s" : "");
  else if (strstr(name, "seconds") != NULL && !rate)
    snprintf(text, size, "%s", cli_time_text(value, units));
  else if (value < 1e15 && value == floor(value))
    snprintf(text, size, "%.0f%s", value, rate ? "/s" : "");
  else
    snprintf(text, size, "%.2f%s", value, rate ? "/s" : "");
}

/* The value of a row in the document before, or NAN. */
static double value_before(const cJSON *before, const cJSON *stat)
{
  const cJSON *old;

  cJSON_ArrayForEach(old, cJSON_GetObjectItemCaseSensitive(before, "stats"))
  {
    if (strcmp(cli_json_text(old, "name"), cli_json_text(stat, "name")) == 0 &&
        strcmp(cli_json_text(old, "labels"), cli_json_text(stat, "labels")) == 0)
      return cli_json_number(old, "value");
  }
  return (double)NAN;
}

static void add_row(struct cli_table *table, const cJSON *stat, const cJSON *before, double seconds)
{
  const char *name = cli_json_text(stat, "name");
  double value = cli_json_number(stat, "value");
  double old = before != NULL ? value_before(before, stat) : (double)NAN;
  char text[48], rate[48] = "", label[160];

  value_text(name, value, false, text, sizeof(text));
  if (strcmp(cli_json_text(stat, "kind"), "counter") == 0 && !isnan(old) && value >= old)
    value_text(name, (value - old) / seconds, true, rate, sizeof(rate));
  snprintf(label, sizeof(label), "%s%s%s%s", name, cli_json_text(stat, "labels")[0] != '\0' ? "{" : "",
           cli_json_text(stat, "labels"), cli_json_text(stat, "labels")[0] != '\0' ? "}" : "");
  cli_table_row(table, (const char *const[]){label, text, rate, cli_json_text(stat, "help")});
}

/* What a node with an SSD tier had when it started. */
static void print_recovered(const cJSON *now)
{
  double objects = 0, seconds = 0, devices = 0, bytes = 0;
  char size[CLI_SIZE_TEXT], time[CLI_SIZE_TEXT];
  const cJSON *stat;

  cJSON_ArrayForEach(stat, cJSON_GetObjectItemCaseSensitive(now, "stats"))
  {
    const char *name = cli_json_text(stat, "name");
    double value = cli_json_number(stat, "value");

    if (strcmp(cli_json_text(stat, "labels"), "tier=\"ssd\"") != 0)
      continue;
    objects += strcmp(name, "kvasir_tier_recovered_objects") == 0 ? value : 0;
    bytes += strcmp(name, "kvasir_tier_recovered_bytes") == 0 ? value : 0;
    seconds += strcmp(name, "kvasir_tier_recovery_seconds") == 0 ? value : 0;
    devices += strcmp(name, "kvasir_tier_devices") == 0 ? value : 0;
  }
  if (devices > 0)
    printf("found on ssd at start: %.0f chunks, %s, in %s\n", objects, cli_size_text(bytes, size),
           cli_time_text(seconds, time));
}

static void print_table(const struct cli *cli, const cJSON *now, const cJSON *before, double seconds)
{
  const char *const headings[] = {"NAME", "VALUE", before != NULL ? "RATE" : "", "MEANING"};
  const bool to_the_right[] = {false, true, true, false};
  struct cli_table *table = cli_table_new(4, headings, to_the_right);
  char up[CLI_SIZE_TEXT];
  const cJSON *stat;

  printf("%s: %s, up %s\n", cli->endpoint, cli_json_text(now, "software"),
         cli_time_text(cli_json_number(now, "uptime_ms") / 1e3, up));
  print_recovered(now);
  putchar('\n');
  cJSON_ArrayForEach(stat, cJSON_GetObjectItemCaseSensitive(now, "stats"))
      add_row(table, stat, before, seconds);
  cli_table_print(table, stdout);
}

/* Once, or until the node is gone. */
static kvs_status show(struct cli *cli, double seconds)
{
  const struct timespec pause = {.tv_sec = (time_t)seconds, .tv_nsec = (long)(fmod(seconds, 1) * 1e9)};
  cJSON *before = NULL;
  kvs_status status;

  do {
    char *json = NULL;
    cJSON *now;

    status = kvsc_stats_json(cli->client, 0, &json);
    if (status != KVS_OK)
      break;
    now = cli->json ? NULL : cJSON_Parse(json);
    if (watch && !cli->json && isatty(STDOUT_FILENO))
      fputs("\033[H\033[2J", stdout);
    if (cli->json && watch)
      puts(json); /* a document a line */
    else if (cli->json)
      cli_print_json(json);
    else if (now != NULL)
      print_table(cli, now, before, seconds);
    fflush(stdout);
    cJSON_Delete(before);
    before = now;
    free(json);
    if (watch)
      nanosleep(&pause, NULL);
  } while (watch && !ferror(stdout));
  cJSON_Delete(before);
  return status;
}

static int run(struct cli *cli, int n, char **arguments)
{
  double seconds = 1;
  char *end = NULL;
  kvs_status status;
  int code;

  if (n > 0) {
    seconds = strtod(arguments[0], &end);
    if (!watch || *end != '\0' || !(seconds >= 0.1 && seconds <= 86400))
      return cli_usage(&cli_stats, "it takes --watch and then from 0.1 to 86400 seconds, not '%s'",
                       arguments[0]);
  }
  code = cli_connect(cli);
  if (code != CLI_OK)
    return code;
  status = show(cli, seconds);
  return status == KVS_OK ? CLI_OK : cli_fail(cli, "stats", status);
}

const struct cli_command cli_stats = {
    .name = "stats",
    .arguments = "[SECONDS]",
    .summary = "What the node holds and does",
    .options = options,
    .max_arguments = 1,
    .run = run,
};
