/*
 * From numbers and trits to elements of bf16 by AVX2, 16 columns of five rows at a time. The same results as finish_bf16 of loops_body.h, but all in the fewest
 * operations: a step here is as dear as one of the coder.
 */
#include <immintrin.h>

#include "tiers/codec/finish.h"

#define INLINE static inline __attribute__((always_inline))

/* What 16 columns need for any row. half is by even and odd columns, and 2^16 times smaller, as v will be larger. */
struct columns16 {
  __m256i mean;
  __m256 half_even, half_odd;
};

INLINE struct columns16 load_columns(const struct kvi_codec_scale *scale, uint32_t column, int16_t offset)
{
  __m256 a = _mm256_load_ps(scale->half + column), b = _mm256_load_ps(scale->half + column + 8);
  __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)),
          odd = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
  __m256i mean = _mm256_load_si256((const __m256i *)(scale->mean + column));
  const __m256 less = _mm256_set1_ps(0x1p-16f);

  return (struct columns16){
      .mean = _mm256_sub_epi16(mean, _mm256_set1_epi16(offset)),
      .half_even = _mm256_mul_ps(_mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xd8)), less),
      .half_odd = _mm256_mul_ps(_mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xd8)), less),
  };
}

/* The bytes of trits of 16 columns, or of 8. */
INLINE __m256i load_trits(const uint8_t *trits, bool half)
{
  return _mm256_cvtepu8_epi16(half ? _mm_loadl_epi64((const __m128i *)trits)
                                   : _mm_loadu_si128((const __m128i *)trits));
}

/*
 * t[j] is a byte / 3^j, for several planes the sum of what each has, the next plane's a third as much. A digit and 1 is t[j] - 3 t[j + 1].
 * 2^16 / 3^j rounded up gives all quotients of a byte.
 */
INLINE void thirds_of(const uint8_t *const *trits, uint32_t n_planes, uint32_t column, bool half,
                      __m256i t[5])
{
  static const uint16_t reciprocals[] = {0, 21846, 7282, 2428, 810};

  for (uint32_t plane = 0; plane < n_planes; plane++) {
    __m256i bytes = load_trits(trits[plane] + column, half);

    for (uint32_t row = 0; row < 5; row++) {
      __m256i quotient =
          row == 0 ? bytes : _mm256_mulhi_epu16(bytes, _mm256_set1_epi16((short)reciprocals[row]));

      t[row] = plane == 0 ? quotient
                          : _mm256_add_epi16(_mm256_mullo_epi16(t[row], _mm256_set1_epi16(3)), quotient);
    }
  }
}

/* v of 16 columns to x = v * half, rounded to nearest, ties to even: a float's upper half, and one more where the lower half and the last bit say so. */
INLINE __m256i elements_of(__m256i v, const struct columns16 *columns)
{
  const __m256i middle = _mm256_set1_epi16(INT16_MIN);
  __m256 even = _mm256_cvtepi32_ps(_mm256_slli_epi32(v, 16));
  __m256 odd = _mm256_cvtepi32_ps(_mm256_and_si256(v, _mm256_set1_epi32((int)0xffff0000u)));
  __m256i a = _mm256_castps_si256(_mm256_mul_ps(even, columns->half_even));
  __m256i b = _mm256_castps_si256(_mm256_mul_ps(odd, columns->half_odd));
  __m256i high = _mm256_blend_epi16(_mm256_srli_epi32(a, 16), b, 0xaa);
  __m256i low = _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
  __m256i sum = _mm256_adds_epu16(low, _mm256_and_si256(high, _mm256_set1_epi16(1)));
  __m256i more = _mm256_cmpgt_epi16(_mm256_xor_si256(sum, middle), _mm256_setzero_si256());

  return _mm256_sub_epi16(high, more);
}

/* 16 columns, or 8: v = factor * (3^n i + the planes' digits) + mean, in 16 bits. */
INLINE void finish16(const int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits, uint32_t n_planes,
                     const struct kvi_codec_scale *scale, uint32_t column, bool half, uint8_t *const *out)
{
  static const int16_t powers[] = {1, 3, 9, 27};
  const __m256i factor = _mm256_set1_epi16(scale->factor), three = _mm256_set1_epi16(3),
                number_factor = _mm256_set1_epi16((int16_t)(scale->factor * powers[n_planes]));
  struct columns16 columns =
      load_columns(scale, column, (int16_t)(scale->factor * ((powers[n_planes] - 1) / 2)));
  __m256i t[5];

  thirds_of(trits, n_planes, column, half, t);
  for (uint32_t row = 0; row < 5; row++) {
    __m256i number = _mm256_loadu_si256((const __m256i *)(rows[row] + column)), x;
    __m256i v = _mm256_add_epi16(_mm256_mullo_epi16(number, number_factor), columns.mean);

    if (n_planes > 0) {
      __m256i digits = row == 4 ? t[4] : _mm256_sub_epi16(t[row], _mm256_mullo_epi16(t[row + 1], three));

      v = _mm256_add_epi16(v, _mm256_mullo_epi16(digits, factor));
    }
    x = elements_of(v, &columns);
    if (half)
      _mm_storeu_si128((__m128i *)(out[row] + (size_t)column * 2), _mm256_castsi256_si128(x));
    else
      _mm256_storeu_si256((__m256i *)(out[row] + (size_t)column * 2), x);
  }
}

INLINE void finish(const int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits, uint32_t n_planes,
                   const struct kvi_codec_scale *scale, uint32_t columns, uint8_t *const *out)
{
  uint32_t column = 0;

  for (; column + 16 <= columns; column += 16)
    finish16(rows, trits, n_planes, scale, column, false, out);
  if (column < columns)
    finish16(rows, trits, n_planes, scale, column, true, out);
}

void kvi_finish_bf16_avx2(const int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits,
                          uint32_t n_planes, const struct kvi_codec_scale *scale, uint32_t columns,
                          uint8_t *const *out)
{
  KVI_FINISH_PLANES(n_planes, finish(rows, trits, planes, scale, columns, out));
}
