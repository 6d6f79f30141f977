/* tiers/redis/medium.h: Redis behind tiers/medium.h: a shared medium without handles, whose chunks may go at any time. */
#ifndef KVASIR_TIERS_REDIS_MEDIUM_H
#define KVASIR_TIERS_REDIS_MEDIUM_H

#include "tiers/medium.h"
#include "tiers/redis/redis.h"

struct kvi_redis_medium_config {
  struct kvi_redis_config redis;
  const char *key_prefix; /* at most KVI_REDIS_PREFIX_MAX bytes; copied */
  uint64_t ttl_ms; /* the longest, and of chunks whose put says none; each get renews it; 0: for ever */
};

/*
 * put and get allocate: some hundred bytes, put also the chunk's table. put does not compare the payload with its checksums: whoever reads it
 * does. drop removes a chunk from Redis only for good: others may be using it.
 *
 * Errors: as kvi_redis_open, whose sentence goes to error.
 */
kvs_status kvi_redis_medium_create(const struct kvi_redis_medium_config *config, char *error,
                                   size_t error_size, struct kvi_medium **medium_p);

/* Its Redis, for counters and to know whether it is up. Lives as long as the medium, which must be of this kind. */
struct kvi_redis *kvi_redis_of_medium(struct kvi_medium *medium);

#endif
