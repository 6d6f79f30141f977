/*
 * Decoding of coded rows by AVX-512. The 32 coders are 2 vectors of 16 states. Which lanes need a word is a mask, by which the next words are
 * expanded to those lanes.
 */
#include "tiers/codec/rans_avx512.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

typedef __m512i states[2];

/* table[index] of the lanes whose indices are in two numbers of 64 bits. */
INLINE __m128i load4(const uint32_t *table, uint64_t low, uint64_t high)
{
  __m128i x = _mm_cvtsi32_si128((int)table[(uint32_t)low]);

  x = _mm_insert_epi32(x, (int)table[low >> 32], 1);
  x = _mm_insert_epi32(x, (int)table[(uint32_t)high], 2);
  return _mm_insert_epi32(x, (int)table[high >> 32], 3);
}

/* Through memory, which is faster than to take a vector of this length apart. volatile: compilers that see through it take it apart. */
INLINE __m512i by_loads(const uint32_t *table, __m512i index)
{
  _Alignas(64) volatile uint64_t two[8];
  __m256i low, high;

  _mm512_store_si512((void *)(uintptr_t)two, index);
#define LOAD4(i) load4(table, two[i], two[(i) + 1])
  low = _mm256_inserti128_si256(_mm256_castsi128_si256(LOAD4(0)), LOAD4(2), 1);
  high = _mm256_inserti128_si256(_mm256_castsi128_si256(LOAD4(4)), LOAD4(6), 1);
#undef LOAD4
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* table[index] for 16 indices. gather is a constant where this is inlined. */
INLINE __m512i look_up(const uint32_t *table, __m512i index, bool gather)
{
  return gather ? _mm512_i32gather_epi32(index, (const int *)table, 4) : by_loads(table, index);
}

/* 16 lanes: new states, and what their slots hold. */
INLINE __m512i step16(__m512i *state, const uint32_t *table, const uint8_t **words, bool gather)
{
  const __m512i slot_mask = _mm512_set1_epi32(KVI_RANS_SLOTS - 1), frequency_mask = _mm512_set1_epi32(0xfff);
  __m512i x = *state, slot, frequency, next;
  __mmask16 need;

  slot = _mm512_add_epi32(_mm512_and_si512(x, slot_mask), _mm512_load_si512(table));
  slot = look_up(kvi_rans_slots, slot, gather);
  frequency = _mm512_and_si512(_mm512_srli_epi32(slot, 8), frequency_mask);
  x = _mm512_add_epi32(_mm512_mullo_epi32(frequency, _mm512_srli_epi32(x, KVI_RANS_SLOT_BITS)),
                       _mm512_srli_epi32(slot, 20));
  need = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(KVI_RANS_LOW));
  next = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)*words));
  *state = _mm512_or_si512(_mm512_mask_slli_epi32(x, need, x, 16), _mm512_maskz_expand_epi32(need, next));
  *words += 2 * (uint32_t)__builtin_popcount(need);
  return slot;
}

/* One pair of rows of one group: nibbles become numbers by the shifts' sign. */
INLINE void step32(states state, struct kvi_rans_decoder *decoder, const uint8_t **words, uint32_t pair,
                   uint32_t group, bool gather)
{
  uint32_t at = group * KVI_RANS_LANES;
  __m512i a = step16(&state[0], decoder->table + at, words, gather);
  __m512i b = step16(&state[1], decoder->table + at + 16, words, gather);
  __m512i symbols =
      _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(a)), _mm512_cvtepi32_epi16(b), 1);
  __m512i top = _mm512_slli_epi16(symbols, 8);

  _mm512_store_si512(decoder->tile[2 * pair] + at, _mm512_srai_epi16(_mm512_slli_epi16(symbols, 12), 12));
  _mm512_store_si512(decoder->tile[2 * pair + 1] + at, _mm512_srai_epi16(top, 12));
  decoder->escaped[pair][group] =
      _mm512_cmpeq_epi16_mask(top, _mm512_set1_epi16((short)(KVI_RANS_ESCAPE_PAIR << 8)));
}

INLINE void load_states(const struct kvi_rans_decoder *decoder, states state)
{
  state[0] = _mm512_load_si512(decoder->state);
  state[1] = _mm512_load_si512(decoder->state + 16);
}

INLINE void store_states(struct kvi_rans_decoder *decoder, const states state)
{
  _mm512_store_si512(decoder->state, state[0]);
  _mm512_store_si512(decoder->state + 16, state[1]);
}

#include "tiers/codec/rans_body.h"

bool kvi_rans_pairs_avx512(struct kvi_rans_decoder *decoder, uint32_t pairs)
{
  return pairs_of_one(decoder, pairs, true);
}

bool kvi_rans_pairs_avx512_no_gather(struct kvi_rans_decoder *decoder, uint32_t pairs)
{
  return pairs_of_one(decoder, pairs, false);
}

bool kvi_rans_pairs_of_two_avx512(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b, uint32_t pairs)
{
  return pairs_of_two(a, b, pairs, true);
}

bool kvi_rans_pairs_of_two_avx512_no_gather(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b,
                                            uint32_t pairs)
{
  return pairs_of_two(a, b, pairs, false);
}
