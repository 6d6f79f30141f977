/* client/cli/tenants.c: kvasirctl tenants. */
#include "client/cli/cli.h"

#define COLUMNS 12

/* "1.5 GiB", or "-" for no bound. */
static char *bound_text(const cJSON *tenant, const char *name, char text[CLI_SIZE_TEXT])
{
  double bytes = cli_json_number(tenant, name);

  if (bytes > 0)
    return cli_size_text(bytes, text);
  snprintf(text, CLI_SIZE_TEXT, "-");
  return text;
}

static void add_row(struct cli_table *table, const cJSON *tenant)
{
  const char *name = cli_json_text(tenant, "name");
  char weight[CLI_SIZE_TEXT], chunks[CLI_SIZE_TEXT], refused[CLI_SIZE_TEXT], evicted[CLI_SIZE_TEXT];
  char dram[CLI_SIZE_TEXT], dram_quota[CLI_SIZE_TEXT], ssd[CLI_SIZE_TEXT], ssd_quota[CLI_SIZE_TEXT];
  char redis[CLI_SIZE_TEXT], redis_quota[CLI_SIZE_TEXT], rent[CLI_SIZE_TEXT];

  /* who is not configured has a row only if something of theirs is there, or has cost others something */
  if (name[0] == '\0' && cli_json_number(tenant, "chunks") <= 0 &&
      cli_json_number(tenant, "redis_bytes") <= 0 && cli_json_number(tenant, "rent_ns") <= 0)
    return;
  snprintf(weight, sizeof(weight), "%.0f", cli_json_number(tenant, "weight"));
  snprintf(chunks, sizeof(chunks), "%.0f", cli_json_number(tenant, "chunks"));
  snprintf(evicted, sizeof(evicted), "%.0f", cli_json_number(tenant, "own_evictions"));
  snprintf(refused, sizeof(refused), "%.0f",
           cli_json_number(tenant, "puts_refused") + cli_json_number(tenant, "redis_refused"));
  snprintf(rent, sizeof(rent), "%.1f s", cli_json_number(tenant, "rent_ns") / 1e9);
  cli_table_row(table, (const char *const[]){name[0] != '\0' ? name : "(not configured)", weight,
                                             cli_size_text(cli_json_number(tenant, "dram_bytes"), dram),
                                             bound_text(tenant, "dram_quota", dram_quota),
                                             cli_size_text(cli_json_number(tenant, "ssd_bytes"), ssd),
                                             bound_text(tenant, "ssd_quota", ssd_quota),
                                             cli_size_text(cli_json_number(tenant, "redis_bytes"), redis),
                                             bound_text(tenant, "redis_quota", redis_quota), chunks, evicted,
                                             refused, rent});
}

static void print_tenants(const cJSON *document)
{
  const char *const headings[COLUMNS] = {"TENANT", "WEIGHT", "DRAM",   "OF",      "SSD",     "OF",
                                         "REDIS",  "OF",     "CHUNKS", "EVICTED", "REFUSED", "RENT"};
  const bool to_the_right[COLUMNS] = {false, true, true, true, true, true,
                                      true,  true, true, true, true, true};
  const cJSON *tenants = cJSON_GetObjectItemCaseSensitive(document, "tenants"), *tenant;
  struct cli_table *table;

  if (cJSON_GetArraySize(tenants) == 0) {
    fputs("this node has no tenants: everybody who reaches it shares all of it\n", stdout);
    return;
  }
  table = cli_table_new(COLUMNS, headings, to_the_right);
  cJSON_ArrayForEach(tenant, tenants) add_row(table, tenant);
  cli_table_print(table, stdout);
}

static int tenants_get(struct cli *cli, cJSON **document_p)
{
  char *json = NULL;
  kvs_status status = kvsc_tenants_json(cli->client, 0, &json);

  return cli_take_json(cli, "tenants", status, json, document_p);
}

static int run(struct cli *cli, int n, char **arguments)
{
  (void)n;
  (void)arguments;
  return cli_show(cli, tenants_get, print_tenants);
}

const struct cli_command cli_tenants = {
    .name = "tenants",
    .arguments = "",
    .summary = "Who shares the node, and what each has of it",
    .details =
        "An administrator sees all tenants, anybody else the own one. EVICTED: chunks that went for "
        "others of the\n"
        "same tenant; REFUSED: puts for which leases let none go, and chunks not written to Redis. REDIS: "
        "what this node\n"
        "has written there, whose time is not over. RENT: what its room in memory could have saved others; "
        "0 while there\n"
        "is room for all.",
    .options = cli_watch_options,
    .run = run,
};
