/*
 * Level "cachegen": CacheGen as its paper has it (Liu et al., SIGCOMM 2024), with a parametric model of each channel in the place of
 * profiled distributions. Segments of cachegen in docs/formats/kvc1.md is the format.
 */
#include <string.h>

#include "base/bytes.h"
#include "tiers/codec/cachegen_private.h"
#include "tiers/codec/layer_coder.h"
#include "tiers/codec/range_coder.h"

static struct kvi_cachegen_plane plane_of(const struct kvi_codec_shape *shape, uint32_t rows, uint32_t dim)
{
  return (struct kvi_cachegen_plane){
      .dtype = shape->dtype,
      .rows = rows,
      .heads = shape->n_heads,
      .dim = dim,
      .columns = shape->n_heads * dim,
      .vectors = shape->n_heads,
      .element_size = kvi_codec_element_size(shape->dtype),
  };
}

static uint64_t plane_bytes(const struct kvi_cachegen_plane *plane)
{
  return (uint64_t)plane->rows * kvi_cachegen_row_bytes(plane);
}

static uint64_t bound(const struct kvi_codec_shape *shape, uint32_t layer)
{
  return kvi_codec_layer_bytes(shape, layer) + (uint64_t)2 * KVI_CACHEGEN_HEADER;
}

static size_t scratch_size(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options)
{
  struct kvi_cachegen_plane keys = plane_of(shape, shape->n_tokens, shape->key_dim);
  struct kvi_cachegen_plane values = plane_of(shape, shape->n_tokens, shape->value_dim);
  uint64_t keys_need = kvi_cachegen_plane_scratch(&keys), values_need = kvi_cachegen_plane_scratch(&values);

  (void)options;
  return (size_t)(keys_need > values_need ? keys_need : values_need);
}

/* The paper's bins of the first, the middle and the last third of the layers. */
static double bin_of(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                     uint32_t layer)
{
  uint32_t third = layer * 3 / shape->n_layers;

  return 0.5 * (third + 1) * (options->step != 0 ? options->step : 1000) / 1000.0;
}

/* A plane with its header; nothing for a plane without elements. */
static size_t encode_plane(struct kvi_cachegen_plane *plane, double bin, const uint8_t *raw, void *scratch,
                           uint8_t *out)
{
  size_t size = (size_t)plane_bytes(plane), coded;
  uint32_t mode = KVI_CACHEGEN_RAW;

  if (size == 0)
    return 0;
  coded = kvi_cachegen_encode_plane(plane, bin, raw, scratch, out + KVI_CACHEGEN_HEADER, size);
  if (coded == 0) {
    memcpy(out + KVI_CACHEGEN_HEADER, raw, size);
  } else {
    size = coded;
    mode = plane->vectors == plane->heads ? KVI_CACHEGEN_BY_HEAD : KVI_CACHEGEN_BY_ROW;
  }
  size += KVI_CACHEGEN_HEADER;
  kvi_store_le32(out, mode);
  kvi_store_le32(out + 4, (uint32_t)size);
  return size;
}

static kvs_status encode(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                         uint32_t layer, const uint8_t *raw, void *scratch, uint8_t *out, size_t room,
                         size_t *length_p)
{
  uint32_t rows = kvi_codec_layer_rows(shape, layer);
  struct kvi_cachegen_plane keys = plane_of(shape, rows, shape->key_dim);
  struct kvi_cachegen_plane values = plane_of(shape, rows, shape->value_dim);
  double bin = bin_of(shape, options, layer);
  size_t length;

  *length_p = 0;
  if (room < bound(shape, layer) || bound(shape, layer) > UINT32_MAX)
    return KVS_ERR_INVALID;
  length = encode_plane(&keys, bin, raw, scratch, out);
  length += encode_plane(&values, bin, raw + plane_bytes(&keys), scratch, out + length);
  *length_p = length;
  return KVS_OK;
}

/* The number of a symbol, in any class; false if no encoder wrote this. */
static inline bool decode_number(struct kvi_range_decoder *decoder, const struct kvi_cachegen_class *class,
                                 int32_t *number_p)
{
  uint32_t slot = kvi_range_slot(decoder), symbol;

  if (slot >= 1u << KVI_RANGE_TOTAL_BITS)
    return false;
  symbol = class->at[slot >> 8];
  while (class->starts[symbol + 1] <= slot)
    symbol++;
  kvi_range_advance(decoder, class->starts[symbol], class->starts[symbol + 1] - class->starts[symbol]);
  if (symbol != KVI_CACHEGEN_ESCAPE) {
    *number_p = (int32_t)symbol - KVI_CACHEGEN_LARGEST;
    return true;
  }
  slot = kvi_range_slot(decoder);
  if (slot >= 1u << KVI_RANGE_TOTAL_BITS)
    return false;
  kvi_range_advance(decoder, slot, 1);
  *number_p = (int32_t)slot + KVI_CACHEGEN_NUMBER_LEAST;
  return true;
}

/* One row; anchor is where its group's anchor was decoded to, NULL if it is the anchor itself. */
static bool decode_row(const struct kvi_cachegen_plane *plane, const struct kvi_cachegen_class *classes,
                       const uint8_t *steps, const uint8_t *model, struct kvi_range_decoder *decoder,
                       const uint8_t *anchor, uint8_t *out)
{
  for (uint32_t head = 0; head < plane->heads; head++) {
    float step = kvi_cachegen_step_value(anchor == NULL ? kvi_cachegen_anchor_step(plane, steps, head)
                                                        : steps + (size_t)head * KVI_CACHEGEN_STEP_BYTES);

    for (uint32_t d = 0; d < plane->dim; d++, model += 2, out += plane->element_size) {
      uint32_t m = kvi_load_le16(model);
      float base = 0.0f;
      int32_t number;

      if (!decode_number(
              decoder, &classes[anchor == NULL ? KVI_CACHEGEN_ANCHOR_CLASS(m) : KVI_CACHEGEN_DELTA_CLASS(m)],
              &number))
        return false;
      if (anchor == NULL) {
        number += KVI_CACHEGEN_MEAN(m);
      } else {
        base = kvi_codec_to_float(plane->dtype, anchor);
        anchor += plane->element_size;
      }
      kvi_codec_from_float(plane->dtype, kvi_cachegen_value(base, number, step), out);
    }
  }
  return true;
}

static kvs_status decode_coded(const struct kvi_cachegen_plane *plane, const uint8_t *bytes, size_t length,
                               uint8_t *out, size_t stride)
{
  const struct kvi_cachegen_class *classes = kvi_cachegen_classes();
  uint64_t side_bytes = kvi_cachegen_side_bytes(plane);
  const uint8_t *anchor_steps = bytes + (size_t)plane->heads * KVI_CACHEGEN_STEP_BYTES, *model,
                *anchor = NULL;
  struct kvi_range_decoder decoder;

  if (length < side_bytes)
    return KVS_ERR_CORRUPT;
  model = bytes + (side_bytes - 2 * (uint64_t)plane->columns);
  for (const uint8_t *step = bytes; step < model; step += KVI_CACHEGEN_STEP_BYTES)
    if (!kvi_cachegen_step_ok(step))
      return KVS_ERR_CORRUPT;
  kvi_range_decoder_begin(&decoder, bytes + side_bytes, bytes + length);
  for (uint32_t row = 0; row < plane->rows; row++, out += stride) {
    bool is_anchor = kvi_cachegen_is_anchor(row);

    if (!decode_row(plane, classes, is_anchor ? anchor_steps : bytes, model, &decoder,
                    is_anchor ? NULL : anchor, out) ||
        decoder.ended)
      return KVS_ERR_CORRUPT;
    if (is_anchor) {
      anchor = out;
      anchor_steps += (size_t)plane->vectors * KVI_CACHEGEN_STEP_BYTES;
    }
  }
  return kvi_range_decoder_at_end(&decoder) ? KVS_OK : KVS_ERR_CORRUPT;
}

/* Decodes the plane that bytes begin with and sets *used_p to what it took of them. */
static kvs_status decode_plane(struct kvi_cachegen_plane *plane, const uint8_t *bytes, size_t length,
                               void *out, size_t stride, size_t *used_p)
{
  size_t row_bytes = kvi_cachegen_row_bytes(plane), size;
  uint32_t mode;

  *used_p = 0;
  if (plane_bytes(plane) == 0)
    return KVS_OK;
  if (length < KVI_CACHEGEN_HEADER)
    return KVS_ERR_CORRUPT;
  mode = kvi_load_le32(bytes);
  size = kvi_load_le32(bytes + 4);
  if (size < KVI_CACHEGEN_HEADER || size > length)
    return KVS_ERR_CORRUPT;
  *used_p = size;
  bytes += KVI_CACHEGEN_HEADER;
  size -= KVI_CACHEGEN_HEADER;
  if (mode == KVI_CACHEGEN_BY_ROW)
    plane->vectors = 1;
  if (mode == KVI_CACHEGEN_BY_HEAD || mode == KVI_CACHEGEN_BY_ROW)
    return decode_coded(plane, bytes, size, out, stride);
  if (mode != KVI_CACHEGEN_RAW || size != plane_bytes(plane))
    return KVS_ERR_CORRUPT;
  for (uint32_t row = 0; row < plane->rows; row++)
    memcpy((uint8_t *)out + row * stride, bytes + row * row_bytes, row_bytes);
  return KVS_OK;
}

static kvs_status decode(const struct kvi_codec_shape *shape, uint32_t layer, const uint8_t *segment,
                         size_t length, const struct kvi_codec_place *place)
{
  uint32_t rows = kvi_codec_layer_rows(shape, layer);
  struct kvi_cachegen_plane keys = plane_of(shape, rows, shape->key_dim);
  struct kvi_cachegen_plane values = plane_of(shape, rows, shape->value_dim);
  size_t used, used_by_values;
  kvs_status status = decode_plane(&keys, segment, length, place->keys, place->key_stride, &used);

  if (status != KVS_OK)
    return status;
  status = decode_plane(&values, segment + used, length - used, place->values, place->value_stride,
                        &used_by_values);
  if (status != KVS_OK)
    return status;
  return used + used_by_values == length ? KVS_OK : KVS_ERR_CORRUPT;
}

const struct kvi_codec_layer_coder kvi_codec_cachegen = {
    .name = "cachegen", .bound = bound, .scratch = scratch_size, .encode = encode, .decode = decode};
