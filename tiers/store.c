/* tiers/store.c: the store's life and its counters. store.h is the contract, docs/store.md the picture. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/dram/dram.h"
#include "tiers/faulty/faulty_tier.h"
#include "tiers/marks.h"
#include "tiers/store_private.h"

#define CHUNKS_MIN            1024u
#define CHUNKS_MAX            (1u << 30)
#define BYTES_PER_CHUNK       (64u << 10)
#define BYTES_PER_CHUNK_BELOW (256u << 10) /* few are smaller, and the index is memory */
#define LANDINGS_LIMIT        (1u << 24)
#define LEASES_LIMIT          (1u << 28)

static uint32_t chunks_default(uint64_t dram_bytes, struct kvi_medium *medium)
{
  uint64_t chunks = dram_bytes / BYTES_PER_CHUNK;
  struct kvi_medium_attr attr;

  if (medium) {
    medium->ops->attr(medium, &attr);
    chunks += attr.capacity_bytes / BYTES_PER_CHUNK_BELOW;
  }
  if (chunks < CHUNKS_MIN)
    return CHUNKS_MIN;
  return chunks < CHUNKS_MAX ? (uint32_t)chunks : CHUNKS_MAX;
}

static void config_default(struct kvi_store_config *config)
{
  if (config->chunk_bytes_max == 0)
    config->chunk_bytes_max = KVI_CHUNK_BYTES_MAX;
  if (config->max_chunks == 0)
    config->max_chunks = chunks_default(config->dram_bytes, config->medium);
  if (config->max_spaces == 0)
    config->max_spaces = 1024;
  if (config->max_leases == 0)
    config->max_leases = 65536;
  if (config->max_landings == 0)
    config->max_landings = 1024;
  if (!config->policy)
    config->policy = "lru";
  if (config->write_queue == 0)
    config->write_queue = 4096;
}

static kvs_status config_check(const struct kvi_store_config *config, const struct kvi_policy_ops *policy)
{
  const char *reason = NULL;

  if (!policy)
    reason = "no such policy";
  else if (config->chunk_bytes_max > KVI_CHUNK_BYTES_MAX)
    reason =
        "chunk_bytes_max is above 128 MiB"; /* a table of more is no table: it would be a corrupt chunk */
  else if (config->max_chunks > CHUNKS_MAX)
    reason = "max_chunks is above 2^30";
  else if (config->max_spaces > KVI_SPACES_LIMIT)
    reason = "max_spaces is above 65535";
  else if (config->max_leases > LEASES_LIMIT)
    reason = "max_leases is above 2^28";
  else if (config->max_landings > LANDINGS_LIMIT)
    reason = "max_landings is above 2^24";
  else if (config->dram_high_mark > 100 || config->dram_low_mark > config->dram_high_mark)
    reason = "the memory's marks are not percents, the low one at most the high one";
  if (!reason)
    return KVS_OK;
  kvi_log_error("store: cannot open: %s", reason);
  return KVS_ERR_INVALID;
}

static bool has_dram_faults(const struct kvi_store *store)
{
  return store->config.dram_test_fault && store->config.dram_test_fault[0] != '\0';
}

static bool has_marks(const struct kvi_store *store)
{
  return store->config.medium && store->config.dram_high_mark > 0 && store->config.dram_high_mark < 100;
}

static uint32_t page_bytes(const struct kvi_store *store)
{
  return store->config.dram_page_bytes > 0 ? store->config.dram_page_bytes : KVI_DRAM_PAGE_BYTES_DEFAULT;
}

static kvs_status parts_create(struct kvi_store *store)
{
  struct kvi_dram_config dram = {.bytes = store->config.dram_bytes,
                                 .page_bytes = store->config.dram_page_bytes,
                                 .object_bytes_max = store->config.chunk_bytes_max,
                                 .huge_pages = store->config.huge_pages,
                                 .lock_memory = store->config.lock_memory};
  kvs_status status;

  if (has_marks(store)) {
    dram.low_percent = 100 - store->config.dram_high_mark;
    dram.low = kvi_marks_crossed;
    dram.low_ctx = store;
  }
  if (store->config.n_tenants > 0) {
    dram.freed = kvi_account_freed;
    dram.freed_ctx = store;
  }
  status = kvi_index_create(store);

  if (status == KVS_OK)
    status = kvi_spaces_create(store);
  if (status == KVS_OK)
    status = kvi_leases_create(store);
  if (status == KVS_OK)
    status = kvi_landings_create(store);
  if (status == KVS_OK)
    status = kvi_waiters_create(store);
  if (status == KVS_OK)
    status = store->policy_ops->create(store->config.max_chunks, &store->policy);
  if (status == KVS_OK)
    status = kvi_dram_create(&dram, &store->dram);
  if (status == KVS_OK && has_dram_faults(store))
    status = kvi_faulty_tier_create(store->dram, store->config.dram_test_fault, &store->dram);
  if (status == KVS_OK)
    store->dram->ops->attr(store->dram, &store->dram_attr);
  if (status == KVS_OK && store->config.codec_threads > 0)
    status = kvi_cut_create(store);
  if (status == KVS_OK && store->config.n_tenants > 0)
    status = kvi_tenants_create(store);
  if (status == KVS_OK && store->config.medium)
    status = kvi_below_create(store, store->config.medium);
  if (status == KVS_OK && has_marks(store))
    status = kvi_marks_create(store, &store->marks);
  if (status == KVS_OK && store->config.medium && store->config.prefetch && store->policy_ops->promotion)
    status = kvi_ahead_create(store, &store->ahead);
  if (status == KVS_OK && store->config.codec_threads > 0)
    status = kvi_coder_create(store, store->config.codec_threads, &store->coder);
  if (status == KVS_OK && store->config.curve_samples > 0)
    status = kvi_sampler_create(store->config.curve_samples, kvi_store_dram_bytes(store), page_bytes(store),
                                kvi_policy_now(store), &store->sampler);
  return status;
}

kvs_status kvi_store_open(const struct kvi_store_config *config, struct kvi_store **store_p)
{
  struct kvi_store *store;
  kvs_status status;

  *store_p = NULL;
  store = calloc(1, sizeof(*store));
  if (!store) {
    if (config->medium)
      config->medium->ops->destroy(config->medium);
    return KVS_ERR_NOMEM;
  }
  pthread_mutex_init(&store->lock, NULL);
  kvi_damages_init(&store->damages);
  pthread_cond_init(&store->waiter_ended, NULL);
  store->config = *config;
  config_default(&store->config);
  store->policy_ops = kvi_policy_find(store->config.policy);
  status = config_check(&store->config, store->policy_ops);
  if (status == KVS_OK) {
    store->config.policy = store->policy_ops->name;
    status = parts_create(store);
  }
  if (status != KVS_OK) {
    kvi_store_close(store);
    return status;
  }
  *store_p = store;
  return KVS_OK;
}

void kvi_store_close(struct kvi_store *store)
{
  struct kvi_coder *coder;

  if (!store)
    return;
  pthread_mutex_lock(&store->lock);
  coder = store->coder;
  store->coder = NULL; /* the medium may still let chunks go */
  pthread_mutex_unlock(&store->lock);
  kvi_coder_destroy(coder); /* writes to the medium */
  kvi_ahead_stop(store->ahead);
  if (store->config.medium) /* calls back until it is gone */
    store->config.medium->ops->destroy(store->config.medium);
  kvi_ahead_destroy(store->ahead);
  kvi_marks_destroy(store->marks);
  kvi_below_destroy(store);
  kvi_cut_destroy(store);
  if (atomic_load_explicit(&store->holds, memory_order_relaxed) >
      0) /* a device that does not answer may yet */
    kvi_log_warn("the memory tier is left to a device that has not answered");
  else if (store->dram)
    store->dram->ops->destroy(store->dram);
  if (store->policy)
    store->policy_ops->destroy(store->policy);
  kvi_waiters_destroy(store);
  kvi_landings_destroy(store);
  kvi_leases_destroy(store);
  kvi_tenants_destroy(store);
  kvi_spaces_destroy(store);
  kvi_index_destroy(store);
  kvi_sampler_destroy(store->sampler);
  pthread_cond_destroy(&store->waiter_ended);
  kvi_damages_destroy(&store->damages);
  pthread_mutex_destroy(&store->lock);
  free(store);
}

uint32_t kvi_store_chunks_max(const struct kvi_store *store)
{
  return store->config.max_chunks;
}

uint64_t kvi_store_chunk_bytes_max(const struct kvi_store *store)
{
  uint64_t configured = store->config.chunk_bytes_max, capacity = store->dram_attr.capacity_bytes;

  return configured < capacity ? configured : capacity;
}

uint64_t kvi_store_dram_bytes(const struct kvi_store *store)
{
  return store->dram_attr.capacity_bytes;
}

struct kvi_tier *kvi_store_dram_faults(struct kvi_store *store)
{
  return has_dram_faults(store) ? store->dram : NULL;
}

bool kvi_store_has_medium(const struct kvi_store *store)
{
  return store->below != NULL;
}

struct kvi_damages *kvi_store_damages(struct kvi_store *store)
{
  return &store->damages;
}

void kvi_store_stats(struct kvi_store *store, struct kvi_store_stats *stats_p)
{
  uint64_t index = kvi_index_bytes(store) + store->policy_ops->memory(store->policy);

  pthread_mutex_lock(&store->lock);
  *stats_p = store->stats;
  stats_p->coding = kvi_coder_queued_locked(store->coder);
  pthread_mutex_unlock(&store->lock);
  if (store->below) {
    stats_p->has_medium = true;
    store->below->medium->ops->stats(store->below->medium, &stats_p->medium);
  }
  store->dram->ops->usage(store->dram, &stats_p->dram);
  stats_p->dram.metadata_bytes += kvi_below_memory(store) + kvi_cut_memory(store) +
                                  kvi_tenants_memory(store) + kvi_sampler_memory(store->sampler);
  stats_p->dram_bytes_per_s = store->dram_attr.read_bytes_per_s;
  stats_p->index_bytes = index;
  stats_p->index_bytes_per_chunk = (index + store->config.max_chunks - 1) / store->config.max_chunks;
}

kvs_status kvi_store_curve(struct kvi_store *store, uint64_t max_age_ns, struct kvi_sampler_report *report_p)
{
  uint64_t now_ns;

  if (!store->sampler)
    return KVS_ERR_UNSUPPORTED;
  pthread_mutex_lock(&store->lock);
  now_ns = kvi_policy_now(store);
  pthread_mutex_unlock(&store->lock);
  return kvi_sampler_estimate(store->sampler, max_age_ns, now_ns, report_p);
}
