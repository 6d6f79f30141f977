/*
 * tiers/below.c: the store as the owner of the medium below: what it asks (is that still yours? it lies elsewhere now; let go of some), and what it
 * tells at start.
 */
#include "tiers/store_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* ---- where the copies are ---- */

kvi_medium_handle kvi_below_handle(const struct kvi_store *store, uint32_t number)
{
  const struct kvi_entry *entry = &store->entries[number];

  if (!store->below)
    return 0;
  switch ((enum kvi_entry_state)entry->state) {
  case KVI_ENTRY_BELOW:
    return entry->handle_low | (kvi_medium_handle)entry->handle_high << 32;
  case KVI_ENTRY_RESIDENT:
    return store->below->handles[entry->object];
  case KVI_ENTRY_FETCHING:
    return store->below->fetches[entry->object].handle;
  case KVI_ENTRY_FREE:
  case KVI_ENTRY_LANDING:
  case KVI_ENTRY_ZOMBIE:
    break;
  }
  return 0;
}

void kvi_below_handle_set(struct kvi_store *store, uint32_t number, kvi_medium_handle handle)
{
  struct kvi_entry *entry = &store->entries[number];
  bool had = kvi_below_has(store, number), has = handle != 0;

  kvi_account_copy_locked(store, number, ((int64_t)has - (int64_t)had) * kvi_below_length(entry));
  if (entry->state == KVI_ENTRY_RESIDENT) {
    store->below->handles[entry->object] = handle;
  } else if (entry->state == KVI_ENTRY_FETCHING) {
    store->below->fetches[entry->object].handle = handle;
  } else {
    assert(entry->state == KVI_ENTRY_BELOW);
    entry->handle_low = (uint32_t)handle;
    entry->handle_high = (uint32_t)(handle >> 32);
  }
}

uint64_t kvi_below_memory(const struct kvi_store *store)
{
  const struct kvi_below *below = store->below;

  return below ? (uint64_t)store->dram_attr.objects_max * (sizeof(*below->handles) + sizeof(*below->clean))
               : 0;
}

void kvi_entry_land_locked(struct kvi_store *store, uint32_t number, kvi_tier_object object)
{
  struct kvi_entry *entry = &store->entries[number];
  kvi_medium_handle handle = kvi_below_handle(store, number);

  entry->state = KVI_ENTRY_RESIDENT;
  entry->object = object;
  entry->medium_length = (handle ? entry->length : 0) & KVI_LENGTH_MASK;
  entry->medium_loss = entry->loss;
  if (store->below)
    store->below->handles[object] = handle;
}

void kvi_entry_resize_locked(struct kvi_store *store, uint32_t number, uint32_t length)
{
  struct kvi_entry *entry = &store->entries[number];
  struct kvi_space_entry *space = &store->spaces[entry->space];

  space->bytes = space->bytes - entry->length + length;
  if (entry->state != KVI_ENTRY_RESIDENT && kvi_below_has(store, number)) /* that is the copy's length */
    kvi_account_copy_locked(store, number, (int64_t)length - (int64_t)entry->length);
  entry->length = length & KVI_LENGTH_MASK;
}

uint32_t kvi_below_length(const struct kvi_entry *entry)
{
  return entry->state == KVI_ENTRY_RESIDENT ? entry->medium_length : entry->length;
}

uint32_t kvi_below_loss(const struct kvi_entry *entry)
{
  return entry->state == KVI_ENTRY_RESIDENT ? entry->medium_loss : entry->loss;
}

void kvi_entry_unwrite_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_entry *entry = &store->entries[number];

  store->stats.writes_lost += entry->queued || entry->writing;
  store->stats.writes_queued -= entry->queued;
  kvi_coder_forget_locked(store->coder, number);
  entry->queued = entry->writing = 0; /* the copy that is being made is dropped when it is there */
  entry->coding = 0;
}

void kvi_entry_leave_locked(struct kvi_store *store, uint32_t number)
{
  kvi_medium_handle handle = kvi_below_handle(store, number);
  struct kvi_entry *entry = &store->entries[number];

  kvi_entry_loss_set_locked(store, number, kvi_below_loss(entry));
  kvi_entry_resize_locked(store, number, kvi_below_length(entry));
  entry->state = KVI_ENTRY_BELOW;
  entry->handle_low = (uint32_t)handle; /* the copy is the one that it had: no more of them */
  entry->handle_high = (uint32_t)(handle >> 32);
}

/* ---- what the medium asks ---- */

/* The entry of what a medium names; KVI_NONE. */
static uint32_t entry_find_locked(const struct kvi_store *store, const struct kvi_medium_identity *identity)
{
  struct kvi_key_tag tag;
  uint32_t number;

  kvi_key_tag(store, identity->key, identity->key_length, &tag);
  number = kvi_entry_find_locked(store, identity->tenant, identity->space, identity->key_length, &tag);
  return number != KVI_NONE && kvi_entry_is_present(&store->entries[number]) ? number : KVI_NONE;
}

static bool owner_holds(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle)
{
  struct kvi_store *store = ctx;
  uint32_t number;
  bool holds;

  pthread_mutex_lock(&store->lock);
  number = entry_find_locked(store, identity);
  holds = number != KVI_NONE && kvi_below_handle(store, number) == handle;
  pthread_mutex_unlock(&store->lock);
  return holds;
}

/* What the medium has of it is so long now, and has lost so much. */
static void copy_resize_locked(struct kvi_store *store, uint32_t number, const struct kvi_medium_found *copy)
{
  struct kvi_entry *entry = &store->entries[number];

  if (entry->state == KVI_ENTRY_RESIDENT) {
    kvi_account_copy_locked(store, number, (int64_t)copy->length - (int64_t)entry->medium_length);
    entry->medium_length = copy->length & KVI_LENGTH_MASK;
    entry->medium_loss = copy->loss & KVI_LOSS_MAX;
  } else {
    kvi_entry_loss_set_locked(store, number, copy->loss);
    kvi_entry_resize_locked(store, number, (uint32_t)copy->length);
  }
}

/* What a lease holds on the medium alone stays as good as it was promised. In memory the better copy stays (clean.c). */
static bool owner_may_lose(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle,
                           uint32_t loss)
{
  struct kvi_store *store = ctx;
  struct kvi_policy_info info = {0};
  struct kvi_entry *entry;
  uint32_t number;
  bool may;

  pthread_mutex_lock(&store->lock);
  number = entry_find_locked(store, identity);
  may = number != KVI_NONE && kvi_below_handle(store, number) == handle;
  if (may) {
    entry = &store->entries[number];
    store->policy_ops->info(store->policy, number, &info);
    if (entry->state == KVI_ENTRY_RESIDENT)
      entry->medium_loss = loss & KVI_LOSS_MAX;
    else if (info.holds == 0)
      kvi_entry_loss_set_locked(store, number, loss);
    else
      may = false;
  }
  pthread_mutex_unlock(&store->lock);
  return may;
}

static bool owner_moved(void *ctx, kvi_medium_handle from, const struct kvi_medium_found *to)
{
  struct kvi_store *store = ctx;
  uint32_t number;
  bool held;

  pthread_mutex_lock(&store->lock);
  number = entry_find_locked(store, &to->identity);
  held = number != KVI_NONE && kvi_below_handle(store, number) == from;
  if (held) {
    kvi_below_handle_set(store, number, to->handle);
    copy_resize_locked(store, number, to);
  }
  pthread_mutex_unlock(&store->lock);
  return held;
}

static uint64_t owner_make_room(void *ctx, uint64_t bytes)
{
  struct kvi_store *store = ctx;
  uint64_t freed;
  bool more;

  pthread_mutex_lock(&store->lock);
  freed = kvi_over_make_room_locked(store, KVI_POLICY_MEDIUM, bytes, &more); /* more: it will ask again */
  for (uint32_t i = 0; i < KVI_BATCH_LOCKED && freed < bytes; i++) {
    uint32_t victim = store->policy_ops->victim(store->policy, KVI_POLICY_MEDIUM, kvi_policy_now(store));

    if (victim == KVI_POLICY_NONE)
      break;
    freed += kvi_below_length(&store->entries[victim]);
    kvi_store_victim_evict_locked(store, victim, KVI_EVICT_ROOM);
  }
  pthread_mutex_unlock(&store->lock);
  return freed;
}

void kvi_copy_lost_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause,
                          const uint8_t *key)
{
  if (store->entries[number].state != KVI_ENTRY_RESIDENT) {
    kvi_entry_drop_locked(store, number, cause, key);
    return;
  }
  kvi_clean_remove_locked(store, number);
  kvi_below_drop_locked(store, number, key);
  store->policy_ops->move(store->policy, number, KVI_POLICY_MEMORY);
  kvi_cut_offer_again_locked(store, number);
}

static void owner_corrupt(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle)
{
  struct kvi_store *store = ctx;
  uint32_t number;
  bool held;

  pthread_mutex_lock(&store->lock);
  number = entry_find_locked(store, identity);
  held = number != KVI_NONE && kvi_below_handle(store, number) == handle;
  if (held) {
    store->stats.corrupt++;
    kvi_copy_lost_locked(store, number, KVI_MISS_CORRUPT, identity->key);
  }
  pthread_mutex_unlock(&store->lock);
  if (held)
    kvi_damages_note(&store->damages, identity->tenant, identity->space, identity->key, identity->key_length,
                     store->below->attr.kind, KVI_DAMAGE_BY_SCRUB);
}

static void owner_lost(void *ctx, kvi_medium_handle first, kvi_medium_handle last)
{
  struct kvi_store *store = ctx;
  uint64_t lost = 0;
  uint32_t end;

  for (uint32_t i = 0;;) {
    pthread_mutex_lock(&store->lock);
    end = store->entry_fresh - i < KVI_BATCH_LOCKED ? store->entry_fresh : i + KVI_BATCH_LOCKED;
    for (; i < end; i++) {
      kvi_medium_handle handle = kvi_below_handle(store, i);

      if (handle >= first && handle <= last && handle != 0) {
        store->stats.medium_lost++;
        kvi_copy_lost_locked(store, i, KVI_MISS_TIER, NULL);
        lost++;
      }
    }
    end = store->entry_fresh;
    pthread_mutex_unlock(&store->lock);
    if (i >= end)
      break;
  }
  kvi_log_warn("%llu chunks lost their copy on %s", (unsigned long long)lost, store->below->attr.name);
}

void kvi_below_drop_locked(struct kvi_store *store, uint32_t number, const uint8_t *key)
{
  struct kvi_below *below = store->below;

  below->medium->ops->drop(below->medium, NULL, kvi_below_handle(store, number), false);
  kvi_below_handle_set(store, number, 0);
  store->stats.medium_chunks--;
  if (key)
    kvi_below_forget_locked(store, number, key);
}

void kvi_below_forget_locked(struct kvi_store *store, uint32_t number, const uint8_t *key)
{
  const struct kvi_entry *entry = &store->entries[number];
  const struct kvi_space_entry *space = &store->spaces[entry->space];
  struct kvi_medium_identity identity = {
      .tenant = space->tenant, .space = space->digest, .key = key, .key_length = space->key_length};

  store->below->medium->ops->drop(store->below->medium, &identity, 0, true);
}

static void object_release(const struct kvi_medium_hold *hold)
{
  struct kvi_store *store = hold->ctx;

  store->dram->ops->close(store->dram, (kvi_tier_object)hold->what);
  atomic_fetch_sub_explicit(&store->holds, 1, memory_order_relaxed);
}

bool kvi_below_is_direct(const struct kvi_store *store)
{
  return store->dram_attr.block_bytes > 0 && store->dram_attr.block_bytes % KVI_MEDIUM_BLOCK == 0;
}

void kvi_below_keep(struct kvi_store *store, kvi_tier_object object, struct kvi_medium_hold *hold_p)
{
  (void)store->dram->ops->open(store->dram, object); /* it has a reference: cannot fail */
  atomic_fetch_add_explicit(&store->holds, 1, memory_order_relaxed);
  *hold_p = (struct kvi_medium_hold){.release = object_release, .ctx = store, .what = object};
}

/* ---- what it tells at start ---- */

/* A child that was told before its parent. By its tag: it may have gone again, and its entry be another chunk's. */
struct orphan {
  uint32_t space;
  struct kvi_key_tag child, parent;
};

/* The entry of its parent, or KVI_NONE; remembered for the end of the recovery if it is not there yet. */
static uint32_t parent_find_locked(struct kvi_store *store, const struct kvi_medium_identity *identity,
                                   uint32_t space, const struct kvi_key_tag *child)
{
  struct kvi_below *below = store->below;
  struct kvi_key_tag tag;
  uint32_t parent;

  if (identity->unchained || !identity->parent || identity->place == 0)
    return KVI_NONE;
  kvi_key_tag(store, identity->parent, identity->key_length, &tag);
  parent = kvi_index_find_locked(store, kvi_key_hash(space, &tag), space, &tag);
  if (parent == KVI_NONE) {
    if (below->n_orphans == below->orphans_room) {
      uint32_t room = below->orphans_room ? below->orphans_room * 2 : 1024;
      struct orphan *grown = realloc(below->orphans, room * sizeof(*grown));

      if (!grown)
        return KVI_NONE; /* a root until the next lookup links it */
      below->orphans = grown;
      below->orphans_room = room;
    }
    below->orphans[below->n_orphans++] = (struct orphan){.space = space, .child = *child, .parent = tag};
    return KVI_NONE;
  }
  return !store->entries[parent].unchained && store->entries[parent].place == identity->place - 1 ? parent
                                                                                                  : KVI_NONE;
}

static void orphans_link_locked(struct kvi_store *store)
{
  struct kvi_below *below = store->below;

  for (uint32_t i = 0; i < below->n_orphans; i++) {
    const struct orphan *orphan = &below->orphans[i];
    uint32_t child = kvi_index_find_locked(store, kvi_key_hash(orphan->space, &orphan->child), orphan->space,
                                           &orphan->child);
    uint32_t parent = kvi_index_find_locked(store, kvi_key_hash(orphan->space, &orphan->parent),
                                            orphan->space, &orphan->parent);

    if (child != KVI_NONE && parent != KVI_NONE && !store->entries[child].unchained &&
        !store->entries[parent].unchained && store->entries[parent].place + 1 == store->entries[child].place)
      kvi_entry_link_locked(store, child, parent);
  }
  free(below->orphans);
  below->orphans = NULL;
  below->n_orphans = below->orphans_room = 0;
}

/* Older ones were told before. While the store opens nobody waits for the lock, and nothing is held: what is looked at in vain is left behind for good. */
static bool entry_room_locked(struct kvi_store *store, uint32_t space)
{
  kvs_status status;

  do
    status = kvi_entry_room_locked(store, store->spaces[space].account);
  while (status == KVS_ERR_BUSY);
  return status == KVS_OK;
}

/* A new entry for what was found. False: the index is full. */
static bool found_add_locked(struct kvi_store *store, const struct kvi_medium_found *found, uint32_t space,
                             const struct kvi_key_tag *tag)
{
  uint64_t hash = kvi_key_hash(space, tag);
  uint32_t number = kvi_entry_create_locked(store, hash, space, tag);
  struct kvi_entry *entry;

  if (number == KVI_NONE && entry_room_locked(store, space))
    number = kvi_entry_create_locked(store, hash, space, tag);
  if (number == KVI_NONE)
    return false;
  entry = &store->entries[number];
  entry->state = KVI_ENTRY_BELOW;
  entry->length = found->length & KVI_LENGTH_MASK;
  kvi_entry_loss_set_locked(store, number, found->loss);
  entry->place = found->identity.place;
  entry->unchained = found->identity.unchained;
  kvi_below_handle_set(store, number, found->handle);
  kvi_chunk_insert_locked(store, number, parent_find_locked(store, &found->identity, space, tag));
  store->policy_ops->move(store->policy, number, KVI_POLICY_MEDIUM);
  store->spaces[space].chunks++;
  store->spaces[space].bytes += entry->length;
  kvi_account_chunks_locked(store, number, 1);
  kvi_own_place_locked(store, number);
  store->stats.chunks++;
  store->stats.medium_chunks++;
  store->stats.medium_only++;
  return true;
}

static bool found_take(void *ctx, const struct kvi_medium_found *found)
{
  struct kvi_store *store = ctx;
  uint32_t space =
      kvi_space_recover(store, found->identity.tenant, found->identity.space, found->identity.key_length);
  struct kvi_key_tag tag;
  uint32_t number;
  bool taken;

  if (space == KVI_NONE || found->length > store->config.chunk_bytes_max)
    return false;
  kvi_key_tag(store, found->identity.key, found->identity.key_length, &tag);
  pthread_mutex_lock(&store->lock);
  number = kvi_index_find_locked(store, kvi_key_hash(space, &tag), space, &tag);
  if (number !=
      KVI_NONE) { /* told again, perhaps in another form: what has lost less counts, else the later one */
    taken = found->loss <= store->entries[number].loss;
    if (taken) {
      store->below->medium->ops->drop(store->below->medium, &found->identity, kvi_below_handle(store, number),
                                      false);
      kvi_below_handle_set(store, number, found->handle);
      copy_resize_locked(store, number, found);
    }
  } else {
    taken = found_add_locked(store, found, space, &tag);
  }
  pthread_mutex_unlock(&store->lock);
  return taken;
}

/* ---- life ---- */

static kvs_status parts_create(struct kvi_store *store, struct kvi_below *below)
{
  uint32_t n = store->dram_attr.objects_max;

  below->queue.room = below->again.room = store->config.write_queue;
  below->handles = calloc(n, sizeof(*below->handles));
  below->clean = malloc((size_t)n * sizeof(*below->clean));
  below->queue.ring = calloc(below->queue.room, sizeof(*below->queue.ring));
  below->again.ring = calloc(below->again.room, sizeof(*below->again.ring));
  below->writes = calloc(KVI_BELOW_WRITES, sizeof(*below->writes));
  below->fetches = calloc(KVI_BELOW_FETCHES, sizeof(*below->fetches));
  if (!below->handles || !below->clean || !below->queue.ring || !below->again.ring || !below->writes ||
      !below->fetches)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < KVI_BELOW_WRITES; i++)
    below->writes[i].next_free = i + 1 < KVI_BELOW_WRITES ? &below->writes[i + 1] : NULL;
  below->write_free = below->writes;
  for (uint32_t i = 0; i < KVI_BELOW_FETCHES; i++)
    below->fetches[i].next_free = i + 1 < KVI_BELOW_FETCHES ? &below->fetches[i + 1] : NULL;
  below->fetch_free = below->fetches;
  return KVS_OK;
}

kvs_status kvi_below_create(struct kvi_store *store, struct kvi_medium *medium)
{
  struct kvi_below *below = calloc(1, sizeof(*below));
  struct kvi_medium_owner owner = {.ctx = store,
                                   .holds = owner_holds,
                                   .may_lose = owner_may_lose,
                                   .moved = owner_moved,
                                   .make_room = owner_make_room,
                                   .corrupt = owner_corrupt,
                                   .lost = owner_lost};
  kvs_status status;

  if (!below)
    return KVS_ERR_NOMEM;
  below->medium = medium;
  below->clean_first = below->clean_last = KVI_NONE;
  kvi_budget_init(&below->budget, store->config.write_day_bytes, store->config.chunk_bytes_max, kvi_now_ns());
  pthread_cond_init(&below->called, NULL);
  medium->ops->attr(medium, &below->attr);
  below->read_bytes_per_s = KVI_BELOW_BYTES_PER_S;
  store->below = below;
  status = parts_create(store, below);
  if (status != KVS_OK)
    return status;
  status = medium->ops->recover(medium, &owner, found_take);
  pthread_mutex_lock(&store->lock);
  /* From now on it notes who uses what; how much memory holds it is told when something has to leave that. */
  if (store->policy_ops->memory_told)
    store->policy_ops->memory_told(store->policy, store->config.max_chunks,
                                   1 / (double)KVI_BELOW_BYTES_PER_S);
  orphans_link_locked(store);
  pthread_mutex_unlock(&store->lock);
  return status;
}

void kvi_below_destroy(struct kvi_store *store)
{
  struct kvi_below *below = store->below;

  if (!below)
    return;
  pthread_cond_destroy(&below->called);
  free(below->orphans);
  free(below->fetches);
  free(below->writes);
  free(below->again.ring);
  free(below->queue.ring);
  free(below->clean);
  free(below->handles);
  free(below);
  store->below = NULL;
}
