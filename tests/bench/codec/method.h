/* tests/bench/codec/method.h: one way to encode a chunk, with its settings: what it gives back, and what all of it costs. */
#ifndef KVASIR_BENCH_CODEC_METHOD_H
#define KVASIR_BENCH_CODEC_METHOD_H

#include "tests/bench/codec/set.h"

#define CODEC_METHODS_MAX 128u

struct codec_size {
  double bits;    /* of the chunk, with every byte of tables, headers and padding */
  double payload; /* of them the symbols alone, where that is a question; else 0 */
};

struct codec_method {
  char name[CODEC_NAME_MAX];
  const char *curve; /* the rate-distortion curve it is a point of; NULL: of none */
  bool listed;       /* has a line in the tables */
  /*
   * Encodes and decodes a chunk; decoded has its layout. KVS_ERR_UNSUPPORTED: this build, or this machine, lacks it; other
   * errors are failures.
   */
  kvs_status (*code)(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                     uint16_t *decoded, struct codec_size *size_p);
  uint32_t a, b, c, d; /* settings, as the functions below say */
};

/* All methods, listed ones first. Returns how many. */
size_t codec_methods(struct codec_method *methods, size_t room);

/*
 * LMCache's CacheGen (its quantiser; bins by layer; the table of each channel of each chunk shipped with it). a: bins of the finer layers,
 * b: of the others; both equal: the same everywhere.
 */
kvs_status codec_lmcache(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                         uint16_t *decoded, struct codec_size *size_p);

/* Quantisation in groups of 32 with a scale and a least value in fp16: keys along tokens, values along channels (KIVI). a: bits. */
kvs_status codec_group(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                       uint16_t *decoded, struct codec_size *size_p);

/* Q8_0 of ggml: 32 channels with a scale in fp16, 8 bits each. */
kvs_status codec_q8_0(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                      uint16_t *decoded, struct codec_size *size_p);

/* General compressors on the chunk's bytes. a: zstd's level. */
kvs_status codec_zstd(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                      uint16_t *decoded, struct codec_size *size_p);
kvs_status codec_lz4(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                     uint16_t *decoded, struct codec_size *size_p);

/*
 * A bound to compare the ladder with: what a uniform quantiser around the channels' means costs if every class of channels by
 * deviation had a model that fits this very set, and 16 bits a channel. a: the step in thousandths of the head's deviation.
 */
kvs_status codec_ideal(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                       uint16_t *decoded, struct codec_size *size_p);

/*
 * Ours, through tiers/codec/codec.h. a: enum kvi_codec_level; b: planes that are encoded; c: quality to which the object is cut;
 * d: the step, or for level zstd its level.
 */
kvs_status codec_ours(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                      uint16_t *decoded, struct codec_size *size_p);

#endif
