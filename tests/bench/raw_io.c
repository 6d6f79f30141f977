#include "tests/bench/raw.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

bool bench_send_all(int fd, const void *data, size_t length)
{
  const uint8_t *at = data;

  while (length > 0) {
    ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);

    if (sent <= 0)
      return false;
    at += sent;
    length -= (size_t)sent;
  }
  return true;
}

bool bench_receive_all(int fd, void *data, size_t length)
{
  uint8_t *at = data;

  while (length > 0) {
    ssize_t got = recv(fd, at, length, MSG_WAITALL);

    if (got <= 0)
      return false;
    at += got;
    length -= (size_t)got;
  }
  return true;
}

bool bench_send_both(int fd, const void *head, size_t head_length, const void *data, size_t length)
{
  struct iovec parts[2] = {{(void *)(uintptr_t)head, head_length}, {(void *)(uintptr_t)data, length}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
  size_t done;

  if (sent < 0)
    return false;
  done = (size_t)sent;
  if (done < head_length)
    return bench_send_all(fd, (const uint8_t *)head + done, head_length - done) &&
           bench_send_all(fd, data, length);
  done -= head_length;
  return bench_send_all(fd, (const uint8_t *)data + done, length - done);
}

void bench_no_delay(int fd)
{
  int on = 1;

  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on a unix socket, which never delays */
}
