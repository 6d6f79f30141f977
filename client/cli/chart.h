/*
 * client/cli/chart.h: rate-distortion curves as a picture: bits an element to the right, an error upwards in powers of ten.
 *
 * Pure but for the stream; any thread.
 */
#ifndef KVI_CLIENT_CLI_CHART_H
#define KVI_CLIENT_CLI_CHART_H

#include <stddef.h>
#include <stdio.h>

#define KVI_CHART_POINTS_MAX 64u
#define KVI_CHART_WIDTH      640.0 /* of a panel, in pixels */
#define KVI_CHART_HEIGHT     420.0

struct kvi_chart_point {
  double bits, error; /* only those above 0 and finite are drawn */
};

struct kvi_chart_curve {
  const char *name, *colour; /* "#2b6cb0" */
  struct kvi_chart_point points[KVI_CHART_POINTS_MAX];
  size_t n;
  int line; /* joins its points in their order */
};

struct kvi_chart {
  const char *title, *x_title,
      *y_title; /* any text: what XML or gnuplot would read as theirs is escaped, or left out */
  const struct kvi_chart_curve *curves;
  size_t n_curves;
};

/* More points than there is room for are ignored. */
void kvi_chart_add(struct kvi_chart_curve *curve, double bits, double error);

/* A panel as <g> with its corner at x, y, for a picture of several; and a whole picture of one. */
void kvi_chart_panel(FILE *out, const struct kvi_chart *chart, double x, double y);
void kvi_chart_svg(FILE *out, const struct kvi_chart *chart);

/* The same as a script for gnuplot that writes PNG to its standard output. */
void kvi_chart_gnuplot(FILE *out, const struct kvi_chart *chart);

#endif
