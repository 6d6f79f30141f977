/* client/cli/curve_plot.c: hit rates over the logarithm of the size of memory. */
#include "client/cli/curve_plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH  560.0
#define HEIGHT 400.0
#define LEFT   52.0
#define RIGHT  16.0
#define TOP    34.0
#define BOTTOM 44.0
#define STEPS  5

#define LRU    "#2b6cb0"
#define BELADY "#2f855a"
#define NODE   "#c05621"

struct axes {
  double least, most; /* bytes */
  double top;         /* of the parts */
};

static double x_of(const struct axes *axes, double bytes)
{
  double width = axes->most > axes->least ? log(axes->most / axes->least) : 1;

  return LEFT + log(bytes / axes->least) / width * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct axes *axes, double part)
{
  return HEIGHT - BOTTOM - fmin(fmax(part, 0), 1) / axes->top * (HEIGHT - TOP - BOTTOM);
}

static struct axes axes_of(const struct cli_curve *curve)
{
  struct axes axes = {.least = INFINITY, .top = isfinite(curve->memory) ? curve->memory : 0};

  for (size_t i = 0; i < curve->n; i++) {
    axes.least = fmin(axes.least, curve->points[i].bytes);
    axes.most = fmax(axes.most, curve->points[i].bytes);
    axes.top = fmax(axes.top, fmax(curve->points[i].lru, curve->points[i].belady));
  }
  axes.top = fmin(fmax(0.1, ceil(axes.top * 10) / 10), 1);
  return axes;
}

static void draw_axes(FILE *out, const struct axes *axes, const struct cli_curve *curve)
{
  char size[CLI_SIZE_TEXT];

  for (int i = 0; i <= STEPS; i++) {
    double part = axes->top * i / STEPS, y = y_of(axes, part);

    fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#e2e8f0'/>\n", LEFT, y, WIDTH - RIGHT,
            y);
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='end'>%.3g %%</text>\n", LEFT - 6, y + 4, part * 100);
  }
  for (size_t i = 0; i < curve->n; i++) {
    const struct cli_curve_point *point = &curve->points[i];
    double x = x_of(axes, point->bytes), power = log2(point->factor);

    fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#e2e8f0'/>\n", x, TOP, x,
            HEIGHT - BOTTOM);
    if (fabs(power - round(power)) < 1e-9) /* those between have no room for it */
      fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='%s'>%s</text>\n", x, HEIGHT - BOTTOM + 15,
              x > WIDTH - RIGHT - 30 ? "end" : "middle", cli_size_text(point->bytes, size));
  }
  fprintf(out,
          "<text x='%.1f' y='%.1f' text-anchor='middle'>DRAM</text>\n"
          "<text x='%.0f' y='18' font-size='13'>hit rate in tokens, estimated%s</text>\n",
          (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, LEFT, curve->enough ? "" : " from too little");
}

/* Two standard errors to both sides of a point. */
static void draw_error(FILE *out, const struct axes *axes, double x, double part, double error,
                       const char *colour)
{
  if (error > 0)
    fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s'/>\n", x,
            y_of(axes, part - 2 * error), x, y_of(axes, fmin(part + 2 * error, axes->top)), colour);
}

static void draw_line(FILE *out, const struct axes *axes, const struct cli_curve *curve, bool belady)
{
  const char *colour = belady ? BELADY : LRU;

  fprintf(out, "<polyline fill='none' stroke='%s' points='", colour);
  for (size_t i = 0; i < curve->n; i++)
    fprintf(out, "%.1f,%.1f ", x_of(axes, curve->points[i].bytes),
            y_of(axes, belady ? curve->points[i].belady : curve->points[i].lru));
  fputs("'/>\n", out);
  for (size_t i = 0; i < curve->n; i++) {
    const struct cli_curve_point *point = &curve->points[i];
    double x = x_of(axes, point->bytes), part = belady ? point->belady : point->lru;

    draw_error(out, axes, x, part, belady ? point->belady_error : point->lru_error, colour);
    fprintf(out, "<circle cx='%.1f' cy='%.1f' r='2.5' fill='%s'/>\n", x, y_of(axes, part), colour);
  }
}

static void draw_legend(FILE *out)
{
  static const char *const rows[][2] = {{BELADY, "Belady"}, {LRU, "LRU"}, {NODE, "this node"}};
  const double x = WIDTH - RIGHT - 76; /* curves rise: there they are least in the way */

  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    double y = HEIGHT - BOTTOM - 44 + 16 * (double)i;

    fprintf(out, "<circle cx='%.0f' cy='%.1f' r='3' fill='%s'/><text x='%.0f' y='%.1f'>%s</text>\n", x, y,
            rows[i][0], x + 8, y + 4, rows[i][1]);
  }
}

static void draw(FILE *out, const struct cli_curve *curve)
{
  struct axes axes = axes_of(curve);

  fprintf(out,
          "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' font-family='sans-serif' "
          "font-size='11'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
          WIDTH, HEIGHT);
  draw_axes(out, &axes, curve);
  if (curve->n > 0) {
    draw_line(out, &axes, curve, true);
    draw_line(out, &axes, curve, false);
  }
  if (curve->n > 0 && isfinite(curve->memory) && curve->capacity >= axes.least &&
      curve->capacity <= axes.most)
    fprintf(out, "<circle cx='%.1f' cy='%.1f' r='4' fill='" NODE "'/>\n", x_of(&axes, curve->capacity),
            y_of(&axes, curve->memory));
  draw_legend(out);
  fputs("</svg>\n", out);
}

bool cli_curve_can_plot(const char *path)
{
  size_t length = strlen(path);

  return length > 4 && strcmp(path + length - 4, ".svg") == 0;
}

int cli_curve_plot(const char *path, const struct cli_curve *curve)
{
  struct cli_output file = {.fd = -1};
  char *text = NULL;
  size_t length = 0;
  FILE *memory = open_memstream(&text, &length);
  int code;

  if (memory == NULL) {
    fputs("kvasirctl: no memory for the picture\n", stderr);
    return CLI_ERROR;
  }
  draw(memory, curve);
  if (fclose(memory) != 0) {
    free(text);
    fputs("kvasirctl: no memory for the picture\n", stderr);
    return CLI_ERROR;
  }
  code = cli_output_begin(&file, path);
  if (code == CLI_OK)
    code = cli_output_write(&file, text, length);
  free(text);
  return cli_output_end(&file, code);
}
