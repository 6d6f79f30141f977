/* tests/bench/grid.h: a small table of text, printed aligned for people or as Markdown. */
#ifndef KVASIR_BENCH_GRID_H
#define KVASIR_BENCH_GRID_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

#define BENCH_COLUMNS_MAX 12u
#define BENCH_CELL_MAX    96u

struct bench_grid {
  size_t columns, n, room;
  char (*cells)[BENCH_COLUMNS_MAX][BENCH_CELL_MAX];
  bool failed; /* memory ran out: rows are missing */
};

void bench_grid_init(struct bench_grid *grid, const char *const *titles, size_t columns);
void bench_grid_free(struct bench_grid *grid);

/* Starts a row of empty cells; bench_grid_set fills one of the last row. */
void bench_grid_row(struct bench_grid *grid);
void bench_grid_set(struct bench_grid *grid, size_t column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first column is left-aligned, the others right. */
void bench_grid_print(const struct bench_grid *grid, bool markdown, kvi_strbuf *out);

#endif
