/*
 * tiers/codec/cachegen_private.h: what the halves of level "cachegen" share: how a plane lies, and how numbers become elements.
 */
#ifndef KVI_CODEC_CACHEGEN_PRIVATE_H
#define KVI_CODEC_CACHEGEN_PRIVATE_H

#include "tiers/codec/cachegen_model.h"
#include "tiers/codec/codec.h"
#include "tiers/codec/element.h"

#define KVI_CACHEGEN_GROUP        10u /* tokens, the first of which is the anchor */
#define KVI_CACHEGEN_HEADER       8u
#define KVI_CACHEGEN_RAW          0u
#define KVI_CACHEGEN_BY_HEAD      1u /* coded, an anchor's vectors are its heads */
#define KVI_CACHEGEN_BY_ROW       2u /* coded, an anchor is one vector */
#define KVI_CACHEGEN_NUMBER_LEAST (-32768)

/* A step is m * 2^e, written in these two bytes. */
#define KVI_CACHEGEN_STEP_BYTES 2u
#define KVI_CACHEGEN_E_LEAST    (-120)
#define KVI_CACHEGEN_E_MOST     100

/* Of the model's u16 of a column. */
#define KVI_CACHEGEN_DELTA_CLASS(model)  ((model)&31u)
#define KVI_CACHEGEN_ANCHOR_CLASS(model) (1u + 2u * ((model) >> 5 & 15u))
#define KVI_CACHEGEN_MEAN(model)         (2 * (int32_t)((int16_t)(model) >> 9))

/* The keys or the values of a layer. */
struct kvi_cachegen_plane {
  enum kvi_codec_dtype dtype;
  uint32_t rows, heads, dim, columns; /* columns = heads * dim */
  uint32_t vectors;                   /* of an anchor, each with a step: heads, or 1 */
  size_t element_size;
};

static inline size_t kvi_cachegen_row_bytes(const struct kvi_cachegen_plane *plane)
{
  return plane->columns * plane->element_size;
}

static inline bool kvi_cachegen_is_anchor(uint32_t row)
{
  return row % KVI_CACHEGEN_GROUP == 0;
}

static inline const uint8_t *kvi_cachegen_anchor_step(const struct kvi_cachegen_plane *plane,
                                                      const uint8_t *steps, uint32_t head)
{
  return steps + (plane->vectors > 1 ? (size_t)head * KVI_CACHEGEN_STEP_BYTES : 0);
}

/* Steps of the deltas, for each head; of the anchors, for each group and vector; and the model, for each column. */
static inline uint64_t kvi_cachegen_side_bytes(const struct kvi_cachegen_plane *plane)
{
  uint64_t groups = (plane->rows + KVI_CACHEGEN_GROUP - 1) / KVI_CACHEGEN_GROUP;
  return KVI_CACHEGEN_STEP_BYTES * (plane->heads + groups * plane->vectors) + 2 * (uint64_t)plane->columns;
}

static inline int kvi_cachegen_step_exponent(const uint8_t step[KVI_CACHEGEN_STEP_BYTES])
{
  return step[1] < 128 ? step[1] : step[1] - 256;
}

static inline bool kvi_cachegen_step_ok(const uint8_t step[KVI_CACHEGEN_STEP_BYTES])
{
  int e = kvi_cachegen_step_exponent(step);

  return step[0] >= 128 && e >= KVI_CACHEGEN_E_LEAST && e <= KVI_CACHEGEN_E_MOST;
}

/* Exact: m has 8 bits. */
static inline float kvi_cachegen_step_value(const uint8_t step[KVI_CACHEGEN_STEP_BYTES])
{
  return (float)step[0] * kvi_float_from_bits((uint32_t)(kvi_cachegen_step_exponent(step) + 127) << 23);
}

/*
 * number * step is exact, since a number has at most 17 bits with its sign and m has 8: a fused multiplication gives the same. What
 * rounds is the addition, to binary32, and the conversion to the dtype. For anchors the base is 0.
 */
static inline float kvi_cachegen_value(float base, int32_t number, float step)
{
  return base + (float)number * step;
}

/*
 * Encodes a plane (rows x columns elements, not 0 of them) to at most limit bytes behind its header, and chooses its vectors.
 * 0: it is not to be had in so few.
 */
size_t kvi_cachegen_encode_plane(struct kvi_cachegen_plane *plane, double bin, const uint8_t *raw,
                                 void *scratch, uint8_t *out, size_t limit);

/* Scratch for that: 64-byte aligned. */
uint64_t kvi_cachegen_plane_scratch(const struct kvi_cachegen_plane *plane);

/*
 * cachegen_quantise.c: raw to numbers (rows x columns), and the steps to side (the deltas' for each head, then the anchors'; room for
 * as many vectors as heads). Chooses the vectors. row and anchor have room for a row, totals for two times heads. False: NaN, infinity, or
 * too large to be quantised.
 */
bool kvi_cachegen_quantise(struct kvi_cachegen_plane *plane, double bin, const uint8_t *raw, float *row,
                           float *anchor, double *totals, uint8_t *side, int16_t *numbers);

#endif
