/* Landing what a node sends. All of it runs on the poller. */
#include "base/clock.h"
#include "base/log.h"
#include "proto/grpc/client_private.h"
#include "proto/service.h"

/* The chunk's state; NULL: its turn is over. */
static struct landing *landing_of(struct transfer *t, uint32_t chunk)
{
  if (t->abreast)
    return &t->abreast[chunk];
  if (chunk == t->chunk)
    return &t->landing;
  if (t->chunk != UINT32_MAX &&
      chunk < t->chunk) /* its segments may be verified: they are not written again */
    return NULL;
  t->chunk = chunk;
  t->landing = (struct landing){0};
  return &t->landing;
}

/* Where the chunk lands, or the end that it comes to. */
static kvs_status place_chunk(struct transfer *t, struct landing *l, const Kvasir__V1__Piece *piece,
                              uint32_t *cause_p)
{
  const struct kvi_iov *iov;
  uint32_t n_iov;
  kvs_status status = kvi_transfer_place(t->user, piece->chunk, (uint16_t)piece->quality, l->coded_length,
                                         &iov, &n_iov, cause_p);
  if (status == KVS_OK)
    l->cursor = kvi_iov_cursor_make(iov, n_iov);
  return status;
}

/* False: the node broke the protocol, by a coded chunk that nobody asked for among others. */
static bool first_of_chunk(const struct transfer *t, struct landing *l, const Kvasir__V1__Piece *piece)
{
  uint32_t coding = kvi_quality_coding((uint16_t)piece->quality);
  if (piece->segment != 0 || piece->offset != 0 || piece->segments == 0 || piece->segments > KVI_SEGMENTS_MAX)
    return false;
  if (coding != KVI_CODING_NONE && (coding != KVI_CODING_KVC1 || !t->user->on_coded))
    return false;
  l->n_segments = piece->segments;
  l->coded_length = coding == KVI_CODING_NONE ? 0 : piece->chunk_length;
  return true;
}

static bool in_order(struct landing *l, const Kvasir__V1__Piece *piece)
{
  if (piece->segment != l->segment || piece->offset != l->segment_offset || l->segment >= l->n_segments)
    return false;
  if (piece->offset == 0) {
    l->segment_length = piece->segment_length;
    l->crc_expected = piece->crc32c;
    l->crc = 0;
  }
  return piece->length <= l->segment_length - l->segment_offset;
}

/* A coded chunk is as long as its first piece said, no more and no less. */
static bool fits_length(const struct landing *l, const Kvasir__V1__Piece *piece)
{
  uint64_t landed = l->landed + piece->length;
  bool whole = l->segment + 1 == l->n_segments && piece->length == l->segment_length - l->segment_offset;
  return l->coded_length == 0 || (whole ? landed == l->coded_length : landed < l->coded_length);
}

static void segment_whole(struct transfer *t, struct landing *l, uint32_t chunk)
{
  struct kvi_transfer_chunk *c = &t->user->chunks[chunk];
  if (l->crc != l->crc_expected) {
    kvi_log_limited(KVI_LOG_WARN, "node %s: segment %u of a chunk does not fit its checksum",
                    t->wire->endpoint, l->segment);
    kvi_gw_end_chunk(t, chunk, KVS_MISS, KVI_MISS_CORRUPT);
    return;
  }
  l->segment++;
  l->segment_offset = 0;
  c->verified = l->landed;
  if (l->segment == l->n_segments) { /* its end may follow those of later chunks' pieces in the same frame */
    c->length = l->landed;
    c->n_segments = l->n_segments;
    t->whole[chunk / 64] |= UINT64_C(1) << (chunk % 64);
  }
  if (t->user->on_segments)
    t->user->on_segments(t->user, chunk, l->segment);
}

/* False: the node broke the protocol. */
static bool land_piece(struct wire *w, const Kvasir__V1__Piece *piece)
{
  struct transfer *t = kvi_gw_find(w, piece->id);
  if (t && (t->user->put || piece->chunk >= t->user->n_chunks))
    return false;
  if (!t || kvi_gw_chunk_ended(t, piece->chunk)) { /* cancelled, late, or ended here: not ours any more */
    kvi_frame_in_skip(&w->in, piece->length);
    return true;
  }
  struct landing *l = landing_of(t, piece->chunk);
  bool first = l && l->n_segments == 0;
  if (!l || (first && !first_of_chunk(t, l, piece)) || !in_order(l, piece) || !fits_length(l, piece))
    return false;
  uint32_t cause = KVI_MISS_NONE;
  kvs_status status = first ? place_chunk(t, l, piece, &cause) : KVS_OK;
  if (status != KVS_OK) {
    kvi_frame_in_skip(&w->in, piece->length);
    kvi_gw_end_chunk(t, piece->chunk, status, cause);
    return true;
  }
  if (!kvi_frame_in_land(&w->in, piece->length, &l->cursor, &l->crc)) {
    kvi_gw_end_chunk(t, piece->chunk, KVS_ERR_BUFFER, KVI_MISS_NONE);
    return true;
  }
  l->landed += piece->length;
  l->segment_offset += piece->length;
  if (l->segment_offset == l->segment_length)
    segment_whole(t, l, piece->chunk);
  return true;
}

static bool take_end(struct wire *w, const Kvasir__V1__ChunkEnd *end)
{
  struct transfer *t = kvi_gw_find(w, end->id);
  if (!t)
    return true;
  if (end->chunk >= t->user->n_chunks)
    return false;
  if (kvi_gw_chunk_ended(t, end->chunk))
    return true;
  bool whole = t->whole[end->chunk / 64] >> (end->chunk % 64) & 1;
  if (!t->user->put &&
      (end->status == KVS_EXISTS || end->status == KVS_DECLINED || (end->status == KVS_OK && !whole)))
    return false;
  kvi_gw_end_chunk(t, end->chunk, (kvs_status)end->status, end->cause);
  return true;
}

static bool take_frame(struct wire *w, const Kvasir__V1__FrameHeader *header)
{
  for (size_t i = 0; i < header->n_pieces; i++)
    if (!land_piece(w, header->pieces[i]))
      return false;
  for (size_t i = 0; i < header->n_ends; i++)
    if (!take_end(w, header->ends[i]))
      return false;
  return header->n_starts == 0 && header->n_cancels == 0;
}

void kvi_gw_on_received(void *ctx, bool ok)
{
  struct wire *w = ctx;
  atomic_fetch_sub(&w->outstanding, 1);
  grpc_byte_buffer *buffer = w->received;
  w->received = NULL;
  if (!ok || !buffer) { /* the stream is over; its status follows */
    w->stream_over = true;
    return;
  }
  /* Asked for before this one is looked at, so that the peer's window is open meanwhile. */
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &w->received};
  atomic_fetch_add(&w->outstanding, 1);
  kvi_grpc_start_batch(w->stream, &op, 1, &w->tag_read);

  w->last_activity_ns = kvi_now_ns();
  kvs_status status = kvi_frame_in_open(&w->in, buffer);
  if (status == KVS_OK && !take_frame(w, w->in.header))
    status = KVS_ERR_PROTOCOL;
  kvi_frame_in_clear(&w->in);
  if (status != KVS_OK && !w->broken) {
    kvi_log_warn("node %s sent a frame that is not allowed (%s): closing the connection", w->endpoint,
                 kvs_status_text(status));
    w->broken = true;
  }
}
