/*
 * Any tokens, chunk and block sizes: the chain in one call is the chain in two, a chunk's key is its last
 * block's, and the first native key is what one SHA-256 over the bytes gives.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/bytes.h"
#include "base/digest.h"

#define HEAD       8u /* hash, chunk / block, block, split, extra, room, parent, spare */
#define TOKENS_MAX 2048u
#define KEYS_MAX   TOKENS_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t tokens[TOKENS_MAX];
static uint8_t whole[KEYS_MAX * KVS_HASH_SIZE], other[KEYS_MAX * KVS_HASH_SIZE],
    little_endian[TOKENS_MAX * 4];

static void require(bool holds)
{
  if (!holds)
    abort();
}

static void in_two_calls(kvs_hash hash, const uint8_t *seed, size_t n_keys, uint32_t chunk, uint32_t block,
                         size_t split, const uint8_t *extra, size_t extra_length)
{
  size_t n_first = split, n_rest = n_keys - split;

  require(kvs_keys_from_tokens(hash, seed, NULL, tokens, split * chunk, chunk, block, extra, extra_length,
                               other, &n_first) == KVS_OK);
  require(n_first == split);
  if (split == 0)
    return;
  require(kvs_keys_from_tokens(hash, NULL, other + (split - 1) * KVS_HASH_SIZE, tokens + split * chunk,
                               (n_keys - split) * chunk, chunk, block, NULL, 0, other + split * KVS_HASH_SIZE,
                               &n_rest) == KVS_OK);
  require(n_rest == n_keys - split && memcmp(whole, other, n_keys * KVS_HASH_SIZE) == 0);
}

static void by_blocks(kvs_hash hash, const uint8_t *seed, size_t n_keys, uint32_t chunk, uint32_t block,
                      const uint8_t *extra, size_t extra_length)
{
  size_t n_blocks = KEYS_MAX, per_chunk = chunk / block;

  require(kvs_keys_from_tokens(hash, seed, NULL, tokens, n_keys * chunk, block, 0, extra, extra_length, other,
                               &n_blocks) == KVS_OK);
  require(n_blocks == n_keys * per_chunk);
  for (size_t i = 0; i < n_keys; i++)
    require(
        !memcmp(whole + i * KVS_HASH_SIZE, other + ((i + 1) * per_chunk - 1) * KVS_HASH_SIZE, KVS_HASH_SIZE));
}

static void native_by_hand(const uint8_t *seed, uint32_t chunk)
{
  kvi_sha256_ctx sha;
  uint8_t expected[KVS_HASH_SIZE];

  for (uint32_t i = 0; i < chunk; i++)
    kvi_store_le32(little_endian + (size_t)i * 4, tokens[i]);
  kvi_sha256_init(&sha);
  kvi_sha256_update(&sha, seed, KVS_HASH_SIZE);
  kvi_sha256_update(&sha, little_endian, (size_t)chunk * 4);
  kvi_sha256_final(&sha, expected);
  require(memcmp(expected, whole, sizeof expected) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t seed[KVS_HASH_SIZE];

  if (size < HEAD)
    return 0;
  kvs_hash hash = (kvs_hash)(data[0] % 5); /* one that there is not, and the opaque one, among them */
  uint32_t block = 1u + data[2], chunk = block * (1u + data[1] % 16u);
  bool vllm = hash == KVS_HASH_VLLM_SHA256_CBOR;
  const uint8_t *extra = vllm && data[4] ? data + 4 : NULL;
  size_t extra_length = extra ? 1u + data[4] % 4u : 0;
  size_t n_tokens = (size - HEAD) / 4, n_keys = KEYS_MAX;

  if (n_tokens > TOKENS_MAX)
    n_tokens = TOKENS_MAX;
  for (size_t i = 0; i < n_tokens; i++)
    tokens[i] = kvi_load_le32(data + HEAD + 4 * i);
  memset(seed, data[6], sizeof seed);

  kvs_status status = kvs_keys_from_tokens(hash, seed, NULL, tokens, n_tokens, chunk, block, extra,
                                           extra_length, whole, &n_keys);
  if (hash == KVS_HASH_OPAQUE || (int)hash == 4) {
    require(status == KVS_ERR_INVALID);
    return 0;
  }
  require(status == KVS_OK && n_keys == n_tokens / chunk);
  if (n_keys == 0)
    return 0;
  in_two_calls(hash, seed, n_keys, chunk, block, data[3] % (n_keys + 1), extra, extra_length);
  by_blocks(hash, seed, n_keys, chunk, block, extra, extra_length);
  if (hash == KVS_HASH_NATIVE && block == chunk)
    native_by_hand(seed, chunk);
  return 0;
}
