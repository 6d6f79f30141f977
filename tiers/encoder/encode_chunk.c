/* tiers/encoder/encode_chunk.c: see encode_chunk.h. */
#include "tiers/encoder/encode_chunk.h"

#include <stdlib.h>
#include <string.h>

#include "proto/coded.h"
#include "proto/limits.h"

#define ALIGNMENT   64u
#define GAIN_MIN    16u /* a part of the raw length */
#define SAMPLE      65536u
#define SAMPLE_GAIN 10u
#define ZSTD_LEVEL  1

/* ---- memory ---- */

/* At least `size` bytes; what was in it is gone. False: no memory, and there is less. */
static bool grow(uint8_t **bytes, size_t *room, uint64_t size)
{
  size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

  if (*room >= size && *room > 0)
    return true;
  free(*bytes);
  *bytes = aligned_alloc(ALIGNMENT, rounded ? rounded : ALIGNMENT);
  *room = *bytes ? rounded : 0;
  return *bytes != NULL;
}

void kvi_encode_room_free(struct kvi_encode_room *room)
{
  free(room->raw);
  free(room->scratch);
  free(room->out);
  memset(room, 0, sizeof(*room));
}

void kvi_encoded_chunk_free(struct kvi_encoded_chunk *chunk)
{
  free(chunk->table_bytes);
  free(chunk->payload);
  memset(chunk, 0, sizeof(*chunk));
}

/* ---- how ---- */

/* The payload in one piece: where it lies, or copied together. */
static kvs_status payload_of(const struct kvi_medium_put *put, struct kvi_encode_room *room,
                             const uint8_t **raw_p)
{
  *raw_p = put->n_iov == 1 ? put->iov[0].base : room->raw;
  if (put->n_iov == 1)
    return KVS_OK;
  if (!grow(&room->raw, &room->raw_size, put->length))
    return KVS_ERR_NOMEM;
  *raw_p = room->raw;
  return kvi_medium_gather(put, room->raw);
}

static bool grow_for(struct kvi_encode_room *room, const struct kvi_codec_shape *shape,
                     const struct kvi_codec_options *options, uint32_t n_segments)
{
  return grow(&room->scratch, &room->scratch_size, kvi_codec_encode_scratch(shape, options)) &&
         grow(&room->out, &room->out_size, kvi_coded_bound(shape, options, n_segments));
}

/* Bytes of unknown kind are mostly numbers that zstd finds nothing in: a small part tells. */
static bool sample_shrinks(const uint8_t *raw, uint64_t length, const struct kvi_codec_options *options,
                           struct kvi_encode_room *room)
{
  struct kvi_codec_shape sample = {.n_layers = 1, .raw_bytes = SAMPLE};
  size_t encoded;

  if (length <= 2 * (uint64_t)SAMPLE)
    return true;
  return grow_for(room, &sample, options, 1) &&
         kvi_codec_encode(&sample, options, raw + (length / 2 - SAMPLE / 2), room->scratch, room->out,
                          room->out_size, &encoded) == KVS_OK &&
         encoded < SAMPLE - SAMPLE / SAMPLE_GAIN;
}

/* What has lost something already is not to lose more. */
static bool may_lose(const struct kvi_encoder_config *config, uint16_t quality)
{
  return config->lossy != KVI_CODEC_RAW && kvi_quality_loss(quality) == 0 &&
         kvi_coded_loss(config->lossy, config->planes) <= kvi_quality_loss_max(quality);
}

static bool choose_level(const struct kvi_encoder_config *config, const struct kvi_codec_shape *shape,
                         uint16_t quality, struct kvi_codec_options *options)
{
  memset(options, 0, sizeof(*options));
  if (shape->dtype == KVI_CODEC_BYTES) {
    options->level = KVI_CODEC_ZSTD;
    options->zstd_level = ZSTD_LEVEL;
    return config->bytes;
  }
  options->level = KVI_CODEC_LOSSLESS;
  if (may_lose(config, quality)) {
    options->level = config->lossy;
    options->planes = config->lossy == KVI_CODEC_LADDER ? config->planes : 0;
  }
  return config->tensors || options->level != KVI_CODEC_LOSSLESS;
}

/* ---- the result ---- */

static kvs_status table_make(const struct kvi_medium_put *put, const struct kvi_coded *coded,
                             struct kvi_encoded_chunk *chunk)
{
  uint32_t n = kvi_coded_segments(coded, chunk->payload, NULL, 0);
  uint32_t lost = kvi_quality_loss(put->table.quality); /* before it was put */
  uint32_t loss = kvi_coded_loss(coded->object.level, coded->planes);
  uint16_t quality =
      kvi_quality(loss > lost ? loss : lost, kvi_quality_loss_max(put->table.quality), KVI_CODING_KVC1);
  struct kvi_segment *segments;

  if (n > KVI_SEGMENTS_MAX)
    return KVS_ERR_UNSUPPORTED;
  segments = malloc(n * sizeof(*segments));
  chunk->table_bytes = malloc(kvi_chunk_table_size(n));
  if (!segments || !chunk->table_bytes) {
    free(segments);
    return KVS_ERR_NOMEM;
  }
  (void)kvi_coded_segments(coded, chunk->payload, segments, n);
  kvi_chunk_table_write(chunk->table_bytes, segments, n, quality);
  free(segments);
  return kvi_chunk_table_read(chunk->table_bytes, kvi_chunk_table_size(n), &chunk->table);
}

static kvs_status chunk_make(const struct kvi_medium_put *put, const uint8_t *out, uint64_t length,
                             struct kvi_encoded_chunk *chunk)
{
  struct kvi_coded coded;
  kvs_status status;

  chunk->length = length;
  chunk->payload = malloc(length);
  if (!chunk->payload)
    return KVS_ERR_NOMEM;
  memcpy(chunk->payload, out, length);
  status = kvi_coded_open(chunk->payload, length, length, &coded);
  if (status == KVS_OK)
    status = table_make(put, &coded, chunk);
  return status == KVS_ERR_CORRUPT ? KVS_ERR_INTERNAL : status; /* not of what was put */
}

kvs_status kvi_encode_chunk(const struct kvi_encoder_config *config, const struct kvi_medium_put *put,
                            struct kvi_encode_room *room, struct kvi_encoded_chunk *chunk_p)
{
  struct kvi_codec_options options;
  struct kvi_codec_shape shape;
  const uint8_t *raw;
  uint64_t length;
  kvs_status status;

  memset(chunk_p, 0, sizeof(*chunk_p));
  status = kvi_coded_shape(put->desc, put->length, put->identity.place, put->identity.unchained, &shape);
  if (status == KVS_OK && !choose_level(config, &shape, put->table.quality, &options))
    status = KVS_ERR_UNSUPPORTED;
  if (status == KVS_OK)
    status = payload_of(put, room, &raw);
  if (status != KVS_OK)
    return status;
  if (shape.dtype == KVI_CODEC_BYTES && !sample_shrinks(raw, put->length, &options, room))
    return KVS_EXISTS;
  if (!grow_for(room, &shape, &options, put->table.n_segments))
    return KVS_ERR_NOMEM;
  status =
      kvi_coded_encode(&put->table, &shape, &options, raw, room->scratch, room->out, room->out_size, &length);
  if (status == KVS_OK && length > put->length - put->length / GAIN_MIN)
    status = KVS_EXISTS;
  if (status == KVS_OK)
    status = chunk_make(put, room->out, length, chunk_p);
  if (status != KVS_OK)
    kvi_encoded_chunk_free(chunk_p);
  return status;
}
