/*
 * Any bytes as a value in Redis, as they are and with the header's checksum made to fit: what is accepted is inside the bytes, says the
 * lengths that it has, and is written again to the same header.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/redis/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
  if (!holds)
    abort();
}

static void check_accepted(const struct kvi_redis_key *key, const uint8_t *bytes,
                           const struct kvi_redis_value *value, const struct kvi_chunk_table *table)
{
  struct kvi_segment *segments = calloc(table->n_segments, sizeof(*segments));
  uint8_t *again = malloc(KVI_REDIS_PROLOGUE_MAX);
  struct kvi_redis_chunk chunk = {.place = value->place,
                                  .unchained = value->unchained,
                                  .parent = value->parent_length ? value->parent : NULL,
                                  .parent_length = value->parent_length,
                                  .quality = table->quality,
                                  .segments = segments,
                                  .n_segments = table->n_segments,
                                  .ttl_ms = value->ttl_ms};
  uint64_t payload;
  size_t length;

  require(segments && again);
  for (uint32_t i = 0; i < table->n_segments; i++)
    segments[i] = kvi_chunk_table_segment(table, i);
  require(kvi_redis_value_write(key, &chunk, again, KVI_REDIS_PROLOGUE_MAX, &length, &payload) == KVS_OK);
  require(length == value->prologue_bytes && payload == value->payload_bytes);
  require(memcmp(again, bytes, length) == 0);
  free(again);
  free(segments);
}

static void try_bytes(const struct kvi_redis_key *key, const uint8_t *bytes, size_t size)
{
  struct kvi_redis_value value;
  struct kvi_chunk_table table;
  enum kvi_redis_cause cause = kvi_redis_value_read(key, bytes, size, 0, &value);

  if (cause != KVI_REDIS_NONE) {
    require(cause < KVI_REDIS_CAUSES && value.value_bytes == 0);
    return;
  }
  require(value.header_bytes <= size && value.header_bytes <= KVI_REDIS_HEADER_MAX);
  require(value.prologue_bytes <= KVI_REDIS_PROLOGUE_MAX && value.payload_bytes <= KVI_CHUNK_BYTES_MAX);
  require(value.value_bytes == value.prologue_bytes + value.payload_bytes);
  require(kvi_redis_value_read(key, bytes, size, value.value_bytes + 1, &value) == KVI_REDIS_LENGTH);
  require(kvi_redis_value_read(key, bytes, size, 0, &value) == KVI_REDIS_NONE);
  if (value.prologue_bytes > size)
    return; /* the reader waits for the rest */
  if (kvi_redis_value_table(&value, bytes, &table) == KVI_REDIS_NONE)
    check_accepted(key, bytes, &value, &table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct kvi_redis_key key = {.length = 1};
  uint8_t *sealed;
  uint32_t header;

  try_bytes(&key, data, size);
  if (size < KVI_REDIS_HEADER)
    return 0;
  header = kvi_redis_value_header_bytes(data);
  if (header > size)
    return 0;
  sealed = malloc(size);
  require(sealed != NULL);
  memcpy(sealed, data, size);
  memcpy(key.check, sealed + 40, KVI_REDIS_CHECK_BYTES);
  kvi_store_le32(sealed + 8, 0);
  kvi_store_le32(sealed + 8, kvi_crc32c_update(0, sealed, header));
  try_bytes(&key, sealed, size);
  free(sealed);
  return 0;
}
