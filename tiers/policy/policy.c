/*
 * tiers/policy/policy.c: the list of policies (explicit, since constructors in static libraries get lost at link time), and what they have in
 * common.
 */
#include "tiers/policy/policy.h"

#include <string.h>

static const struct kvi_policy_ops *const policies[] = {
    &kvi_policy_index,  &kvi_policy_lru,   &kvi_policy_lfu,       &kvi_policy_gdsf,
    &kvi_policy_s3fifo, &kvi_policy_sieve, &kvi_policy_fixed_ttl, &kvi_policy_continuum};

const struct kvi_policy_ops *kvi_policy_at(size_t number)
{
  return number < sizeof(policies) / sizeof(policies[0]) ? policies[number] : NULL;
}

const struct kvi_policy_ops *kvi_policy_find(const char *name)
{
  if (!name)
    return NULL;
  for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
    if (strcmp(policies[i]->name, name) == 0)
      return policies[i];
  return NULL;
}

bool kvi_policy_admits(enum kvi_policy_admission rule, const struct kvi_policy_candidate *candidate)
{
  switch (rule) {
  case KVI_ADMIT_ALL:
    return true;
  case KVI_ADMIT_REUSED:
    return candidate->uses > 0;
  case KVI_ADMIT_NONE:
    break;
  }
  return false;
}

uint64_t kvi_policy_ttl_ms(uint64_t own_ms, uint64_t longest_ms)
{
  if (own_ms == 0 || longest_ms == 0)
    return own_ms + longest_ms;
  return own_ms < longest_ms ? own_ms : longest_ms;
}
