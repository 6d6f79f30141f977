/*
 * tiers/redis/loop.c: the thread that owns everything: waits for sockets, the inbox and clocks. What a turn has added to connections is
 * sent at its end, so that many small commands leave in one packet.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "tiers/redis/redis_private.h"

#define EVENTS 64

static void op_take(struct kvi_redis *redis, struct kvi_redis_op *op)
{
  memset(&op->own, 0, sizeof(op->own));
  memset(&op->value, 0, sizeof(op->value));
  op->own.began_ns = redis->now_ns;
  if (redis->slots)
    op->own.slot = kvi_redis_slot(op->key.bytes, op->key.length);
  kvi_list_push_back(&redis->ops, &op->own.all);
  redis->n_puts += op->verb == KVI_REDIS_PUT;
  if (op->verb == KVI_REDIS_TURN && !redis->ending)
    kvi_redis_op_end(redis, op, KVS_OK, KVI_REDIS_NONE);
  else if (op->deadline_ns <= redis->now_ns)
    kvi_redis_op_fail(redis, op, KVI_REDIS_DEADLINE);
  else {
    kvi_redis_tick_by(redis, op->deadline_ns);
    kvi_redis_op_route(redis, op);
  }
}

static void inbox_take(struct kvi_redis *redis)
{
  void *item;

  while (kvi_queue_try_pop(redis->inbox, &item) == KVS_OK)
    op_take(redis, item);
}

static void woken(struct kvi_redis *redis)
{
  uint64_t count;

  if (read(redis->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
    kvi_log_limited(KVI_LOG_ERROR, "tier redis: eventfd: %m");
}

static void answers_take(struct kvi_redis *redis)
{
  struct kvi_redis_resolve *resolve;

  while ((resolve = kvi_redis_resolver_answer(redis->resolver)) != NULL) {
    if (resolve->asker)
      kvi_redis_conn_resolved(resolve->asker, resolve);
    free(resolve);
  }
}

static void gauges_set(struct kvi_redis *redis)
{
  uint64_t connections = 0, servers = 0, down = 0;
  bool up = false;

  for (uint32_t i = 0; i < redis->n_nodes; i++) {
    const struct kvi_redis_node *node = redis->nodes[i];

    if (node->is_sentinel || node->retired)
      continue;
    servers++;
    down += !kvi_redis_node_is_ready(node) || kvi_redis_breaker_is_open(&node->breaker);
    for (uint32_t k = 0; k < node->n_conns; k++)
      connections += node->conns[k].state == KVI_REDIS_CONN_READY;
  }
  up = servers > down && (redis->slots ? redis->n_slots_known > 0 : redis->master != NULL);
  atomic_store_explicit(&redis->up, up, memory_order_relaxed); /* a glance, it orders nothing */
  pthread_mutex_lock(&redis->stats_lock);
  redis->stats.connections = connections;
  redis->stats.servers = servers;
  redis->stats.servers_down = down;
  pthread_mutex_unlock(&redis->stats_lock);
}

/* Retired ones go when no event of this turn can name them any more. */
static void nodes_sweep(struct kvi_redis *redis)
{
  uint32_t kept = 0;

  for (uint32_t i = 0; i < redis->n_nodes; i++) {
    if (redis->nodes[i]->retired)
      kvi_redis_node_destroy(redis->nodes[i]);
    else
      redis->nodes[kept++] = redis->nodes[i];
  }
  redis->n_nodes = kept;
}

static void tick(struct kvi_redis *redis)
{
  uint64_t next_ns, at_ns, now_ns = redis->now_ns;

  redis->tick_ns = KVI_REDIS_NEVER;
  nodes_sweep(redis);
  next_ns = kvi_redis_ops_tick(redis, now_ns);
  for (uint32_t i = 0; i < redis->n_nodes; i++) {
    at_ns = kvi_redis_node_tick(redis->nodes[i], now_ns);
    next_ns = at_ns < next_ns ? at_ns : next_ns;
  }
  at_ns = kvi_redis_topology_tick(redis, now_ns);
  next_ns = at_ns < next_ns ? at_ns : next_ns;
  kvi_redis_tick_by(redis, next_ns);
}

/* Waiting ops to connections, and what connections have to say to the kernel. */
static void flush(struct kvi_redis *redis)
{
  for (uint32_t i = 0; i < redis->n_nodes; i++) {
    struct kvi_redis_node *node = redis->nodes[i];

    if (node->retired)
      continue;
    kvi_redis_node_feed(node);
    for (uint32_t k = 0; k < node->n_conns; k++) {
      struct kvi_redis_conn *conn = &node->conns[k];

      if (conn->state >= KVI_REDIS_CONN_GREETING && conn->writing != conn->next &&
          (conn->events & (uint32_t)EPOLLOUT) == 0)
        (void)kvi_redis_conn_write(conn); /* closed: the next turn, which is at once, sees to its ops */
    }
  }
}

static int timeout_of(const struct kvi_redis *redis)
{
  uint64_t now_ns = kvi_now_ns();

  if (redis->tick_ns <= now_ns)
    return 0;
  if (redis->tick_ns - now_ns > 60 * KVI_NS_PER_S)
    return 60000;
  return (int)((redis->tick_ns - now_ns + KVI_NS_PER_MS - 1) / KVI_NS_PER_MS);
}

static void turn(struct kvi_redis *redis)
{
  struct epoll_event events[EVENTS];
  int n = epoll_wait(redis->epoll_fd, events, EVENTS, timeout_of(redis));

  redis->now_ns = kvi_now_ns();
  for (int i = 0; i < n; i++) {
    if (events[i].data.ptr)
      kvi_redis_conn_event(events[i].data.ptr, events[i].events);
    else
      woken(redis);
  }
  atomic_store(&redis->woken, false); /* before the inbox is emptied: what comes later wakes us again */
  inbox_take(redis);
  answers_take(redis);
  if (redis->now_ns >= redis->tick_ns) {
    tick(redis);
    gauges_set(redis);
  }
  flush(redis);
}

static void end(struct kvi_redis *redis)
{
  kvi_list_node *first;

  redis->ending = true;
  inbox_take(redis);
  for (uint32_t i = 0; i < redis->n_nodes; i++)
    kvi_redis_node_retire(redis->nodes[i]);
  kvi_redis_topology_changed(redis);
  while ((first = kvi_list_first(&redis->ops)) != NULL) /* none: each was on a node or homeless */
    kvi_redis_op_fail(redis, kvi_list_entry(first, struct kvi_redis_op, own.all), KVI_REDIS_DOWN);
  nodes_sweep(redis);
}

void kvi_redis_loop(void *arg)
{
  struct kvi_redis *redis = arg;

  redis->now_ns = kvi_now_ns();
  while (!atomic_load(&redis->closing))
    turn(redis);
  end(redis);
}
