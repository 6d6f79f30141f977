/*
 * tests/sim/order.h: what an eviction policy is to the simulator, for those that know no future.
 *
 * replay.c knows which chunks are resident and which of them are leaves (no resident chunk follows them in any chain), and asks an order only for leaves, so that what is
 * resident is always whole prefixes. An order is told of each insert and each touch, and names the next chunk to go.
 *
 * Policies of the node (tiers/policy/policy.h) run here as they are, by order_node.c. The others are here because that contract does not
 * tell what they need: a chunk's cost or depth (gdsf), or a name that is still good when it comes back (s3fifo's ghosts).
 */
#ifndef KVASIR_SIM_ORDER_H
#define KVASIR_SIM_ORDER_H

#include "client/traces/cost.h"
#include "client/traces/hints.h"
#include "client/traces/trace.h"
#include "tiers/policy/policy.h"

struct sim_setting {
  const struct sim_trace *trace;
  uint32_t capacity; /* chunks */
  struct sim_cost cost;
  const struct kvi_policy_ops *node; /* for sim_order_node: the policy that it drives */
};

/* A request and what is resident of its chain. */
struct sim_used {
  const struct sim_request *request;
  const struct sim_told *told;
  uint32_t last, n; /* chunk, SIM_NONE if none is; how many up to it */
  uint64_t now_ns;
};

struct sim_order_ops {
  kvs_status (*create)(const struct sim_setting *setting, void **order_p); /* KVS_ERR_NOMEM */
  void (*destroy)(void *order);                                            /* NULL is fine */
  /* It became resident. Its parent may become so a little later. */
  void (*insert)(void *order, uint32_t chunk, uint64_t now_ns);
  /* A request used it. */
  void (*touch)(void *order, uint32_t chunk, uint64_t now_ns);
  /* May it be evicted now? Told at each change: it became a leaf, or is none any longer, or is in use by the request. NULL: it is not asked for. */
  void (*leaf)(void *order, uint32_t chunk, bool is);
  /* The request in progress needs it, or no longer: it and what is before it stay. NULL: `leaf` tells enough. */
  void (*hold)(void *order, uint32_t chunk, bool is);
  /*
   * The same request comes, before anything of it is stored, used->n of its chunks are there; it has stored what it could, n > 0; it is answered, later than other requests have come, perhaps, and its run
   * waits from then on. NULL: it is not asked for.
   */
  void (*arrived)(void *order, const struct sim_used *used);
  void (*stored)(void *order, const struct sim_used *used);
  void (*answered)(void *order, const struct sim_used *used);
  /* Is the n'th chunk, from 1 on, which is not stored, worth more than what would have to go for it? NULL: always. */
  bool (*admits)(void *order, const struct sim_used *used, uint32_t n);
  /* Takes the chunk to evict next out of the order and returns it; SIM_NONE: there is none. */
  uint32_t (*victim)(void *order, uint64_t now_ns);
};

extern const struct sim_order_ops sim_order_node; /* a policy of the node */
extern const struct sim_order_ops sim_order_lfu;
extern const struct sim_order_ops sim_order_gdsf;
extern const struct sim_order_ops sim_order_s3fifo;
extern const struct sim_order_ops sim_order_sieve;
extern const struct sim_order_ops sim_order_fixed_ttl;
extern const struct sim_order_ops sim_order_continuum;
extern const struct sim_order_ops sim_order_none; /* never asked for a victim */

#endif
