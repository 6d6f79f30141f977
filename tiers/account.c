/*
 * tiers/account.c: what each tenant takes of the tiers, in bytes (docs/tenants.md). Memory is accounted for by object, from before it is reserved until it is dropped, so that what is being put or
 * fetched counts too; the medium by the copies that entries have.
 */
#include "tiers/store_private.h"
#include "tiers/tenants_private.h"

/* ---- memory ---- */

/* As much as an object of this payload may take: its head lies in front of it, in a page at most. */
static uint64_t room_most(const struct kvi_tenants *all, uint64_t length)
{
  return (length + all->unit - 1) / all->unit * all->unit + all->unit;
}

/* What is read comes back when its readers close it, and not by making others go. */
static bool readers_hold_all(struct kvi_tenant *tenant, uint64_t need)
{
  return atomic_load_explicit(&tenant->leaving, memory_order_relaxed) + need > tenant->info.dram_max;
}

static bool has_room(const struct kvi_tenant *tenant, uint64_t need)
{
  uint64_t leaving = atomic_load_explicit(&tenant->leaving, memory_order_relaxed);

  return tenant->info.dram_max == 0 || tenant->info.dram_bytes + leaving + need <= tenant->info.dram_max;
}

static bool take_locked(struct kvi_tenant *tenant, bool bounded, uint64_t need)
{
  if (bounded && !has_room(tenant, need))
    return false;
  tenant->info.dram_bytes += need;
  return true;
}

/* One hold of the lock. KVS_PENDING: something was done, or there is more to look at. */
static kvs_status take_step(struct kvi_store *store, struct kvi_tenant *tenant, bool bounded, uint64_t need,
                            uint32_t *left)
{
  uint32_t looks = KVI_BATCH_LOCKED;
  kvs_status status = KVS_PENDING;

  pthread_mutex_lock(&store->lock);
  if (bounded && tenant->info.dram_max > 0 && need > tenant->info.dram_max) {
    status = KVS_ERR_QUOTA; /* nothing has to go for what never fits */
    goto out;
  }
  while (looks > 0 && !take_locked(tenant, bounded, need)) {
    if (readers_hold_all(tenant, need)) {
      status = KVS_ERR_BUSY;
      goto out;
    }
    if (!kvi_own_one_locked(store, tenant, KVI_OWN_MEMORY, KVI_EVICT_QUOTA, &looks)) {
      if (kvi_own_is_vain(&tenant->queues[KVI_OWN_MEMORY]))
        status = KVS_ERR_QUOTA;
      goto out;
    }
    *left = KVI_OWN_LOOKS_MAX; /* it goes on as long as it gains something */
  }
  if (looks > 0)
    status = KVS_OK;
out:
  *left -= *left < KVI_BATCH_LOCKED ? *left : KVI_BATCH_LOCKED - looks;
  pthread_mutex_unlock(&store->lock);
  return status;
}

void kvi_account_refused_locked(struct kvi_store *store, uint32_t account)
{
  if (store->tenants)
    store->tenants->tenants[account].info.puts_refused++;
}

kvs_status kvi_account_take(struct kvi_store *store, uint32_t account, bool bounded, uint64_t length,
                            uint64_t *taken_p)
{
  uint32_t left = KVI_OWN_LOOKS_MAX;
  bool expired = false;
  struct kvi_tenant *tenant;
  kvs_status status;

  *taken_p = 0;
  if (!store->tenants)
    return KVS_OK;
  tenant = &store->tenants->tenants[account];
  *taken_p = room_most(store->tenants, length);
  do {
    status = take_step(store, tenant, bounded, *taken_p, &left);
    if (status == KVS_ERR_QUOTA && !expired) { /* leases that have run out may be all that is in the way */
      kvi_store_expire(store);
      expired = true;
      status = KVS_PENDING;
    }
  } while (status == KVS_PENDING && left > 0);
  return status == KVS_PENDING ? KVS_ERR_BUSY : status;
}

bool kvi_account_may_locked(const struct kvi_store *store, uint32_t account, uint64_t length)
{
  return !store->tenants || has_room(&store->tenants->tenants[account], room_most(store->tenants, length));
}

bool kvi_account_try_locked(struct kvi_store *store, uint32_t account, uint64_t length, uint64_t *taken_p)
{
  *taken_p = store->tenants ? room_most(store->tenants, length) : 0;
  return !store->tenants || take_locked(&store->tenants->tenants[account], true, *taken_p);
}

void kvi_account_give_locked(struct kvi_store *store, uint32_t account, uint64_t taken)
{
  if (store->tenants)
    store->tenants->tenants[account].info.dram_bytes -= taken;
}

void kvi_account_settle(struct kvi_store *store, uint32_t account, uint64_t taken, bool has_object,
                        kvi_tier_object object)
{
  struct kvi_tenants *all = store->tenants;
  uint64_t room;

  if (!all)
    return;
  room = has_object ? store->dram->ops->room(store->dram, object) : 0;
  pthread_mutex_lock(&store->lock);
  assert(room <= taken);
  all->tenants[account].info.dram_bytes -= taken - room;
  if (has_object)
    all->charges[object] = (struct kvi_charge){.units = (uint32_t)(room / all->unit), .account = account};
  pthread_mutex_unlock(&store->lock);
}

void kvi_account_cut_locked(struct kvi_store *store, kvi_tier_object object)
{
  struct kvi_tenants *all = store->tenants;
  struct kvi_charge *charge;
  uint64_t room;

  if (!all)
    return;
  charge = &all->charges[object];
  room = store->dram->ops->room(store->dram, object);
  all->tenants[charge->account].info.dram_bytes -= charge->units * all->unit - room;
  charge->units = (uint32_t)(room / all->unit);
}

/* Before it is dropped: another may have its number the moment that it is. Until its last reader closes it, it stays its tenant's. */
static void charge_leave_locked(struct kvi_store *store, kvi_tier_object object)
{
  struct kvi_tenants *all = store->tenants;
  const struct kvi_charge *charge = &all->charges[object];
  struct kvi_tenant *tenant = &all->tenants[charge->account];

  tenant->info.dram_bytes -= charge->units * all->unit;
  atomic_fetch_add_explicit(&tenant->leaving, charge->units * all->unit, memory_order_relaxed);
}

void kvi_account_freed(void *ctx, kvi_tier_object object)
{
  const struct kvi_store *store = ctx;
  struct kvi_tenants *all = store->tenants;
  struct kvi_charge *charge = &all->charges[object];

  atomic_fetch_sub_explicit(&all->tenants[charge->account].leaving, charge->units * all->unit,
                            memory_order_relaxed);
  charge->units = 0;
}

void kvi_object_drop_locked(struct kvi_store *store, kvi_tier_object object)
{
  if (store->tenants)
    charge_leave_locked(store, object);
  store->dram->ops->drop(store->dram, object);
}

void kvi_object_drop(struct kvi_store *store, kvi_tier_object object)
{
  if (store->tenants) {
    pthread_mutex_lock(&store->lock);
    charge_leave_locked(store, object);
    pthread_mutex_unlock(&store->lock);
  }
  store->dram->ops->drop(store->dram, object);
}

/* ---- the medium ---- */

void kvi_account_copy_locked(struct kvi_store *store, uint32_t number, int64_t bytes)
{
  if (store->tenants)
    kvi_tenant_of(store, number)->info.medium_bytes += (uint64_t)bytes;
}

/* One hold of the lock. Whether to come again. */
static bool copy_room_step(struct kvi_store *store, struct kvi_tenant *tenant, uint64_t length,
                           uint32_t *left)
{
  const struct kvi_own_queue *queue = &tenant->queues[KVI_OWN_BELOW];
  uint32_t looks = KVI_BATCH_LOCKED;
  bool more;

  pthread_mutex_lock(&store->lock);
  while (looks > 0 && tenant->info.medium_bytes + length > tenant->info.medium_max && !kvi_own_is_vain(queue))
    if (kvi_own_one_locked(store, tenant, KVI_OWN_BELOW, KVI_EVICT_QUOTA, &looks))
      *left = KVI_OWN_LOOKS_MAX;
  *left -= *left < KVI_BATCH_LOCKED ? *left : KVI_BATCH_LOCKED - looks;
  more = looks == 0 && *left > 0 && tenant->info.medium_bytes + length > tenant->info.medium_max;
  pthread_mutex_unlock(&store->lock);
  return more;
}

void kvi_account_copy_room(struct kvi_store *store, uint32_t number)
{
  uint32_t left = KVI_OWN_LOOKS_MAX;
  uint64_t bound, length;
  struct kvi_tenant *tenant;

  if (!store->tenants || !store->below || store->config.write != KVI_ADMIT_ALL)
    return;
  pthread_mutex_lock(&store->lock);
  tenant = kvi_tenant_of(store, number);
  bound = tenant->info.medium_max;
  length = store->entries[number].length;
  pthread_mutex_unlock(&store->lock);
  if (bound == 0 || length > bound)
    return;
  while (copy_room_step(store, tenant, length, &left))
    ;
}

bool kvi_account_may_write_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_tenant *tenant;

  if (!store->tenants)
    return true;
  tenant = kvi_tenant_of(store, number);
  if (tenant->info.medium_max == 0 ||
      tenant->info.medium_bytes + store->entries[number].length <= tenant->info.medium_max ||
      (!kvi_own_is_vain(&tenant->queues[KVI_OWN_BELOW]) &&
       store->entries[number].length <= tenant->info.medium_max))
    return true;
  tenant->info.writes_refused++;
  return false;
}

bool kvi_account_copied_locked(struct kvi_store *store, uint32_t number)
{
  uint32_t looks = KVI_BATCH_LOCKED;
  struct kvi_tenant *tenant;

  if (!store->tenants)
    return true;
  tenant = kvi_tenant_of(store, number);
  if (store->tenants->own[number].queue == KVI_OWN_NONE) /* it may leave memory now, whatever continues it */
    kvi_own_push_locked(store, number, KVI_OWN_MEMORY, false);
  kvi_own_changed(tenant);
  while (tenant->info.medium_max > 0 && tenant->info.medium_bytes > tenant->info.medium_max) {
    if (!kvi_own_one_locked(store, tenant, KVI_OWN_BELOW, KVI_EVICT_QUOTA, &looks)) {
      tenant->info.writes_refused++;
      return false;
    }
  }
  return true;
}
