/* tests/bench/codec/number.h: bf16 and fp16 as numbers. Pure; any thread. */
#ifndef KVASIR_BENCH_CODEC_NUMBER_H
#define KVASIR_BENCH_CODEC_NUMBER_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float codec_from_bf16(uint16_t bits)
{
  uint32_t wide = (uint32_t)bits << 16;
  float x;

  memcpy(&x, &wide, sizeof x);
  return x;
}

/* To nearest, ties to even. For finite numbers. */
static inline uint16_t codec_to_bf16(float x)
{
  uint32_t wide;

  memcpy(&wide, &x, sizeof wide);
  return (uint16_t)((wide + 0x7FFFu + (wide >> 16 & 1u)) >> 16);
}

/* The nearest number that fp16 has; beyond its range the largest. */
static inline float codec_round_fp16(float x)
{
  int exponent;
  float step, rounded;

  frexpf(x, &exponent);
  step = ldexpf(1.0f, (exponent > -13 ? exponent : -13) - 11);
  rounded = rintf(x / step) * step;
  return fminf(fmaxf(rounded, -65504.0f), 65504.0f);
}

#endif
