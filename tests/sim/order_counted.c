/*
 * tests/sim/order_counted.c: orders by how often a chunk was used: lfu, and gdsf, which weighs it by the seconds to compute it.
 *
 * Both age as GreedyDual does: a chunk's number is L + uses (times its cost), and L is the number of the last victim, so that what was used often long ago goes at last. What
 * was evicted is forgotten.
 */
#include <stdlib.h>

#include "tests/sim/heap.h"
#include "tests/sim/order.h"

struct order {
  const struct sim_trace *trace;
  struct sim_cost cost; /* of lfu all 0 */
  struct sim_heap *leaves;
  double *number; /* by chunk */
  uint32_t *uses;
  double aged; /* L */
};

static void destroy(void *own)
{
  struct order *order = own;

  if (!order)
    return;
  sim_heap_destroy(order->leaves);
  free(order->number);
  free(order->uses);
  free(order);
}

static kvs_status create(const struct sim_setting *setting, struct sim_cost cost, void **order_p)
{
  struct order *order = calloc(1, sizeof *order);
  uint32_t chunks = setting->trace->n_chunks;

  *order_p = NULL;
  if (!order)
    return KVS_ERR_NOMEM;
  order->trace = setting->trace;
  order->cost = cost;
  order->number = calloc((size_t)chunks + 1, sizeof *order->number);
  order->uses = calloc((size_t)chunks + 1, sizeof *order->uses);
  if (!order->number || !order->uses || sim_heap_create(chunks, &order->leaves) != KVS_OK) {
    destroy(order);
    return KVS_ERR_NOMEM;
  }
  *order_p = order;
  return KVS_OK;
}

static kvs_status create_lfu(const struct sim_setting *setting, void **order_p)
{
  return create(setting, (struct sim_cost){0}, order_p);
}

static kvs_status create_gdsf(const struct sim_setting *setting, void **order_p)
{
  return create(setting, setting->cost, order_p);
}

/* A use is worth 1, or the chunk's seconds. */
static void count(struct order *order, uint32_t chunk)
{
  double start = (double)order->trace->depth[chunk] * order->trace->chunk_tokens;
  double seconds = sim_cost_of(&order->cost, start, start + order->trace->chunk_tokens);

  order->number[chunk] = order->aged + order->uses[chunk] * (seconds > 0 ? seconds : 1);
  if (sim_heap_has(order->leaves, chunk))
    sim_heap_put(order->leaves, chunk, order->number[chunk]);
}

static void insert(void *own, uint32_t chunk, uint64_t now_ns)
{
  struct order *order = own;

  (void)now_ns;
  order->uses[chunk] = 1;
  count(order, chunk);
}

static void touch(void *own, uint32_t chunk, uint64_t now_ns)
{
  struct order *order = own;

  (void)now_ns;
  order->uses[chunk]++;
  count(order, chunk);
}

static void leaf(void *own, uint32_t chunk, bool is)
{
  struct order *order = own;

  if (is)
    sim_heap_put(order->leaves, chunk, order->number[chunk]);
  else
    sim_heap_remove(order->leaves, chunk);
}

static uint32_t victim(void *own, uint64_t now_ns)
{
  struct order *order = own;
  uint32_t chunk = sim_heap_top(order->leaves);

  (void)now_ns;
  if (chunk == SIM_NONE)
    return SIM_NONE;
  if (order->aged < order->number[chunk])
    order->aged = order->number[chunk];
  sim_heap_remove(order->leaves, chunk);
  return chunk;
}

const struct sim_order_ops sim_order_lfu = {.create = create_lfu,
                                            .destroy = destroy,
                                            .insert = insert,
                                            .touch = touch,
                                            .leaf = leaf,
                                            .victim = victim};
const struct sim_order_ops sim_order_gdsf = {.create = create_gdsf,
                                             .destroy = destroy,
                                             .insert = insert,
                                             .touch = touch,
                                             .leaf = leaf,
                                             .victim = victim};
