#include "tests/bench/raw.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct bench_slab slab; /* shared by all connections, as a store's memory is */
static pthread_mutex_t slab_lock =
    PTHREAD_MUTEX_INITIALIZER; /* never contended: one client is measured at a time */

static bool answer(int fd, const struct bench_raw_request *request)
{
  struct bench_raw_reply reply = {request->sequence, request->length};
  uint8_t *at = slab.base + request->offset;

  if (request->op == BENCH_RAW_CALL)
    return bench_send_all(fd, &reply, sizeof reply);
  if (request->offset > slab.bytes || request->length > slab.bytes - request->offset)
    return false;
  if (request->op == BENCH_RAW_PUT)
    return bench_receive_all(fd, at, request->length) && bench_send_all(fd, &reply, sizeof reply);
  return bench_send_both(fd, &reply, sizeof reply, at, request->length);
}

static bool answer_locked(int fd, const struct bench_raw_request *request)
{
  bool ok;

  pthread_mutex_lock(&slab_lock);
  ok = answer(fd, request);
  pthread_mutex_unlock(&slab_lock);
  return ok;
}

static void *serve(void *arg)
{
  int fd = (int)(intptr_t)arg;
  struct bench_raw_request request;

  while (bench_receive_all(fd, &request, sizeof request) && answer_locked(fd, &request)) {
  }
  close(fd);
  return NULL;
}

static int listen_tcp(uint16_t *port_p)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 64) != 0 ||
      getsockname(fd, (struct sockaddr *)&address, &length) != 0)
    return -1;
  *port_p = ntohs(address.sin_port);
  return fd;
}

static int listen_unix(const char *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || strlen(path) >= sizeof address.sun_path)
    return -1;
  memcpy(address.sun_path, path, strlen(path) + 1);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0)
    return -1;
  return fd;
}

static void accept_one(int listener)
{
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  pthread_t thread;

  if (fd < 0)
    return;
  bench_no_delay(fd);
  if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0) {
    close(fd);
    return;
  }
  pthread_detach(thread);
}

int bench_serve_raw(const char *socket_path)
{
  struct pollfd listeners[2] = {{.events = POLLIN}, {.events = POLLIN}};
  uint16_t port = 0;

  listeners[0].fd = listen_tcp(&port);
  listeners[1].fd = listen_unix(socket_path);
  if (listeners[0].fd < 0 || listeners[1].fd < 0 || !bench_slab_open_huge(&slab, BENCH_RAW_SLAB)) {
    perror("kvasir-bench: serve-raw");
    return EXIT_FAILURE;
  }
  printf("ready %u\n", port);
  fflush(stdout);
  while (poll(listeners, 2, -1) > 0) { /* until SIGTERM: it holds nothing that needs an orderly end */
    for (size_t i = 0; i < 2; i++)
      if (listeners[i].revents != 0)
        accept_one(listeners[i].fd);
  }
  return EXIT_FAILURE;
}
