/* tiers/redis/sentinel.c: the sentinels are asked in turn who the master is, regularly and when there is trouble. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/redis/redis_private.h"

static void master_is(struct kvi_redis *redis, const struct kvi_redis_address *address)
{
  struct kvi_redis_node *former = redis->master, *node;
  char text[KVI_REDIS_ADDRESS_MAX];

  if (former && kvi_redis_address_equal(&former->address, address))
    return;
  node = kvi_redis_node_find(redis, address);
  if (!node)
    node = kvi_redis_node_create(redis, address, false);
  if (!node)
    return;
  redis->master = node;
  kvi_log_info("tier redis: the master of %s is %s", redis->config.sentinel_master,
               kvi_redis_address_format(address, text));
  if (redis->had_master)
    kvi_redis_count(redis, &redis->stats.failovers, 1);
  redis->had_master = true;
  if (former)
    kvi_redis_node_retire(former); /* what was under way there goes to the new one */
  kvi_redis_topology_changed(redis);
}

/* ["127.0.0.1", "7000"], or nil */
static void told(struct kvi_redis_conn *conn, const redisReply *reply)
{
  struct kvi_redis *redis = conn->redis;
  struct kvi_redis_address address = {0};
  long port;

  if (!reply) {
    kvi_redis_topology_asked(redis, false);
    return;
  }
  if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
      reply->element[0]->type != REDIS_REPLY_STRING || reply->element[1]->type != REDIS_REPLY_STRING) {
    kvi_log_limited(KVI_LOG_WARN, "tier redis: a sentinel knows no master %s%s%s",
                    redis->config.sentinel_master, reply->type == REDIS_REPLY_ERROR ? ": " : "",
                    reply->type == REDIS_REPLY_ERROR ? reply->str : "");
    kvi_redis_topology_asked(redis, false);
    return;
  }
  port = strtol(reply->element[1]->str, NULL, 10);
  if (reply->element[0]->len > 0 && (size_t)reply->element[0]->len < sizeof(address.host) && port > 0 &&
      port <= UINT16_MAX) {
    memcpy(address.host, reply->element[0]->str, (size_t)reply->element[0]->len);
    address.port = (uint16_t)port;
    master_is(redis, &address);
  }
  kvi_redis_topology_asked(redis, true);
}

void kvi_redis_sentinel_ask(struct kvi_redis_conn *conn)
{
  const char *words[] = {"SENTINEL", "get-master-addr-by-name", conn->redis->config.sentinel_master};

  if (kvi_redis_conn_ask(conn, told, 3, words, NULL) != KVS_OK)
    kvi_redis_topology_asked(conn->redis, false);
}
