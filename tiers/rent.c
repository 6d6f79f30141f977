/*
 * tiers/rent.c: what a tenant's room in memory costs the others. A byte that it has for a second could have saved somebody else what it is worth (docs/policy.md), whatever shares and priorities make of its price: so its rent is its room times that, over time, and nothing
 * while there is room for all.
 */
#include "tiers/store_private.h"
#include "tiers/tenants_private.h"

static void charge(struct kvi_tenant *tenant, double ns_a_byte)
{
  tenant->rent_ns += (double)tenant->info.dram_bytes * ns_a_byte;
  tenant->info.rent_ns = (uint64_t)tenant->rent_ns;
}

void kvi_store_rent(struct kvi_store *store)
{
  const struct kvi_policy_ops *ops = store->policy_ops;
  struct kvi_tenants *all = store->tenants;
  uint64_t now = kvi_policy_now(store);
  double worth;

  if (!all || !ops->tier_worth)
    return;
  pthread_mutex_lock(&store->lock);
  worth = ops->tier_worth(store->policy, KVI_POLICY_MEMORY, now);
  if (all->rent_till_ns > 0 && now > all->rent_till_ns && worth > 0)
    for (uint32_t i = 0; i < all->n; i++)
      charge(&all->tenants[i], worth * (double)(now - all->rent_till_ns));
  all->rent_till_ns = now;
  pthread_mutex_unlock(&store->lock);
}
