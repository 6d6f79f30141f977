/*
 * tests/bench/codec/error.h: how far what was decoded is from what was encoded.
 *
 * Errors of elements are relative to the deviation from each channel's mean, for each layer, head, and keys and values: softmax does not see a
 * constant key, so that what a large mean hides is told. Errors of attention need the set's queries.
 */
#ifndef KVASIR_BENCH_CODEC_ERROR_H
#define KVASIR_BENCH_CODEC_ERROR_H

#include "tests/bench/codec/set.h"

struct codec_error {
  double keys, values;             /* centred relative L2: root mean square over layers and heads */
  double keys_worst, values_worst; /* of one layer and head */
  double attention;  /* relative L2 of attention's output: root mean square over layers and query heads */
  double divergence; /* Kullback-Leibler of the attention weights in nats, mean over queries */
  double top;        /* share of queries whose largest weight stays at its token */
  double needles;    /* the same of queries that look for one token's key */
  bool exact;        /* every bit is as it was */
};

/* What the originals give, computed once for a set. */
struct codec_truth;
kvs_status codec_truth_make(const struct codec_set *set, struct codec_truth **truth_p); /* KVS_ERR_NOMEM */
void codec_truth_free(struct codec_truth *truth);                                       /* takes NULL */

/* Sums over the chunks of a set. */
struct codec_tally;
kvs_status codec_tally_make(const struct codec_truth *truth,
                            struct codec_tally **tally_p); /* KVS_ERR_NOMEM */
void codec_tally_free(struct codec_tally *tally);          /* takes NULL */

/* Compares one chunk. decoded has the chunk's layout. */
void codec_tally_add(struct codec_tally *tally, uint32_t chunk, const uint16_t *decoded);

/* Of all chunks so far. Without queries attention's are 0. */
void codec_tally_result(const struct codec_tally *tally, struct codec_error *error_p);

#endif
