/* admin.c: the HTTP port, over libmicrohttpd. */
#include "server/node/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "server/node/address.h"

#define PAGE_MAX      (1u << 20)
#define IDLE_SECONDS  10u
#define REQUEST_BYTES 8192u /* memory of one connection: request line and headers */
#define BACKLOG       64

/* An open connection, in the order of arrival. */
struct visitor {
  kvi_list_node link; /* in visitors or free_visitors */
  int fd;
};

struct kvi_admin {
  struct MHD_Daemon *daemon;
  struct visitor *visitor_table; /* max_connections of them */
  kvi_list visitors, free_visitors;
  struct kvi_admin_source source;
  char version[32];
  uint16_t port;
};

/* ---- pages ---- */

typedef unsigned page_fn(const struct kvi_admin *admin, kvi_strbuf *out); /* returns the HTTP status */

static unsigned page_index(const struct kvi_admin *admin, kvi_strbuf *out)
{
  kvi_strbuf_addf(
      out,
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>kvasird</title></head><body>\n"
      "<h1>kvasird %s</h1>\n<ul>\n"
      "<li><a href=\"/metrics\">/metrics</a>: counters and gauges, Prometheus text format</li>\n"
      "<li><a href=\"/healthz\">/healthz</a>: the process is alive and not stuck</li>\n"
      "<li><a href=\"/readyz\">/readyz</a>: it takes work</li>\n</ul>\n</body></html>\n",
      admin->version);
  return MHD_HTTP_OK;
}

static unsigned page_metrics(const struct kvi_admin *admin, kvi_strbuf *out)
{
  admin->source.metrics(admin->source.ctx, out);
  return MHD_HTTP_OK;
}

static unsigned page_healthz(const struct kvi_admin *admin, kvi_strbuf *out)
{
  return admin->source.healthy(admin->source.ctx, out) ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned page_readyz(const struct kvi_admin *admin, kvi_strbuf *out)
{
  return admin->source.ready(admin->source.ctx, out) ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

#define TEXT "text/plain; charset=utf-8"

static const struct page {
  const char *path, *type;
  page_fn *fn;
} pages[] = {
    {"/", "text/html; charset=utf-8", page_index},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", page_metrics},
    {"/healthz", TEXT, page_healthz},
    {"/readyz", TEXT, page_readyz},
};

static const struct page *find_page(const char *path)
{
  for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
    if (strcmp(pages[i].path, path) == 0)
      return &pages[i];
  return NULL;
}

/* ---- requests ---- */

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, const char *type,
                             const char *body, size_t length)
{
  /* libmicrohttpd does not change a body it copies; its signature is older than const. */
  struct MHD_Response *response =
      MHD_create_response_from_buffer(length, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
  enum MHD_Result result;

  if (response == NULL)
    return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  result = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return result;
}

static enum MHD_Result reply_text(struct MHD_Connection *connection, unsigned status, const char *text)
{
  return reply(connection, status, TEXT, text, strlen(text));
}

static enum MHD_Result reply_page(struct MHD_Connection *connection, const struct kvi_admin *admin,
                                  const struct page *page)
{
  enum MHD_Result result;
  kvi_strbuf out;
  unsigned status;

  kvi_strbuf_init(&out, PAGE_MAX);
  status = page->fn(admin, &out);
  if (out.status == KVS_OK)
    result = reply(connection, status, page->type, kvi_strbuf_text(&out), out.length);
  else
    result = reply_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the page does not fit memory\n");
  kvi_strbuf_free(&out);
  return result;
}

/* Called once with the headers; a method that brings a body is answered here, before any of it is read. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
  const struct page *page = find_page(url);

  (void)version, (void)upload, (void)upload_size, (void)request;
  if (page == NULL)
    return reply_text(connection, MHD_HTTP_NOT_FOUND, "no such page; / lists them\n");
  if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
    return reply_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "this port is read only\n");
  return reply_page(connection, ctx, page);
}

/*
 * The library's time limit is one between two bytes, so clients that send a byte now and then could hold all connections. Hence the oldest
 * is ended when the last place is taken: whoever comes next is served. On the library's thread.
 */
static void on_connection(void *ctx, struct MHD_Connection *connection, void **visitor_p,
                          enum MHD_ConnectionNotificationCode code)
{
  struct kvi_admin *admin = ctx;

  if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
    struct visitor *visitor = *visitor_p;
    if (visitor == NULL)
      return;
    kvi_list_remove(&admin->visitors, &visitor->link);
    kvi_list_push_back(&admin->free_visitors, &visitor->link);
    return;
  }
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  kvi_list_node *free_place = kvi_list_pop_front(&admin->free_visitors);
  if (info == NULL || free_place == NULL)
    return;
  struct visitor *visitor = kvi_list_entry(free_place, struct visitor, link);
  visitor->fd = info->connect_fd;
  kvi_list_push_back(&admin->visitors, &visitor->link);
  *visitor_p = visitor;
  if (kvi_list_is_empty(&admin->free_visitors)) {
    struct visitor *oldest = kvi_list_entry(kvi_list_first(&admin->visitors), struct visitor, link);
    shutdown(oldest->fd, SHUT_RDWR); /* the library sees the end and closes it */
  }
}

static void on_log(void *ctx, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static void on_log(void *ctx, const char *format, va_list args)
{
  char line[512];

  (void)ctx;
  vsnprintf(line, sizeof(line), format, args);
  line[strcspn(line, "\r\n")] = '\0';
  kvi_log_limited(KVI_LOG_DEBUG, "admin: %s", line); /* mostly what strangers sent */
}

/* ---- life ---- */

/* The socket is made here and not by the library, which would not tell why it could not. -1 with errno. */
static int open_socket(const struct addrinfo *info)
{
  int on = 1;
  int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  if (fd < 0)
    return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (info->ai_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
    return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

static uint16_t port_of(int fd)
{
  union {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
  } name = {.storage = {0}};
  socklen_t size = sizeof(name);

  if (getsockname(fd, &name.any, &size) != 0)
    return 0;
  return ntohs(name.any.sa_family == AF_INET6 ? name.in6.sin6_port : name.in.sin_port);
}

static int listen_on(const struct kvi_admin_options *options)
{
  struct kvi_node_address address;
  int fd = -1, error = 0;

  if (kvi_node_address_parse(options->listen, &address, options->error, options->error_size) != KVS_OK)
    return -1;
  for (const struct addrinfo *info = address.list; info != NULL && fd < 0; info = info->ai_next) {
    fd = open_socket(info);
    if (fd < 0)
      error = errno;
  }
  kvi_node_address_clear(&address);
  if (fd < 0)
    snprintf(options->error, options->error_size, "admin: cannot listen on %s: %s", options->listen,
             error == EADDRINUSE ? "the port is in use by another process" : strerror(error));
  return fd;
}

static kvs_status make_visitors(struct kvi_admin *admin, uint32_t n)
{
  kvi_list_init(&admin->visitors);
  kvi_list_init(&admin->free_visitors);
  admin->visitor_table = calloc(n, sizeof(*admin->visitor_table));
  if (admin->visitor_table == NULL)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < n; i++)
    kvi_list_push_back(&admin->free_visitors, &admin->visitor_table[i].link);
  return KVS_OK;
}

kvs_status kvi_admin_start(const struct kvi_admin_options *options, struct kvi_admin **admin_p)
{
  kvs_status status = KVS_ERR_SYSTEM;
  struct kvi_admin *admin;
  int fd;

  *admin_p = NULL;
  admin = calloc(1, sizeof(*admin));
  if (admin == NULL) {
    snprintf(options->error, options->error_size, "admin: no memory");
    return KVS_ERR_NOMEM;
  }
  admin->source = options->source;
  snprintf(admin->version, sizeof(admin->version), "%s", options->version);
  if (make_visitors(admin, options->max_connections) != KVS_OK) {
    snprintf(options->error, options->error_size, "admin: no memory");
    status = KVS_ERR_NOMEM;
    goto free_admin;
  }
  fd = listen_on(options);
  if (fd < 0)
    goto free_admin;
  admin->port = port_of(fd);
  admin->daemon = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                                   on_request, admin, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                                   MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                                   (unsigned)options->max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
                                   IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES,
                                   MHD_OPTION_NOTIFY_CONNECTION, on_connection, admin, MHD_OPTION_END);
  if (admin->daemon == NULL) {
    snprintf(options->error, options->error_size, "admin: cannot start the HTTP server on %s",
             options->listen);
    goto close_socket;
  }
  *admin_p = admin;
  return KVS_OK;

close_socket:
  close(fd);
free_admin:
  free(admin->visitor_table);
  free(admin);
  return status;
}

uint16_t kvi_admin_port(const struct kvi_admin *admin)
{
  return admin->port;
}

void kvi_admin_destroy(struct kvi_admin *admin)
{
  if (admin == NULL)
    return;
  MHD_stop_daemon(admin->daemon); /* closes the listening socket too */
  free(admin->visitor_table);
  free(admin);
}
