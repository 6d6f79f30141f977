/* tests/bench/affinity.h: which core runs what. Round trips on one core look 2.5 times faster than on two. */
#ifndef KVASIR_BENCH_AFFINITY_H
#define KVASIR_BENCH_AFFINITY_H

#include <stdbool.h>

#define BENCH_CORE_ANY    (-1)
#define BENCH_CORE_CLIENT 0
#define BENCH_CORE_SERVER 1

/* Cores that this process may use. */
int bench_cores(void);

/*
 * Puts the calling thread, and what it starts from now on, on the core-th of the cores this process may use.
 * BENCH_CORE_ANY changes nothing. False when there is no such core.
 */
bool bench_run_on(int core);

#endif
