/* The loops for AVX2: loops_body.h vectorised by the compiler, coded rows by hand. Compiled with -mavx2. */
#include <immintrin.h>

#define KVI_LOOPS_OWN_ENCODER
#include "tiers/codec/loops_body.h"
#include "tiers/codec/rans_avx2.h"

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

static inline __attribute__((always_inline)) void add_sums_of(enum kvi_codec_dtype dtype, const uint8_t *row,
                                                              const float *shift, uint32_t columns,
                                                              float *sum, float *square)
{
  for (uint32_t column = 0; column < columns; column += 8) {
    __m256 x = _mm256_sub_ps(load8(dtype, row, column), _mm256_load_ps(shift + column));

    _mm256_store_ps(sum + column, _mm256_add_ps(_mm256_load_ps(sum + column), x));
    _mm256_store_ps(square + column, _mm256_add_ps(_mm256_load_ps(square + column), _mm256_mul_ps(x, x)));
  }
}

/* 8 fine numbers, which fit 16 bits. */
static inline __m256i quantise8(__m256 x, const float *mean, const float *scale)
{
  const __m256 most = _mm256_set1_ps(KVI_NUMBER_END), least = _mm256_set1_ps(-KVI_NUMBER_END);

  x = _mm256_mul_ps(_mm256_sub_ps(x, _mm256_load_ps(mean)), _mm256_load_ps(scale));
  return _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(x, most), least));
}

static inline __attribute__((always_inline)) int16_t quantise_of(enum kvi_codec_dtype dtype,
                                                                 const uint8_t *row, const float *mean,
                                                                 const float *scale, uint32_t columns,
                                                                 int16_t *out)
{
  __m128i largest = _mm_setzero_si128();

  for (uint32_t column = 0; column < columns; column += 8) {
    __m256i x = quantise8(load8(dtype, row, column), mean + column, scale + column);
    __m128i numbers = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

    _mm_storeu_si128((__m128i *)(out + column), numbers);
    largest = _mm_max_epi16(largest, _mm_abs_epi16(numbers));
  }
  /* The smallest of 32767 - x, which has an instruction. */
  largest = _mm_minpos_epu16(_mm_sub_epi16(_mm_set1_epi16(32767), largest));
  return (int16_t)(32767 - _mm_extract_epi16(largest, 0));
}

static void add_sums(enum kvi_codec_dtype dtype, const uint8_t *row, const float *shift, uint32_t columns,
                     float *sum, float *square)
{
  if (dtype == KVI_CODEC_BF16)
    WIDTHS(columns, add_sums_of(KVI_CODEC_BF16, row, shift, width, sum, square));
  else
    add_sums_of(dtype, row, shift, columns, sum, square);
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

#define COMMON_LOOPS                                                                                         \
  .finish_rows = finish_rows, .place_kept = place_kept, .join_bf16 = join_bf16,                              \
  .exponents_bf16 = exponents_bf16, .lows_bf16 = lows_bf16, .cheapest_class = cheapest_class,                \
  .add_sums = add_sums, .quantise = quantise, .split_digits = split_digits

const struct kvi_codec_loops kvi_codec_loops_avx2 = {
    .name = "avx2",
    .rans_pairs = kvi_rans_pairs_avx2,
    .rans_encode = kvi_rans_encode_avx2,
    COMMON_LOOPS,
};

const struct kvi_codec_loops kvi_codec_loops_avx2_no_gather = {
    .name = "avx2-no-gather",
    .rans_pairs = kvi_rans_pairs_avx2_no_gather,
    .rans_encode = kvi_rans_encode_avx2_no_gather,
    COMMON_LOOPS,
};
