/* Puts at the node: room is reserved, bytes land once with their checksum, a whole chunk is published, then its end is told. */
#include "base/log.h"
#include "proto/grpc/server_private.h"

static const struct kvi_service *service_of(const struct server_transfer *t)
{
  return t->stream->poller->server->service;
}

static void end_chunk(struct server_transfer *t, uint32_t chunk, kvs_status status)
{
  struct put_chunk *p = &t->puts[chunk];
  p->state = PUT_ENDED;
  p->status = status;
  t->n_ended++;
  kvi_server_want_send(t);
}

/* ---- waiting for an equal put ---- */

static void equal_put_ended(void *ctx, kvs_status status)
{
  struct put_wait *wait = ctx;
  struct stream *s = wait->transfer->stream;
  wait->status = status;
  pthread_mutex_lock(&s->woken_lock);
  kvi_list_push_back(&s->woken, &wait->link);
  /* Under the lock: once the poller can take the message, it may end the transfer, and with the last one the stream. */
  kvi_grpc_waker_wake(&s->waker);
  pthread_mutex_unlock(&s->woken_lock);
}

static void forget_wait(struct server_transfer *t, uint32_t chunk)
{
  struct put_wait *wait = &t->puts[chunk].wait;
  const struct kvi_service *service = service_of(t);
  service->ops->put_unwait(service->self, wait);
  pthread_mutex_lock(&t->stream->woken_lock);
  if (kvi_list_is_linked(&wait->link))
    kvi_list_remove(&t->stream->woken, &wait->link);
  pthread_mutex_unlock(&t->stream->woken_lock);
}

void kvi_server_put_woken(struct stream *s)
{
  for (;;) {
    pthread_mutex_lock(&s->woken_lock);
    kvi_list_node *node = kvi_list_pop_front(&s->woken);
    pthread_mutex_unlock(&s->woken_lock);
    if (!node)
      return;
    struct put_wait *wait = kvi_list_entry(node, struct put_wait, link);
    end_chunk(wait->transfer, wait->chunk, wait->status == KVS_OK ? KVS_EXISTS : wait->status);
  }
}

/* ---- beginning ---- */

static void begin_chunk(struct server_transfer *t, uint32_t chunk)
{
  const struct kvi_service *service = service_of(t);
  struct put_chunk *p = &t->puts[chunk];
  p->wait = (struct put_wait){.transfer = t, .chunk = chunk};
  bool chained = !t->unchained && (chunk > 0 || t->has_parent);
  struct kvi_put_request request = {
      .space = t->space,
      .key = kvi_server_key(t, chunk),
      .key_length = t->key_length,
      .parent = chained ? kvi_server_key(t, chunk) - t->key_length : NULL,
      .place = t->unchained ? 0 : t->first_place + chunk,
      .unchained = t->unchained,
      .length = t->lengths[chunk],
      .n_segments = t->segment_counts[chunk],
      .segment_lengths = t->segment_lengths + t->first_segment,
      .ttl_ms = t->ttl_ms,
      .quality = t->qualities ? (uint16_t)t->qualities[chunk] : 0,
      .chain_chunks = t->chain_chunks,
      .behind = kvi_server_key(t, chunk) + t->key_length,
      .n_behind = t->unchained ? 0 : t->n_chunks - chunk - 1,
  };
  p->state = PUT_WAITING; /* before the call: the answer may come before it has returned */
  kvs_status status = service->ops->put_begin(service->self, &t->stream->peer, &request, equal_put_ended,
                                              &p->wait, &p->landing);
  if (status == KVS_OK)
    p->state = PUT_LANDING;
  else if (status != KVS_PENDING)
    end_chunk(t, chunk, status);
}

/* Some chunks ahead of the bytes, so that a client learns early what it need not send. */
static void begin_window(struct server_transfer *t)
{
  while (t->n_begun < t->n_chunks && t->n_begun < t->chunk + LANDING_WINDOW) {
    begin_chunk(t, t->n_begun);
    t->first_segment += t->segment_counts[t->n_begun];
    t->n_begun++;
  }
}

void kvi_server_put_start(struct server_transfer *t)
{
  begin_window(t);
}

/* ---- landing ---- */

static void commit(struct server_transfer *t, uint32_t chunk)
{
  const struct kvi_service *service = service_of(t);
  struct put_chunk *p = &t->puts[chunk];
  kvs_status status = service->ops->put_commit(service->self, &p->landing);
  end_chunk(t, chunk, status);
}

static void abort_chunk(struct server_transfer *t, uint32_t chunk, kvs_status status)
{
  const struct kvi_service *service = service_of(t);
  service->ops->put_abort(service->self, &t->puts[chunk].landing);
  end_chunk(t, chunk, status);
}

static bool segment_whole(struct server_transfer *t, const Kvasir__V1__Piece *piece)
{
  struct put_chunk *p = &t->puts[t->chunk];
  if (!piece->last)
    return false;
  if (t->crc != piece->crc32c) {
    kvi_log_limited(KVI_LOG_WARN, "put from %s: segment %u does not fit its checksum", t->stream->peer.name,
                    t->segment);
    abort_chunk(t, t->chunk, KVS_ERR_CHECKSUM);
    return true;
  }
  p->landing.segments[t->segment].crc32c = t->crc;
  t->offset = 0;
  if (++t->segment == p->landing.n_segments)
    commit(t, t->chunk);
  return true;
}

static bool first_of_chunk(struct server_transfer *t, const Kvasir__V1__Piece *piece)
{
  if (piece->segment != 0 || piece->offset != 0)
    return false;
  t->chunk = piece->chunk;
  t->segment = t->offset = 0;
  begin_window(t);
  if (t->puts[t->chunk].state == PUT_LANDING)
    t->cursor = kvi_iov_cursor_make(t->puts[t->chunk].landing.iov, t->puts[t->chunk].landing.n_iov);
  return true;
}

/*
 * A client leaves a chunk only when it has sent all of it or knows that it has ended. Were it free to go on as it likes,
 * one small piece of the last chunk would begin, and reserve room for, all before it.
 */
static bool may_go_to(const struct server_transfer *t, uint32_t chunk)
{
  if (chunk < t->chunk || chunk > t->n_begun)
    return false;
  for (uint32_t i = t->chunk; i < chunk; i++)
    if (t->puts[i].state == PUT_LANDING)
      return false;
  return true;
}

bool kvi_server_put_piece(struct server_transfer *t, const Kvasir__V1__Piece *piece, struct kvi_frame_in *in)
{
  if (piece->chunk >= t->n_chunks || !may_go_to(t, piece->chunk))
    return false;
  bool first = piece->chunk != t->chunk || (t->segment == 0 && t->offset == 0);
  bool begun = piece->chunk < t->n_begun;
  if (begun && t->puts[piece->chunk].state !=
                   PUT_LANDING) { /* it has ended, or an equal one is on its way: not needed */
    kvi_frame_in_skip(in, piece->length);
    return true;
  }
  if (first && !first_of_chunk(t, piece))
    return false;
  struct put_chunk *p = &t->puts[t->chunk];
  if (p->state != PUT_LANDING) {
    kvi_frame_in_skip(in, piece->length);
    return true;
  }
  uint32_t length = p->landing.segments[t->segment].length;
  if (piece->segment != t->segment || piece->offset != t->offset || piece->length > length - t->offset)
    return false;
  if (t->offset == 0)
    t->crc = 0;
  if (!kvi_frame_in_land(in, piece->length, &t->cursor, &t->crc))
    return false;
  t->offset += piece->length;
  return t->offset < length || segment_whole(t, piece);
}

/* ---- ending ---- */

void kvi_server_put_end_all(struct server_transfer *t, kvs_status status)
{
  for (uint32_t i = 0; i < t->n_chunks; i++) {
    if (t->puts[i].state == PUT_LANDING) {
      abort_chunk(t, i, status);
    } else if (t->puts[i].state == PUT_WAITING) {
      forget_wait(t, i);
      end_chunk(t, i, status);
    } else if (t->puts[i].state == PUT_NEW) {
      end_chunk(t, i, status);
    }
  }
  t->n_begun = t->n_chunks;
}

bool kvi_server_put_fill(struct server_transfer *t, struct kvi_frame_out *out)
{
  for (uint32_t i = 0; i < t->n_begun && t->n_told < t->n_ended; i++) {
    struct put_chunk *p = &t->puts[i];
    if (p->state != PUT_ENDED || p->told)
      continue;
    Kvasir__V1__ChunkEnd *end = kvi_frame_out_end(out);
    if (!end)
      return false;
    end->id = t->id;
    end->chunk = i;
    end->status = p->status;
    p->told = true;
    t->n_told++;
  }
  return true;
}
