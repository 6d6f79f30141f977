/* tiers/codec/weights.h: the 16 weights of each class (docs/formats/kvc1.md, "Tables"), part of the format. */
#ifndef KVI_CODEC_WEIGHTS_H
#define KVI_CODEC_WEIGHTS_H

#include "tiers/codec/rans.h"

/* Of the numbers -7 to 7, then the escape; each row sums up to 2^15. Row 0 of each set is class "none" and not used. */
extern const uint16_t kvi_class_weights[KVI_CLASSES][16];

#endif
