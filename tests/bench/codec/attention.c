#include "tests/bench/codec/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/codec/number.h"

bool codec_head_allocate(struct codec_head *head, uint32_t n_tokens, uint32_t dim)
{
  head->n_tokens = n_tokens;
  head->dim = dim;
  head->keys = malloc((size_t)n_tokens * dim * sizeof *head->keys);
  head->values = malloc((size_t)n_tokens * dim * sizeof *head->values);
  if (head->keys != NULL && head->values != NULL)
    return true;
  codec_head_free(head);
  return false;
}

void codec_head_free(struct codec_head *head)
{
  free(head->keys);
  free(head->values);
  memset(head, 0, sizeof *head);
}

void codec_head_load(struct codec_head *head, const struct codec_set *set, const uint16_t *raw,
                     uint32_t layer, uint32_t index)
{
  const uint16_t *keys = raw + 2 * layer * codec_set_plane(set) + (size_t)index * set->dim;
  const uint16_t *values = keys + codec_set_plane(set);

  for (uint32_t t = 0; t < head->n_tokens; t++) {
    for (uint32_t c = 0; c < head->dim; c++) {
      head->keys[(size_t)c * head->n_tokens + t] = codec_from_bf16(keys[t * codec_set_columns(set) + c]);
      head->values[(size_t)t * head->dim + c] = codec_from_bf16(values[t * codec_set_columns(set) + c]);
    }
  }
}

void codec_head_weights(const struct codec_head *head, const float *query, float *weights)
{
  uint32_t n = head->n_tokens;
  float scale = 1.0f / sqrtf((float)head->dim);
  float most, sum = 0;

  memset(weights, 0, n * sizeof *weights);
  for (uint32_t c = 0; c < head->dim; c++) {
    const float *channel = head->keys + (size_t)c * n;
    float x = query[c] * scale;

    for (uint32_t t = 0; t < n; t++)
      weights[t] += x * channel[t];
  }
  most = weights[0];
  for (uint32_t t = 1; t < n; t++)
    most = fmaxf(most, weights[t]);
  for (uint32_t t = 0; t < n; t++) {
    weights[t] = expf(weights[t] - most);
    sum += weights[t];
  }
  for (uint32_t t = 0; t < n; t++)
    weights[t] /= sum;
}

void codec_head_output(const struct codec_head *head, const float *weights, float *out)
{
  memset(out, 0, head->dim * sizeof *out);
  for (uint32_t t = 0; t < head->n_tokens; t++) {
    const float *row = head->values + (size_t)t * head->dim;
    float weight = weights[t];

    for (uint32_t c = 0; c < head->dim; c++)
      out[c] += weight * row[c];
  }
}

uint32_t codec_head_top(const float *weights, uint32_t n_tokens)
{
  uint32_t top = 0;

  for (uint32_t t = 1; t < n_tokens; t++)
    if (weights[t] > weights[top])
      top = t;
  return top;
}
