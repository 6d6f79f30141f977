#include "client/cli/codec_sensitivity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* At the coarsest, where attention no longer follows the errors in proportion: that counts as well, and the planes lose nothing by it. */
#define PLANES 0u
/*
 * Bits are a logarithm of the step, errors its square: were all as smooth as that, the best steps would go with 1 / sqrt(square). At the base's coarse steps it is less so.
 * So this stays a little behind, and no head is more than twice as coarse as it would be.
 */
#define EXPONENT 0.375
#define MOST     2.0

/* ---- measuring ---- */

/* All factors 1: what a chunk's own deviations would make of the keys' is not what is asked. */
static uint8_t *neutral_profile(const struct kvi_codec_shape *shape, struct kvi_codec_profile *profile_p)
{
  size_t n = cli_codec_units(shape);
  const struct kvi_codec_profile profile = {.n_layers = shape->n_layers,
                                            .n_heads = shape->n_heads,
                                            .key_dim = shape->key_dim,
                                            .value_dim = shape->value_dim};
  size_t size = kvi_codec_profile_size(shape->n_layers, shape->n_heads);
  uint16_t *factors = malloc(n * sizeof *factors);
  uint8_t *bytes = malloc(size);

  for (size_t i = 0; factors != NULL && i < n; i++)
    factors[i] = KVI_PROFILE_ONE;
  if (factors == NULL || bytes == NULL || kvi_codec_profile_write(&profile, factors, bytes) != KVS_OK ||
      kvi_codec_profile_open(bytes, size, profile_p) != KVS_OK) {
    free(bytes);
    bytes = NULL;
  }
  free(factors);
  return bytes;
}

static kvs_status code_evenly(const struct cli_codec_chunk *chunk, uint8_t *decoded)
{
  struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = PLANES};
  struct kvi_codec_profile profile;
  struct cli_codec_coder coder = {0};
  uint8_t *bytes = neutral_profile(&chunk->shape, &profile);
  uint32_t quality;
  kvs_status status = KVS_ERR_NOMEM;

  options.profile = &profile;
  if (bytes != NULL)
    status = cli_codec_coder_open(&chunk->shape, &options, &coder);
  if (status == KVS_OK)
    status = cli_codec_coder_encode(&coder, chunk->raw);
  if (status == KVS_OK)
    status =
        kvi_codec_decode(coder.out, coder.length, PLANES, decoded, (size_t)chunk->shape.raw_bytes, &quality);
  cli_codec_coder_close(&coder);
  free(bytes);
  return status;
}

/* The keys of all layers, or the values, from one chunk's bytes to another's. */
static void copy_planes(const struct kvi_codec_shape *shape, bool values, const uint8_t *from, uint8_t *to)
{
  for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
    uint64_t at = kvi_codec_layer_offset(shape, layer), keys = kvi_codec_layer_key_bytes(shape, layer);
    uint64_t bytes = values ? kvi_codec_layer_bytes(shape, layer) - keys : keys;

    at += values ? keys : 0;
    memcpy(to + at, from + at, (size_t)bytes);
  }
}

/* What the query heads of each head have to do with its keys, or values, as they are in is. */
static kvs_status measure_planes(const struct cli_codec_chunk *chunk, const struct cli_codec_queries *queries,
                                 const float *truth, const uint8_t *is, bool values, double *squares)
{
  const struct kvi_codec_shape *shape = &chunk->shape;
  uint32_t group = queries->n_heads / shape->n_heads;
  float *outputs = cli_codec_attend(shape, is, queries);
  double *by_head = malloc((size_t)shape->n_layers * queries->n_heads * sizeof *by_head);
  kvs_status status = outputs != NULL && by_head != NULL ? KVS_OK : KVS_ERR_NOMEM;

  if (status == KVS_OK) {
    const double *at = by_head;

    cli_codec_attention_errors(shape, queries, truth, outputs, by_head);
    for (uint32_t layer = 0; layer < shape->n_layers; layer++)
      for (uint32_t head = 0; head < shape->n_heads; head++) {
        double *square = squares + ((size_t)layer * 2 + values) * shape->n_heads + head;

        *square = 0;
        for (uint32_t i = 0; i < group; i++)
          *square += *at++ / group;
      }
  }
  free(outputs);
  free(by_head);
  return status;
}

kvs_status cli_codec_measure(const struct cli_codec_chunk *chunk, const struct cli_codec_queries *queries,
                             double *squares)
{
  size_t bytes = (size_t)chunk->shape.raw_bytes;
  uint8_t *decoded = malloc(bytes), *mixed = malloc(bytes);
  float *truth = cli_codec_attend(&chunk->shape, chunk->raw, queries);
  kvs_status status = KVS_ERR_NOMEM;

  if (decoded != NULL && mixed != NULL && truth != NULL)
    status = code_evenly(chunk, decoded);
  for (int values = 0; values < 2 && status == KVS_OK; values++) {
    memcpy(mixed, chunk->raw, bytes);
    copy_planes(&chunk->shape, values != 0, decoded, mixed);
    status = measure_planes(chunk, queries, truth, mixed, values != 0, squares);
  }
  free(decoded);
  free(mixed);
  free(truth);
  return status;
}

/* ---- factors ---- */

/* Of nothing, or of no number, nothing follows. */
static bool tells(double square)
{
  return square > 0 && isfinite(square);
}

static double factor_of(double square, double middle)
{
  return tells(square) ? fmin(fmax(pow(middle / square, EXPONENT), 1 / MOST), MOST) : 1;
}

void cli_codec_factors(const double *squares, size_t n, uint16_t *factors)
{
  double logarithms = 0, before = 0, after = 0, middle, all;
  size_t known = 0;

  for (size_t i = 0; i < n; i++)
    if (tells(squares[i])) {
      logarithms += log(squares[i]);
      known++;
    }
  middle = known > 0 ? exp(logarithms / (double)known) : 1;
  for (size_t i = 0; i < n; i++)
    if (tells(squares[i])) {
      double factor = factor_of(squares[i], middle);

      before += squares[i];
      after += squares[i] * factor * factor;
    }
  all = known > 0 ? sqrt(before / after) : 1;
  for (size_t i = 0; i < n; i++) {
    double factor = fmin(factor_of(squares[i], middle) * all, MOST) * KVI_PROFILE_ONE;

    factors[i] = (uint16_t)lround(fmax(factor, KVI_PROFILE_MIN));
  }
}
