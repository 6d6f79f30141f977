/* tiers/codec/lossless.h: a block without loss: what is alike in a channel coded, the rest as it is (docs/formats/kvc1.md). */
#ifndef KVI_CODEC_LOSSLESS_H
#define KVI_CODEC_LOSSLESS_H

#include "tiers/codec/block.h"

/* The most bytes of a coded block, and scratch for coding it, 64-byte aligned. */
size_t kvi_lossless_bound(const struct kvi_block *block);
size_t kvi_lossless_scratch(uint32_t rows);

/* Codes rows that begin at raw, stride bytes apart, without the block's header; returns the length. */
size_t kvi_lossless_encode(const struct kvi_block *block, const uint8_t *raw, size_t stride, void *scratch,
                           uint8_t *out);

/* Decodes n blocks, at most KVI_BLOCKS_AT_ONCE. KVS_ERR_CORRUPT: one is not a sound block, or not the bytes it was made of. */
kvs_status kvi_lossless_decode(const struct kvi_coded_block *blocks, uint32_t n);

#endif
