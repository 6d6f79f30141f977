/* tests/bench/drive.h: the loop that keeps operations in flight and looks at the clock. */
#ifndef KVASIR_BENCH_DRIVE_H
#define KVASIR_BENCH_DRIVE_H

#include "tests/bench/way.h"

/* One run of one case. */
struct bench_sample {
  double value; /* in the unit of the row */
  double p50_us, p99_us, first_us;
  double cpu_client, cpu_server;  /* seconds for each GB; server: -1 when not known */
  double cpu_seconds;             /* of the client, whole */
  double cpu_children;            /* seconds of programs that it ran, which have ended */
  double read_bytes, index_bytes; /* of each chunk; an opening's */
  uint64_t operations, bytes;
};

/* Latencies of one run; made once, so that measuring allocates nothing. */
struct bench_latencies {
  uint32_t *all, *first; /* nanoseconds */
  size_t room, n_all, n_first;
};

kvs_status bench_latencies_open(struct bench_latencies *latencies);
void bench_latencies_close(struct bench_latencies *latencies);

/*
 * Issues for `seconds`, reaps what is in flight, and says what it took. Every operation counts, over the time from the
 * first issue to the last end. server_pid 0: not known. At least one operation is done.
 */
kvs_status bench_drive(const struct bench_way_ops *ops, void *way, const struct bench_case *what,
                       double seconds, pid_t server_pid, struct bench_latencies *latencies,
                       struct bench_sample *sample_p);

/* The same for a way that does a whole run itself (ops->run). */
kvs_status bench_run(const struct bench_way_ops *ops, void *way, const struct bench_case *what,
                     double seconds, pid_t server_pid, struct bench_sample *sample_p);

#endif
