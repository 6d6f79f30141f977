/* tests/sim/queue_trace.h: runs of a trace as programs of the queueing mode. */
#ifndef KVASIR_SIM_QUEUE_TRACE_H
#define KVASIR_SIM_QUEUE_TRACE_H

#include "client/traces/hints.h"
#include "tests/sim/queue_work.h"

/* So many programs are in it: runs, or requests where no runs are told. */
uint32_t sim_queue_trace_programs(const struct sim_trace *trace, const struct sim_schedule *schedule);

/*
 * The first n of them to arrive. A run's requests are its turns, in the order of the trace: each comes as long after the answer before as it did there, and at once if it did not wait for that, sub-agents'
 * requests too. A turn's chain is its prompt's chunks, and for its answer those of its program's next prompt that goes on from both, else chunks that nobody asks for. told: by event.
 * What is told of runs counts where the trace tells runs. KVS_ERR_NOMEM; KVS_ERR_TOO_LARGE: 2^31 chunks.
 */
kvs_status sim_queue_work_of_trace(const struct sim_trace *trace, const struct sim_schedule *schedule,
                                   const struct sim_told *told, uint32_t n, struct sim_queue_work **work_p);

#endif
