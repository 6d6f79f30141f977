/* client/cli/config.c: kvasirctl config. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

/* malloc'd; cJSON allocates with malloc too. */
static char *value_text(const cJSON *value)
{
  const char *text = cJSON_GetStringValue(value);

  return text != NULL ? strdup(text) : cJSON_PrintUnformatted(value);
}

/* The node's document is {"setting": {"value": ..., "source": "..."}}. */
static void print_table(const cJSON *document)
{
  const char *const headings[] = {"SETTING", "VALUE", "FROM"};
  const bool to_the_right[] = {false, false, false};
  struct cli_table *table = cli_table_new(3, headings, to_the_right);
  const cJSON *item;

  cJSON_ArrayForEach(item, document)
  {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, "value");
    char *text = value_text(value != NULL ? value : item);

    cli_table_row(table, (const char *const[]){item->string != NULL ? item->string : "",
                                               text != NULL ? text : "", cli_json_text(item, "source")});
    free(text);
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
