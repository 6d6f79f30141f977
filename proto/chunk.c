/* The segment table as it stands in front of a payload. */
#include "proto/chunk.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "proto/limits.h"

#define TABLE_MAGIC   0x3154564Bu /* "KVT1" as it is read little-endian */
#define TABLE_VERSION 1u

enum offset {
  AT_MAGIC = 0,
  AT_VERSION = 4,
  AT_QUALITY = 6,
  AT_SEGMENTS = 8,
  AT_CRC = 12,
  AT_LENGTH = 16,
};

/* The checksum of the table with its own field read as zero. */
static uint32_t table_crc(const uint8_t *bytes, size_t size)
{
  static const uint8_t zero[4];
  uint32_t crc = kvi_crc32c_update(0, bytes, AT_CRC);

  crc = kvi_crc32c_update(crc, zero, sizeof zero);
  return kvi_crc32c_update(crc, bytes + AT_LENGTH, size - AT_LENGTH);
}

static struct kvi_segment segment_at(const uint8_t *entry)
{
  return (struct kvi_segment){.length = kvi_load_le32(entry), .crc32c = kvi_load_le32(entry + 4)};
}

void kvi_chunk_table_write(uint8_t *out, const struct kvi_segment *segments, uint32_t n_segments,
                           uint16_t quality)
{
  uint8_t *entry = out + KVI_CHUNK_TABLE_HEAD;
  uint64_t length = 0;

  assert(n_segments >= 1 && n_segments <= KVI_SEGMENTS_MAX);
  for (uint32_t i = 0; i < n_segments; i++, entry += sizeof(struct kvi_segment)) {
    kvi_store_le32(entry, segments[i].length);
    kvi_store_le32(entry + 4, segments[i].crc32c);
    length += segments[i].length;
  }
  kvi_store_le32(out + AT_MAGIC, TABLE_MAGIC);
  kvi_store_le16(out + AT_VERSION, TABLE_VERSION);
  kvi_store_le16(out + AT_QUALITY, quality);
  kvi_store_le32(out + AT_SEGMENTS, n_segments);
  kvi_store_le64(out + AT_LENGTH, length);
  kvi_store_le32(out + AT_CRC, table_crc(out, kvi_chunk_table_size(n_segments)));
}

kvs_status kvi_chunk_table_quality(const uint8_t *bytes, uint16_t *quality_p)
{
  *quality_p = 0;
  if (kvi_load_le32(bytes + AT_MAGIC) != TABLE_MAGIC || kvi_load_le16(bytes + AT_VERSION) != TABLE_VERSION)
    return KVS_ERR_CORRUPT;
  *quality_p = kvi_load_le16(bytes + AT_QUALITY);
  return KVS_OK;
}

kvs_status kvi_chunk_table_read(const uint8_t *bytes, size_t size, struct kvi_chunk_table *table_p)
{
  memset(table_p, 0, sizeof *table_p);
  if (size < KVI_CHUNK_TABLE_HEAD || kvi_load_le32(bytes + AT_MAGIC) != TABLE_MAGIC ||
      kvi_load_le16(bytes + AT_VERSION) != TABLE_VERSION)
    return KVS_ERR_CORRUPT;

  uint32_t n_segments = kvi_load_le32(bytes + AT_SEGMENTS);
  if (n_segments == 0 || n_segments > KVI_SEGMENTS_MAX || size < kvi_chunk_table_size(n_segments))
    return KVS_ERR_CORRUPT;
  if (kvi_load_le32(bytes + AT_CRC) != table_crc(bytes, kvi_chunk_table_size(n_segments)))
    return KVS_ERR_CORRUPT;

  /* A fitting checksum says that the bytes are what was written, not that a sane program wrote them. */
  const uint8_t *segments = bytes + KVI_CHUNK_TABLE_HEAD;
  uint64_t length = 0;
  for (uint32_t i = 0; i < n_segments; i++) {
    struct kvi_segment segment = segment_at(segments + i * sizeof segment);
    if (segment.length == 0)
      return KVS_ERR_CORRUPT;
    length += segment.length;
  }
  if (length != kvi_load_le64(bytes + AT_LENGTH) || length > KVI_CHUNK_BYTES_MAX)
    return KVS_ERR_CORRUPT;

  *table_p = (struct kvi_chunk_table){.segments = segments,
                                      .n_segments = n_segments,
                                      .quality = kvi_load_le16(bytes + AT_QUALITY),
                                      .length = length};
  return KVS_OK;
}

struct kvi_segment kvi_chunk_table_segment(const struct kvi_chunk_table *table, uint32_t i)
{
  return segment_at(table->segments + i * sizeof(struct kvi_segment));
}
