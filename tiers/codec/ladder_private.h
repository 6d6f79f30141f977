/* tiers/codec/ladder_private.h: what encoder and decoder of ladder blocks share. */
#ifndef KVI_CODEC_LADDER_PRIVATE_H
#define KVI_CODEC_LADDER_PRIVATE_H

#include <math.h>

#include "tiers/codec/ladder.h"

#define KVI_LADDER_EXPONENT_MIN (-100)
#define KVI_LADDER_EXPONENT_MAX 100
#define KVI_LADDER_DEPTH_MAX    3u
#define KVI_LADDER_MEAN_MAX     255

enum kvi_kept_kind { KVI_KEPT_FINE = 0, KVI_KEPT_RAW = 1 };

static const int32_t kvi_power_of_3[] = {1, 3, 9, 27, 81, 243, 729};

/* {u8 m, i8 e} as a number: exact. */
float kvi_ladder_half(const uint8_t *bytes);

/* Bytes of the entry of a row kept apart. */
size_t kvi_ladder_kept_bytes(const struct kvi_block *block, uint16_t kind);

#endif
