/*
 * tests/bench/targets.h: what Kvasir wants to reach, in one table. Told beside the numbers, never asserted: a number
 * depends on the machine, and on who else uses it.
 */
#ifndef KVASIR_BENCH_TARGETS_H
#define KVASIR_BENCH_TARGETS_H

#include "tests/bench/document.h"
#include "tests/bench/grid.h"

enum bench_verdict { BENCH_UNKNOWN, BENCH_PASS, BENCH_MISS };

/* Of a row: BENCH_MISS if any of its targets is missed, BENCH_UNKNOWN if it has none. */
enum bench_verdict bench_targets_of(const struct bench_document *document, const char *row);

/* All targets with what was measured, pinned and not; where both were measured the pinned one decides. */
void bench_targets_print(const struct bench_document *document, bool markdown, kvi_strbuf *out);

#endif
