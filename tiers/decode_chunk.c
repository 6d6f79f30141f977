/* tiers/decode_chunk.c: see decode_chunk.h. */
#include "tiers/decode_chunk.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define ALIGNMENT        64u /* of decoded payloads, and of the room */
#define OBJECT_ALIGNMENT 8u  /* as kvi_coded_open wants it */

void kvi_decode_room_free(struct kvi_decode_room *room)
{
  free(room->bytes);
  memset(room, 0, sizeof(*room));
}

void kvi_decoded_chunk_free(struct kvi_decoded_chunk *chunk)
{
  free(chunk->table_bytes);
  free(chunk->payload);
  memset(chunk, 0, sizeof(*chunk));
}

/* ---- opening ---- */

static uint8_t *allocate(uint64_t size)
{
  return aligned_alloc(ALIGNMENT, (size_t)((size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT));
}

/* The payload in one piece: where it lies, or copied together. */
static kvs_status payload_of(const struct kvi_source *source, struct kvi_decode_room *room,
                             const uint8_t **bytes_p)
{
  uint64_t left = source->table.length;
  uint8_t *to;

  *bytes_p = source->iov[0].base;
  if (source->n_iov == 1 && (uintptr_t)source->iov[0].base % OBJECT_ALIGNMENT == 0)
    return KVS_OK;
  if (room->size < source->table.length) {
    kvi_decode_room_free(room);
    room->bytes = allocate(source->table.length);
    if (!room->bytes)
      return KVS_ERR_NOMEM;
    room->size = (size_t)source->table.length;
  }
  to = room->bytes;
  for (uint32_t i = 0; i < source->n_iov && left > 0; i++) {
    size_t run = source->iov[i].length < left ? source->iov[i].length : (size_t)left;

    memcpy(to, source->iov[i].base, run);
    to += run;
    left -= run;
  }
  *bytes_p = room->bytes;
  return KVS_OK;
}

/* Its table tells the loss, and whoever put it may have written anything there. */
static bool lost_more(const struct kvi_coded *coded, uint32_t loss)
{
  return kvi_coded_loss(coded->object.level, coded->planes) > loss ||
         kvi_quality_loss(coded->raw.quality) > loss;
}

kvs_status kvi_decode_open(const struct kvi_source *source, struct kvi_decode_room *room,
                           struct kvi_decode_opened *opened_p)
{
  const struct kvi_chunk_table *table = &source->table;
  uint32_t loss = kvi_quality_loss(table->quality);
  kvs_status status;

  memset(opened_p, 0, sizeof(*opened_p));
  if (kvi_quality_coding(table->quality) != KVI_CODING_KVC1)
    return KVS_ERR_UNSUPPORTED;
  status = payload_of(source, room, &opened_p->bytes);
  if (status == KVS_OK)
    status = kvi_coded_open(opened_p->bytes, table->length, table->length, &opened_p->coded);
  if (status == KVS_OK && lost_more(&opened_p->coded, loss))
    status = KVS_ERR_CORRUPT;
  opened_p->quality = kvi_quality(loss, kvi_quality_loss_max(table->quality), KVI_CODING_NONE);
  return status;
}

/* ---- decoding ---- */

static kvs_status layers_decode(const struct kvi_decode_opened *opened, const atomic_bool *canceled,
                                uint8_t *to)
{
  const struct kvi_codec_shape *shape = &opened->coded.object.shape;
  kvs_status status = KVS_OK;

  for (uint32_t layer = 0; layer < shape->n_layers && status == KVS_OK; layer++) {
    /* relaxed: a layer more or less is of no matter */
    if (canceled && atomic_load_explicit(canceled, memory_order_relaxed))
      return KVS_ERR_CANCELED;
    status = kvi_coded_layer(&opened->coded, layer, opened->bytes, to);
    to += kvi_codec_layer_bytes(shape, layer);
  }
  return status;
}

/* The table of the decoded bytes. */
static kvs_status table_make(const struct kvi_decode_opened *opened, struct kvi_decoded_chunk *chunk)
{
  const struct kvi_chunk_table *raw = &opened->coded.raw;
  bool exact = kvi_coded_loss(opened->coded.object.level, opened->coded.planes) == 0;
  struct kvi_segment *segments = malloc(raw->n_segments * sizeof(*segments));
  size_t size = kvi_chunk_table_size(raw->n_segments);
  const uint8_t *at = chunk->payload;
  kvs_status status = KVS_OK;

  chunk->table_bytes = malloc(size);
  if (!segments || !chunk->table_bytes)
    status = KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < raw->n_segments && status == KVS_OK; at += segments[i++].length) {
    struct kvi_segment put = kvi_chunk_table_segment(raw, i);

    segments[i].length = put.length;
    segments[i].crc32c = kvi_crc32c_update(0, at, put.length);
    if (exact && segments[i].crc32c != put.crc32c)
      status = KVS_ERR_CORRUPT;
  }
  if (status == KVS_OK) {
    kvi_chunk_table_write(chunk->table_bytes, segments, raw->n_segments, opened->quality);
    status = kvi_chunk_table_read(chunk->table_bytes, size, &chunk->table);
  }
  free(segments);
  return status;
}

kvs_status kvi_decode_chunk(const struct kvi_decode_opened *opened, const atomic_bool *canceled,
                            struct kvi_decoded_chunk *chunk_p)
{
  uint64_t length = opened->coded.raw.length;
  kvs_status status = KVS_ERR_NOMEM;

  memset(chunk_p, 0, sizeof(*chunk_p));
  chunk_p->payload = allocate(length);
  if (chunk_p->payload)
    status = layers_decode(opened, canceled, chunk_p->payload);
  if (status == KVS_OK)
    status = table_make(opened, chunk_p);
  if (status == KVS_OK)
    chunk_p->iov = (struct kvi_iov){.base = chunk_p->payload, .length = (size_t)length};
  else
    kvi_decoded_chunk_free(chunk_p);
  return status;
}
