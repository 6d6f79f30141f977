/*
 * tiers/expiries.h: until when chunks live in a tier that forgets by itself, as far as this node can reckon: it knows what it has written there and read from there, and when. What another node does there it does not know,
 * so a chunk may live longer than is said here, and the tier may let go of it sooner.
 *
 * A table of fixed size: each chunk has a set of eight places, and when they are taken the one goes whose time is over first. A chunk is known by a hash of its name, of which 32 bits are kept beside those that choose the
 * set: of two chunks one may be taken for the other, once in 2^29 questions.
 *
 * Threads: one at a time. Nothing allocates but create.
 */
#ifndef KVASIR_TIERS_EXPIRIES_H
#define KVASIR_TIERS_EXPIRIES_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_EXPIRY_TICK_SHIFT 26u /* times are kept in whole ticks, so that 32 bits are nine years */
#define KVI_EXPIRY_TICK_NS    (UINT64_C(1) << KVI_EXPIRY_TICK_SHIFT) /* 67 ms */

struct kvi_expiries;

struct kvi_expiry {
  uint64_t until_ns; /* when its time is over; rounded down to a tick */
  uint32_t bytes;    /* that this node has written; 0: another has */
  uint32_t ttl_ms;   /* so long it lives from a use on */
};

/* Room for `chunks` of them, at least 8. now_ns: no time of theirs is before it. KVS_ERR_NOMEM. */
kvs_status kvi_expiries_create(uint32_t chunks, uint64_t now_ns, struct kvi_expiries **expiries_p);
void kvi_expiries_destroy(struct kvi_expiries *expiries); /* NULL is fine */
uint64_t kvi_expiries_memory(const struct kvi_expiries *expiries);

/* Takes the place of what was known of it. O(1). */
void kvi_expiries_note(struct kvi_expiries *expiries, uint64_t hash, const struct kvi_expiry *expiry);
/* False: nothing is known of it. O(1). */
bool kvi_expiries_find(const struct kvi_expiries *expiries, uint64_t hash, struct kvi_expiry *expiry_p);
void kvi_expiries_forget(struct kvi_expiries *expiries, uint64_t hash);

#endif
