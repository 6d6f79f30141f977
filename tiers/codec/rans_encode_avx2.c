/*
 * Encoding of coded rows by AVX2. Symbols and what codes them do not depend on the states: all lanes of a pair of rows are looked up first, one by one,
 * then the states advance, 8 to a vector, without waiting for a load.
 *
 * Within a vector lane i has place 2 i and lane 4 + i place 2 i + 1, so that the products of even and of odd places take the codes of four lanes
 * each as they lie in memory.
 */
#include <immintrin.h>
#include <string.h>

#include "tiers/codec/rans_avx2.h"

#define PLACE(lane) ((lane) < 4 ? 2 * (lane) : 2 * (lane)-7)

_Alignas(64) uint64_t kvi_rans_codes[KVI_CLASSES * 256];

/* push[m]: of 8 words the ones whose bit is not set, in the order of their lanes, at the top. */
static _Alignas(64) uint8_t push[256][16];

void kvi_rans_encode_avx2_init(void)
{
  for (uint32_t class_id = 0; class_id < KVI_CLASSES; class_id++)
    for (uint32_t symbol = 0; symbol < 256; symbol++) {
      const uint32_t *entries = kvi_rans_symbols + (size_t)class_id * 256;
      bool escaped = entries[symbol] >> 16 == 0 || symbol == KVI_RANS_ESCAPE_PAIR;
      uint32_t entry = entries[escaped ? KVI_RANS_ESCAPE_PAIR : symbol], frequency = entry >> 16;

      if (frequency != 0) /* class none has no escape, and needs none */
        kvi_rans_codes[class_id * 256 + symbol] =
            UINT32_MAX / frequency | (uint64_t)(entry | (escaped ? KVI_RANS_ESCAPED : 0)) << 32;
    }
  for (uint32_t mask = 0; mask < 256; mask++) {
    uint32_t top = (uint32_t)__builtin_popcount(mask);

    for (uint32_t lane = 0; lane < 8; lane++)
      if ((mask >> PLACE(lane) & 1) == 0) {
        push[mask][2 * top] = (uint8_t)(2 * PLACE(lane));
        push[mask][2 * top++ + 1] = (uint8_t)(2 * PLACE(lane) + 1);
      }
  }
}

/* The codes of 32 lanes. */
static inline void look_up32(const uint8_t *classes, const int16_t *first, const int16_t *second,
                             uint64_t *out)
{
  /* Packed, numbers of lanes 8 to 15 and 16 to 23 have changed places; unpacking puts them back. */
  __m256i a = _mm256_packs_epi16(_mm256_loadu_si256((const __m256i *)first),
                                 _mm256_loadu_si256((const __m256i *)(first + 16)));
  __m256i b = _mm256_packs_epi16(_mm256_loadu_si256((const __m256i *)second),
                                 _mm256_loadu_si256((const __m256i *)(second + 16)));
  __m256i class_id = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i *)classes), 0xd8);
  const __m256i nibble = _mm256_set1_epi8(15), escape = _mm256_set1_epi8((char)KVI_RANS_ESCAPE_PAIR);
  __m256i symbols =
      _mm256_or_si256(_mm256_and_si256(a, nibble), _mm256_slli_epi16(_mm256_and_si256(b, nibble), 4));
  __m256i magnitude = _mm256_max_epu8(_mm256_abs_epi8(a), _mm256_abs_epi8(b));
  _Alignas(32) uint16_t index[KVI_RANS_LANES];

  /* Magnitudes from 8 to 128 get their highest bit set. */
  symbols = _mm256_blendv_epi8(symbols, escape, _mm256_add_epi8(magnitude, _mm256_set1_epi8(120)));
  _mm256_store_si256((__m256i *)index, _mm256_unpacklo_epi8(symbols, class_id));
  _mm256_store_si256((__m256i *)(index + 16), _mm256_unpackhi_epi8(symbols, class_id));
#ifndef __clang__ /* which does so by itself */
#pragma GCC unroll 32
#endif
  for (uint32_t lane = 0; lane < KVI_RANS_LANES; lane++)
    out[lane] = kvi_rans_codes[index[lane]];
}

/* 8 lanes: a new state; words go in front of those that are there. Returns the upper halves of the codes. */
static inline __m256i encode8(__m256i *state, const uint64_t *code, uint8_t **words)
{
  __m256i even = _mm256_load_si256((const __m256i *)code),
          odd = _mm256_load_si256((const __m256i *)(code + 4));
  __m256i fields = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  __m256i frequency = _mm256_srli_epi32(fields, 16),
          start = _mm256_and_si256(fields, _mm256_set1_epi32(KVI_RANS_SLOTS - 1));
  __m256i x = *state, low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
  __m256i stays = _mm256_cmpgt_epi32(frequency, _mm256_srli_epi32(x, 32 - KVI_RANS_SLOT_BITS));
  uint32_t mask = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(stays));
  __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  __m256i quotient, rest, fits, slots_less;

  _mm_storeu_si128((__m128i *)(*words - 16),
                   _mm_shuffle_epi8(packed, _mm_load_si128((const __m128i *)push[mask])));
  *words -= 16 - 2 * (size_t)__builtin_popcount(mask);
  x = _mm256_blendv_epi8(_mm256_srli_epi32(x, 16), x, stays);
  /* By the reciprocal the quotient is right or one too small: x / 2^32 at most is missing. */
  quotient = _mm256_blend_epi32(_mm256_srli_epi64(_mm256_mul_epu32(x, even), 32),
                                _mm256_mul_epu32(_mm256_srli_epi64(x, 32), odd), 0xaa);
  rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(quotient, frequency));
  fits = _mm256_cmpgt_epi32(frequency, rest);
  slots_less = _mm256_sub_epi32(_mm256_set1_epi32(KVI_RANS_SLOTS), frequency);
  x = _mm256_add_epi32(_mm256_slli_epi32(quotient, KVI_RANS_SLOT_BITS), _mm256_add_epi32(rest, start));
  *state = _mm256_add_epi32(x, _mm256_andnot_si256(fits, slots_less));
  return fields;
}

/* Lists the numbers of the lanes that are escaped, the last lane first. */
static void list_escaped(const __m256i fields[4], const int16_t *first, const int16_t *second,
                         struct kvi_rans_encoder *encoder)
{
  const __m256i lanes = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  uint32_t mask = 0;

  for (uint32_t i = 0; i < 4; i++) {
    __m256i top = _mm256_slli_epi32(_mm256_permutevar8x32_epi32(fields[i], lanes), 16);

    mask |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(top)) << (8 * i);
  }
  while (mask != 0) {
    uint32_t lane = 31 - (uint32_t)__builtin_clz(mask);

    kvi_rans_put_escaped(encoder, first[lane], second[lane]);
    mask &= ~(1u << lane);
  }
}

void kvi_rans_encode_avx2(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                          struct kvi_rans_encoder *encoder)
{
  const __m256i places = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7),
                lanes = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  _Alignas(32) uint64_t code[KVI_BLOCK_COLUMNS];
  __m256i *states = (__m256i *)encoder->state, state[4];
  uint8_t *words = encoder->words;

  for (uint32_t i = 0; i < 4; i++)
    state[i] = _mm256_permutevar8x32_epi32(_mm256_load_si256(states + i), places);
  for (uint32_t row = rows; row > 0; row -= 2) {
    const int16_t *first = numbers + (size_t)(row - 2) * KVI_BLOCK_COLUMNS,
                  *second = first + KVI_BLOCK_COLUMNS;

    for (uint32_t at = 0; at < columns->n_groups * KVI_RANS_LANES; at += KVI_RANS_LANES)
      look_up32(columns->classes + at, first + at, second + at, code + at);
    for (uint32_t at = columns->n_groups * KVI_RANS_LANES; at > 0;) {
      __m256i fields[4], any = _mm256_setzero_si256();

      at -= KVI_RANS_LANES;
      for (uint32_t i = 4; i-- > 0;) {
        fields[i] = encode8(&state[i], code + at + 8 * i, &words);
        any = _mm256_or_si256(any, fields[i]);
      }
      if (!_mm256_testz_si256(any, _mm256_set1_epi32(KVI_RANS_ESCAPED)))
        list_escaped(fields, first + at, second + at, encoder);
    }
  }
  for (uint32_t i = 0; i < 4; i++)
    _mm256_store_si256(states + i, _mm256_permutevar8x32_epi32(state[i], lanes));
  encoder->words = words;
}
