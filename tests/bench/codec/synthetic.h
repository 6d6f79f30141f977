/*
 * tests/bench/codec/synthetic.h: keys, values and queries with the statistics that are known of real ones, for where there are no real ones.
 *
 * Keys: a mean of each channel, a few outlier channels among those that rotate slowly (in one dimension of a pair), a spread of the channels'
 * deviations, low-rank noise with correlated tokens and tails, all rotated by RoPE with their mean. Values: the same with less spread
 * and no outliers. Tokens 0 to 3, and now and then another, are attention sinks. Queries come from the noise of the keys, scaled so that
 * logits have a deviation of 2. "qwen2": in the first and the last layer the outliers' means are 30 to 40 times as large.
 */
#ifndef KVASIR_BENCH_CODEC_SYNTHETIC_H
#define KVASIR_BENCH_CODEC_SYNTHETIC_H

#include "tests/bench/codec/set.h"

/* Each mode's name, NULL ends them. */
extern const char *const codec_synthetic_modes[];

/*
 * Makes a set of one mode, the same for the same arguments (on one C library: it takes logarithms). KVS_ERR_INVALID: there is no such mode;
 * KVS_ERR_NOMEM.
 */
kvs_status codec_synthetic_make(const char *mode, uint32_t n_layers, uint32_t n_tokens, uint64_t seed,
                                struct codec_set *set_p);

#endif
