/* metrics.c: the writer of Prometheus' text format. */
#include "server/node/metrics.h"

#include <math.h>
#include <string.h>

#define EXACT_MAX 9007199254740992.0 /* 2^53: whole numbers up to here are exact */

static bool is_name(const char *name, bool counter)
{
  size_t length = strlen(name);

  if (length == 0 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_:") != length)
    return false;
  if (name[0] >= '0' && name[0] <= '9')
    return false;
  bool total = length > 6 && strcmp(name + length - 6, "_total") == 0;
  return total == counter;
}

void kvi_metrics_add(struct kvi_metrics *metrics, bool counter, const char *name, const char *labels,
                     double value, const char *help)
{
  if (metrics->count == KVI_METRICS_MAX || name == NULL || !is_name(name, counter)) {
    metrics->dropped++;
    return;
  }
  metrics->samples[metrics->count++] = (struct kvi_metric){.name = name,
                                                           .help = help == NULL ? "" : help,
                                                           .labels = labels == NULL ? "" : labels,
                                                           .counter = counter,
                                                           .value = value};
}

static void write_help(kvi_strbuf *out, const char *help)
{
  for (; *help != '\0'; help++) {
    if (*help == '\n')
      kvi_strbuf_add(out, "\\n");
    else if (*help == '\\')
      kvi_strbuf_add(out, "\\\\");
    else
      kvi_strbuf_add_bytes(out, help, 1);
  }
}

static void write_value(kvi_strbuf *out, double value)
{
  if (isnan(value))
    kvi_strbuf_add(out, "NaN");
  else if (isinf(value))
    kvi_strbuf_add(out, value > 0 ? "+Inf" : "-Inf");
  else if (value == floor(value) && fabs(value) <= EXACT_MAX)
    kvi_strbuf_addf(out, "%.0f", value);
  else
    kvi_strbuf_addf(out, "%.17g", value);
}

static void write_sample(kvi_strbuf *out, const struct kvi_metric *sample)
{
  kvi_strbuf_add(out, sample->name);
  if (sample->labels[0] != '\0')
    kvi_strbuf_addf(out, "{%s}", sample->labels);
  kvi_strbuf_add(out, " ");
  write_value(out, sample->value);
  kvi_strbuf_add(out, "\n");
}

static bool seen_before(const struct kvi_metrics *metrics, size_t index)
{
  for (size_t i = 0; i < index; i++)
    if (strcmp(metrics->samples[i].name, metrics->samples[index].name) == 0)
      return true;
  return false;
}

/* Quadratic in a few hundred samples, a few times a minute: not worth a table. */
void kvi_metrics_write(const struct kvi_metrics *metrics, kvi_strbuf *out)
{
  for (size_t i = 0; i < metrics->count; i++) {
    const struct kvi_metric *first = &metrics->samples[i];

    if (seen_before(metrics, i))
      continue;
    kvi_strbuf_addf(out, "# HELP %s ", first->name);
    write_help(out, first->help);
    kvi_strbuf_addf(out, "\n# TYPE %s %s\n", first->name, first->counter ? "counter" : "gauge");
    for (size_t j = i; j < metrics->count; j++)
      if (strcmp(metrics->samples[j].name, first->name) == 0)
        write_sample(out, &metrics->samples[j]);
  }
}
