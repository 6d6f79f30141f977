/*
 * tests/sim/order.h: a policy of the node (tiers/policy/policy.h) under a trace, as it is: a chunk's number is its handle. What is resident is always whole prefixes, since policies evict leaves only.
 *
 * Policies that know the future have no order: offline.c.
 */
#ifndef KVASIR_SIM_ORDER_H
#define KVASIR_SIM_ORDER_H

#include "client/traces/cost.h"
#include "client/traces/hints.h"
#include "client/traces/trace.h"
#include "tiers/policy/policy.h"

/* As the node has it. */
enum kvi_wait_kind sim_order_wait(enum sim_wait wait);

/* A request and what is resident of its chain. */
struct sim_used {
  const struct sim_request *request;
  const struct sim_told *told;
  uint32_t last, n; /* chunk, SIM_NONE if none is; how many up to it */
  uint64_t now_ns;
};

struct sim_order {
  const struct sim_trace *trace;
  const struct kvi_policy_ops *ops;
  struct kvi_policy *policy;
  bool is_below; /* all that is cached is on a medium */
};

/* KVS_ERR_NOMEM. destroy is fine after an error, too. */
kvs_status sim_order_create(const struct sim_trace *trace, const struct kvi_policy_ops *ops,
                            struct sim_order *order);
void sim_order_destroy(struct sim_order *order);
/* It became resident. Its parent may become so a little later. */
void sim_order_insert(struct sim_order *order, uint32_t chunk, uint64_t now_ns);
/*
 * The same request comes, before anything of it is stored, used->n of its chunks are there; it has stored what it could, n > 0; it is answered, later than other requests have come, perhaps, and its run
 * waits from then on.
 */
void sim_order_arrived(struct sim_order *order, const struct sim_used *used);
void sim_order_stored(struct sim_order *order, const struct sim_used *used);
void sim_order_answered(struct sim_order *order, const struct sim_used *used);
/* Is the n'th chunk, from 1 on, which is not stored, worth more than what would have to go for it? */
bool sim_order_admits(struct sim_order *order, const struct sim_used *used, uint32_t n);
/* Memory holds so many chunks, over a medium that has all and gives one in load_s. Before anything is inserted, and again. */
void sim_order_memory(struct sim_order *order, uint32_t chunks, double load_s);
/* It is in memory, or not any more. */
void sim_order_in_memory(struct sim_order *order, uint32_t chunk, bool is);
/* The chunk to demote next; `one` is any that is in memory, and what a policy answers that does not mind. */
uint32_t sim_order_demotion(struct sim_order *order, uint32_t one, uint64_t now_ns);
/* Chunks to bring to memory before they are asked for; `one` as above, full: as many have to leave it. Returns how many. */
#define SIM_ORDER_AHEAD 16u
uint32_t sim_order_ahead(struct sim_order *order, uint32_t chunks[SIM_ORDER_AHEAD], uint32_t most, bool full,
                         uint32_t one, uint64_t now_ns);
/* Evicts the next chunk. False: there is none that may go. */
bool sim_order_evict(struct sim_order *order, uint64_t now_ns, uint32_t *chunk_p);

#endif
