/*
 * grpc.health.v1 at the node: what Check answers, and Watch, a stream that tells of each change until the node drains or the client goes.
 * Source: the gRPC health checking protocol.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/grpc/server_private.h"
#include "proto/kvasir/v1/health.pb-c.h"

#define WATCHES_MAX        64u /* of a poller */
#define QUESTION_BYTES_MAX 4096u
#define NOTHING_TOLD       (-1)

struct watch {
  struct poller *poller;
  grpc_call *call;
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  grpc_byte_buffer *request, *reply;
  int cancelled, told; /* told: the status that was sent last */
  bool known, sending, over;
  uint32_t outstanding; /* batches */
  uint64_t sending_since_ns;
  struct kvi_grpc_tag tag_new, tag_close, tag_sent, tag_status;
  kvi_list_node link; /* in poller->watches */
};

bool kvi_server_health_ask(grpc_byte_buffer *request, bool *known_p)
{
  ProtobufCMessage *message =
      kvi_grpc_unpack(request, &grpc__health__v1__health_check_request__descriptor, QUESTION_BYTES_MAX);
  if (!message)
    return false;
  const char *name = ((Grpc__Health__V1__HealthCheckRequest *)message)->service;
  *known_p = !*name || strcmp(name, "kvasir.v1.Cache") == 0 || strcmp(name, "kvasir.v1.Admin") == 0;
  protobuf_c_message_free_unpacked(message, NULL);
  return true;
}

static int health(const struct kvi_grpc_server *server, bool known)
{
  if (!known)
    return GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
  return atomic_load(&server->serving) ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                                       : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

static grpc_byte_buffer *pack(int status)
{
  Grpc__Health__V1__HealthCheckResponse reply = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  reply.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
  return kvi_grpc_pack(&reply.base);
}

grpc_byte_buffer *kvi_server_health_reply(const struct kvi_grpc_server *server)
{
  return pack(health(server, true));
}

/* ---- a watch ---- */

static void watch_free(struct watch *w)
{
  if (w->request)
    grpc_byte_buffer_destroy(w->request);
  grpc_metadata_array_destroy(&w->metadata);
  if (w->call)
    grpc_call_unref(w->call);
  atomic_fetch_sub(&w->poller->server->posted, 1);
  free(w);
}

static void batch(struct watch *w, const grpc_op *ops, size_t n, struct kvi_grpc_tag *tag)
{
  w->outstanding++;
  kvi_grpc_start_batch(w->call, ops, n, tag);
}

static void release(struct watch *w)
{
  if (--w->outstanding > 0)
    return;
  if (kvi_list_is_linked(&w->link)) {
    kvi_list_remove(&w->poller->watches, &w->link);
    atomic_fetch_sub(&w->poller->server->counters.watches, 1);
  }
  watch_free(w);
}

static void finish(struct watch *w, grpc_status_code status, const char *text)
{
  if (w->over)
    return;
  w->over = true;
  grpc_slice details = grpc_slice_from_static_string(text);
  grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                .data.send_status_from_server = {.status = status, .status_details = &details}};
  batch(w, &op, 1, &w->tag_status);
}

/* Tells what has changed; when nothing more will, ends it. */
static void tell(struct watch *w)
{
  if (w->sending) { /* a client that does not read is not waited for */
    uint64_t stall_ns = w->poller->server->options.stall_timeout_ms * KVI_NS_PER_MS;
    if (!w->over && kvi_now_ns() - w->sending_since_ns > stall_ns)
      grpc_call_cancel(w->call, NULL);
    return;
  }
  if (w->over)
    return;
  int now = health(w->poller->server, w->known);
  if (now == w->told) {
    if (atomic_load(&w->poller->server->draining))
      finish(w, GRPC_STATUS_UNAVAILABLE, "draining");
    return;
  }
  w->reply = pack(now);
  if (!w->reply) {
    finish(w, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory");
    return;
  }
  grpc_op ops[2];
  size_t n = 0;
  if (w->told == NOTHING_TOLD)
    ops[n++] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
  ops[n++] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = w->reply};
  w->told = now;
  w->sending = true;
  w->sending_since_ns = kvi_now_ns();
  batch(w, ops, n, &w->tag_sent);
}

static void on_sent(void *ctx, bool ok)
{
  struct watch *w = ctx;
  w->sending = false;
  grpc_byte_buffer_destroy(w->reply);
  w->reply = NULL;
  if (ok)
    tell(w);
  else
    finish(w, GRPC_STATUS_CANCELLED, "cancelled");
  release(w);
}

static void on_close(void *ctx, bool ok)
{
  struct watch *w = ctx;
  (void)ok;
  finish(w, GRPC_STATUS_CANCELLED, "cancelled");
  release(w);
}

static void on_status(void *ctx, bool ok)
{
  (void)ok;
  release(ctx);
}

/* The end of one that is refused before it has told anything. */
static void refuse(struct watch *w, grpc_status_code status, const char *text)
{
  w->over = true;
  grpc_slice details = grpc_slice_from_static_string(text);
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                    {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                     .data.send_status_from_server = {.status = status, .status_details = &details}}};
  batch(w, ops, 2, &w->tag_status);
}

static void on_new(void *ctx, bool ok)
{
  struct watch *w = ctx;
  if (!ok) {
    watch_free(w);
    return;
  }
  struct kvi_grpc_server *server = w->poller->server;
  if (!atomic_load(&server->draining))
    kvi_server_request_watch(w->poller);
  atomic_fetch_add_explicit(&server->counters.calls, 1, memory_order_relaxed);
  grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &w->cancelled};
  batch(w, &close, 1, &w->tag_close);
  if (!kvi_server_health_ask(w->request, &w->known)) {
    refuse(w, GRPC_STATUS_INVALID_ARGUMENT, "not a health check");
  } else if (w->poller->watches.length >= WATCHES_MAX) {
    refuse(w, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many watches");
  } else {
    kvi_list_push_back(&w->poller->watches, &w->link);
    atomic_fetch_add(&server->counters.watches, 1);
    tell(w);
  }
}

void kvi_server_request_watch(struct poller *poller)
{
  struct watch *w = calloc(1, sizeof *w);
  if (!w) {
    kvi_log_error("no memory for another call");
    return;
  }
  atomic_fetch_add(&poller->server->posted, 1);
  w->poller = poller;
  w->told = NOTHING_TOLD;
  w->tag_new = (struct kvi_grpc_tag){.handler = on_new, .ctx = w};
  w->tag_close = (struct kvi_grpc_tag){.handler = on_close, .ctx = w};
  w->tag_sent = (struct kvi_grpc_tag){.handler = on_sent, .ctx = w};
  w->tag_status = (struct kvi_grpc_tag){.handler = on_status, .ctx = w};
  grpc_metadata_array_init(&w->metadata);
  kvi_grpc_tag_arm(&w->tag_new);
  if (grpc_server_request_registered_call(poller->server->server, poller->server->watch_method, &w->call,
                                          &w->deadline, &w->metadata, &w->request, poller->cq, poller->cq,
                                          &w->tag_new) != GRPC_CALL_OK)
    watch_free(w);
}

void kvi_server_health_tick(struct poller *poller)
{
  kvi_list_for_each_safe(&poller->watches, node) tell(kvi_list_entry(node, struct watch, link));
}
