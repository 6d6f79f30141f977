/* Numbers to a coded plane: a model for each column, then symbol by symbol. */
#include <string.h>

#include "base/bytes.h"
#include "tiers/codec/cachegen_private.h"
#include "tiers/codec/range_coder.h"

#define ANCHOR_CLASSES 16u

static uint64_t padded(uint64_t bytes)
{
  return (bytes + 63) / 64 * 64;
}

/* In this order: totals, row, anchor, numbers. */
uint64_t kvi_cachegen_plane_scratch(const struct kvi_cachegen_plane *plane)
{
  return padded(2 * sizeof(double) * (uint64_t)plane->heads) +
         2 * padded(sizeof(float) * (uint64_t)plane->columns) +
         padded(sizeof(int16_t) * (uint64_t)plane->rows * plane->columns);
}

static void count_number(uint32_t histogram[KVI_CACHEGEN_MAGNITUDE], int32_t number)
{
  int32_t magnitude = number < 0 ? -number : number;

  histogram[magnitude <= KVI_CACHEGEN_LARGEST ? magnitude : KVI_CACHEGEN_LARGEST + 1]++;
}

/* The mean of a column's anchors in steps of 2, -64 to 63. */
static int32_t half_mean(const struct kvi_cachegen_plane *plane, const int16_t *column)
{
  int64_t sum = 0, count = 1 + (plane->rows - 1) / KVI_CACHEGEN_GROUP;

  for (uint32_t r = 0; r < plane->rows; r += KVI_CACHEGEN_GROUP)
    sum += column[(size_t)r * plane->columns];
  /* Rounded: the quotient of a sum made positive. */
  int64_t mean = (sum + 1000 * count + count) / (2 * count) - 500;
  return (int32_t)(mean < -64 ? -64 : mean > 63 ? 63 : mean);
}

static uint16_t model_of(const struct kvi_cachegen_plane *plane, const int16_t *column)
{
  uint32_t anchors[KVI_CACHEGEN_MAGNITUDE] = {0}, deltas[KVI_CACHEGEN_MAGNITUDE] = {0};
  int32_t mean = half_mean(plane, column);

  for (uint32_t r = 0; r < plane->rows; r++, column += plane->columns) {
    if (kvi_cachegen_is_anchor(r))
      count_number(anchors, *column - 2 * mean);
    else
      count_number(deltas, *column);
  }
  return (uint16_t)(kvi_cachegen_choose_class(deltas, 0, 1, KVI_CACHEGEN_CLASSES) |
                    kvi_cachegen_choose_class(anchors, 1, 2, ANCHOR_CLASSES) << 5 |
                    ((uint32_t)mean & 127u) << 9);
}

static void code_number(struct kvi_range_encoder *encoder, const struct kvi_cachegen_class *class,
                        int32_t number)
{
  const uint32_t *starts = class->starts;
  uint32_t symbol = KVI_CACHEGEN_ESCAPE;

  if (number >= -KVI_CACHEGEN_LARGEST && number <= KVI_CACHEGEN_LARGEST)
    symbol = (uint32_t)(number + KVI_CACHEGEN_LARGEST);
  if (starts[symbol + 1] == starts[symbol])
    symbol = KVI_CACHEGEN_ESCAPE;
  kvi_range_encode(encoder, starts[symbol], starts[symbol + 1] - starts[symbol]);
  if (symbol == KVI_CACHEGEN_ESCAPE)
    kvi_range_encode(encoder, (uint32_t)(number - KVI_CACHEGEN_NUMBER_LEAST), 1);
}

static void code_rows(const struct kvi_cachegen_plane *plane, const int16_t *numbers, const uint8_t *model,
                      struct kvi_range_encoder *encoder)
{
  const struct kvi_cachegen_class *classes = kvi_cachegen_classes();

  for (uint32_t r = 0; r < plane->rows && !encoder->full; r++, numbers += plane->columns) {
    bool is_anchor = kvi_cachegen_is_anchor(r);

    for (uint32_t c = 0; c < plane->columns; c++) {
      uint32_t m = kvi_load_le16(model + 2 * (size_t)c);

      if (is_anchor)
        code_number(encoder, &classes[KVI_CACHEGEN_ANCHOR_CLASS(m)], numbers[c] - KVI_CACHEGEN_MEAN(m));
      else
        code_number(encoder, &classes[KVI_CACHEGEN_DELTA_CLASS(m)], numbers[c]);
    }
  }
}

size_t kvi_cachegen_encode_plane(struct kvi_cachegen_plane *plane, double bin, const uint8_t *raw,
                                 void *scratch, uint8_t *out, size_t limit)
{
  struct kvi_range_encoder encoder;
  double *totals = scratch;
  float *row = (float *)((char *)scratch + padded(2 * sizeof(double) * (uint64_t)plane->heads));
  float *anchor = (float *)((char *)row + padded(sizeof(float) * (uint64_t)plane->columns));
  int16_t *numbers = (int16_t *)((char *)anchor + padded(sizeof(float) * (uint64_t)plane->columns));
  uint64_t side_bytes;
  uint8_t *model, *end;

  plane->vectors = plane->heads; /* the most */
  if (kvi_cachegen_side_bytes(plane) >= limit ||
      !kvi_cachegen_quantise(plane, bin, raw, row, anchor, totals, out, numbers))
    return 0;
  side_bytes = kvi_cachegen_side_bytes(plane);
  model = out + (side_bytes - 2 * (uint64_t)plane->columns);
  for (uint32_t c = 0; c < plane->columns; c++)
    kvi_store_le16(model + 2 * (size_t)c, model_of(plane, numbers + c));
  kvi_range_encoder_begin(&encoder, out + side_bytes, out + limit);
  code_rows(plane, numbers, model, &encoder);
  end = kvi_range_encoder_end(&encoder);
  return end != NULL ? (size_t)(end - out) : 0;
}
