#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/grpc/grpc_private.h"

kvs_status kvi_frame_in_init(struct kvi_frame_in *in)
{
  memset(in, 0, sizeof *in);
  kvi_frame_arena_init(&in->arena);
  in->scratch = malloc(KVI_FRAME_SCRATCH);
  return in->scratch ? KVS_OK : KVS_ERR_NOMEM;
}

void kvi_frame_in_destroy(struct kvi_frame_in *in)
{
  kvi_frame_in_clear(in);
  free(in->scratch);
  in->scratch = NULL;
}

void kvi_frame_in_clear(struct kvi_frame_in *in)
{
  kvi_frame_arena_reset(&in->arena);
  if (in->buffer)
    grpc_byte_buffer_destroy(in->buffer);
  in->buffer = NULL;
  in->header = NULL;
  in->left = 0;
}

static const grpc_slice *slice_at(const struct kvi_frame_in *in, size_t i)
{
  return &in->buffer->data.raw.slice_buffer.slices[i];
}

/* The first n bytes of the message in one piece: where they lie if the first slice has them, else gathered. */
static const uint8_t *front(struct kvi_frame_in *in, size_t n)
{
  const grpc_slice_buffer *slices = &in->buffer->data.raw.slice_buffer;
  if (slices->count > 0 && GRPC_SLICE_LENGTH(slices->slices[0]) >= n)
    return GRPC_SLICE_START_PTR(slices->slices[0]);
  size_t have = 0;
  for (size_t i = 0; i < slices->count && have < n; i++) {
    size_t length = GRPC_SLICE_LENGTH(slices->slices[i]);
    if (length > n - have)
      length = n - have;
    memcpy(in->scratch + have, GRPC_SLICE_START_PTR(slices->slices[i]), length);
    have += length;
  }
  return in->scratch;
}

static void seek(struct kvi_frame_in *in, size_t position)
{
  in->slice = 0;
  in->offset = position;
  const grpc_slice_buffer *slices = &in->buffer->data.raw.slice_buffer;
  while (in->slice < slices->count && in->offset >= GRPC_SLICE_LENGTH(*slice_at(in, in->slice))) {
    in->offset -= GRPC_SLICE_LENGTH(*slice_at(in, in->slice));
    in->slice++;
  }
}

/* A legal message whose fields come in another order than ours: gathered into one slice first. Slow, rare, right. */
static kvs_status normalize(struct kvi_frame_in *in, struct kvi_frame_shape *shape)
{
  grpc_byte_buffer_reader reader;
  if (!grpc_byte_buffer_reader_init(&reader, in->buffer))
    return KVS_ERR_PROTOCOL;
  grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
  grpc_byte_buffer_reader_destroy(&reader);
  grpc_byte_buffer_destroy(in->buffer);
  in->buffer = grpc_raw_byte_buffer_create(&all, 1);
  grpc_slice_unref(all);
  const grpc_slice *whole = slice_at(in, 0);
  kvi_log_limited(KVI_LOG_DEBUG, "frame with fields in an unusual order, gathered");
  return kvi_frame_normalize(GRPC_SLICE_START_PTR(*whole), GRPC_SLICE_LENGTH(*whole), shape);
}

static kvs_status find_shape(struct kvi_frame_in *in, size_t total, struct kvi_frame_shape *shape)
{
  size_t have = total < 256 ? total : 256;
  for (;;) {
    size_t need = 0;
    kvs_status status = kvi_frame_parse(front(in, have), have, total, shape, &need);
    if (status == KVS_ERR_UNSUPPORTED)
      return normalize(in, shape);
    if (status != KVS_PENDING)
      return status;
    if (need <= have || need > total || need > KVI_FRAME_SCRATCH)
      return KVS_ERR_PROTOCOL;
    have = need;
  }
}

kvs_status kvi_frame_in_open(struct kvi_frame_in *in, grpc_byte_buffer *buffer)
{
  kvi_frame_in_clear(in);
  in->buffer = buffer;
  size_t total = grpc_byte_buffer_length(buffer);
  if (total > (size_t)KVI_FRAME_BYTES_MAX + KVI_FRAME_SCRATCH)
    return KVS_ERR_TOO_LARGE;

  struct kvi_frame_shape shape;
  kvs_status status = find_shape(in, total, &shape);
  if (status != KVS_OK)
    return status;
  /* A frame in our order has its header in front; one that was gathered lies in a single slice: front() finds both. */
  if (shape.header_offset + shape.header_length > KVI_FRAME_SCRATCH &&
      in->buffer->data.raw.slice_buffer.count != 1)
    return KVS_ERR_PROTOCOL;
  const uint8_t *bytes = front(in, shape.header_offset + shape.header_length);
  status = kvi_frame_unpack(&in->arena, bytes + shape.header_offset, shape.header_length, shape.data_length,
                            &in->header);
  if (status != KVS_OK)
    return status;
  seek(in, shape.data_offset);
  in->left = shape.data_length;
  return KVS_OK;
}

/* The next run of bulk bytes that lies in one slice. */
static const uint8_t *next_run(struct kvi_frame_in *in, size_t max, size_t *length)
{
  const grpc_slice *slice = slice_at(in, in->slice);
  const uint8_t *bytes = GRPC_SLICE_START_PTR(*slice) + in->offset;
  size_t left = GRPC_SLICE_LENGTH(*slice) - in->offset;
  *length = left < max ? left : max;
  in->offset += *length;
  if (in->offset == GRPC_SLICE_LENGTH(*slice)) {
    in->slice++;
    in->offset = 0;
  }
  return bytes;
}

bool kvi_frame_in_land(struct kvi_frame_in *in, size_t length, struct kvi_iov_cursor *cursor, uint32_t *crc)
{
  bool fits = true;
  in->left -= length;
  while (length > 0) {
    size_t run;
    const uint8_t *bytes = next_run(in, length, &run);
    fits = fits && kvi_iov_cursor_land(cursor, bytes, run, crc);
    length -= run;
  }
  return fits;
}

void kvi_frame_in_skip(struct kvi_frame_in *in, size_t length)
{
  in->left -= length;
  while (length > 0) {
    size_t run;
    (void)next_run(in, length, &run);
    length -= run;
  }
}
