/*
 * proto/chunk.h: a chunk as a list of segments, and the table that describes them.
 *
 * The same table stands in front of the payload in DRAM, on SSD, in Redis and (as fields of frames) on the wire.
 * Written out (docs/formats/chunk.md), all little-endian:
 *
 *    0  u32 magic "KVT1"     4  u16 version = 1    6 u16 quality (0: the bytes that were put)
 *    8  u32 n_segments      12  u32 crc32c of the whole table with this field zero
 *   16  u64 payload length
 *   24  n_segments x { u32 length, u32 crc32c }
 */
#ifndef KVASIR_PROTO_CHUNK_H
#define KVASIR_PROTO_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

/*
 * What a chunk's bytes are, beside how many: `quality` of the table, three fields in 16 bits. 0: the bytes that were put, which must not be
 * degraded.
 *
 *    0  4 bits loss: 0 none, else 1 to 15, the more the coarser (proto/coded.h names them)
 *    4  4 bits loss_max: how far its owner lets it be degraded, 0 to 15
 *    8  8 bits coding: how the payload is to be read
 */
enum kvi_chunk_coding {
  KVI_CODING_NONE = 0, /* the payload is what was put */
  KVI_CODING_KVC1 = 1  /* proto/coded.h */
};

#define KVI_LOSS_MAX 15u

static inline uint16_t kvi_quality(uint32_t loss, uint32_t loss_max, enum kvi_chunk_coding coding)
{
  return (uint16_t)((loss & KVI_LOSS_MAX) | (loss_max & KVI_LOSS_MAX) << 4 | (uint32_t)coding << 8);
}
static inline uint32_t kvi_quality_loss(uint16_t quality)
{
  return quality & KVI_LOSS_MAX;
}
static inline uint32_t kvi_quality_loss_max(uint16_t quality)
{
  return quality >> 4 & KVI_LOSS_MAX;
}
static inline uint32_t kvi_quality_coding(uint16_t quality)
{
  return quality >> 8;
}

struct kvi_segment {
  uint32_t length; /* bytes, > 0 */
  uint32_t crc32c; /* of those bytes */
};

#define KVI_CHUNK_TABLE_HEAD  24u
#define KVI_CHUNK_TABLE_FIRST 8u /* bytes that say the quality */

/* Bytes of the written table of n segments. */
static inline size_t kvi_chunk_table_size(uint32_t n_segments)
{
  return KVI_CHUNK_TABLE_HEAD + (size_t)n_segments * sizeof(struct kvi_segment);
}

/* Writes the table to out (kvi_chunk_table_size(n) bytes). n is 1 to KVI_SEGMENTS_MAX. */
void kvi_chunk_table_write(uint8_t *out, const struct kvi_segment *segments, uint32_t n_segments,
                           uint16_t quality);

/* A written table, seen in place: nothing is copied, valid while the bytes are. */
struct kvi_chunk_table {
  const uint8_t *segments; /* n entries as written */
  uint32_t n_segments;
  uint16_t quality;
  uint64_t length; /* payload bytes, the sum of the segments */
};

/*
 * Checks and opens a written table. size is what lies at bytes, at least the table; the payload need not be there.
 * Errors: KVS_ERR_CORRUPT (magic, version, counts, sum, checksum, truncated).
 */
kvs_status kvi_chunk_table_read(const uint8_t *bytes, size_t size, struct kvi_chunk_table *table_p);

/*
 * The quality alone, from a table's first KVI_CHUNK_TABLE_FIRST bytes: its checksum cannot be compared, so nobody reads a chunk by it.
 * Errors: KVS_ERR_CORRUPT (magic, version).
 */
kvs_status kvi_chunk_table_quality(const uint8_t *bytes, uint16_t *quality_p);

/* Segment i < n_segments. */
struct kvi_segment kvi_chunk_table_segment(const struct kvi_chunk_table *table, uint32_t i);

#endif
