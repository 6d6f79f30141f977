/*
 * tests/sim/order_s3fifo.c: S3-FIFO (Yang and others, SOSP 2023) over prefix chains.
 *
 * A small queue of a tenth of the capacity for what is new, a main one for what was used more than once in it, and ghosts: the names of as many chunks as the main queue has room for
 * that left the small one last. A chunk's uses count up to 3, are forgotten when it moves to the main queue, and each buys one more round there.
 *
 * As published, but that only leaves may go: where one that others follow (or that is in use) comes to its queue's end, it goes on as one that was used does. To evict others' prefixes would make them useless
 * while they take room; to look for leaves only would leave prefixes that are used all the time in the small queue for ever.
 */
#include <stdlib.h>

#include "tests/sim/order.h"

#define USES_MAX 3u

struct queue {
  uint32_t newest, oldest;
  uint32_t n, leaves;
};

struct order {
  uint32_t small_room, main_room;
  struct queue queues[2]; /* small, main */
  struct chunk {
    uint32_t newer, older;
    uint64_t ghost; /* the count of ghosts when it became one; 0: it is none */
    uint8_t uses;
    bool main, leaf;
  } * chunks;
  uint64_t ghosts;
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
  order->small_room = setting->capacity / 10 > 0 ? setting->capacity / 10 : 1;
  order->main_room = setting->capacity - order->small_room;
  for (int i = 0; i < 2; i++)
    order->queues[i].newest = order->queues[i].oldest = SIM_NONE;
  order->chunks = calloc((size_t)setting->trace->n_chunks + 1, sizeof *order->chunks);
  if (!order->chunks) {
    destroy(order);
    return KVS_ERR_NOMEM;
  }
  *order_p = order;
  return KVS_OK;
}

static void join(struct order *order, uint32_t number, bool main)
{
  struct queue *queue = &order->queues[main];
  struct chunk *chunk = &order->chunks[number];

  chunk->main = main;
  chunk->newer = SIM_NONE;
  chunk->older = queue->newest;
  if (queue->newest != SIM_NONE)
    order->chunks[queue->newest].newer = number;
  else
    queue->oldest = number;
  queue->newest = number;
  queue->n++;
  queue->leaves += chunk->leaf;
}

/* The queue's oldest. */
static uint32_t leave(struct order *order, bool main)
{
  struct queue *queue = &order->queues[main];
  uint32_t number = queue->oldest;
  struct chunk *chunk = &order->chunks[number];

  queue->oldest = chunk->newer;
  if (chunk->newer != SIM_NONE)
    order->chunks[chunk->newer].older = SIM_NONE;
  else
    queue->newest = SIM_NONE;
  queue->n--;
  queue->leaves -= chunk->leaf;
  return number;
}

static void insert(void *own, uint32_t number, uint64_t now_ns)
{
  struct order *order = own;
  struct chunk *chunk = &order->chunks[number];
  bool known = chunk->ghost > 0 && order->ghosts - chunk->ghost < order->main_room;

  (void)now_ns;
  *chunk = (struct chunk){0};
  join(order, number, known);
}

static void touch(void *own, uint32_t number, uint64_t now_ns)
{
  struct order *order = own;

  (void)now_ns;
  if (order->chunks[number].uses < USES_MAX)
    order->chunks[number].uses++;
}

static void leaf(void *own, uint32_t number, bool is)
{
  struct order *order = own;
  struct chunk *chunk = &order->chunks[number];
  struct queue *queue = &order->queues[chunk->main];

  queue->leaves += is;
  queue->leaves -= chunk->leaf;
  chunk->leaf = is;
}

/* SIM_NONE: the oldest one has moved to the main queue. */
static uint32_t from_small(struct order *order)
{
  uint32_t number = leave(order, false);
  struct chunk *chunk = &order->chunks[number];

  if (chunk->leaf && chunk->uses <= 1) {
    chunk->ghost = ++order->ghosts;
    return number;
  }
  chunk->uses = 0;
  join(order, number, true);
  return SIM_NONE;
}

/* SIM_NONE: the oldest one goes round again. */
static uint32_t from_main(struct order *order)
{
  uint32_t number = leave(order, true);
  struct chunk *chunk = &order->chunks[number];

  if (chunk->leaf && chunk->uses == 0)
    return number;
  if (chunk->uses > 0)
    chunk->uses--;
  join(order, number, true);
  return SIM_NONE;
}

/* Ends: what leaves the small queue does not come back to it, and each round of the main one takes a use of each chunk in it. */
static uint32_t victim(void *own, uint64_t now_ns)
{
  struct order *order = own;
  const struct queue *small = &order->queues[0], *main = &order->queues[1];
  uint32_t number = SIM_NONE;

  (void)now_ns;
  if (small->leaves + main->leaves == 0)
    return SIM_NONE;
  while (number == SIM_NONE)
    number = main->leaves == 0 || small->n >= order->small_room ? from_small(order) : from_main(order);
  order->chunks[number].leaf = false;
  return number;
}

const struct sim_order_ops sim_order_s3fifo = {
    .create = create, .destroy = destroy, .insert = insert, .touch = touch, .leaf = leaf, .victim = victim};
