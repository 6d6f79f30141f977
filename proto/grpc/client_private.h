/*
 * proto/grpc/client_private.h: inside the client's side of the wire. Lock order: lock, then slot_lock. No callback of the
 * layer above runs under either.
 */
#ifndef KVASIR_PROTO_GRPC_CLIENT_PRIVATE_H
#define KVASIR_PROTO_GRPC_CLIENT_PRIVATE_H

#include <pthread.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/thread.h"
#include "proto/grpc/grpc_private.h"
#include "proto/grpc/grpc_wire.h"

#define MAX_TRANSFERS   1024u /* a power of two: a transfer's id is sequence << 10 | slot */
#define SLOT_MASK       (MAX_TRANSFERS - 1)
#define MAX_CALLS       1024u
#define INLINE_CHUNKS   16u
#define INLINE_SEGMENTS 64u
/* Packed bytes of the starts of one frame; well below KVI_FRAME_HEADER_MAX with pieces and ends beside them. */
#define START_BYTES_MAX (160u << 10)
#define MAX_STARTS_HELD (KVI_FRAME_OUT_STARTS + KVI_FRAME_OUT_PIECES)

struct wire;

/* One transfer in flight. */
/* How far a chunk of a get has come. */
struct landing {
  uint64_t landed;       /* bytes */
  uint64_t coded_length; /* that all of it has to be; 0: it is not coded */
  struct kvi_iov_cursor cursor;
  uint32_t n_segments; /* 0: nothing of it has come */
  uint32_t segment, segment_offset, segment_length, crc, crc_expected;
};

struct transfer {
  struct kvi_transfer *user;
  struct wire *wire;

  /* One for the protocol, one for each frame being made from it, one for each slice into the caller's memory. */
  atomic_uint refs;
  atomic_bool cancel; /* asked for by the caller */

  /* Chunks that have ended: set by the poller, read by the sender, which then skips them. */
  _Atomic uint64_t ended[KVI_BATCH_CHUNKS_MAX / 64];

  /* The sender's; started, which says whether the node may know of it, is written under wire->lock. */
  bool started, start_sent;
  uint32_t send_chunk, send_segment, send_offset, send_crc;
  struct kvi_iov_cursor send_cursor;

  /* The poller's. */
  uint32_t n_ended, n_ok;
  kvs_status failure; /* first chunk status below 0 */
  uint32_t chunk;     /* that landing is of */
  struct landing landing;
  struct landing *abreast;                   /* of each chunk, if they come abreast; in arrays */
  uint64_t whole[KVI_BATCH_CHUNKS_MAX / 64]; /* chunks of a get whose every segment is in place */

  /* Arrays of the start message: inline, or one block in `arrays` for larger batches. */
  uint64_t *lengths;
  uint32_t *segment_counts, *segment_lengths;
  uint32_t *qualities; /* of a put; NULL: all 0 */
  size_t n_segment_lengths;
  size_t start_bytes; /* of the packed start message, at most */
  void *arrays;
  uint64_t inline_lengths[INLINE_CHUNKS];
  uint32_t inline_counts[INLINE_CHUNKS], inline_qualities[INLINE_CHUNKS], inline_segments[INLINE_SEGMENTS];

  /*
   * When the connection is given up if gRPC still holds slices of this transfer, which has ended; 0: not ended or none held.
   * Set by the poller before it drops the protocol's reference, 0 again with the last reference; outside of what reset clears.
   */
  _Atomic uint64_t linger_until_ns;

  /* Under wire->lock, and never cleared with the rest: a late frame may name a slot that is being set up again. */
  uint64_t id;
  kvi_list_node live_link, send_link;
};

enum wire_state { DOWN, READY, STOPPED };

struct wire {
  struct kvi_wire base;
  pid_t pid;
  struct kvi_grpc_wire_options options; /* owned strings */
  char *endpoint, *ca, *cert, *key, *server_name, *software, *token_file;

  pthread_mutex_t lock;
  pthread_cond_t changed;
  enum wire_state state;
  bool stop;
  bool sending;           /* somebody has the sender's role: may touch frame and the send_* fields */
  bool idle;              /* the poller sleeps long: wake it */
  uint32_t users;         /* threads of callers inside the connection */
  kvi_list live, to_send; /* transfers */
  kvi_list calls;         /* unary calls in flight */
  uint64_t sequence;
  uint64_t cancels[MAX_TRANSFERS]; /* to be told to the node */
  uint32_t n_cancels;
  char reason[256]; /* why it is not connected */
  kvs_status reason_status;

  pthread_mutex_t slot_lock; /* free slots and unfinished; taken in release callbacks */
  pthread_cond_t finished;
  uint16_t free_slots[MAX_TRANSFERS];
  uint32_t n_free;
  uint32_t unfinished; /* transfers and calls whose done callback has not returned */
  struct transfer *slots;
  atomic_uint lingering; /* puts that have ended, but gRPC still holds slices */

  kvi_thread thread;

  /* Callers who hand over (options.hand_over): what they leave to the sending thread. Under lock. */
  kvi_thread sender;
  pthread_cond_t handed;
  kvi_list to_start;     /* calls */
  bool role_handed;      /* the sender's role */
  bool wake_handed;      /* the poller is to be woken */
  uint32_t users_handed; /* users inside the connection that the thread stands for */
  bool end_sender;

  /* The connection; the poller's, but for start of batches by users while READY. */
  int fd; /* our duplicate; -1 with TLS */
  grpc_channel *channel;
  grpc_channel_credentials *tls;
  grpc_completion_queue *cq;
  grpc_call *stream;
  void *methods[KVI_METHOD_COUNT], *transfer_method;
  struct kvi_grpc_waker waker;
  atomic_uint outstanding; /* batches started and not come back */
  char session[17];
  uint32_t frame_bytes; /* bulk of one message: ours and the node's limit */
  uint64_t chunk_bytes_max;
  uint32_t batch_chunks_max;
  uint64_t incarnation;
  bool broken, stream_over;
  uint64_t last_activity_ns, shutdown_at_ns;
  uint64_t linger_at_ns; /* no transfer's linger_until_ns is earlier; 0: none lingers */

  struct kvi_grpc_tag tag_start, tag_read, tag_sent, tag_status;
  grpc_metadata metadata[2]; /* of every call: the session, and the token if there is one */
  size_t n_metadata;
  grpc_metadata_array initial, trailing;
  grpc_status_code stream_status;
  grpc_slice stream_details;
  grpc_byte_buffer *received, *sent;
  struct kvi_frame_in in;
  struct kvi_frame_out *out;
  struct transfer *held[MAX_STARTS_HELD]; /* by the frame being made */
  uint32_t n_held;
  size_t start_bytes; /* of the starts in the frame being made, at most */
};

/* ---- grpc_wire.c ---- */
/* Enters the connection as a user: true while READY. leave ends it. */
bool kvi_gw_enter(struct wire *w, kvs_status *why_p);
void kvi_gw_leave(struct wire *w);

/* True once destroy has been asked for. */
bool kvi_gw_stopping(struct wire *w);

/* ---- client_connect.c ---- */
kvs_status kvi_gw_connect(struct wire *w, uint64_t deadline_ns);
void kvi_gw_disconnect(struct wire *w);

/* ---- client_call.c ---- */
kvs_status kvi_gw_call(struct kvi_wire *wire, enum kvi_method method, const ProtobufCMessage *request,
                       uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx);
/* The same without looking at the state: for the Hello. */
kvs_status kvi_gw_call_unchecked(struct wire *w, enum kvi_method method, const ProtobufCMessage *request,
                                 uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx);
/* Sends a call that its caller has handed over, by its start_link. */
void kvi_gw_start_handed(kvi_list_node *start_link);
/* The poller's, while no caller is inside the connection. */
void kvi_gw_cancel_calls(struct wire *w);

/* ---- client_transfer.c ---- */
kvs_status kvi_gw_submit(struct kvi_wire *wire, struct kvi_transfer *transfer);
void kvi_gw_cancel(struct kvi_wire *wire, struct kvi_transfer *transfer);
void kvi_gw_transfer_ref(struct transfer *t);
void kvi_gw_transfer_unref(void *t);
static inline bool kvi_gw_chunk_ended(const struct transfer *t, uint32_t chunk)
{
  /* relaxed: a stale answer costs a piece sent in vain */
  return atomic_load_explicit(&t->ended[chunk / 64], memory_order_relaxed) >> (chunk % 64) & 1;
}
/* The poller's: ends one chunk, or all that have not ended. */
void kvi_gw_end_chunk(struct transfer *t, uint32_t chunk, kvs_status status, uint32_t cause);
void kvi_gw_end_all(struct transfer *t, kvs_status status);
struct transfer *kvi_gw_find(struct wire *w, uint64_t id);
/* The poller's: deadlines, cancels, slices that linger. */
void kvi_gw_check_deadlines(struct wire *w, uint64_t now);

/* ---- client_send.c ---- */
/* With the sender's role: sends what there is, or gives the role back. */
void kvi_gw_send(struct wire *w);
void kvi_gw_on_sent(void *wire, bool ok);

/* ---- client_handover.c ---- */
kvs_status kvi_gw_start_sender(struct wire *w);
/* When the poller has ended, and so nobody is inside the connection. */
void kvi_gw_stop_sender(struct wire *w);
/*
 * Under the lock: leaves to the sending thread a call (its start_link, or NULL), the sender's role, a wake of the poller. The caller's
 * being inside the connection goes with it: no kvi_gw_leave.
 */
void kvi_gw_hand_over(struct wire *w, kvi_list_node *call, bool role, bool wake);

/* ---- client_receive.c ---- */
void kvi_gw_on_received(void *wire, bool ok);

#endif
