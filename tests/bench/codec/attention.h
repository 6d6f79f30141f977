/* tests/bench/codec/attention.h: attention of given queries over a chunk, in float32, as what errors are measured by. */
#ifndef KVASIR_BENCH_CODEC_ATTENTION_H
#define KVASIR_BENCH_CODEC_ATTENTION_H

#include "tests/bench/codec/set.h"

/* One KV head of one layer as floats. */
struct codec_head {
  uint32_t n_tokens, dim;
  float *keys;   /* [dim][token] */
  float *values; /* [token][dim] */
};

bool codec_head_allocate(struct codec_head *head, uint32_t n_tokens, uint32_t dim);
void codec_head_free(struct codec_head *head); /* a zeroed one is fine */

/* Takes a head out of a chunk: raw has the chunk's layout. */
void codec_head_load(struct codec_head *head, const struct codec_set *set, const uint16_t *raw,
                     uint32_t layer, uint32_t index);

/* weights[token] = softmax(query . key / sqrt(dim)), over all tokens. */
void codec_head_weights(const struct codec_head *head, const float *query, float *weights);

/* out[dim] = sum of weights and values. */
void codec_head_output(const struct codec_head *head, const float *weights, float *out);

/* The token whose weight is largest, the first of equal ones. */
uint32_t codec_head_top(const float *weights, uint32_t n_tokens);

#endif
