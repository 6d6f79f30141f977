#include <stdlib.h>
#include <string.h>

#include "connector/llamacpp/llama_private.h"
#include "proto/limits.h"

/*
 * The first parent of the chain: the space's digest, or with a salt SHA-256(digest || each byte of it as
 * u32). Made with the native step itself, so that another program can do the same with kvs_keys_from_tokens
 * alone.
 */
static kvs_status make_seed(const kvs_llama *handle, const kvs_llama_prompt *prompt,
                            uint8_t seed[KVS_HASH_SIZE])
{
  memcpy(seed, handle->digest, KVS_HASH_SIZE);
  if (prompt->salt_size == 0)
    return KVS_OK;
  if (prompt->salt == NULL || prompt->salt_size > UINT32_MAX / sizeof(uint32_t))
    return KVS_ERR_INVALID;
  uint32_t *wide = malloc(prompt->salt_size * sizeof(*wide));
  if (wide == NULL)
    return KVS_ERR_NOMEM;
  for (size_t i = 0; i < prompt->salt_size; i++)
    wide[i] = ((const uint8_t *)prompt->salt)[i];
  size_t n = 1;
  const kvs_status status =
      kvs_keys_from_tokens(KVS_HASH_NATIVE, handle->digest, NULL, wide, prompt->salt_size,
                           (uint32_t)prompt->salt_size, 0, NULL, 0, seed, &n);
  free(wide);
  return status;
}

kvs_status kvi_llama_keys_make(const kvs_llama *handle, const kvs_llama_prompt *prompt, kvi_llama_keys *keys)
{
  *keys = (kvi_llama_keys){0};
  const uint32_t per_chunk = handle->seq.tokens_per_chunk;
  size_t n = prompt->n_tokens / per_chunk;
  if (n > KVI_LOOKUP_KEYS_MAX)
    n = KVI_LOOKUP_KEYS_MAX;
  if (n == 0)
    return KVS_OK;
  uint8_t seed[KVS_HASH_SIZE];
  kvs_status status = make_seed(handle, prompt, seed);
  if (status != KVS_OK)
    return status;
  keys->bytes = malloc(n * KVS_HASH_SIZE);
  if (keys->bytes == NULL)
    return KVS_ERR_NOMEM;
  /* llama_token is an int32_t; the same bits unsigned may be read in its place. */
  status = kvs_keys_from_tokens(KVS_HASH_NATIVE, seed, NULL, (const uint32_t *)prompt->tokens, n * per_chunk,
                                per_chunk, 0, NULL, 0, keys->bytes, &n);
  if (status != KVS_OK) {
    kvi_llama_keys_free(keys);
    return status;
  }
  keys->n = (uint32_t)n;
  return KVS_OK;
}

void kvi_llama_keys_free(kvi_llama_keys *keys)
{
  free(keys->bytes);
  *keys = (kvi_llama_keys){0};
}

kvs_keys kvi_llama_keys_range(const kvi_llama_keys *keys, uint32_t first, uint32_t n)
{
  const uint32_t extent = first / KVI_EXTENT_CHUNKS * KVI_EXTENT_CHUNKS;
  return (kvs_keys){.struct_size = sizeof(kvs_keys),
                    .n = n,
                    .keys = keys->bytes + (size_t)first * KVS_HASH_SIZE,
                    .first_place = first,
                    .parent = first == 0 ? NULL : keys->bytes + (size_t)(first - 1) * KVS_HASH_SIZE,
                    .extent_first = first == extent ? NULL : keys->bytes + (size_t)extent * KVS_HASH_SIZE};
}
