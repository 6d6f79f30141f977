/*
 * Coding a ladder block. Nothing here is normative: another choice of steps, means, classes and rows gives another object that decodes.
 *
 * Two passes over the elements: means and deviations, then numbers. A row that stands out (an attention sink, a token with a huge
 * activation) is kept apart, since a step that suits it would be too coarse for the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tiers/codec/element.h"
#include "tiers/codec/ladder_private.h"
#include "tiers/codec/path.h"

#define FILL_ROWS          5u /* that pairs and fives of rows may read behind the last one */
#define SUM_ROWS           4u /* that are added at a time */
#define QUANTISE_AHEAD     4u /* rows, which are in the second cache by then */
#define OUTLIER_DEVIATIONS 12 /* beyond so many a row stands out */
#define OUTLIER_FACTOR     4  /* times the mean of the rows' largest numbers: not measured */
#define OUTLIER_ATTEMPTS   3
#define SHARE_LEAST_GAIN                                                                                     \
  0.01f /* mean square of the shares: below, a prediction saves less than 0.01 bits a number */
#define BROADEST_CLASS 2.2 /* deviations a step: a channel that is wider gets deep digits */

struct ladder_encoder {
  const struct kvi_block *block;
  uint32_t n_planes, step;
  const float *factors; /* of the units' steps; NULL: none */
  const uint8_t *raw;
  size_t stride;
  uint8_t *const *planes;

  uint8_t half_bytes[KVI_BLOCK_UNITS * 2];
  struct kvi_ladder_channel channel[KVI_BLOCK_COLUMNS];
  struct kvi_rans_columns columns;
  _Alignas(32) float sum[KVI_BLOCK_COLUMNS], square[KVI_BLOCK_COLUMNS]; /* then mean and deviation */
  _Alignas(32) float mean[KVI_BLOCK_COLUMNS], scale[KVI_BLOCK_COLUMNS]; /* as the decoder has the mean */
  int16_t largest_ok; /* a row with a larger fine number is kept apart */

  uint64_t stands_out[(UINT16_MAX + 64) / 64]; /* a bit a row: not measured */
  uint64_t largest_sum;                        /* of the largest fine numbers of the rows that are measured */
  uint32_t largest_rows;
  int16_t largest_of_all;

  uint32_t kept;
  uint8_t *kept_end;                     /* entries are written in front of the deep digits */
  int16_t (*numbers)[KVI_BLOCK_COLUMNS]; /* of the rows not kept apart, then FILL_ROWS of zeros */
};

size_t kvi_ladder_scratch(uint32_t rows)
{
  return ((size_t)rows + FILL_ROWS) * KVI_BLOCK_COLUMNS * sizeof(int16_t) +
         kvi_rans_bound(rows, KVI_BLOCK_COLUMNS / KVI_RANS_LANES);
}

size_t kvi_ladder_bound(const struct kvi_block *block)
{
  size_t kept = 4 + 2 * (size_t)KVI_BLOCK_UNITS + (size_t)block->columns * 2;

  return (size_t)KVI_BLOCK_UNITS * 2 + (size_t)block->columns * 3 + block->rows * kept +
         (size_t)block->columns * KVI_LADDER_DEPTH_MAX * ((block->rows + 4) / 5) +
         kvi_rans_bound(block->rows, kvi_rans_groups(block->columns));
}

static void load_row(const struct ladder_encoder *encoder, uint32_t row, float *out)
{
  const uint8_t *elements = encoder->raw + row * encoder->stride;
  enum kvi_codec_dtype dtype = encoder->block->dtype;
  size_t element = kvi_codec_element_size(dtype);

  for (uint32_t column = 0; column < encoder->block->columns; column++)
    out[column] = dtype == KVI_CODEC_BF16 ? kvi_bf16_to_float(kvi_load_le16(elements + (size_t)column * 2))
                                          : kvi_codec_to_float(dtype, elements + column * element);
}

static bool is_sink(const struct kvi_block *block, uint32_t row)
{
  return row < kvi_ladder_sinks(block);
}

/* Rows that say nothing about the others: sinks, and those that were seen to stand out. */
static bool is_apart(const struct ladder_encoder *encoder, uint32_t row)
{
  return is_sink(encoder->block, row) || (encoder->stands_out[row / 64] >> row % 64 & 1) != 0;
}

/* Rows from this one on that are not apart, at most SUM_ROWS. */
static uint32_t rows_alike(const struct ladder_encoder *encoder, uint32_t row)
{
  uint32_t n = 0;

  while (n < SUM_ROWS && row + n < encoder->block->rows && !is_apart(encoder, row + n))
    n++;
  return n;
}

/* Means and deviations of the columns. False: something is not finite, or too large to square. */
static bool measure(struct ladder_encoder *encoder)
{
  const struct kvi_codec_loops *loops = kvi_codec_loops();
  const struct kvi_block *block = encoder->block;
  _Alignas(32) float shift[KVI_BLOCK_COLUMNS];
  uint32_t last = block->rows - 1;
  float n = 0;

  memset(encoder->sum, 0, sizeof encoder->sum);
  memset(encoder->square, 0, sizeof encoder->square);
  while (is_apart(encoder, last))
    last--;
  load_row(encoder, last, shift);
  for (uint32_t row = 0, alike; row < block->rows; row += alike != 0 ? alike : 1) {
    alike = rows_alike(encoder, row);
    for (uint32_t ahead = 0; ahead < alike; ahead++)
      kvi_block_prefetch(block, encoder->raw + (row + ahead + KVI_BLOCK_PREFETCH_ROWS) * encoder->stride);
    loops->add_sums(block->dtype, encoder->raw + row * encoder->stride, encoder->stride, alike, shift,
                    block->columns, encoder->sum, encoder->square);
    n += (float)alike;
  }
  for (uint32_t column = 0; column < block->columns; column++) {
    float mean = encoder->sum[column] / n;
    float variance = encoder->square[column] / n - mean * mean;

    if (!kvi_float_is_finite(encoder->square[column]) || !kvi_float_is_finite(encoder->sum[column]))
      return false;
    encoder->sum[column] = mean + shift[column];
    encoder->square[column] = variance > 0 ? sqrtf(variance) : 0;
  }
  return true;
}

/* The finest half step {m, e} of each unit. False: a unit does not vary, or in numbers too small or large. */
static bool choose_steps(struct ladder_encoder *encoder)
{
  const struct kvi_block *block = encoder->block;
  float step = (float)encoder->step / (block->is_rotary ? 9000.0f : 1000.0f);

  for (uint32_t unit = 0; unit < kvi_block_units(block); unit++) {
    float variance = 0, half, fraction;
    int exponent;

    for (uint32_t column = unit * block->unit_columns; column < (unit + 1) * block->unit_columns; column++)
      variance += encoder->square[column] * encoder->square[column];
    half = sqrtf(variance / (float)block->unit_columns) * step /
           (2.0f * (float)kvi_power_of_3[encoder->n_planes]);
    if (encoder->factors != NULL)
      half *= encoder->factors[unit];
    if (!(half > 0) || !kvi_float_is_finite(half))
      return false;
    fraction = frexpf(half, &exponent) * 256.0f; /* 128 to 256 */
    exponent -= 8;
    encoder->half_bytes[unit * 2] = fraction < 255.0f ? (uint8_t)lroundf(fraction) : 255;
    if (exponent < KVI_LADDER_EXPONENT_MIN || exponent > KVI_LADDER_EXPONENT_MAX)
      return false;
    encoder->half_bytes[unit * 2 + 1] = (uint8_t)(int8_t)exponent;
  }
  return true;
}

/* The class of numbers whose mean square is this: the nearest in the logarithm. */
static uint8_t class_of(float square)
{
  uint8_t i = 1;

  while (i + 1u < KVI_CLASSES_LADDER_COUNT && square * square > kvi_rans_squares[i] * kvi_rans_squares[i + 1])
    i++;
  return i;
}

/* Depth and mean of a column whose unit has this half step; its share in fine half steps. False: the mean is out of reach. */
static bool choose_channel(struct ladder_encoder *encoder, uint32_t column, float half, float per_half,
                           int32_t *mean_p)
{
  const int32_t *power = kvi_power_of_3 + encoder->n_planes;
  float deviation = encoder->square[column] * per_half * 0.5f; /* in fine steps */
  float mean = encoder->sum[column] * per_half;
  uint8_t depth = 0;
  int32_t v;

  while (depth < KVI_LADDER_DEPTH_MAX && (deviation > (float)BROADEST_CLASS * (float)power[depth] ||
                                          fabsf(mean) > KVI_LADDER_MEAN_MAX * (float)power[depth]))
    depth++;
  if (!(fabsf(mean) <= KVI_LADDER_MEAN_MAX * (float)power[depth]))
    return false;
  mean /= (float)power[depth];
  v = (int32_t)(mean + copysignf(0.5f, mean));
  v = v > KVI_LADDER_MEAN_MAX ? KVI_LADDER_MEAN_MAX : v;
  v = v < -KVI_LADDER_MEAN_MAX ? -KVI_LADDER_MEAN_MAX : v;
  encoder->channel[column] = (struct kvi_ladder_channel){.depth = depth, .mean = (int16_t)v};
  *mean_p = v * power[depth];
  encoder->mean[column] = (float)*mean_p * half;
  encoder->scale[column] = 0.5f * per_half;
  return true;
}

/* Depth and mean of each column. False: a mean out of reach. */
static bool choose_channels(struct ladder_encoder *encoder)
{
  const struct kvi_block *block = encoder->block;
  float largest = 0, half = 0, per_half = 0;
  int32_t largest_mean = 0, reach;

  encoder->columns.n_groups = kvi_rans_groups(block->columns);
  for (uint32_t column = 0; column < block->columns; column++) {
    int32_t mean;

    if (column % block->unit_columns == 0) {
      half = kvi_ladder_half(encoder->half_bytes + column / block->unit_columns * 2);
      per_half = 1.0f / half;
    }
    if (!choose_channel(encoder, column, half, per_half, &mean))
      return false;
    largest_mean = abs(mean) > largest_mean ? abs(mean) : largest_mean;
    largest = fmaxf(largest, encoder->square[column] * per_half * 0.5f);
  }
  if (largest_mean > 30000)
    return false;
  /* A number at the end of the range may be one that was clamped to it. */
  largest = largest * OUTLIER_DEVIATIONS < KVI_NUMBER_END ? largest * OUTLIER_DEVIATIONS : KVI_NUMBER_END - 1;
  encoder->largest_ok = (int16_t)largest;
  /* v = 2 number + mean stays within 16 bits, also where a coarse quality has the number rounded up. */
  reach = (32767 - largest_mean - (kvi_power_of_3[encoder->n_planes] - 1)) / 2;
  if (encoder->largest_ok > reach)
    encoder->largest_ok = (int16_t)reach;
  return true;
}

/* A row kept apart: 8 bits a number if that is as fine as the finest plane, else the elements. */
static void keep_row(struct ladder_encoder *encoder, uint32_t row)
{
  const struct kvi_block *block = encoder->block;
  uint32_t units = kvi_block_units(block);
  uint8_t *entry = encoder->kept_end, *at = entry + 4 + (size_t)units * 2;
  _Alignas(32) float x[KVI_BLOCK_COLUMNS] = {0};
  bool fine = true;

  load_row(encoder, row, x);
  kvi_store_le16(entry, (uint16_t)row);
  for (uint32_t unit = 0; unit < units && fine; unit++) {
    float largest = 0, half = kvi_ladder_half(encoder->half_bytes + unit * 2), step;
    int exponent, m;

    for (uint32_t column = unit * block->unit_columns; column < (unit + 1) * block->unit_columns; column++) {
      float magnitude = fabsf(x[column] - encoder->mean[column]);

      fine = fine && kvi_float_is_finite(magnitude);
      largest = magnitude > largest ? magnitude : largest;
    }
    if (!fine)
      break;
    step = largest / 127.0f > half / 16 ? largest / 127.0f : half / 16;
    m = (int)ceilf(frexpf(step, &exponent) * 256.0f);
    exponent -= m == 256 ? 7 : 8;
    m = m == 256 ? 128 : m;
    fine = ldexpf((float)m, exponent) <= 2.0f * half && exponent >= KVI_LADDER_EXPONENT_MIN &&
           exponent <= KVI_LADDER_EXPONENT_MAX;
    entry[4 + unit * 2] = (uint8_t)m;
    entry[5 + unit * 2] = (uint8_t)(int8_t)exponent;
    step = ldexpf((float)m, exponent);
    for (uint32_t column = unit * block->unit_columns; fine && column < (unit + 1) * block->unit_columns;
         column++)
      *at++ = (uint8_t)(int8_t)rintf((x[column] - encoder->mean[column]) / step);
  }
  kvi_store_le16(entry + 2, fine ? KVI_KEPT_FINE : KVI_KEPT_RAW);
  if (!fine)
    memcpy(entry + 4, encoder->raw + row * encoder->stride,
           block->columns * kvi_codec_element_size(block->dtype));
  encoder->kept_end += kvi_ladder_kept_bytes(block, fine ? KVI_KEPT_FINE : KVI_KEPT_RAW);
  encoder->kept++;
}

static void note_largest(struct ladder_encoder *encoder, int16_t largest)
{
  encoder->largest_sum += (uint16_t)largest;
  encoder->largest_rows++;
  encoder->largest_of_all = largest > encoder->largest_of_all ? largest : encoder->largest_of_all;
}

/* Takes the planes' digits from five rows of numbers, first and on. Rows of zeros have digits of zero. */
static void split_five(const struct ladder_encoder *encoder, uint32_t first)
{
  uint32_t columns = encoder->block->columns;
  uint8_t *trits[KVI_CODEC_PLANES_MAX];

  for (uint32_t plane = 0; plane < encoder->n_planes; plane++)
    trits[plane] = encoder->planes[plane] + (size_t)(first / 5) * columns;
  kvi_codec_loops()->split_digits(encoder->numbers + first, columns, encoder->n_planes, trits);
}

/* Numbers of all rows that are not kept apart, and the planes' digits taken from them. Returns how many rows. */
static uint32_t quantise_rows(struct ladder_encoder *encoder)
{
  const struct kvi_codec_loops *loops = kvi_codec_loops();
  const struct kvi_block *block = encoder->block;
  uint32_t n = 0;

  encoder->largest_sum = encoder->largest_rows = 0;
  encoder->largest_of_all = 0;
  for (uint32_t row = 0; row < block->rows; row++) {
    int16_t *numbers = encoder->numbers[n], largest;

    kvi_block_prefetch(block, encoder->raw + (row + QUANTISE_AHEAD) * encoder->stride);
    if (!is_sink(block, row)) {
      memset(numbers + block->columns, 0,
             (KVI_BLOCK_COLUMNS - block->columns) * sizeof numbers[0]); /* lanes of class none */
      largest = loops->quantise(block->dtype, encoder->raw + row * encoder->stride, encoder->mean,
                                encoder->scale, block->columns, numbers);
      if (!is_apart(encoder, row))
        note_largest(encoder, largest);
      if (largest <= encoder->largest_ok) {
        if (++n % 5 == 0)
          split_five(encoder, n - 5);
        continue;
      }
    }
    keep_row(encoder, row);
  }
  memset(encoder->numbers[n], 0, FILL_ROWS * sizeof encoder->numbers[0]);
  if (n % 5 != 0)
    split_five(encoder, n - n % 5);
  return n;
}

/*
 * Marks rows whose largest number is far beyond the others'. Such a row widens the deviation that the step is made of, so that all the others
 * would be as coarse as if they were like it. False: there are none.
 */
static bool mark_outliers(struct ladder_encoder *encoder)
{
  const struct kvi_codec_loops *loops = kvi_codec_loops();
  const struct kvi_block *block = encoder->block;
  uint64_t limit = OUTLIER_FACTOR * encoder->largest_sum;

  if ((uint64_t)encoder->largest_of_all * encoder->largest_rows <= limit)
    return false;
  for (uint32_t row = 0; row < block->rows; row++) {
    int16_t largest;

    if (is_apart(encoder, row))
      continue;
    largest = loops->quantise(block->dtype, encoder->raw + row * encoder->stride, encoder->mean,
                              encoder->scale, block->columns, encoder->numbers[0]);
    if ((uint64_t)largest * encoder->largest_rows > limit)
      encoder->stands_out[row / 64] |= (uint64_t)1 << row % 64;
  }
  return true;
}

/* A mean that a byte does not hold, or deep digits. */
static bool is_wide(const struct kvi_ladder_channel *channel)
{
  return channel->depth > 0 || channel->mean != (int8_t)channel->mean;
}

/* Channels to out, as kvi_ladder_channels reads them. Returns their end, which does not depend on classes and shares. */
static uint8_t *put_channels(const struct ladder_encoder *encoder, uint8_t *out)
{
  uint32_t columns = encoder->block->columns;
  uint8_t *at = out + 2 * (size_t)columns;

  for (uint32_t column = 0; column < columns; column++) {
    const struct kvi_ladder_channel *channel = &encoder->channel[column];

    out[column] = (uint8_t)(channel->class_id | channel->share << 4);
    if (is_wide(channel))
      out[column] |= KVI_LADDER_WIDE;
    out[columns + column] = (uint8_t)channel->mean;
    if (is_wide(channel))
      *at++ = (uint8_t)(channel->depth | ((channel->mean - (channel->mean & 255)) / 256 & 63) << 2);
  }
  return at;
}

/* Steps and channels, which the block begins with, and what follows from them: rows kept apart and numbers. False: it cannot be quantised. */
static bool quantise_block(struct ladder_encoder *encoder, uint8_t *out, uint32_t *n_p)
{
  size_t unit_bytes = (size_t)kvi_block_units(encoder->block) * 2;

  if (!measure(encoder) || !choose_steps(encoder) || !choose_channels(encoder))
    return false;
  memcpy(out, encoder->half_bytes, unit_bytes);
  encoder->kept = 0;
  encoder->kept_end = put_channels(encoder, out + unit_bytes);
  *n_p = quantise_rows(encoder);
  return true;
}

/* One digit of one column, from the numbers of all rows. */
static void split_column(struct ladder_encoder *encoder, uint32_t column, uint32_t n, uint8_t *trits)
{
  for (uint32_t first = 0; first < n; first += 5) {
    int32_t byte = 0;

    for (uint32_t row = 5; row-- > 0;) {
      int16_t *number = &encoder->numbers[first + row][column];
      int16_t third = kvi_third_of(*number);

      byte = 3 * byte + *number - 3 * third + 1;
      *number = third;
    }
    *trits++ = (uint8_t)byte;
  }
}

/* Takes the deep columns' digits, the last one first. Returns where they end. */
static uint8_t *split_deep(struct ladder_encoder *encoder, uint32_t n, uint8_t *out)
{
  size_t digit_bytes = (n + 4) / 5;

  for (uint32_t column = 0; column < encoder->block->columns; column++) {
    for (uint32_t digit = encoder->channel[column].depth; digit-- > 0;)
      split_column(encoder, column, n, out + digit * digit_bytes);
    out += encoder->channel[column].depth * digit_bytes;
  }
  return out;
}

/* By how much of its number before each column is predicted, from sums over the rows. False: by nothing that pays. */
static bool choose_shares(struct ladder_encoder *encoder, uint32_t n, float *square, int16_t *share)
{
  const struct kvi_codec_loops *loops = kvi_codec_loops();
  _Alignas(32) float product[KVI_BLOCK_COLUMNS] = {0};
  uint32_t columns = encoder->block->columns;
  float saved = 0;

  loops->sum_products((const int16_t(*)[KVI_BLOCK_COLUMNS])encoder->numbers, n, columns, square, product);
  for (uint32_t column = 0; column < columns; column++) {
    float part = square[column] > 0 ? product[column] / square[column] : 0;
    int eighths = part > 0 ? (int)(part * 8.0f + 0.5f) : 0;

    encoder->channel[column].share = (uint8_t)(eighths < 7 ? eighths : 7);
    share[column] = (int16_t)(encoder->channel[column].share << KVI_LADDER_SHARE_SHIFT);
    saved += part * part;
  }
  return saved > SHARE_LEAST_GAIN * (float)columns;
}

/* Predicts each number by the one before, where that pays, and chooses the classes for what is left. */
static void choose_classes(struct ladder_encoder *encoder, uint32_t n)
{
  const struct kvi_codec_loops *loops = kvi_codec_loops();
  _Alignas(32) float square[KVI_BLOCK_COLUMNS] = {0};
  _Alignas(32) int16_t share[KVI_BLOCK_COLUMNS] = {0};
  uint32_t columns = encoder->block->columns;

  if (choose_shares(encoder, n, square, share))
    loops->take_predictions(share, columns, n, encoder->numbers, square);
  else
    for (uint32_t column = 0; column < columns; column++)
      encoder->channel[column].share = 0;
  for (uint32_t column = 0; column < columns; column++) {
    encoder->channel[column].class_id = class_of(n > 0 ? square[column] / (float)n : 0);
    encoder->columns.classes[column] = encoder->channel[column].class_id;
  }
}

size_t kvi_ladder_encode(const struct kvi_block *block, uint32_t n_planes, uint32_t step,
                         const float *factors, const uint8_t *raw, size_t stride, void *scratch, uint8_t *out,
                         uint8_t *const *planes, uint32_t *kept_p)
{
  struct ladder_encoder encoder = {.block = block,
                                   .n_planes = n_planes,
                                   .step = step,
                                   .factors = factors,
                                   .raw = raw,
                                   .stride = stride,
                                   .planes = planes,
                                   .numbers = scratch};
  uint8_t *at;
  uint32_t n;

  *kept_p = 0;
  /* A block of nothing but sinks has no other rows to learn from. */
  if (block->rows == 0 || is_sink(block, block->rows - 1) || !quantise_block(&encoder, out, &n))
    return 0;
  /* The largest hide others behind them. */
  for (uint32_t attempt = 0; attempt < OUTLIER_ATTEMPTS && mark_outliers(&encoder); attempt++)
    if (!quantise_block(&encoder, out, &n))
      return 0;
  at = split_deep(&encoder, n, encoder.kept_end);
  choose_classes(&encoder, n);
  put_channels(&encoder, out + (size_t)kvi_block_units(block) * 2);
  at += kvi_rans_encode(&encoder.columns, encoder.numbers[0], n + n % 2, at,
                        (uint8_t *)encoder.numbers[n + FILL_ROWS]);
  *kept_p = encoder.kept;
  return (size_t)(at - out);
}
