#include <stdlib.h>
#include <string.h>

#include "proto/grpc/grpc_private.h"

/* Below this a copy into a slice of its own is cheaper than a reference with its callback. */
#define COPY_BELOW 2048u

struct kvi_frame_out *kvi_frame_out_create(size_t bulk_target)
{
  struct kvi_frame_out *out = calloc(1, sizeof *out);
  if (!out)
    return NULL;
  out->bulk_target = bulk_target;
  for (size_t i = 0; i < KVI_FRAME_OUT_PIECES; i++)
    out->piece_pointers[i] = &out->pieces[i];
  for (size_t i = 0; i < KVI_FRAME_OUT_ENDS; i++)
    out->end_pointers[i] = &out->ends[i];
  for (size_t i = 0; i < KVI_FRAME_OUT_STARTS; i++)
    out->start_pointers[i] = &out->starts[i];
  kvi_frame_out_begin(out);
  return out;
}

void kvi_frame_out_destroy(struct kvi_frame_out *out)
{
  if (!out)
    return;
  for (uint32_t i = 1; i <= out->n_slices; i++)
    grpc_slice_unref(out->slices[i]);
  free(out);
}

void kvi_frame_out_begin(struct kvi_frame_out *out)
{
  out->bulk = 0;
  out->limit = out->bulk_target;
  out->n_pieces = out->n_ends = out->n_starts = out->n_cancels = out->n_slices = 0;
}

size_t kvi_frame_out_room(const struct kvi_frame_out *out)
{
  if (out->bulk >= out->limit || out->n_pieces == KVI_FRAME_OUT_PIECES ||
      out->n_slices == KVI_FRAME_OUT_SLICES)
    return 0;
  return out->limit - out->bulk;
}

void kvi_frame_out_taper(struct kvi_frame_out *out, uint64_t left)
{
  if (left > 2 * KVI_LAST_PIECE_BYTES && left <= kvi_frame_out_room(out))
    out->limit = out->bulk + left - KVI_LAST_PIECE_BYTES;
}

Kvasir__V1__Piece *kvi_frame_out_piece(struct kvi_frame_out *out)
{
  if (out->n_pieces == KVI_FRAME_OUT_PIECES)
    return NULL;
  Kvasir__V1__Piece *piece = &out->pieces[out->n_pieces++];
  kvasir__v1__piece__init(piece);
  return piece;
}

bool kvi_frame_out_bytes(struct kvi_frame_out *out, const void *bytes, size_t length, void (*release)(void *),
                         void *ctx)
{
  if (out->n_slices == KVI_FRAME_OUT_SLICES)
    return false;
  grpc_slice *slice = &out->slices[1 + out->n_slices++];
  out->bulk += length;
  if (length < COPY_BELOW) {
    *slice = grpc_slice_from_copied_buffer(bytes, length);
    release(ctx);
  } else {
    /* gRPC only reads; its type has no const. */
    *slice = grpc_slice_new_with_user_data((void *)(uintptr_t)bytes, length, release, ctx);
  }
  return true;
}

Kvasir__V1__ChunkEnd *kvi_frame_out_end(struct kvi_frame_out *out)
{
  if (out->n_ends == KVI_FRAME_OUT_ENDS)
    return NULL;
  Kvasir__V1__ChunkEnd *end = &out->ends[out->n_ends++];
  kvasir__v1__chunk_end__init(end);
  return end;
}

Kvasir__V1__TransferStart *kvi_frame_out_start(struct kvi_frame_out *out)
{
  if (out->n_starts == KVI_FRAME_OUT_STARTS)
    return NULL;
  uint32_t i = out->n_starts++;
  kvasir__v1__transfer_start__init(&out->starts[i]);
  kvasir__v1__keys__init(&out->keys[i]);
  out->starts[i].keys = &out->keys[i];
  return &out->starts[i];
}

bool kvi_frame_out_cancel(struct kvi_frame_out *out, uint64_t id)
{
  if (out->n_cancels == KVI_FRAME_OUT_CANCELS)
    return false;
  out->cancels[out->n_cancels++] = id;
  return true;
}

bool kvi_frame_out_is_empty(const struct kvi_frame_out *out)
{
  return out->n_pieces == 0 && out->n_ends == 0 && out->n_starts == 0 && out->n_cancels == 0;
}

grpc_byte_buffer *kvi_frame_out_finish(struct kvi_frame_out *out)
{
  Kvasir__V1__FrameHeader *header = &out->header;
  kvasir__v1__frame_header__init(header);
  header->n_pieces = out->n_pieces;
  header->pieces = out->piece_pointers;
  header->n_ends = out->n_ends;
  header->ends = out->end_pointers;
  header->n_starts = out->n_starts;
  header->starts = out->start_pointers;
  header->n_cancels = out->n_cancels;
  header->cancels = out->cancels;

  out->slices[0] = grpc_slice_malloc(kvi_frame_prefix_size(header, out->bulk));
  (void)kvi_frame_write_prefix(header, out->bulk, GRPC_SLICE_START_PTR(out->slices[0]));
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(out->slices, 1 + out->n_slices);
  for (uint32_t i = 0; i <= out->n_slices; i++)
    grpc_slice_unref(out->slices[i]);
  kvi_frame_out_begin(out);
  return buffer;
}
