/* tiers/encoder/encoder.c: see encoder.h. A put is a job: queued, with a worker, then an operation of the inner medium. */
#include "tiers/encoder/encoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/thread.h"
#include "tiers/encoder/encode_chunk.h"

#define WAITING_DEFAULT 64u

struct encoder {
  struct kvi_medium medium; /* first */
  struct kvi_medium *inner;
  struct kvi_encoder_config config;
  kvi_thread threads[KVI_ENCODER_THREADS_MAX];

  pthread_mutex_t lock; /* guards the rest */
  pthread_cond_t changed;
  kvi_list waiting, encoding; /* jobs */
  kvi_list refused; /* encoded, when the inner medium had too much to do: until one of ours ends there */
  uint32_t n_inner; /* jobs that the inner medium has */
  bool closed;
  struct kvi_medium_stats own; /* the fields of encoding alone */
};

struct job {
  struct kvi_medium_put inner;  /* what the inner medium gets */
  struct kvi_medium_put *asked; /* what we got */
  struct encoder *encoder;
  struct kvi_encoded_chunk chunk; /* payload NULL: it goes as it was put */
  struct kvi_iov iov;
  bool canceled;
  kvs_status status;  /* of one that is to be ended */
  kvi_list_node link; /* in one of the lists, but for those that the inner medium has */
};

static struct encoder *of(struct kvi_medium *medium)
{
  return (struct encoder *)medium;
}

/* ---- to the inner medium and back ---- */

static void job_end(struct job *job, kvs_status status)
{
  struct kvi_medium_put *asked = job->asked;

  kvi_encoded_chunk_free(&job->chunk);
  free(job);
  asked->done(asked, status);
}

static void jobs_end(kvi_list *ended)
{
  while (!kvi_list_is_empty(ended)) {
    struct job *job = kvi_list_entry(kvi_list_pop_front(ended), struct job, link);

    job_end(job, job->status);
  }
}

static void inner_done(struct kvi_medium_put *inner, kvs_status status);

static void inner_keep(struct kvi_medium_put *inner, struct kvi_medium_hold *hold_p)
{
  struct job *job = inner->user;

  job->asked->keep(job->asked, hold_p);
}

static void inner_fill(struct job *job)
{
  const struct kvi_medium_put *asked = job->asked;
  struct kvi_medium_put *inner = &job->inner;

  *inner = *asked;
  inner->done = inner_done;
  inner->user = job;
  memset(inner->medium_link, 0, sizeof(inner->medium_link));
  if (!job->chunk.payload) {
    inner->keep = asked->keep ? inner_keep : NULL;
    inner->stored = asked->length;
    inner->stored_quality = asked->table.quality;
    return;
  }
  job->iov = (struct kvi_iov){.base = job->chunk.payload, .length = (size_t)job->chunk.length};
  inner->iov = &job->iov;
  inner->n_iov = 1;
  inner->length = inner->stored = job->chunk.length;
  inner->table = job->chunk.table;
  inner->stored_quality = job->chunk.table.quality;
  inner->keep = NULL; /* the medium copies it: it is ours to free when the put ends */
}

/*
 * With the lock, so that a drop comes before it or after it; a medium calls nobody back from put. KVS_PENDING: the inner medium refuses it, and it is tried again.
 */
static kvs_status inner_start_locked(struct job *job)
{
  struct encoder *encoder = job->encoder;
  kvs_status status;

  if (encoder->closed)
    return KVS_ERR_CLOSED;
  if (job->canceled)
    return KVS_ERR_CANCELED;
  if (kvi_now_ns() >= job->asked->deadline_ns)
    return KVS_ERR_DEADLINE;
  inner_fill(job);
  status = encoder->inner->ops->put(encoder->inner, &job->inner);
  if (status == KVS_OK)
    encoder->n_inner++;
  if (status != KVS_ERR_BUSY || encoder->n_inner == 0)
    return status;
  kvi_list_push_back(&encoder->refused, &job->link);
  return KVS_PENDING;
}

/* One of ours is over: the inner medium may have room for those that it refused. What they come to at once is in ended. */
static void refused_start_locked(struct encoder *encoder, kvi_list *ended)
{
  kvi_list_node *node;

  while ((node = kvi_list_first(&encoder->refused)) != NULL) {
    struct job *job = kvi_list_entry(node, struct job, link);
    kvs_status status;

    kvi_list_remove(&encoder->refused, node);
    status = inner_start_locked(job);
    if (status == KVS_PENDING)
      break;
    if (status == KVS_OK)
      continue; /* it may be over, and free, by now */
    job->status = status;
    kvi_list_push_back(ended, node);
  }
}

static void inner_done(struct kvi_medium_put *inner, kvs_status status)
{
  struct job *job = inner->user;
  struct encoder *encoder = job->encoder;
  kvi_list ended;

  kvi_list_init(&ended);
  job->asked->handle = inner->handle;
  job->asked->stored = inner->stored;
  job->asked->stored_quality = inner->stored_quality;
  job->asked->unsure = inner->unsure;
  pthread_mutex_lock(&encoder->lock);
  encoder->n_inner--;
  refused_start_locked(encoder, &ended);
  pthread_mutex_unlock(&encoder->lock);
  job_end(job, status);
  jobs_end(&ended);
}

/* ---- workers ---- */

static void count_locked(struct encoder *encoder, const struct job *job, kvs_status encoded, uint64_t took_ns)
{
  struct kvi_medium_stats *own = &encoder->own;

  own->encode_ns += took_ns;
  if (encoded == KVS_OK) {
    own->encoded_chunks++;
    own->encoded_raw_bytes += job->asked->length;
    own->encoded_bytes += job->chunk.length;
  } else if (encoded == KVS_EXISTS) {
    own->unencoded_larger++;
  } else if (encoded != KVS_ERR_UNSUPPORTED) {
    own->unencoded_failed++;
  }
}

static struct job *job_take_locked(struct encoder *encoder)
{
  struct job *job;

  while (!encoder->closed && kvi_list_is_empty(&encoder->waiting))
    pthread_cond_wait(&encoder->changed, &encoder->lock);
  if (encoder->closed)
    return NULL;
  job = kvi_list_entry(kvi_list_pop_front(&encoder->waiting), struct job, link);
  kvi_list_push_back(&encoder->encoding, &job->link);
  if (job->canceled)
    job->status = KVS_ERR_CANCELED;
  else if (kvi_now_ns() >= job->asked->deadline_ns)
    job->status = KVS_ERR_DEADLINE;
  return job;
}

static void job_run(struct job *job, struct kvi_encode_room *room)
{
  struct encoder *encoder = job->encoder;
  uint64_t began_ns = kvi_now_ns();
  bool wanted = job->status == KVS_OK;
  kvs_status status =
      wanted ? kvi_encode_chunk(&encoder->config.rules, job->asked, room, &job->chunk) : job->status;

  pthread_mutex_lock(&encoder->lock);
  kvi_list_remove(&encoder->encoding, &job->link);
  if (wanted) {
    count_locked(encoder, job, status, kvi_now_ns() - began_ns);
    status = status == KVS_ERR_CORRUPT ? status : inner_start_locked(job);
  }
  pthread_mutex_unlock(&encoder->lock);
  if (status != KVS_OK && status != KVS_PENDING)
    job_end(job, status);
}

static void worker(void *arg)
{
  struct encoder *encoder = arg;
  struct kvi_encode_room room = {0};
  struct job *job;

  for (;;) {
    pthread_mutex_lock(&encoder->lock);
    job = job_take_locked(encoder);
    pthread_mutex_unlock(&encoder->lock);
    if (!job)
      break;
    job_run(job, &room);
  }
  kvi_encode_room_free(&room);
}

/* ---- the ops ---- */

static bool is_tensors(const struct kvi_medium_put *put)
{
  return put->desc && put->desc->layout == KVS_LAYOUT_TENSORS;
}

static bool is_ours(const struct encoder *encoder, const struct kvi_medium_put *put)
{
  return kvi_quality_coding(put->table.quality) == KVI_CODING_NONE &&
         (encoder->config.rules.bytes || (encoder->config.rules.tensors && is_tensors(put)));
}

/* KVS_PENDING: no room in the queue. */
static kvs_status job_queue(struct encoder *encoder, struct kvi_medium_put *put)
{
  struct job *job = calloc(1, sizeof(*job));
  kvs_status status = KVS_OK;

  if (!job)
    return KVS_PENDING;
  job->encoder = encoder;
  job->asked = put;
  put->handle = 0;
  pthread_mutex_lock(&encoder->lock);
  if (encoder->closed) {
    status = KVS_ERR_CLOSED;
  } else if (encoder->waiting.length + encoder->refused.length >= encoder->config.waiting_max) {
    status = KVS_PENDING;
  } else {
    kvi_list_push_back(&encoder->waiting, &job->link);
    pthread_cond_signal(&encoder->changed);
  }
  pthread_mutex_unlock(&encoder->lock);
  if (status != KVS_OK)
    free(job);
  return status;
}

static kvs_status encoder_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  struct encoder *encoder = of(medium);

  put->stored = put->length;
  put->stored_quality = put->table.quality;
  if (is_ours(encoder, put)) {
    kvs_status status = put->hurry ? KVS_PENDING : job_queue(encoder, put);

    if (status != KVS_PENDING)
      return status;
    pthread_mutex_lock(&encoder->lock);
    encoder->own.unencoded_busy++;
    pthread_mutex_unlock(&encoder->lock);
  }
  return encoder->inner->ops->put(encoder->inner, put);
}

static void cancel_in(kvi_list *jobs, const struct kvi_medium_identity *identity)
{
  kvi_list_for_each(jobs, node)
  {
    struct job *job = kvi_list_entry(node, struct job, link);

    job->canceled |= kvi_medium_identity_equal(&job->asked->identity, identity);
  }
}

static void puts_cancel(struct encoder *encoder, const struct kvi_medium_identity *identity)
{
  pthread_mutex_lock(&encoder->lock);
  cancel_in(&encoder->waiting, identity);
  cancel_in(&encoder->encoding, identity);
  cancel_in(&encoder->refused, identity);
  pthread_mutex_unlock(&encoder->lock);
}

static kvs_status encoder_remove(struct kvi_medium *medium, struct kvi_medium_remove *remove)
{
  puts_cancel(of(medium), &remove->identity);
  return of(medium)->inner->ops->remove(of(medium)->inner, remove);
}

static void encoder_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                         kvi_medium_handle handle, bool for_good)
{
  if (for_good && identity)
    puts_cancel(of(medium), identity);
  of(medium)->inner->ops->drop(of(medium)->inner, identity, handle, for_good);
}

static void encoder_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  const struct encoder *encoder = (const struct encoder *)medium;

  encoder->inner->ops->attr(encoder->inner, attr_p);
}

static void encoder_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  struct encoder *encoder = of(medium);
  const struct kvi_medium_stats *own = &encoder->own;

  /* With the lock: what goes to the inner medium meanwhile would be counted by neither. */
  pthread_mutex_lock(&encoder->lock);
  encoder->inner->ops->stats(encoder->inner, stats_p);
  stats_p->encoded_chunks += own->encoded_chunks;
  stats_p->encoded_raw_bytes += own->encoded_raw_bytes;
  stats_p->encoded_bytes += own->encoded_bytes;
  stats_p->unencoded_busy += own->unencoded_busy;
  stats_p->unencoded_larger += own->unencoded_larger;
  stats_p->unencoded_failed += own->unencoded_failed;
  stats_p->encode_ns += own->encode_ns;
  stats_p->queued += encoder->waiting.length + encoder->encoding.length + encoder->refused.length;
  pthread_mutex_unlock(&encoder->lock);
}

static kvs_status encoder_recover(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                                  kvi_medium_found_fn *found)
{
  return of(medium)->inner->ops->recover(of(medium)->inner, owner, found);
}

static kvs_status encoder_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  return of(medium)->inner->ops->get(of(medium)->inner, get);
}

static kvs_status encoder_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  return of(medium)->inner->ops->lookup(of(medium)->inner, lookup);
}

static uint32_t encoder_drops_waiting(struct kvi_medium *medium)
{
  return of(medium)->inner->ops->drops_waiting(of(medium)->inner);
}

static kvs_status encoder_settle(struct kvi_medium *medium, struct kvi_medium_settle *settle)
{
  return of(medium)->inner->ops->settle(of(medium)->inner, settle);
}

/* ---- life ---- */

/* What waits is ended; a worker ends what it has, when it has encoded it. */
static void close_queue(struct encoder *encoder)
{
  kvi_list waiting;

  kvi_list_init(&waiting);
  pthread_mutex_lock(&encoder->lock);
  encoder->closed = true;
  kvi_list_splice_back(&waiting, &encoder->waiting);
  kvi_list_splice_back(&waiting, &encoder->refused);
  pthread_cond_broadcast(&encoder->changed);
  pthread_mutex_unlock(&encoder->lock);
  kvi_list_for_each(&waiting, node)
  {
    kvi_list_entry(node, struct job, link)->status = KVS_ERR_CLOSED;
  }
  jobs_end(&waiting);
  for (uint32_t i = 0; i < encoder->config.threads; i++)
    kvi_thread_join(&encoder->threads[i]);
}

static void encoder_destroy(struct kvi_medium *medium)
{
  struct encoder *encoder = of(medium);

  if (!medium)
    return;
  close_queue(encoder);
  encoder->inner->ops->destroy(encoder->inner); /* ends those of ours that are in it */
  pthread_cond_destroy(&encoder->changed);
  pthread_mutex_destroy(&encoder->lock);
  free(encoder);
}

static struct kvi_medium_ops encoder_ops = {.attr = encoder_attr,
                                            .stats = encoder_stats,
                                            .recover = encoder_recover,
                                            .put = encoder_put,
                                            .get = encoder_get,
                                            .lookup = encoder_lookup,
                                            .remove = encoder_remove,
                                            .drop = encoder_drop,
                                            .drops_waiting = encoder_drops_waiting,
                                            .settle = encoder_settle,
                                            .destroy = encoder_destroy};

kvs_status kvi_encoder_create(struct kvi_medium *inner, const struct kvi_encoder_config *config,
                              struct kvi_medium **medium_p)
{
  struct encoder *encoder = calloc(1, sizeof(*encoder));
  kvs_status status = KVS_OK;

  *medium_p = NULL;
  if (!encoder || config->threads == 0 || config->threads > KVI_ENCODER_THREADS_MAX) {
    inner->ops->destroy(inner);
    status = encoder ? KVS_ERR_INVALID : KVS_ERR_NOMEM;
    free(encoder);
    return status;
  }
  encoder->medium.ops = &encoder_ops;
  encoder->inner = inner;
  encoder->config = *config;
  if (encoder->config.waiting_max == 0)
    encoder->config.waiting_max = WAITING_DEFAULT;
  kvi_list_init(&encoder->waiting);
  kvi_list_init(&encoder->encoding);
  kvi_list_init(&encoder->refused);
  pthread_mutex_init(&encoder->lock, NULL);
  pthread_cond_init(&encoder->changed, NULL);
  for (uint32_t i = 0; i < config->threads && status == KVS_OK; i++)
    status = kvi_thread_start(&encoder->threads[i], "kvi-encoder", worker, encoder);
  if (status != KVS_OK) {
    encoder_destroy(&encoder->medium);
    return status;
  }
  *medium_p = &encoder->medium;
  return KVS_OK;
}
