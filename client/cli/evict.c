/* client/cli/evict.c: kvasirctl evict. */
#include <inttypes.h>

#include "client/cli/cli.h"

static bool all;
static uint64_t bytes;
static const char *space;

static const struct cli_option options[] = {
    {'a', "all", NULL, "everything", CLI_FLAG, &all},
    {'b', "bytes", "SIZE", "at least so much, the least valuable first: 512MiB", CLI_SIZE, &bytes},
    {'s', "space", "DIGEST", "only of this space, as 'kvasirctl ls' prints it, or its first digits", CLI_TEXT,
     &space},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

static int run(struct cli *cli, int n, char **arguments)
{
  uint8_t digest[KVS_DIGEST_SIZE];
  uint64_t chunks, freed;
  char text[CLI_SIZE_TEXT];
  kvs_status status;
  int code;

  (void)n;
  (void)arguments;
  if (all == (bytes > 0))
    return cli_usage(&cli_evict, "say either --all or --bytes SIZE");
  code = cli_connect(cli);
  if (code == CLI_OK && space != NULL)
    code = cli_find_space(cli, space, digest);
  if (code != CLI_OK)
    return code;
  status =
      kvsc_evict(cli->client, space != NULL ? digest : NULL, all ? UINT64_MAX : bytes, 0, &chunks, &freed);
  if (status != KVS_OK)
    return cli_fail(cli, "evict", status);
  if (cli->json)
    printf("{\"chunks\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n", chunks, freed);
  else
    printf("evicted %" PRIu64 " chunks, %s\n", chunks, cli_size_text((double)freed, text));
  return CLI_OK;
}

const struct cli_command cli_evict = {
    .name = "evict",
    .arguments = "",
    .summary = "Drop chunks",
    .details = "Engines recompute what was dropped; nothing is lost but time.",
    .options = options,
    .run = run,
};
