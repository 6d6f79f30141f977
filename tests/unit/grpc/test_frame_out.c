/* The frame being made: how much goes into one, and how the end of a chunk is kept for a frame of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/grpc/grpc_private.h"

#define LAST   KVI_LAST_PIECE_BYTES
#define TARGET (8u * LAST)

static const uint8_t payload[TARGET];

static void count(void *ctx)
{
  (*(uint32_t *)ctx)++;
}

static void add(struct kvi_frame_out *out, size_t length, uint32_t *released)
{
  assert_non_null(kvi_frame_out_piece(out));
  assert_true(kvi_frame_out_bytes(out, payload, length, count, released));
}

static void test_taper_keeps_the_last_bytes(void **state)
{
  (void)state;
  static const uint64_t kept[] = {2 * LAST + 1, 3 * LAST, TARGET - 1, TARGET};
  struct kvi_frame_out *out = kvi_frame_out_create(TARGET);
  assert_non_null(out);
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
    kvi_frame_out_begin(out);
    assert_int_equal(kvi_frame_out_room(out), TARGET);
    kvi_frame_out_taper(out, kept[i]);
    assert_int_equal(kvi_frame_out_room(out), kept[i] - LAST);
    kvi_frame_out_taper(out, kept[i]); /* said again, as before each piece */
    assert_int_equal(kvi_frame_out_room(out), kept[i] - LAST);
  }
  kvi_frame_out_destroy(out);
}

/* What is short goes whole: a frame more would cost more than it saves. What does not end in this frame needs nothing. */
static void test_taper_leaves_others_alone(void **state)
{
  (void)state;
  static const uint64_t left_alone[] = {0, 1, LAST, 2 * LAST, TARGET + 1, UINT64_MAX};
  struct kvi_frame_out *out = kvi_frame_out_create(TARGET);
  assert_non_null(out);
  for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++) {
    kvi_frame_out_taper(out, left_alone[i]);
    assert_int_equal(kvi_frame_out_room(out), TARGET);
  }
  kvi_frame_out_destroy(out);
}

/* Bytes of chunks before this one are in the frame already: the room that counts is what they left. */
static void test_taper_behind_other_bytes(void **state)
{
  (void)state;
  uint32_t released = 0;
  struct kvi_frame_out *out = kvi_frame_out_create(TARGET);
  assert_non_null(out);
  add(out, 3 * LAST, &released);
  kvi_frame_out_taper(out, 5 * LAST + 1);
  assert_int_equal(kvi_frame_out_room(out), 5 * LAST);
  kvi_frame_out_taper(out, 5 * LAST);
  assert_int_equal(kvi_frame_out_room(out), 4 * LAST);
  add(out, 4 * LAST, &released);
  assert_int_equal(kvi_frame_out_room(out), 0);
  kvi_frame_out_taper(out, LAST);
  assert_int_equal(kvi_frame_out_room(out), 0);
  kvi_frame_out_destroy(out);
  assert_int_equal(released, 2);
}

/* A chunk from its first byte to its last, in pieces of any length: every frame but the last is as full as it may be. */
static void send_chunk(uint64_t length, size_t piece_max)
{
  const uint64_t tail =
      length % TARGET ? length % TARGET : TARGET; /* what the last frame would have without taper */
  const uint64_t wanted_frames = (length + TARGET - 1) / TARGET + (tail > 2 * LAST ? 1 : 0);
  const uint64_t wanted_last = tail > 2 * LAST ? LAST : tail;
  uint64_t left = length, frames = 0;
  uint32_t pieces = 0, released = 0;
  size_t bulk = 0;
  struct kvi_frame_out *out = kvi_frame_out_create(TARGET);

  assert_non_null(out);
  while (left > 0) {
    kvi_frame_out_taper(out, left);
    size_t room = kvi_frame_out_room(out);
    for (; left > 0 && room > 0; pieces++) {
      size_t run = room < piece_max ? room : piece_max;
      run = run < left ? run : (size_t)left;
      add(out, run, &released);
      left -= run;
      kvi_frame_out_taper(out, left);
      room = kvi_frame_out_room(out);
    }
    bulk = out->bulk;
    frames++;
    grpc_byte_buffer *buffer = kvi_frame_out_finish(out);
    assert_non_null(buffer);
    assert_true(grpc_byte_buffer_length(buffer) > bulk);
    grpc_byte_buffer_destroy(buffer);
    assert_int_equal(released, pieces);
  }
  assert_int_equal(frames, wanted_frames);
  assert_int_equal(bulk, wanted_last);
  kvi_frame_out_destroy(out);
}

static void test_chunks_end_in_short_frames(void **state)
{
  (void)state;
  static const uint64_t lengths[] = {1,
                                     LAST,
                                     2 * LAST,
                                     2 * LAST + 1,
                                     TARGET - 1,
                                     TARGET,
                                     TARGET + 1,
                                     TARGET + 2 * LAST,
                                     TARGET + 2 * LAST + 1,
                                     3 * TARGET,
                                     3 * TARGET + 7};
  static const size_t piece_max[] = {LAST / 16, LAST - 1, 3 * LAST, TARGET};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
    for (size_t j = 0; j < sizeof piece_max / sizeof *piece_max; j++)
      send_chunk(lengths[i], piece_max[j]);
}

/* A table that is full is room 0, however few bytes are in the frame. */
static void test_full_table_is_no_room(void **state)
{
  (void)state;
  uint32_t released = 0;
  struct kvi_frame_out *out = kvi_frame_out_create(TARGET);
  assert_non_null(out);
  for (uint32_t i = 0; i < KVI_FRAME_OUT_PIECES; i++) {
    assert_true(kvi_frame_out_room(out) > 0);
    add(out, 1, &released);
    assert_int_equal(released, i + 1); /* so few are copied */
  }
  assert_int_equal(kvi_frame_out_room(out), 0);
  assert_null(kvi_frame_out_piece(out));
  kvi_frame_out_taper(out, 3 * LAST);
  assert_int_equal(kvi_frame_out_room(out), 0);
  kvi_frame_out_destroy(out);
  assert_int_equal(released, KVI_FRAME_OUT_PIECES);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_taper_keeps_the_last_bytes), cmocka_unit_test(test_taper_leaves_others_alone),
      cmocka_unit_test(test_taper_behind_other_bytes),   cmocka_unit_test(test_chunks_end_in_short_frames),
      cmocka_unit_test(test_full_table_is_no_room),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
