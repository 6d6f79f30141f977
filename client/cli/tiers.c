/* client/cli/tiers.c: kvasirctl tiers: where chunks are, and what moves between tiers. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

#define COLUMNS 9

/* The value of a statistic with this label of tier; several causes are added up. 0 if there is none. */
static double value_of(const cJSON *document, const char *name, const char *tier)
{
  const cJSON *stat;
  char label[48];
  double sum = 0;

  snprintf(label, sizeof(label), "tier=\"%s\"", tier);
  cJSON_ArrayForEach(stat, cJSON_GetObjectItemCaseSensitive(document, "stats"))
  {
    if (strcmp(cli_json_text(stat, "name"), name) == 0 &&
        strncmp(cli_json_text(stat, "labels"), label, strlen(label)) == 0)
      sum += cli_json_number(stat, "value");
  }
  return sum;
}

static void add_row(struct cli_table *table, const cJSON *document, const char *tier)
{
  double used = value_of(document, "kvasir_tier_used_bytes", tier);
  double capacity = value_of(document, "kvasir_tier_capacity_bytes", tier);
  char sizes[2][CLI_SIZE_TEXT], counts[6][24];

  if (capacity <= 0)
    capacity = used + value_of(document, "kvasir_tier_free_bytes", tier);
  const double values[] = {value_of(document, "kvasir_tier_objects", tier),
                           value_of(document, "kvasir_tier_gets_total", tier),
                           value_of(document, "kvasir_tier_get_failures_total", tier),
                           value_of(document, "kvasir_tier_promotions_total", tier),
                           value_of(document, "kvasir_tier_demotions_total", tier),
                           value_of(document, "kvasir_tier_evictions_total", tier)};
  for (size_t i = 0; i < 6; i++)
    snprintf(counts[i], sizeof(counts[i]), "%.0f", values[i]);
  cli_table_row(table,
                (const char *const[]){tier, cli_size_text(capacity, sizes[0]), cli_size_text(used, sizes[1]),
                                      counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]});
}

/* What a person asks next about a tier below: its devices, its queue, what it found at start. */
static void print_ssd(const cJSON *document)
{
  char size[CLI_SIZE_TEXT], rate[CLI_SIZE_TEXT], time[CLI_SIZE_TEXT];

  printf("\nssd: %.0f of %.0f directories out, %.0f device errors, %.0f chunks wait to be written, %.0f were "
         "not\n",
         value_of(document, "kvasir_tier_devices_failed", "ssd"),
         value_of(document, "kvasir_tier_devices", "ssd"),
         value_of(document, "kvasir_tier_device_errors_total", "ssd"),
         value_of(document, "kvasir_tier_write_queue", "ssd"),
         value_of(document, "kvasir_tier_put_failures_total", "ssd"));
  printf("ssd: %.0f chunks, %s found at start in %s; reads at %s/s, each in %s\n",
         value_of(document, "kvasir_tier_recovered_objects", "ssd"),
         cli_size_text(value_of(document, "kvasir_tier_recovered_bytes", "ssd"), size),
         cli_time_text(value_of(document, "kvasir_tier_recovery_us", "ssd") / 1e6, time),
         cli_size_text(value_of(document, "kvasir_tier_read_bytes_per_second", "ssd"), rate),
         cli_time_text(value_of(document, "kvasir_tier_read_latency_us", "ssd") / 1e6,
                       (char[CLI_SIZE_TEXT]){0}));
}

static void print_tiers(const struct cli *cli, const cJSON *document)
{
  const char *const headings[COLUMNS] = {"TIER",   "CAPACITY", "USED",    "CHUNKS", "READ",
                                         "FAILED", "PROMOTED", "DEMOTED", "EVICTED"};
  const bool to_the_right[COLUMNS] = {false, true, true, true, true, true, true, true, true};
  struct cli_table *table = cli_table_new(COLUMNS, headings, to_the_right);
  bool ssd = value_of(document, "kvasir_tier_devices", "ssd") > 0;

  printf("%s: %s\n\n", cli->endpoint, cli_json_text(document, "software"));
  add_row(table, document, "dram");
  if (ssd)
    add_row(table, document, "ssd");
  cli_table_print(table, stdout);
  if (ssd)
    print_ssd(document);
}

/* The rows of the statistics that are about tiers. */
static void print_json(cJSON *document)
{
  cJSON *all = cJSON_DetachItemFromObjectCaseSensitive(document, "stats"), *kept = cJSON_CreateArray(), *stat;
  char *text;

  while ((stat = cJSON_DetachItemFromArray(all, 0)) != NULL)
    if (strncmp(cli_json_text(stat, "name"), "kvasir_tier_", 12) == 0)
      cJSON_AddItemToArray(kept, stat);
    else
      cJSON_Delete(stat);
  cJSON_Delete(all);
  cJSON_AddItemToObject(document, "stats", kept);
  text = cJSON_PrintUnformatted(document);
  if (text != NULL)
    cli_print_json(text);
  free(text);
}

static int run(struct cli *cli, int n, char **arguments)
{
  char *json = NULL;
  cJSON *document;
  kvs_status status;
  int code = cli_connect(cli);

  (void)n, (void)arguments;
  if (code != CLI_OK)
    return code;
  status = kvsc_stats_json(cli->client, 0, &json);
  if (status != KVS_OK)
    return cli_fail(cli, "tiers", status);
  document = cJSON_Parse(json);
  free(json);
  if (document == NULL)
    return CLI_ERROR;
  if (cli->json)
    print_json(document);
  else
    print_tiers(cli, document);
  cJSON_Delete(document);
  return CLI_OK;
}

const struct cli_command cli_tiers = {
    .name = "tiers",
    .summary = "What each tier holds, and what moves between them",
    .run = run,
};
