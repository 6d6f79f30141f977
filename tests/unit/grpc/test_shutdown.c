/* Connections that come just while a server ends: none is given to a gRPC server that is shut down or gone. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/grpc/fixture.h"

#define ROUNDS  20
#define CALLERS 3

struct callers {
  _Atomic uint32_t port; /* 0: the end */
};

/* Connects as fast as it can, and closes again. */
static void *call(void *arg)
{
  struct callers *callers = arg;
  uint32_t port;

  while ((port = atomic_load(&callers->port)) != 0) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)connect(fd, (const struct sockaddr *)&address, sizeof(address));
    close(fd);
  }
  return NULL;
}

static void connections_while_it_ends(void **state)
{
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    pthread_t threads[CALLERS];
    struct callers callers;
    struct fixture f;

    fixture_start(&f, false, 0);
    atomic_init(&callers.port, kvi_grpc_server_port(f.server, 0));
    for (int i = 0; i < CALLERS; i++)
      assert_int_equal(pthread_create(&threads[i], NULL, call, &callers), 0);
    fixture_stop(&f);
    atomic_store(&callers.port, 0);
    for (int i = 0; i < CALLERS; i++)
      pthread_join(threads[i], NULL);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(connections_while_it_ends)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
