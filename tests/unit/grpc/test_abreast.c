/* Gets that ask for their chunks abreast: the order in which segments come, and what must hold in any order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "proto/limits.h"
#include "tests/unit/grpc/fixture.h"
#include "tests/unit/grpc/run.h"

enum { CHUNKS = 5, SEGMENTS_MAX = 6, LENGTH = 120000, EVENTS_MAX = CHUNKS * SEGMENTS_MAX };

/* What came, in its order. */
struct heard {
  struct run run; /* first: the transfer's user */
  struct kvi_iov iov[CHUNKS];
  uint8_t *room;
  uint32_t n, chunk[EVENTS_MAX], segment[EVENTS_MAX];
};

static uint8_t bytes[CHUNKS][LENGTH];

static void on_segments(struct kvi_transfer *t, uint32_t chunk, uint32_t n)
{
  struct heard *heard = t->user;

  assert_in_range(heard->n, 0, EVENTS_MAX - 1);
  heard->chunk[heard->n] = chunk;
  heard->segment[heard->n++] = n - 1;
}

/* Chunks of LENGTH bytes under keys 0, 1, ..., in as many segments as told; 0: not there. */
static void store(struct fixture *f, const uint32_t n_segments[CHUNKS])
{
  kvi_rand random;

  kvi_rand_seed(&random, 7);
  for (uint32_t i = 0; i < CHUNKS; i++) {
    uint32_t lengths[SEGMENTS_MAX], n = n_segments[i];
    struct kvi_iov iov = {bytes[i], LENGTH};
    struct run r;

    for (uint32_t k = 0; k < LENGTH; k++)
      bytes[i][k] = (uint8_t)kvi_rand_next(&random);
    if (n == 0)
      continue;
    for (uint32_t k = 0; k < n; k++)
      lengths[k] = LENGTH / n;
    lengths[n - 1] += LENGTH % n;
    prepare(&r, true, 1, (uint8_t)i, 20000);
    r.chunks[0] = (struct kvi_transfer_chunk){
        .iov = &iov, .n_iov = 1, .n_segments = n, .segment_lengths = lengths, .length = LENGTH};
    assert_int_equal(f->wire->ops->submit(f->wire, &r.t), KVS_OK);
    assert_int_equal(finish(&r), KVS_OK);
  }
}

static void start_get(struct fixture *f, struct heard *heard, bool abreast)
{
  memset(heard, 0, sizeof(*heard));
  heard->room = calloc(CHUNKS, LENGTH);
  assert_non_null(heard->room);
  prepare(&heard->run, false, CHUNKS, 0, 20000);
  heard->run.t.abreast = abreast;
  heard->run.t.on_segments = on_segments;
  for (uint32_t i = 0; i < CHUNKS; i++) {
    heard->iov[i] = (struct kvi_iov){heard->room + (size_t)i * LENGTH, LENGTH};
    heard->run.chunks[i] = (struct kvi_transfer_chunk){.iov = &heard->iov[i], .n_iov = 1, .length = LENGTH};
  }
  assert_int_equal(f->wire->ops->submit(f->wire, &heard->run.t), KVS_OK);
}

static void check_chunk(const struct heard *heard, uint32_t i, uint32_t n_segments)
{
  if (n_segments == 0) {
    assert_int_equal(heard->run.chunks[i].status, KVS_MISS);
    return;
  }
  assert_int_equal(heard->run.chunks[i].status, KVS_OK);
  assert_int_equal(heard->run.chunks[i].verified, LENGTH);
  assert_memory_equal(heard->room + (size_t)i * LENGTH, bytes[i], LENGTH);
}

/* The order of groups of `together` chunks, each segment by segment. */
static void check_order(const struct heard *heard, const uint32_t n_segments[CHUNKS], uint32_t together)
{
  uint32_t at = 0;

  for (uint32_t first = 0; first < CHUNKS; first += together) {
    for (uint32_t segment = 0; segment < SEGMENTS_MAX; segment++) {
      for (uint32_t i = first; i < first + together && i < CHUNKS; i++) {
        if (segment >= n_segments[i])
          continue;
        assert_true(at < heard->n);
        assert_int_equal(heard->chunk[at], i);
        assert_int_equal(heard->segment[at], segment);
        at++;
      }
    }
  }
  assert_int_equal(at, heard->n);
}

static void get_in_order(uint32_t piece_bytes, bool abreast, uint64_t held_open, uint32_t together)
{
  static const uint32_t n_segments[CHUNKS] = {4, 1, 0, 2, SEGMENTS_MAX};
  struct heard heard;
  struct fixture f;

  fixture_abreast_bytes(held_open);
  fixture_start(&f, false, piece_bytes);
  store(&f, n_segments);
  start_get(&f, &heard, abreast);
  assert_int_equal(finish(&heard.run), KVS_PARTIAL);
  for (uint32_t i = 0; i < CHUNKS; i++)
    check_chunk(&heard, i, n_segments[i]);
  check_order(&heard, n_segments, together);
  free(heard.room);
  fixture_stop(&f);
}

static void the_same_segment_of_every_chunk(void **state)
{
  (void)state;
  get_in_order(0, true, UINT64_MAX, CHUNKS);
  get_in_order(4096, true, UINT64_MAX, CHUNKS); /* segments of many pieces and frames */
}

static void chunk_after_chunk_unless_asked(void **state)
{
  (void)state;
  get_in_order(0, false, UINT64_MAX, 1);
}

static void no_more_at_a_time_than_may_be_held_open(void **state)
{
  (void)state;
  get_in_order(0, true, 2 * LENGTH, 2);
  get_in_order(4096, true, 3 * LENGTH + LENGTH / 2, 3);
  get_in_order(0, true, LENGTH, 1);
  get_in_order(0, true, 0, 1); /* one there is always */
}

static void a_corrupt_chunk_leaves_the_others_alone(void **state)
{
  static const uint32_t n_segments[CHUNKS] = {4, 4, 4, 4, 4};
  uint8_t key[KEY] = {1};
  struct heard heard;
  struct fixture f;

  (void)state;
  fixture_abreast_bytes(UINT64_MAX);
  fixture_start(&f, false, 4096);
  store(&f, n_segments);
  fixture_corrupt(&f, key); /* its last segment */
  start_get(&f, &heard, true);
  assert_int_equal(finish(&heard.run), KVS_PARTIAL);
  assert_int_equal(heard.run.chunks[1].status, KVS_MISS);
  assert_int_equal(heard.run.chunks[1].cause, KVI_MISS_CORRUPT);
  for (uint32_t i = 0; i < CHUNKS; i++)
    if (i != 1)
      check_chunk(&heard, i, n_segments[i]);
  assert_int_equal(heard.n, 4 * CHUNKS - 1);
  free(heard.room);
  fixture_stop(&f);
}

/* Wherever it is cancelled, nothing stays open at the node. */
static void cancelled(void **state)
{
  static const uint32_t n_segments[CHUNKS] = {4, 1, 0, 2, SEGMENTS_MAX};
  struct fixture f;

  (void)state;
  fixture_abreast_bytes(3 * LENGTH);
  fixture_start(&f, false, 1024);
  store(&f, n_segments);
  for (int round = 0; round < 20; round++) {
    struct heard heard;

    start_get(&f, &heard, true);
    f.wire->ops->cancel(f.wire, &heard.run.t);
    (void)finish(&heard.run);
    for (uint32_t i = 0; i < CHUNKS; i++)
      if (heard.run.chunks[i].status == KVS_OK)
        check_chunk(&heard, i, n_segments[i]);
    free(heard.room);
  }
  fixture_stop(&f); /* which looks for sources that are open */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_segment_of_every_chunk),
      cmocka_unit_test(chunk_after_chunk_unless_asked),
      cmocka_unit_test(no_more_at_a_time_than_may_be_held_open),
      cmocka_unit_test(a_corrupt_chunk_leaves_the_others_alone),
      cmocka_unit_test(cancelled),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
