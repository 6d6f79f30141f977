/*
 * The loops of each path do the same with numbers that objects of tests hardly bring: any bytes of trits, numbers and means that wrap around, every
 * length of rows, and what lies behind a row stays as it was.
 */
#include <math.h>
#include <string.h>

#include "base/array.h"
#include "codec_testing.h"
#include "tiers/codec/element.h"
#include "tiers/codec/path.h"

#define ROUNDS 300u
#define BEHIND 32u

static const struct kvi_codec_loops *other; /* than the scalar ones */

/* Every path but the scalar one in turn. */
static void on_each_path(void (*check)(kvi_rand *rand, uint32_t columns))
{
  for (int path = 1; path < N_PATHS; path++) {
    kvi_rand rand;

    if (!take_path(path))
      continue;
    other = kvi_codec_loops();
    kvi_rand_seed(&rand, 7);
    for (uint32_t round = 0; round < ROUNDS; round++)
      check(&rand, 8 + round % (KVI_BLOCK_COLUMNS / 8) * 8);
  }
}

static void fill(kvi_rand *rand, void *bytes, size_t size)
{
  for (size_t i = 0; i < size; i++)
    ((uint8_t *)bytes)[i] = (uint8_t)(kvi_rand_next(rand) >> 32);
}

static void finish_alike(kvi_rand *rand, uint32_t columns)
{
  static const int16_t factors[] = {2, 6, 18, 54};
  _Alignas(32) int16_t rows[5][KVI_BLOCK_COLUMNS];
  uint8_t trits[KVI_CODEC_PLANES_MAX][KVI_BLOCK_COLUMNS], out[2][5][KVI_BLOCK_COLUMNS * 2 + BEHIND];
  const uint8_t *planes[KVI_CODEC_PLANES_MAX];
  struct kvi_codec_scale scale;
  uint8_t *places[2][5];

  fill(rand, rows, sizeof rows);
  fill(rand, trits, sizeof trits);
  fill(rand, scale.mean, sizeof scale.mean);
  for (uint32_t column = 0; column < KVI_BLOCK_COLUMNS; column++)
    scale.half[column] =
        ldexpf((float)(128 + kvi_rand_next(rand) % 128), (int)(kvi_rand_next(rand) % 201) - 100);
  memset(out, 0x77, sizeof out);
  for (uint32_t row = 0; row < 5; row++) {
    places[0][row] = out[0][row] + row; /* at any alignment */
    places[1][row] = out[1][row] + row;
  }
  for (uint32_t plane = 0; plane < KVI_CODEC_PLANES_MAX; plane++)
    planes[plane] = trits[plane] + KVI_BLOCK_COLUMNS - columns; /* nothing is read behind them */
  for (uint32_t n_planes = 0; n_planes <= KVI_CODEC_PLANES_MAX; n_planes++) {
    scale.factor = factors[kvi_rand_next(rand) % KVI_ARRAY_SIZE(factors)];
    kvi_codec_loops_scalar.finish_rows(KVI_CODEC_BF16, rows, planes, n_planes, &scale, columns, places[0]);
    other->finish_rows(KVI_CODEC_BF16, rows, planes, n_planes, &scale, columns, places[1]);
    assert_memory_equal(out[0], out[1], sizeof out[0]);
  }
}

static void split_alike(kvi_rand *rand, uint32_t columns)
{
  int16_t rows[2][5][KVI_BLOCK_COLUMNS] = {0};
  uint8_t trits[2][KVI_CODEC_PLANES_MAX][KVI_BLOCK_COLUMNS];
  uint32_t n_planes = (uint32_t)(kvi_rand_next(rand) % (KVI_CODEC_PLANES_MAX + 1));
  uint8_t *planes[2][KVI_CODEC_PLANES_MAX];

  for (uint32_t row = 0; row < 5; row++)
    for (uint32_t column = 0; column < columns; column++)
      rows[0][row][column] =
          (int16_t)((int32_t)(kvi_rand_next(rand) % (2 * KVI_NUMBER_END + 1)) - KVI_NUMBER_END);
  memcpy(rows[1], rows[0], sizeof rows[0]);
  memset(trits, 0x77, sizeof trits);
  for (uint32_t plane = 0; plane < KVI_CODEC_PLANES_MAX; plane++) {
    planes[0][plane] = trits[0][plane];
    planes[1][plane] = trits[1][plane];
  }
  kvi_codec_loops_scalar.split_digits(rows[0], columns, n_planes, planes[0]);
  other->split_digits(rows[1], columns, n_planes, planes[1]);
  assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
  assert_memory_equal(trits[0], trits[1], sizeof trits[0]);
}

/* Also of numbers far beyond the range, which is where conversions differ. */
static void quantise_alike(kvi_rand *rand, uint32_t columns)
{
  _Alignas(32) float mean[KVI_BLOCK_COLUMNS], scale[KVI_BLOCK_COLUMNS];
  uint8_t row[KVI_BLOCK_COLUMNS * 2];
  int16_t numbers[2][KVI_BLOCK_COLUMNS];

  memset(numbers, 0x77, sizeof numbers);
  for (uint32_t column = 0; column < KVI_BLOCK_COLUMNS; column++) {
    int exponent = (int)(kvi_rand_next(rand) % 200) - 100;
    float x = ldexpf(sample_normal(rand), exponent);

    mean[column] = ldexpf(sample_normal(rand), exponent - 2);
    scale[column] = ldexpf(1.5f, (int)(kvi_rand_next(rand) % 60) - exponent - 10);
    kvi_store_le16(row + (size_t)column * 2, kvi_float_to_bf16(x));
  }
  assert_int_equal(kvi_codec_loops_scalar.quantise(KVI_CODEC_BF16, row, mean, scale, columns, numbers[0]),
                   other->quantise(KVI_CODEC_BF16, row, mean, scale, columns, numbers[1]));
  assert_memory_equal(numbers[0], numbers[1], sizeof numbers[0]);
}

/* Up to 255 rows that are counted, also if a column has but one number. */
static void counts_and_classes_alike(kvi_rand *rand, uint32_t columns)
{
  static uint8_t highs[255][KVI_BLOCK_COLUMNS];
  uint8_t counts[2][KVI_HIGH_COUNTS][KVI_BLOCK_COLUMNS], greatest[KVI_BLOCK_COLUMNS] = {0};
  uint32_t rows = 1 + (uint32_t)(kvi_rand_next(rand) % 255), span = 1 + (uint32_t)(kvi_rand_next(rand) % 30);
  uint32_t step = 1 + (uint32_t)(kvi_rand_next(rand) % 3);

  for (uint32_t row = 0; row < rows; row++)
    for (uint32_t column = 0; column < columns; column++) {
      highs[row][column] = (uint8_t)(200 + kvi_rand_next(rand) % (column % 4 == 0 ? 1 : span));
      greatest[column] = highs[row][column] > greatest[column] ? highs[row][column] : greatest[column];
    }
  kvi_codec_loops_scalar.count_highs((const uint8_t(*)[KVI_BLOCK_COLUMNS])highs, rows, step, greatest,
                                     columns, counts[0]);
  other->count_highs((const uint8_t(*)[KVI_BLOCK_COLUMNS])highs, rows, step, greatest, columns, counts[1]);
  for (uint32_t column = 0; column < columns; column++) {
    int16_t window[16] = {0};
    uint32_t class_ids[2];

    for (uint32_t i = 0; i < KVI_HIGH_COUNTS; i++) {
      assert_int_equal(counts[0][i][column], counts[1][i][column]);
      window[i] = counts[0][i][column];
    }
    assert_int_equal(kvi_codec_loops_scalar.cheapest_class(window, &class_ids[0]),
                     other->cheapest_class(window, &class_ids[1]));
    assert_int_equal(class_ids[0], class_ids[1]);
  }
}

static void numbers_become_elements(void **state)
{
  (void)state;
  on_each_path(finish_alike);
}

static void digits_are_taken(void **state)
{
  (void)state;
  on_each_path(split_alike);
}

static void elements_become_numbers(void **state)
{
  (void)state;
  on_each_path(quantise_alike);
}

static void classes_are_chosen(void **state)
{
  (void)state;
  on_each_path(counts_and_classes_alike);
}

static int setup(void **state)
{
  (void)state;
  kvi_codec_init();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_become_elements),
      cmocka_unit_test(digits_are_taken),
      cmocka_unit_test(elements_become_numbers),
      cmocka_unit_test(classes_are_chosen),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
