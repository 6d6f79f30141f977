/* client/cli/prompt.h: the keys that a prompt has in a space: what why-miss is asked with. */
#ifndef KVI_CLIENT_CLI_PROMPT_H
#define KVI_CLIENT_CLI_PROMPT_H

#include <cjson/cJSON.h>

#include <kvasir/keys.h>

#include "client/cli/cli.h"

#define CLI_PROMPT_KEYS_MAX 8192u /* what a node looks at in one call */

/* How the engine made its keys, as far as the space does not say it. */
struct cli_hashing {
  const char *hash_seed; /* vllm: PYTHONHASHSEED; NULL: not set there */
  const char *salt;      /* vllm: the request's cache salt; NULL: none */
  uint64_t hash_block;   /* tokens; 0: the engine's block for vllm, else the chunk */
};

/* The descriptor out of its JSON form, as 'kvasirctl --json ls' prints it. Its strings point into the document. False: a field is missing or of another kind. */
bool cli_desc_from_json(const cJSON *object, kvs_space_desc *desc_p);

/* Token ids of a file ("-": standard input): numbers, with blanks, commas or brackets between. Malloc'd. CLI_OK or an exit code (told). */
int cli_tokens_read(const char *path, uint32_t **tokens_p, size_t *n_p);

/*
 * The keys of the whole chunks of a prompt, at most CLI_PROMPT_KEYS_MAX, KVS_HASH_SIZE bytes each, malloc'd; of none, none. CLI_OK or CLI_USAGE (told): keys of this space are the engine's
 * own.
 */
int cli_prompt_keys(const kvs_space_desc *desc, const struct cli_hashing *hashing, const uint32_t *tokens,
                    size_t n_tokens, uint8_t **keys_p, size_t *n_p);

#endif
