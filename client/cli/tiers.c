/* client/cli/tiers.c: kvasirctl tiers: where chunks are, what moves between tiers, and what went wrong with them. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

#define COLUMNS 12

static void none(char text[CLI_SIZE_TEXT])
{
  snprintf(text, CLI_SIZE_TEXT, "-");
}

static bool is_of_tier(const cJSON *stat, const char *tier)
{
  char label[48];

  snprintf(label, sizeof(label), "tier=\"%s\"", tier);
  return strncmp(cli_json_text(stat, "labels"), label, strlen(label)) == 0;
}

/* The value of a statistic with this label of tier, or of one without labels (NULL); several causes are added up. 0 if there is none. */
static double value_of(const cJSON *document, const char *name, const char *tier)
{
  const cJSON *stat;
  double sum = 0;

  cJSON_ArrayForEach(stat, cJSON_GetObjectItemCaseSensitive(document, "stats"))
  {
    if (strcmp(cli_json_text(stat, "name"), name) == 0 && (tier == NULL || is_of_tier(stat, tier)))
      sum += cli_json_number(stat, "value");
  }
  return sum;
}

/* ---- the table ---- */

/* A node may count bytes and chunks of its own tiers only: what others wrote to Redis, and what left it, it cannot know. */
static void sizes(const cJSON *document, const char *tier, char capacity_text[CLI_SIZE_TEXT],
                  char used_text[CLI_SIZE_TEXT], char chunks_text[CLI_SIZE_TEXT])
{
  double used = value_of(document, "kvasir_tier_used_bytes", tier);
  double capacity = value_of(document, "kvasir_tier_capacity_bytes", tier);

  if (strcmp(tier, "redis") == 0) {
    none(capacity_text);
    none(used_text);
    none(chunks_text);
    return;
  }
  if (capacity <= 0)
    capacity = used + value_of(document, "kvasir_tier_free_bytes", tier);
  cli_size_text(capacity, capacity_text);
  cli_size_text(used, used_text);
  snprintf(chunks_text, CLI_SIZE_TEXT, "%.0f", value_of(document, "kvasir_tier_objects", tier));
}

static void count_text(const cJSON *document, const char *name, const char *tier, bool has_it,
                       char text[CLI_SIZE_TEXT])
{
  if (has_it)
    snprintf(text, CLI_SIZE_TEXT, "%.0f", value_of(document, name, tier));
  else
    none(text);
}

static void rate_text(const cJSON *document, const char *name, const char *tier, char text[CLI_SIZE_TEXT])
{
  char size[CLI_SIZE_TEXT];
  double rate = value_of(document, name, tier);

  if (rate > 0)
    snprintf(text, CLI_SIZE_TEXT, "%.*s/s", CLI_SIZE_TEXT - 3, cli_size_text(rate, size));
  else
    none(text); /* not measured yet */
}

static void add_row(struct cli_table *table, const cJSON *document, const char *tier)
{
  bool memory = strcmp(tier, "dram") == 0, shared = strcmp(tier, "redis") == 0;
  char cells[COLUMNS - 1][CLI_SIZE_TEXT];

  sizes(document, tier, cells[0], cells[1], cells[2]);
  count_text(document, "kvasir_tier_write_queue", tier, !memory, cells[3]);
  rate_text(document, "kvasir_tier_read_bytes_per_second", tier, cells[4]);
  rate_text(document, "kvasir_tier_write_bytes_per_second", tier, cells[5]);
  count_text(document, "kvasir_tier_hits_total", tier, true, cells[6]);
  count_text(document, "kvasir_tier_get_failures_total", tier, !memory, cells[7]);
  count_text(document, "kvasir_tier_promotions_total", tier, !memory, cells[8]);
  count_text(document, "kvasir_tier_demotions_total", tier, !memory && !shared, cells[9]);
  count_text(document, "kvasir_tier_evictions_total", tier, !shared, cells[10]);
  cli_table_row(table, (const char *const[]){tier, cells[0], cells[1], cells[2], cells[3], cells[4], cells[5],
                                             cells[6], cells[7], cells[8], cells[9], cells[10]});
}

static void print_table(const cJSON *document, bool ssd, bool redis)
{
  const char *const headings[COLUMNS] = {"TIER",   "CAPACITY", "USED",   "CHUNKS",   "QUEUE",   "READS",
                                         "WRITES", "HITS",     "MISSED", "PROMOTED", "DEMOTED", "EVICTED"};
  const bool to_the_right[COLUMNS] = {false, true, true, true, true, true,
                                      true,  true, true, true, true, true};
  struct cli_table *table = cli_table_new(COLUMNS, headings, to_the_right);

  add_row(table, document, "dram");
  if (ssd)
    add_row(table, document, "ssd");
  if (redis)
    add_row(table, document, "redis");
  cli_table_print(table, stdout);
}

/* ---- what a person asks next ---- */

/* The last value between quotes of `cause="full"` or `tier="ssd",rule="room"`. */
static int last_label(const cJSON *stat, const char **text_p)
{
  const char *labels = cli_json_text(stat, "labels"), *equals = strrchr(labels, '=');

  *text_p = equals != NULL && equals[1] == '"' ? equals + 2 : "";
  return (int)strcspn(*text_p, "\"");
}

/* "12 full, 3 shed", or "none" */
static void print_causes(const cJSON *document, const char *name, const char *tier)
{
  const char *separator = "";
  const cJSON *stat;

  cJSON_ArrayForEach(stat, cJSON_GetObjectItemCaseSensitive(document, "stats"))
  {
    const char *cause;
    int length = last_label(stat, &cause);

    if (strcmp(cli_json_text(stat, "name"), name) != 0 || (tier != NULL && !is_of_tier(stat, tier)) ||
        cli_json_number(stat, "value") <= 0)
      continue;
    printf("%s%.0f %.*s", separator, cli_json_number(stat, "value"), length, cause);
    separator = ", ";
  }
  if (separator[0] == '\0')
    fputs("none", stdout);
}

/* What its codec made of chunks. */
static void print_codec(const cJSON *document, const char *tier)
{
  double before = value_of(document, "kvasir_tier_encoded_raw_bytes_total", tier);
  double after = value_of(document, "kvasir_tier_encoded_bytes_total", tier);
  double seconds = value_of(document, "kvasir_tier_encode_seconds_total", tier);
  char raw[CLI_SIZE_TEXT], coded[CLI_SIZE_TEXT], rate[CLI_SIZE_TEXT];

  if (before + value_of(document, "kvasir_tier_unencoded_chunks_total", tier) <= 0)
    return;
  printf("%s: %.0f chunks encoded, %s to %s (%.2f times smaller) at %s/s a thread; as they were by cause: ",
         tier, value_of(document, "kvasir_tier_encoded_chunks_total", tier), cli_size_text(before, raw),
         cli_size_text(after, coded), after > 0 ? before / after : 1.0,
         cli_size_text(seconds > 0 ? before / seconds : 0, rate));
  print_causes(document, "kvasir_tier_unencoded_chunks_total", tier);
  putchar('\n');
}

static void print_gets(const cJSON *document)
{
  printf("\ngets: %.0f chunks asked for, %.0f found; misses by cause: ",
         value_of(document, "kvasir_gets_total", NULL), value_of(document, "kvasir_get_hits_total", NULL));
  print_causes(document, "kvasir_get_misses_total", NULL);
  fputs("\ndram: evicted by rule: ", stdout);
  print_causes(document, "kvasir_tier_evictions_total", "dram");
  printf("; %.0f planes taken off to make room\n",
         value_of(document, "kvasir_tier_cut_chunks_total", "dram"));
  print_codec(document, "dram");
}

/* Of a tier below: its devices, how its reads and writes do. */
static void print_below(const cJSON *document, const char *tier, const char *devices)
{
  double latency = value_of(document, "kvasir_tier_read_latency_seconds", tier);
  char time[CLI_SIZE_TEXT];

  printf(
      "\n%s: %.0f of %.0f %s out, %.0f device errors; %.0f chunks read, %.0f written, %.0f operations "
      "now, a read takes %s\n",
      tier, value_of(document, "kvasir_tier_devices_failed", tier),
      value_of(document, "kvasir_tier_devices", tier), devices,
      value_of(document, "kvasir_tier_device_errors_total", tier),
      value_of(document, "kvasir_tier_gets_total", tier), value_of(document, "kvasir_tier_puts_total", tier),
      value_of(document, "kvasir_tier_operations", tier), latency > 0 ? cli_time_text(latency, time) : "-");
  printf("%s: missed by cause: ", tier);
  print_causes(document, "kvasir_tier_get_failures_total", tier);
  fputs("; not written by cause: ", stdout);
  print_causes(document, "kvasir_tier_put_failures_total", tier);
  putchar('\n');
}

static void print_ssd(const cJSON *document)
{
  char size[CLI_SIZE_TEXT], read[CLI_SIZE_TEXT], time[CLI_SIZE_TEXT];

  print_below(document, "ssd", "directories");
  if (value_of(document, "kvasir_tier_devices_read_only", "ssd") > 0)
    printf("ssd: %.0f directories are read-only: what they hold is read, nothing is written there\n",
           value_of(document, "kvasir_tier_devices_read_only", "ssd"));
  print_codec(document, "ssd");
  fputs("ssd: demoted by rule: ", stdout);
  print_causes(document, "kvasir_tier_demotions_total", "ssd");
  fputs("; evicted by rule: ", stdout);
  print_causes(document, "kvasir_tier_evictions_total", "ssd");
  printf("; %.0f copies lost to the device; %.0f log files freed, %.0f chunks copied for it, "
         "%.0f of them with a plane less\n",
         value_of(document, "kvasir_tier_lost_total", "ssd"),
         value_of(document, "kvasir_tier_reclaims_total", "ssd"),
         value_of(document, "kvasir_tier_copied_chunks_total", "ssd"),
         value_of(document, "kvasir_tier_cut_chunks_total", "ssd"));
  if (value_of(document, "kvasir_tier_prefetched_total", "ssd") > 0)
    printf("ssd: %.0f chunks, %s read ahead of a return; %.0f of them used, %.0f left memory before that\n",
           value_of(document, "kvasir_tier_prefetched_total", "ssd"),
           cli_size_text(value_of(document, "kvasir_tier_prefetched_bytes_total", "ssd"), size),
           value_of(document, "kvasir_tier_prefetched_used_total", "ssd"),
           value_of(document, "kvasir_tier_prefetched_wasted_total", "ssd"));
  printf("ssd: %.0f chunks, %s found at start in %s, %s read for it; %.0f are in no faster tier\n",
         value_of(document, "kvasir_tier_recovered_objects", "ssd"),
         cli_size_text(value_of(document, "kvasir_tier_recovered_bytes", "ssd"), size),
         cli_time_text(value_of(document, "kvasir_tier_recovery_seconds", "ssd"), time),
         cli_size_text(value_of(document, "kvasir_tier_recovery_read_bytes", "ssd"), read),
         value_of(document, "kvasir_tier_only_objects", "ssd"));
}

static void print_redis(const cJSON *document)
{
  print_below(document, "redis", "servers");
  print_codec(document, "redis");
  printf("redis: lookups asked it for %.0f keys, %.0f were there; not asked by cause: ",
         value_of(document, "kvasir_tier_lookup_keys_total", "redis"),
         value_of(document, "kvasir_tier_lookup_hit_keys_total", "redis"));
  print_causes(document, "kvasir_tier_lookup_failures_total", "redis");
  putchar('\n');
}

/* Which chunks were damaged, so that one can tell the device or the memory by them. */
static void print_damaged(const cJSON *document)
{
  static const char *const headings[] = {"CHUNK", "SPACE", "TIER", "FOUND BY", "AGO"};
  static const bool to_the_right[] = {false, false, false, false, true};
  const cJSON *all = cJSON_GetObjectItemCaseSensitive(document, "damaged"), *damaged;
  struct cli_table *table;

  if (cJSON_GetArraySize(all) == 0)
    return;
  printf("\ndropped because of a checksum, the last %d of them:\n", cJSON_GetArraySize(all));
  table = cli_table_new(5, headings, to_the_right);
  cJSON_ArrayForEach(damaged, all)
  {
    char space[9], ago[CLI_SIZE_TEXT];

    snprintf(space, sizeof(space), "%.8s", cli_json_text(damaged, "space"));
    cli_table_row(table,
                  (const char *const[]){cli_json_text(damaged, "key"), space, cli_json_text(damaged, "tier"),
                                        cli_json_text(damaged, "found_by"),
                                        cli_time_text(cli_json_number(damaged, "age_ms") / 1e3, ago)});
  }
  cli_table_print(table, stdout);
}

static void print_tiers(const struct cli *cli, const cJSON *document)
{
  bool ssd = value_of(document, "kvasir_tier_devices", "ssd") > 0;
  bool redis = value_of(document, "kvasir_tier_devices", "redis") > 0;
  char up[CLI_SIZE_TEXT];

  printf("%s: %s, up %s\n\n", cli->endpoint, cli_json_text(document, "software"),
         cli_time_text(cli_json_number(document, "uptime_ms") / 1e3, up));
  print_table(document, ssd, redis);
  print_gets(document);
  if (ssd)
    print_ssd(document);
  if (redis)
    print_redis(document);
  print_damaged(document);
}

/* The rows of the statistics that are about tiers, and those that say what became of gets. */
static bool is_about_tiers(const cJSON *stat)
{
  static const char *const names[] = {"kvasir_gets_total",          "kvasir_get_hits_total",
                                      "kvasir_get_misses_total",    "kvasir_evictions_total",
                                      "kvasir_evicted_bytes_total", "kvasir_corrupt_chunks_total"};
  const char *name = cli_json_text(stat, "name");

  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    if (strcmp(name, names[i]) == 0)
      return true;
  return strncmp(name, "kvasir_tier_", 12) == 0;
}

static void print_json(cJSON *document)
{
  cJSON *all = cJSON_DetachItemFromObjectCaseSensitive(document, "stats"), *kept = cJSON_CreateArray(), *stat;
  char *text;

  while ((stat = cJSON_DetachItemFromArray(all, 0)) != NULL)
    if (is_about_tiers(stat))
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
    .arguments = "",
    .summary = "What each tier holds, what moves between them, and what went wrong",
    .details =
        "A row a tier: room and what is taken of it, chunks, those that wait to be written (QUEUE), the "
        "speed\n"
        "of reads and writes as measured, gets that the tier served (HITS) and those that it should have "
        "and\n"
        "did not (MISSED), chunks that came from it to memory (PROMOTED), that left memory and stayed in it\n"
        "(DEMOTED), that left the node (EVICTED). Below: causes, rules, devices, what was found at start, "
        "and\n"
        "the names of chunks that were dropped because of a checksum.",
    .run = run,
};
