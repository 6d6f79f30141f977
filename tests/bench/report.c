#include "tests/bench/report.h"

#include <string.h>

#include "base/array.h"
#include "tests/bench/grid.h"
#include "tests/bench/targets.h"

/* Latencies and costs of a case stand beside its value; all else is a line of its own. */
static bool is_line(const struct bench_row *row)
{
  return row->id.kind == BENCH_VALUE || row->id.kind == BENCH_FIRST_SEGMENT ||
         row->id.kind == BENCH_READ_BYTES || row->id.kind == BENCH_INDEX_BYTES;
}

/* Which column a ratio stands in: Redis, or LMCache where Redis is the limit; a tier's cheaper self. */
static bool is_peer(const struct bench_row_id *id, const struct bench_row_id *reference)
{
  if (!bench_way_is_tier(id->what.way))
    return reference->what.way == BENCH_REDIS;
  return reference->what.way == BENCH_LMCACHE_RESP || reference->what.way == BENCH_SSD_NONE ||
         reference->what.way == BENCH_SSD;
}

/* The first of the row's ratios to a way of the given kind. */
static void set_ratio(const struct bench_document *document, const struct bench_row *row, bool peer,
                      struct bench_grid *grid, size_t column)
{
  struct bench_row_id references[BENCH_RATIOS_MAX];
  size_t n = bench_row_references(&row->id, references, BENCH_RATIOS_MAX);
  char name[BENCH_NAME_MAX];

  for (size_t i = 0; i < n; i++) {
    struct bench_summary ratio;

    if (is_peer(&row->id, &references[i]) != peer)
      continue;
    bench_row_name(&references[i], name);
    ratio = bench_document_ratio(document, row, name);
    if (ratio.n == 0)
      continue;
    bench_grid_set(grid, column, "%.2f", ratio.median);
    return;
  }
}

static void set_cost(const struct bench_document *document, const struct bench_row *row,
                     struct bench_grid *grid, size_t column)
{
  struct bench_row_id id = row->id;
  char name[BENCH_NAME_MAX];
  const struct bench_row *cost;

  if (row->id.kind != BENCH_VALUE)
    return;
  id.kind = bench_case_has(&id.what, BENCH_CPU_BOTH) ? BENCH_CPU_BOTH : BENCH_CPU_CLIENT;
  bench_row_name(&id, name);
  cost = bench_document_find(document, name);
  if (cost != NULL)
    bench_grid_set(grid, column, "%.2f", bench_series_summary(&cost->value).median);
}

static void set_latency(const struct bench_series *series, struct bench_grid *grid, size_t column)
{
  struct bench_summary summary = bench_series_summary(series);

  if (summary.n > 0)
    bench_grid_set(grid, column, "%.0f", summary.median);
}

static void add_line(const struct bench_document *document, const struct bench_row *row,
                     struct bench_grid *grid)
{
  static const char *const verdicts[] = {"", "pass", "MISS"};
  struct bench_summary value = bench_series_summary(&row->value);

  bench_grid_row(grid);
  bench_grid_set(grid, 0, "%s", row->name);
  bench_grid_set(grid, 1, "%s%.4g", row->disturbed ? "~" : "", value.median);
  bench_grid_set(grid, 2, "%.4g-%.4g", value.min, value.max);
  bench_grid_set(grid, 3, "%s", bench_row_unit(&row->id));
  set_latency(&row->p50, grid, 4);
  set_latency(&row->p99, grid, 5);
  set_ratio(document, row, false, grid, 6);
  set_ratio(document, row, true, grid, 7);
  set_cost(document, row, grid, 8);
  bench_grid_set(grid, 9, "%s", verdicts[bench_targets_of(document, row->name)]);
}

static void add_conditions(const struct bench_machine *machine, kvi_strbuf *out)
{
  kvi_strbuf_addf(
      out, "\n%u rounds of %g s. Others used the machine in some runs: %u were repeated, %u left out.\n",
      machine->rounds, machine->seconds, machine->repeated, machine->dropped);
  if (machine->disturbed > 0)
    kvi_strbuf_addf(out, "Rows with ~ (%u) were disturbed most of the time: conclude nothing from them.\n",
                    machine->disturbed);
  kvi_strbuf_add(out, "\n");
}

void bench_report(const struct bench_document *document, bool markdown, kvi_strbuf *out)
{
  bool tiers = document->n_rows > 0 && bench_way_is_tier(document->rows[0].id.what.way);
  const char *titles[] = {"row",    "median",  "min-max", "unit",     "p50 us",
                          "p99 us", "/ limit", "/ redis", "CPU s/GB", "targets"};
  struct bench_grid grid;

  if (tiers) {
    titles[6] = "/ peer";
    titles[7] = "/ other";
  }

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (size_t i = 0; i < document->n_rows; i++)
    if (is_line(&document->rows[i]))
      add_line(document, &document->rows[i], &grid);
  bench_grid_print(&grid, markdown, out);
  bench_grid_free(&grid);
  add_conditions(&document->machine, out);
  bench_targets_print(document, markdown, out);
}
