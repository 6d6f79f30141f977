/* The loops for AVX2: loops_body.h vectorised by the compiler, coded rows by hand. Compiled with -mavx2. */
#define KVI_LOOPS_OWN_ESCAPES
#include "tiers/codec/loops_body.h"
#include "tiers/codec/rans_avx2.h"

#define COMMON_LOOPS                                                                                         \
  .rans_encode = kvi_rans_encode_avx2, .escapes = kvi_rans_escapes_avx2, .finish_rows = finish_rows,         \
  .place_kept = place_kept, .join_bf16 = join_bf16, .to_float = to_float, .add_sums = add_sums,              \
  .quantise = quantise, .split_digit = split_digit, .pack_trits = pack_trits

const struct kvi_codec_loops kvi_codec_loops_avx2 = {
    .name = "avx2", .rans_pairs = kvi_rans_pairs_avx2, COMMON_LOOPS};

const struct kvi_codec_loops kvi_codec_loops_avx2_no_gather = {
    .name = "avx2-no-gather", .rans_pairs = kvi_rans_pairs_avx2_no_gather, COMMON_LOOPS};
