/*
 * tiers/faulty/faulty_tier.h: the same as faulty.h around a tier that works in place (tier.h): memory that is refused, and memory that changes. For
 * tests alone.
 *
 *   error:write    reserve finds no memory (KVS_ERR_NOMEM); full: no room (KVS_ERR_FULL, so that some is made)
 *   error:read     an object's table does not fit its checksum (KVS_ERR_CORRUPT)
 *   corrupt:write  a byte of the payload changes when the object is sealed: only who compares checksums finds it
 *
 * It cannot be late: its ops end at once. Threads: as tier.h says. Its lock is a leaf, on the path of each chunk.
 */
#ifndef KVASIR_TIERS_FAULTY_FAULTY_TIER_H
#define KVASIR_TIERS_FAULTY_FAULTY_TIER_H

#include "tiers/faulty/faulty.h"
#include "tiers/tier.h"

/* Whether the rules are ones that such a tier can follow. KVS_ERR_CONFIG with a sentence in `error`, which may be NULL. */
kvs_status kvi_faulty_tier_check(const char *rules, char *error, size_t error_size);

/* As kvi_faulty_create. */
kvs_status kvi_faulty_tier_create(struct kvi_tier *inner, const char *rules, struct kvi_tier **tier_p);

/* The following need a tier that create has made. */
kvs_status kvi_faulty_tier_set(struct kvi_tier *tier, const char *rules);
void kvi_faulty_tier_stats(struct kvi_tier *tier, struct kvi_faulty_stats *stats_p);

#endif
