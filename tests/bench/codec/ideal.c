/* What a uniform quantiser costs whose classes of channels have models that fit the chunk: a bound beside the ladder. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/codec/method.h"
#include "tests/bench/codec/number.h"

#define CLASSES   64   /* of channels, by the logarithm of deviation / step: four to a factor of 2 */
#define SYMBOLS   4096 /* beyond, an escape of 16 bits */
#define SIDE_BITS 16.0 /* a channel */

struct models {
  uint32_t count[CLASSES][SYMBOLS];
  double escapes;
};

struct channel {
  float mean, deviation;
};

static struct channel look_at(const uint16_t *from, uint32_t n, size_t stride)
{
  struct channel channel;
  double sum = 0;
  double squares = 0;

  for (uint32_t t = 0; t < n; t++)
    sum += codec_from_bf16(from[t * stride]);
  for (uint32_t t = 0; t < n; t++) {
    double x = codec_from_bf16(from[t * stride]) - sum / n;

    squares += x * x;
  }
  channel.mean = (float)(sum / n);
  channel.deviation = (float)sqrt(squares / n);
  return channel;
}

/* One channel with its head's step: the mean is a whole number of half steps, as the ladder's is. */
static void quantise(const uint16_t *from, uint16_t *to, uint32_t n, size_t stride, float step,
                     struct models *models)
{
  struct channel channel = look_at(from, n, stride);
  float mean = rintf(2 * channel.mean / step) * step / 2;
  double class = 16 + 4 * log2(fmax(channel.deviation / step, 1e-6));
  uint32_t *count = models->count[(int)fmin(fmax(class, 0), CLASSES - 1)];

  for (uint32_t t = 0; t < n; t++) {
    float q = rintf((codec_from_bf16(from[t * stride]) - mean) / step);

    to[t * stride] = codec_to_bf16(mean + q * step);
    if (fabsf(q) < SYMBOLS / 2.0f - 1) {
      count[(int)q + SYMBOLS / 2]++;
    } else {
      count[0]++;
      models->escapes++;
    }
  }
}

static void code_head(const struct codec_set *set, const uint16_t *from, uint16_t *to, double thousandths,
                      struct models *models)
{
  size_t stride = codec_set_columns(set);
  double squares = 0;
  float step;

  for (uint32_t c = 0; c < set->dim; c++) {
    struct channel channel = look_at(from + c, set->n_tokens, stride);

    squares += (double)channel.deviation * channel.deviation;
  }
  step = (float)(sqrt(squares / set->dim) * thousandths / 1000.0);
  for (uint32_t c = 0; c < set->dim; c++)
    if (step > 0)
      quantise(from + c, to + c, set->n_tokens, stride, step, models);
    else
      for (uint32_t t = 0; t < set->n_tokens; t++)
        to[t * stride + c] = from[t * stride + c];
}

static double bits_of(const struct models *models)
{
  double bits = 16.0 * models->escapes;

  for (int class = 0; class < CLASSES; class ++) {
    double all = 0;

    for (int s = 0; s < SYMBOLS; s++)
      all += models->count[class][s];
    for (int s = 0; s < SYMBOLS; s++)
      if (models->count[class][s] > 0)
        bits += models->count[class][s] * log2(all / models->count[class][s]);
  }
  return bits;
}

kvs_status codec_ideal(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                       uint16_t *decoded, struct codec_size *size_p)
{
  struct models *models = calloc(1, sizeof *models);
  size_t columns = codec_set_columns(set);

  size_p->bits = 0;
  size_p->payload = 0;
  if (models == NULL)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < 2 * set->n_layers; i++) {
    size_t at = i * codec_set_plane(set);

    for (uint32_t h = 0; h < set->n_heads; h++)
      code_head(set, codec_set_raw(set, chunk) + at + (size_t)h * set->dim,
                decoded + at + (size_t)h * set->dim, method->a, models);
  }
  size_p->payload = bits_of(models);
  size_p->bits = size_p->payload + SIDE_BITS * (double)columns * 2 * set->n_layers;
  free(models);
  return KVS_OK;
}
