/* The loops for AVX-512: loops_body.h vectorised by the compiler, others by hand, and those for AVX2 where longer vectors are no gain. */
#include <immintrin.h>

#define KVI_LOOPS_OWN /* what is written here, or in a file of its own, by hand */
#include "tiers/codec/loops_body.h"
#include "tiers/codec/rans_avx512.h"

struct kvi_codec_loops kvi_codec_loops_avx512, kvi_codec_loops_avx512_no_gather;

static void finish_rows(enum kvi_codec_dtype dtype, int16_t (*rows)[KVI_BLOCK_COLUMNS],
                        const uint8_t *const *trits, uint32_t n_planes, const struct kvi_codec_scale *scale,
                        uint32_t columns, uint8_t *const *out)
{
  const int16_t(*numbers)[KVI_BLOCK_COLUMNS] = (const int16_t(*)[KVI_BLOCK_COLUMNS])rows;

  if (dtype == KVI_CODEC_BF16)
    kvi_finish_bf16_avx512(numbers, trits, n_planes, scale, columns, out);
  else
    finish_other(dtype, numbers, trits, n_planes, scale, columns, out);
}

/* 32 columns, row after row, with the row before in a register. Columns that are missing in the last 32 are zeros or what nobody reads. */
static void add_predictions(const int16_t *share, uint32_t columns, uint32_t n_rows, int16_t *last,
                            kvi_tile tile)
{
  for (uint32_t column = 0; column < columns; column += 32) {
    __m512i part = _mm512_loadu_si512(share + column), x = _mm512_loadu_si512(last + column);

    for (uint32_t row = 0; row < n_rows; row++) {
      int16_t *at = tile[row] + column;

      x = _mm512_add_epi16(_mm512_loadu_si512(at), _mm512_mulhrs_epi16(x, part)); /* kvi_prediction */
      _mm512_storeu_si512(at, x);
    }
    _mm512_storeu_si512(last + column, x);
  }
}

/* Elements of bf16 as floats, those of the columns that are there. */
static inline __m512 load16(const uint8_t *row, uint32_t column, __mmask16 there)
{
  __m256i elements = _mm256_maskz_loadu_epi16(there, row + (size_t)column * 2);

  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(elements), 16));
}

/* Which of 16, or 32, columns from this one on there are. */
static inline __mmask16 there_of16(uint32_t column, uint32_t columns)
{
  return (__mmask16)(column + 16 <= columns ? 0xffffu : (1u << (columns - column)) - 1);
}

static inline __mmask32 there_of32(uint32_t column, uint32_t columns)
{
  return column + 32 <= columns ? UINT32_MAX : (1u << (columns - column)) - 1;
}

static void add_sums(enum kvi_codec_dtype dtype, const uint8_t *rows, size_t stride, uint32_t n,
                     const float *shift, uint32_t columns, float *sum, float *square)
{
  if (dtype != KVI_CODEC_BF16) {
    kvi_codec_loops_avx2.add_sums(dtype, rows, stride, n, shift, columns, sum, square);
    return;
  }
  for (uint32_t column = 0; column < columns; column += 16) {
    __mmask16 there = there_of16(column, columns);
    __m512 sums = _mm512_loadu_ps(sum + column), squares = _mm512_loadu_ps(square + column);
    __m512 shifts = _mm512_loadu_ps(shift + column);

    for (uint32_t row = 0; row < n; row++) {
      __m512 x = _mm512_sub_ps(load16(rows + row * stride, column, there), shifts);

      sums = _mm512_add_ps(sums, x);
      squares = _mm512_add_ps(squares, _mm512_mul_ps(x, x));
    }
    _mm512_mask_storeu_ps(sum + column, there, sums);
    _mm512_mask_storeu_ps(square + column, there, squares);
  }
}

/* 16 fine numbers: what is below the range, and what has no 32 bits, is at its end when it is packed. */
static inline __m256i quantise16(const uint8_t *row, const float *mean, const float *scale, uint32_t column,
                                 __mmask16 there)
{
  __m512 x = _mm512_sub_ps(load16(row, column, there), _mm512_loadu_ps(mean + column));
  __m512i numbers;

  x = _mm512_mul_ps(x, _mm512_loadu_ps(scale + column));
  numbers = _mm512_cvtps_epi32(_mm512_min_ps(x, _mm512_set1_ps(KVI_NUMBER_END)));
  return _mm256_max_epi16(_mm512_cvtsepi32_epi16(numbers), _mm256_set1_epi16(-KVI_NUMBER_END));
}

static int16_t quantise(enum kvi_codec_dtype dtype, const uint8_t *row, const float *mean, const float *scale,
                        uint32_t columns, int16_t *out)
{
  __m256i largest = _mm256_setzero_si256();
  __m128i less;

  if (dtype != KVI_CODEC_BF16)
    return kvi_codec_loops_avx2.quantise(dtype, row, mean, scale, columns, out);
  for (uint32_t column = 0; column < columns; column += 16) {
    __mmask16 there = there_of16(column, columns);
    __m256i numbers = _mm256_maskz_mov_epi16(there, quantise16(row, mean, scale, column, there));

    _mm256_mask_storeu_epi16(out + column, there, numbers);
    largest = _mm256_max_epi16(largest, _mm256_abs_epi16(numbers));
  }
  /* The smallest of 32767 - x, which has an instruction. */
  less = _mm_max_epi16(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  less = _mm_minpos_epu16(_mm_sub_epi16(_mm_set1_epi16(32767), less));
  return (int16_t)(32767 - _mm_extract_epi16(less, 0));
}

/* Five numbers of each column as one of base 3, modulo 2^16. */
static inline __m512i base3(const __m512i x[5])
{
  __m512i sum = x[4];

  for (uint32_t row = 4; row-- > 0;)
    sum = _mm512_add_epi16(_mm512_mullo_epi16(sum, _mm512_set1_epi16(3)), x[row]);
  return sum;
}

/* 32 columns, as split16 of loops_avx2.c. Numbers of columns that are missing are zeros, and stay so. */
static inline void split32(int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t column, __mmask32 there,
                           uint32_t n_planes, uint8_t *const *trits)
{
  const __m512i third = _mm512_set1_epi16(10923), ones = _mm512_set1_epi16(121);
  __m512i x[5], all;

  for (uint32_t row = 0; row < 5; row++)
    x[row] = _mm512_loadu_si512(rows[row] + column);
  all = base3(x);
  for (uint32_t plane = n_planes; plane-- > 0;) {
    __m512i thirds, bytes;

    for (uint32_t row = 0; row < 5; row++)
      x[row] = _mm512_mulhrs_epi16(x[row], third); /* kvi_third_of */
    thirds = base3(x);
    bytes = _mm512_add_epi16(_mm512_sub_epi16(all, _mm512_mullo_epi16(thirds, _mm512_set1_epi16(3))), ones);
    _mm256_mask_storeu_epi8(trits[plane] + column, there, _mm512_cvtepi16_epi8(bytes));
    all = thirds;
  }
  for (uint32_t row = 0; row < 5; row++)
    _mm512_storeu_si512(rows[row] + column, x[row]);
}

static void split_digits(int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t columns, uint32_t n_planes,
                         uint8_t *const *trits)
{
  for (uint32_t column = 0; column < columns; column += 32)
    split32(rows, column, there_of32(column, columns), n_planes, trits);
}

/* 16 numbers of a row as floats. */
static inline __m512 floats_of(__m256i numbers)
{
  return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(numbers));
}

/*
 * 32 columns at a time, whose sums do not wait for each other. What is read and summed of columns that are missing is no part of any result, but
 * room for it is there.
 */
static void take_predictions(const int16_t *share, uint32_t columns, uint32_t n_rows,
                             int16_t (*rows)[KVI_BLOCK_COLUMNS], float *square)
{
  for (uint32_t column = 0; column < columns; column += 32) {
    __m512i part = _mm512_loadu_si512(share + column), before = _mm512_setzero_si512();
    __mmask32 there = there_of32(column, columns);
    __m512 low = _mm512_setzero_ps(), high = low;

    for (uint32_t row = 0; row < n_rows; row++) {
      __m512i numbers = _mm512_loadu_si512(rows[row] + column);
      __m512i left = _mm512_sub_epi16(numbers, _mm512_mulhrs_epi16(before, part));
      __m512 x = floats_of(_mm512_castsi512_si256(left)), y = floats_of(_mm512_extracti64x4_epi64(left, 1));

      _mm512_mask_storeu_epi16(rows[row] + column, there, left);
      low = _mm512_add_ps(low, _mm512_mul_ps(x, x));
      high = _mm512_add_ps(high, _mm512_mul_ps(y, y));
      before = numbers;
    }
    _mm512_storeu_ps(square + column, low);
    _mm512_storeu_ps(square + column + 16, high);
  }
}

static void sum_products(const int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t n_rows, uint32_t columns,
                         float *square, float *product)
{
  for (uint32_t column = 0; column < columns; column += 32) {
    __m512 before[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __m512 squares[2] = {before[0], before[0]}, products[2] = {before[0], before[0]};

    for (uint32_t row = 0; row < n_rows; row++)
      for (uint32_t half = 0; half < 2; half++) {
        const int16_t *at = rows[row] + column + 16 * half;
        __m512 x = floats_of(_mm256_loadu_si256((const __m256i *)at));

        squares[half] = _mm512_add_ps(squares[half], _mm512_mul_ps(x, x));
        products[half] = _mm512_add_ps(products[half], _mm512_mul_ps(x, before[half]));
        before[half] = x;
      }
    for (uint32_t half = 0; half < 2; half++) {
      _mm512_storeu_ps(square + column + 16 * half, squares[half]);
      _mm512_storeu_ps(product + column + 16 * half, products[half]);
    }
  }
}

/* All counts of 64 columns in registers. Rows of high parts, and of counts, are as long as a block's are at most. */
static void count_highs(const uint8_t (*highs)[KVI_BLOCK_COLUMNS], uint32_t rows, uint32_t step,
                        const uint8_t *greatest, uint32_t columns, uint8_t (*counts)[KVI_BLOCK_COLUMNS])
{
  for (uint32_t column = 0; column < columns; column += 64) {
    __m512i top = _mm512_loadu_si512(greatest + column), count[KVI_HIGH_COUNTS];

    for (uint32_t i = 0; i < KVI_HIGH_COUNTS; i++)
      count[i] = _mm512_setzero_si512();
    for (uint32_t row = 0; row < rows; row += step) {
      __m512i below = _mm512_sub_epi8(top, _mm512_loadu_si512(highs[row] + column));

      for (uint32_t i = 0; i < KVI_HIGH_COUNTS; i++)
        count[i] = _mm512_mask_add_epi8(count[i], _mm512_cmpeq_epi8_mask(below, _mm512_set1_epi8((char)i)),
                                        count[i], _mm512_set1_epi8(1));
    }
    for (uint32_t i = 0; i < KVI_HIGH_COUNTS; i++)
      _mm512_storeu_si512(counts[i] + column, count[i]);
  }
}

/* The cost and the class in one number: the least cost, and of those that cost it the first class. */
static uint32_t cheapest_class(const int16_t counts[16], uint32_t *class_p)
{
  const __m512i class_id = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i low = _mm512_setzero_si512(), high = low;
  uint32_t choice;

  for (uint32_t pair = 0; pair < 8; pair++) {
    __m512i both;
    int two;

    memcpy(&two, counts + 2 * pair, sizeof two);
    both = _mm512_set1_epi32(two);
    low = _mm512_add_epi32(low, _mm512_madd_epi16(both, _mm512_loadu_si512(kvi_rans_pair_costs[pair][0])));
    high = _mm512_add_epi32(high, _mm512_madd_epi16(both, _mm512_loadu_si512(kvi_rans_pair_costs[pair][16])));
  }
  low = _mm512_or_si512(_mm512_slli_epi32(low, 5), class_id);
  high = _mm512_or_si512(_mm512_slli_epi32(high, 5), _mm512_add_epi32(class_id, _mm512_set1_epi32(16)));
  choice = _mm512_reduce_min_epu32(_mm512_min_epu32(low, high));
  *class_p = choice & (KVI_CLASSES_LOSSLESS_COUNT - 1);
  return choice / KVI_CLASSES_LOSSLESS_COUNT;
}

void kvi_codec_loops_avx512_init(void)
{
  struct kvi_codec_loops *loops = &kvi_codec_loops_avx512;

  *loops = kvi_codec_loops_avx2;
  loops->name = "avx512";
  loops->rans_pairs = kvi_rans_pairs_avx512;
  loops->rans_pairs_of_two = kvi_rans_pairs_of_two_avx512;
  loops->rans_encode = kvi_rans_encode_avx512;
  loops->finish_rows = finish_rows;
  loops->place_kept = place_kept;
  loops->add_predictions = add_predictions;
  loops->join_bf16 = join_bf16;
  loops->exponents_bf16 = exponents_bf16;
  loops->lows_bf16 = lows_bf16;
  loops->less_reference = less_reference;
  loops->count_highs = count_highs;
  loops->cheapest_class = cheapest_class;
  loops->add_sums = add_sums;
  loops->quantise = quantise;
  loops->split_digits = split_digits;
  loops->sum_products = sum_products;
  loops->take_predictions = take_predictions;

  kvi_codec_loops_avx512_no_gather = *loops;
  kvi_codec_loops_avx512_no_gather.name = "avx512-no-gather";
  kvi_codec_loops_avx512_no_gather.rans_pairs = kvi_rans_pairs_avx512_no_gather;
  kvi_codec_loops_avx512_no_gather.rans_pairs_of_two = kvi_rans_pairs_of_two_avx512_no_gather;
}
