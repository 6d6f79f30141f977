/*
 * proto/grpc/server_private.h: inside the node's side of the wire.
 *
 * A call belongs to one poller for its whole life, so nothing in it is locked; the exceptions say so. Slices that gRPC
 * still sends hold a reference on their chunk (struct source), never on a call.
 */
#ifndef KVASIR_PROTO_GRPC_SERVER_PRIVATE_H
#define KVASIR_PROTO_GRPC_SERVER_PRIVATE_H

#include <pthread.h>

#include "base/list.h"
#include "base/thread.h"
#include "proto/grpc/endpoint.h"
#include "proto/grpc/grpc_private.h"
#include "proto/grpc/grpc_server.h"

#define MAX_POLLERS          4u
#define MAX_LISTEN           8u
#define PREPOSTED            16u /* requests of each method that wait at each queue */
#define REQUEST_BYTES_MAX    (1u << 20)
#define MAX_STREAM_TRANSFERS 1024u
#define TRANSFER_BUCKETS     256u /* a power of two */
#define LANDING_WINDOW       16u  /* chunks of a put that are begun before their bytes come */

struct counters {
  _Atomic uint64_t connections, connections_total, refused, stalled, refused_streams, refused_credentials;
  _Atomic uint64_t streams, watches, transfers, calls, unknown_calls, protocol_errors;
  _Atomic uint64_t frames_in, frames_out, bytes_in, bytes_out;
};

struct poller {
  struct kvi_grpc_server *server;
  grpc_completion_queue *cq;
  kvi_thread thread;
  kvi_list streams, watches; /* of this poller */
  uint64_t ticked_ns;
};

struct acceptor;

struct kvi_grpc_server {
  const struct kvi_service *service;
  struct kvi_grpc_server_options options;
  uint16_t ports[MAX_LISTEN];
  grpc_server *server;
  grpc_server_credentials *credentials; /* TLS; NULL: plain */
  struct poller pollers[MAX_POLLERS];
  uint32_t n_pollers;
  void *methods[KVI_METHOD_COUNT], *transfer_method, *health_method, *watch_method;
  struct acceptor
      *_Atomic acceptor; /* set before its thread takes the first connection, read by the pollers */
  atomic_bool serving, draining;
  atomic_uint waiting_calls;      /* whose answers the service still has to give */
  _Atomic uint64_t abreast_bytes; /* held open by groups of several chunks */
  /* Calls and streams that there are, posted ones included: each may still start a batch, which a queue that was shut down aborts on. */
  atomic_uint posted;
  bool started, drained;
  struct counters counters;
};

/* ---- server_call.c ---- */
/* Keeps one request of the method posted at the poller's queue. */
void kvi_server_request_call(struct poller *poller, enum kvi_method method);
void kvi_server_request_health(struct poller *poller);
/* Calls that are registered by nobody: answered UNIMPLEMENTED, or they would hang until their deadline. */
void kvi_server_request_unknown(struct poller *poller);
/* The peer id of a call: its session header, or 0. */
uint64_t kvi_server_session(const grpc_metadata_array *metadata);

/* ---- server_identify.c ---- */
/* Fills in whose the peer is, of whom id and name are known. KVS_ERR_DENIED: counted and logged. */
kvs_status kvi_server_identify(struct kvi_grpc_server *server, grpc_call *call,
                               const grpc_metadata_array *metadata, struct kvi_peer *peer);

/* ---- server_health.c ---- */
/* Keeps one request of Watch posted at the poller's queue. */
void kvi_server_request_watch(struct poller *poller);
/* Every 100 ms or so while somebody watches: tells of changes. */
void kvi_server_health_tick(struct poller *poller);
/* Whether a request asks for a service that is there. False: it is no such request. */
bool kvi_server_health_ask(grpc_byte_buffer *request, bool *known_p);
/* The answer for one that is there; NULL without memory. */
grpc_byte_buffer *kvi_server_health_reply(const struct kvi_grpc_server *server);

/* ---- server_stream.c ---- */
void kvi_server_request_stream(struct poller *poller);
/* Every 100 ms or so on the poller's thread: deadlines of landings, the end of idle streams while draining. */
void kvi_server_stream_tick(struct poller *poller, uint64_t now);

/* ---- one transfer stream ---- */

enum put_state { PUT_NEW = 0, PUT_LANDING, PUT_WAITING, PUT_ENDED };

/* A chunk of a get that is being sent. */
struct get_chunk {
  struct source *source; /* NULL: not opened yet, closed at the deadline, or ended */
  struct kvi_iov_cursor cursor;
  uint64_t left; /* bytes still to be sent */
  bool ended;
};

/* A put that waits for an equal one. The callback comes from any thread and leaves it as a message. */
struct put_wait {
  struct server_transfer *transfer;
  uint32_t chunk;
  kvs_status status;
  kvi_list_node link; /* in stream->woken, under woken_lock */
};

/* A get that waits for its chunk to come from a slower tier. As put_wait. */
struct get_wait {
  struct kvi_get_wait wait;
  struct server_transfer *transfer;
  kvs_status status;
  uint32_t cause;
  bool waiting;       /* between KVS_PENDING and its end; the poller's */
  kvi_list_node link; /* in stream->woken_gets, under woken_lock */
};

/* One chunk of a put. */
struct put_chunk {
  enum put_state state;
  bool told; /* its end was sent */
  kvs_status status;
  struct kvi_landing landing;
  struct put_wait wait;
};

struct server_transfer {
  struct stream *stream;
  uint64_t id, deadline_ns;
  bool put, canceled;
  uint32_t n_chunks, key_length, n_ended;
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t *keys; /* key before the first (zeros if none), then n_chunks keys */
  bool has_parent, unchained;
  uint32_t first_place, ttl_ms, chain_chunks;
  uint64_t *lengths;
  uint32_t *segment_counts, *segment_lengths;
  uint32_t *qualities;        /* put: of each chunk; NULL: all 0 */
  struct kvi_get_terms terms; /* get */

  /* put */
  struct put_chunk *puts;
  uint32_t n_begun, first_segment; /* of puts[n_begun] in segment_lengths */
  uint32_t n_told;
  uint32_t chunk, segment, offset, crc; /* of the next piece */
  struct kvi_iov_cursor cursor;

  /* get: chunks go in groups that are sent abreast, of one chunk each unless the client asked for more */
  struct get_chunk *group, first_of_group; /* the latter is the room for a group of one */
  bool abreast;
  uint32_t group_first, group_chunks; /* chunks of the group, in the batch */
  uint32_t group_open;                /* of them not ended */
  uint64_t
      group_bytes; /* that it holds open or may open, counted in the server's abreast_bytes; 0 of a group of one */
  uint64_t group_left;   /* bytes of the opened ones */
  struct source *coming; /* the one that wait is for */
  struct get_wait wait;
  bool waited;                                    /* wait has ended: its status is the chunk's */
  uint32_t n_ahead;                               /* chunks that were told ahead */
  uint32_t send_chunk, send_segment, send_offset; /* what goes next */

  struct server_transfer *next_by_id; /* in its bucket of stream->by_id */
  kvi_list_node link;                 /* in stream->transfers */
  kvi_list_node send_link;            /* in stream->to_send: a get, or a put with ends to tell */
};

/* A chunk that is read: shared by the transfer and by slices under way. */
struct source {
  const struct kvi_service *service;
  struct kvi_source source;
  atomic_uint refs;
};

struct stream {
  struct poller *poller;
  struct kvi_peer peer;
  char peer_name[64];
  grpc_call *call;
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  int cancelled;
  grpc_byte_buffer *received, *sent;
  struct kvi_grpc_tag tag_new, tag_begin, tag_close, tag_read, tag_sent, tag_status;
  uint32_t outstanding;
  bool reading, sending, eof, over, status_sent;
  uint64_t sending_since_ns, connection; /* acceptor's serial, 0 with TLS */
  grpc_status_code status;
  const char *status_text;

  struct kvi_frame_in in;    /* these two are made when the stream begins */
  struct kvi_frame_out *out; /* NULL before */
  kvi_list transfers, to_send;
  struct server_transfer *by_id[TRANSFER_BUCKETS];
  uint64_t bucket_factor; /* random and odd: ids that share a bucket cannot be chosen */

  pthread_mutex_t woken_lock; /* a leaf; the only lock of a stream */
  kvi_list woken, woken_gets;
  struct kvi_grpc_waker waker;
  kvi_list_node link; /* in poller->streams */
};

/* ---- server_transfer.c ---- */
/* A transfer from its start message, linked into the stream; KVS_ERR_NOMEM, KVS_ERR_PROTOCOL. */
kvs_status kvi_server_transfer_create(struct stream *stream, const Kvasir__V1__TransferStart *start);
/* Aborts what is unfinished and frees. */
void kvi_server_transfer_destroy(struct server_transfer *transfer);
struct server_transfer *kvi_server_transfer_find(struct stream *stream, uint64_t id);
static inline const uint8_t *kvi_server_key(const struct server_transfer *t, uint32_t chunk)
{
  return t->keys + (size_t)(chunk + 1) * t->key_length;
}
/* Puts it in the queue of those with something to say. */
void kvi_server_want_send(struct server_transfer *transfer);

/* ---- server_put.c ---- */
void kvi_server_put_start(struct server_transfer *transfer);
/* False: the client broke the protocol. */
bool kvi_server_put_piece(struct server_transfer *transfer, const Kvasir__V1__Piece *piece,
                          struct kvi_frame_in *in);
/* Ends every chunk that has not ended. */
void kvi_server_put_end_all(struct server_transfer *transfer, kvs_status status);
void kvi_server_put_woken(struct stream *stream);
/* Adds ends; true when all were told. */
bool kvi_server_put_fill(struct server_transfer *transfer, struct kvi_frame_out *out);

/* ---- server_get.c ---- */
/* Adds pieces and ends; true when all was added. */
bool kvi_server_get_fill(struct server_transfer *transfer, struct kvi_frame_out *out);
/* Those whose chunk has come, or will not, go on. */
void kvi_server_get_woken(struct stream *stream);
/* A get that is cancelled does not wait any longer. */
void kvi_server_get_unwait(struct server_transfer *transfer);
/* Nor does one that is past its deadline, and it holds nothing open: its chunks end. */
void kvi_server_get_expire(struct server_transfer *transfer);
/* KVS_ERR_NOMEM. */
kvs_status kvi_server_get_start(struct server_transfer *transfer, bool abreast);
void kvi_server_get_end_all(struct server_transfer *transfer);
static inline bool kvi_server_get_over(const struct server_transfer *t)
{
  return t->group_first == t->n_chunks;
}
void kvi_server_source_unref(void *source);

#endif
