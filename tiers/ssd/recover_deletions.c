/* tiers/ssd/recover_deletions.c: what the log files say of deletions, gathered at a start. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/ssd/recover_private.h"

/* By name; of one name, the newest first. */
static int deletion_compare(const void *a, const void *b)
{
  const struct kvi_ssd_deletion *x = &((const struct kvi_ssd_deleted *)a)->deletion;
  const struct kvi_ssd_deletion *y = &((const struct kvi_ssd_deleted *)b)->deletion;
  int order = memcmp(x->name, y->name, KVI_SSD_NAME);

  return order != 0 ? order : (x->generation < y->generation) - (x->generation > y->generation);
}

static kvs_status deletion_add(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_deletion *deletion,
                               uint32_t file)
{
  static const uint8_t all[KVI_SSD_NAME];

  kvi_ssd_recover_generation(recovery->volume, deletion->generation);
  if (memcmp(deletion->name, all, KVI_SSD_NAME) == 0 && deletion->generation > recovery->all_deleted)
    recovery->all_deleted = deletion->generation;
  if (recovery->n_deletions == recovery->deletions_room) {
    size_t room = recovery->deletions_room ? recovery->deletions_room * 2 : 1024;
    struct kvi_ssd_deleted *grown = realloc(recovery->deletions, room * sizeof(*grown));

    if (!grown)
      return KVS_ERR_NOMEM;
    recovery->deletions = grown;
    recovery->deletions_room = room;
  }
  recovery->deletions[recovery->n_deletions++] =
      (struct kvi_ssd_deleted){.deletion = *deletion, .file = file};
  return KVS_OK;
}

kvs_status kvi_ssd_recover_deletions(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                                     const struct kvi_ssd_record *listed)
{
  uint8_t *block = recovery->volume->header_block;
  struct kvi_ssd_record record;

  if (listed->at % KVI_SSD_BLOCK != 0 || listed->at > recovery->volume->config.file_bytes - KVI_SSD_BLOCK ||
      kvi_ssd_recover_io(recovery, KVI_SSD_READ, used->file, listed->at, block, KVI_SSD_BLOCK) != 0 ||
      kvi_ssd_record_read(block, &used->use, listed->at, &record) != KVS_OK ||
      record.kind != KVI_SSD_DELETIONS || record.bytes != KVI_SSD_BLOCK ||
      kvi_ssd_record_check(block, KVI_SSD_BLOCK, &record, true, NULL) != KVS_OK) {
    kvi_log_error("%s: deletions in log file %u cannot be read: deleted chunks may come back",
                  recovery->volume->name, used->file);
    return KVS_OK;
  }
  for (uint64_t i = 0; i < record.length; i += KVI_SSD_DELETION) {
    struct kvi_ssd_deletion deletion = kvi_ssd_deletion_read(block + KVI_SSD_HEAD + i);
    kvs_status status = deletion_add(recovery, &deletion, used->file);

    if (status != KVS_OK)
      return status;
  }
  return KVS_OK;
}

void kvi_ssd_recover_deletions_sort(struct kvi_ssd_recovery *recovery)
{
  if (recovery->n_deletions > 0)
    qsort(recovery->deletions, recovery->n_deletions, sizeof(*recovery->deletions), deletion_compare);
}

/* Is one of this name with its generation or a greater one in another file? Those with a greater one come first. */
static bool is_elsewhere(const struct kvi_ssd_recovery *recovery, size_t at)
{
  const struct kvi_ssd_deleted *deleted = &recovery->deletions[at];

  for (size_t i = at;
       i > 0 && memcmp(recovery->deletions[i - 1].deletion.name, deleted->deletion.name, KVI_SSD_NAME) == 0;
       i--)
    if (recovery->deletions[i - 1].file != deleted->file)
      return true;
  for (size_t i = at + 1;
       i < recovery->n_deletions && deletion_compare(&recovery->deletions[i], deleted) == 0; i++)
    if (recovery->deletions[i].file != deleted->file)
      return true;
  return false;
}

bool kvi_ssd_recover_deletions_elsewhere(const struct kvi_ssd_recovery *recovery, uint32_t file)
{
  for (size_t i = 0; i < recovery->n_deletions; i++)
    if (recovery->deletions[i].file == file && !is_elsewhere(recovery, i))
      return false;
  return true;
}

void kvi_ssd_recover_deletions_unify(struct kvi_ssd_recovery *recovery)
{
  size_t kept = 0;

  for (size_t i = 0; i < recovery->n_deletions; i++)
    if (kept == 0 || memcmp(recovery->deletions[kept - 1].deletion.name, recovery->deletions[i].deletion.name,
                            KVI_SSD_NAME) != 0)
      recovery->deletions[kept++] = recovery->deletions[i];
  recovery->n_deletions = kept;
}

static int name_compare(const void *name, const void *deleted)
{
  return memcmp(name, ((const struct kvi_ssd_deleted *)deleted)->deletion.name, KVI_SSD_NAME);
}

bool kvi_ssd_recover_is_deleted(const struct kvi_ssd_recovery *recovery, const struct kvi_ssd_record *record)
{
  const struct kvi_ssd_deleted *deleted;
  uint8_t name[KVI_SSD_NAME];

  if (record->generation <= recovery->all_deleted)
    return true;
  if (recovery->n_deletions == 0)
    return false;
  kvi_ssd_name(&record->identity, name);
  deleted = bsearch(name, recovery->deletions, recovery->n_deletions, sizeof(*deleted), name_compare);
  while (deleted && deleted > recovery->deletions && name_compare(name, deleted - 1) == 0)
    deleted--; /* before they are unified a name has several, the greatest first */
  return deleted && record->generation <= deleted->deletion.generation;
}
