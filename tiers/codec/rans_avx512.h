/* tiers/codec/rans_avx512.h: coded rows by AVX-512, 16 lanes at a time. Same results as rans.c, which says what is right. */
#ifndef KVI_CODEC_RANS_AVX512_H
#define KVI_CODEC_RANS_AVX512_H

#include "tiers/codec/path.h"

bool kvi_rans_pairs_avx512(struct kvi_rans_decoder *decoder, uint32_t pairs);
bool kvi_rans_pairs_of_two_avx512(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b, uint32_t pairs);

/* Without the gather instruction. */
bool kvi_rans_pairs_avx512_no_gather(struct kvi_rans_decoder *decoder, uint32_t pairs);
bool kvi_rans_pairs_of_two_avx512_no_gather(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b,
                                            uint32_t pairs);

/* With the codes of AVX2. */
void kvi_rans_encode_avx512(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                            struct kvi_rans_encoder *encoder);

#endif
