/*
 * tiers/codec/loops_body.h: the loops over rows that compilers vectorise by themselves. loops_scalar.c and loops_avx2.c include it, each
 * compiled for its instruction set: the same C, and no operation in it whose result could depend on how it is compiled
 * (docs/formats/kvc1.md, "Ladder blocks", on the one product).
 */
#include <string.h>

#include "tiers/codec/element.h"
#include "tiers/codec/path.h"

static bool has_escape(const int16_t *row, uint32_t columns)
{
  uint32_t found = 0;

  for (uint32_t column = 0; column < columns; column++)
    found |= row[column] == KVI_RANS_ESCAPE;
  return found != 0;
}

/* byte / 3^j by multiplication, for bytes: 171 / 512, 57 / 512, 19 / 512 and 203 / 16384 are right for all 256. */
static void add_trits(int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *trits, uint32_t columns)
{
  for (uint32_t column = 0; column < columns; column++) {
    uint16_t b0 = trits[column];
    uint16_t b1 = (uint16_t)(b0 * 171 >> 9);
    uint16_t b2 = (uint16_t)(b1 * 171 >> 9);
    uint16_t b3 = (uint16_t)(b2 * 171 >> 9);
    uint16_t b4 = (uint16_t)(b3 * 171 >> 9);

    rows[0][column] = (int16_t)(3 * (rows[0][column] - b1) + b0 - 1);
    rows[1][column] = (int16_t)(3 * (rows[1][column] - b2) + b1 - 1);
    rows[2][column] = (int16_t)(3 * (rows[2][column] - b3) + b2 - 1);
    rows[3][column] = (int16_t)(3 * (rows[3][column] - b4) + b3 - 1);
    rows[4][column] = (int16_t)(3 * rows[4][column] + b4 - 1);
  }
}

static void reconstruct_bf16(const int16_t *row, int16_t factor, const int16_t *mean, const float *half,
                             uint32_t columns, uint8_t *out)
{
  uint16_t elements[KVI_BLOCK_COLUMNS];

  for (uint32_t column = 0; column < columns; column++) {
    int16_t v = (int16_t)(row[column] * factor + mean[column]);
    uint32_t bits = kvi_float_bits((float)v * half[column]);

    elements[column] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* below 2^124: never infinite */
  }
  memcpy(out, elements, columns * sizeof elements[0]);
}

static void reconstruct(enum kvi_codec_dtype dtype, const int16_t *row, int16_t factor, const int16_t *mean,
                        const float *half, uint32_t columns, uint8_t *out)
{
  size_t element = kvi_codec_element_size(dtype);

  if (dtype == KVI_CODEC_BF16) {
    reconstruct_bf16(row, factor, mean, half, columns, out);
    return;
  }
  for (uint32_t column = 0; column < columns; column++) {
    int16_t v = (int16_t)(row[column] * factor + mean[column]);

    kvi_codec_from_float(dtype, (float)v * half[column], out + column * element);
  }
}

static void join_bf16(const int16_t *row, const int16_t *reference, const uint8_t *low, uint32_t columns,
                      uint8_t *out)
{
  uint16_t elements[KVI_BLOCK_COLUMNS];

  for (uint32_t column = 0; column < columns; column++) {
    uint16_t exponent = (uint16_t)((row[column] + reference[column]) & 255);

    elements[column] = (uint16_t)((low[column] & 128) << 8 | exponent << 7 | (low[column] & 127));
  }
  memcpy(out, elements, columns * sizeof elements[0]);
}

static void to_float(enum kvi_codec_dtype dtype, const uint8_t *row, uint32_t columns, float *out)
{
  size_t element = kvi_codec_element_size(dtype);
  uint16_t elements[KVI_BLOCK_COLUMNS];

  if (dtype == KVI_CODEC_BF16) {
    memcpy(elements, row, columns * sizeof elements[0]);
    for (uint32_t column = 0; column < columns; column++)
      out[column] = kvi_bf16_to_float(elements[column]);
    return;
  }
  for (uint32_t column = 0; column < columns; column++)
    out[column] = kvi_codec_to_float(dtype, row + column * element);
}

static void add_sums(const float *row, const float *shift, uint32_t columns, float *sum, float *square)
{
  for (uint32_t column = 0; column < columns; column++) {
    float x = row[column] - shift[column];

    sum[column] += x;
    square[column] += x * x;
  }
}

static int16_t quantise(const float *row, const float *mean, const float *scale, uint32_t columns,
                        int16_t *out)
{
  int16_t largest = 0;

  for (uint32_t column = 0; column < columns; column++) {
    float x = (row[column] - mean[column]) * scale[column];
    int16_t magnitude;

    x = x > 16000.0f ? 16000.0f : x;
    x = x < -16000.0f ? -16000.0f : x;
    /* Added to 1.5 * 2^23 a float has its nearest integer in its lowest bits. */
    out[column] = (int16_t)(uint16_t)kvi_float_bits(x + 0x1.8p23f);
    magnitude = (int16_t)(out[column] < 0 ? -out[column] : out[column]);
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

static void split_digit(int16_t *row, uint32_t columns, uint8_t *digits)
{
  for (uint32_t column = 0; column < columns; column++) {
    int32_t x = row[column];
    int32_t third = (x * 21846 + 32768) >> 16; /* the nearest integer to x / 3, for |x| <= 16000 */

    digits[column] = (uint8_t)(x - 3 * third + 1);
    row[column] = (int16_t)third;
  }
}

static void pack_trits(const uint8_t *digits, uint32_t columns, uint8_t *out)
{
  for (uint32_t column = 0; column < columns; column++)
    out[column] =
        (uint8_t)(digits[column] + 3 * digits[KVI_BLOCK_COLUMNS + column] +
                  9 * digits[2 * KVI_BLOCK_COLUMNS + column] + 27 * digits[3 * KVI_BLOCK_COLUMNS + column] +
                  81 * digits[4 * KVI_BLOCK_COLUMNS + column]);
}
