/*
 * tests/bench/case.h: what is measured, and what its rows are called.
 *
 * A case is one operation of one size over one way. It gives several rows: its value and, with a suffix, its latency
 * and what it costs in processor time:
 *
 *   <way>-<op>-<size>-<d1|batch16|call16>[-pin][-defmalloc][-p50|-p99|-first-segment|-cpu-client|-cpu-server|-cpu-both]
 */
#ifndef KVASIR_BENCH_CASE_H
#define KVASIR_BENCH_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_way_id {
  BENCH_RAW_TCP,
  BENCH_RAW_UNIX,
  BENCH_MEMCPY,
  BENCH_REDIS,
  BENCH_GRPC_TCP,
  BENCH_GRPC_UNIX,
  BENCH_EMBEDDED,
  BENCH_STORE, /* the index, called directly */
  BENCH_WAYS
};

enum bench_op {
  BENCH_GET,
  BENCH_PUT,
  BENCH_COPY,
  BENCH_EMPTY_CALL,     /* a round trip with no work */
  BENCH_LOOKUP,         /* of `keys` keys */
  BENCH_READ_YOUR_WRITE /* does a lookup after an acknowledged put hit? */
};

enum bench_shape {
  BENCH_D1,      /* one operation of one chunk in flight */
  BENCH_BATCH16, /* 16 operations of one chunk always in flight */
  BENCH_CALL16   /* one operation of 16 chunks in flight */
};

enum bench_kind {
  BENCH_VALUE,
  BENCH_P50,
  BENCH_P99,
  BENCH_FIRST_SEGMENT,
  BENCH_CPU_CLIENT,
  BENCH_CPU_SERVER,
  BENCH_CPU_BOTH,
  BENCH_KINDS
};

#define BENCH_DEPTH_MAX 16u
#define BENCH_NAME_MAX  96u

struct bench_case {
  enum bench_way_id way;
  enum bench_op op;
  uint64_t size;
  enum bench_shape shape;
  uint32_t keys;  /* of a lookup */
  bool defmalloc; /* the client process keeps its allocator's defaults */
};

struct bench_row_id {
  struct bench_case what;
  bool pin; /* client on one core, server on another */
  enum bench_kind kind;
};

/* Name of a way as it stands in rows; static. */
const char *bench_way_name(enum bench_way_id way);

/* Writes the row's name, cut at BENCH_NAME_MAX. */
void bench_row_name(const struct bench_row_id *id, char name[BENCH_NAME_MAX]);

/* Does the case give such a row? (An empty call moves no bytes, so it has no cost for each GB.) */
bool bench_case_has(const struct bench_case *what, enum bench_kind kind);

/* "GB/s", "us", "s/GB", "keys/s", "%"; static. */
const char *bench_row_unit(const struct bench_row_id *id);

/* Operations in flight, chunks of each, segments of each chunk. */
uint32_t bench_case_depth(const struct bench_case *what);
uint32_t bench_case_chunks(const struct bench_case *what);
uint32_t bench_case_segments(const struct bench_case *what);

bool bench_case_equal(const struct bench_case *a, const struct bench_case *b);

/* The rows that a row is compared with: its limit, its peer, its own smaller self. Returns how many (<= room). */
#define BENCH_RATIOS_MAX 6u
size_t bench_row_references(const struct bench_row_id *id, struct bench_row_id *references, size_t room);

#endif
