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

static struct kvi_policy_use use_of(const struct order *order, const struct sim_used *used)
{
  const struct sim_request *request = used->request;

  return (struct kvi_policy_use){.program = used->told->program,
                                 .last = used->n > 0 ? used->last : KVI_POLICY_NONE,
                                 .n_chunks = used->n,
                                 .n_whole = request->n_chunks,
                                 .chunk_tokens =
                                     (float)sim_trace_tokens(order->trace, request, request->n_chunks) /
                                     (float)request->n_chunks};
}

static void arrived(void *own, const struct sim_used *used)
{
  struct order *order = own;
  struct kvi_policy_use use = use_of(order, used);

  if (order->ops->arrive)
    order->ops->arrive(order->policy, &use, used->now_ns);
}

static void stored(void *own, const struct sim_used *used)
{
  struct order *order = own;
  struct kvi_policy_use use = use_of(order, used);

  if (order->ops->extend)
    order->ops->extend(order->policy, &use, used->now_ns);
}

/* A client that says nothing has no program, either. */
static void answered(void *own, const struct sim_used *used)
{
  struct order *order = own;
  const struct sim_told *told = used->told;
  struct kvi_policy_wait wait = {.program = told->program,
                                 .last = used->n > 0 ? used->last : KVI_POLICY_NONE,
                                 .n_chunks = used->n,
                                 .kind = kind_of(told->wait),
                                 .announced_s = told->announced_s};

  if (!order->ops->wait || told->program == 0)
    return;
  order->ops->wait(order->policy, &wait, used->now_ns);
  if (told->ended)
    order->ops->close(order->policy, told->program, used->now_ns);
}

static bool admits(void *own, const struct sim_used *used, uint32_t n)
{
  struct order *order = own;
  struct kvi_policy_use use = use_of(order, used);

  return !order->ops->admits || order->ops->admits(order->policy, KVI_POLICY_MEMORY, &use, n, used->now_ns);
}

const struct sim_order_ops sim_order_node = {.create = create,
                                             .destroy = destroy,
                                             .insert = insert,
                                             .touch = touch,
                                             .hold = hold,
                                             .arrived = arrived,
                                             .stored = stored,
                                             .answered = answered,
                                             .admits = admits,
                                             .victim = victim};
