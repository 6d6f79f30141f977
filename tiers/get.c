/* tiers/get.c: reading one chunk. */
#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "tiers/store_private.h"

struct found {
  uint32_t space, entry;
  kvi_tier_object object;
  enum kvi_miss_cause cause;
  bool dropped; /* it was damaged */
};

/* Its object does not check: the chunk is dropped, unless somebody else did. */
static bool drop_corrupt_locked(struct kvi_store *store, uint32_t number, kvi_tier_object object,
                                const uint8_t *key)
{
  struct kvi_entry *entry = &store->entries[number];

  if (entry->state != KVI_ENTRY_RESIDENT ||
      entry->object != object) /* open, or not let go of the lock: it cannot be another */
    return false;
  kvi_entry_drop_locked(store, number, KVI_MISS_CORRUPT, key);
  store->stats.corrupt++;
  return true;
}

/* Finds it and takes a reader's reference on its bytes, or says why not. */
static kvs_status find_locked(struct kvi_store *store, const char *tenant, const uint8_t *space,
                              const uint8_t *key, uint32_t key_length, const struct kvi_key_tag *tag,
                              uint32_t loss_max, struct found *found)
{
  uint64_t hash;

  found->cause = KVI_MISS_SPACE;
  found->space = kvi_space_find_locked(store, tenant, space);
  if (found->space == KVI_NONE)
    return KVS_MISS;
  if (store->spaces[found->space].key_length != key_length)
    return KVS_ERR_KEY_LENGTH;
  hash = kvi_key_hash(found->space, tag);
  found->entry = kvi_index_find_locked(store, hash, found->space, tag);
  if (found->entry == KVI_NONE || !kvi_entry_is_present(&store->entries[found->entry])) {
    found->cause = kvi_gone_cause_locked(store, hash, found->space, tag);
    if (found->cause == KVI_MISS_NEVER && kvi_elsewhere_locked(store, found->space, tag))
      found->cause = KVI_MISS_ELSEWHERE;
    return KVS_MISS;
  }
  found->object = store->entries[found->entry].object;
  if (store->entries[found->entry].state == KVI_ENTRY_RESIDENT &&
      !kvi_object_is(store, found->object, key, key_length)) {
    /* memory is damaged, or two keys have one tag, which is far less likely: kept, it would be promised, and could not be put */
    (void)drop_corrupt_locked(store, found->entry, found->object, key);
    found->cause = KVI_MISS_CORRUPT;
    found->dropped = true;
    return KVS_MISS;
  }
  if (store->entries[found->entry].loss > loss_max) {
    found->cause = KVI_MISS_QUALITY;
    return KVS_MISS;
  }
  kvi_entry_touch_locked(store, found->entry, kvi_policy_now(store));
  if (store->entries[found->entry].state != KVI_ENTRY_RESIDENT)
    return KVS_PENDING;
  return store->dram->ops->open(store->dram, found->object);
}

bool kvi_source_suits(const struct kvi_get_terms *terms, uint16_t quality)
{
  uint32_t coding = kvi_quality_coding(quality);
  bool reads = coding == KVI_CODING_NONE || (terms && coding < 32 && (terms->codings >> coding & 1));

  return reads && kvi_quality_loss(quality) <= (terms ? terms->loss_max : 0);
}

kvs_status kvi_source_fill(struct kvi_store *store, kvi_tier_object object, struct kvi_source *source_p)
{
  struct kvi_tier_places places;
  kvs_status status = store->dram->ops->table(store->dram, object, &source_p->table);

  if (status != KVS_OK)
    return status;
  (void)store->dram->ops->places(store->dram, object, &places); /* in place: cannot fail */
  source_p->iov = places.iov;
  source_p->n_iov = places.n_iov;
  source_p->handle = (void *)((uintptr_t)object + 1); /* never NULL */
  return KVS_OK;
}

static void miss_count(struct kvi_store *store, enum kvi_miss_cause cause)
{
  pthread_mutex_lock(&store->lock);
  store->stats.get_misses[cause]++;
  pthread_mutex_unlock(&store->lock);
}

kvs_status kvi_store_peek_open(struct kvi_store *store, const char *tenant, const uint8_t *space,
                               const uint8_t *key, uint32_t key_length, struct kvi_source *source_p)
{
  struct kvi_key_tag tag;
  uint32_t entry;
  kvi_tier_object object = 0;
  kvs_status status = KVS_MISS;

  memset(source_p, 0, sizeof(*source_p));
  if (key_length < KVS_KEY_MIN || key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  kvi_key_tag(store, key, key_length, &tag);
  pthread_mutex_lock(&store->lock);
  entry = kvi_entry_find_locked(store, tenant, space, key_length, &tag);
  if (entry != KVI_NONE && store->entries[entry].state == KVI_ENTRY_RESIDENT &&
      kvi_object_is(store, store->entries[entry].object, key, key_length)) {
    object = store->entries[entry].object;
    status = store->dram->ops->open(store->dram, object);
  }
  pthread_mutex_unlock(&store->lock);
  if (status != KVS_OK)
    return status;
  status = kvi_source_fill(store, object, source_p);
  if (status != KVS_OK)
    store->dram->ops->close(store->dram, object);
  return status;
}

void kvi_store_count_miss(struct kvi_store *store, uint32_t cause, bool back)
{
  pthread_mutex_lock(&store->lock);
  store->stats.gets += back ? UINT64_MAX : 1;
  store->stats.get_misses[cause] += back ? UINT64_MAX : 1;
  pthread_mutex_unlock(&store->lock);
}

/* One that was read ahead of its get is a hit of the tier it came from; ahead of its request, memory's. */
static enum kvi_tier_kind hit_count_locked(struct kvi_store *store, struct kvi_entry *entry)
{
  bool ahead = entry->origin == KVI_ORIGIN_AHEAD;
  enum kvi_tier_kind tier = entry->origin && !ahead ? (enum kvi_tier_kind)entry->origin : KVI_TIER_DRAM;

  store->stats.get_hits++;
  store->stats.get_bytes += entry->length;
  store->stats.tier_hits[tier]++;
  store->stats.prefetched_used += ahead;
  entry->origin = 0;
  return tier;
}

void kvi_store_count_unread(struct kvi_store *store, const struct kvi_source *source, uint32_t cause)
{
  pthread_mutex_lock(&store->lock);
  store->stats.get_hits--;
  store->stats.get_bytes -= source->table.length;
  store->stats.left_out_bytes -= source->left_out_bytes;
  store->stats.left_out_planes -= source->left_out_planes;
  store->stats.tier_hits[source->tier]--;
  store->stats.get_misses[cause] += cause != KVI_MISS_NONE;
  pthread_mutex_unlock(&store->lock);
}

/* It is there, but not as its reader wants it: the hit that was counted was none. */
static kvs_status unsuited(struct kvi_store *store, struct kvi_source *source_p, uint32_t *cause_p)
{
  kvi_store_count_unread(store, source_p, KVI_MISS_QUALITY);
  kvi_store_get_close(store, source_p);
  *cause_p = KVI_MISS_QUALITY;
  return KVS_MISS;
}

kvs_status kvi_source_open(struct kvi_store *store, const char *tenant, const uint8_t *space,
                           const uint8_t *key, uint32_t key_length, const struct kvi_get_terms *terms,
                           struct kvi_get_wait *wait, struct kvi_source *source_p, uint32_t *cause_p,
                           bool *dropped_p)
{
  struct kvi_key_tag tag;
  enum kvi_tier_kind tier = KVI_TIER_ABSENT;
  struct found found = {0};
  struct kvi_use use;
  kvs_status status;

  use.lower = NULL;
  memset(source_p, 0, sizeof(*source_p));
  *cause_p = KVI_MISS_NONE;
  *dropped_p = false;
  if (key_length < KVS_KEY_MIN || key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  kvi_key_tag(store, key, key_length, &tag);
  pthread_mutex_lock(&store->lock);
  store->stats.gets++;
  status = find_locked(store, tenant, space, key, key_length, &tag, terms ? terms->loss_max : 0, &found);
  if (status == KVS_PENDING && wait) {
    status = kvi_fetch_locked(store, found.entry, key, wait); /* counted when it ends */
    found.cause = KVI_MISS_TIER;
  }
  if (status == KVS_OK) {
    tier = hit_count_locked(store, &store->entries[found.entry]);
    kvi_use_locked(store, found.entry, &use);
  } else if (status == KVS_MISS) {
    store->stats.get_misses[found.cause]++;
  }
  pthread_mutex_unlock(&store->lock);
  if (status != KVS_OK) {
    if (found.dropped)
      kvi_damages_note(&store->damages, tenant, space, key, key_length, KVI_TIER_DRAM, KVI_DAMAGE_BY_GET);
    *dropped_p = found.dropped;
    *cause_p = status == KVS_MISS ? found.cause : KVI_MISS_NONE;
    return status;
  }
  status = kvi_source_fill(store, found.object, source_p);
  if (status != KVS_OK) {
    kvi_damages_note(&store->damages, tenant, space, key, key_length, KVI_TIER_DRAM, KVI_DAMAGE_BY_GET);
    pthread_mutex_lock(&store->lock);
    (void)drop_corrupt_locked(store, found.entry, found.object, key);
    pthread_mutex_unlock(&store->lock);
    store->dram->ops->close(store->dram, found.object);
    miss_count(store, KVI_MISS_CORRUPT);
    memset(source_p, 0, sizeof(*source_p));
    *cause_p = KVI_MISS_CORRUPT;
    *dropped_p = true;
    return KVS_MISS;
  }
  source_p->tier = tier;
  kvi_use_tell(&use);
  if (!kvi_source_suits(terms, source_p->table.quality))
    return unsuited(store, source_p, cause_p);
  kvi_source_lessen(store, terms, source_p);
  return KVS_OK;
}

bool kvi_store_ahead_fits(struct kvi_store *store, const char *tenant, const uint8_t *space,
                          uint32_t distance)
{
  uint64_t bytes = store->config.chunk_bytes_max; /* nothing known: the most */
  uint32_t number;

  pthread_mutex_lock(&store->lock);
  number = kvi_space_find_locked(store, tenant, space);
  if (number != KVI_NONE && store->spaces[number].chunk_bytes > 0)
    bytes = store->spaces[number].chunk_bytes;
  else if (number != KVI_NONE && store->spaces[number].chunks > 0)
    bytes = store->spaces[number].bytes / store->spaces[number].chunks;
  pthread_mutex_unlock(&store->lock);
  return (distance + UINT64_C(1)) * bytes <= store->dram_attr.capacity_bytes / 2;
}

void kvi_store_get_ahead(struct kvi_store *store, const char *tenant, const uint8_t *space,
                         const uint8_t *key, uint32_t key_length)
{
  struct kvi_key_tag tag;
  uint32_t entry;

  if (!store->below || key_length < KVS_KEY_MIN || key_length > KVS_KEY_MAX)
    return;
  kvi_key_tag(store, key, key_length, &tag);
  pthread_mutex_lock(&store->lock);
  entry = kvi_entry_find_locked(store, tenant, space, key_length, &tag);
  if (entry != KVI_NONE && store->entries[entry].state == KVI_ENTRY_BELOW &&
      kvi_fetch_locked(store, entry, key, NULL) == KVS_PENDING)
    store->stats.fetches_ahead++;
  pthread_mutex_unlock(&store->lock);
}

kvs_status kvi_store_get_open(struct kvi_store *store, const char *tenant, const uint8_t *space,
                              const uint8_t *key, uint32_t key_length, struct kvi_get_wait *wait,
                              struct kvi_source *source_p, uint32_t *cause_p)
{
  bool dropped;

  return kvi_source_open(store, tenant, space, key, key_length, wait ? &wait->terms : NULL, wait, source_p,
                         cause_p, &dropped);
}

kvs_status kvi_store_get_here(struct kvi_store *store, const char *tenant, const uint8_t *space,
                              const uint8_t *key, uint32_t key_length, const struct kvi_get_terms *terms,
                              struct kvi_source *source_p, uint32_t *cause_p)
{
  bool dropped;

  return kvi_source_open(store, tenant, space, key, key_length, terms, NULL, source_p, cause_p, &dropped);
}

void kvi_store_get_close(struct kvi_store *store, struct kvi_source *source)
{
  if (!source->handle)
    return;
  store->dram->ops->close(store->dram, (kvi_tier_object)((uintptr_t)source->handle - 1));
  memset(source, 0, sizeof(*source));
}

bool kvi_source_drop_corrupt(struct kvi_store *store, const char *tenant, const uint8_t *space,
                             const uint8_t *key, uint32_t key_length, const struct kvi_source *source,
                             enum kvi_damage_found by)
{
  kvi_tier_object object = (kvi_tier_object)((uintptr_t)source->handle - 1);
  struct kvi_key_tag tag;
  uint32_t entry;
  bool dropped;

  kvi_key_tag(store, key, key_length, &tag);
  pthread_mutex_lock(&store->lock);
  entry = kvi_entry_find_locked(store, tenant, space, key_length, &tag);
  dropped = entry != KVI_NONE && drop_corrupt_locked(store, entry, object, key);
  pthread_mutex_unlock(&store->lock);
  if (dropped)
    kvi_damages_note(&store->damages, tenant, space, key, key_length, KVI_TIER_DRAM, by);
  return dropped;
}

bool kvi_store_drop_corrupt(struct kvi_store *store, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length, const struct kvi_source *source)
{
  return kvi_source_drop_corrupt(store, tenant, space, key, key_length, source, KVI_DAMAGE_BY_GET);
}
