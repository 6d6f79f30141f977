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
/* Evicts the next chunk. False: there is none that may go. */
bool sim_order_evict(struct sim_order *order, uint64_t now_ns, uint32_t *chunk_p);

#endif
