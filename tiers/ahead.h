/*
 * tiers/ahead.h: chunks come back to memory before they are asked for. A thread of the store's asks the policy what to read back next (`promotion`), a few times a second, and has a few chunks read, which
 * land as those that somebody waits for do. It starts none while any get waits for the medium, nor when what would have to leave memory for them cannot be demoted, nor for a tenant whose bound it would take anything of its own to keep; room is taken before the read. When something found none, or left memory again unused, it looks again only after its while; what it has started is at most FLIGHT_MOST chunks ahead of a get
 * that comes meanwhile.
 *
 * Functions that end in _locked are called with store->lock held; all others without it.
 */
#ifndef KVASIR_TIERS_AHEAD_H
#define KVASIR_TIERS_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

struct kvi_store;
struct kvi_ahead;

/* Starts the thread; the store has its memory, a policy with `promotion`, and a tier below. KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_ahead_create(struct kvi_store *store, struct kvi_ahead **ahead_p);
/* Waits for the thread; what is being read may end later. NULL is fine, as below. */
void kvi_ahead_stop(struct kvi_ahead *ahead);
/* Stopped, and nothing is being read any more. */
void kvi_ahead_destroy(struct kvi_ahead *ahead);

/* A read that it has started is over; landed: and the chunk is in memory. */
void kvi_ahead_ended_locked(struct kvi_ahead *ahead, uint64_t length, bool landed);
/* The entry is about to leave memory: what was read ahead, and not got since, was read in vain. */
void kvi_ahead_left_locked(struct kvi_store *store, uint32_t number);

#endif
