/*
 * tiers/redis/out.c: commands on their way to Redis. What is small lies in the command; a chunk's bytes go from the caller's memory
 * to the kernel: nothing copies them.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tiers/redis/redis_private.h"

#define IOV_MAX_SENT 64
#define SEND_BYTES   (1u << 20) /* of one call: others have a turn */
#define SEND_BUDGET  (4u << 20) /* of one turn of the loop */

size_t kvi_redis_command_bytes(const struct kvi_redis_command *command)
{
  return command->head_length + command->body_length + command->tail_length;
}

/* The list of places for sendmsg, cut to what one call is to send. */
struct gather {
  struct iovec iov[IOV_MAX_SENT];
  size_t n, bytes;
  size_t skip; /* bytes of what comes next that were sent already */
};

/* False: full. */
static bool gather_add(struct gather *gather, const void *bytes, size_t length)
{
  size_t room = SEND_BYTES - gather->bytes;

  if (gather->skip >= length) {
    gather->skip -= length;
    return true;
  }
  bytes = (const char *)bytes + gather->skip;
  length -= gather->skip;
  gather->skip = 0;
  if (gather->n == IOV_MAX_SENT || room == 0)
    return false;
  if (length > room)
    length = room;
  gather->iov[gather->n].iov_base = (void *)(uintptr_t)bytes; /* sendmsg does not write to it */
  gather->iov[gather->n++].iov_len = length;
  gather->bytes += length;
  return gather->bytes < SEND_BYTES;
}

static bool gather_command(struct gather *gather, const struct kvi_redis_command *command)
{
  const struct kvi_redis_op *op = command->op;

  if (!gather_add(gather, command->owned ? command->owned : command->head, command->head_length))
    return false;
  if (command->body_length > 0) {
    if (!gather_add(gather, op->prologue, op->prologue_length))
      return false;
    for (uint32_t i = 0; i < op->n_iov; i++)
      if (!gather_add(gather, op->iov[i].base, op->iov[i].length))
        return false;
  }
  return gather_add(gather, command->tail, command->tail_length);
}

/* Steps over what was sent. */
static void advance(struct kvi_redis_conn *conn, size_t sent)
{
  conn->out_bytes -= sent;
  conn->written += sent;
  while (conn->writing != conn->next) {
    size_t bytes = kvi_redis_command_bytes(kvi_redis_conn_command(conn, conn->writing));

    if (conn->written < bytes)
      return;
    conn->written -= bytes;
    conn->writing++;
  }
}

bool kvi_redis_conn_write(struct kvi_redis_conn *conn)
{
  size_t budget = SEND_BUDGET;

  advance(conn, 0); /* over those given up */
  while (conn->writing != conn->next && budget > 0) {
    struct gather gather = {.skip = conn->written};
    struct msghdr message = {.msg_iov = gather.iov};
    ssize_t sent;

    for (uint32_t i = conn->writing; i != conn->next; i++)
      if (!gather_command(&gather, kvi_redis_conn_command(conn, i)))
        break;
    message.msg_iovlen = gather.n;
    sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      kvi_redis_conn_want(conn, EPOLLIN | EPOLLOUT);
      return true;
    }
    if (sent < 0) {
      kvi_redis_conn_close(conn, true, strerror(errno));
      return false;
    }
    conn->progress_ns = conn->redis->now_ns;
    budget -= (size_t)sent < budget ? (size_t)sent : budget;
    advance(conn, (size_t)sent);
  }
  kvi_redis_conn_want(conn, conn->writing != conn->next ? EPOLLIN | EPOLLOUT : EPOLLIN);
  return true;
}

bool kvi_redis_conn_abandon(struct kvi_redis_conn *conn, struct kvi_redis_op *op)
{
  uint32_t number = op->own.command;
  struct kvi_redis_command *command = kvi_redis_conn_command(conn, number);
  bool started = kvi_redis_conn_has_begun(conn, op);
  bool whole = (int32_t)(number - conn->writing) < 0;

  op->unsure |= whole && op->own.write;
  op->own.conn = NULL;
  command->op = NULL;
  if (!started) {
    conn->out_bytes -= kvi_redis_command_bytes(command);
    command->head_length = command->body_length = command->tail_length = 0;
    command->expect = KVI_REDIS_EXPECT_NOTHING;
    kvi_redis_conn_skip(conn);
    return true;
  }
  if (!whole &&
      command->body_length > 0) { /* Redis waits for the rest of bytes that are the caller's again */
    command->body_length = 0;
    kvi_redis_conn_close(conn, true, "it did not take a chunk in time");
    return false;
  }
  if (number == conn->first && conn->incoming.stage != KVI_REDIS_STAGE_REPLY)
    kvi_redis_incoming_discard(conn);
  return true;
}
