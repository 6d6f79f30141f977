/* Tests of the writer of Prometheus' text format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "server/node/metrics.h"

static struct kvi_metrics metrics;

static int reset(void **state)
{
  (void)state;
  memset(&metrics, 0, sizeof(metrics));
  return 0;
}

static void expect_text(const char *want)
{
  kvi_strbuf out;

  kvi_strbuf_init(&out, 1u << 20);
  kvi_metrics_write(&metrics, &out);
  assert_int_equal(out.status, KVS_OK);
  assert_string_equal(kvi_strbuf_text(&out), want);
  kvi_strbuf_free(&out);
}

static void test_empty(void **state)
{
  (void)state;
  expect_text("");
}

static void test_groups_samples_of_one_name(void **state)
{
  (void)state;
  kvi_metrics_add(&metrics, true, "a_total", "x=\"1\"", 1, "A.");
  kvi_metrics_gauge(&metrics, "b", 2, "B.");
  kvi_metrics_add(&metrics, true, "a_total", "x=\"2\"", 3, "A.");
  expect_text("# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 3\n"
              "# HELP b B.\n# TYPE b gauge\nb 2\n");
}

static void test_values(void **state)
{
  (void)state;
  kvi_metrics_gauge(&metrics, "big", 9007199254740992.0, "");
  kvi_metrics_gauge(&metrics, "half", 0.5, "");
  kvi_metrics_gauge(&metrics, "nan", NAN, "");
  kvi_metrics_gauge(&metrics, "inf", -INFINITY, "");
  expect_text(
      "# HELP big \n# TYPE big gauge\nbig 9007199254740992\n# HELP half \n# TYPE half gauge\nhalf 0.5\n"
      "# HELP nan \n# TYPE nan gauge\nnan NaN\n# HELP inf \n# TYPE inf gauge\ninf -Inf\n");
}

static void test_help_is_escaped(void **state)
{
  (void)state;
  kvi_metrics_gauge(&metrics, "a", 1, "one\ntwo\\");
  expect_text("# HELP a one\\ntwo\\\\\n# TYPE a gauge\na 1\n");
}

static void test_bad_names_are_dropped(void **state)
{
  (void)state;
  kvi_metrics_gauge(&metrics, "", 1, "");
  kvi_metrics_gauge(&metrics, "9a", 1, "");
  kvi_metrics_gauge(&metrics, "a b", 1, "");
  kvi_metrics_gauge(&metrics, "a\nb", 1, "");
  kvi_metrics_gauge(&metrics, "gauge_total", 1, "");
  kvi_metrics_counter(&metrics, "counter", 1, "");
  kvi_metrics_counter(&metrics, "_total", 1, "");
  kvi_metrics_add(&metrics, false, NULL, NULL, 1, NULL);
  assert_int_equal(metrics.count, 0);
  assert_int_equal(metrics.dropped, 8);
}

static void test_bound(void **state)
{
  (void)state;
  for (size_t i = 0; i < KVI_METRICS_MAX + 3; i++)
    kvi_metrics_gauge(&metrics, "a", i, "");
  assert_int_equal(metrics.count, KVI_METRICS_MAX);
  assert_int_equal(metrics.dropped, 3);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_empty, reset),
      cmocka_unit_test_setup(test_groups_samples_of_one_name, reset),
      cmocka_unit_test_setup(test_values, reset),
      cmocka_unit_test_setup(test_help_is_escaped, reset),
      cmocka_unit_test_setup(test_bad_names_are_dropped, reset),
      cmocka_unit_test_setup(test_bound, reset),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
