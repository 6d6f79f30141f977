/* Unary calls at the node: the control methods, health, and everything that is neither. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/grpc/server_private.h"

struct call {
  struct poller *poller;
  int method; /* enum kvi_method, or METHOD_HEALTH */
  grpc_call *call;
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  grpc_byte_buffer *request, *reply;
  int cancelled;
  struct kvi_call_wait wait;
  struct kvi_grpc_tag tag_new, tag_done;
};

#define METHOD_HEALTH (-1)

uint64_t kvi_server_session(const grpc_metadata_array *metadata)
{
  for (size_t i = 0; i < metadata->count; i++) {
    if (grpc_slice_str_cmp(metadata->metadata[i].key, KVI_SESSION_HEADER) != 0)
      continue;
    char text[17] = "";
    size_t length = GRPC_SLICE_LENGTH(metadata->metadata[i].value);
    if (length != 16)
      return 0;
    memcpy(text, GRPC_SLICE_START_PTR(metadata->metadata[i].value), length);
    return strtoull(text, NULL, 16);
  }
  return 0;
}

static void call_free(struct call *c)
{
  if (c->request)
    grpc_byte_buffer_destroy(c->request);
  if (c->reply)
    grpc_byte_buffer_destroy(c->reply);
  grpc_metadata_array_destroy(&c->metadata);
  if (c->call)
    grpc_call_unref(c->call);
  atomic_fetch_sub(&c->poller->server->posted, 1);
  free(c);
}

static void on_done(void *ctx, bool ok)
{
  (void)ok;
  call_free(ctx);
}

static grpc_status_code to_grpc(kvs_status status)
{
  switch (status) {
  case KVS_OK:
    return GRPC_STATUS_OK;
  case KVS_ERR_UNSUPPORTED:
    return GRPC_STATUS_UNIMPLEMENTED;
  case KVS_ERR_DRAINING:
    return GRPC_STATUS_UNAVAILABLE;
  case KVS_ERR_NOMEM:
  case KVS_ERR_TOO_LARGE:
    return GRPC_STATUS_RESOURCE_EXHAUSTED;
  case KVS_ERR_DENIED:
    return GRPC_STATUS_PERMISSION_DENIED;
  case KVS_ERR_INVALID:
  case KVS_ERR_PROTOCOL:
    return GRPC_STATUS_INVALID_ARGUMENT;
  default:
    return GRPC_STATUS_INTERNAL;
  }
}

static void answer(struct call *c, grpc_status_code status, const char *text)
{
  grpc_slice details = grpc_slice_from_static_string(text);
  grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
  size_t n = 1;
  if (c->reply)
    ops[n++] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = c->reply};
  ops[n++] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                       .data.send_status_from_server = {.status = status, .status_details = &details}};
  ops[n++] =
      (grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &c->cancelled};
  kvi_grpc_start_batch(c->call, ops, n, &c->tag_done);
}

/* ---- control ---- */

static void answer_service(struct call *c, kvs_status status, ProtobufCMessage *reply)
{
  if (status == KVS_OK)
    c->reply = kvi_grpc_pack(reply);
  if (reply)
    protobuf_c_message_free_unpacked(reply, NULL);
  answer(c, to_grpc(status), status == KVS_OK ? "" : kvs_status_text(status));
}

/* On a thread of the service. Nobody else has the call: its poller left it alone when it was told to wait. */
static void on_answered(struct kvi_call_wait *wait, kvs_status status, ProtobufCMessage *reply)
{
  struct call *c = wait->user;
  struct kvi_grpc_server *server = c->poller->server;
  answer_service(c, status, reply);
  /* After the batch: the server is not freed before. */
  atomic_fetch_sub(&server->waiting_calls, 1);
}

static void ask_service(struct call *c)
{
  struct kvi_grpc_server *server = c->poller->server;
  enum kvi_method method = (enum kvi_method)c->method;
  char *name = grpc_call_get_peer(c->call);
  struct kvi_peer peer = {.id = kvi_server_session(&c->metadata), .name = name};
  ProtobufCMessage *reply = NULL;
  /* First: of strangers nothing is unpacked. */
  if (kvi_server_identify(server, c->call, &c->metadata, &peer) != KVS_OK) {
    gpr_free(name);
    answer(c, GRPC_STATUS_UNAUTHENTICATED, kvs_status_text(KVS_ERR_DENIED));
    return;
  }
  ProtobufCMessage *request =
      kvi_grpc_unpack(c->request, kvi_method_info(method)->request, REQUEST_BYTES_MAX);
  if (!request) {
    gpr_free(name);
    answer_service(c, KVS_ERR_INVALID, NULL);
    return;
  }
  c->wait = (struct kvi_call_wait){.done = on_answered, .user = c};
  atomic_fetch_add(&server->waiting_calls, 1);
  kvs_status status =
      server->service->ops->call(server->service->self, &peer, method, request, &c->wait, &reply);
  protobuf_c_message_free_unpacked(request, NULL);
  gpr_free(name);
  if (status == KVS_PENDING)
    return; /* it may be over by now */
  atomic_fetch_sub(&server->waiting_calls, 1);
  answer_service(c, status, reply);
}

/* ---- health ---- */

static grpc_status_code ask_health(struct call *c)
{
  bool known;
  if (!kvi_server_health_ask(c->request, &known))
    return GRPC_STATUS_INVALID_ARGUMENT;
  if (!known)
    return GRPC_STATUS_NOT_FOUND;
  c->reply = kvi_server_health_reply(c->poller->server);
  return c->reply ? GRPC_STATUS_OK : GRPC_STATUS_RESOURCE_EXHAUSTED;
}

/* ---- requests ---- */

static void request(struct poller *poller, int method);

static void on_new(void *ctx, bool ok)
{
  struct call *c = ctx;
  if (!ok) {
    call_free(c);
    return;
  }
  struct kvi_grpc_server *server = c->poller->server;
  if (!atomic_load(&server->draining) || c->method == METHOD_HEALTH)
    request(c->poller, c->method);
  atomic_fetch_add_explicit(&server->counters.calls, 1, memory_order_relaxed);
  if (c->method == METHOD_HEALTH) {
    answer(c, ask_health(c), "");
    return;
  }
  ask_service(c);
}

static void request(struct poller *poller, int method)
{
  struct kvi_grpc_server *server = poller->server;
  struct call *c = calloc(1, sizeof *c);
  if (!c) {
    kvi_log_error("no memory for another call");
    return;
  }
  atomic_fetch_add(&server->posted, 1);
  c->poller = poller;
  c->method = method;
  c->tag_new = (struct kvi_grpc_tag){.handler = on_new, .ctx = c};
  c->tag_done = (struct kvi_grpc_tag){.handler = on_done, .ctx = c};
  grpc_metadata_array_init(&c->metadata);
  kvi_grpc_tag_arm(&c->tag_new);
  void *handle = method == METHOD_HEALTH ? server->health_method : server->methods[method];
  if (grpc_server_request_registered_call(server->server, handle, &c->call, &c->deadline, &c->metadata,
                                          &c->request, poller->cq, poller->cq, &c->tag_new) != GRPC_CALL_OK)
    call_free(c);
}

void kvi_server_request_call(struct poller *poller, enum kvi_method method)
{
  request(poller, (int)method);
}

void kvi_server_request_health(struct poller *poller)
{
  request(poller, METHOD_HEALTH);
}

/* ---- unknown methods ---- */

struct unknown {
  struct poller *poller;
  grpc_call *call;
  grpc_call_details details;
  grpc_metadata_array metadata;
  int cancelled;
  struct kvi_grpc_tag tag_new, tag_done;
};

static void unknown_free(struct unknown *u)
{
  if (u->call)
    grpc_call_unref(u->call);
  grpc_call_details_destroy(&u->details);
  grpc_metadata_array_destroy(&u->metadata);
  atomic_fetch_sub(&u->poller->server->posted, 1);
  free(u);
}

static void on_unknown_done(void *ctx, bool ok)
{
  (void)ok;
  unknown_free(ctx);
}

static void on_unknown(void *ctx, bool ok)
{
  struct unknown *u = ctx;
  if (!ok) {
    unknown_free(u);
    return;
  }
  struct kvi_grpc_server *server = u->poller->server;
  if (!atomic_load(&server->draining))
    kvi_server_request_unknown(u->poller);
  atomic_fetch_add_explicit(&server->counters.unknown_calls, 1, memory_order_relaxed);
  grpc_slice text = grpc_slice_from_static_string("no such method here");
  grpc_op ops[3] = {
      {.op = GRPC_OP_SEND_INITIAL_METADATA},
      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
       .data.send_status_from_server = {.status = GRPC_STATUS_UNIMPLEMENTED, .status_details = &text}},
      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &u->cancelled},
  };
  kvi_grpc_start_batch(u->call, ops, 3, &u->tag_done);
}

void kvi_server_request_unknown(struct poller *poller)
{
  struct unknown *u = calloc(1, sizeof *u);
  if (!u) {
    kvi_log_error("no memory for another call");
    return;
  }
  atomic_fetch_add(&poller->server->posted, 1);
  u->poller = poller;
  u->tag_new = (struct kvi_grpc_tag){.handler = on_unknown, .ctx = u};
  u->tag_done = (struct kvi_grpc_tag){.handler = on_unknown_done, .ctx = u};
  grpc_call_details_init(&u->details);
  grpc_metadata_array_init(&u->metadata);
  kvi_grpc_tag_arm(&u->tag_new);
  if (grpc_server_request_call(poller->server->server, &u->call, &u->details, &u->metadata, poller->cq,
                               poller->cq, &u->tag_new) != GRPC_CALL_OK)
    unknown_free(u);
}
