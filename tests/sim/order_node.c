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

static enum kvi_wait_kind kind_of(enum sim_wait wait)
{
  switch (wait) {
  case SIM_WAIT_TOOL:
    return KVI_WAIT_TOOL;
  case SIM_WAIT_HUMAN:
    return KVI_WAIT_HUMAN;
  case SIM_WAIT_UNKNOWN:
    break;
  }
  return KVI_WAIT_UNKNOWN;
}

static struct kvi_policy_wait wait_of(const struct order *order, const struct sim_used *what)
{
  return (struct kvi_policy_wait){.program = what->told->program,
                                  .last = what->last,
                                  .n_chunks = what->n,
                                  .n_tokens = sim_trace_tokens(order->trace, what->request, what->n),
                                  .kind = kind_of(what->told->wait),
                                  .announced_s = what->told->announced_s,
                                  .used_ns = what->now_ns,
                                  .begins_ns = what->answered_ns};
}

static void used(void *own, const struct sim_used *what)
{
  struct order *order = own;
  struct kvi_policy_wait wait = wait_of(order, what);

  if (!order->ops->wait)
    return;
  order->ops->wait(order->policy, &wait, what->now_ns);
  if (what->told->ended)
    order->ops->close(order->policy, what->told->program, what->now_ns);
}

static bool admits(void *own, const struct sim_used *what)
{
  struct order *order = own;
  struct kvi_policy_wait wait = wait_of(order, what);

  return !order->ops->admits || order->ops->admits(order->policy, KVI_POLICY_MEMORY, &wait, what->now_ns);
}

const struct sim_order_ops sim_order_node = {.create = create,
                                             .destroy = destroy,
                                             .insert = insert,
                                             .touch = touch,
                                             .hold = hold,
                                             .used = used,
                                             .admits = admits,
                                             .victim = victim};
