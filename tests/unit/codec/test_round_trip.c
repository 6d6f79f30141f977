/*
 * Whole objects there and back: every dtype, shape and kind of numbers; every path of the loops gives the same object of the same numbers
 * and the same numbers of the same object; cut and laid out as the caller likes.
 */
#include "codec_testing.h"

static const enum kvi_codec_dtype dtypes[] = {KVI_CODEC_BF16, KVI_CODEC_FP16, KVI_CODEC_E4M3, KVI_CODEC_E5M2,
                                              KVI_CODEC_INT8};
#define N_DTYPES (sizeof dtypes / sizeof dtypes[0])

/* A quality whose planes are empty, since no block is quantised, is there as soon as the one before. */
static int best_quality(const struct kvi_codec_object *opened, uint64_t size)
{
  int best = -1;

  for (uint32_t quality = 0; quality <= opened->planes; quality++)
    if (opened->quality_end[quality] <= size)
      best = (int)quality;
  return best;
}

/* What a cut object gives is what it gives uncut at that quality; between two ends it is the lower quality. */
static void check_cuts(const struct object_bytes *object, const struct kvi_codec_object *opened,
                       uint32_t quality, const uint8_t *raw)
{
  struct object_bytes cut = copy_bytes(object->bytes, (size_t)opened->quality_end[quality]);
  uint32_t got;
  uint8_t *again;

  assert_in_range(best_quality(opened, cut.length), quality, opened->planes);
  assert_int_equal(kvi_codec_quality_in(opened, cut.length), best_quality(opened, cut.length));
  assert_int_equal(kvi_codec_quality_in(opened, cut.length - 1), best_quality(opened, cut.length - 1));
  assert_int_equal(
      decode_object(cut.bytes, cut.length, KVI_CODEC_PLANES_MAX, opened->shape.raw_bytes, &again, &got),
      KVS_OK);
  assert_int_equal(got, best_quality(opened, cut.length));
  assert_memory_equal(again, raw, opened->shape.raw_bytes);
  free(again);
  if (quality == 0) {
    assert_int_equal(kvi_codec_decode(cut.bytes, cut.length - 1, 0, cut.bytes, 0, &got), KVS_ERR_CORRUPT);
    assert_int_equal(got, 0);
  }
  free(cut.bytes);
}

/* All qualities of an object by all paths; raw is what is to come of the best one, NULL: not exact. */
static void check_object(const struct object_bytes *object, const uint8_t *raw)
{
  struct kvi_codec_object opened;

  assert_int_equal(kvi_codec_open(object->bytes, object->length, &opened), KVS_OK);
  assert_int_equal(opened.length, object->length);
  for (uint32_t quality = 0; quality <= opened.planes; quality++) {
    uint32_t got;
    uint8_t *decoded;

    assert_int_equal(
        decode_alike(object->bytes, object->length, quality, opened.shape.raw_bytes, &decoded, &got), KVS_OK);
    assert_int_equal(got, quality);
    if (raw != NULL)
      assert_memory_equal(decoded, raw, opened.shape.raw_bytes);
    check_cuts(object, &opened, quality, decoded);
    for (uint32_t layer = 0; layer < opened.shape.n_layers; layer++)
      check_layer_in_place(object->bytes, &opened, layer, quality, decoded);
    free(decoded);
  }
}

static void there_and_back(const struct kvi_codec_shape *shape, enum sample_kind kind, uint64_t seed)
{
  uint8_t *raw = sample_raw(shape, kind, seed);
  struct kvi_codec_options options = {.level = KVI_CODEC_LOSSLESS, .model_fingerprint = seed};
  struct object_bytes object;

  object = encode_alike(shape, &options, raw);
  check_object(&object, raw);
  free(object.bytes);
  options.level = KVI_CODEC_LADDER;
  options.planes = (uint32_t)seed % 4;
  object = encode_alike(shape, &options, raw);
  check_object(&object, NULL);
  free(object.bytes);
  free(raw);
}

static struct kvi_codec_shape heads_of(enum kvi_codec_dtype dtype, uint32_t tokens, uint32_t heads,
                                       uint32_t dim)
{
  return layer_shape((struct kvi_codec_shape){.dtype = dtype,
                                              .n_layers = 1,
                                              .n_tokens = tokens,
                                              .n_heads = heads,
                                              .key_dim = dim,
                                              .value_dim = dim,
                                              .start = tokens % 3});
}

/* Dtype and kind rotate, so that neighbours differ in them. */
static void every_length_and_head_size(void **state)
{
  static const uint32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 31, 255, 256, 257};
  static const uint32_t dims[] = {8, 24, 32, 48, 64, 80, 96, 112, 128, 192, 256};
  uint64_t seed = 0;

  (void)state;
  for (size_t t = 0; t < sizeof tokens / sizeof tokens[0]; t++)
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++, seed++) {
      uint32_t heads = dims[d] > 64 ? 1 : 3;
      struct kvi_codec_shape shape = heads_of(dtypes[seed % N_DTYPES], tokens[t], heads, dims[d]);

      there_and_back(&shape, (enum sample_kind)(seed % SAMPLE_KINDS), seed);
      if (tokens[t] > 12)
        continue;
      shape = heads_of(KVI_CODEC_BF16, tokens[t], 2, dims[d]);
      there_and_back(&shape, (enum sample_kind)((seed + 3) % SAMPLE_KINDS), seed + 1);
    }
}

static void every_kind_of_every_dtype(void **state)
{
  uint64_t seed = 1000;

  (void)state;
  for (size_t i = 0; i < N_DTYPES; i++)
    for (int kind = 0; kind < SAMPLE_KINDS; kind++, seed++) {
      struct kvi_codec_shape shape = heads_of(dtypes[i], 61, 3, 48);

      there_and_back(&shape, (enum sample_kind)kind, seed);
      shape = heads_of(dtypes[i], 270, 1, 128);
      there_and_back(&shape, (enum sample_kind)kind, seed);
    }
}

static void planes_that_are_not_alike(void **state)
{
  const struct kvi_codec_shape shapes[] = {
      {.n_tokens = 65, .n_heads = 1, .key_dim = 576, .rotary_dim = 64},
      {.n_tokens = 17, .n_heads = 2, .key_dim = 96, .rotary_dim = 32, .value_dim = 64},
      {.n_tokens = 17, .n_heads = 3, .key_dim = 64, .rotary_dim = 64, .value_dim = 8},
      {.n_tokens = 17, .n_heads = 2, .key_dim = 192, .rotary_dim = 64, .value_dim = 128},
      {.n_tokens = 33, .n_heads = 20, .value_dim = 8},
      {.n_tokens = 3, .n_heads = 1, .key_dim = 4104},
  };

  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
    for (size_t d = 0; d < N_DTYPES; d++) {
      struct kvi_codec_shape shape = shapes[i];

      shape.n_layers = 2;
      shape.dtype = dtypes[d];
      shape = layer_shape(shape);
      there_and_back(&shape, d % 2 == 0 ? SAMPLE_GAUSSIAN : SAMPLE_EXTREMES, i * 10 + d);
    }
}

static void windows_and_starts(void **state)
{
  static const uint16_t first[] = {0, 60, 40, 63, 1, 0, 13};
  static const uint32_t starts[] = {0, 1, 3, 4, 4096, UINT32_MAX};

  (void)state;
  for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
    for (int kind = 0; kind < SAMPLE_KINDS; kind += 2) {
      struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = dtypes[i % N_DTYPES],
                                                                          .n_layers = 7,
                                                                          .n_tokens = 64,
                                                                          .n_heads = 2,
                                                                          .key_dim = 32,
                                                                          .value_dim = 24,
                                                                          .start = starts[i],
                                                                          .first_token = first});

      there_and_back(&shape, (enum sample_kind)kind, i);
    }
}

static uint32_t count_not_finite(const struct kvi_codec_shape *shape, const uint8_t *raw)
{
  size_t size = kvi_codec_element_size(shape->dtype);
  uint32_t n = 0;

  for (size_t at = 0; at < shape->raw_bytes; at += size)
    n += isfinite(kvi_codec_to_float(shape->dtype, raw + at)) ? 0 : 1;
  return n;
}

/* Of a level that loses something, at its least quality and its best: that element is what it was, to the bit, and no other has become like it. */
static void survives(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                     const uint8_t *raw, size_t at)
{
  struct object_bytes object = encode_alike(shape, options, raw);

  for (uint32_t quality = 0; quality <= options->planes; quality++) {
    uint32_t got;
    uint8_t *decoded;

    assert_int_equal(decode_alike(object.bytes, object.length, quality, shape->raw_bytes, &decoded, &got),
                     KVS_OK);
    assert_memory_equal(decoded + at, raw + at, kvi_codec_element_size(shape->dtype));
    assert_int_equal(count_not_finite(shape, decoded), 1);
    free(decoded);
  }
  free(object.bytes);
}

/* Sinks, too, that hold what no number is are kept as they are. */
static void what_is_not_finite_survives(void **state)
{
  static const struct kvi_codec_options levels[] = {{.level = KVI_CODEC_LADDER, .planes = 2},
                                                    {.level = KVI_CODEC_CACHEGEN}};
  static const struct {
    enum kvi_codec_dtype dtype;
    uint16_t pattern;
  } cases[] = {
      {KVI_CODEC_BF16, 0x7fc0}, {KVI_CODEC_BF16, 0x7f81}, {KVI_CODEC_BF16, 0xffff}, {KVI_CODEC_BF16, 0x7f80},
      {KVI_CODEC_BF16, 0xff80}, {KVI_CODEC_FP16, 0x7e00}, {KVI_CODEC_FP16, 0x7c01}, {KVI_CODEC_FP16, 0xffff},
      {KVI_CODEC_FP16, 0x7c00}, {KVI_CODEC_FP16, 0xfc00}, {KVI_CODEC_E4M3, 0x7f},   {KVI_CODEC_E4M3, 0xff},
      {KVI_CODEC_E5M2, 0x7d},   {KVI_CODEC_E5M2, 0x7f},   {KVI_CODEC_E5M2, 0xff},   {KVI_CODEC_E5M2, 0x7c},
      {KVI_CODEC_E5M2, 0xfc},
  };
  static const uint32_t rows[] = {0, 3, 4, 59};

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (size_t r = 0; r < 2 * sizeof rows / sizeof rows[0]; r++) {
      struct kvi_codec_shape shape = heads_of(cases[i].dtype, 60, 1, 64);
      size_t size = kvi_codec_element_size(shape.dtype);
      uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, i);
      size_t at = ((size_t)rows[r / 2] * 64 + 7) * size + (r % 2) * shape.raw_bytes / 2; /* a key, a value */

      shape.start = 0;
      assert_int_equal(count_not_finite(&shape, raw), 0);
      memcpy(raw + at, &cases[i].pattern, size);
      for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++)
        survives(&shape, &levels[level], raw, at);
      free(raw);
    }
}

/* Of all elements of two layouts alike: squared, relative. */
static double error_between(const struct kvi_codec_shape *shape, const uint8_t *raw, const uint8_t *decoded)
{
  size_t size = kvi_codec_element_size(shape->dtype);
  double error = 0, all = 0;

  for (size_t at = 0; at < shape->raw_bytes; at += size) {
    double was = (double)kvi_codec_to_float(shape->dtype, raw + at);
    double is = (double)kvi_codec_to_float(shape->dtype, decoded + at);

    error += (was - is) * (was - is);
    all += was * was;
  }
  return error / all;
}

/* As many as an object can have, and with a layer of few of them. */
static void the_most_tokens(void **state)
{
  static const uint16_t first[] = {0, 65526};
  static const struct {
    enum kvi_codec_level level;
    uint32_t planes;
    double error_max;
  } levels[] = {{KVI_CODEC_LOSSLESS, 0, 0}, {KVI_CODEC_LADDER, 2, 0.01}, {KVI_CODEC_CACHEGEN, 0, 0.1}};
  const struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                                                            .n_layers = 2,
                                                                            .n_tokens = 65535,
                                                                            .n_heads = 1,
                                                                            .key_dim = 8,
                                                                            .value_dim = 8,
                                                                            .first_token = first});
  uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 1);

  (void)state;
  for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
    const struct kvi_codec_options options = {.level = levels[i].level, .planes = levels[i].planes};
    struct object_bytes object = encode_alike(&shape, &options, raw);
    uint32_t quality;
    uint8_t *decoded;

    check_object(&object, options.level == KVI_CODEC_LOSSLESS ? raw : NULL);
    assert_int_equal(
        decode_alike(object.bytes, object.length, options.planes, shape.raw_bytes, &decoded, &quality),
        KVS_OK);
    assert_int_equal(quality, options.planes);
    assert_true(object.length < shape.raw_bytes * 4 / 5);
    assert_true(error_between(&shape, raw, decoded) <= levels[i].error_max);
    free(decoded);
    free(object.bytes);
  }
  free(raw);
}

/* Levels that take a layer as it is or have coders of their own, through the container. */
static void the_other_levels(void **state)
{
  static const enum kvi_codec_level levels[] = {KVI_CODEC_RAW, KVI_CODEC_ZSTD, KVI_CODEC_CACHEGEN};
  static const uint16_t first[] = {0, 30, 5};
  struct kvi_codec_shape shape = {
      .n_layers = 3, .n_tokens = 37, .n_heads = 3, .key_dim = 40, .value_dim = 24, .first_token = first};

  (void)state;
  for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
    for (size_t d = 0; d < N_DTYPES; d++) {
      const struct kvi_codec_options options = {.level = levels[i]};
      struct object_bytes object;
      uint8_t *raw;

      shape.dtype = dtypes[d];
      shape = layer_shape(shape);
      raw = sample_raw(&shape, SAMPLE_GAUSSIAN, d);
      object = encode_alike(&shape, &options, raw);
      check_object(&object, levels[i] == KVI_CODEC_CACHEGEN ? NULL : raw);
      free(object.bytes);
      free(raw);
    }
}

static void bytes_of_no_shape(void **state)
{
  static const uint32_t sizes[] = {1, 2, 100, 70001};

  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    for (int zstd = 0; zstd < 2; zstd++) {
      struct kvi_codec_shape shape = {.dtype = KVI_CODEC_BYTES, .n_layers = 1, .raw_bytes = sizes[i]};
      const struct kvi_codec_options options = {.level = zstd ? KVI_CODEC_ZSTD : KVI_CODEC_RAW};
      uint8_t *raw = malloc(sizes[i]), *decoded;
      struct object_bytes object;
      uint32_t quality;

      assert_non_null(raw);
      for (uint32_t at = 0; at < sizes[i]; at++)
        raw[at] = (uint8_t)(at * at >> 3);
      object = encode_alike(&shape, &options, raw);
      assert_int_equal(decode_alike(object.bytes, object.length, 3, shape.raw_bytes, &decoded, &quality),
                       KVS_OK);
      assert_int_equal(quality, 0);
      assert_memory_equal(decoded, raw, sizes[i]);
      free(decoded);
      free(object.bytes);
      free(raw);
    }
}

/* The most that a block can cost: nothing that a class expects, and every step there is. */
static void noise_stays_within_the_bound(void **state)
{
  static const enum sample_kind kinds[] = {SAMPLE_NOISE, SAMPLE_EXTREMES, SAMPLE_WILD_CHANNEL};

  (void)state;
  for (size_t d = 0; d < N_DTYPES; d++)
    for (uint32_t planes = 0; planes <= KVI_CODEC_PLANES_MAX; planes++)
      for (uint32_t step = KVI_CODEC_STEP_MIN; step <= KVI_CODEC_STEP_MAX; step *= 7) {
        struct kvi_codec_shape shape = heads_of(dtypes[d], 27, 17, 8);
        const struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = planes, .step = step};

        for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
          uint8_t *raw = sample_raw(&shape, kinds[kind], planes);
          struct object_bytes object = encode_alike(&shape, &options, raw);

          check_object(&object, NULL);
          free(object.bytes);
          free(raw);
        }
      }
}

struct stopping {
  uint32_t asked, after;
};

static bool stop_after(void *ctx)
{
  struct stopping *stopping = ctx;

  return ++stopping->asked == stopping->after;
}

/* Between layers, of every level; asking changes nothing. */
static void encoding_can_be_stopped(void **state)
{
  enum { LAYERS = 3 };
  const struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                                                            .n_layers = LAYERS,
                                                                            .n_tokens = 8,
                                                                            .n_heads = 1,
                                                                            .key_dim = 32,
                                                                            .value_dim = 32});
  uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 1);

  (void)state;
  for (enum kvi_codec_level level = KVI_CODEC_RAW; level <= KVI_CODEC_CACHEGEN; level++) {
    struct kvi_codec_options options = {.level = level, .planes = level == KVI_CODEC_LADDER ? 1 : 0};
    size_t room = kvi_codec_bound(&shape, &options), length, whole;
    void *scratch = aligned_alloc(64, (kvi_codec_encode_scratch(&shape, &options) + 127) / 64 * 64);
    uint8_t *out = malloc(room), *expected = malloc(room);

    assert_int_equal(kvi_codec_encode(&shape, &options, raw, scratch, expected, room, &whole), KVS_OK);
    for (uint32_t after = 1; after <= LAYERS + 1; after++) {
      struct stopping stopping = {.after = after};
      kvs_status status;

      options.stop = stop_after;
      options.stop_ctx = &stopping;
      status = kvi_codec_encode(&shape, &options, raw, scratch, out, room, &length);
      assert_int_equal(status, after <= LAYERS ? KVS_ERR_CANCELED : KVS_OK);
      assert_int_equal(stopping.asked, after <= LAYERS ? after : LAYERS);
      assert_int_equal(length, after <= LAYERS ? 0 : whole);
    }
    assert_memory_equal(out, expected, whole);
    free(scratch);
    free(expected);
    free(out);
  }
  free(raw);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_length_and_head_size),
      cmocka_unit_test(every_kind_of_every_dtype),
      cmocka_unit_test(planes_that_are_not_alike),
      cmocka_unit_test(windows_and_starts),
      cmocka_unit_test(what_is_not_finite_survives),
      cmocka_unit_test(the_most_tokens),
      cmocka_unit_test(the_other_levels),
      cmocka_unit_test(bytes_of_no_shape),
      cmocka_unit_test(encoding_can_be_stopped),
      cmocka_unit_test(noise_stays_within_the_bound),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
