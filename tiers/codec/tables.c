/* From a class's weights to slots, symbols and costs, by integers alone: every machine has the same tables. */
#include <string.h>

#include "tiers/codec/weights.h"

static _Alignas(64) uint32_t slots[KVI_CLASSES][KVI_RANS_SLOTS];
static _Alignas(64) uint32_t symbols[KVI_CLASSES][256];
static uint16_t costs[KVI_CLASSES][16];

const uint32_t *kvi_rans_slots = slots[0];
const uint32_t *kvi_rans_symbols = symbols[0];
const uint16_t (*kvi_rans_costs)[16] = (const uint16_t (*)[16])costs;

/* Steps 1 to 3 of the format's rule: the frequency of each pair. */
static void pair_frequencies(const uint16_t weights[16], uint32_t frequency[256])
{
  uint64_t covered = 0;
  uint32_t sum = 0;
  int likeliest = -7;

  memset(frequency, 0, 256 * sizeof frequency[0]);
  for (int a = -7; a <= 7; a++) {
    if (weights[a + 7] > weights[likeliest + 7])
      likeliest = a;
    for (int b = -7; b <= 7; b++) {
      uint32_t product = (uint32_t)weights[a + 7] * weights[b + 7];
      uint32_t f = (product + (1u << 19)) >> 20;

      if (f == 0)
        continue;
      frequency[((uint32_t)a & 15) | ((uint32_t)b & 15) << 4] = f;
      covered += product;
      sum += f;
    }
  }
  frequency[KVI_RANS_ESCAPE_PAIR] = (uint32_t)(((1u << 30) - covered + (1u << 19)) >> 20);
  if (frequency[KVI_RANS_ESCAPE_PAIR] == 0)
    frequency[KVI_RANS_ESCAPE_PAIR] = 1;
  sum += frequency[KVI_RANS_ESCAPE_PAIR];
  frequency[((uint32_t)likeliest & 15) * 17] +=
      KVI_RANS_SLOTS - sum; /* modulo 2^32: also when the sum is too large */
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

void kvi_rans_make_tables(void)
{
  for (uint32_t class_id = 0; class_id < KVI_CLASSES; class_id++) {
    uint32_t frequency[256] = {[0] = KVI_RANS_SLOTS};

    if (class_id != 0 && class_id != KVI_CLASSES_LADDER_COUNT)
      pair_frequencies(kvi_class_weights[class_id], frequency);
    fill_class(class_id, frequency);
    for (int number = -7; number <= 7; number++)
      costs[class_id][number & 15] = cost_of(kvi_class_weights[class_id][number + 7]);
    /* An escape takes its pair with it: the symbol, two bytes, and what the other would have cost less. */
    costs[class_id][8] = (uint16_t)(cost_of(kvi_class_weights[class_id][15]) + 13 * 256);
  }
}
