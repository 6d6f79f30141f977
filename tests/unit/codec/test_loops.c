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

static int16_t any_number(kvi_rand *rand, int32_t most)
{
  return (int16_t)((int32_t)(kvi_rand_next(rand) % (2 * (uint32_t)most + 1)) - most);
}

#define ROWS 24u

/* What coded rows become: words and escapes grow from the ends of their rooms. */
struct coded_rows {
  struct kvi_rans_encoder encoder;
  uint8_t words[16 + ROWS / 2 * KVI_BLOCK_COLUMNS * 2]; /* vectors write on in front of the last ones */
  uint8_t escapes[ROWS / 2 * KVI_BLOCK_COLUMNS * 6];
};

static void encode_by(const struct kvi_codec_loops *loops, const struct kvi_rans_columns *columns,
                      int16_t (*numbers)[KVI_BLOCK_COLUMNS], uint32_t rows, struct coded_rows *coded)
{
  for (uint32_t lane = 0; lane < KVI_RANS_LANES; lane++)
    coded->encoder.state[lane] = KVI_RANS_LOW;
  coded->encoder.words = coded->words + sizeof coded->words;
  coded->encoder.escapes = coded->escapes + sizeof coded->escapes;
  loops->rans_encode(columns, numbers[0], rows, &coded->encoder);
}

/* Columns of every class and spread, with numbers that no class has among them, and with missing lanes. */
static void coded_alike(kvi_rand *rand, uint32_t columns)
{
  static struct coded_rows coded[2];
  static int16_t numbers[ROWS][KVI_BLOCK_COLUMNS];
  struct kvi_rans_columns to = {.n_groups = kvi_rans_groups(columns)};
  uint32_t rows = 2 * (1 + (uint32_t)(kvi_rand_next(rand) % (ROWS / 2)));
  bool lossless = kvi_rand_next(rand) % 2;
  size_t words, escapes;

  memset(numbers, 0, sizeof numbers);
  for (uint32_t column = 0; column < columns; column++) {
    int32_t spread = 1 << kvi_rand_next(rand) % 4;

    to.classes[column] = (uint8_t)(lossless ? KVI_CLASSES_LADDER_COUNT + 1 +
                                                  kvi_rand_next(rand) % (KVI_CLASSES_LOSSLESS_COUNT - 1)
                                            : 1 + kvi_rand_next(rand) % (KVI_CLASSES_LADDER_COUNT - 1));
    for (uint32_t row = 0; row < rows; row++)
      numbers[row][column] = any_number(rand, kvi_rand_next(rand) % 64 == 0   ? KVI_NUMBER_END
                                              : kvi_rand_next(rand) % 64 == 0 ? 130
                                                                              : spread);
  }
  encode_by(&kvi_codec_loops_scalar, &to, numbers, rows, &coded[0]);
  encode_by(other, &to, numbers, rows, &coded[1]);
  assert_memory_equal(coded[0].encoder.state, coded[1].encoder.state, sizeof coded[0].encoder.state);
  words = (size_t)(coded[0].words + sizeof coded[0].words - coded[0].encoder.words);
  escapes = (size_t)(coded[0].escapes + sizeof coded[0].escapes - coded[0].encoder.escapes);
  assert_int_equal(coded[1].words + sizeof coded[1].words - coded[1].encoder.words, words);
  assert_int_equal(coded[1].escapes + sizeof coded[1].escapes - coded[1].encoder.escapes, escapes);
  assert_memory_equal(coded[0].encoder.words, coded[1].encoder.words, words);
  assert_memory_equal(coded[0].encoder.escapes, coded[1].encoder.escapes, escapes);
}

/* Coded rows of columns of any class, some of whose bytes are others than they were. Returns their length. */
static size_t make_coded(kvi_rand *rand, uint32_t columns, uint32_t rows, struct kvi_rans_columns *to,
                         uint8_t *out)
{
  static int16_t numbers[ROWS][KVI_BLOCK_COLUMNS];
  static uint8_t backwards[KVI_RANS_HEAD + ROWS / 2 * KVI_BLOCK_COLUMNS * 8];
  size_t length;

  *to = (struct kvi_rans_columns){.n_groups = kvi_rans_groups(columns)};
  memset(numbers, 0, sizeof numbers);
  for (uint32_t column = 0; column < columns; column++) {
    to->classes[column] = (uint8_t)(1 + kvi_rand_next(rand) % (KVI_CLASSES_LADDER_COUNT - 1));
    for (uint32_t row = 0; row < rows; row++)
      numbers[row][column] = any_number(rand, kvi_rand_next(rand) % 64 == 0 ? 130 : 2);
  }
  length = kvi_rans_encode(to, numbers[0], rows + rows % 2, out, backwards);
  for (uint64_t damage = kvi_rand_next(rand) % 8; damage > 5; damage--)
    out[KVI_RANS_HEAD + kvi_rand_next(rand) % (length - KVI_RANS_HEAD + 1)] ^= 1;
  if (kvi_rand_next(rand) % 8 == 0) { /* a word less, which is an escape more */
    uint32_t words = kvi_load_le32(out + KVI_RANS_LANES * 4), taken = words > 0;
    uint32_t escapes = kvi_load_le32(out + KVI_RANS_LANES * 4 + 4);

    kvi_store_le32(out + KVI_RANS_LANES * 4, words - taken);
    kvi_store_le32(out + KVI_RANS_LANES * 4 + 4, escapes + 2 * taken);
  }
  return length;
}

struct coded_bytes {
  struct kvi_rans_columns columns;
  struct object_bytes bytes;
  uint32_t rows;
};

/* All rows of n decoders to out. */
static kvs_status decode_rows(const struct coded_bytes *coded, uint32_t n,
                              int16_t (*out)[ROWS][KVI_BLOCK_COLUMNS])
{
  struct kvi_rans_decoder decoders[2], *both[2] = {&decoders[0], &decoders[1]};
  uint32_t row[2] = {0, 0};

  for (uint32_t i = 0; i < n; i++) {
    size_t used;

    if (kvi_rans_open(both[i], &coded[i].columns, coded[i].rows, coded[i].bytes.bytes, coded[i].bytes.length,
                      &used) != KVS_OK)
      return KVS_ERR_CORRUPT;
  }
  for (uint32_t first = 0; first < ROWS; first += KVI_TILE_ROWS) {
    if (kvi_rans_next(both, n) != KVS_OK)
      return KVS_ERR_CORRUPT;
    for (uint32_t i = 0; i < n; i++) {
      memcpy(out[i][row[i]], decoders[i].tile, decoders[i].tile_rows * sizeof out[i][0]);
      row[i] += decoders[i].tile_rows;
    }
  }
  for (uint32_t i = 0; i < n; i++) {
    assert_int_equal(row[i], coded[i].rows);
    if (kvi_rans_close(both[i]) != KVS_OK)
      return KVS_ERR_CORRUPT;
  }
  return KVS_OK;
}

/* One after the other by the scalar loops, and by a path one after the other and both at once: the same rows, and the same refused. */
static void decoded_alike(kvi_rand *rand, uint32_t columns)
{
  static uint8_t room[KVI_RANS_HEAD + ROWS / 2 * KVI_BLOCK_COLUMNS * 8 + 1];
  static int16_t rows[4][2][ROWS][KVI_BLOCK_COLUMNS];
  struct coded_bytes coded[2];
  const char *path = kvi_codec_path();
  kvs_status scalar[2], one[2], swapped, two;
  size_t used = (size_t)kvi_rans_groups(columns) * KVI_RANS_LANES * sizeof(int16_t);

  for (uint32_t i = 0; i < 2; i++) {
    coded[i].rows = ROWS - (uint32_t)(kvi_rand_next(rand) % 4 == 0 ? kvi_rand_next(rand) % ROWS : 0);
    coded[i].bytes.length = make_coded(rand, columns, coded[i].rows, &coded[i].columns, room);
    coded[i].bytes = copy_bytes(room, coded[i].bytes.length);
  }
  assert_int_equal(kvi_codec_use_path("scalar"), KVS_OK);
  for (uint32_t i = 0; i < 2; i++)
    scalar[i] = decode_rows(&coded[i], 1, &rows[0][i]);
  assert_int_equal(kvi_codec_use_path(path), KVS_OK);
  for (uint32_t i = 0; i < 2; i++)
    one[i] = decode_rows(&coded[i], 1, &rows[1][i]);
  two = decode_rows(coded, 2, rows[2]);
  swapped = decode_rows((struct coded_bytes[2]){coded[1], coded[0]}, 2, rows[3]);

  assert_int_equal(one[0], scalar[0]);
  assert_int_equal(one[1], scalar[1]);
  assert_int_equal(two == KVS_OK, scalar[0] == KVS_OK && scalar[1] == KVS_OK);
  assert_int_equal(swapped, two);
  for (uint32_t i = 0; i < 2; i++) {
    for (uint32_t row = 0; row < coded[i].rows && scalar[i] == KVS_OK; row++) {
      assert_memory_equal(rows[1][i][row], rows[0][i][row], used);
      if (two != KVS_OK)
        continue;
      assert_memory_equal(rows[2][i][row], rows[0][i][row], used);
      assert_memory_equal(rows[3][1 - i][row], rows[0][i][row], used);
    }
    free(coded[i].bytes.bytes);
  }
}

/* Sums of squares and products are floats that are added in one order. What is taken and added again is what it was. */
static void predictions_alike(kvi_rand *rand, uint32_t columns)
{
  int16_t rows[3][KVI_TILE_ROWS][KVI_BLOCK_COLUMNS];
  _Alignas(32) int16_t share[KVI_BLOCK_COLUMNS], last[2][KVI_BLOCK_COLUMNS];
  _Alignas(32) float square[2][KVI_BLOCK_COLUMNS], product[2][KVI_BLOCK_COLUMNS];
  uint32_t n = 1 + (uint32_t)(kvi_rand_next(rand) % KVI_TILE_ROWS);

  for (uint32_t column = 0; column < KVI_BLOCK_COLUMNS; column++) {
    share[column] = (int16_t)(kvi_rand_next(rand) % 8 << 12);
    for (uint32_t row = 0; row < KVI_TILE_ROWS; row++)
      rows[0][row][column] = any_number(rand, column % 2 == 0 ? KVI_NUMBER_END : 20);
  }
  memcpy(rows[1], rows[0], sizeof rows[0]);
  memcpy(rows[2], rows[0], sizeof rows[0]);
  kvi_codec_loops_scalar.sum_products((const int16_t(*)[KVI_BLOCK_COLUMNS])rows[0], n, columns, square[0],
                                      product[0]);
  other->sum_products((const int16_t(*)[KVI_BLOCK_COLUMNS])rows[0], n, columns, square[1], product[1]);
  assert_memory_equal(square[0], square[1], columns * sizeof square[0][0]);
  assert_memory_equal(product[0], product[1], columns * sizeof product[0][0]);

  kvi_codec_loops_scalar.take_predictions(share, columns, n, rows[0], square[0]);
  other->take_predictions(share, columns, n, rows[1], square[1]);
  assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
  assert_memory_equal(square[0], square[1], columns * sizeof square[0][0]);

  memset(last, 0, sizeof last);
  kvi_codec_loops_scalar.add_predictions(share, columns, n, last[0], rows[0]);
  other->add_predictions(share, columns, n, last[1], rows[1]);
  for (uint32_t row = 0; row < n; row++) {
    assert_memory_equal(rows[0][row], rows[2][row], columns * sizeof rows[0][0][0]);
    assert_memory_equal(rows[1][row], rows[2][row], columns * sizeof rows[0][0][0]);
  }
  assert_memory_equal(last[0], rows[2][n - 1], columns * sizeof last[0][0]);
  assert_memory_equal(last[1], rows[2][n - 1], columns * sizeof last[0][0]);
}

/* Of numbers that a damaged object may bring: anything, also behind a row of anything. */
static void additions_alike(kvi_rand *rand, uint32_t columns)
{
  kvi_tile tile[2];
  _Alignas(32) int16_t share[KVI_BLOCK_COLUMNS], last[2][KVI_BLOCK_COLUMNS];
  uint32_t n = 1 + (uint32_t)(kvi_rand_next(rand) % KVI_TILE_ROWS);

  fill(rand, tile[0], sizeof tile[0]);
  fill(rand, last[0], sizeof last[0]);
  memcpy(tile[1], tile[0], sizeof tile[0]);
  memcpy(last[1], last[0], sizeof last[0]);
  for (uint32_t column = 0; column < KVI_BLOCK_COLUMNS; column++)
    share[column] = (int16_t)(kvi_rand_next(rand) % 8 << 12);
  kvi_codec_loops_scalar.add_predictions(share, columns, n, last[0], tile[0]);
  other->add_predictions(share, columns, n, last[1], tile[1]);
  for (uint32_t row = 0; row < n; row++)
    assert_memory_equal(tile[0][row], tile[1][row], columns * sizeof tile[0][0][0]);
  assert_memory_equal(last[0], last[1], columns * sizeof last[0][0]);
}

/* Of every dtype, beside sums that are there. */
static void sums_alike(kvi_rand *rand, uint32_t columns)
{
  static uint8_t rows[4][KVI_BLOCK_COLUMNS * 2 + BEHIND];
  _Alignas(32) float shift[KVI_BLOCK_COLUMNS], sum[2][KVI_BLOCK_COLUMNS], square[2][KVI_BLOCK_COLUMNS];
  enum kvi_codec_dtype dtype = (enum kvi_codec_dtype)(1 + kvi_rand_next(rand) % KVI_CODEC_INT8);
  uint32_t n = 1 + (uint32_t)(kvi_rand_next(rand) % KVI_ARRAY_SIZE(rows));
  size_t element = kvi_codec_element_size(dtype);

  for (uint32_t column = 0; column < KVI_BLOCK_COLUMNS; column++) {
    int exponent = (int)(kvi_rand_next(rand) % 12) - 4;

    shift[column] = ldexpf(sample_normal(rand), exponent);
    sum[0][column] = sum[1][column] = sample_normal(rand);
    square[0][column] = square[1][column] = fabsf(sample_normal(rand));
    for (uint32_t row = 0; row < n; row++)
      kvi_codec_from_float(dtype, ldexpf(sample_normal(rand), exponent), rows[row] + column * element);
  }
  kvi_codec_loops_scalar.add_sums(dtype, rows[0], sizeof rows[0], n, shift, columns, sum[0], square[0]);
  other->add_sums(dtype, rows[0], sizeof rows[0], n, shift, columns, sum[1], square[1]);
  assert_memory_equal(sum[0], sum[1], sizeof sum[0]);
  assert_memory_equal(square[0], square[1], sizeof square[0]);
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

static void rows_are_coded(void **state)
{
  (void)state;
  on_each_path(coded_alike);
}

static void rows_are_decoded(void **state)
{
  (void)state;
  on_each_path(decoded_alike);
}

static void numbers_are_predicted(void **state)
{
  (void)state;
  on_each_path(predictions_alike);
  on_each_path(additions_alike);
}

static void sums_are_added(void **state)
{
  (void)state;
  on_each_path(sums_alike);
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
      cmocka_unit_test(numbers_become_elements), cmocka_unit_test(digits_are_taken),
      cmocka_unit_test(elements_become_numbers), cmocka_unit_test(classes_are_chosen),
      cmocka_unit_test(rows_are_coded),          cmocka_unit_test(rows_are_decoded),
      cmocka_unit_test(numbers_are_predicted),   cmocka_unit_test(sums_are_added),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
