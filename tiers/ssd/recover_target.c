/*
 * tiers/ssd/recover_target.c: a crash came while a log file was being freed, and what is needed of it was on its way to the last empty one. That has nothing of
 * its own: it is emptied, so that there is a place to move things to.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/ssd/recover_private.h"

/* A chunk of the target. */
struct copy {
  uint8_t name[KVI_SSD_NAME];
  uint64_t generation, length;
  uint32_t loss;
  bool elsewhere;
};

struct copies {
  struct copy *copies;
  size_t n, room;
};

static kvs_status copy_add(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                           const struct kvi_ssd_record *record, void *ctx)
{
  struct copies *copies = ctx;
  struct copy *copy;

  (void)used;
  if (!kvi_ssd_recover_counts(recovery, record))
    return KVS_OK;
  if (copies->n == copies->room) {
    size_t room = copies->room ? copies->room * 2 : 256;
    struct copy *grown = realloc(copies->copies, room * sizeof(*grown));

    if (!grown)
      return KVS_ERR_NOMEM;
    copies->copies = grown;
    copies->room = room;
  }
  copy = &copies->copies[copies->n++];
  *copy = (struct copy){
      .generation = record->generation, .length = record->length, .loss = kvi_quality_loss(record->quality)};
  kvi_ssd_name(&record->identity, copy->name);
  return KVS_OK;
}

static int copy_compare(const void *a, const void *b)
{
  return memcmp(((const struct copy *)a)->name, ((const struct copy *)b)->name, KVI_SSD_NAME);
}

/* A record of another file: what it may be the original of is found there. */
static kvs_status original_look(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                                const struct kvi_ssd_record *record, void *ctx)
{
  struct copies *copies = ctx;
  struct copy wanted, *copy;

  (void)used;
  if (!kvi_ssd_recover_counts(recovery, record))
    return KVS_OK;
  kvi_ssd_name(&record->identity, wanted.name);
  copy = bsearch(&wanted, copies->copies, copies->n, sizeof(wanted), copy_compare);
  /* the copy may have lost a plane on its way */
  if (copy && record->generation < copy->generation && record->length >= copy->length &&
      kvi_quality_loss(record->quality) <= copy->loss)
    copy->elsewhere = true;
  return KVS_OK;
}

/* *all_p: each chunk of the target has an original in another file. */
static kvs_status chunks_compare(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *target,
                                 bool *all_p)
{
  struct copies copies = {0};
  kvs_status status = kvi_ssd_recover_each(recovery, target, copy_add, &copies);

  if (copies.n > 0)
    qsort(copies.copies, copies.n, sizeof(*copies.copies), copy_compare);
  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK && copies.n > 0; i++)
    if (&recovery->used[i] != target)
      status = kvi_ssd_recover_each(recovery, &recovery->used[i], original_look, &copies);
  *all_p = status == KVS_OK;
  for (size_t i = 0; i < copies.n; i++)
    *all_p &= copies.copies[i].elsewhere;
  free(copies.copies);
  return status;
}

static void target_free(struct kvi_ssd_volume *volume, struct kvi_ssd_used *target)
{
  struct kvi_ssd_writer *writer = volume->writer;

  kvi_log_info("%s: log file %u is what another was being moved to, and emptied", volume->name, target->file);
  if (writer && writer->file == target->file) {
    kvi_ssd_footer_clear(&writer->footer);
    free(writer);
    volume->writer = NULL;
  }
  free(target->body);
  target->body = NULL;
  kvi_ssd_file_free(volume, target->file);
}

kvs_status kvi_ssd_recover_target(struct kvi_ssd_recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_ssd_used *target;
  kvs_status status;
  bool all;

  if (!kvi_ssd_cramped(volume) || recovery->n_used == 0 || recovery->uncertain)
    return KVS_OK;
  target = &recovery->used[recovery->n_used - 1];
  if (!kvi_ssd_recover_deletions_elsewhere(recovery, target->file))
    return KVS_OK;
  status = chunks_compare(recovery, target, &all);
  if (status == KVS_OK && all)
    target_free(volume, target);
  return status;
}
