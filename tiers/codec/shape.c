/* Shapes: their bounds, and where a layer lies in the raw bytes. */
#include "tiers/codec/codec.h"

size_t kvi_codec_element_size(enum kvi_codec_dtype dtype)
{
  return dtype == KVI_CODEC_BF16 || dtype == KVI_CODEC_FP16 ? 2 : 1;
}

bool kvi_codec_dim_ok(uint32_t dim)
{
  return dim % 8 == 0 && dim <= 8192;
}

static bool tensors_ok(const struct kvi_codec_shape *shape)
{
  if (shape->n_tokens < 1 || shape->n_tokens > UINT16_MAX || shape->n_heads < 1 ||
      shape->n_heads > KVI_CODEC_HEADS_MAX)
    return false;
  if (!kvi_codec_dim_ok(shape->key_dim) || !kvi_codec_dim_ok(shape->value_dim) ||
      shape->key_dim + shape->value_dim == 0)
    return false;
  if (shape->rotary_dim % 8 != 0 || shape->rotary_dim > shape->key_dim)
    return false;
  for (uint32_t layer = 0; shape->first_token != NULL && layer < shape->n_layers; layer++)
    if (shape->first_token[layer] >= shape->n_tokens)
      return false;
  return true;
}

kvs_status kvi_codec_shape_check(const struct kvi_codec_shape *shape)
{
  bool ok;

  if (shape->n_layers < 1 || shape->n_layers > KVI_CODEC_LAYERS_MAX)
    return KVS_ERR_INVALID;
  if (shape->dtype == KVI_CODEC_BYTES)
    ok = shape->n_layers == 1 && shape->n_tokens == 0 && shape->n_heads == 0 && shape->key_dim == 0 &&
         shape->value_dim == 0 && shape->rotary_dim == 0 && shape->first_token == NULL &&
         shape->raw_bytes > 0 && shape->raw_bytes <= KVI_CODEC_BYTES_MAX;
  else
    ok = shape->dtype <= KVI_CODEC_INT8 && tensors_ok(shape) &&
         shape->raw_bytes == kvi_codec_raw_bytes(shape) &&
         kvi_codec_layer_bytes_max(shape) <= KVI_CODEC_BYTES_MAX;
  return ok ? KVS_OK : KVS_ERR_INVALID;
}

uint32_t kvi_codec_layer_rows(const struct kvi_codec_shape *shape, uint32_t layer)
{
  return shape->n_tokens - (shape->first_token != NULL ? shape->first_token[layer] : 0);
}

static uint64_t row_bytes(const struct kvi_codec_shape *shape, uint32_t dim)
{
  return (uint64_t)shape->n_heads * dim * kvi_codec_element_size(shape->dtype);
}

uint64_t kvi_codec_layer_key_bytes(const struct kvi_codec_shape *shape, uint32_t layer)
{
  return row_bytes(shape, shape->key_dim) * kvi_codec_layer_rows(shape, layer);
}

uint64_t kvi_codec_layer_bytes(const struct kvi_codec_shape *shape, uint32_t layer)
{
  if (shape->dtype == KVI_CODEC_BYTES)
    return shape->raw_bytes;
  return row_bytes(shape, shape->key_dim + shape->value_dim) * kvi_codec_layer_rows(shape, layer);
}

uint64_t kvi_codec_layer_bytes_max(const struct kvi_codec_shape *shape)
{
  if (shape->dtype == KVI_CODEC_BYTES)
    return shape->raw_bytes;
  return row_bytes(shape, shape->key_dim + shape->value_dim) * shape->n_tokens;
}

uint64_t kvi_codec_layer_offset(const struct kvi_codec_shape *shape, uint32_t layer)
{
  uint64_t offset = 0;

  for (uint32_t before = 0; before < layer; before++)
    offset += kvi_codec_layer_bytes(shape, before);
  return offset;
}

uint64_t kvi_codec_raw_bytes(const struct kvi_codec_shape *shape)
{
  return kvi_codec_layer_offset(shape, shape->n_layers);
}
