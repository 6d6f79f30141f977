/*
 * Encoding of coded rows by AVX-512: as rans_encode_avx2.c does, but 16 states to a vector, in the order of their lanes. Codes of even lanes lie in front of
 * those of odd ones, as the products of even and of odd places take them.
 */
#include <immintrin.h>

#include "tiers/codec/rans_avx2.h"
#include "tiers/codec/rans_avx512.h"

#define INLINE static inline __attribute__((always_inline))

/* The codes of the two lanes whose indices are the lower 16 bits of either half. */
INLINE __m128i codes2(uint64_t two)
{
  __m128i code = _mm_cvtsi64_si128((long long)kvi_rans_codes[two & 0xffff]);

  return _mm_insert_epi64(code, (long long)kvi_rans_codes[two >> 32 & 0xffff], 1);
}

/* Of eight lanes, every other one of 16: the even or, with the indices moved, the odd ones. */
INLINE __m512i codes8(const volatile uint64_t *four, uint32_t move)
{
  __m256i low = _mm256_castsi128_si256(codes2(four[0] >> move)),
          high = _mm256_castsi128_si256(codes2(four[2] >> move));

  low = _mm256_inserti128_si256(low, codes2(four[1] >> move), 1);
  high = _mm256_inserti128_si256(high, codes2(four[3] >> move), 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* The codes of 32 lanes. Indices go through memory, four at a time; volatile: else compilers take the vector apart, which is slower. */
INLINE void look_up32(const uint8_t *classes, const int16_t *first, const int16_t *second, uint64_t *out)
{
  const __m256i nibble = _mm256_set1_epi8(15), escape = _mm256_set1_epi8((char)KVI_RANS_ESCAPE_PAIR);
  __m256i a = _mm512_cvtsepi16_epi8(_mm512_loadu_si512(first));
  __m256i b = _mm512_cvtsepi16_epi8(_mm512_loadu_si512(second));
  __m512i class_id = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)classes));
  __m256i symbols =
      _mm256_or_si256(_mm256_and_si256(a, nibble), _mm256_slli_epi16(_mm256_and_si256(b, nibble), 4));
  __m256i magnitude = _mm256_max_epu8(_mm256_abs_epi8(a), _mm256_abs_epi8(b));
  _Alignas(64) volatile uint64_t four[KVI_RANS_LANES / 4];

  symbols = _mm256_mask_blend_epi8(_mm256_cmpgt_epu8_mask(magnitude, _mm256_set1_epi8(7)), symbols, escape);
  _mm512_store_si512((void *)(uintptr_t)four,
                     _mm512_or_si512(_mm512_cvtepu8_epi16(symbols), _mm512_slli_epi16(class_id, 8)));
  for (uint32_t half = 0; half < 2; half++) {
    _mm512_store_si512(out + 16 * half, codes8(four + 4 * half, 0));
    _mm512_store_si512(out + 16 * half + 8, codes8(four + 4 * half, 16));
  }
}

/* 16 lanes: a new state; words go in front of those that are there. Returns which lanes are escaped. */
INLINE uint32_t encode16(__m512i *state, const uint64_t *code, uint8_t **words)
{
  const __mmask16 odds = 0xaaaa;
  __m512i even = _mm512_load_si512(code), odd = _mm512_load_si512(code + 8);
  __m512i fields = _mm512_mask_blend_epi32(odds, _mm512_srli_epi64(even, 32), odd);
  __m512i frequency = _mm512_srli_epi32(fields, 16),
          start = _mm512_and_si512(fields, _mm512_set1_epi32(KVI_RANS_SLOTS - 1));
  __m512i x = *state, quotient, rest, slots_less;
  __mmask16 goes = _mm512_cmple_epu32_mask(frequency, _mm512_srli_epi32(x, 32 - KVI_RANS_SLOT_BITS));
  uint32_t n = (uint32_t)__builtin_popcount(goes);

  *words -= 2 * n;
  _mm256_mask_storeu_epi16(*words, (__mmask16)((1u << n) - 1),
                           _mm256_maskz_compress_epi16(goes, _mm512_cvtepi32_epi16(x)));
  x = _mm512_mask_srli_epi32(x, goes, x, 16);
  /* By the reciprocal the quotient is right or one too small: x / 2^32 at most is missing. */
  quotient = _mm512_mask_blend_epi32(odds, _mm512_srli_epi64(_mm512_mul_epu32(x, even), 32),
                                     _mm512_mul_epu32(_mm512_srli_epi64(x, 32), odd));
  rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(quotient, frequency));
  slots_less = _mm512_sub_epi32(_mm512_set1_epi32(KVI_RANS_SLOTS), frequency);
  x = _mm512_add_epi32(_mm512_slli_epi32(quotient, KVI_RANS_SLOT_BITS), _mm512_add_epi32(rest, start));
  *state = _mm512_mask_add_epi32(x, _mm512_cmpge_epu32_mask(rest, frequency), x, slots_less);
  return _mm512_test_epi32_mask(fields, _mm512_set1_epi32(KVI_RANS_ESCAPED));
}

/* Lists the numbers of the lanes that are escaped, the last lane first. */
static void list_escaped(uint32_t lanes, const int16_t *first, const int16_t *second,
                         struct kvi_rans_encoder *encoder)
{
  while (lanes != 0) {
    uint32_t lane = 31 - (uint32_t)__builtin_clz(lanes);

    kvi_rans_put_escaped(encoder, first[lane], second[lane]);
    lanes &= ~(1u << lane);
  }
}

/* While the states of a pair of rows advance, the codes of the pair in front of it are looked up. */
void kvi_rans_encode_avx512(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                            struct kvi_rans_encoder *encoder)
{
  _Alignas(64) uint64_t codes[2][KVI_BLOCK_COLUMNS];
  __m512i low = _mm512_loadu_si512(encoder->state), high = _mm512_loadu_si512(encoder->state + 16);
  uint32_t lanes = columns->n_groups * KVI_RANS_LANES;
  uint8_t *words = encoder->words;

  for (uint32_t at = 0; at < lanes && rows > 0; at += KVI_RANS_LANES) {
    const int16_t *last = numbers + (size_t)(rows - 2) * KVI_BLOCK_COLUMNS;

    look_up32(columns->classes + at, last + at, last + KVI_BLOCK_COLUMNS + at, codes[rows / 2 % 2] + at);
  }
  for (uint32_t row = rows; row > 0; row -= 2) {
    const int16_t *pair = numbers + (size_t)(row - 2) * KVI_BLOCK_COLUMNS;
    /* The first pair has none in front of it: its own are looked up for nothing. */
    const int16_t *before = row > 2 ? pair - 2 * (size_t)KVI_BLOCK_COLUMNS : pair;
    const uint64_t *now = codes[row / 2 % 2];
    uint64_t *next = codes[(row / 2 + 1) % 2];

    for (uint32_t at = lanes; at > 0;) {
      uint32_t escaped;

      at -= KVI_RANS_LANES;
      look_up32(columns->classes + at, before + at, before + KVI_BLOCK_COLUMNS + at, next + at);
      escaped = encode16(&high, now + at + 16, &words) << 16;
      escaped |= encode16(&low, now + at, &words);
      if (escaped != 0)
        list_escaped(escaped, pair + at, pair + KVI_BLOCK_COLUMNS + at, encoder);
    }
  }
  _mm512_storeu_si512(encoder->state, low);
  _mm512_storeu_si512(encoder->state + 16, high);
  encoder->words = words;
}
