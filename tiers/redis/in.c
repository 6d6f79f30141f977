/* tiers/redis/in.c: what comes from Redis: chunks to land.c, everything else through hiredis to whoever asked. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tiers/redis/redis_private.h"

#define PLACES      32
#define LAND_BYTES  (256u << 10) /* of one call: what was received is still in the cache when it is summed */
#define READ_BUDGET (4u << 20)   /* of one turn of the loop */

/* A whole reply that hiredis parsed. False: the connection was closed. */
static bool answer(struct kvi_redis_conn *conn, redisReply *reply)
{
  struct kvi_redis_command *command = kvi_redis_conn_command(conn, conn->first);
  struct kvi_redis_op *op = command->op;
  kvi_redis_reply_fn *fn = command->fn;

  kvi_redis_conn_pop(conn);
  if (op) {
    op->own.conn = NULL;
    kvi_redis_command_answer(conn, op, reply);
  } else if (fn) {
    fn(conn, reply);
  }
  freeReplyObject(reply);
  return conn->state != KVI_REDIS_CONN_DOWN;
}

static bool take_reply(struct kvi_redis_conn *conn)
{
  const char *bytes = (const char *)conn->in + conn->in_at;
  redisReply *reply;
  size_t used;
  kvs_status status;

  status = kvi_redis_reader_feed(&conn->reader, bytes, conn->in_length - conn->in_at, &used, &reply);
  conn->in_at += used;
  if (status == KVS_PENDING)
    return true;
  if (status != KVS_OK) {
    kvi_redis_conn_close(conn, true, "its replies are not Redis' protocol, or too large");
    return false;
  }
  return answer(conn, reply);
}

static bool take_buffered(struct kvi_redis_conn *conn)
{
  while (conn->in_at < conn->in_length) {
    const uint8_t *bytes = conn->in + conn->in_at;
    size_t used;

    if (conn->incoming.stage == KVI_REDIS_STAGE_REPLY) {
      kvi_redis_conn_skip(conn);
      if (conn->first == conn->writing) { /* nothing, or not wholly: its bytes are still read */
        kvi_redis_conn_close(conn, true, "it sends what nobody asked for");
        return false;
      }
      if (conn->reader.fed > 0 || *bytes != '$' ||
          kvi_redis_conn_command(conn, conn->first)->expect != KVI_REDIS_EXPECT_CHUNK) {
        if (!take_reply(conn))
          return false;
        continue;
      }
      kvi_redis_incoming_begin(conn);
    }
    used = kvi_redis_incoming_take(conn, bytes, conn->in_length - conn->in_at);
    if (used == 0) {
      kvi_redis_conn_close(conn, true, "its replies are not Redis' protocol");
      return false;
    }
    conn->in_at += used;
  }
  return true;
}

/* Into the places of a chunk, and what comes behind it into the buffer, with one call. */
static ssize_t receive_chunk(struct kvi_redis_conn *conn, size_t *asked_p)
{
  uint64_t left = conn->incoming.bulk - conn->incoming.taken;
  struct iovec places[PLACES + 1];
  struct msghdr message = {.msg_iov = places};
  size_t n = kvi_redis_incoming_places(conn, places, PLACES, left < LAND_BYTES ? (size_t)left : LAND_BYTES);
  size_t room = 0, landed;
  ssize_t got;

  for (size_t i = 0; i < n; i++)
    room += places[i].iov_len;
  *asked_p = room;
  if (room == left) {
    places[n++] = (struct iovec){.iov_base = conn->in, .iov_len = KVI_REDIS_IN_BYTES};
    *asked_p += KVI_REDIS_IN_BYTES;
  }
  message.msg_iovlen = n;
  got = recvmsg(conn->fd, &message, 0);
  if (got <= 0)
    return got;
  landed = (size_t)got < room ? (size_t)got : room;
  conn->in_length = (size_t)got - landed;
  kvi_redis_incoming_landed(conn, landed);
  return got;
}

static ssize_t receive(struct kvi_redis_conn *conn, size_t *asked_p)
{
  ssize_t got;

  conn->in_at = conn->in_length = 0; /* all of it was taken */
  if (conn->incoming.stage == KVI_REDIS_STAGE_PAYLOAD)
    return receive_chunk(conn, asked_p);
  *asked_p = KVI_REDIS_IN_BYTES;
  got = recv(conn->fd, conn->in, KVI_REDIS_IN_BYTES, 0);
  if (got > 0)
    conn->in_length = (size_t)got;
  return got;
}

bool kvi_redis_conn_read(struct kvi_redis_conn *conn)
{
  for (size_t budget = READ_BUDGET; budget > 0;) {
    size_t asked = 0;
    ssize_t got = receive(conn, &asked);

    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return true;
    if (got <= 0) {
      kvi_redis_conn_close(conn, true, got == 0 ? "it closed the connection" : strerror(errno));
      return false;
    }
    conn->progress_ns = conn->node->heard_ns = conn->redis->now_ns;
    if (!take_buffered(conn))
      return false;
    if ((size_t)got < asked)
      return true; /* nothing is left: epoll tells when there is more */
    budget -= (size_t)got < budget ? (size_t)got : budget;
  }
  return true;
}
