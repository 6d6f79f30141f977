/* The loops for AVX2: loops_body.h vectorised by the compiler, coded rows by hand. Compiled with -mavx2. */
#include <immintrin.h>

#define KVI_LOOPS_OWN /* what is written here, or in a file of its own, by hand */
#include "tiers/codec/loops_body.h"
#include "tiers/codec/rans_avx2.h"

static void finish_rows(enum kvi_codec_dtype dtype, int16_t (*rows)[KVI_BLOCK_COLUMNS],
                        const uint8_t *const *trits, uint32_t n_planes, const struct kvi_codec_scale *scale,
                        uint32_t columns, uint8_t *const *out)
{
  const int16_t(*numbers)[KVI_BLOCK_COLUMNS] = (const int16_t(*)[KVI_BLOCK_COLUMNS])rows;

  if (dtype == KVI_CODEC_BF16)
    kvi_finish_bf16_avx2(numbers, trits, n_planes, scale, columns, out);
  else
    finish_other(dtype, numbers, trits, n_planes, scale, columns, out);
}

/* 8 elements as floats. */
static inline __attribute__((always_inline)) __m256 load8(enum kvi_codec_dtype dtype, const uint8_t *row,
                                                          uint32_t column)
{
  _Alignas(32) float x[8];

  if (dtype == KVI_CODEC_BF16) {
    __m128i elements = _mm_loadu_si128((const __m128i *)(row + (size_t)column * 2));

    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(elements), 16));
  }
  for (uint32_t i = 0; i < 8; i++)
    x[i] = kvi_codec_to_float(dtype, row + (column + i) * kvi_codec_element_size(dtype));
  return _mm256_load_ps(x);
}

/* 8 columns of n rows: sums stay in registers. */
static inline __attribute__((always_inline)) void add_sums8(enum kvi_codec_dtype dtype, const uint8_t *rows,
                                                            size_t stride, uint32_t n, const float *shift,
                                                            uint32_t column, float *sum, float *square)
{
  __m256 sums = _mm256_load_ps(sum + column), squares = _mm256_load_ps(square + column);

  for (uint32_t row = 0; row < n; row++, rows += stride) {
    __m256 x = _mm256_sub_ps(load8(dtype, rows, column), _mm256_load_ps(shift + column));

    sums = _mm256_add_ps(sums, x);
    squares = _mm256_add_ps(squares, _mm256_mul_ps(x, x));
  }
  _mm256_store_ps(sum + column, sums);
  _mm256_store_ps(square + column, squares);
}

static void add_sums(enum kvi_codec_dtype dtype, const uint8_t *rows, size_t stride, uint32_t n,
                     const float *shift, uint32_t columns, float *sum, float *square)
{
  for (uint32_t column = 0; column < columns; column += 8)
    if (dtype == KVI_CODEC_BF16)
      add_sums8(KVI_CODEC_BF16, rows, stride, n, shift, column, sum, square);
    else
      add_sums8(dtype, rows, stride, n, shift, column, sum, square);
}

/* 8 fine numbers in the range of floats' integers; the least is none that is too small. */
static inline __attribute__((always_inline)) __m256i quantise8(enum kvi_codec_dtype dtype, const uint8_t *row,
                                                               const float *mean, const float *scale,
                                                               uint32_t column)
{
  __m256 x = _mm256_sub_ps(load8(dtype, row, column), _mm256_load_ps(mean + column));

  x = _mm256_mul_ps(x, _mm256_load_ps(scale + column));
  return _mm256_cvtps_epi32(_mm256_min_ps(x, _mm256_set1_ps(KVI_NUMBER_END)));
}

/* Packed from 32 bits, numbers below the range, and what has none of 32 bits, are at its end. */
static inline __m128i pack8(__m256i numbers)
{
  __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));

  return _mm_max_epi16(packed, _mm_set1_epi16(-KVI_NUMBER_END));
}

static inline __attribute__((always_inline)) int16_t quantise_of(enum kvi_codec_dtype dtype,
                                                                 const uint8_t *row, const float *mean,
                                                                 const float *scale, uint32_t columns,
                                                                 int16_t *out)
{
  __m128i largest = _mm_setzero_si128();

  for (uint32_t column = 0; column < columns; column += 8) {
    __m128i numbers = pack8(quantise8(dtype, row, mean, scale, column));

    _mm_storeu_si128((__m128i *)(out + column), numbers);
    largest = _mm_max_epi16(largest, _mm_abs_epi16(numbers));
  }
  /* The smallest of 32767 - x, which has an instruction. */
  largest = _mm_minpos_epu16(_mm_sub_epi16(_mm_set1_epi16(32767), largest));
  return (int16_t)(32767 - _mm_extract_epi16(largest, 0));
}

static int16_t quantise(enum kvi_codec_dtype dtype, const uint8_t *row, const float *mean, const float *scale,
                        uint32_t columns, int16_t *out)
{
  int16_t largest;

  if (dtype == KVI_CODEC_BF16)
    WIDTHS(columns, largest = quantise_of(KVI_CODEC_BF16, row, mean, scale, width, out));
  else
    largest = quantise_of(dtype, row, mean, scale, columns, out);
  return largest;
}

/* Five numbers of each column as one of base 3, modulo 2^16. */
static inline __m256i base3(const __m256i x[5])
{
  const __m256i three = _mm256_set1_epi16(3);
  __m256i sum = x[4];

  for (uint32_t row = 4; row-- > 0;)
    sum = _mm256_add_epi16(_mm256_mullo_epi16(sum, three), x[row]);
  return sum;
}

/*
 * 16 columns. The digits x - 3 third(x) + 1 of five rows, as one number of base 3, are base3(x) - 3 base3(third) + 121, and base3(third) is
 * base3(x) of the next plane.
 */
static inline void split16(int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t column, uint32_t n_planes,
                           uint8_t *const *trits, bool half)
{
  const __m256i third = _mm256_set1_epi16(10923), ones = _mm256_set1_epi16(121);
  __m256i x[5], all;

  for (uint32_t row = 0; row < 5; row++)
    x[row] = _mm256_loadu_si256((const __m256i *)(rows[row] + column));
  all = base3(x);
  for (uint32_t plane = n_planes; plane-- > 0;) {
    __m256i thirds, bytes;
    __m128i packed;

    for (uint32_t row = 0; row < 5; row++)
      x[row] = _mm256_mulhrs_epi16(x[row], third); /* kvi_third_of */
    thirds = base3(x);
    bytes = _mm256_add_epi16(_mm256_sub_epi16(all, _mm256_mullo_epi16(thirds, _mm256_set1_epi16(3))), ones);
    packed = _mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    if (half)
      _mm_storel_epi64((__m128i *)(trits[plane] + column), packed);
    else
      _mm_storeu_si128((__m128i *)(trits[plane] + column), packed);
    all = thirds;
  }
  for (uint32_t row = 0; row < 5; row++)
    _mm256_storeu_si256((__m256i *)(rows[row] + column), x[row]);
}

static void split_digits(int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t columns, uint32_t n_planes,
                         uint8_t *const *trits)
{
  uint32_t column = 0;

  for (; column + 16 <= columns; column += 16)
    split16(rows, column, n_planes, trits, false);
  if (column < columns)
    split16(rows, column, n_planes, trits, true);
}

/* Counts of 32 columns for so many distances from the greatest, in registers: n is a constant, at most 8. */
static inline __attribute__((always_inline)) void count32(const uint8_t *highs, uint32_t rows, uint32_t step,
                                                          const uint8_t *greatest, uint32_t first, uint32_t n,
                                                          uint8_t (*counts)[KVI_BLOCK_COLUMNS])
{
  __m256i top = _mm256_loadu_si256((const __m256i *)greatest), count[8];

  for (uint32_t i = 0; i < n; i++)
    count[i] = _mm256_setzero_si256();
  for (uint32_t row = 0; row < rows; row += step, highs += (size_t)step * KVI_BLOCK_COLUMNS) {
    __m256i below = _mm256_sub_epi8(top, _mm256_loadu_si256((const __m256i *)highs));

    for (uint32_t i = 0; i < n; i++)
      count[i] = _mm256_sub_epi8(count[i], _mm256_cmpeq_epi8(below, _mm256_set1_epi8((char)(first + i))));
  }
  for (uint32_t i = 0; i < n; i++)
    _mm256_storeu_si256((__m256i *)counts[first + i], count[i]);
}

static void count_highs(const uint8_t (*highs)[KVI_BLOCK_COLUMNS], uint32_t rows, uint32_t step,
                        const uint8_t *greatest, uint32_t columns, uint8_t (*counts)[KVI_BLOCK_COLUMNS])
{
  for (uint32_t column = 0; column < columns; column += 32) {
    uint8_t(*at)[KVI_BLOCK_COLUMNS] = (uint8_t(*)[KVI_BLOCK_COLUMNS])(counts[0] + column);

    count32(highs[0] + column, rows, step, greatest + column, 0, 8, at);
    count32(highs[0] + column, rows, step, greatest + column, 8, KVI_HIGH_COUNTS - 8, at);
  }
}

/* The cost and the class in one number: the least cost, and of those that cost it the first class. */
static uint32_t cheapest_class(const int16_t counts[16], uint32_t *class_p)
{
  __m256i least = _mm256_set1_epi32(-1), class_id = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m128i four;
  uint32_t choice;

  for (uint32_t first = 0; first < KVI_CLASSES_LOSSLESS_COUNT; first += 8) {
    __m256i cost = _mm256_setzero_si256();

    for (uint32_t pair = 0; pair < 8; pair++) {
      int two;

      memcpy(&two, counts + 2 * pair, sizeof two);
      cost = _mm256_add_epi32(
          cost, _mm256_madd_epi16(_mm256_set1_epi32(two),
                                  _mm256_load_si256((const __m256i *)kvi_rans_pair_costs[pair][first])));
    }
    least = _mm256_min_epu32(least, _mm256_or_si256(_mm256_slli_epi32(cost, 5), class_id));
    class_id = _mm256_add_epi32(class_id, _mm256_set1_epi32(8));
  }
  four = _mm_min_epu32(_mm256_castsi256_si128(least), _mm256_extracti128_si256(least, 1));
  four = _mm_min_epu32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_min_epu32(four, _mm_shuffle_epi32(four, 0xb1));
  choice = (uint32_t)_mm_cvtsi128_si32(four);
  *class_p = choice & (KVI_CLASSES_LOSSLESS_COUNT - 1);
  return choice / KVI_CLASSES_LOSSLESS_COUNT;
}

/* 16 columns, row after row, with the row before in a register. */
static inline void predict16(const int16_t *share, uint32_t column, uint32_t n_rows, int16_t *last,
                             kvi_tile tile)
{
  __m256i part = _mm256_load_si256((const __m256i *)(share + column));
  __m256i x = _mm256_load_si256((const __m256i *)(last + column));

  for (uint32_t row = 0; row < n_rows; row++) {
    __m256i *at = (__m256i *)(tile[row] + column);

    x = _mm256_add_epi16(_mm256_loadu_si256(at), _mm256_mulhrs_epi16(x, part)); /* kvi_prediction */
    _mm256_storeu_si256(at, x);
  }
  _mm256_store_si256((__m256i *)(last + column), x);
}

/* Columns that are missing in the last 16 are zeros or what nobody reads. */
static void add_predictions(const int16_t *share, uint32_t columns, uint32_t n_rows, int16_t *last,
                            kvi_tile tile)
{
  for (uint32_t column = 0; column < columns; column += 16)
    predict16(share, column, n_rows, last, tile);
}

static inline __m256 add_square(__m256 sum, __m128i numbers)
{
  __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(numbers));

  return _mm256_add_ps(sum, _mm256_mul_ps(x, x));
}

static void take_predictions(const int16_t *share, uint32_t columns, uint32_t n_rows,
                             int16_t (*rows)[KVI_BLOCK_COLUMNS], float *square)
{
  for (uint32_t column = 0; column < columns; column += 8) {
    __m128i part = _mm_load_si128((const __m128i *)(share + column)), before = _mm_setzero_si128();
    __m256 sum = _mm256_setzero_ps();

    for (uint32_t row = 0; row < n_rows; row++) {
      __m128i *at = (__m128i *)(rows[row] + column), x = _mm_loadu_si128(at), left;

      left = _mm_sub_epi16(x, _mm_mulhrs_epi16(before, part));
      _mm_storeu_si128(at, left);
      sum = add_square(sum, left);
      before = x;
    }
    _mm256_store_ps(square + column, sum);
  }
}

static void sum_products(const int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t n_rows, uint32_t columns,
                         float *square, float *product)
{
  for (uint32_t column = 0; column < columns; column += 8) {
    __m256 before = _mm256_setzero_ps(), squares = before, products = before;

    for (uint32_t row = 0; row < n_rows; row++) {
      __m128i numbers = _mm_loadu_si128((const __m128i *)(rows[row] + column));
      __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(numbers));

      squares = _mm256_add_ps(squares, _mm256_mul_ps(x, x));
      products = _mm256_add_ps(products, _mm256_mul_ps(x, before));
      before = x;
    }
    _mm256_store_ps(square + column, squares);
    _mm256_store_ps(product + column, products);
  }
}

#define COMMON_LOOPS                                                                                         \
  .finish_rows = finish_rows, .place_kept = place_kept, .join_bf16 = join_bf16,                              \
  .exponents_bf16 = exponents_bf16, .lows_bf16 = lows_bf16, .count_highs = count_highs,                      \
  .cheapest_class = cheapest_class, .less_reference = less_reference, .add_sums = add_sums,                  \
  .quantise = quantise, .split_digits = split_digits, .add_predictions = add_predictions,                    \
  .sum_products = sum_products, .take_predictions = take_predictions

const struct kvi_codec_loops kvi_codec_loops_avx2 = {
    .name = "avx2",
    .rans_pairs = kvi_rans_pairs_avx2,
    .rans_pairs_of_two = kvi_rans_pairs_of_two_avx2,
    .rans_encode = kvi_rans_encode_avx2,
    COMMON_LOOPS,
};

const struct kvi_codec_loops kvi_codec_loops_avx2_no_gather = {
    .name = "avx2-no-gather",
    .rans_pairs = kvi_rans_pairs_avx2_no_gather,
    .rans_pairs_of_two = kvi_rans_pairs_of_two_avx2_no_gather,
    .rans_encode = kvi_rans_encode_avx2,
    COMMON_LOOPS,
};
