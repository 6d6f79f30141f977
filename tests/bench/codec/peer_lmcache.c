/*
 * LMCache's CacheGen as its code does it (lmcache/storage_backend/serde/cachegen_encoder.py and the CUDA coder below it):
 *
 *   - per layer, keys or values, and token one scale, the largest |x| of all heads and channels, kept in bf16; a symbol is
 *     round(x * (bins / 2 - 1) / scale), so that bins - 1 of them are used;
 *   - bins by layer: keys of the first 10 layers and values of the first 2 are fine, the others coarse;
 *   - per layer and channel an arithmetic coder of its own with the histogram of this very chunk, normalised to 16 bits, and shipped: bins + 1
 *     numbers of 16 bits, as many for a coarse layer as for a fine one; and the stream's length in 32 bits.
 *
 * Counted are the ideal length of the symbols under that histogram, the tables, lengths and scales. What Python's pickle
 * adds, and rounding streams to bytes, is left out: kind to it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/codec/method.h"
#include "tests/bench/codec/number.h"

#define BINS_MAX          512u
#define FINE_KEY_LAYERS   10u
#define FINE_VALUE_LAYERS 2u

static float largest(const uint16_t *row, size_t columns)
{
  float most = 0;

  for (size_t c = 0; c < columns; c++)
    most = fmaxf(most, fabsf(codec_from_bf16(row[c])));
  return most;
}

/* Symbols of a plane to *symbols, from 0 to bins - 2, and what they decode to. */
static void quantise(const struct codec_set *set, const uint16_t *plane, uint32_t bins, uint16_t *symbols,
                     uint16_t *decoded)
{
  size_t columns = codec_set_columns(set);
  uint32_t levels = bins / 2 - 1; /* on each side of 0 */
  float half = (float)levels;

  for (uint32_t t = 0; t < set->n_tokens; t++) {
    float scale = largest(plane + t * columns, columns);

    for (size_t c = 0; c < columns; c++) {
      size_t i = t * columns + c;
      float q = scale > 0 ? rintf(codec_from_bf16(plane[i]) * (half / scale)) : 0;

      symbols[i] = (uint16_t)(int)(q + half);
      decoded[i] = codec_to_bf16(scale > 0 ? q * (scale / half) : 0);
    }
  }
}

/* Bits of one channel's symbols under its own histogram, made as the original makes it: each symbol has at least 1 of 65536. */
static double channel_bits(const uint16_t *symbols, size_t stride, uint32_t n_tokens, uint32_t entries)
{
  uint32_t count[BINS_MAX] = {0};
  double most = 65536.0 - entries;
  double before = 0;
  double bits = 0;
  uint32_t seen = 0;

  for (uint32_t t = 0; t < n_tokens; t++)
    count[symbols[t * stride]]++;
  for (uint32_t s = 0; s < entries; s++) {
    double after;

    seen += count[s];
    after = rint(most * seen / n_tokens);
    if (count[s] > 0)
      bits += count[s] * (16.0 - log2(after - before + 1.0));
    before = after;
  }
  return bits;
}

static double plane_bits(const struct codec_set *set, const uint16_t *symbols, uint32_t entries)
{
  size_t columns = codec_set_columns(set);
  double bits = 0;

  for (size_t c = 0; c < columns; c++)
    bits += channel_bits(symbols + c, columns, set->n_tokens, entries);
  return bits;
}

kvs_status codec_lmcache(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                         uint16_t *decoded, struct codec_size *size_p)
{
  size_t plane = codec_set_plane(set);
  uint16_t *symbols = malloc(plane * sizeof *symbols);
  uint32_t entries = method->a > method->b ? method->a : method->b;

  size_p->bits = 0;
  size_p->payload = 0;
  if (symbols == NULL)
    return KVS_ERR_NOMEM;
  if (entries > BINS_MAX || method->a < 4 || method->b < 4) {
    free(symbols);
    return KVS_ERR_INVALID;
  }
  for (uint32_t i = 0; i < 2 * set->n_layers; i++) {
    bool fine = i / 2 < (i % 2 == 0 ? FINE_KEY_LAYERS : FINE_VALUE_LAYERS);
    const uint16_t *from = codec_set_raw(set, chunk) + i * plane;

    quantise(set, from, fine ? method->a : method->b, symbols, decoded + i * plane);
    size_p->payload += plane_bits(set, symbols, entries);
    size_p->bits += (double)codec_set_columns(set) * (16.0 * (entries + 1) + 32.0);
    size_p->bits += 16.0 * set->n_tokens;
  }
  size_p->bits += size_p->payload;
  free(symbols);
  return KVS_OK;
}
