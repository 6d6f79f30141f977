/*
 * tests/sim/order_ttl.c: orders that pin a prompt for a time after its answer: 2 s, or what Continuum's formula gives. Pins are soft here: what is pinned goes when nothing else is left, the pin that ends first before
 * others. The rest goes by last use.
 *
 * Nothing waits for admission in a replay, so the formula's T is 0. Traces do not name tools: the kind of wait stands for one. Whose program is not told has no past, and gets the formula's start.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "tests/sim/continuum.h"
#include "tests/sim/heap.h"
#include "tests/sim/order.h"

#define FIXED_S 2.0

struct order {
  const struct sim_setting *setting;
  struct sim_continuum *continuum; /* NULL: fixed */
  struct sim_heap *free, *pinned;  /* leaves: by last use, by the end of their pin */
  uint64_t *used_ns, *until_ns;    /* by chunk */
  uint64_t *answered_ns;           /* by run: the last answer; 0: none that was told */
  enum sim_wait *waits;            /* by run: for what, then */
};

static void destroy(void *own)
{
  struct order *order = own;

  if (!order)
    return;
  sim_heap_destroy(order->pinned);
  sim_heap_destroy(order->free);
  sim_continuum_destroy(order->continuum);
  free(order->used_ns);
  free(order->until_ns);
  free(order->answered_ns);
  free(order->waits);
  free(order);
}

static kvs_status create_fixed(const struct sim_setting *setting, void **order_p)
{
  struct order *order = calloc(1, sizeof *order);
  size_t chunks = (size_t)setting->trace->n_chunks + 1, runs = (size_t)setting->trace->n_runs + 1;

  *order_p = NULL;
  if (!order)
    return KVS_ERR_NOMEM;
  order->setting = setting;
  order->used_ns = calloc(chunks, sizeof *order->used_ns);
  order->until_ns = calloc(chunks, sizeof *order->until_ns);
  order->answered_ns = calloc(runs, sizeof *order->answered_ns);
  order->waits = calloc(runs, sizeof *order->waits);
  if (!order->used_ns || !order->until_ns || !order->answered_ns || !order->waits ||
      sim_heap_create(setting->trace->n_chunks, &order->free) != KVS_OK ||
      sim_heap_create(setting->trace->n_chunks, &order->pinned) != KVS_OK) {
    destroy(order);
    return KVS_ERR_NOMEM;
  }
  *order_p = order;
  return KVS_OK;
}

static kvs_status create_continuum(const struct sim_setting *setting, void **order_p)
{
  kvs_status status = create_fixed(setting, order_p);

  if (status != KVS_OK)
    return status;
  status = sim_continuum_create(&((struct order *)*order_p)->continuum);
  if (status != KVS_OK) {
    destroy(*order_p);
    *order_p = NULL;
  }
  return status;
}

static bool is_leaf(const struct order *order, uint32_t chunk)
{
  return sim_heap_has(order->free, chunk) || sim_heap_has(order->pinned, chunk);
}

static void take_out(struct order *order, uint32_t chunk)
{
  sim_heap_remove(order->free, chunk);
  sim_heap_remove(order->pinned, chunk);
}

/* Into the heap that it belongs to now. */
static void place(struct order *order, uint32_t chunk, uint64_t now_ns)
{
  bool is_pinned = order->until_ns[chunk] > now_ns;

  take_out(order, chunk);
  sim_heap_put(is_pinned ? order->pinned : order->free, chunk,
               (double)(is_pinned ? order->until_ns[chunk] : order->used_ns[chunk]));
}

static void touch(void *own, uint32_t chunk, uint64_t now_ns)
{
  struct order *order = own;

  order->used_ns[chunk] = now_ns;
  if (is_leaf(order, chunk))
    place(order, chunk, now_ns);
}

static void insert(void *own, uint32_t chunk, uint64_t now_ns)
{
  struct order *order = own;

  order->until_ns[chunk] = 0;
  touch(own, chunk, now_ns);
}

static void leaf(void *own, uint32_t chunk, bool is)
{
  struct order *order = own;

  if (is)
    place(order, chunk, order->used_ns[chunk]);
  else
    take_out(order, chunk);
}

/* A run that is back: how long it was away. */
static void arrived(void *own, const struct sim_used *used)
{
  struct order *order = own;
  uint32_t run = used->request->run;

  if (order->continuum && order->answered_ns[run] > 0 && used->now_ns > order->answered_ns[run])
    sim_continuum_returned(order->continuum, order->waits[run],
                           (double)(used->now_ns - order->answered_ns[run]) / (double)KVI_NS_PER_S);
}

static double ttl_s(const struct order *order, const struct sim_used *used)
{
  double tokens = sim_trace_tokens(order->setting->trace, used->request, used->n);

  if (used->told->ended)
    return 0;
  return order->continuum ? sim_continuum_ttl(order->continuum, used->told->wait,
                                              sim_cost_of(&order->setting->cost, 0, tokens))
                          : FIXED_S;
}

static void answered(void *own, const struct sim_used *used)
{
  struct order *order = own;
  const uint32_t *chain = order->setting->trace->refs + used->request->first;
  uint64_t until_ns = used->now_ns + (uint64_t)(ttl_s(order, used) * (double)KVI_NS_PER_S);

  if (used->told->program != 0) {
    order->answered_ns[used->request->run] = used->now_ns;
    order->waits[used->request->run] = used->told->wait;
  }
  for (uint32_t i = 0; i < used->n; i++)
    if (order->until_ns[chain[i]] < until_ns)
      order->until_ns[chain[i]] = until_ns;
  if (used->n > 0 && is_leaf(order, used->last))
    place(order, used->last, used->now_ns);
}

static uint32_t victim(void *own, uint64_t now_ns)
{
  struct order *order = own;
  uint32_t chunk;

  while ((chunk = sim_heap_top(order->pinned)) != SIM_NONE && order->until_ns[chunk] <= now_ns)
    place(order, chunk, now_ns);
  chunk = sim_heap_top(order->free);
  if (chunk == SIM_NONE)
    chunk = sim_heap_top(order->pinned);
  if (chunk != SIM_NONE)
    take_out(order, chunk);
  return chunk;
}

const struct sim_order_ops sim_order_fixed_ttl = {.create = create_fixed,
                                                  .destroy = destroy,
                                                  .insert = insert,
                                                  .touch = touch,
                                                  .leaf = leaf,
                                                  .arrived = arrived,
                                                  .answered = answered,
                                                  .victim = victim};
const struct sim_order_ops sim_order_continuum = {.create = create_continuum,
                                                  .destroy = destroy,
                                                  .insert = insert,
                                                  .touch = touch,
                                                  .leaf = leaf,
                                                  .arrived = arrived,
                                                  .answered = answered,
                                                  .victim = victim};
