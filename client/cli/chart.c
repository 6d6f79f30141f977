#include "client/cli/chart.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LEFT   70.0
#define RIGHT  20.0
#define TOP    34.0
#define BOTTOM 48.0

/* What the axes show, in bits and in powers of ten. */
struct range {
  double bits_most;
  double least, most;
};

void kvi_chart_add(struct kvi_chart_curve *curve, double bits, double error)
{
  if (curve->n < KVI_CHART_POINTS_MAX)
    curve->points[curve->n++] = (struct kvi_chart_point){bits, error};
}

static bool shown(const struct kvi_chart_point *point)
{
  return isfinite(point->bits) && point->bits > 0 && isfinite(point->error) && point->error > 0;
}

/* Whole powers of ten and even numbers of bits around all points. */
static struct range range_of(const struct kvi_chart *chart)
{
  struct range range = {.bits_most = 2, .least = INFINITY, .most = -INFINITY};

  for (size_t i = 0; i < chart->n_curves; i++)
    for (size_t k = 0; k < chart->curves[i].n; k++) {
      const struct kvi_chart_point *point = &chart->curves[i].points[k];

      if (!shown(point))
        continue;
      range.bits_most = fmax(range.bits_most, 2 * ceil(point->bits / 2));
      range.least = fmin(range.least, floor(log10(point->error)));
      range.most = fmax(range.most, ceil(log10(point->error)));
    }
  if (range.least > range.most)
    range.least = range.most = 0;
  if (range.least == range.most)
    range.least -= 1;
  return range;
}

static double x_of(const struct range *range, double bits)
{
  return LEFT + bits / range->bits_most * (KVI_CHART_WIDTH - LEFT - RIGHT);
}

static double y_of(const struct range *range, double power)
{
  return TOP + (range->most - power) / (range->most - range->least) * (KVI_CHART_HEIGHT - TOP - BOTTOM);
}

/* Text in XML. What no XML may hold becomes "?". */
static void put_text(FILE *out, const char *text)
{
  for (; *text != '\0'; text++) {
    switch (*text) {
    case '<':
      fputs("&lt;", out);
      break;
    case '>':
      fputs("&gt;", out);
      break;
    case '&':
      fputs("&amp;", out);
      break;
    default:
      fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
    }
  }
}

static void put_label(FILE *out, double x, double y, const char *attributes, const char *text)
{
  fprintf(out, "<text x='%.1f' y='%.1f' %s>", x, y, attributes);
  put_text(out, text);
  fputs("</text>\n", out);
}

static void put_line(FILE *out, double x1, double y1, double x2, double y2)
{
  fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#e2e8f0'/>\n", x1, y1, x2, y2);
}

static void draw_axes(FILE *out, const struct kvi_chart *chart, const struct range *range)
{
  double bottom = KVI_CHART_HEIGHT - BOTTOM, right = KVI_CHART_WIDTH - RIGHT;
  char text[32];

  put_label(out, LEFT, 18, "font-size='13'", chart->title);
  for (int bits = 0; bits <= range->bits_most; bits += 2) {
    put_line(out, x_of(range, bits), TOP, x_of(range, bits), bottom);
    snprintf(text, sizeof text, "%d", bits);
    put_label(out, x_of(range, bits), bottom + 15, "text-anchor='middle'", text);
  }
  for (int power = (int)range->least; power <= range->most; power++) {
    put_line(out, LEFT, y_of(range, power), right, y_of(range, power));
    snprintf(text, sizeof text, "%g", pow(10, power));
    put_label(out, LEFT - 6, y_of(range, power) + 4, "text-anchor='end'", text);
  }
  put_label(out, (LEFT + right) / 2, bottom + 36, "text-anchor='middle'", chart->x_title);
  fprintf(out, "<text transform='translate(16 %.1f) rotate(-90)' text-anchor='middle'>", (TOP + bottom) / 2);
  put_text(out, chart->y_title);
  fputs("</text>\n", out);
}

static void draw_curve(FILE *out, const struct kvi_chart_curve *curve, const struct range *range)
{
  if (curve->line) {
    fprintf(out, "<polyline fill='none' stroke='%s' points='", curve->colour);
    for (size_t i = 0; i < curve->n; i++)
      if (shown(&curve->points[i]))
        fprintf(out, "%.1f,%.1f ", x_of(range, curve->points[i].bits),
                y_of(range, log10(curve->points[i].error)));
    fputs("'/>\n", out);
  }
  for (size_t i = 0; i < curve->n; i++)
    if (shown(&curve->points[i]))
      fprintf(out, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", x_of(range, curve->points[i].bits),
              y_of(range, log10(curve->points[i].error)), curve->colour);
}

void kvi_chart_panel(FILE *out, const struct kvi_chart *chart, double x, double y)
{
  struct range range = range_of(chart);

  fprintf(out, "<g transform='translate(%.1f %.1f)'>\n", x, y);
  draw_axes(out, chart, &range);
  for (size_t i = 0; i < chart->n_curves; i++) {
    double at = TOP + 12 + 16 * (double)i;

    draw_curve(out, &chart->curves[i], &range);
    fprintf(out, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", KVI_CHART_WIDTH - 190, at,
            chart->curves[i].colour);
    put_label(out, KVI_CHART_WIDTH - 180, at + 4, "", chart->curves[i].name);
  }
  fputs("</g>\n", out);
}

void kvi_chart_svg(FILE *out, const struct kvi_chart *chart)
{
  fprintf(out,
          "<svg xmlns='http://www.w3.org/2000/svg' width='%g' height='%g' font-family='sans-serif' "
          "font-size='11'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
          KVI_CHART_WIDTH, KVI_CHART_HEIGHT);
  kvi_chart_panel(out, chart, 0, 0);
  fputs("</svg>\n", out);
}

/* Text between gnuplot's single quotes, which know no escapes: what could end or change it is left out. */
static void put_quoted(FILE *out, const char *text)
{
  fputc('\'', out);
  for (; *text != '\0'; text++)
    if ((unsigned char)*text >= 0x20 && *text != 0x7f && strchr("'\\{}^_@&~", *text) == NULL)
      fputc(*text, out);
  fputc('\'', out);
}

void kvi_chart_gnuplot(FILE *out, const struct kvi_chart *chart)
{
  fprintf(out, "set terminal pngcairo size %g,%g\nset logscale y\nset grid\nset xrange [0:*]\nset title ",
          KVI_CHART_WIDTH, KVI_CHART_HEIGHT);
  put_quoted(out, chart->title);
  fputs(" noenhanced\nset xlabel ", out);
  put_quoted(out, chart->x_title);
  fputs("\nset ylabel ", out);
  put_quoted(out, chart->y_title);
  fputc('\n', out);
  for (size_t i = 0; i < chart->n_curves; i++) {
    fprintf(out, "$curve%zu << END\n", i);
    for (size_t k = 0; k < chart->curves[i].n; k++)
      if (shown(&chart->curves[i].points[k]))
        fprintf(out, "%.6g %.6g\n", chart->curves[i].points[k].bits, chart->curves[i].points[k].error);
    fputs("END\n", out);
  }
  for (size_t i = 0; i < chart->n_curves; i++) {
    fprintf(out, "%s $curve%zu with %s pointtype 7 linecolor rgb '%s' title ", i == 0 ? "plot" : ",", i,
            chart->curves[i].line ? "linespoints" : "points", chart->curves[i].colour);
    put_quoted(out, chart->curves[i].name);
  }
  fputc('\n', out);
}
