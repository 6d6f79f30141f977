/* tiers/evict.c: making room: by the policy's next victims for a put, by the policy's ranks for an operator. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/store_private.h"

void kvi_store_evict_one_locked(struct kvi_store *store, uint32_t number, enum kvi_evict_rule rule)
{
  bool below = kvi_below_has(store, number);
  struct kvi_policy_info info;

  store->policy_ops->info(store->policy, number, &info);
  /* Something had to go, and this went since its program has ended. An operator's word, and a tenant's own bound, say more than that. */
  if (info.ended && (rule == KVI_EVICT_ROOM || rule == KVI_EVICT_INDEX))
    rule = KVI_EVICT_CLOSED;
  store->stats.evictions++;
  store->stats.evicted_bytes += store->entries[number].length;
  store->stats.evictions_by[below][rule]++;
  store->stats.medium_evicted_bytes += below ? kvi_below_length(&store->entries[number]) : 0;
  kvi_entry_evict_locked(store, number, rule, &info);
}

void kvi_store_victim_evict_locked(struct kvi_store *store, uint32_t victim, enum kvi_evict_rule rule)
{
  if (store->policy_ops->evicted)
    store->policy_ops->evicted(store->policy, victim);
  kvi_store_evict_one_locked(store, victim, rule);
}

/* When it was used last; UINT64_MAX for none. */
static uint64_t last_use(const struct kvi_store *store, uint32_t number)
{
  struct kvi_policy_info info;

  if (number == KVI_NONE)
    return UINT64_MAX;
  store->policy_ops->info(store->policy, number, &info);
  return info.last_use_ns;
}

/* The lower, the sooner the policy would let it go; UINT64_MAX for none. */
static uint64_t rank_of(const struct kvi_store *store, uint32_t number)
{
  struct kvi_policy_info info;

  if (number == KVI_NONE)
    return UINT64_MAX;
  store->policy_ops->info(store->policy, number, &info);
  return info.rank;
}

struct victim {
  uint32_t number; /* KVI_POLICY_NONE */
  bool demote;     /* it stays on the medium */
  bool clean;      /* there is one that could stay there, be it this one or not */
  bool
      hidden; /* leases hold all clean chunks that were looked at as they are; there may be others behind them */
};

bool kvi_clean_goes_locked(const struct kvi_store *store, uint32_t clean, double price, uint32_t other)
{
  const struct kvi_entry *entry = other == KVI_NONE ? NULL : &store->entries[other];
  struct kvi_policy_info info;

  if (!entry || entry->queued || entry->writing || entry->coding)
    return true;
  store->policy_ops->info(store->policy, other, &info);
  if (price >= 0 && info.by_price)
    return price <= info.price;
  return last_use(store, clean) <= info.last_use_ns;
}

/*
 * One of two leaves memory: the clean chunk that is next, which stays on the medium, or the policy's victim of those that are in
 * memory only, which is gone. One that is about to be written goes only when nothing else can.
 */
static struct victim memory_victim_locked(struct kvi_store *store)
{
  struct victim victim = {
      .number = store->policy_ops->victim(store->policy, KVI_POLICY_MEMORY, kvi_policy_now(store))};
  uint32_t clean;
  double price;

  if (!store->below)
    return victim;
  clean = kvi_clean_victim_locked(store, &price);
  victim.hidden = clean == KVI_NONE && kvi_clean_length_locked(store) > 0;
  if (clean == KVI_NONE)
    return victim;
  victim.clean = true;
  if (kvi_clean_goes_locked(store, clean, price, victim.number))
    victim = (struct victim){.number = clean, .demote = true, .clean = true};
  return victim;
}

/* Planes go before whole chunks do, where nothing can leave memory and be kept. Returns the room; 0 and search->more: there are chunks that nobody has looked at. */
static uint64_t cut_locked(struct kvi_store *store, const struct victim *victim, uint32_t *looks,
                           struct kvi_room_search *search)
{
  uint64_t freed = victim->clean ? 0 : kvi_cut_make_room_locked(store, looks, &search->passed);

  search->more = !victim->clean && freed == 0 && search->passed < 2 * (uint64_t)kvi_cut_length_locked(store);
  return freed;
}

uint64_t kvi_store_make_room_locked(struct kvi_store *store, uint64_t bytes, struct kvi_room_search *search)
{
  uint32_t looks = KVI_BATCH_LOCKED;
  uint64_t freed = kvi_over_make_room_locked(store, KVI_POLICY_MEMORY, bytes, &search->more);

  if (search->more)
    return freed;
  for (uint32_t i = 0; i < KVI_BATCH_LOCKED && freed < bytes; i++) {
    struct victim victim = memory_victim_locked(store);
    uint64_t cut;

    if (victim.hidden && search->hidden < kvi_clean_length_locked(store)) {
      search->hidden += KVI_BATCH_LOCKED;
      search->more = true;
      break;
    }
    cut = cut_locked(store, &victim, &looks, search);
    freed += cut;
    if (cut > 0)
      continue;
    if (search->more || victim.number == KVI_POLICY_NONE)
      break;
    search->declined = search->admission && !kvi_admits_locked(store, search->admission, victim.number);
    if (search->declined)
      break;
    freed += store->entries[victim.number].length;
    if (victim.demote)
      kvi_demote_locked(store, victim.number, KVI_DEMOTE_ROOM);
    else
      kvi_store_victim_evict_locked(store, victim.number, KVI_EVICT_ROOM);
  }
  kvi_marks_again_locked(store); /* what is next may be one that can be demoted */
  return freed;
}

bool kvi_store_next_is_demotion_locked(struct kvi_store *store)
{
  return memory_victim_locked(store).demote;
}

bool kvi_store_demote_one_locked(struct kvi_store *store, bool *hidden_p)
{
  struct victim victim = memory_victim_locked(store);

  *hidden_p = victim.hidden;
  if (victim.demote)
    kvi_demote_locked(store, victim.number, KVI_DEMOTE_MARK);
  return victim.demote;
}

bool kvi_store_drop_one_locked(struct kvi_store *store)
{
  uint64_t now = kvi_policy_now(store);
  uint32_t memory = store->policy_ops->victim(store->policy, KVI_POLICY_MEMORY, now);
  uint32_t medium = store->policy_ops->victim(store->policy, KVI_POLICY_MEDIUM, now);
  uint32_t victim = rank_of(store, medium) <= rank_of(store, memory) ? medium : memory;

  if (victim == KVI_POLICY_NONE)
    return false;
  kvi_store_victim_evict_locked(store, victim, KVI_EVICT_INDEX);
  return true;
}

/* ---- an operator's eviction: of one space, or of one tenant ---- */

struct candidate {
  uint64_t rank;
  uint32_t place, number;
};

/* By rank; of equal ranks the end of a chain first, so that few have to be looked at twice. */
static int candidate_compare(const void *a, const void *b)
{
  const struct candidate *x = a, *y = b;

  if (x->rank != y->rank)
    return x->rank < y->rank ? -1 : 1;
  return (x->place < y->place) - (x->place > y->place);
}

struct scope {
  const char *tenant;
  uint32_t space; /* KVI_NONE: all of the tenant */
};

static bool in_scope_locked(const struct kvi_store *store, const struct scope *scope, uint32_t number)
{
  const struct kvi_entry *entry = &store->entries[number];

  if (number >= store->entry_fresh || !kvi_entry_is_present(entry))
    return false;
  if (scope->space != KVI_NONE)
    return entry->space == scope->space;
  return strcmp(store->spaces[entry->space].tenant, scope->tenant) == 0;
}

/* Looks at all entries, a bounded number in each hold of the lock. */
static uint32_t candidates_collect(struct kvi_store *store, const struct scope *scope,
                                   struct candidate *candidates)
{
  uint32_t n = 0, end;

  for (uint32_t i = 0; i < store->config.max_chunks;) {
    pthread_mutex_lock(&store->lock);
    end = store->entry_fresh - i < KVI_BATCH_LOCKED ? store->entry_fresh : i + KVI_BATCH_LOCKED;
    if (i >= store->entry_fresh)
      end = i;
    for (; i < end; i++) {
      struct kvi_policy_info info;

      if (!in_scope_locked(store, scope, i))
        continue;
      store->policy_ops->info(store->policy, i, &info);
      candidates[n++] = (struct candidate){.rank = info.rank, .place = store->entries[i].place, .number = i};
    }
    end = store->entry_fresh;
    pthread_mutex_unlock(&store->lock);
    if (i >= end)
      break;
  }
  return n;
}

/*
 * One pass over the candidates, leaves only; those that went are taken out. When a chunk has gone, the one before it may be a leaf now
 * that ranks below all that is left of the list: it goes next, so that the order is the policy's, and a chain of any length takes one pass.
 * Returns the bytes.
 */
static uint64_t candidates_evict(struct kvi_store *store, const struct scope *scope,
                                 struct candidate *candidates, uint32_t *n_p, uint64_t bytes,
                                 uint64_t *chunks)
{
  uint32_t kept = 0, i = 0, parent = KVI_NONE; /* parent: of the chunk that has just gone */
  uint64_t freed = 0;

  while (i < *n_p) {
    pthread_mutex_lock(&store->lock);
    for (uint32_t step = 0; i < *n_p && step < KVI_BATCH_LOCKED; step++) {
      bool listed = parent == KVI_NONE;
      uint32_t number = listed ? candidates[i].number : parent;
      struct kvi_policy_info info = {.parent = KVI_NONE};
      bool here = in_scope_locked(store, scope, number);

      parent = KVI_NONE;
      if (here)
        store->policy_ops->info(store->policy, number, &info);
      if (here && freed < bytes && info.children == 0 && info.holds == 0 &&
          (listed || info.rank <= candidates[i].rank)) {
        freed += store->entries[number].length;
        (*chunks)++;
        kvi_store_evict_one_locked(store, number, KVI_EVICT_ASKED);
        parent = info.parent;
      } else if (here && listed) {
        candidates[kept++] = candidates[i];
      }
      if (parent == KVI_NONE)
        i++;
    }
    pthread_mutex_unlock(&store->lock);
  }
  *n_p = kept;
  return freed;
}

void kvi_store_evict(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t bytes,
                     uint64_t *chunks_p, uint64_t *bytes_p)
{
  struct scope scope = {.tenant = tenant, .space = KVI_NONE};
  struct candidate *candidates;
  uint64_t freed;
  uint32_t n;

  *chunks_p = *bytes_p = 0;
  if (space) {
    pthread_mutex_lock(&store->lock);
    scope.space = kvi_space_find_locked(store, tenant, space);
    pthread_mutex_unlock(&store->lock);
    if (scope.space == KVI_NONE)
      return;
  }
  kvi_store_expire(store);
  candidates = malloc(store->config.max_chunks * sizeof(*candidates));
  if (!candidates)
    return;
  n = candidates_collect(store, &scope, candidates);
  qsort(candidates, n, sizeof(*candidates), candidate_compare);
  do { /* once more for those that had children or holds and have not any longer: others work meanwhile */
    freed = candidates_evict(store, &scope, candidates, &n, bytes - *bytes_p, chunks_p);
    *bytes_p += freed;
  } while (freed > 0 && *bytes_p < bytes);
  free(candidates);
}
