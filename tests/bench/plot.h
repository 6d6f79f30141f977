/* tests/bench/plot.h: kvasir-bench plot: a document's ratios as bars, or its rate-distortion curves. */
#ifndef KVASIR_BENCH_PLOT_H
#define KVASIR_BENCH_PLOT_H

/* Reads a document as `kvasir-bench NAME --json` prints it, writes SVG to standard output. Returns the exit status. */
int bench_plot(const char *path);

#endif
