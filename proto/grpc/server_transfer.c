/* A transfer at the node: what its start message said, and its place in the stream's lists. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/grpc/server_private.h"

static void *copy_array(const void *from, size_t n, size_t size)
{
  void *to = malloc(n * size + 1);
  if (to && n > 0)
    memcpy(to, from, n * size);
  return to;
}

static kvs_status copy_keys(struct server_transfer *t, const Kvasir__V1__Keys *keys)
{
  size_t all = (size_t)t->n_chunks * t->key_length;
  t->keys = calloc(1, t->key_length + all);
  if (!t->keys)
    return KVS_ERR_NOMEM;
  memcpy(t->keys + t->key_length, keys->keys.data, all);
  if (keys->parent.len == t->key_length) {
    memcpy(t->keys, keys->parent.data, t->key_length);
    t->has_parent = true;
  }
  t->first_place = keys->first_place;
  t->unchained = keys->unchained;
  return KVS_OK;
}

static kvs_status copy_put(struct server_transfer *t, const Kvasir__V1__TransferStart *start)
{
  uint64_t n_segments = 0;
  for (size_t i = 0; i < start->n_segment_counts; i++)
    n_segments += start->segment_counts[i];
  if (start->n_segment_counts != t->n_chunks || n_segments != start->n_segment_lengths)
    return KVS_ERR_PROTOCOL;
  t->segment_counts = copy_array(start->segment_counts, t->n_chunks, sizeof(uint32_t));
  t->segment_lengths = copy_array(start->segment_lengths, start->n_segment_lengths, sizeof(uint32_t));
  t->puts = calloc(t->n_chunks, sizeof *t->puts);
  if (start->n_qualities == t->n_chunks) {
    t->qualities = copy_array(start->qualities, t->n_chunks, sizeof(uint32_t));
    if (!t->qualities)
      return KVS_ERR_NOMEM;
  }
  return t->segment_counts && t->segment_lengths && t->puts ? KVS_OK : KVS_ERR_NOMEM;
}

static struct server_transfer **bucket(struct stream *stream, uint64_t id)
{
  return &stream->by_id[(id * stream->bucket_factor) >> 32 & (TRANSFER_BUCKETS - 1)];
}

static void link_transfer(struct server_transfer *t)
{
  struct server_transfer **first = bucket(t->stream, t->id);
  t->next_by_id = *first;
  *first = t;
  kvi_list_push_back(&t->stream->transfers, &t->link);
}

static void unlink_transfer(struct server_transfer *t)
{
  struct server_transfer **place = bucket(t->stream, t->id);
  while (*place != t)
    place = &(*place)->next_by_id;
  *place = t->next_by_id;
  kvi_list_remove(&t->stream->transfers, &t->link);
}

/* kvi_frame_unpack has checked counts and key lengths against the limits; what remains is that the arrays agree. */
kvs_status kvi_server_transfer_create(struct stream *stream, const Kvasir__V1__TransferStart *start)
{
  if (!start->keys || start->space.len != KVS_DIGEST_SIZE || start->keys->key_length == 0)
    return KVS_ERR_PROTOCOL;
  size_t n_chunks = start->keys->keys.len / start->keys->key_length;
  if (n_chunks == 0 || n_chunks > KVI_BATCH_CHUNKS_MAX || start->n_lengths != n_chunks ||
      kvi_server_transfer_find(stream, start->id))
    return KVS_ERR_PROTOCOL;
  struct server_transfer *t = calloc(1, sizeof *t);
  if (!t)
    return KVS_ERR_NOMEM;
  t->stream = stream;
  t->id = start->id;
  t->put = start->put;
  t->n_chunks = (uint32_t)n_chunks;
  t->ttl_ms = start->ttl_ms;
  t->chain_chunks = start->chain_chunks;
  t->terms = (struct kvi_get_terms){.codings = start->codings,
                                    .loss_max = start->loss_max,
                                    .loss_enough = start->loss_enough,
                                    .bytes_enough = start->bytes_enough};
  t->key_length = start->keys->key_length;
  memcpy(t->space, start->space.data, KVS_DIGEST_SIZE);
  uint64_t ms = start->timeout_ms < KVI_TIMEOUT_MS_MAX ? start->timeout_ms : KVI_TIMEOUT_MS_MAX;
  t->deadline_ns = kvi_now_ns() + ms * KVI_NS_PER_MS;
  link_transfer(t);
  atomic_fetch_add(&stream->poller->server->counters.transfers, 1);

  kvs_status status = copy_keys(t, start->keys);
  t->lengths = copy_array(start->lengths, n_chunks, sizeof(uint64_t));
  if (status == KVS_OK && !t->lengths)
    status = KVS_ERR_NOMEM;
  if (status == KVS_OK)
    status = t->put ? copy_put(t, start) : kvi_server_get_start(t, start->abreast);
  if (status != KVS_OK) {
    kvi_server_transfer_destroy(t);
    return status;
  }
  if (t->put)
    kvi_server_put_start(t);
  else
    kvi_server_want_send(t);
  return KVS_OK;
}

void kvi_server_transfer_destroy(struct server_transfer *t)
{
  if (t->put && t->puts)
    kvi_server_put_end_all(t, KVS_ERR_CANCELED);
  kvi_server_get_end_all(t);
  unlink_transfer(t);
  if (kvi_list_is_linked(&t->send_link))
    kvi_list_remove(&t->stream->to_send, &t->send_link);
  atomic_fetch_sub(&t->stream->poller->server->counters.transfers, 1);
  free(t->keys);
  free(t->lengths);
  free(t->segment_counts);
  free(t->segment_lengths);
  free(t->qualities);
  free(t->puts);
  free(t);
}

struct server_transfer *kvi_server_transfer_find(struct stream *stream, uint64_t id)
{
  struct server_transfer *t = *bucket(stream, id);
  while (t && t->id != id)
    t = t->next_by_id;
  return t;
}

void kvi_server_want_send(struct server_transfer *t)
{
  if (!kvi_list_is_linked(&t->send_link))
    kvi_list_push_back(&t->stream->to_send, &t->send_link);
}
