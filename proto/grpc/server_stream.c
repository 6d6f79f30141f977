/* The transfer stream at the node: frames in, frames out, its beginning and its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "proto/grpc/acceptor.h"

static void send_next(struct stream *s);

static void batch(struct stream *s, const grpc_op *ops, size_t n, struct kvi_grpc_tag *tag)
{
  s->outstanding++;
  kvi_grpc_start_batch(s->call, ops, n, tag);
}

/* ---- the end ---- */

static void stream_free(struct stream *s)
{
  if (s->in.scratch) /* it had begun */
    kvi_frame_in_destroy(&s->in);
  kvi_frame_out_destroy(s->out);
  kvi_grpc_waker_destroy(&s->waker);
  pthread_mutex_destroy(&s->woken_lock);
  grpc_metadata_array_destroy(&s->metadata);
  if (s->call)
    grpc_call_unref(s->call);
  atomic_fetch_sub(&s->poller->server->posted, 1);
  free(s);
}

static void abort_transfers(struct stream *s)
{
  kvi_list_node *node;
  while ((node = kvi_list_first(&s->transfers)) != NULL)
    kvi_server_transfer_destroy(kvi_list_entry(node, struct server_transfer, link));
}

/* Every batch has come back. A wake that is still under way comes out of the queue first: it counts as one. */
static void release(struct stream *s)
{
  if (--s->outstanding > 0)
    return;
  struct kvi_grpc_server *server = s->poller->server;
  abort_transfers(s);
  if (atomic_load(&s->waker.set)) { /* its handler comes back here */
    s->over = true;
    return;
  }
  if (s->peer.id != 0) {
    server->service->ops->peer_gone(server->service->self, &s->peer);
    atomic_fetch_sub(&server->counters.streams, 1);
    kvi_list_remove(&s->poller->streams, &s->link);
  }
  stream_free(s);
}

static void finish(struct stream *s, grpc_status_code status, const char *text)
{
  if (s->status_sent)
    return;
  s->status_sent = true;
  abort_transfers(s);
  grpc_slice details = grpc_slice_from_static_string(text);
  grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                .data.send_status_from_server = {.status = status, .status_details = &details}};
  batch(s, &op, 1, &s->tag_status);
}

static void refuse(struct stream *s, kvs_status status)
{
  atomic_fetch_add(&s->poller->server->counters.protocol_errors, 1);
  kvi_log_limited(KVI_LOG_WARN, "peer %s broke the protocol (%s): closing its stream", s->peer.name,
                  kvs_status_text(status));
  finish(s, status == KVS_ERR_TOO_LARGE ? GRPC_STATUS_RESOURCE_EXHAUSTED : GRPC_STATUS_INVALID_ARGUMENT,
         kvs_status_text(status));
}

static void on_ignored(void *ctx, bool ok)
{
  (void)ok;
  release(ctx);
}

static void on_close(void *ctx, bool ok)
{
  struct stream *s = ctx;
  (void)ok;
  if (s->cancelled) {
    s->eof = true;
    abort_transfers(s);
    finish(s, GRPC_STATUS_CANCELLED, "cancelled");
  }
  release(s);
}

/* ---- out ---- */

/* True when the transfer has nothing more to say now. */
static bool fill_from(struct stream *s, struct server_transfer *t)
{
  return t->put ? kvi_server_put_fill(t, s->out) : kvi_server_get_fill(t, s->out);
}

static bool transfer_over(const struct server_transfer *t)
{
  return t->put ? t->n_told == t->n_chunks : kvi_server_get_over(t);
}

static void fill_frame(struct stream *s)
{
  kvi_frame_out_begin(s->out);
  kvi_list_node *node;
  while ((node = kvi_list_first(&s->to_send)) != NULL) {
    struct server_transfer *t = kvi_list_entry(node, struct server_transfer, send_link);
    if (!fill_from(s, t))
      return;
    kvi_list_remove(&s->to_send, &t->send_link);
    if (transfer_over(t))
      kvi_server_transfer_destroy(t);
  }
}

static void send_next(struct stream *s)
{
  if (s->sending || s->status_sent)
    return;
  fill_frame(s);
  if (kvi_frame_out_is_empty(s->out))
    return;
  struct counters *counters = &s->poller->server->counters;
  atomic_fetch_add_explicit(&counters->frames_out, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&counters->bytes_out, s->out->bulk, memory_order_relaxed);
  s->sent = kvi_frame_out_finish(s->out);
  s->sending = true;
  s->sending_since_ns = kvi_now_ns();
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = s->sent};
  batch(s, &op, 1, &s->tag_sent);
}

static void read_next(struct stream *s)
{
  /* Back-pressure: a stream with too much unfinished work is not read. */
  if (s->reading || s->eof || s->status_sent || s->transfers.length >= MAX_STREAM_TRANSFERS)
    return;
  s->reading = true;
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->received};
  batch(s, &op, 1, &s->tag_read);
}

static void on_sent(void *ctx, bool ok)
{
  struct stream *s = ctx;
  s->sending = false;
  grpc_byte_buffer_destroy(s->sent);
  s->sent = NULL;
  if (ok) {
    send_next(s);
    read_next(s);
  } else {
    finish(s, GRPC_STATUS_CANCELLED, "cancelled");
  }
  release(s);
}

/* ---- in ---- */

static bool take_piece(struct stream *s, const Kvasir__V1__Piece *piece)
{
  struct server_transfer *t = kvi_server_transfer_find(s, piece->id);
  if (!t) { /* it has ended: what was on its way is not needed */
    kvi_frame_in_skip(&s->in, piece->length);
    return true;
  }
  return t->put && kvi_server_put_piece(t, piece, &s->in);
}

static void take_cancel(struct stream *s, uint64_t id)
{
  struct server_transfer *t = kvi_server_transfer_find(s, id);
  if (!t)
    return;
  t->canceled = true;
  if (t->put)
    kvi_server_put_end_all(t, KVS_ERR_CANCELED);
  else
    kvi_server_get_unwait(t);
}

static kvs_status take_frame(struct stream *s, const Kvasir__V1__FrameHeader *header)
{
  for (size_t i = 0; i < header->n_cancels; i++)
    take_cancel(s, header->cancels[i]);
  for (size_t i = 0; i < header->n_starts; i++) {
    kvs_status status = kvi_server_transfer_create(s, header->starts[i]);
    if (status != KVS_OK)
      return status;
  }
  for (size_t i = 0; i < header->n_pieces; i++)
    if (!take_piece(s, header->pieces[i]))
      return KVS_ERR_PROTOCOL;
  return header->n_ends == 0 ? KVS_OK : KVS_ERR_PROTOCOL;
}

static void on_read(void *ctx, bool ok)
{
  struct stream *s = ctx;
  s->reading = false;
  grpc_byte_buffer *buffer = s->received;
  s->received = NULL;
  if (!ok || !buffer) {
    s->eof = true;
    finish(s, GRPC_STATUS_OK, "");
    release(s);
    return;
  }
  struct counters *counters = &s->poller->server->counters;
  kvs_status status = kvi_frame_in_open(&s->in, buffer);
  atomic_fetch_add_explicit(&counters->frames_in, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&counters->bytes_in, s->in.left, memory_order_relaxed);
  if (s->status_sent)
    status = KVS_OK;
  else if (status == KVS_OK)
    status = take_frame(s, s->in.header);
  kvi_frame_in_clear(&s->in);
  if (status == KVS_OK) {
    send_next(s);
    read_next(s);
  } else {
    refuse(s, status);
  }
  release(s);
}

/* ---- the beginning ---- */

static void on_woken(void *ctx)
{
  struct stream *s = ctx;
  if (s->over) { /* release() waited for this */
    s->outstanding++;
    release(s);
    return;
  }
  kvi_server_put_woken(s);
  kvi_server_get_woken(s);
  send_next(s);
}

/*
 * Counts the stream and makes its buffers, some hundred KiB: one that is only posted has none, and all of them together are
 * bounded by the connections. False: refused; its peer.id stays 0, it is in no list and not counted.
 */
static bool take_in(struct stream *s, uint64_t id)
{
  struct kvi_grpc_server *server = s->poller->server;
  if (atomic_fetch_add(&server->counters.streams, 1) >= server->options.max_connections)
    goto refused;
  s->out = kvi_frame_out_create(server->options.piece_bytes);
  if (!s->out || kvi_frame_in_init(&s->in) != KVS_OK || id == 0)
    goto refused;
  s->peer.id = id;
  kvi_list_push_back(&s->poller->streams, &s->link);
  return true;

refused:
  atomic_fetch_sub(&server->counters.streams, 1);
  atomic_fetch_add(&server->counters.refused_streams, 1);
  kvi_log_limited(KVI_LOG_WARN, "peer %s: no room for another transfer stream", s->peer.name);
  return false;
}

static void on_new(void *ctx, bool ok)
{
  struct stream *s = ctx;
  struct kvi_grpc_server *server = s->poller->server;
  if (!ok) { /* the server shuts down */
    release(s);
    return;
  }
  if (!atomic_load(&server->draining))
    kvi_server_request_stream(s->poller);
  char *name = grpc_call_get_peer(s->call);
  snprintf(s->peer_name, sizeof s->peer_name, "%s", name);
  s->connection = kvi_acceptor_name(server->acceptor, name, s->peer_name, sizeof s->peer_name);
  gpr_free(name);
  struct kvi_peer who = {.id = kvi_server_session(&s->metadata), .name = s->peer_name};
  if (who.id == 0)
    (void)kvi_random_id(&who.id);
  bool known = kvi_server_identify(server, s->call, &s->metadata, &who) == KVS_OK;
  uint64_t id = who.id;
  who.id = 0; /* until it is taken in */
  s->peer = who;
  bool taken = known && take_in(s, id);

  grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &s->cancelled};
  batch(s, &close, 1, &s->tag_close);
  grpc_op begin = {.op = GRPC_OP_SEND_INITIAL_METADATA};
  batch(s, &begin, 1, &s->tag_begin);
  if (atomic_load(&server->draining))
    finish(s, GRPC_STATUS_UNAVAILABLE, "draining");
  else if (!known)
    finish(s, GRPC_STATUS_UNAUTHENTICATED, kvs_status_text(KVS_ERR_DENIED));
  else if (!taken)
    finish(s, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many transfer streams");
  read_next(s);
  release(s);
}

void kvi_server_request_stream(struct poller *poller)
{
  struct stream *s = calloc(1, sizeof *s);
  if (!s) {
    kvi_log_error("no memory for another stream");
    return;
  }
  atomic_fetch_add(&poller->server->posted, 1);
  s->poller = poller;
  s->outstanding = 1;
  (void)kvi_random_id(&s->bucket_factor);
  s->bucket_factor |= 1;
  kvi_list_init(&s->transfers);
  kvi_list_init(&s->to_send);
  kvi_list_init(&s->woken);
  kvi_list_init(&s->woken_gets);
  pthread_mutex_init(&s->woken_lock, NULL);
  grpc_metadata_array_init(&s->metadata);
  kvi_grpc_waker_init(&s->waker, poller->cq, on_woken, s);
  s->tag_new = (struct kvi_grpc_tag){.handler = on_new, .ctx = s};
  s->tag_begin = s->tag_status = (struct kvi_grpc_tag){.handler = on_ignored, .ctx = s};
  s->tag_close = (struct kvi_grpc_tag){.handler = on_close, .ctx = s};
  s->tag_read = (struct kvi_grpc_tag){.handler = on_read, .ctx = s};
  s->tag_sent = (struct kvi_grpc_tag){.handler = on_sent, .ctx = s};
  kvi_grpc_tag_arm(&s->tag_new);
  grpc_call_error error = grpc_server_request_registered_call(
      poller->server->server, poller->server->transfer_method, &s->call, &s->deadline, &s->metadata, NULL,
      poller->cq, poller->cq, &s->tag_new);
  if (error != GRPC_CALL_OK)
    release(s);
}

/* ---- time ---- */

static void expire_transfers(struct stream *s, uint64_t now)
{
  kvi_list_for_each_safe(&s->transfers, node)
  {
    struct server_transfer *t = kvi_list_entry(node, struct server_transfer, link);
    if (now < t->deadline_ns)
      continue;
    if (t->put)
      kvi_server_put_end_all(t, KVS_ERR_DEADLINE);
    else
      kvi_server_get_expire(t);
  }
}

/* A peer that does not read: the call is given up, and the connection, whose write gRPC would wait for. */
static void end_stalled(struct stream *s, uint64_t now)
{
  struct kvi_grpc_server *server = s->poller->server;
  if (!s->sending || now - s->sending_since_ns < server->options.stall_timeout_ms * KVI_NS_PER_MS)
    return;
  kvi_log_warn("peer %s has not read for %u ms: closing its connection", s->peer.name,
               server->options.stall_timeout_ms);
  atomic_fetch_add(&server->counters.stalled, 1);
  s->sending_since_ns = now;
  grpc_call_cancel(s->call, NULL);
  if (s->connection != 0)
    kvi_acceptor_shutdown(server->acceptor, s->connection);
}

void kvi_server_stream_tick(struct poller *poller, uint64_t now)
{
  bool draining = atomic_load(&poller->server->draining);
  kvi_list_for_each_safe(&poller->streams, node)
  {
    struct stream *s = kvi_list_entry(node, struct stream, link);
    expire_transfers(s, now);
    end_stalled(s, now);
    send_next(s);
    if (draining && kvi_list_is_empty(&s->transfers) && !s->sending)
      finish(s, GRPC_STATUS_UNAVAILABLE, "draining");
  }
}
