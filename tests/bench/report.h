/* tests/bench/report.h: a document for people. */
#ifndef KVASIR_BENCH_REPORT_H
#define KVASIR_BENCH_REPORT_H

#include "tests/bench/document.h"

/* The rows with their ratios, then the targets. */
void bench_report(const struct bench_document *document, bool markdown, kvi_strbuf *out);

#endif
