/*
 * tiers/shared_write.c: from the store to the shared medium, in the background. A chunk that is written is held open by a reader's reference;
 * one that has gone from the store's memory before its turn is not written.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/shared_private.h"

struct write {
  struct kvi_medium_put put;
  struct kvi_shared *shared;
  struct kvi_shared_note *note;
  struct kvi_source source;
};

struct kvi_shared_note *kvi_shared_note_make(struct kvi_shared *shared, const char *tenant,
                                             const struct kvi_put_request *request)
{
  struct kvi_shared_note *note;

  if (!shared->config.write || request->length > shared->attr.chunk_bytes_max)
    return NULL;
  note = calloc(1, sizeof(*note));
  if (!note || kvi_shared_name_make(tenant, request->space, request->key, request->key_length, &note->name) !=
                   KVS_OK) {
    free(note);
    return NULL;
  }
  note->unchained = request->unchained;
  note->place = request->place;
  note->has_parent = request->parent && !request->unchained;
  if (note->has_parent)
    memcpy(note->parent, request->parent, request->key_length);
  return note;
}

void kvi_shared_note_free(struct kvi_shared_note *note)
{
  free(note);
}

static void written(struct kvi_medium_put *put, kvs_status status)
{
  struct write *write = put->user;
  struct kvi_shared *shared = write->shared;

  kvi_store_get_close(shared->config.store, &write->source);
  pthread_mutex_lock(&shared->lock);
  shared->writing--;
  kvi_rate_end(&shared->rate, status == KVS_OK ? put->length : 0, kvi_now_ns());
  if (status == KVS_OK) {
    shared->stats.writes++;
    shared->stats.write_bytes += put->length;
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

/* Takes the note. False: not now; it is tried again when one that is being written has ended. */
static bool write_locked(struct kvi_shared *shared, struct kvi_shared_note *note)
{
  const struct kvi_shared_name *name = &note->name;
  struct write *write = calloc(1, sizeof(*write));
  uint64_t now_ns;
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
  write->shared = shared;
  write->note = note;
  write->put = (struct kvi_medium_put){.identity = kvi_shared_identity(name),
                                       .iov = write->source.iov,
                                       .n_iov = write->source.n_iov,
                                       .length = write->source.table.length,
                                       .table = write->source.table,
                                       .deadline_ns = kvi_deadline_from_ms(shared->config.put_ms).at_ns,
                                       .done = written,
                                       .user = write};
  write->put.identity.parent = note->has_parent ? note->parent : NULL;
  write->put.identity.place = note->place;
  write->put.identity.unchained = note->unchained;
  now_ns = kvi_now_ns(); /* it may be under way when put returns */
  status = shared->config.medium->ops->put(shared->config.medium, &write->put);
  if (status == KVS_OK) {
    shared->writing++;
    kvi_rate_begin(&shared->rate, now_ns);
    return true;
  }
  kvi_store_get_close(shared->config.store, &write->source);
  free(write);
  if (status == KVS_ERR_BUSY && shared->writing > 0)
    return false;
  shared->stats.writes_failed++;
  kvi_shared_note_free(note);
  return true;
}

void kvi_shared_pump_locked(struct kvi_shared *shared)
{
  while (!shared->closing && shared->queue_length > 0 && shared->writing < KVI_SHARED_WRITES) {
    struct kvi_shared_note *note = shared->queue[shared->queue_first];

    /* What is put again while it is deleted waits, so that its removal does not come behind its write. */
    if (kvi_shared_is_forgotten_locked(shared, &note->name) || !write_locked(shared, note))
      return;
    shared->queue_first = (shared->queue_first + 1) % shared->config.write_queue;
    shared->queue_length--;
  }
}

void kvi_shared_offer(struct kvi_shared *shared, struct kvi_shared_note *note)
{
  if (!note)
    return;
  pthread_mutex_lock(&shared->lock);
  shared->stats.offers++;
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
