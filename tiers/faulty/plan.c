/* tiers/faulty/plan.c: see plan.h. */
#include "tiers/faulty/plan.h"

#include "base/log.h"

bool kvi_faulty_plan_decide(struct kvi_faulty_plan *plan, enum kvi_faulty_op op,
                            struct kvi_faulty_fate *fate_p)
{
  bool any;

  pthread_mutex_lock(&plan->lock);
  any = kvi_faulty_rules_decide(&plan->rules, op, fate_p);
  plan->stats.done[KVI_FAULTY_DELAY] += fate_p->delay_ms > 0;
  plan->stats.done[KVI_FAULTY_ERROR] += fate_p->status != KVS_OK;
  plan->stats.done[KVI_FAULTY_CORRUPT] += fate_p->corrupt;
  pthread_mutex_unlock(&plan->lock);
  return any;
}

void kvi_faulty_plan_set(struct kvi_faulty_plan *plan, const struct kvi_faulty_rules *rules, const char *tier,
                         const char *text)
{
  pthread_mutex_lock(&plan->lock);
  plan->rules = *rules;
  plan->stats.rules = rules->n;
  plan->stats.changes++;
  pthread_mutex_unlock(&plan->lock);
  kvi_log_warn("TEST FAULTS: operations of the tier %s are made to fail on purpose: %s", tier,
               rules->n > 0 ? text : "off for now");
}

void kvi_faulty_plan_stats(struct kvi_faulty_plan *plan, struct kvi_faulty_stats *stats_p)
{
  pthread_mutex_lock(&plan->lock);
  *stats_p = plan->stats;
  pthread_mutex_unlock(&plan->lock);
}

void kvi_faulty_byte_flip(const struct kvi_iov *iov, uint32_t n_iov, uint64_t at)
{
  for (uint32_t i = 0; i < n_iov; i++) {
    if (at < iov[i].length) {
      ((uint8_t *)iov[i].base)[at] ^= 0x10;
      return;
    }
    at -= iov[i].length;
  }
}
