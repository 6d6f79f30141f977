/* proto/grpc/grpc_private.h: what the files of this folder share. */
#ifndef KVASIR_PROTO_GRPC_GRPC_PRIVATE_H
#define KVASIR_PROTO_GRPC_GRPC_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/wire.h"

/* The header that ties a connection's calls to one peer: 16 hexadecimal digits of the client's session. */
#define KVI_SESSION_HEADER "kvasir-session"

/* ---- tags (grpc_tag.c) ---- */

/*
 * What a completion queue gives back. One for each kind of batch, embedded in the object it belongs to. armed orders
 * the starter's writes before the handler's reads: gRPC does that too, but by locks that ThreadSanitizer cannot see.
 */
struct kvi_grpc_tag {
  void (*handler)(void *ctx, bool ok);
  void *ctx;
  atomic_uint armed;
};

/* Starts a batch. A refusal is a bug of ours, never a state of the network: the process is stopped with a log line. */
void kvi_grpc_start_batch(grpc_call *call, const grpc_op *ops, size_t n_ops, struct kvi_grpc_tag *tag);
/* To be called before a tag is given to gRPC in another way than by kvi_grpc_start_batch. */
void kvi_grpc_tag_arm(struct kvi_grpc_tag *tag);
/* Waits for one event until deadline_ns and runs its handler. False when the queue was shut down and is empty. */
bool kvi_grpc_next(grpc_completion_queue *cq, uint64_t deadline_ns);

/* kvi_now_ns() clock to gRPC's. */
gpr_timespec kvi_grpc_time(uint64_t deadline_ns);

/*
 * Wakes a completion queue's thread with an event. From any thread; at most one is under way, more are merged. The C
 * surface has no event of its own to post (alarms are C++'s), so this is the status of a call on a channel that fails every
 * call at once: a few microseconds and some allocations, for rare wakes only.
 */
struct kvi_grpc_waker {
  grpc_completion_queue *cq;
  grpc_channel *lame;
  grpc_call *call;
  grpc_metadata_array trailing;
  grpc_status_code status;
  grpc_slice details;
  struct kvi_grpc_tag tag;
  atomic_bool set;
  void (*handler)(void *ctx);
  void *ctx;
};
void kvi_grpc_waker_init(struct kvi_grpc_waker *waker, grpc_completion_queue *cq, void (*handler)(void *),
                         void *ctx);
void kvi_grpc_waker_wake(struct kvi_grpc_waker *waker);
/* Events still under way come out of the queue before its shutdown completes. */
void kvi_grpc_waker_destroy(struct kvi_grpc_waker *waker);

/* ---- the end (grpc_end.c) ---- */

/* Instead of grpc_shutdown_blocking, for each grpc_init, when nothing of ours is in a completion queue any more. */
void kvi_grpc_end(void);

/* ---- messages (grpc_message.c) ---- */

grpc_byte_buffer *kvi_grpc_pack(const ProtobufCMessage *message);
/* NULL when it is no such message, longer than limit, or there is no memory. Free with protobuf_c_message_free_unpacked. */
ProtobufCMessage *kvi_grpc_unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *descriptor,
                                  size_t limit);

/* ---- scatter lists (iov_cursor.c) ---- */

/* A position in a scatter list. */
struct kvi_iov_cursor {
  const struct kvi_iov *iov;
  uint32_t n_iov, index;
  size_t offset; /* in iov[index] */
};
static inline struct kvi_iov_cursor kvi_iov_cursor_make(const struct kvi_iov *iov, uint32_t n_iov)
{
  struct kvi_iov_cursor cursor = {.iov = iov, .n_iov = n_iov};
  return cursor;
}
/* The next run of at most max bytes and its length; NULL base for a hole; length 0 at the end. Advances. */
struct kvi_iov kvi_iov_cursor_next(struct kvi_iov_cursor *cursor, size_t max);
/* Copies bytes to the cursor's places and returns the checksum over them, holes included. False: no room. */
bool kvi_iov_cursor_land(struct kvi_iov_cursor *cursor, const uint8_t *bytes, size_t length, uint32_t *crc);
uint64_t kvi_iov_total(const struct kvi_iov *iov, uint32_t n_iov);

/* ---- frames in (frame_in.c) ---- */

/* A received frame: its header and a position in its bulk bytes. One per stream, reused. */
struct kvi_frame_in {
  struct kvi_frame_arena arena;
  uint8_t *scratch; /* KVI_FRAME_SCRATCH bytes, for headers that straddle slices */
  grpc_byte_buffer *buffer;
  Kvasir__V1__FrameHeader *header;
  size_t slice, offset; /* position in buffer's slices */
  size_t left;          /* bulk bytes after the position */
};
#define KVI_FRAME_SCRATCH (KVI_FRAME_HEADER_MAX + 64u)
kvs_status kvi_frame_in_init(struct kvi_frame_in *in);
void kvi_frame_in_destroy(struct kvi_frame_in *in);
/* Takes ownership of buffer. Errors as kvi_frame_parse and kvi_frame_unpack; clear is needed in any case. */
kvs_status kvi_frame_in_open(struct kvi_frame_in *in, grpc_byte_buffer *buffer);
void kvi_frame_in_clear(struct kvi_frame_in *in);
/* Lands the next length bulk bytes at the cursor, checksummed. False: no room there (the bytes are skipped). */
bool kvi_frame_in_land(struct kvi_frame_in *in, size_t length, struct kvi_iov_cursor *cursor, uint32_t *crc);
void kvi_frame_in_skip(struct kvi_frame_in *in, size_t length);

/* ---- frames out (frame_out.c) ---- */

#define KVI_FRAME_OUT_PIECES  512u
#define KVI_FRAME_OUT_STARTS  64u
#define KVI_FRAME_OUT_ENDS    512u
#define KVI_FRAME_OUT_SLICES  640u
#define KVI_FRAME_OUT_CANCELS 64u

/* A frame being made. One per stream, reused; a few dozen KiB, so never on a stack. */
struct kvi_frame_out {
  size_t bulk_target; /* stop adding pieces at so many bulk bytes */
  size_t limit;       /* the same for the frame being made: bulk_target, or less by taper */
  size_t bulk;
  uint32_t n_pieces, n_ends, n_starts, n_cancels, n_slices;
  Kvasir__V1__FrameHeader header;
  Kvasir__V1__Piece pieces[KVI_FRAME_OUT_PIECES], *piece_pointers[KVI_FRAME_OUT_PIECES];
  Kvasir__V1__ChunkEnd ends[KVI_FRAME_OUT_ENDS], *end_pointers[KVI_FRAME_OUT_ENDS];
  Kvasir__V1__TransferStart starts[KVI_FRAME_OUT_STARTS], *start_pointers[KVI_FRAME_OUT_STARTS];
  Kvasir__V1__Keys keys[KVI_FRAME_OUT_STARTS];
  uint64_t cancels[KVI_FRAME_OUT_CANCELS];
  grpc_slice slices[KVI_FRAME_OUT_SLICES + 1]; /* [0] is the prefix */
};
struct kvi_frame_out *kvi_frame_out_create(size_t bulk_target);
void kvi_frame_out_destroy(struct kvi_frame_out *out); /* NULL is fine */
void kvi_frame_out_begin(struct kvi_frame_out *out);
/* Bulk bytes that still fit; 0 when any table is full. */
size_t kvi_frame_out_room(const struct kvi_frame_out *out);
/*
 * Says that nothing but the `left` bytes of a chunk waits to be sent. Keeps the last KVI_LAST_PIECE_BYTES of them for a frame of their own if
 * they would end in this one: what a receiver still has to land after the last byte came overlaps with nothing.
 */
void kvi_frame_out_taper(struct kvi_frame_out *out, uint64_t left);
/* A cleared piece to fill; NULL when full. Its bytes are added by kvi_frame_out_bytes right after. */
Kvasir__V1__Piece *kvi_frame_out_piece(struct kvi_frame_out *out);
/*
 * Adds bytes by reference: release(ctx) runs once on any thread when gRPC has let go of them. False when the slice table
 * is full: nothing was added. Short runs are copied and release(ctx) runs before it returns.
 */
bool kvi_frame_out_bytes(struct kvi_frame_out *out, const void *bytes, size_t length, void (*release)(void *),
                         void *ctx);
Kvasir__V1__ChunkEnd *kvi_frame_out_end(struct kvi_frame_out *out);
Kvasir__V1__TransferStart *
kvi_frame_out_start(struct kvi_frame_out *out); /* its keys point to a cleared Keys */
bool kvi_frame_out_cancel(struct kvi_frame_out *out, uint64_t id);
bool kvi_frame_out_is_empty(const struct kvi_frame_out *out);
/* The message; the tables are empty after it. NULL: no memory, and every slice was released. */
grpc_byte_buffer *kvi_frame_out_finish(struct kvi_frame_out *out);

/* ---- files (grpc_file.c) ---- */

/* A PEM file as a string, at most 1 MiB, to be freed; NULL with errno. */
char *kvi_grpc_read_file(const char *path);

#endif
