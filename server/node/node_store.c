/* node_store.c: the node's store and the tiers under it, from the settings. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "server/node/node_private.h"
#include "server/node/settings.h"
#include "server/node/test_clock.h"
#include "tiers/remember.h"
#include "tiers/ssd/ssd.h"
#include "tiers/store.h"

static uint64_t chunk_bytes_max(const struct kvi_node_settings *values)
{
  return values->chunk_max_size < values->dram_size ? values->chunk_max_size : values->dram_size;
}

static const char *ssd_why(kvs_status status)
{
  if (status == KVS_ERR_BUSY)
    return "another process uses one of the directories";
  if (status == KVS_ERR_VERSION)
    return "a directory holds log files of another format, or of another directory; the log says which: "
           "remove them, or use "
           "the program that wrote them";
  if (status == KVS_ERR_INVALID)
    return "sizes do not fit each other, or a path is no directory; the log says which";
  return kvs_status_text(status);
}

/* *medium_p stays NULL when no directory is configured. */
static kvs_status create_ssd(const struct kvi_node_settings *values, struct kvi_medium **medium_p,
                             char *error, size_t error_size)
{
  struct kvi_ssd_config config = {
      .paths = values->ssd_paths.items,
      .n_paths = values->ssd_paths.count,
      .bytes = values->ssd_size,
      .file_bytes = values->ssd_log_file_size,
      .chunk_bytes_max = chunk_bytes_max(values),
      .durability = (enum kvi_ssd_durability)values->ssd_durability,
      .depth = (uint32_t)values->ssd_depth,
      .copy_percent = (uint32_t)values->ssd_copy_limit,
      .ring = values->ssd_io_uring,
      .discard = values->ssd_discard,
      .discard_after_ms = KVI_SSD_DISCARD_AFTER_MS,
      .scrub_bytes_per_s = values->ssd_scrub_rate,
  };
  kvs_status status;

  *medium_p = NULL;
  if (config.n_paths == 0)
    return KVS_OK;
  status = kvi_ssd_create(&config, medium_p);
  if (status != KVS_OK)
    snprintf(error, error_size, "ssd.paths: %s", ssd_why(status));
  return status;
}

static kvs_status add_test_clock(struct kvi_node *node, const struct kvi_node_settings *values,
                                 struct kvi_store_config *config, char *error, size_t error_size)
{
  kvs_status status;

  if (values->store_test_clock[0] == '\0')
    return KVS_OK;
  status = kvi_test_clock_open(values->store_test_clock, &node->test_clock);
  config->policy_clock = kvi_test_clock_now;
  config->policy_clock_ctx = node->test_clock;
  if (status != KVS_OK)
    snprintf(error, error_size, "store.test_clock: %s: %s", values->store_test_clock,
             status == KVS_ERR_INVALID ? "it has less than 8 bytes" : kvs_status_text(status));
  return status;
}

#define STATE_NAME "waiters.kvw"

/* Only of a policy that keeps anything. */
static kvs_status open_remember(struct kvi_node *node, const struct kvi_node_settings *values,
                                struct kvi_store_config *config)
{
  const struct kvi_policy_ops *policy = kvi_policy_find(config->policy);
  const char *path = values->store_state_file;
  char own[PATH_MAX];
  kvs_status status;

  if (strcmp(path, "none") == 0 || (path[0] == '\0' && values->ssd_paths.count == 0) || !policy ||
      !policy->keep)
    return KVS_OK;
  if (path[0] == '\0') {
    if (snprintf(own, sizeof(own), "%s/" STATE_NAME, values->ssd_paths.items[0]) >= (int)sizeof(own))
      return KVS_ERR_INVALID;
    path = own;
  }
  status = kvi_remember_open(path, values->store_state_interval, &node->remember);
  if (status == KVS_OK)
    kvi_remember_configure(node->remember, config);
  return status;
}

kvs_status kvi_node_open_store(struct kvi_node *node, char *error, size_t error_size)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);
  struct kvi_store_config config = {
      .dram_bytes = values->dram_size,
      .dram_page_bytes = (uint32_t)values->dram_page_size,
      .huge_pages = values->dram_huge_pages,
      .lock_memory = values->dram_lock,
      .dram_high_mark = (uint32_t)values->dram_high_mark,
      .dram_low_mark = (uint32_t)values->dram_low_mark,
      .chunk_bytes_max = chunk_bytes_max(values),
      .max_chunks = (uint32_t)values->store_max_chunks,
      .curve_samples = (uint32_t)values->store_curve_samples,
      .prefetch = values->store_prefetch,
      .max_spaces = (uint32_t)values->store_max_spaces,
      .max_leases = (uint32_t)values->store_max_leases,
      .max_landings = (uint32_t)values->store_max_landings,
      .policy = kvi_settings_policies[values->store_policy],
      .declines = values->store_admission == KVI_NODE_ADMISSION_PRICE,
      .write = (enum kvi_policy_admission)values->ssd_write,
      .write_queue = (uint32_t)values->ssd_queue,
      .write_day_bytes = values->ssd_write_budget,
      .dram_test_fault = values->dram_test_fault,
      .codec = kvi_node_encode_rules(values, values->dram_codec),
      .codec_threads = values->dram_codec == KVI_NODE_CODEC_NONE ? 0 : (uint32_t)values->codec_threads,
  };
  char size[KVI_FORMAT_MAX];
  kvs_status status = add_test_clock(node, values, &config, error, error_size);

  if (node->tenants != NULL)
    config.tenants = kvi_node_tenants_configs(node->tenants, &config.n_tenants);
  if (status == KVS_OK)
    status = create_ssd(values, &config.medium, error, error_size);
  if (status == KVS_OK && config.medium != NULL) {
    status = kvi_node_faults_add(values->ssd_test_fault, &config.medium, &node->ssd_faults);
    if (status != KVS_OK)
      snprintf(error, error_size, "ssd.test_fault: %s", kvs_status_text(status));
  }
  if (status == KVS_OK && config.medium != NULL) {
    status = kvi_node_encoder_add(values, values->ssd_codec, &config.medium);
    if (status != KVS_OK)
      snprintf(error, error_size, "ssd.codec: %s", kvs_status_text(status));
  }
  if (status != KVS_OK)
    return status;
  status = open_remember(node, values, &config);
  if (status != KVS_OK) {
    snprintf(error, error_size, "store.state_file: %s", kvs_status_text(status));
    if (config.medium)
      config.medium->ops->destroy(config.medium);
    return status;
  }
  status = kvi_store_open(&config, &node->store);
  if (status == KVS_ERR_NOMEM)
    snprintf(error, error_size, "dram.size: %s of memory could not be had",
             kvi_format_size(values->dram_size, size));
  else if (status == KVS_ERR_VERSION) /* only a tier's files have one */
    snprintf(error, error_size, "ssd.paths: %s", ssd_why(status));
  else if (status != KVS_OK)
    snprintf(error, error_size, "the store did not open: %s", kvs_status_text(status));
  else if (node->remember)
    kvi_remember_restore(node->remember, node->store);
  return status;
}
