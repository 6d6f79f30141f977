/* redis_tier.c: see redis_tier.h. Without hiredis at build time the tier is refused, not ignored. */
#include "server/node/redis_tier.h"

#include <stdio.h>
#include <string.h>

#ifdef KVASIR_REDIS

#include "server/node/node_private.h"
#include "tiers/redis/address.h"
#include "tiers/redis/medium.h"

static const enum kvi_redis_mode modes[] = {[KVI_NODE_REDIS_SINGLE] = KVI_REDIS_SINGLE,
                                            [KVI_NODE_REDIS_SENTINEL] = KVI_REDIS_SENTINEL,
                                            [KVI_NODE_REDIS_CLUSTER] = KVI_REDIS_CLUSTER};

static const char *say(const char *name, const char *text, char *error, size_t error_size)
{
  snprintf(error, error_size, "%s", text);
  return name;
}

static const char *check_addresses(const struct kvi_node_settings *values, char *error, size_t error_size)
{
  struct kvi_redis_address address;

  if (values->redis_addresses.count == 0)
    return say("redis.addresses", "is empty, but redis.mode is not off", error, error_size);
  if (values->redis_mode == KVI_NODE_REDIS_SINGLE && values->redis_addresses.count > 1)
    return say("redis.addresses", "has several, but redis.mode is single", error, error_size);
  for (size_t i = 0; i < values->redis_addresses.count; i++)
    if (kvi_redis_address_parse(values->redis_addresses.items[i], 1, &address) != KVS_OK) {
      snprintf(error, error_size, "%s is not host:port", values->redis_addresses.items[i]);
      return "redis.addresses";
    }
  return NULL;
}

const char *kvi_node_redis_check(const struct kvi_node_settings *values, char *error, size_t error_size)
{
  if (values->redis_tls)
    return say("redis.tls", "hiredis 0.14 cannot speak TLS: put a TLS proxy in front of Redis", error,
               error_size);
  if (values->redis_mode == KVI_NODE_REDIS_OFF)
    return NULL;
  if (values->redis_username[0] != '\0' && values->redis_password[0] == '\0')
    return say("redis.username", "is set, but redis.password is not", error, error_size);
  if (values->redis_sentinel_username[0] != '\0' && values->redis_sentinel_password[0] == '\0')
    return say("redis.sentinel_username", "is set, but redis.sentinel_password is not", error, error_size);
  return check_addresses(values, error, error_size);
}

kvs_status kvi_node_redis_open(const struct kvi_node_settings *values, struct kvi_store *store, char *error,
                               size_t error_size, struct kvi_shared **shared_p, struct kvi_medium **medium_p,
                               struct kvi_medium **faults_p)
{
  struct kvi_redis_medium_config config = {
      .redis = {.mode = modes[values->redis_mode],
                .addresses = values->redis_addresses.items,
                .n_addresses = values->redis_addresses.count,
                .username = values->redis_username,
                .password = values->redis_password,
                .sentinel_master = values->redis_sentinel_master,
                .sentinel_username = values->redis_sentinel_username,
                .sentinel_password = values->redis_sentinel_password,
                .tls = values->redis_tls,
                .connections = (uint32_t)values->redis_connections,
                .pipeline = (uint32_t)values->redis_pipeline,
                .connect_timeout_ms = (uint32_t)values->redis_connect_timeout,
                .stall_timeout_ms = (uint32_t)values->redis_stall_timeout,
                .breaker_failures = (uint32_t)values->redis_breaker_failures,
                .retry_longest_ms = (uint32_t)values->redis_retry_longest,
                .value_bytes_max = values->redis_max_chunk + KVI_REDIS_PROLOGUE_MAX},
      .key_prefix = values->redis_key_prefix,
      .ttl_ms = values->redis_ttl,
  };
  struct kvi_shared_config shared = {.store = store,
                                     .write = (enum kvi_policy_admission)values->redis_write,
                                     .write_queue = (uint32_t)values->redis_write_queue,
                                     .max_fetches = (uint32_t)values->redis_max_fetches,
                                     .lookup_ms = (uint32_t)values->redis_lookup_timeout,
                                     .get_ms = (uint32_t)values->redis_get_timeout,
                                     .put_ms = (uint32_t)values->redis_put_timeout};
  struct kvi_medium *redis;
  char why[256] = "";
  kvs_status status;

  *shared_p = NULL;
  *medium_p = NULL;
  *faults_p = NULL;
  if (values->redis_mode == KVI_NODE_REDIS_OFF)
    return KVS_OK;
  status = kvi_redis_medium_create(&config, why, sizeof(why), &redis);
  shared.medium = redis;
  if (status == KVS_OK)
    status = kvi_node_faults_add(values->redis_test_fault, &shared.medium, faults_p);
  if (status == KVS_OK)
    status = kvi_node_encoder_add(values, values->redis_codec, &shared.medium);
  if (status == KVS_OK)
    status = kvi_shared_create(&shared, shared_p);
  if (status == KVS_OK)
    *medium_p = redis;
  else
    snprintf(error, error_size, "redis: %s", why[0] != '\0' ? why : kvs_status_text(status));
  return status;
}

static void add_causes(const struct kvi_redis_stats *stats, struct kvi_metrics *metrics)
{
  static const char *const labels[KVI_REDIS_CAUSES] = {NULL,
                                                       "cause=\"absent\"",
                                                       "cause=\"wrong_type\"",
                                                       "cause=\"foreign\"",
                                                       "cause=\"version\"",
                                                       "cause=\"length\"",
                                                       "cause=\"misplaced\"",
                                                       "cause=\"checksum\"",
                                                       "cause=\"too_large\"",
                                                       "cause=\"no_room\"",
                                                       "cause=\"full\"",
                                                       "cause=\"deadline\"",
                                                       "cause=\"down\"",
                                                       "cause=\"denied\"",
                                                       "cause=\"refused\"",
                                                       "cause=\"busy\""};

  for (int i = 1; i < KVI_REDIS_CAUSES; i++)
    kvi_metrics_add(metrics, true, "kvasir_redis_misses_total", labels[i], (double)stats->causes[i],
                    "Lookups, gets and puts of chunks at Redis that came to nothing, by cause.");
}

void kvi_node_redis_metrics(struct kvi_medium *medium, struct kvi_metrics *metrics)
{
  struct kvi_redis_stats stats;

  if (medium == NULL)
    return;
  kvi_redis_stats(kvi_redis_of_medium(medium), &stats);
  add_causes(&stats, metrics);
  kvi_metrics_gauge(metrics, "kvasir_redis_up", kvi_redis_is_up(kvi_redis_of_medium(medium)),
                    "1 while some server answers, else 0.");
  kvi_metrics_gauge(metrics, "kvasir_redis_servers", stats.servers, "Servers known.");
  kvi_metrics_gauge(metrics, "kvasir_redis_servers_down", stats.servers_down, "Those that do not answer.");
  kvi_metrics_gauge(metrics, "kvasir_redis_connections", stats.connections, "Connections that are ready.");
  kvi_metrics_gauge(metrics, "kvasir_redis_operations", stats.ops, "Operations in the tier now.");
  kvi_metrics_counter(metrics, "kvasir_redis_connects_total", stats.connects, "Connections made.");
  kvi_metrics_counter(metrics, "kvasir_redis_connect_failures_total", stats.connect_failures,
                      "Connections that could not be made.");
  kvi_metrics_counter(metrics, "kvasir_redis_disconnects_total", stats.disconnects,
                      "Connections that were lost.");
  kvi_metrics_counter(metrics, "kvasir_redis_stalls_total", stats.stalls,
                      "Of these, those on which nothing moved any more.");
  kvi_metrics_counter(metrics, "kvasir_redis_breaker_opened_total", stats.breaker_opened,
                      "Times a server was left alone because it did not answer.");
  kvi_metrics_counter(metrics, "kvasir_redis_redirects_total", stats.redirects, "MOVED and ASK followed.");
  kvi_metrics_counter(metrics, "kvasir_redis_failovers_total", stats.failovers,
                      "Times Sentinel named another master.");
  kvi_metrics_counter(metrics, "kvasir_redis_retries_total", stats.retries,
                      "Operations sent once more after a connection was lost.");
}

#else

const char *kvi_node_redis_check(const struct kvi_node_settings *values, char *error, size_t error_size)
{
  if (values->redis_mode == KVI_NODE_REDIS_OFF)
    return NULL;
  snprintf(error, error_size, "this kvasird was built without hiredis");
  return "redis.mode";
}

kvs_status kvi_node_redis_open(const struct kvi_node_settings *values, struct kvi_store *store, char *error,
                               size_t error_size, struct kvi_shared **shared_p, struct kvi_medium **medium_p,
                               struct kvi_medium **faults_p)
{
  (void)values, (void)store, (void)error, (void)error_size;
  *shared_p = NULL;
  *medium_p = NULL;
  *faults_p = NULL;
  return KVS_OK;
}

void kvi_node_redis_metrics(struct kvi_medium *medium, struct kvi_metrics *metrics)
{
  (void)medium, (void)metrics;
}

#endif
