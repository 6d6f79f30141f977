/*
 * The end of gRPC in this process.
 *
 * A write that the socket does not take at once has gRPC 1.51 poll in a thread of its executor too (tcp_posix.cc, "backup
 * poller"), in waits of 10 s that only an event ends. Once our own pollers are gone nothing happens any more, and grpc_shutdown_blocking joins that
 * thread: now and then a node or a client took 10 s to end. So something is made to happen: a channel over a pair of sockets of ours,
 * whose other end hangs up.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>

#include "base/clock.h"
#include "proto/grpc/grpc_private.h"

/* The first may be seen by our own poll below, which hands the wait over to gRPC's thread when it returns. */
#define KICKS   3u
#define KICK_MS 500u /* one takes far less than 1 */

/* Whether gRPC has closed its end. What it says before that is thrown away. */
static bool hung_up(int fd)
{
  char said[256];
  ssize_t n;

  do
    n = read(fd, said, sizeof(said));
  while (n > 0);
  return n == 0 || errno != EAGAIN;
}

/* gRPC takes fd. Polls until the hang-up was seen, by this thread or another one. */
static void kick(int fd, int other)
{
  grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
  grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
  grpc_channel *channel = grpc_channel_create_from_fd("kick", fd, credentials, NULL);
  uint64_t deadline_ns = kvi_now_ns() + KICK_MS * KVI_NS_PER_MS;

  shutdown(other, SHUT_WR);
  while (!hung_up(other) && kvi_now_ns() < deadline_ns)
    (void)grpc_completion_queue_next(cq, kvi_grpc_time(kvi_now_ns() + KVI_NS_PER_MS), NULL);
  grpc_channel_destroy(channel);
  grpc_channel_credentials_release(credentials);
  grpc_completion_queue_shutdown(cq);
  while (grpc_completion_queue_next(cq, kvi_grpc_time(deadline_ns), NULL).type == GRPC_OP_COMPLETE)
    ;
  grpc_completion_queue_destroy(cq);
}

void kvi_grpc_end(void)
{
  for (unsigned i = 0; i < KICKS; i++) {
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
      break; /* no descriptors: it may take its 10 s */
    kick(ends[0], ends[1]);
    close(ends[1]);
  }
  grpc_shutdown_blocking();
}
