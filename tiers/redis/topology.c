/* tiers/redis/topology.c: which server has a key, whatever the mode. */
#include "base/log.h"
#include "tiers/redis/redis_private.h"

#define DOUBT_MS 100u /* questions asked because of trouble: not more often */

static kvs_status seeds_create(struct kvi_redis *redis)
{
  bool sentinels = redis->config.mode == KVI_REDIS_SENTINEL;

  for (size_t i = 0; i < redis->config.n_addresses; i++) {
    if (!sentinels && kvi_redis_node_find(redis, &redis->seeds[i]))
      continue;
    if (!kvi_redis_node_create(redis, &redis->seeds[i], sentinels))
      return KVS_ERR_NOMEM;
  }
  return KVS_OK;
}

kvs_status kvi_redis_topology_open(struct kvi_redis *redis)
{
  kvs_status status = seeds_create(redis);

  if (status == KVS_OK && redis->config.mode == KVI_REDIS_SINGLE)
    redis->master = redis->nodes[0];
  return status;
}

struct kvi_redis_node *kvi_redis_topology_route(struct kvi_redis *redis, const struct kvi_redis_op *op)
{
  return redis->slots ? redis->slots[op->own.slot] : redis->master;
}

/* In a cluster any server may know; else the sentinels do. */
static bool may_know(const struct kvi_redis *redis, const struct kvi_redis_node *node)
{
  return !node->retired && node->is_sentinel == (redis->config.mode == KVI_REDIS_SENTINEL);
}

bool kvi_redis_topology_is_lost(const struct kvi_redis *redis)
{
  if (redis->n_slots_known > 0)
    return true; /* the cluster is known, and this slot has no server */
  for (uint32_t i = 0; i < redis->n_nodes; i++)
    if (may_know(redis, redis->nodes[i]) && !kvi_redis_breaker_is_open(&redis->nodes[i]->breaker))
      return false;
  return true;
}

void kvi_redis_topology_doubt(struct kvi_redis *redis)
{
  uint64_t soon_ns = redis->now_ns + DOUBT_MS * KVI_NS_PER_MS;

  if (redis->config.mode == KVI_REDIS_SINGLE)
    return;
  if (soon_ns < redis->topology_ns)
    redis->topology_ns = soon_ns;
  kvi_redis_tick_by(redis, redis->topology_ns);
}

void kvi_redis_topology_asked(struct kvi_redis *redis, bool answered)
{
  redis->topology_asked_ns = 0;
  redis->topology_ns = redis->now_ns + (answered ? redis->config.topology_ms : DOUBT_MS) * KVI_NS_PER_MS;
  kvi_redis_tick_by(redis, redis->topology_ns);
}

static void homeless_flush(struct kvi_redis *redis, bool fail)
{
  for (size_t left = redis->homeless.length; left > 0; left--) {
    struct kvi_redis_op *op = kvi_redis_op_unwait(&redis->homeless);

    if (fail)
      kvi_redis_op_fail(redis, op, KVI_REDIS_DOWN);
    else
      kvi_redis_op_route(redis, op);
  }
}

void kvi_redis_topology_changed(struct kvi_redis *redis)
{
  homeless_flush(redis, false);
}

/* The next one in turn that may know and can be asked. */
static struct kvi_redis_conn *whom_to_ask(struct kvi_redis *redis)
{
  for (uint32_t i = 0; i < redis->n_nodes; i++) {
    struct kvi_redis_node *node = redis->nodes[(redis->topology_next + i) % redis->n_nodes];
    struct kvi_redis_conn *conn = may_know(redis, node) && !kvi_redis_breaker_is_open(&node->breaker)
                                      ? kvi_redis_node_idle(node)
                                      : NULL;

    if (conn) {
      redis->topology_next = (redis->topology_next + i + 1) % redis->n_nodes;
      return conn;
    }
  }
  return NULL;
}

/* All servers of a cluster that we knew may be gone; those that were configured are asked again. */
static void seeds_again(struct kvi_redis *redis)
{
  for (uint32_t i = 0; i < redis->n_nodes; i++)
    if (may_know(redis, redis->nodes[i]) && kvi_redis_node_is_ready(redis->nodes[i]))
      return;
  (void)seeds_create(redis);
}

uint64_t kvi_redis_topology_tick(struct kvi_redis *redis, uint64_t now_ns)
{
  struct kvi_redis_conn *conn;
  uint64_t patience_ns = redis->config.connect_timeout_ms * KVI_NS_PER_MS;

  if (redis->config.mode == KVI_REDIS_SINGLE)
    return KVI_REDIS_NEVER;
  if (redis->homeless.length > 0 && kvi_redis_topology_is_lost(redis))
    homeless_flush(redis, true);
  if (redis->topology_asked_ns != 0 && now_ns < redis->topology_asked_ns + patience_ns)
    return redis->topology_asked_ns + patience_ns; /* an answer that never comes ends with its connection */
  if (now_ns < redis->topology_ns)
    return redis->topology_ns;
  if (redis->config.mode == KVI_REDIS_CLUSTER)
    seeds_again(redis);
  conn = whom_to_ask(redis);
  redis->topology_ns = now_ns + DOUBT_MS * KVI_NS_PER_MS;
  if (!conn)
    return redis->topology_ns;
  redis->topology_asked_ns = now_ns;
  if (redis->config.mode == KVI_REDIS_CLUSTER)
    kvi_redis_cluster_ask(conn);
  else
    kvi_redis_sentinel_ask(conn);
  return now_ns + patience_ns;
}
