/* client/traces/hints.h: what a harness would tell of each request of a trace: seeded, and without the future but for a noisy guess of the next return, and the end of a run, which a harness knows and a person's client does not. */
#ifndef KVASIR_CLIENT_TRACES_HINTS_H
#define KVASIR_CLIENT_TRACES_HINTS_H

#include "client/traces/schedule.h"

enum sim_hint_level {
  SIM_HINTS_NONE = 0, /* programs are not named, either */
  SIM_HINTS_KIND,     /* what it waits for, by the stop reason */
  SIM_HINTS_FULL,     /* and when it will be back, of 7 in 10; and its end */
  SIM_HINTS_RANDOM,   /* and returns that have nothing to do with what happens */
  SIM_HINTS_REVERSED, /* and returns that are soon where they are late */
  SIM_HINTS_CONTINUES /* of traces that tell no runs, too: which program it is, and whether it will go on, right 9 times in 10 */
};

struct sim_told {
  uint64_t program;
  enum sim_wait wait;
  double announced_s; /* 0: nothing */
  bool ended;
};

/* "none", "kind", "full", "random", "reversed", "continues"; false: none of them. */
bool sim_hint_level_named(const char *name, enum sim_hint_level *level_p);
const char *sim_hint_level_name(enum sim_hint_level level);

/* KVS_ERR_INVALID: the trace does not tell its runs, and that level says of whom a request is. Neither mode of the simulator nor kvasirctl goes on then. */
kvs_status sim_hints_check(const struct sim_trace *trace, enum sim_hint_level level, struct sim_error *error);

/* By event of the schedule, for a level that may be said of the trace. NULL: no memory. free() ends it. */
struct sim_told *sim_hints_create(const struct sim_trace *trace, const struct sim_schedule *schedule,
                                  enum sim_hint_level level, uint64_t seed);

#endif
