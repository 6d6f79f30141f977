/* tiers/index.c: entries, the hash over them, and the ghosts of entries that went. All memory is taken at create. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL /* one key of 32 bytes: the call would cost more than the hash */
#include <xxhash.h>

#include "base/clock.h"
#include "base/rand.h"
#include "tiers/store_private.h"

#define GHOSTS_MIN       64u
#define GHOSTS_MAX       (1u << 20)
#define GHOST_CAUSE_MASK 15u

static uint32_t power_of_two_below(uint32_t value)
{
  uint32_t power = 1;

  while (power <= value / 2)
    power *= 2;
  return power;
}

kvs_status kvi_index_create(struct kvi_store *store)
{
  uint32_t capacity = store->config.max_chunks;
  uint32_t ghosts = power_of_two_below(capacity / 8 > GHOSTS_MIN ? capacity / 8 : GHOSTS_MIN);

  if (store->config.hash_secret)
    memcpy(store->hash_secret, store->config.hash_secret, sizeof(store->hash_secret));
  else if (kvi_random_bytes(store->hash_secret, sizeof(store->hash_secret)) != KVS_OK)
    return KVS_ERR_SYSTEM;
  store->config.hash_secret = NULL; /* it need not live longer */
  store->n_ghosts = ghosts < GHOSTS_MAX ? ghosts : GHOSTS_MAX;
  /* 3 buckets for 4 entries: 1.3 entries a chain when full, and 64 bytes a chunk are kept */
  store->n_buckets = (uint32_t)((uint64_t)capacity * 3 / 4) + 1;
  store->entries = malloc((size_t)capacity * sizeof(*store->entries));
  store->buckets = malloc((size_t)store->n_buckets * sizeof(*store->buckets));
  store->ghosts = calloc(store->n_ghosts, sizeof(*store->ghosts));
  if (store->config.declines)
    store->declined = calloc(KVI_DECLINED_MAX, sizeof(*store->declined));
  if (!store->entries || !store->buckets || !store->ghosts || (store->config.declines && !store->declined) ||
      kvi_gone_create(capacity, kvi_departure_now(store), &store->gone) != KVS_OK)
    return KVS_ERR_NOMEM;
  memset(store->buckets, 0xff, (size_t)store->n_buckets * sizeof(*store->buckets)); /* KVI_NONE */
  store->entry_free = KVI_NONE;
  return KVS_OK;
}

void kvi_index_destroy(struct kvi_store *store)
{
  free(store->entries);
  free(store->buckets);
  free(store->ghosts);
  free(store->declined);
  kvi_gone_destroy(store->gone);
}

uint64_t kvi_index_bytes(const struct kvi_store *store)
{
  return (uint64_t)store->config.max_chunks * sizeof(*store->entries) +
         (uint64_t)store->n_buckets * sizeof(*store->buckets) +
         (uint64_t)store->n_ghosts * sizeof(*store->ghosts) + kvi_gone_memory(store->gone) +
         (store->declined ? KVI_DECLINED_MAX * sizeof(*store->declined) : 0);
}

/* ---- keys ---- */

void kvi_key_tag(const struct kvi_store *store, const uint8_t *key, uint32_t key_length,
                 struct kvi_key_tag *tag_p)
{
  /*
   * All of the secret is random, so that nobody can choose keys that share a bucket, or a tag. A seed would not do: XXH3 adds it to one word of its own
   * secret and takes it from the next, so that there are pairs of keys that share all 128 bits under many seeds.
   */
  XXH128_hash_t hash =
      XXH3_128bits_withSecret(key, key_length, store->hash_secret, sizeof(store->hash_secret));

  static_assert(sizeof(store->hash_secret) >= XXH3_SECRET_SIZE_MIN, "XXH3 reads so much");

  tag_p->word[0] = (uint32_t)hash.low64;
  tag_p->word[1] = (uint32_t)(hash.low64 >> 32);
  tag_p->word[2] = (uint32_t)hash.high64;
}

uint64_t kvi_key_hash(uint32_t space, const struct kvi_key_tag *tag)
{
  return (tag->word[0] | (uint64_t)tag->word[1] << 32) + space * UINT64_C(0x9E3779B97F4A7C15);
}

static uint32_t *bucket_of(const struct kvi_store *store, uint64_t hash)
{
  return &store->buckets[((hash >> 32) * store->n_buckets) >> 32];
}

static uint32_t *ghost_of(const struct kvi_store *store, uint64_t hash)
{
  return &store->ghosts[hash & (store->n_ghosts - 1)];
}

static uint32_t ghost_tag(uint64_t hash)
{
  return (uint32_t)(hash >> 24) & ~GHOST_CAUSE_MASK;
}

/* ---- finding ---- */

static bool entry_is(const struct kvi_entry *entry, uint32_t space, const struct kvi_key_tag *tag)
{
  return entry->space == space && memcmp(&entry->tag, tag, sizeof(*tag)) == 0;
}

uint32_t kvi_index_find_locked(const struct kvi_store *store, uint64_t hash, uint32_t space,
                               const struct kvi_key_tag *tag)
{
  uint32_t number = *bucket_of(store, hash);

  while (number != KVI_NONE && !entry_is(&store->entries[number], space, tag))
    number = store->entries[number].next;
  return number;
}

uint32_t kvi_entry_find_locked(const struct kvi_store *store, const char *tenant, const uint8_t *space,
                               uint32_t key_length, const struct kvi_key_tag *tag)
{
  uint32_t number = kvi_space_find_locked(store, tenant, space);

  if (number == KVI_NONE || store->spaces[number].key_length != key_length)
    return KVI_NONE;
  return kvi_index_find_locked(store, kvi_key_hash(number, tag), number, tag);
}

/* Three passes, so that the cache misses of all keys are under way together rather than one after the other. */
void kvi_index_find_batch_locked(const struct kvi_store *store, uint32_t space,
                                 const struct kvi_key_tag *tags, uint32_t n, uint32_t *found)
{
  uint32_t *buckets[KVI_BATCH_LOCKED];

  assert(n <= KVI_BATCH_LOCKED);
  for (uint32_t i = 0; i < n; i++) {
    buckets[i] = bucket_of(store, kvi_key_hash(space, &tags[i]));
    __builtin_prefetch(buckets[i]); /* GNU: the standard has no prefetch */
  }
  for (uint32_t i = 0; i < n; i++) {
    found[i] = *buckets[i];
    if (found[i] == KVI_NONE)
      continue;
    __builtin_prefetch(&store->entries[found[i]]);
    __builtin_prefetch((const uint8_t *)(&store->entries[found[i]] + 1) -
                       1); /* 36 bytes may lie on two lines */
  }
  for (uint32_t i = 0; i < n; i++) {
    while (found[i] != KVI_NONE && !entry_is(&store->entries[found[i]], space, &tags[i]))
      found[i] = store->entries[found[i]].next;
    if (found[i] != KVI_NONE && !kvi_entry_is_present(&store->entries[found[i]]))
      found[i] = KVI_NONE;
  }
}

/* ---- coming and going ---- */

uint32_t kvi_entry_create_locked(struct kvi_store *store, uint64_t hash, uint32_t space,
                                 const struct kvi_key_tag *tag)
{
  uint32_t number = store->entry_free;
  uint32_t *bucket = bucket_of(store, hash);
  struct kvi_entry *entry;

  if (number != KVI_NONE)
    store->entry_free = store->entries[number].next;
  else if (store->entry_fresh < store->config.max_chunks)
    number = store->entry_fresh++;
  else
    return KVI_NONE;
  entry = &store->entries[number];
  memset(entry, 0, sizeof(*entry));
  entry->tag = *tag;
  entry->space = (uint16_t)space;
  entry->state = KVI_ENTRY_LANDING;
  entry->next = *bucket;
  *bucket = number;
  kvi_account_entry_locked(store, number, 1);
  return number;
}

static void entry_free(struct kvi_store *store, uint32_t number)
{
  struct kvi_entry *entry = &store->entries[number];

  kvi_account_entry_locked(store, number, -1);
  entry->state = KVI_ENTRY_FREE;
  entry->next = store->entry_free;
  store->entry_free = number;
}

/* What the policy says is free now, if anything. */
static void zombie_end_locked(struct kvi_store *store, uint32_t number)
{
  if (number != KVI_POLICY_NONE)
    entry_free(store, number);
}

void kvi_entry_forget_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause)
{
  struct kvi_entry *entry = &store->entries[number];
  uint64_t hash = kvi_key_hash(entry->space, &entry->tag);
  struct kvi_policy_info info;
  uint32_t *link = bucket_of(store, hash);

  while (*link != number)
    link = &store->entries[*link].next;
  *link = entry->next;
  if (cause != KVI_MISS_NONE)
    *ghost_of(store, hash) = ghost_tag(hash) | (uint32_t)cause;
  store->policy_ops->info(store->policy, number, &info);
  zombie_end_locked(store, store->policy_ops->remove(store->policy, number));
  if (info.holds > 0 || info.children > 0)
    entry->state = KVI_ENTRY_ZOMBIE;
  else
    entry_free(store, number);
}

void kvi_entry_link_locked(struct kvi_store *store, uint32_t number, uint32_t parent)
{
  zombie_end_locked(store, store->policy_ops->link(store->policy, number, parent));
}

static void entry_drop_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause,
                              enum kvi_evict_rule rule, const struct kvi_policy_info *info,
                              const uint8_t *key)
{
  struct kvi_entry *entry = &store->entries[number];
  struct kvi_space_entry *space = &store->spaces[entry->space];
  uint32_t parent = kvi_own_remove_locked(store, number);

  assert(kvi_entry_is_present(entry));
  assert((key != NULL) == (cause == KVI_MISS_DELETED || cause == KVI_MISS_CORRUPT));
  kvi_gone_note_locked(store, number, cause, rule, info);
  space->chunks--;
  space->bytes -= entry->length;
  store->stats.chunks--;
  kvi_account_chunks_locked(store, number, -1);
  if (entry->state == KVI_ENTRY_RESIDENT) {
    kvi_ahead_left_locked(store, number);
    kvi_cut_remove_locked(store, number);
    kvi_coder_forget_locked(store->coder, number);
    kvi_object_drop_locked(store, entry->object);
  } else if (entry->state == KVI_ENTRY_FETCHING)
    kvi_fetch_forget_locked(store, number, cause);
  store->stats.writes_lost += entry->queued || entry->writing;
  store->stats.writes_queued -= entry->queued;
  if (kvi_below_has(store, number)) {
    if (entry->state == KVI_ENTRY_RESIDENT)
      kvi_clean_remove_locked(store, number);
    else
      store->stats.medium_only--;
    kvi_below_drop_locked(store, number, key);
  } else if (store->below && key) {
    kvi_below_forget_locked(store, number, key); /* an older copy, or one that is being written */
  }
  kvi_entry_forget_locked(store, number, cause);
  kvi_own_leaf_locked(store, parent);
}

void kvi_entry_drop_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause,
                           const uint8_t *key)
{
  struct kvi_policy_info info;

  store->policy_ops->info(store->policy, number, &info);
  entry_drop_locked(store, number, cause, KVI_EVICT_RULES, &info, key);
}

static enum kvi_miss_cause cause_of(const struct kvi_store *store, enum kvi_evict_rule rule,
                                    const struct kvi_policy_info *info)
{
  switch (rule) {
  case KVI_EVICT_QUOTA:
    return KVI_MISS_QUOTA;
  case KVI_EVICT_CLOSED:
    return KVI_MISS_CLOSED;
  case KVI_EVICT_ROOM:
  case KVI_EVICT_INDEX: /* the time that it was kept for, as told or pinned, may have run out */
    return info->until_ns > 0 && info->until_ns <= kvi_policy_now(store) ? KVI_MISS_EXPIRED
                                                                         : KVI_MISS_EVICTED;
  default:
    return KVI_MISS_EVICTED;
  }
}

void kvi_entry_evict_locked(struct kvi_store *store, uint32_t number, enum kvi_evict_rule rule,
                            const struct kvi_policy_info *info)
{
  entry_drop_locked(store, number, cause_of(store, rule, info), rule, info, NULL);
}

void kvi_entry_unhold_locked(struct kvi_store *store, uint32_t number)
{
  uint32_t left = store->policy_ops->unhold(store->policy, number);
  struct kvi_policy_info info;

  if (left == 0 && store->entries[number].state == KVI_ENTRY_RESIDENT)
    kvi_marks_again_locked(store); /* it may leave memory now */
  if (left == 0)
    kvi_own_unheld_locked(store, number);
  if (left > 0 || store->entries[number].state != KVI_ENTRY_ZOMBIE)
    return;
  store->policy_ops->info(store->policy, number, &info);
  if (info.children == 0)
    entry_free(store, number);
}

/* ---- ghosts: approximate, since a newer one with the same place takes it over ---- */

enum kvi_miss_cause kvi_ghost_cause_locked(const struct kvi_store *store, uint64_t hash)
{
  uint32_t ghost = *ghost_of(store, hash);

  if ((ghost & ~GHOST_CAUSE_MASK) != ghost_tag(hash) || (ghost & GHOST_CAUSE_MASK) == 0)
    return KVI_MISS_NEVER;
  return (enum kvi_miss_cause)(ghost & GHOST_CAUSE_MASK);
}

void kvi_ghost_clear_locked(struct kvi_store *store, uint64_t hash)
{
  if ((*ghost_of(store, hash) & ~GHOST_CAUSE_MASK) == ghost_tag(hash))
    *ghost_of(store, hash) = 0;
}
