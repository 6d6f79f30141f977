/*
 * Any bytes as a segment table, as they are and with the checksum made to fit: what is accepted is inside the
 * bytes and is written again to the same bytes; one flipped bit of it is refused.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "proto/chunk.h"
#include "proto/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
  if (!holds)
    abort();
}

static void check_accepted(const uint8_t *bytes, size_t size, const struct kvi_chunk_table *table)
{
  size_t table_size = kvi_chunk_table_size(table->n_segments);
  struct kvi_segment *segments = calloc(table->n_segments, sizeof *segments);
  uint8_t *again = malloc(table_size);
  struct kvi_chunk_table refused;
  uint64_t sum = 0;

  require(segments && again && table_size <= size && table->length <= KVI_CHUNK_BYTES_MAX);
  for (uint32_t i = 0; i < table->n_segments; i++) {
    segments[i] = kvi_chunk_table_segment(table, i);
    sum += segments[i].length;
  }
  require(sum == table->length);
  kvi_chunk_table_write(again, segments, table->n_segments, table->quality);
  require(memcmp(again, bytes, table_size) == 0);

  size_t bit = (size_t)(sum % (8 * table_size));
  again[bit / 8] ^= (uint8_t)(1u << bit % 8);
  require(kvi_chunk_table_read(again, table_size, &refused) == KVS_ERR_CORRUPT);
  free(again);
  free(segments);
}

static void try_bytes(const uint8_t *bytes, size_t size)
{
  struct kvi_chunk_table table;
  kvs_status status = kvi_chunk_table_read(bytes, size, &table);

  if (status == KVS_OK)
    check_accepted(bytes, size, &table);
  else
    require(status == KVS_ERR_CORRUPT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  try_bytes(data, size);
  if (size < KVI_CHUNK_TABLE_HEAD)
    return 0;

  uint32_t n_segments = kvi_load_le32(data + 8);
  if (n_segments > KVI_SEGMENTS_MAX || kvi_chunk_table_size(n_segments) > size)
    return 0;
  uint8_t *sealed = malloc(size);
  require(sealed != NULL);
  memcpy(sealed, data, size);
  kvi_store_le32(sealed + 12, 0);
  kvi_store_le32(sealed + 12, kvi_crc32c_update(0, sealed, kvi_chunk_table_size(n_segments)));
  try_bytes(sealed, size);
  free(sealed);
  return 0;
}
