/* tiers/redis/conn.c: the life of one connection, and its ring of commands. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "tiers/redis/redis_private.h"

#define SMALL_RING 512u
#define RING_SPARE 8u /* for commands of our own, and the ASKING before a command */

void kvi_redis_conn_init(struct kvi_redis_conn *conn, struct kvi_redis_node *node, bool small)
{
  uint32_t wanted = small ? SMALL_RING : 2 * node->redis->config.pipeline + RING_SPARE;

  memset(conn, 0, sizeof(*conn));
  conn->redis = node->redis;
  conn->node = node;
  conn->small = small;
  conn->fd = -1;
  for (conn->n_ring = 16; conn->n_ring < wanted; conn->n_ring *= 2)
    ;
}

/* ---- the ring ---- */

struct kvi_redis_command *kvi_redis_conn_add(struct kvi_redis_conn *conn, enum kvi_redis_expect expect)
{
  struct kvi_redis_command *command = kvi_redis_conn_command(conn, conn->next);

  if (conn->first == conn->next)
    conn->progress_ns = conn->redis->now_ns;
  conn->next++;
  command->expect = expect;
  command->op = NULL;
  command->fn = NULL;
  command->owned = NULL;
  command->head_length = command->body_length = command->tail_length = 0;
  command->expected_bytes = 0;
  return command;
}

kvs_status kvi_redis_conn_ask(struct kvi_redis_conn *conn, kvi_redis_reply_fn *fn, int argc,
                              const char *const *argv, const size_t *lengths)
{
  struct kvi_redis_command *command;
  char *formatted = NULL;
  int length;

  if (kvi_redis_conn_room(conn) == 0)
    return KVS_ERR_BUSY;
  length = redisFormatCommandArgv(&formatted, argc, (const char **)(uintptr_t)argv, lengths);
  if (length < 0)
    return KVS_ERR_NOMEM;
  command = kvi_redis_conn_add(conn, KVI_REDIS_EXPECT_REPLY);
  command->fn = fn;
  command->owned = formatted;
  command->head_length = (size_t)length;
  conn->out_bytes += (size_t)length;
  return KVS_OK;
}

void kvi_redis_conn_pop(struct kvi_redis_conn *conn)
{
  struct kvi_redis_command *command = kvi_redis_conn_command(conn, conn->first);

  free(command->owned);
  command->owned = NULL;
  conn->in_bytes -= command->expected_bytes;
  conn->first++;
}

void kvi_redis_conn_skip(struct kvi_redis_conn *conn)
{
  while (conn->first != conn->next &&
         kvi_redis_conn_command(conn, conn->first)->expect == KVI_REDIS_EXPECT_NOTHING) {
    if (conn->writing == conn->first)
      conn->writing++;
    kvi_redis_conn_pop(conn);
  }
}

/* ---- connect ---- */

static void buffers_free(struct kvi_redis_conn *conn)
{
  free(conn->ring);
  free(conn->in);
  free(conn->incoming.prologue);
  kvi_redis_reader_destroy(&conn->reader);
  conn->ring = NULL;
  conn->in = NULL;
  conn->incoming.prologue = NULL;
}

static bool buffers_take(struct kvi_redis_conn *conn)
{
  conn->ring = calloc(conn->n_ring, sizeof(*conn->ring));
  conn->in = malloc(KVI_REDIS_IN_BYTES);
  conn->incoming.prologue = malloc(KVI_REDIS_PROLOGUE_MAX);
  return conn->ring && conn->in && conn->incoming.prologue &&
         kvi_redis_reader_create(&conn->reader) == KVS_OK;
}

static void reset(struct kvi_redis_conn *conn)
{
  uint8_t *prologue = conn->incoming.prologue;

  memset(&conn->incoming, 0, sizeof(conn->incoming));
  conn->incoming.prologue = prologue;
  conn->first = conn->writing = conn->next = 0;
  conn->written = 0;
  conn->out_bytes = conn->in_bytes = 0;
  conn->in_at = conn->in_length = 0;
  conn->greetings = 0;
  conn->why = KVI_REDIS_NONE;
  conn->why_text[0] = '\0';
  conn->probe_until_ns = 0;
  conn->events = 0;
}

void kvi_redis_conn_want(struct kvi_redis_conn *conn, uint32_t events)
{
  struct epoll_event event = {.events = events, .data = {.ptr = conn}};

  if (conn->events == events)
    return;
  if (epoll_ctl(conn->redis->epoll_fd, conn->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, conn->fd, &event) == 0)
    conn->events = events;
  else
    kvi_log_limited(KVI_LOG_ERROR, "tier redis: epoll_ctl: %m"); /* the connection's clocks will end it */
}

static void connect_to(struct kvi_redis_conn *conn, const struct sockaddr_storage *at, socklen_t at_length)
{
  int on = 1;

  conn->state = KVI_REDIS_CONN_CONNECTING;
  conn->fd = socket(at->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (conn->fd < 0) {
    kvi_redis_conn_close(conn, true, strerror(errno));
    return;
  }
  (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  (void)setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  if (connect(conn->fd, (const struct sockaddr *)at, at_length) != 0 && errno != EINPROGRESS) {
    kvi_redis_conn_close(conn, true, strerror(errno));
    return;
  }
  kvi_redis_conn_want(conn, EPOLLOUT);
}

void kvi_redis_conn_connect(struct kvi_redis_conn *conn, uint64_t now_ns)
{
  const struct kvi_redis_address *address = &conn->node->address;
  struct sockaddr_storage at;
  socklen_t at_length;

  if (!conn->ring && !buffers_take(conn)) {
    buffers_free(conn);
    conn->retry_ns = now_ns + conn->redis->config.retry_first_ms * KVI_NS_PER_MS;
    return;
  }
  reset(conn);
  conn->state_until_ns = now_ns + conn->redis->config.connect_timeout_ms * KVI_NS_PER_MS;
  if (kvi_redis_resolve_number(address, &at, &at_length)) {
    connect_to(conn, &at, at_length);
    return;
  }
  conn->state = KVI_REDIS_CONN_RESOLVING;
  if (kvi_redis_resolver_ask(conn->redis->resolver, address, conn, &conn->resolve) != KVS_OK)
    kvi_redis_conn_close(conn, true, "the resolver is busy");
}

void kvi_redis_conn_resolved(struct kvi_redis_conn *conn, struct kvi_redis_resolve *resolve)
{
  conn->resolve = NULL;
  if (resolve->found)
    connect_to(conn, &resolve->at, resolve->at_length);
  else
    kvi_redis_conn_close(conn, true, "its name is not known to the resolver");
}

static void connected(struct kvi_redis_conn *conn)
{
  int error = 0;
  socklen_t length = sizeof(error);

  if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
    error = errno;
  if (error != 0) {
    kvi_redis_conn_close(conn, true, strerror(error));
    return;
  }
  conn->state = KVI_REDIS_CONN_GREETING;
  kvi_redis_conn_want(conn, EPOLLIN);
  if (kvi_redis_greet(conn) != KVS_OK)
    kvi_redis_conn_close(conn, true, "no memory");
}

void kvi_redis_conn_event(struct kvi_redis_conn *conn, uint32_t events)
{
  if (conn->fd < 0)
    return;
  if (conn->state == KVI_REDIS_CONN_CONNECTING) {
    connected(conn);
    return;
  }
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && !kvi_redis_conn_read(conn))
    return;
  if (events & EPOLLOUT)
    (void)kvi_redis_conn_write(conn);
}

/* ---- close ---- */

static void commands_end(struct kvi_redis_conn *conn)
{
  while (conn->first != conn->next) {
    struct kvi_redis_command *command = kvi_redis_conn_command(conn, conn->first);
    struct kvi_redis_op *op = command->op;
    kvi_redis_reply_fn *fn = command->fn;
    bool whole = (int32_t)(conn->first - conn->writing) < 0;

    kvi_redis_conn_pop(conn);
    if (op)
      op->unsure |= whole && op->own.write;
    if (op)
      kvi_redis_op_lost(conn->redis, op);
    else if (fn)
      fn(conn, NULL);
  }
}

void kvi_redis_conn_close(struct kvi_redis_conn *conn, bool counts, const char *reason)
{
  struct kvi_redis *redis = conn->redis;
  enum kvi_redis_conn_state state = conn->state;

  if (state == KVI_REDIS_CONN_DOWN)
    return;
  conn->state = KVI_REDIS_CONN_DOWN;
  conn->retry_ns = redis->now_ns + redis->config.retry_first_ms * KVI_NS_PER_MS;
  if (conn->fd >= 0)
    close(conn->fd); /* out of the epoll set with it: there is no duplicate */
  conn->fd = -1;
  conn->events = 0;
  if (conn->resolve)
    conn->resolve->asker = NULL;
  conn->resolve = NULL;
  kvi_redis_count(redis,
                  state == KVI_REDIS_CONN_READY ? &redis->stats.disconnects : &redis->stats.connect_failures,
                  counts ? 1 : 0);
  if (counts) { /* before its ops are sent elsewhere, so that they do not come back here */
    bool alone = !kvi_redis_node_is_ready(conn->node);

    if (alone && state != KVI_REDIS_CONN_READY)
      kvi_redis_node_failed(conn->node, true, conn->why ? conn->why : KVI_REDIS_DOWN, reason);
    else
      kvi_redis_node_failed(conn->node, false, KVI_REDIS_DOWN, reason);
    if (!conn->node->is_sentinel)
      kvi_redis_topology_doubt(redis);
  }
  commands_end(conn);
  kvi_redis_reader_destroy(&conn->reader);
  if (kvi_redis_reader_create(&conn->reader) != KVS_OK)
    buffers_free(conn); /* taken anew by the next connect */
  kvi_redis_tick_by(redis, redis->now_ns);
}

void kvi_redis_conn_destroy(struct kvi_redis_conn *conn)
{
  kvi_redis_conn_close(conn, false, "closed");
  buffers_free(conn);
}

uint64_t kvi_redis_conn_tick(struct kvi_redis_conn *conn, uint64_t now_ns)
{
  struct kvi_redis *redis = conn->redis;
  uint64_t until;

  if (conn->state == KVI_REDIS_CONN_DOWN)
    return KVI_REDIS_NEVER;
  if (conn->state != KVI_REDIS_CONN_READY) {
    if (now_ns < conn->state_until_ns)
      return conn->state_until_ns;
    kvi_redis_conn_close(conn, true, "it took too long to connect");
    return KVI_REDIS_NEVER;
  }
  if (conn->first == conn->next)
    return KVI_REDIS_NEVER;
  until = conn->progress_ns + redis->config.stall_timeout_ms * KVI_NS_PER_MS;
  if (now_ns < until)
    return until;
  kvi_redis_count(redis, &redis->stats.stalls, 1);
  kvi_redis_conn_close(conn, true, "it does not answer");
  return KVI_REDIS_NEVER;
}
