/* client/cli/curve_plot.h: hit rates over the size of memory, as a picture. */
#ifndef KVI_CLIENT_CLI_CURVE_PLOT_H
#define KVI_CLIENT_CLI_CURVE_PLOT_H

#include "client/cli/cli.h"

#define CLI_CURVE_POINTS_MAX 32u

struct cli_curve_point {
  double bytes, factor; /* above 0 */
  double lru, belady;   /* parts, finite */
  double lru_error, belady_error;
};

struct cli_curve {
  double capacity, memory; /* of the node: bytes, and the part that it had; NAN: not known */
  struct cli_curve_point points[CLI_CURVE_POINTS_MAX];
  size_t n;
  bool enough; /* to go by */
};

/* Whether a name ends in .svg. */
bool cli_curve_can_plot(const char *path);

/* Writes it, whole or not at all. CLI_OK or CLI_ERROR (told). */
int cli_curve_plot(const char *path, const struct cli_curve *curve);

#endif
