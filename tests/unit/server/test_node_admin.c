/* Tests of the HTTP port, over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "server/node/admin.h"

static struct kvi_admin *admin;
static bool is_ready, metrics_fail;
static char answer[16384];

static bool healthy(void *ctx, kvi_strbuf *out)
{
  (void)ctx;
  kvi_strbuf_add(out, "ok\n");
  return true;
}

static bool ready(void *ctx, kvi_strbuf *out)
{
  (void)ctx;
  kvi_strbuf_add(out, is_ready ? "ready\n" : "starting\n");
  return is_ready;
}

static void metrics(void *ctx, kvi_strbuf *out)
{
  (void)ctx;
  kvi_strbuf_add(out, "a 1\n");
  if (metrics_fail)
    out->status = KVS_ERR_NOMEM;
}

static kvs_status start(const char *listen, char *error, size_t size, struct kvi_admin **admin_p)
{
  struct kvi_admin_options options = {.listen = listen,
                                      .max_connections = 4,
                                      .source = {healthy, ready, metrics, NULL},
                                      .version = "1.2.3",
                                      .error = error,
                                      .error_size = size};

  return kvi_admin_start(&options, admin_p);
}

static int dial(void)
{
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timeval limit = {.tv_sec = 20};
  int fd = socket(AF_INET, SOCK_STREAM, 0);

  in.sin_port = htons(kvi_admin_port(admin));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  assert_int_equal(connect(fd, (const struct sockaddr *)(const void *)&in, sizeof(in)), 0);
  return fd;
}

/* Sends a request, reads to the end of the connection into answer, returns the HTTP status, 0 if there was
 * none. */
static int ask(const char *request)
{
  int fd = dial();
  size_t length = 0;
  ssize_t got;

  assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
  while (length < sizeof(answer) - 1 && (got = recv(fd, answer + length, sizeof(answer) - 1 - length, 0)) > 0)
    length += (size_t)got;
  answer[length] = '\0';
  close(fd);
  const char *code = strchr(answer, ' '); /* HTTP/1.1 200 OK */
  return code != NULL ? (int)strtol(code, NULL, 10) : 0;
}

static int ask_for(const char *method, const char *path)
{
  char request[256];

  snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
  return ask(request);
}

static void test_pages(void **state)
{
  (void)state;
  assert_int_equal(ask_for("GET", "/"), 200);
  assert_non_null(strstr(answer, "kvasird 1.2.3"));
  assert_int_equal(ask_for("GET", "/metrics"), 200);
  assert_non_null(strstr(answer, "Content-Type: text/plain; version=0.0.4"));
  assert_non_null(strstr(answer, "\r\n\r\na 1\n"));
  assert_int_equal(ask_for("GET", "/metrics?x=1"), 200);
  assert_int_equal(ask_for("GET", "/healthz"), 200);
  assert_int_equal(ask_for("HEAD", "/metrics"), 200);
  assert_null(strstr(answer, "a 1"));
}

static void test_ready(void **state)
{
  (void)state;
  is_ready = false;
  assert_int_equal(ask_for("GET", "/readyz"), 503);
  assert_non_null(strstr(answer, "starting"));
  is_ready = true;
  assert_int_equal(ask_for("GET", "/readyz"), 200);
}

static void test_refusals(void **state)
{
  (void)state;
  assert_int_equal(ask_for("GET", "/nothing"), 404);
  assert_int_equal(ask_for("POST", "/metrics"), 405);
  assert_non_null(strstr(answer, "Allow: GET, HEAD"));
  assert_int_equal(ask_for("DELETE", "/"), 405);
  assert_int_equal(
      ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nConnection: close\r\n\r\n"),
      405);
  metrics_fail = true;
  assert_int_equal(ask_for("GET", "/metrics"), 500);
  metrics_fail = false;
}

static void test_garbage(void **state)
{
  static char big[20000];

  (void)state;
  static const char hello[] = "\x16\x03\x01\x02garbage\r\n\r\n";
  int fd = dial();
  assert_int_equal(send(fd, hello, sizeof(hello) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(hello) - 1);
  close(fd);
  memset(big, 'a', sizeof(big) - 1);
  memcpy(big, "GET /", 5);
  fd = dial(); /* more header than it has memory for; it may close before all is sent */
  (void)!send(fd, big, sizeof(big) - 1, MSG_NOSIGNAL);
  close(fd);
  assert_int_equal(ask_for("GET", "/healthz"), 200);
}

static void test_connections_are_bounded(void **state)
{
  int held[4];

  (void)state;
  for (size_t i = 0; i < 4; i++) {
    held[i] = dial();
    assert_int_equal(send(held[i], "GET", 3, MSG_NOSIGNAL), 3);
  }
  /* Whether the fifth is refused or waits for one of the four to go idle, it is not served beside them for
   * ever. */
  for (size_t i = 0; i < 4; i++)
    close(held[i]);
  assert_int_equal(ask_for("GET", "/healthz"), 200);
}

static void test_port_in_use(void **state)
{
  char listen[32], error[300] = "";
  struct kvi_admin *second;

  (void)state;
  snprintf(listen, sizeof(listen), "127.0.0.1:%u", (unsigned)kvi_admin_port(admin));
  assert_int_equal(start(listen, error, sizeof(error), &second), KVS_ERR_SYSTEM);
  assert_null(second);
  assert_non_null(strstr(error, listen));
  assert_non_null(strstr(error, "in use"));
  assert_int_equal(start("nonsense", error, sizeof(error), &second), KVS_ERR_SYSTEM);
}

static int start_admin(void **state)
{
  char error[300];

  (void)state;
  return start("127.0.0.1:0", error, sizeof(error), &admin) == KVS_OK ? 0 : -1;
}

static int stop_admin(void **state)
{
  (void)state;
  kvi_admin_destroy(admin);
  kvi_admin_destroy(NULL);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pages),
      cmocka_unit_test(test_ready),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_garbage),
      cmocka_unit_test(test_connections_are_bounded),
      cmocka_unit_test(test_port_in_use),
  };

  return cmocka_run_group_tests(tests, start_admin, stop_admin);
}
