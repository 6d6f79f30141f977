/*
 * server/node/settings.h: what can be set about kvasird, and the checks over several settings.
 *
 * settings_table.c holds the one table that the file, the environment, the command line, --help and
 * docs/configuration.md come from. One thread loads; after that many may read. kvi_settings_reload and
 * kvi_settings_json may run at any time from any thread.
 */
#ifndef KVI_NODE_SETTINGS_H
#define KVI_NODE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"

/* redis.mode */
enum kvi_node_redis_mode {
  KVI_NODE_REDIS_OFF,
  KVI_NODE_REDIS_SINGLE,
  KVI_NODE_REDIS_SENTINEL,
  KVI_NODE_REDIS_CLUSTER
};

/* Whether puts are declined. */
enum kvi_node_admission { KVI_NODE_ADMISSION_PRICE = 0, KVI_NODE_ADMISSION_ALL };

/* How chunks are encoded in memory, or on their way to a tier. */
enum kvi_node_codec {
  KVI_NODE_CODEC_NONE = 0,
  KVI_NODE_CODEC_LOSSLESS,
  KVI_NODE_CODEC_LADDER,
  KVI_NODE_CODEC_CACHEGEN
};

struct kvi_node_settings {
  kvi_config_list listen;  /* "host:port" */
  const char *unix_socket; /* "" = none */
  const char *unix_mode;   /* octal digits */
  bool insecure;
  const char *tls_cert_file, *tls_key_file, *tls_client_ca_file; /* "" = none */
  const char *tenants;                                           /* a file; "" = none */

  uint64_t dram_size;
  uint64_t dram_page_size;
  bool dram_huge_pages;
  bool dram_lock;
  int64_t dram_high_mark, dram_low_mark; /* percent */
  int dram_codec;                        /* enum kvi_node_codec */
  const char *dram_test_fault;           /* "" = none; mutable */

  kvi_config_list ssd_paths; /* directories; empty: no SSD tier */
  uint64_t ssd_size;         /* of all together */
  uint64_t ssd_log_file_size;
  int ssd_durability; /* enum kvi_ssd_durability */
  int ssd_write;      /* enum kvi_policy_admission */
  int64_t ssd_queue;
  int64_t ssd_depth;
  int64_t ssd_copy_limit;    /* percent */
  int ssd_codec;             /* enum kvi_node_codec */
  uint64_t ssd_write_budget; /* bytes a day; 0: no bound */
  uint64_t ssd_scrub_rate;   /* bytes a second; 0: off */
  bool ssd_io_uring;
  bool ssd_discard;
  const char *ssd_test_fault; /* "" = none; mutable */

  int64_t store_curve_samples;
  bool store_prefetch;
  int64_t store_max_chunks; /* 0: from dram_size and ssd_size */
  int64_t store_max_spaces;
  int64_t store_max_leases;
  int64_t store_max_landings;
  int64_t codec_threads, codec_planes;
  int store_policy;              /* index of kvi_settings_policies */
  int store_admission;           /* enum kvi_node_admission */
  const char *store_state_file;  /* "": in the first of ssd_paths; "none" */
  uint64_t store_state_interval; /* ms */
  const char *store_test_clock;  /* "" = none */

  uint64_t chunk_max_size;
  uint64_t frame_max_size;
  int64_t batch_max_chunks;

  int redis_mode; /* enum kvi_node_redis_mode */
  kvi_config_list redis_addresses;
  const char *redis_username, *redis_password, *redis_sentinel_master; /* "" = none */
  const char *redis_sentinel_username, *redis_sentinel_password;
  bool redis_tls;
  int redis_write; /* enum kvi_policy_admission */
  int redis_codec; /* enum kvi_node_codec */
  const char *redis_key_prefix;
  uint64_t redis_ttl; /* ms; 0 = no end */
  uint64_t redis_max_chunk;
  int64_t redis_connections, redis_pipeline, redis_write_queue, redis_max_fetches, redis_breaker_failures;
  uint64_t redis_lookup_timeout, redis_get_timeout, redis_put_timeout; /* ms */
  uint64_t redis_connect_timeout, redis_stall_timeout, redis_retry_longest;
  const char *redis_test_fault; /* "" = none; mutable */

  int64_t grpc_pollers; /* 0: from the number of cores */
  uint64_t grpc_memory_quota;
  int64_t grpc_max_connections;
  int64_t grpc_max_streams;
  uint64_t grpc_stall_timeout; /* ms */

  const char *admin_listen; /* "" = off */
  int64_t admin_max_connections;

  int log_level;  /* enum kvi_log_level */
  int log_format; /* enum kvi_log_format */

  uint64_t drain_timeout; /* ms */
};

extern const char *const kvi_settings_policies[]; /* ended by NULL */
extern const kvi_config_table kvi_settings_table;

struct kvi_settings;

/* settings_checks.c, for the load below: KVS_ERR_CONFIG with the reason in the config, when settings do not fit each other or the machine. */
kvs_status kvi_settings_check(kvi_config *config);
/* settings_ssd.c: the part of it about ssd.*. */
kvs_status kvi_settings_check_ssd(kvi_config *config);

/*
 * Loads the command line, the file it names and the environment, then checks the whole. argv and environment
 * must outlive the settings: a reload reads them again. *settings_p is set unless KVS_ERR_NOMEM, so that
 * kvi_settings_error can tell why KVS_ERR_CONFIG came.
 */
kvs_status kvi_settings_load(int argc, char *const *argv, char *const *environment,
                             kvi_config_action *action_p, struct kvi_settings **settings_p);
void kvi_settings_free(struct kvi_settings *settings);

/* One line for a person. */
const char *kvi_settings_error(const struct kvi_settings *settings);

/* What was loaded at the start. Lives as long as settings. Mutable rows: kvi_settings_drain_timeout_ms. */
const struct kvi_node_settings *kvi_settings_get(const struct kvi_settings *settings);
uint64_t kvi_settings_drain_timeout_ms(struct kvi_settings *settings);

/* Carries out a printing action of the command line on stdout. */
kvs_status kvi_settings_print(const struct kvi_settings *settings, kvi_config_action action);

/*
 * Reads everything again and takes over the settings that may change while the node runs; what else differs
 * is logged as needing a restart. False: it was refused, which is logged and changes nothing.
 */
bool kvi_settings_reload(struct kvi_settings *settings);

/* The effective configuration as JSON, secrets hidden; to be freed with free(). NULL when memory could not be
 * had. */
char *kvi_settings_json(struct kvi_settings *settings);

/* The octal digits of unix_mode as a mode. Only after a load that succeeded. */
uint32_t kvi_settings_unix_mode(const struct kvi_node_settings *values);

#endif
