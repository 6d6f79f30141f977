/* tiers/ssd/format_cut.c: a chunk's record with a plane less. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/coded.h"
#include "tiers/ssd/format.h"

/*
 * The first segments of the table under another quality. False: they are not what is left, since whoever put the chunk has cut it elsewhere; or no memory.
 */
static bool table_cut(uint8_t *bytes, const struct kvi_chunk_table *table, const struct kvi_coded_rest *rest)
{
  struct kvi_segment *segments;
  uint64_t length = 0;

  if (rest->n_segments > table->n_segments)
    return false;
  segments = malloc(rest->n_segments * sizeof(*segments));
  if (!segments)
    return false;
  for (uint32_t i = 0; i < rest->n_segments; i++) {
    segments[i] = kvi_chunk_table_segment(table, i);
    length += segments[i].length;
  }
  if (length == rest->length)
    kvi_chunk_table_write(bytes, segments, rest->n_segments, rest->quality);
  free(segments);
  return length == rest->length;
}

void kvi_ssd_record_cut(uint8_t *bytes, struct kvi_ssd_record *record)
{
  uint64_t payload_at = kvi_ssd_payload_at(record->n_segments), cut_at;
  struct kvi_chunk_table table;
  struct kvi_coded_rest rest;
  struct kvi_coded coded;

  if (kvi_chunk_table_read(bytes + KVI_SSD_HEAD, payload_at - KVI_SSD_HEAD, &table) != KVS_OK ||
      kvi_quality_coding(table.quality) != KVI_CODING_KVC1 ||
      kvi_coded_open(bytes + payload_at, record->length, record->length, &coded) != KVS_OK ||
      !kvi_coded_cut(&coded, bytes + payload_at, table.quality, &rest) ||
      !table_cut(bytes + KVI_SSD_HEAD, &table, &rest))
    return;
  cut_at = kvi_ssd_payload_at(rest.n_segments);
  memmove(bytes + cut_at, bytes + payload_at, rest.length);
  record->n_segments = rest.n_segments;
  record->length = rest.length;
  record->quality = rest.quality;
  record->bytes = kvi_ssd_record_bytes(rest.length, rest.n_segments);
  record->table_crc = kvi_load_le32(bytes + KVI_SSD_HEAD + 12);
  memset(bytes + KVI_SSD_HEAD + kvi_chunk_table_size(rest.n_segments), 0,
         cut_at - KVI_SSD_HEAD - kvi_chunk_table_size(rest.n_segments));
  memset(bytes + cut_at + rest.length, 0, record->bytes - cut_at - rest.length);
}
