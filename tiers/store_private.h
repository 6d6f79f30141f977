/*
 * tiers/store_private.h: what the files of the store share. docs/store.md draws it.
 *
 * Files: store.c (life, counters), index.c (entries, hash, ghosts), spaces.c, put.c (landings), better.c (a better copy of what is there), admit.c (puts that are declined), coder.c (memory that holds chunks coded), cut.c (planes that go before chunks do), waiters.c (equal puts), get.c,
 * lookup.c, lease.c, evict.c, tenants.c, account.c, own.c (tenants.h), list.c, key.c, gone.c and why.c (what went, and why a get misses); and for a tier below (below.h): below.c (its owner's side, recovery), clean.c, marks.c, write_through.c, fetch.c, refill.c, use.c. Functions that end in _locked are called with store->lock held; all others without it.
 */
#ifndef KVASIR_TIERS_STORE_PRIVATE_H
#define KVASIR_TIERS_STORE_PRIVATE_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "proto/limits.h"
#include "tiers/admit.h"
#include "tiers/ahead.h"
#include "tiers/below.h"
#include "tiers/budget.h"
#include "tiers/coder.h"
#include "tiers/cut.h"
#include "tiers/gone.h"
#include "tiers/marks.h"
#include "tiers/policy/policy.h"
#include "tiers/store.h"
#include "tiers/tenants.h"

#define KVI_NONE         UINT32_MAX
#define KVI_BATCH_LOCKED 64u /* keys, holds or victims handled in one hold of the lock */
#define KVI_SPACES_LIMIT UINT16_MAX

/* ---- entries: one a chunk ---- */

/*
 * What the index knows of a key: 96 bits of its hash with the store's seed, since the key itself lies with the bytes: as the label of an object in memory, in
 * the record on a medium. Two keys with one tag are taken for one until there are bytes: whoever has these compares the key, and has a miss if it is another.
 */
struct kvi_key_tag {
  uint32_t word[3];
};

enum kvi_entry_state {
  KVI_ENTRY_FREE = 0,
  KVI_ENTRY_LANDING,  /* in the index, not visible to readers; object: the landing's number */
  KVI_ENTRY_RESIDENT, /* in memory, perhaps on the medium too; object: the tier's */
  KVI_ENTRY_BELOW,    /* on the medium only; handle_low, handle_high: the medium's */
  KVI_ENTRY_FETCHING, /* on the medium, and on its way to memory; object: the fetch's number */
  KVI_ENTRY_ZOMBIE, /* out of the index: its number is not used again before the last hold and the last child go */
};

#define KVI_LENGTH_MASK 0xfffffffu /* of the 28 bits that lengths have */
static_assert(KVI_CHUNK_BYTES_MAX <= KVI_LENGTH_MASK, "a chunk's length fits");

#define KVI_ORIGIN_AHEAD 7u /* no tier's */

struct kvi_entry {
  struct kvi_key_tag tag;
  uint32_t next; /* in its bucket, or in the free list */
  uint16_t space;
  uint8_t state : 3; /* enum kvi_entry_state */
  uint8_t
      coding : 1; /* RESIDENT: waits to be encoded in memory, or is; written to the medium when that has ended */
  uint8_t loss : 4; /* of the bytes that a get would have (proto/chunk.h) */
  uint8_t unchained : 1;
  uint8_t queued : 1;    /* to be written to the medium */
  uint8_t writing : 1;   /* being written */
  uint8_t unwritten : 1; /* to be written to the medium once it is used */
  uint8_t unshared : 1;  /* kvi_store_lower.used is to be called once it is used */
  uint8_t
      origin : 3; /* enum kvi_tier_kind: read from there ahead of its get, which has not come yet; KVI_ORIGIN_AHEAD: the same, before anybody asked for its chain; 0 */
  union {
    uint32_t object;
    uint32_t handle_low;
  };
  union {
    uint32_t handle_high;
    struct { /* RESIDENT: of its copy on the medium, which may be encoded */
      uint32_t medium_length : 28;
      uint32_t medium_loss : 4;
    };
  };
  uint32_t length : 28;  /* payload, as it lies in memory, or else on the medium */
  uint32_t lost_put : 4; /* of `loss`: not by memory itself (better.c) */
  uint32_t place;
};
static_assert(sizeof(struct kvi_entry) == 36, "metadata of each chunk; docs/store.md has the sum");

/* A reader can have it, perhaps not at once. */
static inline bool kvi_entry_is_present(const struct kvi_entry *entry)
{
  return entry->state == KVI_ENTRY_RESIDENT || entry->state == KVI_ENTRY_BELOW ||
         entry->state == KVI_ENTRY_FETCHING;
}

/* ---- spaces ---- */

struct kvi_space_entry {
  uint8_t digest[KVS_DIGEST_SIZE];
  char tenant[KVI_TENANT_MAX];
  kvs_space_desc *_Atomic desc; /* NULL: found on a medium, not told by a client yet; set once */
  uint32_t next;                /* in its bucket */
  uint32_t account;             /* number of its tenant (tenants.c); 0: not configured */
  uint32_t key_length;
  uint64_t chunk_bytes; /* 0: varies */
  uint64_t chunks, bytes;
  struct kvi_compute compute; /* what its engines have measured */
};

/* ---- leases ---- */

struct kvi_lease {
  uint64_t owner, expires_ns;
  uint32_t account;  /* number of its tenant */
  uint32_t *entries; /* held ones; malloc'd */
  uint32_t n_entries, room;
  uint32_t life;                   /* upper half of the id: a number used again is another lease */
  uint32_t heap_place;             /* KVI_NONE: not granted (yet) */
  uint32_t owner_next, owner_prev; /* in its owner's bucket; owner_next is the free list's link too */
};

/* ---- landings and those who wait for them ---- */

struct kvi_store_landing {
  uint32_t entry;
  bool
      better; /* the entry is present, and held: these bytes are to take the place of worse ones (better.c) */
  uint32_t origin; /* better: an enum kvi_tier_kind, as of an entry */
  uint32_t parent; /* held; KVI_NONE */
  uint32_t next_free;
  uint32_t first_waiter;
  kvi_tier_object object;
};

enum kvi_waiter_state {
  KVI_WAITER_FREE = 0,
  KVI_WAITER_WAITING,  /* in its landing's list */
  KVI_WAITER_QUEUED,   /* the landing has ended, the call is to come */
  KVI_WAITER_RUNNING,  /* in the call */
  KVI_WAITER_CANCELED, /* forgotten after it was queued */
};

struct kvi_waiter {
  kvi_put_wait_fn *fn;
  void *ctx;
  pthread_t thread; /* of the call, while running */
  uint32_t landing;
  uint32_t next, prev; /* landing's list, or the free list */
  uint32_t ctx_next;   /* bucket by ctx */
  uint32_t life;
  uint8_t loss; /* of what it wanted to put */
  enum kvi_waiter_state state;
};

struct kvi_store {
  struct kvi_store_config config; /* defaults filled in; policy points to a static name */
  struct kvi_tier *dram;
  struct kvi_tier_attr dram_attr;
  const struct kvi_policy_ops *policy_ops;
  struct kvi_policy *policy;
  uint64_t hash_secret[KVI_STORE_SECRET_WORDS]; /* random, now or before a restart */

  pthread_mutex_t lock; /* guards everything below; held for bounded work only */

  struct kvi_entry *entries; /* config.max_chunks */
  uint32_t entry_fresh;      /* entries from here on were never used */
  uint32_t entry_free;
  uint32_t *buckets;
  uint32_t n_buckets;
  uint32_t *ghosts; /* tag of 28 bits, cause of 4 */
  uint32_t n_ghosts;
  struct kvi_gone *gone; /* the same of fewer, for people */

  uint64_t
      told; /* how often the policy was told of a program: who keeps that elsewhere sees whether it has changed */

  struct kvi_space_entry *spaces; /* config.max_spaces */
  uint32_t n_spaces;
  uint32_t *space_buckets; /* n_space_buckets, a power of two */
  uint32_t n_space_buckets;

  struct kvi_lease *leases; /* config.max_leases */
  uint32_t lease_fresh, lease_free;
  uint32_t *lease_heap; /* lease numbers by expiry */
  uint32_t lease_heap_size;
  uint32_t *owner_buckets; /* n_owner_buckets, a power of two */
  uint32_t n_owner_buckets;
  uint64_t lease_references, lease_references_max;

  struct kvi_store_landing *landings; /* config.max_landings */
  uint32_t landing_free;
  struct kvi_waiter *waiters; /* n_waiters */
  uint32_t n_waiters, waiter_free;
  uint32_t *ctx_buckets; /* n_waiters, a power of two */
  pthread_cond_t waiter_ended;
  uint32_t waiter_watchers; /* threads in put_unwait that wait for a call to end */

  _Atomic uint32_t holds;              /* objects that a device still uses (kvi_below_keep) */
  struct kvi_declined *declined;       /* KVI_DECLINED_MAX; NULL: puts are not declined */
  struct kvi_below *below;             /* NULL: no tier below. The pointer never changes. */
  const struct kvi_store_lower *lower; /* NULL: nothing */
  struct kvi_marks *marks;             /* NULL: none. Set when the store opens. */
  struct kvi_ahead *ahead;             /* the same */
  struct kvi_cut *cut;                 /* the same */
  struct kvi_tenants *tenants;         /* NULL: nobody is accounted for. The same. */
  struct kvi_coder *coder;             /* NULL: what is put raw stays so. The same. */
  struct kvi_sampler *sampler; /* NULL: nothing is sampled. The same. Has its own lock, the inner one */

  struct kvi_damages damages;   /* has its own lock */
  struct kvi_store_stats stats; /* counters and gauges; dram and index_bytes are filled when asked */
};

/* The time that the policy goes by. */
static inline uint64_t kvi_policy_now(const struct kvi_store *store)
{
  uint64_t now =
      store->config.policy_clock ? store->config.policy_clock(store->config.policy_clock_ctx) : kvi_now_ns();

  return now + store->config.policy_ahead_ns;
}

/* The time by which it is remembered when chunks went. */
static inline uint64_t kvi_departure_now(const struct kvi_store *store)
{
  return store->config.departure_clock ? store->config.departure_clock(store->config.departure_clock_ctx)
                                       : kvi_now_ns();
}

/* ---- index.c ---- */

kvs_status kvi_index_create(struct kvi_store *store);
void kvi_index_destroy(struct kvi_store *store);
uint64_t kvi_index_bytes(const struct kvi_store *store);

/* Needs no lock. */
void kvi_key_tag(const struct kvi_store *store, const uint8_t *key, uint32_t key_length,
                 struct kvi_key_tag *tag_p);
uint64_t kvi_key_hash(uint32_t space, const struct kvi_key_tag *tag);

/* The entry with this key, whatever its state but ZOMBIE; KVI_NONE. */
uint32_t kvi_index_find_locked(const struct kvi_store *store, uint64_t hash, uint32_t space,
                               const struct kvi_key_tag *tag);
/* The same by a tenant's name of the chunk. KVI_NONE too: no such space, or its keys have another length. */
uint32_t kvi_entry_find_locked(const struct kvi_store *store, const char *tenant, const uint8_t *space,
                               uint32_t key_length, const struct kvi_key_tag *tag);
/* n <= KVI_BATCH_LOCKED keys of one space; found[i]: a present entry, or KVI_NONE. */
void kvi_index_find_batch_locked(const struct kvi_store *store, uint32_t space,
                                 const struct kvi_key_tag *tags, uint32_t n, uint32_t *found);

/* A fresh entry in state LANDING, in the index. KVI_NONE: all are taken. */
uint32_t kvi_entry_create_locked(struct kvi_store *store, uint64_t hash, uint32_t space,
                                 const struct kvi_key_tag *tag);
/* Out of the index; cause is remembered in the ghost table (KVI_MISS_NONE: not). Its number is free now or after the last hold. */
void kvi_entry_forget_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause);
/*
 * A present entry goes: forgotten, its bytes dropped in all tiers, counted out of its space. KVI_MISS_DELETED, KVI_MISS_CORRUPT: for good, and key is its key;
 * else key is NULL.
 */
void kvi_entry_drop_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause,
                           const uint8_t *key);
/* The same of one that the store lets go of by a rule, which gives the cause. info: what the policy says of it now. */
void kvi_entry_evict_locked(struct kvi_store *store, uint32_t number, enum kvi_evict_rule rule,
                            const struct kvi_policy_info *info);
void kvi_entry_unhold_locked(struct kvi_store *store, uint32_t number);
/* Told to the policy, which ignores it when its parent is known already. */
void kvi_entry_link_locked(struct kvi_store *store, uint32_t number, uint32_t parent);

enum kvi_miss_cause kvi_ghost_cause_locked(const struct kvi_store *store, uint64_t hash);
void kvi_ghost_clear_locked(struct kvi_store *store, uint64_t hash);

/* ---- hint.c: what the policy is told of programs ---- */

/* The entry, of which all else is known already, became resident, in group memory. parent: KVI_NONE: none. */
void kvi_chunk_insert_locked(struct kvi_store *store, uint32_t number, uint32_t parent);
/* A present entry was found by a look-up, got, or put again. Of a policy that counts it is one use within a second. */
void kvi_entry_touch_locked(struct kvi_store *store, uint32_t number, uint64_t now_ns);
/* A request has come for the chain up to an entry that is present, and for so many chunks more, which are not here. */
void kvi_arrive_locked(struct kvi_store *store, uint32_t number, uint32_t n_more);
/* Of a chunk; of a space that does not say, those that the policy takes it for. With or without the lock. */
uint32_t kvi_space_tokens(const struct kvi_space_entry *space);
/* The chain goes up to this entry now, which was inserted just now. */
void kvi_stored_locked(struct kvi_store *store, uint32_t number);
/* Is what is landing here, of a prompt of so many chunks, worth more than the victim, as far as the policy has prices? parent: KVI_NONE. */
bool kvi_chunk_admits_locked(struct kvi_store *store, uint32_t number, uint32_t parent, uint32_t n_whole,
                             uint32_t victim);

/* ---- why.c ---- */

/* A present entry, of which the policy says this, is about to go. rule KVI_EVICT_RULES: it is not evicted. */
void kvi_gone_note_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause,
                          enum kvi_evict_rule rule, const struct kvi_policy_info *info);
/* Why it is not there: by the record of it, or else by its ghost. */
enum kvi_miss_cause kvi_gone_cause_locked(const struct kvi_store *store, uint64_t hash, uint32_t space,
                                          const struct kvi_key_tag *tag);
#define KVI_ELSEWHERE_SPACES 32u /* that are looked at in one hold of the lock: the newest */
/* Whether another space of this one's tenant has a chunk with this key. */
bool kvi_elsewhere_locked(const struct kvi_store *store, uint32_t space, const struct kvi_key_tag *tag);

/* ---- spaces.c ---- */

kvs_status kvi_spaces_create(struct kvi_store *store);
void kvi_spaces_destroy(struct kvi_store *store);
uint32_t kvi_space_find_locked(const struct kvi_store *store, const char *tenant,
                               const uint8_t *digest); /* KVI_NONE */

/* One that a medium has named: added without its description if it is new. KVI_NONE: no room, or its keys have another length. */
uint32_t kvi_space_recover(struct kvi_store *store, const char *tenant, const uint8_t *digest,
                           uint32_t key_length);

/* ---- list.c ---- */

/* What an operator is told of a present entry. */
void kvi_chunk_info_locked(struct kvi_store *store, uint32_t number, uint64_t now_ns,
                           struct kvi_chunk_info *info);

/* ---- get.c ---- */

/* What a reader sees of an object it has open. */
kvs_status kvi_source_fill(struct kvi_store *store, kvi_tier_object object, struct kvi_source *source_p);
/* As kvi_store_get_open; *dropped_p: it was here until now, and its table did not fit its checksum, or its key was damaged. */
kvs_status kvi_source_open(struct kvi_store *store, const char *tenant, const uint8_t *space,
                           const uint8_t *key, uint32_t key_length, const struct kvi_get_terms *terms,
                           struct kvi_get_wait *wait, struct kvi_source *source_p, uint32_t *cause_p,
                           bool *dropped_p);
/* Whether a reader takes a chunk of this quality. terms NULL: all 0. */
bool kvi_source_suits(const struct kvi_get_terms *terms, uint16_t quality);
/*
 * Leaves planes out of an open source that suits its reader, by its terms (less.c; NULL: none), and out of what get_bytes has counted of it. The object is not touched. Without the lock; allocates only
 * for a reader who asks, if the object's head lies in pieces.
 */
void kvi_source_lessen(struct kvi_store *store, const struct kvi_get_terms *terms, struct kvi_source *source);
/* Drops the chunk whose open source showed it to be damaged, and notes that. False: it is gone, or another one by now. */
bool kvi_source_drop_corrupt(struct kvi_store *store, const char *tenant, const uint8_t *space,
                             const uint8_t *key, uint32_t key_length, const struct kvi_source *source,
                             enum kvi_damage_found by);

/* ---- lease.c ---- */

kvs_status kvi_leases_create(struct kvi_store *store);
void kvi_leases_destroy(struct kvi_store *store);
/* A lease with room for so many holds; not granted yet. Errors: KVS_ERR_BUSY, KVS_ERR_NOMEM. */
kvs_status kvi_lease_prepare(struct kvi_store *store, uint32_t account, uint64_t owner, uint32_t room,
                             uint32_t *number_p);
void kvi_lease_hold_locked(struct kvi_store *store, uint32_t number, uint32_t entry);
/* Grants it, and returns its id; with no holds: gives it back, and returns 0. */
uint64_t kvi_lease_grant(struct kvi_store *store, uint32_t number, uint64_t expires_ns);

/* ---- key.c ---- */

/*
 * The label of an object: the chunk's key, and its parent's behind it if there is one and both fit. label: KVI_TIER_LABEL_MAX bytes. parent NULL: none, or not
 * known. Returns the length.
 */
uint32_t kvi_label_write(uint8_t *label, const uint8_t *key, const uint8_t *parent, uint32_t key_length);
/* Are these the bytes of that key? The object cannot go meanwhile: the lock is held, or it is open. */
bool kvi_object_is(const struct kvi_store *store, kvi_tier_object object, const uint8_t *key,
                   uint32_t key_length);
/* Copies the key of an entry. False: it is not in memory, so the key is not either. */
bool kvi_entry_key_locked(const struct kvi_store *store, uint32_t number, uint8_t *key);
/* The same of the one before it in its chain, which a chunk in memory may know though that one is not there. */
bool kvi_entry_parent_key_locked(const struct kvi_store *store, uint32_t number, uint8_t *key);

/* ---- better.c ---- */

/*
 * Whether what is put loses less than what is there. Not, if memory's codec has made that of such a one, and would again, as its owner allows; unless it comes from another tier for
 * somebody who wants it (fetched). The entry is present.
 */
bool kvi_better_wanted_locked(const struct kvi_store *store, uint32_t number, uint16_t quality, bool fetched);
/* What a get would have of it has lost so much from now on, which memory has not done. */
void kvi_entry_loss_set_locked(struct kvi_store *store, uint32_t number, uint32_t loss);
/* The landing has an entry of bytes that are there: it is held until the landing is closed. */
void kvi_better_begin_locked(struct kvi_store *store, struct kvi_store_landing *landing, uint32_t number);
/*
 * The sealed bytes take the place of those that are there. KVS_EXISTS: others have brought as good ones; KVS_ERR_BUSY: the chunk has gone meanwhile, and may be put anew: the
 * object is the caller's then.
 */
kvs_status kvi_better_take_locked(struct kvi_store *store, const struct kvi_store_landing *landing,
                                  uint64_t length, uint16_t quality);
/*
 * These sealed bytes are the entry's, which is present, in place of what it has in memory. Its copy on the medium stays. Nothing is known of their length and loss yet; nor are they
 * written, or encoded.
 */
void kvi_bytes_replace_locked(struct kvi_store *store, uint32_t number, kvi_tier_object object);

/* ---- put.c, waiters.c ---- */

/* KVS_OK, or what is wrong with a put's lengths. */
kvs_status kvi_put_check(const struct kvi_store *store, const struct kvi_put_request *request);
/* kvi_room_take for a put. */
kvs_status kvi_put_room_take(struct kvi_store *store, uint32_t account, const struct kvi_put_request *request,
                             const struct kvi_admission *admission, kvi_tier_object *object_p);
/*
 * Room in memory, on the account of a tenant; evicts and demotes until it is there. bounded: not beyond the tenant's bound. admission: for what, and KVS_DECLINED if that is worth less than what would be lost; NULL: whatever it is worth. Errors: KVS_ERR_FULL,
 * KVS_ERR_QUOTA, KVS_ERR_BUSY and those of the tier's reserve.
 */
kvs_status kvi_room_take(struct kvi_store *store, uint32_t account, bool bounded,
                         const struct kvi_tier_request *wanted, const struct kvi_admission *admission,
                         kvi_tier_object *object_p);
/* The same with room that is on the account already (kvi_account_try_locked), and is settled. goes: others may go for it. Not KVS_ERR_QUOTA. */
kvs_status kvi_taken_room_take(struct kvi_store *store, uint32_t account, uint64_t taken, bool goes,
                               const struct kvi_tier_request *wanted, kvi_tier_object *object_p);

kvs_status kvi_landings_create(struct kvi_store *store);
void kvi_landings_destroy(struct kvi_store *store);

kvs_status kvi_waiters_create(struct kvi_store *store);
void kvi_waiters_destroy(struct kvi_store *store);
/* loss: of what it wants to put. KVS_PENDING, or KVS_ERR_BUSY when all waiters are taken. fn NULL: nobody is told. */
kvs_status kvi_waiter_add_locked(struct kvi_store *store, uint32_t landing, uint32_t loss,
                                 kvi_put_wait_fn *fn, void *ctx);
/* Takes the landing's waiters out: KVI_NONE or the first of a list for kvi_waiters_call. */
uint32_t kvi_waiters_detach_locked(struct kvi_store *store, uint32_t landing);
/* loss: of what is stored, with KVS_OK: who has something better is to put it (KVS_ERR_BUSY). */
void kvi_waiters_call(struct kvi_store *store, uint32_t first, kvs_status status, uint32_t loss);

/* ---- evict.c ---- */

/* Where somebody who wants room has looked, over several holds of the lock. Zeroed at first. */
struct kvi_room_search {
  uint64_t hidden; /* clean chunks that have to stay for a lease (clean.c) */
  uint64_t
      passed; /* chunks that cannot lose a plane now (cut.c): 2 for each, 1 for one that has its turn once more */
  bool more; /* there are others behind those: another call looks at them */
  const struct kvi_admission
      *admission; /* in: for what; NULL: nothing has to be worth less than that to be lost */
  bool declined;  /* it is not worth what would have to be lost */
};
/*
 * Takes chunks, or planes of them, out of memory until `bytes` went, at most KVI_BATCH_LOCKED of them. Returns the bytes; 0: no victim, unless search->more says that it has
 * only looked at so many as may be looked at in one hold of the lock.
 */
uint64_t kvi_store_make_room_locked(struct kvi_store *store, uint64_t bytes, struct kvi_room_search *search);
/* Whether what would be the next to make room is a demotion. */
bool kvi_store_next_is_demotion_locked(struct kvi_store *store);
/*
 * Takes the chunk out of memory that would be the next to make room, if that is a demotion. False: there is none, or it would be gone; *hidden_p: or all that were
 * looked at have to stay for a lease.
 */
bool kvi_store_demote_one_locked(struct kvi_store *store, bool *hidden_p);
/* Drops the least recently used leaf of any group, so that its entry is free. False: none may go. */
bool kvi_store_drop_one_locked(struct kvi_store *store);
/* What the policy has named goes, to make room. */
void kvi_store_victim_evict_locked(struct kvi_store *store, uint32_t victim, enum kvi_evict_rule rule);
/* Any other. */
void kvi_store_evict_one_locked(struct kvi_store *store, uint32_t number, enum kvi_evict_rule rule);

/* ---- use.c ---- */

/* What has to be told about a use, without the lock. */
struct kvi_use {
  const struct kvi_store_lower *lower; /* NULL: nothing */
  struct kvi_medium_identity identity; /* points into this struct, and at the space's entry */
  uint8_t key[KVI_MEDIUM_KEY_MAX], parent[KVI_MEDIUM_KEY_MAX];
};
/* A chunk in memory was used: got, or put by somebody who had it too. Cheap unless it is the first time. */
void kvi_use_locked(struct kvi_store *store, uint32_t number, struct kvi_use *use_p);
void kvi_use_tell(const struct kvi_use *use);

#endif
