/* client/cli/codec_plot.h: a chart into a file. */
#ifndef KVI_CLIENT_CLI_CODEC_PLOT_H
#define KVI_CLIENT_CLI_CODEC_PLOT_H

#include <stdbool.h>

#include "client/cli/chart.h"

/* Whether a name ends in .svg or .png. */
bool cli_codec_can_plot(const char *path);

/* Writes it, whole or not at all: SVG, or PNG by gnuplot, which is waited for. CLI_OK or CLI_ERROR (told). */
int cli_codec_plot(const char *path, const struct kvi_chart *chart);

#endif
