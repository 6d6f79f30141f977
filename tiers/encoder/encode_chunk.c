/* tiers/encoder/encode_chunk.c: see encode_chunk.h. */
#include "tiers/encoder/encode_chunk.h"

#include <stdlib.h>
#include <string.h>

#include "proto/coded.h"

void kvi_encoded_chunk_free(struct kvi_encoded_chunk *chunk)
{
  free(chunk->table_bytes);
  free(chunk->payload);
  memset(chunk, 0, sizeof(*chunk));
}

/* The payload in one piece: where it lies, or copied together. */
static kvs_status payload_of(const struct kvi_medium_put *put, struct kvi_encode_room *room,
                             const uint8_t **raw_p)
{
  uint8_t *raw;

  if (put->n_iov == 1) {
    *raw_p = put->iov[0].base;
    return KVS_OK;
  }
  *raw_p = raw = kvi_encode_room_raw(room, put->length);
  return raw ? kvi_medium_gather(put, raw) : KVS_ERR_NOMEM;
}

static kvs_status table_make(const struct kvi_encoded *encoded, struct kvi_encoded_chunk *chunk)
{
  uint32_t n = encoded->n_segments;
  struct kvi_segment *segments = malloc(n * sizeof(*segments));

  chunk->table_bytes = malloc(kvi_chunk_table_size(n));
  if (!segments || !chunk->table_bytes) {
    free(segments);
    return KVS_ERR_NOMEM;
  }
  (void)kvi_coded_segments(&encoded->coded, encoded->payload, segments, n);
  kvi_chunk_table_write(chunk->table_bytes, segments, n, encoded->quality);
  free(segments);
  return kvi_chunk_table_read(chunk->table_bytes, kvi_chunk_table_size(n), &chunk->table);
}

static kvs_status chunk_make(const struct kvi_encoded *encoded, struct kvi_encoded_chunk *chunk)
{
  chunk->length = encoded->length;
  chunk->payload = malloc(encoded->length);
  if (!chunk->payload)
    return KVS_ERR_NOMEM;
  memcpy(chunk->payload, encoded->payload, encoded->length);
  return table_make(encoded, chunk);
}

kvs_status kvi_encode_chunk(const struct kvi_encode_rules *rules, const struct kvi_medium_put *put,
                            struct kvi_encode_room *room, struct kvi_encoded_chunk *chunk_p)
{
  struct kvi_encode_plan plan;
  struct kvi_encoded encoded;
  const uint8_t *raw;
  kvs_status status;

  memset(chunk_p, 0, sizeof(*chunk_p));
  status = kvi_encode_plan_make(rules, put->desc, put->length, put->identity.place, put->identity.unchained,
                                put->table.quality, &plan);
  if (status == KVS_OK)
    status = payload_of(put, room, &raw);
  if (status == KVS_OK)
    status = kvi_encode_run(&plan, &put->table, raw, room, &encoded);
  if (status == KVS_OK)
    status = chunk_make(&encoded, chunk_p);
  if (status != KVS_OK)
    kvi_encoded_chunk_free(chunk_p);
  return status;
}
