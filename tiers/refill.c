/*
 * tiers/refill.c: what stands below the store helps out when the medium fails: a get that misses there is asked for below, and what comes from there
 * becomes the memory of the entry that is still here.
 */
#include <string.h>

#include <kvasir/keys.h>

#include "tiers/store_private.h"

void kvi_store_set_lower(struct kvi_store *store, const struct kvi_store_lower *lower)
{
  pthread_mutex_lock(&store->lock);
  store->lower = lower;
  kvi_coder_lower_wait_locked(store->coder);
  pthread_mutex_unlock(&store->lock);
}

bool kvi_store_is_coding(struct kvi_store *store, const char *tenant, const uint8_t *space,
                         const uint8_t *key, uint32_t key_length)
{
  struct kvi_key_tag tag;
  uint32_t entry;
  bool coding;

  if (!store->coder)
    return false;
  kvi_key_tag(store, key, key_length, &tag);
  pthread_mutex_lock(&store->lock);
  entry = kvi_entry_find_locked(store, tenant, space, key_length, &tag);
  coding =
      entry != KVI_NONE && store->entries[entry].state == KVI_ENTRY_RESIDENT && store->entries[entry].coding;
  pthread_mutex_unlock(&store->lock);
  return coding;
}

kvs_status kvi_lower_missed(struct kvi_store *store, const struct kvi_medium_identity *identity,
                            uint32_t cause, struct kvi_get_wait *wait)
{
  const struct kvi_store_lower *lower;

  pthread_mutex_lock(&store->lock);
  lower = store->lower;
  pthread_mutex_unlock(&store->lock);
  if (!lower || cause == KVI_MISS_DELETED)
    return KVS_MISS;
  return lower->missed(lower->ctx, identity->tenant, identity->space, identity->key, identity->key_length,
                       cause, wait);
}

/* The entry of that name, if it is on the medium only, and has lost no less than `quality`: KVI_NONE. *status_p says why not. */
static uint32_t find_locked(struct kvi_store *store, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length, uint16_t quality, kvs_status *status_p)
{
  struct kvi_key_tag tag;
  uint32_t entry;

  *status_p = KVS_MISS;
  kvi_key_tag(store, key, key_length, &tag);
  entry = kvi_entry_find_locked(store, tenant, space, key_length, &tag);
  if (entry == KVI_NONE || !kvi_entry_is_present(&store->entries[entry]))
    return KVI_NONE;
  *status_p = store->entries[entry].state == KVI_ENTRY_RESIDENT ||
                      kvi_quality_loss(quality) > store->entries[entry].loss
                  ? KVS_EXISTS
                  : KVS_OK;
  return *status_p == KVS_OK ? entry : KVI_NONE;
}

static kvi_tier_object object_of(const struct kvi_landing *landing)
{
  return (kvi_tier_object)((uintptr_t)landing->handle - 1);
}

kvs_status kvi_store_refill_begin(struct kvi_store *store, const char *tenant,
                                  const struct kvi_put_request *request, struct kvi_landing *landing_p)
{
  struct kvi_tier_places places;
  kvi_tier_object object = 0;
  uint32_t entry, account = 0;
  kvs_status status;

  memset(landing_p, 0, sizeof(*landing_p));
  status = kvi_put_check(store, request);
  if (status != KVS_OK)
    return status;
  pthread_mutex_lock(&store->lock);
  entry = find_locked(store, tenant, request->space, request->key, request->key_length, request->quality,
                      &status);
  if (entry != KVI_NONE)
    account = store->spaces[store->entries[entry].space].account;
  pthread_mutex_unlock(&store->lock);
  if (status == KVS_OK)
    status = kvi_put_room_take(store, account, request, NULL, &object);
  if (status != KVS_OK)
    return status;
  (void)store->dram->ops->places(store->dram, object, &places);                /* in place: cannot fail */
  *landing_p = (struct kvi_landing){.handle = (void *)((uintptr_t)object + 1), /* never NULL */
                                    .iov = places.iov,
                                    .n_iov = places.n_iov,
                                    .segments = places.segments,
                                    .n_segments = request->n_segments,
                                    .quality = request->quality};
  return KVS_OK;
}

/* The bytes are the entry's now. */
static void take_locked(struct kvi_store *store, uint32_t number, kvi_tier_object object, uint64_t length,
                        uint16_t quality)
{
  struct kvi_entry *entry = &store->entries[number];

  if (entry->state == KVI_ENTRY_FETCHING) /* it is being read once more */
    kvi_fetch_replaced_locked(store, number);
  kvi_entry_land_locked(store, number, object);
  kvi_entry_loss_set_locked(store, number, kvi_quality_loss(quality));
  kvi_entry_resize_locked(store, number, (uint32_t)length); /* its copy may be encoded, or these bytes */
  entry->origin = store->lower ? store->lower->kind & 7 : 0;
  store->stats.medium_only--;
  store->stats.promotions++;
  kvi_clean_add_locked(store, number);
  kvi_own_place_locked(store, number);
}

kvs_status kvi_store_refill_commit(struct kvi_store *store, const char *tenant, const uint8_t *space,
                                   const uint8_t *key, uint32_t key_length, struct kvi_landing *landing)
{
  kvi_tier_object object = object_of(landing);
  uint64_t length = 0;
  uint32_t number;
  kvs_status status = store->dram->ops->seal(store->dram, object, landing->quality);

  for (uint32_t i = 0; i < landing->n_segments; i++)
    length += landing->segments[i].length;
  if (status == KVS_OK) {
    pthread_mutex_lock(&store->lock);
    number = find_locked(store, tenant, space, key, key_length, landing->quality, &status);
    if (number != KVI_NONE)
      take_locked(store, number, object, length, landing->quality);
    pthread_mutex_unlock(&store->lock);
  }
  memset(landing, 0, sizeof(*landing));
  if (status != KVS_OK)
    kvi_object_drop(store, object);
  return status == KVS_EXISTS ? KVS_OK : status;
}

void kvi_store_refill_abort(struct kvi_store *store, struct kvi_landing *landing)
{
  kvi_object_drop(store, object_of(landing));
  memset(landing, 0, sizeof(*landing));
}
