/*
 * Any bytes as a whole KVC1 object with all checksums made to fit: every path of the loops refuses it, or all decode it to the same bytes
 * and write nothing beside the rows they were given.
 */
#include "codec_fuzz.h"

#define RAW_MAX (1u << 18)

struct layer_out {
  struct fuzz_plane keys, values;
};

static kvs_status decode_layer(const struct kvi_codec_object *object, const uint8_t *bytes, uint32_t layer,
                               uint32_t quality, struct layer_out *out)
{
  const struct kvi_codec_shape *shape = &object->shape;
  size_t element = kvi_codec_element_size(shape->dtype), rows = kvi_codec_layer_rows(shape, layer);
  const uint8_t *segments[KVI_CODEC_PLANES_MAX + 1];
  struct kvi_codec_place place;
  kvs_status status;

  if (shape->dtype == KVI_CODEC_BYTES) {
    out->keys = fuzz_plane_make(1, (size_t)shape->raw_bytes);
    out->values = fuzz_plane_make(0, 0);
  } else {
    out->keys = fuzz_plane_make(rows, shape->n_heads * shape->key_dim * element);
    out->values = fuzz_plane_make(rows, shape->n_heads * shape->value_dim * element);
  }
  for (uint32_t i = 0; i <= quality; i++)
    segments[i] = bytes + kvi_codec_segment_at(object, i, layer).offset;
  place = (struct kvi_codec_place){fuzz_plane_start(&out->keys), fuzz_plane_start(&out->values),
                                   out->keys.stride, out->values.stride};
  status = kvi_codec_decode_layer(object, layer, quality, segments, &place);
  require(status == KVS_OK || status == KVS_ERR_CORRUPT || status == KVS_ERR_UNSUPPORTED);
  fuzz_plane_check(&out->keys);
  fuzz_plane_check(&out->values);
  return status;
}

static void layer_free(struct layer_out *out)
{
  free(out->keys.memory);
  free(out->values.memory);
}

static void layer_alike(const struct kvi_codec_object *object, const uint8_t *bytes, uint32_t layer,
                        uint32_t quality)
{
  struct layer_out scalar, other;
  kvs_status status;

  require(take_path(0));
  status = decode_layer(object, bytes, layer, quality, &scalar);
  for (int path = 1; path < FUZZ_PATHS; path++) {
    if (!take_path(path))
      continue;
    require(decode_layer(object, bytes, layer, quality, &other) == status);
    if (status == KVS_OK)
      require(fuzz_planes_equal(&scalar.keys, &other.keys) &&
              fuzz_planes_equal(&scalar.values, &other.values));
    layer_free(&other);
  }
  layer_free(&scalar);
}

static void try_object(const uint8_t *bytes, size_t size)
{
  struct kvi_codec_object object;
  uint32_t got;
  uint8_t *raw;
  int best;

  if (kvi_codec_open(bytes, size, &object) != KVS_OK || object.shape.raw_bytes > RAW_MAX)
    return;
  best = kvi_codec_quality_in(&object, size);
  for (int quality = 0; quality <= best; quality++)
    for (uint32_t layer = 0; layer < object.shape.n_layers && layer < 4; layer++)
      layer_alike(&object, bytes, layer, (uint32_t)quality);
  require(take_path(1) || take_path(0));
  raw = malloc((size_t)object.shape.raw_bytes);
  require(raw != NULL);
  if (kvi_codec_decode(bytes, size, KVI_CODEC_PLANES_MAX, raw, (size_t)object.shape.raw_bytes, &got) ==
      KVS_OK)
    require((int)got == best);
  free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t *bytes = fuzz_copy(data, size);
  uint32_t header;

  if (size >= KVI_CODEC_HEADER_SIZE && kvi_codec_header_length(bytes, &header) == KVS_OK && header <= size) {
    fuzz_seal(bytes, size, header);
    try_object(bytes, size);
  }
  free(bytes);
  return 0;
}
