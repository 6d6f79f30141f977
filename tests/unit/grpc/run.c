#include "tests/unit/grpc/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"

static const uint8_t space[KVS_DIGEST_SIZE] = {1};

static void on_segments(struct kvi_transfer *t, uint32_t chunk, uint32_t n)
{
  struct run *r = t->user;
  (void)chunk;
  r->last_segments = n;
}

static void on_chunk(struct kvi_transfer *t, uint32_t chunk)
{
  (void)chunk;
  ((struct run *)t->user)->n_chunk_calls++;
}

static void on_done(struct kvi_transfer *t, kvs_status status)
{
  struct run *r = t->user;
  pthread_mutex_lock(&r->lock);
  assert_false(r->done);
  r->done = true;
  r->status = status;
  pthread_cond_broadcast(&r->cond);
  pthread_mutex_unlock(&r->lock);
}

void prepare(struct run *r, bool put, uint32_t n_chunks, uint8_t first_key, uint64_t timeout_ms)
{
  memset(r, 0, sizeof *r);
  pthread_mutex_init(&r->lock, NULL);
  kvi_cond_init(&r->cond);
  for (uint32_t i = 0; i < n_chunks; i++)
    r->keys[i * KEY] = (uint8_t)(first_key + i);
  r->t = (struct kvi_transfer){
      .put = put,
      .space = space,
      .keys = r->keys,
      .key_length = KEY,
      .deadline_ns = kvi_deadline_from_ms(timeout_ms).at_ns,
      .n_chunks = n_chunks,
      .chunks = r->chunks,
      .on_segments = on_segments,
      .on_chunk = on_chunk,
      .on_done = on_done,
      .user = r,
  };
}

kvs_status finish(struct run *r)
{
  kvi_deadline deadline = kvi_deadline_from_ms(20000);
  pthread_mutex_lock(&r->lock);
  while (!r->done && kvi_cond_wait(&r->cond, &r->lock, deadline) == KVS_OK)
    ;
  bool done = r->done;
  pthread_mutex_unlock(&r->lock);
  assert_true(done);
  assert_int_equal(r->n_chunk_calls, r->t.n_chunks);
  return r->status;
}
