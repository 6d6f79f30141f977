/* Charts: what is drawn, what is left out, and text that must not become markup or commands. */
#include "client/cli/chart.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *text_of(void (*write_chart)(FILE *, const struct kvi_chart *), const struct kvi_chart *chart)
{
  size_t length;
  char *text = NULL;
  FILE *memory = open_memstream(&text, &length);

  assert_non_null(memory);
  write_chart(memory, chart);
  assert_int_equal(fclose(memory), 0);
  assert_non_null(text);
  return text;
}

static size_t count(const char *text, const char *word)
{
  size_t n = 0;

  for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
    n++;
  return n;
}

static void draws_each_point_within_the_picture(void **state)
{
  struct kvi_chart_curve curve = {.name = "one", .colour = "#000000", .line = 1};
  const struct kvi_chart chart = {"title", "bits", "error", &curve, 1};
  char *text;

  (void)state;
  kvi_chart_add(&curve, 2.5, 0.2);
  kvi_chart_add(&curve, 7.3, 0.009);
  text = text_of(kvi_chart_svg, &chart);
  assert_int_equal(count(text, "<circle"), 3); /* and one in the legend */
  assert_int_equal(count(text, "<polyline"), 1);
  for (const char *at = strstr(text, "cx='"); at != NULL; at = strstr(at + 1, "cx='")) {
    double x = strtod(at + 4, NULL);

    assert_true(x >= 0 && x <= KVI_CHART_WIDTH);
  }
  assert_non_null(strstr(text, ">0.001<")); /* whole powers of ten around both errors */
  assert_non_null(strstr(text, ">1<"));
  free(text);
}

static void leaves_out_what_has_no_place(void **state)
{
  struct kvi_chart_curve curve = {.name = "one", .colour = "#000000"};
  const struct kvi_chart chart = {"title", "bits", "error", &curve, 1};
  char *text;

  (void)state;
  kvi_chart_add(&curve, 10.5, 0);
  kvi_chart_add(&curve, NAN, 0.5);
  kvi_chart_add(&curve, 4, INFINITY);
  kvi_chart_add(&curve, -1, 0.5);
  text = text_of(kvi_chart_svg, &chart);
  assert_int_equal(count(text, "<circle"), 1);
  assert_null(strstr(text, "nan"));
  assert_null(strstr(text, "inf"));
  free(text);
  text = text_of(kvi_chart_gnuplot, &chart);
  assert_null(strstr(text, "nan"));
  free(text);
}

static void has_a_bound(void **state)
{
  struct kvi_chart_curve curve = {.name = "one", .colour = "#000000"};

  (void)state;
  for (size_t i = 0; i < KVI_CHART_POINTS_MAX + 5; i++)
    kvi_chart_add(&curve, 1, 1);
  assert_int_equal(curve.n, KVI_CHART_POINTS_MAX);
}

static void text_stays_text(void **state)
{
  struct kvi_chart_curve curve = {.name = "<b>&", .colour = "#000000"};
  const struct kvi_chart chart = {"a'; system 'true'\n<script>\033", "bits", "error", &curve, 1};
  char *text;

  (void)state;
  text = text_of(kvi_chart_svg, &chart);
  assert_null(strstr(text, "<script>"));
  assert_null(strstr(text, "<b>"));
  assert_null(strchr(text, '\033'));
  free(text);
  text = text_of(kvi_chart_gnuplot, &chart);
  assert_non_null(strstr(text, "set title 'a; system true<script>' noenhanced\n"));
  free(text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(draws_each_point_within_the_picture),
      cmocka_unit_test(leaves_out_what_has_no_place),
      cmocka_unit_test(has_a_bound),
      cmocka_unit_test(text_stays_text),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
