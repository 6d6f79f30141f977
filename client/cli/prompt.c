/* client/cli/prompt.c: the keys that a prompt has in a space. */
#include "client/cli/prompt.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define FILE_BYTES_MAX (64u << 20)
#define SALT_MAX       255u
#define NO_SEED        "vllm-none-hash" /* what vLLM hashes where PYTHONHASHSEED is not set */

/* ---- the descriptor ---- */

struct number_field {
  const char *name;
  size_t offset; /* of a uint32_t */
};
#define FIELD(name)                                                                                          \
  {                                                                                                          \
#name, offsetof(kvs_space_desc, name)                                                                    \
  }
static const struct number_field number_fields[] = {
    FIELD(key_dtype), FIELD(value_dtype), FIELD(layers),           FIELD(kv_heads),     FIELD(key_dim),
    FIELD(value_dim), FIELD(kv_group),    FIELD(tokens_per_chunk), FIELD(engine_block), FIELD(tp_rank),
    FIELD(tp_size),   FIELD(pp_rank),     FIELD(pp_size),          FIELD(cp_rank),      FIELD(cp_size),
    FIELD(hash),      FIELD(key_length),
};

bool cli_desc_from_json(const cJSON *object, kvs_space_desc *desc_p)
{
  const char *layout = cli_json_text(object, "layout"), *weights = cli_json_text(object, "weights");
  size_t length = 0;

  *desc_p = (kvs_space_desc){.struct_size = sizeof(*desc_p),
                             .model = cli_json_text(object, "model"),
                             .revision = cli_json_text(object, "revision"),
                             .engine = cli_json_text(object, "engine"),
                             .isa = cli_json_text(object, "isa"),
                             .layout_detail = cli_json_text(object, "layout_detail"),
                             .layout = KVS_LAYOUT_OPAQUE,
                             .chunk_bytes = (uint64_t)cli_json_number(object, "chunk_bytes")};
  if (strcmp(layout, "tensors") == 0)
    desc_p->layout = KVS_LAYOUT_TENSORS;
  else if (strcmp(layout, "opaque") != 0)
    return false;
  if (weights[0] != '\0' &&
      (kvi_hex_decode(weights, desc_p->weights, sizeof(desc_p->weights), &length) != KVS_OK ||
       length != sizeof(desc_p->weights)))
    return false;
  for (size_t i = 0; i < sizeof(number_fields) / sizeof(number_fields[0]); i++) {
    double number = cli_json_number(object, number_fields[i].name);
    uint32_t value = (uint32_t)number;

    if (number < 0 || number > UINT32_MAX || (double)value != number)
      return false;
    memcpy((char *)desc_p + number_fields[i].offset, &value, sizeof(value));
  }
  return true;
}

/* ---- the tokens ---- */

static char *read_all(const char *path, size_t *length_p)
{
  FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
  size_t room = 1u << 16, length = 0;
  char *text = file != NULL ? malloc(room + 1) : NULL;

  while (text != NULL && length < FILE_BYTES_MAX) {
    size_t n = fread(text + length, 1, room - length, file);
    char *grown;

    length += n;
    if (n == 0)
      break;
    if (length < room)
      continue;
    room *= 2;
    grown = realloc(text, room + 1);
    if (grown == NULL)
      free(text);
    text = grown;
  }
  if (text != NULL && (ferror(file) || length >= FILE_BYTES_MAX)) {
    if (length >= FILE_BYTES_MAX)
      errno = EFBIG;
    free(text);
    text = NULL;
  }
  if (file != NULL && file != stdin)
    fclose(file);
  if (text != NULL)
    text[length] = '\0';
  *length_p = length;
  return text;
}

static bool separates(char c)
{
  return isspace((unsigned char)c) || c == ',' || c == '[' || c == ']';
}

int cli_tokens_read(const char *path, uint32_t **tokens_p, size_t *n_p)
{
  size_t length, n = 0;
  char *text = read_all(path, &length);
  uint32_t *tokens = text != NULL ? malloc((length / 2 + 1) * sizeof(*tokens)) : NULL;

  if (tokens == NULL) {
    fprintf(stderr,
            "kvasirctl: cannot read '%s': %s. It is taken for a file of token ids, since it is no key: a key "
            "is 16 to 128 hex digits\n",
            path, strerror(errno));
    free(text);
    return CLI_ERROR;
  }
  for (const char *at = text; *at != '\0';) {
    char *end;
    unsigned long long token;

    if (separates(*at)) {
      at++;
      continue;
    }
    errno = 0;
    token = strtoull(at, &end, 10);
    if (!isdigit((unsigned char)*at) || errno != 0 || token > UINT32_MAX ||
        (*end != '\0' && !separates(*end))) {
      fprintf(stderr,
              "kvasirctl: '%s' has at byte %zu no token id: write them as numbers, with blanks or commas "
              "between\n",
              path, (size_t)(at - text));
      free(text);
      free(tokens);
      return CLI_USAGE;
    }
    tokens[n++] = (uint32_t)token;
    at = end;
  }
  free(text);
  *tokens_p = tokens;
  *n_p = n;
  return CLI_OK;
}

/* ---- the keys ---- */

/* An array of one text, as CBOR. Returns its length; 0: too long. */
static size_t salt_write(const char *salt, uint8_t out[SALT_MAX + 3])
{
  size_t length = strlen(salt), at = 0;

  if (length > SALT_MAX)
    return 0;
  out[at++] = 0x81;
  out[at++] = length < 24 ? (uint8_t)(0x60 + length) : 0x78;
  if (length >= 24)
    out[at++] = (uint8_t)length;
  memcpy(out + at, salt, length);
  return at + length;
}

/* False (told): it cannot be hashed so. */
static bool hashing_suits(const kvs_space_desc *desc, const struct cli_hashing *hashing)
{
  bool vllm = desc->hash == KVS_HASH_VLLM_SHA256_CBOR;

  if (desc->hash == KVS_HASH_OPAQUE || desc->key_length != KVS_HASH_SIZE)
    fputs("kvasirctl: keys of this space are the engine's own and cannot be made from tokens: take them from "
          "the "
          "engine's log, or from 'kvasirctl ls chunks SPACE --long', and give one as KEY\n",
          stderr);
  else if (!vllm && (hashing->hash_seed != NULL || hashing->salt != NULL))
    fputs("kvasirctl: --hash-seed and --salt are of vLLM's hash, and keys of this space are not\n", stderr);
  else
    return true;
  return false;
}

int cli_prompt_keys(const kvs_space_desc *desc, const struct cli_hashing *hashing, const uint32_t *tokens,
                    size_t n_tokens, uint8_t **keys_p, size_t *n_p)
{
  bool vllm = desc->hash == KVS_HASH_VLLM_SHA256_CBOR;
  uint8_t seed[KVS_HASH_SIZE], extra[SALT_MAX + 3];
  uint64_t block = hashing->hash_block;
  size_t extra_length = 0, n;
  kvs_status status;

  *keys_p = NULL;
  *n_p = 0;
  if (!hashing_suits(desc, hashing))
    return CLI_USAGE;
  status = vllm ? kvs_vllm_none_hash(hashing->hash_seed != NULL ? hashing->hash_seed : NO_SEED, seed)
                : kvs_space_digest(desc, seed);
  if (status == KVS_OK && hashing->salt != NULL) {
    extra_length = salt_write(hashing->salt, extra);
    status = extra_length > 0 ? KVS_OK : KVS_ERR_INVALID;
  }
  if (block == 0 && vllm)
    block = desc->engine_block;
  n = desc->tokens_per_chunk > 0 ? n_tokens / desc->tokens_per_chunk : 0;
  n = n < CLI_PROMPT_KEYS_MAX ? n : CLI_PROMPT_KEYS_MAX;
  *keys_p = malloc((n + 1) * KVS_HASH_SIZE);
  if (*keys_p == NULL)
    status = KVS_ERR_NOMEM;
  if (status == KVS_OK && block > UINT32_MAX)
    status = KVS_ERR_INVALID;
  if (status == KVS_OK && n > 0)
    status = kvs_keys_from_tokens(desc->hash, seed, NULL, tokens, n * desc->tokens_per_chunk,
                                  desc->tokens_per_chunk, (uint32_t)block, extra_length > 0 ? extra : NULL,
                                  extra_length, *keys_p, &n);
  *n_p = n;
  if (status == KVS_OK)
    return CLI_OK;
  fprintf(stderr,
          "kvasirctl: the keys cannot be made: %s; --hash-block has to divide the %u tokens of a chunk, a "
          "salt has at "
          "most 255 bytes\n",
          kvs_status_text(status), desc->tokens_per_chunk);
  free(*keys_p);
  *keys_p = NULL;
  return CLI_USAGE;
}
