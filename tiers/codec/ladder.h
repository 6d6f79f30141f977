/*
 * tiers/codec/ladder.h: a block quantised around its channels' means, coarse first, each plane three times finer
 * (docs/formats/kvc1.md, "Ladder blocks").
 */
#ifndef KVI_CODEC_LADDER_H
#define KVI_CODEC_LADDER_H

#include "tiers/codec/block.h"
#include "tiers/codec/rans.h"

/* Bytes of one plane of a block of which n rows are in it. */
static inline size_t kvi_ladder_plane_bytes(const struct kvi_block *block, uint32_t n)
{
  return (size_t)((n + 4) / 5) * block->columns;
}

/* The most bytes of a coded block without its header; scratch for coding a block of so many rows, 64-byte aligned. */
size_t kvi_ladder_bound(const struct kvi_block *block);
size_t kvi_ladder_scratch(uint32_t rows);

/*
 * For a layer's keys: by how much each head's step is to be coarser or finer, factors has room for all of them. False: all alike, and factors are not set (one
 * head, or such as are not whole in a block).
 */
bool kvi_ladder_weigh_heads(const struct kvi_codec_shape *shape, uint32_t layer, const uint8_t *layer_raw,
                            float *factors);

/*
 * Codes a block: the base to out, and plane k to planes[k - 1] (kvi_ladder_plane_bytes each). step is the base step in thousandths of a unit's
 * deviation, times the unit's factor if factors is not NULL. Returns the base's length, or 0 if the block cannot be quantised (NaN, infinity, a range too wide); *kept_p rows were kept apart.
 */
size_t kvi_ladder_encode(const struct kvi_block *block, uint32_t n_planes, uint32_t step,
                         const float *factors, const uint8_t *raw, size_t stride, void *scratch, uint8_t *out,
                         uint8_t *const *planes, uint32_t *kept_p);

/* Decodes n blocks, at most KVI_BLOCKS_AT_ONCE, with the first "quality" of their n_planes planes. Errors: KVS_ERR_CORRUPT. */
kvs_status kvi_ladder_decode(const struct kvi_coded_block *blocks, uint32_t n, uint32_t n_planes,
                             uint32_t quality);

#endif
