/*
 * tiers/cut.h: planes of coded chunks that go before chunks do. Without kvi_cut_create all of it does nothing. Functions that end in _locked are called with the store's lock held; all others without it.
 */
#ifndef KVASIR_TIERS_CUT_H
#define KVASIR_TIERS_CUT_H

#include <stdint.h>

#include <kvasir/status.h>

struct kvi_store;

kvs_status kvi_cut_create(struct kvi_store *store);
void kvi_cut_destroy(struct kvi_store *store);
/* Bytes that it takes. */
uint64_t kvi_cut_memory(const struct kvi_store *store);
/*
 * The entry, RESIDENT, has bytes of this quality, which may lose a plane when room is needed: it is queued, unless it is already, has a copy below, or is to have one.
 */
void kvi_cut_offer_locked(struct kvi_store *store, uint32_t number, uint16_t quality);
/* The same, once it has no copy below any more, or is not to have one; its table says the quality. */
void kvi_cut_offer_again_locked(struct kvi_store *store, uint32_t number);
/* What it has in memory goes, or has a copy below, or is to have one. RESIDENT. */
void kvi_cut_remove_locked(struct kvi_store *store, uint32_t number);
uint32_t kvi_cut_length_locked(const struct kvi_store *store);
/*
 * Takes planes off the first chunk that has one to spare and is not held or read. Returns the room that this gave; 0: none of those that were looked at, at most *looks, which is counted down;
 * *passed_p, as of kvi_room_search, is counted up, to twice as many as there are.
 */
uint64_t kvi_cut_make_room_locked(struct kvi_store *store, uint32_t *looks, uint64_t *passed_p);

#endif
