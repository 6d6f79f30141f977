/* tests/bench/codec/plot.h: rate-distortion curves of a document of `kvasir-bench codec --json` as SVG. */
#ifndef KVASIR_BENCH_CODEC_PLOT_H
#define KVASIR_BENCH_CODEC_PLOT_H

#include <cjson/cJSON.h>

/* sets: the document's member of that name. Writes to standard output. */
void codec_plot(const cJSON *sets);

#endif
