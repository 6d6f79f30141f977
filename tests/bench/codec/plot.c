#include "tests/bench/codec/plot.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"

/* A panel for each set, two in a row: bits an element to the right, the error of attention's output upwards, in powers of ten. */
#define PANEL_WIDTH  520.0
#define PANEL_HEIGHT 380.0
#define LEFT         60.0
#define RIGHT        20.0
#define TOP          34.0
#define BOTTOM       44.0
#define BITS_MOST    12.0
#define ERROR_LEAST  -3.5 /* powers of ten */
#define ERROR_MOST   0.5

static const struct {
  const char *curve, *title, *colour;
} curves[] = {{"ladder", "ladder", "#2b6cb0"},
              {"cachegen", "cachegen", "#2f855a"},
              {"lmcache", "LMCache's CacheGen", "#c53030"},
              {"lmcache-flat", "the same, equal bins", "#dd6b20"},
              {"groups", "groups of 32", "#805ad5"},
              {"ideal", "entropy of a uniform quantiser", "#a0aec0"}};

static double x_of(double bits)
{
  return LEFT + bits / BITS_MOST * (PANEL_WIDTH - LEFT - RIGHT);
}

static double y_of(double power)
{
  return TOP + (ERROR_MOST - power) / (ERROR_MOST - ERROR_LEAST) * (PANEL_HEIGHT - TOP - BOTTOM);
}

static double number(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static const char *text(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  /* Names are those of our own rows; anything else is not put into the picture. */
  return cJSON_IsString(item) && strpbrk(item->valuestring, "<>&\"'") == NULL ? item->valuestring : "";
}

static bool place_of(const cJSON *point, double *x_p, double *y_p)
{
  double bits = number(point, "bits");
  double error = number(point, "attention");

  if (bits <= 0 || error <= 0 || bits > BITS_MOST || log10(error) < ERROR_LEAST || log10(error) > ERROR_MOST)
    return false;
  *x_p = x_of(bits);
  *y_p = y_of(log10(error));
  return true;
}

static void draw_axes(const char *title)
{
  printf("<text x='%g' y='16' font-size='13'>%s</text>\n", LEFT, title);
  for (int bits = 0; bits <= (int)BITS_MOST; bits += 2)
    printf("<line x1='%g' x2='%g' y1='%g' y2='%g' stroke='#e2e8f0'/><text x='%g' y='%g' "
           "text-anchor='middle'>%d</text>\n",
           x_of(bits), x_of(bits), TOP, PANEL_HEIGHT - BOTTOM, x_of(bits), PANEL_HEIGHT - BOTTOM + 14, bits);
  for (int power = (int)ceil(ERROR_LEAST); power <= (int)floor(ERROR_MOST); power++)
    printf("<line x1='%g' x2='%g' y1='%g' y2='%g' stroke='#e2e8f0'/><text x='%g' y='%g' "
           "text-anchor='end'>%g</text>\n",
           LEFT, PANEL_WIDTH - RIGHT, y_of(power), y_of(power), LEFT - 6, y_of(power) + 4, pow(10, power));
  printf("<text x='%g' y='%g' text-anchor='middle'>bits an element, all counted</text>\n",
         (LEFT + PANEL_WIDTH - RIGHT) / 2, PANEL_HEIGHT - BOTTOM + 32);
  printf("<text transform='translate(14 %g) rotate(-90)' text-anchor='middle'>relative error of attention's "
         "output</text>\n",
         (TOP + PANEL_HEIGHT - BOTTOM) / 2);
}

/* Points of one curve, which lie in order of their settings and not of their rates: dots, no line. */
static void draw_curve(const cJSON *points, size_t curve)
{
  const cJSON *point;

  cJSON_ArrayForEach(point, points)
  {
    double x, y;

    if (strcmp(text(point, "curve"), curves[curve].curve) == 0 && place_of(point, &x, &y))
      printf("<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", x, y, curves[curve].colour);
  }
}

static void draw_legend(void)
{
  for (size_t i = 0; i < KVI_ARRAY_SIZE(curves); i++) {
    double y = PANEL_HEIGHT - BOTTOM - 90 + 15 * (double)i; /* where no curve comes */

    printf("<circle cx='%g' cy='%g' r='3' fill='%s'/><text x='%g' y='%g'>%s</text>\n", LEFT + 12, y,
           curves[i].colour, LEFT + 22, y + 4, curves[i].title);
  }
}

void codec_plot(const cJSON *sets)
{
  int n = cJSON_GetArraySize(sets);
  int rows = (n + 1) / 2;
  int index = 0;
  const cJSON *set;

  printf("<svg xmlns='http://www.w3.org/2000/svg' width='%g' height='%g' font-family='sans-serif' "
         "font-size='11'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
         2 * PANEL_WIDTH, rows * PANEL_HEIGHT);
  cJSON_ArrayForEach(set, sets)
  {
    const cJSON *points = cJSON_GetObjectItemCaseSensitive(set, "points");
    int row = index / 2;
    int column = index % 2;

    printf("<g transform='translate(%g %g)'>\n", column * PANEL_WIDTH, row * PANEL_HEIGHT);
    draw_axes(text(set, "name"));
    for (size_t i = 0; i < KVI_ARRAY_SIZE(curves); i++)
      draw_curve(points, i);
    draw_legend();
    printf("</g>\n");
    index++;
  }
  printf("</svg>\n");
}
