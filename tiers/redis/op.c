/* tiers/redis/op.c: an operation from the inbox to its one end. */
#include <string.h>

#include "base/log.h"
#include "tiers/redis/redis_private.h"

/* ---- waiting ---- */

void kvi_redis_op_wait(struct kvi_redis_op *op, kvi_list *queue)
{
  op->own.queue = queue;
  kvi_list_push_back(queue, &op->own.waiting);
}

struct kvi_redis_op *kvi_redis_op_unwait(kvi_list *queue)
{
  kvi_list_node *first = kvi_list_pop_front(queue);
  struct kvi_redis_op *op;

  if (!first)
    return NULL;
  op = kvi_list_entry(first, struct kvi_redis_op, own.waiting);
  op->own.queue = NULL;
  return op;
}

/* ---- the end ---- */

/* 0 means not yet, so nothing that was measured is 0. */
static uint64_t decayed(uint64_t average, uint64_t measured)
{
  return (average ? (average * 7 + measured) / 8 : measured) + (measured == 0);
}

static void count(struct kvi_redis *redis, const struct kvi_redis_op *op)
{
  struct kvi_redis_stats *stats = &redis->stats;
  bool hit = op->status == KVS_OK;

  pthread_mutex_lock(&redis->stats_lock);
  stats->causes[op->cause]++;
  switch (op->verb) {
  case KVI_REDIS_LOOK:
    stats->looks++;
    stats->look_hits += hit;
    if (hit || op->cause == KVI_REDIS_ABSENT)
      stats->round_trip_us = decayed(stats->round_trip_us, (kvi_now_ns() - op->own.began_ns) / KVI_NS_PER_US);
    break;
  case KVI_REDIS_GET:
    stats->gets++;
    stats->get_hits += hit;
    break;
  case KVI_REDIS_PUT:
    stats->puts++;
    stats->put_writes += hit;
    stats->put_exists += op->status == KVS_EXISTS;
    stats->put_canceled += op->status == KVS_ERR_CANCELED;
    stats->bytes_out += hit ? op->payload_bytes : 0;
    break;
  case KVI_REDIS_UNLINK:
    stats->unlinks++;
    break;
  case KVI_REDIS_TURN:
    break;
  }
  pthread_mutex_unlock(&redis->stats_lock);
}

void kvi_redis_op_end(struct kvi_redis *redis, struct kvi_redis_op *op, kvs_status status,
                      enum kvi_redis_cause cause)
{
  op->status = status;
  op->cause = cause;
  kvi_list_remove(&redis->ops, &op->own.all);
  redis->n_puts -= op->verb == KVI_REDIS_PUT;
  count(redis, op);
  /* relaxed: a bound, it orders nothing */
  atomic_fetch_sub_explicit(&redis->n_ops, 1, memory_order_relaxed);
  op->done(op);
}

static kvs_status put_status(enum kvi_redis_cause cause)
{
  switch (cause) {
  case KVI_REDIS_FULL:
    return KVS_ERR_FULL;
  case KVI_REDIS_DEADLINE:
    return KVS_ERR_DEADLINE;
  case KVI_REDIS_DOWN:
    return KVS_ERR_UNREACHABLE;
  case KVI_REDIS_DENIED:
    return KVS_ERR_DENIED;
  case KVI_REDIS_TOO_LARGE:
    return KVS_ERR_TOO_LARGE;
  case KVI_REDIS_BUSY:
    return KVS_ERR_BUSY;
  default:
    return KVS_ERR_IO;
  }
}

void kvi_redis_op_fail(struct kvi_redis *redis, struct kvi_redis_op *op, enum kvi_redis_cause cause)
{
  kvi_redis_op_end(redis, op, op->verb == KVI_REDIS_PUT ? put_status(cause) : KVS_MISS, cause);
}

/* ---- on its way ---- */

void kvi_redis_op_route(struct kvi_redis *redis, struct kvi_redis_op *op)
{
  struct kvi_redis_node *node;

  if (redis->ending) {
    kvi_redis_op_fail(redis, op, KVI_REDIS_DOWN);
    return;
  }
  if (op->verb == KVI_REDIS_UNLINK && kvi_redis_forget(redis, op))
    return;
  node = kvi_redis_topology_route(redis, op);
  if (node)
    kvi_redis_node_submit(node, op);
  else if (kvi_redis_topology_is_lost(redis))
    kvi_redis_op_fail(redis, op, KVI_REDIS_DOWN);
  else
    kvi_redis_op_wait(op, &redis->homeless);
}

void kvi_redis_op_lost(struct kvi_redis *redis, struct kvi_redis_op *op)
{
  op->own.conn = NULL;
  op->own.asking = false;
  if (op->own.forgotten) {
    kvi_redis_op_end(redis, op, KVS_ERR_CANCELED, KVI_REDIS_NONE);
    return;
  }
  /* A get that had begun to land is not begun again: its places are taken once. */
  if (op->own.landing || ++op->own.attempts >= KVI_REDIS_ATTEMPTS_MAX || redis->ending) {
    kvi_redis_op_fail(redis, op, KVI_REDIS_DOWN);
    return;
  }
  kvi_redis_count(redis, &redis->stats.retries, 1);
  kvi_redis_op_route(redis, op);
}

/* ---- deadlines ---- */

static void expire(struct kvi_redis *redis, struct kvi_redis_op *op)
{
  struct kvi_redis_conn *conn = op->own.conn;

  if (op->own.queue)
    kvi_list_remove(op->own.queue, &op->own.waiting);
  op->own.queue = NULL;
  if (conn && kvi_redis_conn_abandon(conn, op))
    kvi_redis_node_late(conn->node, op->own.sent_ns);
  kvi_redis_op_fail(redis, op, KVI_REDIS_DEADLINE);
}

/* NULL: none; then *next_ns_p is when the next one may be. */
static struct kvi_redis_op *first_expired(struct kvi_redis *redis, uint64_t now_ns, uint64_t *next_ns_p)
{
  *next_ns_p = KVI_REDIS_NEVER;
  kvi_list_for_each(&redis->ops, node)
  {
    struct kvi_redis_op *op = kvi_list_entry(node, struct kvi_redis_op, own.all);

    if (op->deadline_ns <= now_ns)
      return op;
    *next_ns_p = op->deadline_ns < *next_ns_p ? op->deadline_ns : *next_ns_p;
  }
  return NULL;
}

uint64_t kvi_redis_ops_tick(struct kvi_redis *redis, uint64_t now_ns)
{
  uint64_t next_ns;
  struct kvi_redis_op *op;

  /* From the front each time: the end of one may be the end of others. Those that end are mostly the oldest, which are there. */
  while ((op = first_expired(redis, now_ns, &next_ns)) != NULL)
    expire(redis, op);
  return next_ns;
}
