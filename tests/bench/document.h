/*
 * tests/bench/document.h: what a run gives, as rows with a value for each round, and as the JSON document that every
 * `kvasir-bench NAME --json` prints.
 */
#ifndef KVASIR_BENCH_DOCUMENT_H
#define KVASIR_BENCH_DOCUMENT_H

#include "base/strbuf.h"
#include "tests/bench/drive.h"
#include "tests/bench/stats.h"

struct bench_row {
  struct bench_row_id id;
  char name[BENCH_NAME_MAX];
  struct bench_series value, p50, p99; /* p50 and p99 in us */
  bool disturbed;                      /* fewer than half of its runs were not: all of them count */
};

/* How the run was made, for whoever reads its numbers later. */
struct bench_machine {
  double seconds;
  uint32_t rounds;
  uint32_t repeated;    /* runs made again, since others took more than 6 % of a core meanwhile */
  uint32_t dropped;     /* runs left out, since that was so each time */
  uint32_t disturbed;   /* cases most of whose runs would have to be left out, so that none was */
  double others_median; /* cores taken by others during the runs that count */
};

struct bench_document {
  struct bench_machine machine;
  struct bench_row *rows;
  size_t n_rows, room;
};

void bench_document_free(struct bench_document *document);

/* Adds a case's sample of a round to its rows. clean false: others disturbed it. KVS_ERR_NOMEM. */
kvs_status bench_document_add(struct bench_document *document, const struct bench_case *what, bool pin,
                              size_t round, const struct bench_sample *sample, bool clean);

/* After the last sample: decides which runs count. */
void bench_document_settle(struct bench_document *document);

/* The row of that name; NULL: there is none. */
const struct bench_row *bench_document_find(const struct bench_document *document, const char *name);

/* Ratio of two rows, formed round by round; n 0 when one of them is not there. */
struct bench_summary bench_document_ratio(const struct bench_document *document, const struct bench_row *row,
                                          const char *to);

/* The machine and how the run was made, as each document has it. */
void bench_machine_json(const struct bench_machine *machine, kvi_strbuf *out);

void bench_document_json(const struct bench_document *document, kvi_strbuf *out);

#endif
