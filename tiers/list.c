/* tiers/list.c: delete, and what an operator asks: the spaces, the chunks of one. */
#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "tiers/store_private.h"

kvs_status kvi_store_delete(struct kvi_store *store, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length)
{
  struct kvi_medium_identity identity = {
      .tenant = tenant, .space = space, .key = key, .key_length = key_length};
  struct kvi_key_tag tag;
  uint32_t entry;

  if (key_length < KVS_KEY_MIN || key_length > KVS_KEY_MAX)
    return KVS_MISS;
  kvi_key_tag(store, key, key_length, &tag);
  pthread_mutex_lock(&store->lock);
  entry = kvi_entry_find_locked(store, tenant, space, key_length, &tag);
  if (entry != KVI_NONE && kvi_entry_is_present(&store->entries[entry])) {
    kvi_entry_drop_locked(store, entry, KVI_MISS_DELETED, key);
    store->stats.deletes++;
  } else {
    entry = KVI_NONE;
    if (store->below) /* one that was evicted may come back at a restart: now it may not */
      store->below->medium->ops->drop(store->below->medium, &identity, 0, true);
  }
  pthread_mutex_unlock(&store->lock);
  return entry != KVI_NONE ? KVS_OK : KVS_MISS;
}

uint32_t kvi_store_deletes_waiting(struct kvi_store *store)
{
  return store->below ? store->below->medium->ops->drops_waiting(store->below->medium) : 0;
}

kvs_status kvi_store_settle(struct kvi_store *store, struct kvi_medium_settle *settle)
{
  return store->below ? store->below->medium->ops->settle(store->below->medium, settle) : KVS_OK;
}

size_t kvi_store_spaces(struct kvi_store *store, const char *tenant, uint64_t *cursor_p,
                        struct kvi_space_info *infos, size_t room)
{
  uint64_t cursor = *cursor_p;
  bool more = true;
  size_t n = 0;

  while (more && n < room) {
    pthread_mutex_lock(&store->lock);
    for (uint32_t i = 0; i < KVI_BATCH_LOCKED && cursor < store->n_spaces && n < room; i++, cursor++) {
      const struct kvi_space_entry *space = &store->spaces[cursor];

      if (strcmp(space->tenant, tenant) != 0)
        continue;
      infos[n] = (struct kvi_space_info){.desc = space->desc, .chunks = space->chunks, .bytes = space->bytes};
      memcpy(infos[n++].digest, space->digest, KVS_DIGEST_SIZE);
    }
    more = cursor < store->n_spaces;
    pthread_mutex_unlock(&store->lock);
  }
  *cursor_p = more ? cursor : 0;
  return n;
}

void kvi_chunk_info_locked(struct kvi_store *store, uint32_t number, uint64_t now_ns,
                           struct kvi_chunk_info *info)
{
  const struct kvi_entry *entry = &store->entries[number];
  struct kvi_policy_info policy;
  struct kvi_chunk_table table;
  bool here = entry->state == KVI_ENTRY_RESIDENT;

  memset(info, 0, sizeof(*info));
  if (kvi_entry_key_locked(store, number, info->key)) /* else it lies with the bytes, on the medium */
    info->key_length = store->spaces[entry->space].key_length;
  store->policy_ops->info(store->policy, number, &policy);
  info->place = entry->place;
  info->children = policy.children;
  info->leased = policy.holds > kvi_coder_holds_locked(store->coder, number);
  info->idle_ms = now_ns > policy.last_use_ns ? (now_ns - policy.last_use_ns) / KVI_NS_PER_MS : 0;
  info->length = entry->length;
  info->quality = entry->loss;
  info->tier = here ? KVI_TIER_DRAM : store->below->attr.kind;
  if (here && store->dram->ops->table(store->dram, entry->object, &table) == KVS_OK) {
    info->segments = table.n_segments;
    info->quality = table.quality;
  }
}

size_t kvi_store_chunks(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t *cursor_p,
                        struct kvi_chunk_info *infos, size_t room)
{
  uint64_t cursor = *cursor_p, now = kvi_policy_now(store);
  uint32_t number;
  size_t n = 0;
  bool more = true;

  pthread_mutex_lock(&store->lock);
  number = kvi_space_find_locked(store, tenant, space);
  pthread_mutex_unlock(&store->lock);
  *cursor_p = 0;
  if (number == KVI_NONE)
    return 0;
  while (more && n < room) {
    pthread_mutex_lock(&store->lock);
    for (uint32_t i = 0; i < KVI_BATCH_LOCKED && cursor < store->entry_fresh && n < room; i++, cursor++)
      if (kvi_entry_is_present(&store->entries[cursor]) && store->entries[cursor].space == number)
        kvi_chunk_info_locked(store, (uint32_t)cursor, now, &infos[n++]);
    more = cursor < store->entry_fresh;
    pthread_mutex_unlock(&store->lock);
  }
  *cursor_p = more ? cursor : 0;
  return n;
}

/* ---- who waits ---- */

/* False: it is another tenant's. */
static bool waiter_info_locked(const struct kvi_store *store, const char *tenant,
                               struct kvi_waiter_info *info)
{
  uint32_t number = info->waiter.last;
  const struct kvi_space_entry *space;

  info->key_length = 0;
  memset(info->space, 0, sizeof(info->space));
  if (number == KVI_POLICY_NONE)
    return true;
  space = &store->spaces[store->entries[number].space];
  if (strcmp(space->tenant, tenant) != 0)
    return false;
  memcpy(info->space, space->digest, sizeof(info->space));
  if (kvi_entry_key_locked(store, number, info->key))
    info->key_length = space->key_length;
  return true;
}

size_t kvi_store_waiters(struct kvi_store *store, const char *tenant, uint64_t *cursor_p,
                         struct kvi_waiter_info *infos, size_t room)
{
  uint64_t cursor = *cursor_p;
  bool more = store->policy_ops->waiters != NULL;
  size_t n = 0;

  *cursor_p = 0;
  while (more && n < room) {
    uint64_t now = kvi_policy_now(store), end;

    pthread_mutex_lock(&store->lock);
    end = store->policy_ops->waiters(store->policy);
    for (uint32_t i = 0; i < KVI_BATCH_LOCKED && cursor < end && n < room; i++, cursor++)
      if (store->policy_ops->waiter(store->policy, (uint32_t)cursor, &infos[n].waiter, now) &&
          waiter_info_locked(store, tenant, &infos[n]))
        n++;
    more = cursor < end;
    pthread_mutex_unlock(&store->lock);
  }
  *cursor_p = more ? cursor : 0;
  return n;
}

void kvi_store_prices(struct kvi_store *store, const char *tenant, struct kvi_price_info *info_p)
{
  const struct kvi_policy_ops *ops = store->policy_ops;
  uint32_t account = tenant ? kvi_store_tenant_find(store, tenant) : 0;
  uint64_t now = kvi_policy_now(store);

  *info_p = (struct kvi_price_info){.policy = ops->name};
  if (!ops->tier_price)
    return;
  pthread_mutex_lock(&store->lock);
  info_p->by_price = ops->goes_by_price(store->policy);
  for (uint32_t group = 0; group < 2; group++)
    info_p->prices[group] = tenant ? ops->own_price(store->policy, account, (enum kvi_policy_group)group, now)
                                   : ops->tier_price(store->policy, (enum kvi_policy_group)group, now);
  pthread_mutex_unlock(&store->lock);
}
