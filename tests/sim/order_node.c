/* tests/sim/order_node.c: a policy of the node, driven by the simulator as it is: a chunk's number is its handle. */
#include <stdlib.h>

#include "tests/sim/order.h"

struct order {
  const struct sim_trace *trace;
  const struct kvi_policy_ops *ops;
  struct kvi_policy *policy;
};

static void destroy(void *own)
{
  struct order *order = own;

  if (!order)
    return;
  if (order->policy)
    order->ops->destroy(order->policy);
  free(order);
}

static kvs_status create(const struct sim_setting *setting, void **order_p)
{
  struct order *order = calloc(1, sizeof *order);
  kvs_status status;

  *order_p = NULL;
  if (!order)
    return KVS_ERR_NOMEM;
  order->trace = setting->trace;
  order->ops = setting->node;
  status = order->ops->create(setting->trace->n_chunks + 1, &order->policy);
  if (status != KVS_OK) {
    destroy(order);
    return status;
  }
  *order_p = order;
  return KVS_OK;
}

static void insert(void *own, uint32_t chunk, uint64_t now_ns)
{
  struct order *order = own;
  uint32_t parent = order->trace->parent[chunk];

  order->ops->insert(order->policy, chunk, parent == SIM_NONE ? KVI_POLICY_NONE : parent, 1, now_ns);
}

static void touch(void *own, uint32_t chunk, uint64_t now_ns)
{
  struct order *order = own;

  order->ops->touch(order->policy, chunk, now_ns);
}

static void hold(void *own, uint32_t chunk, bool is)
{
  struct order *order = own;

  if (is)
    order->ops->hold(order->policy, chunk);
  else
    order->ops->unhold(order->policy, chunk);
}

/* No handle is ever kept for a child: only leaves go. */
static uint32_t victim(void *own, uint64_t now_ns)
{
  struct order *order = own;
  uint32_t chunk = order->ops->victim(order->policy, KVI_POLICY_MEMORY, now_ns);

  if (chunk == KVI_POLICY_NONE)
    return SIM_NONE;
  order->ops->remove(order->policy, chunk);
  return chunk;
}

const struct sim_order_ops sim_order_node = {
    .create = create, .destroy = destroy, .insert = insert, .touch = touch, .hold = hold, .victim = victim};
