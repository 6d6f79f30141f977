/* tiers/redis/cluster.c: the map from slots to servers, and what a server says when it is wrong. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/redis/redis_private.h"

static struct kvi_redis_node *node_at(struct kvi_redis *redis, const struct kvi_redis_address *address)
{
  struct kvi_redis_node *node = kvi_redis_node_find(redis, address);

  return node ? node : kvi_redis_node_create(redis, address, false);
}

/* ["127.0.0.1", 7000, "id", ...]: the server, or NULL. An unknown host (nil or empty) is the one that was asked. */
static struct kvi_redis_node *server_of(struct kvi_redis_conn *conn, const redisReply *server)
{
  struct kvi_redis_address address = {0};
  const redisReply *host, *port;

  if (server->type != REDIS_REPLY_ARRAY || server->elements < 2)
    return NULL;
  host = server->element[0];
  port = server->element[1];
  if (port->type != REDIS_REPLY_INTEGER || port->integer <= 0 || port->integer > UINT16_MAX)
    return NULL;
  if (host->type == REDIS_REPLY_STRING && host->len > 0) {
    if ((size_t)host->len >= sizeof(address.host) || host->str[0] == '?')
      return NULL; /* "?": Redis does not know it itself */
    memcpy(address.host, host->str, (size_t)host->len);
  } else {
    address = conn->node->address;
  }
  address.port = (uint16_t)port->integer;
  return node_at(conn->redis, &address);
}

/* [first, last, master, replica...] */
static bool range_is_sound(const redisReply *range)
{
  return range->type == REDIS_REPLY_ARRAY && range->elements >= 3 &&
         range->element[0]->type == REDIS_REPLY_INTEGER && range->element[1]->type == REDIS_REPLY_INTEGER &&
         range->element[0]->integer >= 0 && range->element[0]->integer <= range->element[1]->integer &&
         range->element[1]->integer < KVI_REDIS_SLOTS;
}

static uint32_t map_take(struct kvi_redis_conn *conn, const redisReply *reply)
{
  struct kvi_redis *redis = conn->redis;
  uint32_t known = 0;

  for (uint32_t i = 0; i < redis->n_nodes; i++)
    redis->nodes[i]->seen = false;
  for (size_t i = 0; i < reply->elements; i++) {
    const redisReply *range = reply->element[i];
    struct kvi_redis_node *node;

    if (!range_is_sound(range))
      continue;
    node = server_of(conn, range->element[2]);
    if (!node)
      continue;
    node->seen = true;
    for (long long slot = range->element[0]->integer; slot <= range->element[1]->integer; slot++, known++)
      redis->slots[slot] = node;
  }
  return known;
}

static void told(struct kvi_redis_conn *conn, const redisReply *reply)
{
  struct kvi_redis *redis = conn->redis;

  if (!reply) {
    kvi_redis_topology_asked(redis, false);
    return;
  }
  if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
    kvi_log_limited(KVI_LOG_WARN, "tier redis: a server tells of no cluster%s%s",
                    reply->type == REDIS_REPLY_ERROR ? ": " : "",
                    reply->type == REDIS_REPLY_ERROR ? reply->str : "");
    kvi_redis_topology_asked(redis, false);
    return;
  }
  redis->n_slots_known = map_take(conn, reply);
  for (uint32_t i = 0; redis->n_slots_known > 0 && i < redis->n_nodes; i++)
    if (!redis->nodes[i]->seen && !redis->nodes[i]->retired)
      kvi_redis_node_retire(redis->nodes[i]);
  kvi_redis_topology_asked(redis, redis->n_slots_known > 0);
  kvi_redis_topology_changed(redis);
}

void kvi_redis_cluster_ask(struct kvi_redis_conn *conn)
{
  static const char *const words[] = {"CLUSTER", "SLOTS"};

  if (kvi_redis_conn_ask(conn, told, 2, words, NULL) != KVS_OK)
    kvi_redis_topology_asked(conn->redis, false);
}

struct kvi_redis_node *kvi_redis_cluster_redirect(struct kvi_redis *redis, struct kvi_redis_node *from,
                                                  const char *text, size_t length, bool *moved_p)
{
  const char *slot_text = memchr(text, ' ', length), *end = text + length, *address_text;
  struct kvi_redis_address address;
  struct kvi_redis_node *node;
  uint32_t slot = 0;

  *moved_p = text[0] == 'M';
  if (!slot_text)
    return NULL;
  address_text = memchr(slot_text + 1, ' ', (size_t)(end - slot_text - 1));
  if (!address_text)
    return NULL;
  for (const char *at = slot_text + 1; at < address_text; at++) {
    if (*at < '0' || *at > '9' || slot >= KVI_REDIS_SLOTS)
      return NULL;
    slot = slot * 10 + (uint32_t)(*at - '0');
  }
  if (slot >= KVI_REDIS_SLOTS || kvi_redis_address_told(address_text + 1, (size_t)(end - address_text - 1),
                                                        &from->address, &address) != KVS_OK)
    return NULL;
  node = node_at(redis, &address);
  if (node && *moved_p) {
    redis->slots[slot] = node;
    kvi_redis_topology_doubt(redis); /* others will have moved too */
  }
  return node;
}
