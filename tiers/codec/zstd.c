/*
 * Level "zstd": a layer's bytes as one frame, or as they are where that is not smaller. For what is no tensor: token lists, recurrent states.
 *
 * libzstd's contexts are made for each call and freed again. What decoding allocates is bounded whatever the frame says: a context of some
 * 100 KiB, and where rows do not lie dense a window of at most 8 MiB. What encoding allocates is the level's: from 1 MiB to 100 MiB.
 */
#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

#include "base/bytes.h"
#include "tiers/codec/layer_coder.h"

#define WINDOW_LOG    23 /* 8 MiB: every decoder of RFC 8878 has to bear so much */
#define DEFAULT_LEVEL 3

static uint64_t bound(const struct kvi_codec_shape *shape, uint32_t layer)
{
  return kvi_codec_layer_bytes(shape, layer);
}

static size_t scratch_size(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options)
{
  (void)shape;
  (void)options;
  return 0;
}

/* Whether the segment is one frame, of this size, without a dictionary, with a window that we bear (RFC 8878, 3.1.1.1). */
static bool frame_ok(const uint8_t *frame, size_t length, uint64_t size)
{
  uint64_t window = size;

  if (length < 6 || kvi_load_le32(frame) != ZSTD_MAGICNUMBER ||
      ZSTD_getFrameContentSize(frame, length) != size ||
      ZSTD_findFrameCompressedSize(frame, length) != length || (frame[4] & 3u) != 0)
    return false;
  if ((frame[4] & 0x20u) == 0) { /* else all in one: the window is the content */
    window = 1ull << (10 + (frame[5] >> 3));
    window += window / 8 * (frame[5] & 7u);
  }
  return window <= 1ull << WINDOW_LOG;
}

static kvs_status encode(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                         uint32_t layer, const uint8_t *raw, void *scratch, uint8_t *out, size_t room,
                         size_t *length_p)
{
  size_t size = (size_t)kvi_codec_layer_bytes(shape, layer), length;
  ZSTD_CCtx *context;
  kvs_status status = KVS_ERR_NOMEM;

  (void)scratch;
  *length_p = 0;
  if (room < size)
    return KVS_ERR_INVALID;
  if (size == 0)
    return KVS_OK;
  context = ZSTD_createCCtx();
  if (context == NULL)
    return KVS_ERR_NOMEM;
  if (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel,
                                          options->zstd_level != 0 ? options->zstd_level : DEFAULT_LEVEL)))
    goto out;
  length = ZSTD_compress2(context, out, size - 1, raw, size);
  status = KVS_OK;
  if (!ZSTD_isError(length) &&
      frame_ok(out, length, size)) { /* no level that we offer has larger windows, today */
    *length_p = length;
  } else if (ZSTD_isError(length) && ZSTD_getErrorCode(length) == ZSTD_error_memory_allocation) {
    status = KVS_ERR_NOMEM;
  } else {
    memcpy(out, raw, size);
    *length_p = size;
  }
out:
  ZSTD_freeCCtx(context);
  return status;
}

/* Goes through rows of a place in the order of a layer's bytes. */
struct rows {
  uint8_t *at;
  size_t row_bytes, stride;
  uint64_t count;
};

static void copy_rows(const struct rows *rows, const uint8_t *from)
{
  for (uint64_t row = 0; row < rows->count; row++)
    memcpy(rows->at + row * rows->stride, from + row * rows->row_bytes, rows->row_bytes);
}

static bool is_dense(const struct rows *rows)
{
  return rows->stride == rows->row_bytes || rows->count < 2;
}

static kvs_status status_of(size_t result)
{
  if (!ZSTD_isError(result))
    return KVS_OK;
  return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? KVS_ERR_NOMEM : KVS_ERR_CORRUPT;
}

/*
 * Fills rows from the frame; every call has to take or give something, so this ends. *left_p is 0 once the frame is whole.
 */
static kvs_status stream_rows(ZSTD_DCtx *context, ZSTD_inBuffer *in, const struct rows *rows, size_t *left_p)
{
  for (uint64_t row = 0; row < rows->count; row++) {
    ZSTD_outBuffer out = {rows->at + row * rows->stride, rows->row_bytes, 0};

    while (out.pos < out.size) {
      size_t in_before = in->pos, out_before = out.pos;

      *left_p = ZSTD_decompressStream(context, &out, in);
      if (ZSTD_isError(*left_p))
        return status_of(*left_p);
      if (in->pos == in_before && out.pos == out_before)
        return KVS_ERR_CORRUPT;
    }
  }
  return KVS_OK;
}

/* What follows the last byte of content: an empty block may, and a checksum. */
static kvs_status stream_end(ZSTD_DCtx *context, ZSTD_inBuffer *in, size_t left)
{
  uint8_t none;
  ZSTD_outBuffer out = {&none, 0, 0};

  if (left != 0)
    left = ZSTD_decompressStream(context, &out, in);
  if (ZSTD_isError(left))
    return status_of(left);
  return left == 0 && in->pos == in->size ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status decode_frame(const uint8_t *frame, size_t length, const struct rows planes[2])
{
  ZSTD_DCtx *context = ZSTD_createDCtx();
  ZSTD_inBuffer in = {frame, length, 0};
  kvs_status status = KVS_OK;
  size_t left = 1;
  const uint64_t keys = planes[0].row_bytes * planes[0].count, values = planes[1].row_bytes * planes[1].count;

  if (context == NULL)
    return KVS_ERR_NOMEM;
  if (is_dense(&planes[0]) && is_dense(&planes[1]) &&
      (keys == 0 || values == 0 || planes[0].at + keys == planes[1].at)) {
    size_t result = ZSTD_decompressDCtx(context, keys != 0 ? planes[0].at : planes[1].at,
                                        (size_t)(keys + values), frame, length);

    status = status_of(result);
    if (status == KVS_OK && result != keys + values)
      status = KVS_ERR_CORRUPT;
  } else {
    if (ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, WINDOW_LOG)))
      status = KVS_ERR_NOMEM;
    for (int i = 0; i < 2 && status == KVS_OK; i++)
      status = stream_rows(context, &in, &planes[i], &left);
    if (status == KVS_OK)
      status = stream_end(context, &in, left);
  }
  ZSTD_freeDCtx(context);
  return status;
}

/* Bytes of no shape are one row of keys. */
static void rows_of(const struct kvi_codec_shape *shape, uint32_t layer, const struct kvi_codec_place *place,
                    struct rows planes_p[2])
{
  uint64_t rows = kvi_codec_layer_rows(shape, layer);
  size_t element = kvi_codec_element_size(shape->dtype);

  planes_p[0] =
      (struct rows){place->keys, shape->n_heads * element * shape->key_dim, place->key_stride, rows};
  planes_p[1] =
      (struct rows){place->values, shape->n_heads * element * shape->value_dim, place->value_stride, rows};
  if (shape->dtype == KVI_CODEC_BYTES)
    planes_p[0] = (struct rows){place->keys, (size_t)shape->raw_bytes, (size_t)shape->raw_bytes, 1};
}

static kvs_status decode(const struct kvi_codec_shape *shape, uint32_t layer, const uint8_t *segment,
                         size_t length, const struct kvi_codec_place *place)
{
  uint64_t size = kvi_codec_layer_bytes(shape, layer);
  struct rows planes[2];

  rows_of(shape, layer, place, planes);
  for (int i = 0; i < 2; i++)
    if (planes[i].row_bytes == 0)
      planes[i].count = 0;
  if (length == size) {
    copy_rows(&planes[0], segment);
    copy_rows(&planes[1], segment + planes[0].row_bytes * planes[0].count);
    return KVS_OK;
  }
  return frame_ok(segment, length, size) ? decode_frame(segment, length, planes) : KVS_ERR_CORRUPT;
}

const struct kvi_codec_layer_coder kvi_codec_zstd = {
    .name = "zstd", .bound = bound, .scratch = scratch_size, .encode = encode, .decode = decode};
