/*
 * tests/unit/codec/codec_testing.h: what the tests of whole objects share: tensors made by rule, encoding and decoding by every path of
 * the loops, and memory around each buffer that has to stay as it is.
 */
#ifndef KVI_TESTS_UNIT_CODEC_CODEC_TESTING_H
#define KVI_TESTS_UNIT_CODEC_CODEC_TESTING_H

#include <math.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "layer_sample.h"
#include "seal.h"

/* ---- tensors ---- */

enum sample_kind {
  SAMPLE_GAUSSIAN,     /* channels with means and deviations of their own */
  SAMPLE_LARGE_MEANS,  /* some channels have means of 40 deviations, as keys of a model with biases */
  SAMPLE_WILD_CHANNEL, /* one channel a thousand times as wide as the others */
  SAMPLE_SINKS,        /* the first four rows are large */
  SAMPLE_OUTLIER,      /* one row in the middle is large */
  SAMPLE_ZEROS,
  SAMPLE_CONSTANT, /* each channel has one number */
  SAMPLE_EXTREMES, /* NaN, infinities, -0, subnormals, the largest numbers among ordinary ones */
  SAMPLE_TINY,     /* subnormals */
  SAMPLE_TAILS,    /* hundreds, some of them six times as large, some 0 */
  SAMPLE_NOISE,    /* any bits */
  SAMPLE_WAVES,    /* rows that follow each other are alike, as keys that turn with the place */
  SAMPLE_KINDS
};

static inline float sample_mean(uint32_t column)
{
  return (float)(column * 7 % 11) * 0.2f - 1.0f;
}

static inline float sample_deviation(uint32_t column)
{
  return 0.5f + (float)(column * 5 % 13) * 0.1f;
}

static inline float sample_number(enum sample_kind kind, uint32_t rows, uint32_t row, uint32_t column,
                                  kvi_rand *rand)
{
  float mean = sample_mean(column), deviation = sample_deviation(column), x;

  if (kind == SAMPLE_ZEROS)
    return 0.0f;
  if (kind == SAMPLE_CONSTANT)
    return mean;
  x = sample_normal(rand) * deviation;
  if (kind == SAMPLE_WAVES)
    return 0.4f * x + 2.0f * sinf((float)row * (0.05f + 0.02f * (float)(column % 8)) + (float)column) + mean;
  if (kind == SAMPLE_TAILS) {
    uint64_t bits = kvi_rand_next(rand);

    return bits % 101 == 0 ? 0.0f : (x * (bits % 37 == 0 ? 6.0f : 1.0f) + mean) * 256.0f;
  }
  if (kind == SAMPLE_LARGE_MEANS && column % 16 == 3)
    return x + 40.0f * (column % 32 == 3 ? 1.0f : -1.0f);
  if (kind == SAMPLE_WILD_CHANNEL && column == 5)
    return 1000.0f * (x + mean);
  if (kind == SAMPLE_SINKS && row < 4)
    return 50.0f * (x + mean);
  if (kind == SAMPLE_OUTLIER && row == rows / 2)
    return 300.0f * (x + mean);
  return x + mean;
}

/* An element that a float would not become. */
static inline void sample_pattern(enum kvi_codec_dtype dtype, uint32_t which, uint8_t *element)
{
  static const uint16_t bf16[] = {0x7fc1, 0x7f80, 0xff80, 0x8000, 0x0001, 0x7f7f, 0xff7f, 0x807f};
  static const uint16_t fp16[] = {0x7e01, 0x7c00, 0xfc00, 0x8000, 0x0001, 0x7bff, 0xfbff, 0x83ff};
  static const uint8_t e4m3[] = {0x7f, 0xff, 0x80, 0x01, 0x7e, 0xfe, 0x87, 0x07};
  static const uint8_t e5m2[] = {0x7d, 0x7c, 0xfc, 0x80, 0x01, 0x7b, 0xfb, 0x83};

  if (dtype == KVI_CODEC_BF16 || dtype == KVI_CODEC_FP16)
    kvi_store_le16(element, (dtype == KVI_CODEC_BF16 ? bf16 : fp16)[which % 8]);
  else
    *element = dtype == KVI_CODEC_E4M3   ? e4m3[which % 8]
               : dtype == KVI_CODEC_E5M2 ? e5m2[which % 8]
                                         : (uint8_t)(which * 127);
}

static inline void sample_element(enum kvi_codec_dtype dtype, enum sample_kind kind, uint32_t rows,
                                  uint32_t row, uint32_t column, kvi_rand *rand, uint8_t *element)
{
  float scale = dtype == KVI_CODEC_INT8 ? 16.0f : kind == SAMPLE_TINY ? 0x1p-132f : 1.0f;
  uint64_t bits;

  if (kind == SAMPLE_TINY && dtype != KVI_CODEC_BF16 && dtype != KVI_CODEC_INT8)
    scale = dtype == KVI_CODEC_FP16 ? 0x1p-20f : dtype == KVI_CODEC_E5M2 ? 0x1p-15f : 0x1p-8f;
  kvi_codec_from_float(dtype, scale * sample_number(kind, rows, row, column, rand), element);
  if (kind != SAMPLE_NOISE && kind != SAMPLE_EXTREMES)
    return;
  bits = kvi_rand_next(rand);
  if (kind == SAMPLE_NOISE)
    memcpy(element, &bits, kvi_codec_element_size(dtype));
  else if (bits % 61 == 0)
    sample_pattern(dtype, (uint32_t)(bits >> 32), element);
}

/* The raw bytes of a whole shape. Free it. */
static inline uint8_t *sample_raw(const struct kvi_codec_shape *shape, enum sample_kind kind, uint64_t seed)
{
  size_t size = kvi_codec_element_size(shape->dtype), at = 0;
  uint8_t *raw = malloc(shape->raw_bytes);
  kvi_rand rand;

  assert_non_null(raw);
  kvi_rand_seed(&rand, seed);
  for (uint32_t layer = 0; layer < shape->n_layers; layer++)
    for (int plane = 0; plane < 2; plane++) {
      uint32_t columns = shape->n_heads * (plane == 0 ? shape->key_dim : shape->value_dim);
      uint32_t rows = kvi_codec_layer_rows(shape, layer);

      for (uint32_t row = 0; row < rows; row++)
        for (uint32_t column = 0; column < columns; column++, at += size)
          sample_element(shape->dtype, kind, rows, row, column, &rand, raw + at);
    }
  assert_int_equal(at, shape->raw_bytes);
  return raw;
}

/* ---- paths ---- */

#define N_PATHS 5

/* False: this machine lacks it, which is said once. Path 0 is there always. */
static inline bool take_path(int i)
{
  static bool said[N_PATHS];
  static const char *const paths[N_PATHS] = {"scalar", "avx2", "avx2-no-gather", "avx512",
                                             "avx512-no-gather"};
  kvs_status status = kvi_codec_use_path(paths[i]);

  assert_true(status == KVS_OK || (i > 0 && status == KVS_ERR_UNSUPPORTED));
  assert_true(status != KVS_OK || strcmp(kvi_codec_path(), paths[i]) == 0);
  if (status != KVS_OK && !said[i])
    print_message("skipped: this machine has no path %s\n", paths[i]);
  said[i] = said[i] || status != KVS_OK;
  return status == KVS_OK;
}

/* ---- objects ---- */

struct object_bytes {
  uint8_t *bytes; /* of exactly this length, so that a sanitizer sees a read behind it */
  size_t length;
};

static inline struct object_bytes copy_bytes(const uint8_t *bytes, size_t length)
{
  struct object_bytes copy = {malloc(length + (length == 0)), length};

  assert_non_null(copy.bytes);
  memcpy(copy.bytes, bytes, length);
  return copy;
}

/* Encodes by the path in use, with scratch that holds fill and nothing written behind scratch or room. */
static inline struct object_bytes encode_object(const struct kvi_codec_shape *shape,
                                                const struct kvi_codec_options *options, const uint8_t *raw,
                                                uint8_t fill)
{
  size_t scratch_size = kvi_codec_encode_scratch(shape, options);
  size_t room = (size_t)kvi_codec_bound(shape, options), length;
  uint8_t *scratch = aligned_alloc(64, (scratch_size + 127) / 64 * 64), *out = malloc(room + 64);
  struct object_bytes object;

  assert_non_null(scratch);
  assert_non_null(out);
  memset(scratch, fill, scratch_size);
  memset(scratch + scratch_size, 0xa5, 64);
  memset(out + room, 0x5a, 64);
  assert_int_equal(kvi_codec_encode(shape, options, raw, scratch, out, room, &length), KVS_OK);
  assert_in_range(length, KVI_CODEC_HEADER_SIZE, room);
  for (int i = 0; i < 64; i++) {
    assert_int_equal(scratch[scratch_size + (size_t)i], 0xa5);
    assert_int_equal(out[room + (size_t)i], 0x5a);
  }
  object = copy_bytes(out, length);
  free(scratch);
  free(out);
  return object;
}

/* Encodes by every path: the same bytes. */
static inline struct object_bytes encode_alike(const struct kvi_codec_shape *shape,
                                               const struct kvi_codec_options *options, const uint8_t *raw)
{
  struct object_bytes object = {NULL, 0};

  for (int path = 0; path < N_PATHS; path++) {
    struct object_bytes other;

    if (!take_path(path))
      continue;
    other = encode_object(shape, options, raw, (uint8_t)(0x11 * path));
    if (path == 0) {
      object = other;
      continue;
    }
    assert_int_equal(other.length, object.length);
    assert_memory_equal(other.bytes, object.bytes, object.length);
    free(other.bytes);
  }
  return object;
}

/* Decodes a whole object to raw_bytes (of exactly that room) by the path in use. */
static inline kvs_status decode_object(const uint8_t *bytes, size_t size, uint32_t max_quality,
                                       uint64_t raw_bytes, uint8_t **raw_p, uint32_t *quality_p)
{
  uint8_t *raw = malloc(raw_bytes);
  kvs_status status;

  assert_non_null(raw);
  memset(raw, 0xee, raw_bytes);
  status = kvi_codec_decode(bytes, size, max_quality, raw, raw_bytes, quality_p);
  *raw_p = raw;
  return status;
}

/* The same by every path: the same status, and on success the same bytes. *raw_p is NULL on an error. */
static inline kvs_status decode_alike(const uint8_t *bytes, size_t size, uint32_t max_quality,
                                      uint64_t raw_bytes, uint8_t **raw_p, uint32_t *quality_p)
{
  kvs_status status = KVS_OK;

  *raw_p = NULL;
  for (int path = 0; path < N_PATHS; path++) {
    uint32_t quality;
    uint8_t *raw;
    kvs_status one;

    if (!take_path(path))
      continue;
    one = decode_object(bytes, size, max_quality, raw_bytes, &raw, &quality);
    if (path == 0) {
      status = one;
      *quality_p = quality;
      *raw_p = raw;
      continue;
    }
    assert_int_equal(one, status);
    if (status == KVS_OK) {
      assert_int_equal(quality, *quality_p);
      assert_memory_equal(raw, *raw_p, raw_bytes);
    }
    free(raw);
  }
  if (status != KVS_OK) {
    free(*raw_p);
    *raw_p = NULL;
  }
  return status;
}

/* A layer by the path in use into rows with gaps, at an odd address: the gaps stay as they were, the rows are those of raw. */
static inline void check_layer_in_place(const uint8_t *bytes, const struct kvi_codec_object *object,
                                        uint32_t layer, uint32_t quality, const uint8_t *raw)
{
  const struct kvi_codec_shape *shape = &object->shape;
  size_t element = kvi_codec_element_size(shape->dtype), rows = kvi_codec_layer_rows(shape, layer);
  size_t row[2] = {shape->n_heads * element * shape->key_dim, shape->n_heads * element * shape->value_dim};
  const uint8_t *segments[KVI_CODEC_PLANES_MAX + 1];
  struct kvi_codec_place place = {0};
  uint8_t *memory[2];

  raw += kvi_codec_layer_offset(shape, layer);
  for (uint32_t i = 0; i <= quality; i++)
    segments[i] = bytes + kvi_codec_segment_at(object, i, layer).offset;
  for (int i = 0; i < 2; i++) {
    memory[i] = malloc(rows * (row[i] + 13) + 13);
    assert_non_null(memory[i]);
    memset(memory[i], 0xc3, rows * (row[i] + 13) + 13);
  }
  place.keys = row[0] > 0 ? memory[0] + 13 : NULL;
  place.values = row[1] > 0 ? memory[1] + 13 : NULL;
  place.key_stride = row[0] + 13;
  place.value_stride = row[1] + 13;
  assert_int_equal(kvi_codec_decode_layer(object, layer, quality, segments, &place), KVS_OK);
  for (int i = 0; i < 2; i++) {
    static const uint8_t gap[13] = {0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3,
                                    0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3};
    const uint8_t *at = memory[i];

    assert_memory_equal(at, gap, sizeof gap);
    for (size_t r = 0; r < rows; r++, raw += row[i], at += row[i] + 13) {
      assert_memory_equal(at + 13, raw, row[i]);
      assert_memory_equal(at + 13 + row[i], gap, sizeof gap);
    }
    free(memory[i]);
  }
}

#endif
