/*
 * tiers/shared_forget.c: what was deleted from the store leaves the shared tier too, and the answer says whether it did.
 *
 * Three things may bring a chunk back while it is deleted, and each is met here: a fetch that is under way (it is marked, and lands nothing), a write
 * that is under way (the medium orders its removal behind it), and a fetch or write that begins now (it waits or is refused until the medium
 * has answered). So the store is looked at once more between the mark and the removal.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/shared_private.h"

#define REMOVALS_AT_ONCE 64u /* of one delete */
#define AGAIN_MANY                                                                                           \
  75u /* percent of the deletes that can wait: above KVI_STORE_DELETES_MANY, up to which new ones are begun */

struct kvi_shared_forgetting {
  struct kvi_shared *shared;
  struct kvi_shared_forgetting *next_forgetting;
  void (*done)(void *ctx, const uint8_t *there, uint32_t unconfirmed);
  void *ctx;
  uint64_t deadline_ns;
  uint32_t n_keys, key_length, n_slots;
  uint32_t left, pending,
      unconfirmed; /* guarded by the shared lock, as `there` is; left: keys not begun, the last ones first */
  const uint8_t *space, *keys;
  char tenant[KVI_TENANT_MAX];
  uint8_t *there;
  struct removal {
    struct kvi_medium_remove remove;
    struct kvi_shared_forgetting *all;
    struct kvi_shared_name name; /* key_length 0: none */
    uint32_t index;
  } slots[];
};

bool kvi_shared_is_forgotten_locked(const struct kvi_shared *shared, const struct kvi_shared_name *name)
{
  const struct kvi_shared_forgetting *all = shared->forgettings;

  for (; all; all = all->next_forgetting)
    for (uint32_t i = 0; i < all->n_slots; i++)
      if (kvi_shared_name_equal(&all->slots[i].name, name))
        return true;
  return false;
}

/* ---- one key ---- */

static void count_locked(struct kvi_shared_forgetting *all, uint32_t index, bool there, bool confirmed)
{
  struct kvi_shared_stats *stats = &all->shared->stats;

  if (there)
    all->there[index / 8] |= (uint8_t)(1u << index % 8);
  all->unconfirmed += !confirmed;
  stats->forgets++;
  stats->forget_hits += there;
  stats->forgets_unconfirmed += !confirmed;
}

/* Takes the next key. False: there is none. */
static bool name_next_locked(struct removal *slot)
{
  struct kvi_shared_forgetting *all = slot->all;

  slot->name.key_length = 0;
  if (all->left == 0)
    return false;
  slot->index = --all->left; /* from the last on, as the store is deleted from */
  (void)kvi_shared_name_make(all->tenant, all->space, all->keys + (size_t)slot->index * all->key_length,
                             all->key_length, &slot->name); /* its lengths were checked */
  kvi_shared_fetch_forget_locked(all->shared, &slot->name);
  return true;
}

static kvs_status remove_locked(struct removal *slot, void (*done)(struct kvi_medium_remove *, kvs_status))
{
  struct kvi_medium *medium = slot->all->shared->config.medium;
  kvs_status status;

  slot->remove = (struct kvi_medium_remove){.identity = kvi_shared_identity(&slot->name),
                                            .deadline_ns = slot->all->deadline_ns,
                                            .done = done,
                                            .user = slot};
  status = medium->ops->remove(medium, &slot->remove);
  if (status != KVS_OK) { /* no answer will come: most likely it goes */
    medium->ops->drop(medium, &slot->remove.identity, 0, true);
    kvi_shared_expiry_end_locked(slot->all->shared, &slot->name);
  }
  return status;
}

static void removed(struct kvi_medium_remove *remove, kvs_status status);

/* The slot's next keys, until one is under way or there is none. */
static void slot_run(struct removal *slot)
{
  struct kvi_shared_forgetting *all = slot->all;
  struct kvi_shared *shared = all->shared;
  const struct kvi_shared_name *name = &slot->name;
  kvs_status status = KVS_ERR_BUSY;

  pthread_mutex_lock(&shared->lock);
  while (status != KVS_OK && name_next_locked(slot)) {
    bool was_here;

    if (kvi_store_deletes_waiting(shared->config.store) >
        AGAIN_MANY) { /* it was deleted there; once more is too much now */
      count_locked(all, slot->index, false, false);
      continue;
    }
    pthread_mutex_unlock(&shared->lock);
    was_here = kvi_store_delete(shared->config.store, name->tenant, name->space, name->key,
                                name->key_length) == KVS_OK;
    /* Under the lock again: a write that has found it in the store has been given to the medium. */
    pthread_mutex_lock(&shared->lock);
    all->pending++;
    status = remove_locked(slot, removed);
    if (status != KVS_OK) {
      all->pending--;
      count_locked(all, slot->index, was_here, false);
    } else if (was_here) {
      all->there[slot->index / 8] |= (uint8_t)(1u << slot->index % 8);
    }
  }
  kvi_shared_pump_locked(shared);
  pthread_mutex_unlock(&shared->lock);
}

/* One that counted among the pending has ended; with the last one, the whole. */
static void part_end(struct kvi_shared_forgetting *all)
{
  struct kvi_shared *shared = all->shared;
  struct kvi_shared_forgetting **link = &shared->forgettings;
  bool last;

  pthread_mutex_lock(&shared->lock);
  last = --all->pending == 0;
  if (last) {
    while (*link != all)
      link = &(*link)->next_forgetting;
    *link = all->next_forgetting;
    shared->n_forgettings--;
    kvi_shared_pump_locked(shared);
  }
  pthread_mutex_unlock(&shared->lock);
  if (!last)
    return;
  all->done(all->ctx, all->there, all->unconfirmed);
  free(all);
}

static void removed(struct kvi_medium_remove *remove, kvs_status status)
{
  struct removal *slot = remove->user;
  struct kvi_shared_forgetting *all = slot->all;

  pthread_mutex_lock(&all->shared->lock);
  if (status == KVS_OK || status == KVS_MISS)
    kvi_shared_expiry_end_locked(all->shared, &slot->name);
  count_locked(all, slot->index, status == KVS_OK, status == KVS_OK || status == KVS_MISS);
  pthread_mutex_unlock(&all->shared->lock);
  slot_run(slot);
  part_end(all);
}

/* ---- all keys ---- */

/* One block of memory: the struct, slots, bits, space and keys. */
static struct kvi_shared_forgetting *make(struct kvi_shared *shared, const struct kvi_shared_forget *asked)
{
  uint32_t n_slots = asked->n_keys < REMOVALS_AT_ONCE ? asked->n_keys : REMOVALS_AT_ONCE;
  uint32_t n_bytes = (asked->n_keys + 7) / 8;
  size_t keys_bytes = (size_t)asked->n_keys * asked->key_length;
  struct kvi_shared_forgetting *all =
      calloc(1, sizeof(*all) + n_slots * sizeof(struct removal) + n_bytes + KVS_DIGEST_SIZE + keys_bytes);
  uint8_t *space, *keys;

  if (!all)
    return NULL;
  all->shared = shared;
  all->done = asked->done;
  all->ctx = asked->ctx;
  all->deadline_ns = kvi_deadline_from_ms(shared->config.get_ms).at_ns;
  all->n_keys = all->left = asked->n_keys;
  all->key_length = asked->key_length;
  all->n_slots = n_slots;
  all->there = (uint8_t *)&all->slots[n_slots];
  space = all->there + n_bytes;
  keys = space + KVS_DIGEST_SIZE;
  memcpy(space, asked->space, KVS_DIGEST_SIZE);
  memcpy(keys, asked->keys, keys_bytes);
  memcpy(all->tenant, asked->tenant, strlen(asked->tenant) + 1); /* its length was checked */
  all->space = space;
  all->keys = keys;
  for (uint32_t i = 0; i < n_slots; i++)
    all->slots[i].all = all;
  return all;
}

/* No answer will come. */
static void drop_all(struct kvi_shared *shared, const struct kvi_shared_forget *asked)
{
  struct kvi_medium *medium = shared->config.medium;

  for (uint32_t i = 0; i < asked->n_keys; i++) {
    struct kvi_shared_name name;
    struct kvi_medium_identity identity;

    (void)kvi_shared_name_make(asked->tenant, asked->space, asked->keys + (size_t)i * asked->key_length,
                               asked->key_length, &name); /* its lengths were checked */
    identity = kvi_shared_identity(&name);
    medium->ops->drop(medium, &identity, 0, true);
    pthread_mutex_lock(&shared->lock);
    kvi_shared_expiry_end_locked(shared, &name);
    pthread_mutex_unlock(&shared->lock);
  }
}

kvs_status kvi_shared_forget(struct kvi_shared *shared, const struct kvi_shared_forget *asked)
{
  struct kvi_shared_forgetting *all;
  bool refused;

  if (asked->n_keys == 0 || strlen(asked->tenant) >= KVI_TENANT_MAX || asked->key_length < KVS_KEY_MIN ||
      asked->key_length > KVS_KEY_MAX)
    return KVS_ERR_INVALID;
  all = make(shared, asked);
  pthread_mutex_lock(&shared->lock);
  refused = !all || shared->closing || shared->n_forgettings >= KVI_SHARED_FORGETS;
  if (!refused) {
    all->pending = 1; /* this function's own */
    all->next_forgetting = shared->forgettings;
    shared->forgettings = all;
    shared->n_forgettings++;
  }
  pthread_mutex_unlock(&shared->lock);
  if (refused) {
    drop_all(shared, asked);
    free(all);
    return KVS_ERR_BUSY;
  }
  for (uint32_t i = 0; i < all->n_slots; i++)
    slot_run(&all->slots[i]);
  part_end(all);
  return KVS_OK;
}
