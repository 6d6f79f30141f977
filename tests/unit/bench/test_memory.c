#include "tests/bench/memory.h"
#include "tests/bench/ring.h"

#include "tests/unit/bench/testing.h"

static void wrong_bytes_are_seen(void **state)
{
  uint8_t bytes[1003]; /* not a whole number of words */

  (void)state;
  bench_pattern_fill(bytes, sizeof bytes, 7);
  assert_true(bench_pattern_check(bytes, sizeof bytes, 7));
  assert_true(bench_pattern_glance(bytes, sizeof bytes, 7));
  assert_false(bench_pattern_check(bytes, sizeof bytes, 8));
  assert_false(bench_pattern_glance(bytes, sizeof bytes, 8));
  for (size_t i = 0; i < sizeof bytes; i += 251) {
    bytes[i] ^= 1;
    assert_false(bench_pattern_check(bytes, sizeof bytes, 7));
    bytes[i] ^= 1;
  }
  bytes[sizeof bytes - 1] ^= 1;
  assert_false(bench_pattern_check(bytes, sizeof bytes, 7));
}

static void slots_never_share_memory(void **state)
{
  struct bench_ring ring;
  struct bench_case what = {.op = BENCH_GET, .size = 2 << 20, .shape = BENCH_BATCH16};
  size_t places = BENCH_RING_BYTES / what.size;
  uint8_t owner[BENCH_RING_BYTES / (2 << 20)] = {0};

  (void)state;
  assert_true(bench_ring_open(&ring));
  bench_ring_cut(&ring, &what);
  for (uint32_t slot = 0; slot < 16; slot++) {
    for (size_t turn = 0; turn < 2 * places; turn++) {
      size_t place = (size_t)(bench_ring_next(&ring, slot) - ring.slab.base) / what.size;

      assert_true(place < places);
      assert_true(owner[place] == 0 || owner[place] == slot + 1);
      owner[place] = (uint8_t)(slot + 1);
    }
  }
  for (size_t place = 0; place < places; place++)
    assert_int_not_equal(owner[place], 0); /* all of it is used */
  bench_ring_close(&ring);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wrong_bytes_are_seen),
      cmocka_unit_test(slots_never_share_memory),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
