/* Gets at the node: a chunk is opened when its turn comes and sent by reference, in order of segments. */
#include <stdlib.h>

#include "base/clock.h"
#include "proto/grpc/server_private.h"

void kvi_server_source_unref(void *ctx)
{
  struct source *s = ctx;
  if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
    return;
  s->service->ops->get_close(s->service->self, &s->source);
  free(s);
}

static bool tell_end(struct server_transfer *t, struct kvi_frame_out *out, kvs_status status, uint32_t cause)
{
  Kvasir__V1__ChunkEnd *end = kvi_frame_out_end(out);
  if (!end)
    return false;
  end->id = t->id;
  end->chunk = t->send_chunk;
  end->status = status;
  end->cause = cause;
  if (t->source)
    kvi_server_source_unref(t->source);
  t->source = NULL;
  t->send_chunk++;
  t->send_segment = t->send_offset = 0;
  return true;
}

/* KVS_OK: t->source is open. Otherwise why the chunk ends. */
static kvs_status open_source(struct server_transfer *t, uint32_t *cause)
{
  const struct kvi_service *service = t->stream->poller->server->service;
  if (t->canceled)
    return KVS_ERR_CANCELED;
  if (kvi_now_ns() >= t->deadline_ns)
    return KVS_ERR_DEADLINE;
  struct source *s = malloc(sizeof *s);
  if (!s)
    return KVS_ERR_NOMEM;
  s->service = service;
  atomic_init(&s->refs, 1);
  kvs_status status =
      service->ops->get_open(service->self, &t->stream->peer, t->space, kvi_server_key(t, t->send_chunk),
                             t->key_length, &s->source, cause);
  if (status != KVS_OK) {
    free(s);
    return status;
  }
  if (s->source.table.length > t->lengths[t->send_chunk]) {
    kvi_server_source_unref(s);
    return KVS_ERR_BUFFER;
  }
  t->source = s;
  t->send_cursor = kvi_iov_cursor_make(s->source.iov, s->source.n_iov);
  t->send_left = s->source.table.length;
  return KVS_OK;
}

static uint32_t add_run(struct server_transfer *t, struct kvi_frame_out *out, uint32_t max)
{
  uint32_t added = 0;
  while (added < max && out->n_slices < KVI_FRAME_OUT_SLICES) {
    struct kvi_iov run = kvi_iov_cursor_next(&t->send_cursor, max - added);
    atomic_fetch_add_explicit(&t->source->refs, 1, memory_order_relaxed);
    kvi_frame_out_bytes(out, run.base, run.length, kvi_server_source_unref, t->source);
    added += (uint32_t)run.length;
  }
  return added;
}

static bool add_piece(struct server_transfer *t, struct kvi_frame_out *out)
{
  const struct kvi_chunk_table *table = &t->source->source.table;
  if (t->stream->to_send.length == 1 && t->send_chunk + 1 == t->n_chunks)
    kvi_frame_out_taper(out, t->send_left);
  size_t room = kvi_frame_out_room(out);
  if (room == 0)
    return false;
  struct kvi_segment segment = kvi_chunk_table_segment(table, t->send_segment);
  Kvasir__V1__Piece *piece = kvi_frame_out_piece(out);
  uint32_t left = segment.length - t->send_offset;
  piece->id = t->id;
  piece->chunk = t->send_chunk;
  piece->segment = t->send_segment;
  piece->offset = t->send_offset;
  if (t->send_offset == 0) {
    piece->first = true;
    piece->segment_length = segment.length;
    piece->crc32c = segment.crc32c;
    if (t->send_segment == 0)
      piece->segments = table->n_segments;
  }
  piece->length = add_run(t, out, left < room ? left : (uint32_t)room);
  t->send_offset += piece->length;
  t->send_left -= piece->length;
  if (t->send_offset == segment.length) {
    piece->last = true;
    t->send_segment++;
    t->send_offset = 0;
  }
  return true;
}

bool kvi_server_get_fill(struct server_transfer *t, struct kvi_frame_out *out)
{
  while (t->send_chunk < t->n_chunks) {
    uint32_t cause = 0;
    kvs_status status = t->source ? KVS_OK : open_source(t, &cause);
    if (status == KVS_OK && t->canceled)
      status = KVS_ERR_CANCELED;
    while (status == KVS_OK && t->send_segment < t->source->source.table.n_segments)
      if (!add_piece(t, out))
        return false;
    if (!tell_end(t, out, status, cause))
      return false; /* opened again or ended the same way in the next frame */
  }
  return true;
}
