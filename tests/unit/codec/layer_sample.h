/* tests/unit/codec/layer_sample.h: what the tests of the layer coders share: samples of tensors, and a coder there and back. */
#ifndef KVI_TESTS_UNIT_CODEC_LAYER_SAMPLE_H
#define KVI_TESTS_UNIT_CODEC_LAYER_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "tiers/codec/element.h"
#include "tiers/codec/layer_coder.h"

/* Sets raw_bytes and checks the rest. */
static inline struct kvi_codec_shape layer_shape(struct kvi_codec_shape shape)
{
  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  assert_int_equal(kvi_codec_shape_check(&shape), KVS_OK);
  return shape;
}

/* About N(0, 1), by integers: the same everywhere. */
static inline float sample_normal(kvi_rand *rand)
{
  int sum = 0;

  for (int i = 0; i < 12; i++)
    sum += (int)(kvi_rand_next(rand) & 0xffff);
  return (float)(sum - 6 * 0xffff) * 0x1p-16f;
}

/* A layer whose columns have means and deviations of their own, times scale. Free it. */
static inline uint8_t *sample_layer(const struct kvi_codec_shape *shape, uint32_t layer, uint64_t seed,
                                    float scale)
{
  size_t size = kvi_codec_element_size(shape->dtype), bytes = (size_t)kvi_codec_layer_bytes(shape, layer),
         at = 0;
  uint32_t rows = kvi_codec_layer_rows(shape, layer);
  uint8_t *raw = malloc(bytes);
  kvi_rand rand;

  assert_non_null(raw);
  kvi_rand_seed(&rand, seed);
  for (int plane = 0; plane < 2; plane++) {
    uint32_t columns = shape->n_heads * (plane == 0 ? shape->key_dim : shape->value_dim);

    for (uint32_t row = 0; row < rows; row++)
      for (uint32_t c = 0; c < columns; c++, at += size) {
        float mean = (float)(c * 7 % 11) * 0.1f - 0.5f, deviation = 0.5f + (float)(c * 5 % 13) * 0.1f;

        kvi_codec_from_float(shape->dtype, (mean + deviation * sample_normal(&rand)) * scale, raw + at);
      }
  }
  assert_int_equal(at, bytes);
  return raw;
}

struct segment {
  uint8_t *bytes; /* of exactly this length, so that a sanitizer sees a read behind it */
  size_t length;
};

static inline struct segment encode_layer(const struct kvi_codec_layer_coder *coder,
                                          const struct kvi_codec_shape *shape,
                                          const struct kvi_codec_options *options, uint32_t layer,
                                          const uint8_t *raw)
{
  size_t scratch_size = (coder->scratch(shape, options) + 63) / 64 * 64,
         room = (size_t)coder->bound(shape, layer);
  void *scratch = aligned_alloc(64, scratch_size + 64);
  uint8_t *out = malloc(room + 1);
  struct segment segment;

  assert_non_null(scratch);
  assert_non_null(out);
  memset(scratch, 0xa5, scratch_size + 64);
  out[room] = 0x5a;
  assert_int_equal(coder->encode(shape, options, layer, raw, scratch, out, room, &segment.length), KVS_OK);
  assert_in_range(segment.length, 0, room);
  assert_int_equal(out[room], 0x5a);
  for (int i = 0; i < 64; i++)
    assert_int_equal(((uint8_t *)scratch)[scratch_size + (size_t)i], 0xa5);
  segment.bytes = malloc(segment.length + (segment.length == 0));
  assert_non_null(segment.bytes);
  memcpy(segment.bytes, out, segment.length);
  free(scratch);
  free(out);
  return segment;
}

/* Dense, as in the raw bytes; out has the layer's very size. */
static inline kvs_status decode_dense(const struct kvi_codec_layer_coder *coder,
                                      const struct kvi_codec_shape *shape, uint32_t layer,
                                      const uint8_t *bytes, size_t length, uint8_t *out)
{
  size_t element = kvi_codec_element_size(shape->dtype);
  struct kvi_codec_place place = {
      .keys = shape->key_dim > 0 || shape->dtype == KVI_CODEC_BYTES ? out : NULL,
      .values = shape->value_dim > 0 ? out + kvi_codec_layer_key_bytes(shape, layer) : NULL,
      .key_stride = shape->n_heads * element * shape->key_dim,
      .value_stride = shape->n_heads * element * shape->value_dim,
  };

  return coder->decode(shape, layer, bytes, length, &place);
}

/*
 * To rows with gaps of 8 bytes between, which have to stay as they are; what they hold goes to out. On an error out is not written.
 */
static inline kvs_status decode_strided(const struct kvi_codec_layer_coder *coder,
                                        const struct kvi_codec_shape *shape, uint32_t layer,
                                        const uint8_t *bytes, size_t length, uint8_t *out)
{
  size_t element = kvi_codec_element_size(shape->dtype), rows = kvi_codec_layer_rows(shape, layer);
  size_t row[2] = {shape->n_heads * element * shape->key_dim, shape->n_heads * element * shape->value_dim};
  uint8_t *memory[2];
  struct kvi_codec_place place;
  kvs_status status;

  for (int i = 0; i < 2; i++) {
    memory[i] = malloc(rows * (row[i] + 8));
    assert_non_null(memory[i]);
    memset(memory[i], 0xc3, rows * (row[i] + 8));
  }
  place = (struct kvi_codec_place){row[0] > 0 ? memory[0] : NULL, row[1] > 0 ? memory[1] : NULL, row[0] + 8,
                                   row[1] + 8};
  status = coder->decode(shape, layer, bytes, length, &place);
  for (int i = 0; i < 2; i++) {
    for (size_t r = 0; r < rows; r++) {
      for (size_t gap = 0; gap < 8; gap++)
        assert_int_equal(memory[i][r * (row[i] + 8) + row[i] + gap], 0xc3);
      if (status == KVS_OK && row[i] > 0)
        memcpy(out, memory[i] + r * (row[i] + 8), row[i]);
      out += status == KVS_OK ? row[i] : 0;
    }
    free(memory[i]);
  }
  return status;
}

#endif
