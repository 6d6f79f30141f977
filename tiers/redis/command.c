/* tiers/redis/command.c: operations as Redis commands, and what their answers mean. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tiers/policy/policy.h"
#include "tiers/redis/redis_private.h"

#define LOOK_BYTES     KVI_REDIS_LOOK_BYTES /* what a lookup reads of a value */
#define EXPECTED_CHUNK (1u << 20)           /* a get's share of a connection before its size is known */

/* ---- sending ---- */

static void head_add(struct kvi_redis_command *command, const void *bytes, size_t length)
{
  memcpy(command->head + command->head_length, bytes, length);
  command->head_length += length;
}

/* "*n $verb verb $key key": the head of all commands here. It fits by the size of head. */
static void head_begin(struct kvi_redis_command *command, int words, const char *verb,
                       const struct kvi_redis_key *key)
{
  char text[64];
  int length = snprintf(text, sizeof(text), "*%d\r\n$%zu\r\n%s\r\n$%u\r\n", words, strlen(verb), verb,
                        (unsigned)key->length);

  head_add(command, text, (size_t)length);
  head_add(command, key->bytes, key->length);
}

static void head_text(struct kvi_redis_command *command, const char *text)
{
  head_add(command, text, strlen(text));
}

static void send_look(struct kvi_redis_command *command, const struct kvi_redis_op *op)
{
  static_assert(LOOK_BYTES == 136, "the range below");
  head_begin(command, 4, "GETRANGE", &op->key);
  head_text(command, "\r\n$1\r\n0\r\n$3\r\n135\r\n");
}

/* NX: what another node has written since the look is looked at before it is replaced. */
static void send_set(struct kvi_redis_command *command, const struct kvi_redis_op *op)
{
  static const char nx[] = "$2\r\nNX\r\n";
  char text[KVI_REDIS_TAIL_MAX];
  size_t length = 2;

  head_begin(command, 3 + (op->ttl_ms ? 2 : 0) + (op->own.absent ? 1 : 0), "SET", &op->key);
  command->body_length = op->prologue_length + op->payload_bytes;
  snprintf(text, sizeof(text), "\r\n$%zu\r\n", command->body_length);
  head_text(command, text);
  memcpy(command->tail, "\r\n", 2);
  if (op->ttl_ms) {
    int digits = snprintf(text, sizeof(text), "%" PRIu64, op->ttl_ms);

    length =
        (size_t)snprintf(command->tail, sizeof(command->tail), "\r\n$2\r\nPX\r\n$%d\r\n%s\r\n", digits, text);
  }
  if (op->own.absent) {
    memcpy(command->tail + length, nx, sizeof(nx) - 1);
    length += sizeof(nx) - 1;
  }
  command->tail_length = length;
}

void kvi_redis_command_send(struct kvi_redis_conn *conn, struct kvi_redis_op *op)
{
  static const char *const asking[] = {"ASKING"};
  struct kvi_redis_command *command;

  if (op->own.asking && kvi_redis_conn_ask(conn, NULL, 1, asking, NULL) != KVS_OK) {
    kvi_redis_op_fail(conn->redis, op, KVI_REDIS_BUSY);
    return;
  }
  op->own.asking = false;
  op->own.conn = conn;
  op->own.sent_ns = conn->redis->now_ns;
  op->own.command = conn->next;
  command =
      kvi_redis_conn_add(conn, op->verb == KVI_REDIS_GET ? KVI_REDIS_EXPECT_CHUNK : KVI_REDIS_EXPECT_REPLY);
  command->op = op;
  if (op->verb == KVI_REDIS_GET) {
    head_begin(command, 2, "GET", &op->key);
    head_text(command, "\r\n");
    command->expected_bytes = EXPECTED_CHUNK;
  } else if (op->verb == KVI_REDIS_UNLINK) {
    head_begin(command, 2, "UNLINK", &op->key);
    head_text(command, "\r\n");
  } else if (op->verb == KVI_REDIS_PUT && op->own.write) {
    send_set(command, op);
  } else {
    send_look(command, op);
  }
  conn->in_bytes += command->expected_bytes;
  conn->out_bytes += kvi_redis_command_bytes(command);
}

void kvi_redis_command_renew(struct kvi_redis_conn *conn, const struct kvi_redis_op *op)
{
  /* What the chunk's own put asked for bounds what its readers do. */
  uint64_t ttl_ms = kvi_policy_ttl_ms(op->value.ttl_ms, op->renew_ms);
  char ttl[24];
  const char *words[] = {"PEXPIRE", (const char *)op->key.bytes, ttl};
  size_t lengths[] = {7, op->key.length, 0};

  if (ttl_ms == 0)
    return;
  lengths[2] = (size_t)snprintf(ttl, sizeof(ttl), "%" PRIu64, ttl_ms);
  (void)kvi_redis_conn_ask(conn, NULL, 3, words, lengths); /* without room it ages: no harm */
}

void kvi_redis_command_remove(struct kvi_redis_conn *conn, const struct kvi_redis_op *op)
{
  const char *words[] = {"UNLINK", (const char *)op->key.bytes};
  size_t lengths[] = {6, op->key.length};

  (void)kvi_redis_conn_ask(conn, NULL, 2, words, lengths); /* without room the next get does it */
}

/* ---- answers ---- */

static void write_now(struct kvi_redis_conn *conn, struct kvi_redis_op *op, bool absent)
{
  op->own.write = true;
  op->own.absent = absent && !op->own.late;
  kvi_redis_node_submit(conn->node, op);
}

/* Nothing was there at its look, but something is now: once more from the look; what that decides is written over whatever comes meanwhile. */
static void look_again(struct kvi_redis_conn *conn, struct kvi_redis_op *op)
{
  op->own.write = op->own.absent = false;
  op->own.late = true;
  kvi_redis_node_submit(conn->node, op);
}

static enum kvi_redis_cause read_look(struct kvi_redis_op *op, const redisReply *reply)
{
  const uint8_t *bytes = (const uint8_t *)reply->str;
  size_t size = (size_t)reply->len;
  enum kvi_redis_cause cause;

  if (reply->type != REDIS_REPLY_STRING)
    return KVI_REDIS_REFUSED;
  if (size == 0)
    return KVI_REDIS_ABSENT;
  cause = kvi_redis_value_read(&op->key, bytes, size, size < LOOK_BYTES ? size : 0, &op->value);
  return cause == KVI_REDIS_NONE ? kvi_redis_value_quality(&op->value, bytes, size) : cause;
}

static void answer_look(struct kvi_redis_conn *conn, struct kvi_redis_op *op, const redisReply *reply)
{
  struct kvi_redis *redis = conn->redis;
  enum kvi_redis_cause cause = read_look(op, reply);

  if (op->verb == KVI_REDIS_LOOK) {
    if (cause == KVI_REDIS_NONE && op->value.value_bytes > redis->config.value_bytes_max)
      cause = KVI_REDIS_TOO_LARGE; /* a get would not take it */
    if (cause == KVI_REDIS_NONE)
      kvi_redis_op_end(redis, op, KVS_OK, cause);
    else
      kvi_redis_op_fail(redis, op, cause);
    return;
  }
  if (cause == KVI_REDIS_NONE && !kvi_redis_value_gives_way(&op->value, op->quality, op->payload_bytes)) {
    kvi_redis_command_renew(conn, op);
    kvi_redis_op_end(redis, op, KVS_EXISTS, cause);
  } else if (cause == KVI_REDIS_VERSION) {
    kvi_redis_op_end(redis, op, KVS_EXISTS, cause); /* a newer node's: it is left to those who can read it */
  } else {
    write_now(conn, op, cause == KVI_REDIS_ABSENT);
  }
}

void kvi_redis_command_answer(struct kvi_redis_conn *conn, struct kvi_redis_op *op, const redisReply *reply)
{
  struct kvi_redis *redis = conn->redis;

  if (reply->type == REDIS_REPLY_ERROR) {
    kvi_redis_command_error(conn, op, reply->str, (size_t)reply->len);
    return;
  }
  kvi_redis_node_answered(conn->node);
  if (op->verb == KVI_REDIS_UNLINK) {
    if (reply->type == REDIS_REPLY_INTEGER && reply->integer > 0)
      kvi_redis_op_end(redis, op, KVS_OK, KVI_REDIS_NONE);
    else
      kvi_redis_op_fail(redis, op, KVI_REDIS_ABSENT);
  } else if (op->verb == KVI_REDIS_PUT && op->own.write) {
    if (reply->type == REDIS_REPLY_STATUS)
      kvi_redis_op_end(redis, op, KVS_OK, KVI_REDIS_NONE);
    else if (reply->type == REDIS_REPLY_NIL && op->own.absent)
      look_again(conn, op);
    else
      kvi_redis_op_fail(redis, op, KVI_REDIS_REFUSED);
  } else if (op->verb == KVI_REDIS_GET) {
    kvi_redis_op_fail(redis, op, KVI_REDIS_REFUSED); /* a chunk would not have come this way */
  } else {
    answer_look(conn, op, reply);
  }
}

/* ---- errors ---- */

static bool begins(const char *text, size_t length, const char *word)
{
  size_t n = strlen(word);

  return length >= n && memcmp(text, word, n) == 0;
}

static bool begins_any(const char *text, size_t length, const char *const *words)
{
  for (; *words; words++)
    if (begins(text, length, *words))
      return true;
  return false;
}

static void redirect(struct kvi_redis_conn *conn, struct kvi_redis_op *op, const char *text, size_t length)
{
  struct kvi_redis *redis = conn->redis;
  struct kvi_redis_node *node = NULL;
  bool moved = false;

  if (redis->config.mode == KVI_REDIS_CLUSTER && ++op->own.redirects <= KVI_REDIS_REDIRECTS_MAX)
    node = kvi_redis_cluster_redirect(redis, conn->node, text, length, &moved);
  if (!node) {
    kvi_log_limited(KVI_LOG_WARN, "tier redis: redirected in vain: %.*s%s", (int)(length < 80 ? length : 80),
                    text, redis->config.mode == KVI_REDIS_CLUSTER ? "" : "; is redis.mode to be cluster?");
    kvi_redis_op_fail(redis, op, KVI_REDIS_REFUSED);
    return;
  }
  kvi_redis_count(redis, &redis->stats.redirects, 1);
  op->own.asking = !moved;
  kvi_redis_node_submit(node, op);
}

void kvi_redis_command_error(struct kvi_redis_conn *conn, struct kvi_redis_op *op, const char *text,
                             size_t length)
{
  static const char *const down[] = {"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", NULL};
  static const char *const denied[] = {"NOAUTH", "NOPERM", "WRONGPASS", NULL};
  struct kvi_redis *redis = conn->redis;

  if (begins(text, length, "MOVED ") || begins(text, length, "ASK ")) {
    kvi_redis_node_answered(conn->node);
    redirect(conn, op, text, length);
  } else if (begins(text, length, "WRONGTYPE")) {
    kvi_redis_node_answered(conn->node);
    if (op->verb == KVI_REDIS_PUT)
      write_now(conn, op, false); /* SET takes its place */
    else
      kvi_redis_op_fail(redis, op, KVI_REDIS_WRONG_TYPE);
  } else if (begins(text, length, "OOM")) {
    kvi_redis_node_answered(conn->node);
    kvi_redis_op_fail(redis, op, KVI_REDIS_FULL);
  } else if (begins(text, length, "READONLY") && redis->config.mode != KVI_REDIS_SINGLE) {
    kvi_redis_topology_doubt(redis); /* it was demoted; the new master takes what is left of the deadline */
    if (redis->config.mode == KVI_REDIS_SENTINEL)
      kvi_redis_node_retire(conn->node);
    kvi_redis_op_lost(redis, op);
  } else if (begins_any(text, length, down)) {
    kvi_redis_node_failed(conn->node, false, KVI_REDIS_DOWN, text);
    kvi_redis_topology_doubt(redis);
    kvi_redis_op_fail(redis, op, KVI_REDIS_DOWN);
  } else {
    bool is_denied = begins_any(text, length, denied);

    kvi_log_limited(KVI_LOG_WARN, "tier redis: refused: %.*s", (int)(length < 200 ? length : 200), text);
    kvi_redis_op_fail(redis, op, is_denied ? KVI_REDIS_DENIED : KVI_REDIS_REFUSED);
  }
}
