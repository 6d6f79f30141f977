/*
 * tests/bench/codec/speed.h: how fast the levels are on one core, with chunks that no cache holds.
 *
 * Rows: encode-LEVEL and decode-LEVEL by the path that the machine gets, with -PATH by another one, in GB of bf16 for each second of processor time,
 * with the latencies of a chunk by the clock; -cycles of each in cycles of the time stamp counter for each element; memcpy; crc32c of what is decoded.
 */
#ifndef KVASIR_BENCH_CODEC_SPEED_H
#define KVASIR_BENCH_CODEC_SPEED_H

#include <regex.h>

#include "tests/bench/codec/document.h"

struct codec_speed_options {
  double seconds; /* of a run of a case */
  uint32_t rounds, n_layers;
  const regex_t *only; /* rows whose name matches, and memcpy; NULL: all */
  bool progress;
};

/*
 * Errors: KVS_ERR_NOMEM; KVS_ERR_CORRUPT (told: two paths decode to different bits, or lossless is not); what a level fails with. A level that
 * this build lacks, and a path that this machine lacks, has no rows.
 */
kvs_status codec_speed_run(const struct codec_speed_options *options, struct codec_document *document);

/* After codec_document_settle: rows with what follows: cores for a link, cycles of a stage. */
void codec_speed_derive(struct codec_document *document);

/* The levels that are measured, in order; NULL ends them. */
extern const char *const codec_speed_levels[];

#endif
