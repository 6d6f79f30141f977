#include "client/cli/codec_error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "tiers/codec/element.h"

/* The keys, or the values, of one head of one layer. */
struct plane {
  const uint8_t *first;
  size_t stride, element;
  uint32_t tokens, dim;
  enum kvi_codec_dtype dtype;
};

static struct plane plane_of(const struct kvi_codec_shape *shape, const uint8_t *raw, uint32_t layer,
                             uint32_t head, bool values)
{
  size_t element = kvi_codec_element_size(shape->dtype);
  uint32_t dim = values ? shape->value_dim : shape->key_dim;
  const uint8_t *at = raw + kvi_codec_layer_offset(shape, layer);

  if (values)
    at += kvi_codec_layer_key_bytes(shape, layer);
  return (struct plane){.first = at + (size_t)head * dim * element,
                        .stride = (size_t)shape->n_heads * dim * element,
                        .element = element,
                        .tokens = shape->n_tokens,
                        .dim = dim,
                        .dtype = shape->dtype};
}

static float number_of(const struct plane *plane, uint32_t token, uint32_t d)
{
  return kvi_codec_to_float(plane->dtype, plane->first + token * plane->stride + d * plane->element);
}

/* ---- elements ---- */

/* An error of nothing is none, and one against nothing is a whole. */
static double ratio_of(double error, double size)
{
  double ratio = size > 0 ? error / size : error > 0 ? 1.0 : 0.0;

  return isfinite(ratio) ? ratio : INFINITY;
}

/* The squared relative error of one plane. Equal bits are no error, also where they are not numbers. */
static double compare_plane(const struct plane *was, const struct plane *is)
{
  double error = 0, size = 0;

  for (uint32_t d = 0; d < was->dim; d++) {
    double mean = 0;

    for (uint32_t t = 0; t < was->tokens; t++)
      mean += number_of(was, t, d);
    mean /= was->tokens;
    for (uint32_t t = 0; t < was->tokens; t++) {
      double x = number_of(was, t, d), y = number_of(is, t, d);

      size += (x - mean) * (x - mean);
      if (memcmp(was->first + t * was->stride + d * was->element,
                 is->first + t * is->stride + d * is->element, was->element) != 0)
        error += (x - y) * (x - y);
    }
  }
  return error == 0 ? 0 : ratio_of(error, size);
}

static double compare_planes(const struct kvi_codec_shape *shape, const uint8_t *was, const uint8_t *is,
                             bool values)
{
  double sum = 0;

  if ((values ? shape->value_dim : shape->key_dim) == 0)
    return 0;
  for (uint32_t layer = 0; layer < shape->n_layers; layer++)
    for (uint32_t head = 0; head < shape->n_heads; head++) {
      struct plane a = plane_of(shape, was, layer, head, values),
                   b = plane_of(shape, is, layer, head, values);

      sum += compare_plane(&a, &b);
    }
  return sqrt(sum / ((double)shape->n_layers * shape->n_heads));
}

/* ---- attention ---- */

/* One head as floats, and room for the weights of a query. */
struct head {
  float *keys;   /* [dimension][token] */
  float *values; /* [token][dimension] */
  float *weights;
};

static void load_head(const struct kvi_codec_shape *shape, const uint8_t *raw, uint32_t layer, uint32_t index,
                      struct head *head)
{
  struct plane keys = plane_of(shape, raw, layer, index, false),
               values = plane_of(shape, raw, layer, index, true);

  for (uint32_t d = 0; d < keys.dim; d++)
    for (uint32_t t = 0; t < keys.tokens; t++)
      head->keys[(size_t)d * keys.tokens + t] = number_of(&keys, t, d);
  for (uint32_t t = 0; t < values.tokens; t++)
    for (uint32_t d = 0; d < values.dim; d++)
      head->values[(size_t)t * values.dim + d] = number_of(&values, t, d);
}

/* softmax(query . keys / sqrt(dimension)) . values */
static void attend_one(const struct kvi_codec_shape *shape, const struct head *head, const float *query,
                       float *out)
{
  float scale = 1.0f / sqrtf((float)shape->key_dim), most = -INFINITY, sum = 0;

  memset(head->weights, 0, shape->n_tokens * sizeof *head->weights);
  for (uint32_t d = 0; d < shape->key_dim; d++)
    for (uint32_t t = 0; t < shape->n_tokens; t++)
      head->weights[t] += query[d] * scale * head->keys[(size_t)d * shape->n_tokens + t];
  for (uint32_t t = 0; t < shape->n_tokens; t++)
    most = fmaxf(most, head->weights[t]);
  memset(out, 0, shape->value_dim * sizeof *out);
  for (uint32_t t = 0; t < shape->n_tokens; t++) {
    float weight = expf(head->weights[t] - most);

    sum += weight;
    for (uint32_t d = 0; d < shape->value_dim; d++)
      out[d] += weight * head->values[(size_t)t * shape->value_dim + d];
  }
  for (uint32_t d = 0; d < shape->value_dim; d++)
    out[d] /= sum;
}

static void attend_all(const struct kvi_codec_shape *shape, const uint8_t *raw,
                       const struct cli_codec_queries *queries, struct head *head, float *out)
{
  uint32_t group = queries->n_heads / shape->n_heads;
  const float *query = queries->numbers;

  for (uint32_t layer = 0; layer < shape->n_layers; layer++)
    for (uint32_t index = 0; index < shape->n_heads; index++) {
      load_head(shape, raw, layer, index, head);
      for (uint32_t i = 0; i < group * queries->n_queries;
           i++, query += shape->key_dim, out += shape->value_dim)
        attend_one(shape, head, query, out);
    }
}

/* Elements of what attention gives; false if that is too many. */
static bool output_size(const struct kvi_codec_shape *shape, const struct cli_codec_queries *queries,
                        size_t *n_p)
{
  size_t n = (size_t)shape->n_layers * queries->n_heads;

  return kvi_size_mul(n, queries->n_queries, &n) && kvi_size_mul(n, shape->value_dim, &n) &&
         n <= SIZE_MAX / sizeof(float) && (*n_p = n, true);
}

float *cli_codec_attend(const struct kvi_codec_shape *shape, const uint8_t *raw,
                        const struct cli_codec_queries *queries)
{
  size_t n;
  float *out = output_size(shape, queries, &n) ? malloc(n * sizeof *out + 1) : NULL;
  struct head head = {
      .keys = malloc((size_t)shape->n_tokens * shape->key_dim * sizeof(float) + 1),
      .values = malloc((size_t)shape->n_tokens * shape->value_dim * sizeof(float) + 1),
      .weights = malloc(shape->n_tokens * sizeof(float) + 1),
  };

  if (out != NULL && head.keys != NULL && head.values != NULL && head.weights != NULL) {
    attend_all(shape, raw, queries, &head, out);
  } else {
    free(out);
    out = NULL;
  }
  free(head.keys);
  free(head.values);
  free(head.weights);
  return out;
}

/* The squared relative error of one query head's outputs in one layer, which are one vector of n numbers. */
static double compare_vector(const float *was, const float *is, size_t n)
{
  double error = 0, size = 0;

  for (size_t i = 0; i < n; i++) {
    if (isnan(was[i]) && isnan(is[i])) /* kept as it was */
      continue;
    error += ((double)was[i] - is[i]) * ((double)was[i] - is[i]);
    size += (double)was[i] * was[i];
  }
  return error == 0 ? 0 : ratio_of(error, size);
}

void cli_codec_attention_errors(const struct kvi_codec_shape *shape, const struct cli_codec_queries *queries,
                                const float *was, const float *is, double *squares)
{
  size_t vectors = (size_t)shape->n_layers * queries->n_heads;
  size_t n = (size_t)queries->n_queries * shape->value_dim;

  for (size_t vector = 0; vector < vectors; vector++)
    squares[vector] = compare_vector(was + vector * n, is + vector * n, n);
}

static double compare_attention(const struct kvi_codec_shape *shape, const struct cli_codec_queries *queries,
                                const float *was, const float *is)
{
  size_t vectors = (size_t)shape->n_layers * queries->n_heads;
  size_t n = (size_t)queries->n_queries * shape->value_dim;
  double sum = 0;

  for (size_t vector = 0; vector < vectors; vector++)
    sum += compare_vector(was + vector * n, is + vector * n, n);
  return sqrt(sum / (double)vectors);
}

kvs_status cli_codec_compare_raw(const struct kvi_codec_shape *shape, const uint8_t *was, const uint8_t *is,
                                 const struct cli_codec_queries *queries, const float *truth,
                                 struct cli_codec_error *error_p)
{
  float *outputs;

  memset(error_p, 0, sizeof *error_p);
  error_p->exact = memcmp(was, is, (size_t)shape->raw_bytes) == 0;
  if (error_p->exact || shape->dtype == KVI_CODEC_BYTES)
    return KVS_OK;
  error_p->keys = compare_planes(shape, was, is, false);
  error_p->values = compare_planes(shape, was, is, true);
  if (truth == NULL)
    return KVS_OK;
  outputs = cli_codec_attend(shape, is, queries);
  if (outputs == NULL)
    return KVS_ERR_NOMEM;
  error_p->attention = compare_attention(shape, queries, truth, outputs);
  free(outputs);
  return KVS_OK;
}
