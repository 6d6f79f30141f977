/*
 * tiers/better.c: a put of a chunk that is there with more loss. Its bytes land beside those that are there, which stay until the new ones are whole: nobody
 * misses the chunk meanwhile, and leases, children and place in the chain are the entry's, which stays.
 */
#include "tiers/store_private.h"

bool kvi_better_wanted_locked(const struct kvi_store *store, uint32_t number, uint16_t quality)
{
  return kvi_quality_loss(quality) < store->entries[number].loss;
}

void kvi_better_begin_locked(struct kvi_store *store, struct kvi_store_landing *landing, uint32_t number)
{
  landing->entry = number;
  landing->better = true;
  store->policy_ops->hold(store->policy, number);
}

/* What there is of it in memory and on the medium goes; readers keep what they have open. */
static void worse_drop_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_entry *entry = &store->entries[number];
  bool resident = entry->state == KVI_ENTRY_RESIDENT;

  if (entry->state == KVI_ENTRY_FETCHING)
    kvi_fetch_forget_locked(store, number, KVI_MISS_EVICTED);
  if (kvi_below_has(store, number)) {
    if (resident)
      kvi_clean_remove_locked(store, number);
    else
      store->stats.medium_only--;
    kvi_below_drop_locked(store, number, NULL);
    store->policy_ops->move(store->policy, number, KVI_POLICY_MEMORY);
  }
  if (!resident)
    return;
  store->stats.writes_queued -= entry->queued;
  entry->queued = entry->writing = 0; /* what is being written is dropped when it is */
  store->dram->ops->drop(store->dram, entry->object);
}

kvs_status kvi_better_take_locked(struct kvi_store *store, const struct kvi_store_landing *landing,
                                  uint64_t length, uint16_t quality)
{
  struct kvi_entry *entry = &store->entries[landing->entry];

  if (!kvi_entry_is_present(entry))
    return KVS_ERR_BUSY;
  if (!kvi_better_wanted_locked(store, landing->entry, quality))
    return KVS_EXISTS;
  worse_drop_locked(store, landing->entry);
  kvi_entry_land_locked(store, landing->entry, landing->object);
  kvi_entry_resize_locked(store, landing->entry, (uint32_t)length);
  entry->loss = kvi_quality_loss(quality) & KVI_LOSS_MAX;
  entry->origin = landing->origin & 7;
  if (store->below)
    kvi_write_through_locked(store, landing->entry, 0);
  return KVS_OK;
}
