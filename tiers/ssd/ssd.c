/* tiers/ssd/ssd.c: the SSD tier as a medium: its directories side by side. */
#include "tiers/ssd/ssd.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/limits.h"
#include "tiers/ssd/volume_private.h"

#define DEPTH_DEFAULT     16u
#define COPY_DEFAULT      25u
#define DELETIONS_DEFAULT 65536u
#define DELETIONS_MIN     1024u /* some blocks of them */

struct ssd {
  struct kvi_medium medium;
  struct kvi_ssd_config config;
  struct kvi_ssd_volume *volumes[KVI_SSD_DIRECTORIES_MAX];
  uint32_t end_blocks[KVI_SSD_DIRECTORIES_MAX]; /* of its places */
  uint32_t n_volumes;
  _Atomic uint32_t n_puts;
  _Atomic uint64_t n_refused; /* puts, since no directory takes any */
  uint32_t n_left_out;        /* directories that are configured and could not be opened */
};

static struct ssd *from(struct kvi_medium *medium)
{
  return (struct ssd *)medium;
}

/* ---- the ops ---- */

static void ssd_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  const struct ssd *ssd = (const struct ssd *)medium;

  *attr_p = (struct kvi_medium_attr){.name = "ssd",
                                     .kind = KVI_TIER_SSD,
                                     .handles = true,
                                     .capacity_bytes = ssd->config.bytes,
                                     .chunk_bytes_max = ssd->config.chunk_bytes_max};
}

static void ssd_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  struct ssd *ssd = from(medium);

  memset(stats_p, 0, sizeof(*stats_p));
  for (uint32_t i = 0; i < ssd->n_volumes; i++)
    kvi_ssd_volume_stats(ssd->volumes[i], stats_p);
  stats_p->devices += ssd->n_left_out;
  stats_p->devices_failed += ssd->n_left_out;
  stats_p->put_errors += atomic_load_explicit(&ssd->n_refused, memory_order_relaxed);
  if (ssd->n_volumes > 1) /* the sum of several is no latency */
    stats_p->read_latency_us /= ssd->n_volumes;
}

static kvs_status ssd_recover(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                              kvi_medium_found_fn *found)
{
  struct ssd *ssd = from(medium);
  uint32_t kept = 0;

  for (uint32_t i = 0; i < ssd->n_volumes; i++) {
    kvs_status status = kvi_ssd_volume_recover(ssd->volumes[i], owner, found);

    if (status == KVS_ERR_NOMEM || status == KVS_ERR_VERSION)
      return status;
    kept += status == KVS_OK;
  }
  if (kept == 0)
    kvi_log_error("ssd: no directory can be used: the node goes on without the tier");
  return KVS_OK;
}

static kvs_status ssd_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  struct ssd *ssd = from(medium);
  uint32_t best = 0, first = atomic_fetch_add_explicit(&ssd->n_puts, 1, memory_order_relaxed);
  uint64_t least = UINT64_MAX;
  kvs_status status;

  /* the least busy one, and of equals each in its turn */
  for (uint32_t i = 0; i < ssd->n_volumes; i++) {
    uint32_t which = (first + i) % ssd->n_volumes;
    uint64_t load = kvi_ssd_volume_load(ssd->volumes[which]);

    if (load < least) {
      least = load;
      best = which;
    }
  }
  status = least == UINT64_MAX ? KVS_ERR_IO : kvi_ssd_volume_put(ssd->volumes[best], put);
  if (status == KVS_ERR_IO)
    atomic_fetch_add_explicit(&ssd->n_refused, 1, memory_order_relaxed);
  return status;
}

/* NULL: no directory has it. */
static struct kvi_ssd_volume *volume_of(struct ssd *ssd, kvi_medium_handle handle)
{
  for (uint32_t i = 0; i < ssd->n_volumes; i++)
    if (kvi_ssd_handle_place(handle) < ssd->end_blocks[i])
      return ssd->volumes[i];
  return NULL;
}

static kvs_status ssd_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  struct kvi_ssd_volume *volume = volume_of(from(medium), get->handle);

  return volume ? kvi_ssd_volume_get(volume, get) : KVS_ERR_IO;
}

static void ssd_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                     kvi_medium_handle handle, bool for_good)
{
  struct ssd *ssd = from(medium);
  struct kvi_ssd_volume *volume = handle != 0 ? volume_of(ssd, handle) : NULL;
  uint8_t name[KVI_SSD_NAME];

  if (volume)
    kvi_ssd_volume_drop(volume, handle);
  if (!for_good)
    return;
  kvi_ssd_name(identity, name);
  for (uint32_t i = 0; i < ssd->n_volumes; i++) /* an old copy may lie in any of them */
    kvi_ssd_volume_forget(ssd->volumes[i], name);
}

static uint32_t ssd_drops_waiting(struct kvi_medium *medium)
{
  struct ssd *ssd = from(medium);
  uint32_t most = 0;

  for (uint32_t i = 0; i < ssd->n_volumes; i++) {
    uint32_t waiting = kvi_ssd_volume_deletions(ssd->volumes[i]);

    most = waiting > most ? waiting : most;
  }
  return most;
}

/* From the directory numbered next on, one after the other. As ssd_settle. */
static kvs_status settle_on(struct ssd *ssd, struct kvi_medium_settle *settle, uint32_t next)
{
  kvs_status status = KVS_OK;

  for (; next < ssd->n_volumes && status == KVS_OK; next++) {
    settle->medium_link[3] = &ssd->volumes[next];
    status = kvi_ssd_volume_settle(ssd->volumes[next], settle);
  }
  return status == KVS_OK && ssd->n_left_out > 0 ? KVS_ERR_IO : status;
}

/* One directory has ended with it. */
static void settled(void *ctx, struct kvi_medium_settle *settle, kvs_status status)
{
  struct ssd *ssd = ctx;
  uint32_t at = (uint32_t)((struct kvi_ssd_volume **)settle->medium_link[3] - ssd->volumes);

  if (status == KVS_OK)
    status = settle_on(ssd, settle, at + 1);
  if (status != KVS_PENDING)
    settle->done(settle, status);
}

static kvs_status ssd_settle(struct kvi_medium *medium, struct kvi_medium_settle *settle)
{
  return settle_on(from(medium), settle, 0);
}

static void ssd_destroy(struct kvi_medium *medium)
{
  struct ssd *ssd = from(medium);

  if (!medium)
    return;
  for (uint32_t i = 0; i < ssd->n_volumes;
       i++) /* all threads first: each calls the store, and that any directory */
    kvi_ssd_volume_stop(ssd->volumes[i]);
  for (uint32_t i = 0; i < ssd->n_volumes; i++)
    kvi_ssd_volume_destroy(ssd->volumes[i]);
  free(ssd);
}

static struct kvi_medium_ops ssd_ops = {
    .attr = ssd_attr,
    .stats = ssd_stats,
    .recover = ssd_recover,
    .put = ssd_put,
    .get = ssd_get,
    .drop = ssd_drop,
    .drops_waiting = ssd_drops_waiting,
    .settle = ssd_settle,
    .destroy = ssd_destroy,
};

/* ---- life ---- */

static kvs_status config_check(struct kvi_ssd_config *config)
{
  uint64_t each, files;

  if (config->file_bytes == 0)
    config->file_bytes = KVI_SSD_FILE_BYTES_DEFAULT;
  if (config->chunk_bytes_max == 0)
    config->chunk_bytes_max = KVI_CHUNK_BYTES_MAX;
  if (config->depth == 0)
    config->depth = DEPTH_DEFAULT;
  if (config->copy_percent == 0)
    config->copy_percent = COPY_DEFAULT;
  if (config->deletions_max == 0)
    config->deletions_max = DELETIONS_DEFAULT;
  if (config->open_wait_ns == 0)
    config->open_wait_ns = KVI_SSD_OPEN_WAIT_NS;
  if (config->n_paths == 0 || config->n_paths > KVI_SSD_DIRECTORIES_MAX ||
      config->file_bytes % (1u << 20) != 0 || config->copy_percent > 90 ||
      config->deletions_max < DELETIONS_MIN)
    return KVS_ERR_INVALID;
  each = config->bytes / config->n_paths;
  files = each / config->file_bytes;
  if (config->file_bytes < 2 * config->chunk_bytes_max) {
    kvi_log_error("ssd: a log file of %llu bytes is less than two of the largest chunks (%llu bytes)",
                  (unsigned long long)config->file_bytes, (unsigned long long)config->chunk_bytes_max);
    return KVS_ERR_INVALID;
  }
  if (files < KVI_SSD_FILES_MIN) {
    kvi_log_error("ssd: %llu bytes for each directory are less than %u log files of %llu bytes",
                  (unsigned long long)each, KVI_SSD_FILES_MIN, (unsigned long long)config->file_bytes);
    return KVS_ERR_INVALID;
  }
  if (files * config->n_paths * (config->file_bytes / KVI_SSD_BLOCK) > UINT32_MAX) {
    kvi_log_error("ssd: more than 16 TiB in all");
    return KVS_ERR_INVALID;
  }
  return KVS_OK;
}

static void disks_destroy(struct kvi_ssd_disk *const *disks, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (disks[i])
      disks[i]->ops->destroy(disks[i]);
}

/* disks[i] may be NULL: that directory is left out. */
static kvs_status create(const struct kvi_ssd_config *config, struct kvi_ssd_disk *const *disks,
                         struct kvi_medium **medium_p)
{
  struct ssd *ssd = calloc(1, sizeof(*ssd));
  uint32_t first = 0, blocks;

  if (!ssd) {
    disks_destroy(disks, config->n_paths);
    return KVS_ERR_NOMEM;
  }
  kvi_medium_ops_complete(&ssd_ops);
  ssd->medium.ops = &ssd_ops;
  ssd->config = *config;
  for (size_t i = 0; i < config->n_paths; i++) {
    kvs_status status;

    if (!disks[i]) {
      ssd->n_left_out++;
      continue;
    }
    status =
        kvi_ssd_volume_open(config, disks[i], (uint32_t)i, config->paths[i], config->bytes / config->n_paths,
                            first, settled, ssd, &blocks, &ssd->volumes[ssd->n_volumes]);
    if (status == KVS_OK) {
      first += blocks;
      ssd->end_blocks[ssd->n_volumes++] = first;
    } else if (status == KVS_ERR_NOMEM || status == KVS_ERR_VERSION) {
      disks_destroy(disks + i + 1, config->n_paths - i - 1);
      ssd_destroy(&ssd->medium);
      return status;
    } else {
      ssd->n_left_out++;
    }
  }
  *medium_p = &ssd->medium;
  return KVS_OK;
}

kvs_status kvi_ssd_create_over(const struct kvi_ssd_config *config, struct kvi_ssd_disk *const *disks,
                               struct kvi_medium **medium_p)
{
  struct kvi_ssd_config checked = *config;
  kvs_status status = config_check(&checked);

  *medium_p = NULL;
  if (status == KVS_OK)
    return create(&checked, disks, medium_p);
  disks_destroy(disks, config->n_paths);
  return status;
}

kvs_status kvi_ssd_create(const struct kvi_ssd_config *config, struct kvi_medium **medium_p)
{
  struct kvi_ssd_config checked = *config;
  struct kvi_ssd_disk *disks[KVI_SSD_DIRECTORIES_MAX] = {0};
  kvs_status status = config_check(&checked);

  *medium_p = NULL;
  if (status != KVS_OK)
    return status;
  for (size_t i = 0; i < checked.n_paths && status == KVS_OK; i++) {
    kvs_status opened = kvi_ssd_file_disk_open(checked.paths[i], checked.depth + 16, checked.ring, &disks[i]);

    if (opened != KVS_ERR_IO) /* that is a device that is out */
      status = opened;
  }
  if (status == KVS_OK)
    return create(&checked, disks, medium_p);
  disks_destroy(disks, checked.n_paths);
  return status;
}
