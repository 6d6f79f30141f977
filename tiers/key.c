/* tiers/key.c: the keys of chunks in full, which lie with the bytes: in memory as the label of the object. */
#include <string.h>

#include "tiers/store_private.h"

uint32_t kvi_label_write(uint8_t *label, const uint8_t *key, const uint8_t *parent, uint32_t key_length)
{
  memcpy(label, key, key_length);
  if (!parent || 2 * key_length > KVI_TIER_LABEL_MAX)
    return key_length;
  memcpy(label + key_length, parent, key_length);
  return 2 * key_length;
}

bool kvi_object_is(const struct kvi_store *store, kvi_tier_object object, const uint8_t *key,
                   uint32_t key_length)
{
  const void *label;
  uint32_t length;

  return store->dram->ops->label(store->dram, object, &label, &length) == KVS_OK && length >= key_length &&
         memcmp(label, key, key_length) == 0;
}

/* From the label of an entry in memory, `skip` keys from its beginning. */
static bool label_read_locked(const struct kvi_store *store, uint32_t number, uint32_t skip, uint8_t *key)
{
  const struct kvi_entry *entry = &store->entries[number];
  uint32_t key_length = store->spaces[entry->space].key_length, length;
  const void *label;

  if (entry->state != KVI_ENTRY_RESIDENT ||
      store->dram->ops->label(store->dram, entry->object, &label, &length) != KVS_OK ||
      length < (skip + 1) * key_length)
    return false;
  memcpy(key, (const uint8_t *)label + skip * key_length, key_length);
  return true;
}

bool kvi_entry_key_locked(const struct kvi_store *store, uint32_t number, uint8_t *key)
{
  return label_read_locked(store, number, 0, key);
}

bool kvi_entry_parent_key_locked(const struct kvi_store *store, uint32_t number, uint8_t *key)
{
  struct kvi_policy_info info;

  if (label_read_locked(store, number, 1, key))
    return true;
  store->policy_ops->info(store->policy, number, &info);
  return info.parent != KVI_POLICY_NONE && label_read_locked(store, info.parent, 0, key);
}
