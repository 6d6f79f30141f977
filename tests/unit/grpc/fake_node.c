#include "tests/unit/grpc/fake_node.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"
#include "proto/grpc/grpc_private.h"
#include <grpc/grpc_security.h>

#define WAIT_MS 10000u

struct call {
  struct fake_node *node;
  int method; /* enum kvi_method */
  grpc_call *call;
  grpc_metadata_array metadata;
  gpr_timespec deadline;
  grpc_byte_buffer *request, *reply;
  int cancelled;
  struct kvi_grpc_tag tag_new, tag_done;
};

struct fake_node {
  struct fake_node_options options;
  grpc_server *server;
  grpc_completion_queue *cq;
  kvi_thread thread;
  void *transfer_method, *methods[2];
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool frozen, stopping, stream_open, sent_done, over;
  uint64_t start_id;
  uint32_t n_read;

  grpc_call *stream;
  grpc_metadata_array metadata;
  gpr_timespec deadline;
  grpc_byte_buffer *received;
  int cancelled;
  struct kvi_frame_in in;
  struct kvi_grpc_tag tag_new, tag_begin, tag_close, tag_read, tag_sent, tag_shutdown;
};

static const enum kvi_method answered[2] = {KVI_METHOD_HELLO, KVI_METHOD_PING};

static void tell(struct fake_node *n, bool *flag)
{
  pthread_mutex_lock(&n->lock);
  *flag = true;
  pthread_cond_broadcast(&n->changed);
  pthread_mutex_unlock(&n->lock);
}

static void wait_for(struct fake_node *n, const bool *flag)
{
  kvi_deadline deadline = kvi_deadline_from_ms(WAIT_MS);
  while (!*flag && kvi_cond_wait(&n->changed, &n->lock, deadline) == KVS_OK)
    ;
  assert_true(*flag);
}

/* ---- calls ---- */

static void request_call(struct fake_node *n, int index);

static void call_free(struct call *c)
{
  if (c->request)
    grpc_byte_buffer_destroy(c->request);
  if (c->reply)
    grpc_byte_buffer_destroy(c->reply);
  grpc_metadata_array_destroy(&c->metadata);
  if (c->call)
    grpc_call_unref(c->call);
  free(c);
}

static void on_call_done(void *ctx, bool ok)
{
  (void)ok;
  call_free(ctx);
}

static void on_call(void *ctx, bool ok)
{
  struct call *c = ctx;
  if (!ok) {
    call_free(c);
    return;
  }
  request_call(c->node, c->method);
  Kvasir__V1__HelloReply hello = KVASIR__V1__HELLO_REPLY__INIT;
  const struct fake_node_options *options = &c->node->options;
  hello.protocol_min = options->protocol_min ? options->protocol_min : KVI_PROTOCOL_MIN;
  hello.protocol_max = options->protocol_max ? options->protocol_max : KVI_PROTOCOL_MIN;
  hello.status = options->hello_status;
  hello.incarnation = 9;
  hello.chunk_bytes_max = KVI_CHUNK_BYTES_MAX;
  hello.frame_bytes_max = KVI_FRAME_BYTES_MAX;
  hello.batch_chunks_max = KVI_BATCH_CHUNKS_MAX;
  Kvasir__V1__Empty empty = KVASIR__V1__EMPTY__INIT;
  c->reply = kvi_grpc_pack(c->method == 0 ? &hello.base : &empty.base);
  grpc_slice details = grpc_empty_slice();
  grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &c->cancelled};
  grpc_op ops[4] = {
      {.op = GRPC_OP_SEND_INITIAL_METADATA},
      {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = c->reply},
      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER, .data.send_status_from_server = {.status_details = &details}},
      close,
  };
  bool silent = c->node->options.silent;
  kvi_grpc_start_batch(c->call, silent ? &close : ops, silent ? 1 : 4, &c->tag_done);
}

static void request_call(struct fake_node *n, int index)
{
  struct call *c = calloc(1, sizeof *c);
  c->node = n;
  c->method = index;
  c->tag_new = (struct kvi_grpc_tag){.handler = on_call, .ctx = c};
  c->tag_done = (struct kvi_grpc_tag){.handler = on_call_done, .ctx = c};
  grpc_metadata_array_init(&c->metadata);
  kvi_grpc_tag_arm(&c->tag_new);
  if (grpc_server_request_registered_call(n->server, n->methods[index], &c->call, &c->deadline, &c->metadata,
                                          &c->request, n->cq, n->cq, &c->tag_new) != GRPC_CALL_OK)
    call_free(c);
}

/* ---- the stream ---- */

static void read_next(struct fake_node *n)
{
  if (n->n_read >= n->options.frames_read)
    return;
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &n->received};
  kvi_grpc_start_batch(n->stream, &op, 1, &n->tag_read);
}

static void on_read(void *ctx, bool ok)
{
  struct fake_node *n = ctx;
  if (!ok || !n->received)
    return;
  assert_int_equal(kvi_frame_in_open(&n->in, n->received), KVS_OK);
  n->received = NULL;
  n->n_read++;
  pthread_mutex_lock(&n->lock);
  if (n->in.header->n_starts > 0)
    n->start_id = n->in.header->starts[n->in.header->n_starts - 1]->id;
  pthread_cond_broadcast(&n->changed);
  pthread_mutex_unlock(&n->lock);
  kvi_frame_in_clear(&n->in);
  read_next(n);
}

static void on_sent(void *ctx, bool ok)
{
  (void)ok;
  tell(ctx, &((struct fake_node *)ctx)->sent_done);
}

static void on_shutdown(void *ctx, bool ok)
{
  (void)ok;
  tell(ctx, &((struct fake_node *)ctx)->over);
}

static void on_ignored(void *ctx, bool ok)
{
  (void)ctx;
  (void)ok;
}

static void on_stream(void *ctx, bool ok)
{
  struct fake_node *n = ctx;
  if (!ok)
    return;
  grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &n->cancelled};
  kvi_grpc_start_batch(n->stream, &close, 1, &n->tag_close);
  grpc_op begin = {.op = GRPC_OP_SEND_INITIAL_METADATA};
  kvi_grpc_start_batch(n->stream, &begin, 1, &n->tag_begin);
  tell(n, &n->stream_open);
  read_next(n);
}

/* ---- the thread ---- */

static void run(void *ctx)
{
  struct fake_node *n = ctx;
  bool go_on = true;
  while (go_on) {
    go_on = kvi_grpc_next(n->cq, kvi_now_ns() + 10 * KVI_NS_PER_MS);
    pthread_mutex_lock(&n->lock);
    while (n->frozen && !n->stopping)
      (void)kvi_cond_wait(&n->changed, &n->lock, kvi_deadline_from_ms(WAIT_MS));
    pthread_mutex_unlock(&n->lock);
  }
}

static grpc_server_credentials *credentials(const struct fake_node_options *options)
{
  if (!options->cert)
    return grpc_insecure_server_credentials_create();
  grpc_ssl_pem_key_cert_pair pair = {.private_key = options->key, .cert_chain = options->cert};
  return grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
                                               NULL);
}

struct fake_node *fake_node_start(const struct fake_node_options *options, char *endpoint)
{
  struct fake_node *n = calloc(1, sizeof *n);
  n->options = *options;
  pthread_mutex_init(&n->lock, NULL);
  kvi_cond_init(&n->changed);
  assert_int_equal(kvi_frame_in_init(&n->in), KVS_OK);
  grpc_init();
  n->server = grpc_server_create(NULL, NULL);
  n->cq = grpc_completion_queue_create_for_next(NULL);
  grpc_server_register_completion_queue(n->server, n->cq, NULL);
  for (int i = 0; i < 2; i++)
    n->methods[i] = grpc_server_register_method(n->server, kvi_method_info(answered[i])->path, NULL,
                                                GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  n->transfer_method =
      grpc_server_register_method(n->server, "/kvasir.v1.Cache/Transfer", NULL, GRPC_SRM_PAYLOAD_NONE, 0);
  grpc_server_credentials *creds = credentials(options);
  snprintf(endpoint, 128, "unix:/tmp/kvasir-fake-%d.sock", (int)getpid());
  assert_true(grpc_server_add_http2_port(n->server, endpoint, creds) > 0);
  grpc_server_credentials_release(creds);
  n->tag_new = (struct kvi_grpc_tag){.handler = on_stream, .ctx = n};
  n->tag_shutdown = (struct kvi_grpc_tag){.handler = on_shutdown, .ctx = n};
  n->tag_begin = n->tag_close = (struct kvi_grpc_tag){.handler = on_ignored, .ctx = n};
  n->tag_read = (struct kvi_grpc_tag){.handler = on_read, .ctx = n};
  n->tag_sent = (struct kvi_grpc_tag){.handler = on_sent, .ctx = n};
  grpc_server_start(n->server);
  request_call(n, 0);
  request_call(n, 1);
  grpc_metadata_array_init(&n->metadata);
  kvi_grpc_tag_arm(&n->tag_new);
  assert_int_equal(grpc_server_request_registered_call(n->server, n->transfer_method, &n->stream,
                                                       &n->deadline, &n->metadata, NULL, n->cq, n->cq,
                                                       &n->tag_new),
                   GRPC_CALL_OK);
  assert_int_equal(kvi_thread_start(&n->thread, "fake-node", run, n), KVS_OK);
  return n;
}

void fake_node_stop(struct fake_node *n)
{
  tell(n, &n->stopping);
  kvi_grpc_tag_arm(&n->tag_shutdown);
  grpc_server_shutdown_and_notify(n->server, n->cq, &n->tag_shutdown);
  grpc_server_cancel_all_calls(n->server);
  pthread_mutex_lock(&n->lock);
  wait_for(n, &n->over);
  pthread_mutex_unlock(&n->lock);
  grpc_completion_queue_shutdown(n->cq);
  kvi_thread_join(&n->thread);
  if (n->stream)
    grpc_call_unref(n->stream);
  grpc_metadata_array_destroy(&n->metadata);
  grpc_server_destroy(n->server);
  grpc_completion_queue_destroy(n->cq);
  kvi_frame_in_destroy(&n->in);
  grpc_shutdown_blocking();
  pthread_mutex_destroy(&n->lock);
  pthread_cond_destroy(&n->changed);
  free(n);
}

void fake_node_freeze(struct fake_node *n)
{
  tell(n, &n->frozen);
}

uint64_t fake_node_wait_start(struct fake_node *n)
{
  kvi_deadline deadline = kvi_deadline_from_ms(WAIT_MS);
  pthread_mutex_lock(&n->lock);
  while (n->start_id == 0 && kvi_cond_wait(&n->changed, &n->lock, deadline) == KVS_OK)
    ;
  uint64_t id = n->start_id;
  n->start_id = 0;
  pthread_mutex_unlock(&n->lock);
  assert_int_not_equal(id, 0);
  return id;
}

void fake_node_send(struct fake_node *n, const Kvasir__V1__FrameHeader *header, const void *data,
                    uint32_t length)
{
  pthread_mutex_lock(&n->lock);
  wait_for(n, &n->stream_open);
  n->sent_done = false;
  pthread_mutex_unlock(&n->lock);
  grpc_slice slices[2] = {grpc_slice_malloc(kvi_frame_prefix_size(header, length)),
                          grpc_slice_from_copied_buffer(data ? data : "", length)};
  (void)kvi_frame_write_prefix(header, length, GRPC_SLICE_START_PTR(slices[0]));
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, 2);
  grpc_slice_unref(slices[0]);
  grpc_slice_unref(slices[1]);
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
  kvi_grpc_start_batch(n->stream, &op, 1, &n->tag_sent);
  pthread_mutex_lock(&n->lock);
  wait_for(n, &n->sent_done);
  pthread_mutex_unlock(&n->lock);
  grpc_byte_buffer_destroy(buffer);
}
