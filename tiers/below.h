/*
 * tiers/below.h: the store's side of the tier below: what is written to it, read from it, and in both. docs/store.md draws it. Functions that end in _locked are called with the store's lock held; all others without it, but where they say so.
 */
#ifndef KVASIR_TIERS_BELOW_H
#define KVASIR_TIERS_BELOW_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "tiers/budget.h"
#include "tiers/medium.h"
#include "tiers/store.h"
#include "tiers/tier.h"

struct kvi_ahead;
struct kvi_entry;
struct kvi_store;

#define KVI_BELOW_WRITES  16u  /* given to the medium at a time */
#define KVI_BELOW_FETCHES 256u /* the same */

/* A chunk being written. */
struct kvi_write {
  struct kvi_medium_put put;
  struct kvi_store *store;
  uint32_t entry;
  kvi_tier_object object; /* open */
  uint8_t key[KVI_MEDIUM_KEY_MAX], parent[KVI_MEDIUM_KEY_MAX];
  struct kvi_write *next_free;
};

/* A chunk being read. */
struct kvi_fetch {
  struct kvi_medium_get get;
  struct kvi_store *store;
  uint32_t entry;           /* KVI_NONE: it was dropped meanwhile */
  uint32_t account;         /* its tenant's */
  kvi_medium_handle handle; /* the entry's; the get's may be an older one */
  uint32_t cause;           /* why it was */
  kvi_tier_object object;   /* where it lands */
  bool landed;              /* object is set */
  bool opened;              /* for each waiter */
  bool keyless;             /* the key is not known yet: it is read, or told by who joins */
  struct kvi_ahead *ahead;  /* who has it read before anybody asked for it; NULL: somebody did */
  uint32_t ahead_length;    /* as it was then */
  bool has_taken;           /* before it was read, for what nobody waited for: */
  uint64_t taken;           /* so much on the account */
  bool replaced;            /* the entry has other bytes by now, and a hold of this fetch's */
  uint16_t quality;
  uint32_t length;
  uint32_t rereads; /* so often it was moved under the read, and read once more */
  uint8_t key[KVI_MEDIUM_KEY_MAX];
  struct kvi_get_wait *waiters;
  struct kvi_get_wait *calling; /* its done is running, on `thread` */
  pthread_t thread;
  struct kvi_fetch *next_free;
};

/* A place in a queue of chunks to write. */
struct kvi_queued {
  uint32_t entry;
  kvi_tier_object object;
};

/* A ring of config.write_queue places. */
struct kvi_write_queue {
  struct kvi_queued *ring;
  uint32_t room, first, length;
};

/* Neighbours in the queue of clean chunks: in memory and on the medium. */
struct kvi_clean {
  uint32_t next, prev;
  uint32_t stamp; /* last use when it was queued, in units of 2^24 ns, cut */
};
static_assert(sizeof(struct kvi_clean) == 12,
              "for each object that memory may hold; docs/store.md has the sum");

#define KVI_BELOW_BYTES_PER_S UINT64_C(1000000000) /* read by a common SSD, before it is measured */

struct kvi_below {
  struct kvi_medium *medium;
  struct kvi_medium_attr attr;
  kvi_medium_handle *handles; /* of chunks in memory, by object; 0: no copy */
  struct kvi_clean *clean;    /* by object */
  uint32_t clean_first, clean_last;
  struct kvi_write_queue queue; /* to be written */
  struct kvi_write_queue again; /* shed, or not taken: once more, when the medium has taken others */
  struct kvi_write *writes, *write_free;
  struct kvi_fetch *fetches, *fetch_free;
  uint32_t n_fetches;     /* under way, or their waiters being called */
  uint32_t n_waits;       /* of fetches, together */
  pthread_cond_t called;  /* a waiter's done has returned */
  struct orphan *orphans; /* during recovery */
  uint32_t n_orphans, orphans_room;
  struct kvi_budget budget;  /* of write_day_bytes */
  uint64_t read_bytes_per_s; /* when a look-up found something there last */
};

/* ---- below.c ---- */

kvs_status kvi_below_create(struct kvi_store *store, struct kvi_medium *medium);
/* The medium ends first: nothing is under way then. */
void kvi_below_destroy(struct kvi_store *store);
/* What kvi_store_lower.missed is asked: KVS_MISS without one, or when the chunk was deleted. */
kvs_status kvi_lower_missed(struct kvi_store *store, const struct kvi_medium_identity *identity,
                            uint32_t cause, struct kvi_get_wait *wait);
/* Where its copy on the medium is; 0: there is none. Where it is remembered depends on the state: call with the lock held. */
kvi_medium_handle kvi_below_handle(const struct kvi_store *store, uint32_t number);
/* The entry is present. */
void kvi_below_handle_set(struct kvi_store *store, uint32_t number, kvi_medium_handle handle);
/* Its bytes are in memory from now on, in this object: RESIDENT. */
void kvi_entry_land_locked(struct kvi_store *store, uint32_t number, kvi_tier_object object);
/* Its payload has another length now. */
void kvi_entry_resize_locked(struct kvi_store *store, uint32_t number, uint32_t length);
/* The payload of its copy on the medium, which it has. */
uint32_t kvi_below_length(const struct kvi_entry *entry);
/* What that has lost. */
uint32_t kvi_below_loss(const struct kvi_entry *entry);
/* Its copy on the medium is not to be used any more: the chunk stays if it is in memory. key not NULL: the copy must not come back. */
void kvi_copy_lost_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause,
                          const uint8_t *key);
/* What is in memory is not written any more, nor encoded. RESIDENT. */
void kvi_entry_unwrite_locked(struct kvi_store *store, uint32_t number);
/* Its bytes are not in memory, or not any longer; it has a copy: BELOW. */
void kvi_entry_leave_locked(struct kvi_store *store, uint32_t number);
/* Bytes that the tier below takes for what is in memory, whatever max_chunks is. */
uint64_t kvi_below_memory(const struct kvi_store *store);
/* Its copy on the medium is let go of. key not NULL: for good, and what there may be of it beside. */
void kvi_below_drop_locked(struct kvi_store *store, uint32_t number, const uint8_t *key);
/* What there may be of it on the medium is not to come back, whether or not there is a copy that is known. */
void kvi_below_forget_locked(struct kvi_store *store, uint32_t number, const uint8_t *key);
/* Memory of chunks is as devices want it (kvi_medium_put.keep). */
bool kvi_below_is_direct(const struct kvi_store *store);
/* The object's memory stays until the hold is released, whatever becomes of the object. */
void kvi_below_keep(struct kvi_store *store, kvi_tier_object object, struct kvi_medium_hold *hold_p);
static inline bool kvi_below_has(const struct kvi_store *store, uint32_t number)
{
  return kvi_below_handle(store, number) != 0;
}

/* ---- clean.c ---- */

/* Tells the policy how much memory holds, and what it spares. */
void kvi_memory_tell_locked(const struct kvi_store *store);
void kvi_clean_add_locked(struct kvi_store *store, uint32_t number);
void kvi_clean_remove_locked(struct kvi_store *store, uint32_t number);
/* How many there are. */
uint64_t kvi_clean_length_locked(const struct kvi_store *store);
/*
 * The one to demote next, and what it saves to have it in memory, negative: last use decides. Not one that is held, and has lost more on the medium. KVI_NONE: none of the next KVI_BATCH_LOCKED, which go to the
 * back; another call looks at those behind them.
 */
uint32_t kvi_clean_victim_locked(struct kvi_store *store, double *price_p);
/* The same of one tenant's chunks, of which `one`, clean and not so held, is one that it may lose; KVI_NONE: the policy may know one. For a policy with own_demotion. */
uint32_t kvi_clean_own_locked(struct kvi_store *store, uint32_t account, uint32_t one, double *price_p);
/*
 * Which leaves memory, the clean chunk or the other, KVI_NONE if there is none, which would be lost? Whichever saves less by its price, as far as the policy minds; else the older one. One that is about to be
 * written goes only when nothing else can. (evict.c)
 */
bool kvi_clean_goes_locked(const struct kvi_store *store, uint32_t clean, double price, uint32_t other);
/* Out of memory; it stays on the medium. */
void kvi_demote_locked(struct kvi_store *store, uint32_t number, enum kvi_demote_rule rule);

/* ---- write_through.c ---- */

/* It was published in memory, or used `uses` times since: queued for the medium, if admission lets it, and what may be started is. */
void kvi_write_through_locked(struct kvi_store *store, uint32_t number, uint32_t uses);

/* ---- fetch.c ---- */

/* KVS_PENDING, KVS_ERR_BUSY. wait NULL: nobody waits for it. The entry is BELOW or FETCHING. */
kvs_status kvi_fetch_locked(struct kvi_store *store, uint32_t number, const uint8_t *key,
                            struct kvi_get_wait *wait);
/*
 * Reads it for nobody, ahead of a return: no key is needed, and nothing goes for its bytes. taken: room on the account of its tenant (kvi_account_try_locked), which is the fetch's if KVS_PENDING. Tells
 * kvi_ahead_ended_locked once, if KVS_PENDING. KVS_ERR_BUSY, KVS_MISS. The entry is BELOW.
 */
kvs_status kvi_fetch_ahead_locked(struct kvi_store *store, uint32_t number, uint64_t taken,
                                  struct kvi_ahead *ahead);
/* The entry that is being fetched has other bytes from now on: who waits gets those. Called while it is FETCHING. */
void kvi_fetch_replaced_locked(struct kvi_store *store, uint32_t number);
/* The entry that is being fetched goes. */
void kvi_fetch_forget_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause);

#endif
