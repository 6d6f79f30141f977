/* client/traces/schedule.h: when each request comes, and when each of its chunks is needed next. */
#ifndef KVASIR_CLIENT_TRACES_SCHEDULE_H
#define KVASIR_CLIENT_TRACES_SCHEDULE_H

#include "client/traces/trace.h"

#define SIM_STARTS_PER_HOUR                                                                                  \
  (692.0 / 24) /* of runs at load 1: all runs of the published collection within a day */

struct sim_event {
  uint64_t at_ns;
  uint32_t request;
};

struct sim_schedule {
  struct sim_event *events; /* by time; at one time by number */
  uint32_t n;
  uint32_t
      *next; /* as trace->refs: the event that needs the chunk next after this one; SIM_NONE: none does */
  uint32_t *after; /* by event: the next one of its run; SIM_NONE: it is the last */
  uint64_t
      open_tokens; /* the open working set: mean over the requests of the summed largest contexts of runs that are open then */
};

/*
 * Runs without a time of their own start independently and uniformly within (their number / (load * SIM_STARTS_PER_HOUR)) hours, by the seed. load: above 0.
 * Runs that are left out are not in it. KVS_ERR_NOMEM, KVS_ERR_TOO_LARGE (2^31 requests), KVS_ERR_INVALID (nothing is left, or one comes after SIM_TIME_MAX_US).
 */
kvs_status sim_schedule_create(const struct sim_trace *trace, uint64_t seed, double load,
                               struct sim_schedule **schedule_p, struct sim_error *error);
void sim_schedule_destroy(struct sim_schedule *schedule);

/*
 * The event before which this one's answer is told: the first one behind it that does not come before the answer; n, if all do. Who sends the next request with the answer has had
 * it before. at_ns_p: when it comes; with its request, if the trace does not tell how long it took.
 */
uint32_t sim_schedule_answered(const struct sim_trace *trace, const struct sim_schedule *schedule,
                               uint32_t event, double *at_ns_p);

/*
 * Has the event's run gone on from its prompt before the event number `end`? A client that did not wait for the answer waits for the newer one's: what is told of the
 * older would be taken for that.
 */
bool sim_schedule_is_overtaken(const struct sim_trace *trace, const struct sim_schedule *schedule,
                               uint32_t event, uint32_t end);

#endif
