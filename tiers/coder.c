/*
 * tiers/coder.c: see coder.h. A chunk waits by its number alone: one that goes meanwhile gives its memory back at once. Its thread then holds it, so that making room for the coded form
 * does not evict it, and has it open while it reads it.
 */
#include "tiers/coder.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tiers/store_private.h"

struct waiting {
  uint32_t entry, length;
  kvi_tier_object object;
};

struct job;

struct kvi_coder {
  struct kvi_store *store;
  uint32_t n_threads;
  kvi_thread threads[KVI_CODER_THREADS_MAX];
  _Atomic bool closed; /* set with the store's lock */
  /* guarded by the store's lock, as the conditions are of it */
  pthread_cond_t wake;
  pthread_cond_t told; /* a function of kvi_store_lower has returned */
  struct waiting ring[KVI_CODER_WAITING_MAX];
  uint32_t first, n_waiting, running, telling;
  uint64_t waiting_bytes;
  struct job *jobs;
  bool forgotten; /* somebody is to be told that one does not wait any longer */
};

/* A chunk that a thread has. */
struct job {
  struct kvi_coder *coder;
  struct job *next;            /* of those that threads have */
  uint32_t entry;              /* held */
  kvi_tier_object object;      /* open */
  struct kvi_medium_put chunk; /* what it is: the fields that encoding looks at */
  uint8_t key[KVI_MEDIUM_KEY_MAX];
  bool exact;          /* it is not to lose anything */
  kvi_tier_object now; /* what the entry has by now, and how long that is */
  uint64_t now_length;
};

/* ---- the queue ---- */

void kvi_coder_offer_locked(struct kvi_coder *coder, uint32_t number, uint16_t quality)
{
  struct kvi_entry *entry;

  if (!coder || kvi_quality_coding(quality) != KVI_CODING_NONE)
    return;
  entry = &coder->store->entries[number];
  if (coder->n_waiting == KVI_CODER_WAITING_MAX ||
      (coder->n_waiting > 0 &&
       coder->waiting_bytes + entry->length > coder->store->dram_attr.capacity_bytes / 4)) {
    coder->store->stats.uncoded_busy++;
    return;
  }
  coder->ring[(coder->first + coder->n_waiting++) % KVI_CODER_WAITING_MAX] =
      (struct waiting){.entry = number, .length = entry->length, .object = entry->object};
  coder->waiting_bytes += entry->length;
  entry->coding = 1;
  pthread_cond_signal(&coder->wake);
}

void kvi_coder_forget_locked(struct kvi_coder *coder, uint32_t number)
{
  uint32_t kept = 0;

  if (!coder || !coder->store->entries[number].coding)
    return;
  for (uint32_t i = 0; i < coder->n_waiting; i++) {
    struct waiting *waiting = &coder->ring[(coder->first + i) % KVI_CODER_WAITING_MAX];

    if (waiting->entry == number)
      coder->waiting_bytes -= waiting->length;
    else
      coder->ring[(coder->first + kept++) % KVI_CODER_WAITING_MAX] = *waiting;
  }
  if (kept == coder->n_waiting) /* a thread has it */
    return;
  coder->n_waiting = kept;
  coder->forgotten = true;
  pthread_cond_signal(&coder->wake);
}

uint32_t kvi_coder_queued_locked(const struct kvi_coder *coder)
{
  return coder ? coder->n_waiting + coder->running : 0;
}

uint32_t kvi_coder_loss(const struct kvi_store *store)
{
  const struct kvi_encode_rules *rules = &store->config.codec;

  return store->config.codec_threads == 0 || rules->lossy == KVI_CODEC_RAW
             ? 0
             : kvi_coded_loss(rules->lossy, rules->planes);
}

bool kvi_coder_holds_locked(const struct kvi_coder *coder, uint32_t number)
{
  const struct job *job = coder ? coder->jobs : NULL;

  while (job && job->entry != number)
    job = job->next;
  return job != NULL;
}

/* It is what was offered, and nobody has put other bytes in its place. */
static bool is_same_locked(const struct kvi_store *store, uint32_t number, kvi_tier_object object)
{
  const struct kvi_entry *entry = &store->entries[number];

  return entry->state == KVI_ENTRY_RESIDENT && entry->coding && entry->object == object;
}

static void job_fill_locked(struct kvi_store *store, struct job *job)
{
  const struct kvi_entry *entry = &store->entries[job->entry];
  const struct kvi_space_entry *space = &store->spaces[entry->space];
  struct kvi_tier_places places;

  (void)store->dram->ops->places(store->dram, job->object, &places); /* in place: cannot fail */
  (void)kvi_entry_key_locked(store, job->entry, job->key);           /* resident: cannot fail */
  job->chunk.identity = (struct kvi_medium_identity){.tenant = space->tenant,
                                                     .space = space->digest,
                                                     .key = job->key,
                                                     .key_length = space->key_length,
                                                     .place = entry->place,
                                                     .unchained = entry->unchained};
  job->chunk.iov = places.iov;
  job->chunk.n_iov = places.n_iov;
  job->chunk.length = entry->length;
  job->chunk.desc = atomic_load_explicit(&space->desc, memory_order_acquire);
}

/* The chunk as it is was promised, or can be had from below: losing some of it now would take something away. Who asks holds it himself. */
static bool is_wanted_exact_locked(const struct kvi_store *store, uint32_t number, uint32_t loss)
{
  const struct kvi_entry *entry = &store->entries[number];
  struct kvi_policy_info info;

  if (loss <= entry->loss)
    return false;
  store->policy_ops->info(store->policy, number, &info);
  return info.holds > 1 || (kvi_below_has(store, number) && loss > entry->medium_loss);
}

/* The one that waits for longest. False: it has gone, or has other bytes. */
static bool job_take_locked(struct kvi_coder *coder, struct job *job)
{
  struct kvi_store *store = coder->store;
  struct waiting oldest = coder->ring[coder->first];

  coder->first = (coder->first + 1) % KVI_CODER_WAITING_MAX;
  coder->n_waiting--;
  coder->waiting_bytes -= oldest.length;
  memset(job, 0, sizeof(*job));
  job->coder = coder;
  job->entry = oldest.entry;
  job->object = job->now = oldest.object;
  if (!is_same_locked(store, oldest.entry, oldest.object) ||
      store->dram->ops->open(store->dram, oldest.object) != KVS_OK)
    return false;
  store->policy_ops->hold(store->policy, oldest.entry);
  job->next = coder->jobs;
  coder->jobs = job;
  job_fill_locked(store, job);
  job->exact = is_wanted_exact_locked(store, oldest.entry, kvi_coder_loss(store));
  return true;
}

/* ---- the work, without the lock ---- */

static bool is_closed(void *ctx)
{
  const struct kvi_coder *coder = ctx;

  return atomic_load_explicit(&coder->closed, memory_order_relaxed);
}

static kvs_status encode(struct job *job, struct kvi_encode_room *room, struct kvi_encoded *encoded)
{
  const struct kvi_medium_put *chunk = &job->chunk;
  struct kvi_encode_rules rules = job->coder->store->config.codec;
  const uint8_t *raw = chunk->iov[0].base;
  struct kvi_encode_plan plan;
  kvs_status status;

  if (job->exact)
    rules.lossy = KVI_CODEC_RAW;
  status = kvi_encode_plan_make(&rules, chunk->desc, chunk->length, chunk->identity.place,
                                chunk->identity.unchained, chunk->table.quality, &plan);
  if (status != KVS_OK)
    return status;
  plan.options.stop = is_closed;
  plan.options.stop_ctx = job->coder;
  if (chunk->n_iov > 1) {
    uint8_t *whole = kvi_encode_room_raw(room, chunk->length);

    status = whole ? kvi_medium_gather(chunk, whole) : KVS_ERR_NOMEM;
    raw = whole;
  }
  return status == KVS_OK ? kvi_encode_run(&plan, &chunk->table, raw, room, encoded) : status;
}

/* Room for the coded form under the name of the raw one. lengths: of its segments. */
static kvs_status object_reserve(struct job *job, const struct kvi_encoded *encoded, const uint32_t *lengths,
                                 kvi_tier_object *object_p)
{
  struct kvi_store *store = job->coder->store;
  struct kvi_tier_request wanted = {
      .length = encoded->length, .n_segments = encoded->n_segments, .segment_lengths = lengths};

  (void)store->dram->ops->label(store->dram, job->object, &wanted.label, &wanted.label_length);
  /* beyond the tenant's bound too, until the raw one goes: as many chunks as there are threads */
  return kvi_room_take(store, store->spaces[store->entries[job->entry].space].account, false, &wanted, NULL,
                       object_p);
}

static kvs_status object_fill(struct kvi_store *store, const struct kvi_encoded *encoded,
                              const struct kvi_segment *segments, kvi_tier_object object)
{
  const uint8_t *from = encoded->payload;
  struct kvi_tier_places places;

  (void)store->dram->ops->places(store->dram, object, &places); /* in place: cannot fail */
  for (uint32_t i = 0; i < places.n_iov; from += places.iov[i++].length)
    memcpy(places.iov[i].base, from, places.iov[i].length);
  for (uint32_t i = 0; i < encoded->n_segments; i++)
    places.segments[i].crc32c = segments[i].crc32c;
  return store->dram->ops->seal(store->dram, object, encoded->quality);
}

/* A sealed object of the coded form. */
static kvs_status object_make(struct job *job, const struct kvi_encoded *encoded, kvi_tier_object *object_p)
{
  struct kvi_store *store = job->coder->store;
  struct kvi_segment *segments = malloc(encoded->n_segments * (sizeof(*segments) + sizeof(uint32_t)));
  uint32_t *lengths = segments ? (uint32_t *)(segments + encoded->n_segments) : NULL;
  kvs_status status;

  if (!segments)
    return KVS_ERR_NOMEM;
  (void)kvi_coded_segments(&encoded->coded, encoded->payload, segments, encoded->n_segments);
  for (uint32_t i = 0; i < encoded->n_segments; i++)
    lengths[i] = segments[i].length;
  status = object_reserve(job, encoded, lengths, object_p);
  if (status == KVS_OK) {
    status = object_fill(store, encoded, segments, *object_p);
    if (status != KVS_OK)
      kvi_object_drop(store, *object_p);
  }
  free(segments);
  return status;
}

/* KVS_ERR_BUSY: it is to be encoded once more, without loss. KVS_ERR_CANCELED: others were faster. The object is the caller's then. */
static kvs_status publish_locked(struct job *job, const struct kvi_encoded *encoded, kvi_tier_object object)
{
  struct kvi_store *store = job->coder->store;
  struct kvi_entry *entry = &store->entries[job->entry];
  uint32_t loss = kvi_quality_loss(encoded->quality);

  if (!is_same_locked(store, job->entry, job->object))
    return KVS_ERR_CANCELED;
  if (is_wanted_exact_locked(store, job->entry, loss))
    return KVS_ERR_BUSY;
  kvi_bytes_replace_locked(store, job->entry, object);
  kvi_entry_resize_locked(store, job->entry, (uint32_t)encoded->length);
  entry->loss = loss & KVI_LOSS_MAX;
  entry->coding = 1; /* until the job ends */
  kvi_cut_offer_locked(store, job->entry, encoded->quality);
  job->now = object;
  job->now_length = encoded->length;
  return KVS_OK;
}

/* Encodes it, and puts what that gives in its place. */
static kvs_status replace(struct job *job, struct kvi_encode_room *room)
{
  struct kvi_store *store = job->coder->store;
  struct kvi_encoded encoded;
  kvi_tier_object object;
  kvs_status status = encode(job, room, &encoded);

  if (status == KVS_OK)
    status = object_make(job, &encoded, &object);
  if (status != KVS_OK)
    return status;
  pthread_mutex_lock(&store->lock);
  status = publish_locked(job, &encoded, object);
  pthread_mutex_unlock(&store->lock);
  if (status != KVS_OK)
    kvi_object_drop(store, object);
  return status;
}

static void drop_damaged(struct job *job)
{
  const struct kvi_medium_identity *name = &job->chunk.identity;
  const struct kvi_source source = {.handle = (void *)((uintptr_t)job->object + 1)};

  (void)kvi_source_drop_corrupt(job->coder->store, name->tenant, name->space, name->key, name->key_length,
                                &source, KVI_DAMAGE_BY_CODER);
}

static kvs_status job_run(struct job *job, struct kvi_encode_room *room)
{
  struct kvi_store *store = job->coder->store;
  kvs_status status = store->dram->ops->table(store->dram, job->object, &job->chunk.table);

  if (status == KVS_OK)
    status = replace(job, room);
  if (status == KVS_ERR_BUSY && !job->exact) { /* it was leased meanwhile */
    job->exact = true;
    status = replace(job, room);
  }
  if (status == KVS_ERR_CORRUPT)
    drop_damaged(job);
  return status;
}

static void count_locked(struct kvi_store *store, const struct job *job, kvs_status status, uint64_t took_ns)
{
  struct kvi_store_stats *stats = &store->stats;

  stats->code_ns += took_ns;
  if (status == KVS_OK) {
    stats->coded_chunks++;
    stats->coded_raw_bytes += job->chunk.length;
    stats->coded_bytes += job->now_length;
  } else if (status == KVS_EXISTS) {
    stats->uncoded_larger++;
  } else if (status == KVS_ERR_FULL) {
    stats->uncoded_full++;
  } else if (status != KVS_ERR_UNSUPPORTED && status != KVS_ERR_CANCELED && status != KVS_ERR_CORRUPT) {
    stats->uncoded_failed++;
  }
}

/* In whichever form it is now, it goes below. */
static void job_end_locked(struct job *job)
{
  struct kvi_store *store = job->coder->store;
  struct kvi_entry *entry = &store->entries[job->entry];
  struct job **link = &job->coder->jobs;

  while (*link != job)
    link = &(*link)->next;
  *link = job->next;
  if (is_same_locked(store, job->entry, job->now)) {
    entry->coding = 0;
    if (store->below && !entry->unwritten)
      kvi_write_through_locked(store, job->entry, 1);
  }
  kvi_entry_unhold_locked(store, job->entry);
}

/* What waited for its form can go on. Lets go of the lock meanwhile. */
static void lower_tell_locked(struct kvi_coder *coder)
{
  struct kvi_store *store = coder->store;
  const struct kvi_store_lower *lower = store->lower;

  if (!lower || !lower->coded)
    return;
  coder->telling++;
  pthread_mutex_unlock(&store->lock);
  lower->coded(lower->ctx);
  pthread_mutex_lock(&store->lock);
  coder->telling--;
  pthread_cond_broadcast(&coder->told);
}

void kvi_coder_lower_wait_locked(struct kvi_coder *coder)
{
  while (coder && coder->telling > 0)
    pthread_cond_wait(&coder->told, &coder->store->lock);
}

static void next_locked(struct kvi_coder *coder, struct kvi_encode_room *room)
{
  struct kvi_store *store = coder->store;
  struct job job;

  if (job_take_locked(coder, &job)) {
    uint64_t began_ns = kvi_now_ns();
    kvs_status status;

    coder->running++;
    pthread_mutex_unlock(&store->lock);
    status = job_run(&job, room);
    pthread_mutex_lock(&store->lock);
    count_locked(store, &job, status, kvi_now_ns() - began_ns);
    job_end_locked(&job);
    pthread_mutex_unlock(&store->lock);
    store->dram->ops->close(store->dram, job.object);
    pthread_mutex_lock(&store->lock);
    coder->running--;
  }
  lower_tell_locked(coder);
}

static void run(void *arg)
{
  struct kvi_coder *coder = arg;
  struct kvi_encode_room room = {0};

  pthread_mutex_lock(&coder->store->lock);
  while (!is_closed(coder)) {
    if (coder->n_waiting > 0) {
      next_locked(coder, &room);
    } else if (coder->forgotten) {
      coder->forgotten = false;
      lower_tell_locked(coder);
    } else {
      pthread_cond_wait(&coder->wake, &coder->store->lock);
    }
  }
  pthread_mutex_unlock(&coder->store->lock);
  kvi_encode_room_free(&room);
}

/* ---- life ---- */

kvs_status kvi_coder_create(struct kvi_store *store, uint32_t threads, struct kvi_coder **coder_p)
{
  struct kvi_coder *coder;
  kvs_status status = KVS_OK;

  *coder_p = NULL;
  if (threads == 0 || threads > KVI_CODER_THREADS_MAX)
    return KVS_ERR_INVALID;
  coder = calloc(1, sizeof(*coder));
  if (!coder)
    return KVS_ERR_NOMEM;
  coder->store = store;
  coder->n_threads = threads;
  atomic_init(&coder->closed, false);
  pthread_cond_init(&coder->wake, NULL);
  pthread_cond_init(&coder->told, NULL);
  for (uint32_t i = 0; i < threads && status == KVS_OK; i++)
    status = kvi_thread_start(&coder->threads[i], "kvi-coder", run, coder);
  if (status != KVS_OK) {
    kvi_coder_destroy(coder);
    return status;
  }
  *coder_p = coder;
  return KVS_OK;
}

void kvi_coder_destroy(struct kvi_coder *coder)
{
  if (!coder)
    return;
  pthread_mutex_lock(&coder->store->lock);
  atomic_store_explicit(&coder->closed, true, memory_order_relaxed);
  pthread_cond_broadcast(&coder->wake);
  pthread_mutex_unlock(&coder->store->lock);
  for (uint32_t i = 0; i < coder->n_threads; i++)
    kvi_thread_join(&coder->threads[i]);
  pthread_cond_destroy(&coder->wake);
  pthread_cond_destroy(&coder->told);
  free(coder);
}
