#include "tests/sim/order.h"

kvs_status sim_order_create(const struct sim_trace *trace, const struct kvi_policy_ops *ops,
                            struct sim_order *order)
{
  *order = (struct sim_order){.trace = trace, .ops = ops};
  return ops->create(trace->n_chunks + 1, &order->policy);
}

void sim_order_destroy(struct sim_order *order)
{
  if (order->policy)
    order->ops->destroy(order->policy);
}

void sim_order_insert(struct sim_order *order, uint32_t chunk, uint64_t now_ns)
{
  uint32_t parent = order->trace->parent[chunk];
  const struct kvi_policy_chunk what = {.parent = parent == SIM_NONE ? KVI_POLICY_NONE : parent,
                                        .place = order->trace->depth[chunk],
                                        .name = (uint64_t)chunk + 1,
                                        .bytes = 1,
                                        .tokens = (float)order->trace->chunk_tokens};

  order->ops->insert(order->policy, chunk, &what, now_ns);
}

/* Where what goes is lost. */
static enum kvi_policy_group group_of(const struct sim_order *order)
{
  return order->is_below ? KVI_POLICY_MEDIUM : KVI_POLICY_MEMORY;
}

/* No handle is ever kept for a child: only leaves go. */
bool sim_order_evict(struct sim_order *order, uint64_t now_ns, uint32_t *chunk_p)
{
  uint32_t chunk = order->ops->victim(order->policy, group_of(order), now_ns);

  if (chunk == KVI_POLICY_NONE)
    return false;
  (void)kvi_policy_evict(order->ops, order->policy, chunk);
  *chunk_p = chunk;
  return true;
}

enum kvi_wait_kind sim_order_wait(enum sim_wait wait)
{
  switch (wait) {
  case SIM_WAIT_TOOL:
    return KVI_WAIT_TOOL;
  case SIM_WAIT_HUMAN:
    return KVI_WAIT_HUMAN;
  case SIM_WAIT_END:
    return KVI_WAIT_END;
  case SIM_WAIT_UNKNOWN:
    break;
  }
  return KVI_WAIT_UNKNOWN;
}

static struct kvi_policy_use use_of(const struct sim_order *order, const struct sim_used *used)
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

void sim_order_arrived(struct sim_order *order, const struct sim_used *used)
{
  struct kvi_policy_use use = use_of(order, used);

  if (order->ops->arrive)
    order->ops->arrive(order->policy, &use, used->now_ns);
}

void sim_order_stored(struct sim_order *order, const struct sim_used *used)
{
  struct kvi_policy_use use = use_of(order, used);

  if (order->ops->extend)
    order->ops->extend(order->policy, &use, used->now_ns);
}

/* A client that says nothing has no program, either. */
void sim_order_answered(struct sim_order *order, const struct sim_used *used)
{
  const struct sim_told *told = used->told;
  struct kvi_policy_wait wait = {.program = told->program,
                                 .last = used->n > 0 ? used->last : KVI_POLICY_NONE,
                                 .n_chunks = used->n,
                                 .kind = sim_order_wait(told->wait),
                                 .announced_s = told->announced_s};

  if (!order->ops->wait || told->program == 0)
    return;
  if (told->ended)
    order->ops->close(order->policy, told->program, used->now_ns);
  else
    order->ops->wait(order->policy, &wait, used->now_ns);
}

bool sim_order_admits(struct sim_order *order, const struct sim_used *used, uint32_t n)
{
  struct kvi_policy_use use = use_of(order, used);
  uint32_t victim;

  if (!order->ops->admits)
    return true;
  victim = order->ops->victim(order->policy, group_of(order), used->now_ns);
  return victim != KVI_POLICY_NONE && order->ops->admits(order->policy, victim, &use, n, used->now_ns);
}

/* A chunk is of one byte to the policy. */
void sim_order_memory(struct sim_order *order, uint32_t chunks, double load_s)
{
  order->is_below = true;
  if (order->ops->memory_told)
    order->ops->memory_told(order->policy, chunks, load_s);
}

void sim_order_in_memory(struct sim_order *order, uint32_t chunk, bool is)
{
  order->ops->move(order->policy, chunk, is && order->ops->demotion ? KVI_POLICY_BOTH : KVI_POLICY_MEDIUM);
}

uint32_t sim_order_demotion(struct sim_order *order, uint32_t one, uint64_t now_ns)
{
  double price;

  return order->ops->demotion ? order->ops->demotion(order->policy, one, &price, now_ns) : one;
}

uint32_t sim_order_ahead(struct sim_order *order, uint32_t chunks[SIM_ORDER_AHEAD], uint32_t most, bool full,
                         uint32_t one, uint64_t now_ns)
{
  const struct kvi_policy_ahead ahead = {.most = most, .full = full, .one = one};

  return order->ops->promotion ? order->ops->promotion(order->policy, &ahead, chunks, now_ns) : 0;
}
