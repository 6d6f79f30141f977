/* The node's side of the wire: start, drain, end. */
#include "proto/grpc/grpc_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grpc/grpc_security.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/grpc/acceptor.h"
#include "proto/grpc/server_private.h"

#define TICK_MS       100u
#define MAX_IDLE_MS   60000
#define DRAIN_POLL_MS 10u
#define LINGER_MS     200u /* after the last stream has ended, for answers that are still being written */
#define CANCEL_MS     400u /* how long cancelled calls may take before their connections are shut down */

static kvs_status refuse(const struct kvi_grpc_server *server, const char *what, const char *why)
{
  if (server->options.error)
    snprintf(server->options.error, server->options.error_size, "%s: %s", what, why);
  return KVS_ERR_CONFIG;
}

/* ---- pollers ---- */

static void tick(struct poller *p)
{
  uint64_t now = kvi_now_ns();
  if (now - p->ticked_ns < TICK_MS * KVI_NS_PER_MS)
    return;
  p->ticked_ns = now;
  kvi_server_stream_tick(p, now);
  kvi_server_health_tick(p);
}

static void run_poller(void *ctx)
{
  struct poller *p = ctx;
  /* Streams and watches need a tick; without any the thread sleeps. */
  for (;;) {
    bool asleep = kvi_list_is_empty(&p->streams) && kvi_list_is_empty(&p->watches);
    uint64_t wait_ms = asleep ? 10000 : TICK_MS;
    if (!kvi_grpc_next(p->cq, kvi_now_ns() + wait_ms * KVI_NS_PER_MS))
      return;
    tick(p);
  }
}

static void post_requests(struct poller *p)
{
  for (uint32_t i = 0; i < PREPOSTED; i++)
    for (int m = 0; m < KVI_METHOD_COUNT; m++)
      kvi_server_request_call(p, (enum kvi_method)m);
  for (uint32_t i = 0; i < 2; i++) {
    kvi_server_request_health(p);
    kvi_server_request_watch(p);
    kvi_server_request_stream(p);
    kvi_server_request_unknown(p);
  }
}

/* ---- start ---- */

static grpc_arg int_arg(const char *key, int value)
{
  return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static void create_server(struct kvi_grpc_server *server)
{
  /* The quota is what bounds memory: without it a message is buffered whole before its length is looked at. */
  grpc_resource_quota *quota = grpc_resource_quota_create("kvasir");
  grpc_resource_quota_resize(quota, server->options.memory_quota_bytes);
  grpc_arg list[] = {
      int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)(KVI_FRAME_BYTES_MAX + KVI_FRAME_SCRATCH)),
      int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION,
              0), /* it knows neither limit nor quota: 2 MiB may become 2 GiB */
      int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
      int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)server->options.max_streams),
      int_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS, MAX_IDLE_MS), /* clients of ours always have a stream open */
      int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 15000),
      int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
      int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
      int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0), /* two nodes on one port would share its connections by chance */
      {.type = GRPC_ARG_POINTER,
       .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
       .value.pointer = {quota, grpc_resource_quota_arg_vtable()}},
  };
  grpc_channel_args args = {sizeof list / sizeof *list, list};
  server->server = grpc_server_create(&args, NULL);
  grpc_resource_quota_unref(quota);
}

static void register_methods(struct kvi_grpc_server *server)
{
  for (int m = 0; m < KVI_METHOD_COUNT; m++)
    server->methods[m] =
        grpc_server_register_method(server->server, kvi_method_info((enum kvi_method)m)->path, NULL,
                                    GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  server->transfer_method = grpc_server_register_method(server->server, "/kvasir.v1.Cache/Transfer", NULL,
                                                        GRPC_SRM_PAYLOAD_NONE, 0);
  server->health_method = grpc_server_register_method(server->server, "/grpc.health.v1.Health/Check", NULL,
                                                      GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  server->watch_method = grpc_server_register_method(server->server, "/grpc.health.v1.Health/Watch", NULL,
                                                     GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
}

static kvs_status make_credentials(struct kvi_grpc_server *server)
{
  const struct kvi_grpc_server_options *o = &server->options;
  if (!o->tls_cert_file && !o->tls_key_file)
    return o->tls_client_ca_file
               ? refuse(server, o->tls_client_ca_file, "a client CA needs a certificate and a key too")
               : KVS_OK;
  if (!o->tls_cert_file || !o->tls_key_file)
    return refuse(server, "TLS", "needs both a certificate and a key");
  kvs_status status = KVS_OK;
  char *cert = kvi_grpc_read_file(o->tls_cert_file);
  if (!cert)
    status = refuse(server, o->tls_cert_file, strerror(errno));
  char *key = kvi_grpc_read_file(o->tls_key_file);
  if (!key)
    status = refuse(server, o->tls_key_file, strerror(errno));
  char *ca = o->tls_client_ca_file ? kvi_grpc_read_file(o->tls_client_ca_file) : NULL;
  if (o->tls_client_ca_file && !ca)
    status = refuse(server, o->tls_client_ca_file, strerror(errno));
  if (status == KVS_OK) {
    grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = cert};
    server->credentials =
        grpc_ssl_server_credentials_create_ex(ca, &pair, 1,
                                              ca ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                 : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
                                              NULL);
  }
  free(cert);
  free(key);
  free(ca);
  return status;
}

static kvs_status listen_tls(struct kvi_grpc_server *server)
{
  for (size_t i = 0; i < server->options.n_listen && server->credentials; i++) {
    int port = grpc_server_add_http2_port(server->server, server->options.listen[i], server->credentials);
    if (port <= 0)
      return refuse(server, server->options.listen[i],
                    "cannot listen with TLS: address in use, or a bad certificate or key");
    server->ports[i] = (uint16_t)port;
  }
  return KVS_OK;
}

static uint32_t default_pollers(void)
{
  long cores = sysconf(_SC_NPROCESSORS_ONLN) / 4;
  return cores < 1 ? 1 : cores > MAX_POLLERS ? MAX_POLLERS : (uint32_t)cores;
}

static void fill_defaults(struct kvi_grpc_server_options *o)
{
  o->unix_mode = o->unix_mode ? o->unix_mode : 0660;
  o->pollers = o->pollers ? o->pollers : default_pollers();
  o->pollers = o->pollers > MAX_POLLERS ? MAX_POLLERS : o->pollers;
  o->max_connections = o->max_connections ? o->max_connections : 1024;
  o->max_streams = o->max_streams ? o->max_streams : 128;
  o->stall_timeout_ms = o->stall_timeout_ms ? o->stall_timeout_ms : 10000;
  uint32_t limit = o->service->limits.frame_bytes_max;
  o->piece_bytes = o->piece_bytes ? o->piece_bytes : KVI_PIECE_BYTES;
  o->piece_bytes = o->piece_bytes > limit ? limit : o->piece_bytes;
  o->memory_quota_bytes = o->memory_quota_bytes ? o->memory_quota_bytes : UINT64_C(256) << 20;
}

static void create_pollers(struct kvi_grpc_server *server)
{
  server->n_pollers = server->options.pollers;
  for (uint32_t i = 0; i < server->n_pollers; i++) {
    struct poller *p = &server->pollers[i];
    p->server = server;
    p->cq = grpc_completion_queue_create_for_next(NULL);
    kvi_list_init(&p->streams);
    kvi_list_init(&p->watches);
    grpc_server_register_completion_queue(server->server, p->cq, NULL);
  }
}

static kvs_status start_pollers(struct kvi_grpc_server *server)
{
  for (uint32_t i = 0; i < server->n_pollers; i++) {
    post_requests(&server->pollers[i]);
    char name[32];
    snprintf(name, sizeof name, "poller-%u", i);
    kvs_status status = kvi_thread_start(&server->pollers[i].thread, name, run_poller, &server->pollers[i]);
    if (status != KVS_OK)
      return status;
  }
  return KVS_OK;
}

kvs_status kvi_grpc_server_start(const struct kvi_grpc_server_options *options,
                                 struct kvi_grpc_server **server_p)
{
  *server_p = NULL;
  if (!options->service || options->n_listen > MAX_LISTEN)
    return KVS_ERR_INVALID;
  struct kvi_grpc_server *server = calloc(1, sizeof *server);
  if (!server)
    return KVS_ERR_NOMEM;
  server->service = options->service;
  server->options = *options;
  fill_defaults(&server->options);
  if (options->error && options->error_size)
    options->error[0] = '\0';
  grpc_init();
  create_server(server);
  create_pollers(server);
  register_methods(server);
  kvs_status status = make_credentials(server);
  if (status == KVS_OK)
    status = listen_tls(server);
  if (status == KVS_OK) {
    grpc_server_start(server->server);
    server->started = true;
    atomic_store(&server->serving, true);
    status = start_pollers(server);
  }
  if (status == KVS_OK)
    status = kvi_acceptor_start(server, &server->acceptor);
  if (status != KVS_OK) {
    kvi_grpc_server_destroy(server);
    return status;
  }
  *server_p = server;
  return KVS_OK;
}

/* ---- end ---- */

struct shutdown {
  struct kvi_grpc_tag tag;
  atomic_bool over;
};

static void on_shutdown(void *ctx, bool ok)
{
  (void)ok;
  atomic_store(&((struct shutdown *)ctx)->over, true);
}

/* The pollers run the queue; this thread looks in now and then. */
static bool wait_over(struct shutdown *s, uint32_t ms)
{
  kvi_deadline deadline = kvi_deadline_from_ms(ms);
  struct timespec pause = {.tv_nsec = DRAIN_POLL_MS * (long)KVI_NS_PER_MS};
  while (!atomic_load(&s->over) && !kvi_deadline_expired(deadline))
    nanosleep(&pause, NULL);
  return atomic_load(&s->over);
}

static bool is_idle(struct kvi_grpc_server *server)
{
  return atomic_load(&server->counters.streams) == 0 && atomic_load(&server->counters.watches) == 0 &&
         atomic_load(&server->waiting_calls) == 0;
}

/*
 * Until everything has ended, or nothing is in flight any more: the shutdown is over only when every peer has taken its
 * GOAWAY and closed, and a peer that is idle may not look for seconds.
 */
static bool wait_work(struct kvi_grpc_server *server, struct shutdown *s, uint32_t timeout_ms)
{
  kvi_deadline deadline = kvi_deadline_from_ms(timeout_ms);

  while (!kvi_deadline_expired(deadline)) {
    bool idle = is_idle(server);
    if (wait_over(s, idle ? LINGER_MS : DRAIN_POLL_MS))
      return true;
    if (idle && is_idle(server))
      return false;
  }
  return atomic_load(&s->over);
}

/*
 * Until nobody can start a batch any more. That the shutdown is over says less: it counts connections, so the last call of one may still lie
 * unread in the queue of a busy poller, or wait for an answer of the service, which comes in bounded time.
 */
static void wait_calls(struct kvi_grpc_server *server)
{
  struct timespec pause = {.tv_nsec = (long)KVI_NS_PER_MS};
  while (atomic_load(&server->posted) > 0 || atomic_load(&server->waiting_calls) > 0)
    nanosleep(&pause, NULL);
}

void kvi_grpc_server_drain(struct kvi_grpc_server *server, uint32_t timeout_ms)
{
  if (server->drained || !server->started)
    return;
  server->drained = true;
  atomic_store(&server->serving, false);
  atomic_store(&server->draining, true);
  if (server->acceptor)
    kvi_acceptor_stop_listening(server->acceptor);
  struct shutdown s = {.tag = {.handler = on_shutdown}};
  s.tag.ctx = &s;
  kvi_grpc_tag_arm(&s.tag);
  grpc_server_shutdown_and_notify(server->server, server->pollers[0].cq, &s.tag);
  if (!wait_work(server, &s, timeout_ms)) {
    grpc_server_cancel_all_calls(server->server);
    if (!wait_over(&s, CANCEL_MS) && server->acceptor)
      kvi_acceptor_shutdown(server->acceptor, 0); /* what a peer that does not read still holds back */
    while (!wait_over(&s, 1000))
      kvi_log_warn("waiting for calls to end");
  }
  wait_calls(server);
  for (uint32_t i = 0; i < server->n_pollers; i++)
    grpc_completion_queue_shutdown(server->pollers[i].cq);
  for (uint32_t i = 0; i < server->n_pollers; i++)
    kvi_thread_join(&server->pollers[i].thread);
}

/* A server that was never started has no threads in its queues. */
static void end_unstarted(struct kvi_grpc_server *server)
{
  for (uint32_t i = 0; i < server->n_pollers; i++) {
    grpc_completion_queue_shutdown(server->pollers[i].cq);
    while (kvi_grpc_next(server->pollers[i].cq, kvi_now_ns() + KVI_NS_PER_S))
      ;
  }
}

void kvi_grpc_server_destroy(struct kvi_grpc_server *server)
{
  if (!server)
    return;
  if (server->started)
    kvi_grpc_server_drain(server, 0);
  else
    end_unstarted(server);
  grpc_server_destroy(server->server);
  for (uint32_t i = 0; i < server->n_pollers; i++)
    grpc_completion_queue_destroy(server->pollers[i].cq);
  if (server->credentials)
    grpc_server_credentials_release(server->credentials);
  kvi_acceptor_destroy(server->acceptor);
  kvi_grpc_end();
  free(server);
}

/* ---- the rest ---- */

uint16_t kvi_grpc_server_port(const struct kvi_grpc_server *server, size_t index)
{
  return index < server->options.n_listen ? server->ports[index] : 0;
}

void kvi_grpc_server_set_serving(struct kvi_grpc_server *server, bool serving)
{
  atomic_store(&server->serving, serving);
}

void kvi_grpc_server_stats(const struct kvi_grpc_server *server, struct kvi_grpc_server_stats *stats_p)
{
  const struct counters *c = &server->counters;
  *stats_p = (struct kvi_grpc_server_stats){
      .connections = atomic_load(&c->connections),
      .connections_total = atomic_load(&c->connections_total),
      .refused_connections_total = atomic_load(&c->refused),
      .stalled_connections_total = atomic_load(&c->stalled),
      .refused_streams_total = atomic_load(&c->refused_streams),
      .refused_credentials_total = atomic_load(&c->refused_credentials),
      .streams = atomic_load(&c->streams),
      .transfers = atomic_load(&c->transfers),
      .calls_total = atomic_load(&c->calls),
      .unknown_calls_total = atomic_load(&c->unknown_calls),
      .protocol_errors_total = atomic_load(&c->protocol_errors),
      .frames_in_total = atomic_load(&c->frames_in),
      .frames_out_total = atomic_load(&c->frames_out),
      .bytes_in_total = atomic_load(&c->bytes_in),
      .bytes_out_total = atomic_load(&c->bytes_out),
  };
}
