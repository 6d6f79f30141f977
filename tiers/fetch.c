/*
 * tiers/fetch.c: read-through: a chunk that is on the medium only comes to memory. Gets of one chunk share a fetch; each that waits gets a reader's reference
 * in the hold of the lock that publishes the bytes, so that none of them has to look for it again.
 *
 * A wait goes WAITING -> QUEUED (its source is open) -> RUNNING (its done is being called, or what is below the store is asked whether it takes
 * the wait over) and is the caller's, or theirs, from then on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/store_private.h"

#define FETCH_TIMEOUT_NS (10 * KVI_NS_PER_S)
#define FETCH_WAITS_MAX  (4 * KVI_BELOW_FETCHES)

/* A chunk that is moved under a read is read where it is then; so often, and then whoever asks is told to come again. */
#define FETCH_REREADS_MAX 8u

enum { WAITING = 1, QUEUED, RUNNING };

static struct kvi_fetch *fetch_of(const struct kvi_store *store, uint32_t number)
{
  return &store->below->fetches[store->entries[number].object];
}

/* It was read ahead, and nobody has asked for it since. Under the lock. */
static bool is_for_nobody(const struct kvi_fetch *fetch)
{
  return fetch->ahead && !fetch->waiters;
}

/* ---- landing: on the medium's thread, without the lock ---- */

/* For what nobody waits for there was made room before; what has gone to others since is theirs. What was moved and is read once more may be longer than it was. False: there is no room. */
static bool room_claim(struct kvi_fetch *fetch, bool *goes_p)
{
  bool has = true;

  pthread_mutex_lock(&fetch->store->lock);
  *goes_p = !is_for_nobody(fetch);
  if (!*goes_p && !fetch->has_taken)
    has = fetch->has_taken =
        kvi_account_try_locked(fetch->store, fetch->account, fetch->length, &fetch->taken);
  pthread_mutex_unlock(&fetch->store->lock);
  return has;
}

static void room_give_locked(struct kvi_fetch *fetch)
{
  if (fetch->has_taken)
    kvi_account_give_locked(fetch->store, fetch->account, fetch->taken);
  fetch->has_taken = false;
}

/* What was read ahead says what it is; who has joined has said so before. */
static bool is_known_locked(struct kvi_fetch *fetch, const struct kvi_medium_identity *identity)
{
  struct kvi_store *store = fetch->store;
  struct kvi_key_tag tag;

  if (identity->key_length != fetch->get.identity.key_length ||
      memcmp(identity->space, fetch->get.identity.space, KVS_DIGEST_SIZE) != 0 ||
      strcmp(identity->tenant, fetch->get.identity.tenant) != 0)
    return false;
  if (!fetch->keyless)
    return memcmp(identity->key, fetch->key, identity->key_length) == 0;
  kvi_key_tag(store, identity->key, identity->key_length, &tag);
  if (fetch->entry != KVI_NONE && memcmp(&tag, &store->entries[fetch->entry].tag, sizeof(tag)) != 0)
    return false;
  memcpy(fetch->key, identity->key, identity->key_length);
  fetch->keyless = false;
  return true;
}

static kvs_status known(struct kvi_medium_get *get, const struct kvi_medium_identity *identity)
{
  struct kvi_fetch *fetch = get->user;
  bool is;

  pthread_mutex_lock(&fetch->store->lock);
  is = is_known_locked(fetch, identity);
  pthread_mutex_unlock(&fetch->store->lock);
  return is ? KVS_OK : KVS_ERR_CORRUPT;
}

/* Without lengths (NULL): the segments are told later. */
static kvs_status object_reserve(struct kvi_fetch *fetch, uint32_t n_segments, const uint32_t *lengths)
{
  struct kvi_tier_request wanted = {.length = fetch->length,
                                    .n_segments = n_segments,
                                    .segment_lengths = lengths,
                                    .table_bytes = fetch->get.table_bytes,
                                    .label = fetch->key,
                                    .label_length = fetch->get.identity.key_length};
  kvs_status status;
  bool goes;

  if (!room_claim(fetch, &goes))
    return KVS_ERR_FULL;
  status =
      fetch->has_taken
          ? kvi_taken_room_take(fetch->store, fetch->account, fetch->taken, goes, &wanted, &fetch->object)
          : kvi_room_take(fetch->store, fetch->account, true, &wanted, NULL, &fetch->object);
  fetch->has_taken = false;
  fetch->landed = status == KVS_OK;
  return status == KVS_ERR_QUOTA ? KVS_ERR_FULL : status;
}

static kvs_status room(struct kvi_medium_get *get, const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct kvi_fetch *fetch = get->user;
  struct kvi_tier *dram = fetch->store->dram;
  struct kvi_tier_places places;
  kvs_status status = object_reserve(fetch, 0, NULL);

  if (status != KVS_OK)
    return status;
  (void)dram->ops->places(dram, fetch->object, &places); /* in place: cannot fail */
  *iov_p = places.iov;
  *n_iov_p = places.n_iov;
  return KVS_OK;
}

static kvs_status segments_tell(struct kvi_fetch *fetch, const struct kvi_chunk_table *table)
{
  struct kvi_tier *dram = fetch->store->dram;
  uint32_t *lengths = malloc(table->n_segments * sizeof(*lengths));
  kvs_status status;

  if (!lengths)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < table->n_segments; i++)
    lengths[i] = kvi_chunk_table_segment(table, i).length;
  status = fetch->landed ? dram->ops->segments(dram, fetch->object, table->n_segments, lengths)
                         : object_reserve(fetch, table->n_segments, lengths);
  free(lengths);
  return status;
}

static kvs_status land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                       const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct kvi_fetch *fetch = get->user;
  struct kvi_store *store = fetch->store;
  struct kvi_tier_places places;
  kvs_status status = table->length == fetch->length ? KVS_OK : KVS_ERR_CORRUPT;

  if (status == KVS_OK)
    status = segments_tell(fetch, table);
  if (status != KVS_OK)
    return status;
  fetch->quality = table->quality;
  (void)store->dram->ops->places(store->dram, fetch->object, &places); /* in place: cannot fail */
  for (uint32_t i = 0; i < table->n_segments; i++)
    places.segments[i].crc32c = kvi_chunk_table_segment(table, i).crc32c;
  *iov_p = places.iov;
  *n_iov_p = places.n_iov;
  return KVS_OK;
}

static void keep(struct kvi_medium_get *get, struct kvi_medium_hold *hold_p)
{
  struct kvi_fetch *fetch = get->user;

  kvi_below_keep(fetch->store, fetch->object, hold_p);
}

/* ---- the end ---- */

/* What the entry becomes. Returns what waiters are told; fetch->cause is set for a miss. */
static kvs_status entry_end_locked(struct kvi_store *store, struct kvi_fetch *fetch, kvs_status status)
{
  struct kvi_entry *entry;

  if (fetch->entry == KVI_NONE) /* it was dropped under the read; the cause is known */
    return KVS_MISS;
  entry = &store->entries[fetch->entry];
  if (status == KVS_OK) { /* what was read may be a copy that the medium has cut since */
    kvi_entry_land_locked(store, fetch->entry, fetch->object);
    kvi_entry_resize_locked(store, fetch->entry, fetch->length);
    kvi_entry_loss_set_locked(store, fetch->entry, kvi_quality_loss(fetch->quality));
  } else {
    kvi_entry_leave_locked(store, fetch->entry);
    kvi_own_unheld_locked(store, fetch->entry); /* it was not to go while it was read */
  }
  if (status == KVS_OK) {
    entry->origin = fetch->waiters ? 0 : fetch->ahead ? KVI_ORIGIN_AHEAD : store->below->attr.kind & 7;
    if (fetch->ahead) {
      store->stats.prefetched++;
      store->stats.prefetched_bytes += fetch->length;
      store->stats.prefetched_used += fetch->waiters != NULL;
    }
    store->stats.medium_only--;
    store->stats.promotions++;
    kvi_clean_add_locked(store, fetch->entry);
    kvi_own_place_locked(store, fetch->entry);
  } else if (status == KVS_ERR_CORRUPT || status == KVS_MISS) {
    bool names = status == KVS_ERR_CORRUPT && !fetch->keyless; /* else nobody knows what it was */

    fetch->cause = status == KVS_MISS ? KVI_MISS_EVICTED : names ? KVI_MISS_CORRUPT : KVI_MISS_TIER;
    store->stats.corrupt += status == KVS_ERR_CORRUPT;
    kvi_entry_drop_locked(store, fetch->entry, (enum kvi_miss_cause)fetch->cause, names ? fetch->key : NULL);
    status = KVS_MISS;
  } else if (status == KVS_ERR_IO) { /* what cannot be read is not there: no look-up shall promise it */
    fetch->cause = KVI_MISS_TIER;
    store->stats.medium_lost++;
    kvi_entry_drop_locked(store, fetch->entry, KVI_MISS_TIER, NULL);
    status = KVS_MISS;
  } else if (status == KVS_ERR_FULL || status == KVS_ERR_NOMEM || status == KVS_ERR_BUSY) {
    store->stats.fetch_refused += !is_for_nobody(fetch);
    status = KVS_ERR_BUSY;
  } else {
    fetch->cause = KVI_MISS_TIER;
    status = KVS_MISS;
  }
  return status;
}

/* Takes the next waiter out, so that its done can be called. NULL: that was the last. */
static struct kvi_get_wait *waiter_pop_locked(struct kvi_store *store, struct kvi_fetch *fetch)
{
  struct kvi_get_wait *wait = fetch->waiters;

  fetch->calling = wait;
  if (!wait)
    return NULL;
  fetch->waiters = wait->next;
  store->below->n_waits--;
  fetch->thread = pthread_self();
  wait->state = RUNNING;
  return wait;
}

/* The entry has other bytes by now: those are for who waits. KVS_ERR_BUSY: it has left memory, or is gone, in no time. */
static kvs_status replaced_end_locked(struct kvi_store *store, struct kvi_fetch *fetch, kvs_status status)
{
  const struct kvi_entry *entry = &store->entries[fetch->entry];
  bool here = entry->state == KVI_ENTRY_RESIDENT;

  if (here && (status == KVS_ERR_CORRUPT || status == KVS_ERR_IO || status == KVS_MISS) &&
      kvi_below_handle(store, fetch->entry) == fetch->get.handle) { /* the copy is no good */
    store->stats.corrupt += status == KVS_ERR_CORRUPT;
    store->stats.medium_lost += status == KVS_ERR_IO;
    kvi_copy_lost_locked(store, fetch->entry, KVI_MISS_TIER, NULL);
    kvi_write_through_locked(store, fetch->entry, 0);
  }
  if (fetch->landed)
    kvi_object_drop_locked(store, fetch->object);
  fetch->landed = false;
  if (here) {
    fetch->object = entry->object;
    fetch->length = entry->length;
  }
  return here ? KVS_OK : KVS_ERR_BUSY;
}

/* What a wait comes to when its chunk is in memory: its source, or why not. The reader's reference is taken already. */
static kvs_status source_give(struct kvi_store *store, struct kvi_fetch *fetch, struct kvi_get_wait *wait,
                              uint32_t *cause_p)
{
  kvs_status status = kvi_source_fill(store, fetch->object, &wait->source);

  *cause_p = KVI_MISS_NONE;
  wait->source.tier = store->below->attr.kind;
  if (status == KVS_OK && kvi_source_suits(&wait->terms, wait->source.table.quality))
    return KVS_OK;
  /* not OK: memory has changed since it was sealed; whoever gets the chunk next drops it */
  *cause_p = status == KVS_OK ? KVI_MISS_QUALITY : KVI_MISS_CORRUPT;
  memset(&wait->source, 0, sizeof(wait->source));
  store->dram->ops->close(store->dram, fetch->object);
  return KVS_MISS;
}

/* All waiters are called without the lock; get_unwait may take some away meanwhile. */
static void waiters_call(struct kvi_store *store, struct kvi_fetch *fetch, kvs_status status)
{
  struct kvi_get_wait *wait;

  pthread_mutex_lock(&store->lock);
  while ((wait = waiter_pop_locked(store, fetch)) != NULL) {
    kvs_status ended = status;
    uint32_t cause = status == KVS_MISS ? fetch->cause : KVI_MISS_NONE;

    pthread_mutex_unlock(&store->lock);
    if (ended == KVS_OK)
      ended = source_give(store, fetch, wait, &cause);
    pthread_mutex_lock(&store->lock);
    if (ended == KVS_OK) {
      store->stats.get_hits++;
      store->stats.tier_hits[store->below->attr.kind]++;
      store->stats.get_bytes += fetch->length;
    } else if (ended == KVS_MISS) {
      store->stats.get_misses[cause]++;
    }
    pthread_mutex_unlock(&store->lock);
    if (ended == KVS_OK)
      kvi_source_lessen(store, &wait->terms, &wait->source);
    if (ended != KVS_MISS || kvi_lower_missed(store, &fetch->get.identity, cause, wait) != KVS_PENDING)
      wait->done(wait, ended, cause);
    pthread_mutex_lock(&store->lock);
    pthread_cond_broadcast(&store->below->called);
  }
  if (fetch->ahead)
    kvi_ahead_ended_locked(fetch->ahead, fetch->ahead_length, status == KVS_OK);
  fetch->next_free = store->below->fetch_free;
  store->below->fetch_free = fetch;
  store->below->n_fetches--;
  pthread_cond_broadcast(&store->below->called);
  pthread_mutex_unlock(&store->lock);
}

/* The medium did not find it where it was asked for, because it has been moved since: it is not gone. */
static bool was_moved(const struct kvi_fetch *fetch, kvs_status status)
{
  return status == KVS_MISS && fetch->entry != KVI_NONE && fetch->handle != fetch->get.handle;
}

/* True: it is being read once more, where it is now. */
static bool read_again_locked(struct kvi_store *store, struct kvi_fetch *fetch)
{
  struct kvi_medium *medium = store->below->medium;

  if (fetch->rereads == FETCH_REREADS_MAX)
    return false;
  fetch->rereads++;
  if (fetch->landed)
    kvi_object_drop_locked(store, fetch->object);
  fetch->landed = false;
  room_give_locked(fetch);
  fetch->get.handle = fetch->handle;
  fetch->get.length = fetch->length = store->entries[fetch->entry].length;
  return medium->ops->get(medium, &fetch->get) == KVS_OK;
}

static bool has_key(struct kvi_fetch *fetch)
{
  bool has;

  pthread_mutex_lock(&fetch->store->lock);
  has = !fetch->keyless;
  pthread_mutex_unlock(&fetch->store->lock);
  return has;
}

static void fetch_done(struct kvi_medium_get *get, kvs_status status)
{
  struct kvi_fetch *fetch = get->user;
  struct kvi_store *store = fetch->store;
  struct kvi_use use;

  use.lower = NULL;
  if (status == KVS_OK)
    status = store->dram->ops->seal(store->dram, fetch->object, fetch->quality);
  if (status == KVS_ERR_CORRUPT && has_key(fetch))
    kvi_damages_note(&store->damages, get->identity.tenant, get->identity.space, fetch->key,
                     get->identity.key_length, store->below->attr.kind, KVI_DAMAGE_BY_GET);
  pthread_mutex_lock(&store->lock);
  if (fetch->replaced) {
    status = replaced_end_locked(store, fetch, status);
  } else if (was_moved(fetch, status)) {
    if (read_again_locked(store, fetch)) {
      pthread_mutex_unlock(&store->lock);
      return;
    }
    status = KVS_ERR_BUSY;
  }
  room_give_locked(fetch); /* it has not landed */
  if (!fetch->replaced)
    status = entry_end_locked(store, fetch, status);
  for (struct kvi_get_wait *wait = fetch->waiters; wait; wait = wait->next) {
    wait->state = QUEUED;
    if (status == KVS_OK)
      (void)store->dram->ops->open(store->dram, fetch->object); /* sealed and not dropped: cannot fail */
  }
  fetch->opened = status == KVS_OK;
  if (status == KVS_OK && fetch->waiters)
    kvi_use_locked(store, fetch->entry, &use);
  if (status == KVS_MISS || status == KVS_ERR_BUSY) {
    store->stats.fetch_misses += !is_for_nobody(fetch);
    if (fetch->landed)
      kvi_object_drop_locked(store, fetch->object);
  }
  if (fetch->replaced)
    kvi_entry_unhold_locked(store, fetch->entry);
  pthread_mutex_unlock(&store->lock);
  kvi_use_tell(&use);
  waiters_call(store, fetch, status);
}

void kvi_fetch_forget_locked(struct kvi_store *store, uint32_t number, enum kvi_miss_cause cause)
{
  struct kvi_fetch *fetch = fetch_of(store, number);

  fetch->entry = KVI_NONE;
  fetch->cause = cause;
}

void kvi_fetch_replaced_locked(struct kvi_store *store, uint32_t number)
{
  fetch_of(store, number)->replaced = true;
  store->policy_ops->hold(store->policy, number); /* until the fetch ends: its number stays its own */
}

/* ---- the beginning ---- */

/* key NULL: it is not known, and nobody waits. */
static kvs_status fetch_start_locked(struct kvi_store *store, uint32_t number, const uint8_t *key)
{
  struct kvi_below *below = store->below;
  struct kvi_entry *entry = &store->entries[number];
  const struct kvi_space_entry *space = &store->spaces[entry->space];
  struct kvi_fetch *fetch = below->fetch_free;
  struct kvi_fetch *next;
  kvs_status status;

  if (!fetch)
    return KVS_ERR_BUSY;
  next = fetch->next_free;
  memset(fetch, 0, sizeof(*fetch));
  if (key)
    memcpy(fetch->key, key, space->key_length);
  fetch->keyless = !key;
  fetch->store = store;
  fetch->entry = number;
  fetch->account = space->account;
  fetch->length = entry->length;
  fetch->handle = kvi_below_handle(store, number);
  fetch->get = (struct kvi_medium_get){.identity = {.tenant = space->tenant,
                                                    .space = space->digest,
                                                    .key = fetch->key,
                                                    .key_length = space->key_length},
                                       .handle = fetch->handle,
                                       .length = entry->length,
                                       .deadline_ns = kvi_now_ns() + FETCH_TIMEOUT_NS,
                                       .room = key && kvi_below_is_direct(store) ? room : NULL,
                                       .known = key ? NULL : known,
                                       .keep = keep,
                                       .land = land,
                                       .done = fetch_done,
                                       .user = fetch};
  status = below->medium->ops->get(below->medium, &fetch->get);
  if (status != KVS_OK) {
    fetch->next_free = next;
    return status == KVS_ERR_BUSY ? KVS_ERR_BUSY : KVS_MISS;
  }
  below->fetch_free = next;
  below->n_fetches++;
  entry->state = KVI_ENTRY_FETCHING;
  entry->object = (uint32_t)(fetch - below->fetches);
  store->stats.fetches += key != NULL;
  return KVS_OK;
}

kvs_status kvi_fetch_locked(struct kvi_store *store, uint32_t number, const uint8_t *key,
                            struct kvi_get_wait *wait)
{
  struct kvi_fetch *fetch;
  kvs_status status;

  if (wait && store->below->n_waits >= FETCH_WAITS_MAX) {
    store->stats.fetch_refused++;
    return KVS_ERR_BUSY;
  }
  if (store->entries[number].state == KVI_ENTRY_FETCHING) {
    fetch = fetch_of(store, number);
    if (fetch->keyless)
      memcpy(fetch->key, key, fetch->get.identity.key_length);
    fetch->keyless = false;
    if (memcmp(fetch->key, key, fetch->get.identity.key_length) != 0)
      return KVS_MISS; /* of two keys with one tag the other is here */
    store->stats.fetch_joins++;
  } else {
    status = fetch_start_locked(store, number, key);
    store->stats.fetch_refused += status == KVS_ERR_BUSY;
    if (status != KVS_OK)
      return status;
  }
  if (!wait)
    return KVS_PENDING;
  fetch = fetch_of(store, number);
  wait->state = WAITING;
  wait->where = fetch;
  wait->next = fetch->waiters;
  fetch->waiters = wait;
  store->below->n_waits++;
  return KVS_PENDING;
}

kvs_status kvi_fetch_ahead_locked(struct kvi_store *store, uint32_t number, uint64_t taken,
                                  struct kvi_ahead *ahead)
{
  kvs_status status = fetch_start_locked(store, number, NULL);

  if (status != KVS_OK)
    return status;
  fetch_of(store, number)->ahead = ahead;
  fetch_of(store, number)->ahead_length = store->entries[number].length;
  fetch_of(store, number)->taken = taken;
  fetch_of(store, number)->has_taken = true;
  return KVS_PENDING;
}

bool kvi_store_get_unwait(struct kvi_store *store, struct kvi_get_wait *wait)
{
  struct kvi_fetch *fetch = wait->where;
  bool close = false, forgotten = false;
  kvi_tier_object object = 0;

  if (!store->below || !fetch)
    return false;
  pthread_mutex_lock(&store->lock);
  if (wait->state == WAITING || wait->state == QUEUED) {
    struct kvi_get_wait **link = &fetch->waiters;

    while (*link != wait)
      link = &(*link)->next;
    *link = wait->next;
    store->below->n_waits--;
    close = wait->state == QUEUED && fetch->opened;
    if (close) /* else the medium's thread may be writing it */
      object = fetch->object;
    forgotten = true;
    wait->state = 0;
  }
  while (fetch->calling == wait && !pthread_equal(fetch->thread, pthread_self()))
    pthread_cond_wait(&store->below->called, &store->lock);
  pthread_mutex_unlock(&store->lock);
  if (close)
    store->dram->ops->close(store->dram, object);
  return forgotten;
}
