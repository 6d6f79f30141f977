/*
 * tests/bench/worker.h: the client process of one way. Each way has its own, so that threads, allocators and caches of
 * one do not meet those of another, and so that its processor time is its own. Workers are forked by the one thread of
 * the bench, before any library has started a thread, and wait for orders on a socket.
 */
#ifndef KVASIR_BENCH_WORKER_H
#define KVASIR_BENCH_WORKER_H

#include "tests/bench/drive.h"

struct bench_worker {
  enum bench_way_id way;
  bool defmalloc;
  pid_t pid; /* 0: not started */
  int fd;
};

/*
 * Starts the way's process on `core` with the way's memory touched and its connection made. False, with the reason on
 * stderr, when that fails.
 */
bool bench_worker_start(enum bench_way_id way, bool defmalloc, const struct bench_servers *servers, int core,
                        struct bench_worker *worker);
void bench_worker_stop(struct bench_worker *worker); /* a zeroed one is fine */

/* Outside of the clock: working set there, memory filled, a few operations done. */
kvs_status bench_worker_prepare(struct bench_worker *worker, const struct bench_case *what);
/* One measured run, then a check of what was written. KVS_ERR_UNREACHABLE: the worker has died. */
kvs_status bench_worker_run(struct bench_worker *worker, const struct bench_case *what, double seconds,
                            struct bench_sample *sample_p);

#endif
