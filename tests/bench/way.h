/*
 * tests/bench/way.h: one way to move bytes, as ops that a common loop (drive.h) calls, so that every way is measured
 * by the same code.
 *
 * All calls come from one thread of one process, the way's own client process. An error ends the run of the case.
 */
#ifndef KVASIR_BENCH_WAY_H
#define KVASIR_BENCH_WAY_H

#include <stdint.h>
#include <sys/types.h>

#include <kvasir/status.h>

#include "tests/bench/case.h"

#define BENCH_ENDPOINT_MAX 256u

/* Where the servers are, and what else a client needs to know. Empty strings: not there. */
struct bench_servers {
  uint16_t raw_port;
  char raw_socket[BENCH_ENDPOINT_MAX];
  uint16_t redis_port;
  char node_tcp[BENCH_ENDPOINT_MAX];  /* "kvasir://127.0.0.1:7070" */
  char node_unix[BENCH_ENDPOINT_MAX]; /* "unix:/path" */
  pid_t raw_pid, redis_pid, node_pid; /* 0: not ours, so its processor time is not known */

  /* of tiers */
  char files[BENCH_ENDPOINT_MAX];   /* folder for log files and for fio's */
  uint64_t volume_bytes;            /* of each volume */
  uint32_t open_chunks;             /* of the volume that is opened */
  char lmcache[BENCH_ENDPOINT_MAX]; /* the Python that has it */
};

struct bench_way_config {
  enum bench_way_id way;
  const struct bench_servers *servers;
};

/* What reap found. */
struct bench_done {
  uint32_t slot;
  uint64_t bytes;    /* payload moved */
  uint64_t first_ns; /* when the first segment was usable; 0: not asked */
  uint64_t n, hits;  /* keys looked up and found */
};

struct bench_sample;

struct bench_way_ops {
  /* Connects, and maps and touches all memory that it will use. */
  kvs_status (*open)(const struct bench_way_config *config, void **way_p);
  /* Before the clock starts: what a get will read is there and was compared byte by byte; payload for puts is ready. */
  kvs_status (*prepare)(void *way, const struct bench_case *what);
  /* Starts operation number `sequence` in a free slot (< the case's depth). Never skips a write. */
  kvs_status (*issue)(void *way, const struct bench_case *what, uint32_t slot, uint64_t sequence);
  /* In place of issue, reap and verify: does all of a run, fills value, latencies, bytes, and what else it knows. */
  kvs_status (*run)(void *way, const struct bench_case *what, double seconds, struct bench_sample *sample);
  /* Waits for the end of an operation. A result that is not what was asked is an error. */
  kvs_status (*reap)(void *way, const struct bench_case *what, struct bench_done *done_p);
  /* After the clock has stopped: what was put is read back and compared. */
  kvs_status (*verify)(void *way, const struct bench_case *what);
  void (*close)(void *way);
};

extern const struct bench_way_ops bench_way_raw;
extern const struct bench_way_ops bench_way_memcpy;
extern const struct bench_way_ops bench_way_redis; /* KVASIR_BENCH_REDIS */
extern const struct bench_way_ops bench_way_client;
extern const struct bench_way_ops bench_way_embedded;
extern const struct bench_way_ops bench_way_store;
extern const struct bench_way_ops bench_way_fio;
extern const struct bench_way_ops bench_way_medium;          /* SSD and Redis */
extern const struct bench_way_ops bench_way_redis_benchmark; /* KVASIR_BENCH_REDIS */
extern const struct bench_way_ops bench_way_lmcache;
extern const struct bench_way_ops bench_way_dram; /* and memcpy by threads */
extern const struct bench_way_ops bench_way_open;

/* NULL when it was left out of this build. */
const struct bench_way_ops *bench_way_get(enum bench_way_id way);

#endif
