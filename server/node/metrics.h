/*
 * server/node/metrics.h: samples as Prometheus' text exposition format 0.0.4.
 *
 * Samples come from several parts of the node in any order; the writer groups those of one name, as the
 * format demands, with HELP and TYPE once.
 */
#ifndef KVI_NODE_METRICS_H
#define KVI_NODE_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

#define KVI_METRICS_MAX 1024u /* 300 of tenants, if there are many */

struct kvi_metric {
  const char *name;   /* [a-z_:][a-z0-9_:]*; a counter's ends in _total */
  const char *help;   /* one sentence */
  const char *labels; /* a="b",c="d" already escaped, or "" */
  bool counter;       /* else a gauge */
  double value;
};

/* A list with a bound. What does not fit, or has no proper name, is counted in dropped. Strings are not
 * copied. */
struct kvi_metrics {
  struct kvi_metric samples[KVI_METRICS_MAX];
  size_t count;
  size_t dropped;
};

void kvi_metrics_add(struct kvi_metrics *metrics, bool counter, const char *name, const char *labels,
                     double value, const char *help);
#define kvi_metrics_gauge(metrics, name, value, help)                                                        \
  kvi_metrics_add(metrics, false, name, "", (double)(value), help)
#define kvi_metrics_counter(metrics, name, value, help)                                                      \
  kvi_metrics_add(metrics, true, name, "", (double)(value), help)

void kvi_metrics_write(const struct kvi_metrics *metrics, kvi_strbuf *out);

#endif
