/* tiers/why.c: why a get of a chunk misses. */
#include "tiers/why.h"

#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "proto/space.h"
#include "tiers/store_private.h"

const char *kvi_evict_rule_name(enum kvi_evict_rule rule)
{
  static const char *const names[KVI_EVICT_RULES] = {[KVI_EVICT_ROOM] = "room",
                                                     [KVI_EVICT_INDEX] = "index",
                                                     [KVI_EVICT_ASKED] = "asked",
                                                     [KVI_EVICT_QUOTA] = "quota",
                                                     [KVI_EVICT_CLOSED] = "closed"};

  return (unsigned)rule < KVI_EVICT_RULES ? names[rule] : "";
}

/* ---- as it goes ---- */

void kvi_gone_note_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause,
                          enum kvi_evict_rule rule, const struct kvi_policy_info *info)
{
  const struct kvi_entry *entry = &store->entries[number];
  struct kvi_departure departure = {.cause = cause,
                                    .rule = rule,
                                    .at_ns = kvi_departure_now(store),
                                    .length = entry->length,
                                    .below = kvi_below_has(store, number)};
  uint64_t now = kvi_policy_now(store); /* last use is told by that clock */

  if (info->last_use_ns > 0 && now > info->last_use_ns)
    departure.idle_ns = now - info->last_use_ns;
  if (info->until_ns > 0) {
    departure.timed = true;
    departure.over_ns = (int64_t)(now - info->until_ns);
  }
  departure.price = info->price;
  departure.by_price = info->by_price;
  kvi_gone_note(store->gone, kvi_key_hash(entry->space, &entry->tag), entry->space, &entry->tag, &departure);
}

enum kvi_miss_cause kvi_gone_cause_locked(const struct kvi_store *store, uint64_t hash, uint32_t space,
                                          const struct kvi_key_tag *tag)
{
  struct kvi_departure departure;
  uint64_t since_ns;

  if (kvi_gone_find(store->gone, hash, space, tag, &departure, &since_ns))
    return departure.cause;
  return kvi_ghost_cause_locked(store, hash);
}

/* ---- other spaces ---- */

/* Spaces are never forgotten, and their tenant does not change: no lock, up to a number that was read under it. */
static uint32_t namesakes_collect(const struct kvi_store *store, uint32_t *next, uint32_t end,
                                  const char *tenant, uint32_t not_this, uint32_t key_length,
                                  uint32_t numbers[KVI_BATCH_LOCKED])
{
  uint32_t n = 0;

  for (; *next > end && n < KVI_BATCH_LOCKED; (*next)--) {
    const struct kvi_space_entry *space = &store->spaces[*next - 1];

    if (*next - 1 != not_this && space->key_length == key_length && strcmp(space->tenant, tenant) == 0)
      numbers[n++] = *next - 1;
  }
  return n;
}

static bool has_locked(const struct kvi_store *store, uint32_t space, const struct kvi_key_tag *tag)
{
  uint32_t number = kvi_index_find_locked(store, kvi_key_hash(space, tag), space, tag);

  return number != KVI_NONE && kvi_entry_is_present(&store->entries[number]);
}

bool kvi_elsewhere_locked(const struct kvi_store *store, uint32_t space, const struct kvi_key_tag *tag)
{
  const struct kvi_space_entry *own = &store->spaces[space];
  uint32_t end = store->n_spaces > KVI_ELSEWHERE_SPACES ? store->n_spaces - KVI_ELSEWHERE_SPACES : 0;

  for (uint32_t i = store->n_spaces; i > end; i--) {
    const struct kvi_space_entry *other = &store->spaces[i - 1];

    if (other->chunks > 0 && other != own && other->key_length == own->key_length &&
        strcmp(other->tenant, own->tenant) == 0 && has_locked(store, i - 1, tag))
      return true;
  }
  return false;
}

static const kvs_space_desc *desc_of(const struct kvi_store *store, uint32_t space)
{
  return space == KVI_NONE ? NULL : atomic_load_explicit(&store->spaces[space].desc, memory_order_acquire);
}

/* Takes this one if it is nearer than what is known, or the first. */
static void other_take(const struct kvi_store *store, uint32_t number, const kvs_space_desc *asked,
                       struct kvi_why_space *other, bool first)
{
  const kvs_space_desc *desc = desc_of(store, number);
  char text[sizeof(other->differences)] = "";
  size_t n = 0;

  if (asked && desc)
    n = kvi_space_diff(asked, desc, text, sizeof(text));
  if (!first && (n == 0 || (other->n_differences > 0 && n >= other->n_differences)))
    return;
  memcpy(other->digest, store->spaces[number].digest, KVS_DIGEST_SIZE);
  other->n_differences = n;
  memcpy(other->differences, text, sizeof(text));
}

static void others_find(struct kvi_store *store, const char *tenant, uint32_t own, const kvs_space_desc *desc,
                        uint32_t key_length, const struct kvi_key_tag *tag, struct kvi_why *why)
{
  uint32_t numbers[KVI_BATCH_LOCKED], next, end, n;
  const kvs_space_desc *own_desc = desc_of(store, own);
  uint64_t here;

  own_desc = own_desc ? own_desc : desc;
  pthread_mutex_lock(&store->lock);
  next = store->n_spaces;
  pthread_mutex_unlock(&store->lock);
  end = next > KVI_WHY_SPACES ? next - KVI_WHY_SPACES : 0;
  while ((n = namesakes_collect(store, &next, end, tenant, own, key_length, numbers)) > 0) {
    here = 0;
    pthread_mutex_lock(&store->lock);
    for (uint32_t i = 0; i < n; i++)
      here |= (uint64_t)has_locked(store, numbers[i], tag) << i;
    pthread_mutex_unlock(&store->lock);
    for (uint32_t i = 0; i < n; i++)
      if (here >> i & 1)
        other_take(store, numbers[i], own_desc, &why->other, why->n_others++ == 0);
  }
}

bool kvi_store_space_nearest(struct kvi_store *store, const char *tenant, const kvs_space_desc *desc,
                             struct kvi_why_space *nearest_p)
{
  uint32_t n_spaces;

  memset(nearest_p, 0, sizeof(*nearest_p));
  pthread_mutex_lock(&store->lock);
  n_spaces = store->n_spaces;
  pthread_mutex_unlock(&store->lock);
  for (uint32_t i = 0; i < n_spaces; i++)
    if (strcmp(store->spaces[i].tenant, tenant) == 0)
      other_take(store, i, desc, nearest_p, false);
  return nearest_p->n_differences > 0;
}

/* ---- the answer ---- */

bool kvi_store_knows_space(struct kvi_store *store, const char *tenant, const uint8_t *space)
{
  bool knows;

  pthread_mutex_lock(&store->lock);
  knows = kvi_space_find_locked(store, tenant, space) != KVI_NONE;
  pthread_mutex_unlock(&store->lock);
  return knows;
}

bool kvi_store_medium_is_out(struct kvi_store *store)
{
  struct kvi_medium_stats stats = {0};

  if (!store->below)
    return false;
  store->below->medium->ops->stats(store->below->medium, &stats);
  return stats.devices > 0 && stats.devices_failed >= stats.devices;
}

static enum kvi_miss_cause entry_cause_locked(struct kvi_store *store, uint32_t number, uint32_t loss_max,
                                              struct kvi_why *why)
{
  why->here = true;
  kvi_chunk_info_locked(store, number, kvi_policy_now(store), &why->chunk);
  return kvi_quality_loss(why->chunk.quality) > loss_max ? KVI_MISS_QUALITY : KVI_MISS_NONE;
}

static kvs_status own_locked(struct kvi_store *store, uint32_t space, const struct kvi_key_tag *tag,
                             uint32_t key_length, uint32_t loss_max, struct kvi_why *why)
{
  uint64_t hash = kvi_key_hash(space, tag);
  uint32_t number;

  if (store->spaces[space].key_length != key_length)
    return KVS_ERR_KEY_LENGTH;
  why->went = kvi_gone_find(store->gone, hash, space, tag, &why->departure, &why->since_ns);
  why->since_open = why->since_ns == kvi_gone_begun_ns(store->gone);
  number = kvi_index_find_locked(store, hash, space, tag);
  if (number != KVI_NONE && kvi_entry_is_present(&store->entries[number]))
    why->cause = entry_cause_locked(store, number, loss_max, why);
  else {
    why->landing = number != KVI_NONE && store->entries[number].state == KVI_ENTRY_LANDING;
    why->cause = kvi_gone_cause_locked(store, hash, space, tag);
  }
  return KVS_OK;
}

uint64_t kvi_store_went_ns(struct kvi_store *store, const char *tenant, const uint8_t *space,
                           const uint8_t *key, uint32_t key_length)
{
  struct kvi_departure departure;
  struct kvi_key_tag tag;
  uint64_t since_ns;
  uint32_t number;

  kvi_key_tag(store, key, key_length, &tag);
  pthread_mutex_lock(&store->lock);
  number = kvi_space_find_locked(store, tenant, space);
  if (number == KVI_NONE)
    since_ns = kvi_gone_begun_ns(store->gone);
  else if (kvi_gone_find(store->gone, kvi_key_hash(number, &tag), number, &tag, &departure, &since_ns))
    since_ns = departure.at_ns;
  pthread_mutex_unlock(&store->lock);
  return since_ns;
}

static void damage_find(struct kvi_store *store, const char *tenant, const uint8_t *space, const uint8_t *key,
                        uint32_t key_length, struct kvi_why *why)
{
  struct kvi_damage list[KVI_DAMAGES_MAX];
  uint32_t n = kvi_damages_list(&store->damages, list);

  for (uint32_t i = 0; i < n && !why->damaged; i++) {
    why->damaged = list[i].key_length == key_length && strcmp(list[i].tenant, tenant) == 0 &&
                   memcmp(list[i].key, key, key_length) == 0 &&
                   memcmp(list[i].space, space, KVS_DIGEST_SIZE) == 0;
    if (why->damaged)
      why->damage = list[i];
  }
}

kvs_status kvi_store_why(struct kvi_store *store, const char *tenant, const uint8_t *space,
                         const kvs_space_desc *desc, const uint8_t *key, uint32_t key_length,
                         uint32_t loss_max, struct kvi_why *why_p)
{
  struct kvi_key_tag tag;
  kvs_status status = KVS_OK;
  uint32_t number;

  memset(why_p, 0, sizeof(*why_p));
  why_p->now_ns = kvi_departure_now(store);
  if (key_length < KVS_KEY_MIN || key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  kvi_key_tag(store, key, key_length, &tag);
  why_p->cause = KVI_MISS_SPACE;
  pthread_mutex_lock(&store->lock);
  number = kvi_space_find_locked(store, tenant, space);
  if (number != KVI_NONE)
    status = own_locked(store, number, &tag, key_length, loss_max, why_p);
  else { /* a space that was there would still be known */
    why_p->since_ns = kvi_gone_begun_ns(store->gone);
    why_p->since_open = true;
  }
  pthread_mutex_unlock(&store->lock);
  if (status != KVS_OK)
    return status;
  if (why_p->here && why_p->chunk.tier != KVI_TIER_DRAM && kvi_store_medium_is_out(store))
    why_p->cause = KVI_MISS_TIER;
  if (why_p->cause == KVI_MISS_NONE)
    return KVS_OK;
  if (why_p->cause == KVI_MISS_CORRUPT)
    damage_find(store, tenant, space, key, key_length, why_p);
  others_find(store, tenant, number, desc, key_length, &tag, why_p);
  if (why_p->cause == KVI_MISS_NEVER && why_p->n_others > 0)
    why_p->cause = KVI_MISS_ELSEWHERE;
  return KVS_OK;
}
