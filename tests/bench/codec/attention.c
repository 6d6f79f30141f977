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

/* to += a x four rows at once, so that `to` is read and written a quarter as often. The rows lie one after the other. */
static void add_four(float *restrict to, const float *restrict rows, size_t n, const float factor[4])
{
  for (size_t i = 0; i < n; i++)
    to[i] += factor[0] * rows[i] + factor[1] * rows[n + i] + factor[2] * rows[2 * n + i] +
             factor[3] * rows[3 * n + i];
}

/* to = sum of factors x rows of n numbers. */
static void add_rows(float *restrict to, const float *restrict rows, size_t n, const float *factors,
                     size_t n_rows, float scale)
{
  memset(to, 0, n * sizeof *to);
  for (size_t row = 0; row < n_rows; row += 4) {
    float factor[4] = {0};
    size_t here = n_rows - row < 4 ? n_rows - row : 4;

    for (size_t i = 0; i < here; i++)
      factor[i] = factors[row + i] * scale;
    if (here == 4)
      add_four(to, rows + row * n, n, factor);
    else
      for (size_t i = 0; i < here; i++)
        for (size_t k = 0; k < n; k++)
          to[k] += factor[i] * rows[(row + i) * n + k];
  }
}

void codec_head_weights(const struct codec_head *head, const float *query, float *weights)
{
  uint32_t n = head->n_tokens;
  float most, sum = 0;

  add_rows(weights, head->keys, n, query, head->dim, 1.0f / sqrtf((float)head->dim));
  most = weights[0];
  for (uint32_t t = 1; t < n; t++)
    most = weights[t] > most ? weights[t] : most;
  for (uint32_t t = 0; t < n; t++) {
    weights[t] = expf(weights[t] - most);
    sum += weights[t];
  }
  for (uint32_t t = 0; t < n; t++)
    weights[t] /= sum;
}

void codec_head_output(const struct codec_head *head, const float *weights, float *out)
{
  add_rows(out, head->values, head->dim, weights, head->n_tokens, 1.0f);
}

uint32_t codec_head_top(const float *weights, uint32_t n_tokens)
{
  uint32_t top = 0;

  for (uint32_t t = 1; t < n_tokens; t++)
    if (weights[t] > weights[top])
      top = t;
  return top;
}
