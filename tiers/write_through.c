/*
 * tiers/write_through.c: chunks go to the medium in the background: from put_commit to a bounded queue, from there, KVI_BELOW_WRITES at a
 * time, to the medium. Nobody waits for it: a chunk that is evicted before its turn is just not written.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/store_private.h"

#define WRITE_TIMEOUT_NS (30 * KVI_NS_PER_S)

/* ---- the queue ---- */

/* The oldest, whatever became of it. */
static struct kvi_queued ring_pop(struct kvi_write_queue *queue)
{
  struct kvi_queued oldest = queue->ring[queue->first++];

  if (queue->first == queue->room)
    queue->first = 0;
  queue->length--;
  return oldest;
}

/* Behind the others. The oldest goes when the ring is full. */
static void ring_push(struct kvi_write_queue *queue, uint32_t entry, kvi_tier_object object)
{
  uint32_t place;

  if (queue->length == queue->room)
    (void)ring_pop(queue);
  place = queue->first + queue->length++;
  queue->ring[place < queue->room ? place : place - queue->room] =
      (struct kvi_queued){.entry = entry, .object = object};
}

/* Takes the oldest out. KVI_NONE: it is not to be written any more. Else its entry's mark is taken off. */
static uint32_t queue_pop_one_locked(struct kvi_store *store)
{
  struct kvi_queued oldest = ring_pop(&store->below->queue);
  struct kvi_entry *entry = &store->entries[oldest.entry];

  if (entry->state != KVI_ENTRY_RESIDENT || !entry->queued || entry->object != oldest.object)
    return KVI_NONE;
  entry->queued = 0;
  store->stats.writes_queued--;
  return oldest.entry;
}

/* The oldest that is still to be written. KVI_NONE: the queue is empty. */
static uint32_t queue_pop_locked(struct kvi_store *store)
{
  uint32_t number = KVI_NONE;

  while (store->below->queue.length > 0 && number == KVI_NONE)
    number = queue_pop_one_locked(store);
  return number;
}

/* Not if the copy below is as good, or is being made. */
static bool is_wanted_below_locked(const struct kvi_store *store, uint32_t number)
{
  const struct kvi_entry *entry = &store->entries[number];

  return !entry->queued && !entry->writing && !entry->coding &&
         !(kvi_below_has(store, number) && entry->medium_loss <= entry->loss);
}

/* Makes room in the queue if it is full: the oldest is shed, unless its place is all that was left of it. Once for each chunk. */
static void queue_push_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_below *below = store->below;
  struct kvi_entry *entry = &store->entries[number];

  if (!is_wanted_below_locked(store, number))
    return;
  if (below->queue.length == below->queue.room) {
    uint32_t shed = queue_pop_one_locked(store);

    if (shed != KVI_NONE) {
      store->stats.writes_shed++;
      ring_push(&below->again, shed, store->entries[shed].object);
      kvi_cut_offer_again_locked(store, shed);
    }
  }
  kvi_cut_remove_locked(store, number); /* it is to come there as it is */
  ring_push(&below->queue, number, entry->object);
  entry->queued = 1;
  store->stats.writes_queued++;
}

/*
 * The medium has taken a chunk, and nothing waits: one of those that it did not take, or that were shed, is queued once more. A chunk that stays in memory
 * only, with successors that do not, could never leave memory: it is no leaf.
 */
static void queue_again_locked(struct kvi_store *store)
{
  struct kvi_below *below = store->below;

  while (below->queue.length == 0 && below->again.length > 0) {
    struct kvi_queued oldest = ring_pop(&below->again);
    const struct kvi_entry *entry = &store->entries[oldest.entry];

    /* it may be another chunk by now, that is to be written when it is used */
    if (entry->state == KVI_ENTRY_RESIDENT && entry->object == oldest.object && !entry->unwritten &&
        kvi_account_may_write_locked(store, oldest.entry))
      queue_push_locked(store, oldest.entry);
  }
}

/*
 * One that was not taken is tried again, unless it never will be. One that does not fit its checksums is, too: it may have been damaged on its way, and in memory only, with
 * successors that are not, it could never leave.
 */
static void again_push(struct kvi_below *below, uint32_t entry, kvi_tier_object object, kvs_status status)
{
  if (status != KVS_ERR_CANCELED && status != KVS_ERR_CLOSED && status != KVS_ERR_TOO_LARGE &&
      status != KVS_ERR_UNSUPPORTED)
    ring_push(&below->again, entry, object);
}

/* ---- writing ---- */

/* What waits fills half of the queue, or a quarter of memory, which it cannot leave: nothing is encoded until it is less. */
static bool is_hurried(const struct kvi_store *store, uint64_t length)
{
  const struct kvi_write_queue *queue = &store->below->queue;

  return queue->length > queue->room / 2 ||
         store->stats.writes_queued * length > store->dram_attr.capacity_bytes / 4;
}

static void write_pump_locked(struct kvi_store *store);

/* The copy that was made is the entry's, unless it has one already that has lost less. */
static void copy_take_locked(struct kvi_store *store, uint32_t number, const struct kvi_medium_put *put)
{
  struct kvi_medium *medium = store->below->medium;
  struct kvi_entry *entry = &store->entries[number];
  uint32_t loss = kvi_quality_loss(put->stored_quality);
  kvi_medium_handle older = kvi_below_handle(store, number);

  if (older != 0 && loss > entry->medium_loss) {
    medium->ops->drop(medium, NULL, put->handle, false);
    return;
  }
  kvi_below_handle_set(store, number, put->handle);
  kvi_account_copy_locked(store, number, (int64_t)put->stored - (int64_t)entry->medium_length);
  entry->medium_length = put->stored & KVI_LENGTH_MASK;
  entry->medium_loss = loss & KVI_LOSS_MAX;
  if (older != 0) {
    medium->ops->drop(medium, NULL, older, false);
  } else {
    kvi_clean_add_locked(store, number);
    store->stats.medium_chunks++;
  }
  if (!kvi_account_copied_locked(store, number))
    kvi_copy_lost_locked(store, number, KVI_MISS_QUOTA, NULL);
}

static void write_done(struct kvi_medium_put *put, kvs_status status)
{
  struct kvi_write *write = put->user;
  struct kvi_store *store = write->store;
  struct kvi_below *below = store->below;
  struct kvi_entry *entry = &store->entries[write->entry];

  pthread_mutex_lock(&store->lock);
  if (status == KVS_OK && put->stored < put->length)
    kvi_budget_give(&below->budget, put->length - put->stored);
  /* open: the object cannot be another chunk's, and the entry not be another with this object */
  if (entry->state == KVI_ENTRY_RESIDENT && entry->writing && entry->object == write->object) {
    entry->writing = 0;
    if (status == KVS_OK) {
      copy_take_locked(store, write->entry, put);
      queue_again_locked(store);
    } else {
      again_push(below, write->entry, write->object, status);
      kvi_cut_offer_again_locked(store, write->entry);
    }
  } else if (status == KVS_OK) {
    below->medium->ops->drop(below->medium, NULL, put->handle,
                             false); /* if it was deleted, the medium knows */
  }
  pthread_mutex_unlock(&store->lock);
  store->dram->ops->close(store->dram, write->object);
  pthread_mutex_lock(&store->lock);
  write->next_free = below->write_free;
  below->write_free = write;
  write_pump_locked(store);
  pthread_mutex_unlock(&store->lock);
}

static void keep(struct kvi_medium_put *put, struct kvi_medium_hold *hold_p)
{
  struct kvi_write *write = put->user;

  kvi_below_keep(write->store, write->object, hold_p);
}

static void write_fill_locked(struct kvi_store *store, struct kvi_write *write, uint32_t number)
{
  const struct kvi_entry *entry = &store->entries[number];
  const struct kvi_space_entry *space = &store->spaces[entry->space];
  struct kvi_tier_places places;

  (void)store->dram->ops->places(store->dram, entry->object, &places); /* in place: cannot fail */
  (void)kvi_entry_key_locked(store, number, write->key);               /* resident: cannot fail */
  write->store = store;
  write->entry = number;
  write->object = entry->object;
  memset(&write->put, 0, sizeof(write->put));
  write->put.identity = (struct kvi_medium_identity){.tenant = space->tenant,
                                                     .space = space->digest,
                                                     .key = write->key,
                                                     .key_length = space->key_length,
                                                     .place = entry->place,
                                                     .unchained = entry->unchained};
  if (kvi_entry_parent_key_locked(store, number, write->parent))
    write->put.identity.parent = write->parent;
  write->put.iov = places.iov;
  write->put.n_iov = places.n_iov;
  write->put.length = write->put.stored = entry->length;
  write->put.desc = atomic_load_explicit(&space->desc, memory_order_acquire);
  write->put.hurry = is_hurried(store, entry->length);
  write->put.deadline_ns = kvi_now_ns() + WRITE_TIMEOUT_NS;
  write->put.keep = kvi_below_is_direct(store) ? keep : NULL;
  write->put.done = write_done;
  write->put.user = write;
}

/* False: the medium takes nothing now. */
static bool write_start_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_below *below = store->below;
  struct kvi_write *write = below->write_free;
  struct kvi_entry *entry = &store->entries[number];
  kvs_status status;

  if (store->dram->ops->open(store->dram, entry->object) != KVS_OK) {
    kvi_cut_offer_again_locked(store, number);
    return true;
  }
  write_fill_locked(store, write, number);
  status = store->dram->ops->table(store->dram, entry->object, &write->put.table);
  write->put.stored_quality = write->put.table.quality;
  if (status == KVS_OK)
    status = below->medium->ops->put(below->medium, &write->put);
  if (status == KVS_OK) {
    below->write_free = write->next_free;
    entry->writing = 1;
    return true;
  }
  store->dram->ops->close(store->dram, entry->object);
  store->stats.writes_shed += status != KVS_ERR_IO; /* those the medium counts */
  again_push(below, number, entry->object, status);
  kvi_cut_offer_again_locked(store, number);
  return status != KVS_ERR_BUSY && status != KVS_ERR_CLOSED;
}

static void write_pump_locked(struct kvi_store *store)
{
  while (store->below->write_free) {
    uint32_t number = queue_pop_locked(store);

    if (number == KVI_NONE || !write_start_locked(store, number))
      return;
  }
}

void kvi_write_through_locked(struct kvi_store *store, uint32_t number, uint32_t uses)
{
  struct kvi_entry *entry = &store->entries[number];
  struct kvi_policy_candidate candidate = {.uses = uses};

  if (!kvi_policy_admits(store->config.write, &candidate)) {
    entry->unwritten = uses == 0 && store->config.write == KVI_ADMIT_REUSED;
    store->stats.writes_put_off += entry->unwritten;
    return;
  }
  if (!is_wanted_below_locked(store, number))
    return; /* one that is being encoded comes again when that has ended */
  if (!kvi_account_may_write_locked(store, number)) {
    ring_push(&store->below->again, number, entry->object);
    return;
  }
  if (!kvi_budget_take(&store->below->budget, entry->length, kvi_now_ns())) {
    store->stats.writes_over_budget++;
    return;
  }
  queue_push_locked(store, number);
  write_pump_locked(store);
}
