/*
 * tiers/codec/loops_body.h: the loops over rows that compilers vectorise by themselves. loops_scalar.c and loops_avx2.c include it, each
 * compiled for its instruction set: the same C, and no operation in it whose result could depend on how it is compiled
 * (docs/formats/kvc1.md, "Ladder blocks", on the one product).
 */
#ifndef KVI_CODEC_LOOPS_BODY_H
#define KVI_CODEC_LOOPS_BODY_H

#include <string.h>

#include "tiers/codec/element.h"
#include "tiers/codec/path.h"

/* Elements of 16 bits at any address: what memcpy would do, but seen as an array, which compilers vectorise. GNU's attributes. */
typedef uint16_t element16 __attribute__((aligned(1), may_alias));

/*
 * Most blocks have 128 columns: WIDTHS calls a loop with that constant, so that it is compiled without a test for a rest, or with
 * what the block has.
 */
#define WIDTHS(columns, call)                                                                                \
  do {                                                                                                       \
    if ((columns) == KVI_BLOCK_COLUMNS) {                                                                    \
      const uint32_t width = KVI_BLOCK_COLUMNS;                                                              \
      call;                                                                                                  \
    } else {                                                                                                 \
      const uint32_t width = (columns);                                                                      \
      call;                                                                                                  \
    }                                                                                                        \
  } while (0)

/* byte / 3^j by multiplication: b * 171 >> 9 is b / 3 for all 256. */
#define ADD_TRITS(byte)                                                                                      \
  do {                                                                                                       \
    uint16_t b0 = (byte);                                                                                    \
    uint16_t b1 = (uint16_t)(b0 * 171 >> 9), b2 = (uint16_t)(b1 * 171 >> 9);                                 \
    uint16_t b3 = (uint16_t)(b2 * 171 >> 9), b4 = (uint16_t)(b3 * 171 >> 9);                                 \
                                                                                                             \
    i0 = (int16_t)(3 * (i0 - b1) + b0 - 1);                                                                  \
    i1 = (int16_t)(3 * (i1 - b2) + b1 - 1);                                                                  \
    i2 = (int16_t)(3 * (i2 - b3) + b2 - 1);                                                                  \
    i3 = (int16_t)(3 * (i3 - b4) + b3 - 1);                                                                  \
    i4 = (int16_t)(3 * i4 + b4 - 1);                                                                         \
  } while (0)

static void finish_other(enum kvi_codec_dtype dtype, const int16_t (*rows)[KVI_BLOCK_COLUMNS],
                         const uint8_t *const *trits, uint32_t n_planes, const struct kvi_codec_scale *scale,
                         uint32_t columns, uint8_t *const *out)
{
  size_t element = kvi_codec_element_size(dtype);

  for (uint32_t column = 0; column < columns; column++) {
    int16_t i0 = rows[0][column], i1 = rows[1][column], i2 = rows[2][column], i3 = rows[3][column],
            i4 = rows[4][column];

    for (uint32_t plane = 0; plane < n_planes; plane++)
      ADD_TRITS(trits[plane][column]);
    int16_t numbers[5] = {i0, i1, i2, i3, i4};
    for (uint32_t row = 0; row < 5; row++) {
      int16_t v = (int16_t)(numbers[row] * scale->factor + scale->mean[column]);

      kvi_codec_from_float(dtype, (float)v * scale->half[column], out[row] + column * element);
    }
  }
}

#ifndef KVI_LOOPS_OWN
static inline uint16_t bf16_of(int16_t number, int16_t factor, int16_t mean, float half)
{
  int16_t v = (int16_t)(number * factor + mean);
  uint32_t bits = kvi_float_bits((float)v * half);

  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* below 2^124: never infinite */
}

/* n_planes and columns are constants where it matters: the calls below. The rows and planes do not overlap with out. */
static inline __attribute__((always_inline)) void
finish_bf16(const int16_t (*restrict rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits, uint32_t n_planes,
            const struct kvi_codec_scale *restrict scale, uint32_t columns, uint8_t *const *out)
{
  const uint8_t *restrict plane0 = n_planes > 0 ? trits[0] : NULL, *restrict plane1 =
                                                                       n_planes > 1 ? trits[1] : NULL;
  const uint8_t *restrict plane2 = n_planes > 2 ? trits[2] : NULL;
  element16 *restrict out0 = (element16 *)out[0], *restrict out1 = (element16 *)out[1],
                      *restrict out2 = (element16 *)out[2];
  element16 *restrict out3 = (element16 *)out[3], *restrict out4 = (element16 *)out[4];
  int16_t factor = scale->factor;

#ifndef __clang__ /* which does not know it, and needs no hint */
#pragma GCC ivdep
#endif
  for (uint32_t column = 0; column < columns; column++) {
    int16_t i0 = rows[0][column], i1 = rows[1][column], i2 = rows[2][column], i3 = rows[3][column],
            i4 = rows[4][column];
    int16_t mean = scale->mean[column];
    float half = scale->half[column];

    if (n_planes > 0)
      ADD_TRITS(plane0[column]);
    if (n_planes > 1)
      ADD_TRITS(plane1[column]);
    if (n_planes > 2)
      ADD_TRITS(plane2[column]);
    out0[column] = bf16_of(i0, factor, mean, half);
    out1[column] = bf16_of(i1, factor, mean, half);
    out2[column] = bf16_of(i2, factor, mean, half);
    out3[column] = bf16_of(i3, factor, mean, half);
    out4[column] = bf16_of(i4, factor, mean, half);
  }
}

static void finish_rows(enum kvi_codec_dtype dtype, int16_t (*rows)[KVI_BLOCK_COLUMNS],
                        const uint8_t *const *trits, uint32_t n_planes, const struct kvi_codec_scale *scale,
                        uint32_t columns, uint8_t *const *out)
{
  const int16_t(*numbers)[KVI_BLOCK_COLUMNS] = (const int16_t(*)[KVI_BLOCK_COLUMNS])rows;

  if (dtype != KVI_CODEC_BF16)
    finish_other(dtype, numbers, trits, n_planes, scale, columns, out);
  else if (n_planes == 0)
    WIDTHS(columns, finish_bf16(numbers, trits, 0, scale, width, out));
  else if (n_planes == 1)
    WIDTHS(columns, finish_bf16(numbers, trits, 1, scale, width, out));
  else if (n_planes == 2)
    WIDTHS(columns, finish_bf16(numbers, trits, 2, scale, width, out));
  else
    WIDTHS(columns, finish_bf16(numbers, trits, 3, scale, width, out));
}

#endif

static inline void kept_bf16(const int8_t *restrict numbers, const float *restrict kept_half,
                             const struct kvi_codec_scale *restrict scale, uint32_t columns,
                             element16 *restrict out)
{
  for (uint32_t column = 0; column < columns; column++) {
    /* Both products are exact, so it is the same with a fused addition. */
    float x = (float)scale->mean[column] * scale->half[column] + (float)numbers[column] * kept_half[column];

    out[column] = kvi_float_to_bf16(x);
  }
}

static void place_kept(enum kvi_codec_dtype dtype, const int8_t *numbers, const float *kept_half,
                       const struct kvi_codec_scale *scale, uint32_t columns, uint8_t *out)
{
  size_t element = kvi_codec_element_size(dtype);

  if (dtype == KVI_CODEC_BF16) {
    WIDTHS(columns, kept_bf16(numbers, kept_half, scale, width, (element16 *)out));
    return;
  }
  for (uint32_t column = 0; column < columns; column++) {
    float x = (float)scale->mean[column] * scale->half[column] + (float)numbers[column] * kept_half[column];

    kvi_codec_from_float(dtype, x, out + column * element);
  }
}

static inline void join_bf16_to(const int16_t *restrict row, const int16_t *restrict reference,
                                const uint8_t *restrict low, uint32_t columns, element16 *restrict out)
{
  for (uint32_t column = 0; column < columns; column++) {
    uint16_t exponent = (uint16_t)((row[column] + reference[column]) & 255);

    out[column] = (uint16_t)((low[column] & 128) << 8 | exponent << 7 | (low[column] & 127));
  }
}

static void join_bf16(const int16_t *row, const int16_t *reference, const uint8_t *low, uint32_t columns,
                      uint8_t *out)
{
  WIDTHS(columns, join_bf16_to(row, reference, low, width, (element16 *)out));
}

static inline void exponents_of(const element16 *restrict row, uint32_t columns, uint8_t *restrict out,
                                uint8_t *restrict greatest)
{
  for (uint32_t column = 0; column < columns; column++) {
    uint8_t exponent = (uint8_t)(row[column] >> 7);

    out[column] = exponent;
    greatest[column] = exponent > greatest[column] ? exponent : greatest[column];
  }
}

static void exponents_bf16(const uint8_t *row, uint32_t columns, uint8_t *out, uint8_t *greatest)
{
  WIDTHS(columns, exponents_of((const element16 *)row, width, out, greatest));
}

static inline void lows_of(const element16 *restrict row, uint32_t columns, uint8_t *restrict out)
{
  for (uint32_t column = 0; column < columns; column++)
    out[column] = (uint8_t)((row[column] >> 8 & 128) | (row[column] & 127));
}

static void lows_bf16(const uint8_t *row, uint32_t columns, uint8_t *out)
{
  WIDTHS(columns, lows_of((const element16 *)row, width, out));
}

static inline void less_reference_of(const uint8_t *restrict highs, const uint8_t *restrict reference,
                                     uint32_t columns, int16_t *restrict out)
{
  for (uint32_t column = 0; column < columns; column++)
    out[column] = (int16_t)(highs[column] - reference[column]);
}

static void less_reference(const uint8_t *highs, const uint8_t *reference, uint32_t columns, int16_t *out)
{
  WIDTHS(columns, less_reference_of(highs, reference, width, out));
}

#ifndef KVI_LOOPS_OWN
static void count_highs(const uint8_t (*highs)[KVI_BLOCK_COLUMNS], uint32_t rows, uint32_t step,
                        const uint8_t *greatest, uint32_t columns, uint8_t (*counts)[KVI_BLOCK_COLUMNS])
{
  memset(counts, 0, KVI_HIGH_COUNTS * sizeof counts[0]);
  for (uint32_t row = 0; row < rows; row += step)
    for (uint32_t column = 0; column < columns; column++) {
      uint32_t below = (uint32_t)(greatest[column] - highs[row][column]);

      if (below < KVI_HIGH_COUNTS)
        counts[below][column]++;
    }
}

static uint32_t cheapest_class(const int16_t counts[16], uint32_t *class_p)
{
  uint32_t least = UINT32_MAX;

  for (uint32_t class_id = 0; class_id < KVI_CLASSES_LOSSLESS_COUNT; class_id++) {
    uint32_t cost = 0;

    for (uint32_t i = 0; i < 16; i++)
      cost += (uint32_t)(counts[i] * kvi_rans_pair_costs[i / 2][class_id][i % 2]);
    if (cost >= least)
      continue;
    least = cost;
    *class_p = class_id;
  }
  return least;
}

static void add_sums(enum kvi_codec_dtype dtype, const uint8_t *rows, size_t stride, uint32_t n,
                     const float *shift, uint32_t columns, float *sum, float *square)
{
  size_t element = kvi_codec_element_size(dtype);

  for (uint32_t row = 0; row < n; row++, rows += stride)
    for (uint32_t column = 0; column < columns; column++) {
      float x = kvi_codec_to_float(dtype, rows + column * element) - shift[column];

      sum[column] += x;
      square[column] += x * x;
    }
}

static int16_t quantise(enum kvi_codec_dtype dtype, const uint8_t *row, const float *mean, const float *scale,
                        uint32_t columns, int16_t *out)
{
  size_t element = kvi_codec_element_size(dtype);
  int16_t largest = 0;

  for (uint32_t column = 0; column < columns; column++) {
    float x = (kvi_codec_to_float(dtype, row + column * element) - mean[column]) * scale[column];
    int16_t magnitude;

    x = x > (float)KVI_NUMBER_END ? (float)KVI_NUMBER_END : x;
    x = x < -(float)KVI_NUMBER_END ? -(float)KVI_NUMBER_END : x;
    /* Added to 1.5 * 2^23 a float has its nearest integer in its lowest bits. */
    out[column] = (int16_t)(uint16_t)kvi_float_bits(x + 0x1.8p23f);
    magnitude = (int16_t)(out[column] < 0 ? -out[column] : out[column]);
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

static void split_digits(int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t columns, uint32_t n_planes,
                         uint8_t *const *trits)
{
  for (uint32_t plane = n_planes; plane-- > 0;)
    for (uint32_t column = 0; column < columns; column++) {
      int32_t byte = 0;

      for (uint32_t row = 5; row-- > 0;) {
        int16_t x = rows[row][column], third = kvi_third_of(x);

        rows[row][column] = third;
        byte = 3 * byte + x - 3 * third + 1;
      }
      trits[plane][column] = (uint8_t)byte;
    }
}

static inline void predict_row(const int16_t *restrict before, const int16_t *restrict share,
                               uint32_t columns, int16_t *restrict row)
{
  for (uint32_t column = 0; column < columns; column++)
    row[column] = (int16_t)(row[column] + kvi_prediction(before[column], share[column]));
}

static inline void predict_rows(const int16_t *share, uint32_t columns, uint32_t n_rows, int16_t *last,
                                int16_t (*rows)[KVI_BLOCK_COLUMNS])
{
  predict_row(last, share, columns, rows[0]);
  for (uint32_t row = 1; row < n_rows; row++)
    predict_row(rows[row - 1], share, columns, rows[row]);
  memcpy(last, rows[n_rows - 1], columns * sizeof last[0]);
}

static void add_predictions(const int16_t *share, uint32_t columns, uint32_t n_rows, int16_t *last,
                            kvi_tile tile)
{
  WIDTHS(columns, predict_rows(share, width, n_rows, last, tile));
}

static void sum_products(const int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t n_rows, uint32_t columns,
                         float *square, float *product)
{
  memset(square, 0, columns * sizeof square[0]);
  memset(product, 0, columns * sizeof product[0]);
  for (uint32_t row = 0; row < n_rows; row++)
    for (uint32_t column = 0; column < columns; column++) {
      float x = rows[row][column];

      square[column] += x * x;
      product[column] += row > 0 ? x * (float)rows[row - 1][column] : 0;
    }
}

static void take_predictions(const int16_t *share, uint32_t columns, uint32_t n_rows,
                             int16_t (*rows)[KVI_BLOCK_COLUMNS], float *square)
{
  int16_t before[KVI_BLOCK_COLUMNS] = {0};

  memset(square, 0, columns * sizeof square[0]);
  for (uint32_t row = 0; row < n_rows; row++)
    for (uint32_t column = 0; column < columns; column++) {
      int16_t number = rows[row][column];
      float left;

      rows[row][column] = (int16_t)(number - kvi_prediction(before[column], share[column]));
      before[column] = number;
      left = rows[row][column];
      square[column] += left * left;
    }
}
#endif

#endif
