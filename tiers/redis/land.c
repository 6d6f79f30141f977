/*
 * tiers/redis/land.c: a chunk as it comes in. Header and table are collected and checked; then the payload goes straight from the
 * kernel to its places and is summed while it is in the cache. Whatever is wrong with it ends the get; the rest is read and
 * dropped, so that the replies behind it are found.
 */
#include <string.h>

#include "base/crc32c.h"
#include "tiers/redis/redis_private.h"

#define BULK_MAX (UINT64_C(512) << 20) /* Redis' own bound of a string */
#define CRLF     2u

void kvi_redis_incoming_begin(struct kvi_redis_conn *conn)
{
  uint8_t *prologue = conn->incoming.prologue;

  memset(&conn->incoming, 0, sizeof(conn->incoming));
  conn->incoming.prologue = prologue;
  conn->incoming.stage = KVI_REDIS_STAGE_LINE;
  conn->incoming.began_ns = conn->redis->now_ns;
}

static struct kvi_redis_op *op_of(struct kvi_redis_conn *conn)
{
  return kvi_redis_conn_command(conn, conn->first)->op;
}

static struct kvi_redis_op *op_take(struct kvi_redis_conn *conn)
{
  struct kvi_redis_command *command = kvi_redis_conn_command(conn, conn->first);
  struct kvi_redis_op *op = command->op;

  command->op = NULL;
  if (op)
    op->own.conn = NULL;
  return op;
}

static void over(struct kvi_redis_conn *conn)
{
  conn->incoming.stage = KVI_REDIS_STAGE_REPLY;
  kvi_redis_conn_pop(conn);
}

void kvi_redis_incoming_discard(struct kvi_redis_conn *conn)
{
  if (conn->incoming.stage > KVI_REDIS_STAGE_LINE) /* else its length will say how much there is to drop */
    conn->incoming.stage = KVI_REDIS_STAGE_DISCARD;
}

static void fail(struct kvi_redis_conn *conn, enum kvi_redis_cause cause)
{
  struct kvi_redis_op *op = op_take(conn);

  conn->incoming.stage = KVI_REDIS_STAGE_DISCARD;
  if (cause == KVI_REDIS_LENGTH || cause == KVI_REDIS_CHECKSUM || cause == KVI_REDIS_MISPLACED)
    kvi_redis_command_remove(conn, op); /* of no use to anybody, and in the way of a put */
  kvi_redis_op_fail(conn->redis, op, cause);
}

static void succeed(struct kvi_redis_conn *conn)
{
  struct kvi_redis *redis = conn->redis;
  struct kvi_redis_op *op = op_take(conn);
  uint64_t took_ns = kvi_now_ns() - conn->incoming.began_ns, speed;

  conn->incoming.stage = KVI_REDIS_STAGE_DISCARD;
  speed = op->value.payload_bytes * 1000 / (took_ns / 1000 + 1) * 1000;
  pthread_mutex_lock(&redis->stats_lock);
  redis->stats.bytes_in += op->value.payload_bytes;
  redis->stats.read_bytes_per_s =
      redis->stats.read_bytes_per_s ? (redis->stats.read_bytes_per_s * 7 + speed) / 8 : speed;
  pthread_mutex_unlock(&redis->stats_lock);
  kvi_redis_command_renew(conn, op);
  kvi_redis_op_end(redis, op, KVS_OK, KVI_REDIS_NONE);
}

/* ---- "$length" ---- */

static bool parse_length(const char *line, size_t length, int64_t *value_p)
{
  int64_t value = 0;

  if (length < 4 || line[length - 2] != '\r')
    return false;
  if (length == 5 && line[1] == '-' && line[2] == '1') {
    *value_p = -1;
    return true;
  }
  for (size_t i = 1; i < length - 2; i++) {
    if (line[i] < '0' || line[i] > '9')
      return false;
    value = value * 10 + (line[i] - '0');
    if (value > (int64_t)BULK_MAX)
      return false;
  }
  *value_p = value;
  return true;
}

static bool line_done(struct kvi_redis_conn *conn)
{
  struct kvi_redis_incoming *incoming = &conn->incoming;
  struct kvi_redis_op *op = op_of(conn);
  int64_t length = 0;

  if (!parse_length(incoming->line, incoming->line_length, &length))
    return false;
  if (op)
    kvi_redis_node_answered(conn->node);
  if (length < 0) {
    op = op_take(conn);
    over(conn);
    if (op)
      kvi_redis_op_fail(conn->redis, op, KVI_REDIS_ABSENT);
    return true;
  }
  incoming->bulk = (uint64_t)length;
  incoming->stage = KVI_REDIS_STAGE_HEADER;
  incoming->want = incoming->bulk < KVI_REDIS_HEADER ? (size_t)incoming->bulk : KVI_REDIS_HEADER;
  if (!op)
    incoming->stage = KVI_REDIS_STAGE_DISCARD;
  else if (incoming->bulk > conn->redis->config.value_bytes_max)
    fail(conn, KVI_REDIS_TOO_LARGE);
  else if (incoming->bulk == 0)
    fail(conn, KVI_REDIS_FOREIGN);
  return true;
}

static size_t take_line(struct kvi_redis_conn *conn, const uint8_t *bytes, size_t length)
{
  struct kvi_redis_incoming *incoming = &conn->incoming;

  for (size_t i = 0; i < length; i++) {
    if (incoming->line_length == sizeof(incoming->line))
      return 0;
    incoming->line[incoming->line_length++] = (char)bytes[i];
    if (bytes[i] == '\n')
      return line_done(conn) ? i + 1 : 0;
  }
  return length;
}

/* ---- header and table ---- */

static void header_done(struct kvi_redis_conn *conn)
{
  struct kvi_redis_incoming *incoming = &conn->incoming;
  struct kvi_redis_op *op = op_of(conn);
  uint32_t header = KVI_REDIS_HEADER;
  enum kvi_redis_cause cause;

  if (incoming->want == KVI_REDIS_HEADER)
    header = kvi_redis_value_header_bytes(incoming->prologue);
  if (header > incoming->want && header <= incoming->bulk) {
    incoming->want = header;
    return;
  }
  cause = kvi_redis_value_read(&op->key, incoming->prologue, incoming->prologue_length, incoming->bulk,
                               &op->value);
  if (cause != KVI_REDIS_NONE) {
    fail(conn, cause);
    return;
  }
  incoming->want = op->value.prologue_bytes;
  incoming->stage = KVI_REDIS_STAGE_PROLOGUE;
}

static void table_done(struct kvi_redis_conn *conn)
{
  struct kvi_redis_incoming *incoming = &conn->incoming;
  struct kvi_redis_op *op = op_of(conn);
  struct kvi_redis_landing landing = {0};
  enum kvi_redis_cause cause = kvi_redis_value_table(&op->value, incoming->prologue, &incoming->table);
  kvs_status status;

  if (cause != KVI_REDIS_NONE) {
    fail(conn, cause);
    return;
  }
  op->own.landing = true;
  status = op->land(op, &incoming->table, &landing);
  if (status !=
      KVS_OK) { /* a chunk that does not fit its space is none, and would stand in a right one's way */
    fail(conn, status == KVS_ERR_SPACE_MISMATCH ? KVI_REDIS_LENGTH : KVI_REDIS_NO_ROOM);
    return;
  }
  incoming->iov = landing.iov;
  incoming->n_iov = landing.n_iov;
  incoming->segment_left = kvi_chunk_table_segment(&incoming->table, 0).length;
  incoming->stage = KVI_REDIS_STAGE_PAYLOAD;
}

static size_t take_prologue(struct kvi_redis_conn *conn, const uint8_t *bytes, size_t length)
{
  struct kvi_redis_incoming *incoming = &conn->incoming;
  size_t n = incoming->want - incoming->prologue_length;

  if (n > length)
    n = length;
  memcpy(incoming->prologue + incoming->prologue_length, bytes, n);
  incoming->prologue_length += n;
  incoming->taken += n;
  if (incoming->prologue_length < incoming->want)
    return n;
  if (incoming->stage == KVI_REDIS_STAGE_HEADER)
    header_done(conn);
  else
    table_done(conn);
  return n;
}

/* ---- payload ---- */

size_t kvi_redis_incoming_places(const struct kvi_redis_conn *conn, struct iovec *places, size_t n,
                                 size_t most)
{
  const struct kvi_redis_incoming *incoming = &conn->incoming;
  size_t offset = incoming->iov_offset, used = 0;

  for (uint32_t i = incoming->iov_at; i < incoming->n_iov && used < n && most > 0; i++, offset = 0) {
    size_t length = incoming->iov[i].length - offset;

    if (length > most)
      length = most;
    if (length == 0)
      continue;
    places[used].iov_base = (uint8_t *)incoming->iov[i].base + offset;
    places[used++].iov_len = length;
    most -= length;
  }
  return used;
}

/* Sums a run of bytes that lie in one place. False: a segment does not fit its checksum. */
static bool sum(struct kvi_redis_incoming *incoming, const uint8_t *bytes, size_t length)
{
  while (length > 0) {
    size_t n = length < incoming->segment_left ? length : incoming->segment_left;

    incoming->crc = kvi_crc32c_update(incoming->crc, bytes, n);
    incoming->segment_left -= (uint32_t)n;
    bytes += n;
    length -= n;
    if (incoming->segment_left > 0)
      continue;
    if (incoming->crc != kvi_chunk_table_segment(&incoming->table, incoming->segment).crc32c)
      return false;
    incoming->crc = 0;
    if (++incoming->segment < incoming->table.n_segments)
      incoming->segment_left = kvi_chunk_table_segment(&incoming->table, incoming->segment).length;
  }
  return true;
}

void kvi_redis_incoming_landed(struct kvi_redis_conn *conn, size_t length)
{
  struct kvi_redis_incoming *incoming = &conn->incoming;
  bool sound = true;

  incoming->taken += length;
  while (length > 0 && sound) {
    const struct kvi_iov *place = &incoming->iov[incoming->iov_at];
    size_t n = place->length - incoming->iov_offset;

    if (n > length)
      n = length;
    sound = sum(incoming, (const uint8_t *)place->base + incoming->iov_offset, n);
    incoming->iov_offset += n;
    length -= n;
    if (incoming->iov_offset == place->length) {
      incoming->iov_at++;
      incoming->iov_offset = 0;
    }
  }
  if (!sound)
    fail(conn, KVI_REDIS_CHECKSUM);
  else if (incoming->taken == incoming->bulk)
    succeed(conn);
}

static size_t take_payload(struct kvi_redis_conn *conn, const uint8_t *bytes, size_t length)
{
  struct kvi_redis_incoming *incoming = &conn->incoming;
  struct iovec places[16];
  uint64_t left = incoming->bulk - incoming->taken;
  size_t n_places, n = 0;

  n_places = kvi_redis_incoming_places(conn, places, 16, length < left ? length : (size_t)left);
  for (size_t i = 0; i < n_places; i++) {
    memcpy(places[i].iov_base, bytes + n, places[i].iov_len);
    n += places[i].iov_len;
  }
  kvi_redis_incoming_landed(conn, n);
  return n;
}

static size_t take_discard(struct kvi_redis_conn *conn, size_t length)
{
  struct kvi_redis_incoming *incoming = &conn->incoming;
  uint64_t left = incoming->bulk + CRLF - incoming->taken;
  size_t n = length < left ? length : (size_t)left;

  incoming->taken += n;
  if (n == left)
    over(conn);
  return n;
}

size_t kvi_redis_incoming_take(struct kvi_redis_conn *conn, const uint8_t *bytes, size_t length)
{
  switch (conn->incoming.stage) {
  case KVI_REDIS_STAGE_LINE:
    return take_line(conn, bytes, length);
  case KVI_REDIS_STAGE_HEADER:
  case KVI_REDIS_STAGE_PROLOGUE:
    return take_prologue(conn, bytes, length);
  case KVI_REDIS_STAGE_PAYLOAD:
    return take_payload(conn, bytes, length);
  case KVI_REDIS_STAGE_DISCARD:
    return take_discard(conn, length);
  case KVI_REDIS_STAGE_REPLY:
    break;
  }
  return 0;
}
