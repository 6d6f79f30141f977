/* tests/bench/codec/targets.h: what the codec wants to reach. Told beside the numbers, never asserted. */
#ifndef KVASIR_BENCH_CODEC_TARGETS_H
#define KVASIR_BENCH_CODEC_TARGETS_H

#include "tests/bench/codec/document.h"

/* Those of which something was measured; for each set where a target is of sets. */
void codec_targets_print(const struct codec_document *document, bool markdown, kvi_strbuf *out);

#endif
