/*
 * tests/bench/case.h: what is measured, and what its rows are called.
 *
 * A case is one operation of one size over one way. It gives several rows: its value and, with a suffix, its latency
 * and what it costs in processor time:
 *
 *   <way>-<op>-<size>-<shape>[-pin][-defmalloc][-p50|-p99|-first-segment|-cpu-client|-cpu-server|-cpu-both|-read|-index]
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

  /* of `kvasir-bench tier`; the first of them comes first */
  BENCH_FIO,
  BENCH_SSD_NONE, /* by ssd.durability; the plain one is "seal", its default */
  BENCH_SSD,
  BENCH_SSD_PUT,
  BENCH_SSD_DISCARD, /* with ssd.discard */
  BENCH_SSD_FULL,    /* of a full volume: what is alive has to be moved */
  BENCH_REDIS_BENCHMARK,
  BENCH_LMCACHE_RESP, /* LMCache's adapter in C++ */
  BENCH_REDIS_TIER,
  BENCH_MEMCPY_THREADS,
  BENCH_DRAM,
  BENCH_OPEN_SSD,   /* a volume alone */
  BENCH_OPEN_STORE, /* a store over it, with its index */
  BENCH_WAYS
};

enum bench_op {
  BENCH_GET,
  BENCH_PUT,
  BENCH_COPY,
  BENCH_EMPTY_CALL,      /* a round trip with no work */
  BENCH_LOOKUP,          /* of `keys` keys */
  BENCH_READ_YOUR_WRITE, /* does a lookup after an acknowledged put hit? */
  BENCH_WRITE,           /* to a device: one chunk behind the other */
  BENCH_READ,            /* in the order in which it was written */
  BENCH_RANDOM_READ,
  BENCH_OPEN,         /* of a volume that holds many chunks */
  BENCH_FRAGMENTATION /* room that payload cannot have after sizes were mixed for long */
};

enum bench_shape {
  BENCH_D1,      /* one operation of one chunk in flight */
  BENCH_BATCH16, /* 16 operations of one chunk always in flight */
  BENCH_CALL16,  /* one operation of 16 chunks in flight */
  BENCH_D8,      /* operations of one chunk always in flight */
  BENCH_D16,
  BENCH_T4, /* four threads, one operation in flight each */
  BENCH_C4, /* four connections, as many operations in flight */
  BENCH_C8,
  BENCH_C8Q64 /* eight connections, 64 operations in flight */
};

enum bench_kind {
  BENCH_VALUE,
  BENCH_P50,
  BENCH_P99,
  BENCH_FIRST_SEGMENT,
  BENCH_CPU_CLIENT,
  BENCH_CPU_SERVER,
  BENCH_CPU_BOTH,
  BENCH_READ_BYTES,  /* what an opening read */
  BENCH_INDEX_BYTES, /* what an opened store keeps in memory */
  BENCH_KINDS
};

#define BENCH_DEPTH_MAX 64u
#define BENCH_NAME_MAX  96u

struct bench_case {
  enum bench_way_id way;
  enum bench_op op;
  uint64_t size; /* 0: mixed */
  enum bench_shape shape;
  uint32_t keys;  /* of a lookup */
  bool defmalloc; /* the client process keeps its allocator's defaults */
};

struct bench_row_id {
  struct bench_case what;
  bool pin; /* client on one core, server on another */
  enum bench_kind kind;
};

/* Of `kvasir-bench tier`. */
static inline bool bench_way_is_tier(enum bench_way_id way)
{
  return way >= BENCH_FIO;
}
/* A server stands on the other side, so that there are two sides to place. */
bool bench_way_has_server(enum bench_way_id way);

/* Name of a way as it stands in rows; static. */
const char *bench_way_name(enum bench_way_id way);

/* Writes the row's name, cut at BENCH_NAME_MAX. */
void bench_row_name(const struct bench_row_id *id, char name[BENCH_NAME_MAX]);

/* Does the case give such a row? (An empty call moves no bytes, so it has no cost for each GB.) */
bool bench_case_has(const struct bench_case *what, enum bench_kind kind);

/* "GB/s", "us", "s/GB", "keys/s", "%", "s/million", "MB/million", "bytes/chunk"; static. */
const char *bench_row_unit(const struct bench_row_id *id);

/* Operations in flight, chunks of each, segments of each chunk. */
uint32_t bench_case_depth(const struct bench_case *what);
/* Of a way that takes several: one operation each, or more that wait their turn. */
uint32_t bench_case_connections(const struct bench_case *what);
uint32_t bench_case_chunks(const struct bench_case *what);
uint32_t bench_case_segments(const struct bench_case *what);

bool bench_case_equal(const struct bench_case *a, const struct bench_case *b);

/* The rows that a row is compared with: its limit, its peer, its own smaller self. Returns how many (<= room). */
#define BENCH_RATIOS_MAX 6u
size_t bench_row_references(const struct bench_row_id *id, struct bench_row_id *references, size_t room);

#endif
