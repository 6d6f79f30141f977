/* tests/unit/proto/coded_sample.h: a chunk of tensors as it was put, and the coded payload and table that a node would hold of it. */
#ifndef KVI_TESTS_UNIT_PROTO_CODED_SAMPLE_H
#define KVI_TESTS_UNIT_PROTO_CODED_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "proto/coded.h"
#include "proto/limits.h"
#include "tests/unit/codec/codec_testing.h"

struct coded_sample {
  struct kvi_codec_shape shape;
  struct kvi_codec_options options;
  uint8_t *raw;     /* shape.raw_bytes */
  uint8_t *payload; /* aligned */
  uint64_t length;  /* of payload */
  uint8_t *raw_table_bytes;
  struct kvi_chunk_table raw_table;
  struct kvi_segment *segments; /* of the coded chunk */
  uint32_t n_segments;
  uint16_t quality;
};

/* A space for such chunks, with keys of 32 bytes. */
static inline kvs_space_desc coded_sample_space(void)
{
  return (kvs_space_desc){.struct_size = sizeof(kvs_space_desc),
                          .model = "coded",
                          .engine = "test",
                          .layout = KVS_LAYOUT_OPAQUE,
                          .tokens_per_chunk = 64,
                          .hash = KVS_HASH_OPAQUE,
                          .key_length = 32};
}

/* A table over n segments of about equal length. */
static inline void coded_sample_seal(struct coded_sample *sample, uint32_t n)
{
  struct kvi_segment *segments = calloc(n, sizeof(*segments));
  uint64_t at = 0;

  assert_non_null(segments);
  for (uint32_t i = 0; i < n; i++) {
    uint64_t end = sample->shape.raw_bytes * (i + 1) / n;

    segments[i].length = (uint32_t)(end - at);
    segments[i].crc32c = kvi_crc32c_update(0, sample->raw + at, segments[i].length);
    at = end;
  }
  free(sample->raw_table_bytes);
  sample->raw_table_bytes = malloc(kvi_chunk_table_size(n));
  assert_non_null(sample->raw_table_bytes);
  kvi_chunk_table_write(sample->raw_table_bytes, segments, n, 0);
  assert_int_equal(kvi_chunk_table_read(sample->raw_table_bytes, kvi_chunk_table_size(n), &sample->raw_table),
                   KVS_OK);
  free(segments);
}

/* The coded chunk's own segments, from the payload as it is. */
static inline void coded_sample_cut(struct coded_sample *sample)
{
  struct kvi_coded coded;

  assert_int_equal(kvi_coded_open(sample->payload, sample->length, sample->length, &coded), KVS_OK);
  sample->n_segments = kvi_coded_segments(&coded, sample->payload, NULL, 0);
  free(sample->segments);
  sample->segments = calloc(sample->n_segments, sizeof(*sample->segments));
  assert_non_null(sample->segments);
  assert_int_equal(kvi_coded_segments(&coded, sample->payload, sample->segments, sample->n_segments),
                   sample->n_segments);
}

/* What encoding it is promised to fit into. */
static inline uint64_t coded_sample_room(const struct coded_sample *sample)
{
  return kvi_coded_bound(&sample->shape, &sample->options, sample->raw_table.n_segments);
}

/* Encodes it into so much room. */
static inline kvs_status coded_sample_try(struct coded_sample *sample, uint64_t room)
{
  size_t scratch_size = kvi_codec_encode_scratch(&sample->shape, &sample->options);
  void *scratch = aligned_alloc(64, (scratch_size + 127) / 64 * 64);
  kvs_status status;

  assert_non_null(scratch);
  free(sample->payload);
  sample->payload = malloc(room);
  assert_non_null(sample->payload);
  status = kvi_coded_encode(&sample->raw_table, &sample->shape, &sample->options, sample->raw, scratch,
                            sample->payload, room, &sample->length);
  free(scratch);
  return status;
}

static inline void coded_sample_encode(struct coded_sample *sample)
{
  assert_int_equal(coded_sample_try(sample, coded_sample_room(sample)), KVS_OK);
  coded_sample_cut(sample);
  sample->quality = kvi_quality(kvi_coded_loss(sample->options.level, sample->options.planes), KVI_LOSS_MAX,
                                KVI_CODING_KVC1);
}

/* bf16, K and V of n_layers layers, 64 tokens, two heads of 32; put as n_segments segments. */
static inline void coded_sample_make(struct coded_sample *sample, enum kvi_codec_level level, uint32_t planes,
                                     uint32_t n_layers, uint32_t n_segments, uint64_t seed)
{
  memset(sample, 0, sizeof(*sample));
  sample->shape = layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                                       .n_layers = n_layers,
                                                       .n_tokens = 64,
                                                       .n_heads = 2,
                                                       .key_dim = 32,
                                                       .value_dim = 32,
                                                       .start = 4096});
  sample->options = (struct kvi_codec_options){.level = level, .planes = planes};
  sample->raw = sample_raw(&sample->shape, SAMPLE_GAUSSIAN, seed);
  coded_sample_seal(sample, n_segments);
  coded_sample_encode(sample);
}

/* Bytes of no known shape. */
static inline void coded_sample_make_bytes(struct coded_sample *sample, uint64_t length, uint32_t n_segments)
{
  memset(sample, 0, sizeof(*sample));
  sample->shape = (struct kvi_codec_shape){.dtype = KVI_CODEC_BYTES, .n_layers = 1, .raw_bytes = length};
  sample->options = (struct kvi_codec_options){.level = KVI_CODEC_ZSTD};
  sample->raw = malloc(length);
  assert_non_null(sample->raw);
  for (uint64_t i = 0; i < length; i++)
    sample->raw[i] = (uint8_t)(i / 7);
  coded_sample_seal(sample, n_segments);
  coded_sample_encode(sample);
}

/* What a reader gets: the raw bytes, or what is left of them. Free it. */
static inline uint8_t *coded_sample_decoded(const struct coded_sample *sample)
{
  uint8_t *decoded = malloc(sample->shape.raw_bytes);
  struct kvi_coded coded;

  assert_non_null(decoded);
  assert_int_equal(kvi_coded_open(sample->payload, sample->length, sample->length, &coded), KVS_OK);
  for (uint32_t layer = 0; layer < sample->shape.n_layers; layer++)
    assert_int_equal(kvi_coded_layer(&coded, layer, sample->payload,
                                     decoded + kvi_codec_layer_offset(&sample->shape, layer)),
                     KVS_OK);
  return decoded;
}

/* How many leading segments hold what a layer needs. */
static inline uint32_t coded_sample_segments_of(const struct coded_sample *sample, uint32_t layer)
{
  struct kvi_coded coded;
  uint64_t at = 0, end;
  uint32_t n = 0;

  assert_int_equal(kvi_coded_open(sample->payload, sample->length, sample->length, &coded), KVS_OK);
  end = kvi_coded_layer_end(&coded, layer);
  while (at < end)
    at += sample->segments[n++].length;
  return n;
}

static inline void coded_sample_free(struct coded_sample *sample)
{
  free(sample->raw);
  free(sample->payload);
  free(sample->raw_table_bytes);
  free(sample->segments);
}

#endif
