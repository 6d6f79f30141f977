/* tiers/redis/key.c: see key.h. */
#include "tiers/redis/key.h"

#include <assert.h>
#include <string.h>

#include "base/digest.h"

#define KEY_VERSION 1u

static_assert(KVI_SHA256_BYTES >= KVI_REDIS_CHECK_BYTES, "half of the hash is kept");

static uint8_t *append(uint8_t *at, const void *bytes, size_t length)
{
  memcpy(at, bytes, length);
  return at + length;
}

kvs_status kvi_redis_key_make(const char *prefix, const struct kvi_redis_identity *identity,
                              struct kvi_redis_key *key_p)
{
  size_t prefix_length = strlen(prefix), tenant_length = strlen(identity->tenant);
  uint8_t digest[KVI_SHA256_BYTES], *at = key_p->bytes;

  key_p->length = 0;
  if (prefix_length > KVI_REDIS_PREFIX_MAX || tenant_length == 0 || tenant_length > KVI_REDIS_TENANT_MAX)
    return KVS_ERR_INVALID;
  if (identity->key_length < KVS_KEY_MIN || identity->key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  at = append(at, prefix, prefix_length);
  *at++ = KEY_VERSION;
  *at++ = (uint8_t)tenant_length;
  at = append(at, identity->tenant, tenant_length);
  at = append(at, identity->space, KVS_DIGEST_SIZE);
  *at++ = (uint8_t)identity->key_length;
  at = append(at, identity->key, identity->key_length);
  key_p->length = (uint16_t)(at - key_p->bytes);
  kvi_sha256(key_p->bytes + prefix_length, key_p->length - prefix_length, digest);
  memcpy(key_p->check, digest, sizeof(key_p->check));
  return KVS_OK;
}

/* Bit by bit: a key is short, and is hashed once for each operation that moves a chunk. */
static uint16_t crc16(const uint8_t *bytes, size_t length)
{
  uint32_t crc = 0;

  for (size_t i = 0; i < length; i++) {
    crc ^= (uint32_t)bytes[i] << 8;
    for (int bit = 0; bit < 8; bit++)
      crc = crc & 0x8000u ? (crc << 1 ^ 0x1021u) & 0xffffu : crc << 1;
  }
  return (uint16_t)crc;
}

uint16_t kvi_redis_slot(const void *key, size_t length)
{
  const uint8_t *bytes = key, *open, *close = NULL;

  open = length > 0 ? memchr(bytes, '{', length) : NULL;
  if (open)
    close = memchr(open + 1, '}', (size_t)(bytes + length - open - 1));
  if (close && close > open + 1)
    return crc16(open + 1, (size_t)(close - open - 1)) % KVI_REDIS_SLOTS;
  return crc16(bytes, length) % KVI_REDIS_SLOTS;
}
