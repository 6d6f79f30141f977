/*
 * Redis through hiredis, as an application would use it: values are copied into the command and out of the reply. Keys
 * are overwritten in turn, over the same working set that gets read: the value of a key is always the same bytes, but
 * every SET carries and stores them anew.
 */
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/memory.h"
#include "tests/bench/way.h"

struct redis {
  redisContext *context;
  struct bench_slab values; /* the whole working set: what is sent comes from memory, not from a cache */
  uint64_t filled;          /* value size of `values`; 0: nothing yet */
  struct {
    uint32_t slot;
    uint64_t index;
  } sent[BENCH_DEPTH_MAX];
  uint64_t out, in;
};

static void redis_close(void *way)
{
  struct redis *redis = way;

  if (redis == NULL)
    return;
  if (redis->context != NULL)
    redisFree(redis->context);
  bench_slab_close(&redis->values);
  free(redis);
}

static kvs_status redis_open(const struct bench_way_config *config, void **way_p)
{
  struct redis *redis = calloc(1, sizeof *redis);
  int on = 1;

  *way_p = NULL;
  if (redis == NULL)
    return KVS_ERR_NOMEM;
  redis->context = redisConnect("127.0.0.1", config->servers->redis_port);
  if (redis->context == NULL || redis->context->err != 0) {
    redis_close(redis);
    return KVS_ERR_UNREACHABLE;
  }
  setsockopt(redis->context->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!bench_slab_open(&redis->values, BENCH_SERVER_BYTES)) {
    redis_close(redis);
    return KVS_ERR_NOMEM;
  }
  *way_p = redis;
  return KVS_OK;
}

static int key_of(char key[64], uint64_t size, uint64_t index)
{
  return snprintf(key, 64, "kv:%llu:%llu", (unsigned long long)size, (unsigned long long)index);
}

static uint8_t *value_at(struct redis *redis, uint64_t size, uint64_t index)
{
  return redis->values.base + index * size;
}

/* Sends the command whole: hiredis keeps it in a buffer until somebody asks for a reply. */
static kvs_status send_command(struct redis *redis, bool set, uint64_t size, uint64_t index)
{
  char key[64];
  const char *arguments[3] = {set ? "SET" : "GET", key, (const char *)value_at(redis, size, index)};
  size_t lengths[3] = {3, 0, size};
  int done = 0;

  lengths[1] = (size_t)key_of(key, size, index);
  if (redisAppendCommandArgv(redis->context, set ? 3 : 2, arguments, lengths) != REDIS_OK)
    return KVS_ERR_NOMEM;
  while (done == 0)
    if (redisBufferWrite(redis->context, &done) != REDIS_OK)
      return KVS_ERR_UNREACHABLE;
  return KVS_OK;
}

/* Takes one reply; whole: compares every byte of a value, else its ends. */
static kvs_status take_reply(struct redis *redis, bool set, bool whole, uint64_t size, uint64_t index)
{
  uint64_t seed = bench_seed(size, index);
  kvs_status status = KVS_OK;
  redisReply *reply;
  void *any = NULL;

  if (redisGetReply(redis->context, &any) != REDIS_OK)
    return KVS_ERR_UNREACHABLE;
  reply = any;
  if (set)
    status = reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "OK") == 0 ? KVS_OK : KVS_ERR_FULL;
  else if (reply->type != REDIS_REPLY_STRING || (uint64_t)reply->len != size)
    status = KVS_MISS;
  else if (!(whole ? bench_pattern_check(reply->str, size, seed)
                   : bench_pattern_glance(reply->str, size, seed)))
    status = KVS_ERR_CORRUPT;
  freeReplyObject(reply);
  return status;
}

static kvs_status one(struct redis *redis, bool set, uint64_t size, uint64_t index)
{
  kvs_status status = send_command(redis, set, size, index);

  return status == KVS_OK ? take_reply(redis, set, true, size, index) : status;
}

static kvs_status fill(struct redis *redis, uint64_t size)
{
  uint64_t n = BENCH_SERVER_BYTES / size;
  kvs_status status = KVS_OK;
  redisReply *reply = redisCommand(redis->context, "FLUSHALL SYNC");

  if (reply == NULL)
    return KVS_ERR_UNREACHABLE;
  freeReplyObject(reply);
  for (uint64_t i = 0; i < n; i++)
    bench_pattern_fill(value_at(redis, size, i), size, bench_seed(size, i));
  for (uint64_t i = 0; i < n && status == KVS_OK; i++)
    status = one(redis, true, size, i);
  for (uint64_t i = 0; i < n && status == KVS_OK; i++)
    status = one(redis, false, size, i);
  return status;
}

static kvs_status redis_prepare(void *way, const struct bench_case *what)
{
  struct redis *redis = way;
  kvs_status status;

  redis->out = 0;
  redis->in = 0;
  if (redis->filled == what->size)
    return KVS_OK;
  redis->filled = 0;
  status = fill(redis, what->size);
  if (status == KVS_OK)
    redis->filled = what->size;
  return status;
}

static kvs_status redis_issue(void *way, const struct bench_case *what, uint32_t slot, uint64_t sequence)
{
  struct redis *redis = way;
  uint64_t index = sequence % (BENCH_SERVER_BYTES / what->size);

  redis->sent[redis->out % BENCH_DEPTH_MAX].slot = slot;
  redis->sent[redis->out++ % BENCH_DEPTH_MAX].index = index;
  return send_command(redis, what->op == BENCH_PUT, what->size, index);
}

static kvs_status redis_reap(void *way, const struct bench_case *what, struct bench_done *done_p)
{
  struct redis *redis = way;
  uint64_t place = redis->in++ % BENCH_DEPTH_MAX;

  done_p->slot = redis->sent[place].slot;
  done_p->bytes = what->size;
  return take_reply(redis, what->op == BENCH_PUT, false, what->size, redis->sent[place].index);
}

static kvs_status redis_verify(void *way, const struct bench_case *what)
{
  struct redis *redis = way;

  return what->op == BENCH_PUT && redis->out > 0
             ? one(redis, false, what->size, redis->sent[(redis->out - 1) % BENCH_DEPTH_MAX].index)
             : KVS_OK;
}

const struct bench_way_ops bench_way_redis = {
    .open = redis_open,
    .prepare = redis_prepare,
    .issue = redis_issue,
    .reap = redis_reap,
    .verify = redis_verify,
    .close = redis_close,
};
