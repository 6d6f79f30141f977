/*
 * tiers/codec/element.h: one element of a tensor to a float and back, for every dtype of codec.h.
 *
 * To float is exact. From float rounds to nearest, ties to even, and clamps to the largest finite number of the type (infinity too);
 * a NaN stays one, but for int8, which has none: -128. e4m3 is OCP's E4M3FN: no infinity, 0x7f and 0xff are NaN, the largest is 448.
 * Integer operations, and float operations of one exact or one rounded result: every machine gives the same bits, with fused
 * multiplication or without, as long as floats round to nearest and subnormals are kept (the defaults).
 *
 * Any thread; no state.
 */
#ifndef KVI_CODEC_ELEMENT_H
#define KVI_CODEC_ELEMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tiers/codec/codec.h"

static inline uint32_t kvi_float_bits(float value)
{
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float kvi_float_from_bits(uint32_t bits)
{
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline bool kvi_float_is_finite(float value)
{
  return (kvi_float_bits(value) & 0x7f800000u) != 0x7f800000u;
}

static inline float kvi_bf16_to_float(uint16_t element)
{
  return kvi_float_from_bits((uint32_t)element << 16);
}

static inline uint16_t kvi_float_to_bf16(float value)
{
  uint32_t bits = kvi_float_bits(value), magnitude = bits & 0x7fffffffu;
  uint32_t sign = (bits >> 16) & 0x8000u;
  if (magnitude > 0x7f800000u) {
    return (uint16_t)(sign | 0x7fc0u);
  }
  uint32_t rounded = (magnitude + 0x7fffu + (magnitude >> 16 & 1u)) >> 16;
  return (uint16_t)(sign | (rounded < 0x7f7fu ? rounded : 0x7f7fu));
}

static inline float kvi_fp16_to_float(uint16_t element)
{
  uint32_t sign = (uint32_t)(element & 0x8000u) << 16;
  uint32_t exponent = element >> 10 & 31u, fraction = element & 1023u;
  if (exponent == 0) {
    return kvi_float_from_bits(sign | kvi_float_bits((float)fraction * 0x1p-24f));
  }
  return kvi_float_from_bits(sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | fraction << 13);
}

static inline float kvi_e5m2_to_float(uint8_t element)
{
  return kvi_fp16_to_float((uint16_t)(element << 8));
}

static inline float kvi_e4m3_to_float(uint8_t element)
{
  uint32_t sign = (uint32_t)(element & 0x80u) << 24;
  uint32_t exponent = element >> 3 & 15u, fraction = element & 7u;
  if (exponent == 0) {
    return kvi_float_from_bits(sign | kvi_float_bits((float)fraction * 0x1p-9f));
  }
  if ((element & 0x7fu) == 0x7fu) {
    return kvi_float_from_bits(sign | 0x7fc00000u);
  }
  return kvi_float_from_bits(sign | (exponent + 120u) << 23 | fraction << 20);
}

/*
 * A magnitude (a float's bits without the sign, not NaN) as a small float of so many fraction bits and this exponent bias,
 * rounded and not above max, also given in the small float's bits.
 */
static inline uint32_t kvi_float_to_small(uint32_t magnitude, uint32_t fraction_bits, uint32_t bias,
                                          uint32_t max)
{
  uint32_t drop = 23u - fraction_bits, exponent = magnitude >> 23, lowest_normal = 128u - bias;
  uint32_t small;
  if (exponent >= lowest_normal) {
    small = (magnitude + (1u << (drop - 1)) - 1u + (magnitude >> drop & 1u)) >> drop;
    small -= (127u - bias) << fraction_bits;
  } else {
    uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
    drop += lowest_normal - exponent;
    /* Below a half of the smallest subnormal all is zero; a float's own subnormals are far below. */
    small = drop > 24u ? 0 : (significand + (1u << (drop - 1)) - 1u + (significand >> drop & 1u)) >> drop;
  }
  return small < max ? small : max;
}

static inline uint16_t kvi_float_to_fp16(float value)
{
  uint32_t bits = kvi_float_bits(value), magnitude = bits & 0x7fffffffu;
  uint32_t sign = bits >> 16 & 0x8000u;
  return (uint16_t)(sign |
                    (magnitude > 0x7f800000u ? 0x7e00u : kvi_float_to_small(magnitude, 10, 15, 0x7bffu)));
}

static inline uint8_t kvi_float_to_e4m3(float value)
{
  uint32_t bits = kvi_float_bits(value), magnitude = bits & 0x7fffffffu;
  uint32_t sign = bits >> 24 & 0x80u;
  return (uint8_t)(sign | (magnitude > 0x7f800000u ? 0x7fu : kvi_float_to_small(magnitude, 3, 7, 0x7eu)));
}

static inline uint8_t kvi_float_to_e5m2(float value)
{
  uint32_t bits = kvi_float_bits(value), magnitude = bits & 0x7fffffffu;
  uint32_t sign = bits >> 24 & 0x80u;
  return (uint8_t)(sign | (magnitude > 0x7f800000u ? 0x7eu : kvi_float_to_small(magnitude, 2, 15, 0x7bu)));
}

static inline float kvi_int8_to_float(int8_t element)
{
  return (float)element;
}

static inline int8_t kvi_float_to_int8(float value)
{
  float clamped = value > -128.0f ? value : -128.0f;
  clamped = clamped < 127.0f ? clamped : 127.0f;
  /* In a float of 2^23 and above the lowest bit counts ones: the addition rounds. */
  uint32_t bits = kvi_float_bits(clamped + 0x1.8p23f);
  return (int8_t)((int32_t)bits - 0x4b400000);
}

/* An element of any dtype, of which there are kvi_codec_element_size bytes, at any alignment. BYTES is taken as 0. */
static inline float kvi_codec_to_float(enum kvi_codec_dtype dtype, const void *element)
{
  uint16_t two = 0;
  uint8_t one = 0;
  if (dtype == KVI_CODEC_BF16 || dtype == KVI_CODEC_FP16) {
    memcpy(&two, element, sizeof two);
  } else {
    memcpy(&one, element, sizeof one);
  }
  switch (dtype) {
  case KVI_CODEC_BF16:
    return kvi_bf16_to_float(two);
  case KVI_CODEC_FP16:
    return kvi_fp16_to_float(two);
  case KVI_CODEC_E4M3:
    return kvi_e4m3_to_float(one);
  case KVI_CODEC_E5M2:
    return kvi_e5m2_to_float(one);
  case KVI_CODEC_INT8:
    return kvi_int8_to_float((int8_t)one);
  case KVI_CODEC_BYTES:
    break;
  }
  return 0.0f;
}

static inline void kvi_codec_from_float(enum kvi_codec_dtype dtype, float value, void *element)
{
  uint16_t two = 0;
  uint8_t one = 0;
  switch (dtype) {
  case KVI_CODEC_BF16:
    two = kvi_float_to_bf16(value);
    break;
  case KVI_CODEC_FP16:
    two = kvi_float_to_fp16(value);
    break;
  case KVI_CODEC_E4M3:
    one = kvi_float_to_e4m3(value);
    break;
  case KVI_CODEC_E5M2:
    one = kvi_float_to_e5m2(value);
    break;
  case KVI_CODEC_INT8:
    one = (uint8_t)kvi_float_to_int8(value);
    break;
  case KVI_CODEC_BYTES:
    break;
  }
  if (dtype == KVI_CODEC_BF16 || dtype == KVI_CODEC_FP16) {
    memcpy(element, &two, sizeof two);
  } else {
    memcpy(element, &one, sizeof one);
  }
}

#endif
