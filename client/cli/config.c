/* client/cli/config.c: kvasirctl config. */
#include <stdlib.h>

#include "client/cli/cli.h"

static void print_table(const cJSON *document)
{
  const char *const headings[] = {"SETTING", "VALUE"};
  const bool to_the_right[] = {false, false};
  struct cli_table *table = cli_table_new(2, headings, to_the_right);

  for (const cJSON *item = document->child; item != NULL; item = item->next) {
    char *text = cJSON_IsString(item) ? NULL : cJSON_PrintUnformatted(item);

    cli_table_row(table, (const char *const[]){item->string != NULL ? item->string : "",
                                               text != NULL ? text : cJSON_GetStringValue(item)});
    cJSON_free(text);
  }
  cli_table_print(table, stdout);
}

static int run(struct cli *cli, int n, char **arguments)
{
  char *json = NULL;
  cJSON *document;
  kvs_status status;
  int code = cli_connect(cli);

  (void)n;
  (void)arguments;
  if (code != CLI_OK)
    return code;
  status = kvsc_config_json(cli->client, 0, &json);
  if (status != KVS_OK)
    return cli_fail(cli, "config", status);
  document = cli->json ? NULL : cJSON_Parse(json);
  if (document != NULL)
    print_table(document);
  else
    cli_print_json(json);
  cJSON_Delete(document);
  free(json);
  return CLI_OK;
}

const struct cli_command cli_config = {
    .name = "config",
    .arguments = "",
    .summary = "The settings in force at the node",
    .run = run,
};
