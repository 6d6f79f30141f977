/*
 * tests/bench/load.h: processor time of our processes and of everybody else's.
 *
 * A run during which others took a share of a core is not a measurement of us. What is ours is read from each
 * process's own clock; what others took is the rest of the time in which the machine was not idle.
 */
#ifndef KVASIR_BENCH_LOAD_H
#define KVASIR_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Share of a core taken by others above which a run is repeated, and in the end left out. */
#define BENCH_DISTURBED 0.06

/* User and system time of all threads of a process, in seconds; 0 when it is gone. */
double bench_process_cpu(pid_t pid);

/*
 * Of all threads of the kernel, in seconds: on a device they work for whoever reads and writes. 0 when /proc does not tell.
 */
double bench_kernel_cpu(void);

struct bench_load {
  uint64_t at_ns;
  double idle; /* core-seconds in which no process ran, since boot */
};

/* False when /proc/stat cannot be read: then nothing is known about others. */
bool bench_load_read(struct bench_load *load);

/* Cores taken by others between two readings, `ours` core-seconds being our own; not below 0. */
double bench_load_of_others(const struct bench_load *from, const struct bench_load *to, double ours);

#endif
