/* tests/sim/queue_trace.h: runs of a trace as programs of the queueing mode. */
#ifndef KVASIR_SIM_QUEUE_TRACE_H
#define KVASIR_SIM_QUEUE_TRACE_H

#include "client/traces/hints.h"
#include "tests/sim/queue_work.h"

/*
 * The first n of them to arrive. A run's requests are its turns, in the order of the trace: each comes as long after the answer before as it did there, and at once if it did not wait for that, sub-agents'
 * requests too. A turn's chain is its prompt's chunks, and for its answer those of its program's next prompt that goes on from both, else chunks that nobody asks for. told: by event.
 * What is told of runs counts where the trace tells runs. KVS_ERR_TOO_LARGE, before there is room for chains: a context does not fit into the pool, or there are 2^31 chunks. KVS_ERR_NOMEM. The error is set in any
 * case.
 */
kvs_status sim_queue_work_of_trace(const struct sim_trace *trace, const struct sim_schedule *schedule,
                                   const struct sim_told *told, uint32_t n, uint32_t pool_tokens,
                                   struct sim_queue_work **work_p, struct sim_error *error);

#endif
