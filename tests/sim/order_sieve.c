/*
 * tests/sim/order_sieve.c: SIEVE (Zhang and others, NSDI 2024) over prefix chains: a queue by when chunks came, and a hand that goes from old to new. It takes back the mark of a chunk that
 * was used since it passed, steps over those that are no leaves, and evicts the first leaf without a mark.
 */
#include <stdlib.h>

#include "tests/sim/order.h"

struct order {
  struct chunk {
    uint32_t newer, older;
    bool used, leaf;
  } * chunks;
  uint32_t newest, oldest, hand; /* SIM_NONE: none; the hand then begins with the oldest */
  uint32_t n, leaves;
};

static void destroy(void *own)
{
  struct order *order = own;

  if (!order)
    return;
  free(order->chunks);
  free(order);
}

static kvs_status create(const struct sim_setting *setting, void **order_p)
{
  struct order *order = calloc(1, sizeof *order);

  *order_p = NULL;
  if (!order)
    return KVS_ERR_NOMEM;
  order->newest = order->oldest = order->hand = SIM_NONE;
  order->chunks = calloc((size_t)setting->trace->n_chunks + 1, sizeof *order->chunks);
  if (!order->chunks) {
    destroy(order);
    return KVS_ERR_NOMEM;
  }
  *order_p = order;
  return KVS_OK;
}

static void insert(void *own, uint32_t number, uint64_t now_ns)
{
  struct order *order = own;

  (void)now_ns;
  order->chunks[number] = (struct chunk){.newer = SIM_NONE, .older = order->newest};
  if (order->newest != SIM_NONE)
    order->chunks[order->newest].newer = number;
  else
    order->oldest = number;
  order->newest = number;
  order->n++;
}

static void touch(void *own, uint32_t number, uint64_t now_ns)
{
  struct order *order = own;

  (void)now_ns;
  order->chunks[number].used = true;
}

static void leaf(void *own, uint32_t number, bool is)
{
  struct order *order = own;
  struct chunk *chunk = &order->chunks[number];

  order->leaves += is;
  order->leaves -= chunk->leaf;
  chunk->leaf = is;
}

static void take_out(struct order *order, uint32_t number)
{
  struct chunk *chunk = &order->chunks[number];

  if (chunk->older != SIM_NONE)
    order->chunks[chunk->older].newer = chunk->newer;
  else
    order->oldest = chunk->newer;
  if (chunk->newer != SIM_NONE)
    order->chunks[chunk->newer].older = chunk->older;
  else
    order->newest = chunk->older;
  order->leaves -= chunk->leaf;
  chunk->leaf = false;
  order->n--;
}

/* Ends within two rounds: the first takes all marks back. */
static uint32_t victim(void *own, uint64_t now_ns)
{
  struct order *order = own;

  (void)now_ns;
  if (order->leaves == 0)
    return SIM_NONE;
  for (;;) {
    uint32_t number = order->hand != SIM_NONE ? order->hand : order->oldest;
    struct chunk *chunk = &order->chunks[number];

    order->hand = chunk->newer;
    if (!chunk->used && chunk->leaf) {
      take_out(order, number);
      return number;
    }
    chunk->used = false;
  }
}

const struct sim_order_ops sim_order_sieve = {
    .create = create, .destroy = destroy, .insert = insert, .touch = touch, .leaf = leaf, .victim = victim};
