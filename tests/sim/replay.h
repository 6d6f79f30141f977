/* tests/sim/replay.h: a trace through one policy at one capacity, in virtual time. */
#ifndef KVASIR_SIM_REPLAY_H
#define KVASIR_SIM_REPLAY_H

#include "client/traces/schedule.h"
#include "tests/sim/order.h"

/* Sums over the requests that count: all but those of the warm-up. */
struct sim_result {
  uint64_t requests;
  uint64_t chunks, hits; /* chunks of the prompts; of them those found in the longest resident prefix */
  uint64_t input_tokens, hit_tokens;
  uint64_t loaded; /* chunks that were there, but not in memory */
  uint64_t ahead,
      ahead_used; /* chunks that were brought to memory before they were asked for; of these, asked for */
  uint64_t inserted, evicted; /* chunks. What is bypassed (not stored at all) is neither */
  double paid_s, whole_s;     /* prefill seconds with this cache, and without any */
  uint64_t cpu_ns;            /* of the replay, warm-up included */
  uint64_t cpu_chunks;        /* that it went through in that time */
};

struct sim_replay {
  const struct sim_trace *trace;
  const struct sim_schedule *schedule;
  struct sim_cost cost;
  uint32_t capacity;           /* chunks, above 0 */
  uint32_t memory;             /* of them may be in memory; 0: all. For policies that know no future */
  double load_s;               /* to bring one from below */
  bool ahead;                  /* before it is asked for too */
  uint32_t warm_up;            /* requests that do not count */
  const struct sim_told *told; /* by event: what its client says; NULL: nothing */
  uint32_t *hits;              /* by event, its hits; NULL: not wanted */
  void (*progress)(void *own, uint32_t done); /* each some hundred requests, and at the end; NULL: none */
  void *own;
};

struct sim_policy;

/* By name: of one of the node's, "lru-head", "infinite", "belady", "cost-oracle"; NULL: there is none such. */
const struct sim_policy *sim_policy_find(const char *name);
/* The number'th; NULL behind the last. */
const struct sim_policy *sim_policy_at(size_t number);
const char *sim_policy_name(const struct sim_policy *policy);
/* A line for people. */
const char *sim_policy_about(const struct sim_policy *policy);
/* Does it do the same at each capacity? */
bool sim_policy_is_infinite(const struct sim_policy *policy);

/* KVS_ERR_NOMEM. */
kvs_status sim_replay_run(const struct sim_replay *replay, const struct sim_policy *policy,
                          struct sim_result *result_p);

/* offline.c: by the schedule's future. weighed: by the seconds that a chunk saves, else by its next use alone. */
kvs_status sim_offline_run(const struct sim_replay *replay, bool weighed, struct sim_result *result);

/* heads.c: least recently used, heads first. */
kvs_status sim_heads_run(const struct sim_replay *replay, struct sim_result *result);

/* Adds one event to the sums. */
void sim_result_count(struct sim_result *result, const struct sim_replay *replay, uint32_t event,
                      uint32_t hits);

#endif
