/* Control calls: one unary RPC each. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/grpc/client_private.h"

#define REPLY_BYTES_MAX (8u << 20)

/* Allocated for each call: control calls are not the hot path, and gRPC itself allocates more for one. */
struct call {
  struct wire *wire;
  enum kvi_method method;
  kvi_call_done_fn *done;
  void *ctx;
  grpc_call *call;
  grpc_byte_buffer *request, *reply;
  grpc_metadata_array initial, trailing;
  grpc_status_code status;
  grpc_slice details;
  struct kvi_grpc_tag tag;
  kvi_list_node link, start_link; /* in wire->calls and wire->to_start, under wire->lock */
  uint64_t deadline_ns;
};

static kvs_status from_grpc(grpc_status_code code)
{
  switch (code) {
  case GRPC_STATUS_OK:
    return KVS_OK;
  case GRPC_STATUS_DEADLINE_EXCEEDED:
    return KVS_ERR_DEADLINE;
  case GRPC_STATUS_CANCELLED:
    return KVS_ERR_CANCELED;
  case GRPC_STATUS_RESOURCE_EXHAUSTED:
    return KVS_ERR_BUSY;
  case GRPC_STATUS_UNIMPLEMENTED:
    return KVS_ERR_UNSUPPORTED;
  case GRPC_STATUS_INVALID_ARGUMENT:
    return KVS_ERR_INVALID;
  case GRPC_STATUS_UNAUTHENTICATED:
  case GRPC_STATUS_PERMISSION_DENIED:
    return KVS_ERR_DENIED;
  default:
    return KVS_ERR_UNREACHABLE;
  }
}

static void call_free(struct call *c)
{
  grpc_byte_buffer_destroy(c->request);
  if (c->reply)
    grpc_byte_buffer_destroy(c->reply);
  grpc_metadata_array_destroy(&c->initial);
  grpc_metadata_array_destroy(&c->trailing);
  grpc_slice_unref(c->details);
  grpc_call_unref(c->call);
  free(c);
}

static void call_finished(void *ctx, bool ok)
{
  (void)ok;
  struct call *c = ctx;
  struct wire *w = c->wire;
  atomic_fetch_sub(&w->outstanding, 1);
  pthread_mutex_lock(&w->lock);
  kvi_list_remove(&w->calls, &c->link);
  pthread_mutex_unlock(&w->lock);
  w->last_activity_ns = kvi_now_ns();

  kvs_status status = from_grpc(c->status);
  ProtobufCMessage *reply = NULL;
  if (status == KVS_OK) {
    reply = kvi_grpc_unpack(c->reply, kvi_method_info(c->method)->reply, REPLY_BYTES_MAX);
    if (!reply)
      status = KVS_ERR_PROTOCOL;
  }
  c->done(c->ctx, status, reply);
  if (reply)
    protobuf_c_message_free_unpacked(reply, NULL);
  call_free(c);

  pthread_mutex_lock(&w->slot_lock);
  if (--w->unfinished == 0)
    pthread_cond_broadcast(&w->finished);
  pthread_mutex_unlock(&w->slot_lock);
}

static void start(struct call *c)
{
  struct wire *w = c->wire;
  c->call = grpc_channel_create_registered_call(w->channel, NULL, GRPC_PROPAGATE_DEFAULTS, w->cq,
                                                w->methods[c->method], kvi_grpc_time(c->deadline_ns), NULL);
  grpc_op ops[6] = {
      {.op = GRPC_OP_SEND_INITIAL_METADATA,
       .data.send_initial_metadata = {.count = w->n_metadata, .metadata = w->metadata}},
      {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = c->request},
      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
      {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &c->initial},
      {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->reply},
      {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
       .data.recv_status_on_client = {.trailing_metadata = &c->trailing,
                                      .status = &c->status,
                                      .status_details = &c->details}},
  };
  atomic_fetch_add(&w->outstanding, 1);
  kvi_grpc_start_batch(c->call, ops, 6, &c->tag);
}

/* One that is to be started. NULL: no memory. */
static struct call *make_call(struct wire *w, enum kvi_method method, const ProtobufCMessage *request,
                              uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx)
{
  struct call *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->wire = w;
  c->method = method;
  c->done = done;
  c->ctx = ctx;
  c->deadline_ns = deadline_ns;
  c->details = grpc_empty_slice();
  c->tag.handler = call_finished;
  c->tag.ctx = c;
  grpc_metadata_array_init(&c->initial);
  grpc_metadata_array_init(&c->trailing);
  c->request = kvi_grpc_pack(request);
  pthread_mutex_lock(&w->slot_lock);
  w->unfinished++;
  pthread_mutex_unlock(&w->slot_lock);
  pthread_mutex_lock(&w->lock);
  kvi_list_push_back(&w->calls, &c->link);
  pthread_mutex_unlock(&w->lock);
  return c;
}

void kvi_gw_start_handed(kvi_list_node *start_link)
{
  start(kvi_list_entry(start_link, struct call, start_link));
}

kvs_status kvi_gw_call_unchecked(struct wire *w, enum kvi_method method, const ProtobufCMessage *request,
                                 uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx)
{
  struct call *c = make_call(w, method, request, deadline_ns, done, ctx);
  if (!c)
    return KVS_ERR_NOMEM;
  start(c);
  return KVS_OK;
}

/* As kvi_gw_call_unchecked, by the sending thread, which leaves the connection for the caller. On an error it does not. */
static kvs_status call_handed(struct wire *w, enum kvi_method method, const ProtobufCMessage *request,
                              uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx, bool wake)
{
  struct call *c = make_call(w, method, request, deadline_ns, done, ctx);
  if (!c)
    return KVS_ERR_NOMEM;
  pthread_mutex_lock(&w->lock);
  kvi_gw_hand_over(w, &c->start_link, false, wake);
  pthread_mutex_unlock(&w->lock);
  return KVS_OK;
}

kvs_status kvi_gw_call(struct kvi_wire *wire, enum kvi_method method, const ProtobufCMessage *request,
                       uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx)
{
  struct wire *w = (struct wire *)wire;
  kvs_status status;
  if (!kvi_gw_enter(w, &status))
    return status;
  pthread_mutex_lock(&w->lock);
  bool full = w->calls.length >= MAX_CALLS;
  bool wake = w->idle;
  w->idle = false;
  pthread_mutex_unlock(&w->lock);
  if (full)
    status = KVS_ERR_BUSY;
  else if (w->options.hand_over) {
    status = call_handed(w, method, request, deadline_ns, done, ctx, wake);
    if (status == KVS_OK)
      return KVS_OK;
  } else
    status = kvi_gw_call_unchecked(w, method, request, deadline_ns, done, ctx);
  if (wake)
    kvi_grpc_waker_wake(&w->waker);
  kvi_gw_leave(w);
  return status;
}

/* Without the lock, since gRPC may release slices meanwhile, and with the last one a transfer ends: nobody else is in. */
void kvi_gw_cancel_calls(struct wire *w)
{
  kvi_list_for_each(&w->calls, node)
  {
    struct call *c = kvi_list_entry(node, struct call, link);
    grpc_call_cancel_with_status(c->call, GRPC_STATUS_UNAVAILABLE, "connection lost", NULL);
  }
}
