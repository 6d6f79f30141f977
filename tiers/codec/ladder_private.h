/* tiers/codec/ladder_private.h: what encoder and decoder of ladder blocks share. */
#ifndef KVI_CODEC_LADDER_PRIVATE_H
#define KVI_CODEC_LADDER_PRIVATE_H

#include <math.h>

#include "tiers/codec/ladder.h"

#define KVI_LADDER_EXPONENT_MIN (-100)
#define KVI_LADDER_EXPONENT_MAX 100
#define KVI_LADDER_DEPTH_MAX    3u
#define KVI_LADDER_MEAN_MAX     255
#define KVI_LADDER_WIDE         128u /* a channel that has a third byte */
#define KVI_LADDER_SHARE_SHIFT  12   /* from eighths to what kvi_prediction takes */

#define KVI_LADDER_SINKS 4u /* places 0 to 3 of a sequence */

/* How many of a block's first rows are attention sinks; may be more than it has. */
static inline uint32_t kvi_ladder_sinks(const struct kvi_block *block)
{
  return block->start < KVI_LADDER_SINKS ? KVI_LADDER_SINKS - block->start : 0;
}

/* A channel as a block has it. */
struct kvi_ladder_channel {
  uint8_t class_id, share; /* share: in eighths, 0 to 7 */
  uint8_t depth;
  int16_t mean; /* in base half steps of its depth, -8192 to 8191 */
};

enum kvi_kept_kind { KVI_KEPT_FINE = 0, KVI_KEPT_RAW = 1 };

static const int32_t kvi_power_of_3[] = {1, 3, 9, 27, 81, 243, 729};

/* {u8 m, i8 e} as a number: exact. */
float kvi_ladder_half(const uint8_t *bytes);

/* Reads the channels of n columns. Returns their bytes, or 0: there are fewer. */
size_t kvi_ladder_channels(const uint8_t *bytes, size_t size, uint32_t n,
                           struct kvi_ladder_channel *channels);

/* Bytes of the entry of a row kept apart. */
size_t kvi_ladder_kept_bytes(const struct kvi_block *block, uint16_t kind);

#endif
