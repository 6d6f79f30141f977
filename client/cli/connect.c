/* client/cli/connect.c: reaching a node, and saying what to do when that fails. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"

#define DEFAULT_SOCKET "/run/kvasir/kvasird.sock"
#define DEFAULT_UNIX   "unix:" DEFAULT_SOCKET
#define DEFAULT_TCP    "kvasir://127.0.0.1:7070"
#define CONNECT_MS     2000u /* a node that is there answers sooner; nobody likes to wait for one that is not */

/* Opens and waits for the connection. text gets why not. */
static kvs_status try_endpoint(struct cli *cli, const kvsc_options *options, char *text, size_t size)
{
  kvs_status status;

  text[0] = '\0';
  status = kvsc_open(options, &cli->client);
  if (status != KVS_OK)
    return status;
  status = kvsc_state(cli->client, text, size);
  if (status != KVS_OK) {
    kvsc_close(cli->client);
    cli->client = NULL;
  }
  return status;
}

int cli_connect(struct cli *cli)
{
  const char *from_environment = getenv("KVASIR_ENDPOINT");
  kvsc_options options = {.struct_size = sizeof(options), .timeout_ms = (uint32_t)cli->timeout_ms};
  char text[256];
  const char *why;
  kvs_status status;
  int code;

  if (cli->timeout_ms == 0 || cli->timeout_ms > 600000) {
    fputs("kvasirctl: --timeout goes from 1ms to 10m\n", stderr);
    return CLI_USAGE;
  }
  if (cli->endpoint == NULL && from_environment != NULL && from_environment[0] != '\0')
    cli->endpoint = from_environment;
  if (cli->endpoint == NULL)
    cli->endpoint = access(DEFAULT_SOCKET, F_OK) == 0 ? DEFAULT_UNIX : DEFAULT_TCP;
  options.endpoint = cli->endpoint;
  options.wait_connected_ms = (uint32_t)(cli->timeout_ms < CONNECT_MS ? cli->timeout_ms : CONNECT_MS);
  code = cli_tls(cli, &options);
  if (code != CLI_OK)
    return code;
  status = try_endpoint(cli, &options, text, sizeof(text));
  if (status == KVS_OK)
    return CLI_OK;
  if (status == KVS_ERR_INVALID && options.token_file != NULL && options.tls_ca_file == NULL) {
    fprintf(stderr,
            "kvasirctl: a token goes to '%s' by TLS alone: say --tls-ca; or it is no endpoint "
            "(kvasir://host:port, unix:/path)\n",
            cli->endpoint);
    return CLI_USAGE;
  }
  if (status == KVS_ERR_DENIED) {
    fprintf(
        stderr,
        "kvasirctl: %s\nName the file of a tenant's token with --token-file or $KVASIR_TOKEN_FILE, or show a "
        "certificate with --tls-cert (docs/tenants.md).\n",
        text);
    return CLI_ERROR;
  }
  if (status == KVS_ERR_INVALID) {
    fprintf(stderr, "kvasirctl: '%s' is no endpoint; write kvasir://host:port or unix:/path\n",
            cli->endpoint);
    return CLI_USAGE;
  }
  why = text[0] != '\0' ? text : kvs_status_text(status);
  if (strncmp(why, cli->endpoint, strlen(cli->endpoint)) == 0) /* said already */
    why += strlen(cli->endpoint) + strspn(why + strlen(cli->endpoint), ": ");
  fprintf(stderr,
          "kvasirctl: no node at %s: %s\n"
          "Is kvasird running there ('systemctl status kvasird')? Name another node with --endpoint or "
          "$KVASIR_ENDPOINT.%s\n",
          cli->endpoint, why,
          options.tls_ca_file != NULL ? " Does it speak TLS, with a certificate for that name?" : "");
  return CLI_UNREACHABLE;
}

const char *cli_advice(kvs_status status)
{
  switch (status) {
  case KVS_ERR_DEADLINE:
    return "the node may be busy: try a longer --timeout";
  case KVS_ERR_UNREACHABLE:
    return "the connection was lost: look at the node's log";
  case KVS_ERR_FULL:
    return "every chunk is in use or larger than the tier: 'kvasirctl stats' shows its size";
  case KVS_ERR_QUOTA:
    return "this tenant's share is used up by what leases hold, or is smaller than the chunk: 'kvasirctl "
           "tenants' shows both; "
           "wait, "
           "evict, or ask for a larger share";
  case KVS_ERR_DENIED:
    return "that is for administrators of the node (docs/tenants.md)";
  case KVS_ERR_TOO_LARGE:
    return "the node's limits are in 'kvasirctl config'";
  case KVS_ERR_DRAINING:
    return "the node is shutting down: wait for it to be back";
  case KVS_ERR_UNSUPPORTED:
    return "the node is of another version than kvasirctl: 'kvasirctl ping' shows it";
  default:
    return NULL;
  }
}

int cli_fail(const struct cli *cli, const char *what, kvs_status status)
{
  const char *words = cli_advice(status);

  fprintf(stderr, "kvasirctl: %s at %s: %s%s%s\n", what, cli->endpoint, kvs_status_text(status),
          words != NULL ? "; " : "", words != NULL ? words : "");
  switch (status) {
  case KVS_MISS:
    return CLI_MISS;
  case KVS_ERR_DEADLINE:
  case KVS_ERR_UNREACHABLE:
    return CLI_UNREACHABLE;
  default:
    return CLI_ERROR;
  }
}

kvs_status cli_wait(struct cli *cli, kvsc_op op, kvsc_completion *completion)
{
  /* An operation ends at the latest 250 ms after its deadline; a second more is for a loaded machine. */
  kvs_status status = kvsc_wait(cli->client, op, (uint32_t)cli->timeout_ms + 1250, completion);

  return status != KVS_OK ? status : completion->status;
}
