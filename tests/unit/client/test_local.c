/* The local wire by itself: equal puts in flight, deadlines, bytes that went bad, wrong batches. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tests/unit/client/fixture.h"

struct batch {
  struct kvi_transfer transfer;
  struct kvi_transfer_chunk chunk;
  struct kvi_iov iov;
  uint8_t bytes[4096];
  uint32_t segments[2];
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  int n_done, n_segments_told;
  kvs_status status;
};

struct local {
  struct fixture fixture;
  struct kvi_wire *wire;
  const struct kvi_service *service;
  uint8_t digest[KVS_DIGEST_SIZE], key[KEY];
  struct kvi_peer peer; /* another one, with puts of its own */
};

static int set_up(void **state)
{
  struct local *local = calloc(1, sizeof(*local));

  fixture_open(&local->fixture, 16u << 20, 0);
  local->service = kvi_store_service_get(local->fixture.service);
  assert_int_equal(kvi_local_wire_open(local->service, NULL, NULL, &local->wire), KVS_OK);
  kvsc_space_get_digest(local->fixture.space, local->digest);
  test_key(1, 1, local->key);
  local->peer = (struct kvi_peer){.id = 5, .tenant = "default", .name = "other"};
  *state = local;
  return 0;
}

static int tear_down(void **state)
{
  struct local *local = *state;

  if (local->wire != NULL)
    local->wire->ops->destroy(local->wire);
  fixture_close(&local->fixture);
  free(local);
  return 0;
}

static void on_segments(struct kvi_transfer *transfer, uint32_t chunk, uint32_t n)
{
  struct batch *batch = transfer->user;

  assert_int_equal(chunk, 0);
  assert_int_equal(n, batch->n_segments_told + 1); /* in order */
  batch->n_segments_told = (int)n;
}

static void on_done(struct kvi_transfer *transfer, kvs_status status)
{
  struct batch *batch = transfer->user;

  pthread_mutex_lock(&batch->mutex);
  batch->n_done++;
  batch->status = status;
  pthread_cond_signal(&batch->ended);
  pthread_mutex_unlock(&batch->mutex);
}

static struct batch *new_batch(struct local *local, bool put, uint32_t timeout_ms)
{
  struct batch *batch = calloc(1, sizeof(*batch));

  pthread_mutex_init(&batch->mutex, NULL);
  assert_int_equal(kvi_cond_init(&batch->ended), KVS_OK);
  test_fill(batch->bytes, sizeof(batch->bytes), 9);
  batch->iov = (struct kvi_iov){batch->bytes, sizeof(batch->bytes)};
  batch->segments[0] = 4000;
  batch->segments[1] = 96;
  batch->chunk = (struct kvi_transfer_chunk){
      .iov = &batch->iov, .n_iov = 1, .length = sizeof(batch->bytes), .status = KVS_PENDING};
  if (put) {
    batch->chunk.n_segments = 2;
    batch->chunk.segment_lengths = batch->segments;
  }
  batch->transfer = (struct kvi_transfer){.put = put,
                                          .space = local->digest,
                                          .keys = local->key,
                                          .key_length = KEY,
                                          .chain = {.unchained = true},
                                          .deadline_ns = kvi_now_ns() + timeout_ms * KVI_NS_PER_MS,
                                          .n_chunks = 1,
                                          .chunks = &batch->chunk,
                                          .on_segments = put ? NULL : on_segments,
                                          .on_done = on_done,
                                          .user = batch};
  return batch;
}

static void wait_batch(struct batch *batch)
{
  kvi_deadline deadline = kvi_deadline_from_ms(10000);

  pthread_mutex_lock(&batch->mutex);
  while (batch->n_done == 0)
    assert_int_equal(kvi_cond_wait(&batch->ended, &batch->mutex, deadline), KVS_OK);
  pthread_mutex_unlock(&batch->mutex);
}

static void free_batch(struct batch *batch)
{
  assert_int_equal(batch->n_done, 1);
  pthread_cond_destroy(&batch->ended);
  pthread_mutex_destroy(&batch->mutex);
  free(batch);
}

/* A put of the same key by somebody else that has begun and not ended. */
static void begin_elsewhere(struct local *local, struct kvi_landing *landing)
{
  static const uint32_t lengths[] = {4000, 96};
  const struct kvi_put_request request = {.space = local->digest,
                                          .key = local->key,
                                          .key_length = KEY,
                                          .unchained = true,
                                          .length = 4096,
                                          .n_segments = 2,
                                          .segment_lengths = lengths};

  assert_int_equal(
      local->service->ops->put_begin(local->service->self, &local->peer, &request, NULL, NULL, landing),
      KVS_OK);
}

static void a_put_and_a_get_end_before_submit_returns(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 1000), *get = new_batch(local, false, 1000);

  assert_int_equal(local->wire->ops->submit(local->wire, &put->transfer), KVS_OK);
  assert_int_equal(put->n_done, 1);
  assert_int_equal(put->status, KVS_OK);
  memset(get->bytes, 0, sizeof(get->bytes));
  assert_int_equal(local->wire->ops->submit(local->wire, &get->transfer), KVS_OK);
  assert_int_equal(get->n_done, 1);
  assert_int_equal(get->status, KVS_OK);
  assert_int_equal(get->n_segments_told, 2);
  assert_int_equal(get->chunk.n_segments, 2);
  assert_int_equal(get->chunk.verified, sizeof(get->bytes));
  assert_memory_equal(get->bytes, put->bytes, sizeof(put->bytes));
  free_batch(put);
  free_batch(get);
}

static void an_equal_put_waits_for_the_one_in_flight(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 10000);
  struct kvi_landing landing;

  begin_elsewhere(local, &landing);
  assert_int_equal(local->wire->ops->submit(local->wire, &put->transfer), KVS_OK);
  assert_int_equal(put->n_done, 0);
  /* that one gives up: ours goes on with its own bytes, on the wire's thread */
  local->service->ops->put_abort(local->service->self, &landing);
  wait_batch(put);
  assert_int_equal(put->status, KVS_OK);
  assert_int_equal(put->chunk.status, KVS_OK);
  free_batch(put);

  uint8_t out[4096];
  assert_int_equal(get_one(local->fixture.space, local->fixture.client, local->key, out, sizeof(out), NULL),
                   KVS_OK);
}

static void an_equal_put_that_ends_well_is_enough(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 10000);
  struct kvi_landing landing;

  begin_elsewhere(local, &landing);
  assert_int_equal(local->wire->ops->submit(local->wire, &put->transfer), KVS_OK);
  size_t at = 0;
  for (uint32_t i = 0; i < landing.n_iov; i++) {
    memcpy(landing.iov[i].base, put->bytes + at, landing.iov[i].length);
    at += landing.iov[i].length;
  }
  assert_int_equal(at, 4096);
  landing.segments[0].crc32c = 1; /* they are whoever landed them's to compute: see the test of bad bytes */
  landing.segments[1].crc32c = 2;
  assert_int_equal(local->service->ops->put_commit(local->service->self, &landing), KVS_OK);
  wait_batch(put);
  assert_int_equal(put->status, KVS_OK);
  assert_int_equal(put->chunk.status, KVS_EXISTS);
  free_batch(put);
}

static void a_waiting_put_ends_at_its_deadline(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 20);
  struct kvi_landing landing;

  begin_elsewhere(local, &landing);
  assert_int_equal(local->wire->ops->submit(local->wire, &put->transfer), KVS_OK);
  wait_batch(put);
  assert_int_equal(put->status, KVS_ERR_DEADLINE);
  assert_int_equal(put->chunk.status, KVS_ERR_DEADLINE);
  free_batch(put);
  local->service->ops->put_abort(local->service->self, &landing); /* nobody is told any more */
}

static void a_waiting_put_is_cancelled(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 10000);
  struct kvi_landing landing;

  begin_elsewhere(local, &landing);
  assert_int_equal(local->wire->ops->submit(local->wire, &put->transfer), KVS_OK);
  local->wire->ops->cancel(local->wire, &put->transfer);
  wait_batch(put);
  assert_int_equal(put->status, KVS_ERR_CANCELED);
  free_batch(put);
  local->service->ops->put_abort(local->service->self, &landing);
}

/* A service whose puts are cancelled by the one who asked as the fourth of them begins. */
static struct {
  struct kvi_service_ops ops;
  struct kvi_service service;
  const struct kvi_service *inner;
  struct kvi_wire *wire;
  struct kvi_transfer *transfer;
  _Atomic int begun;
} meddler;

static kvs_status meddling_begin(void *self, const struct kvi_peer *peer,
                                 const struct kvi_put_request *request, kvi_put_wait_fn *wait_fn,
                                 void *wait_ctx, struct kvi_landing *landing_p)
{
  if (++meddler.begun == 4)
    meddler.wire->ops->cancel(meddler.wire, meddler.transfer);
  return meddler.inner->ops->put_begin(self, peer, request, wait_fn, wait_ctx, landing_p);
}

static void a_put_is_cancelled_while_it_goes_on(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 10000);
  struct kvi_transfer_chunk chunks[2] = {put->chunk, put->chunk};
  uint8_t keys[2 * KEY];
  struct kvi_landing landing;

  meddler.inner = local->service;
  meddler.ops = *local->service->ops;
  meddler.ops.put_begin = meddling_begin;
  meddler.service = *local->service;
  meddler.service.ops = &meddler.ops;
  meddler.transfer = &put->transfer;
  meddler.begun = 0;
  assert_int_equal(kvi_local_wire_open(&meddler.service, NULL, NULL, &meddler.wire), KVS_OK);
  test_key(1, 2, keys);
  memcpy(keys + KEY, local->key, KEY);
  put->transfer.keys = keys;
  put->transfer.chunks = chunks;
  put->transfer.n_chunks = 2;

  begin_elsewhere(local, &landing); /* the second: asked for twice, then once more when that one gives up */
  assert_int_equal(meddler.wire->ops->submit(meddler.wire, &put->transfer), KVS_OK);
  assert_int_equal(meddler.begun, 3);
  local->service->ops->put_abort(local->service->self, &landing);
  wait_batch(put);
  assert_int_equal(chunks[0].status, KVS_OK);
  assert_int_equal(chunks[1].status, KVS_ERR_CANCELED);
  assert_int_equal(put->status, KVS_ERR_CANCELED);
  meddler.wire->ops->destroy(meddler.wire);
  free_batch(put);
}

static uint32_t chain_chunks;

static kvs_status decline(void *self, const struct kvi_peer *peer, const struct kvi_put_request *request,
                          kvi_put_wait_fn *wait_fn, void *wait_ctx, struct kvi_landing *landing_p)
{
  (void)self, (void)peer, (void)wait_fn, (void)wait_ctx, (void)landing_p;
  chain_chunks = request->chain_chunks;
  return KVS_DECLINED;
}

static void a_declined_put_is_told(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 10000);
  struct kvi_service_ops ops = *local->service->ops;
  struct kvi_service service = *local->service;
  struct kvi_wire *wire;

  ops.put_begin = decline;
  service.ops = &ops;
  assert_int_equal(kvi_local_wire_open(&service, NULL, NULL, &wire), KVS_OK);
  put->transfer.chain_chunks = 7;
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_OK);
  wait_batch(put);
  assert_int_equal(put->status, KVS_DECLINED);
  assert_int_equal(put->chunk.status, KVS_DECLINED);
  assert_int_equal(chain_chunks, 7);
  wire->ops->destroy(wire);
  free_batch(put);
}

/* Declines the first chunk of its batch, and is full for the others. */
static kvs_status decline_first(void *self, const struct kvi_peer *peer,
                                const struct kvi_put_request *request, kvi_put_wait_fn *wait_fn,
                                void *wait_ctx, struct kvi_landing *landing_p)
{
  kvs_status status = decline(self, peer, request, wait_fn, wait_ctx, landing_p);

  return request->n_behind == 0 ? KVS_ERR_FULL : status;
}

/* What was declined is no failure; what failed beside it is. */
static void a_failure_says_more_than_a_decline(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 10000);
  struct kvi_transfer_chunk chunks[2] = {put->chunk, put->chunk};
  struct kvi_service_ops ops = *local->service->ops;
  struct kvi_service service = *local->service;
  uint8_t keys[2 * KEY];
  struct kvi_wire *wire;

  ops.put_begin = decline_first;
  service.ops = &ops;
  test_key(1, 2, keys);
  memcpy(keys + KEY, local->key, KEY);
  put->transfer.keys = keys;
  put->transfer.chain.unchained = false;
  put->transfer.chunks = chunks;
  put->transfer.n_chunks = 2;
  assert_int_equal(kvi_local_wire_open(&service, NULL, NULL, &wire), KVS_OK);
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_OK);
  wait_batch(put);
  assert_int_equal(chunks[0].status, KVS_DECLINED);
  assert_int_equal(chunks[1].status, KVS_ERR_FULL);
  assert_int_equal(put->status, KVS_ERR_FULL);
  wire->ops->destroy(wire);
  free_batch(put);
}

static void destroy_ends_what_waits(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 10000);
  struct kvi_landing landing;

  begin_elsewhere(local, &landing);
  assert_int_equal(local->wire->ops->submit(local->wire, &put->transfer), KVS_OK);
  local->wire->ops->destroy(local->wire);
  local->wire = NULL;
  assert_int_equal(put->n_done, 1);
  assert_int_equal(put->status, KVS_ERR_CLOSED);
  free_batch(put);
  local->service->ops->put_abort(local->service->self, &landing);
}

static void nothing_moves_after_the_deadline(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 0);

  assert_int_equal(local->wire->ops->submit(local->wire, &put->transfer), KVS_OK);
  assert_int_equal(put->status, KVS_ERR_DEADLINE);
  free_batch(put);
  uint8_t out[4096];
  assert_int_equal(get_one(local->fixture.space, local->fixture.client, local->key, out, sizeof(out), NULL),
                   KVS_MISS);
}

static void bytes_that_went_bad_are_a_miss(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 1000), *get = new_batch(local, false, 1000);
  struct kvi_source source;
  uint32_t cause;

  assert_int_equal(local->wire->ops->submit(local->wire, &put->transfer), KVS_OK);
  assert_int_equal(local->service->ops->get_open(local->service->self, &local->peer, local->digest,
                                                 local->key, KEY, NULL, &source, &cause),
                   KVS_OK);
  uint8_t *stored = source.iov[0].base;
  stored[4000] ^= 1; /* the second segment */
  assert_int_equal(local->wire->ops->submit(local->wire, &get->transfer), KVS_OK);
  assert_int_equal(get->status, KVS_MISS);
  assert_int_equal(get->chunk.cause, KVI_MISS_CORRUPT);
  assert_int_equal(get->n_segments_told, 1); /* the first was whole, and was told */
  assert_int_equal(get->chunk.verified, 4000);
  free_batch(get);

  /* In a hole they are nobody's concern. */
  get = new_batch(local, false, 1000);
  struct kvi_iov with_hole[2] = {{get->bytes, 4000}, {NULL, 96}};
  get->chunk.iov = with_hole;
  get->chunk.n_iov = 2;
  assert_int_equal(local->wire->ops->submit(local->wire, &get->transfer), KVS_OK);
  assert_int_equal(get->status, KVS_OK);
  stored[4000] ^= 1;
  local->service->ops->get_close(local->service->self, &source);
  free_batch(get);
  free_batch(put);
}

static void wrong_batches_are_refused(void **state)
{
  struct local *local = *state;
  struct batch *put = new_batch(local, true, 1000);
  struct kvi_wire *wire = local->wire;

  put->segments[1] = 95;
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_ERR_INVALID);
  put->segments[1] = 0;
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_ERR_INVALID);
  put->segments[1] = 96;
  put->iov.base = NULL;
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_ERR_INVALID);
  put->iov.base = put->bytes;
  put->chunk.n_segments = 1u << 20;
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_ERR_TOO_LARGE);
  put->chunk.n_segments = 2;
  put->transfer.n_chunks = 0;
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_ERR_INVALID);
  put->transfer.n_chunks = 100000;
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_ERR_TOO_LARGE);
  put->transfer.n_chunks = 1;
  put->transfer.key_length = 7;
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_ERR_KEY_LENGTH);
  put->transfer.key_length = KEY;
  assert_int_equal(put->n_done, 0);
  assert_int_equal(wire->ops->submit(wire, &put->transfer), KVS_OK);
  free_batch(put);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_put_and_a_get_end_before_submit_returns),
      TEST(an_equal_put_waits_for_the_one_in_flight),
      TEST(an_equal_put_that_ends_well_is_enough),
      TEST(a_declined_put_is_told),
      TEST(a_failure_says_more_than_a_decline),
      TEST(a_waiting_put_ends_at_its_deadline),
      TEST(a_waiting_put_is_cancelled),
      TEST(a_put_is_cancelled_while_it_goes_on),
      TEST(destroy_ends_what_waits),
      TEST(nothing_moves_after_the_deadline),
      TEST(bytes_that_went_bad_are_a_miss),
      TEST(wrong_batches_are_refused),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
