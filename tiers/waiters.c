/*
 * tiers/waiters.c: those who put a chunk that somebody else is putting just now, and want to be told how that ends.
 *
 * They are called without the store's lock, and put_unwait must not return while its call is running elsewhere. So a waiter
 * goes WAITING -> QUEUED (the landing ended) -> RUNNING -> free, and put_unwait takes it out of the first, cancels the second and waits for
 * the end of the third, which is short since calls must not block.
 */
#include <stdlib.h>
#include <string.h>

#include "tiers/store_private.h"

#define WAITERS_PER_LANDING 4u

kvs_status kvi_waiters_create(struct kvi_store *store)
{
  store->n_waiters = 16;
  while (store->n_waiters < store->config.max_landings * WAITERS_PER_LANDING)
    store->n_waiters *= 2;
  store->waiters = calloc(store->n_waiters, sizeof(*store->waiters));
  store->ctx_buckets = malloc(store->n_waiters * sizeof(*store->ctx_buckets));
  if (!store->waiters || !store->ctx_buckets)
    return KVS_ERR_NOMEM;
  memset(store->ctx_buckets, 0xff, store->n_waiters * sizeof(*store->ctx_buckets)); /* KVI_NONE */
  for (uint32_t i = 0; i < store->n_waiters; i++)
    store->waiters[i].next = i + 1 < store->n_waiters ? i + 1 : KVI_NONE;
  store->waiter_free = 0;
  return KVS_OK;
}

void kvi_waiters_destroy(struct kvi_store *store)
{
  free(store->waiters);
  free(store->ctx_buckets);
}

static uint32_t *ctx_bucket(const struct kvi_store *store, const void *ctx)
{
  uint64_t mixed = (uint64_t)(uintptr_t)ctx * UINT64_C(0x9E3779B97F4A7C15);

  return &store->ctx_buckets[(mixed >> 32) & (store->n_waiters - 1)];
}

kvs_status kvi_waiter_add_locked(struct kvi_store *store, uint32_t landing, uint32_t loss,
                                 kvi_put_wait_fn *fn, void *ctx)
{
  uint32_t number = store->waiter_free;
  uint32_t *first = &store->landings[landing].first_waiter;
  struct kvi_waiter *waiter;

  if (!fn)
    return KVS_PENDING;
  if (number == KVI_NONE)
    return KVS_ERR_BUSY;
  waiter = &store->waiters[number];
  store->waiter_free = waiter->next;
  waiter->fn = fn;
  waiter->ctx = ctx;
  waiter->landing = landing;
  waiter->loss = loss & KVI_LOSS_MAX;
  waiter->state = KVI_WAITER_WAITING;
  waiter->prev = KVI_NONE;
  waiter->next = *first;
  if (*first != KVI_NONE)
    store->waiters[*first].prev = number;
  *first = number;
  waiter->ctx_next = *ctx_bucket(store, ctx);
  *ctx_bucket(store, ctx) = number;
  return KVS_PENDING;
}

/* Out of its bucket and free. */
static void waiter_free_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_waiter *waiter = &store->waiters[number];
  uint32_t *link = ctx_bucket(store, waiter->ctx);

  while (*link != number)
    link = &store->waiters[*link].ctx_next;
  *link = waiter->ctx_next;
  waiter->state = KVI_WAITER_FREE;
  waiter->life++;
  waiter->next = store->waiter_free;
  store->waiter_free = number;
}

uint32_t kvi_waiters_detach_locked(struct kvi_store *store, uint32_t landing)
{
  uint32_t first = store->landings[landing].first_waiter;

  store->landings[landing].first_waiter = KVI_NONE;
  for (uint32_t i = first; i != KVI_NONE; i = store->waiters[i].next)
    store->waiters[i].state = KVI_WAITER_QUEUED;
  return first;
}

void kvi_waiters_call(struct kvi_store *store, uint32_t first, kvs_status status, uint32_t loss)
{
  while (first != KVI_NONE) {
    struct kvi_waiter *waiter = &store->waiters[first];
    kvi_put_wait_fn *fn;
    uint32_t next;
    bool worse;
    void *ctx;

    pthread_mutex_lock(&store->lock);
    next = waiter->next;
    fn = waiter->state == KVI_WAITER_QUEUED ? waiter->fn : NULL;
    ctx = waiter->ctx;
    worse = status == KVS_OK && waiter->loss < loss;
    waiter->state = KVI_WAITER_RUNNING;
    waiter->thread = pthread_self();
    pthread_mutex_unlock(&store->lock);
    if (fn)
      fn(ctx, worse ? KVS_ERR_BUSY : status);
    pthread_mutex_lock(&store->lock);
    waiter_free_locked(store, first);
    if (store->waiter_watchers > 0)
      pthread_cond_broadcast(&store->waiter_ended);
    pthread_mutex_unlock(&store->lock);
    first = next;
  }
}

static void unlink_waiting_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_waiter *waiter = &store->waiters[number];

  if (waiter->prev != KVI_NONE)
    store->waiters[waiter->prev].next = waiter->next;
  else
    store->landings[waiter->landing].first_waiter = waiter->next;
  if (waiter->next != KVI_NONE)
    store->waiters[waiter->next].prev = waiter->prev;
}

void kvi_store_put_unwait(struct kvi_store *store, void *wait_ctx)
{
  uint32_t number, next;

  pthread_mutex_lock(&store->lock);
  for (number = *ctx_bucket(store, wait_ctx); number != KVI_NONE; number = next) {
    struct kvi_waiter *waiter = &store->waiters[number];
    uint32_t life = waiter->life;

    next = waiter->ctx_next;
    if (waiter->ctx != wait_ctx)
      continue;
    if (waiter->state == KVI_WAITER_WAITING) {
      unlink_waiting_locked(store, number);
      waiter_free_locked(store, number);
    } else if (waiter->state == KVI_WAITER_QUEUED) {
      waiter->state = KVI_WAITER_CANCELED;
    } else if (waiter->state == KVI_WAITER_RUNNING && !pthread_equal(waiter->thread, pthread_self())) {
      store->waiter_watchers++;
      while (waiter->life == life)
        pthread_cond_wait(&store->waiter_ended, &store->lock);
      store->waiter_watchers--;
      next = *ctx_bucket(store, wait_ctx); /* the lock was open: the bucket may be another */
    }
  }
  pthread_mutex_unlock(&store->lock);
}
