#include "tests/unit/grpc/connected.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"

#define PATIENCE_MS 20000u

/* For all wires of the process: a wire may tell its state until it is destroyed, which no test's frame need outlive. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told;

static void make(void)
{
  (void)kvi_cond_init(&told);
}

static void on_state(void *ctx, bool connected, uint64_t incarnation)
{
  (void)ctx, (void)connected, (void)incarnation;
  pthread_mutex_lock(&mutex);
  pthread_cond_broadcast(&told);
  pthread_mutex_unlock(&mutex);
}

struct kvi_wire *connected_open(struct kvi_grpc_wire_options *options)
{
  struct kvi_wire *wire;
  pthread_once(&once, make);
  options->state_fn = on_state;
  assert_int_equal(kvi_grpc_wire_open(options, &wire), KVS_OK);
  return wire;
}

void connected_wait(struct kvi_wire *wire)
{
  kvi_deadline deadline = kvi_deadline_from_ms(PATIENCE_MS);
  pthread_mutex_lock(&mutex);
  while (!wire->ops->connected(wire) && kvi_cond_wait(&told, &mutex, deadline) == KVS_OK)
    ;
  pthread_mutex_unlock(&mutex);
  assert_true(wire->ops->connected(wire));
}
