/*
 * Decoding of coded rows by AVX2. The 32 coders are 4 vectors of 8 states. Which lanes need a word is a mask of 8 bits; a permutation for each
 * mask hands the next words to those lanes (after Giesen's and htscodecs' vectorised rANS).
 */
#include "tiers/codec/rans_avx2.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef __m256i states[4];

/* spread[m]: bytes of 8 lanes; lane i, if its bit is set, takes the word that is the so-manieth among the set bits below i, else zeros. */
static _Alignas(64) uint8_t spread[256][32];

#define NO_BYTE 0x80u

void kvi_rans_avx2_init(void)
{
  for (uint32_t mask = 0; mask < 256; mask++) {
    uint32_t next = 0;

    memset(spread[mask], NO_BYTE, sizeof spread[mask]);
    for (uint32_t lane = 0; lane < 8; lane++)
      if ((mask >> lane & 1) != 0) {
        spread[mask][lane * 4] = (uint8_t)(2 * next);
        spread[mask][lane * 4 + 1] = (uint8_t)(2 * next++ + 1);
      }
  }
  kvi_rans_encode_avx2_init();
}

static inline __m256i by_gather(const uint32_t *table, __m256i index)
{
  return _mm256_i32gather_epi32((const int *)table, index, 4);
}

static inline __m256i by_loads(const uint32_t *table, __m256i index)
{
  uint64_t two[4];

  two[0] = (uint64_t)_mm256_extract_epi64(index, 0);
  two[1] = (uint64_t)_mm256_extract_epi64(index, 1);
  two[2] = (uint64_t)_mm256_extract_epi64(index, 2);
  two[3] = (uint64_t)_mm256_extract_epi64(index, 3);
#define LANE(i) ((int)table[(uint32_t)(two[(i) / 2] >> ((i) % 2 * 32))])
  return _mm256_setr_epi32(LANE(0), LANE(1), LANE(2), LANE(3), LANE(4), LANE(5), LANE(6), LANE(7));
#undef LANE
}

/* table[index] for 8 indices. gather is a constant where this is inlined. */
INLINE __m256i look_up(const uint32_t *table, __m256i index, bool gather)
{
  return gather ? by_gather(table, index) : by_loads(table, index);
}

/* 8 lanes: new states, and what their slots hold. */
static inline __m256i step8(__m256i *state, const uint32_t *table, const uint8_t **words, bool gather)
{
  const __m256i slot_mask = _mm256_set1_epi32(KVI_RANS_SLOTS - 1), frequency_mask = _mm256_set1_epi32(0xfff);
  __m256i x = *state, slot, low, next, need;
  uint32_t mask;

  slot = _mm256_add_epi32(_mm256_and_si256(x, slot_mask), _mm256_load_si256((const __m256i *)table));
  slot = look_up(kvi_rans_slots, slot, gather);
  low = _mm256_and_si256(_mm256_srli_epi32(slot, 8), frequency_mask);
  x = _mm256_add_epi32(_mm256_mullo_epi32(low, _mm256_srli_epi32(x, KVI_RANS_SLOT_BITS)),
                       _mm256_srli_epi32(slot, 20));
  need = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), _mm256_setzero_si256());
  mask = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(need));
  next = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)*words));
  next = _mm256_shuffle_epi8(next, _mm256_load_si256((const __m256i *)spread[mask]));
  *state = _mm256_or_si256(_mm256_blendv_epi8(x, _mm256_slli_epi32(x, 16), need), next);
  *words += 2 * (uint32_t)__builtin_popcount(mask);
  return slot;
}

/* The symbols of 32 slots as bytes, in order. */
static inline __m256i symbols_of(__m256i a, __m256i b, __m256i c, __m256i d)
{
  const __m256i byte = _mm256_set1_epi32(0xff), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256i ab = _mm256_packus_epi32(_mm256_and_si256(a, byte), _mm256_and_si256(b, byte));
  __m256i cd = _mm256_packus_epi32(_mm256_and_si256(c, byte), _mm256_and_si256(d, byte));

  return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), order);
}

/* 32 nibbles in bytes as signed 16-bit numbers. */
static inline void store_nibbles(__m256i nibbles, int16_t *out)
{
  const __m256i eight = _mm256_set1_epi8(8);
  __m256i numbers = _mm256_sub_epi8(_mm256_xor_si256(nibbles, eight), eight);

  _mm256_storeu_si256((__m256i *)out, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(numbers)));
  _mm256_storeu_si256((__m256i *)(out + 16), _mm256_cvtepi8_epi16(_mm256_extracti128_si256(numbers, 1)));
}

static inline void store_pair(__m256i symbols, int16_t *first, int16_t *second, uint32_t *escapes_p)
{
  const __m256i nibble = _mm256_set1_epi8(15);

  store_nibbles(_mm256_and_si256(symbols, nibble), first);
  store_nibbles(_mm256_and_si256(_mm256_srli_epi16(symbols, 4), nibble), second);
  *escapes_p = (uint32_t)_mm256_movemask_epi8(
      _mm256_cmpeq_epi8(symbols, _mm256_set1_epi8((char)KVI_RANS_ESCAPE_PAIR)));
}

/* One pair of rows of one group. */
INLINE void step32(states state, struct kvi_rans_decoder *decoder, const uint8_t **words, uint32_t pair,
                   uint32_t group, bool gather)
{
  uint32_t at = group * KVI_RANS_LANES;
  const uint32_t *table = decoder->table + at;
  __m256i a = step8(&state[0], table, words, gather);
  __m256i b = step8(&state[1], table + 8, words, gather);
  __m256i c = step8(&state[2], table + 16, words, gather);
  __m256i d = step8(&state[3], table + 24, words, gather);

  store_pair(symbols_of(a, b, c, d), decoder->tile[2 * pair] + at, decoder->tile[2 * pair + 1] + at,
             &decoder->escaped[pair][group]);
}

static inline void load_states(const struct kvi_rans_decoder *decoder, states state)
{
  for (uint32_t i = 0; i < 4; i++)
    state[i] = _mm256_load_si256((const __m256i *)decoder->state + i);
}

static inline void store_states(struct kvi_rans_decoder *decoder, const states state)
{
  for (uint32_t i = 0; i < 4; i++)
    _mm256_store_si256((__m256i *)decoder->state + i, state[i]);
}

#include "tiers/codec/rans_body.h"

bool kvi_rans_pairs_avx2(struct kvi_rans_decoder *decoder, uint32_t pairs)
{
  return pairs_of_one(decoder, pairs, true);
}

bool kvi_rans_pairs_avx2_no_gather(struct kvi_rans_decoder *decoder, uint32_t pairs)
{
  return pairs_of_one(decoder, pairs, false);
}

bool kvi_rans_pairs_of_two_avx2(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b, uint32_t pairs)
{
  return pairs_of_two(a, b, pairs, true);
}

bool kvi_rans_pairs_of_two_avx2_no_gather(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b,
                                          uint32_t pairs)
{
  return pairs_of_two(a, b, pairs, false);
}
