/*
 * tiers/tenants.c: the tenants of a store: who there is, their weights and bounds, their shares of what is counted by number, and of memory in prices (docs/tenants.md).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/store_private.h"
#include "tiers/tenants_private.h"

#define STEEPNESS    16.0
#define FACTOR_LEAST 1e-20
#define SHORT        0.9 /* of its share: with less it is not declined for others */

struct kvi_tenant *kvi_tenant_of(const struct kvi_store *store, uint32_t number)
{
  return &store->tenants->tenants[store->spaces[store->entries[number].space].account];
}

/* ---- life ---- */

uint64_t kvi_tenants_memory(const struct kvi_store *store)
{
  const struct kvi_tenants *all = store->tenants;

  return all ? sizeof(*all) + all->n * sizeof(*all->tenants) +
                   (uint64_t)store->dram_attr.objects_max * sizeof(*all->charges) +
                   (uint64_t)store->config.max_chunks * sizeof(*all->own)
             : 0;
}

uint32_t kvi_store_tenant_find(const struct kvi_store *store, const char *name)
{
  const struct kvi_tenants *all = store->tenants;

  for (uint32_t i = 1; all && i < all->n; i++)
    if (strcmp(all->tenants[i].info.name, name) == 0)
      return i;
  return 0;
}

static kvs_status tenant_fill(struct kvi_store *store, uint32_t number,
                              const struct kvi_tenant_config *config)
{
  struct kvi_tenant *tenant = &store->tenants->tenants[number];

  if (!config->name || config->name[0] == '\0' || strlen(config->name) >= KVI_TENANT_MAX ||
      kvi_store_tenant_find(store, config->name) != 0) {
    kvi_log_error("store: cannot open: a tenant's name is empty, too long, or told twice");
    return KVS_ERR_INVALID;
  }
  memcpy(tenant->info.name, config->name, strlen(config->name) + 1);
  tenant->info.weight = config->weight ? config->weight : 1;
  tenant->info.dram_max = config->dram_bytes;
  tenant->info.medium_max = config->medium_bytes;
  tenant->info.shared_max = config->shared_bytes;
  store->tenants->weights += tenant->info.weight;
  return KVS_OK;
}

kvs_status kvi_tenants_create(struct kvi_store *store)
{
  const struct kvi_store_config *config = &store->config;
  struct kvi_tenants *all = calloc(1, sizeof(*all));
  kvs_status status = KVS_OK;

  if (!all)
    return KVS_ERR_NOMEM;
  store->tenants = all;
  if (config->n_tenants > KVI_TENANTS_MAX || store->dram_attr.objects_max == 0)
    return KVS_ERR_INVALID;
  all->unit = store->dram_attr.capacity_bytes / store->dram_attr.objects_max;
  all->n = config->n_tenants + 1;
  all->tenants = calloc(all->n, sizeof(*all->tenants));
  all->charges = calloc(store->dram_attr.objects_max, sizeof(*all->charges));
  all->own = calloc(config->max_chunks, sizeof(*all->own));
  if (!all->tenants || !all->charges || !all->own)
    return KVS_ERR_NOMEM;
  all->tenants[0].info.weight = 1;
  all->weights = 1;
  for (uint32_t i = 0; i < all->n; i++)
    for (uint32_t j = 0; j < KVI_OWN_KINDS; j++)
      all->tenants[i].queues[j].first = all->tenants[i].queues[j].last = KVI_NONE;
  for (uint32_t i = 0; i < config->n_tenants && status == KVS_OK; i++)
    status = tenant_fill(store, i + 1, &config->tenants[i]);
  return status;
}

void kvi_tenants_destroy(struct kvi_store *store)
{
  struct kvi_tenants *all = store->tenants;

  if (!all)
    return;
  free(all->own);
  free(all->charges);
  free(all->tenants);
  free(all);
}

static void share_set(struct kvi_store *store, const struct kvi_tenant_config *config, uint32_t weight)
{
  uint32_t number = kvi_store_tenant_find(store, config->name);
  struct kvi_tenant_info *info;

  if (number == 0)
    return;
  info = &store->tenants->tenants[number].info;
  pthread_mutex_lock(&store->lock);
  store->tenants->weights -= info->weight;
  store->tenants->weights += weight;
  info->weight = weight;
  info->dram_max = config->dram_bytes;
  info->medium_max = config->medium_bytes;
  info->shared_max = config->shared_bytes;
  store->tenants->shrunk = true;
  pthread_mutex_unlock(&store->lock);
}

void kvi_store_tenant_set(struct kvi_store *store, const struct kvi_tenant_config *config)
{
  share_set(store, config, config->weight ? config->weight : 1);
}

void kvi_store_tenant_remove(struct kvi_store *store, const char *name)
{
  const struct kvi_tenant_config nothing = {
      .name = name, .dram_bytes = 1, .medium_bytes = 1, .shared_bytes = 1}; /* in a byte nothing fits */

  share_set(store, &nothing, 0);
}

size_t kvi_store_tenants(struct kvi_store *store, uint32_t first, struct kvi_tenant_info *infos, size_t room)
{
  const struct kvi_tenants *all = store->tenants;
  size_t n = 0;

  if (!all)
    return 0;
  pthread_mutex_lock(&store->lock);
  for (; n < room && first + n < all->n; n++) {
    struct kvi_tenant *tenant = &all->tenants[first + n];

    kvi_shared_quota_pass_locked(store, tenant);
    infos[n] = tenant->info;
    infos[n].dram_bytes += atomic_load_explicit(&tenant->leaving, memory_order_relaxed);
  }
  pthread_mutex_unlock(&store->lock);
  return n;
}

/* ---- shares ---- */

/*
 * A tenant's share of memory is by its weight; what others leave of theirs it may have too, at a price that falls steeply: whatever it says of its chunks, by which their prices differ by some ten thousand at most, it has
 * about twice its share while others want theirs.
 */
static double share_of(const struct kvi_store *store, const struct kvi_tenant *tenant)
{
  return (double)store->dram_attr.capacity_bytes * tenant->info.weight / (double)store->tenants->weights;
}

void kvi_account_share_told_locked(struct kvi_store *store, uint32_t account)
{
  const struct kvi_tenants *all = store->tenants;
  const struct kvi_tenant *tenant;
  double share, has;

  if (!all || !store->policy_ops->share)
    return;
  tenant = &all->tenants[account];
  share = share_of(store, tenant);
  has = (double)tenant->info.dram_bytes;
  store->policy_ops->share(store->policy, account,
                           has > share ? fmax(pow(share / has, STEEPNESS), FACTOR_LEAST) : 1);
}

bool kvi_account_is_short_locked(const struct kvi_store *store, uint32_t account)
{
  const struct kvi_tenant *tenant;

  if (!store->tenants)
    return false;
  tenant = &store->tenants->tenants[account];
  return (double)tenant->info.dram_bytes < SHORT * share_of(store, tenant);
}

void kvi_account_chunks_locked(struct kvi_store *store, uint32_t number, int change)
{
  if (store->tenants)
    kvi_tenant_of(store, number)->info.chunks += (uint64_t)(int64_t)change;
}

void kvi_account_entry_locked(struct kvi_store *store, uint32_t number, int change)
{
  if (store->tenants)
    kvi_tenant_of(store, number)->info.entries += (uint64_t)(int64_t)change;
}

bool kvi_account_share_locked(struct kvi_store *store, uint32_t account, enum kvi_shared_kind kind,
                              int64_t change)
{
  const uint64_t all[KVI_SHARED_KINDS] = {store->config.max_spaces, store->config.max_landings,
                                          store->config.max_leases, store->lease_references_max};
  struct kvi_tenant *tenant;

  if (!store->tenants)
    return true;
  tenant = &store->tenants->tenants[account];
  if (change >= 0 && store->tenants->n > 2 &&
      tenant->shared[kind] + (change ? (uint64_t)change : 1) > all[kind] - all[kind] / 2)
    return false;
  tenant->shared[kind] += (uint64_t)change;
  tenant->info.spaces = tenant->shared[KVI_SHARED_SPACES];
  return true;
}
