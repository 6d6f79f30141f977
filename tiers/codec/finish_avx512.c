/*
 * From numbers and trits to elements of bf16 by AVX-512, 32 columns of five rows at a time. The same operations as in finish_avx2.c, which says
 * why they give the same results as finish_bf16 of loops_body.h.
 */
#include <immintrin.h>

#include "tiers/codec/finish.h"

#define INLINE static inline __attribute__((always_inline))

/* What 32 columns need for any row. half is by even and odd columns, and 2^16 times smaller, as v will be larger. */
struct columns32 {
  __m512i mean;
  __m512 half_even, half_odd;
};

INLINE struct columns32 load_columns(const struct kvi_codec_scale *scale, uint32_t column, int16_t offset)
{
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
  __m512 a = _mm512_load_ps(scale->half + column), b = _mm512_load_ps(scale->half + column + 16);
  const __m512 less = _mm512_set1_ps(0x1p-16f);

  return (struct columns32){
      .mean = _mm512_sub_epi16(_mm512_load_si512(scale->mean + column), _mm512_set1_epi16(offset)),
      .half_even = _mm512_mul_ps(_mm512_permutex2var_ps(a, even, b), less),
      .half_odd = _mm512_mul_ps(_mm512_permutex2var_ps(a, odd, b), less),
  };
}

/* t[j] is the sum of what each plane's byte / 3^j is, the next plane's a third as much. */
INLINE void thirds_of(const uint8_t *const *trits, uint32_t n_planes, uint32_t column, __mmask32 there,
                      __m512i t[5])
{
  static const uint16_t reciprocals[] = {0, 21846, 7282, 2428, 810};

  for (uint32_t plane = 0; plane < n_planes; plane++) {
    __m512i bytes = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(there, trits[plane] + column));

    for (uint32_t row = 0; row < 5; row++) {
      __m512i quotient =
          row == 0 ? bytes : _mm512_mulhi_epu16(bytes, _mm512_set1_epi16((short)reciprocals[row]));

      t[row] = plane == 0 ? quotient
                          : _mm512_add_epi16(_mm512_mullo_epi16(t[row], _mm512_set1_epi16(3)), quotient);
    }
  }
}

/* v of 32 columns to x = v * half, rounded to nearest, ties to even. */
INLINE __m512i elements_of(__m512i v, const struct columns32 *columns)
{
  const __mmask32 odds = 0xaaaaaaaa;
  __m512 even = _mm512_cvtepi32_ps(_mm512_slli_epi32(v, 16));
  __m512 odd = _mm512_cvtepi32_ps(_mm512_and_si512(v, _mm512_set1_epi32((int)0xffff0000u)));
  __m512i a = _mm512_castps_si512(_mm512_mul_ps(even, columns->half_even));
  __m512i b = _mm512_castps_si512(_mm512_mul_ps(odd, columns->half_odd));
  __m512i high = _mm512_mask_blend_epi16(odds, _mm512_srli_epi32(a, 16), b);
  __m512i low = _mm512_mask_blend_epi16(odds, a, _mm512_slli_epi32(b, 16));
  __m512i sum = _mm512_adds_epu16(low, _mm512_and_si512(high, _mm512_set1_epi16(1)));
  __mmask32 more = _mm512_cmpgt_epu16_mask(sum, _mm512_set1_epi16(INT16_MIN));

  return _mm512_mask_add_epi16(high, more, high, _mm512_set1_epi16(1));
}

/* The columns of 32 that are there: v = factor * (3^n i + the planes' digits) + mean, in 16 bits. */
INLINE void finish32(const int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits, uint32_t n_planes,
                     const struct kvi_codec_scale *scale, uint32_t column, __mmask32 there,
                     uint8_t *const *out)
{
  static const int16_t powers[] = {1, 3, 9, 27};
  const __m512i factor = _mm512_set1_epi16(scale->factor), three = _mm512_set1_epi16(3),
                number_factor = _mm512_set1_epi16((int16_t)(scale->factor * powers[n_planes]));
  struct columns32 columns =
      load_columns(scale, column, (int16_t)(scale->factor * ((powers[n_planes] - 1) / 2)));
  __m512i t[5];

  thirds_of(trits, n_planes, column, there, t);
  for (uint32_t row = 0; row < 5; row++) {
    __m512i number = _mm512_loadu_si512(rows[row] + column);
    __m512i v = _mm512_add_epi16(_mm512_mullo_epi16(number, number_factor), columns.mean);

    if (n_planes > 0) {
      __m512i digits = row == 4 ? t[4] : _mm512_sub_epi16(t[row], _mm512_mullo_epi16(t[row + 1], three));

      v = _mm512_add_epi16(v, _mm512_mullo_epi16(digits, factor));
    }
    _mm512_mask_storeu_epi16(out[row] + (size_t)column * 2, there, elements_of(v, &columns));
  }
}

INLINE void finish(const int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits, uint32_t n_planes,
                   const struct kvi_codec_scale *scale, uint32_t columns, uint8_t *const *out)
{
  uint32_t column = 0;

  for (; column + 32 <= columns; column += 32)
    finish32(rows, trits, n_planes, scale, column, UINT32_MAX, out);
  if (column < columns)
    finish32(rows, trits, n_planes, scale, column, (1u << (columns - column)) - 1, out);
}

void kvi_finish_bf16_avx512(const int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits,
                            uint32_t n_planes, const struct kvi_codec_scale *scale, uint32_t columns,
                            uint8_t *const *out)
{
  KVI_FINISH_PLANES(n_planes, finish(rows, trits, planes, scale, columns, out));
}
