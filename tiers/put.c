/*
 * tiers/put.c: landings. A put takes an entry in the index at once, so that equal puts find it and children can be
 * linked to it, but readers see it only when commit has sealed its bytes.
 *
 * The room is taken outside the store's lock. A landing holds its parent, so that what it is a continuation of is not evicted to
 * make room for it.
 */
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "tiers/store_private.h"

/* A put that has evicted so many times its own size and still finds no room (readers sit on it, others are faster) gives up. */
#define EVICT_FACTOR_MAX 4u
#define EVICT_SLACK      (1u << 20)

kvs_status kvi_landings_create(struct kvi_store *store)
{
  store->landings = calloc(store->config.max_landings, sizeof(*store->landings));
  if (!store->landings)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < store->config.max_landings; i++)
    store->landings[i].next_free = i + 1 < store->config.max_landings ? i + 1 : KVI_NONE;
  store->landing_free = 0;
  return KVS_OK;
}

void kvi_landings_destroy(struct kvi_store *store)
{
  free(store->landings);
}

/* ---- begin ---- */

kvs_status kvi_put_check(const struct kvi_store *store, const struct kvi_put_request *request)
{
  uint64_t sum = 0;

  if (!request->space || !request->key || !request->segment_lengths || request->length == 0)
    return KVS_ERR_INVALID;
  if (request->length > store->config.chunk_bytes_max)
    return KVS_ERR_TOO_LARGE;
  if (request->n_segments == 0 || request->n_segments > KVI_SEGMENTS_MAX)
    return request->n_segments ? KVS_ERR_TOO_LARGE : KVS_ERR_INVALID;
  for (uint32_t i = 0; i < request->n_segments; i++) {
    if (request->segment_lengths[i] == 0)
      return KVS_ERR_INVALID;
    sum += request->segment_lengths[i];
  }
  return sum == request->length ? KVS_OK : KVS_ERR_INVALID;
}

/* The entry of the chunk before it in its chain, whole or landing. Places must fit, so that links can make no circle. */
static uint32_t parent_find_locked(const struct kvi_store *store, uint32_t space,
                                   const struct kvi_put_request *request)
{
  struct kvi_key_tag tag;
  uint32_t parent;

  if (request->unchained || !request->parent || request->place == 0)
    return KVI_NONE;
  kvi_key_tag(store, request->parent, request->key_length, &tag);
  parent = kvi_index_find_locked(store, kvi_key_hash(space, &tag), space, &tag);
  if (parent == KVI_NONE || store->entries[parent].unchained ||
      store->entries[parent].place != request->place - 1)
    return KVI_NONE;
  return parent;
}

/* What a put that begins keeps from one hold of the lock to the next. */
struct begin {
  kvi_put_wait_fn *wait_fn;
  void *wait_ctx;
  struct kvi_use use;
  uint32_t steps;   /* that are left to it to look for an entry */
  uint32_t account; /* its tenant's */
  bool more;        /* come again: others may have an entry to spare */
};

/* An entry, making one free if need be. Errors: those of kvi_entry_room_locked. */
static kvs_status entry_take_locked(struct kvi_store *store, uint64_t hash, uint32_t space,
                                    const struct kvi_key_tag *tag, uint32_t *number_p)
{
  kvs_status status;

  *number_p = kvi_entry_create_locked(store, hash, space, tag);
  if (*number_p != KVI_NONE)
    return KVS_OK;
  status = kvi_entry_room_locked(store, store->spaces[space].account);
  if (status != KVS_OK)
    return status;
  *number_p = kvi_entry_create_locked(store, hash, space, tag);
  return *number_p == KVI_NONE ? KVS_ERR_FULL : KVS_OK;
}

/* Without an entry the parent is let go. When the put comes again it will be held as it was: nothing has changed by that for who looks for what may go. */
static kvs_status entry_not_taken_locked(struct kvi_store *store, kvs_status status, uint32_t parent,
                                         struct begin *begin)
{
  begin->more = status == KVS_ERR_BUSY && begin->steps > 0;
  begin->steps -= begin->more;
  if (parent != KVI_NONE && begin->more)
    (void)store->policy_ops->unhold(store->policy, parent);
  else if (parent != KVI_NONE)
    kvi_entry_unhold_locked(store, parent);
  return status;
}

static bool landing_is_free_locked(struct kvi_store *store, uint32_t space)
{
  return store->landing_free != KVI_NONE &&
         kvi_account_share_locked(store, store->spaces[space].account, KVI_SHARED_LANDINGS, 0);
}

/* There is a free one. */
static uint32_t landing_take_locked(struct kvi_store *store, uint32_t space)
{
  uint32_t number = store->landing_free;
  struct kvi_store_landing *landing = &store->landings[number];

  (void)kvi_account_share_locked(store, store->spaces[space].account, KVI_SHARED_LANDINGS, 1);

  store->landing_free = landing->next_free;
  *landing = (struct kvi_store_landing){.parent = KVI_NONE, .first_waiter = KVI_NONE};
  store->stats.landings++;
  return number;
}

/* KVS_OK: *landing_p is its number. Otherwise as put_begin. */
static kvs_status landing_open_locked(struct kvi_store *store, uint32_t space,
                                      const struct kvi_put_request *request, const struct kvi_key_tag *tag,
                                      struct begin *begin, uint32_t *landing_p)
{
  uint64_t hash = kvi_key_hash(space, tag), followed_ns;
  uint32_t number = kvi_index_find_locked(store, hash, space, tag);
  struct kvi_store_landing *landing;
  kvs_status status;
  uint32_t parent;

  if (number != KVI_NONE && kvi_entry_is_present(&store->entries[number]) &&
      kvi_better_wanted_locked(store, number, request->quality, request->fetched)) {
    if (!landing_is_free_locked(store, space))
      return KVS_ERR_BUSY;
    *landing_p = landing_take_locked(store, space);
    kvi_better_begin_locked(store, &store->landings[*landing_p], number);
    return KVS_OK;
  }
  if (number != KVI_NONE && kvi_entry_is_present(&store->entries[number])) {
    kvi_entry_touch_locked(store, number, kvi_policy_now(store));
    if (!store->entries[number].unchained && store->entries[number].place == request->place)
      kvi_entry_link_locked(store, number, parent_find_locked(store, space, request));
    kvi_use_locked(store, number, &begin->use); /* somebody else had it to compute, too */
    return KVS_EXISTS;
  }
  if (number != KVI_NONE)
    return kvi_waiter_add_locked(store, store->entries[number].object, kvi_quality_loss(request->quality),
                                 begin->wait_fn, begin->wait_ctx);
  followed_ns = kvi_follows_declined_locked(store, space, request);
  if (followed_ns > 0) {
    kvi_declined_locked(store, space, tag, request->length, followed_ns);
    return KVS_DECLINED;
  }
  if (!landing_is_free_locked(store, space))
    return KVS_ERR_BUSY;
  parent = parent_find_locked(store, space, request);
  if (parent != KVI_NONE)
    store->policy_ops->hold(store->policy, parent); /* before room is made */
  status = entry_take_locked(store, hash, space, tag, &number);
  if (status != KVS_OK)
    return entry_not_taken_locked(store, status, parent, begin);
  *landing_p = landing_take_locked(store, space);
  landing = &store->landings[*landing_p];
  landing->entry = number;
  landing->parent = parent;
  store->entries[number].object = *landing_p;
  store->entries[number].length = request->length & KVI_LENGTH_MASK;
  store->entries[number].place = request->place;
  store->entries[number].unchained = request->unchained;
  kvi_entry_loss_set_locked(store, number, kvi_quality_loss(request->quality));
  return KVS_OK;
}

static kvs_status begin_locked(struct kvi_store *store, const char *tenant,
                               const struct kvi_put_request *request, const struct kvi_key_tag *tag,
                               struct begin *begin, uint32_t *landing_p)
{
  uint32_t space = kvi_space_find_locked(store, tenant, request->space);

  begin->more = false;
  if (space == KVI_NONE)
    return KVS_ERR_SPACE_UNKNOWN;
  begin->account = store->spaces[space].account;
  if (store->spaces[space].key_length != request->key_length)
    return KVS_ERR_KEY_LENGTH;
  if (store->spaces[space].chunk_bytes != 0 && store->spaces[space].chunk_bytes != request->length &&
      kvi_quality_coding(request->quality) ==
          KVI_CODING_NONE) /* a coded one is as long as it happens to be */
    return KVS_ERR_SPACE_MISMATCH;
  return landing_open_locked(store, space, request, tag, begin, landing_p);
}

/* The lock is given up in between: to come again, and, where every entry is held, to end leases that have run out, which may be all that is in the way. */
static kvs_status begin_in_steps_locked(struct kvi_store *store, const char *tenant,
                                        const struct kvi_put_request *request, const struct kvi_key_tag *tag,
                                        struct begin *begin, uint32_t *landing_p)
{
  bool expired = false;

  for (;;) {
    kvs_status status = begin_locked(store, tenant, request, tag, begin, landing_p);

    if (!begin->more && (expired || (status != KVS_ERR_FULL && status != KVS_ERR_QUOTA)))
      return status;
    pthread_mutex_unlock(&store->lock);
    if (!begin->more) {
      kvi_store_expire(store);
      expired = true;
    }
    pthread_mutex_lock(&store->lock);
  }
}

/* Room in memory, whosever chunks go for it. */
static kvs_status any_room_take(struct kvi_store *store, const struct kvi_tier_request *wanted,
                                const struct kvi_admission *admission, kvi_tier_object *object_p)
{
  struct kvi_room_search search = {.admission = admission};
  uint64_t evicted = 0;
  bool expired = false;

  for (;;) {
    kvs_status status = store->dram->ops->reserve(store->dram, wanted, object_p);
    uint64_t freed;

    if (status != KVS_ERR_FULL || evicted > wanted->length * EVICT_FACTOR_MAX + EVICT_SLACK)
      return status;
    pthread_mutex_lock(&store->lock);
    freed = kvi_store_make_room_locked(store, wanted->length, &search);
    pthread_mutex_unlock(&store->lock);
    evicted += freed;
    if (freed > 0 || search.more)
      continue;
    if (search.declined)
      return KVS_DECLINED;
    if (expired)
      return KVS_ERR_FULL;
    kvi_store_expire(store); /* leases that have run out may be all that is in the way */
    expired = true;
    search = (struct kvi_room_search){.admission = admission};
  }
}

kvs_status kvi_room_take(struct kvi_store *store, uint32_t account, bool bounded,
                         const struct kvi_tier_request *wanted, const struct kvi_admission *admission,
                         kvi_tier_object *object_p)
{
  uint64_t taken;
  kvs_status status = kvi_account_take(store, account, bounded, wanted->length, &taken);

  if (status != KVS_OK)
    return status;
  status = any_room_take(store, wanted, admission, object_p);
  kvi_account_settle(store, account, taken, status == KVS_OK, status == KVS_OK ? *object_p : 0);
  return status;
}

kvs_status kvi_taken_room_take(struct kvi_store *store, uint32_t account, uint64_t taken, bool goes,
                               const struct kvi_tier_request *wanted, kvi_tier_object *object_p)
{
  kvs_status status = goes ? any_room_take(store, wanted, NULL, object_p)
                           : store->dram->ops->reserve(store->dram, wanted, object_p);

  kvi_account_settle(store, account, taken, status == KVS_OK, status == KVS_OK ? *object_p : 0);
  return status;
}

kvs_status kvi_put_room_take(struct kvi_store *store, uint32_t account, const struct kvi_put_request *request,
                             const struct kvi_admission *admission, kvi_tier_object *object_p)
{
  bool in_chain = !request->unchained && request->place > 0;
  uint8_t label[KVI_TIER_LABEL_MAX];
  struct kvi_tier_request wanted = {.length = request->length,
                                    .n_segments = request->n_segments,
                                    .segment_lengths = request->segment_lengths};

  wanted.label = label;
  wanted.label_length =
      kvi_label_write(label, request->key, in_chain ? request->parent : NULL, request->key_length);
  return kvi_room_take(store, account, true, &wanted, admission, object_p);
}

/* ---- the end of a landing ---- */

static void landing_close_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_store_landing *landing = &store->landings[number];

  if (landing->parent != KVI_NONE)
    kvi_entry_unhold_locked(store, landing->parent);
  if (landing->better)
    kvi_entry_unhold_locked(store, landing->entry);
  (void)kvi_account_share_locked(store, store->spaces[store->entries[landing->entry].space].account,
                                 KVI_SHARED_LANDINGS, -1);
  landing->next_free = store->landing_free;
  store->landing_free = number;
  store->stats.landings--;
}

static void refused_locked(struct kvi_store *store, const struct kvi_put_request *request, uint32_t account,
                           kvs_status status)
{
  if (status == KVS_ERR_QUOTA && !request->fetched) /* that is a get's, which is told otherwise */
    kvi_account_refused_locked(store, account);
}

/* Nothing is left of it; those who waited are told to put it themselves. why: KVS_OK: its writer gave up. */
static void landing_undo(struct kvi_store *store, uint32_t number, kvs_status why)
{
  const struct kvi_entry *entry = &store->entries[store->landings[number].entry];
  uint32_t waiters;

  pthread_mutex_lock(&store->lock);
  waiters = kvi_waiters_detach_locked(store, number);
  if (why == KVS_DECLINED)
    kvi_declined_locked(store, entry->space, &entry->tag, entry->length, 0);
  else if (why < 0)
    store->stats.put_refused++;
  else
    store->stats.put_aborts++;
  if (!store->landings[number].better)
    kvi_entry_forget_locked(store, store->landings[number].entry,
                            why == KVS_DECLINED ? KVI_MISS_DECLINED : KVI_MISS_NONE);
  landing_close_locked(store, number);
  pthread_mutex_unlock(&store->lock);
  kvi_waiters_call(store, waiters, KVS_ERR_BUSY, 0);
}

kvs_status kvi_store_put_begin(struct kvi_store *store, const char *tenant,
                               const struct kvi_put_request *request, kvi_put_wait_fn *wait_fn,
                               void *wait_ctx, struct kvi_landing *landing_p)
{
  struct kvi_key_tag tag;
  kvi_tier_object object = 0;
  struct kvi_tier_places places;
  uint32_t number = KVI_NONE;
  struct begin begin = {
      .wait_fn = wait_fn, .wait_ctx = wait_ctx, .steps = KVI_OWN_LOOKS_MAX / KVI_BATCH_LOCKED};
  struct kvi_admission admission;
  bool declines;
  kvs_status status;

  memset(landing_p, 0, sizeof(*landing_p));
  if (request->key_length < KVS_KEY_MIN || request->key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  status = kvi_put_check(store, request);
  if (status == KVS_OK)
    kvi_key_tag(store, request->key, request->key_length, &tag);
  pthread_mutex_lock(&store->lock);
  store->stats.puts++;
  if (status == KVS_OK)
    status = begin_in_steps_locked(store, tenant, request, &tag, &begin, &number);
  store->stats.put_exists += status == KVS_EXISTS;
  store->stats.put_pending += status == KVS_PENDING;
  store->stats.put_refused += status < 0;
  refused_locked(store, request, begin.account, status);
  pthread_mutex_unlock(&store->lock);
  kvi_use_tell(&begin.use);
  if (status != KVS_OK)
    return status;
  admission = (struct kvi_admission){
      .entry = store->landings[number].entry, .parent = store->landings[number].parent, .request = request};
  declines = kvi_may_decline(store, request) && !store->landings[number].better;
  status = kvi_put_room_take(store, begin.account, request, declines ? &admission : NULL, &object);
  if (status != KVS_OK) {
    pthread_mutex_lock(&store->lock);
    refused_locked(store, request, begin.account, status);
    pthread_mutex_unlock(&store->lock);
    landing_undo(store, number, status);
    return status;
  }
  store->landings[number].object = object;
  (void)store->dram->ops->places(store->dram, object, &places); /* in place: cannot fail */
  *landing_p = (struct kvi_landing){.handle = &store->landings[number],
                                    .iov = places.iov,
                                    .n_iov = places.n_iov,
                                    .segments = places.segments,
                                    .n_segments = request->n_segments,
                                    .quality = request->quality};
  return KVS_OK;
}

static uint32_t landing_number(const struct kvi_store *store, const struct kvi_landing *landing)
{
  return (uint32_t)((const struct kvi_store_landing *)landing->handle - store->landings);
}

void kvi_store_landing_from(struct kvi_store *store, const struct kvi_landing *landing,
                            enum kvi_tier_kind tier)
{
  struct kvi_store_landing *own = &store->landings[landing_number(store, landing)];

  pthread_mutex_lock(&store->lock);
  if (own->better) /* what there is came from elsewhere */
    own->origin = tier & 7;
  else
    store->entries[own->entry].origin = tier & 7;
  pthread_mutex_unlock(&store->lock);
}

static kvs_status better_commit(struct kvi_store *store, uint32_t number, const struct kvi_landing *landing)
{
  struct kvi_store_landing *own = &store->landings[number];
  uint64_t length = 0;
  kvs_status status;

  for (uint32_t i = 0; i < landing->n_segments; i++)
    length += landing->segments[i].length;
  pthread_mutex_lock(&store->lock);
  status = kvi_better_take_locked(store, own, length, landing->quality);
  store->stats.put_commits += status == KVS_OK;
  store->stats.put_bytes += status == KVS_OK ? length : 0;
  if (status != KVS_OK)
    kvi_object_drop_locked(store, own->object);
  landing_close_locked(store, number);
  pthread_mutex_unlock(&store->lock);
  return status;
}

kvs_status kvi_store_put_commit(struct kvi_store *store, struct kvi_landing *landing)
{
  uint32_t number = landing_number(store, landing);
  struct kvi_store_landing *own = &store->landings[number];
  struct kvi_entry *entry = &store->entries[own->entry];
  kvs_status status = store->dram->ops->seal(store->dram, own->object, landing->quality);
  uint32_t waiters, parent, length;
  uint64_t hash, now_ns;

  if (status != KVS_OK) {
    kvi_store_put_abort(store, landing);
    return status;
  }
  if (own->better) {
    status = better_commit(store, number, landing);
    memset(landing, 0, sizeof(*landing));
    return status;
  }
  kvi_account_copy_room(store, own->entry);
  pthread_mutex_lock(&store->lock);
  parent = own->parent;
  if (parent != KVI_NONE && store->entries[parent].state == KVI_ENTRY_ZOMBIE)
    parent = KVI_NONE; /* deleted or aborted meanwhile; the number is ours to look at, since it is held */
  kvi_entry_land_locked(store, own->entry, own->object);
  kvi_chunk_insert_locked(store, own->entry, parent);
  kvi_stored_locked(store, own->entry);
  hash = kvi_key_hash(entry->space, &entry->tag);
  length = entry->length;
  kvi_ghost_clear_locked(store, hash);
  store->spaces[entry->space].chunks++;
  store->spaces[entry->space].bytes += entry->length;
  store->stats.chunks++;
  kvi_account_chunks_locked(store, own->entry, 1);
  kvi_own_place_locked(store, own->entry);
  store->stats.put_commits++;
  store->stats.put_bytes += entry->length;
  waiters = kvi_waiters_detach_locked(store, number);
  if (entry->origin == KVI_TIER_ABSENT) /* what comes from elsewhere lies here as it does there */
    kvi_coder_offer_locked(store->coder, own->entry, landing->quality);
  kvi_cut_offer_locked(store, own->entry, landing->quality);
  if (store->below)
    kvi_write_through_locked(store, own->entry, 0);
  landing_close_locked(store, number);
  now_ns = kvi_policy_now(store);
  pthread_mutex_unlock(&store->lock);
  if (store->sampler)
    kvi_sampler_put(store->sampler, hash, length, now_ns);
  kvi_waiters_call(store, waiters, KVS_OK, kvi_quality_loss(landing->quality));
  memset(landing, 0, sizeof(*landing));
  return KVS_OK;
}

void kvi_store_put_abort(struct kvi_store *store, struct kvi_landing *landing)
{
  uint32_t number = landing_number(store, landing);

  kvi_object_drop(store, store->landings[number].object);
  landing_undo(store, number, KVS_OK);
  memset(landing, 0, sizeof(*landing));
}
