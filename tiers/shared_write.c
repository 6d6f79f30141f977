/*
 * tiers/shared_write.c: from the store to the shared medium, in the background. A chunk that is written is held open by a reader's reference;
 * one that has gone from the store's memory before its turn is not written. Which ones are, and when, is the policy's to say.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "tiers/shared_private.h"
#include "tiers/shared_quota.h"

struct write {
  struct kvi_medium_put put;
  struct kvi_shared *shared;
  struct kvi_shared_note *note;
  struct kvi_source source;
  uint64_t taken;    /* of its tenant's bound, beside what counts of it already */
  uint64_t asked_ns; /* before it was given to the medium, by the clock of expiries */
};

struct kvi_shared_note *kvi_shared_note_make(struct kvi_shared *shared, const char *tenant,
                                             const struct kvi_put_request *request)
{
  struct kvi_shared_note *note;

  if (shared->config.write == KVI_ADMIT_NONE || request->length > shared->attr.chunk_bytes_max)
    return NULL;
  note = calloc(1, sizeof(*note));
  if (!note || kvi_shared_name_make(tenant, request->space, request->key, request->key_length, &note->name) !=
                   KVS_OK) {
    free(note);
    return NULL;
  }
  note->unchained = request->unchained;
  note->place = request->place;
  note->ttl_ms = request->ttl_ms;
  note->has_parent = request->parent && !request->unchained;
  if (note->has_parent)
    memcpy(note->parent, request->parent, request->key_length);
  return note;
}

void kvi_shared_note_free(struct kvi_shared_note *note)
{
  free(note);
}

/* What a chunk takes there with so much payload, as it counts for its tenant. */
static uint64_t room_of(const struct write *write, uint64_t payload)
{
  const struct kvi_shared_note *note = write->note;

  return payload + kvi_chunk_table_size(write->source.table.n_segments) + write->shared->attr.chunk_bytes +
         strlen(note->name.tenant) + (uint64_t)note->name.key_length * (note->has_parent ? 2 : 1);
}

static void expiry_locked(struct kvi_shared *shared, const struct write *write, uint64_t room,
                          kvs_status status)
{
  const struct kvi_shared_name *name = &write->note->name;
  uint64_t longest_ms = shared->attr.ttl_ms;

  kvi_shared_quota_give(shared->config.store, name->tenant, name->space, write->taken);
  if (status == KVS_OK || write->put.unsure) /* else a medium that answers late would have no bound */
    kvi_shared_expiry_written_locked(shared, name, write->asked_ns,
                                     kvi_policy_ttl_ms(write->note->ttl_ms, longest_ms), room);
  else if (status == KVS_EXISTS)
    kvi_shared_expiry_found_locked(shared, name, write->asked_ns);
}

static void written(struct kvi_medium_put *put, kvs_status status)
{
  struct write *write = put->user;
  struct kvi_shared *shared = write->shared;

  uint64_t room = room_of(write, put->stored); /* of the source's table, until it is closed */

  kvi_store_get_close(shared->config.store, &write->source);
  pthread_mutex_lock(&shared->lock);
  shared->writing--;
  kvi_rate_end(&shared->rate, status == KVS_OK ? put->stored : 0, kvi_now_ns());
  expiry_locked(shared, write, room, status);
  if (status == KVS_OK) {
    shared->stats.writes++;
    shared->stats.write_bytes += put->stored;
  } else if (status == KVS_EXISTS) {
    shared->stats.writes++;
    shared->stats.writes_found++;
  } else if (status == KVS_ERR_CANCELED) {
    shared->stats.writes_lost++; /* deleted */
  } else if (status == KVS_ERR_FULL) {
    shared->stats.writes_full++;
  } else {
    shared->stats.writes_failed++;
  }
  kvi_shared_pump_locked(shared);
  pthread_mutex_unlock(&shared->lock);
  kvi_shared_note_free(write->note);
  free(write);
}

static bool is_hurried(const struct kvi_shared *shared)
{
  return shared->queue_length > shared->config.write_queue / 2;
}

/* Takes the note. False: not now; it is tried again when one that is being written has ended. */
static bool write_locked(struct kvi_shared *shared, struct kvi_shared_note *note)
{
  const struct kvi_shared_name *name = &note->name;
  struct write *write = calloc(1, sizeof(*write));
  uint64_t now_ns, room, there;
  kvs_status status;

  if (!write) {
    shared->stats.writes_failed++;
    kvi_shared_note_free(note);
    return true;
  }
  if (kvi_store_peek_open(shared->config.store, name->tenant, name->space, name->key, name->key_length,
                          &write->source) != KVS_OK) {
    shared->stats.writes_lost++;
    kvi_shared_note_free(note);
    free(write);
    return true;
  }
  write->asked_ns = kvi_shared_now(shared);
  write->shared = shared;
  write->note = note;
  room = room_of(write, write->source.table.length);
  there = kvi_shared_expiry_bytes_locked(shared, name);
  write->taken = room > there ? room - there : 0;
  if (!kvi_shared_quota_take(shared->config.store, name->tenant, name->space, write->taken)) {
    shared->stats.writes_over++;
    kvi_store_get_close(shared->config.store, &write->source);
    kvi_shared_note_free(note);
    free(write);
    return true;
  }
  write->put =
      (struct kvi_medium_put){.identity = kvi_shared_identity(name),
                              .iov = write->source.iov,
                              .n_iov = write->source.n_iov,
                              .length = write->source.table.length,
                              .stored = write->source.table.length,
                              .stored_quality = write->source.table.quality,
                              .table = write->source.table,
                              .desc = kvi_store_space_desc(shared->config.store, name->tenant, name->space),
                              .hurry = is_hurried(shared),
                              .deadline_ns = kvi_deadline_from_ms(shared->config.put_ms).at_ns,
                              .done = written,
                              .user = write};
  write->put.identity.parent = note->has_parent ? note->parent : NULL;
  write->put.identity.place = note->place;
  write->put.identity.unchained = note->unchained;
  write->put.ttl_ms = note->ttl_ms;
  now_ns = kvi_now_ns(); /* it may be under way when put returns */
  status = shared->config.medium->ops->put(shared->config.medium, &write->put);
  if (status == KVS_OK) {
    shared->writing++;
    kvi_rate_begin(&shared->rate, now_ns);
    return true;
  }
  kvi_shared_quota_give(shared->config.store, name->tenant, name->space, write->taken);
  kvi_store_get_close(shared->config.store, &write->source);
  free(write);
  if (status == KVS_ERR_BUSY && shared->writing > 0)
    return false;
  shared->stats.writes_failed++;
  kvi_shared_note_free(note);
  return true;
}

/* Memory is about to have it in the form that it is to be written in, and tells then (kvi_shared_coded). */
static bool is_coding_locked(const struct kvi_shared *shared, const struct kvi_shared_note *note)
{
  const struct kvi_shared_name *name = &note->name;

  return !is_hurried(shared) &&
         kvi_store_is_coding(shared->config.store, name->tenant, name->space, name->key, name->key_length);
}

void kvi_shared_pump_locked(struct kvi_shared *shared)
{
  while (!shared->closing && shared->queue_length > 0 && shared->writing < KVI_SHARED_WRITES) {
    struct kvi_shared_note *note = shared->queue[shared->queue_first];

    /* What is put again while it is deleted waits, so that its removal does not come behind its write. */
    if (kvi_shared_is_forgotten_locked(shared, &note->name) || is_coding_locked(shared, note) ||
        !write_locked(shared, note))
      return;
    shared->queue_first = (shared->queue_first + 1) % shared->config.write_queue;
    shared->queue_length--;
  }
}

/* Takes the note. */
static void queue(struct kvi_shared *shared, struct kvi_shared_note *note)
{
  pthread_mutex_lock(&shared->lock);
  if (shared->queue_length == shared->config.write_queue) { /* the oldest is the nearest to its eviction */
    kvi_shared_note_free(shared->queue[shared->queue_first]);
    shared->queue_first = (shared->queue_first + 1) % shared->config.write_queue;
    shared->queue_length--;
    shared->stats.writes_shed++;
  }
  shared->queue[(shared->queue_first + shared->queue_length++) % shared->config.write_queue] = note;
  kvi_shared_pump_locked(shared);
  pthread_mutex_unlock(&shared->lock);
}

static struct kvi_shared_ttl *ttl_of(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                     uint64_t *tag_p)
{
  uint64_t words[3] = {0};

  memcpy(&words[0], name->key, KVS_KEY_MIN);
  memcpy(&words[1], name->key + name->key_length - KVS_KEY_MIN, KVS_KEY_MIN);
  memcpy(&words[2], name->space, sizeof(words[2]));
  words[0] ^= words[1] << 1 ^ words[2];
  *tag_p = kvi_splitmix64(&words[0]);
  return &shared->ttls[*tag_p % KVI_SHARED_TTLS];
}

/* It is written when the store tells of its first use. */
static void put_off(struct kvi_shared *shared, struct kvi_shared_note *note)
{
  const struct kvi_shared_name *name = &note->name;
  struct kvi_shared_ttl *ttl;
  uint64_t tag;

  pthread_mutex_lock(&shared->lock);
  shared->stats.puts_off++;
  ttl = ttl_of(shared, name, &tag);
  if (note->ttl_ms > 0)
    *ttl = (struct kvi_shared_ttl){.tag = tag, .ttl_ms = note->ttl_ms};
  else if (ttl->tag == tag)
    ttl->ttl_ms = 0;
  pthread_mutex_unlock(&shared->lock);
  kvi_store_await_use(shared->config.store, name->tenant, name->space, name->key, name->key_length);
  kvi_shared_note_free(note);
}

void kvi_shared_offer(struct kvi_shared *shared, struct kvi_shared_note *note)
{
  struct kvi_policy_candidate candidate = {0};

  if (!note)
    return;
  pthread_mutex_lock(&shared->lock);
  shared->stats.offers++;
  kvi_shared_expiry_put_locked(shared, &note->name);
  pthread_mutex_unlock(&shared->lock);
  if (kvi_policy_admits(shared->config.write, &candidate))
    queue(shared, note);
  else
    put_off(shared, note);
}

void kvi_shared_used(void *ctx, const struct kvi_medium_identity *identity)
{
  struct kvi_shared *shared = ctx;
  struct kvi_put_request request = {.space = identity->space,
                                    .key = identity->key,
                                    .key_length = identity->key_length,
                                    .parent = identity->parent,
                                    .place = identity->place,
                                    .unchained = identity->unchained};
  struct kvi_policy_candidate candidate = {.uses = 1};
  struct kvi_shared_note *note;
  struct kvi_shared_ttl *ttl;
  uint64_t tag;

  if (!kvi_policy_admits(shared->config.write, &candidate))
    return;
  note = kvi_shared_note_make(shared, identity->tenant,
                              &request); /* its length was looked at when it was offered */
  if (!note)
    return;
  pthread_mutex_lock(&shared->lock);
  ttl = shared->ttls ? ttl_of(shared, &note->name, &tag) : NULL;
  note->ttl_ms = ttl && ttl->tag == tag ? ttl->ttl_ms : 0;
  pthread_mutex_unlock(&shared->lock);
  queue(shared, note);
}

void kvi_shared_coded(void *ctx)
{
  struct kvi_shared *shared = ctx;

  pthread_mutex_lock(&shared->lock);
  kvi_shared_pump_locked(shared);
  pthread_mutex_unlock(&shared->lock);
}
