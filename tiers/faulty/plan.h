/*
 * tiers/faulty/plan.h: inside the medium and the tier that make operations fail: the rules in force, and what they have
 * done.
 */
#ifndef KVASIR_TIERS_FAULTY_PLAN_H
#define KVASIR_TIERS_FAULTY_PLAN_H

#include <pthread.h>

#include "tiers/faulty/faulty.h"

struct kvi_faulty_plan {
  pthread_mutex_t lock; /* made and destroyed by the owner, who may guard more with it */
  struct kvi_faulty_rules rules;
  struct kvi_faulty_stats stats; /* held: the owner's */
};

/* Decides and counts. False: nothing happens to this one. */
bool kvi_faulty_plan_decide(struct kvi_faulty_plan *plan, enum kvi_faulty_op op,
                            struct kvi_faulty_fate *fate_p);
/* These rules from now on, and the loud line in the log. text: what they were read from; tier: for the log. */
void kvi_faulty_plan_set(struct kvi_faulty_plan *plan, const struct kvi_faulty_rules *rules, const char *tier,
                         const char *text);
void kvi_faulty_plan_stats(struct kvi_faulty_plan *plan, struct kvi_faulty_stats *stats_p);

/* Changes the byte at `at`. */
void kvi_faulty_byte_flip(const struct kvi_iov *iov, uint32_t n_iov, uint64_t at);

#endif
