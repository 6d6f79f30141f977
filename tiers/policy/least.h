/*
 * tiers/policy/least.h: the least few of those that were looked at, the least first. Orders by prices that change with time cannot be kept, so a victim is the least of a sample, as Redis and LHD take theirs; the few that were
 * the least before are looked at again, beside each new sample.
 */
#ifndef KVASIR_TIERS_POLICY_LEAST_H
#define KVASIR_TIERS_POLICY_LEAST_H

#include <stdint.h>

#define KVI_LEAST_KEPT 6u

/* All 0 to begin with. */
struct kvi_least {
  struct kvi_least_one {
    uint32_t number;
    double rank;  /* the lower, the sooner it goes */
    uint64_t tie; /* decides between equal ones: the lower goes */
  } ones[KVI_LEAST_KEPT];
  uint32_t n;
};

/* Numbers, from one sample to the next. */
struct kvi_least_kept {
  uint32_t numbers[KVI_LEAST_KEPT], n;
};

static inline int kvi_least_before(const struct kvi_least_one *one, const struct kvi_least_one *other)
{
  return one->rank != other->rank ? one->rank < other->rank : one->tie < other->tie;
}

static inline void kvi_least_add(struct kvi_least *least, struct kvi_least_one own)
{
  uint32_t at = least->n;

  for (uint32_t i = 0; i < least->n; i++)
    if (least->ones[i].number == own.number)
      return;
  if (at == KVI_LEAST_KEPT && !kvi_least_before(&own, &least->ones[--at]))
    return;
  for (; at > 0 && kvi_least_before(&own, &least->ones[at - 1]); at--)
    least->ones[at] = least->ones[at - 1];
  least->ones[at] = own;
  least->n += least->n < KVI_LEAST_KEPT;
}

static inline void kvi_least_keep(const struct kvi_least *least, struct kvi_least_kept *kept)
{
  kept->n = least->n;
  for (uint32_t i = 0; i < least->n; i++)
    kept->numbers[i] = least->ones[i].number;
}

#endif
