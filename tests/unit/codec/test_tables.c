/*
 * The tables of the classes, which are part of the format: what the page says of them, and one checksum of them all, since no object of an
 * earlier day decodes if a single number of them changes.
 */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "layer_sample.h"
#include "tiers/codec/path.h"
#include "tiers/codec/weights.h"

#define ESCAPE 0x88u

static bool is_none(uint32_t class_id)
{
  return class_id == 0 || class_id == KVI_CLASSES_LADDER_COUNT;
}

static int setup(void **state)
{
  (void)state;
  kvi_codec_init();
  return 0;
}

static void weights_sum_up(void **state)
{
  (void)state;
  for (uint32_t class_id = 0; class_id < KVI_CLASSES; class_id++) {
    uint32_t sum = 0;

    for (int i = 0; i < 16; i++)
      sum += kvi_class_weights[class_id][i];
    assert_int_equal(sum, is_none(class_id) ? 0 : 1u << 15);
  }
}

/* Frequencies of a class are those of the rule, sum up to the slots, and slots and symbols tell the same. */
static void slots_and_symbols_agree(void **state)
{
  (void)state;
  for (uint32_t class_id = 0; class_id < KVI_CLASSES; class_id++) {
    const uint32_t *slots = kvi_rans_slots + class_id * KVI_RANS_SLOTS;
    uint32_t start = 0;

    for (uint32_t symbol = 0; symbol < 256; symbol++) {
      uint32_t entry = kvi_rans_symbols[class_id * 256 + symbol], frequency = entry >> 16;

      if (frequency == 0)
        continue;
      assert_int_equal(entry & 0xffff, start);
      for (uint32_t i = 0; i < frequency; i++)
        assert_int_equal(slots[start + i], symbol | frequency << 8 | i << 20);
      start += frequency;
    }
    assert_int_equal(start, KVI_RANS_SLOTS);
  }
}

static void none_has_one_symbol(void **state)
{
  (void)state;
  for (uint32_t set = 0; set < 2; set++) {
    const uint32_t *symbols = kvi_rans_symbols + set * KVI_CLASSES_LADDER_COUNT * 256;

    assert_int_equal(symbols[0], KVI_RANS_SLOTS << 16);
    for (uint32_t symbol = 1; symbol < 256; symbol++)
      assert_int_equal(symbols[symbol] >> 16, 0);
  }
}

/* A product's share of so many slots, rounded, and at least one. */
static int64_t share_of(int64_t product, int64_t scale)
{
  int64_t share = (product * scale + (1 << 29)) >> 30;

  return share > 1 ? share : 1;
}

/* Slots that are given away by a scale; those of the escape too. */
static int64_t sum_by(const uint16_t *weights, int64_t scale)
{
  int64_t covered = 0, sum = 0;

  for (int a = -7; a <= 7; a++)
    for (int b = -7; b <= 7; b++) {
      int64_t product = (int64_t)weights[a + 7] * weights[b + 7];

      covered += product >= 1 << 17 ? product : 0;
      sum += product >= 1 << 17 ? share_of(product, scale) : 0;
    }
  return sum + share_of((1 << 30) - covered, scale);
}

/* The page's rule, written once more. */
static uint32_t frequency_by_the_rule(const uint16_t *weights, int a, int b)
{
  int64_t product = (int64_t)weights[a + 7] * weights[b + 7], scale = KVI_RANS_SLOTS, frequency;
  int likeliest = -7;

  if (product < 1 << 17)
    return 0;
  while (sum_by(weights, scale) > KVI_RANS_SLOTS)
    scale--;
  for (int m = -6; m <= 7; m++)
    if (weights[m + 7] > weights[likeliest + 7])
      likeliest = m;
  frequency = share_of(product, scale);
  if (a == likeliest && b == likeliest)
    frequency += KVI_RANS_SLOTS - sum_by(weights, scale);
  return (uint32_t)frequency;
}

/* Every pair of numbers either has a symbol or is an escape, and an escape there is in every class. */
static void every_pair_codes_or_escapes(void **state)
{
  (void)state;
  for (uint32_t class_id = 1; class_id < KVI_CLASSES; class_id++) {
    if (is_none(class_id))
      continue;
    assert_true(kvi_rans_symbols[class_id * 256 + ESCAPE] >> 16 > 0);
    for (int16_t a = -9; a <= 9; a++)
      for (int16_t b = -9; b <= 9; b++) {
        bool codes = a >= -7 && a <= 7 && b >= -7 && b <= 7;
        uint32_t symbol = ((uint32_t)a & 15) | ((uint32_t)b & 15) << 4;
        uint32_t frequency = codes ? frequency_by_the_rule(kvi_class_weights[class_id], a, b) : 0;

        if (codes)
          assert_int_equal(kvi_rans_symbols[class_id * 256 + symbol] >> 16, frequency);
        assert_int_equal(kvi_rans_symbol(class_id, a, b), frequency > 0 ? symbol : ESCAPE);
      }
  }
}

/* What is likelier costs no more; no number costs nothing but the one that is nearly sure. */
static void costs_fall_with_weights(void **state)
{
  (void)state;
  for (uint32_t class_id = 1; class_id < KVI_CLASSES; class_id++) {
    const uint16_t *weights = kvi_class_weights[class_id];

    if (is_none(class_id))
      continue;
    for (int a = -7; a <= 7; a++) {
      uint16_t cost = kvi_rans_costs[class_id][a & 15];

      /* 256 bits' fractions: the weight's logarithm within one of them. */
      if (weights[a + 7] > 0) {
        uint32_t bits = 0;

        while ((uint32_t)weights[a + 7] << bits < 32768)
          bits++;
        assert_in_range(cost + 256, bits * 256 - 1, bits * 256 + 256);
      }
      for (int b = -7; b <= 7; b++)
        if (weights[a + 7] > weights[b + 7])
          assert_true(cost <= kvi_rans_costs[class_id][b & 15]);
    }
    assert_true(kvi_rans_costs[class_id][8] >= 13 * 256);
  }
}

static void the_tables_are_those_of_version_2(void **state)
{
  uint32_t crc = 0;

  (void)state;
  /* In the order of the bytes of the page, on any machine. */
  for (uint32_t i = 0; i < KVI_CLASSES * KVI_RANS_SLOTS; i++) {
    uint8_t bytes[4];

    kvi_store_le32(bytes, kvi_rans_slots[i]);
    crc = kvi_crc32c_update(crc, bytes, sizeof bytes);
  }
  assert_int_equal(crc, 0xa886355au);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_sum_up),          cmocka_unit_test(slots_and_symbols_agree),
      cmocka_unit_test(none_has_one_symbol),     cmocka_unit_test(every_pair_codes_or_escapes),
      cmocka_unit_test(costs_fall_with_weights), cmocka_unit_test(the_tables_are_those_of_version_2),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
