/*
 * How the heads of a layer's keys share the error. Attention sees a key through its product with a query, in which an error weighs what it is and not
 * what it is beside the head's deviation: with queries alike, heads whose keys vary more want finer steps for their size. Queries are not known
 * here, and where they are larger for the smaller keys no such thing holds; so this goes half of the way.
 */
#include "tiers/codec/block.h"
#include "tiers/codec/element.h"
#include "tiers/codec/ladder_private.h"
#include "tiers/codec/path.h"

#define ROWS_LOOKED_AT 32u /* of a chunk: the deviations come out within a few per cent */
#define MOST_SQUARE                                                                                          \
  1.5625f /* a step is at most 1.25 times what it would be: one huge head must not spoil the others, */
#define LEAST_SQUARE 0.25f /* and at least half of it */

/* Deviations of a block's units by some of its rows, sinks left out; 0 where they cannot be told. */
static void look_at_block(const struct kvi_block *block, const uint8_t *raw, size_t stride, float *deviations)
{
  const struct kvi_codec_loops *loops = kvi_codec_loops();
  size_t element = kvi_codec_element_size(block->dtype);
  _Alignas(32) float shift[KVI_BLOCK_COLUMNS], sum[KVI_BLOCK_COLUMNS] = {0}, square[KVI_BLOCK_COLUMNS] = {0};
  uint32_t step = (block->rows + ROWS_LOOKED_AT - 1) / ROWS_LOOKED_AT;
  uint32_t first = kvi_ladder_sinks(block), n = 0;

  for (uint32_t column = 0; column < block->columns; column++)
    shift[column] = kvi_codec_to_float(block->dtype, raw + (block->rows - 1) * stride + column * element);
  for (uint32_t row = first; row < block->rows; row += step, n++)
    loops->add_sums(block->dtype, raw + row * stride, stride, 1, shift, block->columns, sum, square);
  for (uint32_t unit = 0; unit < kvi_block_units(block); unit++) {
    float variance = 0;

    for (uint32_t column = unit * block->unit_columns; column < (unit + 1) * block->unit_columns; column++) {
      float mean = n > 0 ? sum[column] / (float)n : 0;

      variance += n > 0 ? square[column] / (float)n - mean * mean : 0;
    }
    deviations[unit] = variance > 0 && kvi_float_is_finite(variance) ? sqrtf(variance) : 0;
  }
}

/* From deviations to factors. The mean of their squares is at most 1: so together the heads are as good as if all factors were 1. */
static void choose_factors(float *heads, uint32_t n)
{
  float sum = 0, mean = 0;
  uint32_t known = 0;

  for (uint32_t head = 0; head < n; head++)
    if (heads[head] > 0) {
      sum += 1.0f / heads[head];
      known++;
    }
  for (uint32_t head = 0; head < n; head++) {
    float square = heads[head] > 0 ? (float)known / (sum * heads[head]) : 1.0f;

    if (!(square <= MOST_SQUARE)) /* a sum beyond bounds too */
      square = MOST_SQUARE;
    heads[head] = square >= LEAST_SQUARE ? square : LEAST_SQUARE;
    mean += heads[head] / (float)n;
  }
  for (uint32_t head = 0; head < n; head++)
    heads[head] = sqrtf(mean > 1 ? heads[head] / mean : heads[head]);
}

bool kvi_ladder_weigh_heads(const struct kvi_codec_shape *shape, uint32_t layer, const uint8_t *layer_raw,
                            float *factors)
{
  struct kvi_block_walk walk;
  struct kvi_block block;

  if (shape->n_heads < 2 || shape->key_dim == 0 || shape->key_dim > KVI_BLOCK_COLUMNS ||
      shape->rotary_dim > 0)
    return false;
  kvi_block_walk_begin(&walk, shape, layer);
  while (kvi_block_next(&walk, &block) && !block.is_value) {
    size_t stride;
    const uint8_t *raw = kvi_block_raw(shape, &block, layer_raw, &stride);

    look_at_block(&block, raw, stride, factors + block.first_column / shape->key_dim);
  }
  choose_factors(factors, shape->n_heads);
  return true;
}
