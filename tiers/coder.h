/*
 * tiers/coder.h: memory that holds chunks coded: what was put raw is encoded after its commit, by threads of the store's own, and the coded form (proto/coded.h) takes
 * the raw one's place in one step (better.c has the mechanism). Leases, place in the chain, last use and how much loss the owner allows are the entry's, and stay; who has the raw bytes open
 * keeps them until he closes them.
 *
 * A chunk that waits here, or is being encoded, is present as any other: it can be read, leased, deleted, evicted and put better. It is not written to the tier below before that has ended, so
 * what is below gets it coded, and it is encoded once. It stays raw when
 *
 *   - too many wait (KVI_CODER_WAITING_MAX, or a quarter of memory),
 *   - the rules have nothing for it, it would not be at least a 16th smaller, or encoding fails,
 *   - there is no room for the coded form beside the raw one,
 *
 * and it is not tried again. With rules that lose something it is encoded without loss where a look-up has promised it as it is (a lease), or where the tier below has a copy that has lost less.
 * One that does not fit its checksums is dropped as a damaged one.
 *
 * Threads: `threads` of its own, "kvi-coder". Its queue is guarded by the store's lock, under which nothing is encoded or copied. Memory: a thread keeps room for the largest chunk
 * that it has encoded, up to about three times its size.
 */
#ifndef KVASIR_TIERS_CODER_H
#define KVASIR_TIERS_CODER_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_CODER_THREADS_MAX 64u
#define KVI_CODER_WAITING_MAX 64u /* chunks that wait for a thread */

struct kvi_store;
struct kvi_coder;

/* By the store's config.codec, with so many threads, at most KVI_CODER_THREADS_MAX. Errors: KVS_ERR_INVALID, KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_coder_create(struct kvi_store *store, uint32_t threads, struct kvi_coder **coder_p);
/* Waits for its threads, which give up what they have. What waits stays raw, and is not written below any more. NULL is fine. */
void kvi_coder_destroy(struct kvi_coder *coder);

/*
 * Bytes of this quality were published in memory: they wait for a thread from here on, if they are to be encoded. kvi_write_through_locked puts the entry off until then.
 * coder NULL: nothing happens.
 */
void kvi_coder_offer_locked(struct kvi_coder *coder, uint32_t entry, uint16_t quality);

/* It has no bytes in memory any more, or others: if it waits, it does not any longer. coder NULL: nothing happens. */
void kvi_coder_forget_locked(struct kvi_coder *coder, uint32_t entry);

/* Waits, without the lock meanwhile, until no thread of it is in a function of kvi_store_lower. coder NULL: there is none. */
void kvi_coder_lower_wait_locked(struct kvi_coder *coder);

/* Whether a thread holds the entry, as a lease does. coder NULL: false. */
bool kvi_coder_holds_locked(const struct kvi_coder *coder, uint32_t entry);

/* Chunks that wait, or are being encoded. coder NULL: 0. */
uint32_t kvi_coder_queued_locked(const struct kvi_coder *coder);

/* The loss (kvi_quality_loss) that it gives to what it may quantise; 0 without a coder. Always the same, while planes go by what there is room for. */
uint32_t kvi_coder_loss(const struct kvi_store *store);

#endif
