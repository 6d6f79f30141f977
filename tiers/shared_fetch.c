/*
 * tiers/shared_fetch.c: what the store has not comes from the shared medium and lands in the store like a put, so that it is published whole or not
 * at all, and what is below the store gets it too.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/shared_private.h"
#include "tiers/why.h"

/* ---- the table of fetches ---- */

static struct kvi_shared_fetch *find_locked(struct kvi_shared *shared, const struct kvi_shared_name *name)
{
  struct kvi_shared_fetch *fetch = shared->fetch_busy;

  while (fetch && (fetch->ending || !kvi_shared_name_equal(&fetch->name, name)))
    fetch = fetch->next;
  return fetch;
}

static void free_locked(struct kvi_shared *shared, struct kvi_shared_fetch *fetch)
{
  struct kvi_shared_fetch **link = &shared->fetch_busy;

  while (*link != fetch)
    link = &(*link)->next;
  *link = fetch->next;
  fetch->next = shared->fetch_free;
  shared->fetch_free = fetch;
  shared->stats.fetching--;
}

void kvi_shared_fetch_forget_locked(struct kvi_shared *shared, const struct kvi_shared_name *name)
{
  for (struct kvi_shared_fetch *fetch = shared->fetch_busy; fetch; fetch = fetch->next)
    if (kvi_shared_name_equal(&fetch->name, name))
      fetch->forgotten = true;
}

/* ---- landing ---- */

static kvs_status begin_put(struct kvi_shared_fetch *fetch, const struct kvi_chunk_table *table)
{
  const struct kvi_medium_get *get = &fetch->get;
  uint32_t *lengths = malloc(table->n_segments * sizeof(*lengths));
  struct kvi_put_request request = {.space = fetch->name.space,
                                    .key = fetch->name.key,
                                    .key_length = fetch->name.key_length,
                                    .parent =
                                        get->parent_length == fetch->name.key_length ? get->parent : NULL,
                                    .place = get->place,
                                    .unchained = get->unchained,
                                    .length = table->length,
                                    .n_segments = table->n_segments,
                                    .segment_lengths = lengths,
                                    .quality = table->quality,
                                    .fetched = true};
  kvs_status status;

  if (!lengths)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < table->n_segments; i++)
    lengths[i] = kvi_chunk_table_segment(table, i).length;
  status = kvi_store_put_begin(fetch->shared->config.store, fetch->name.tenant, &request, NULL, NULL,
                               &fetch->landing);
  if (status == KVS_EXISTS) { /* perhaps on a medium that could not give it */
    status =
        kvi_store_refill_begin(fetch->shared->config.store, fetch->name.tenant, &request, &fetch->landing);
    fetch->refill = status == KVS_OK;
  }
  free(lengths);
  return status;
}

static kvs_status land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                       const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct kvi_shared_fetch *fetch = get->user;
  kvs_status status = begin_put(fetch, table);

  if (status != KVS_OK)
    return status; /* KVS_EXISTS too: somebody has put it meanwhile */
  if (!fetch->refill)
    kvi_store_landing_from(fetch->shared->config.store, &fetch->landing, fetch->shared->attr.kind);
  fetch->landed = true;
  fetch->length = table->length;
  for (uint32_t i = 0; i < table->n_segments; i++)
    fetch->landing.segments[i].crc32c = kvi_chunk_table_segment(table, i).crc32c;
  *iov_p = fetch->landing.iov;
  *n_iov_p = fetch->landing.n_iov;
  return KVS_OK;
}

/* ---- the end ---- */

uint32_t kvi_shared_cause(uint32_t cause, uint64_t went_ns, uint64_t until_ns)
{
  switch (cause) {
  case KVI_MISS_NEVER:
  case KVI_MISS_ELSEWHERE:
    return KVI_MISS_EXPIRED;
  case KVI_MISS_EVICTED:
  case KVI_MISS_CLOSED:
  case KVI_MISS_QUOTA:
    return went_ns <= until_ns ? KVI_MISS_EXPIRED : cause;
  default:
    return cause;
  }
}

/* Its time there is over. */
static uint32_t cause_over(const struct kvi_shared_fetch *fetch, uint32_t cause)
{
  const struct kvi_shared_name *name = &fetch->name;

  return kvi_shared_cause(
      cause,
      kvi_store_went_ns(fetch->shared->config.store, name->tenant, name->space, name->key, name->key_length),
      fetch->until_ns);
}

static void waiter_end(struct kvi_shared_fetch *fetch, struct kvi_get_wait *wait, kvs_status status,
                       uint32_t cause)
{
  const struct kvi_shared_name *name = &fetch->name;

  if (status == KVS_OK) {
    status = kvi_store_get_here(fetch->shared->config.store, name->tenant, name->space, name->key,
                                name->key_length, &wait->terms, &wait->source, &cause);
    if (status == KVS_PENDING) { /* it has left memory again, in no time */
      status = KVS_MISS;
      cause = KVI_MISS_TIER;
    }
  } else if (status == KVS_MISS) {
    if (cause == KVI_MISS_NONE) /* why the store has missed it, or what became of it since */
      cause = fetch->until_ns ? cause_over(fetch, wait->cause) : wait->cause;
    kvi_store_count_miss(fetch->shared->config.store, cause, false);
  }
  wait->done(wait, status, status == KVS_MISS ? cause : KVI_MISS_NONE);
}

static void waiters_end(struct kvi_shared_fetch *fetch, kvs_status status, uint32_t cause)
{
  struct kvi_shared *shared = fetch->shared;
  struct kvi_get_wait *wait;

  pthread_mutex_lock(&shared->lock);
  fetch->ending = true;
  fetch->thread = pthread_self();
  while ((wait = fetch->waiters) != NULL) {
    fetch->waiters = wait->next;
    fetch->calling = wait;
    shared->n_waits--;
    pthread_mutex_unlock(&shared->lock);
    waiter_end(fetch, wait, status, cause);
    pthread_mutex_lock(&shared->lock);
    fetch->calling = NULL;
    pthread_cond_broadcast(&shared->called);
  }
  free_locked(shared, fetch);
  pthread_mutex_unlock(&shared->lock);
}

/* What becomes of those who wait: KVS_OK, KVS_MISS with a cause (NONE: the store's), KVS_ERR_BUSY. */
static kvs_status outcome_locked(struct kvi_shared *shared, struct kvi_shared_fetch *fetch, kvs_status status,
                                 uint32_t *cause_p)
{
  uint64_t took_us = (kvi_now_ns() - fetch->began_ns) / KVI_NS_PER_US;

  *cause_p = KVI_MISS_NONE;
  switch (status) {
  case KVS_OK:
    kvi_shared_expiry_used_locked(shared, &fetch->name, fetch->asked_ns, fetch->get.ttl_ms);
    shared->stats.fetch_hits++;
    shared->stats.fetch_bytes += fetch->length;
    shared->stats.chunk_us =
        shared->stats.chunk_us ? (shared->stats.chunk_us * 7 + took_us) / 8 + 1 : took_us + 1;
    return KVS_OK;
  case KVS_EXISTS:
    return KVS_OK;
  case KVS_MISS:
    fetch->until_ns = kvi_shared_expiry_missed_locked(shared, &fetch->name, fetch->asked_ns);
    shared->stats.fetch_misses++;
    return KVS_MISS;
  case KVS_ERR_CORRUPT:
    kvi_shared_expiry_end_locked(shared, &fetch->name); /* the medium removes it */
    shared->stats.fetch_corrupt++;
    *cause_p = KVI_MISS_CORRUPT;
    return KVS_MISS;
  case KVS_ERR_SPACE_UNKNOWN:
    *cause_p = KVI_MISS_SPACE;
    return KVS_MISS;
  case KVS_ERR_FULL:
  case KVS_ERR_QUOTA:
  case KVS_ERR_BUSY:
  case KVS_ERR_NOMEM:
  case KVS_PENDING: /* an equal put is under way: not whole yet */
    shared->stats.fetch_no_room++;
    return KVS_ERR_BUSY;
  default:
    shared->stats.fetch_failed++;
    *cause_p = KVI_MISS_TIER;
    return KVS_MISS;
  }
}

static kvs_status landing_commit(struct kvi_shared_fetch *fetch)
{
  struct kvi_store *store = fetch->shared->config.store;
  const struct kvi_shared_name *name = &fetch->name;

  return fetch->refill ? kvi_store_refill_commit(store, name->tenant, name->space, name->key,
                                                 name->key_length, &fetch->landing)
                       : kvi_store_put_commit(store, &fetch->landing);
}

static void landing_abort(struct kvi_shared_fetch *fetch)
{
  if (fetch->refill)
    kvi_store_refill_abort(fetch->shared->config.store, &fetch->landing);
  else
    kvi_store_put_abort(fetch->shared->config.store, &fetch->landing);
}

static bool is_forgotten(struct kvi_shared_fetch *fetch)
{
  bool forgotten;

  pthread_mutex_lock(&fetch->shared->lock);
  forgotten = fetch->forgotten;
  pthread_mutex_unlock(&fetch->shared->lock);
  return forgotten;
}

static void fetched(struct kvi_medium_get *get, kvs_status status)
{
  struct kvi_shared_fetch *fetch = get->user;
  struct kvi_shared *shared = fetch->shared;
  const struct kvi_shared_name *name = &fetch->name;
  bool forgotten = is_forgotten(fetch);
  uint32_t cause;

  if (fetch->landed && status == KVS_OK && !forgotten)
    status = landing_commit(fetch);
  else if (fetch->landed)
    landing_abort(fetch);
  if (fetch->landed && status == KVS_OK && !forgotten && is_forgotten(fetch)) {
    /* The delete looked in the store perhaps before it was published. */
    (void)kvi_store_delete(shared->config.store, name->tenant, name->space, name->key, name->key_length);
    forgotten = true;
  }
  if (status == KVS_ERR_CORRUPT)
    kvi_damages_note(kvi_store_damages(shared->config.store), name->tenant, name->space, name->key,
                     name->key_length, shared->attr.kind, KVI_DAMAGE_BY_GET);
  pthread_mutex_lock(&shared->lock);
  status = outcome_locked(shared, fetch, forgotten ? KVS_MISS : status, &cause);
  pthread_mutex_unlock(&shared->lock);
  if (forgotten)
    cause = KVI_MISS_DELETED;
  waiters_end(fetch, status, cause);
}

/* ---- the beginning ---- */

/* NULL: it could not be started. */
static struct kvi_shared_fetch *start_locked(struct kvi_shared *shared, const struct kvi_shared_name *name)
{
  struct kvi_shared_fetch *fetch = shared->fetch_free;

  if (!fetch || shared->closing || kvi_shared_is_forgotten_locked(shared, name))
    return NULL;
  fetch->name = *name;
  fetch->began_ns = kvi_now_ns();
  fetch->asked_ns = kvi_shared_now(shared);
  fetch->landed = fetch->refill = fetch->ending = fetch->forgotten = false;
  fetch->until_ns = 0;
  fetch->waiters = fetch->calling = NULL;
  fetch->get = (struct kvi_medium_get){.identity = kvi_shared_identity(&fetch->name),
                                       .deadline_ns = fetch->began_ns + shared->config.get_ms * KVI_NS_PER_MS,
                                       .land = land,
                                       .done = fetched,
                                       .user = fetch};
  if (shared->config.medium->ops->get(shared->config.medium, &fetch->get) != KVS_OK)
    return NULL;
  shared->fetch_free = fetch->next;
  fetch->next = shared->fetch_busy;
  shared->fetch_busy = fetch;
  shared->stats.fetches++;
  shared->stats.fetching++;
  return fetch;
}

/* Whether the store has it with no more loss than that. */
static bool is_here(struct kvi_shared *shared, const struct kvi_shared_name *name, uint32_t loss_max)
{
  const uint8_t *space = name->space;
  struct kvi_store_lookup_result result = {0};
  struct kvi_store_lookup query = {.tenant = name->tenant,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = name->key,
                                   .key_length = name->key_length,
                                   .n_keys = 1,
                                   .loss_max = loss_max,
                                   .peek = true};

  return kvi_store_lookup(shared->config.store, &query, &result) != KVS_OK || result.prefix > 0;
}

kvs_status kvi_shared_get(struct kvi_shared *shared, const char *tenant, const uint8_t *space,
                          const uint8_t *key, uint32_t key_length, uint32_t cause, struct kvi_get_wait *wait)
{
  struct kvi_shared_fetch *fetch = NULL;
  struct kvi_shared_name name;

  if (!wait || kvi_shared_name_make(tenant, space, key, key_length, &name) != KVS_OK)
    return KVS_MISS;
  /* in a coding that is not read: another form of it would not come in; but what has lost less would */
  if (cause == KVI_MISS_QUALITY && is_here(shared, &name, wait->terms.loss_max))
    return KVS_MISS;
  pthread_mutex_lock(&shared->lock);
  if (shared->n_waits < shared->config.max_fetches * KVI_SHARED_WAITS_PER_FETCH) {
    fetch = find_locked(shared, &name);
    shared->stats.fetch_joins += fetch != NULL;
    if (!fetch)
      fetch = start_locked(shared, &name);
  }
  if (fetch) {
    wait->cause = cause;
    wait->next = fetch->waiters;
    fetch->waiters = wait;
    shared->n_waits++;
  } else {
    shared->stats.fetch_refused++;
  }
  pthread_mutex_unlock(&shared->lock);
  if (!fetch)
    return KVS_MISS;
  kvi_store_count_miss(shared->config.store, cause, true); /* it is counted when it ends */
  return KVS_PENDING;
}

void kvi_shared_ahead(struct kvi_shared *shared, const char *tenant, const uint8_t *space, const uint8_t *key,
                      uint32_t key_length)
{
  struct kvi_shared_name name;

  if (kvi_shared_name_make(tenant, space, key, key_length, &name) != KVS_OK ||
      is_here(shared, &name, KVI_LOSS_MAX))
    return;
  pthread_mutex_lock(&shared->lock);
  if (shared->stats.fetching < shared->config.max_fetches / 2 && !find_locked(shared, &name))
    shared->stats.fetches_ahead += start_locked(shared, &name) != NULL;
  pthread_mutex_unlock(&shared->lock);
}

bool kvi_shared_unwait(struct kvi_shared *shared, struct kvi_get_wait *wait)
{
  bool found = false;

  pthread_mutex_lock(&shared->lock);
  for (struct kvi_shared_fetch *fetch = shared->fetch_busy, *next; fetch && !found; fetch = next) {
    struct kvi_get_wait **link = &fetch->waiters;

    next = fetch->next;
    while (*link && *link != wait)
      link = &(*link)->next;
    found = *link != NULL;
    if (found) {
      *link = wait->next;
      shared->n_waits--;
    } else if (fetch->calling == wait && !pthread_equal(fetch->thread, pthread_self())) {
      while (fetch->calling == wait)
        pthread_cond_wait(&shared->called, &shared->lock);
      next = shared->fetch_busy; /* the lock was open; and the wait may wait again, for another chunk */
    }
  }
  pthread_mutex_unlock(&shared->lock);
  return found;
}
