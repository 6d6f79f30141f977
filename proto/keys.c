/* Keys from tokens: three chains of SHA-256, a step for each hash block. */
#include <kvasir/keys.h>

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "proto/cbor.h"

#define SEED_TEXT_MAX 255u

/* Tokens are turned into bytes in pieces of this many; the buffer stays in the first-level cache. */
#define TOKENS_AT_ONCE 256u

struct chain {
  kvs_hash hash;
  const uint8_t *parent; /* NULL: none (SGLang's first step) */
  const uint8_t *extra;  /* vLLM: of the next step only */
  size_t extra_length;
};

static void add_tokens_le(kvi_sha256_ctx *sha, const uint32_t *tokens, size_t n_tokens)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  kvi_sha256_update(sha, tokens, n_tokens * sizeof *tokens);
#else
  for (size_t i = 0; i < n_tokens; i++) {
    uint8_t bytes[4];
    kvi_store_le32(bytes, tokens[i]);
    kvi_sha256_update(sha, bytes, sizeof bytes);
  }
#endif
}

static void add_tokens_cbor(kvi_sha256_ctx *sha, const uint32_t *tokens, size_t n_tokens)
{
  uint8_t bytes[TOKENS_AT_ONCE * 5 + KVI_CBOR_HEAD_MAX];
  size_t used = kvi_cbor_head(bytes, KVI_CBOR_ARRAY, n_tokens);

  for (size_t i = 0; i < n_tokens; i++) {
    if (used > sizeof bytes - KVI_CBOR_HEAD_MAX) {
      kvi_sha256_update(sha, bytes, used);
      used = 0;
    }
    used += kvi_cbor_head(bytes + used, KVI_CBOR_UINT, tokens[i]);
  }
  kvi_sha256_update(sha, bytes, used);
}

/* CBOR [parent, [tokens...], extra] */
static void add_vllm_step(kvi_sha256_ctx *sha, const struct chain *chain, const uint32_t *tokens,
                          size_t n_tokens)
{
  static const uint8_t null_item = KVI_CBOR_NULL;
  uint8_t lead[3 + KVS_HASH_SIZE] = {0x83, 0x58, KVS_HASH_SIZE}; /* array of 3, bytes of 32 */

  memcpy(lead + 3, chain->parent, KVS_HASH_SIZE);
  kvi_sha256_update(sha, lead, sizeof lead);
  add_tokens_cbor(sha, tokens, n_tokens);
  if (chain->extra)
    kvi_sha256_update(sha, chain->extra, chain->extra_length);
  else
    kvi_sha256_update(sha, &null_item, 1);
}

static void hash_step(const struct chain *chain, const uint32_t *tokens, size_t n_tokens,
                      uint8_t out[KVS_HASH_SIZE])
{
  kvi_sha256_ctx sha;

  kvi_sha256_init(&sha);
  if (chain->hash == KVS_HASH_VLLM_SHA256_CBOR) {
    add_vllm_step(&sha, chain, tokens, n_tokens);
  } else {
    if (chain->parent)
      kvi_sha256_update(&sha, chain->parent, KVS_HASH_SIZE);
    add_tokens_le(&sha, tokens, n_tokens);
  }
  kvi_sha256_final(&sha, out);
}

/* The last of the n_blocks steps over a chunk's tokens goes to key; every step's parent is the one before. */
static void hash_chunk(struct chain *chain, const uint32_t *tokens, size_t hash_block, size_t n_blocks,
                       uint8_t key[KVS_HASH_SIZE])
{
  for (size_t block = 0; block < n_blocks; block++) {
    /* A step has read its parent before it writes its result, so both may lie in key. */
    hash_step(chain, tokens + block * hash_block, hash_block, key);
    chain->parent = key;
    chain->extra = NULL;
  }
}

/* The first parent of a chain. False: it needs a seed and has none. */
static bool choose_first_parent(kvs_hash hash, const uint8_t *seed, const uint8_t *parent,
                                const uint8_t **first_p)
{
  *first_p = parent;
  if (parent || hash == KVS_HASH_SGLANG)
    return true;
  *first_p = seed;
  return seed != NULL;
}

kvs_status kvs_keys_from_tokens(kvs_hash hash, const uint8_t seed[KVS_HASH_SIZE], const uint8_t *parent,
                                const uint32_t *tokens, size_t n_tokens, uint32_t tokens_per_chunk,
                                uint32_t hash_block, const uint8_t *extra, size_t extra_length, uint8_t *out,
                                size_t *n_keys_p)
{
  struct chain chain = {.hash = hash, .extra = extra, .extra_length = extra_length};

  if (!n_keys_p || tokens_per_chunk == 0 || (!tokens && n_tokens > 0))
    return KVS_ERR_INVALID;
  if (hash != KVS_HASH_NATIVE && hash != KVS_HASH_SGLANG && hash != KVS_HASH_VLLM_SHA256_CBOR)
    return KVS_ERR_INVALID;
  if (hash_block == 0)
    hash_block = tokens_per_chunk;
  if (tokens_per_chunk % hash_block)
    return KVS_ERR_INVALID;
  /* An extra that is not hashed would let requests of different salts share: never drop one in silence. */
  if (extra ? hash != KVS_HASH_VLLM_SHA256_CBOR || extra_length == 0 : extra_length != 0)
    return KVS_ERR_INVALID;
  if (!choose_first_parent(hash, seed, parent, &chain.parent))
    return KVS_ERR_INVALID;

  size_t n_keys = n_tokens / tokens_per_chunk, room = *n_keys_p;
  if (!out && room > 0 && n_keys > 0)
    return KVS_ERR_INVALID;
  *n_keys_p = n_keys;
  if (room < n_keys)
    return KVS_ERR_BUFFER;
  for (size_t i = 0; i < n_keys; i++)
    hash_chunk(&chain, tokens + i * tokens_per_chunk, hash_block, tokens_per_chunk / hash_block,
               out + i * KVS_HASH_SIZE);
  return KVS_OK;
}

kvs_status kvs_vllm_none_hash(const char *python_hash_seed, uint8_t out[KVS_HASH_SIZE])
{
  uint8_t item[KVI_CBOR_HEAD_MAX + SEED_TEXT_MAX];

  if (!python_hash_seed || !out)
    return KVS_ERR_INVALID;
  size_t length = strnlen(python_hash_seed, SEED_TEXT_MAX + 1);
  if (length > SEED_TEXT_MAX || !kvi_cbor_is_text(python_hash_seed, length))
    return KVS_ERR_INVALID;

  size_t head = kvi_cbor_head(item, KVI_CBOR_TEXT, length);
  memcpy(item + head, python_hash_seed, length);
  kvi_sha256(item, head + length, out);
  return KVS_OK;
}
