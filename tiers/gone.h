/*
 * tiers/gone.h: what is remembered of chunks that went: why, when, by which rule, at what price. A table of fixed size: a record for about 96 index entries. Each key has a
 * set of eight places; when they are taken, the one that went longest ago is forgotten. A record has the whole tag of its key, as the index has it: there is none of another key.
 *
 * Ghosts (index.c) are more, and know the cause alone: of what is forgotten here a get may still know that.
 *
 * Threads: one at a time; the store's lock sees to it. Nothing allocates but create.
 */
#ifndef KVASIR_TIERS_GONE_H
#define KVASIR_TIERS_GONE_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "tiers/why.h"

struct kvi_gone;
struct kvi_key_tag;

/* max_chunks: of the index. now_ns: the table remembers all that goes from here on, until a set is full. KVS_ERR_NOMEM. */
kvs_status kvi_gone_create(uint32_t max_chunks, uint64_t now_ns, struct kvi_gone **gone_p);
void kvi_gone_destroy(struct kvi_gone *gone); /* NULL is fine */
uint64_t kvi_gone_memory(const struct kvi_gone *gone);
uint64_t kvi_gone_begun_ns(const struct kvi_gone *gone); /* as given at create */

/*
 * The chunk goes: takes the place of what was known of it, a free one, or that of the one that went longest ago. Times are kept to 67 ms, over_ns is never 0, the price has 24 bits. hash is kvi_key_hash.
 * O(1).
 */
void kvi_gone_note(struct kvi_gone *gone, uint64_t hash, uint32_t space, const struct kvi_key_tag *tag,
                   const struct kvi_departure *departure);
/*
 * How it went the last time; false: not known. *since_ns_p: what went later than that, of keys in this set, is remembered; when the table was made, if all is.
 */
bool kvi_gone_find(const struct kvi_gone *gone, uint64_t hash, uint32_t space, const struct kvi_key_tag *tag,
                   struct kvi_departure *departure_p, uint64_t *since_ns_p);

#endif
