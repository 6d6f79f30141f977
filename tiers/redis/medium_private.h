/* tiers/redis/medium_private.h: what medium.c (life, put, get), medium_lookup.c and medium_remove.c share. */
#ifndef KVASIR_TIERS_REDIS_MEDIUM_PRIVATE_H
#define KVASIR_TIERS_REDIS_MEDIUM_PRIVATE_H

#include <stdatomic.h>

#include "tiers/redis/medium.h"

struct kvi_redis_medium {
  struct kvi_medium medium; /* first */
  struct kvi_redis *redis;
  char prefix[KVI_REDIS_PREFIX_MAX + 1];
  uint64_t ttl_ms;
  atomic_bool closing;
};

static inline struct kvi_redis_medium *kvi_redis_medium_of(struct kvi_medium *medium)
{
  return (struct kvi_redis_medium *)medium;
}

kvs_status kvi_redis_medium_key(const struct kvi_redis_medium *own,
                                const struct kvi_medium_identity *identity, struct kvi_redis_key *key_p);
/* As tiers/medium.h names what happened. */
kvs_status kvi_redis_medium_outcome(struct kvi_redis_medium *own, const struct kvi_redis_op *op);

/* Ops of struct kvi_medium_ops. */
kvs_status kvi_redis_medium_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *asked);
kvs_status kvi_redis_medium_remove(struct kvi_medium *medium, struct kvi_medium_remove *asked);
void kvi_redis_medium_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                           kvi_medium_handle handle, bool for_good);

#endif
