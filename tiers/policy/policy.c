/* tiers/policy/policy.c: the list of policies. Explicit, since constructors in static libraries get lost at link time. */
#include "tiers/policy/policy.h"

#include <stddef.h>
#include <string.h>

static const struct kvi_policy_ops *const policies[] = {&kvi_policy_leaf_lru};

const struct kvi_policy_ops *kvi_policy_find(const char *name)
{
  if (!name)
    return NULL;
  for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
    if (strcmp(policies[i]->name, name) == 0)
      return policies[i];
  return NULL;
}
