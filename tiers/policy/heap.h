/*
 * tiers/policy/heap.h: what orders of leaves by a key have in common: a forest (forest.h) whose leaves that may go stand in a binary min-heap, for each group.
 *
 * A key only grows. It is recorded when a leaf is put there, and a use only changes what the policy itself knows; a victim whose recorded key is older than its real one is keyed anew and sinks, until the top is
 * true. That keeps a touch at a store or two, and a chunk that is used often is sifted only when it comes to the top.
 */
#ifndef KVASIR_TIERS_POLICY_HEAP_H
#define KVASIR_TIERS_POLICY_HEAP_H

#include "tiers/policy/forest.h"

/* The number decides, and of equal ones the time: ticks, which fit the order's word. */
struct kvi_heap_key {
  double number; /* not negative */
  uint64_t time;
};

/* What such a policy begins with. */
struct kvi_heap {
  struct kvi_policy forest; /* first */
  struct kvi_heap_key (*key)(const struct kvi_policy *policy, uint32_t chunk);
  double *numbers; /* as recorded; NULL: all are 0 */
};

/* size: as for a forest; numbered: whether keys have numbers, 8 bytes more for each chunk. Errors: as create of the ops. */
kvs_status kvi_heap_create(size_t size, uint32_t capacity, bool numbered,
                           struct kvi_heap_key (*key)(const struct kvi_policy *policy, uint32_t chunk),
                           struct kvi_policy **policy_p);

/* The ops of these names. memory is without what is behind struct kvi_heap. */
void kvi_heap_destroy(struct kvi_policy *policy);
uint64_t kvi_heap_memory(const struct kvi_policy *policy);
uint32_t kvi_heap_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns);
/* rank: the key's number, or else its time. */
void kvi_heap_info(const struct kvi_policy *policy, uint32_t chunk, struct kvi_policy_info *info_p);

#endif
