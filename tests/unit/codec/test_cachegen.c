/* Level "cachegen": there and back, against the reference decoder, how large and how wrong it is, and hostile segments. */
#include <math.h>

#include "cachegen_reference.h"
#include "layer_sample.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/codec/cachegen_model.h"

#define CODER (&kvi_codec_cachegen)

/* Modes of the format. */
#define BY_HEAD 1
#define BY_ROW  2

static const enum kvi_codec_dtype dtypes[] = {KVI_CODEC_BF16, KVI_CODEC_FP16, KVI_CODEC_E4M3, KVI_CODEC_E5M2,
                                              KVI_CODEC_INT8};
#define N_DTYPES (sizeof dtypes / sizeof dtypes[0])

static const struct kvi_codec_options plain = {.level = KVI_CODEC_CACHEGEN};

static float scale_of(enum kvi_codec_dtype dtype)
{
  return dtype == KVI_CODEC_INT8 ? 20.0f : 1.0f;
}

/* ||x - y|| / ||x|| over so many elements. */
static double relative_error(enum kvi_codec_dtype dtype, const uint8_t *x, const uint8_t *y, size_t bytes)
{
  size_t size = kvi_codec_element_size(dtype);
  double error = 0, all = 0;

  for (size_t at = 0; at < bytes; at += size) {
    double a = (double)kvi_codec_to_float(dtype, x + at), b = (double)kvi_codec_to_float(dtype, y + at);

    error += (a - b) * (a - b);
    all += a * a;
  }
  return all > 0 ? sqrt(error / all) : error > 0 ? INFINITY : 0;
}

/* Decodes in every way, which must all agree, and frees the segment. The caller frees what comes back. */
static uint8_t *decode_all_ways(const struct kvi_codec_shape *shape, uint32_t layer, struct segment segment)
{
  size_t bytes = (size_t)kvi_codec_layer_bytes(shape, layer);
  uint8_t *dense = malloc(bytes), *other = malloc(bytes);

  assert_non_null(dense);
  assert_non_null(other);
  assert_int_equal(decode_dense(CODER, shape, layer, segment.bytes, segment.length, dense), KVS_OK);
  assert_int_equal(decode_strided(CODER, shape, layer, segment.bytes, segment.length, other), KVS_OK);
  assert_memory_equal(dense, other, bytes);
  memset(other, 0, bytes);
  assert_true(cachegen_reference_decode(shape, layer, segment.bytes, segment.length, other));
  assert_memory_equal(dense, other, bytes);
  free(other);
  free(segment.bytes);
  return dense;
}

static void classes_are_bell_curves(void **state)
{
  const struct kvi_cachegen_class *classes = kvi_cachegen_classes();

  (void)state;
  for (unsigned c = 0; c < KVI_CACHEGEN_CLASSES; c++) {
    uint32_t most = 0;

    assert_int_equal(classes[c].starts[0], 0);
    assert_int_equal(classes[c].starts[KVI_CACHEGEN_SYMBOLS], 65536);
    for (int number = -127; number <= 128; number++) {
      uint32_t frequency = classes[c].starts[number + 128] - classes[c].starts[number + 127];

      assert_int_equal(frequency, cachegen_reference_frequency(c, number));
      most = number < 128 && frequency > most ? frequency : most;
    }
    assert_int_equal(most, cachegen_reference_frequency(c, 0));
  }
}

static void a_class_is_chosen_by_what_it_costs(void **state)
{
  (void)state;
  for (unsigned c = 0; c < KVI_CACHEGEN_CLASSES; c++) {
    uint32_t histogram[KVI_CACHEGEN_MAGNITUDE];

    for (int k = 0; k < 128; k++)
      histogram[k] = cachegen_reference_frequency(c, k) * (k > 0 ? 2 : 1);
    histogram[128] = 32;
    assert_int_equal(kvi_cachegen_choose_class(histogram, 0, 1, KVI_CACHEGEN_CLASSES), c);
  }
}

static const struct kvi_codec_shape odd_shapes[] = {
    {.n_layers = 1, .n_tokens = 1, .n_heads = 1, .key_dim = 8, .value_dim = 8},
    {.n_layers = 1, .n_tokens = 10, .n_heads = 3, .key_dim = 24, .value_dim = 40},
    {.n_layers = 3, .n_tokens = 33, .n_heads = 2, .key_dim = 64, .value_dim = 64},
    {.n_layers = 3, .n_tokens = 256, .n_heads = 1, .key_dim = 576, .rotary_dim = 64},
    {.n_layers = 1, .n_tokens = 31, .n_heads = 5, .value_dim = 16},
    {.n_layers = 1, .n_tokens = 700, .n_heads = 1, .key_dim = 8, .value_dim = 8},
};

static void every_dtype_and_odd_shapes_come_back(void **state)
{
  (void)state;
  for (size_t d = 0; d < N_DTYPES; d++)
    for (size_t i = 0; i < sizeof odd_shapes / sizeof odd_shapes[0]; i++) {
      struct kvi_codec_shape shape = odd_shapes[i];

      shape.dtype = dtypes[d];
      shape = layer_shape(shape);
      for (uint32_t layer = 0; layer < shape.n_layers; layer++) {
        uint8_t *raw = sample_layer(&shape, layer, 100 * i + layer, scale_of(shape.dtype));
        struct segment one = encode_layer(CODER, &shape, &plain, layer, raw);
        struct segment two = encode_layer(CODER, &shape, &plain, layer, raw);
        uint8_t *back;

        assert_int_equal(one.length, two.length);
        assert_memory_equal(one.bytes, two.bytes, one.length);
        free(two.bytes);
        back = decode_all_ways(&shape, layer, one);
        assert_true(relative_error(shape.dtype, raw, back, (size_t)kvi_codec_layer_bytes(&shape, layer)) <
                    0.6);
        free(back);
        free(raw);
      }
    }
}

static void few_rows_come_back(void **state)
{
  (void)state;
  for (uint32_t rows = 1; rows <= 12; rows++) {
    const uint16_t first[2] = {0, (uint16_t)(rows / 2)};
    struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                                                        .n_layers = 2,
                                                                        .n_tokens = rows,
                                                                        .n_heads = 2,
                                                                        .key_dim = 32,
                                                                        .value_dim = 16,
                                                                        .first_token = first});
    for (uint32_t layer = 0; layer < 2; layer++) {
      uint8_t *raw = sample_layer(&shape, layer, rows, 3.0f), *back;

      back = decode_all_ways(&shape, layer, encode_layer(CODER, &shape, &plain, layer, raw));
      /* One anchor at 8 bits, and its deltas at half their deviation or less. */
      assert_true(relative_error(shape.dtype, raw, back, (size_t)kvi_codec_layer_bytes(&shape, layer)) < 0.5);
      free(back);
      free(raw);
    }
  }
}

/* Normal numbers: what theory says, with room for the model's cost. */
static void rate_and_error_follow_the_step(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                                                      .n_layers = 3,
                                                                      .n_tokens = 256,
                                                                      .n_heads = 2,
                                                                      .key_dim = 128,
                                                                      .value_dim = 128});
  double last_error = 10, last_bits = 0;
  const uint32_t steps[] = {4000, 2000, 1000, 500, 250, 100};

  (void)state;
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
    for (uint32_t layer = 0; layer < 3; layer++) {
      struct kvi_codec_options options = {.level = KVI_CODEC_CACHEGEN, .step = steps[i]};
      size_t bytes = (size_t)kvi_codec_layer_bytes(&shape, layer);
      uint8_t *raw = sample_layer(&shape, layer, 5, 1.0f), *back;
      struct segment segment = encode_layer(CODER, &shape, &options, layer, raw);
      double bits = 8.0 * (double)segment.length / ((double)bytes / 2), error;

      back = decode_all_ways(&shape, layer, segment);
      error = relative_error(shape.dtype, raw, back, bytes);
      if (layer == 1) {
        assert_true(error < last_error && bits > last_bits);
        last_error = error;
        last_bits = bits;
      }
      if (steps[i] == 1000) {
        /* The bin in root mean squares of the deltas, which are sqrt(2) times wider than the numbers; 9 of 10 tokens. */
        double bin = 0.5 * (layer + 1), expected = bin * sqrt(2.0 / 12 * 0.9) * 0.95;
        const double most_bits[3] = {3.8, 2.8, 2.3};

        assert_true(error > expected * 0.75 && error < expected * 1.15);
        assert_true(bits < most_bits[layer] && bits > most_bits[layer] - 0.8);
      }
      free(back);
      free(raw);
    }
}

static void fine_steps_of_int8_are_lossless(void **state)
{
  struct kvi_codec_options options = {.level = KVI_CODEC_CACHEGEN, .step = 100};
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_INT8, .n_layers = 1, .n_tokens = 60, .n_heads = 2, .key_dim = 64, .value_dim = 64});
  uint8_t *raw = sample_layer(&shape, 0, 9, 3.0f), *back;

  (void)state;
  back = decode_all_ways(&shape, 0, encode_layer(CODER, &shape, &options, 0, raw));
  assert_memory_equal(raw, back, kvi_codec_layer_bytes(&shape, 0));
  free(back);
  free(raw);
}

/* Layers of one number; and what a flat layer costs. */
static void flat_layers_are_small_and_right(void **state)
{
  const float numbers[] = {0.0f, 1.0f, -3.5f, 100.0f, 1e-3f, 448.0f};

  (void)state;
  for (size_t d = 0; d < N_DTYPES; d++)
    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
      struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
          .dtype = dtypes[d], .n_layers = 1, .n_tokens = 200, .n_heads = 1, .key_dim = 64, .value_dim = 64});
      size_t size = kvi_codec_element_size(shape.dtype), bytes = (size_t)kvi_codec_layer_bytes(&shape, 0);
      uint8_t *raw = malloc(bytes), *back;
      struct segment segment;

      assert_non_null(raw);
      for (size_t at = 0; at < bytes; at += size)
        kvi_codec_from_float(shape.dtype, numbers[n], raw + at);
      segment = encode_layer(CODER, &shape, &plain, 0, raw);
      /* An anchor that its 8 bits miss by a little makes all its deltas alike, but not zero. */
      assert_true(segment.length * 8 < bytes / size * (n == 0 ? 1 : 4));
      back = decode_all_ways(&shape, 0, segment);
      assert_true(relative_error(shape.dtype, raw, back, bytes) < 0.004);
      free(back);
      free(raw);
    }
}

/* Patterns that cannot be quantised, or hardly: what is not finite comes back to the bit, and nothing disturbs another plane. */
static void nan_infinity_and_huge_numbers_survive(void **state)
{
  static const struct {
    enum kvi_codec_dtype dtype;
    uint16_t pattern;
    bool exact;
  } cases[] = {
      {KVI_CODEC_BF16, 0x7fc1, true},  {KVI_CODEC_BF16, 0xff80, true},  {KVI_CODEC_BF16, 0x7f7f, true},
      {KVI_CODEC_BF16, 0xff7f, true},  {KVI_CODEC_BF16, 0x7000, false}, {KVI_CODEC_BF16, 0x0001, false},
      {KVI_CODEC_FP16, 0x7c00, true},  {KVI_CODEC_FP16, 0xfe01, true},  {KVI_CODEC_FP16, 0x7bff, false},
      {KVI_CODEC_FP16, 0x0001, false}, {KVI_CODEC_E4M3, 0x7f, true},    {KVI_CODEC_E4M3, 0xfe, false},
      {KVI_CODEC_E5M2, 0x7c, true},    {KVI_CODEC_E5M2, 0xfd, true},    {KVI_CODEC_E5M2, 0x7b, false},
      {KVI_CODEC_INT8, 0x80, false},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (size_t row = 0; row < 22; row += 7) {
      struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = cases[i].dtype,
                                                                          .n_layers = 1,
                                                                          .n_tokens = 22,
                                                                          .n_heads = 2,
                                                                          .key_dim = 16,
                                                                          .value_dim = 16});
      size_t size = kvi_codec_element_size(shape.dtype),
             key_bytes = (size_t)kvi_codec_layer_key_bytes(&shape, 0);
      uint8_t *raw = sample_layer(&shape, 0, i, scale_of(shape.dtype)), *back;

      memcpy(raw + (row * 32 + 5) * size, &cases[i].pattern, size);
      back = decode_all_ways(&shape, 0, encode_layer(CODER, &shape, &plain, 0, raw));
      if (cases[i].exact)
        assert_memory_equal(raw, back, key_bytes);
      else
        assert_true(relative_error(shape.dtype, raw, back, key_bytes) < 0.6);
      assert_true(relative_error(shape.dtype, raw + key_bytes, back + key_bytes, key_bytes) < 0.6);
      free(back);
      free(raw);
    }
}

/* A head with a large bias, as some models have in their keys, takes nothing from the others. */
static void a_large_bias_does_not_break_the_other_heads(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 3, .n_tokens = 256, .n_heads = 4, .key_dim = 64, .value_dim = 64});
  size_t key_bytes = (size_t)kvi_codec_layer_key_bytes(&shape, 0);
  uint8_t *raw = sample_layer(&shape, 0, 3, 1.0f), *back;
  struct segment segment = encode_layer(CODER, &shape, &plain, 0, raw);
  double error;

  (void)state;
  assert_int_equal(segment.bytes[0], BY_ROW);
  back = decode_all_ways(&shape, 0, segment);
  error = relative_error(shape.dtype, raw, back, key_bytes);
  free(back);
  for (size_t row = 0; row < 256; row++) {
    uint8_t *element = raw + 2 * (row * 256 + 70);

    kvi_codec_from_float(shape.dtype, kvi_codec_to_float(shape.dtype, element) + 900.0f, element);
  }
  segment = encode_layer(CODER, &shape, &plain, 0, raw);
  assert_int_equal(segment.bytes[0], BY_HEAD);
  back = decode_all_ways(&shape, 0, segment);
  for (size_t row = 0; row < 256; row++) { /* the biased head is compared no more */
    memset(raw + 2 * (row * 256 + 64), 0, 128);
    memset(back + 2 * (row * 256 + 64), 0, 128);
  }
  assert_true(relative_error(shape.dtype, raw, back, key_bytes) < 1.1 * error);
  free(back);
  free(raw);
}

/* One row a thousand times larger than its neighbours makes escapes, and they are right. */
static void outliers_come_back(void **state)
{
  struct kvi_codec_options options = {.level = KVI_CODEC_CACHEGEN, .step = 100};
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 3, .n_tokens = 4000, .n_heads = 1, .key_dim = 8, .value_dim = 8});
  uint8_t *raw = sample_layer(&shape, 0, 3, 1.0f), *back;

  (void)state;
  for (size_t row = 1234; row < 1236; row++)
    kvi_codec_from_float(shape.dtype, row & 1 ? 3000.0f : -3000.0f, raw + 2 * (row * 8 + 3));
  back = decode_all_ways(&shape, 0, encode_layer(CODER, &shape, &options, 0, raw));
  assert_true(relative_error(shape.dtype, raw, back, (size_t)kvi_codec_layer_key_bytes(&shape, 0)) < 0.02);
  free(back);
  free(raw);
}

/* A few rows of bytes without order do not bear the model's cost: they are kept as they are, within the bound. */
static void what_would_grow_is_raw(void **state)
{
  struct kvi_codec_options options = {.level = KVI_CODEC_CACHEGEN, .step = 100};
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_INT8, .n_layers = 1, .n_tokens = 3, .n_heads = 1, .key_dim = 64, .value_dim = 8});
  size_t bytes = (size_t)kvi_codec_layer_bytes(&shape, 0);
  uint8_t *raw = malloc(bytes), *back;
  struct segment segment;
  kvi_rand rand;

  (void)state;
  assert_non_null(raw);
  kvi_rand_seed(&rand, 1);
  for (size_t i = 0; i < bytes; i++)
    raw[i] = (uint8_t)kvi_rand_next(&rand);
  segment = encode_layer(CODER, &shape, &options, 0, raw);
  assert_int_equal(segment.length, bytes + 16);
  back = decode_all_ways(&shape, 0, segment);
  assert_memory_equal(raw, back, bytes);
  free(back);
  free(raw);
}

/* Decoding gives these bits for ever. The encoder may change with a version, and then this changes with it. */
static void a_known_layer_gives_known_bytes(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 2, .n_tokens = 57, .n_heads = 3, .key_dim = 32, .value_dim = 64});
  size_t bytes = (size_t)kvi_codec_layer_bytes(&shape, 1);
  uint8_t *raw = malloc(bytes), *back;
  struct segment segment;
  kvi_rand rand;

  (void)state;
  assert_non_null(raw);
  kvi_rand_seed(&rand, 42);
  for (size_t at = 0; at < bytes; at += 2) {
    uint64_t random = kvi_rand_next(&rand);

    kvi_store_le16(raw + at, (uint16_t)((random >> 60 & 1) << 15 | (0x3f00 + random % 0x180)));
  }
  segment = encode_layer(CODER, &shape, &plain, 1, raw);
  assert_int_equal(kvi_crc32c_update(0, segment.bytes, segment.length), 0x8e4f38b2u);
  back = decode_all_ways(&shape, 1, segment);
  assert_int_equal(kvi_crc32c_update(0, back, bytes), 0xbf77dcc6u);
  free(back);
  free(raw);
}

static struct kvi_codec_shape hostile_shape(void)
{
  return layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 1, .n_tokens = 23, .n_heads = 2, .key_dim = 16, .value_dim = 8});
}

static void cut_segments_are_refused(void **state)
{
  struct kvi_codec_shape shape = hostile_shape();
  uint8_t *raw = sample_layer(&shape, 0, 1, 1.0f), *out = malloc((size_t)kvi_codec_layer_bytes(&shape, 0));
  struct segment segment = encode_layer(CODER, &shape, &plain, 0, raw);

  (void)state;
  assert_non_null(out);
  for (size_t length = 0; length < segment.length; length++) {
    uint8_t *cut = malloc(length + (length == 0));

    assert_non_null(cut);
    memcpy(cut, segment.bytes, length);
    assert_int_equal(decode_strided(CODER, &shape, 0, cut, length, out), KVS_ERR_CORRUPT);
    free(cut);
  }
  segment.bytes = realloc(segment.bytes, segment.length + 1);
  assert_non_null(segment.bytes);
  segment.bytes[segment.length] = 0;
  assert_int_equal(decode_strided(CODER, &shape, 0, segment.bytes, segment.length + 1, out), KVS_ERR_CORRUPT);
  free(segment.bytes);
  free(out);
  free(raw);
}

/* A keys' part that is cut or grown with its length set right ends too early or too late. */
static void planes_that_do_not_end_where_they_say_are_refused(void **state)
{
  struct kvi_codec_shape shape = hostile_shape();
  uint8_t *raw = sample_layer(&shape, 0, 1, 1.0f), *out = malloc((size_t)kvi_codec_layer_bytes(&shape, 0));
  struct segment segment = encode_layer(CODER, &shape, &plain, 0, raw);
  uint32_t keys = segment.bytes[4] | (uint32_t)segment.bytes[5] << 8;

  (void)state;
  assert_non_null(out);
  assert_int_equal(segment.bytes[0], BY_ROW);
  for (uint32_t length = 0; length <= segment.length + 3; length++)
    if (length != keys) {
      segment.bytes[4] = (uint8_t)length;
      segment.bytes[5] = (uint8_t)(length >> 8);
      assert_int_equal(decode_strided(CODER, &shape, 0, segment.bytes, segment.length, out), KVS_ERR_CORRUPT);
    }
  free(segment.bytes);
  free(out);
  free(raw);
}

/* Decoder and reference agree on what is sound and on what it means. */
static void damaged_segments_are_refused_or_decoded_alike(void **state)
{
  struct kvi_codec_shape shape = hostile_shape();
  size_t bytes = (size_t)kvi_codec_layer_bytes(&shape, 0);
  uint8_t *raw = sample_layer(&shape, 0, 1, 1.0f), *out = malloc(bytes), *reference = malloc(bytes);
  struct segment segment = encode_layer(CODER, &shape, &plain, 0, raw);
  uint32_t refused = 0, taken = 0;
  kvi_rand rand;

  (void)state;
  assert_non_null(out);
  assert_non_null(reference);
  kvi_rand_seed(&rand, 17);
  for (size_t bit = 0; bit < segment.length * 8 + 2000; bit++) {
    uint8_t *damaged = malloc(segment.length);
    kvs_status status;
    bool sound;

    assert_non_null(damaged);
    memcpy(damaged, segment.bytes, segment.length);
    if (bit < segment.length * 8)
      damaged[bit / 8] ^= (uint8_t)(1u << (bit & 7));
    else
      for (size_t i = 0; i < 1 + (bit & 7); i++)
        damaged[8 + kvi_rand_next(&rand) % (segment.length - 8)] = (uint8_t)kvi_rand_next(&rand);
    memset(reference, 0, bytes);
    status = decode_strided(CODER, &shape, 0, damaged, segment.length, out);
    sound = cachegen_reference_decode(&shape, 0, damaged, segment.length, reference);
    assert_true(status == KVS_OK || status == KVS_ERR_CORRUPT);
    assert_int_equal(status == KVS_OK, sound);
    if (sound)
      assert_memory_equal(out, reference, bytes);
    refused += !sound;
    taken += sound;
    free(damaged);
  }
  /* Steps, for one, may be others and nobody can tell without the checksum of the segment. */
  assert_true(taken > 0 && refused > taken);
  free(segment.bytes);
  free(reference);
  free(out);
  free(raw);
}

/* Any bytes behind a sound header, also those that never make the decoder read on. */
static void any_bytes_end(void **state)
{
  struct kvi_codec_shape shape = hostile_shape();
  uint8_t *out = malloc((size_t)kvi_codec_layer_bytes(&shape, 0));
  kvi_rand rand;

  (void)state;
  assert_non_null(out);
  kvi_rand_seed(&rand, 5);
  for (int round = 0; round < 3000; round++) {
    size_t side = 2 * 2 * 4 + 2 * 32, length = 8 + side + kvi_rand_next(&rand) % 600;
    uint8_t *bytes = malloc(length);
    kvs_status status;

    assert_non_null(bytes);
    for (size_t i = 8; i < length; i++)
      bytes[i] = round % 3 == 0 ? 0 : round % 3 == 1 ? 0xff : (uint8_t)kvi_rand_next(&rand);
    memcpy(
        bytes,
        (const uint8_t[]){(uint8_t)(1 + (round & 1)), 0, 0, 0, (uint8_t)length, (uint8_t)(length >> 8), 0, 0},
        8);
    for (size_t i = 0; i < 8 && round > 10; i++) {
      bytes[8 + 2 * i] |= 128;
      bytes[9 + 2 * i] = (uint8_t)(int)(kvi_rand_next(&rand) % 221 - 120);
    }
    status = decode_strided(CODER, &shape, 0, bytes, length, out);
    assert_int_equal(status, KVS_ERR_CORRUPT); /* there are no values */
    free(bytes);
  }
  free(out);
}

static void a_room_below_the_bound_is_refused(void **state)
{
  struct kvi_codec_shape shape = hostile_shape();
  uint8_t *raw = sample_layer(&shape, 0, 1, 1.0f), out[8];
  size_t length = 7;

  (void)state;
  assert_int_equal(
      CODER->encode(&shape, &plain, 0, raw, NULL, out, (size_t)CODER->bound(&shape, 0) - 1, &length),
      KVS_ERR_INVALID);
  assert_int_equal(length, 0);
  free(raw);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(classes_are_bell_curves),
      cmocka_unit_test(a_class_is_chosen_by_what_it_costs),
      cmocka_unit_test(every_dtype_and_odd_shapes_come_back),
      cmocka_unit_test(few_rows_come_back),
      cmocka_unit_test(rate_and_error_follow_the_step),
      cmocka_unit_test(fine_steps_of_int8_are_lossless),
      cmocka_unit_test(flat_layers_are_small_and_right),
      cmocka_unit_test(nan_infinity_and_huge_numbers_survive),
      cmocka_unit_test(a_large_bias_does_not_break_the_other_heads),
      cmocka_unit_test(outliers_come_back),
      cmocka_unit_test(what_would_grow_is_raw),
      cmocka_unit_test(a_known_layer_gives_known_bytes),
      cmocka_unit_test(cut_segments_are_refused),
      cmocka_unit_test(planes_that_do_not_end_where_they_say_are_refused),
      cmocka_unit_test(damaged_segments_are_refused_or_decoded_alike),
      cmocka_unit_test(any_bytes_end),
      cmocka_unit_test(a_room_below_the_bound_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
