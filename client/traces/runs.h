/* client/traces/runs.h: which runs are the same one, and which are nearly. */
#ifndef KVASIR_CLIENT_TRACES_RUNS_H
#define KVASIR_CLIENT_TRACES_RUNS_H

#include "client/traces/trace.h"

#define SIM_COMPARED_MAX 16384u /* runs, since each is compared with each */

enum sim_half { SIM_WHOLE, SIM_TUNE, SIM_REPORT };

struct sim_runs_found {
  uint32_t duplicates; /* left out */
  uint32_t groups;     /* of the runs that stay; most hold one */
};

/* Where is_asked for a half of the runs, or for their load: KVS_ERR_INVALID if their trace says when they came, since neither would have an effect. */
kvs_status sim_runs_check(const struct sim_trace *trace, bool is_asked, struct sim_error *error);

/*
 * Leaves out runs that are the same as an earlier one in all lengths and times, and gives those that are nearly the same one group: of the pairs (input length,
 * output length) of the shorter at least half are the other's too. (Block ids are of no use for it: they are local to a run.) Then leaves out the groups of the other half;
 * a group is of one half as a whole, by its number in a sequence that is the same each time. O(runs squared).
 * Only for traces whose runs have no time of their own; others are left as they are. KVS_ERR_TOO_LARGE, KVS_ERR_NOMEM.
 */
kvs_status sim_runs_choose(struct sim_trace *trace, enum sim_half half, struct sim_runs_found *found_p,
                           struct sim_error *error);

#endif
