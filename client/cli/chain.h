/* client/cli/chain.h: the space and the keys that a command is about: KEY|PROMPT, and the options that say of which space. */
#ifndef KVI_CLIENT_CLI_CHAIN_H
#define KVI_CLIENT_CLI_CHAIN_H

#include "client/cli/prompt.h"

/* What the options of such a command say. */
struct cli_chain_said {
  const char *space, *descriptor; /* NULL: not said */
  struct cli_hashing hashing;
};

#define CLI_SPACE_OPTIONS(said)                                                                              \
  {'s',      "space",      "SPACE", "the space, as 'kvasirctl ls' prints it, or its first digits",           \
   CLI_TEXT, &(said).space},                                                                                 \
  {                                                                                                          \
    'd', "descriptor", "FILE",                                                                               \
        "the space by its fields, as 'kvasirctl --json ls' prints them, where the node does not know it",    \
        CLI_TEXT, &(said).descriptor                                                                         \
  }
#define CLI_HASHING_OPTIONS(said)                                                                            \
  {0,        "hash-seed",                                                                                    \
   "TEXT",   "of a vLLM space: PYTHONHASHSEED of the engine (default: not set)",                             \
   CLI_TEXT, &(said).hashing.hash_seed},                                                                     \
      {0, "salt", "TEXT", "of a vLLM space: the request's cache salt", CLI_TEXT, &(said).hashing.salt},      \
  {                                                                                                          \
    0, "hash-block", "TOKENS",                                                                               \
        "tokens of a hash step (default: of a vLLM space the engine's block, else the chunk)", CLI_NUMBER,   \
        &(said).hashing.hash_block                                                                           \
  }

/* All 0 to begin with. */
struct cli_chain {
  uint8_t digest[KVS_DIGEST_SIZE];
  cJSON *document;       /* the descriptor lies in it; NULL: there is none */
  kvs_space_desc desc;   /* strings in document */
  bool has_desc, prompt; /* prompt: the keys are of one, else there is one key */
  uint8_t *keys;         /* NULL: none were asked for */
  uint32_t key_length;
  size_t n_keys, n_tokens;
};

/*
 * Connects, and finds the space, by said->descriptor or else said->space, and its keys: `what` is a KEY or a PROMPT; NULL: none are wanted. CLI_OK or an exit code (told). The chain is to be
 * freed in any case.
 */
int cli_chain_find(struct cli *cli, const struct cli_command *command, const struct cli_chain_said *said,
                   const char *what, struct cli_chain *chain);
void cli_chain_free(struct cli_chain *chain);

#endif
