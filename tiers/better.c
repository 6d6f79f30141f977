/*
 * tiers/better.c: a put of a chunk that is there with more loss. Its bytes land beside those that are there, which stay until the new ones are whole, and on
 * the medium until those are written there: nobody misses the chunk meanwhile, and leases, children and place in the chain are the entry's, which stays.
 */
#include "base/clock.h"
#include "tiers/store_private.h"

bool kvi_better_wanted_locked(const struct kvi_store *store, uint32_t number, uint16_t quality, bool fetched)
{
  const struct kvi_entry *entry = &store->entries[number];
  bool again = kvi_quality_loss(quality) >= entry->lost_put && kvi_quality_loss_max(quality) >= entry->loss &&
               entry->loss <= kvi_coder_loss(store);

  return kvi_quality_loss(quality) < entry->loss && (fetched || !again);
}

void kvi_entry_loss_set_locked(struct kvi_store *store, uint32_t number, uint32_t loss)
{
  struct kvi_entry *entry = &store->entries[number];

  if (loss > entry->loss || loss < entry->lost_put)
    entry->lost_put = loss & KVI_LOSS_MAX;
  entry->loss = loss & KVI_LOSS_MAX;
}

void kvi_better_begin_locked(struct kvi_store *store, struct kvi_store_landing *landing, uint32_t number)
{
  landing->entry = number;
  landing->better = true;
  store->policy_ops->hold(store->policy, number);
}

/*
 * The new bytes are the entry's. Its copy on the medium stays, as one that has lost more, until the new bytes are written there: they may never be, and what was safe
 * stays safe. Readers keep what they have open.
 */
void kvi_bytes_replace_locked(struct kvi_store *store, uint32_t number, kvi_tier_object object)
{
  struct kvi_entry *entry = &store->entries[number];
  bool resident = entry->state == KVI_ENTRY_RESIDENT, below = kvi_below_has(store, number);
  uint32_t below_length = kvi_below_length(entry), below_loss = kvi_below_loss(entry);
  kvi_tier_object worse = entry->object;

  if (entry->state == KVI_ENTRY_FETCHING)
    kvi_fetch_replaced_locked(store, number);
  if (resident && below)
    kvi_clean_remove_locked(store, number);
  else if (below)
    store->stats.medium_only--;
  if (resident) {
    kvi_entry_unwrite_locked(store, number);
    kvi_cut_remove_locked(store, number);
  }
  kvi_entry_land_locked(store, number, object);
  entry->medium_length = below_length & KVI_LENGTH_MASK;
  entry->medium_loss = below_loss & KVI_LOSS_MAX;
  if (below)
    kvi_clean_add_locked(store, number);
  if (resident)
    kvi_object_drop_locked(store, worse);
  kvi_own_place_locked(store, number);
}

kvs_status kvi_better_take_locked(struct kvi_store *store, const struct kvi_store_landing *landing,
                                  uint64_t length, uint16_t quality)
{
  struct kvi_entry *entry = &store->entries[landing->entry];

  if (!kvi_entry_is_present(entry))
    return KVS_ERR_BUSY;
  if (!kvi_better_wanted_locked(store, landing->entry, quality, landing->origin != KVI_TIER_ABSENT))
    return KVS_EXISTS;
  kvi_ahead_left_locked(store, landing->entry); /* what was read is not what will be got */
  kvi_bytes_replace_locked(store, landing->entry, landing->object);
  kvi_entry_touch_locked(store, landing->entry, kvi_policy_now(store));
  kvi_entry_resize_locked(store, landing->entry, (uint32_t)length);
  entry->loss = entry->lost_put = kvi_quality_loss(quality) & KVI_LOSS_MAX;
  entry->origin = landing->origin & 7;
  if (entry->origin == KVI_TIER_ABSENT) /* what comes from elsewhere lies here as it does there */
    kvi_coder_offer_locked(store->coder, landing->entry, quality);
  kvi_cut_offer_locked(store, landing->entry, quality);
  if (store->below)
    kvi_write_through_locked(store, landing->entry, 0);
  return KVS_OK;
}
