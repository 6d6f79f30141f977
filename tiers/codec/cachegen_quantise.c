/* Anchors and deltas to numbers. Two passes: the deltas' steps need the anchors as a decoder will have them. */
#include <math.h>

#include "tiers/codec/cachegen_private.h"

#define ANCHOR_MOST 127.0f
#define DELTA_MOST  32000.0f

/* The smallest step that is not below value; false if there is none that large. */
static bool step_above(float value, uint8_t step[KVI_CACHEGEN_STEP_BYTES])
{
  uint32_t bits = kvi_float_bits(value);
  uint32_t m = 128 + (bits >> 16 & 127u) + ((bits & 0xffffu) != 0);
  int e = (int)(bits >> 23) - 127 - 7 + (m == 256);

  if (e > KVI_CACHEGEN_E_MOST)
    return false;
  if (e < KVI_CACHEGEN_E_LEAST) {
    m = 128;
    e = KVI_CACHEGEN_E_LEAST;
  }
  step[0] = (uint8_t)(m == 256 ? 128 : m);
  step[1] = (uint8_t)e;
  return true;
}

/* To nearest, ties to even, clamped. */
static int16_t number_of(float value, float step, float most)
{
  float quotient = value / step;

  quotient = quotient > -most ? quotient : -most;
  quotient = quotient < most ? quotient : most;
  return (int16_t)((int32_t)kvi_float_bits(quotient + 0x1.8p23f) - 0x4b400000);
}

/* False: NaN or infinity. */
static bool load_row(const struct kvi_cachegen_plane *plane, const uint8_t *raw, uint32_t row, float *out)
{
  const uint8_t *element = raw + (size_t)row * kvi_cachegen_row_bytes(plane);
  uint32_t most = 0;

  for (uint32_t c = 0; c < plane->columns; c++, element += plane->element_size) {
    uint32_t magnitude;

    out[c] = kvi_codec_to_float(plane->dtype, element);
    magnitude = kvi_float_bits(out[c]) & 0x7fffffffu;
    most = most > magnitude ? most : magnitude;
  }
  return most < 0x7f800000u;
}

/* Whole numbers gain nothing by finer steps than 1. */
static float at_least(const struct kvi_cachegen_plane *plane, float step)
{
  return plane->dtype == KVI_CODEC_INT8 && step < 1.0f ? 1.0f : step;
}

/* What a decoder will have of an anchor, from its numbers. */
static void rebuild_anchor(const struct kvi_cachegen_plane *plane, const int16_t *numbers,
                           const uint8_t *steps, float *anchor)
{
  for (uint32_t c = 0; c < plane->columns; c++) {
    float step = kvi_cachegen_step_value(kvi_cachegen_anchor_step(plane, steps, c / plane->dim));
    uint8_t element[2];

    kvi_codec_from_float(plane->dtype, kvi_cachegen_value(0.0f, numbers[c], step), element);
    anchor[c] = kvi_codec_to_float(plane->dtype, element);
  }
}

/* Vector by vector at 8 bit. */
static bool quantise_anchor(const struct kvi_cachegen_plane *plane, const float *row, uint8_t *steps,
                            int16_t *numbers)
{
  uint32_t length = plane->columns / plane->vectors;

  for (uint32_t v = 0; v < plane->vectors;
       v++, row += length, numbers += length, steps += KVI_CACHEGEN_STEP_BYTES) {
    float most = 0;

    for (uint32_t i = 0; i < length; i++)
      most = fmaxf(most, fabsf(row[i]));
    if (!step_above(at_least(plane, most / ANCHOR_MOST), steps))
      return false;
    for (uint32_t i = 0; i < length; i++)
      numbers[i] = number_of(row[i], kvi_cachegen_step_value(steps), ANCHOR_MOST);
  }
  return true;
}

/* Adds a row's deltas to the sum of squares and to the largest delta of each head. */
static void measure_deltas(const struct kvi_cachegen_plane *plane, const float *row, const float *anchor,
                           double *totals)
{
  for (uint32_t head = 0; head < plane->heads; head++, row += plane->dim, anchor += plane->dim) {
    double sum = 0, most = totals[plane->heads + head];

    for (uint32_t d = 0; d < plane->dim; d++) {
      double delta = (double)row[d] - (double)anchor[d];
      double narrow = (double)(float)delta; /* whose square is exact: fused or not, the sum is the same */

      sum += narrow * narrow;
      most = fmax(most, fabs(delta));
    }
    totals[head] += sum;
    totals[plane->heads + head] = most;
  }
}

/* First pass: the anchors whole, and how large the deltas are. */
static bool first_pass(const struct kvi_cachegen_plane *plane, const uint8_t *raw, float *row, float *anchor,
                       double *totals, uint8_t *steps, int16_t *numbers)
{
  for (uint32_t head = 0; head < 2 * plane->heads; head++)
    totals[head] = 0;
  for (uint32_t r = 0; r < plane->rows; r++, numbers += plane->columns) {
    if (!load_row(plane, raw, r, row))
      return false;
    if (kvi_cachegen_is_anchor(r)) {
      if (!quantise_anchor(plane, row, steps, numbers))
        return false;
      rebuild_anchor(plane, numbers, steps, anchor);
      steps += (size_t)plane->vectors * KVI_CACHEGEN_STEP_BYTES;
    } else {
      measure_deltas(plane, row, anchor, totals);
    }
  }
  return true;
}

/* A head's step: the bin times the root mean square of its deltas, and no number above 16 bits. */
static bool delta_steps(const struct kvi_cachegen_plane *plane, double bin, const double *totals,
                        uint8_t *steps)
{
  uint64_t rows = plane->rows - (plane->rows + KVI_CACHEGEN_GROUP - 1) / KVI_CACHEGEN_GROUP;
  double count = (double)(rows * plane->dim);

  for (uint32_t head = 0; head < plane->heads; head++) {
    double step = rows > 0 ? bin * sqrt(totals[head] / count) : 0;

    step = fmax(step, totals[plane->heads + head] / (double)DELTA_MOST);
    if (step > 0x1p120 ||
        !step_above(at_least(plane, (float)step), steps + (size_t)head * KVI_CACHEGEN_STEP_BYTES))
      return false;
  }
  return true;
}

/*
 * Whether one step for all heads of an anchor would do: the steps that the heads with the largest numbers need are, in the mean square
 * over the groups, at most half of every head's bin. (A model with a large bias in some keys has heads that would lose everything.)
 */
static bool rows_suffice(const struct kvi_cachegen_plane *plane, const uint8_t *side)
{
  const uint8_t *steps = side + (size_t)plane->heads * KVI_CACHEGEN_STEP_BYTES;
  double sum = 0;
  uint32_t groups = 0;

  for (uint32_t r = 0; r < plane->rows; r += KVI_CACHEGEN_GROUP, groups++) {
    float most = 0;

    for (uint32_t head = 0; head < plane->heads; head++, steps += KVI_CACHEGEN_STEP_BYTES)
      most = fmaxf(most, kvi_cachegen_step_value(steps));
    sum += (double)most * (double)most;
  }
  for (uint32_t head = 0; head < plane->heads; head++) {
    double half = 0.5 * (double)kvi_cachegen_step_value(side + (size_t)head * KVI_CACHEGEN_STEP_BYTES);

    if (sum > (double)groups * half * half)
      return false;
  }
  return true;
}

/* Second pass: the deltas, with their steps. */
static void second_pass(const struct kvi_cachegen_plane *plane, const uint8_t *raw, float *row, float *anchor,
                        const uint8_t *side, int16_t *numbers)
{
  const uint8_t *steps = side + (size_t)plane->heads * KVI_CACHEGEN_STEP_BYTES;

  for (uint32_t r = 0; r < plane->rows; r++, numbers += plane->columns) {
    if (kvi_cachegen_is_anchor(r)) {
      rebuild_anchor(plane, numbers, steps, anchor);
      steps += (size_t)plane->vectors * KVI_CACHEGEN_STEP_BYTES;
      continue;
    }
    (void)load_row(plane, raw, r, row); /* was finite before */
    for (uint32_t c = 0; c < plane->columns; c++) {
      float step = kvi_cachegen_step_value(side + (size_t)c / plane->dim * KVI_CACHEGEN_STEP_BYTES);

      numbers[c] = number_of(row[c] - anchor[c], step, DELTA_MOST);
    }
  }
}

bool kvi_cachegen_quantise(struct kvi_cachegen_plane *plane, double bin, const uint8_t *raw, float *row,
                           float *anchor, double *totals, uint8_t *side, int16_t *numbers)
{
  uint8_t *steps = side + (size_t)plane->heads * KVI_CACHEGEN_STEP_BYTES;

  plane->vectors = plane->heads;
  if (!first_pass(plane, raw, row, anchor, totals, steps, numbers) || !delta_steps(plane, bin, totals, side))
    return false;
  if (plane->heads > 1 && rows_suffice(plane, side)) {
    plane->vectors = 1;
    if (!first_pass(plane, raw, row, anchor, totals, steps, numbers) ||
        !delta_steps(plane, bin, totals, side))
      return false;
  }
  second_pass(plane, raw, row, anchor, side, numbers);
  return true;
}
