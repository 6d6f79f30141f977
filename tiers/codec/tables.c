/* From a class's weights to slots, symbols and costs, by integers alone: every machine has the same tables. */
#include <string.h>

#include "tiers/codec/weights.h"

static _Alignas(64) uint32_t slots[KVI_CLASSES][KVI_RANS_SLOTS];
static _Alignas(64) uint32_t symbols[KVI_CLASSES][256];
static uint16_t costs[KVI_CLASSES][16];
static _Alignas(64) int16_t pair_costs[8][KVI_CLASSES_LOSSLESS_COUNT][2];

const uint32_t *kvi_rans_slots = slots[0];
const uint32_t *kvi_rans_symbols = symbols[0];
const uint16_t (*kvi_rans_costs)[16] = (const uint16_t (*)[16])costs;
float kvi_rans_squares[KVI_CLASSES];
const int16_t (*kvi_rans_pair_costs)[KVI_CLASSES_LOSSLESS_COUNT][2] =
    (const int16_t (*)[KVI_CLASSES_LOSSLESS_COUNT][2])pair_costs;

/* A pair that fills an eighth of a slot has one: what the others lose by it is less than what an escape costs. */
#define PRODUCT_BITS  30
#define LEAST_PRODUCT (1u << (PRODUCT_BITS - KVI_RANS_SLOT_BITS - 3))

/* Which pairs have a symbol, as the product of their weights, 2^30 in all; the escape's is what is left. Returns the likeliest number. */
static int pair_products(const uint16_t weights[16], uint32_t product[256])
{
  uint32_t covered = 0;
  int likeliest = -7;

  memset(product, 0, 256 * sizeof product[0]);
  for (int a = -7; a <= 7; a++) {
    if (weights[a + 7] > weights[likeliest + 7])
      likeliest = a;
    for (int b = -7; b <= 7; b++) {
      uint32_t both = (uint32_t)weights[a + 7] * weights[b + 7];

      if (both < LEAST_PRODUCT)
        continue;
      product[((uint32_t)a & 15) | ((uint32_t)b & 15) << 4] = both;
      covered += both;
    }
  }
  product[KVI_RANS_ESCAPE_PAIR] = (1u << PRODUCT_BITS) - covered;
  return likeliest;
}

/* The slots of all pairs by a scale: each its share of so many, rounded, and at least one. Returns their sum. */
static uint32_t share_slots(const uint32_t product[256], uint32_t scale, uint32_t frequency[256])
{
  uint32_t sum = 0;

  for (uint32_t symbol = 0; symbol < 256; symbol++) {
    uint32_t share =
        (uint32_t)(((uint64_t)product[symbol] * scale + (1u << (PRODUCT_BITS - 1))) >> PRODUCT_BITS);

    frequency[symbol] = share == 0 && (product[symbol] > 0 || symbol == KVI_RANS_ESCAPE_PAIR) ? 1 : share;
    sum += frequency[symbol];
  }
  return sum;
}

/* Steps 1 to 3 of the format's rule: the frequency of each pair. */
static void pair_frequencies(const uint16_t weights[16], uint32_t frequency[256])
{
  uint32_t product[256], scale = 0;
  int likeliest = pair_products(weights, product);

  /* The largest scale whose sum fits, among those that the format has: the sum grows with the scale. */
  for (uint32_t bit = KVI_RANS_SLOTS; bit > 0; bit >>= 1)
    if (scale + bit <= KVI_RANS_SLOTS && share_slots(product, scale + bit, frequency) <= KVI_RANS_SLOTS)
      scale += bit;
  frequency[((uint32_t)likeliest & 15) * 17] += KVI_RANS_SLOTS - share_slots(product, scale, frequency);
}

/* The mean square of a class's numbers, an escape taken as the next one. */
static float square_of(const uint16_t weights[16])
{
  uint32_t sum = (uint32_t)weights[15] * 64;

  for (int number = -7; number <= 7; number++)
    sum += (uint32_t)(number * number) * weights[number + 7];
  return (float)sum / 32768.0f;
}

/* Step 4: slots in the order of the symbols. */
static void fill_class(uint32_t class_id, const uint32_t frequency[256])
{
  uint32_t start = 0;

  for (uint32_t symbol = 0; symbol < 256; symbol++) {
    symbols[class_id][symbol] = start | frequency[symbol] << 16;
    for (uint32_t i = 0; i < frequency[symbol]; i++)
      slots[class_id][start + i] = symbol | frequency[symbol] << 8 | i << 20;
    start += frequency[symbol];
  }
}

/* 256 * -log2(weight / 2^15), by squaring: no libm, so that encoders choose alike everywhere. */
static uint16_t cost_of(uint32_t weight)
{
  uint32_t bits = 0;
  uint64_t x;

  if (weight == 0)
    weight = 1;
  x = (uint64_t)weight << 16; /* 2^31 is one */
  while (x < (1u << 31)) {
    x <<= 1;
    bits++;
  }
  bits <<= 8;
  for (uint32_t step = 128; step > 0; step >>= 1) {
    x = x * x >> 31;
    if (x >= (1ull << 32)) {
      x >>= 1;
      bits -= step;
    }
  }
  return (uint16_t)bits;
}

/* A lossless class's costs, by the numbers from 7 down; -8 is the escape. */
static void fill_pair_costs(uint32_t class_id)
{
  for (uint32_t i = 0; i < 16; i++)
    pair_costs[i / 2][class_id][i % 2] =
        class_id == 0 ? INT16_MAX : (int16_t)costs[KVI_CLASSES_LADDER_COUNT + class_id][(7 - i) & 15];
}

void kvi_rans_make_tables(void)
{
  for (uint32_t class_id = 0; class_id < KVI_CLASSES; class_id++) {
    uint32_t frequency[256] = {[0] = KVI_RANS_SLOTS};

    if (class_id != 0 && class_id != KVI_CLASSES_LADDER_COUNT)
      pair_frequencies(kvi_class_weights[class_id], frequency);
    fill_class(class_id, frequency);
    kvi_rans_squares[class_id] = square_of(kvi_class_weights[class_id]);
    for (int number = -7; number <= 7; number++)
      costs[class_id][number & 15] = cost_of(kvi_class_weights[class_id][number + 7]);
    /* An escape takes its pair with it: the symbol, two bytes, and what the other would have cost less. */
    costs[class_id][8] = (uint16_t)(cost_of(kvi_class_weights[class_id][15]) + 13 * 256);
  }
  for (uint32_t class_id = 0; class_id < KVI_CLASSES_LOSSLESS_COUNT; class_id++)
    fill_pair_costs(class_id);
}
