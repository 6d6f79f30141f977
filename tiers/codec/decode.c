/* Decoding: a layer at a time from its segments, or a whole object. */
#include <fenv.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/codec/block.h"
#include "tiers/codec/ladder.h"
#include "tiers/codec/layer_coder.h"
#include "tiers/codec/lossless.h"
#include "tiers/codec/path.h"

/* What is left of a layer's segments while its blocks are gone through. */
struct segments {
  uint32_t n_planes, quality;
  const uint8_t *base;
  size_t base_left;
  const uint8_t *planes[KVI_CODEC_PLANES_MAX];
  size_t plane_left[KVI_CODEC_PLANES_MAX];
};

static kvs_status decode_raw_rows(uint32_t rows, size_t row_bytes, const uint8_t *bytes, uint8_t *place,
                                  size_t stride)
{
  for (uint32_t row = 0; row < rows; row++)
    memcpy(place + row * stride, bytes + row * row_bytes, row_bytes);
  return KVS_OK;
}

/* Takes a ladder block's part of each plane that is wanted. */
static bool take_planes(struct segments *segments, size_t plane_bytes,
                        const uint8_t *planes[KVI_CODEC_PLANES_MAX])
{
  for (uint32_t plane = 0; plane < segments->quality; plane++) {
    if (segments->plane_left[plane] < plane_bytes)
      return false;
    planes[plane] = segments->planes[plane];
    segments->planes[plane] += plane_bytes;
    segments->plane_left[plane] -= plane_bytes;
  }
  return true;
}

/* The next block of the segments. False: it is not sound. */
static bool take_block(enum kvi_codec_level level, struct segments *segments, struct kvi_coded_block *coded)
{
  size_t length;

  if (segments->base_left < KVI_BLOCK_HEADER)
    return false;
  length = kvi_load_le32(segments->base + 4);
  if (length < KVI_BLOCK_HEADER || length > segments->base_left || segments->base[1] != 0)
    return false;
  coded->mode = (enum kvi_block_mode)segments->base[0];
  coded->kept = kvi_load_le16(segments->base + 2);
  coded->bytes = segments->base + KVI_BLOCK_HEADER;
  coded->size = length - KVI_BLOCK_HEADER;
  segments->base += length;
  segments->base_left -= length;
  if (coded->mode != KVI_BLOCK_LADDER)
    return coded->kept == 0;
  return level == KVI_CODEC_LADDER && coded->kept <= coded->block.rows &&
         take_planes(segments, kvi_ladder_plane_bytes(&coded->block, coded->block.rows - coded->kept),
                     coded->planes);
}

/* n blocks of one mode. */
static kvs_status decode_coded(const struct segments *segments, const struct kvi_coded_block *coded,
                               uint32_t n)
{
  switch (coded->mode) {
  case KVI_BLOCK_RAW:
    for (uint32_t i = 0; i < n; i++) {
      const struct kvi_block *block = &coded[i].block;

      if (coded[i].size != kvi_block_raw_bytes(block))
        return KVS_ERR_CORRUPT;
      decode_raw_rows(block->rows, block->columns * kvi_codec_element_size(block->dtype), coded[i].bytes,
                      coded[i].place, coded[i].stride);
    }
    return KVS_OK;
  case KVI_BLOCK_LOSSLESS:
    return kvi_lossless_decode(coded, n);
  case KVI_BLOCK_LADDER:
    return kvi_ladder_decode(coded, n, segments->n_planes, segments->quality);
  }
  return KVS_ERR_CORRUPT;
}

/* Blocks wait for another one of their mode, to be decoded with it. */
static kvs_status decode_blocks(const struct kvi_codec_object *object, uint32_t layer,
                                struct segments *segments, const struct kvi_codec_place *place)
{
  struct kvi_coded_block waiting[KVI_BLOCKS_AT_ONCE];
  struct kvi_block_walk walk;
  kvs_status status = KVS_OK;
  struct kvi_block block;
  uint32_t n = 0;

  kvi_codec_init();
  kvi_block_walk_begin(&walk, &object->shape, layer);
  while (kvi_block_next(&walk, &block) && status == KVS_OK) {
    struct kvi_coded_block coded = {.block = block};

    coded.place = kvi_block_place(&block, place, &coded.stride);
    if (coded.place == NULL)
      return KVS_ERR_INVALID;
    if (!take_block(object->level, segments, &coded))
      return KVS_ERR_CORRUPT;
    if (n > 0 && (n == KVI_BLOCKS_AT_ONCE || waiting[0].mode != coded.mode)) {
      status = decode_coded(segments, waiting, n);
      n = 0;
    }
    waiting[n++] = coded;
  }
  if (n > 0 && status == KVS_OK)
    status = decode_coded(segments, waiting, n);
  if (status != KVS_OK)
    return status;
  if (segments->base_left != 0)
    return KVS_ERR_CORRUPT;
  for (uint32_t plane = 0; plane < segments->quality; plane++)
    if (segments->plane_left[plane] != 0)
      return KVS_ERR_CORRUPT;
  return KVS_OK;
}

static kvs_status decode_raw_layer(const struct kvi_codec_shape *shape, uint32_t layer, const uint8_t *bytes,
                                   size_t length, const struct kvi_codec_place *place)
{
  uint64_t keys = kvi_codec_layer_key_bytes(shape, layer), all = kvi_codec_layer_bytes(shape, layer);
  uint32_t rows = kvi_codec_layer_rows(shape, layer);

  if (length != all)
    return KVS_ERR_CORRUPT;
  if (shape->dtype == KVI_CODEC_BYTES) {
    memcpy(place->keys, bytes, length);
    return KVS_OK;
  }
  if (keys > 0)
    decode_raw_rows(rows, (size_t)(keys / rows), bytes, place->keys, place->key_stride);
  if (all > keys)
    decode_raw_rows(rows, (size_t)((all - keys) / rows), bytes + keys, place->values, place->value_stride);
  return KVS_OK;
}

/* Segments of known lengths whose checksums fit. */
static kvs_status open_segments(const struct kvi_codec_object *object, uint32_t layer, uint32_t quality,
                                const uint8_t *const *bytes, struct segments *segments_p)
{
  *segments_p = (struct segments){.n_planes = object->planes, .quality = quality};
  for (uint32_t i = 0; i <= quality; i++) {
    struct kvi_codec_segment segment = kvi_codec_segment_at(object, i, layer);

    if (kvi_crc32c_update(0, bytes[i], segment.length) != segment.crc32c)
      return KVS_ERR_CORRUPT;
    if (i == 0) {
      segments_p->base = bytes[0];
      segments_p->base_left = segment.length;
    } else {
      segments_p->planes[i - 1] = bytes[i];
      segments_p->plane_left[i - 1] = segment.length;
    }
  }
  return KVS_OK;
}

static bool place_ok(const struct kvi_codec_shape *shape, const struct kvi_codec_place *place)
{
  if (shape->dtype == KVI_CODEC_BYTES)
    return place->keys != NULL;
  return (shape->key_dim == 0 || place->keys != NULL) && (shape->value_dim == 0 || place->values != NULL);
}

static kvs_status decode_segments(const struct kvi_codec_object *object, uint32_t layer,
                                  struct segments *left, const struct kvi_codec_place *place)
{
  switch (object->level) {
  case KVI_CODEC_RAW:
    return decode_raw_layer(&object->shape, layer, left->base, left->base_left, place);
  case KVI_CODEC_CACHEGEN:
    return kvi_codec_cachegen.decode(&object->shape, layer, left->base, left->base_left, place);
  case KVI_CODEC_ZSTD:
    return kvi_codec_zstd.decode(&object->shape, layer, left->base, left->base_left, place);
  case KVI_CODEC_LOSSLESS:
  case KVI_CODEC_LADDER:
    break;
  }
  return decode_blocks(object, layer, left, place);
}

kvs_status kvi_codec_decode_layer(const struct kvi_codec_object *object, uint32_t layer, uint32_t quality,
                                  const uint8_t *const *segments, const struct kvi_codec_place *place)
{
  static const uint8_t no_profile[sizeof object->profile];
  struct segments left;
  fenv_t callers;
  kvs_status status;

  if (layer >= object->shape.n_layers || quality > object->planes || !place_ok(&object->shape, place))
    return KVS_ERR_INVALID;
  if (memcmp(object->profile, no_profile, sizeof no_profile) != 0)
    return KVS_ERR_UNSUPPORTED;
  status = open_segments(object, layer, quality, segments, &left);
  if (status != KVS_OK)
    return status;
  /* Whatever the thread has chosen for its own numbers: rounding, subnormals flushed, traps. */
  fegetenv(&callers);
  fesetenv(FE_DFL_ENV);
  status = decode_segments(object, layer, &left, place);
  fesetenv(&callers);
  return status;
}

struct kvi_codec_place kvi_codec_place_in(const struct kvi_codec_shape *shape, uint32_t layer,
                                          void *layer_raw)
{
  size_t element = kvi_codec_element_size(shape->dtype);

  return (struct kvi_codec_place){
      .keys = layer_raw,
      .values = (uint8_t *)layer_raw + kvi_codec_layer_key_bytes(shape, layer),
      .key_stride = (size_t)shape->n_heads * shape->key_dim * element,
      .value_stride = (size_t)shape->n_heads * shape->value_dim * element,
  };
}

kvs_status kvi_codec_decode(const uint8_t *bytes, size_t size, uint32_t max_quality, void *raw, size_t room,
                            uint32_t *quality_p)
{
  struct kvi_codec_object object;
  uint8_t *layer_raw = raw;
  kvs_status status;
  int quality;

  *quality_p = 0;
  status = kvi_codec_open(bytes, size, &object);
  if (status != KVS_OK)
    return status;
  quality = kvi_codec_quality_in(&object, size);
  if (quality < 0)
    return KVS_ERR_CORRUPT;
  if (room < object.shape.raw_bytes)
    return KVS_ERR_BUFFER;
  if ((uint32_t)quality > max_quality)
    quality = (int)max_quality;
  for (uint32_t layer = 0; layer < object.shape.n_layers; layer++) {
    const uint8_t *segments[KVI_CODEC_PLANES_MAX + 1];
    struct kvi_codec_place place = kvi_codec_place_in(&object.shape, layer, layer_raw);

    for (uint32_t i = 0; i <= (uint32_t)quality; i++)
      segments[i] = bytes + kvi_codec_segment_at(&object, i, layer).offset;
    status = kvi_codec_decode_layer(&object, layer, (uint32_t)quality, segments, &place);
    if (status != KVS_OK)
      return status;
    layer_raw += kvi_codec_layer_bytes(&object.shape, layer);
  }
  *quality_p = (uint32_t)quality;
  return KVS_OK;
}
