/*
 * tiers/tenants.h: what the store tells its tenants' accounts, and asks of them (docs/tenants.md). Without kvi_tenants_create all of it does nothing, and nobody has a bound. Functions that end in _locked
 * are called with the store's lock held; all others without it.
 */
#ifndef KVASIR_TIERS_TENANTS_H
#define KVASIR_TIERS_TENANTS_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "tiers/policy/policy.h"
#include "tiers/tier.h"

struct kvi_store;

/* KVS_ERR_NOMEM, KVS_ERR_INVALID. */
kvs_status kvi_tenants_create(struct kvi_store *store);
void kvi_tenants_destroy(struct kvi_store *store);
/* Bytes that it takes. */
uint64_t kvi_tenants_memory(const struct kvi_store *store);
/*
 * Takes room for a payload of this length on the account, as much as it can need, before memory is asked for it. *taken_p is for kvi_account_settle. KVS_ERR_QUOTA, KVS_ERR_BUSY.
 */
kvs_status kvi_account_take(struct kvi_store *store, uint32_t account, bool bounded, uint64_t length,
                            uint64_t *taken_p);
/* Whether that much is left to it, with nothing of its own leaving memory. */
bool kvi_account_may_locked(const struct kvi_store *store, uint32_t account, uint64_t length);
/* The same as kvi_account_take, if that much is left to it. *taken_p is for kvi_account_settle, or to be given back. */
bool kvi_account_try_locked(struct kvi_store *store, uint32_t account, uint64_t length, uint64_t *taken_p);
void kvi_account_give_locked(struct kvi_store *store, uint32_t account, uint64_t taken);
/* The policy is told how its requests count, by what it has of memory. Nothing without tenants. */
void kvi_account_share_told_locked(struct kvi_store *store, uint32_t account);
/* What was taken becomes what the object needs, or, if there is none, nothing. */
void kvi_account_settle(struct kvi_store *store, uint32_t account, uint64_t taken, bool has_object,
                        kvi_tier_object object);
/* The object has become smaller. */
void kvi_account_cut_locked(struct kvi_store *store, kvi_tier_object object);
/* Its last reader has closed it, and it was dropped before: its room is on no account any more. As kvi_dram_config.freed; ctx is the store, which has tenants. */
void kvi_account_freed(void *ctx, kvi_tier_object object);
/* Dropped, and off its account once nobody reads it. All objects go by one of these. */
void kvi_object_drop_locked(struct kvi_store *store, kvi_tier_object object);
void kvi_object_drop(struct kvi_store *store, kvi_tier_object object);
/* The copy on the medium has become so many bytes longer. */
void kvi_account_copy_locked(struct kvi_store *store, uint32_t number, int64_t bytes);
/* This landing is about to be a chunk, and to be written to the medium at once: copies of its tenant's go for it, a few in each hold of the lock. What is written later makes room when it has been. */
void kvi_account_copy_room(struct kvi_store *store, uint32_t number);
/* May the chunk be written to the medium, as far as its tenant is concerned? Counts it if not. */
bool kvi_account_may_write_locked(struct kvi_store *store, uint32_t number);
/* Its new copy on the medium may have taken its tenant over the bound: copies of the tenant's other chunks go. False: they cannot, and this one has to. */
bool kvi_account_copied_locked(struct kvi_store *store, uint32_t number);
/* A chunk of this space has come, or goes. */
void kvi_account_chunks_locked(struct kvi_store *store, uint32_t number, int change);
/* An entry of this space is taken (1), or free again (-1): a landing and a zombie are taken. */
void kvi_account_entry_locked(struct kvi_store *store, uint32_t number, int change);
/* The entry is present, and known to the policy; or has changed between memory and the medium: it takes its place among what its tenant may lose. */
void kvi_own_place_locked(struct kvi_store *store, uint32_t number);
/* The entry goes. Returns the one before it in its chain, which is to be told to kvi_own_leaf_locked when it has gone; KVI_NONE. */
uint32_t kvi_own_remove_locked(struct kvi_store *store, uint32_t number);
void kvi_own_leaf_locked(struct kvi_store *store, uint32_t parent);
/* Nobody holds it any more. */
void kvi_own_unheld_locked(struct kvi_store *store, uint32_t number);
/*
 * Room is wanted: who has more than a bound that has become smaller (kvi_store_tenant_set, _remove) loses it first. Returns bytes; *more_p: none yet, and there is more to look at, in another hold of the
 * lock.
 */
uint64_t kvi_over_make_room_locked(struct kvi_store *store, enum kvi_policy_group group, uint64_t bytes,
                                   bool *more_p);
#define KVI_OWN_LOOKS_MAX 4096u /* at chunks, for one put; what is held is looked at in vain */
/*
 * All entries are taken: one is free with KVS_OK. It is one of the tenant's own, if that has its share of them by weight, else one of whoever has most beyond his; never of somebody who has no more than that.
 * KVS_ERR_QUOTA: none of its own may go, KVS_ERR_FULL: nor of the others. KVS_ERR_BUSY: more are to be looked at, in another hold of the lock. Without tenants: the policy's victim.
 */
kvs_status kvi_entry_room_locked(struct kvi_store *store, uint32_t account);
/* Whether the tenant has less than nine tenths of its share of memory. False without tenants. */
bool kvi_account_is_short_locked(const struct kvi_store *store, uint32_t account);
/* A put has ended with KVS_ERR_QUOTA. */
void kvi_account_refused_locked(struct kvi_store *store, uint32_t account);
/* No tenant takes more than half of what all share, if there are several: spaces, landings, leases, holds of leases. change: so many more are taken, or given back; 0: could one more be taken? False: not so many more. */
enum kvi_shared_kind {
  KVI_SHARED_SPACES,
  KVI_SHARED_LANDINGS,
  KVI_SHARED_LEASES,
  KVI_SHARED_REFERENCES,
  KVI_SHARED_KINDS
};
bool kvi_account_share_locked(struct kvi_store *store, uint32_t account, enum kvi_shared_kind kind,
                              int64_t change);

#endif
