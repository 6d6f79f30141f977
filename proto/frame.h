/*
 * proto/frame.h: the frame codec. A frame is the message kvasir.v1.Frame: a small header that protobuf-c packs, and
 * bulk bytes that never pass through it. Written by hand as
 *
 *     0A <varint header length> <FrameHeader>  [ 7A <varint data length> <data> ]
 *
 * which is byte for byte what a stock protobuf library writes. Other orders of the two fields are legal protobuf:
 * kvi_frame_parse says so and the caller gathers the message and calls kvi_frame_normalize.
 */
#ifndef KVASIR_PROTO_FRAME_H
#define KVASIR_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "proto/kvasir/v1/cache.pb-c.h"
#include <kvasir/status.h>

/* Bytes in front of the bulk for this header and data length: what kvi_frame_write_prefix writes. */
size_t kvi_frame_prefix_size(const Kvasir__V1__FrameHeader *header, uint64_t data_length);
/* Writes the prefix to out (kvi_frame_prefix_size bytes); returns the bytes written. */
size_t kvi_frame_write_prefix(const Kvasir__V1__FrameHeader *header, uint64_t data_length, uint8_t *out);

/* Where things lie in a message, found from its first bytes. */
struct kvi_frame_shape {
  size_t header_offset, header_length;
  size_t data_offset, data_length; /* data_offset + data_length = message length */
};

/*
 * Looks at the first `have` bytes of a message of `total` bytes. KVS_OK: *shape_p is set and header_length is at most
 * KVI_FRAME_HEADER_MAX, data_length at most KVI_FRAME_BYTES_MAX; KVS_PENDING: `have` is too short to tell: come again
 * with at least *need_p bytes (<= total); KVS_ERR_UNSUPPORTED: a legal message in another order; KVS_ERR_TOO_LARGE;
 * KVS_ERR_PROTOCOL: not a Frame. Never reads beyond have.
 */
kvs_status kvi_frame_parse(const uint8_t *bytes, size_t have, size_t total, struct kvi_frame_shape *shape_p,
                           size_t *need_p);

/*
 * A whole message in any legal field order (unknown fields skipped, as protobuf demands; the last of a repeated
 * singular field wins for data, headers are merged by refusing a second one). KVS_OK sets *shape_p so that header and
 * data are contiguous ranges inside bytes (data may lie anywhere). Errors: KVS_ERR_PROTOCOL, KVS_ERR_TOO_LARGE.
 */
kvs_status kvi_frame_normalize(const uint8_t *bytes, size_t total, struct kvi_frame_shape *shape_p);

/*
 * A fixed arena for protobuf-c's unpack, so that a header costs no malloc on the hot path: bump allocation, spills to
 * malloc when it is full, everything freed at once by reset. The spill is bounded: two bytes of a hostile header can
 * ask protobuf-c for more than a hundred. No legal header comes near the bound.
 *
 * The arena must not move after init. SINGLE: one thread at a time. Reset it after every frame, also a refused one.
 */
#define KVI_FRAME_ARENA_SIZE 16384u
#define KVI_FRAME_SPILL_MAX  (4u << 20)
struct kvi_frame_arena {
  ProtobufCAllocator allocator;
  size_t used;
  struct kvi_frame_spill *spilled;
  size_t spilled_bytes;
  kvs_status failure; /* why the last allocation failed; KVS_OK if none did */
  _Alignas(16) uint8_t bytes[KVI_FRAME_ARENA_SIZE];
};
void kvi_frame_arena_init(struct kvi_frame_arena *arena);
void kvi_frame_arena_reset(struct kvi_frame_arena *arena);

/*
 * Unpacks and checks a header, as far as that is possible without knowing the stream:
 *
 *   counts and lengths are within the limits of proto/limits.h; the pieces' lengths sum to data_length
 *   a piece is not empty; it is `first` if and only if its offset is 0; where segment_length is told it ends there if
 *   it is `last` and before if it is not; where `segments` is told its segment is below it; quality and chunk_length are told with
 *   `segments` only, a coded chunk's length always, and what is told of the piece is not beyond it
 *   a start has a space of 32 bytes and 1 to KVI_BATCH_CHUNKS_MAX whole keys of 8 to 64 bytes, one length for each key;
 *   parent and extent_first are empty or one key; a put's segments are not empty and sum to its chunks' lengths, its qualities are one
 *   for each key, or none, and of codings that there are; a get has none of these, but a loss_max and a loss_enough of KVI_LOSS_MAX at most, and a put none
 *   of that, nor codings or bytes_enough
 *
 * The result lives in the arena until reset. Errors: KVS_ERR_PROTOCOL, KVS_ERR_TOO_LARGE, KVS_ERR_KEY_LENGTH,
 * KVS_ERR_NOMEM; *header_p is NULL then.
 */
kvs_status kvi_frame_unpack(struct kvi_frame_arena *arena, const uint8_t *header, size_t header_length,
                            uint64_t data_length, Kvasir__V1__FrameHeader **header_p);

#endif
