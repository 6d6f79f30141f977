/* tiers/ssd/volume.c: a directory's life. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/limits.h"
#include "tiers/ssd/volume_private.h"

uint64_t kvi_ssd_volume_load(struct kvi_ssd_volume *volume)
{
  uint64_t load;

  if (kvi_ssd_refuses_writes(volume))
    return UINT64_MAX;
  pthread_mutex_lock(&volume->lock);
  load = volume->queued_put_bytes;
  pthread_mutex_unlock(&volume->lock);
  return load;
}

void kvi_ssd_volume_stats(struct kvi_ssd_volume *volume, struct kvi_medium_stats *stats)
{
  struct kvi_medium_stats own;
  uint64_t *sum = (uint64_t *)stats;
  const uint64_t *add = (const uint64_t *)&own;

  pthread_mutex_lock(&volume->lock);
  volume->stats.queued = volume->queued;
  volume->stats.queued_get_bytes = volume->queued_get_bytes;
  volume->stats.write_bytes_per_s = volume->writing.bytes_per_s;
  own = volume->stats;
  pthread_mutex_unlock(&volume->lock);
  own.devices = 1;
  own.devices_failed = atomic_load_explicit(&volume->failed, memory_order_relaxed);
  own.devices_read_only =
      !own.devices_failed && atomic_load_explicit(&volume->read_only, memory_order_relaxed);
  own.capacity_bytes = own.devices_failed ? 0 : (uint64_t)volume->n_files * volume->config.file_bytes;
  own.metadata_bytes = volume->n_files * sizeof(*volume->files);
  static_assert(sizeof(own) % sizeof(uint64_t) == 0, "a struct of uint64_t only");
  for (size_t i = 0; i < sizeof(own) / sizeof(uint64_t); i++)
    sum[i] += add[i];
}

static void rates_begin(struct kvi_ssd_volume *volume)
{
  volume->expire_next_ns = kvi_now_ns() + KVI_SSD_EXPIRE_NS;
  volume->scrub_next_ns = kvi_now_ns();
}

/* Its thread is not there: nobody is to wait for it. */
static kvs_status not_started(struct kvi_ssd_volume *volume, kvs_status status)
{
  atomic_store_explicit(&volume->failed, true, memory_order_relaxed);
  kvi_ssd_all_lost_tell(volume);
  return status;
}

kvs_status kvi_ssd_volume_recover(struct kvi_ssd_volume *volume, const struct kvi_medium_owner *owner,
                                  kvi_medium_found_fn *found)
{
  uint64_t started = kvi_now_ns();
  kvs_status status;
  char name[KVI_THREAD_NAME_MAX] = "kvi-ssd-0";

  volume->owner = *owner;
  status = kvi_ssd_recover(volume, found);
  if (status != KVS_OK)
    return not_started(volume, status);
  volume->stats.recovery_us = (kvi_now_ns() - started) / 1000;
  kvi_log_info("%s: %llu chunks, %llu bytes found in %llu ms; %u log files of %llu bytes by %s", volume->name,
               (unsigned long long)volume->stats.recovered_chunks,
               (unsigned long long)volume->stats.recovered_bytes,
               (unsigned long long)volume->stats.recovery_us / 1000, volume->n_files,
               (unsigned long long)volume->config.file_bytes, volume->disk->ops->name);
  rates_begin(volume);
  name[8] = (char)('a' + volume->index);
  status = kvi_thread_start(&volume->thread, name, kvi_ssd_run, volume);
  return status == KVS_OK ? KVS_OK : not_started(volume, status);
}

static kvs_status parts_create(struct kvi_ssd_volume *volume, const char *name)
{
  uint32_t n_ops = volume->config.depth + KVI_SSD_OPS_OWN;

  volume->name = strdup(name);
  volume->files = calloc(volume->n_files, sizeof(*volume->files));
  volume->ops = calloc(n_ops, sizeof(*volume->ops));
  volume->header_block = kvi_ssd_blocks_alloc(KVI_SSD_BLOCK);
  volume->freeing_block = kvi_ssd_blocks_alloc(KVI_SSD_BLOCK);
  volume->deletions = malloc(volume->config.deletions_max * sizeof(*volume->deletions));
  if (!volume->name || !volume->files || !volume->ops || !volume->header_block || !volume->freeing_block ||
      !volume->deletions)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < volume->n_files; i++)
    volume->files[i].oldest = UINT64_MAX;
  for (uint32_t i = 0; i < n_ops; i++)
    kvi_list_push_back(&volume->ops_free, &volume->ops[i].link);
  /* the depth of 2 MiB records, and two of the largest */
  volume->buffers.bytes_max = (size_t)n_ops * (4u << 20);
  if (volume->buffers.bytes_max < 3 * volume->record_bytes_max)
    volume->buffers.bytes_max = 3 * volume->record_bytes_max;
  return KVS_OK;
}

/* As many files as the device has room for, up to what is configured. */
static kvs_status files_open(struct kvi_ssd_volume *volume)
{
  uint32_t planned = volume->n_files;
  kvs_status trimmed = volume->disk->ops->trim(volume->disk, planned); /* first, for the bound on bytes */

  if (trimmed != KVS_OK)
    return trimmed;
  for (uint32_t i = 0; i < volume->n_files; i++) {
    bool fresh;
    kvs_status status = volume->disk->ops->open(volume->disk, i, volume->config.file_bytes, &fresh);

    if (status == KVS_ERR_FULL && i >= KVI_SSD_FILES_MIN) {
      kvi_log_warn("%s: has room for %u of %u log files", volume->name, i, volume->n_files);
      volume->n_files = i;
    } else if (status != KVS_OK) {
      if (status == KVS_ERR_FULL)
        kvi_log_error("%s: has no room for %u log files of %llu bytes", volume->name, KVI_SSD_FILES_MIN,
                      (unsigned long long)volume->config.file_bytes);
      return status == KVS_ERR_FULL ? KVS_ERR_IO : status;
    }
  }
  volume->copy_credit = kvi_ssd_copy_credit_max(volume);
  return volume->n_files < planned ? volume->disk->ops->trim(volume->disk, volume->n_files) : KVS_OK;
}

kvs_status kvi_ssd_volume_open(const struct kvi_ssd_config *config, struct kvi_ssd_disk *disk, uint32_t index,
                               const char *name, uint64_t bytes, uint32_t first_block,
                               kvi_ssd_settled_fn *settled, void *settled_ctx, uint32_t *blocks_p,
                               struct kvi_ssd_volume **volume_p)
{
  struct kvi_ssd_volume *volume = calloc(1, sizeof(*volume));
  kvs_status status = KVS_ERR_NOMEM;

  *volume_p = NULL;
  if (!volume) {
    disk->ops->destroy(disk);
    return KVS_ERR_NOMEM;
  }
  volume->config = *config;
  volume->disk = disk;
  volume->index = index;
  volume->first_block = first_block;
  volume->file_blocks = (uint32_t)(config->file_bytes / KVI_SSD_BLOCK);
  volume->n_files = (uint32_t)(bytes / config->file_bytes);
  volume->record_bytes_max = kvi_ssd_record_bytes(config->chunk_bytes_max, KVI_SEGMENTS_MAX);
  volume->ready = volume->freeing = KVI_SSD_NONE;
  volume->settled = settled;
  volume->settled_ctx = settled_ctx;
  pthread_mutex_init(&volume->lock, NULL);
  kvi_list_init(&volume->puts_new);
  kvi_list_init(&volume->gets_new);
  kvi_list_init(&volume->settles);
  kvi_list_init(&volume->puts);
  kvi_list_init(&volume->gets);
  kvi_list_init(&volume->ops_free);
  kvi_list_init(&volume->running);
  kvi_list_init(&volume->unsynced);
  status = parts_create(volume, name);
  if (status == KVS_OK)
    status = files_open(volume);
  if (status != KVS_OK) {
    kvi_ssd_volume_destroy(volume);
    return status;
  }
  *blocks_p = volume->n_files * volume->file_blocks;
  *volume_p = volume;
  return KVS_OK;
}

void kvi_ssd_volume_stop(struct kvi_ssd_volume *volume)
{
  if (!volume)
    return;
  pthread_mutex_lock(&volume->lock);
  volume->closed = true;
  atomic_store_explicit(&volume->stop, true, memory_order_relaxed);
  pthread_mutex_unlock(&volume->lock);
  volume->disk->ops->wake(volume->disk);
  kvi_thread_join(&volume->thread);
}

void kvi_ssd_volume_destroy(struct kvi_ssd_volume *volume)
{
  if (!volume)
    return;
  kvi_ssd_volume_stop(volume);
  if (volume->in_flight > 0) { /* the device still writes to our memory, perhaps for ever: it is left to it */
    kvi_log_warn("%s: %llu operations did not end, their memory is given up", volume->name,
                 (unsigned long long)volume->in_flight);
    return;
  }
  kvi_ssd_reclaim_leave(volume);
  kvi_ssd_walk_free(volume->scrub);
  kvi_ssd_buffers_clear(&volume->buffers);
  volume->disk->ops->destroy(volume->disk);
  pthread_mutex_destroy(&volume->lock);
  if (volume->writer) {
    kvi_ssd_footer_clear(&volume->writer->footer);
    free(volume->writer);
  }
  free(volume->deletions);
  free(volume->freeing_block);
  free(volume->header_block);
  for (uint32_t i = 0; i < volume->config.depth + KVI_SSD_OPS_OWN && volume->ops; i++)
    free(volume->ops[i].places);
  free(volume->ops);
  for (uint32_t i = 0; i < volume->n_files && volume->files; i++)
    kvi_ssd_list_forget(volume, i);
  free(volume->files);
  free(volume->name);
  free(volume);
}
