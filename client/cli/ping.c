/* client/cli/ping.c: kvasirctl ping. */
#include <stdlib.h>

#include "client/cli/cli.h"

static uint64_t count = 5;

static const struct cli_option options[] = {
    {'c', "count", "N", "how many round trips (default 5)", CLI_NUMBER, &count},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* One round trip; its time in *ns_p. */
static kvs_status ping_once(struct cli *cli, uint64_t *ns_p)
{
  kvsc_completion completion;
  kvsc_op op;
  kvs_status status = kvsc_ping(cli->client, NULL, &op);

  if (status == KVS_OK)
    status = cli_wait(cli, op, &completion);
  if (status == KVS_OK)
    *ns_p = completion.elapsed_ns;
  return status;
}

static void print_answer(const struct cli *cli, const cJSON *stats, uint64_t best_ns, uint64_t sum_ns)
{
  const char *software = cli_json_text(stats, "software");
  double average_ns = (double)sum_ns / (double)count;
  char best[CLI_SIZE_TEXT], average[CLI_SIZE_TEXT], up[CLI_SIZE_TEXT];

  if (cli->json) {
    printf(
        "{\"endpoint\":\"%s\",\"software\":\"%s\",\"incarnation\":\"%s\",\"uptime_ms\":%.0f,\"count\":%llu,"
        "\"best_us\":%.1f,\"average_us\":%.1f}\n",
        cli->endpoint, software, cli_json_text(stats, "incarnation"), cli_json_number(stats, "uptime_ms"),
        (unsigned long long)count, (double)best_ns / 1e3, average_ns / 1e3);
    return;
  }
  printf("%s: %s, up %s; %llu round trips: best %s, average %s\n", cli->endpoint,
         software[0] != '\0' ? software : "a node",
         cli_time_text(cli_json_number(stats, "uptime_ms") / 1e3, up), (unsigned long long)count,
         cli_time_text((double)best_ns / 1e9, best), cli_time_text(average_ns / 1e9, average));
}

static int run(struct cli *cli, int n, char **arguments)
{
  uint64_t best_ns = UINT64_MAX, sum_ns = 0, ns = 0;
  char *json = NULL;
  cJSON *stats;
  kvs_status status;
  int code;

  (void)n;
  (void)arguments;
  if (count == 0 || count > 1000000)
    return cli_usage(&cli_ping, "--count goes from 1 to 1000000");
  code = cli_connect(cli);
  if (code != CLI_OK)
    return code;
  for (uint64_t i = 0; i < count; i++) {
    status = ping_once(cli, &ns);
    if (status != KVS_OK)
      return cli_fail(cli, "ping", status);
    sum_ns += ns;
    best_ns = ns < best_ns ? ns : best_ns;
  }
  status = kvsc_stats_json(cli->client, 0, &json);
  if (status != KVS_OK)
    return cli_fail(cli, "ping", status);
  stats = cJSON_Parse(json);
  print_answer(cli, stats, best_ns, sum_ns);
  cJSON_Delete(stats);
  free(json);
  return CLI_OK;
}

const struct cli_command cli_ping = {
    .name = "ping",
    .arguments = "",
    .summary = "Is the node there, which version is it, how long does an answer take",
    .options = options,
    .run = run,
};
