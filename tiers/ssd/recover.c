/*
 * tiers/ssd/recover.c: what the log files hold is told to the store at start. Of a sealed file the footer is read; an unsealed one is read
 * through, and sealed; the newest of these is written on. Files are told by age, so that of two records of one chunk the newer is told last and counts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/ssd/recover_private.h"

#define GENERATIONS_LOST (1ull << 32) /* more than what cannot be read may have taken */

/* ---- lists ---- */

bool kvi_ssd_recover_counts(const struct kvi_ssd_recovery *recovery, const struct kvi_ssd_record *record)
{
  const struct kvi_ssd_volume *volume = recovery->volume;

  return record->kind == KVI_SSD_CHUNK && record->at % KVI_SSD_BLOCK == 0 && record->at >= KVI_SSD_BLOCK &&
         record->bytes % KVI_SSD_BLOCK == 0 && record->bytes <= volume->record_bytes_max &&
         record->bytes <= volume->config.file_bytes &&
         record->at <= volume->config.file_bytes - record->bytes && record->length > 0 &&
         record->length <= record->bytes && !kvi_ssd_recover_is_deleted(recovery, record);
}

kvs_status kvi_ssd_recover_each(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                                kvi_ssd_recover_fn *on_record, void *ctx)
{
  struct kvi_ssd_footer_reader reader;
  char tenant[KVI_MEDIUM_TENANT_MAX];
  struct kvi_ssd_record record;
  kvs_status status;

  if (!used->body ||
      kvi_ssd_footer_open(used->body, used->trailer.body_bytes, &used->trailer, &reader) != KVS_OK)
    return KVS_OK;
  do {
    status = kvi_ssd_footer_next(&reader, &record, tenant);
    if (status == KVS_OK)
      status = on_record(recovery, used, &record, ctx);
  } while (status == KVS_OK);
  kvi_ssd_footer_close(&reader);
  return status == KVS_ERR_NOMEM ? status : KVS_OK;
}

void kvi_ssd_recover_generation(struct kvi_ssd_volume *volume, uint64_t generation)
{
  if (generation > volume->generation)
    volume->generation = generation;
}

/* For deletions and generations. */
static kvs_status record_note(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                              const struct kvi_ssd_record *record, void *ctx)
{
  (void)ctx;
  kvi_ssd_contents_note(recovery->volume, used->file, record);
  kvi_ssd_recover_generation(recovery->volume, record->generation);
  return record->kind == KVI_SSD_DELETIONS ? kvi_ssd_recover_deletions(recovery, used, record) : KVS_OK;
}

static kvs_status chunk_tell(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                             const struct kvi_ssd_record *record, void *ctx)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_medium_found found = {
      .identity = record->identity, .length = record->length, .loss = kvi_quality_loss(record->quality)};

  (void)ctx;
  if (!kvi_ssd_recover_counts(recovery, record))
    return KVS_OK;
  found.handle = kvi_ssd_handle_of(volume, used->file, record->at, record->bytes);
  /* counted first: the store may drop it at once */
  kvi_ssd_live_add(volume, used->file, record->bytes);
  if (!recovery->found(volume->owner.ctx, &found)) {
    kvi_ssd_volume_drop(volume, found.handle);
    return KVS_OK;
  }
  volume->stats.recovered_chunks++;
  volume->stats.recovered_bytes += record->length;
  return KVS_OK;
}

static kvs_status lists_tell(struct kvi_ssd_recovery *recovery)
{
  kvs_status status = KVS_OK;

  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK; i++)
    status = kvi_ssd_recover_each(recovery, &recovery->used[i], record_note, NULL);
  kvi_ssd_recover_deletions_sort(recovery);
  if (status == KVS_OK)
    status = kvi_ssd_recover_target(recovery);
  kvi_ssd_recover_deletions_unify(recovery);
  if (recovery->uncertain)
    recovery->volume->generation += GENERATIONS_LOST;
  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK; i++)
    status = kvi_ssd_recover_each(recovery, &recovery->used[i], chunk_tell, NULL);
  return status;
}

static kvs_status files_load(struct kvi_ssd_recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  kvs_status status = kvi_ssd_recover_headers(recovery);

  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK && !atomic_load(&volume->failed); i++) {
    const struct kvi_ssd_used *used = &recovery->used[i];
    struct kvi_ssd_file *file = &volume->files[used->file];

    status = kvi_ssd_recover_list(recovery, &recovery->used[i]);
    file->use = used->use;
    if (used->uncertain)
      kvi_ssd_recover_bad(recovery, used->file); /* what was found in it is told, and can be read */
    else if (used->body)
      file->state = KVI_SSD_SEALED;
    else /* nothing was found in it; its header says that there may be something */
      kvi_ssd_file_free(volume, used->file);
  }
  if (status == KVS_OK && atomic_load(&volume->failed))
    status = KVS_ERR_IO;
  if (status == KVS_OK)
    status = kvi_ssd_recover_unsealed(recovery);
  for (uint32_t i = 0; i < volume->n_files; i++)
    volume->n_free += volume->files[i].state == KVI_SSD_FREE;
  return status;
}

kvs_status kvi_ssd_recover(struct kvi_ssd_volume *volume, kvi_medium_found_fn *found)
{
  struct kvi_ssd_recovery recovery = {.volume = volume, .found = found};
  kvs_status status;

  recovery.used = calloc(volume->n_files, sizeof(*recovery.used));
  if (!recovery.used)
    return KVS_ERR_NOMEM;
  status = files_load(&recovery);
  if (status == KVS_OK && atomic_load(&volume->failed))
    status = KVS_ERR_IO;
  if (status == KVS_OK)
    status = lists_tell(&recovery);
  for (uint32_t i = 0; i < recovery.n_used; i++) {
    kvi_ssd_footer_clear(&recovery.used[i].footer);
    kvi_ssd_recover_free(&recovery, recovery.used[i].body);
  }
  free(recovery.used);
  free(recovery.deletions);
  kvi_ssd_recover_free(&recovery, recovery.window);
  kvi_ssd_recover_free(&recovery, recovery.record);
  return status;
}
