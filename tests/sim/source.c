#include "tests/sim/source.h"

#include <stdlib.h>

kvs_status sim_source_read(struct sim_source *source, struct sim_trace **trace_p,
                           struct sim_runs_found *found_p, struct sim_error *error)
{
  struct sim_trace *trace;

  if (sim_trace_create(source->chunk_tokens, trace_p) != KVS_OK)
    return sim_fail(error, KVS_ERR_NOMEM, "no memory for the trace");
  trace = *trace_p;
  for (int i = 0; i < source->n_paths; i++)
    if (sim_read_path(trace, source->paths[i], source->format, error) != KVS_OK)
      return error->status;
  if (sim_runs_check(trace, source->half != SIM_WHOLE || source->is_load_said, error) != KVS_OK ||
      sim_hints_check(trace, source->hints, error) != KVS_OK)
    return error->status;
  if (!trace->spread && source->is_seeds_said && source->seeds > 1)
    return sim_fail(error, KVS_ERR_INVALID,
                    "the trace says when its requests came, so all seeds are the same: leave --seeds away");
  if (!trace->spread)
    source->seeds = 1;
  source->chunk_tokens = trace->chunk_tokens;
  return sim_runs_choose(trace, source->half, found_p, error);
}

kvs_status sim_source_order(const struct sim_source *source, const struct sim_trace *trace, uint64_t seed,
                            double load, struct sim_schedule **schedule_p, struct sim_told **told_p,
                            struct sim_error *error)
{
  *told_p = NULL;
  if (sim_schedule_create(trace, seed, load, schedule_p, error) != KVS_OK)
    return error->status;
  *told_p = sim_hints_create(trace, *schedule_p, source->hints, seed);
  if (*told_p != NULL)
    return KVS_OK;
  sim_schedule_destroy(*schedule_p);
  *schedule_p = NULL;
  return sim_fail(error, KVS_ERR_NOMEM, "no memory for the hints");
}
