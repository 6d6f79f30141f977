/* tests/sim/plot.c: two panels over the logarithm of capacity: hit rate, and paid seconds as a share of those without a cache. */
#include <math.h>

#include "tests/sim/report.h"

#define WIDTH  520.0 /* of a panel */
#define HEIGHT 400.0
#define LEFT   52.0
#define RIGHT  16.0
#define TOP    34.0
#define BOTTOM 44.0
#define LEGEND 130.0
#define STEPS  5

static const char *const colours[] = {"#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280",
                                      "#718096", "#1a202c", "#d69e2e", "#319795", "#9b2c2c"};

/* What a panel shows of a row, 0 to 1. */
typedef double (*value_of)(const struct sim_row *row);

struct panel {
  const char *title;
  value_of value;
  double x;           /* of its left corner */
  double least, most; /* capacity in tokens */
  double top;         /* of the axis */
};

static double hit_rate(const struct sim_row *row)
{
  return row->hit_rate;
}

static double paid_share(const struct sim_row *row)
{
  return row->whole_s > 0 ? row->paid_s / row->whole_s : 0;
}

static double x_of(const struct panel *panel, double tokens)
{
  double width = panel->most > panel->least ? log(panel->most / panel->least) : 1;

  return LEFT + log(tokens / panel->least) / width * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct panel *panel, double value)
{
  return HEIGHT - BOTTOM - value / panel->top * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(const struct sim_report *report, const struct panel *panel, FILE *out)
{
  fprintf(out, "<text x='%.0f' y='18' font-size='13'>%s</text>\n", LEFT, panel->title);
  for (int i = 0; i <= STEPS; i++) {
    double value = panel->top * i / STEPS, y = y_of(panel, value);

    fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#e2e8f0'/>\n", LEFT, y, WIDTH - RIGHT,
            y);
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='end'>%.2g</text>\n", LEFT - 6, y + 4, value);
  }
  for (size_t c = 0; c < report->options->n_capacities; c++) {
    double tokens = sim_report_row(report, c, 0).capacity_tokens, x = x_of(panel, tokens);

    fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#e2e8f0'/>\n", x, TOP, x,
            HEIGHT - BOTTOM);
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>%.3gM</text>\n", x, HEIGHT - BOTTOM + 15,
            tokens / 1e6);
  }
  fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>capacity in tokens</text>\n",
          (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
}

/* The points of a policy: to the callback in the order of the capacities as they were given, which people give in order. */
static void draw_policy(const struct sim_report *report, const struct panel *panel, size_t policy, FILE *out)
{
  const char *colour = colours[policy % (sizeof colours / sizeof colours[0])];

  fprintf(out, "<polyline fill='none' stroke='%s' points='", colour);
  for (size_t c = 0; c < report->options->n_capacities; c++) {
    struct sim_row row = sim_report_row(report, c, policy);

    fprintf(out, "%.1f,%.1f ", x_of(panel, row.capacity_tokens), y_of(panel, panel->value(&row)));
  }
  fputs("'/>\n", out);
  for (size_t c = 0; c < report->options->n_capacities; c++) {
    struct sim_row row = sim_report_row(report, c, policy);

    fprintf(out, "<circle cx='%.1f' cy='%.1f' r='2.5' fill='%s'/>\n", x_of(panel, row.capacity_tokens),
            y_of(panel, panel->value(&row)), colour);
  }
}

static void draw_panel(const struct sim_report *report, struct panel *panel, FILE *out)
{
  double highest = 0;

  panel->least = INFINITY;
  for (size_t c = 0; c < report->options->n_capacities; c++)
    for (size_t p = 0; p < report->options->n_policies; p++) {
      struct sim_row row = sim_report_row(report, c, p);

      panel->least = fmin(panel->least, row.capacity_tokens);
      panel->most = fmax(panel->most, row.capacity_tokens);
      highest = fmax(highest, panel->value(&row));
    }
  panel->top = fmax(0.1, ceil(highest * 10) / 10);
  fprintf(out, "<g transform='translate(%.0f 0)'>\n", panel->x);
  draw_axes(report, panel, out);
  for (size_t p = 0; p < report->options->n_policies; p++)
    draw_policy(report, panel, p, out);
  fputs("</g>\n", out);
}

void sim_report_svg(const struct sim_report *report, FILE *out)
{
  struct panel hits = {.title = "hit rate", .value = hit_rate};
  struct panel paid = {
      .title = "prefill seconds, as a share of those without a cache", .value = paid_share, .x = WIDTH};

  fprintf(out,
          "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' font-family='sans-serif' "
          "font-size='11'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
          2 * WIDTH + LEGEND, HEIGHT);
  draw_panel(report, &hits, out);
  draw_panel(report, &paid, out);
  for (size_t p = 0; p < report->options->n_policies; p++) {
    double y = TOP + 12 + 16 * (double)p;

    fprintf(out, "<circle cx='%.0f' cy='%.1f' r='3' fill='%s'/><text x='%.0f' y='%.1f'>%s</text>\n",
            2 * WIDTH + 12, y, colours[p % (sizeof colours / sizeof colours[0])], 2 * WIDTH + 20, y + 4,
            sim_policy_name(report->options->policies[p]));
  }
  fputs("</svg>\n", out);
}
