/* server/node/redis_tier.h: the settings redis.* as the tier that nodes share. */
#ifndef KVI_NODE_REDIS_TIER_H
#define KVI_NODE_REDIS_TIER_H

#include <stdbool.h>
#include <stddef.h>

#include "server/node/metrics.h"
#include "server/node/settings.h"
#include "tiers/shared.h"

/* NULL: fine. Else the setting that is not, and why. */
const char *kvi_node_redis_check(const struct kvi_node_settings *values, char *error, size_t error_size);

/* It is on, and nothing there goes by time. */
static inline bool kvi_node_redis_is_for_ever(const struct kvi_node_settings *values)
{
  return values->redis_mode != KVI_NODE_REDIS_OFF && values->redis_ttl == 0;
}

/*
 * Opens it over the store, if it is on; does not wait for Redis. *shared_p stays NULL when it is off. *medium_p is Redis itself, and lives as
 * long as that; *faults_p the test faults around it, or NULL. Errors: KVS_ERR_CONFIG, KVS_ERR_NOMEM, KVS_ERR_SYSTEM, with a sentence.
 */
kvs_status kvi_node_redis_open(const struct kvi_node_settings *values, struct kvi_store *store, char *error,
                               size_t error_size, struct kvi_shared **shared_p, struct kvi_medium **medium_p,
                               struct kvi_medium **faults_p);

/* Redis' own counters; those of the shared tier are among the store's. */
void kvi_node_redis_metrics(struct kvi_medium *medium, struct kvi_metrics *metrics);

#endif
