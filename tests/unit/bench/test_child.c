/* Programs that a bench starts: lines to and from one, one that has ended, one that is not there. */
#include "tests/unit/bench/testing.h"

#include <poll.h>
#include <signal.h>

#include "tests/bench/affinity.h"
#include "tests/bench/child.h"

#define PATIENCE_MS 60000u /* of a machine that does other things */

static struct bench_child started(const char *program)
{
  const char *argv[] = {program, NULL};
  struct bench_child_spec spec = {
      .argv = argv, .core = BENCH_CORE_ANY, .want_output = true, .want_input = true};
  struct bench_child child;

  assert_true(bench_child_start(&spec, &child));
  assert_true(child.pid > 0 && child.input >= 0 && child.output >= 0);
  return child;
}

static void lines_go_both_ways(void **state)
{
  struct bench_child child = started("cat");
  char line[64], shorter[4];

  (void)state;
  assert_true(bench_child_write_line(&child, "one"));
  assert_true(bench_child_write_line(&child, ""));
  assert_true(bench_child_write_line(&child, "three"));
  assert_true(bench_child_read_line(&child, line, sizeof line, PATIENCE_MS));
  assert_string_equal(line, "one");
  assert_true(bench_child_read_line(&child, line, sizeof line, PATIENCE_MS));
  assert_string_equal(line, "");
  assert_true(bench_child_read_line(&child, shorter, sizeof shorter, PATIENCE_MS));
  assert_string_equal(shorter, "thr");                               /* as much as there is room for */
  assert_false(bench_child_read_line(&child, line, sizeof line, 1)); /* nothing was sent */
  assert_true(bench_child_alive(&child));
  bench_child_stop(&child);
  assert_int_equal(child.pid, 0);
  assert_int_equal(child.input, -1);
  assert_int_equal(child.output, -1);
}

static void one_that_has_ended(void **state)
{
  struct bench_child child = started("true");
  char line[64];

  (void)state;
  assert_false(bench_child_read_line(&child, line, sizeof line, PATIENCE_MS));
  for (unsigned waited = 0; waited < PATIENCE_MS && bench_child_alive(&child); waited++)
    poll(NULL, 0, 1);
  assert_false(bench_child_alive(&child));
  assert_false(bench_child_write_line(&child, "to nobody"));
  bench_child_stop(&child);
}

static void one_that_is_not_there(void **state)
{
  struct bench_child child = started("/nowhere/program");
  char line[64];

  (void)state;
  assert_false(bench_child_read_line(&child, line, sizeof line, PATIENCE_MS));
  bench_child_stop(&child);
  bench_child_stop(&child); /* twice is once */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lines_go_both_ways),
      cmocka_unit_test(one_that_has_ended),
      cmocka_unit_test(one_that_is_not_there),
  };

  signal(SIGPIPE, SIG_IGN);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
