/*
 * Our own accept loop for plain sockets. gRPC's listener dies for ever when accept() runs out of descriptors (fixed upstream
 * long after this version), knows no bound of connections and no credentials of unix peers; and a connection can be
 * shut down for sure only by its descriptor, of which this thread keeps a duplicate.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>

#include "base/log.h"
#include "proto/grpc/acceptor.h"

#define BACKLOG   1024
#define UNIX_SLOT MAX_LISTEN /* listeners[UNIX_SLOT] */

enum { KIND_CONTROL, KIND_LISTENER, KIND_CONNECTION };

struct connection {
  int fd;      /* our duplicate; -1: the slot is free */
  int grpc_fd; /* the number gRPC knows it by */
  uint64_t serial;
  char name[64];
};

struct acceptor {
  struct kvi_grpc_server *server;
  grpc_server_credentials *insecure;
  int epoll, control, spare;
  int listeners[MAX_LISTEN + 1]; /* -1: none */
  kvi_thread thread;

  pthread_mutex_t lock; /* a leaf: the table below and the flags */
  struct connection *connections;
  uint32_t n_connections, max_connections;
  uint64_t serial;
  bool stop, stop_listening;
  bool deaf; /* it listens no more, and knows it */
  pthread_cond_t changed;
};

static kvs_status refuse(const struct kvi_grpc_server *server, const char *what, const char *why)
{
  if (server->options.error)
    snprintf(server->options.error, server->options.error_size, "%s: %s", what, why);
  return KVS_ERR_CONFIG;
}

/* ---- listening ---- */

static kvs_status listen_tcp(struct acceptor *a, size_t index)
{
  const char *text = a->server->options.listen[index];
  struct kvi_endpoint endpoint;
  if (kvi_address_parse(text, &endpoint) != KVS_OK)
    return refuse(a->server, text, "not of the form host:port");
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
  int error = getaddrinfo(endpoint.host, endpoint.port, &hints, &list);
  if (error)
    return refuse(a->server, text, gai_strerror(error));
  int fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd >= 0 && list->ai_family == AF_INET6) /* or [::] would be in the way of 0.0.0.0 beside it */
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
      bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
    error = errno;
    freeaddrinfo(list);
    if (fd >= 0)
      close(fd);
    return refuse(a->server, text,
                  error == EADDRINUSE ? "address in use by another process" : strerror(error));
  }
  freeaddrinfo(list);
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof address;
  getsockname(fd, (struct sockaddr *)&address, &length);
  /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): getsockname has filled what the family says */
  a->server->ports[index] = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                                : ((struct sockaddr_in *)&address)->sin_port);
  a->listeners[index] = fd;
  return KVS_OK;
}

/* A socket file that nobody listens on is left over from a crash and is removed. */
static bool is_stale(const struct sockaddr_un *address)
{
  struct stat st;
  if (lstat(address->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
    return false;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  bool refused = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
  close(fd);
  return refused;
}

static kvs_status listen_unix(struct acceptor *a)
{
  const char *path = a->server->options.unix_socket;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (path[0] != '/' || strlen(path) >= sizeof address.sun_path)
    return refuse(a->server, path, "a unix socket needs an absolute path of at most 107 bytes");
  memcpy(address.sun_path, path, strlen(path) + 1);
  if (is_stale(&address))
    unlink(path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  /* Between bind and listen nobody can connect, so the mode is right from the first connection on. */
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      chmod(path, a->server->options.unix_mode) < 0 || listen(fd, BACKLOG) < 0) {
    int error = errno;
    if (fd >= 0)
      close(fd);
    return refuse(a->server, path, error == EADDRINUSE ? "a process listens there already" : strerror(error));
  }
  a->listeners[UNIX_SLOT] = fd;
  return KVS_OK;
}

/* ---- connections ---- */

static uint64_t event_data(uint32_t kind, uint32_t index)
{
  return (uint64_t)kind << 32 | index;
}

static void watch(struct acceptor *a, int fd, uint32_t events, uint64_t data)
{
  struct epoll_event event = {.events = events, .data.u64 = data};
  if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
    kvi_log_warn("epoll: %m");
}

/* The socket's permission bits, checked by credential: a directory that lets everybody in does not. */
static bool unix_peer_allowed(const struct acceptor *a, const struct ucred *peer)
{
  uint32_t mode = a->server->options.unix_mode;
  if (peer->uid == 0 || peer->uid == geteuid())
    return true;
  return (mode & 0002) || ((mode & 0020) && peer->gid == getegid());
}

/* Whether the peer may come in. */
static bool name_unix(struct acceptor *a, int fd, char *name, size_t size)
{
  struct ucred peer = {.uid = (uid_t)-1};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
    return false;
  snprintf(name, size, "unix pid %d uid %u", (int)peer.pid, (unsigned)peer.uid);
  return unix_peer_allowed(a, &peer);
}

static void name_tcp(const struct sockaddr_storage *address, socklen_t length, char *name, size_t size)
{
  char host[48], port[8];
  if (getnameinfo((const struct sockaddr *)address, length, host, sizeof host, port, sizeof port,
                  NI_NUMERICHOST | NI_NUMERICSERV) == 0)
    snprintf(name, size, "%s:%s", host, port);
}

static struct connection *free_slot(struct acceptor *a)
{
  for (uint32_t i = 0; i < a->max_connections; i++)
    if (a->connections[i].fd < 0)
      return &a->connections[i];
  return NULL;
}

static bool remember(struct acceptor *a, int fd, const char *name)
{
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0)
    return false;
  pthread_mutex_lock(&a->lock);
  struct connection *c = free_slot(a);
  c->fd = copy;
  c->grpc_fd = fd;
  c->serial = ++a->serial;
  snprintf(c->name, sizeof c->name, "%s", name);
  a->n_connections++;
  pthread_mutex_unlock(&a->lock);
  watch(a, copy, EPOLLET,
        event_data(KIND_CONNECTION, (uint32_t)(c - a->connections))); /* EPOLLHUP always comes */
  return true;
}

/* NULL: it is remembered, else why it was not taken. */
static const char *admit(struct acceptor *a, int fd, bool allowed, const char *name)
{
  if (!allowed)
    return "the socket's mode does not admit its user";
  if (a->n_connections >= a->max_connections)
    return "no more are taken";
  return remember(a, fd, name) ? NULL : "out of file descriptors";
}

static void take(struct acceptor *a, int fd, bool is_unix, const struct sockaddr_storage *address,
                 socklen_t length)
{
  struct counters *counters = &a->server->counters;
  char name[64];
  int one = 1;
  bool allowed = true;
  snprintf(name, sizeof name, "%s", is_unix ? "unix" : "tcp");
  if (is_unix) {
    allowed = name_unix(a, fd, name, sizeof name);
  } else {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    name_tcp(address, length, name, sizeof name);
  }
  const char *why = admit(a, fd, allowed, name);
  if (why) {
    atomic_fetch_add(&counters->refused, 1);
    kvi_log_limited(KVI_LOG_WARN, "connection from %s refused: %s (%u of %u in use)", name, why,
                    a->n_connections, a->max_connections);
    close(fd);
    return;
  }
  atomic_fetch_add(&counters->connections, 1);
  atomic_fetch_add(&counters->connections_total, 1);
  grpc_server_add_channel_from_fd(a->server->server, fd, a->insecure);
}

/* Out of descriptors: the spare one makes room to accept and close, so that the peer learns at once and we do not spin. */
static void shed(struct acceptor *a, int listener)
{
  kvi_log_limited(KVI_LOG_WARN, "out of file descriptors: a connection was closed at once");
  close(a->spare);
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd >= 0)
    close(fd);
  a->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
  atomic_fetch_add(&a->server->counters.refused, 1);
}

static void accept_all(struct acceptor *a, uint32_t index)
{
  for (int i = 0; i < BACKLOG; i++) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd = accept4(a->listeners[index], (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      take(a, fd, index == UNIX_SLOT, &address, length);
    } else if (errno == EMFILE || errno == ENFILE) {
      shed(a, a->listeners[index]);
    } else {
      if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        kvi_log_limited(KVI_LOG_WARN, "accept: %m");
      if (errno != ECONNABORTED && errno != EINTR)
        return;
    }
  }
}

static void forget(struct acceptor *a, uint32_t index)
{
  pthread_mutex_lock(&a->lock);
  struct connection *c = &a->connections[index];
  int fd = c->fd;
  c->fd = -1;
  a->n_connections -= fd >= 0;
  pthread_mutex_unlock(&a->lock);
  if (fd < 0)
    return;
  close(fd);
  atomic_fetch_sub(&a->server->counters.connections, 1);
}

/* ---- the thread ---- */

static void close_listeners(struct acceptor *a)
{
  for (size_t i = 0; i <= MAX_LISTEN; i++) {
    if (a->listeners[i] < 0)
      continue;
    close(a->listeners[i]);
    a->listeners[i] = -1;
    if (i == UNIX_SLOT)
      unlink(a->server->options.unix_socket);
  }
}

static bool on_control(struct acceptor *a)
{
  uint64_t count;
  if (read(a->control, &count, sizeof count) < 0 && errno != EAGAIN)
    kvi_log_warn("eventfd: %m");
  pthread_mutex_lock(&a->lock);
  bool stop = a->stop, stop_listening = a->stop_listening;
  pthread_mutex_unlock(&a->lock);
  if (stop_listening) {
    close_listeners(a);
    pthread_mutex_lock(&a->lock);
    a->deaf = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
  }
  return !stop;
}

static void run(void *ctx)
{
  struct acceptor *a = ctx;
  bool go_on = true;
  while (go_on) {
    struct epoll_event events[64];
    int n = epoll_wait(a->epoll, events, 64, -1); /* ended by the control descriptor */
    for (int i = 0; i < n; i++) {
      uint32_t kind = (uint32_t)(events[i].data.u64 >> 32), index = (uint32_t)events[i].data.u64;
      if (kind == KIND_CONTROL)
        go_on = on_control(a);
      else if (kind == KIND_LISTENER && a->listeners[index] >= 0)
        accept_all(a, index);
      else if (kind == KIND_CONNECTION && (events[i].events & (EPOLLHUP | EPOLLERR)))
        forget(a, index);
    }
  }
}

static void tell(struct acceptor *a, bool *flag)
{
  uint64_t one = 1;
  pthread_mutex_lock(&a->lock);
  *flag = true;
  pthread_mutex_unlock(&a->lock);
  if (write(a->control, &one, sizeof one) < 0)
    kvi_log_warn("eventfd: %m");
}

/* ---- what the rest asks ---- */

uint64_t kvi_acceptor_name(struct acceptor *a, const char *grpc_peer, char *name, size_t size)
{
  uint64_t serial = 0;
  if (strncmp(grpc_peer, "fd:", 3) != 0)
    return 0;
  const long fd = strtol(grpc_peer + 3, NULL, 10);
  pthread_mutex_lock(&a->lock);
  for (uint32_t i = 0; i < a->max_connections; i++) {
    const struct connection *c = &a->connections[i];
    /* The youngest of a number: an older one was closed by gRPC, and its end has not been seen here yet. */
    if (c->fd >= 0 && c->grpc_fd == fd && c->serial > serial) {
      serial = c->serial;
      snprintf(name, size, "%s", c->name);
    }
  }
  pthread_mutex_unlock(&a->lock);
  return serial;
}

void kvi_acceptor_shutdown(struct acceptor *a, uint64_t serial)
{
  pthread_mutex_lock(&a->lock);
  for (uint32_t i = 0; i < a->max_connections; i++)
    if (a->connections[i].fd >= 0 && (serial == 0 || a->connections[i].serial == serial))
      shutdown(a->connections[i].fd, SHUT_RDWR);
  pthread_mutex_unlock(&a->lock);
}

void kvi_acceptor_stop_listening(struct acceptor *a)
{
  tell(a, &a->stop_listening);
  pthread_mutex_lock(&a->lock);
  while (!a->deaf)
    pthread_cond_wait(&a->changed, &a->lock);
  pthread_mutex_unlock(&a->lock);
}

/* ---- start and end ---- */

static kvs_status open_listeners(struct acceptor *a)
{
  struct kvi_grpc_server *server = a->server;
  kvs_status status = KVS_OK;
  for (size_t i = 0; i < server->options.n_listen && status == KVS_OK && !server->credentials; i++)
    status = listen_tcp(a, i);
  if (status == KVS_OK && server->options.unix_socket)
    status = listen_unix(a);
  return status;
}

static void acceptor_free(struct acceptor *a)
{
  close_listeners(a);
  for (uint32_t i = 0; a->connections && i < a->max_connections; i++)
    if (a->connections[i].fd >= 0)
      close(a->connections[i].fd);
  free(a->connections);
  if (a->insecure)
    grpc_server_credentials_release(a->insecure);
  const int fds[] = {a->epoll, a->control, a->spare};
  for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
    if (fds[i] >= 0)
      close(fds[i]);
  pthread_cond_destroy(&a->changed);
  pthread_mutex_destroy(&a->lock);
  free(a);
}

static void watch_all(struct acceptor *a)
{
  watch(a, a->control, EPOLLIN, event_data(KIND_CONTROL, 0));
  for (uint32_t i = 0; i <= MAX_LISTEN; i++)
    if (a->listeners[i] >= 0)
      watch(a, a->listeners[i], EPOLLIN, event_data(KIND_LISTENER, i));
}

kvs_status kvi_acceptor_start(struct kvi_grpc_server *server, struct acceptor *_Atomic *acceptor_p)
{
  atomic_store(acceptor_p, NULL);
  struct acceptor *a = calloc(1, sizeof *a);
  if (!a)
    return KVS_ERR_NOMEM;
  a->server = server;
  a->max_connections = server->options.max_connections;
  pthread_mutex_init(&a->lock, NULL);
  pthread_cond_init(&a->changed, NULL);
  for (size_t i = 0; i <= MAX_LISTEN; i++)
    a->listeners[i] = -1;
  a->epoll = epoll_create1(EPOLL_CLOEXEC);
  a->control = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  a->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
  a->insecure = grpc_insecure_server_credentials_create();
  a->connections = malloc(a->max_connections * sizeof *a->connections);
  kvs_status status = KVS_ERR_NOMEM;
  if (!a->connections)
    goto free_a;
  for (uint32_t i = 0; i < a->max_connections; i++)
    a->connections[i].fd = -1;
  status = KVS_ERR_SYSTEM;
  if (a->epoll < 0 || a->control < 0 || a->spare < 0)
    goto free_a;
  status = open_listeners(a);
  if (status != KVS_OK)
    goto free_a;
  watch_all(a);
  atomic_store(acceptor_p, a); /* first: a stream of its first connection asks for it */
  status = kvi_thread_start(&a->thread, "acceptor", run, a);
  if (status != KVS_OK)
    goto free_a;
  return KVS_OK;

free_a:
  atomic_store(acceptor_p, NULL);
  acceptor_free(a);
  return status;
}

void kvi_acceptor_destroy(struct acceptor *a)
{
  if (!a)
    return;
  tell(a, &a->stop);
  kvi_thread_join(&a->thread);
  acceptor_free(a);
}
