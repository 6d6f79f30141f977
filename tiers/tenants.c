/*
 * tiers/tenants.c: what each tenant takes of the tiers, and what goes of a tenant's own when it would take too much (docs/tenants.md).
 *
 * Memory is accounted for by object, from before it is reserved until it is dropped, so that what is being put or fetched counts too; the medium by the copies that entries have. What a tenant may
 * lose stands in two queues of its own, what is in memory and what is only below. Of the next few in turn that may go, the one goes that the policy ranks lowest: a sample of the tenant's, as good as one
 * drawn at random. A chunk that others continue leaves its queue when its turn comes, and is back, in front, when the last of those has gone: so each is looked at a few times in its life,
 * whatever a chain's length, and not each time that room is wanted.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/store_private.h"

#define SAMPLE        16u
#define STEEPNESS     16.0
#define FACTOR_LEAST  1e-20
#define PATIENT_LOOKS KVI_BATCH_LOCKED /* before a chunk goes that is about to be written */

enum own_queue { OWN_NONE = 0, OWN_MEMORY, OWN_BELOW, OWN_QUEUES };

/* An entry's place in a queue. */
struct own {
  uint32_t next, prev;
  uint32_t queue; /* enum own_queue */
};
static_assert(sizeof(struct own) == 12, "for each index entry; docs/tenants.md says so");

/* Of an object of memory. */
struct charge {
  uint32_t units; /* pages */
  uint32_t account;
};

struct queue {
  uint32_t first, last, length;
  uint64_t vain; /* looks since something was found, or something changed that may let others go */
};

struct tenant {
  struct kvi_tenant_info info;
  uint64_t shared[KVI_SHARED_KINDS];
  struct queue queues[OWN_QUEUES];
  _Atomic uint64_t leaving; /* room in memory of objects that were dropped, and that somebody still reads */
};

struct kvi_tenants {
  struct tenant *tenants; /* by number; 0: all that are not configured */
  uint32_t n;
  uint64_t weights;
  uint64_t unit; /* a page of memory */
  bool shrunk;   /* somebody may have more than his bound, which has become smaller */
  struct charge *charges;
  struct own *own;
};

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
  struct tenant *tenant = &store->tenants->tenants[number];

  if (!config->name || config->name[0] == '\0' || strlen(config->name) >= KVI_TENANT_MAX ||
      kvi_store_tenant_find(store, config->name) != 0) {
    kvi_log_error("store: cannot open: a tenant's name is empty, too long, or told twice");
    return KVS_ERR_INVALID;
  }
  memcpy(tenant->info.name, config->name, strlen(config->name) + 1);
  tenant->info.weight = config->weight ? config->weight : 1;
  tenant->info.dram_max = config->dram_bytes;
  tenant->info.medium_max = config->medium_bytes;
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
    for (uint32_t j = 0; j < OWN_QUEUES; j++)
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

static void share_set(struct kvi_store *store, const char *name, uint32_t weight, uint64_t dram_max,
                      uint64_t medium_max)
{
  uint32_t number = kvi_store_tenant_find(store, name);
  struct kvi_tenant_info *info;

  if (number == 0)
    return;
  info = &store->tenants->tenants[number].info;
  pthread_mutex_lock(&store->lock);
  store->tenants->weights -= info->weight;
  store->tenants->weights += weight;
  info->weight = weight;
  info->dram_max = dram_max;
  info->medium_max = medium_max;
  store->tenants->shrunk = true;
  pthread_mutex_unlock(&store->lock);
}

void kvi_store_tenant_set(struct kvi_store *store, const struct kvi_tenant_config *config)
{
  share_set(store, config->name, config->weight ? config->weight : 1, config->dram_bytes,
            config->medium_bytes);
}

void kvi_store_tenant_remove(struct kvi_store *store, const char *name)
{
  share_set(store, name, 0, 1, 1); /* in a byte nothing fits */
}

size_t kvi_store_tenants(struct kvi_store *store, uint32_t first, struct kvi_tenant_info *infos, size_t room)
{
  const struct kvi_tenants *all = store->tenants;
  size_t n = 0;

  if (!all)
    return 0;
  pthread_mutex_lock(&store->lock);
  for (; n < room && first + n < all->n; n++) {
    const struct tenant *tenant = &all->tenants[first + n];

    infos[n] = tenant->info;
    infos[n].dram_bytes += atomic_load_explicit(&tenant->leaving, memory_order_relaxed);
  }
  pthread_mutex_unlock(&store->lock);
  return n;
}

/* ---- the queues of what a tenant may lose ---- */

static struct tenant *tenant_of(const struct kvi_store *store, uint32_t number)
{
  return &store->tenants->tenants[store->spaces[store->entries[number].space].account];
}

static void changed(struct tenant *tenant)
{
  tenant->queues[OWN_MEMORY].vain = tenant->queues[OWN_BELOW].vain = 0;
}

static void queue_remove_locked(struct kvi_store *store, uint32_t number)
{
  struct own *all = store->tenants->own, *own = &all[number];
  struct queue *queue = &tenant_of(store, number)->queues[own->queue];

  if (own->queue == OWN_NONE)
    return;
  if (own->prev != KVI_NONE)
    all[own->prev].next = own->next;
  else
    queue->first = own->next;
  if (own->next != KVI_NONE)
    all[own->next].prev = own->prev;
  else
    queue->last = own->prev;
  queue->length--;
  own->queue = OWN_NONE;
}

static void queue_push_locked(struct kvi_store *store, uint32_t number, enum own_queue which, bool front)
{
  struct own *all = store->tenants->own, *own = &all[number];
  struct queue *queue = &tenant_of(store, number)->queues[which];

  *own = (struct own){
      .next = front ? queue->first : KVI_NONE, .prev = front ? KVI_NONE : queue->last, .queue = which};
  if (own->next != KVI_NONE)
    all[own->next].prev = number;
  else
    queue->last = number;
  if (own->prev != KVI_NONE)
    all[own->prev].next = number;
  else
    queue->first = number;
  queue->length++;
}

static enum own_queue queue_for(const struct kvi_entry *entry)
{
  return entry->state == KVI_ENTRY_RESIDENT ? OWN_MEMORY : OWN_BELOW;
}

void kvi_own_place_locked(struct kvi_store *store, uint32_t number)
{
  if (!store->tenants)
    return;
  queue_remove_locked(store, number);
  queue_push_locked(store, number, queue_for(&store->entries[number]), false);
  changed(tenant_of(store, number));
}

uint32_t kvi_own_remove_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_policy_info info;

  if (!store->tenants)
    return KVI_NONE;
  queue_remove_locked(store, number);
  store->policy_ops->info(store->policy, number, &info);
  return info.parent == KVI_POLICY_NONE ? KVI_NONE : info.parent;
}

void kvi_own_leaf_locked(struct kvi_store *store, uint32_t parent)
{
  struct kvi_policy_info info;

  if (parent == KVI_NONE || !kvi_entry_is_present(&store->entries[parent]))
    return;
  changed(tenant_of(store, parent));
  store->policy_ops->info(store->policy, parent, &info);
  if (info.children == 0 && store->tenants->own[parent].queue == OWN_NONE)
    queue_push_locked(store, parent, queue_for(&store->entries[parent]), true);
}

void kvi_own_unheld_locked(struct kvi_store *store, uint32_t number)
{
  if (store->tenants && kvi_entry_is_present(&store->entries[number]))
    changed(tenant_of(store, number));
}

/* ---- making room among a tenant's own ---- */

enum look { LOOK_GOES, LOOK_BACK, LOOK_OUT };

/* In memory: what has a copy below may leave it, if no lease holds better bytes than those; else it has to be a leaf that nobody holds. */
static enum look memory_look(const struct kvi_store *store, uint32_t number,
                             const struct kvi_policy_info *info, bool patient)
{
  const struct kvi_entry *entry = &store->entries[number];
  bool below = kvi_below_has(store, number);

  if (below && (entry->medium_loss <= entry->loss || info->holds == 0))
    return LOOK_GOES;
  if (info->children > 0)
    return below ? LOOK_BACK : LOOK_OUT;
  if (info->holds > 0 || (patient && (entry->queued || entry->writing || entry->coding)))
    return LOOK_BACK;
  return LOOK_GOES;
}

static enum look below_look(const struct kvi_store *store, uint32_t number,
                            const struct kvi_policy_info *info)
{
  if (info->children > 0)
    return LOOK_OUT;
  return info->holds > 0 || store->entries[number].state != KVI_ENTRY_BELOW ? LOOK_BACK : LOOK_GOES;
}

/* It may, as it was looked at just now. rule: KVI_EVICT_QUOTA for others of the same tenant. */
static void leave_locked(struct kvi_store *store, struct tenant *tenant, enum own_queue which,
                         enum kvi_evict_rule rule, uint32_t number)
{
  if (which == OWN_MEMORY && kvi_below_has(store, number)) {
    tenant->info.own_demotions += rule == KVI_EVICT_QUOTA;
    kvi_demote_locked(store, number, KVI_DEMOTE_ROOM);
  } else {
    tenant->info.own_evictions += rule == KVI_EVICT_QUOTA;
    kvi_store_evict_one_locked(store, number, rule);
  }
  changed(tenant);
}

/* All have been looked at, and nothing has changed since. */
static bool is_vain(const struct queue *queue)
{
  return queue->vain >= queue->length + PATIENT_LOOKS || queue->length == 0;
}

static bool nothing_may_go(const struct tenant *tenant)
{
  return is_vain(&tenant->queues[OWN_BELOW]) && is_vain(&tenant->queues[OWN_MEMORY]);
}

/* Of the next SAMPLE that may, the one leaves that the policy would let go first. At most so many looks, which are counted down. False: none may. */
static bool own_one_locked(struct kvi_store *store, struct tenant *tenant, enum own_queue which,
                           enum kvi_evict_rule rule, uint32_t *looks)
{
  struct queue *queue = &tenant->queues[which];
  uint32_t best = KVI_NONE, n = 0;
  uint64_t best_rank = 0;

  for (uint32_t left = queue->length; left > 0 && *looks > 0 && n < SAMPLE && !is_vain(queue); left--) {
    uint32_t number = queue->first;
    struct kvi_policy_info info;
    enum look look;

    (*looks)--;
    store->policy_ops->info(store->policy, number, &info);
    look = which == OWN_MEMORY ? memory_look(store, number, &info, queue->vain < PATIENT_LOOKS)
                               : below_look(store, number, &info);
    queue_remove_locked(store, number);
    if (look != LOOK_OUT)
      queue_push_locked(store, number, which, false);
    if (look == LOOK_GOES && (n++ == 0 || info.rank < best_rank)) {
      best = number;
      best_rank = info.rank;
    }
    queue->vain += n == 0 && look == LOOK_BACK; /* what is out does not have a turn again */
  }
  if (best == KVI_NONE)
    return false;
  leave_locked(store, tenant, which, rule, best);
  return true;
}

static bool is_over(const struct tenant *tenant, enum own_queue which)
{
  const struct kvi_tenant_info *info = &tenant->info;

  return which == OWN_MEMORY ? info->dram_max > 0 && info->dram_bytes > info->dram_max
                             : info->medium_max > 0 && info->medium_bytes > info->medium_max;
}

static uint64_t bytes_of(const struct tenant *tenant, enum own_queue which)
{
  return which == OWN_MEMORY ? tenant->info.dram_bytes : tenant->info.medium_bytes;
}

uint64_t kvi_over_make_room_locked(struct kvi_store *store, enum kvi_policy_group group, uint64_t bytes,
                                   bool *more_p)
{
  enum own_queue which = group == KVI_POLICY_MEMORY ? OWN_MEMORY : OWN_BELOW;
  struct kvi_tenants *all = store->tenants;
  uint32_t looks = KVI_BATCH_LOCKED;
  uint64_t freed = 0;
  bool over = false;

  *more_p = false;
  if (!all || !all->shrunk)
    return 0;
  for (uint32_t i = 0; i < all->n; i++) {
    struct tenant *tenant = &all->tenants[i];

    while (freed < bytes && looks > 0 && is_over(tenant, which) && !is_vain(&tenant->queues[which])) {
      uint64_t had = bytes_of(tenant, which);

      if (own_one_locked(store, tenant, which, KVI_EVICT_ROOM, &looks))
        freed += had - bytes_of(tenant, which);
    }
    over = over || is_over(tenant, OWN_MEMORY) || is_over(tenant, OWN_BELOW);
  }
  all->shrunk = over;
  *more_p = looks == 0 && freed == 0;
  return freed;
}

/* ---- index entries ---- */

/* An entry of this tenant's is free. KVS_ERR_QUOTA: none may go; KVS_ERR_BUSY: not all have been looked at. */
static kvs_status entry_drop_locked(struct kvi_store *store, struct tenant *tenant, enum kvi_evict_rule rule)
{
  uint32_t looks = KVI_BATCH_LOCKED;
  uint64_t entries = tenant->info.entries;

  while (looks > 0) { /* what leaves memory for below keeps its entry */
    if (!own_one_locked(store, tenant, OWN_BELOW, rule, &looks) &&
        !own_one_locked(store, tenant, OWN_MEMORY, rule, &looks) && nothing_may_go(tenant))
      return KVS_ERR_QUOTA;
    if (tenant->info.entries < entries)
      return KVS_OK;
  }
  return KVS_ERR_BUSY;
}

/* Who has most for its weight, of those that have more than their share, and of whom something may go; NULL. If somebody has less than his share and all entries are taken, there is one that has more. */
static struct tenant *furthest_over_locked(const struct kvi_store *store)
{
  const struct kvi_tenants *all = store->tenants;
  struct tenant *most = NULL;

  for (uint32_t i = 0; i < all->n; i++) {
    struct tenant *tenant = &all->tenants[i];

    if (tenant->info.entries * all->weights <= (uint64_t)store->config.max_chunks * tenant->info.weight ||
        nothing_may_go(tenant))
      continue;
    if (!most || tenant->info.entries * most->info.weight > most->info.entries * tenant->info.weight)
      most = tenant;
  }
  return most;
}

kvs_status kvi_entry_room_locked(struct kvi_store *store, uint32_t account)
{
  struct tenant *tenant, *most;
  kvs_status status;

  if (!store->tenants)
    return kvi_store_drop_one_locked(store) ? KVS_OK : KVS_ERR_FULL;
  tenant = &store->tenants->tenants[account];
  if (tenant->info.entries * store->tenants->weights >=
      (uint64_t)store->config.max_chunks * tenant->info.weight)
    return entry_drop_locked(store, tenant, KVI_EVICT_QUOTA);
  most = furthest_over_locked(store);
  if (most) {
    status = entry_drop_locked(store, most, KVI_EVICT_INDEX);
    return status == KVS_ERR_QUOTA ? KVS_ERR_BUSY : status; /* the next of them, then */
  }
  /* Others' leases hold what they have too much. */
  status = entry_drop_locked(store, tenant, KVI_EVICT_QUOTA);
  return status == KVS_ERR_QUOTA ? KVS_ERR_FULL : status;
}

/* ---- memory ---- */

/* As much as an object of this payload may take: its head lies in front of it, in a page at most. */
static uint64_t room_most(const struct kvi_tenants *all, uint64_t length)
{
  return (length + all->unit - 1) / all->unit * all->unit + all->unit;
}

/* What is read comes back when its readers close it, and not by making others go. */
static bool readers_hold_all(struct tenant *tenant, uint64_t need)
{
  return atomic_load_explicit(&tenant->leaving, memory_order_relaxed) + need > tenant->info.dram_max;
}

static bool take_locked(struct tenant *tenant, bool bounded, uint64_t need)
{
  uint64_t leaving = atomic_load_explicit(&tenant->leaving, memory_order_relaxed);

  if (bounded && tenant->info.dram_max > 0 &&
      tenant->info.dram_bytes + leaving + need > tenant->info.dram_max)
    return false;
  tenant->info.dram_bytes += need;
  return true;
}

/* One hold of the lock. KVS_PENDING: something was done, or there is more to look at. */
static kvs_status take_step(struct kvi_store *store, struct tenant *tenant, bool bounded, uint64_t need,
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
    if (!own_one_locked(store, tenant, OWN_MEMORY, KVI_EVICT_QUOTA, &looks)) {
      if (is_vain(&tenant->queues[OWN_MEMORY]))
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
  struct tenant *tenant;
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

/*
 * A tenant's share of memory is by its weight; what others leave of theirs it may have too, at a price that falls steeply: whatever it says of its chunks, by which their prices differ by some ten thousand at most, it has
 * about twice its share while others want theirs.
 */
void kvi_account_share_told_locked(struct kvi_store *store, uint32_t account)
{
  const struct kvi_tenants *all = store->tenants;
  const struct tenant *tenant;
  double share, has;

  if (!all || !store->policy_ops->share)
    return;
  tenant = &all->tenants[account];
  share = (double)store->dram_attr.capacity_bytes * tenant->info.weight / (double)all->weights;
  has = (double)tenant->info.dram_bytes;
  store->policy_ops->share(store->policy, account,
                           has > share ? fmax(pow(share / has, STEEPNESS), FACTOR_LEAST) : 1);
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
    all->charges[object] = (struct charge){.units = (uint32_t)(room / all->unit), .account = account};
  pthread_mutex_unlock(&store->lock);
}

void kvi_account_cut_locked(struct kvi_store *store, kvi_tier_object object)
{
  struct kvi_tenants *all = store->tenants;
  struct charge *charge;
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
  const struct charge *charge = &all->charges[object];
  struct tenant *tenant = &all->tenants[charge->account];

  tenant->info.dram_bytes -= charge->units * all->unit;
  atomic_fetch_add_explicit(&tenant->leaving, charge->units * all->unit, memory_order_relaxed);
}

void kvi_account_freed(void *ctx, kvi_tier_object object)
{
  const struct kvi_store *store = ctx;
  struct kvi_tenants *all = store->tenants;
  struct charge *charge = &all->charges[object];

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
    tenant_of(store, number)->info.medium_bytes += (uint64_t)bytes;
}

/* One hold of the lock. Whether to come again. */
static bool copy_room_step(struct kvi_store *store, struct tenant *tenant, uint64_t length, uint32_t *left)
{
  const struct queue *queue = &tenant->queues[OWN_BELOW];
  uint32_t looks = KVI_BATCH_LOCKED;
  bool more;

  pthread_mutex_lock(&store->lock);
  while (looks > 0 && tenant->info.medium_bytes + length > tenant->info.medium_max && !is_vain(queue))
    if (own_one_locked(store, tenant, OWN_BELOW, KVI_EVICT_QUOTA, &looks))
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
  struct tenant *tenant;

  if (!store->tenants || !store->below || store->config.write != KVI_ADMIT_ALL)
    return;
  pthread_mutex_lock(&store->lock);
  tenant = tenant_of(store, number);
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
  struct tenant *tenant;

  if (!store->tenants)
    return true;
  tenant = tenant_of(store, number);
  if (tenant->info.medium_max == 0 ||
      tenant->info.medium_bytes + store->entries[number].length <= tenant->info.medium_max ||
      (!is_vain(&tenant->queues[OWN_BELOW]) && store->entries[number].length <= tenant->info.medium_max))
    return true;
  tenant->info.writes_refused++;
  return false;
}

bool kvi_account_copied_locked(struct kvi_store *store, uint32_t number)
{
  uint32_t looks = KVI_BATCH_LOCKED;
  struct tenant *tenant;

  if (!store->tenants)
    return true;
  tenant = tenant_of(store, number);
  if (store->tenants->own[number].queue == OWN_NONE) /* it may leave memory now, whatever continues it */
    queue_push_locked(store, number, OWN_MEMORY, false);
  changed(tenant);
  while (tenant->info.medium_max > 0 && tenant->info.medium_bytes > tenant->info.medium_max) {
    if (!own_one_locked(store, tenant, OWN_BELOW, KVI_EVICT_QUOTA, &looks)) {
      tenant->info.writes_refused++;
      return false;
    }
  }
  return true;
}

/* ---- what is shared by number ---- */

void kvi_account_chunks_locked(struct kvi_store *store, uint32_t number, int change)
{
  if (store->tenants)
    tenant_of(store, number)->info.chunks += (uint64_t)(int64_t)change;
}

void kvi_account_entry_locked(struct kvi_store *store, uint32_t number, int change)
{
  if (store->tenants)
    tenant_of(store, number)->info.entries += (uint64_t)(int64_t)change;
}

bool kvi_account_share_locked(struct kvi_store *store, uint32_t account, enum kvi_shared_kind kind,
                              int64_t change)
{
  const uint64_t all[KVI_SHARED_KINDS] = {store->config.max_spaces, store->config.max_landings,
                                          store->config.max_leases, store->lease_references_max};
  struct tenant *tenant;

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
