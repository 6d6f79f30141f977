/* Every pattern of every dtype against arithmetic in double, and rounding against a search for the nearest pattern. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tiers/codec/element.h"

struct type {
  enum kvi_codec_dtype dtype;
  unsigned bits, fraction;
  int bias;
  unsigned largest; /* pattern of the largest finite number */
};

static const struct type types[] = {
    {KVI_CODEC_BF16, 16, 7, 127, 0x7f7f},
    {KVI_CODEC_FP16, 16, 10, 15, 0x7bff},
    {KVI_CODEC_E4M3, 8, 3, 7, 0x7e},
    {KVI_CODEC_E5M2, 8, 2, 15, 0x7b},
};
#define N_TYPES (sizeof types / sizeof types[0])

/* What a pattern means, from the definition alone. */
static double meaning(const struct type *type, unsigned pattern)
{
  unsigned sign_bit = 1u << (type->bits - 1), magnitude = pattern & (sign_bit - 1);
  unsigned fraction = magnitude & ((1u << type->fraction) - 1);
  int exponent = (int)(magnitude >> type->fraction);
  double value = exponent == 0 ? ldexp((double)fraction, 1 - type->bias - (int)type->fraction)
                               : ldexp((double)(fraction + (1u << type->fraction)),
                                       exponent - type->bias - (int)type->fraction);
  return pattern & sign_bit ? -value : value;
}

static float to_float(const struct type *type, unsigned pattern)
{
  uint16_t two = (uint16_t)pattern;
  uint8_t one = (uint8_t)pattern;
  return kvi_codec_to_float(type->dtype, type->bits == 16 ? (const void *)&two : &one);
}

static unsigned from_float(const struct type *type, float value)
{
  uint16_t two = 0;
  uint8_t one = 0;
  kvi_codec_from_float(type->dtype, value, type->bits == 16 ? (void *)&two : &one);
  return type->bits == 16 ? two : one;
}

static void every_pattern_has_its_value_and_comes_back(void **state)
{
  (void)state;
  for (size_t t = 0; t < N_TYPES; t++) {
    const struct type *type = &types[t];
    for (unsigned pattern = 0; pattern < 1u << type->bits; pattern++) {
      unsigned magnitude = pattern & ((1u << (type->bits - 1)) - 1);
      float value = to_float(type, pattern);
      if (magnitude <= type->largest) {
        assert_true((double)value == meaning(type, pattern));
        assert_int_equal(signbit(value) != 0, pattern >> (type->bits - 1));
        assert_true(kvi_float_is_finite(value));
        assert_int_equal(from_float(type, value), pattern);
      } else if (type->dtype != KVI_CODEC_E4M3 && magnitude == type->largest + 1) {
        assert_true(isinf(value));
        assert_false(kvi_float_is_finite(value));
        assert_int_equal(from_float(type, value), pattern - 1);
      } else {
        assert_true(isnan(value));
        assert_false(kvi_float_is_finite(value));
        assert_true(isnan(to_float(type, from_float(type, value))));
      }
    }
  }
}

/* The pattern whose number is nearest to a finite value, of two as near the even one. Magnitudes rise with their patterns. */
static unsigned nearest(const struct type *type, float value)
{
  double magnitude = fabs((double)value);
  unsigned low = 0, high = type->largest;
  while (low < high) {
    unsigned middle = (low + high + 1) / 2;
    if (meaning(type, middle) <= magnitude) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  if (low < type->largest) {
    double below = magnitude - meaning(type, low), above = meaning(type, low + 1) - magnitude;
    low += above < below || (above == below && (low & 1u) != 0);
  }
  return low | (signbit(value) ? 1u << (type->bits - 1) : 0);
}

static void middles_between_patterns_go_to_the_even_one(void **state)
{
  (void)state;
  for (size_t t = 0; t < N_TYPES; t++) {
    const struct type *type = &types[t];
    for (unsigned pattern = 0; pattern < type->largest; pattern++) {
      float middle = (float)((meaning(type, pattern) + meaning(type, pattern + 1)) / 2);
      unsigned sign = 1u << (type->bits - 1);
      assert_int_equal(from_float(type, middle), pattern + (pattern & 1u));
      assert_int_equal(from_float(type, -middle), (pattern + (pattern & 1u)) | sign);
      assert_int_equal(from_float(type, nextafterf(middle, 0)), pattern);
      assert_int_equal(from_float(type, nextafterf(middle, INFINITY)), pattern + 1);
    }
  }
}

static void any_float_goes_to_the_nearest(void **state)
{
  (void)state;
  uint32_t bits = 1;
  for (unsigned i = 0; i < 300000; i++) {
    bits = bits * 1664525u + 1013904223u;
    /* All exponents, and those about one more often. */
    uint32_t use = i & 1u ? bits : (bits & 0x83ffffffu) + 0x3e000000u;
    float value = kvi_float_from_bits(use);
    for (size_t t = 0; t < N_TYPES && kvi_float_is_finite(value); t++) {
      assert_int_equal(from_float(&types[t], value), nearest(&types[t], value));
    }
  }
}

static void int8_rounds_to_even_and_clamps(void **state)
{
  (void)state;
  for (int i = -128; i <= 127; i++) {
    int8_t element = (int8_t)i;
    assert_true(kvi_codec_to_float(KVI_CODEC_INT8, &element) == (float)i);
    assert_int_equal(kvi_float_to_int8((float)i), i);
  }
  for (int i = -4000; i <= 4000; i++) {
    float value = (float)i / 16.0f;
    double rounded = nearbyint((double)value);
    double expected = rounded < -128 ? -128 : rounded > 127 ? 127 : rounded;
    assert_int_equal(kvi_float_to_int8(value), (int)expected);
  }
  assert_int_equal(kvi_float_to_int8(INFINITY), 127);
  assert_int_equal(kvi_float_to_int8(-INFINITY), -128);
  assert_int_equal(kvi_float_to_int8(1e30f), 127);
  assert_int_equal(kvi_float_to_int8(NAN), -128);
  assert_int_equal(kvi_float_to_int8(0x1p-149f), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_pattern_has_its_value_and_comes_back),
      cmocka_unit_test(middles_between_patterns_go_to_the_even_one),
      cmocka_unit_test(any_float_goes_to_the_nearest),
      cmocka_unit_test(int8_rounds_to_even_and_clamps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
