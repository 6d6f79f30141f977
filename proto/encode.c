/* proto/encode.c: see encode.h. */
#include "proto/encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
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

uint8_t *kvi_encode_room_raw(struct kvi_encode_room *room, uint64_t length)
{
  return grow(&room->raw, &room->raw_size, length) ? room->raw : NULL;
}

static bool grow_for(struct kvi_encode_room *room, const struct kvi_codec_shape *shape,
                     const struct kvi_codec_options *options, uint32_t n_segments)
{
  return grow(&room->scratch, &room->scratch_size, kvi_codec_encode_scratch(shape, options)) &&
         grow(&room->out, &room->out_size, kvi_coded_bound(shape, options, n_segments));
}

/* ---- how ---- */

/* What has lost something already is not to lose more. */
static bool may_lose(const struct kvi_encode_rules *rules, uint16_t quality)
{
  return rules->lossy != KVI_CODEC_RAW && kvi_quality_loss(quality) == 0 &&
         kvi_coded_loss(rules->lossy, rules->planes) <= kvi_quality_loss_max(quality);
}

static bool choose_level(const struct kvi_encode_rules *rules, const struct kvi_codec_shape *shape,
                         uint16_t quality, struct kvi_codec_options *options)
{
  memset(options, 0, sizeof(*options));
  if (shape->dtype == KVI_CODEC_BYTES) {
    options->level = KVI_CODEC_ZSTD;
    options->zstd_level = ZSTD_LEVEL;
    return rules->bytes;
  }
  options->level = KVI_CODEC_LOSSLESS;
  if (may_lose(rules, quality)) {
    options->level = rules->lossy;
    options->planes = rules->lossy == KVI_CODEC_LADDER ? rules->planes : 0;
  }
  return rules->tensors || options->level != KVI_CODEC_LOSSLESS;
}

kvs_status kvi_encode_plan_make(const struct kvi_encode_rules *rules, const kvs_space_desc *desc,
                                uint64_t length, uint32_t place, bool unchained, uint16_t quality,
                                struct kvi_encode_plan *plan_p)
{
  kvs_status status = kvi_coded_shape(desc, length, place, unchained, &plan_p->shape);

  if (status == KVS_OK && !choose_level(rules, &plan_p->shape, quality, &plan_p->options))
    status = KVS_ERR_UNSUPPORTED;
  if (status == KVS_OK && desc)
    plan_p->options.model_fingerprint = kvi_load_le64(desc->weights);
  return status;
}

/* ---- the work ---- */

/* Bytes of unknown kind are mostly numbers that zstd finds nothing in: a small part tells. */
static bool sample_shrinks(const struct kvi_encode_plan *plan, const uint8_t *raw,
                           struct kvi_encode_room *room)
{
  struct kvi_codec_shape sample = {.n_layers = 1, .raw_bytes = SAMPLE};
  uint64_t length = plan->shape.raw_bytes;
  size_t encoded;

  if (length <= 2 * (uint64_t)SAMPLE)
    return true;
  return grow_for(room, &sample, &plan->options, 1) &&
         kvi_codec_encode(&sample, &plan->options, raw + (length / 2 - SAMPLE / 2), room->scratch, room->out,
                          room->out_size, &encoded) == KVS_OK &&
         encoded < SAMPLE - SAMPLE / SAMPLE_GAIN;
}

/* The result, opened: whoever reads it will do no more than that. */
static kvs_status look_at(const struct kvi_chunk_table *table, struct kvi_encoded *encoded)
{
  uint32_t lost = kvi_quality_loss(table->quality); /* before it was put */
  kvs_status status = kvi_coded_open(encoded->payload, encoded->length, encoded->length, &encoded->coded);
  uint32_t loss;

  if (status != KVS_OK)
    return status == KVS_ERR_CORRUPT ? KVS_ERR_INTERNAL : status; /* not of what was put */
  loss = kvi_coded_loss(encoded->coded.object.level, encoded->coded.planes);
  encoded->quality =
      kvi_quality(loss > lost ? loss : lost, kvi_quality_loss_max(table->quality), KVI_CODING_KVC1);
  encoded->n_segments = kvi_coded_segments(&encoded->coded, encoded->payload, NULL, 0);
  return encoded->n_segments <= KVI_SEGMENTS_MAX ? KVS_OK : KVS_ERR_UNSUPPORTED;
}

kvs_status kvi_encode_run(const struct kvi_encode_plan *plan, const struct kvi_chunk_table *table,
                          const uint8_t *raw, struct kvi_encode_room *room, struct kvi_encoded *encoded_p)
{
  kvs_status status;

  memset(encoded_p, 0, sizeof(*encoded_p));
  if (plan->shape.dtype == KVI_CODEC_BYTES && !sample_shrinks(plan, raw, room))
    return KVS_EXISTS;
  if (!grow_for(room, &plan->shape, &plan->options, table->n_segments))
    return KVS_ERR_NOMEM;
  status = kvi_coded_encode(table, &plan->shape, &plan->options, raw, room->scratch, room->out,
                            room->out_size, &encoded_p->length);
  if (status == KVS_OK && encoded_p->length > table->length - table->length / GAIN_MIN)
    status = KVS_EXISTS;
  if (status != KVS_OK)
    return status;
  encoded_p->payload = room->out;
  return look_at(table, encoded_p);
}
