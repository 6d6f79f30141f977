/* tiers/remember_private.h: remember_store.c, the store's side of remember.c: copies out of its lock and into it. */
#ifndef KVASIR_TIERS_REMEMBER_PRIVATE_H
#define KVASIR_TIERS_REMEMBER_PRIVATE_H

#include "tiers/remember_state.h"

/* What became of waiters. */
struct kvi_remember_back {
  uint32_t back;  /* all of them is there */
  uint32_t less;  /* their last chunks are gone: they wait before these */
  uint32_t room;  /* there was none for them: they are the ones not used for longest */
  uint32_t gone;  /* nothing of them is there, as far as is known */
  uint32_t other; /* the policy did not take them */
};

/* Whether its policy has anything to keep. */
bool kvi_remember_keeps(const struct kvi_store *store);
/* Changes whenever the policy is told something of programs. */
uint64_t kvi_remember_told(struct kvi_store *store);
/* Of a policy that keeps something: secret, policy, spaces, waiters and what was learned; cleared on an error. KVS_ERR_NOMEM. */
kvs_status kvi_remember_collect(struct kvi_store *store, struct kvi_state *state_p);
/* The same back. gap_ns: so much later. Of the waiters those stay in the state that may come back at another start: whose chunks are gone, or for whom there is no room. */
void kvi_remember_give(struct kvi_store *store, struct kvi_state *state, uint64_t gap_ns,
                       struct kvi_remember_back *back_p);

/*
 * remember_carry.c: who did not come back at the start is added to what was collected, as long as it is known and there is room, and is not there under the same name. since_ns: so long ago was the start. KVS_ERR_NOMEM: nothing
 * is added.
 */
kvs_status kvi_remember_carry(const struct kvi_state *carried, uint64_t since_ns, struct kvi_state *state);
int kvi_remember_older_first(const void *a, const void *b); /* of kvi_state_waiter, for qsort */

/* remember.c: how long after a write of so many bytes the next one is at the earliest: on average not more than a megabyte each second is written. */
uint64_t kvi_remember_pause_ms(uint64_t interval_ms, size_t length);

#endif
