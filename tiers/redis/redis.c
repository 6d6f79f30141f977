/* tiers/redis/redis.c: the tier's life, its door for other threads, its counters. */
#include "tiers/redis/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "tiers/redis/redis_private.h"

#define CONNECTIONS     4u
#define PIPELINE        16u
#define OPS             4096u
#define CONNECT_MS      1000u
#define STALL_MS        2000u
#define FAILURES        8u
#define RETRY_FIRST_MS  100u
#define RETRY_LAST_MS   5000u
#define SENTINEL_MS     1000u
#define CLUSTER_MS      10000u
#define TIMEOUT_MS_MAX  600000u
#define REDIS_PORT      6379u
#define SENTINEL_PORT   26379u
#define VALUE_BYTES_MAX (KVI_REDIS_PROLOGUE_MAX + (uint64_t)KVI_CHUNK_BYTES_MAX)

/* ---- configuration ---- */

static uint32_t or_standard(uint32_t value, uint32_t standard)
{
  return value ? value : standard;
}

static const char *const no_text = "";

static void defaults(struct kvi_redis_config *config)
{
  const char **strings[] = {&config->username, &config->password, &config->sentinel_master,
                            &config->sentinel_username, &config->sentinel_password};

  for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
    if (!*strings[i])
      *strings[i] = no_text;
  config->connections = or_standard(config->connections, CONNECTIONS);
  config->pipeline = or_standard(config->pipeline, PIPELINE);
  config->max_ops = or_standard(config->max_ops, OPS);
  config->connect_timeout_ms = or_standard(config->connect_timeout_ms, CONNECT_MS);
  config->stall_timeout_ms = or_standard(config->stall_timeout_ms, STALL_MS);
  config->breaker_failures = or_standard(config->breaker_failures, FAILURES);
  config->retry_first_ms = or_standard(config->retry_first_ms, RETRY_FIRST_MS);
  config->retry_longest_ms = or_standard(config->retry_longest_ms, RETRY_LAST_MS);
  config->topology_ms =
      or_standard(config->topology_ms, config->mode == KVI_REDIS_SENTINEL ? SENTINEL_MS : CLUSTER_MS);
  if (config->value_bytes_max == 0 || config->value_bytes_max > VALUE_BYTES_MAX)
    config->value_bytes_max = VALUE_BYTES_MAX;
}

static const char *fault_of(const struct kvi_redis_config *config)
{
  if (config->tls)
    return "TLS is asked for, but hiredis 0.14 has none: put a TLS proxy such as stunnel in front, or leave "
           "tls off";
  if (config->n_addresses == 0)
    return "there is no address";
  if (config->n_addresses > KVI_REDIS_ADDRESSES_MAX)
    return "there are more than 64 addresses";
  if (config->mode == KVI_REDIS_SINGLE && config->n_addresses != 1)
    return "there are several addresses, but neither sentinel nor cluster is the mode";
  if (config->mode == KVI_REDIS_SENTINEL && config->sentinel_master[0] == '\0')
    return "the name of the sentinels' master is missing";
  if (config->username[0] != '\0' && config->password[0] == '\0')
    return "there is a user without a password";
  if (config->sentinel_username[0] != '\0' && config->sentinel_password[0] == '\0')
    return "there is a user of the sentinels without a password";
  if (config->connections > KVI_REDIS_CONNECTIONS_MAX || config->pipeline > KVI_REDIS_PIPELINE_MAX ||
      config->max_ops > KVI_REDIS_OPS_MAX)
    return "connections, pipeline or operations are above their bounds";
  if (config->connect_timeout_ms > TIMEOUT_MS_MAX || config->stall_timeout_ms > TIMEOUT_MS_MAX ||
      config->retry_first_ms > config->retry_longest_ms || config->retry_longest_ms > TIMEOUT_MS_MAX ||
      config->topology_ms > TIMEOUT_MS_MAX)
    return "a time is above ten minutes, or the first pause above the longest";
  return NULL;
}

static kvs_status addresses_take(struct kvi_redis *redis, char *error, size_t error_size)
{
  const struct kvi_redis_config *config = &redis->config;
  uint16_t port = config->mode == KVI_REDIS_SENTINEL ? SENTINEL_PORT : REDIS_PORT;

  redis->seeds = calloc(config->n_addresses, sizeof(*redis->seeds));
  if (!redis->seeds)
    return KVS_ERR_NOMEM;
  for (size_t i = 0; i < config->n_addresses; i++)
    if (kvi_redis_address_parse(config->addresses[i], port, &redis->seeds[i]) != KVS_OK) {
      snprintf(error, error_size, "%s is not host:port", config->addresses[i]);
      return KVS_ERR_CONFIG;
    }
  redis->config.addresses = NULL; /* the caller's */
  return KVS_OK;
}

static kvs_status config_take(struct kvi_redis *redis, const struct kvi_redis_config *config, char *error,
                              size_t error_size)
{
  const char **strings[] = {&redis->config.username, &redis->config.password, &redis->config.sentinel_master,
                            &redis->config.sentinel_username, &redis->config.sentinel_password};
  const char *fault;

  redis->config = *config;
  defaults(&redis->config);
  fault = fault_of(&redis->config);
  if (fault) {
    snprintf(error, error_size, "%s", fault);
    return KVS_ERR_CONFIG;
  }
  for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
    redis->strings[i] = strdup(*strings[i]);
    *strings[i] = redis->strings[i];
    if (!redis->strings[i])
      return KVS_ERR_NOMEM;
  }
  return addresses_take(redis, error, error_size);
}

/* ---- life ---- */

void kvi_redis_wake(struct kvi_redis *redis)
{
  uint64_t one = 1;

  if (atomic_exchange(&redis->woken, true))
    return; /* somebody woke it, and it has not looked yet */
  if (write(redis->wake_fd, &one, sizeof(one)) < 0)
    kvi_log_limited(KVI_LOG_ERROR, "tier redis: eventfd: %m");
}

static void resolved(void *ctx)
{
  kvi_redis_wake(ctx);
}

static kvs_status parts_create(struct kvi_redis *redis)
{
  struct epoll_event event = {.events = EPOLLIN};
  uint64_t seed;
  kvs_status status = kvi_random_id(&seed);

  if (status != KVS_OK)
    return status;
  kvi_rand_seed(&redis->rand, seed);
  redis->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  redis->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (redis->epoll_fd < 0 || redis->wake_fd < 0 ||
      epoll_ctl(redis->epoll_fd, EPOLL_CTL_ADD, redis->wake_fd, &event) != 0) {
    kvi_log_error("tier redis: epoll or eventfd: %m");
    return KVS_ERR_SYSTEM;
  }
  if (redis->config.mode == KVI_REDIS_CLUSTER) {
    redis->slots = calloc(KVI_REDIS_SLOTS, sizeof(struct kvi_redis_node *));
    if (!redis->slots)
      return KVS_ERR_NOMEM;
  }
  status = kvi_queue_create(redis->config.max_ops, &redis->inbox);
  if (status == KVS_OK)
    status = kvi_redis_resolver_create(resolved, redis, &redis->resolver);
  if (status == KVS_OK)
    status = kvi_redis_topology_open(redis);
  if (status == KVS_OK)
    status = kvi_thread_start(&redis->thread, "kvasir-redis", kvi_redis_loop, redis);
  return status;
}

kvs_status kvi_redis_open(const struct kvi_redis_config *config, char *error, size_t error_size,
                          struct kvi_redis **redis_p)
{
  struct kvi_redis *redis = calloc(1, sizeof(*redis));
  char unused[1];
  kvs_status status;

  *redis_p = NULL;
  if (!error || error_size == 0) {
    error = unused;
    error_size = sizeof(unused);
  }
  error[0] = '\0';
  if (!redis)
    return KVS_ERR_NOMEM;
  redis->epoll_fd = redis->wake_fd = -1;
  redis->now_ns = kvi_now_ns();
  kvi_list_init(&redis->ops);
  kvi_list_init(&redis->homeless);
  pthread_mutex_init(&redis->stats_lock, NULL);
  status = config_take(redis, config, error, error_size);
  if (status == KVS_OK)
    status = parts_create(redis);
  if (status != KVS_OK) {
    kvi_redis_close(redis);
    return status;
  }
  *redis_p = redis;
  return KVS_OK;
}

void kvi_redis_close(struct kvi_redis *redis)
{
  if (!redis)
    return;
  if (redis->thread.started) {
    kvi_queue_close(redis->inbox); /* from here submit refuses; the thread ends what is in it */
    atomic_store(&redis->closing, true);
    kvi_redis_wake(redis);
    kvi_thread_join(&redis->thread);
  }
  for (uint32_t i = 0; i < redis->n_nodes; i++) /* of a thread that was not started */
    kvi_redis_node_destroy(redis->nodes[i]);
  kvi_redis_resolver_destroy(redis->resolver);
  kvi_queue_destroy(redis->inbox);
  if (redis->epoll_fd >= 0)
    close(redis->epoll_fd);
  if (redis->wake_fd >= 0)
    close(redis->wake_fd);
  for (size_t i = 0; i < sizeof(redis->strings) / sizeof(redis->strings[0]); i++)
    free(redis->strings[i]);
  free(redis->seeds);
  free(redis->slots);
  pthread_mutex_destroy(&redis->stats_lock);
  free(redis);
}

/* ---- the door ---- */

kvs_status kvi_redis_submit(struct kvi_redis *redis, struct kvi_redis_op *op)
{
  uint32_t most = redis->config.max_ops;
  kvs_status status;

  if (!op->done || (op->key.length == 0 && op->verb != KVI_REDIS_TURN) ||
      (op->verb == KVI_REDIS_GET && !op->land) ||
      (op->verb == KVI_REDIS_PUT && (!op->prologue || op->n_iov == 0 || op->payload_bytes == 0)))
    return KVS_ERR_INVALID;
  if (op->verb == KVI_REDIS_PUT && op->prologue_length + op->payload_bytes > redis->config.value_bytes_max)
    return KVS_ERR_TOO_LARGE;
  /* What looks may not take is left for those who get, put and remove what was found. relaxed: a bound, it orders nothing */
  if (op->verb == KVI_REDIS_LOOK || op->verb == KVI_REDIS_TURN)
    most -= most / 4;
  if (atomic_fetch_add_explicit(&redis->n_ops, 1, memory_order_relaxed) >= most)
    status = KVS_ERR_BUSY;
  else
    status = kvi_queue_try_push(redis->inbox, op);
  if (status != KVS_OK) {
    atomic_fetch_sub_explicit(&redis->n_ops, 1, memory_order_relaxed);
    kvi_redis_count(redis, &redis->stats.busy, status == KVS_ERR_BUSY);
    return status;
  }
  kvi_redis_wake(redis);
  return KVS_OK;
}

void kvi_redis_stats(struct kvi_redis *redis, struct kvi_redis_stats *stats_p)
{
  pthread_mutex_lock(&redis->stats_lock);
  *stats_p = redis->stats;
  pthread_mutex_unlock(&redis->stats_lock);
  stats_p->ops = atomic_load_explicit(&redis->n_ops, memory_order_relaxed);
}

uint64_t kvi_redis_value_bytes_max(const struct kvi_redis *redis)
{
  return redis->config.value_bytes_max;
}

bool kvi_redis_is_up(const struct kvi_redis *redis)
{
  return atomic_load_explicit(&redis->up, memory_order_relaxed);
}
