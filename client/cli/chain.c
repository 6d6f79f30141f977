/* client/cli/chain.c: the space and the keys that a command is about. */
#include "client/cli/chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* ---- the space ---- */

static void desc_take(struct cli_chain *chain, const cJSON *object)
{
  chain->has_desc = cJSON_IsObject(object) && cli_desc_from_json(object, &chain->desc);
}

/* By its fields: the digest follows from them. */
static int space_from_file(const struct cli_command *command, const char *path, struct cli_chain *chain)
{
  FILE *file = fopen(path, "rb");
  char text[1u << 14];
  size_t length = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;
  const cJSON *object;

  if (file == NULL)
    return cli_usage(command, "cannot read the descriptor '%s'", path);
  fclose(file);
  text[length] = '\0';
  chain->document = cJSON_Parse(text);
  object = cJSON_GetObjectItemCaseSensitive(chain->document, "descriptor");
  desc_take(chain, object != NULL ? object : chain->document);
  if (!chain->has_desc || kvs_space_digest(&chain->desc, chain->digest) != KVS_OK)
    return cli_usage(
        command,
        "'%s' is no descriptor: it takes a JSON object of the fields that 'kvasirctl --json ls' prints",
        path);
  return CLI_OK;
}

static int space_from_node(struct cli *cli, const char *text, struct cli_chain *chain)
{
  char digest[2 * KVS_DIGEST_SIZE + 1];
  const cJSON *space;
  size_t length = 0;
  int code = CLI_OK;

  /* a whole digest may be one that the node does not know: that is an answer too */
  if (kvi_hex_decode(text, chain->digest, KVS_DIGEST_SIZE, &length) != KVS_OK || length != KVS_DIGEST_SIZE)
    code = cli_find_space(cli, text, chain->digest);
  if (code == CLI_OK)
    code = cli_spaces(cli, &chain->document);
  if (code != CLI_OK)
    return code;
  (void)kvi_hex_encode(chain->digest, KVS_DIGEST_SIZE, digest, sizeof(digest));
  cJSON_ArrayForEach(space, cJSON_GetObjectItemCaseSensitive(chain->document, "spaces"))
  {
    if (strcmp(cli_json_text(space, "digest"), digest) == 0)
      desc_take(chain, cJSON_GetObjectItemCaseSensitive(space, "descriptor"));
  }
  return CLI_OK;
}

/* ---- the keys ---- */

static int keys_from_prompt(const struct cli_hashing *hashing, const char *path, struct cli_chain *chain)
{
  uint32_t *tokens = NULL;
  int code;

  if (!chain->has_desc) {
    fputs("kvasirctl: the node does not know how this space makes keys of tokens (it does not know the "
          "space, or has it "
          "from its disk alone): give its fields with --descriptor FILE\n",
          stderr);
    return CLI_USAGE;
  }
  code = cli_tokens_read(path, &tokens, &chain->n_tokens);
  if (code == CLI_OK)
    code = cli_prompt_keys(&chain->desc, hashing, tokens, chain->n_tokens, &chain->keys, &chain->n_keys);
  free(tokens);
  chain->key_length = KVS_HASH_SIZE;
  chain->prompt = true;
  if (code == CLI_OK && chain->n_keys == 0) {
    fprintf(
        stderr,
        "kvasirctl: '%s' has %zu tokens, and a chunk of this space %u: there is no whole one to look for\n",
        path, chain->n_tokens, chain->desc.tokens_per_chunk);
    code = CLI_USAGE;
  }
  return code;
}

static int keys_take(const struct cli_hashing *hashing, const char *argument, struct cli_chain *chain)
{
  uint8_t key[KVS_KEY_MAX];
  size_t length = 0;

  if (kvi_hex_decode(argument, key, sizeof(key), &length) != KVS_OK || length < KVS_KEY_MIN)
    return keys_from_prompt(hashing, argument, chain);
  chain->keys = malloc(length);
  if (chain->keys == NULL)
    return CLI_ERROR;
  memcpy(chain->keys, key, length);
  chain->key_length = (uint32_t)length;
  chain->n_keys = 1;
  return CLI_OK;
}

/* ---- both ---- */

int cli_chain_find(struct cli *cli, const struct cli_command *command, const struct cli_chain_said *said,
                   const char *what, struct cli_chain *chain)
{
  int code = said->descriptor != NULL ? space_from_file(command, said->descriptor, chain) : CLI_OK;

  if (code == CLI_OK)
    code = cli_connect(cli);
  if (code == CLI_OK && said->descriptor == NULL)
    code = space_from_node(cli, said->space, chain);
  if (code == CLI_OK && what != NULL)
    code = keys_take(&said->hashing, what, chain);
  return code;
}

void cli_chain_free(struct cli_chain *chain)
{
  free(chain->keys);
  cJSON_Delete(chain->document);
}
