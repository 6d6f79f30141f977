#include "tests/bench/codec/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void codec_document_free(struct codec_document *document)
{
  free(document->lines);
  free(document->rows);
  document->lines = NULL;
  document->rows = NULL;
  document->n_lines = 0;
  document->n_rows = 0;
}

/* Room for one more of `size` bytes; false: there is no memory. */
static bool grow(struct codec_document *document, void **items, size_t n, size_t *room, size_t size)
{
  size_t wanted = *room > 0 ? 2 * *room : 128;
  void *grown;

  if (n < *room)
    return true;
  grown = realloc(*items, wanted * size);
  if (grown == NULL) {
    document->failed = true;
    return false;
  }
  *items = grown;
  *room = wanted;
  return true;
}

void codec_document_add(struct codec_document *document, const struct codec_line *line)
{
  void *lines = document->lines;

  if (!grow(document, &lines, document->n_lines, &document->lines_room, sizeof *line))
    return;
  document->lines = lines;
  document->lines[document->n_lines++] = *line;
}

const struct codec_line *codec_document_line(const struct codec_document *document, uint32_t set,
                                             const char *method)
{
  for (size_t i = 0; i < document->n_lines; i++)
    if (document->lines[i].set == set && strcmp(document->lines[i].method.name, method) == 0)
      return &document->lines[i];
  return NULL;
}

const struct codec_row *codec_document_row(const struct codec_document *document, const char *name)
{
  for (size_t i = 0; i < document->n_rows; i++)
    if (strcmp(document->rows[i].name, name) == 0)
      return &document->rows[i];
  return NULL;
}

struct codec_row *codec_document_set(struct codec_document *document, size_t round, double value, bool clean,
                                     const char *unit, const char *name)
{
  struct codec_row *row = NULL;

  for (size_t i = 0; i < document->n_rows && row == NULL; i++)
    if (strcmp(document->rows[i].name, name) == 0)
      row = &document->rows[i];
  if (row == NULL) {
    void *rows = document->rows;

    if (!grow(document, &rows, document->n_rows, &document->rows_room, sizeof *row))
      return NULL;
    document->rows = rows;
    row = &document->rows[document->n_rows++];
    memset(row, 0, sizeof *row);
    snprintf(row->name, sizeof row->name, "%s", name);
    row->unit = unit;
  }
  bench_series_set(&row->value, round, value, clean);
  return row;
}

double codec_document_value(const struct codec_document *document, const char *name)
{
  const struct codec_row *row = codec_document_row(document, name);

  return row != NULL ? bench_series_summary(&row->value).median : 0;
}

void codec_document_settle(struct codec_document *document)
{
  for (size_t i = 0; i < document->n_rows; i++) {
    struct codec_row *row = &document->rows[i];

    row->disturbed = !bench_series_settle(&row->value, &document->machine.dropped);
    document->machine.disturbed += row->disturbed;
    bench_series_settle(&row->p50, NULL);
    bench_series_settle(&row->p99, NULL);
  }
}

/* ---- JSON ---- */

static void add_latency(const struct bench_series *series, const char *name, kvi_strbuf *out)
{
  struct bench_summary summary = bench_series_summary(series);

  if (summary.n == 0)
    kvi_strbuf_addf(out, ",\"%s\":null", name);
  else
    kvi_strbuf_addf(out, ",\"%s\":%.5g", name, summary.median);
}

static void add_ratio(const struct codec_document *document, const struct codec_row *row, kvi_strbuf *out)
{
  const struct codec_row *to = row->to[0] != '\0' ? codec_document_row(document, row->to) : NULL;
  struct bench_summary ratio;

  if (to == NULL)
    return;
  ratio = bench_series_ratio(&row->value, &to->value);
  if (ratio.n > 0)
    kvi_strbuf_addf(out, "{\"to\":\"%s\",\"median\":%.4g,\"min\":%.4g,\"max\":%.4g}", to->name, ratio.median,
                    ratio.min, ratio.max);
}

static void add_row(const struct codec_document *document, const struct codec_row *row, kvi_strbuf *out)
{
  struct bench_summary value = bench_series_summary(&row->value);

  kvi_strbuf_add(out, "{\"name\":");
  kvi_strbuf_add_json(out, row->name);
  kvi_strbuf_addf(out, ",\"unit\":\"%s\",\"median\":%.6g,\"min\":%.6g,\"max\":%.6g", row->unit, value.median,
                  value.min, value.max);
  add_latency(&row->p50, "p50_us", out);
  add_latency(&row->p99, "p99_us", out);
  kvi_strbuf_addf(out, ",\"runs\":%zu,\"ratios\":[", value.n);
  add_ratio(document, row, out);
  kvi_strbuf_add(out, "]}");
}

static void add_point(const struct codec_line *line, kvi_strbuf *out)
{
  const struct codec_error *error = &line->error;

  kvi_strbuf_add(out, "{\"method\":");
  kvi_strbuf_add_json(out, line->method.name);
  kvi_strbuf_addf(out, ",\"curve\":\"%s\",\"bits\":%.5g",
                  line->method.curve != NULL ? line->method.curve : "", line->bits);
  kvi_strbuf_addf(out, ",\"keys\":%.5g,\"values\":%.5g,\"keys_worst\":%.5g,\"values_worst\":%.5g",
                  error->keys, error->values, error->keys_worst, error->values_worst);
  kvi_strbuf_addf(out, ",\"attention\":%.5g,\"divergence\":%.5g,\"top\":%.5g,\"needles\":%.5g,\"exact\":%s}",
                  error->attention, error->divergence, error->top, error->needles,
                  error->exact ? "true" : "false");
}

static void add_set(const struct codec_document *document, uint32_t set, kvi_strbuf *out)
{
  const struct codec_set_line *line = &document->sets[set];
  const char *comma = "";

  kvi_strbuf_add(out, "{\"name\":");
  kvi_strbuf_add_json(out, line->name);
  kvi_strbuf_addf(out, ",\"chunks\":%u,\"layers\":%u,\"tokens\":%u,\"heads\":%u,\"dim\":%u", line->n_chunks,
                  line->n_layers, line->n_tokens, line->n_heads, line->dim);
  kvi_strbuf_addf(
      out,
      ",\"q8_keys\":%.4g,\"q8_values\":%.4g,\"exponent_entropy\":%.4g,\"correlation\":%.4g,\"points\":[\n",
      line->statistics.q8_keys, line->statistics.q8_values, line->statistics.exponent_entropy,
      line->statistics.correlation);
  for (size_t i = 0; i < document->n_lines; i++) {
    if (document->lines[i].set != set)
      continue;
    kvi_strbuf_add(out, comma);
    add_point(&document->lines[i], out);
    comma = ",\n";
  }
  kvi_strbuf_add(out, "]}");
}

void codec_document_json(const struct codec_document *document, kvi_strbuf *out)
{
  kvi_strbuf_add(out, "{\"machine\":");
  bench_machine_json(&document->machine, out);
  kvi_strbuf_add(out, ",\"rows\":[");
  for (size_t i = 0; i < document->n_rows; i++) {
    if (i > 0)
      kvi_strbuf_add(out, ",\n");
    add_row(document, &document->rows[i], out);
  }
  kvi_strbuf_add(out, "],\n\"sets\":[");
  for (uint32_t set = 0; set < document->n_sets; set++) {
    if (set > 0)
      kvi_strbuf_add(out, ",\n");
    add_set(document, set, out);
  }
  kvi_strbuf_add(out, "]}\n");
}
