/* Calls over the gRPC wire: answered, answered later, and not looked at before the server ends. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"
#include "proto/kvasir/v1/cache.pb-c.h"
#include "tests/unit/grpc/fixture.h"

struct called {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool done;
  kvs_status status;
};

static void on_called(void *ctx, kvs_status status, const ProtobufCMessage *reply)
{
  struct called *c = ctx;
  assert_true((status == KVS_OK) == (reply != NULL));
  pthread_mutex_lock(&c->lock);
  c->done = true;
  c->status = status;
  pthread_cond_broadcast(&c->cond);
  pthread_mutex_unlock(&c->lock);
}

static kvs_status call(struct fixture *f, enum kvi_method method, const ProtobufCMessage *request)
{
  struct called c = {.lock = PTHREAD_MUTEX_INITIALIZER};
  kvi_cond_init(&c.cond);
  kvi_deadline deadline = kvi_deadline_from_ms(10000);
  assert_int_equal(f->wire->ops->call(f->wire, method, request, deadline.at_ns, on_called, &c), KVS_OK);
  pthread_mutex_lock(&c.lock);
  while (!c.done && kvi_cond_wait(&c.cond, &c.lock, deadline) == KVS_OK)
    ;
  pthread_mutex_unlock(&c.lock);
  assert_true(c.done);
  return c.status;
}

static void test_calls(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  Kvasir__V1__Empty empty = KVASIR__V1__EMPTY__INIT;
  Kvasir__V1__EvictRequest evict = KVASIR__V1__EVICT_REQUEST__INIT;
  for (int i = 0; i < 50; i++)
    assert_int_equal(call(&f, KVI_METHOD_PING, &empty.base), KVS_OK);
  assert_int_equal(call(&f, KVI_METHOD_EVICT, &evict.base), KVS_ERR_UNSUPPORTED);
  fixture_stop(&f);
}

/* Some are answered after their caller has given up, and after the node was told to end. */
static void test_calls_answered_later(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  Kvasir__V1__ListSpacesRequest list = KVASIR__V1__LIST_SPACES_REQUEST__INIT;
  struct called given_up[16];
  for (int i = 0; i < 5; i++)
    assert_int_equal(call(&f, KVI_METHOD_LIST_SPACES, &list.base), KVS_OK);
  for (size_t i = 0; i < 16; i++) {
    given_up[i] = (struct called){.lock = PTHREAD_MUTEX_INITIALIZER};
    kvi_cond_init(&given_up[i].cond);
    assert_int_equal(f.wire->ops->call(f.wire, KVI_METHOD_LIST_SPACES, &list.base,
                                       kvi_deadline_from_ms(i % 2 ? 1 : 10000).at_ns, on_called,
                                       &given_up[i]),
                     KVS_OK);
  }
  fixture_stop(&f);
  for (size_t i = 0; i < 16; i++)
    assert_true(given_up[i].done);
}

/* Time for what nobody tells of. More of it makes a test stronger, less does not fail it. */
static void let_pass(unsigned ms)
{
  usleep(ms * 1000);
}

enum { UNREAD = 16 };

struct ending {
  struct fixture f;
  struct called called[UNREAD];
};

static void *end_server(void *ctx)
{
  fixture_destroy(ctx);
  return NULL;
}

/* A wire whose calls and stream are with the second poller. */
static struct kvi_wire *connect_to_second(struct fixture *f)
{
  Kvasir__V1__Empty empty = KVASIR__V1__EMPTY__INIT;
  for (int i = 0; i < 100; i++) {
    char thread[16];
    f->wire = fixture_connect(f, 0);
    assert_int_equal(call(f, KVI_METHOD_PING, &empty.base), KVS_OK);
    fixture_ping_thread(f, thread);
    if (strcmp(thread, "poller-1") == 0)
      return f->wire;
    f->wire->ops->destroy(f->wire);
  }
  fail_msg("no connection came to the second poller");
  return NULL;
}

/*
 * Calls that have arrived but not been looked at, because their poller is busy, while the server is ended without a drain and all connections
 * are gone: they are answered or dropped, but no batch is started in a queue that was shut down.
 */
static void test_destroy_with_calls_unread(void **state)
{
  (void)state;
  static struct ending e; /* static: a failed assertion leaves this frame */
  Kvasir__V1__Empty empty = KVASIR__V1__EMPTY__INIT;
  Kvasir__V1__ListSpacesRequest list = KVASIR__V1__LIST_SPACES_REQUEST__INIT;
  kvi_deadline deadline = kvi_deadline_from_ms(30000);
  pthread_t thread;
  fixture_start_pollers(&e.f, 2);
  e.f.wire->ops->destroy(e.f.wire);
  struct kvi_wire *first = connect_to_second(&e.f), *wire = connect_to_second(&e.f);
  fixture_block(&e.f, true);
  first->ops->destroy(first);
  while (!fixture_is_blocked(&e.f) && !kvi_deadline_expired(deadline))
    usleep(1000);
  for (size_t i = 0; i < UNREAD; i++) {
    e.called[i] = (struct called){.lock = PTHREAD_MUTEX_INITIALIZER};
    kvi_cond_init(&e.called[i].cond);
    assert_int_equal(wire->ops->call(wire, i % 2 ? KVI_METHOD_LIST_SPACES : KVI_METHOD_PING,
                                     i % 2 ? &list.base : &empty.base, kvi_deadline_from_ms(60000).at_ns,
                                     on_called, &e.called[i]),
                     KVS_OK);
  }
  let_pass(100); /* so that the calls have arrived, which nobody tells */
  wire->ops->destroy(wire);
  assert_int_equal(pthread_create(&thread, NULL, end_server, &e.f), 0);
  let_pass(
      1500); /* so that the end waits for these calls alone: longer than for calls that it has cancelled */
  fixture_block(&e.f, false);
  pthread_join(thread, NULL);
  for (size_t i = 0; i < UNREAD; i++)
    assert_true(e.called[i].done);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_calls),
      cmocka_unit_test(test_calls_answered_later),
      cmocka_unit_test(test_destroy_with_calls_unread),
  };
  int failed = cmocka_run_group_tests_name("callers send", tests, NULL, NULL);
  fixture_hand_over(true);
  return failed + cmocka_run_group_tests_name("a thread sends", tests, NULL, NULL);
}
