/* client/cli/watch.c: what is shown once, or each second. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"

bool cli_watching;

const struct cli_option cli_watch_options[] = {
    CLI_WATCH_OPTION,
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

static void print_json(const cJSON *document)
{
  char *text = cJSON_PrintUnformatted(document);

  if (cli_watching)
    puts(text != NULL ? text : "{}"); /* a document a line */
  else
    cli_print_json(text != NULL ? text : "{}");
  cJSON_free(text);
}

int cli_show(struct cli *cli, int (*get)(struct cli *cli, cJSON **document_p),
             void (*print)(const cJSON *document))
{
  const struct timespec pause = {.tv_sec = 1};
  int code = cli_connect(cli);

  while (code == CLI_OK) {
    cJSON *document = NULL;

    code = get(cli, &document);
    if (code != CLI_OK)
      break;
    if (cli_watching && !cli->json && isatty(STDOUT_FILENO))
      fputs("\033[H\033[2J", stdout);
    if (cli->json)
      print_json(document);
    else
      print(document);
    fflush(stdout);
    cJSON_Delete(document);
    if (!cli_watching || ferror(stdout))
      break;
    nanosleep(&pause, NULL);
  }
  return code;
}

int cli_take_json(const struct cli *cli, const char *what, kvs_status status, char *json, cJSON **document_p)
{
  *document_p = status == KVS_OK ? cJSON_Parse(json) : NULL;
  free(json);
  return *document_p != NULL ? CLI_OK : cli_fail(cli, what, status == KVS_OK ? KVS_ERR_NOMEM : status);
}
