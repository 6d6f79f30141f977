/* tests/bench/options.h: what the commands of kvasir-bench have in common: options, and how results are printed. */
#ifndef KVASIR_BENCH_OPTIONS_H
#define KVASIR_BENCH_OPTIONS_H

#include "tests/bench/document.h"
#include "tests/bench/plan.h"

/* False: it is no such number, or out of bounds. */
bool bench_take_rounds(const char *text, uint32_t *rounds_p);
bool bench_take_seconds(const char *text, double *seconds_p);

/* The names of all rows of the plan, without and with "-pin" as asked for. */
void bench_list_rows(const struct bench_plan *plan, bool pinned, bool unpinned);

/* The document as JSON, or as tables. Returns the exit status. */
int bench_print(const struct bench_document *document, bool json, bool markdown);

#endif
