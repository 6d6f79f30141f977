/* Transfers over the gRPC wire: a real server, a real connection, a service of plain memory. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/thread.h"
#include "proto/limits.h"
#include "tests/unit/grpc/fixture.h"
#include "tests/unit/grpc/run.h"

static uint8_t *random_bytes(size_t n, uint64_t seed)
{
  uint8_t *bytes = malloc(n);
  kvi_rand random;
  kvi_rand_seed(&random, seed);
  for (size_t i = 0; i < n; i++)
    bytes[i] = (uint8_t)kvi_rand_next(&random);
  return bytes;
}

/* Cuts [base, +length) into n places of uneven lengths. */
static uint32_t cut(struct kvi_iov *iov, uint32_t n, uint8_t *base, uint64_t length)
{
  uint32_t used = 0;
  uint64_t at = 0;
  for (uint32_t i = 0; i < n && at < length; i++) {
    uint64_t part = i + 1 == n ? length - at : length / n / (i % 2 + 1);
    part = part ? part : 1;
    part = part > length - at ? length - at : part;
    iov[used++] = (struct kvi_iov){base + at, part};
    at += part;
  }
  return used;
}

static uint32_t cut_segments(uint32_t *lengths, uint32_t n, uint64_t length)
{
  struct kvi_iov iov[64];
  uint32_t used = cut(iov, n, NULL, length);
  for (uint32_t i = 0; i < used; i++)
    lengths[i] = (uint32_t)iov[i].length;
  return used;
}

static void put_bytes(struct fixture *f, uint8_t key, uint8_t *bytes, uint64_t length, uint32_t n_iov,
                      uint32_t n_segments, kvs_status expected)
{
  struct run r;
  struct kvi_iov iov[64];
  uint32_t segments[64];
  prepare(&r, true, 1, key, 10000);
  r.chunks[0] = (struct kvi_transfer_chunk){.iov = iov,
                                            .n_iov = cut(iov, n_iov, bytes, length),
                                            .n_segments = cut_segments(segments, n_segments, length),
                                            .segment_lengths = segments,
                                            .length = length};
  assert_int_equal(f->wire->ops->submit(f->wire, &r.t), KVS_OK);
  finish(&r);
  assert_int_equal(r.chunks[0].status, expected);
}

static void get_bytes(struct fixture *f, uint8_t key, const uint8_t *bytes, uint64_t length, uint32_t n_iov)
{
  struct run r;
  struct kvi_iov iov[64];
  uint8_t *room = malloc(length);
  memset(room, 0xAA, length);
  prepare(&r, false, 1, key, 10000);
  r.chunks[0] =
      (struct kvi_transfer_chunk){.iov = iov, .n_iov = cut(iov, n_iov, room, length), .length = length};
  assert_int_equal(f->wire->ops->submit(f->wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_OK);
  assert_int_equal(r.chunks[0].length, length);
  assert_int_equal(r.last_segments, r.chunks[0].n_segments);
  assert_int_equal(r.chunks[0].verified, length);
  assert_memory_equal(room, bytes, length);
  free(room);
}

static void test_round_trips(void **state)
{
  const bool unix_socket = *state != NULL;
  static const struct {
    uint64_t length;
    uint32_t n_iov, n_segments;
  } cases[] = {{1, 1, 1},       {17, 5, 3},       {4095, 3, 2},    {65536, 1, 1},
               {65536, 40, 16}, {1 << 20, 7, 64}, {2 << 20, 1, 1}, {(5 << 20) + 13, 64, 33},
               {8 << 20, 3, 1}};
  struct fixture f;
  fixture_start(&f, unix_socket, 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint8_t *bytes = random_bytes(cases[i].length, i + 1);
    put_bytes(&f, (uint8_t)i, bytes, cases[i].length, cases[i].n_iov, cases[i].n_segments, KVS_OK);
    put_bytes(&f, (uint8_t)i, bytes, cases[i].length, cases[i].n_iov, cases[i].n_segments, KVS_EXISTS);
    get_bytes(&f, (uint8_t)i, bytes, cases[i].length, 1);
    get_bytes(&f, (uint8_t)i, bytes, cases[i].length, 13);
    free(bytes);
  }
  fixture_stop(&f);
}

static void test_small_pieces(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 4096);
  uint8_t *bytes = random_bytes(1 << 20, 3);
  put_bytes(&f, 1, bytes, 1 << 20, 9, 5, KVS_OK);
  get_bytes(&f, 1, bytes, 1 << 20, 11);
  free(bytes);
  fixture_stop(&f);
}

static void test_batch_with_misses_and_holes(void **state)
{
  (void)state;
  enum { LENGTH = 300000 };
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t *bytes = random_bytes(LENGTH, 5);
  put_bytes(&f, 1, bytes, LENGTH, 1, 4, KVS_OK);
  put_bytes(&f, 3, bytes, LENGTH, 1, 4, KVS_OK);

  struct run r;
  uint8_t *room = calloc(4, LENGTH);
  struct kvi_iov whole[4],
      holes[3] = {{room + LENGTH * 2, 1000}, {NULL, 200000}, {room + LENGTH * 2 + 201000, 99000}};
  prepare(&r, false, 4, 0, 10000); /* keys 0 to 3; 1 and 3 are there */
  for (int i = 0; i < 4; i++) {
    whole[i] = (struct kvi_iov){room + i * LENGTH, LENGTH};
    r.chunks[i] = (struct kvi_transfer_chunk){.iov = &whole[i], .n_iov = 1, .length = LENGTH};
  }
  r.chunks[3].iov = holes;
  r.chunks[3].n_iov = 3;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_PARTIAL);
  assert_int_equal(r.chunks[0].status, KVS_MISS);
  assert_int_equal(r.chunks[0].cause, KVI_MISS_EVICTED);
  assert_int_equal(r.chunks[1].status, KVS_OK);
  assert_int_equal(r.chunks[2].status, KVS_MISS);
  assert_int_equal(r.chunks[3].status, KVS_OK);
  assert_memory_equal(room + LENGTH, bytes, LENGTH);
  assert_memory_equal(room + 2 * LENGTH, bytes, 1000);
  assert_int_equal(room[2 * LENGTH + 1000], 0); /* the hole was not written */
  assert_int_equal(room[2 * LENGTH + 200999], 0);
  assert_memory_equal(room + 2 * LENGTH + 201000, bytes + 201000, 99000);
  free(room);
  free(bytes);
  fixture_stop(&f);
}

static void test_corrupt_chunk_is_a_miss(void **state)
{
  (void)state;
  enum { LENGTH = 100000 };
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t *bytes = random_bytes(LENGTH, 6), *room = malloc(LENGTH), key[KEY] = {9};
  put_bytes(&f, 9, bytes, LENGTH, 1, 4, KVS_OK);
  fixture_corrupt(&f, key);
  struct run r;
  struct kvi_iov iov = {room, LENGTH};
  prepare(&r, false, 1, 9, 10000);
  r.chunks[0] = (struct kvi_transfer_chunk){.iov = &iov, .n_iov = 1, .length = LENGTH};
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_MISS);
  assert_int_equal(r.chunks[0].cause, KVI_MISS_CORRUPT);
  assert_true(r.last_segments < 4); /* the bad segment was never said to be ready */
  free(room);
  free(bytes);
  fixture_stop(&f);
}

static void test_too_little_room(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t *bytes = random_bytes(5000, 6), room[100];
  put_bytes(&f, 9, bytes, 5000, 1, 1, KVS_OK);
  struct run r;
  struct kvi_iov iov = {room, sizeof room};
  prepare(&r, false, 1, 9, 10000);
  r.chunks[0] = (struct kvi_transfer_chunk){.iov = &iov, .n_iov = 1, .length = sizeof room};
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_ERR_BUFFER);
  free(bytes);
  fixture_stop(&f);
}

static void hold_put(struct fixture *f, struct run *r, struct kvi_iov *iov, uint32_t *segment,
                     uint64_t timeout_ms)
{
  uint8_t key[KEY] = {5};
  fixture_hold(f, key);
  prepare(r, true, 1, 5, timeout_ms);
  r->chunks[0] = (struct kvi_transfer_chunk){
      .iov = iov, .n_iov = 1, .n_segments = 1, .segment_lengths = segment, .length = iov->length};
  assert_int_equal(f->wire->ops->submit(f->wire, &r->t), KVS_OK);
}

static void test_equal_put_waits(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t bytes[3000] = {1};
  uint32_t segment = sizeof bytes;
  struct kvi_iov iov = {bytes, sizeof bytes};
  struct run r;
  hold_put(&f, &r, &iov, &segment, 10000);
  fixture_resolve(&f, KVS_OK);
  assert_int_equal(finish(&r), KVS_OK);
  assert_int_equal(r.chunks[0].status, KVS_EXISTS);
  hold_put(&f, &r, &iov, &segment, 10000);
  fixture_resolve(&f, KVS_ERR_BUSY);
  assert_int_equal(finish(&r), KVS_ERR_BUSY);
  fixture_stop(&f);
}

/* One chunk of three is: the others are stored, and the node is told what it needs to weigh it. Of one that is put alone that is the answer. */
static void test_a_chunk_is_declined(void **state)
{
  (void)state;
  enum { LENGTH = 300000 };
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t *bytes = random_bytes(LENGTH, 7), key[KEY] = {2}, behind[KEY], next[KEY] = {3};
  uint32_t segment = LENGTH, n_behind;
  struct kvi_iov iov = {bytes, LENGTH};
  struct run r;
  fixture_decline(&f, key);
  for (uint32_t n = 3; n > 0; n = n > 1 ? 1 : 0) {
    prepare(&r, true, n, n == 3 ? 1 : 2, 10000);
    r.t.chain_chunks = 77;
    r.t.chain.unchained = false;
    r.t.chain.first_place = 0;
    for (uint32_t i = 0; i < n; i++)
      r.chunks[i] = (struct kvi_transfer_chunk){
          .iov = &iov, .n_iov = 1, .n_segments = 1, .segment_lengths = &segment, .length = LENGTH};
    assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
    assert_int_equal(finish(&r), n == 3 ? KVS_PARTIAL : KVS_DECLINED);
    assert_int_equal(r.chunks[n / 2].status, KVS_DECLINED);
    assert_int_equal(fixture_declined(&f, &n_behind, behind), 77);
    assert_int_equal(n_behind, n / 2);
    assert_memory_equal(behind, next, KEY); /* of the first of both */
  }
  get_bytes(&f, 1, bytes, LENGTH, 1);
  get_bytes(&f, 3, bytes, LENGTH, 1);
  assert_int_equal(fixture_landings_aborted(&f), 0);
  free(bytes);
  fixture_stop(&f);
}

static void test_deadline_and_cancel(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t bytes[3000] = {1};
  uint32_t segment = sizeof bytes;
  struct kvi_iov iov = {bytes, sizeof bytes};
  struct run r;
  uint64_t begin = kvi_now_ms();
  hold_put(&f, &r, &iov, &segment, 200);
  assert_int_equal(finish(&r), KVS_ERR_DEADLINE);
  assert_true(kvi_now_ms() - begin >= 200);
  hold_put(&f, &r, &iov, &segment, 20000);
  f.wire->ops->cancel(f.wire, &r.t);
  assert_int_equal(finish(&r), KVS_ERR_CANCELED);
  /* The connection is as good as before. */
  put_bytes(&f, 6, bytes, sizeof bytes, 1, 1, KVS_OK);
  get_bytes(&f, 6, bytes, sizeof bytes, 1);
  fixture_stop(&f);
}

static void test_refusals(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t bytes[100];
  uint32_t segment = 99, zero[2] = {0, 100};
  struct kvi_iov iov = {bytes, sizeof bytes}, hole = {NULL, sizeof bytes};
  struct run r;
  prepare(&r, true, 1, 1, 1000);
  r.chunks[0] = (struct kvi_transfer_chunk){
      .iov = &iov, .n_iov = 1, .n_segments = 1, .segment_lengths = &segment, .length = 100};
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID); /* segments do not sum */
  segment = 100;
  r.chunks[0].iov = &hole;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID); /* a hole in a put */
  r.chunks[0].iov = &iov;
  r.chunks[0].length = 50;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID); /* places do not sum */
  r.chunks[0].length = 100;
  r.chunks[0].n_segments = 2;
  r.chunks[0].segment_lengths = zero;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID); /* an empty segment */
  r.t.n_chunks = KVI_BATCH_CHUNKS_MAX + 1;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_TOO_LARGE);
  r.t.n_chunks = 0;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID);
  fixture_stop(&f);
}

/* Starts of large batches that wait for the same frame are spread over several: a header has a bound. */
static void test_many_large_gets(void **state)
{
  (void)state;
  enum { N = 48, CHUNKS = KVI_BATCH_CHUNKS_MAX, LONG_KEY = 64 };
  struct fixture f;
  fixture_start(&f, false, 0);
  struct run *runs = calloc(N, sizeof *runs);
  struct kvi_transfer_chunk *chunks = calloc((size_t)N * CHUNKS, sizeof *chunks);
  uint8_t *keys = calloc(CHUNKS, LONG_KEY), byte;
  struct kvi_iov iov = {&byte, 1};
  memset(keys, 0xEE, (size_t)CHUNKS * LONG_KEY);
  for (int i = 0; i < N; i++) {
    prepare(&runs[i], false, 1, 1, 20000);
    runs[i].t.keys = keys;
    runs[i].t.key_length = LONG_KEY;
    runs[i].t.n_chunks = CHUNKS;
    runs[i].t.chunks = chunks + (size_t)i * CHUNKS;
    for (int k = 0; k < CHUNKS; k++)
      runs[i].t.chunks[k] = (struct kvi_transfer_chunk){.iov = &iov, .n_iov = 1, .length = 1};
  }
  for (int i = 0; i < N; i++)
    assert_int_equal(f.wire->ops->submit(f.wire, &runs[i].t), KVS_OK);
  for (int i = 0; i < N; i++) {
    assert_int_equal(finish(&runs[i]), KVS_MISS);
    assert_int_equal(runs[i].t.chunks[0].cause,
                     KVI_MISS_EVICTED); /* the node's answer, not a lost connection */
  }
  free(keys);
  free(chunks);
  free(runs);
  fixture_stop(&f);
}

/* What a node would close the connection for is refused, or made to fit, before it is sent. */
static void test_nothing_is_sent_that_a_node_must_refuse(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t bytes[100] = {1};
  uint32_t segment = sizeof bytes;
  struct kvi_iov iov = {bytes, sizeof bytes},
                 roomy[2] = {{bytes, sizeof bytes}, {NULL, (size_t)KVI_CHUNK_BYTES_MAX + 1}};
  put_bytes(&f, 1, bytes, sizeof bytes, 1, 1, KVS_OK);
  struct run r;
  prepare(&r, false, 1, 1, 1000);
  r.chunks[0] = (struct kvi_transfer_chunk){.iov = &iov, .n_iov = 1, .length = sizeof bytes};
  r.t.key_length = 7;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_KEY_LENGTH);
  r.t.key_length = 65;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_KEY_LENGTH);
  r.t.key_length = KEY;
  r.t.n_chunks = 2;
  r.chunks[1] = r.chunks[0];
  r.t.chain.first_place = UINT32_MAX;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID);

  prepare(&r, false, 1, 1,
          KVI_TIMEOUT_MS_MAX * 2); /* room for more than a chunk can have, a deadline far away */
  r.chunks[0] = (struct kvi_transfer_chunk){
      .iov = roomy, .n_iov = 2, .length = sizeof bytes + (uint64_t)KVI_CHUNK_BYTES_MAX + 1};
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_OK);
  assert_int_equal(r.chunks[0].length, sizeof bytes);
  prepare(&r, true, 1, 1, KVI_TIMEOUT_MS_MAX * 2);
  r.chunks[0] = (struct kvi_transfer_chunk){
      .iov = &iov, .n_iov = 1, .n_segments = 1, .segment_lengths = &segment, .length = sizeof bytes};
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_OK);
  fixture_stop(&f);
}

/* A start message must fit a header, whatever the segments. */
static void test_too_many_segments_for_a_header(void **state)
{
  (void)state;
  enum { CHUNKS = KVI_BATCH_CHUNKS_MAX, SEGMENTS = 100 };
  struct fixture f;
  fixture_start(&f, false, 0);
  struct kvi_transfer_chunk *chunks = calloc(CHUNKS, sizeof *chunks);
  uint8_t *keys = calloc(CHUNKS, KEY), bytes[SEGMENTS] = {1};
  uint32_t segments[SEGMENTS];
  struct kvi_iov iov = {bytes, SEGMENTS};
  for (int i = 0; i < SEGMENTS; i++)
    segments[i] = 1;
  for (int i = 0; i < CHUNKS; i++)
    chunks[i] = (struct kvi_transfer_chunk){
        .iov = &iov, .n_iov = 1, .n_segments = SEGMENTS, .segment_lengths = segments, .length = SEGMENTS};
  struct run r;
  prepare(&r, true, 1, 1, 1000);
  r.t.keys = keys;
  r.t.n_chunks = CHUNKS;
  r.t.chunks = chunks;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_TOO_LARGE);
  put_bytes(&f, 1, bytes, SEGMENTS, 1, 1, KVS_OK);
  free(keys);
  free(chunks);
  fixture_stop(&f);
}

/* However many are given up at once, the node is told of each: it drops them long before their timeouts. */
static void test_many_cancels(void **state)
{
  (void)state;
  enum { N = 300 };
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t bytes[100] = {1}, key[KEY] = {5};
  uint32_t segment = sizeof bytes;
  struct kvi_iov iov = {bytes, sizeof bytes};
  struct run *runs = calloc(N, sizeof *runs);
  fixture_hold(&f, key);
  for (int i = 0; i < N; i++) {
    prepare(&runs[i], true, 1, 5, 500000);
    runs[i].chunks[0] = (struct kvi_transfer_chunk){
        .iov = &iov, .n_iov = 1, .n_segments = 1, .segment_lengths = &segment, .length = sizeof bytes};
    assert_int_equal(f.wire->ops->submit(f.wire, &runs[i].t), KVS_OK);
  }
  struct kvi_grpc_server_stats stats = {0};
  kvi_deadline deadline = kvi_deadline_from_ms(10000);
  while (stats.transfers < N && !kvi_deadline_expired(deadline))
    kvi_grpc_server_stats(f.server, &stats);
  assert_int_equal(stats.transfers, N);
  for (int i = 0; i < N; i++)
    f.wire->ops->cancel(f.wire, &runs[i].t);
  for (int i = 0; i < N; i++)
    assert_int_equal(finish(&runs[i]), KVS_ERR_CANCELED);
  deadline = kvi_deadline_from_ms(10000);
  while (stats.transfers > 0 && !kvi_deadline_expired(deadline))
    kvi_grpc_server_stats(f.server, &stats);
  assert_int_equal(stats.transfers, 0);
  free(runs);
  fixture_stop(&f);
}

static void test_server_gone(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t bytes[3000] = {1};
  uint32_t segment = sizeof bytes;
  struct kvi_iov iov = {bytes, sizeof bytes};
  struct run r;
  hold_put(&f, &r, &iov, &segment, 20000); /* in flight when the server goes */
  struct kvi_grpc_server_stats stats = {0};
  kvi_deadline arrival = kvi_deadline_from_ms(10000);
  while (stats.transfers == 0 && !kvi_deadline_expired(arrival))
    kvi_grpc_server_stats(f.server, &stats);
  kvi_grpc_server_drain(f.server, 0);
  assert_int_equal(finish(&r), KVS_ERR_UNREACHABLE);
  kvi_deadline deadline = kvi_deadline_from_ms(10000);
  while (f.wire->ops->connected(f.wire) && !kvi_deadline_expired(deadline))
    sched_yield();
  prepare(&r, false, 1, 1, 1000);
  r.chunks[0] = (struct kvi_transfer_chunk){.iov = &iov, .n_iov = 1, .length = sizeof bytes};
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_UNREACHABLE);
  assert_int_equal(fixture_peers_gone(&f), 1);
  fixture_stop(&f);
}

static void test_destroy_in_flight(void **state)
{
  (void)state;
  struct fixture f;
  fixture_start(&f, false, 0);
  uint8_t bytes[3000] = {1};
  uint32_t segment = sizeof bytes;
  struct kvi_iov iov = {bytes, sizeof bytes};
  struct run r;
  hold_put(&f, &r, &iov, &segment, 20000);
  f.wire->ops->destroy(f.wire);
  f.wire = NULL;
  assert_true(r.done);
  assert_int_equal(r.status, KVS_ERR_CLOSED);
  fixture_stop(&f);
}

/* Many threads on one connection: every byte right, every transfer ended once. */
struct worker {
  struct fixture *f;
  uint8_t key;
};

static void work(void *ctx)
{
  struct worker *w = ctx;
  uint64_t length = 70000u + w->key * 1000u;
  uint8_t *bytes = random_bytes(length, w->key);
  put_bytes(w->f, w->key, bytes, length, 3, 5, KVS_OK);
  for (int i = 0; i < 20; i++)
    get_bytes(w->f, w->key, bytes, length, 7);
  free(bytes);
}

static void test_many_threads(void **state)
{
  (void)state;
  enum { N = 6 };
  struct fixture f;
  fixture_start(&f, false, 0);
  struct worker workers[N];
  kvi_thread threads[N] = {0};
  for (uint32_t i = 0; i < N; i++) {
    workers[i] = (struct worker){&f, (uint8_t)i};
    assert_int_equal(kvi_thread_start(&threads[i], "worker", work, &workers[i]), KVS_OK);
  }
  for (int i = 0; i < N; i++)
    kvi_thread_join(&threads[i]);
  fixture_stop(&f);
}

int main(int argc, char **argv)
{
  static int yes = 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trips),
      cmocka_unit_test_prestate(test_round_trips, &yes),
      cmocka_unit_test(test_small_pieces),
      cmocka_unit_test(test_batch_with_misses_and_holes),
      cmocka_unit_test(test_corrupt_chunk_is_a_miss),
      cmocka_unit_test(test_too_little_room),
      cmocka_unit_test(test_equal_put_waits),
      cmocka_unit_test(test_a_chunk_is_declined),
      cmocka_unit_test(test_deadline_and_cancel),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_many_large_gets),
      cmocka_unit_test(test_nothing_is_sent_that_a_node_must_refuse),
      cmocka_unit_test(test_too_many_segments_for_a_header),
      cmocka_unit_test(test_many_cancels),
      cmocka_unit_test(test_server_gone),
      cmocka_unit_test(test_destroy_in_flight),
      cmocka_unit_test(test_many_threads),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  int failed = cmocka_run_group_tests_name("callers send", tests, NULL, NULL);
  fixture_hand_over(true);
  return failed + cmocka_run_group_tests_name("a thread sends", tests, NULL, NULL);
}
