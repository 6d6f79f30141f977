/*
 * tests/bench/codec/document.h: what a run of `kvasir-bench codec` gives: rows as every other command has them, and besides
 * what each method cost and gave on each set, from which curves are drawn.
 */
#ifndef KVASIR_BENCH_CODEC_DOCUMENT_H
#define KVASIR_BENCH_CODEC_DOCUMENT_H

#include "base/strbuf.h"
#include "tests/bench/codec/error.h"
#include "tests/bench/codec/method.h"
#include "tests/bench/codec/statistics.h"
#include "tests/bench/document.h"

#define CODEC_ROW_NAME_MAX 192u
#define CODEC_SETS_MAX     32u

/* A method on a set. */
struct codec_line {
  uint32_t set; /* index */
  struct codec_method method;
  double bits, payload; /* for each element */
  struct codec_error error;
};

struct codec_set_line {
  char name[CODEC_NAME_MAX];
  uint32_t n_chunks, n_layers, n_tokens, n_heads, dim;
  struct codec_statistics statistics;
};

struct codec_row {
  char name[CODEC_ROW_NAME_MAX];
  const char *unit;
  struct bench_series value, p50, p99; /* p50 and p99 in us; without rounds: none */
  char to[CODEC_ROW_NAME_MAX];         /* the row that it is compared with, or "" */
  bool disturbed;
};

struct codec_document {
  struct bench_machine machine;
  struct codec_set_line sets[CODEC_SETS_MAX];
  uint32_t n_sets;
  struct codec_line *lines;
  size_t n_lines, lines_room;
  struct codec_row *rows;
  size_t n_rows, rows_room;
  bool failed; /* memory ran out: rows are missing */
};

void codec_document_free(struct codec_document *document);

/* Adds a line. */
void codec_document_add(struct codec_document *document, const struct codec_line *line);

/* The line of a set's method; NULL: not measured. */
const struct codec_line *codec_document_line(const struct codec_document *document, uint32_t set,
                                             const char *method);

/* Sets a value of the row of that name, which is made if it is new. to may be NULL. */
struct codec_row *codec_document_set(struct codec_document *document, size_t round, double value, bool clean,
                                     const char *unit, const char *name);

const struct codec_row *codec_document_row(const struct codec_document *document, const char *name);

/* The median of a row; 0: there is none. */
double codec_document_value(const struct codec_document *document, const char *name);

/* After the last round: decides which runs count. */
void codec_document_settle(struct codec_document *document);

void codec_document_json(const struct codec_document *document, kvi_strbuf *out);

#endif
