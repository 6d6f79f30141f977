/*
 * tiers/lease.c: leases, i.e. holds on entries with an id, an owner and an end.
 *
 * A lease's number is a place in the table; its id is number + 1 and the number's life. Those that are granted stand in a heap by expiry and in a
 * list of their owner's bucket. Ending one detaches it under the lock and gives its holds back in steps, so that a lease of
 * thousands of chunks never keeps the lock for long.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/store_private.h"

/* Holds of all leases together, for each index entry, but not fewer than LEASE_REFERENCES_MIN: 4 bytes each. */
#define LEASE_REFERENCES_PER_ENTRY 8u
#define LEASE_REFERENCES_MIN       (1u << 20)

kvs_status kvi_leases_create(struct kvi_store *store)
{
  uint64_t references = (uint64_t)store->config.max_chunks * LEASE_REFERENCES_PER_ENTRY;

  store->lease_references_max = references > LEASE_REFERENCES_MIN ? references : LEASE_REFERENCES_MIN;
  store->n_owner_buckets = 64;
  while (store->n_owner_buckets < store->config.max_leases / 4)
    store->n_owner_buckets *= 2;
  store->leases = malloc(store->config.max_leases * sizeof(*store->leases));
  store->lease_heap = malloc(store->config.max_leases * sizeof(*store->lease_heap));
  store->owner_buckets = malloc(store->n_owner_buckets * sizeof(*store->owner_buckets));
  if (!store->leases || !store->lease_heap || !store->owner_buckets)
    return KVS_ERR_NOMEM;
  memset(store->owner_buckets, 0xff, store->n_owner_buckets * sizeof(*store->owner_buckets)); /* KVI_NONE */
  store->lease_free = KVI_NONE;
  return KVS_OK;
}

void kvi_leases_destroy(struct kvi_store *store)
{
  for (uint32_t i = 0; store->leases && i < store->lease_fresh; i++)
    free(store->leases[i].entries);
  free(store->leases);
  free(store->lease_heap);
  free(store->owner_buckets);
}

/* ---- the heap by expiry ---- */

static uint64_t heap_key(const struct kvi_store *store, uint32_t place)
{
  return store->leases[store->lease_heap[place]].expires_ns;
}

static void heap_set(struct kvi_store *store, uint32_t place, uint32_t number)
{
  store->lease_heap[place] = number;
  store->leases[number].heap_place = place;
}

static void heap_rise(struct kvi_store *store, uint32_t place, uint32_t number)
{
  uint64_t key = store->leases[number].expires_ns;

  for (; place > 0 && heap_key(store, (place - 1) / 2) > key; place = (place - 1) / 2)
    heap_set(store, place, store->lease_heap[(place - 1) / 2]);
  heap_set(store, place, number);
}

static void heap_sink(struct kvi_store *store, uint32_t place, uint32_t number)
{
  uint64_t key = store->leases[number].expires_ns;

  for (;;) {
    uint32_t below = 2 * place + 1;

    if (below >= store->lease_heap_size)
      break;
    if (below + 1 < store->lease_heap_size && heap_key(store, below + 1) < heap_key(store, below))
      below++;
    if (heap_key(store, below) >= key)
      break;
    heap_set(store, place, store->lease_heap[below]);
    place = below;
  }
  heap_set(store, place, number);
}

static void heap_take_out(struct kvi_store *store, uint32_t number)
{
  uint32_t place = store->leases[number].heap_place;
  uint32_t last = store->lease_heap[--store->lease_heap_size];

  store->leases[number].heap_place = KVI_NONE;
  if (last == number)
    return;
  if (place > 0 && heap_key(store, (place - 1) / 2) > store->leases[last].expires_ns)
    heap_rise(store, place, last);
  else
    heap_sink(store, place, last);
}

/* ---- owners ---- */

static uint32_t *owner_bucket(const struct kvi_store *store, uint64_t owner)
{
  uint64_t mixed = owner * UINT64_C(0x9E3779B97F4A7C15);

  return &store->owner_buckets[(mixed >> 32) & (store->n_owner_buckets - 1)];
}

static void owner_list_add(struct kvi_store *store, uint32_t number)
{
  struct kvi_lease *lease = &store->leases[number];
  uint32_t *bucket = owner_bucket(store, lease->owner);

  lease->owner_prev = KVI_NONE;
  lease->owner_next = *bucket;
  if (*bucket != KVI_NONE)
    store->leases[*bucket].owner_prev = number;
  *bucket = number;
}

static void owner_list_remove(struct kvi_store *store, uint32_t number)
{
  struct kvi_lease *lease = &store->leases[number];

  if (lease->owner_prev != KVI_NONE)
    store->leases[lease->owner_prev].owner_next = lease->owner_next;
  else
    *owner_bucket(store, lease->owner) = lease->owner_next;
  if (lease->owner_next != KVI_NONE)
    store->leases[lease->owner_next].owner_prev = lease->owner_prev;
}

/* ---- making ---- */

static uint32_t number_take_locked(struct kvi_store *store)
{
  uint32_t number = store->lease_free;

  if (number != KVI_NONE) {
    store->lease_free = store->leases[number].owner_next;
  } else if (store->lease_fresh < store->config.max_leases) {
    number = store->lease_fresh++;
    memset(&store->leases[number], 0, sizeof(store->leases[number]));
  }
  return number;
}

/* False: there are too many, of all or of the tenant. */
static bool references_take_locked(struct kvi_store *store, uint32_t account, uint32_t n)
{
  if (store->lease_references + n > store->lease_references_max ||
      !kvi_account_share_locked(store, account, KVI_SHARED_REFERENCES, n))
    return false;
  store->lease_references += n;
  return true;
}

static void references_give_locked(struct kvi_store *store, const struct kvi_lease *lease, uint32_t n)
{
  (void)kvi_account_share_locked(store, lease->account, KVI_SHARED_REFERENCES, -(int64_t)n);
  store->lease_references -= n;
}

static bool number_is_free_locked(struct kvi_store *store, uint32_t account)
{
  return (store->lease_free != KVI_NONE || store->lease_fresh < store->config.max_leases) &&
         kvi_account_share_locked(store, account, KVI_SHARED_LEASES, 0);
}

static void number_give_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_lease *lease = &store->leases[number];

  (void)kvi_account_share_locked(store, lease->account, KVI_SHARED_LEASES, -1);
  references_give_locked(store, lease, lease->room);
  lease->entries = NULL;
  lease->n_entries = lease->room = 0;
  lease->heap_place = KVI_NONE;
  lease->life++;
  lease->owner_next = store->lease_free;
  store->lease_free = number;
}

kvs_status kvi_lease_prepare(struct kvi_store *store, uint32_t account, uint64_t owner, uint32_t room,
                             uint32_t *number_p)
{
  uint32_t *entries = malloc(room * sizeof(*entries));
  uint32_t number = KVI_NONE;

  *number_p = KVI_NONE;
  if (!entries)
    return KVS_ERR_NOMEM;
  pthread_mutex_lock(&store->lock);
  if (number_is_free_locked(store, account) && references_take_locked(store, account, room))
    number = number_take_locked(store);
  if (number != KVI_NONE) {
    struct kvi_lease *lease = &store->leases[number];

    (void)kvi_account_share_locked(store, account, KVI_SHARED_LEASES, 1);
    lease->owner = owner;
    lease->account = account;
    lease->entries = entries;
    lease->n_entries = 0;
    lease->room = room;
    lease->heap_place = KVI_NONE;
  } else {
    store->stats.leases_refused++;
  }
  pthread_mutex_unlock(&store->lock);
  if (number == KVI_NONE) {
    free(entries);
    return KVS_ERR_BUSY;
  }
  *number_p = number;
  return KVS_OK;
}

void kvi_lease_hold_locked(struct kvi_store *store, uint32_t number, uint32_t entry)
{
  struct kvi_lease *lease = &store->leases[number];

  assert(lease->n_entries < lease->room);
  store->policy_ops->hold(store->policy, entry);
  lease->entries[lease->n_entries++] = entry;
}

uint64_t kvi_lease_grant(struct kvi_store *store, uint32_t number, uint64_t expires_ns)
{
  struct kvi_lease *lease = &store->leases[number];
  uint32_t *unused = NULL;
  uint64_t id = 0;

  pthread_mutex_lock(&store->lock);
  if (lease->n_entries == 0) {
    unused = lease->entries;
    number_give_locked(store, number);
  } else {
    uint32_t *fitting = realloc(lease->entries, lease->n_entries * sizeof(*fitting)); /* shrinks: in place */

    references_give_locked(store, lease, lease->room - lease->n_entries);
    lease->entries = fitting ? fitting : lease->entries;
    lease->room = lease->n_entries;
    lease->expires_ns = expires_ns;
    heap_rise(store, store->lease_heap_size++, number);
    owner_list_add(store, number);
    store->stats.leases++;
    store->stats.leases_granted++;
    id = ((uint64_t)lease->life << 32) | (number + 1);
  }
  pthread_mutex_unlock(&store->lock);
  free(unused);
  return id;
}

/* ---- ending ---- */

/* Out of all lists; its holds are the caller's now, to be given to holds_give_back. */
static void lease_detach_locked(struct kvi_store *store, uint32_t number, uint32_t **entries_p, uint32_t *n_p)
{
  struct kvi_lease *lease = &store->leases[number];

  heap_take_out(store, number);
  owner_list_remove(store, number);
  *entries_p = lease->entries;
  *n_p = lease->n_entries;
  number_give_locked(store, number);
  store->stats.leases--;
}

static void holds_give_back(struct kvi_store *store, uint32_t *entries, uint32_t n)
{
  for (uint32_t i = 0; i < n;) {
    pthread_mutex_lock(&store->lock);
    for (uint32_t end = n - i < KVI_BATCH_LOCKED ? n : i + KVI_BATCH_LOCKED; i < end; i++)
      kvi_entry_unhold_locked(store, entries[i]);
    pthread_mutex_unlock(&store->lock);
  }
  free(entries);
}

kvs_status kvi_store_release(struct kvi_store *store, uint64_t owner, uint64_t lease)
{
  uint64_t number = (lease & UINT32_MAX) - 1; /* an id of 0 gives a number that is too big */
  uint32_t *entries = NULL;
  uint32_t n = 0;
  bool found;

  pthread_mutex_lock(&store->lock);
  found = number < store->lease_fresh && store->leases[number].heap_place != KVI_NONE &&
          store->leases[number].life == lease >> 32 && store->leases[number].owner == owner;
  if (found)
    lease_detach_locked(store, (uint32_t)number, &entries, &n);
  pthread_mutex_unlock(&store->lock);
  if (!found)
    return KVS_MISS;
  holds_give_back(store, entries, n);
  return KVS_OK;
}

void kvi_store_release_owner(struct kvi_store *store, uint64_t owner)
{
  for (;;) {
    uint32_t *entries = NULL;
    uint32_t n = 0, number;

    pthread_mutex_lock(&store->lock);
    number = *owner_bucket(store, owner);
    while (number != KVI_NONE && store->leases[number].owner != owner)
      number = store->leases[number].owner_next;
    if (number != KVI_NONE)
      lease_detach_locked(store, number, &entries, &n);
    pthread_mutex_unlock(&store->lock);
    if (number == KVI_NONE)
      return;
    holds_give_back(store, entries, n);
  }
}

void kvi_store_expire(struct kvi_store *store)
{
  uint64_t now = kvi_now_ns();
  bool expired = true;

  while (expired) {
    uint32_t *entries = NULL;
    uint32_t n = 0;

    pthread_mutex_lock(&store->lock);
    expired = store->lease_heap_size > 0 && heap_key(store, 0) <= now;
    if (expired) {
      lease_detach_locked(store, store->lease_heap[0], &entries, &n);
      store->stats.leases_expired++;
    }
    pthread_mutex_unlock(&store->lock);
    holds_give_back(store, entries, n);
  }
}
