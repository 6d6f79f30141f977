/*
 * Any bytes as a coded payload, a chunk's table in front of a KVC1 object, with lengths and checksums made to fit: it is refused, or every layer is within it, is
 * decoded or refused from just the bytes that it is said to need, and the segments that the chunk's own table is made of cover the payload with checksums that fit.
 */
#include "codec_fuzz.h"
#include "proto/coded.h"
#include "proto/limits.h"

#define RAW_MAX    (1u << 18)
#define LAYERS_MAX 16u

/* The table's last segment takes what the object has beyond the others. False: it cannot be done. */
static bool table_fit(uint8_t *bytes, uint32_t n_segments, uint64_t raw_bytes)
{
  struct kvi_segment *segments = calloc(n_segments, sizeof(*segments));
  uint16_t quality = kvi_load_le16(bytes + 6);
  uint64_t left = raw_bytes;
  bool fits;

  require(segments != NULL);
  for (uint32_t i = 0; i < n_segments; i++) {
    const uint8_t *entry = bytes + KVI_CHUNK_TABLE_HEAD + (size_t)i * sizeof(*segments);

    segments[i] = (struct kvi_segment){.length = kvi_load_le32(entry), .crc32c = kvi_load_le32(entry + 4)};
    if (i + 1 < n_segments)
      left = left > segments[i].length ? left - segments[i].length : 0;
  }
  fits = left > 0 && left <= UINT32_MAX;
  if (fits)
    segments[n_segments - 1].length = (uint32_t)left;
  kvi_chunk_table_write(bytes, segments, n_segments, quality);
  free(segments);
  return fits;
}

/* Lengths and checksums made to fit, as far as there are bytes for them. */
static void mend(uint8_t *bytes, size_t size)
{
  uint32_t n_segments, header;
  size_t at;

  if (size < KVI_CHUNK_TABLE_HEAD)
    return;
  n_segments = kvi_load_le32(bytes + 8);
  if (n_segments == 0 || n_segments > KVI_SEGMENTS_MAX || kvi_chunk_table_size(n_segments) > size)
    return;
  at = kvi_chunk_table_size(n_segments);
  if (size - at >= KVI_CODEC_HEADER_SIZE && kvi_codec_header_length(bytes + at, &header) == KVS_OK &&
      header <= size - at) {
    struct kvi_codec_object object;

    fuzz_seal(bytes + at, size - at, header);
    if (kvi_codec_open(bytes + at, size - at, &object) == KVS_OK)
      (void)table_fit(bytes, n_segments, object.shape.raw_bytes);
  }
}

/* From a copy that ends where the layer is said to. */
static void try_layer(const uint8_t *bytes, size_t size, uint32_t layer)
{
  struct kvi_coded coded;
  uint64_t end;
  uint8_t *need, *to;
  size_t length;
  kvs_status status;

  require(kvi_coded_open(bytes, size, size, &coded) == KVS_OK);
  end = kvi_coded_layer_end(&coded, layer);
  require(end >= coded.head_length && end <= size);
  length = (size_t)kvi_codec_layer_bytes(&coded.object.shape, layer);
  need = fuzz_copy(bytes, (size_t)end);
  to = malloc(length + 1);
  require(to != NULL);
  to[length] = FUZZ_CANARY;
  require(kvi_coded_open(need, end, size, &coded) == KVS_OK);
  status = kvi_coded_layer(&coded, layer, need, to);
  require(status == KVS_OK || status == KVS_ERR_CORRUPT || status == KVS_ERR_UNSUPPORTED);
  require(to[length] == FUZZ_CANARY);
  require(kvi_coded_layer(&coded, coded.object.shape.n_layers, need, to) == KVS_ERR_INVALID);
  free(to);
  free(need);
}

static void try_segments(const struct kvi_coded *coded, const uint8_t *bytes, size_t size)
{
  uint32_t n = kvi_coded_segments(coded, bytes, NULL, 0);
  struct kvi_segment *segments = calloc(n, sizeof(*segments)), few[2];
  uint64_t at = 0;

  require(segments != NULL);
  require(kvi_coded_segments(coded, bytes, segments, n) == n);
  require(kvi_coded_segments(coded, bytes, few, 2) == n);
  require(memcmp(few, segments, (n < 2 ? n : 2) * sizeof(*few)) == 0);
  for (uint32_t i = 0; i < n; i++) {
    require(segments[i].length > 0 && segments[i].length <= size - at);
    require(kvi_crc32c_update(0, bytes + at, segments[i].length) == segments[i].crc32c);
    at += segments[i].length;
  }
  require(at == size);
  free(segments);
}

static void try_payload(const uint8_t *bytes, size_t size)
{
  struct kvi_coded coded, head;
  uint8_t *first;

  if (kvi_coded_open(bytes, size, size, &coded) != KVS_OK || coded.raw.length > RAW_MAX)
    return;
  require(kvi_quality_coding(coded.raw.quality) == KVI_CODING_NONE);
  require(coded.raw.length == coded.object.shape.raw_bytes && coded.head_length <= size);
  try_segments(&coded, bytes, size);
  /* Its first segment is all that it takes to know it; less is not enough. */
  first = fuzz_copy(bytes, coded.head_length);
  require(kvi_coded_open(first, coded.head_length, size, &head) == KVS_OK);
  require(head.planes == coded.planes && head.object_at == coded.object_at);
  require(kvi_coded_open(first, coded.head_length - 1, size, &head) < 0);
  require(kvi_coded_open(first, coded.head_length, coded.head_length - 1, &head) == KVS_ERR_INVALID);
  free(first);
  for (uint32_t layer = 0; layer < coded.object.shape.n_layers && layer < LAYERS_MAX; layer++)
    try_layer(bytes, size, layer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t *bytes = fuzz_copy(data, size);

  try_payload(bytes, size); /* as it is */
  mend(bytes, size);
  try_payload(bytes, size);
  free(bytes);
  return 0;
}
