/*
 * How far a ladder's numbers are from what they were: half a step of each quality, what rounding to the dtype adds, and the centred relative
 * error that docs/codec.md promises. Rows and channels that stand out do not spoil the others.
 */
#include <math.h>

#include "codec_testing.h"

#define ROWS  256u
#define HEADS 4u
#define DIM   64u

static double element_of(enum kvi_codec_dtype dtype, const uint8_t *raw, size_t at)
{
  return (double)kvi_codec_to_float(dtype, raw + at * kvi_codec_element_size(dtype));
}

/* What rounding to the dtype may add: half of the last place of the result, or of the smallest one. */
static double rounding(enum kvi_codec_dtype dtype, double x)
{
  static const int fraction[] = {0, 8, 11, 4, 3, 0}, smallest[] = {0, -134, -25, -10, -17, -1};
  double relative = dtype == KVI_CODEC_INT8 ? 0 : ldexp(fabs(x), -fraction[dtype]);

  return fmax(relative, ldexp(1.0, smallest[dtype]));
}

static struct kvi_codec_shape keys_of(enum kvi_codec_dtype dtype, uint32_t rows, uint32_t heads, uint32_t dim,
                                      uint32_t start)
{
  return layer_shape((struct kvi_codec_shape){
      .dtype = dtype, .n_layers = 1, .n_tokens = rows, .n_heads = heads, .key_dim = dim, .start = start});
}

/* A ladder object of keys, decoded. Free it. */
static uint8_t *through(const struct kvi_codec_shape *shape, uint32_t planes, uint32_t step, uint32_t quality,
                        const uint8_t *raw, size_t *length_p)
{
  const struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = planes, .step = step};
  struct object_bytes object = encode_alike(shape, &options, raw);
  uint32_t got;
  uint8_t *decoded;

  assert_int_equal(decode_alike(object.bytes, object.length, quality, shape->raw_bytes, &decoded, &got),
                   KVS_OK);
  assert_int_equal(got, quality);
  *length_p = object.length;
  free(object.bytes);
  return decoded;
}

/* Deviation of a unit of columns around its columns' means, of rows from first on. */
static double unit_deviation(const struct kvi_codec_shape *shape, const uint8_t *raw, uint32_t first,
                             uint32_t column, uint32_t columns)
{
  uint32_t row_columns = shape->n_heads * shape->key_dim, rows = shape->n_tokens - first;
  double squares = 0;

  for (uint32_t c = column; c < column + columns; c++) {
    double sum = 0, square = 0;

    for (uint32_t row = first; row < shape->n_tokens; row++)
      sum += element_of(shape->dtype, raw, (size_t)row * row_columns + c);
    for (uint32_t row = first; row < shape->n_tokens; row++) {
      double x = element_of(shape->dtype, raw, (size_t)row * row_columns + c) - sum / rows;

      square += x * x;
    }
    squares += square / rows;
  }
  return sqrt(squares / columns);
}

/* No element of a unit's columns is further off than half a step and a rounding. */
static void check_steps(const struct kvi_codec_shape *shape, const uint8_t *raw, const uint8_t *decoded,
                        uint32_t column, uint32_t columns, double step)
{
  uint32_t row_columns = shape->n_heads * shape->key_dim;

  for (uint32_t row = 0; row < shape->n_tokens; row++)
    for (uint32_t c = column; c < column + columns; c++) {
      size_t at = (size_t)row * row_columns + c;
      double x = element_of(shape->dtype, raw, at), y = element_of(shape->dtype, decoded, at);

      /* A step is kept in 8 bits, and is of a deviation summed in floats. */
      assert_true(fabs(x - y) <= step / 2 * 1.01 + rounding(shape->dtype, y));
    }
}

static void no_number_is_off_by_more_than_half_a_step(void **state)
{
  static const enum sample_kind kinds[] = {SAMPLE_GAUSSIAN, SAMPLE_LARGE_MEANS, SAMPLE_WILD_CHANNEL};
  static const enum kvi_codec_dtype dtypes[] = {KVI_CODEC_BF16, KVI_CODEC_FP16, KVI_CODEC_E4M3,
                                                KVI_CODEC_E5M2, KVI_CODEC_INT8};

  (void)state;
  for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
      for (uint32_t planes = 0; planes <= 3; planes++) {
        struct kvi_codec_shape shape = keys_of(dtypes[d], 101, 3, 32, 4);
        uint8_t *raw = sample_raw(&shape, kinds[k], planes);

        for (uint32_t quality = 0; quality <= planes; quality++) {
          size_t length;
          uint8_t *decoded = through(&shape, planes, 0, quality, raw, &length);

          /* Heads that are smaller than others may be coarser by a quarter. */
          for (uint32_t head = 0; head < shape.n_heads; head++)
            check_steps(&shape, raw, decoded, head * 32, 32,
                        1.25 * 0.8 * unit_deviation(&shape, raw, 0, head * 32, 32) / pow(3, quality));
          free(decoded);
        }
        free(raw);
      }
}

/* Multi-head latent attention: the rotary part is nine times finer. */
static void rotary_columns_are_finer(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                                                      .n_layers = 1,
                                                                      .n_tokens = 100,
                                                                      .n_heads = 1,
                                                                      .key_dim = 576,
                                                                      .rotary_dim = 64,
                                                                      .start = 4});
  uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 5), *decoded;
  size_t length;

  (void)state;
  decoded = through(&shape, 1, 0, 1, raw, &length);
  for (uint32_t part = 0; part < 4; part++)
    check_steps(&shape, raw, decoded, part * 128, 128,
                0.8 * unit_deviation(&shape, raw, 0, part * 128, 128) / 3);
  check_steps(&shape, raw, decoded, 512, 64, 0.8 * unit_deviation(&shape, raw, 0, 512, 64) / 27);
  free(decoded);
  free(raw);
}

/* Relative L2 of the error, of rows [first, end), to the numbers around their channels' means over all rows from "from" on. */
static double centred_error(const struct kvi_codec_shape *shape, const uint8_t *raw, const uint8_t *decoded,
                            uint32_t from, uint32_t first, uint32_t end)
{
  uint32_t columns = shape->n_heads * shape->key_dim;
  double error = 0, norm = 0;

  for (uint32_t c = 0; c < columns; c++) {
    double mean = 0;

    for (uint32_t row = from; row < shape->n_tokens; row++)
      mean += element_of(shape->dtype, raw, (size_t)row * columns + c);
    mean /= shape->n_tokens - from;
    for (uint32_t row = first; row < end; row++) {
      double x = element_of(shape->dtype, raw, (size_t)row * columns + c);
      double y = element_of(shape->dtype, decoded, (size_t)row * columns + c);

      error += (x - y) * (x - y);
      norm += (x - mean) * (x - mean);
    }
  }
  return sqrt(error / norm);
}

static void each_plane_divides_the_error_by_three(void **state)
{
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_BF16, ROWS, HEADS, DIM, 100);
  uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 1);
  double error[4];

  (void)state;
  for (uint32_t planes = 0; planes <= 3; planes++)
    for (uint32_t quality = 0; quality <= planes; quality++) {
      size_t length;
      uint8_t *decoded = through(&shape, planes, 0, quality, raw, &length);
      double one = centred_error(&shape, raw, decoded, 0, 0, ROWS);

      /* The same whatever the number of planes behind. */
      assert_true(planes == quality || planes == 0 || fabs(one / error[quality] - 1) < 0.02);
      if (quality == planes)
        error[quality] = one;
      free(decoded);
      assert_true(length * 8 < (size_t)shape.raw_bytes * (planes + 2) * 9 / 8);
    }
  assert_true(error[0] <= 0.235 && error[0] >= 0.2);
  assert_true(error[1] <= 0.078);
  assert_true(error[2] <= 0.026);
  assert_true(error[3] <= 0.009);
  for (int i = 0; i < 3; i++) {
    assert_true(error[i] / error[i + 1] > 2.8);
    assert_true(error[i] / error[i + 1] < 3.2);
  }
  free(raw);
}

/* A base step that a caller chooses gives an error in proportion. */
static void the_step_is_the_callers(void **state)
{
  static const uint32_t steps[] = {20, 100, 400, 800, 1600, 4000};
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_FP16, ROWS, HEADS, DIM, 100);
  uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 2);
  size_t before = SIZE_MAX;

  (void)state;
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    size_t length;
    uint8_t *decoded = through(&shape, 0, steps[i], 0, raw, &length);
    double error = centred_error(&shape, raw, decoded, 0, 0, ROWS);

    assert_true(error <= steps[i] / 1000.0 / sqrt(12) * 1.05);
    assert_true(length <= before);
    before = length;
    free(decoded);
  }
  free(raw);
}

/* Means of 40 deviations cost next to nothing, and leave the rest as good as it was. */
static void large_means_do_not_spoil_the_rest(void **state)
{
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_FP16, ROWS, 1, 128, 100);
  uint8_t *raw = sample_raw(&shape, SAMPLE_LARGE_MEANS, 3), *decoded;
  size_t length, plain;

  (void)state;
  decoded = through(&shape, 2, 0, 2, raw, &length);
  assert_true(centred_error(&shape, raw, decoded, 0, 0, ROWS) <= 0.027);
  free(decoded);
  free(raw);
  raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 3);
  decoded = through(&shape, 2, 0, 2, raw, &plain);
  assert_in_range(length, plain * 9 / 10, plain * 11 / 10);
  free(decoded);
  free(raw);
}

/* The sinks' rows are 50 times as large: they are finer in proportion, and the rest is as good as without them. */
static void sinks_are_kept_apart(void **state)
{
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_BF16, ROWS, HEADS, DIM, 0);

  (void)state;
  for (uint32_t start = 0; start < 4; start++) {
    uint8_t *raw, *decoded;
    size_t length;

    shape.start = start;
    raw = sample_raw(&shape, start == 0 ? SAMPLE_SINKS : SAMPLE_GAUSSIAN, 7);
    decoded = through(&shape, 2, 0, 2, raw, &length);
    assert_true(centred_error(&shape, raw, decoded, 4, 4, ROWS) <= 0.026);
    assert_true(centred_error(&shape, raw, decoded, 4, 0, 4 - start) <= 0.016);
    free(decoded);
    free(raw);
  }
}

/* A row of a huge activation, wherever it is, leaves the others as good as they were and is as good itself. */
static void outliers_do_not_spoil_the_others(void **state)
{
  static const uint32_t rows[] = {16, 64, 150, 256}, factors[] = {20, 100, 1000};

  (void)state;
  for (size_t n = 0; n < sizeof rows / sizeof rows[0]; n++)
    for (size_t f = 0; f < sizeof factors / sizeof factors[0]; f++)
      for (uint32_t place = 0; place < 3; place++) {
        struct kvi_codec_shape shape = keys_of(KVI_CODEC_BF16, rows[n], 2, 64, 100);
        uint32_t outlier = place * (rows[n] - 1) / 2;
        uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 9), *plain, *decoded;
        size_t row_bytes = 256, length;
        double without, beside;

        plain = through(&shape, 2, 0, 2, raw, &length);
        without = centred_error(&shape, raw, plain, 0, 0, rows[n]);
        for (size_t at = outlier * row_bytes; at < (outlier + 1) * row_bytes; at += 2)
          kvi_codec_from_float(shape.dtype, (float)factors[f] * kvi_codec_to_float(shape.dtype, raw + at),
                               raw + at);
        decoded = through(&shape, 2, 0, 2, raw, &length);
        assert_true(centred_error(&shape, raw, decoded, 0, outlier, outlier + 1) <= 0.02);
        /* The others alone: the row is taken from the end of what is compared. */
        memcpy(raw + outlier * row_bytes, raw + (rows[n] - 1) * row_bytes, row_bytes);
        memcpy(decoded + outlier * row_bytes, decoded + (rows[n] - 1) * row_bytes, row_bytes);
        shape.n_tokens--;
        beside = centred_error(&shape, raw, decoded, 0, 0, rows[n] - 1);
        assert_true(beside <= without * 1.1);
        free(decoded);
        free(plain);
        free(raw);
      }
}

/* A column that says where its numbers lie, among ordinary ones. */
static void set_column(const struct kvi_codec_shape *shape, uint8_t *raw, uint32_t column, float least,
                       float most)
{
  uint32_t columns = shape->n_heads * shape->key_dim;

  for (uint32_t row = 0; row < shape->n_tokens; row++)
    kvi_codec_from_float(shape->dtype, least + (most - least) * (float)row / (float)(shape->n_tokens - 1),
                         raw + ((size_t)row * columns + column) * kvi_codec_element_size(shape->dtype));
}

/* With steps so fine that a number no longer fits its 16 bits the row is kept apart: it is not clamped. */
static void numbers_beyond_the_range_are_not_clamped(void **state)
{
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_FP16, ROWS, 1, 128, 100);

  (void)state;
  for (uint32_t planes = 2; planes <= 3; planes++)
    for (uint32_t step = KVI_CODEC_STEP_MIN; step <= 80; step *= 2) {
      uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 11), *decoded;
      size_t length;

      set_column(&shape, raw, 5, -20.0f, 20.0f);
      kvi_codec_from_float(shape.dtype, 90.0f, raw + (77 * 128 + 5) * 2);
      decoded = through(&shape, planes, step, planes, raw, &length);
      check_steps(&shape, raw, decoded, 0, 128,
                  step / 1000.0 * unit_deviation(&shape, raw, 0, 0, 128) / pow(3, planes));
      free(decoded);
      free(raw);
    }
}

/* Numbers of one column around a mean of so many fine half steps, as far as they go, coded by a step in thousandths. */
static void check_far_mean(uint32_t planes, uint32_t step, float half_steps)
{
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_FP16, 1200, 1, 128, 100);
  uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 12);
  double deviation = unit_deviation(&shape, raw, 0, 0, 128);

  /* The deviation that the step follows from is the column's too. */
  for (int i = 0; i < 8; i++) {
    float half = (float)(deviation * step / 2000 / pow(3, planes));

    set_column(&shape, raw, 9, (half_steps - 4000.0f) * half, (half_steps + 4000.0f) * half);
    deviation = unit_deviation(&shape, raw, 0, 0, 128);
  }
  for (uint32_t quality = 0; quality <= planes; quality++) {
    size_t length;
    uint8_t *decoded = through(&shape, planes, step, quality, raw, &length);

    check_steps(&shape, raw, decoded, 0, 128, step / 1000.0 * deviation / pow(3, quality));
    free(decoded);
  }
  free(raw);
}

/* Near the end of the range a coarse quality rounds a number up: it must not go beyond 16 bits and come out with the other sign. */
static void coarse_qualities_stay_in_range(void **state)
{
  (void)state;
  for (uint32_t step = 180; step < 240; step += 6) {
    check_far_mean(3, step, 29160.0f); /* 120 times 3^5 */
    check_far_mean(3, step, -29160.0f);
    check_far_mean(2, step / 3, 29889.0f); /* 123 times 3^5 */
    check_far_mean(2, step / 3, -29889.0f);
  }
}

/* Sinks of any size, at the best quality too: none of their numbers is further off than those of other rows may be. */
static void sinks_are_as_fine_as_the_finest_plane(void **state)
{
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_FP16, ROWS, 1, 128, 0);

  (void)state;
  for (uint32_t planes = 0; planes <= 3; planes++)
    for (int size = 0; size < 19; size++) {
      float factor = powf(1.25f, (float)size);
      uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 13), *decoded;
      size_t length;

      for (size_t at = 0; at < 4 * 128 * 2; at += 2)
        kvi_codec_from_float(shape.dtype, factor * kvi_codec_to_float(shape.dtype, raw + at), raw + at);
      decoded = through(&shape, planes, 0, planes, raw, &length);
      check_steps(&shape, raw, decoded, 0, 128,
                  0.8 * unit_deviation(&shape, raw, 4, 0, 128) / pow(3, planes));
      free(decoded);
      free(raw);
    }
}

/* The first tokens of a sequence alone in a chunk are no less the sinks. */
static void a_chunk_of_nothing_but_sinks_is_kept(void **state)
{
  (void)state;
  for (uint32_t start = 0; start < 4; start++)
    for (uint32_t rows = 1; rows <= 4 - start; rows++) {
      struct kvi_codec_shape shape = keys_of(KVI_CODEC_BF16, rows, 4, 128, start);
      uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 14), *decoded;
      size_t length;

      decoded = through(&shape, 0, 0, 0, raw, &length);
      assert_memory_equal(decoded, raw, shape.raw_bytes);
      free(decoded);
      free(raw);
    }
}

/* Rows that follow each other are predicted by each other: the same rows in another order, that have nothing of the kind, cost more. */
static void rows_that_are_alike_cost_less(void **state)
{
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_BF16, ROWS, HEADS, DIM, 100);
  uint8_t *raw = sample_raw(&shape, SAMPLE_WAVES, 15), *mixed = malloc(shape.raw_bytes);
  size_t row_bytes = HEADS * DIM * 2, length, mixed_length;

  (void)state;
  assert_non_null(mixed);
  for (size_t row = 0; row < ROWS; row++)
    memcpy(mixed + row * row_bytes, raw + row * 97 % ROWS * row_bytes, row_bytes);
  for (uint32_t planes = 0; planes <= 3; planes++) {
    uint8_t *decoded = through(&shape, planes, 0, planes, raw, &length);
    uint8_t *mixed_decoded = through(&shape, planes, 0, planes, mixed, &mixed_length);

    check_steps(&shape, raw, decoded, 0, DIM, 0.8 * unit_deviation(&shape, raw, 0, 0, DIM) / pow(3, planes));
    /* Nor are they coarser or finer for it. */
    for (size_t row = 0; row < ROWS; row++)
      assert_memory_equal(mixed_decoded + row * row_bytes, decoded + row * 97 % ROWS * row_bytes, row_bytes);
    assert_true(length + ROWS * HEADS * DIM / 16 < mixed_length);
    free(mixed_decoded);
    free(decoded);
  }
  free(mixed);
  free(raw);
}

/* The relative error of a head of keys. */
static double head_error(const struct kvi_codec_shape *shape, const uint8_t *raw, const uint8_t *decoded,
                         uint32_t head)
{
  double squares = 0, deviation = unit_deviation(shape, raw, 0, head * DIM, DIM);

  for (uint32_t row = 0; row < ROWS; row++)
    for (uint32_t column = head * DIM; column < (head + 1) * DIM; column++) {
      size_t at = (size_t)row * shape->n_heads * DIM + column;
      double error = element_of(shape->dtype, raw, at) - element_of(shape->dtype, decoded, at);

      squares += error * error;
    }
  return sqrt(squares / ROWS / DIM) / deviation;
}

/* Of a layer's keys the larger heads are finer for their size, by no more than a factor of 2, the others little coarser, and all together as fine as heads that are alike. */
static void larger_heads_are_finer(void **state)
{
  struct kvi_codec_shape shape = keys_of(KVI_CODEC_FP16, ROWS, HEADS, DIM, 100);

  (void)state;
  for (int power = 0; power <= 6; power += 2) {
    float ratio = ldexpf(1.0f, power);
    uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 16), *decoded;
    double squares = 0, before = 1, plain = 0.8 / sqrt(12) / 9;
    size_t length;

    for (size_t at = 0; at < (size_t)ROWS * HEADS * DIM; at++)
      if (at / DIM % HEADS >= 2)
        kvi_codec_from_float(shape.dtype, ratio * kvi_codec_to_float(shape.dtype, raw + at * 2),
                             raw + at * 2);
    decoded = through(&shape, 2, 0, 2, raw, &length);
    for (uint32_t head = 0; head < HEADS; head++) {
      double error = head_error(&shape, raw, decoded, head);

      assert_true(error > plain * 0.45 && error < plain * 1.3);
      assert_true(error < before * 1.1);
      before = error;
      squares += error * error;
    }
    if (ratio > 1)
      assert_true(before < plain);
    assert_true(sqrt(squares / HEADS) < plain * 1.05);
    free(decoded);
    free(raw);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_number_is_off_by_more_than_half_a_step),
      cmocka_unit_test(rotary_columns_are_finer),
      cmocka_unit_test(each_plane_divides_the_error_by_three),
      cmocka_unit_test(the_step_is_the_callers),
      cmocka_unit_test(large_means_do_not_spoil_the_rest),
      cmocka_unit_test(sinks_are_kept_apart),
      cmocka_unit_test(outliers_do_not_spoil_the_others),
      cmocka_unit_test(numbers_beyond_the_range_are_not_clamped),
      cmocka_unit_test(coarse_qualities_stay_in_range),
      cmocka_unit_test(sinks_are_as_fine_as_the_finest_plane),
      cmocka_unit_test(a_chunk_of_nothing_but_sinks_is_kept),
      cmocka_unit_test(rows_that_are_alike_cost_less),
      cmocka_unit_test(larger_heads_are_finer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
