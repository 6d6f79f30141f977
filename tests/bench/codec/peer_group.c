/* Quantisation at a fixed rate: in groups of 32 as KIVI does it, and ggml's Q8_0. */
#include <math.h>

#include "tests/bench/codec/method.h"
#include "tests/bench/codec/number.h"

#define GROUP 32u

/* n elements that lie `stride` apart, with a least value and a step in fp16. */
static void quantise(const uint16_t *from, uint16_t *to, uint32_t n, size_t stride, uint32_t bits)
{
  float least = codec_from_bf16(from[0]);
  float most = least;
  float top = (float)((1u << bits) - 1);
  float step;

  for (uint32_t i = 1; i < n; i++) {
    least = fminf(least, codec_from_bf16(from[i * stride]));
    most = fmaxf(most, codec_from_bf16(from[i * stride]));
  }
  least = codec_round_fp16(least);
  step = codec_round_fp16((most - least) / top);
  for (uint32_t i = 0; i < n; i++) {
    float x = codec_from_bf16(from[i * stride]);
    float q = step > 0 ? fminf(fmaxf(rintf((x - least) / step), 0), top) : 0;

    to[i * stride] = codec_to_bf16(least + q * step);
  }
}

static uint32_t at_most(uint32_t n)
{
  return n < GROUP ? n : GROUP;
}

/* Groups of tokens of one channel. Returns how many. */
static size_t along_tokens(const struct codec_set *set, const uint16_t *from, uint16_t *to, uint32_t bits)
{
  size_t columns = codec_set_columns(set);
  size_t groups = 0;

  for (uint32_t t = 0; t < set->n_tokens; t += GROUP)
    for (size_t c = 0; c < columns; c++, groups++)
      quantise(from + t * columns + c, to + t * columns + c, at_most(set->n_tokens - t), columns, bits);
  return groups;
}

/* Groups of channels of one token's head. */
static size_t along_channels(const struct codec_set *set, const uint16_t *from, uint16_t *to, uint32_t bits)
{
  size_t groups = 0;

  for (size_t row = 0; row < (size_t)set->n_tokens * set->n_heads; row++)
    for (uint32_t c = 0; c < set->dim; c += GROUP, groups++)
      quantise(from + row * set->dim + c, to + row * set->dim + c, at_most(set->dim - c), 1, bits);
  return groups;
}

kvs_status codec_group(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                       uint16_t *decoded, struct codec_size *size_p)
{
  const uint16_t *raw = codec_set_raw(set, chunk);
  size_t plane = codec_set_plane(set);
  size_t groups = 0;

  for (uint32_t i = 0; i < 2 * set->n_layers; i += 2) {
    groups += along_tokens(set, raw + i * plane, decoded + i * plane, method->a);
    groups += along_channels(set, raw + (i + 1) * plane, decoded + (i + 1) * plane, method->a);
  }
  size_p->payload = (double)codec_set_chunk(set) * method->a;
  size_p->bits = size_p->payload + 32.0 * (double)groups;
  return KVS_OK;
}

kvs_status codec_q8_0(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                      uint16_t *decoded, struct codec_size *size_p)
{
  const uint16_t *raw = codec_set_raw(set, chunk);
  size_t n = codec_set_chunk(set);
  size_t blocks = 0;

  (void)method;
  for (size_t at = 0; at < n; at += GROUP, blocks++) {
    float most = 0;
    float step;

    for (size_t i = at; i < at + GROUP && i < n; i++)
      most = fmaxf(most, fabsf(codec_from_bf16(raw[i])));
    step = codec_round_fp16(most / 127.0f);
    for (size_t i = at; i < at + GROUP && i < n; i++)
      decoded[i] =
          codec_to_bf16(step > 0 ? fminf(fmaxf(rintf(codec_from_bf16(raw[i]) / step), -127), 127) * step : 0);
  }
  size_p->payload = 8.0 * (double)n;
  size_p->bits = size_p->payload + 16.0 * (double)blocks;
  return KVS_OK;
}
