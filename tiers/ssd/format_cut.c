/* tiers/ssd/format_cut.c: a chunk's record with a plane less. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tiers/ssd/format.h"

static bool table_read(const uint8_t *bytes, const struct kvi_ssd_record *record,
                       struct kvi_chunk_table *table_p)
{
  uint64_t payload_at = kvi_ssd_payload_at(record->n_segments);

  return kvi_chunk_table_read(bytes + KVI_SSD_HEAD, payload_at - KVI_SSD_HEAD, table_p) == KVS_OK;
}

bool kvi_ssd_record_may_cut(const uint8_t *bytes, const struct kvi_ssd_record *record,
                            struct kvi_coded_rest *rest_p)
{
  const uint8_t *payload = bytes + kvi_ssd_payload_at(record->n_segments);
  struct kvi_chunk_table table;
  struct kvi_coded coded;

  return table_read(bytes, record, &table) && kvi_quality_coding(table.quality) == KVI_CODING_KVC1 &&
         kvi_coded_open(payload, record->length, record->length, &coded) == KVS_OK &&
         kvi_coded_cut(&coded, payload, table.quality, kvi_quality_loss_max(table.quality), rest_p) &&
         kvi_quality_loss(rest_p->quality) > kvi_quality_loss(table.quality) &&
         kvi_coded_rest_fits(&table, rest_p);
}

void kvi_ssd_record_cut(uint8_t *bytes, struct kvi_ssd_record *record, const struct kvi_coded_rest *rest)
{
  uint64_t payload_at = kvi_ssd_payload_at(record->n_segments);
  uint64_t cut_at = kvi_ssd_payload_at(rest->n_segments), table_end;
  struct kvi_segment *segments = malloc(rest->n_segments * sizeof(*segments));
  struct kvi_chunk_table table;

  if (!segments || !table_read(bytes, record, &table)) {
    free(segments);
    return;
  }
  for (uint32_t i = 0; i < rest->n_segments; i++)
    segments[i] = kvi_chunk_table_segment(&table, i);
  kvi_chunk_table_write(bytes + KVI_SSD_HEAD, segments, rest->n_segments, rest->quality);
  free(segments);
  memmove(bytes + cut_at, bytes + payload_at, rest->length);
  record->n_segments = rest->n_segments;
  record->length = rest->length;
  record->quality = rest->quality;
  record->bytes = kvi_ssd_record_bytes(rest->length, rest->n_segments);
  record->table_crc = kvi_load_le32(bytes + KVI_SSD_HEAD + 12);
  table_end = KVI_SSD_HEAD + kvi_chunk_table_size(rest->n_segments);
  memset(bytes + table_end, 0, cut_at - table_end);
  memset(bytes + cut_at + rest->length, 0, record->bytes - cut_at - rest->length);
}
