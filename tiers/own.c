/*
 * tiers/own.c: what goes of a tenant's own when it would take too much (docs/tenants.md).
 *
 * What a tenant may lose stands in two queues of its own, what is in memory and what is only below. Of the next few in turn that may go, the one goes that the policy ranks lowest: a sample of the
 * tenant's, as good as one drawn at random. Which of those that have a copy below leaves memory the policy says, if it has prices for that (`own_demotion`). A chunk that others continue leaves its queue when its turn comes, and is back, in front, when the last of those has gone: so each is looked at a few times
 * in its life, whatever a chain's length, and not each time that room is wanted.
 */
#include "tiers/store_private.h"
#include "tiers/tenants_private.h"

#define SAMPLE        16u
#define PATIENT_LOOKS KVI_BATCH_LOCKED /* before a chunk goes that is about to be written */

/* ---- the queues of what a tenant may lose ---- */

void kvi_own_changed(struct kvi_tenant *tenant)
{
  tenant->queues[KVI_OWN_MEMORY].vain = tenant->queues[KVI_OWN_BELOW].vain = 0;
}

static void queue_remove_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_own *all = store->tenants->own, *own = &all[number];
  struct kvi_own_queue *queue = &kvi_tenant_of(store, number)->queues[own->queue];

  if (own->queue == KVI_OWN_NONE)
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
  own->queue = KVI_OWN_NONE;
}

void kvi_own_push_locked(struct kvi_store *store, uint32_t number, enum kvi_own_kind which, bool front)
{
  struct kvi_own *all = store->tenants->own, *own = &all[number];
  struct kvi_own_queue *queue = &kvi_tenant_of(store, number)->queues[which];

  *own = (struct kvi_own){
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

static enum kvi_own_kind queue_for(const struct kvi_entry *entry)
{
  return entry->state == KVI_ENTRY_RESIDENT ? KVI_OWN_MEMORY : KVI_OWN_BELOW;
}

void kvi_own_place_locked(struct kvi_store *store, uint32_t number)
{
  if (!store->tenants)
    return;
  queue_remove_locked(store, number);
  kvi_own_push_locked(store, number, queue_for(&store->entries[number]), false);
  kvi_own_changed(kvi_tenant_of(store, number));
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
  kvi_own_changed(kvi_tenant_of(store, parent));
  store->policy_ops->info(store->policy, parent, &info);
  if (info.children == 0 && store->tenants->own[parent].queue == KVI_OWN_NONE)
    kvi_own_push_locked(store, parent, queue_for(&store->entries[parent]), true);
}

void kvi_own_unheld_locked(struct kvi_store *store, uint32_t number)
{
  if (store->tenants && kvi_entry_is_present(&store->entries[number]))
    kvi_own_changed(kvi_tenant_of(store, number));
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

struct choice {
  uint32_t number;
  double
      price; /* what it saves to keep it where it is; negative: last use decides; NAN: there are no prices */
};

static uint32_t number_of(const struct kvi_store *store, const struct kvi_tenant *tenant)
{
  return (uint32_t)(tenant - store->tenants->tenants);
}

/* What it has saved where it was is what that costs its tenant. */
static void pay_locked(struct kvi_store *store, const struct kvi_tenant *tenant, enum kvi_own_kind which,
                       double price)
{
  if (store->policy_ops->own_paid)
    store->policy_ops->own_paid(store->policy, number_of(store, tenant),
                                which == KVI_OWN_MEMORY ? KVI_POLICY_MEMORY : KVI_POLICY_MEDIUM, price,
                                kvi_policy_now(store));
}

/* It may, as it was looked at just now. rule: KVI_EVICT_QUOTA for others of the same tenant. */
static void leave_locked(struct kvi_store *store, struct kvi_tenant *tenant, enum kvi_own_kind which,
                         enum kvi_evict_rule rule, struct choice choice)
{
  uint32_t number = choice.number;

  pay_locked(store, tenant, which, choice.price);
  if (which == KVI_OWN_MEMORY && kvi_below_has(store, number)) {
    tenant->info.own_demotions += rule == KVI_EVICT_QUOTA;
    kvi_demote_locked(store, number, KVI_DEMOTE_ROOM);
  } else {
    tenant->info.own_evictions += rule == KVI_EVICT_QUOTA;
    kvi_store_evict_one_locked(store, number, rule);
  }
  kvi_own_changed(tenant);
}

/* All have been looked at, and nothing has changed since. */
bool kvi_own_is_vain(const struct kvi_own_queue *queue)
{
  return queue->vain >= queue->length + PATIENT_LOOKS || queue->length == 0;
}

static bool nothing_may_go(const struct kvi_tenant *tenant)
{
  return kvi_own_is_vain(&tenant->queues[KVI_OWN_BELOW]) && kvi_own_is_vain(&tenant->queues[KVI_OWN_MEMORY]);
}

/* Of the next few in turn that may go. */
struct sample {
  struct choice least; /* of those that are lost, and without own_demotion of all, by the policy's rank */
  uint64_t rank;
  uint32_t clean; /* one that stays below, where the policy says which does; KVI_NONE */
  uint32_t n;
};

static void sample_add(const struct kvi_store *store, struct sample *sample, enum kvi_own_kind which,
                       uint32_t number, const struct kvi_policy_info *info)
{
  sample->n++;
  if (which == KVI_OWN_MEMORY && store->policy_ops->own_demotion && kvi_below_has(store, number)) {
    sample->clean = sample->clean == KVI_NONE ? number : sample->clean;
  } else if (sample->least.number == KVI_NONE || info->rank < sample->rank) {
    sample->least = (struct choice){.number = number, .price = info->price};
    sample->rank = info->rank;
  }
}

/* SAMPLE of them, in at most so many looks, which are counted down. */
static void sample_take_locked(struct kvi_store *store, struct kvi_tenant *tenant, enum kvi_own_kind which,
                               uint32_t *looks, struct sample *sample)
{
  struct kvi_own_queue *queue = &tenant->queues[which];

  for (uint32_t left = queue->length; left > 0 && *looks > 0 && sample->n < SAMPLE && !kvi_own_is_vain(queue);
       left--) {
    uint32_t number = queue->first;
    struct kvi_policy_info info;
    enum look look;

    (*looks)--;
    store->policy_ops->info(store->policy, number, &info);
    look = which == KVI_OWN_MEMORY ? memory_look(store, number, &info, queue->vain < PATIENT_LOOKS)
                                   : below_look(store, number, &info);
    queue_remove_locked(store, number);
    if (look != LOOK_OUT)
      kvi_own_push_locked(store, number, which, false);
    if (look == LOOK_GOES)
      sample_add(store, sample, which, number, &info);
    queue->vain += sample->n == 0 && look == LOOK_BACK; /* what is out does not have a turn again */
  }
}

/*
 * What has a copy below leaves memory by the same prices as what leaves the node's, from the ends of chains on, whichever of it was come upon; or the least of those that are in memory only goes, if that saves
 * less.
 */
static struct choice sample_choose_locked(struct kvi_store *store, const struct kvi_tenant *tenant,
                                          enum kvi_own_kind which, const struct sample *sample)
{
  struct choice choice = {.number = KVI_NONE};

  if (which != KVI_OWN_MEMORY || !store->below || !store->policy_ops->own_demotion)
    return sample->least;
  choice.number = kvi_clean_own_locked(store, number_of(store, tenant), sample->clean, &choice.price);
  if (choice.number == KVI_NONE)
    return sample->least;
  return kvi_clean_goes_locked(store, choice.number, choice.price, sample->least.number) ? choice
                                                                                         : sample->least;
}

bool kvi_own_one_locked(struct kvi_store *store, struct kvi_tenant *tenant, enum kvi_own_kind which,
                        enum kvi_evict_rule rule, uint32_t *looks)
{
  struct sample sample = {.least = {.number = KVI_NONE}, .clean = KVI_NONE};

  sample_take_locked(store, tenant, which, looks, &sample);
  if (sample.n == 0)
    return false;
  leave_locked(store, tenant, which, rule, sample_choose_locked(store, tenant, which, &sample));
  return true;
}

static bool is_over(const struct kvi_tenant *tenant, enum kvi_own_kind which)
{
  const struct kvi_tenant_info *info = &tenant->info;

  return which == KVI_OWN_MEMORY ? info->dram_max > 0 && info->dram_bytes > info->dram_max
                                 : info->medium_max > 0 && info->medium_bytes > info->medium_max;
}

static uint64_t bytes_of(const struct kvi_tenant *tenant, enum kvi_own_kind which)
{
  return which == KVI_OWN_MEMORY ? tenant->info.dram_bytes : tenant->info.medium_bytes;
}

uint64_t kvi_over_make_room_locked(struct kvi_store *store, enum kvi_policy_group group, uint64_t bytes,
                                   bool *more_p)
{
  enum kvi_own_kind which = group == KVI_POLICY_MEMORY ? KVI_OWN_MEMORY : KVI_OWN_BELOW;
  struct kvi_tenants *all = store->tenants;
  uint32_t looks = KVI_BATCH_LOCKED;
  uint64_t freed = 0;
  bool over = false;

  *more_p = false;
  if (!all || !all->shrunk)
    return 0;
  for (uint32_t i = 0; i < all->n; i++) {
    struct kvi_tenant *tenant = &all->tenants[i];

    while (freed < bytes && looks > 0 && is_over(tenant, which) && !kvi_own_is_vain(&tenant->queues[which])) {
      uint64_t had = bytes_of(tenant, which);

      if (kvi_own_one_locked(store, tenant, which, KVI_EVICT_ROOM, &looks))
        freed += had - bytes_of(tenant, which);
    }
    over = over || is_over(tenant, KVI_OWN_MEMORY) || is_over(tenant, KVI_OWN_BELOW);
  }
  all->shrunk = over;
  *more_p = looks == 0 && freed == 0;
  return freed;
}

/* ---- index entries ---- */

/* An entry of this tenant's is free. KVS_ERR_QUOTA: none may go; KVS_ERR_BUSY: not all have been looked at. */
static kvs_status entry_drop_locked(struct kvi_store *store, struct kvi_tenant *tenant,
                                    enum kvi_evict_rule rule)
{
  uint32_t looks = KVI_BATCH_LOCKED;
  uint64_t entries = tenant->info.entries;

  while (looks > 0) { /* what leaves memory for below keeps its entry */
    if (!kvi_own_one_locked(store, tenant, KVI_OWN_BELOW, rule, &looks) &&
        !kvi_own_one_locked(store, tenant, KVI_OWN_MEMORY, rule, &looks) && nothing_may_go(tenant))
      return KVS_ERR_QUOTA;
    if (tenant->info.entries < entries)
      return KVS_OK;
  }
  return KVS_ERR_BUSY;
}

/* Who has most for its weight, of those that have more than their share, and of whom something may go; NULL. If somebody has less than his share and all entries are taken, there is one that has more. */
static struct kvi_tenant *furthest_over_locked(const struct kvi_store *store)
{
  const struct kvi_tenants *all = store->tenants;
  struct kvi_tenant *most = NULL;

  for (uint32_t i = 0; i < all->n; i++) {
    struct kvi_tenant *tenant = &all->tenants[i];

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
  struct kvi_tenant *tenant, *most;
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
