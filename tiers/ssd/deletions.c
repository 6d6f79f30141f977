/*
 * tiers/ssd/deletions.c: chunks that were dropped for good, on their way to the log; and those who wait until they are safe there.
 *
 * They lie in a ring in the order they came. The first block of them is written (and synced, where puts are) before the next, and stays in the ring until
 * then: an error has it written again elsewhere. A ring that is full stands for a device that hangs: from there on all chunks of the directory
 * are deleted, which takes one item.
 */
#include <errno.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "tiers/ssd/volume_private.h"

#define SETTLES_MAX 1024u /* that wait */

/* ---- the ring ---- */

static void push_locked(struct kvi_ssd_volume *volume, const struct kvi_ssd_deletion *deletion)
{
  uint32_t at = (volume->first_deletion + volume->n_deletions++) % volume->config.deletions_max;

  volume->deletions[at] = *deletion;
  volume->deletions_come++;
}

void kvi_ssd_volume_forget(struct kvi_ssd_volume *volume, const uint8_t *name)
{
  struct kvi_ssd_deletion deletion;
  bool wake;

  memcpy(deletion.name, name, KVI_SSD_NAME);
  pthread_mutex_lock(&volume->lock);
  deletion.generation = ++volume->generation;
  if (volume->n_deletions == volume->config.deletions_max) {
    volume->n_deletions = volume->deleting;
    volume->emptied = true;
    memset(deletion.name, 0, KVI_SSD_NAME);
  }
  push_locked(volume, &deletion);
  wake = volume->asleep;
  volume->asleep = false;
  pthread_mutex_unlock(&volume->lock);
  if (wake)
    volume->disk->ops->wake(volume->disk);
}

uint32_t kvi_ssd_volume_deletions(struct kvi_ssd_volume *volume)
{
  uint32_t n;

  if (kvi_ssd_refuses_writes(volume))
    return 0;
  pthread_mutex_lock(&volume->lock);
  n = volume->n_deletions;
  pthread_mutex_unlock(&volume->lock);
  return (uint32_t)((uint64_t)n * 100 / volume->config.deletions_max);
}

bool kvi_ssd_deletions_are_safe(struct kvi_ssd_volume *volume, uint64_t come)
{
  bool safe;

  pthread_mutex_lock(&volume->lock);
  safe = volume->deletions_safe >= come;
  pthread_mutex_unlock(&volume->lock);
  return safe;
}

/* ---- writing ---- */

static void deletions_written(struct kvi_ssd_op *op, int error)
{
  struct kvi_ssd_volume *volume = op->volume;

  kvi_ssd_op_free(op);
  pthread_mutex_lock(&volume->lock);
  if (error == 0) {
    volume->first_deletion = (volume->first_deletion + volume->deleting) % volume->config.deletions_max;
    volume->n_deletions -= volume->deleting;
    /* what a full ring has swallowed is safe too when nothing is left */
    volume->deletions_safe =
        volume->n_deletions == 0 ? volume->deletions_come : volume->deletions_safe + volume->deleting;
  }
  volume->deleting = 0;
  pthread_mutex_unlock(&volume->lock);
}

void kvi_ssd_deletions_append(struct kvi_ssd_record *record, uint8_t *payload,
                              const struct kvi_ssd_deletion *deletion)
{
  kvi_ssd_deletion_write(payload + record->length, deletion);
  record->length += KVI_SSD_DELETION;
  if (deletion->generation > record->generation)
    record->generation = deletion->generation;
}

/* The first of the ring, as a record's payload. */
static void payload_make(struct kvi_ssd_volume *volume, struct kvi_ssd_record *record, uint8_t *payload)
{
  uint32_t n;

  pthread_mutex_lock(&volume->lock);
  n = volume->n_deletions < KVI_SSD_DELETIONS_BLOCK ? volume->n_deletions : KVI_SSD_DELETIONS_BLOCK;
  for (uint32_t i = 0; i < n; i++)
    kvi_ssd_deletions_append(record, payload,
                             &volume->deletions[(volume->first_deletion + i) % volume->config.deletions_max]);
  volume->deleting = n;
  pthread_mutex_unlock(&volume->lock);
  record->table_crc = kvi_crc32c_update(0, payload, record->length);
}

/* May they take of the last file? They wait like puts, but at the end, when there is no later: if what is moved there after the next start still has room then. */
static bool have_last_file(struct kvi_ssd_volume *volume)
{
  return atomic_load_explicit(&volume->stop, memory_order_relaxed) &&
         kvi_ssd_moving_leaves(volume, KVI_SSD_BLOCK);
}

void kvi_ssd_deletions_step(struct kvi_ssd_volume *volume)
{
  struct kvi_ssd_record record = {.kind = KVI_SSD_DELETIONS, .bytes = KVI_SSD_BLOCK};
  struct kvi_ssd_op *op;
  bool some, own = have_last_file(volume);

  pthread_mutex_lock(&volume->lock);
  some = volume->n_deletions > 0 && volume->deleting == 0;
  volume->deletions_seen = volume->deletions_come;
  pthread_mutex_unlock(&volume->lock);
  if (!some || !kvi_ssd_writer_have(volume, KVI_SSD_BLOCK, own))
    return;
  op = kvi_ssd_op_take(volume, KVI_SSD_BLOCK, true);
  if (!op)
    return;
  memset(op->buffer.bytes, 0, KVI_SSD_BLOCK);
  payload_make(volume, &record, op->buffer.bytes + KVI_SSD_HEAD);
  op->own_done = deletions_written;
  op->wants_sync = true;
  if (!kvi_ssd_write_record(op, &record, own))
    deletions_written(op, ENOSPC);
}

/* ---- those in files ---- */

/* Of all files but one. UINT64_MAX: no chunk lies there. */
static uint64_t oldest_elsewhere(const struct kvi_ssd_volume *volume, uint32_t file)
{
  uint64_t oldest = UINT64_MAX;

  for (uint32_t i = 0; i < volume->n_files; i++)
    if (i != file && volume->files[i].oldest < oldest)
      oldest = volume->files[i].oldest;
  return oldest;
}

static uint64_t oldest_waiting(const kvi_list *puts, uint64_t oldest)
{
  kvi_list_for_each(puts, node)
  {
    uint64_t generation =
        kvi_ssd_put_generation(kvi_list_entry(node, const struct kvi_medium_put, medium_link));

    if (generation < oldest)
      oldest = generation;
  }
  return oldest;
}

uint64_t kvi_ssd_deletions_needed_from(struct kvi_ssd_volume *volume, uint32_t file)
{
  uint64_t oldest = oldest_waiting(&volume->puts, oldest_elsewhere(volume, file));

  pthread_mutex_lock(&volume->lock);
  oldest = oldest_waiting(&volume->puts_new, oldest);
  pthread_mutex_unlock(&volume->lock);
  return oldest;
}

bool kvi_ssd_deletions_are_stuck(struct kvi_ssd_volume *volume)
{
  return volume->deleting == 0 && volume->n_freeing == 0 && volume->n_sealing == 0 &&
         (volume->n_free == 0 || volume->ready != KVI_SSD_NONE) &&
         !kvi_ssd_writer_have(volume, KVI_SSD_BLOCK, have_last_file(volume));
}

uint32_t kvi_ssd_deletions_crowd(struct kvi_ssd_volume *volume)
{
  uint64_t most = (uint64_t)volume->file_blocks / 8 * KVI_SSD_DELETIONS_BLOCK, needed = 0, next = UINT64_MAX;
  uint32_t oldest = KVI_SSD_NONE;

  if (volume->deletions_kept <= most)
    return KVI_SSD_NONE;
  for (uint32_t i = 0; i < volume->n_files; i++) {
    uint64_t own = volume->files[i].oldest;

    if (own == UINT64_MAX)
      continue;
    if (oldest == KVI_SSD_NONE || own < volume->files[oldest].oldest) {
      next = oldest == KVI_SSD_NONE ? next : volume->files[oldest].oldest;
      oldest = i;
    } else if (own < next) {
      next = own;
    }
  }
  if (oldest == KVI_SSD_NONE)
    return KVI_SSD_NONE;
  for (uint32_t i = 0; i < volume->n_files; i++)
    if (volume->files[i].newest_deleted >= (i == oldest ? next : volume->files[oldest].oldest))
      needed += volume->files[i].deletions;
  return needed > most ? oldest : KVI_SSD_NONE;
}

/* ---- those who wait ---- */

static kvi_list_node *settle_link(struct kvi_medium_settle *settle)
{
  return (kvi_list_node *)settle->medium_link;
}
static_assert(sizeof(kvi_list_node) == 2 * sizeof(void *) && sizeof(uint64_t) == sizeof(void *),
              "a node and what it waits for fit the medium's own links");

/* The third link: deletions that had come when it came. */
static uint64_t settle_come(const struct kvi_medium_settle *settle)
{
  uint64_t come;

  memcpy(&come, &settle->medium_link[2], sizeof(come));
  return come;
}

kvs_status kvi_ssd_volume_settle(struct kvi_ssd_volume *volume, struct kvi_medium_settle *settle)
{
  kvs_status status = KVS_PENDING;
  bool wake = false;

  pthread_mutex_lock(&volume->lock);
  if (volume->closed)
    status = KVS_ERR_CLOSED;
  else if (kvi_ssd_refuses_writes(volume))
    status = KVS_ERR_IO;
  else if (volume->deletions_safe >= volume->deletions_come)
    status = KVS_OK;
  else if (volume->settles.length >= SETTLES_MAX)
    status = KVS_ERR_BUSY;
  if (status == KVS_PENDING) {
    memset(settle->medium_link, 0, 2 * sizeof(void *));
    memcpy(&settle->medium_link[2], &volume->deletions_come, sizeof(volume->deletions_come));
    kvi_list_push_back(&volume->settles, settle_link(settle));
    wake = volume->asleep;
    volume->asleep = false;
  }
  pthread_mutex_unlock(&volume->lock);
  if (wake)
    volume->disk->ops->wake(volume->disk);
  return status;
}

/* Takes one out that has ended. NULL: none has. */
static struct kvi_medium_settle *settle_pop(struct kvi_ssd_volume *volume, uint64_t now, bool all,
                                            kvs_status *status)
{
  struct kvi_medium_settle *ended = NULL;

  pthread_mutex_lock(&volume->lock);
  kvi_list_for_each(&volume->settles, node)
  {
    struct kvi_medium_settle *settle = kvi_list_entry(node, struct kvi_medium_settle, medium_link);
    bool safe = settle_come(settle) <= volume->deletions_safe;

    if (!all && !safe && now < settle->deadline_ns)
      continue;
    if (!all)
      *status = safe ? KVS_OK : KVS_ERR_DEADLINE;
    ended = settle;
    break;
  }
  if (ended)
    kvi_list_remove(&volume->settles, settle_link(ended));
  pthread_mutex_unlock(&volume->lock);
  return ended;
}

void kvi_ssd_settles_step(struct kvi_ssd_volume *volume, uint64_t now)
{
  struct kvi_medium_settle *settle;
  kvs_status status = KVS_OK;

  while ((settle = settle_pop(volume, now, false, &status)) != NULL)
    volume->settled(volume->settled_ctx, settle, status);
}

void kvi_ssd_settles_end(struct kvi_ssd_volume *volume, kvs_status status)
{
  struct kvi_medium_settle *settle;

  while ((settle = settle_pop(volume, 0, true, &status)) != NULL)
    volume->settled(volume->settled_ctx, settle, status);
}
