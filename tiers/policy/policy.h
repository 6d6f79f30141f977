/*
 * tiers/policy/policy.h: which chunk goes when room is needed. A policy is an ops struct over handles: it does no I/O, takes time as
 * an argument, and knows of a chunk only what it is told here. The store calls it under its own lock, so a policy needs none.
 *
 * A handle is the number of the store's index entry, below the capacity given at create. parent is the handle of the chunk before
 * it in its prefix chain, or KVI_POLICY_NONE.
 */
#ifndef KVASIR_TIERS_POLICY_POLICY_H
#define KVASIR_TIERS_POLICY_POLICY_H

#include <stdint.h>

#include <kvasir/status.h>

#define KVI_POLICY_NONE UINT32_MAX

struct kvi_policy;

struct kvi_policy_ops {
  const char *name; /* "leaf-lru" */

  /* All memory for `capacity` handles is taken here; the other ops allocate nothing. KVS_ERR_NOMEM, KVS_ERR_INVALID. */
  kvs_status (*create)(uint32_t capacity, struct kvi_policy **policy_p);
  void (*destroy)(struct kvi_policy *policy); /* NULL is fine */

  /* A chunk became resident. bytes: what it takes. */
  void (*insert)(struct kvi_policy *policy, uint32_t handle, uint32_t parent, uint64_t bytes, uint64_t now_ns);
  /* Told later than insert: the parent came after its child. */
  void (*link)(struct kvi_policy *policy, uint32_t handle, uint32_t parent);
  /* It was read or found by a lookup. O(1). */
  void (*touch)(struct kvi_policy *policy, uint32_t handle, uint64_t now_ns);
  /* It may not be evicted (a lease) / it may again. Calls nest. */
  void (*hold)(struct kvi_policy *policy, uint32_t handle);
  void (*unhold)(struct kvi_policy *policy, uint32_t handle);
  /* It is gone: evicted or deleted. Its children, if any, become roots. */
  void (*remove)(struct kvi_policy *policy, uint32_t handle);
  /* The chunk to evict next, without removing it: a leaf, not held. KVI_POLICY_NONE when there is none. O(log n). */
  uint32_t (*victim)(struct kvi_policy *policy, uint64_t now_ns);
};

extern const struct kvi_policy_ops kvi_policy_leaf_lru;

/* By name; NULL when there is no such policy. */
const struct kvi_policy_ops *kvi_policy_find(const char *name);

#endif
