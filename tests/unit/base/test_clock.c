#include <stdbool.h>

#include "testing.h"

#include "base/clock.h"

static void time_goes_on(void **state)
{
  uint64_t before = kvi_now_ns();

  (void)state;
  assert_true(before > 0);
  assert_true(kvi_now_ns() >= before);
}

static void deadline_bounds(void **state)
{
  (void)state;
  assert_true(kvi_deadline_expired(kvi_deadline_from_ms(0)));
  assert_int_equal(kvi_deadline_remaining_ms(kvi_deadline_from_ms(0)), 0);
  assert_int_equal(kvi_deadline_at(5, UINT64_MAX).at_ns, 5 + KVI_DEADLINE_MAX_MS * KVI_NS_PER_MS);
  assert_int_equal(kvi_deadline_at(5, 7).at_ns, 5 + 7 * KVI_NS_PER_MS);
  kvi_deadline far = kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS);
  assert_false(kvi_deadline_expired(far));
  assert_true(kvi_deadline_remaining_ms(far) > 0);
  assert_true(kvi_deadline_remaining_ms(far) <= KVI_DEADLINE_MAX_MS);
  kvi_deadline zero = {0};
  assert_true(kvi_deadline_expired(zero));
  assert_int_equal(kvi_deadline_earlier(zero, far).at_ns, 0);
  assert_int_equal(kvi_deadline_earlier(far, zero).at_ns, 0);
}

static void attempts_share_a_deadline(void **state)
{
  const kvi_deadline deadline = {1000};

  (void)state;
  assert_int_equal(kvi_deadline_share(deadline, 100, 3).at_ns, 400);
  assert_int_equal(kvi_deadline_share(deadline, 110, 2).at_ns,
                   555); /* the first failed early: more is left */
  assert_int_equal(kvi_deadline_share(deadline, 555, 1).at_ns, 1000);
  assert_int_equal(kvi_deadline_share(deadline, 999, 2).at_ns, 999); /* no longer than is left */
  assert_int_equal(kvi_deadline_share(deadline, 1000, 2).at_ns, 1000);
  assert_int_equal(kvi_deadline_share(deadline, 2000, 2).at_ns, 1000); /* over is over */
}

static void timespec_is_the_same_instant(void **state)
{
  kvi_deadline deadline = {UINT64_C(3) * KVI_NS_PER_S + 999999999};
  struct timespec at = kvi_deadline_timespec(deadline);

  (void)state;
  assert_int_equal(at.tv_sec, 3);
  assert_int_equal(at.tv_nsec, 999999999);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(time_goes_on),
      cmocka_unit_test(deadline_bounds),
      cmocka_unit_test(attempts_share_a_deadline),
      cmocka_unit_test(timespec_is_the_same_instant),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
