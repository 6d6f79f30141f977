/*
 * tiers/shared_quota.h: what each tenant has in the tier that nodes share, as far as this node has written it and reckons that it is there still (docs/tenants.md). That tier forgets by time, so bytes are counted by when theirs is over, in 64 steps: they
 * stop to count at the end of a step. Without tenants, or without such a time, all of it does nothing, and nobody has a bound.
 *
 * Threads: any; takes the store's lock.
 */
#ifndef KVASIR_TIERS_SHARED_QUOTA_H
#define KVASIR_TIERS_SHARED_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

struct kvi_store;

/* Before anything else. ttl_ms: nothing lives longer after a use; 0: for ever. clock: of all times below; called under the store's lock, with ctx, until kvi_shared_quota_end. */
void kvi_shared_quota_begin(struct kvi_store *store, uint64_t ttl_ms, uint64_t (*clock)(const void *ctx),
                            const void *ctx);
/* After everything else. What was counted stays. */
void kvi_shared_quota_end(struct kvi_store *store);
/* Room for a chunk that is about to be written, on the account of the tenant whose space it is, is taken until kvi_shared_quota_give. bytes: that come to what counts of the chunk already. False: its bound does not let it; counted. */
bool kvi_shared_quota_take(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t bytes);
void kvi_shared_quota_give(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t bytes);
/* Bytes that were there until `from` are there until `to`. 0: they were not, or are not any more. */
void kvi_shared_quota_move(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t bytes,
                           uint64_t from_ns, uint64_t to_ns);

#endif
