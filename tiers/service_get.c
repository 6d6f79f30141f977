/*
 * tiers/service_get.c: gets as wires see them. What the store, or what is below it, has coded is decoded for readers that do not (decoder.h).
 *
 * Such a reader's get is one of ours at first: it asks the store for any coding, with a wait of its own, and the chunk is handed on as it came, or decoded. It goes
 *
 *   FETCHING   the wait is the store's (also before get_open has an answer)
 *   DECODING   the decoder has it, and we its coded source
 *   TELLING    the reader's done is being called
 *
 * in this order, but for one whose memory was found damaged: it is asked for once more below. From get_unwait on it belongs to nobody (asked NULL): in FETCHING get_unwait ends it,
 * in DECODING the decoder's thread does.
 *
 * Lock order: ours -> shared -> store -> tiers; ours -> the decoder's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "tiers/service_private.h"

#define GETS_MAX     4096u /* of readers that do not decode, under way */
#define DECODE_PART  8u    /* of the store's memory, for decoded chunks: beside it */
#define LAST_TOLD_MS 5000u
#define READS_CODED  (1u << KVI_CODING_KVC1)

enum { FETCHING = 1, DECODING, TELLING };

struct get {
  struct kvi_get_wait inner; /* first: the store's */
  struct kvi_decode decode;
  struct kvi_store_service *service;
  struct kvi_get_wait *asked; /* NULL: given up, or the place is free */
  char tenant[KVI_TENANT_MAX];
  uint8_t space[KVS_DIGEST_SIZE], key[KVS_KEY_MAX];
  uint32_t key_length, state;
  bool again;       /* it was asked for once more */
  pthread_t thread; /* TELLING: on this one */
  struct get *next; /* free */
};

struct kvi_service_decoding {
  struct kvi_decoder *decoder;
  pthread_mutex_t lock; /* guards the rest */
  pthread_cond_t told;
  struct get *gets; /* GETS_MAX; from `fresh` on never used */
  struct get *free;
  uint32_t fresh, n_used;
};

/* ---- the store, and what is below it ---- */

static kvs_status below_open(struct kvi_store_service *service, const char *tenant, const uint8_t *space,
                             const uint8_t *key, uint32_t key_length, struct kvi_get_wait *wait,
                             struct kvi_source *source_p, uint32_t *cause_p)
{
  kvs_status status =
      kvi_store_get_open(service->config.store, tenant, space, key, key_length, wait, source_p, cause_p);

  if (status != KVS_MISS || *cause_p == KVI_MISS_SPACE || !service->config.shared)
    return status;
  return kvi_shared_get(service->config.shared, tenant, space, key, key_length, *cause_p, wait);
}

static bool below_unwait(struct kvi_store_service *service, struct kvi_get_wait *wait)
{
  struct kvi_shared *shared = service->config.shared;

  if (shared && kvi_shared_unwait(shared, wait))
    return true;
  if (kvi_store_get_unwait(service->config.store, wait))
    return true;
  return shared && kvi_shared_unwait(shared, wait); /* the store may have handed it over meanwhile */
}

/* ---- the gets that are ours ---- */

static void fetched(struct kvi_get_wait *inner, kvs_status status, uint32_t cause);

static struct get *place_take_locked(struct kvi_service_decoding *decoding)
{
  struct get *get = decoding->free;

  if (get)
    decoding->free = get->next;
  else if (decoding->fresh < GETS_MAX)
    get = &decoding->gets[decoding->fresh++];
  return get;
}

/* The key fits. NULL: too many are under way. */
static struct get *get_make(struct kvi_store_service *service, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length, struct kvi_get_wait *asked)
{
  struct kvi_service_decoding *decoding = service->decoding;
  struct get *get;

  pthread_mutex_lock(&decoding->lock);
  get = place_take_locked(decoding);
  if (get) {
    memset(get, 0, sizeof(*get));
    get->service = service;
    get->asked = asked;
    get->inner.terms = asked->terms;
    get->inner.terms.codings |= READS_CODED;
    get->inner.terms.bytes_enough = 0; /* decoded it is as long with fewer planes */
    get->inner.done = fetched;
    snprintf(get->tenant, sizeof(get->tenant), "%s", tenant);
    memcpy(get->space, space, KVS_DIGEST_SIZE);
    memcpy(get->key, key, key_length);
    get->key_length = key_length;
    get->state = FETCHING;
    asked->where = get;
    decoding->n_used++;
  }
  pthread_mutex_unlock(&decoding->lock);
  return get;
}

static void get_free_locked(struct kvi_service_decoding *decoding, struct get *get)
{
  get->asked = NULL;
  get->state = 0;
  get->next = decoding->free;
  decoding->free = get;
  decoding->n_used--;
  pthread_cond_broadcast(&decoding->told);
}

static void get_free(struct get *get)
{
  struct kvi_service_decoding *decoding = get->service->decoding;

  pthread_mutex_lock(&decoding->lock);
  get_free_locked(decoding, get);
  pthread_mutex_unlock(&decoding->lock);
}

/* The get of a wait; NULL: it is none of ours, or over. */
static struct get *get_of_locked(const struct kvi_service_decoding *decoding, const struct kvi_get_wait *wait)
{
  uintptr_t at = (uintptr_t)wait->where, first = (uintptr_t)decoding->gets;
  struct get *get;

  if (at < first || at >= first + GETS_MAX * sizeof(*get))
    return NULL;
  get = wait->where;
  return get->asked == wait ? get : NULL;
}

/* With the lock, which is let go of. The reader is told, and the get is over. */
static void get_tell(struct get *get, kvs_status status, const struct kvi_source *source, uint32_t cause)
{
  struct kvi_service_decoding *decoding = get->service->decoding;
  struct kvi_get_wait *asked = get->asked;

  get->state = TELLING;
  get->thread = pthread_self();
  pthread_mutex_unlock(&decoding->lock);
  memset(&asked->source, 0, sizeof(asked->source));
  if (status == KVS_OK)
    asked->source = *source;
  asked->done(asked, status, status == KVS_MISS ? cause : KVI_MISS_NONE);
  get_free(get);
}

/* ---- decoding ---- */

/* The bytes are as they were put, and are no chunk: what other nodes share of it is no better. */
static void shared_forget_done(void *ctx, const uint8_t *there, uint32_t unconfirmed)
{
  (void)ctx, (void)there, (void)unconfirmed;
}

static void shared_forget(struct get *get)
{
  struct kvi_shared_forget forget = {.tenant = get->tenant,
                                     .space = get->space,
                                     .keys = get->key,
                                     .key_length = get->key_length,
                                     .n_keys = 1,
                                     .done = shared_forget_done};

  if (get->service->config.shared)
    (void)kvi_shared_forget(get->service->config.shared, &forget); /* if it cannot, the next get tries it */
}

/* The coded source does not decode to what was put. True: memory has damaged it, and there may be another copy below. */
static bool corrupt_drop(struct get *get)
{
  const struct kvi_source *coded = &get->inner.source;
  bool damaged = !kvi_medium_fits(&coded->table, coded->iov, coded->n_iov);

  if (kvi_store_drop_corrupt(get->service->config.store, get->tenant, get->space, get->key, get->key_length,
                             coded) &&
      !damaged)
    shared_forget(get);
  return damaged;
}

/* What a reader is told of a chunk that was not decoded. */
static kvs_status undecoded(kvs_status status, uint32_t *cause_p)
{
  *cause_p = KVI_MISS_NONE;
  switch (status) {
  case KVS_ERR_CORRUPT:
    *cause_p = KVI_MISS_CORRUPT;
    return KVS_MISS;
  case KVS_ERR_UNSUPPORTED:
  case KVS_ERR_TOO_LARGE:
    *cause_p = KVI_MISS_QUALITY;
    return KVS_MISS;
  case KVS_ERR_NOMEM:
  case KVS_ERR_BUSY:
    return KVS_ERR_BUSY;
  default: /* closed */
    *cause_p = KVI_MISS_TIER;
    return KVS_MISS;
  }
}

/* With the lock. Whether it has been asked for once more, below the store. */
static bool ask_again_locked(struct get *get)
{
  struct kvi_shared *shared = get->service->config.shared;

  if (!shared || get->again)
    return false;
  get->again = true;
  get->state = FETCHING;
  return kvi_shared_get(shared, get->tenant, get->space, get->key, get->key_length, KVI_MISS_CORRUPT,
                        &get->inner) == KVS_PENDING;
}

static void decoded(struct kvi_decode *decode, kvs_status status)
{
  struct get *get = kvi_list_entry(decode, struct get, decode);
  struct kvi_service_decoding *decoding = get->service->decoding;
  bool damaged = status == KVS_ERR_CORRUPT && corrupt_drop(get);
  uint32_t cause = KVI_MISS_NONE;

  if (status != KVS_OK && status != KVS_ERR_CANCELED) {
    status = undecoded(status, &cause);
    kvi_store_count_unread(get->service->config.store, &get->inner.source, cause);
  }
  kvi_store_get_close(get->service->config.store, &get->inner.source);
  pthread_mutex_lock(&decoding->lock);
  if (!get->asked) {
    kvi_decoder_close(decoding->decoder, &decode->decoded); /* before its place is another's */
    get_free_locked(decoding, get);
    pthread_mutex_unlock(&decoding->lock);
  } else if (damaged && ask_again_locked(get)) {
    pthread_mutex_unlock(&decoding->lock);
  } else {
    get_tell(get, status, &decode->decoded, cause);
  }
}

/* With the lock. The coded source is the decoder's, or closed. */
static kvs_status decode_start_locked(struct get *get)
{
  struct kvi_store *store = get->service->config.store;
  kvs_status status;

  get->state = DECODING;
  get->decode.coded = &get->inner.source;
  get->decode.done = decoded;
  status = kvi_decoder_start(get->service->decoding->decoder, &get->decode);
  if (status == KVS_OK)
    return KVS_OK;
  kvi_store_count_unread(store, &get->inner.source, KVI_MISS_NONE);
  kvi_store_get_close(store, &get->inner.source);
  return KVS_ERR_BUSY;
}

/* ---- waiting for the store ---- */

/* Its loss suits, since the store was asked for that. */
static bool is_to_be_decoded(const struct kvi_source *source)
{
  return kvi_quality_coding(source->table.quality) == KVI_CODING_KVC1;
}

static void fetched(struct kvi_get_wait *inner, kvs_status status, uint32_t cause)
{
  struct get *get = (struct get *)inner;
  struct kvi_service_decoding *decoding = get->service->decoding;

  pthread_mutex_lock(&decoding->lock);
  if (!get->asked) { /* get_unwait frees it */
    pthread_mutex_unlock(&decoding->lock);
    if (status == KVS_OK)
      kvi_store_get_close(get->service->config.store, &inner->source);
    return;
  }
  if (status == KVS_OK && is_to_be_decoded(&inner->source)) {
    status = decode_start_locked(get);
    if (status == KVS_OK) {
      pthread_mutex_unlock(&decoding->lock);
      return;
    }
  }
  get_tell(get, status, &inner->source, cause);
}

/* The answer is there at once, but perhaps coded. */
static kvs_status opened(struct get *get, struct kvi_source *source_p)
{
  struct kvi_service_decoding *decoding = get->service->decoding;
  kvs_status status;

  if (!is_to_be_decoded(source_p)) {
    get_free(get);
    return KVS_OK;
  }
  get->inner.source = *source_p;
  memset(source_p, 0, sizeof(*source_p));
  pthread_mutex_lock(&decoding->lock);
  status = decode_start_locked(get);
  if (status != KVS_OK)
    get_free_locked(decoding, get);
  pthread_mutex_unlock(&decoding->lock);
  return status == KVS_OK ? KVS_PENDING : status;
}

static kvs_status get_open(struct kvi_store_service *service, const char *tenant, const uint8_t *space,
                           const uint8_t *key, uint32_t key_length, struct kvi_get_wait *wait,
                           struct kvi_source *source_p, uint32_t *cause_p)
{
  struct get *get;
  kvs_status status;

  if (strlen(tenant) >= KVI_TENANT_MAX || key_length > KVS_KEY_MAX) /* the store says what that is */
    return below_open(service, tenant, space, key, key_length, wait, source_p, cause_p);
  get = get_make(service, tenant, space, key, key_length, wait);
  if (!get)
    return KVS_ERR_BUSY;
  status = below_open(service, tenant, space, key, key_length, &get->inner, source_p, cause_p);
  if (status == KVS_OK)
    return opened(get, source_p);
  if (status != KVS_PENDING)
    get_free(get);
  return status;
}

/* ---- the ops ---- */

kvs_status kvi_service_get_open(void *self, const struct kvi_peer *peer, const uint8_t *space,
                                const uint8_t *key, uint32_t key_length, struct kvi_get_wait *wait,
                                struct kvi_source *source_p, uint32_t *cause_p)
{
  struct kvi_store_service *service = self;

  if (kvi_service_is_draining(service))
    return KVS_ERR_DRAINING;
  if (service->decoding && wait && !(wait->terms.codings & READS_CODED))
    return get_open(service, peer->tenant, space, key, key_length, wait, source_p, cause_p);
  return below_open(service, peer->tenant, space, key, key_length, wait, source_p, cause_p);
}

/* With the lock, which is let go of. */
static bool get_give_up(struct get *get)
{
  struct kvi_service_decoding *decoding = get->service->decoding;
  struct kvi_store_service *service = get->service;
  struct kvi_get_wait *asked = get->asked;
  uint32_t state = get->state;
  bool ended = true; /* and the get is ours to free */

  if (state == TELLING) {
    while (get->asked == asked && get->state == TELLING && !pthread_equal(get->thread, pthread_self()))
      pthread_cond_wait(&decoding->told, &decoding->lock);
    pthread_mutex_unlock(&decoding->lock);
    return false;
  }
  get->asked = NULL;
  if (state == DECODING)
    ended = kvi_decoder_cancel(decoding->decoder, &get->decode);
  pthread_mutex_unlock(&decoding->lock);
  if (state == FETCHING) /* false: fetched was called, and is through */
    (void)below_unwait(service, &get->inner);
  else if (ended)
    kvi_store_get_close(service->config.store, &get->inner.source);
  if (ended)
    get_free(get);
  return true;
}

bool kvi_service_get_unwait(void *self, struct kvi_get_wait *wait)
{
  struct kvi_store_service *service = self;
  struct kvi_service_decoding *decoding = service->decoding;
  struct get *get;

  if (!decoding || wait->terms.codings & READS_CODED)
    return below_unwait(service, wait);
  pthread_mutex_lock(&decoding->lock);
  get = get_of_locked(decoding, wait);
  if (get)
    return get_give_up(get);
  pthread_mutex_unlock(&decoding->lock);
  return false;
}

bool kvi_service_get_ahead(void *self, const struct kvi_peer *peer, const uint8_t *space, const uint8_t *key,
                           uint32_t key_length, uint32_t distance)
{
  struct kvi_store_service *service = self;

  if (!kvi_store_ahead_fits(service->config.store, peer->tenant, space, distance))
    return false;
  kvi_store_get_ahead(service->config.store, peer->tenant, space, key, key_length);
  if (service->config.shared)
    kvi_shared_ahead(service->config.shared, peer->tenant, space, key, key_length);
  return true;
}

void kvi_service_get_close(void *self, struct kvi_source *source)
{
  struct kvi_store_service *service = self;

  if (source->decoded)
    kvi_decoder_close(service->decoding->decoder, source);
  else
    kvi_store_get_close(service->config.store, source);
}

/* ---- life ---- */

kvs_status kvi_service_decoding_create(struct kvi_store_service *service)
{
  struct kvi_service_decoding *decoding = calloc(1, sizeof(*decoding));
  uint64_t share = kvi_store_dram_bytes(service->config.store) / DECODE_PART;
  uint64_t chunk = kvi_store_chunk_bytes_max(service->config.store);
  struct kvi_decoder_config config = {.threads = service->config.decode_threads,
                                      .waiting_max = service->config.decode_waiting,
                                      .chunk_bytes_max = chunk,
                                      .memory_bytes = share + chunk};
  kvs_status status;

  if (!decoding)
    return KVS_ERR_NOMEM;
  status = kvi_cond_init(&decoding->told);
  if (status != KVS_OK) {
    free(decoding);
    return status;
  }
  service->decoding = decoding;
  pthread_mutex_init(&decoding->lock, NULL);
  decoding->gets = calloc(GETS_MAX, sizeof(*decoding->gets));
  if (!decoding->gets)
    return KVS_ERR_NOMEM;
  /* Gets that hold chunks while they wait for others have half of the share each, and together all of it: one chunk more always comes (decoder.h). */
  service->service.limits.abreast_plain_bytes = share / 2;
  return kvi_decoder_create(&config, &decoding->decoder);
}

/* A thread of a medium may have told a reader, and not given back the get's place yet: nobody waits for it any more but we. */
static void last_told_wait(struct kvi_service_decoding *decoding)
{
  kvi_deadline deadline = kvi_deadline_from_ms(LAST_TOLD_MS);
  kvs_status status = KVS_OK;

  pthread_mutex_lock(&decoding->lock);
  while (decoding->n_used > 0 && status == KVS_OK)
    status = kvi_cond_wait(&decoding->told, &decoding->lock, deadline);
  if (status != KVS_OK)
    kvi_log_error("%u gets have not ended at the service's", decoding->n_used);
  pthread_mutex_unlock(&decoding->lock);
}

void kvi_service_decoding_destroy(struct kvi_store_service *service)
{
  struct kvi_service_decoding *decoding = service->decoding;

  if (!decoding)
    return;
  kvi_decoder_destroy(decoding->decoder);
  last_told_wait(decoding);
  free(decoding->gets);
  pthread_cond_destroy(&decoding->told);
  pthread_mutex_destroy(&decoding->lock);
  free(decoding);
  service->decoding = NULL;
}

void kvi_service_decoding_stats(struct kvi_store_service *service, struct kvi_decoder_stats *stats_p)
{
  memset(stats_p, 0, sizeof(*stats_p));
  if (service->decoding)
    kvi_decoder_stats(service->decoding->decoder, stats_p);
}
