/* client/encode_part.c: one chunk of a put, encoded to a buffer of its own. */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "client/encode.h"

/* The payload in one piece: where it lies, or copied together. NULL: no memory. */
static const uint8_t *payload_of(const struct kvi_transfer_chunk *chunk, struct kvi_encode_room *room)
{
  uint8_t *raw, *at;

  if (chunk->n_iov == 1)
    return chunk->iov[0].base;
  raw = at = kvi_encode_room_raw(room, chunk->length);
  for (uint32_t i = 0; raw != NULL && i < chunk->n_iov; i++) {
    if (chunk->iov[i].length > 0)
      memcpy(at, chunk->iov[i].base, chunk->iov[i].length);
    at += chunk->iov[i].length;
  }
  return raw;
}

/* The table of the chunk as it is put, in memory that is the caller's to free. NULL: no memory. */
static uint8_t *make_table(const struct kvi_transfer_chunk *chunk, const uint8_t *raw,
                           struct kvi_chunk_table *table_p)
{
  uint32_t n = chunk->n_segments;
  struct kvi_segment *segments = malloc(n * sizeof(*segments));
  uint8_t *bytes = malloc(kvi_chunk_table_size(n));

  if (segments == NULL || bytes == NULL) {
    free(segments);
    free(bytes);
    return NULL;
  }
  for (uint32_t i = 0; i < n; i++) {
    segments[i] =
        (struct kvi_segment){chunk->segment_lengths[i], kvi_crc32c_update(0, raw, chunk->segment_lengths[i])};
    raw += chunk->segment_lengths[i];
  }
  kvi_chunk_table_write(bytes, segments, n, chunk->quality);
  free(segments);
  (void)kvi_chunk_table_read(bytes, kvi_chunk_table_size(n), table_p);
  return bytes;
}

/* The result in a buffer of its own, in place of what the caller put. False: no memory. */
static bool stage(struct encode_part *part, const struct kvi_encoded *encoded)
{
  uint32_t n = encoded->n_segments;
  size_t lengths_at = ((size_t)encoded->length + 7) / 8 * 8;
  struct kvi_segment *segments = malloc(n * sizeof(*segments));
  uint32_t *lengths;

  part->staging = malloc(lengths_at + n * sizeof(*lengths));
  if (segments == NULL || part->staging == NULL) {
    free(segments);
    free(part->staging);
    part->staging = NULL;
    return false;
  }
  lengths = (uint32_t *)(void *)(part->staging + lengths_at);
  (void)kvi_coded_segments(&encoded->coded, encoded->payload, segments, n);
  for (uint32_t i = 0; i < n; i++)
    lengths[i] = segments[i].length;
  free(segments);
  memcpy(part->staging, encoded->payload, encoded->length);
  part->iov = (struct kvi_iov){part->staging, (size_t)encoded->length};
  part->chunk.iov = &part->iov;
  part->chunk.n_iov = 1;
  part->chunk.length = encoded->length;
  part->chunk.n_segments = n;
  part->chunk.segment_lengths = lengths;
  part->chunk.quality = encoded->quality;
  return true;
}

bool kvi_encode_part(struct encode_part *part, const struct kvi_encode_plan *plan,
                     struct kvi_encode_room *room)
{
  const uint8_t *raw = payload_of(&part->chunk, room);
  struct kvi_encoded encoded;
  struct kvi_chunk_table table;
  uint8_t *table_bytes;
  kvs_status status;

  if (raw == NULL)
    return false;
  table_bytes = make_table(&part->chunk, raw, &table);
  if (table_bytes == NULL)
    return false;
  status = kvi_encode_run(plan, &table, raw, room, &encoded);
  free(table_bytes);
  return status == KVS_OK && stage(part, &encoded);
}
