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

#include <kvasir/status.h>
#include "proto/kvasir/v1/cache.pb-c.h"

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
 * malloc when it is full (bounded by KVI_FRAME_HEADER_MAX-driven limits), everything freed at once by reset.
 */
#define KVI_FRAME_ARENA_SIZE 16384
struct kvi_frame_arena {
  ProtobufCAllocator allocator;
  size_t used;
  struct kvi_frame_spill *spilled;
  _Alignas(16) uint8_t bytes[KVI_FRAME_ARENA_SIZE];
};
void kvi_frame_arena_init(struct kvi_frame_arena *arena);
void kvi_frame_arena_reset(struct kvi_frame_arena *arena);

/*
 * Unpacks and checks a header: counts within the limits of proto/limits.h, the pieces' lengths sum to data_length,
 * no piece is empty, key blobs are whole keys of 8 to 64 bytes, arrays agree with each other. The result lives in the
 * arena until reset. Errors: KVS_ERR_PROTOCOL, KVS_ERR_TOO_LARGE, KVS_ERR_KEY_LENGTH, KVS_ERR_NOMEM.
 */
kvs_status kvi_frame_unpack(struct kvi_frame_arena *arena, const uint8_t *header, size_t header_length,
                            uint64_t data_length, Kvasir__V1__FrameHeader **header_p);

#endif
