/* tiers/shared.c: the life of the shared tier, and its counters. */
#include "tiers/shared_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/thread.h"
#include "tiers/shared_quota.h"

#define WRITE_QUEUE     4096u
#define WRITE_QUEUE_MAX (1u << 20)
#define FETCHES         256u
#define FETCHES_MAX     65536u
#define LOOKUPS         256u
#define LOOKUP_MS       50u
#define GET_MS          2000u
#define PUT_MS          10000u
#define EXPIRIES_MIN    4096u
#define EXPIRIES_PART   4u

static void config_default(struct kvi_shared_config *config)
{
  if (config->write_queue == 0)
    config->write_queue = WRITE_QUEUE;
  if (config->max_fetches == 0)
    config->max_fetches = FETCHES;
  if (config->max_lookups == 0)
    config->max_lookups = LOOKUPS;
  if (config->lookup_ms == 0)
    config->lookup_ms = LOOKUP_MS;
  if (config->get_ms == 0)
    config->get_ms = GET_MS;
  if (config->put_ms == 0)
    config->put_ms = PUT_MS;
  if (config->expiries == 0)
    config->expiries = kvi_store_chunks_max(config->store) / EXPIRIES_PART;
  if (config->expiries < EXPIRIES_MIN)
    config->expiries = EXPIRIES_MIN;
}

static kvs_status expiries_create(struct kvi_shared *shared)
{
  kvs_status status = kvi_random_id(&shared->expiries_seed);

  return status == KVS_OK
             ? kvi_expiries_create(shared->config.expiries, kvi_shared_now(shared), &shared->expiries)
             : status;
}

static kvs_status parts_create(struct kvi_shared *shared)
{
  const struct kvi_shared_config *config = &shared->config;

  shared->config.medium->ops->attr(config->medium, &shared->attr);
  if (!shared->attr.shared || shared->attr.handles || config->write_queue > WRITE_QUEUE_MAX ||
      config->max_fetches > FETCHES_MAX)
    return KVS_ERR_INVALID;
  shared->queue = calloc(config->write_queue, sizeof(struct kvi_shared_note *));
  shared->fetches = calloc(config->max_fetches, sizeof(*shared->fetches));
  if (config->write == KVI_ADMIT_REUSED)
    shared->ttls = calloc(KVI_SHARED_TTLS, sizeof(*shared->ttls));
  if (!shared->queue || !shared->fetches || (config->write == KVI_ADMIT_REUSED && !shared->ttls))
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < config->max_fetches; i++) {
    shared->fetches[i].shared = shared;
    shared->fetches[i].next = i + 1 < config->max_fetches ? &shared->fetches[i + 1] : NULL;
  }
  shared->fetch_free = shared->fetches;
  return expiries_create(shared);
}

static kvs_status store_missed(void *ctx, const char *tenant, const uint8_t *space, const uint8_t *key,
                               uint32_t key_length, uint32_t cause, struct kvi_get_wait *wait)
{
  return kvi_shared_get(ctx, tenant, space, key, key_length, cause, wait);
}

static uint64_t shared_now(const void *ctx)
{
  return kvi_shared_now(ctx);
}

kvs_status kvi_shared_create(const struct kvi_shared_config *config, struct kvi_shared **shared_p)
{
  struct kvi_shared *shared = calloc(1, sizeof(*shared));
  kvs_status status;

  *shared_p = NULL;
  if (!shared) {
    config->medium->ops->destroy(config->medium);
    return KVS_ERR_NOMEM;
  }
  shared->config = *config;
  config_default(&shared->config);
  pthread_mutex_init(&shared->lock, NULL);
  pthread_cond_init(&shared->called, NULL);
  status = parts_create(shared);
  if (status != KVS_OK) {
    kvi_shared_destroy(shared);
    return status;
  }
  kvi_shared_quota_begin(config->store, shared->attr.ttl_ms, shared_now, shared);
  shared->lower = (struct kvi_store_lower){.ctx = shared,
                                           .kind = shared->attr.kind,
                                           .missed = store_missed,
                                           .used = kvi_shared_used,
                                           .coded = kvi_shared_coded};
  kvi_store_set_lower(config->store, &shared->lower);
  *shared_p = shared;
  return KVS_OK;
}

void kvi_shared_destroy(struct kvi_shared *shared)
{
  if (!shared)
    return;
  pthread_mutex_lock(&shared->lock);
  shared->closing = true; /* what ends now starts nothing new */
  pthread_mutex_unlock(&shared->lock);
  kvi_store_set_lower(shared->config.store, NULL);
  shared->config.medium->ops->destroy(shared->config.medium);
  kvi_shared_quota_end(shared->config.store);
  for (uint32_t i = 0; i < shared->queue_length; i++)
    kvi_shared_note_free(shared->queue[(shared->queue_first + i) % shared->config.write_queue]);
  free(shared->queue);
  free(shared->ttls);
  kvi_expiries_destroy(shared->expiries);
  free(shared->fetches);
  pthread_cond_destroy(&shared->called);
  pthread_mutex_destroy(&shared->lock);
  free(shared);
}

kvs_status kvi_shared_name_make(const char *tenant, const uint8_t *space, const uint8_t *key,
                                uint32_t key_length, struct kvi_shared_name *name_p)
{
  size_t length = strlen(tenant);

  if (length >= sizeof(name_p->tenant))
    return KVS_ERR_INVALID;
  if (key_length < KVS_KEY_MIN || key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  memcpy(name_p->tenant, tenant, length + 1);
  memcpy(name_p->space, space, KVS_DIGEST_SIZE);
  memcpy(name_p->key, key, key_length);
  name_p->key_length = key_length;
  return KVS_OK;
}

bool kvi_shared_name_equal(const struct kvi_shared_name *a, const struct kvi_shared_name *b)
{
  return a->key_length == b->key_length && memcmp(a->key, b->key, a->key_length) == 0 &&
         memcmp(a->space, b->space, sizeof(a->space)) == 0 && strcmp(a->tenant, b->tenant) == 0;
}

struct kvi_medium_identity kvi_shared_identity(const struct kvi_shared_name *name)
{
  return (struct kvi_medium_identity){
      .tenant = name->tenant, .space = name->space, .key = name->key, .key_length = name->key_length};
}

void kvi_shared_count(struct kvi_shared *shared, uint64_t *counter, uint64_t n)
{
  pthread_mutex_lock(&shared->lock);
  *counter += n;
  pthread_mutex_unlock(&shared->lock);
}

void kvi_shared_stats(struct kvi_shared *shared, struct kvi_shared_stats *stats_p,
                      struct kvi_medium_stats *medium_p)
{
  pthread_mutex_lock(&shared->lock);
  *stats_p = shared->stats;
  stats_p->writes_queued = shared->queue_length;
  stats_p->writing = shared->writing;
  stats_p->write_bytes_per_s = shared->rate.bytes_per_s;
  stats_p->looking = shared->looking;
  pthread_mutex_unlock(&shared->lock);
  shared->config.medium->ops->stats(shared->config.medium, medium_p);
}
