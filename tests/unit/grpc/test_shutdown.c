/* Connections that come just while a server ends: none is given to a gRPC server that is shut down or gone. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/grpc/fixture.h"

#define ROUNDS  20
#define CALLERS 3

/* On a unix socket: a port that is free again may be another program's by then. */
struct callers {
  struct sockaddr_un address;
  atomic_bool end;
};

/* Connects as fast as it can, and closes again. */
static void *call(void *arg)
{
  struct callers *callers = arg;

  while (!atomic_load(&callers->end)) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)connect(fd, (const struct sockaddr *)&callers->address, sizeof(callers->address));
    close(fd);
  }
  return NULL;
}

static void connections_while_it_ends(void **state)
{
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    pthread_t threads[CALLERS];
    struct callers callers = {.address = {.sun_family = AF_UNIX}};
    struct fixture f;

    fixture_start(&f, true, 0);
    const char *path = f.endpoint + strlen("unix:");
    assert_true(strlen(path) < sizeof(callers.address.sun_path));
    memcpy(callers.address.sun_path, path, strlen(path));
    for (int i = 0; i < CALLERS; i++)
      assert_int_equal(pthread_create(&threads[i], NULL, call, &callers), 0);
    fixture_stop(&f);
    atomic_store(&callers.end, true);
    for (int i = 0; i < CALLERS; i++)
      pthread_join(threads[i], NULL);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(connections_while_it_ends)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
