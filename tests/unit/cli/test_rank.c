/* Percentiles are by nearest rank: half of two numbers is the first of them, and 99 of a hundred is not the last. */
#include "client/cli/rank.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void nearest(void **state)
{
  (void)state;
  assert_int_equal(cli_rank(1, 50), 0);
  assert_int_equal(cli_rank(1, 99), 0);
  assert_int_equal(cli_rank(2, 50), 0);
  assert_int_equal(cli_rank(3, 50), 1);
  assert_int_equal(cli_rank(2, 99), 1);
  assert_int_equal(cli_rank(100, 99), 98);
  assert_int_equal(cli_rank(101, 99), 99);
  assert_int_equal(cli_rank(7, 100), 6);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(nearest)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
