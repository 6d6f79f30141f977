/*
 * tiers/clean.c: chunks in memory that have a safe copy on the medium, and which of them leaves memory. They stand in a queue.
 *
 * With a policy that does not mind, it is in about the order of their last use: what was used since it was put there goes to the back when it comes to the front, so that using a chunk costs nothing here.
 * Else the policy says which (`demotion`), and is shown those of the queue in their turn.
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
  store->policy_ops->move(store->policy, number,
                          store->policy_ops->demotion ? KVI_POLICY_BOTH : KVI_POLICY_MEDIUM);
  kvi_marks_again_locked(store);
}

static void queue_remove_locked(struct kvi_store *store, uint32_t number)
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

void kvi_clean_remove_locked(struct kvi_store *store, uint32_t number)
{
  queue_remove_locked(store, number);
  store->policy_ops->move(store->policy, number, KVI_POLICY_MEDIUM);
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

/* ---- by last use ---- */

static uint32_t oldest_locked(struct kvi_store *store)
{
  struct kvi_below *below = store->below;
  uint32_t number = below->clean_first;

  for (uint32_t i = 0; i < KVI_BATCH_LOCKED && number != KVI_NONE; i++) {
    if ((uint32_t)(last_use(store, number) >> STAMP_SHIFT) == place_of(store, number)->stamp &&
        may_leave(store, number))
      break;
    queue_remove_locked(store, number);
    queue_push_locked(store, number);
    number = below->clean_first;
  }
  return number != KVI_NONE && may_leave(store, number) ? number : KVI_NONE;
}

/* ---- by the policy ---- */

/* How many chunks memory holds as they are now, and what it spares. Asked for here, since it takes the tier's lock, and nobody needs it while there is room. */
void kvi_memory_tell_locked(const struct kvi_store *store)
{
  struct kvi_tier_usage usage;

  store->dram->ops->usage(store->dram, &usage);
  if (usage.used_bytes > 0)
    store->policy_ops->memory_told(
        store->policy,
        (uint64_t)((double)usage.objects * (double)store->dram_attr.capacity_bytes /
                   (double)usage.used_bytes),
        1 / (double)store->below->read_bytes_per_s);
}

/* The one in front has its turn; the policy may have passed it over. */
static uint32_t by_policy_locked(struct kvi_store *store, double *price_p)
{
  uint32_t one = store->below->clean_first, number;

  if (one == KVI_NONE)
    return KVI_NONE;
  kvi_memory_tell_locked(store);
  number = store->policy_ops->demotion(store->policy, one, price_p, kvi_policy_now(store));
  if (number != one || !may_leave(store, one)) {
    queue_remove_locked(store, one);
    queue_push_locked(store, one);
  }
  if (number != KVI_POLICY_NONE && may_leave(store, number))
    return number;
  *price_p = -1;
  return oldest_locked(store);
}

uint32_t kvi_clean_own_locked(struct kvi_store *store, uint32_t account, uint32_t one, double *price_p)
{
  uint32_t number;

  kvi_memory_tell_locked(store);
  number = store->policy_ops->own_demotion(store->policy, account, one, price_p, kvi_policy_now(store));
  if (number != KVI_POLICY_NONE && store->spaces[store->entries[number].space].account == account &&
      may_leave(store, number))
    return number;
  *price_p = -1;
  return one;
}

uint32_t kvi_clean_victim_locked(struct kvi_store *store, double *price_p)
{
  *price_p = -1;
  return store->policy_ops->demotion ? by_policy_locked(store, price_p) : oldest_locked(store);
}

void kvi_demote_locked(struct kvi_store *store, uint32_t number, enum kvi_demote_rule rule)
{
  struct kvi_entry *entry = &store->entries[number];

  kvi_ahead_left_locked(store, number);
  kvi_clean_remove_locked(store, number);
  kvi_entry_unwrite_locked(store, number); /* a better one than the copy, which was not written in time */
  kvi_object_drop_locked(store, entry->object);
  kvi_entry_leave_locked(store, number);
  kvi_own_place_locked(store, number);
  store->stats.medium_only++;
  store->stats.demotions_by[rule]++;
}
