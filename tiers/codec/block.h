/*
 * tiers/codec/block.h: how a layer is cut into blocks of columns that decode on their own (docs/formats/kvc1.md, "Blocks").
 */
#ifndef KVI_CODEC_BLOCK_H
#define KVI_CODEC_BLOCK_H

#include "tiers/codec/codec.h"

#define KVI_BLOCK_COLUMNS       128u
#define KVI_BLOCK_UNITS         16u /* heads of 8 dimensions */
#define KVI_BLOCK_HEADER        8u
#define KVI_BLOCK_PREFETCH_ROWS 12u

enum kvi_block_mode { KVI_BLOCK_RAW = 0, KVI_BLOCK_LOSSLESS = 1, KVI_BLOCK_LADDER = 2 };

struct kvi_block {
  enum kvi_codec_dtype dtype;
  uint32_t rows;
  uint32_t columns;      /* a multiple of 8, at most KVI_BLOCK_COLUMNS */
  uint32_t unit_columns; /* each unit's, but that the block has only one if they are more than it has */
  uint32_t start;        /* place of the first row's token in its sequence */
  bool is_value;
  bool is_rotary;        /* MLA's rotary part, kept finer */
  uint32_t first_column; /* of its plane */
};

static inline uint32_t kvi_block_units(const struct kvi_block *block)
{
  return block->columns / block->unit_columns;
}

static inline uint64_t kvi_block_raw_bytes(const struct kvi_block *block)
{
  return (uint64_t)block->rows * block->columns * kvi_codec_element_size(block->dtype);
}

/* A block as it is coded, and where its elements go. Decoders take one or two at a time, since two are hardly slower than one. */
#define KVI_BLOCKS_AT_ONCE 2u

struct kvi_coded_block {
  struct kvi_block block;
  enum kvi_block_mode mode;
  uint32_t kept;        /* rows kept apart */
  const uint8_t *bytes; /* behind the block's header */
  size_t size;
  const uint8_t *planes[KVI_CODEC_PLANES_MAX]; /* the parts of those planes that are wanted */
  uint8_t *place;
  size_t stride;
};

/*
 * Rows of a block lie a whole token apart, which processors do not see coming: asks for one ahead of its use. A prefetch may name
 * any address.
 */
static inline void kvi_block_prefetch(const struct kvi_block *block, const uint8_t *row)
{
  size_t bytes = block->columns * kvi_codec_element_size(block->dtype);

  for (size_t byte = 0; byte < bytes; byte += 64)
    __builtin_prefetch(row + byte);
}

/* The same for a row that will be written. */
static inline void kvi_block_prefetch_place(const struct kvi_block *block, const uint8_t *row)
{
  size_t bytes = block->columns * kvi_codec_element_size(block->dtype);

  for (size_t byte = 0; byte < bytes; byte += 64)
    __builtin_prefetch(row + byte, 1);
}

/* Goes through the blocks of a layer in the order of the format. */
struct kvi_block_walk {
  const struct kvi_codec_shape *shape;
  uint32_t layer;
  bool is_value;
  uint32_t head, dim; /* where the next block begins */
};

void kvi_block_walk_begin(struct kvi_block_walk *walk, const struct kvi_codec_shape *shape, uint32_t layer);

/* False after the last one. */
bool kvi_block_next(struct kvi_block_walk *walk, struct kvi_block *block_p);

/* Rows of a layer are told from the layer's raw bytes: keys first. The first element of a block, and bytes from row to row. */
const uint8_t *kvi_block_raw(const struct kvi_codec_shape *shape, const struct kvi_block *block,
                             const uint8_t *layer_raw, size_t *stride_p);

/* The same in a place; NULL if the place has no such plane. */
uint8_t *kvi_block_place(const struct kvi_block *block, const struct kvi_codec_place *place,
                         size_t *stride_p);

#endif
