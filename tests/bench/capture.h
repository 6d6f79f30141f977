/* tests/bench/capture.h: other programs that measure: run to their end, for what they print and what they cost. */
#ifndef KVASIR_BENCH_CAPTURE_H
#define KVASIR_BENCH_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

/*
 * Runs argv (argv[0] looked up in PATH, NULL at the end) and keeps the first size - 1 bytes of its standard output, with a NUL. It is killed after timeout_ms.
 * *cpu_p grows by its processor time in seconds. KVS_ERR_SYSTEM: it could not be started or failed, with the reason and what it said on
 * stderr; KVS_ERR_DEADLINE.
 */
kvs_status bench_capture(const char *const *argv, char *output, size_t size, uint32_t timeout_ms,
                         double *cpu_p);

/* Can such a program be started? */
bool bench_program_there(const char *name);

#endif
