/*
 * tests/sim/queue_plot.c: a panel for each of tails and load: mean times of programs over the tiers below, with their intervals, on a logarithmic axis; under it the bytes that were
 * loaded.
 */
#include <math.h>

#include "base/array.h"
#include "tests/sim/queue_report.h"

#define WIDTH  300.0 /* of a panel */
#define HEIGHT 330.0
#define LEFT   52.0
#define RIGHT  14.0
#define TOP    34.0
#define MIDDLE 200.0 /* where the times end */
#define BYTES  226.0 /* where the bytes begin */
#define BOTTOM 292.0
#define LEGEND 110.0
#define APART  6.0 /* points of policies at one tier */

static const char *const colours[] = {"#718096", "#2b6cb0", "#c05621", "#6b46c1",
                                      "#2f855a", "#b83280", "#1a202c", "#d69e2e"};

struct panel {
  const struct sim_queue_report *report;
  size_t first_cell;
  double least, most; /* decades of seconds */
  double bytes;
};

static double x_of(const struct panel *panel, size_t lower, size_t policy)
{
  const struct sim_queue_options *options = panel->report->options;
  double width = (WIDTH - LEFT - RIGHT) / (double)options->n_lowers;

  return LEFT + width * ((double)lower + 0.5) +
         APART * ((double)policy - ((double)options->n_policies - 1) / 2);
}

static double y_of(const struct panel *panel, double seconds)
{
  double part = (log10(seconds) - panel->least) / (panel->most - panel->least);

  return MIDDLE - part * (MIDDLE - TOP);
}

static const char *colour_of(size_t policy)
{
  return colours[policy % KVI_ARRAY_SIZE(colours)];
}

static void find_range(struct panel *panel)
{
  const struct sim_queue_options *options = panel->report->options;

  panel->least = INFINITY;
  panel->most = -INFINITY;
  for (size_t i = 0; i < options->n_lowers; i++)
    for (size_t p = 0; p < options->n_policies; p++) {
      struct sim_queue_row row = sim_queue_report_row(panel->report, panel->first_cell + i, p);

      panel->least = fmin(panel->least, log10(fmax(row.jct_s.low, 1e-9)));
      panel->most = fmax(panel->most, log10(fmax(row.jct_s.high, 1e-9)));
      panel->bytes = fmax(panel->bytes, row.loaded_bytes);
    }
  panel->least -= 0.05;
  panel->most += 0.05;
}

static void draw_axes(const struct panel *panel, const char *title, double load, FILE *out)
{
  const struct sim_queue_options *options = panel->report->options;
  static const double marks[] = {1, 2, 5};
  char name[32];

  fprintf(out, "<text x='%.0f' y='18' font-size='13'>%s, load %g</text>\n", LEFT, title, load);
  for (int decade = (int)floor(panel->least); decade <= (int)panel->most; decade++)
    for (size_t i = 0; i < KVI_ARRAY_SIZE(marks); i++) {
      double seconds = marks[i] * pow(10, decade), y = y_of(panel, seconds);

      if (log10(seconds) < panel->least || log10(seconds) > panel->most)
        continue;
      fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#e2e8f0'/>", LEFT, y, WIDTH - RIGHT,
              y);
      fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='end'>%g s</text>\n", LEFT - 4, y + 4, seconds);
    }
  fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#a0aec0'/>", LEFT, BOTTOM,
          WIDTH - RIGHT, BOTTOM);
  fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='end'>%.3g TB</text>\n", LEFT - 4, BYTES + 8,
          panel->bytes / 1e12);
  for (size_t i = 0; i < options->n_lowers; i++)
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n",
            x_of(panel, i, 0) + APART * ((double)options->n_policies - 1) / 2, BOTTOM + 15,
            sim_queue_lower_name(options->lowers[i], name, sizeof name));
}

static void draw_point(const struct panel *panel, size_t lower, size_t policy, FILE *out)
{
  struct sim_queue_row row = sim_queue_report_row(panel->report, panel->first_cell + lower, policy);
  double x = x_of(panel, lower, policy), y = y_of(panel, row.jct_s.value);
  double bytes = panel->bytes > 0 ? row.loaded_bytes / panel->bytes * (BOTTOM - BYTES) : 0;

  fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s'/>", x, y_of(panel, row.jct_s.low),
          x, y_of(panel, row.jct_s.high), colour_of(policy));
  fprintf(out, "<circle cx='%.1f' cy='%.1f' r='2.5' fill='%s'/>", x, y, colour_of(policy));
  fprintf(out, "<rect x='%.1f' y='%.1f' width='4' height='%.1f' fill='%s'/>\n", x - 2, BOTTOM - bytes, bytes,
          colour_of(policy));
}

static void draw_panel(const struct sim_queue_report *report, size_t tails, size_t load, FILE *out)
{
  const struct sim_queue_options *options = report->options;
  struct panel panel = {.report = report,
                        .first_cell = (tails * options->n_loads + load) * options->n_lowers};

  find_range(&panel);
  fprintf(out, "<g transform='translate(%.0f %.0f)'>\n", (double)load * WIDTH, (double)tails * HEIGHT);
  draw_axes(&panel, sim_queue_tails_name(options, tails), options->loads[load], out);
  for (size_t i = 0; i < options->n_lowers; i++)
    for (size_t p = 0; p < options->n_policies; p++)
      draw_point(&panel, i, p, out);
  fputs("</g>\n", out);
}

void sim_queue_report_svg(const struct sim_queue_report *report, FILE *out)
{
  const struct sim_queue_options *options = report->options;
  double width = (double)options->n_loads * WIDTH;

  fprintf(out,
          "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' font-family='sans-serif' "
          "font-size='11'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
          width + LEGEND, (double)options->n_tails * HEIGHT);
  for (size_t t = 0; t < options->n_tails; t++)
    for (size_t l = 0; l < options->n_loads; l++)
      draw_panel(report, t, l, out);
  for (size_t p = 0; p < options->n_policies; p++) {
    double y = TOP + 12 + 16 * (double)p;

    fprintf(out, "<circle cx='%.0f' cy='%.1f' r='3' fill='%s'/><text x='%.0f' y='%.1f'>%s</text>\n",
            width + 12, y, colour_of(p), width + 20, y + 4, options->policies[p]->name);
  }
  fputs("</svg>\n", out);
}
