#include "tiers/remember_private.h"

#include <stdlib.h>
#include <string.h>

#include "tiers/store_private.h"

#define WAITERS_LOCKED 16u /* each may look at 31 chunks before its last one */
#define LEARNED_LOCKED 16u /* of 640 bytes */
#define SPACE_NONE     UINT32_MAX

bool kvi_remember_keeps(const struct kvi_store *store)
{
  return store->policy_ops->keep != NULL;
}

/* By the policy's clock, which is called under the lock. */
static uint64_t now_of(struct kvi_store *store)
{
  uint64_t now_ns;

  pthread_mutex_lock(&store->lock);
  now_ns = kvi_policy_now(store);
  pthread_mutex_unlock(&store->lock);
  return now_ns;
}

uint64_t kvi_remember_told(struct kvi_store *store)
{
  uint64_t told;

  pthread_mutex_lock(&store->lock);
  told = store->told;
  pthread_mutex_unlock(&store->lock);
  return told;
}

/* ---- out of the store ---- */

struct collecting {
  struct kvi_store *store;
  struct kvi_state *state;
  uint64_t now_ns;
  uint64_t since_ns; /* who came last before that is left out */
  uint32_t *places;  /* of the store's spaces in the state's; SPACE_NONE: not there */
  uint32_t spaces_room, waiters_room;
};

/* Room for n more of `size`, doubled. */
static bool grow(void **items, uint32_t *room, uint32_t n, size_t size)
{
  uint32_t wanted = *room ? *room : 64;
  void *grown;

  if (n <= *room)
    return true;
  while (wanted < n)
    wanted *= 2;
  grown = realloc(*items, wanted * size);
  if (!grown)
    return false;
  *items = grown;
  *room = wanted;
  return true;
}

static bool rooms_grow(struct collecting *own)
{
  return grow((void **)&own->state->waiters, &own->waiters_room, own->state->n_waiters + WAITERS_LOCKED,
              sizeof(*own->state->waiters)) &&
         grow((void **)&own->state->spaces, &own->spaces_room, own->state->n_spaces + WAITERS_LOCKED,
              sizeof(*own->state->spaces));
}

static uint32_t space_place_locked(struct collecting *own, uint32_t number)
{
  const struct kvi_space_entry *space = &own->store->spaces[number];
  struct kvi_state_space *place;

  if (own->places[number] != SPACE_NONE)
    return own->places[number];
  place = &own->state->spaces[own->state->n_spaces];
  memset(place, 0, sizeof(*place));
  memcpy(place->tenant, space->tenant, strlen(space->tenant) + 1);
  memcpy(place->digest, space->digest, KVS_DIGEST_SIZE);
  place->key_length = space->key_length;
  return own->places[number] = own->state->n_spaces++;
}

static uint64_t age(const struct collecting *own, uint64_t at_ns)
{
  return own->now_ns > at_ns ? own->now_ns - at_ns : 0;
}

static void waiter_add_locked(struct collecting *own, uint32_t number)
{
  struct kvi_state_waiter *waiter = &own->state->waiters[own->state->n_waiters];
  const struct kvi_store *store = own->store;
  struct kvi_policy_kept *kept = &waiter->kept;

  if (own->state->n_waiters == KVI_STATE_WAITERS_MAX ||
      !store->policy_ops->keep(store->policy, number, kept) || kept->used_ns < own->since_ns)
    return;
  memset(waiter->tags, 0, sizeof(waiter->tags));
  for (uint32_t i = 0; i < KVI_POLICY_KEPT_CHUNKS; i++)
    if (kept->at[i] != KVI_POLICY_NONE)
      memcpy(waiter->tags[i], store->entries[kept->at[i]].tag.word, sizeof(waiter->tags[i]));
  kept->space = space_place_locked(own, store->entries[kept->at[0]].space);
  kept->used_ns = age(own, kept->used_ns);
  kept->seen_ns = age(own, kept->seen_ns);
  kept->begins_ns = age(own, kept->begins_ns);
  own->state->n_waiters++;
}

static kvs_status waiters_collect(struct collecting *own)
{
  struct kvi_store *store = own->store;
  uint32_t number = 0, end;

  do {
    if (!rooms_grow(own))
      return KVS_ERR_NOMEM;
    pthread_mutex_lock(&store->lock);
    end = store->policy_ops->waiters(store->policy);
    for (uint32_t i = 0; i < WAITERS_LOCKED && number < end; i++, number++)
      waiter_add_locked(own, number);
    pthread_mutex_unlock(&store->lock);
  } while (number < end);
  return KVS_OK;
}

static int later_first(const void *a, const void *b)
{
  uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;

  return (first < second) - (first > second);
}

/* Of more waiters than there is room for, the newest are taken: from when on is that? */
static kvs_status since_find(struct collecting *own)
{
  struct kvi_store *store = own->store;
  uint32_t number = 0, end, n = 0;
  struct kvi_policy_kept kept;
  uint64_t *used;

  pthread_mutex_lock(&store->lock);
  end = store->policy_ops->waiters(store->policy);
  pthread_mutex_unlock(&store->lock);
  if (end <= KVI_STATE_WAITERS_MAX)
    return KVS_OK;
  used = malloc(end * sizeof(*used));
  if (!used)
    return KVS_ERR_NOMEM;
  while (number < end) { /* those who come meanwhile are few */
    pthread_mutex_lock(&store->lock);
    for (uint32_t i = 0; i < WAITERS_LOCKED && number < end; i++, number++)
      if (store->policy_ops->keep(store->policy, number, &kept))
        used[n++] = kept.used_ns;
    pthread_mutex_unlock(&store->lock);
  }
  qsort(used, n, sizeof(*used), later_first);
  if (n > KVI_STATE_WAITERS_MAX)
    own->since_ns = used[KVI_STATE_WAITERS_MAX - 1];
  free(used);
  return KVS_OK;
}

static kvs_status learned_collect(struct collecting *own)
{
  struct kvi_store *store = own->store;
  struct kvi_state *state = own->state;
  uint32_t part = 0, room = 0;
  bool more = true;

  while (more) {
    if (!grow((void **)&state->learned, &room, state->n_learned + LEARNED_LOCKED, sizeof(*state->learned)))
      return KVS_ERR_NOMEM;
    pthread_mutex_lock(&store->lock);
    for (uint32_t i = 0; i < LEARNED_LOCKED && more && state->n_learned < KVI_STATE_LEARNED_MAX;
         i++, part++) {
      struct kvi_state_learned *learned = &state->learned[state->n_learned];

      learned->length = store->policy_ops->learned(store->policy, part, learned->bytes, &more);
      state->n_learned += learned->length > 0;
    }
    more = more && state->n_learned < KVI_STATE_LEARNED_MAX;
    pthread_mutex_unlock(&store->lock);
  }
  return KVS_OK;
}

kvs_status kvi_remember_collect(struct kvi_store *store, struct kvi_state *state_p)
{
  struct collecting own = {.store = store, .state = state_p, .now_ns = now_of(store)};
  kvs_status status = KVS_ERR_NOMEM;

  *state_p = (struct kvi_state){0};
  strncpy(state_p->policy, store->policy_ops->name, sizeof(state_p->policy) - 1);
  memcpy(state_p->secret, store->hash_secret, sizeof(state_p->secret));
  own.places = malloc(store->config.max_spaces * sizeof(*own.places));
  if (own.places) {
    memset(own.places, 0xff, store->config.max_spaces * sizeof(*own.places)); /* SPACE_NONE */
    status = since_find(&own);
  }
  if (status == KVS_OK)
    status = waiters_collect(&own);
  if (status == KVS_OK)
    status = learned_collect(&own);
  free(own.places);
  if (status != KVS_OK) {
    kvi_state_clear(state_p);
    return status;
  }
  if (state_p->n_waiters > 0)
    qsort(state_p->waiters, state_p->n_waiters, sizeof(*state_p->waiters), kvi_remember_older_first);
  return KVS_OK;
}

/* ---- into the store ---- */

/* Where its chain ends now. False: nothing is known of it. */
static bool end_find_locked(const struct kvi_store *store, const struct kvi_state_waiter *waiter,
                            uint32_t space, struct kvi_policy_kept *kept, bool *whole_p)
{
  for (uint32_t i = 0; i < KVI_POLICY_KEPT_CHUNKS && kept->n_chunks > (1u << i) - 1; i++) {
    struct kvi_key_tag tag;
    uint32_t number;

    if (waiter->kept.at[i] == KVI_POLICY_NONE)
      break;
    memcpy(tag.word, waiter->tags[i], sizeof(tag.word));
    number = kvi_index_find_locked(store, kvi_key_hash(space, &tag), space, &tag);
    if (number == KVI_NONE || !kvi_entry_is_present(&store->entries[number]) ||
        store->entries[number].unchained)
      continue;
    kept->at[0] = number;
    kept->n_chunks -= (1u << i) - 1;
    *whole_p = i == 0;
    return true;
  }
  return false;
}

/* Where it is now. False: nothing of it is there. */
static bool place_find_locked(const struct kvi_store *store, const struct kvi_state *state,
                              const struct kvi_state_waiter *waiter, uint32_t *space_p,
                              struct kvi_policy_kept *kept, bool *whole_p)
{
  const struct kvi_state_space *place = &state->spaces[waiter->kept.space];

  *kept = waiter->kept;
  *space_p = kvi_space_find_locked(store, place->tenant, place->digest);
  return *space_p != KVI_NONE && end_find_locked(store, waiter, *space_p, kept, whole_p);
}

/* From which one on there is room for all that are there: those that were used last. */
static uint32_t first_find(struct kvi_store *store, const struct kvi_state *state)
{
  uint32_t first = state->n_waiters, space, room;
  struct kvi_policy_kept kept;
  bool whole, full = false;

  pthread_mutex_lock(&store->lock);
  room = store->policy_ops->room(store->policy);
  pthread_mutex_unlock(&store->lock);
  if (first <= room)
    return 0;
  while (first > 0 && !full) {
    pthread_mutex_lock(&store->lock);
    for (uint32_t i = 0; i < WAITERS_LOCKED && first > 0 && !full; i++) {
      bool there = place_find_locked(store, state, &state->waiters[first - 1], &space, &kept, &whole);

      full = there && room == 0;
      room -= there && !full;
      first -= !full;
    }
    pthread_mutex_unlock(&store->lock);
  }
  return first;
}

/* False: it is not there now, and may be later. */
static bool waiter_give_locked(struct kvi_store *store, const struct kvi_state *state, uint32_t number,
                               uint32_t first, uint64_t gap_ns, uint64_t now_ns,
                               struct kvi_remember_back *back)
{
  struct kvi_policy_kept kept;
  uint64_t *times[] = {&kept.used_ns, &kept.seen_ns, &kept.begins_ns};
  bool whole = false;
  uint32_t space;

  if (!place_find_locked(store, state, &state->waiters[number], &space, &kept, &whole)) {
    back->gone++;
    return false;
  }
  if (number < first) {
    back->room++;
    return false;
  }
  for (uint32_t i = 0; i < 3; i++) {
    uint64_t since = *times[i] + gap_ns;

    since = since < KVI_STATE_AGE_MOST_NS ? since : KVI_STATE_AGE_MOST_NS;
    *times[i] = now_ns > since ? now_ns - since : 0;
  }
  kept.space = space;
  kept.tenant = store->spaces[space].account;
  if (!store->policy_ops->restore(store->policy, &kept, now_ns))
    back->other++;
  else if (whole)
    back->back++;
  else
    back->less++;
  return true;
}

void kvi_remember_give(struct kvi_store *store, struct kvi_state *state, uint64_t gap_ns,
                       struct kvi_remember_back *back_p)
{
  const struct kvi_policy_ops *ops = store->policy_ops;
  uint64_t now_ns = now_of(store);
  uint32_t n = state->n_waiters, left = 0, first;

  *back_p = (struct kvi_remember_back){0};
  if (!ops->restore || strcmp(state->policy, ops->name) != 0) {
    back_p->other = state->n_waiters;
    return;
  }
  for (uint32_t i = 0; i < state->n_learned; i++) { /* nobody waits for the lock yet but the medium */
    pthread_mutex_lock(&store->lock);
    (void)ops->learn(store->policy, state->learned[i].bytes, state->learned[i].length);
    pthread_mutex_unlock(&store->lock);
  }
  first = first_find(store, state);
  for (uint32_t i = 0; i < n;) {
    pthread_mutex_lock(&store->lock);
    for (uint32_t end = i + WAITERS_LOCKED; i < n && i < end; i++)
      if (!waiter_give_locked(store, state, i, first, gap_ns, now_ns, back_p))
        state->waiters[left++] = state->waiters[i];
    pthread_mutex_unlock(&store->lock);
  }
  state->n_waiters = left;
  pthread_mutex_lock(&store->lock);
  ops->relearn(store->policy, now_ns);
  pthread_mutex_unlock(&store->lock);
}
