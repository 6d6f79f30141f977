#include "tests/bench/codec/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "tests/bench/codec/speed.h"
#include "tests/bench/codec/targets.h"
#include "tests/bench/grid.h"

/* A table with its heading, if it has rows. */
static void print(struct bench_grid *grid, const char *heading, bool markdown, kvi_strbuf *out)
{
  if (grid->n > 1) {
    kvi_strbuf_addf(out, markdown ? "**%s**\n\n" : "# %s\n\n", heading);
    bench_grid_print(grid, markdown, out);
    kvi_strbuf_add(out, "\n");
  }
  bench_grid_free(grid);
}

static void report_sets(const struct codec_document *document, bool markdown, kvi_strbuf *out)
{
  static const char *const titles[] = {"set",         "chunks",           "layers",         "tokens",
                                       "heads x dim", "exponent entropy", "q8_0 K entropy", "V",
                                       "correlation", "lmcache payload"};
  struct bench_grid grid;

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (uint32_t set = 0; set < document->n_sets; set++) {
    const struct codec_set_line *line = &document->sets[set];
    const struct codec_line *lmcache = codec_document_line(document, set, "lmcache-32-16");

    bench_grid_row(&grid);
    bench_grid_set(&grid, 0, "%s", line->name);
    bench_grid_set(&grid, 1, "%u", line->n_chunks);
    bench_grid_set(&grid, 2, "%u", line->n_layers);
    bench_grid_set(&grid, 3, "%u", line->n_tokens);
    bench_grid_set(&grid, 4, "%u x %u", line->n_heads, line->dim);
    bench_grid_set(&grid, 5, "%.2f", line->statistics.exponent_entropy);
    bench_grid_set(&grid, 6, "%.2f", line->statistics.q8_keys);
    bench_grid_set(&grid, 7, "%.2f", line->statistics.q8_values);
    bench_grid_set(&grid, 8, "%.2f", line->statistics.correlation);
    if (lmcache != NULL)
      bench_grid_set(&grid, 9, "%.2f", lmcache->payload);
  }
  print(&grid, "Sets", markdown, out);
}

static void add_line(const struct codec_line *line, struct bench_grid *grid)
{
  const struct codec_error *error = &line->error;

  bench_grid_row(grid);
  bench_grid_set(grid, 0, "%s", line->method.name);
  bench_grid_set(grid, 1, "%.3f", line->bits);
  bench_grid_set(grid, 2, "%.2f", 16.0 / line->bits);
  if (error->exact) {
    bench_grid_set(grid, 3, "exact");
    return;
  }
  bench_grid_set(grid, 3, "%.4f", error->keys);
  bench_grid_set(grid, 4, "%.4f", error->values);
  bench_grid_set(grid, 5, "%.4f", fmax(error->keys_worst, error->values_worst));
  bench_grid_set(grid, 6, "%.4f", error->attention);
  bench_grid_set(grid, 7, "%.2e", error->divergence);
  bench_grid_set(grid, 8, "%.2f", 100.0 * error->top);
  bench_grid_set(grid, 9, "%.2f", 100.0 * error->needles);
}

static void report_set(const struct codec_document *document, uint32_t set, bool markdown, kvi_strbuf *out)
{
  static const char *const titles[] = {"method", "bits/element", "smaller",   "L2 keys", "L2 values",
                                       "worst",  "attention",    "KL (nats)", "top-1 %", "needles %"};
  struct bench_grid grid;
  char heading[CODEC_NAME_MAX + 32];

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (size_t i = 0; i < document->n_lines; i++)
    if (document->lines[i].set == set && document->lines[i].method.listed)
      add_line(&document->lines[i], &grid);
  snprintf(heading, sizeof heading, "Rate and error: %s", document->sets[set].name);
  print(&grid, heading, markdown, out);
}

static void report_comparisons(const struct codec_document *document, bool markdown, kvi_strbuf *out)
{
  static const char *const titles[] = {"comparison", "median", "min-max", "points", "unit"};
  struct bench_grid grid;

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (size_t i = 0; i < document->n_rows; i++) {
    const struct codec_row *row = &document->rows[i];
    struct bench_summary value = bench_series_summary(&row->value);

    if (strstr(row->name, "-bits-at-equal-") == NULL && strstr(row->name, "-cost-of-") == NULL)
      continue;
    bench_grid_row(&grid);
    bench_grid_set(&grid, 0, "%s", row->name);
    bench_grid_set(&grid, 1, "%.3f", value.median);
    bench_grid_set(&grid, 2, "%.3f-%.3f", value.min, value.max);
    bench_grid_set(&grid, 3, "%zu", value.n);
    bench_grid_set(&grid, 4, "%s", row->unit);
  }
  print(&grid, "Comparisons", markdown, out);
}

static void add_speed(const struct codec_document *document, const struct codec_row *row,
                      struct bench_grid *grid)
{
  struct bench_summary value = bench_series_summary(&row->value);
  const struct codec_row *to = row->to[0] != '\0' ? codec_document_row(document, row->to) : NULL;
  char name[CODEC_ROW_NAME_MAX];

  bench_grid_row(grid);
  bench_grid_set(grid, 0, "%s", row->name);
  bench_grid_set(grid, 1, "%s%.3f", row->disturbed ? "~" : "", value.median);
  bench_grid_set(grid, 2, "%.3f-%.3f", value.min, value.max);
  if (to != NULL)
    bench_grid_set(grid, 3, "%.3f", bench_series_ratio(&row->value, &to->value).median);
  if (snprintf(name, sizeof name, "%s-cycles", row->name) < (int)sizeof name)
    bench_grid_set(grid, 4, "%.2f", codec_document_value(document, name));
  bench_grid_set(grid, 5, "%.2f", bench_series_summary(&row->p50).median / 1000.0);
  bench_grid_set(grid, 6, "%.2f", bench_series_summary(&row->p99).median / 1000.0);
}

static void report_speed(const struct codec_document *document, bool markdown, kvi_strbuf *out)
{
  static const char *const titles[] = {"speed",          "GB/s",   "min-max", "/ memcpy",
                                       "cycles/element", "p50 ms", "p99 ms"};
  struct bench_grid grid;

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (size_t i = 0; i < document->n_rows; i++)
    if (document->rows[i].p50.rounds > 0)
      add_speed(document, &document->rows[i], &grid);
  print(&grid, "Speed of one core, in bytes of bf16", markdown, out);
}

static void report_stages(const struct codec_document *document, bool markdown, kvi_strbuf *out)
{
  static const char *const titles[] = {"stage", "cycles/element"};
  struct bench_grid grid;

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (size_t i = 0; i < document->n_rows; i++) {
    const struct codec_row *row = &document->rows[i];

    if (strncmp(row->name, "stage-", 6) != 0 && strncmp(row->name, "crc32c-", 7) != 0)
      continue;
    if (strcmp(row->unit, "cycles/element") != 0)
      continue;
    bench_grid_row(&grid);
    bench_grid_set(&grid, 0, "%.*s", (int)(strlen(row->name) - strlen("-cycles")), row->name);
    bench_grid_set(&grid, 1, "%.3f", bench_series_summary(&row->value).median);
  }
  print(&grid, "Stages", markdown, out);
}

static void report_links(const struct codec_document *document, bool markdown, kvi_strbuf *out)
{
  static const char *const titles[] = {"cores to decode at", "smaller", "10 Gbit/s", "25 Gbit/s",
                                       "100 Gbit/s"};
  static const int links[] = {10, 25, 100};
  struct bench_grid grid;

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (size_t i = 0; codec_speed_levels[i] != NULL; i++) {
    char name[CODEC_ROW_NAME_MAX];

    snprintf(name, sizeof name, "cores-%s-10Gbit", codec_speed_levels[i]);
    if (codec_document_row(document, name) == NULL)
      continue;
    bench_grid_row(&grid);
    bench_grid_set(&grid, 0, "%s", codec_speed_levels[i]);
    snprintf(name, sizeof name, "ratio-%s", codec_speed_levels[i]);
    bench_grid_set(&grid, 1, "%.2f", codec_document_value(document, name));
    for (size_t link = 0; link < KVI_ARRAY_SIZE(links); link++) {
      snprintf(name, sizeof name, "cores-%s-%dGbit", codec_speed_levels[i], links[link]);
      bench_grid_set(&grid, 2 + link, "%.1f", codec_document_value(document, name));
    }
  }
  print(&grid, "Cores that keep up with a link", markdown, out);
}

void codec_report(const struct codec_document *document, bool markdown, kvi_strbuf *out)
{
  report_sets(document, markdown, out);
  for (uint32_t set = 0; set < document->n_sets; set++)
    report_set(document, set, markdown, out);
  report_comparisons(document, markdown, out);
  report_speed(document, markdown, out);
  report_stages(document, markdown, out);
  report_links(document, markdown, out);
  if (document->machine.rounds > 0)
    kvi_strbuf_addf(out,
                    "%u rounds of %g s. Others used the machine in some: %u runs repeated, %u left out.\n\n",
                    document->machine.rounds, document->machine.seconds, document->machine.repeated,
                    document->machine.dropped);
  codec_targets_print(document, markdown, out);
}
