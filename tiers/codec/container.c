/* The header of an object: what it holds, and where each segment lies. */
#include "tiers/codec/container.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define MAGIC 0x3143564bu /* KVC1 */

static uint32_t first_token_bytes(const struct kvi_codec_shape *shape)
{
  return shape->first_token != NULL ? (shape->n_layers * 2 + 7) / 8 * 8 : 0;
}

uint32_t kvi_container_header_length(const struct kvi_codec_shape *shape, uint32_t planes)
{
  return KVI_CODEC_HEADER_SIZE + first_token_bytes(shape) + (planes + 1) * shape->n_layers * 8;
}

void kvi_container_set_segment(uint8_t *header, const struct kvi_codec_shape *shape, uint32_t quality,
                               uint32_t layer, const uint8_t *segment, uint32_t length)
{
  uint8_t *entry = header + KVI_CODEC_HEADER_SIZE + first_token_bytes(shape) +
                   ((size_t)quality * shape->n_layers + layer) * 8;

  kvi_store_le32(entry, length);
  kvi_store_le32(entry + 4, kvi_crc32c_update(0, segment, length));
}

void kvi_container_write(uint8_t *header, const struct kvi_codec_shape *shape,
                         const struct kvi_codec_options *options, uint64_t length)
{
  uint32_t planes = options->level == KVI_CODEC_LADDER ? options->planes : 0;
  uint32_t header_length = kvi_container_header_length(shape, planes);

  memset(header, 0, KVI_CODEC_HEADER_SIZE + first_token_bytes(shape));
  kvi_store_le32(header, MAGIC);
  header[4] = KVI_CODEC_VERSION;
  header[5] = (uint8_t)options->level;
  header[6] = (uint8_t)shape->dtype;
  header[7] = (uint8_t)planes;
  kvi_store_le32(header + 8, header_length);
  kvi_store_le64(header + 16, length);
  kvi_store_le64(header + 24, options->model_fingerprint);
  kvi_store_le16(header + 48, (uint16_t)shape->n_layers);
  kvi_store_le16(header + 50, (uint16_t)shape->n_tokens);
  kvi_store_le16(header + 52, (uint16_t)shape->n_heads);
  kvi_store_le16(header + 54, (uint16_t)shape->key_dim);
  kvi_store_le16(header + 56, (uint16_t)shape->value_dim);
  kvi_store_le16(header + 58, (uint16_t)shape->rotary_dim);
  kvi_store_le32(header + 60, shape->start);
  kvi_store_le64(header + 64, shape->raw_bytes);
  kvi_store_le16(header + 72, shape->first_token != NULL);
  for (uint32_t layer = 0; shape->first_token != NULL && layer < shape->n_layers; layer++)
    kvi_store_le16(header + KVI_CODEC_HEADER_SIZE + (size_t)layer * 2, shape->first_token[layer]);
  kvi_store_le32(header + 12, kvi_crc32c_update(0, header, header_length));
}

kvs_status kvi_codec_header_length(const uint8_t *bytes, uint32_t *length_p)
{
  uint64_t layers = kvi_load_le16(bytes + 48), windows = kvi_load_le16(bytes + 72);
  uint64_t expected;

  *length_p = 0;
  if (kvi_load_le32(bytes) != MAGIC)
    return KVS_ERR_CORRUPT;
  if (bytes[4] != KVI_CODEC_VERSION || bytes[5] > KVI_CODEC_ZSTD || bytes[6] > KVI_CODEC_INT8)
    return KVS_ERR_UNSUPPORTED;
  if (bytes[7] > KVI_CODEC_PLANES_MAX || (bytes[7] > 0 && bytes[5] != KVI_CODEC_LADDER) || layers < 1 ||
      layers > KVI_CODEC_LAYERS_MAX || windows > 1)
    return KVS_ERR_CORRUPT;
  expected = KVI_CODEC_HEADER_SIZE + (windows ? (layers * 2 + 7) / 8 * 8 : 0) + (bytes[7] + 1u) * layers * 8;
  if (kvi_load_le32(bytes + 8) != expected)
    return KVS_ERR_CORRUPT;
  *length_p = (uint32_t)expected;
  return KVS_OK;
}

static bool checksum_fits(const uint8_t *header, uint32_t length)
{
  static const uint8_t zero[4];
  uint32_t crc = kvi_crc32c_update(0, header, 12);

  crc = kvi_crc32c_update(crc, zero, 4);
  crc = kvi_crc32c_update(crc, header + 16, length - 16);
  return crc == kvi_load_le32(header + 12);
}

static void read_shape(const uint8_t *header, struct kvi_codec_shape *shape)
{
  shape->dtype = header[6];
  shape->n_layers = kvi_load_le16(header + 48);
  shape->n_tokens = kvi_load_le16(header + 50);
  shape->n_heads = kvi_load_le16(header + 52);
  shape->key_dim = kvi_load_le16(header + 54);
  shape->value_dim = kvi_load_le16(header + 56);
  shape->rotary_dim = kvi_load_le16(header + 58);
  shape->start = kvi_load_le32(header + 60);
  shape->raw_bytes = kvi_load_le64(header + 64);
  if (kvi_load_le16(header + 72) != 0)
    shape->first_token = (const uint16_t *)(const void *)(header + KVI_CODEC_HEADER_SIZE);
}

/* What the table of first tokens is filled up with. */
static bool padding_is_zero(const struct kvi_codec_shape *shape)
{
  for (uint32_t layer = shape->n_layers; layer * 2 < first_token_bytes(shape); layer++)
    if (shape->first_token[layer] != 0)
      return false;
  return true;
}

/* The ends of the qualities, and that the segments fill the object. */
static bool measure_segments(struct kvi_codec_object *object)
{
  uint64_t end = object->header_length;

  for (uint32_t quality = 0; quality <= object->planes; quality++) {
    for (uint32_t layer = 0; layer < object->shape.n_layers; layer++)
      end += kvi_load_le32(object->table + ((size_t)quality * object->shape.n_layers + layer) * 8);
    object->quality_end[quality] = end;
  }
  return end == object->length;
}

static bool level_fits(const struct kvi_codec_object *object)
{
  return object->shape.dtype != KVI_CODEC_BYTES || object->level == KVI_CODEC_RAW ||
         object->level == KVI_CODEC_ZSTD;
}

kvs_status kvi_codec_open(const uint8_t *bytes, size_t size, struct kvi_codec_object *object_p)
{
  uint32_t length;
  kvs_status status;

  memset(object_p, 0, sizeof *object_p);
  if (size < KVI_CODEC_HEADER_SIZE)
    return KVS_ERR_CORRUPT;
  if ((uintptr_t)bytes % _Alignof(uint16_t) != 0)
    return KVS_ERR_INVALID;
  status = kvi_codec_header_length(bytes, &length);
  if (status != KVS_OK)
    return status;
  if (size < length || !checksum_fits(bytes, length))
    return KVS_ERR_CORRUPT;
  object_p->level = bytes[5];
  object_p->planes = bytes[7];
  object_p->header_length = length;
  object_p->length = kvi_load_le64(bytes + 16);
  object_p->model_fingerprint = kvi_load_le64(bytes + 24);
  memcpy(object_p->profile, bytes + 32, sizeof object_p->profile);
  object_p->table = bytes + length - (size_t)(object_p->planes + 1) * kvi_load_le16(bytes + 48) * 8;
  read_shape(bytes, &object_p->shape);
  if (kvi_codec_shape_check(&object_p->shape) != KVS_OK || !measure_segments(object_p) ||
      !level_fits(object_p) || !padding_is_zero(&object_p->shape) || kvi_load_le16(bytes + 74) != 0 ||
      kvi_load_le32(bytes + 76) != 0)
    return KVS_ERR_CORRUPT;
  return KVS_OK;
}

struct kvi_codec_segment kvi_codec_segment_at(const struct kvi_codec_object *object, uint32_t quality,
                                              uint32_t layer)
{
  const uint8_t *entry = object->table + ((size_t)quality * object->shape.n_layers + layer) * 8;
  struct kvi_codec_segment segment = {.length = kvi_load_le32(entry), .crc32c = kvi_load_le32(entry + 4)};

  segment.offset = quality == 0 ? object->header_length : object->quality_end[quality - 1];
  for (const uint8_t *before = entry - (size_t)layer * 8; before < entry; before += 8)
    segment.offset += kvi_load_le32(before);
  return segment;
}

int kvi_codec_quality_in(const struct kvi_codec_object *object, uint64_t size)
{
  int quality = -1;

  while (quality < (int)object->planes && object->quality_end[quality + 1] <= size)
    quality++;
  return quality;
}
