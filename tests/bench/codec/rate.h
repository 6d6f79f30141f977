/* tests/bench/codec/rate.h: what each method costs and gives on a set. */
#ifndef KVASIR_BENCH_CODEC_RATE_H
#define KVASIR_BENCH_CODEC_RATE_H

#include <regex.h>

#include "tests/bench/codec/document.h"

/*
 * Runs the methods whose "SET-METHOD" matches (NULL: all) on each chunk of the set; adds lines, and rows for those that are listed. left_out grows
 * by each method that this build lacks (told once on stderr). Errors are told: one of the methods failed, or what should be exact is not
 * (KVS_ERR_CORRUPT); the others are measured all the same.
 */
kvs_status codec_rate_run(const struct codec_set *set, const regex_t *only, bool progress,
                          struct codec_document *document);

/* When all sets are measured: rows that compare methods at equal error, and coded directly with coded step by step. */
void codec_rate_compare(struct codec_document *document);

#endif
