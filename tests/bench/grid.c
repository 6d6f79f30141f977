#include "tests/bench/grid.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_grid_init(struct bench_grid *grid, const char *const *titles, size_t columns)
{
  memset(grid, 0, sizeof *grid);
  grid->columns = columns;
  bench_grid_row(grid);
  for (size_t i = 0; i < columns; i++)
    bench_grid_set(grid, i, "%s", titles[i]);
}

void bench_grid_free(struct bench_grid *grid)
{
  free(grid->cells);
  grid->cells = NULL;
}

void bench_grid_row(struct bench_grid *grid)
{
  if (grid->n == grid->room) {
    size_t room = grid->room > 0 ? 2 * grid->room : 64;
    void *cells = realloc(grid->cells, room * sizeof *grid->cells);

    if (cells == NULL) {
      grid->failed = true;
      return;
    }
    grid->cells = cells;
    grid->room = room;
  }
  memset(grid->cells[grid->n++], 0, sizeof *grid->cells);
}

void bench_grid_set(struct bench_grid *grid, size_t column, const char *format, ...)
{
  va_list arguments;

  if (grid->failed || grid->n == 0)
    return;
  va_start(arguments, format);
  vsnprintf(grid->cells[grid->n - 1][column], BENCH_CELL_MAX, format, arguments);
  va_end(arguments);
}

static size_t width_of(const struct bench_grid *grid, size_t column)
{
  size_t width = 0;

  for (size_t i = 0; i < grid->n; i++) {
    size_t length = strlen(grid->cells[i][column]);

    width = length > width ? length : width;
  }
  return width;
}

static void rule(const struct bench_grid *grid, kvi_strbuf *out)
{
  for (size_t i = 0; i < grid->columns; i++)
    kvi_strbuf_add(out, i == 0 ? "|---" : "|---:");
  kvi_strbuf_add(out, "|\n");
}

void bench_grid_print(const struct bench_grid *grid, bool markdown, kvi_strbuf *out)
{
  int widths[BENCH_COLUMNS_MAX];

  for (size_t i = 0; i < grid->columns; i++)
    widths[i] = markdown ? 0 : (int)width_of(grid, i);
  for (size_t row = 0; row < grid->n; row++) {
    for (size_t i = 0; i < grid->columns; i++) {
      kvi_strbuf_add(out, markdown ? "| " : i > 0 ? "  " : "");
      kvi_strbuf_addf(out, i == 0 ? "%-*s" : "%*s", widths[i], grid->cells[row][i]);
      kvi_strbuf_add(out, markdown ? " " : "");
    }
    kvi_strbuf_add(out, markdown ? "|\n" : "\n");
    if (row == 0 && markdown)
      rule(grid, out);
  }
}
