/* Coded payloads: the table of the chunk as it was put, then a KVC1 object. */
#include "proto/coded.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "proto/limits.h"

/* ---- encoding ---- */

static enum kvi_codec_dtype codec_dtype(kvs_dtype dtype)
{
  switch (dtype) {
  case KVS_DTYPE_BF16:
    return KVI_CODEC_BF16;
  case KVS_DTYPE_F16:
    return KVI_CODEC_FP16;
  case KVS_DTYPE_F8_E4M3:
    return KVI_CODEC_E4M3;
  case KVS_DTYPE_F8_E5M2:
    return KVI_CODEC_E5M2;
  case KVS_DTYPE_I8:
    return KVI_CODEC_INT8;
  case KVS_DTYPE_OPAQUE:
  case KVS_DTYPE_F32:
  case KVS_DTYPE_GGML_Q8_0:
    break;
  }
  return KVI_CODEC_BYTES;
}

/* The place of a chunk's first token; far from the sinks where it is not known, or does not fit. */
static uint32_t first_token(uint32_t place, bool unchained, uint32_t tokens_per_chunk)
{
  uint64_t token = (uint64_t)place * tokens_per_chunk;

  return unchained || token > UINT32_MAX ? UINT32_MAX - UINT16_MAX : (uint32_t)token;
}

static bool tensors_shape(const kvs_space_desc *desc, uint64_t length, uint32_t place, bool unchained,
                          struct kvi_codec_shape *shape)
{
  if (desc->layout != KVS_LAYOUT_TENSORS || desc->key_dtype != desc->value_dtype ||
      length != desc->chunk_bytes)
    return false;
  *shape = (struct kvi_codec_shape){.dtype = codec_dtype(desc->key_dtype),
                                    .n_layers = desc->layers,
                                    .n_tokens = desc->tokens_per_chunk,
                                    .n_heads = desc->kv_heads,
                                    .key_dim = desc->key_dim,
                                    .value_dim = desc->value_dim,
                                    .start = first_token(place, unchained, desc->tokens_per_chunk),
                                    .raw_bytes = length};
  return shape->dtype != KVI_CODEC_BYTES && kvi_codec_shape_check(shape) == KVS_OK;
}

kvs_status kvi_coded_shape(const kvs_space_desc *desc, uint64_t length, uint32_t place, bool unchained,
                           struct kvi_codec_shape *shape_p)
{
  if (desc && tensors_shape(desc, length, place, unchained, shape_p))
    return KVS_OK;
  *shape_p = (struct kvi_codec_shape){.dtype = KVI_CODEC_BYTES, .n_layers = 1, .raw_bytes = length};
  return kvi_codec_shape_check(shape_p) == KVS_OK ? KVS_OK : KVS_ERR_UNSUPPORTED;
}

uint32_t kvi_coded_loss(enum kvi_codec_level level, uint32_t planes)
{
  if (level == KVI_CODEC_LADDER)
    return 1 + KVI_CODEC_PLANES_MAX - planes;
  return level == KVI_CODEC_CACHEGEN ? 2 + KVI_CODEC_PLANES_MAX : 0;
}

uint64_t kvi_coded_bound(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                         uint32_t n_segments)
{
  return kvi_chunk_table_size(n_segments) + kvi_codec_bound(shape, options);
}

/* Encoding damaged bytes would make them pass for good. */
static bool fits(const struct kvi_chunk_table *table, const uint8_t *raw)
{
  for (uint32_t i = 0; i < table->n_segments; i++) {
    struct kvi_segment segment = kvi_chunk_table_segment(table, i);

    if (kvi_crc32c_update(0, raw, segment.length) != segment.crc32c)
      return false;
    raw += segment.length;
  }
  return true;
}

kvs_status kvi_coded_encode(const struct kvi_chunk_table *raw_table, const struct kvi_codec_shape *shape,
                            const struct kvi_codec_options *options, const uint8_t *raw, void *scratch,
                            uint8_t *out, uint64_t room, uint64_t *length_p)
{
  size_t inner = kvi_chunk_table_size(raw_table->n_segments);
  size_t length;
  kvs_status status;

  *length_p = 0;
  if (kvi_quality_coding(raw_table->quality) != KVI_CODING_NONE || raw_table->length != shape->raw_bytes ||
      1 + (options->planes + 1) * (uint64_t)shape->n_layers > KVI_SEGMENTS_MAX)
    return KVS_ERR_UNSUPPORTED;
  if (room < kvi_coded_bound(shape, options, raw_table->n_segments))
    return KVS_ERR_BUFFER;
  if (!fits(raw_table, raw))
    return KVS_ERR_CORRUPT;
  memcpy(out, raw_table->segments - KVI_CHUNK_TABLE_HEAD, inner); /* the entries stand in their table */
  status = kvi_codec_encode(shape, options, raw, scratch, out + inner, room - inner, &length);
  if (status == KVS_OK)
    *length_p = inner + length;
  return status;
}

/* ---- reading ---- */

/* The segment's place in the payload, not in the object. */
static struct kvi_codec_segment segment_at(const struct kvi_coded *coded, uint32_t quality, uint32_t layer)
{
  struct kvi_codec_segment segment = kvi_codec_segment_at(&coded->object, quality, layer);

  segment.offset += coded->object_at;
  return segment;
}

static kvs_status open_object(const uint8_t *bytes, uint64_t size, uint64_t length, struct kvi_coded *coded)
{
  uint64_t at = coded->object_at;
  int planes;
  kvs_status status;

  if (at > size || size - at < KVI_CODEC_HEADER_SIZE)
    return KVS_ERR_CORRUPT;
  status = kvi_codec_open(bytes + at, size - at, &coded->object);
  if (status != KVS_OK)
    return status;
  planes = kvi_codec_quality_in(&coded->object, length - at);
  if (planes < 0 || coded->object.quality_end[planes] != length - at ||
      coded->object.shape.raw_bytes != coded->raw.length)
    return KVS_ERR_CORRUPT;
  coded->planes = (uint32_t)planes;
  coded->head_length = coded->object_at + coded->object.header_length;
  return KVS_OK;
}

kvs_status kvi_coded_open(const uint8_t *bytes, uint64_t size, uint64_t length, struct kvi_coded *coded_p)
{
  kvs_status status;

  memset(coded_p, 0, sizeof(*coded_p));
  if (size > length)
    return KVS_ERR_INVALID;
  status = kvi_chunk_table_read(bytes, size, &coded_p->raw);
  if (status != KVS_OK)
    return status;
  if (kvi_quality_coding(coded_p->raw.quality) != KVI_CODING_NONE)
    return KVS_ERR_CORRUPT;
  coded_p->object_at = (uint32_t)kvi_chunk_table_size(coded_p->raw.n_segments);
  return open_object(bytes, size, length, coded_p);
}

uint32_t kvi_coded_segments(const struct kvi_coded *coded, const uint8_t *bytes, struct kvi_segment *segments,
                            uint32_t room)
{
  const uint8_t *entry = coded->object.table; /* one pass: kvi_codec_segment_at adds up all that are before */
  const uint8_t *end = entry + (size_t)(coded->planes + 1) * coded->object.shape.n_layers * 8;
  uint32_t n = 1;

  if (room > 0)
    segments[0] = (struct kvi_segment){.length = coded->head_length,
                                       .crc32c = kvi_crc32c_update(0, bytes, coded->head_length)};
  for (; entry < end; entry += 8) {
    uint32_t length = kvi_load_le32(entry);

    if (length == 0)
      continue;
    if (n < room)
      segments[n] = (struct kvi_segment){.length = length, .crc32c = kvi_load_le32(entry + 4)};
    n++;
  }
  return n;
}

uint32_t kvi_coded_cut_loss(const struct kvi_coded *coded, uint16_t quality)
{
  uint32_t loss = kvi_coded_loss(coded->object.level, coded->planes - 1), told = kvi_quality_loss(quality);

  return loss > told ? loss : told;
}

bool kvi_coded_cut(const struct kvi_coded *coded, const uint8_t *bytes, uint16_t quality, uint32_t loss_max,
                   struct kvi_coded_rest *rest_p)
{
  struct kvi_coded cut = *coded;
  uint32_t loss;

  memset(rest_p, 0, sizeof(*rest_p));
  if (coded->planes == 0)
    return false;
  cut.planes--;
  if (coded->object.quality_end[cut.planes] == coded->object.quality_end[coded->planes])
    return false; /* nothing in it: all was coded without loss */
  loss = kvi_coded_cut_loss(coded, quality);
  if (loss > loss_max)
    return false;
  rest_p->length = cut.object_at + cut.object.quality_end[cut.planes];
  rest_p->n_segments = kvi_coded_segments(&cut, bytes, NULL, 0);
  rest_p->quality = kvi_quality(loss, kvi_quality_loss_max(quality), KVI_CODING_KVC1);
  return true;
}

bool kvi_coded_rest_fits(const struct kvi_chunk_table *table, const struct kvi_coded_rest *rest)
{
  uint64_t length = 0;

  for (uint32_t i = 0; i < rest->n_segments && i < table->n_segments; i++)
    length += kvi_chunk_table_segment(table, i).length;
  return rest->n_segments <= table->n_segments && length == rest->length;
}

uint64_t kvi_coded_layer_end(const struct kvi_coded *coded, uint32_t layer)
{
  struct kvi_codec_segment last = segment_at(coded, coded->planes, layer);

  return last.offset + last.length;
}

kvs_status kvi_coded_layer_to(const struct kvi_coded *coded, uint32_t layer, const uint8_t *bytes,
                              const struct kvi_codec_place *place)
{
  const uint8_t *segments[KVI_CODEC_PLANES_MAX + 1];

  if (layer >= coded->object.shape.n_layers)
    return KVS_ERR_INVALID;
  for (uint32_t quality = 0; quality <= coded->planes; quality++)
    segments[quality] = bytes + segment_at(coded, quality, layer).offset;
  return kvi_codec_decode_layer(&coded->object, layer, coded->planes, segments, place);
}

kvs_status kvi_coded_layer(const struct kvi_coded *coded, uint32_t layer, const uint8_t *bytes, uint8_t *to)
{
  struct kvi_codec_place place;

  if (layer >= coded->object.shape.n_layers)
    return KVS_ERR_INVALID;
  place = kvi_codec_place_in(&coded->object.shape, layer, to);
  return kvi_coded_layer_to(coded, layer, bytes, &place);
}
