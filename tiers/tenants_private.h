/*
 * tiers/tenants_private.h: what tenants.c, account.c and own.c share. All of it is guarded by the store's lock but what is atomic.
 */
#ifndef KVASIR_TIERS_TENANTS_PRIVATE_H
#define KVASIR_TIERS_TENANTS_PRIVATE_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tiers/store.h"
#include "tiers/tenants.h"

enum kvi_own_kind { KVI_OWN_NONE = 0, KVI_OWN_MEMORY, KVI_OWN_BELOW, KVI_OWN_KINDS };

/* An entry's place in a queue. */
struct kvi_own {
  uint32_t next, prev;
  uint32_t queue; /* enum kvi_own_kind */
};
static_assert(sizeof(struct kvi_own) == 12, "for each index entry; docs/tenants.md says so");

/* Of an object of memory. */
struct kvi_charge {
  uint32_t units; /* pages */
  uint32_t account;
};

struct kvi_own_queue {
  uint32_t first, last, length;
  uint64_t vain; /* looks since something was found, or something changed that may let others go */
};

/* What is in the tier that nodes share, by when its time there is over (shared_quota.h). */
#define KVI_SHARED_QUOTA_STEPS 64u
struct kvi_shared_quota {
  uint64_t first;                         /* step; those before it are over */
  uint64_t bytes[KVI_SHARED_QUOTA_STEPS]; /* a ring, of first and those after it */
};

struct kvi_tenant {
  struct kvi_tenant_info info;
  struct kvi_shared_quota in_shared;
  uint64_t shared[KVI_SHARED_KINDS];
  struct kvi_own_queue queues[KVI_OWN_KINDS];
  double rent_ns;           /* as of info, with its fraction */
  _Atomic uint64_t leaving; /* room in memory of objects that were dropped, and that somebody still reads */
};

struct kvi_tenants {
  struct kvi_tenant *tenants; /* by number; 0: all that are not configured */
  uint32_t n;
  uint64_t weights;
  uint64_t unit;         /* a page of memory */
  uint64_t rent_till_ns; /* charged up to then; 0: not yet */
  uint64_t shared_step_ns;
  uint64_t (*shared_clock)(const void *ctx); /* NULL: what is in the tier that nodes share is not counted */
  const void *shared_ctx;
  bool shrunk; /* somebody may have more than his bound, which has become smaller */
  struct kvi_charge *charges;
  struct kvi_own *own;
};

/* Whose the entry is. */
struct kvi_tenant *kvi_tenant_of(const struct kvi_store *store, uint32_t number);

/* ---- shared_quota.c ---- */

/* What is over by now does not count any more. */
void kvi_shared_quota_pass_locked(struct kvi_store *store, struct kvi_tenant *tenant);

/* ---- own.c ---- */

/* The entry is in no queue. */
void kvi_own_push_locked(struct kvi_store *store, uint32_t number, enum kvi_own_kind which, bool front);
/* Something of the tenant's may go that may not have gone before. */
void kvi_own_changed(struct kvi_tenant *tenant);
/* All have been looked at, and nothing has changed since. */
bool kvi_own_is_vain(const struct kvi_own_queue *queue);
/* Of the next few that may, the one leaves that the policy would let go first, or for memory whatever saves least there. At most so many looks, which are counted down. False: none may. */
bool kvi_own_one_locked(struct kvi_store *store, struct kvi_tenant *tenant, enum kvi_own_kind which,
                        enum kvi_evict_rule rule, uint32_t *looks);

#endif
