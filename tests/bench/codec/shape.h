/* tests/bench/codec/shape.h: a set in the terms of tiers/codec/codec.h. */
#ifndef KVASIR_BENCH_CODEC_SHAPE_H
#define KVASIR_BENCH_CODEC_SHAPE_H

#include "tests/bench/codec/set.h"
#include "tiers/codec/codec.h"

struct codec_room {
  struct kvi_codec_shape shape;
  struct kvi_codec_options options;
  size_t object_bytes, scratch_bytes;
};

/* One chunk of the set, and the memory that encoding it takes. */
struct codec_room codec_room_of(const struct codec_set *set, const struct kvi_codec_options *options);

/* 64-byte aligned, with room for wide reads behind; to be freed. NULL: no memory. */
void *codec_aligned(size_t bytes);

/* How long an object is when it is cut to a quality; all of it if it has no more. Errors: as kvi_codec_open. */
kvs_status codec_cut_length(const uint8_t *object, size_t length, uint32_t quality, size_t *length_p);

#endif
