#include "tests/bench/medium.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiers/ssd/ssd.h"

kvs_status bench_ssd_medium(enum bench_way_id way, const char *path, uint64_t bytes, uint64_t chunk_bytes_max,
                            struct kvi_medium **medium_p)
{
  struct kvi_ssd_config config = {.paths = &path,
                                  .n_paths = 1,
                                  .bytes = bytes,
                                  .file_bytes = bytes / BENCH_SSD_FILES,
                                  .chunk_bytes_max = chunk_bytes_max,
                                  .durability = KVI_SSD_DURABLE_SEAL,
                                  .ring = true,
                                  .discard = true,
                                  .discard_after_ms = KVI_SSD_DISCARD_AFTER_MS};

  if (way == BENCH_SSD_DISCARD)
    config.discard_after_ms = 0;
  if (way == BENCH_SSD_NONE)
    config.durability = KVI_SSD_DURABLE_NONE;
  if (way == BENCH_SSD_PUT)
    config.durability = KVI_SSD_DURABLE_PUT;
  return kvi_ssd_create(&config, medium_p);
}

#ifdef KVASIR_BENCH_REDIS

#include <hiredis/hiredis.h>

#include "tiers/redis/medium.h"

#define CONNECT_MS 5000
#define EMPTY_MS   30000

kvs_status bench_redis_medium(uint16_t port, uint32_t connections, struct kvi_medium **medium_p)
{
  char address[32], error[256];
  const char *addresses[] = {address};
  struct kvi_redis_medium_config config = {.redis = {.mode = KVI_REDIS_SINGLE,
                                                     .addresses = addresses,
                                                     .n_addresses = 1,
                                                     .connections = connections},
                                           .key_prefix = "kvasir"};
  kvs_status status;

  snprintf(address, sizeof address, "127.0.0.1:%u", port);
  status = kvi_redis_medium_create(&config, error, sizeof error, medium_p);
  if (status == KVS_ERR_CONFIG)
    fprintf(stderr, "kvasir-bench: %s\n", error);
  return status;
}

kvs_status bench_redis_wait(struct kvi_medium *medium)
{
  for (int waited = 0; waited < CONNECT_MS; waited += 10) {
    struct kvi_redis_stats stats;

    kvi_redis_stats(kvi_redis_of_medium(medium), &stats);
    if (stats.connections > 0 && kvi_redis_is_up(kvi_redis_of_medium(medium)))
      return KVS_OK;
    poll(NULL, 0, 10);
  }
  return KVS_ERR_UNREACHABLE;
}

static bool redis_says(redisContext *redis, const char *command, const char *wanted)
{
  redisReply *reply = redisCommand(redis, command);
  bool ok = reply != NULL && (reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_STRING) &&
            strstr(reply->str, wanted) != NULL;

  freeReplyObject(reply);
  return ok;
}

static bool redis_sets(redisContext *redis, uint64_t number, const char *value, uint64_t bytes)
{
  redisReply *reply =
      redisCommand(redis, "SET touch:%llu %b", (unsigned long long)number, value, (size_t)bytes);
  bool ok = reply != NULL && reply->type == REDIS_REPLY_STATUS;

  freeReplyObject(reply);
  return ok;
}

kvs_status bench_redis_touch(uint16_t port, uint64_t value_bytes)
{
  redisContext *redis = redisConnect("127.0.0.1", port);
  char *value = calloc(1, value_bytes);
  kvs_status status = value != NULL ? KVS_ERR_UNREACHABLE : KVS_ERR_NOMEM;

  if (value != NULL && redis != NULL && redis->err == 0 && redis_says(redis, "FLUSHALL SYNC", "OK"))
    status = KVS_OK;
  for (uint64_t i = 0; i < BENCH_REDIS_BYTES / value_bytes && status == KVS_OK; i++)
    if (!redis_sets(redis, i, value, value_bytes))
      status = KVS_ERR_UNREACHABLE;
  free(value);
  if (redis != NULL)
    redisFree(redis);
  return status == KVS_OK ? bench_redis_flush(port) : status;
}

kvs_status bench_redis_flush(uint16_t port)
{
  redisContext *redis = redisConnect("127.0.0.1", port);
  kvs_status status = KVS_ERR_UNREACHABLE;

  /* FLUSHALL SYNC gives the memory back to the kernel, and what is put next would touch it anew. */
  if (redis != NULL && redis->err == 0 && redis_says(redis, "FLUSHALL ASYNC", "OK"))
    status = KVS_OK;
  for (int waited = 0; status == KVS_OK && !redis_says(redis, "INFO memory", "lazyfree_pending_objects:0\r");
       waited += 2) {
    if (redis->err != 0 || waited > EMPTY_MS)
      status = KVS_ERR_UNREACHABLE;
    poll(NULL, 0, 2);
  }
  if (redis != NULL)
    redisFree(redis);
  return status;
}

#else

kvs_status bench_redis_touch(uint16_t port, uint64_t value_bytes)
{
  (void)port, (void)value_bytes;
  return KVS_ERR_UNSUPPORTED;
}

kvs_status bench_redis_medium(uint16_t port, uint32_t connections, struct kvi_medium **medium_p)
{
  (void)port, (void)connections;
  *medium_p = NULL;
  return KVS_ERR_UNSUPPORTED;
}

kvs_status bench_redis_wait(struct kvi_medium *medium)
{
  (void)medium;
  return KVS_ERR_UNSUPPORTED;
}

kvs_status bench_redis_flush(uint16_t port)
{
  (void)port;
  return KVS_ERR_UNSUPPORTED;
}

#endif
