/* Making and ending a connection. All of it runs on the poller. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "proto/grpc/client_private.h"
#include "proto/grpc/endpoint.h"

#define TOKEN_BYTES_MAX 4096u
#define STEP_MS         50u /* how soon a stop is noticed while connecting */

static kvs_status fail(struct wire *w, kvs_status status, const char *what)
{
  pthread_mutex_lock(&w->lock);
  w->reason_status = status;
  snprintf(w->reason, sizeof w->reason, "%s: %s", w->endpoint, what);
  pthread_mutex_unlock(&w->lock);
  return status;
}

/* ---- the socket ---- */

/* In short steps: destroy does not wait for the end of an attempt. */
static uint64_t next_step(uint64_t deadline_ns)
{
  return kvi_deadline_earlier((kvi_deadline){deadline_ns}, kvi_deadline_from_ms(STEP_MS)).at_ns;
}

static int wait_connected(struct wire *w, int fd, uint64_t deadline_ns)
{
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  int n = 0;
  do {
    kvi_deadline step = {next_step(deadline_ns)};
    n = poll(&p, 1, (int)kvi_deadline_remaining_ms(step));
  } while (n == 0 && !kvi_deadline_expired((kvi_deadline){deadline_ns}) && !kvi_gw_stopping(w));
  if (n <= 0)
    return n < 0 ? errno : ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

static int connect_address(struct wire *w, int family, const struct sockaddr *address, socklen_t length,
                           uint64_t deadline_ns)
{
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  int one = 1;
  if (family != AF_UNIX)
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  int error = connect(fd, address, length) == 0 ? 0 : errno;
  if (error == EINPROGRESS || error == EAGAIN)
    error = wait_connected(w, fd, deadline_ns);
  if (error == 0)
    return fd;
  close(fd);
  errno = error;
  return -1;
}

static int connect_unix(struct wire *w, const char *path, uint64_t deadline_ns)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, path, strlen(path) + 1); /* length checked at open */
  return connect_address(w, AF_UNIX, (const struct sockaddr *)&address, sizeof address, deadline_ns);
}

/* Each address gets an equal share of the time that is left, or a silent one would leave none to those after it. */
static int connect_tcp(struct wire *w, const struct kvi_endpoint *endpoint, uint64_t deadline_ns)
{
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV},
                  *list = NULL;
  if (getaddrinfo(endpoint->host, endpoint->port, &hints, &list) != 0) {
    errno = EHOSTUNREACH;
    return -1;
  }
  uint64_t n = 0;
  for (const struct addrinfo *a = list; a; a = a->ai_next)
    n++;
  int fd = -1;
  for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
    kvi_deadline share = kvi_deadline_share((kvi_deadline){deadline_ns}, kvi_now_ns(), n--);
    fd = connect_address(w, a->ai_family, a->ai_addr, a->ai_addrlen, share.at_ns);
  }
  freeaddrinfo(list);
  return fd;
}

/* ---- the channel ---- */

static grpc_arg int_arg(const char *key, int value)
{
  return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static size_t fill_args(const struct wire *w, grpc_arg *args)
{
  size_t n = 0;
  args[n++] =
      int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)(KVI_FRAME_BYTES_MAX + KVI_FRAME_SCRATCH) * 4);
  args[n++] = int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0); /* it knows no limit */
  args[n++] = int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
  args[n++] = int_arg(GRPC_ARG_ENABLE_RETRIES, 0);
  args[n++] = int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args[n++] = int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  args[n++] = int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1); /* else equal channels share one connection */
  args[n++] = int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0);
  if (w->server_name)
    args[n++] = (grpc_arg){.type = GRPC_ARG_STRING,
                           .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
                           .value.string = w->server_name};
  return n;
}

static kvs_status open_plain(struct wire *w, const struct kvi_endpoint *endpoint,
                             const grpc_channel_args *args, uint64_t deadline_ns)
{
  int fd = endpoint->unix_path[0] ? connect_unix(w, endpoint->unix_path, deadline_ns)
                                  : connect_tcp(w, endpoint, deadline_ns);
  if (fd < 0)
    return fail(w, KVS_ERR_UNREACHABLE, strerror(errno));
  w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (w->fd < 0) {
    close(fd);
    return fail(w, KVS_ERR_SYSTEM, strerror(errno));
  }
  grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
  w->channel = grpc_channel_create_from_fd("kvasir", fd, insecure, args);
  grpc_channel_credentials_release(insecure);
  return KVS_OK;
}

static kvs_status open_channel(struct wire *w, uint64_t deadline_ns)
{
  struct kvi_endpoint endpoint;
  kvs_status status = kvi_endpoint_parse(w->endpoint, &endpoint);
  if (status != KVS_OK)
    return status;
  grpc_arg list[12];
  grpc_channel_args args = {fill_args(w, list), list};
  if (!w->tls)
    return open_plain(w, &endpoint, &args, deadline_ns);
  char target[KVI_ENDPOINT_TEXT + 8];
  if (endpoint.unix_path[0])
    snprintf(target, sizeof target, "unix:%s", endpoint.unix_path);
  else
    snprintf(target, sizeof target, strchr(endpoint.host, ':') ? "[%s]:%s" : "%s:%s", endpoint.host,
             endpoint.port);
  w->channel = grpc_channel_create(target, w->tls, &args);
  return KVS_OK;
}

static void register_methods(struct wire *w)
{
  for (int m = 0; m < KVI_METHOD_COUNT; m++)
    w->methods[m] =
        grpc_channel_register_call(w->channel, kvi_method_info((enum kvi_method)m)->path, NULL, NULL);
  w->transfer_method = grpc_channel_register_call(w->channel, "/kvasir.v1.Cache/Transfer", NULL, NULL);
}

/* ---- Hello ---- */

struct hello {
  struct wire *wire;
  bool over;
  kvs_status status;
};

static kvs_status take_hello(struct wire *w, const Kvasir__V1__HelloReply *reply)
{
  if (reply->status == KVS_ERR_VERSION || reply->protocol_min > KVI_PROTOCOL_MAX ||
      reply->protocol_max < KVI_PROTOCOL_MIN) {
    char text[160];
    snprintf(text, sizeof text,
             "no protocol version in common: this side speaks %u to %u, the node (%.60s) %u to %u",
             KVI_PROTOCOL_MIN, KVI_PROTOCOL_MAX, reply->software, reply->protocol_min, reply->protocol_max);
    kvi_log_limited(KVI_LOG_WARN, "%s: %s", w->endpoint, text);
    return fail(w, KVS_ERR_VERSION, text);
  }
  if (reply->status != KVS_OK)
    return fail(w, (kvs_status)reply->status, reply->message);
  if (reply->frame_bytes_max < 4096 || reply->chunk_bytes_max == 0 || reply->batch_chunks_max == 0)
    return fail(w, KVS_ERR_PROTOCOL, "the node's limits make no sense");
  uint32_t wanted = w->options.piece_bytes ? w->options.piece_bytes : KVI_PIECE_BYTES;
  w->frame_bytes = wanted < reply->frame_bytes_max ? wanted : reply->frame_bytes_max;
  if (w->frame_bytes > KVI_FRAME_BYTES_MAX)
    w->frame_bytes = KVI_FRAME_BYTES_MAX;
  w->chunk_bytes_max = reply->chunk_bytes_max;
  w->batch_chunks_max = reply->batch_chunks_max;
  w->incarnation = reply->incarnation;
  return KVS_OK;
}

static void hello_done(void *ctx, kvs_status status, const ProtobufCMessage *reply)
{
  struct hello *hello = ctx;
  hello->over = true;
  if (status == KVS_OK)
    hello->status = take_hello(hello->wire, (const Kvasir__V1__HelloReply *)reply);
  else if (status == KVS_ERR_DENIED)
    hello->status = fail(hello->wire, KVS_ERR_DENIED,
                         hello->wire->token_file ? "the node does not know this credential"
                                                 : "the node wants a credential of a tenant");
  else
    hello->status = fail(hello->wire, KVS_ERR_UNREACHABLE, "no answer to Hello");
}

static kvs_status say_hello(struct wire *w, uint64_t deadline_ns)
{
  Kvasir__V1__HelloRequest request = KVASIR__V1__HELLO_REQUEST__INIT;
  request.protocol_min = KVI_PROTOCOL_MIN;
  request.protocol_max = KVI_PROTOCOL_MAX;
  request.software = w->software;
  struct hello hello = {.wire = w};
  kvs_status status =
      kvi_gw_call_unchecked(w, KVI_METHOD_HELLO, &request.base, deadline_ns, hello_done, &hello);
  if (status != KVS_OK)
    return fail(w, status, kvs_status_text(status));
  while (!hello.over) {
    kvi_grpc_next(w->cq, kvi_deadline_from_ms(STEP_MS).at_ns);
    if (!hello.over && kvi_gw_stopping(w))
      kvi_gw_cancel_calls(w);
  }
  return hello.status;
}

/* ---- the stream ---- */

static void on_started(void *ctx, bool ok)
{
  struct wire *w = ctx;
  atomic_fetch_sub(&w->outstanding, 1);
  w->broken = w->broken || !ok;
}

static void on_status(void *ctx, bool ok)
{
  (void)ok;
  struct wire *w = ctx;
  atomic_fetch_sub(&w->outstanding, 1);
  w->stream_over = true;
  w->broken = true;
}

static void batch(struct wire *w, const grpc_op *ops, size_t n, struct kvi_grpc_tag *tag)
{
  atomic_fetch_add(&w->outstanding, 1);
  kvi_grpc_start_batch(w->stream, ops, n, tag);
}

static void open_stream(struct wire *w)
{
  w->stream =
      grpc_channel_create_registered_call(w->channel, NULL, GRPC_PROPAGATE_DEFAULTS, w->cq,
                                          w->transfer_method, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
  grpc_metadata_array_init(&w->initial);
  grpc_metadata_array_init(&w->trailing);
  w->stream_details = grpc_empty_slice();
  grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                    .data.recv_status_on_client = {.trailing_metadata = &w->trailing,
                                                   .status = &w->stream_status,
                                                   .status_details = &w->stream_details}};
  batch(w, &status, 1, &w->tag_status);
  grpc_op begin[2] = {
      {.op = GRPC_OP_SEND_INITIAL_METADATA,
       .data.send_initial_metadata = {.count = w->n_metadata, .metadata = w->metadata}},
      {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &w->initial},
  };
  batch(w, begin, 2, &w->tag_start);
  grpc_op read = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &w->received};
  batch(w, &read, 1, &w->tag_read);
}

static void woken(void *ctx)
{
  (void)ctx; /* to come back from the queue is all that was wanted */
}

static void reset(struct wire *w)
{
  w->fd = -1;
  w->broken = w->stream_over = false;
  w->linger_at_ns = w->shutdown_at_ns = 0;
  w->last_activity_ns = kvi_now_ns();
  w->tag_start = (struct kvi_grpc_tag){.handler = on_started, .ctx = w};
  w->tag_status = (struct kvi_grpc_tag){.handler = on_status, .ctx = w};
  w->tag_read = (struct kvi_grpc_tag){.handler = kvi_gw_on_received, .ctx = w};
  w->tag_sent = (struct kvi_grpc_tag){.handler = kvi_gw_on_sent, .ctx = w};
  uint64_t session = 0;
  (void)kvi_random_id(&session);
  snprintf(w->session, sizeof w->session, "%016" PRIx64, session);
  w->metadata[0] = (grpc_metadata){.key = grpc_slice_from_static_string(KVI_SESSION_HEADER),
                                   .value = grpc_slice_from_copied_string(w->session)};
  w->n_metadata = 1;
}

/* ---- the token ---- */

/* What a header may hold of it (RFC 6750). */
static bool is_token(const char *text)
{
  size_t length = strlen(text);
  return length > 0 && length <= TOKEN_BYTES_MAX &&
         strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") == length;
}

/* From its file, for the calls of this connection. */
static kvs_status read_token(struct wire *w)
{
  if (!w->token_file)
    return KVS_OK;
  char *text = kvi_grpc_read_file(w->token_file), header[TOKEN_BYTES_MAX + 8];
  if (!text)
    return fail(w, KVS_ERR_DENIED, "the file of the token cannot be read");
  text[strcspn(text, "\r\n")] = '\0';
  bool good = is_token(text);
  if (good) {
    snprintf(header, sizeof header, "Bearer %s", text);
    w->metadata[w->n_metadata++] = (grpc_metadata){.key = grpc_slice_from_static_string("authorization"),
                                                   .value = grpc_slice_from_copied_string(header)};
  }
  explicit_bzero(header, sizeof header);
  explicit_bzero(text, strlen(text));
  free(text);
  return good ? KVS_OK : fail(w, KVS_ERR_DENIED, "what the file of the token holds is no token");
}

kvs_status kvi_gw_connect(struct wire *w, uint64_t deadline_ns)
{
  reset(w);
  w->cq = grpc_completion_queue_create_for_next(NULL);
  kvi_grpc_waker_init(&w->waker, w->cq, woken, w);
  kvs_status status = read_token(w);
  if (status == KVS_OK)
    status = open_channel(w, deadline_ns);
  if (status != KVS_OK)
    goto disconnect;
  register_methods(w);
  status = say_hello(w, deadline_ns);
  if (status != KVS_OK)
    goto disconnect;
  w->out = kvi_frame_out_create(w->frame_bytes);
  if (!w->out) {
    status = fail(w, KVS_ERR_NOMEM, "no memory for a frame");
    goto disconnect;
  }
  open_stream(w);
  return KVS_OK;

disconnect:
  kvi_gw_disconnect(w);
  return status;
}

/*
 * Waits for every batch to come back; none can hang, since the calls are cancelled and the socket is shut down. The
 * thread stays in the queue meanwhile: gRPC works only in threads that do.
 */
static void drain_queue(struct wire *w)
{
  while (atomic_load(&w->outstanding) > 0 || atomic_load(&w->waker.set))
    kvi_grpc_next(w->cq, kvi_now_ns() + 100 * KVI_NS_PER_MS);
  kvi_grpc_waker_destroy(&w->waker);
  grpc_completion_queue_shutdown(w->cq);
  while (kvi_grpc_next(w->cq, kvi_now_ns() + 100 * KVI_NS_PER_MS))
    ;
  grpc_completion_queue_destroy(w->cq);
  w->cq = NULL;
}

/* Slices that the transport's end released may still be on their way out of gRPC's write path: see lingering in the doc. */
void kvi_gw_disconnect(struct wire *w)
{
  if (w->stream)
    grpc_call_cancel(w->stream, NULL);
  kvi_gw_cancel_calls(w);
  if (w->fd >= 0)
    shutdown(w->fd, SHUT_RDWR);
  drain_queue(w);
  if (w->stream) {
    grpc_call_unref(w->stream);
    grpc_metadata_array_destroy(&w->initial);
    grpc_metadata_array_destroy(&w->trailing);
    grpc_slice_unref(w->stream_details);
    w->stream = NULL;
  }
  if (w->received)
    grpc_byte_buffer_destroy(w->received);
  w->received = NULL;
  if (w->channel)
    grpc_channel_destroy(w->channel);
  w->channel = NULL;
  if (w->fd >= 0)
    close(w->fd);
  w->fd = -1;
  while (w->n_metadata > 0)
    grpc_slice_unref(w->metadata[--w->n_metadata].value);
  kvi_frame_out_destroy(w->out);
  w->out = NULL;
}
