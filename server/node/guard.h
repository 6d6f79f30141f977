/*
 * server/node/guard.h: ends the process when a phase that must not be waited for is interrupted or takes too
 * long: a start that touches much memory, and a drain that hangs. A node in memory has nothing to lose by
 * ending at once.
 */
#ifndef KVI_NODE_GUARD_H
#define KVI_NODE_GUARD_H

#include <stdint.h>

#include <kvasir/status.h>

#include "base/thread.h"

#define KVI_GUARD_NO_LIMIT UINT64_MAX

struct kvi_guard {
  kvi_thread thread;
  uint64_t limit_ms;
  int exit_code;
  const char *phase; /* "start", "drain": for the log */
};

/*
 * Until kvi_guard_stop: SIGTERM or SIGINT, or limit_ms going by, logs one line and ends the process with
 * exit_code. All three signals used (SIGTERM, SIGINT, SIGUSR1) must be blocked in every thread.
 */
kvs_status kvi_guard_start(struct kvi_guard *guard, const char *phase, uint64_t limit_ms, int exit_code);
/* Does nothing if it was not started. A signal that comes after it waits for the process as before. */
void kvi_guard_stop(struct kvi_guard *guard);

#endif
