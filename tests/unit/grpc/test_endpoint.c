/* Endpoints of the gRPC wire: which are well formed, and a name with two addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/unit/grpc/connected.h"
#include "tests/unit/grpc/fixture.h"

static void test_malformed_endpoints(void **state)
{
  (void)state;
  static const char *const bad[] = {"",
                                    "kvasir://",
                                    "kvasir://host",
                                    "kvasir://host:",
                                    "kvasir://:1",
                                    "unix:rel",
                                    "unix:",
                                    "http://host:1",
                                    "kvasir://h:0",
                                    "kvasir://h:65536",
                                    "kvasir://::1:7070",
                                    "kvasir://[::1:7070",
                                    "kvasir://h:7x"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(kvi_grpc_endpoint_check(bad[i]), KVS_ERR_INVALID);
  assert_int_equal(kvi_grpc_endpoint_check("kvasir://[::1]:7070"), KVS_OK);
  assert_int_equal(kvi_grpc_endpoint_check("unix:/run/k.sock"), KVS_OK);
  assert_int_equal(kvi_grpc_endpoint_check(NULL), KVS_ERR_INVALID);
}

#define TWO_ADDRESSES "two-addresses.test"

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list_p);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list_p);

/* The linker has the wire call this one. freeaddrinfo frees lists by their links, so two may be joined. */
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list_p)
{
  if (strcmp(node, TWO_ADDRESSES) != 0)
    return __real_getaddrinfo(node, service, hints, list_p);
  int error = __real_getaddrinfo("127.0.0.2", service, hints, list_p);
  return error != 0 ? error : __real_getaddrinfo("127.0.0.1", service, hints, &(*list_p)->ai_next);
}

/* A listener whose queue is full: the kernel drops what asks for a connection, as a host that is down would. */
static void block_address(uint16_t port, int fds[4])
{
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7F000002)};
  for (int i = 0; i < 4; i++)
    fds[i] = socket(AF_INET, SOCK_STREAM | (i > 0 ? SOCK_NONBLOCK : 0) | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fds[0], (const struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(fds[0], 0), 0);
  for (int i = 1; i < 4; i++)
    (void)connect(fds[i], (const struct sockaddr *)&address, sizeof address);
}

static void test_first_address_is_silent(void **state)
{
  (void)state;
  struct fixture f;
  char endpoint[64];
  int fds[4];
  fixture_start(&f, false, 0);
  block_address(kvi_grpc_server_port(f.server, 0), fds);
  snprintf(endpoint, sizeof endpoint, "kvasir://" TWO_ADDRESSES ":%u", kvi_grpc_server_port(f.server, 0));
  struct kvi_grpc_wire_options options = {.endpoint = endpoint, .connect_timeout_ms = 2000};
  struct kvi_wire *wire = connected_open(&options);
  connected_wait(wire);
  wire->ops->destroy(wire);
  for (int i = 0; i < 4; i++)
    close(fds[i]);
  fixture_stop(&f);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_malformed_endpoints),
      cmocka_unit_test(test_first_address_is_silent),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
