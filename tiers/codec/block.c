/* The blocks of a layer: heads of at most 128 dimensions whole, as many as fit; wider ones cut. */
#include "tiers/codec/block.h"

void kvi_block_walk_begin(struct kvi_block_walk *walk, const struct kvi_codec_shape *shape, uint32_t layer)
{
  *walk = (struct kvi_block_walk){.shape = shape, .layer = layer};
}

/* A wide head's next part: 128 columns, or what is left before the rotary dimensions or the end. */
static void wide_block(struct kvi_block_walk *walk, uint32_t dim, uint32_t rotary, struct kvi_block *block)
{
  uint32_t end = walk->dim < dim - rotary ? dim - rotary : dim;

  block->columns = end - walk->dim < KVI_BLOCK_COLUMNS ? end - walk->dim : KVI_BLOCK_COLUMNS;
  block->unit_columns = block->columns;
  block->is_rotary = walk->dim >= dim - rotary;
  walk->dim += block->columns;
  if (walk->dim == dim) {
    walk->dim = 0;
    walk->head++;
  }
}

bool kvi_block_next(struct kvi_block_walk *walk, struct kvi_block *block_p)
{
  const struct kvi_codec_shape *shape = walk->shape;
  uint32_t dim = walk->is_value ? shape->value_dim : shape->key_dim;
  uint32_t rotary = walk->is_value ? 0 : shape->rotary_dim;
  uint32_t heads;

  if (walk->head == shape->n_heads || dim == 0) {
    if (walk->is_value)
      return false;
    walk->is_value = true;
    walk->head = 0;
    return kvi_block_next(walk, block_p);
  }
  *block_p = (struct kvi_block){
      .dtype = shape->dtype,
      .rows = kvi_codec_layer_rows(shape, walk->layer),
      .start = shape->start + shape->n_tokens - kvi_codec_layer_rows(shape, walk->layer),
      .is_value = walk->is_value,
      .first_column = walk->head * dim + walk->dim,
  };
  if (dim > KVI_BLOCK_COLUMNS || rotary > 0) {
    wide_block(walk, dim, rotary, block_p);
    return true;
  }
  heads = KVI_BLOCK_COLUMNS / dim;
  if (heads > shape->n_heads - walk->head)
    heads = shape->n_heads - walk->head;
  block_p->columns = heads * dim;
  block_p->unit_columns = dim;
  walk->head += heads;
  return true;
}

const uint8_t *kvi_block_raw(const struct kvi_codec_shape *shape, const struct kvi_block *block,
                             const uint8_t *layer_raw, size_t *stride_p)
{
  size_t element = kvi_codec_element_size(shape->dtype);
  uint64_t plane = block->is_value ? (uint64_t)block->rows * shape->n_heads * shape->key_dim * element : 0;

  *stride_p = (size_t)shape->n_heads * (block->is_value ? shape->value_dim : shape->key_dim) * element;
  return layer_raw + plane + (size_t)block->first_column * element;
}

uint8_t *kvi_block_place(const struct kvi_block *block, const struct kvi_codec_place *place, size_t *stride_p)
{
  uint8_t *plane = block->is_value ? place->values : place->keys;

  *stride_p = block->is_value ? place->value_stride : place->key_stride;
  if (plane == NULL)
    return NULL;
  return plane + (size_t)block->first_column * kvi_codec_element_size(block->dtype);
}
