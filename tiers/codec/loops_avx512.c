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

  kvi_codec_loops_avx512_no_gather = *loops;
  kvi_codec_loops_avx512_no_gather.name = "avx512-no-gather";
  kvi_codec_loops_avx512_no_gather.rans_pairs = kvi_rans_pairs_avx512_no_gather;
  kvi_codec_loops_avx512_no_gather.rans_pairs_of_two = kvi_rans_pairs_of_two_avx512_no_gather;
}
