/* tests/bench/codec/report.h: the document for people. */
#ifndef KVASIR_BENCH_CODEC_REPORT_H
#define KVASIR_BENCH_CODEC_REPORT_H

#include "tests/bench/codec/document.h"

/* The sets, what each method costs and gives on them, comparisons, speeds, and the targets. */
void codec_report(const struct codec_document *document, bool markdown, kvi_strbuf *out);

#endif
