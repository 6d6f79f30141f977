/* client/cli/spaces.c: the spaces of a node, and finding one by the first digits of its digest. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "client/cli/cli.h"

int cli_spaces(struct cli *cli, cJSON **document_p)
{
  char *json = NULL;
  kvs_status status = kvsc_spaces_json(cli->client, 0, &json);

  *document_p = NULL;
  if (status != KVS_OK)
    return cli_fail(cli, "list of spaces", status);
  *document_p = cJSON_Parse(json);
  free(json);
  if (*document_p == NULL)
    return cli_fail(cli, "list of spaces", KVS_ERR_NOMEM);
  return CLI_OK;
}

int cli_find_space(struct cli *cli, const char *text, uint8_t digest[KVS_DIGEST_SIZE])
{
  const cJSON *space, *found = NULL;
  size_t n = 0, length;
  cJSON *document;
  int code = cli_spaces(cli, &document);

  if (code != CLI_OK)
    return code;
  cJSON_ArrayForEach(space, cJSON_GetObjectItemCaseSensitive(document, "spaces"))
  {
    if (text[0] != '\0' && strncasecmp(cli_json_text(space, "digest"), text, strlen(text)) == 0) {
      found = space;
      n++;
    }
  }
  if (n == 1 && kvi_hex_decode(cli_json_text(found, "digest"), digest, KVS_DIGEST_SIZE, &length) == KVS_OK &&
      length == KVS_DIGEST_SIZE) {
    code = CLI_OK;
  } else {
    fprintf(stderr, "kvasirctl: %s at %s begins with '%s'; 'kvasirctl ls' shows them\n",
            n > 1 ? "more than one space" : "no space", cli->endpoint, text);
    code = n > 1 ? CLI_USAGE : CLI_MISS;
  }
  cJSON_Delete(document);
  return code;
}
