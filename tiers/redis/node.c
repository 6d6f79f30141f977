/* tiers/redis/node.c: one server: its connections, who of them takes what, and whether it is worth asking. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/redis/redis_private.h"

#define WARN_AGAIN_NS (30 * KVI_NS_PER_S)

enum { CHUNKS = 0, SMALL = 1 };

struct kvi_redis_node *kvi_redis_node_find(struct kvi_redis *redis, const struct kvi_redis_address *address)
{
  for (uint32_t i = 0; i < redis->n_nodes; i++) {
    struct kvi_redis_node *node = redis->nodes[i];

    if (!node->is_sentinel && !node->retired && kvi_redis_address_equal(&node->address, address))
      return node;
  }
  return NULL;
}

struct kvi_redis_node *kvi_redis_node_create(struct kvi_redis *redis, const struct kvi_redis_address *address,
                                             bool is_sentinel)
{
  const struct kvi_redis_config *config = &redis->config;
  struct kvi_redis_node *node;

  if (redis->n_nodes == KVI_REDIS_NODES_MAX) {
    kvi_log_limited(KVI_LOG_WARN, "tier redis: more than %u servers, the others are not used",
                    KVI_REDIS_NODES_MAX);
    return NULL;
  }
  node = calloc(1, sizeof(*node));
  if (!node)
    return NULL;
  node->redis = redis;
  node->address = *address;
  node->is_sentinel = is_sentinel;
  node->why = KVI_REDIS_DOWN;
  node->breaker = (struct kvi_redis_breaker){.threshold = config->breaker_failures,
                                             .first_ms = config->retry_first_ms,
                                             .longest_ms = config->retry_longest_ms};
  kvi_list_init(&node->waiting[CHUNKS]);
  kvi_list_init(&node->waiting[SMALL]);
  node->n_conns = is_sentinel ? 1 : config->connections + 1;
  node->conns = calloc(node->n_conns, sizeof(*node->conns));
  if (!node->conns) {
    free(node);
    return NULL;
  }
  for (uint32_t i = 0; i < node->n_conns; i++)
    kvi_redis_conn_init(&node->conns[i], node, i == 0);
  redis->nodes[redis->n_nodes++] = node;
  kvi_redis_tick_by(redis, redis->now_ns);
  return node;
}

void kvi_redis_node_destroy(struct kvi_redis_node *node)
{
  for (uint32_t i = 0; i < node->n_conns; i++)
    kvi_redis_conn_destroy(&node->conns[i]);
  free(node->conns);
  free(node);
}

void kvi_redis_node_retire(struct kvi_redis_node *node)
{
  struct kvi_redis *redis = node->redis;

  if (node->retired)
    return;
  node->retired = true;
  if (redis->master == node)
    redis->master = NULL;
  for (uint32_t i = 0; redis->slots && i < KVI_REDIS_SLOTS; i++)
    if (redis->slots[i] == node)
      redis->slots[i] = NULL;
  kvi_redis_node_flush(node, true);
  for (uint32_t i = 0; i < node->n_conns; i++)
    kvi_redis_conn_close(&node->conns[i], false, "it is not asked any more");
  kvi_redis_tick_by(redis, redis->now_ns);
}

bool kvi_redis_node_is_ready(const struct kvi_redis_node *node)
{
  for (uint32_t i = 0; i < node->n_conns; i++)
    if (node->conns[i].state == KVI_REDIS_CONN_READY)
      return true;
  return false;
}

/* ---- ops ---- */

void kvi_redis_node_flush(struct kvi_redis_node *node, bool reroute)
{
  struct kvi_redis_op *op;

  for (int kind = CHUNKS; kind <= SMALL; kind++)
    while ((op = kvi_redis_op_unwait(&node->waiting[kind])) != NULL) {
      if (reroute)
        kvi_redis_op_lost(node->redis, op);
      else
        kvi_redis_op_fail(node->redis, op, node->why);
    }
}

void kvi_redis_node_submit(struct kvi_redis_node *node, struct kvi_redis_op *op)
{
  if (op->own.forgotten) { /* redirected, or to look again: it was not written */
    kvi_redis_op_end(node->redis, op, KVS_ERR_CANCELED, KVI_REDIS_NONE);
    return;
  }
  if (kvi_redis_breaker_is_open(&node->breaker)) {
    kvi_redis_op_fail(node->redis, op, node->why);
    return;
  }
  kvi_redis_op_wait(op, &node->waiting[kvi_redis_op_is_small(op) ? SMALL : CHUNKS]);
}

struct kvi_redis_conn *kvi_redis_node_idle(struct kvi_redis_node *node)
{
  for (uint32_t i = 0; i < node->n_conns; i++)
    if (node->conns[i].state == KVI_REDIS_CONN_READY && kvi_redis_conn_room(&node->conns[i]) > 0)
      return &node->conns[i];
  return NULL;
}

/* Lookups have a connection of their own; chunks go where the fewest bytes are under way. */
static struct kvi_redis_conn *choose(struct kvi_redis_node *node, int kind)
{
  struct kvi_redis_conn *best = NULL;

  for (uint32_t i = kind == SMALL ? 0 : 1; i < (kind == SMALL ? 1 : node->n_conns); i++) {
    struct kvi_redis_conn *conn = &node->conns[i];
    uint32_t most = kind == SMALL ? conn->n_ring - 2 : node->redis->config.pipeline;

    if (conn->state != KVI_REDIS_CONN_READY || conn->next - conn->first >= most ||
        kvi_redis_conn_room(conn) < 3)
      continue;
    if (!best || conn->out_bytes + conn->in_bytes < best->out_bytes + best->in_bytes)
      best = conn;
  }
  return best;
}

void kvi_redis_node_feed(struct kvi_redis_node *node)
{
  for (int kind = CHUNKS; kind <= SMALL; kind++)
    while (!kvi_list_is_empty(&node->waiting[kind])) {
      struct kvi_redis_conn *conn = choose(node, kind);

      if (!conn)
        break;
      kvi_redis_command_send(conn, kvi_redis_op_unwait(&node->waiting[kind]));
    }
}

/* ---- up or down ---- */

void kvi_redis_node_failed(struct kvi_redis_node *node, bool trip, enum kvi_redis_cause why, const char *text)
{
  struct kvi_redis *redis = node->redis;
  char address[KVI_REDIS_ADDRESS_MAX];
  bool opened = trip ? kvi_redis_breaker_trip(&node->breaker, &redis->rand, redis->now_ns)
                     : kvi_redis_breaker_fail(&node->breaker, &redis->rand, redis->now_ns);

  if (kvi_redis_breaker_is_open(&node->breaker))
    kvi_redis_tick_by(redis, node->breaker.until_ns);
  if (!opened)
    return;
  node->why = why;
  node->was_up = false;
  kvi_redis_count(redis, &redis->stats.breaker_opened, 1);
  kvi_redis_node_flush(node, false);
  if (redis->now_ns < node->warned_ns + WARN_AGAIN_NS)
    return; /* it comes and goes: said once in a while */
  node->warned_ns = redis->now_ns;
  kvi_log_limited(KVI_LOG_WARN, "tier redis: %s %s: %s; it is left alone and tried again now and then",
                  node->is_sentinel ? "sentinel" : "server",
                  kvi_redis_address_format(&node->address, address), text);
}

void kvi_redis_node_answered(struct kvi_redis_node *node)
{
  char text[KVI_REDIS_ADDRESS_MAX];

  if (kvi_redis_breaker_succeed(&node->breaker) && !node->was_up) {
    kvi_log_debug("tier redis: %s %s: answers again", node->is_sentinel ? "sentinel" : "server",
                  kvi_redis_address_format(&node->address, text));
    node->was_up = true;
  }
}

/*
 * A deadline may be short: what it says of the server is that it was silent for so long, and all that waited at that time say the same. So it
 * counts once, and only if the server has told nobody anything since; a second time only for what was sent after the first.
 */
void kvi_redis_node_late(struct kvi_redis_node *node, uint64_t sent_ns)
{
  if (sent_ns < node->heard_ns || sent_ns < node->late_ns)
    return;
  node->late_ns = node->redis->now_ns;
  kvi_redis_node_failed(node, false, KVI_REDIS_DEADLINE, "it does not answer in time");
}

static void probed(struct kvi_redis_conn *conn, const redisReply *reply)
{
  conn->probe_until_ns = 0;
  if (reply && reply->type != REDIS_REPLY_ERROR)
    kvi_redis_node_answered(conn->node);
}

/* The breaker's one attempt: a PING on a connection that is still there, or a new connection. Returns when to look again. */
static uint64_t attempt(struct kvi_redis_node *node, uint64_t now_ns)
{
  static const char *const ping[] = {"PING"};
  struct kvi_redis *redis = node->redis;
  struct kvi_redis_conn *ready = NULL;

  for (uint32_t i = 0; i < node->n_conns; i++) {
    struct kvi_redis_conn *conn = &node->conns[i];

    if (conn->probe_until_ns != 0 && now_ns < conn->probe_until_ns)
      return conn->probe_until_ns;
    if (conn->probe_until_ns != 0) {
      kvi_redis_conn_close(conn, true, "it does not answer");
      return node->breaker.until_ns;
    }
    if (conn->state == KVI_REDIS_CONN_READY && !ready && kvi_redis_conn_room(conn) > 0)
      ready = conn;
    else if (conn->state != KVI_REDIS_CONN_DOWN && conn->state != KVI_REDIS_CONN_READY)
      return conn->state_until_ns; /* under way */
  }
  if (!kvi_redis_breaker_may_try(&node->breaker, now_ns))
    return node->breaker.until_ns;
  if (ready && kvi_redis_conn_ask(ready, probed, 1, ping, NULL) == KVS_OK) {
    ready->probe_until_ns = now_ns + redis->config.connect_timeout_ms * KVI_NS_PER_MS;
    return ready->probe_until_ns;
  }
  if (ready) /* no memory: a little later */
    return now_ns + redis->config.retry_first_ms * KVI_NS_PER_MS;
  kvi_redis_conn_connect(&node->conns[0], now_ns);
  return node->conns[0].state == KVI_REDIS_CONN_DOWN ? node->breaker.until_ns : node->conns[0].state_until_ns;
}

uint64_t kvi_redis_node_tick(struct kvi_redis_node *node, uint64_t now_ns)
{
  uint64_t next_ns = KVI_REDIS_NEVER, at_ns;

  if (node->retired)
    return next_ns;
  for (uint32_t i = 0; i < node->n_conns; i++) {
    at_ns = kvi_redis_conn_tick(&node->conns[i], now_ns);
    next_ns = at_ns < next_ns ? at_ns : next_ns;
  }
  if (kvi_redis_breaker_is_open(&node->breaker)) {
    at_ns = attempt(node, now_ns);
    return at_ns < next_ns ? at_ns : next_ns;
  }
  for (uint32_t i = 0; i < node->n_conns; i++) {
    struct kvi_redis_conn *conn = &node->conns[i];

    if (conn->state != KVI_REDIS_CONN_DOWN)
      continue;
    if (now_ns >= conn->retry_ns)
      kvi_redis_conn_connect(conn, now_ns);
    at_ns = conn->state == KVI_REDIS_CONN_DOWN ? conn->retry_ns : conn->state_until_ns;
    next_ns = at_ns < next_ns ? at_ns : next_ns;
    if (kvi_redis_breaker_is_open(&node->breaker))
      break; /* this one was refused at once */
  }
  return next_ns;
}
