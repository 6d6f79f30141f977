/* tiers/redis/key.h: the name of a chunk in Redis (docs/formats/redis.md), and its slot in Redis Cluster. */
#ifndef KVASIR_TIERS_REDIS_KEY_H
#define KVASIR_TIERS_REDIS_KEY_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/keys.h>
#include <kvasir/space.h>
#include <kvasir/status.h>

#define KVI_REDIS_PREFIX_MAX  32u
#define KVI_REDIS_TENANT_MAX  63u
#define KVI_REDIS_KEY_FIXED   (1u + 1u + KVS_DIGEST_SIZE + 1u) /* beside prefix, tenant and the chunk's key */
#define KVI_REDIS_KEY_MAX     (KVI_REDIS_PREFIX_MAX + KVI_REDIS_TENANT_MAX + KVI_REDIS_KEY_FIXED + KVS_KEY_MAX)
#define KVI_REDIS_CHECK_BYTES 16u
#define KVI_REDIS_SLOTS       16384u

struct kvi_redis_key {
  uint8_t bytes[KVI_REDIS_KEY_MAX];
  uint16_t length;
  uint8_t check[KVI_REDIS_CHECK_BYTES]; /* of the identity; the value says it again */
};

/* Whose chunk it is. Nothing is kept of it. */
struct kvi_redis_identity {
  const char *tenant;
  const uint8_t *space; /* KVS_DIGEST_SIZE bytes */
  const uint8_t *key;
  uint32_t key_length;
};

/* Errors: KVS_ERR_INVALID (prefix or tenant of a wrong length), KVS_ERR_KEY_LENGTH. */
kvs_status kvi_redis_key_make(const char *prefix, const struct kvi_redis_identity *identity,
                              struct kvi_redis_key *key_p);

/* CRC16 (XMODEM) of what Redis Cluster hashes of a key, modulo KVI_REDIS_SLOTS. */
uint16_t kvi_redis_slot(const void *key, size_t length);

#endif
