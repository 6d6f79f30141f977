/*
 * tiers/clean.c: chunks in memory that have a safe copy on the medium, in about the order of their last use. A queue: what was used since it
 * was put there goes to the back when it comes to the front, so that using a chunk costs nothing here.
 */
#include "tiers/store_private.h"

#define STAMP_SHIFT 24u /* of nanoseconds: 17 ms */

static uint64_t last_use(const struct kvi_store *store, uint32_t number)
{
  struct kvi_policy_info info;

  store->policy_ops->info(store->policy, number, &info);
  return info.last_use_ns;
}

/* Its place in the queue: the chunk is in memory, and its object is its alone. */
static struct kvi_clean *place_of(const struct kvi_store *store, uint32_t number)
{
  return &store->below->clean[store->entries[number].object];
}

static void queue_push_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_below *below = store->below;

  *place_of(store, number) = (struct kvi_clean){.next = KVI_NONE,
                                                .prev = below->clean_last,
                                                .stamp = (uint32_t)(last_use(store, number) >> STAMP_SHIFT)};
  if (below->clean_last != KVI_NONE)
    place_of(store, below->clean_last)->next = number;
  else
    below->clean_first = number;
  below->clean_last = number;
}

void kvi_clean_add_locked(struct kvi_store *store, uint32_t number)
{
  kvi_cut_remove_locked(store, number);
  queue_push_locked(store, number);
  kvi_marks_again_locked(store);
}

void kvi_clean_remove_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_below *below = store->below;
  const struct kvi_clean *clean = place_of(store, number);

  if (clean->prev != KVI_NONE)
    place_of(store, clean->prev)->next = clean->next;
  else
    below->clean_first = clean->next;
  if (clean->next != KVI_NONE)
    place_of(store, clean->next)->prev = clean->prev;
  else
    below->clean_last = clean->prev;
}

/* A lease holds what its look-up found: no copy that has lost more takes its place. */
static bool may_leave(const struct kvi_store *store, uint32_t number)
{
  const struct kvi_entry *entry = &store->entries[number];
  struct kvi_policy_info info;

  if (entry->medium_loss <= entry->loss)
    return true;
  store->policy_ops->info(store->policy, number, &info);
  return info.holds == 0;
}

uint64_t kvi_clean_length_locked(const struct kvi_store *store)
{
  return store->below ? store->stats.medium_chunks - store->stats.medium_only : 0;
}

uint32_t kvi_clean_victim_locked(struct kvi_store *store, uint64_t *last_use_ns_p)
{
  struct kvi_below *below = store->below;
  uint32_t number = below->clean_first;

  for (uint32_t i = 0; i < KVI_BATCH_LOCKED && number != KVI_NONE; i++) {
    *last_use_ns_p = last_use(store, number);
    if ((uint32_t)(*last_use_ns_p >> STAMP_SHIFT) == place_of(store, number)->stamp &&
        may_leave(store, number))
      break;
    kvi_clean_remove_locked(store, number);
    queue_push_locked(store, number);
    number = below->clean_first;
  }
  if (number == KVI_NONE || !may_leave(store, number))
    return KVI_NONE;
  *last_use_ns_p = last_use(store, number);
  return number;
}

void kvi_demote_locked(struct kvi_store *store, uint32_t number, enum kvi_demote_rule rule)
{
  struct kvi_entry *entry = &store->entries[number];

  kvi_clean_remove_locked(store, number);
  kvi_entry_unwrite_locked(store, number); /* a better one than the copy, which was not written in time */
  kvi_object_drop_locked(store, entry->object);
  kvi_entry_leave_locked(store, number);
  kvi_own_place_locked(store, number);
  store->stats.medium_only++;
  store->stats.demotions_by[rule]++;
}
