#include "tests/bench/codec/targets.h"

#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "tests/bench/grid.h"

enum bound { AT_LEAST, AT_MOST };

struct target {
  const char *row;
  const char *to; /* the value is a ratio to this row; NULL: the row's own */
  enum bound bound;
  double value;       /* of heads of 128 and more, and of what is of no set */
  double value_small; /* of smaller heads */
};

/* Of each set: the set's name and "-" stand before the row's. */
static const struct target of_sets[] = {
    {"lossless-ratio", NULL, AT_LEAST, 1.40, 1.40},
    {"ladder-p2-keys", NULL, AT_MOST, 0.026, 0.026},
    {"ladder-p2-values", NULL, AT_MOST, 0.026, 0.026},
    {"ladder-p2-bits", NULL, AT_MOST, 5.8, 6.0},
    {"ladder-p1-keys", NULL, AT_MOST, 0.08, 0.08},
    {"ladder-p1-values", NULL, AT_MOST, 0.08, 0.08},
    {"ladder-p1-bits", NULL, AT_MOST, 4.2, 4.4},
    {"lmcache-curve-bits-at-equal-attention", NULL, AT_LEAST, 1.7, 1.7},
    {"lmcache-32-16-bits-at-equal-attention", NULL, AT_LEAST, 1.7, 1.7},
    {"cachegen-curve-bits-at-equal-attention", NULL, AT_LEAST, 1.2, 1.2},
    {"cost-of-1-plane", NULL, AT_MOST, 0.1, 0.1},
    {"cost-of-2-planes", NULL, AT_MOST, 0.1, 0.1},
};

static const struct target of_speed[] = {
    {"decode-lossless", NULL, AT_LEAST, 2.0, 0},
    {"decode-ladder-p2", NULL, AT_LEAST, 2.4, 0},
    {"encode-ladder-p2", NULL, AT_LEAST, 1.4, 0},
    {"decode-ladder-p2", "decode-cachegen", AT_LEAST, 8.0, 0},
};

static struct bench_summary measured(const struct codec_document *document, const char *name, const char *to)
{
  const struct codec_row *row = codec_document_row(document, name);
  const struct codec_row *reference = to != NULL ? codec_document_row(document, to) : NULL;

  if (row == NULL || (to != NULL && reference == NULL))
    return (struct bench_summary){0};
  return to != NULL ? bench_series_ratio(&row->value, &reference->value) : bench_series_summary(&row->value);
}

static void add(const struct codec_document *document, const struct target *target, const char *name,
                double value, struct bench_grid *grid)
{
  struct bench_summary summary = measured(document, name, target->to);
  bool passed;

  if (summary.n == 0)
    return;
  passed = target->bound == AT_LEAST ? summary.median >= value : summary.median <= value;
  bench_grid_row(grid);
  bench_grid_set(grid, 0, "%s", name);
  bench_grid_set(grid, 1, "%s", target->to != NULL ? target->to : "");
  bench_grid_set(grid, 2, "%s %g", target->bound == AT_LEAST ? ">=" : "<=", value);
  bench_grid_set(grid, 3, "%.3g", summary.median);
  if (summary.min < summary.max)
    bench_grid_set(grid, 4, "%.3g-%.3g", summary.min, summary.max);
  bench_grid_set(grid, 5, "%s", passed ? "pass" : "MISS");
}

void codec_targets_print(const struct codec_document *document, bool markdown, kvi_strbuf *out)
{
  static const char *const titles[] = {"target", "against", "must reach", "median", "min-max", "verdict"};
  struct bench_grid grid;

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (uint32_t set = 0; set < document->n_sets; set++) {
    for (size_t i = 0; i < KVI_ARRAY_SIZE(of_sets); i++) {
      char name[CODEC_ROW_NAME_MAX];

      snprintf(name, sizeof name, "%s-%s", document->sets[set].name, of_sets[i].row);
      add(document, &of_sets[i], name,
          document->sets[set].dim >= 128 ? of_sets[i].value : of_sets[i].value_small, &grid);
    }
  }
  for (size_t i = 0; i < KVI_ARRAY_SIZE(of_speed); i++)
    add(document, &of_speed[i], of_speed[i].row, of_speed[i].value, &grid);
  if (grid.n > 1)
    bench_grid_print(&grid, markdown, out);
  bench_grid_free(&grid);
}
