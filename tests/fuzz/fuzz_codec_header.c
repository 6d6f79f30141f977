/*
 * Any bytes as the beginning of a KVC1 object, as they are and with the header's checksum made to fit: what is accepted is a sound shape
 * whose segments follow each other from the header to the end that it tells.
 */
#include "codec_fuzz.h"

static void check_segments(const struct kvi_codec_object *object)
{
  uint64_t at = object->header_length;

  for (uint32_t quality = 0; quality <= object->planes; quality++) {
    for (uint32_t layer = 0; layer < object->shape.n_layers; layer++) {
      struct kvi_codec_segment segment = kvi_codec_segment_at(object, quality, layer);

      require(segment.offset == at);
      at += segment.length;
    }
    require(object->quality_end[quality] == at);
    require(kvi_codec_quality_in(object, at) >= (int)quality);
  }
  require(at == object->length);
}

static void try_bytes(const uint8_t *bytes, size_t size)
{
  struct kvi_codec_object object;
  uint64_t raw = 0;
  uint32_t length;
  kvs_status status = kvi_codec_open(bytes, size, &object);

  require(status == KVS_OK || status == KVS_ERR_CORRUPT || status == KVS_ERR_UNSUPPORTED);
  if (status != KVS_OK)
    return;
  require(kvi_codec_header_length(bytes, &length) == KVS_OK && length == object.header_length);
  require(length <= size && kvi_codec_shape_check(&object.shape) == KVS_OK);
  require(object.planes <= KVI_CODEC_PLANES_MAX && object.level <= KVI_CODEC_ZSTD);
  require(object.table >= bytes + KVI_CODEC_HEADER_SIZE && object.table < bytes + length);
  for (uint32_t layer = 0; layer < object.shape.n_layers; layer++)
    raw += kvi_codec_layer_bytes(&object.shape, layer);
  require(raw == object.shape.raw_bytes);
  /* With 1024 layers it would take its time to add up all segments for each. */
  if (object.shape.n_layers <= 64)
    check_segments(&object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t *bytes = fuzz_copy(data, size);
  uint32_t header;

  try_bytes(bytes, size);
  if (size >= KVI_CODEC_HEADER_SIZE && kvi_codec_header_length(bytes, &header) == KVS_OK && header <= size) {
    fuzz_seal(bytes, header, header);
    try_bytes(bytes, size);
  }
  free(bytes);
  return 0;
}
