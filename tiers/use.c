/*
 * tiers/use.c: the first use of a chunk that was put off: tiers below that want only what is used again get it now. A use later on costs the look at two bits.
 */
#include <string.h>

#include "tiers/store_private.h"

static void identity_fill_locked(struct kvi_store *store, uint32_t number, struct kvi_use *use)
{
  const struct kvi_entry *entry = &store->entries[number];
  const struct kvi_space_entry *space = &store->spaces[entry->space];

  if (!kvi_entry_key_locked(store, number, use->key))
    return;
  use->identity = (struct kvi_medium_identity){.tenant = space->tenant,
                                               .space = space->digest,
                                               .key = use->key,
                                               .key_length = space->key_length,
                                               .place = entry->place,
                                               .unchained = entry->unchained};
  if (kvi_entry_parent_key_locked(store, number, use->parent))
    use->identity.parent = use->parent;
  use->lower = store->lower;
}

void kvi_use_locked(struct kvi_store *store, uint32_t number, struct kvi_use *use_p)
{
  struct kvi_entry *entry = &store->entries[number];

  use_p->lower = NULL;
  if (entry->state != KVI_ENTRY_RESIDENT || (!entry->unwritten && !entry->unshared))
    return;
  if (entry->unwritten) {
    entry->unwritten = 0;
    kvi_write_through_locked(store, number, 1);
  }
  if (entry->unshared) {
    entry->unshared = 0;
    identity_fill_locked(store, number, use_p);
  }
}

void kvi_use_tell(const struct kvi_use *use)
{
  if (use->lower)
    use->lower->used(use->lower->ctx, &use->identity);
}

void kvi_store_await_use(struct kvi_store *store, const char *tenant, const uint8_t *space,
                         const uint8_t *key, uint32_t key_length)
{
  struct kvi_key_tag tag;
  uint32_t entry;

  kvi_key_tag(store, key, key_length, &tag);
  pthread_mutex_lock(&store->lock);
  entry = kvi_entry_find_locked(store, tenant, space, key_length, &tag);
  if (entry != KVI_NONE && kvi_entry_is_present(&store->entries[entry]))
    store->entries[entry].unshared = 1;
  pthread_mutex_unlock(&store->lock);
}
