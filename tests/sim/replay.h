/* tests/sim/replay.h: a trace through one policy at one capacity, in virtual time. */
#ifndef KVASIR_SIM_REPLAY_H
#define KVASIR_SIM_REPLAY_H

#include "client/traces/schedule.h"
#include "tests/sim/order.h"

/* Where chunks are, in the order in which requests look. */
enum sim_tier { SIM_MEMORY = 0, SIM_SSD, SIM_REDIS, SIM_TIERS };

/* Chunks at a tier. What a request finds is read from one tier, the first that has it. */
struct sim_moved {
  uint64_t found; /* by requests */
  uint64_t read,
      written; /* for requests, and to bring what nobody has asked for; put, and brought from below */
};

/* Sums over the requests that count: all but those of the warm-up. */
struct sim_result {
  uint64_t requests;
  uint64_t chunks, hits; /* chunks of the prompts; of them those found in the longest resident prefix */
  uint64_t input_tokens, hit_tokens;
  struct sim_moved moved[SIM_TIERS]; /* of policies that know no future; else all is in memory */
  uint64_t ahead,
      ahead_used; /* chunks that were brought to memory before they were asked for; of these, asked for */
  uint64_t inserted, evicted;           /* chunks. What is bypassed (not stored at all) is neither */
  double paid_s, whole_s;               /* prefill seconds with this cache, and without any */
  double wasted_chunk_s, never_chunk_s; /* waste.h, of memory; 0 where sim_policy_knows_tiers is false */
  uint64_t cpu_ns;                      /* of the replay, warm-up included */
  uint64_t cpu_chunks;                  /* that it went through in that time */
};

struct sim_replay {
  const struct sim_trace *trace;
  const struct sim_schedule *schedule;
  struct sim_cost cost;
  uint32_t capacity; /* chunks, above 0 */
  /* What is below, for policies that know no future. */
  uint32_t memory;  /* so many of all that is cached may be in memory, the SSD has all; 0: memory has all */
  double load_s;    /* to bring one from there */
  uint32_t shared;  /* chunks in Redis, beside what is cached here; 0: there is none */
  bool ahead;       /* before it is asked for too */
  uint32_t warm_up; /* requests that do not count */
  const struct sim_told *told;                /* by event: what its client says; NULL: nothing */
  uint32_t *hits;                             /* by event, its hits; NULL: not wanted */
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
/* Is it replayed over a tier below? Others are in one cache, whatever is said. */
bool sim_policy_knows_tiers(const struct sim_policy *policy);

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
