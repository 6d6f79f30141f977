/*
 * tiers/redis/forget.c: a chunk is removed while this node writes it. A SET that is answered after the UNLINK would bring the chunk back, and the
 * two may travel on two connections: so a put that has sent nothing ends, and behind a SET that is on its way the UNLINK follows on its
 * connection, where Redis takes them in order.
 */
#include <string.h>

#include "tiers/redis/redis_private.h"

static bool is_same(const struct kvi_redis_key *a, const struct kvi_redis_key *b)
{
  return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* The first put of that key that still has to be seen to; NULL: none. */
static struct kvi_redis_op *put_find(struct kvi_redis *redis, const struct kvi_redis_key *key)
{
  uint32_t left = redis->n_puts;

  if (left == 0)
    return NULL;
  kvi_list_for_each(&redis->ops, node)
  {
    struct kvi_redis_op *op = kvi_list_entry(node, struct kvi_redis_op, own.all);

    if (op->verb != KVI_REDIS_PUT)
      continue;
    if (!op->own.forgotten && is_same(&op->key, key))
      return op;
    if (--left == 0)
      return NULL;
  }
  return NULL;
}

/* Where a SET of that key is on its way; NULL: nowhere. On more connections than one (equal puts of several callers) the others remove it too. */
static struct kvi_redis_conn *connection_of_set(struct kvi_redis *redis, const struct kvi_redis_op *unlink)
{
  struct kvi_redis_conn *conn = NULL;
  uint32_t left = redis->n_puts;

  if (left == 0)
    return NULL;
  kvi_list_for_each(&redis->ops, node)
  {
    const struct kvi_redis_op *op = kvi_list_entry(node, struct kvi_redis_op, own.all);

    if (op->verb != KVI_REDIS_PUT)
      continue;
    if (op->own.forgotten && op->own.conn && is_same(&op->key, &unlink->key)) {
      if (!conn)
        conn = op->own.conn;
      else if (op->own.conn != conn)
        kvi_redis_command_remove(op->own.conn, unlink);
    }
    if (--left == 0)
      break;
  }
  return conn;
}

bool kvi_redis_forget(struct kvi_redis *redis, struct kvi_redis_op *unlink)
{
  struct kvi_redis_conn *conn;
  struct kvi_redis_op *put;

  /* From the front each time: the end of one may be the end of others. */
  while ((put = put_find(redis, &unlink->key)) != NULL) {
    if (put->own.conn && put->own.write && kvi_redis_conn_has_begun(put->own.conn, put)) {
      put->own.forgotten = true;
      continue;
    }
    if (put->own.queue)
      kvi_list_remove(put->own.queue, &put->own.waiting);
    put->own.queue = NULL;
    if (put->own.conn) /* its look, or a SET of which nothing was sent: the connection stays */
      (void)kvi_redis_conn_abandon(put->own.conn, put);
    kvi_redis_op_end(redis, put, KVS_ERR_CANCELED, KVI_REDIS_NONE);
  }
  conn = connection_of_set(redis, unlink);
  if (!conn)
    return false;
  if (kvi_redis_conn_room(conn) < 3) /* ASKING, itself, and one to spare */
    kvi_redis_op_fail(redis, unlink, KVI_REDIS_BUSY);
  else
    kvi_redis_command_send(conn, unlink);
  return true;
}
