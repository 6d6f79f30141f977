/* tiers/codec/rans_avx2.h: coded rows by AVX2, 8 lanes at a time. Same results as rans.c, which says what is right. */
#ifndef KVI_CODEC_RANS_AVX2_H
#define KVI_CODEC_RANS_AVX2_H

#include "tiers/codec/path.h"

bool kvi_rans_pairs_avx2(struct kvi_rans_decoder *decoder, uint32_t pairs);
bool kvi_rans_pairs_of_two_avx2(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b, uint32_t pairs);

/* Without the gather instruction, which some processors run slowly (Intel's with the mitigation of Gather Data Sampling). */
bool kvi_rans_pairs_avx2_no_gather(struct kvi_rans_decoder *decoder, uint32_t pairs);
bool kvi_rans_pairs_of_two_avx2_no_gather(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b,
                                          uint32_t pairs);

void kvi_rans_encode_avx2(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                          struct kvi_rans_encoder *encoder);

/* By class and symbol: (2^32 - 1) / frequency | (start | frequency << 16) << 32; a symbol without frequency has the escape's, and KVI_RANS_ESCAPED. */
extern uint64_t kvi_rans_codes[KVI_CLASSES * 256];
#define KVI_RANS_ESCAPED (1u << 15) /* in a code's upper half, between start and frequency */

/* Makes the permutations and the encoder's table, once, after kvi_rans_make_tables. */
void kvi_rans_avx2_init(void);
void kvi_rans_encode_avx2_init(void); /* the second half of it */

#endif
