/*
 * tiers/ssd/reclaim.c: room, by whole log files. The sealed file with the least alive is freed: what is needed of it is written to the open
 * file (move.c) and made durable; then the file may be used again.
 *
 * There is always a place to move things to: either a file is empty; or the last empty one was opened for what is moved just now. Then it takes nothing else
 * until the other file is free (write.c), and as both are of one size all of that fits. If a crash comes in between, the last file has nothing that is not
 * in the other too, and is emptied at the start (recover_target.c).
 */
#include <stdlib.h>

#include "base/log.h"
#include "tiers/ssd/volume_private.h"

#define FEW_FILES 8u /* with so few, one is kept free; else two */

/* ---- the end ---- */

static void freed(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;

  volume->reclaim = NULL;
  pthread_mutex_lock(&volume->lock);
  volume->stats.reclaims++;
  pthread_mutex_unlock(&volume->lock);
  kvi_ssd_copy_earned(volume);
  kvi_ssd_file_free(volume, walk->file);
  kvi_ssd_walk_free(walk);
}

/* What the store has in the file it has no more. */
static void chunks_lose(struct kvi_ssd_volume *volume, uint32_t file)
{
  kvi_medium_handle first = kvi_ssd_handle_of(volume, file, 0, 0);

  volume->owner.lost(volume->owner.ctx, first, first + ((kvi_medium_handle)volume->file_blocks << 32) - 1);
}

/* The file stays as it is; it is tried again when it is its turn. The walk is over, or between two records. */
static void left(struct kvi_ssd_walk *walk)
{
  if (!walk->walked && (walk->blocked || walk->wants_op))
    walk->volume->files[walk->file].reading--;
  if (walk->blocked)
    kvi_ssd_op_free(walk->blocked);
  walk->volume->reclaim = NULL;
  kvi_ssd_walk_free(walk);
}

void kvi_ssd_reclaim_leave(struct kvi_ssd_volume *volume)
{
  if (volume->reclaim)
    left(volume->reclaim);
}

static void copies_synced(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_walk *walk = io->user;

  kvi_ssd_device_said(walk->volume, "syncing", io->file, error);
  walk->syncing = false;
  if (error != 0) {
    walk->volume->files[io->file].dirty |= walk->was_dirty;
    left(walk);
  } else if (!walk->was_dirty) { /* else others may follow */
    walk->synced = true;         /* freed by the next step, when nobody reads it any more */
  }
}

/* Copies may lie there, and are not safe yet: a file whose sealing has failed, or the open one. KVI_SSD_NONE: nowhere. */
static uint32_t unsafe_file(const struct kvi_ssd_volume *volume)
{
  for (uint32_t i = 0; i < volume->n_files; i++)
    if (volume->files[i].dirty)
      return i;
  return volume->writer ? volume->writer->file : KVI_SSD_NONE;
}

static void copies_sync(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;
  uint32_t file = kvi_ssd_syncs(volume) ? unsafe_file(volume) : KVI_SSD_NONE;

  if (walk->syncing)
    return;
  if (file == KVI_SSD_NONE) {
    walk->synced = true; /* a file that was sealed meanwhile was synced then */
    return;
  }
  walk->syncing = true;
  walk->was_dirty = volume->files[file].dirty;
  volume->files[file].dirty = false; /* what comes now is not of this sync */
  walk->io = (struct kvi_ssd_io){.kind = KVI_SSD_SYNC, .file = file, .done = copies_synced, .user = walk};
  kvi_ssd_submit(volume, &walk->io);
}

static void walk_over(struct kvi_ssd_walk *walk, kvs_status status)
{
  struct kvi_ssd_volume *volume = walk->volume;
  uint64_t alive = kvi_ssd_live_bytes(volume, walk->file);

  if (status == KVS_ERR_CLOSED || status == KVS_ERR_NOMEM ||
      (status == KVS_ERR_IO && ++volume->reclaim_errors < KVI_SSD_RECLAIM_TRIES)) {
    left(walk); /* it may have been a passing one; no memory says nothing of the file */
    return;
  }
  if (!walk->failed)
    volume->reclaim_errors = 0;
  if (status != KVS_OK) {
    kvi_log_warn("%s: the footer of log file %u cannot be read: its chunks are given up", volume->name,
                 walk->file);
    chunks_lose(volume, walk->file);
  } else if (walk->keeps || (walk->failed && alive > 0) ||
             (volume->errors_in_row > 0 && !volume->files[walk->file].list)) {
    /* one with a list in memory may have asked nothing of the device: freeing it tells how the device is */
    left(walk);
    return;
  }
  if (walk->unreadable || (status != KVS_OK && volume->files[walk->file].deletions > 0)) {
    kvi_log_error("%s: log file %u says what was deleted, and cannot be read: it is left as it is",
                  volume->name, walk->file);
    volume->files[walk->file].state = KVI_SSD_BAD;
    volume->n_bad++;
    left(walk);
    return;
  }
  walk->walked = true;
}

/*
 * The store has nothing in the file any more, nor may it let go of anything elsewhere, and what the file says of deletions has no place to go. No crash
 * leads here: the device has failed before, or the tier is smaller than it was.
 */
static void give_up(struct kvi_ssd_volume *volume, uint32_t file)
{
  if (volume->errors_in_row > 0 || volume->n_bad > 0 || volume->files[file].reading > 0)
    return; /* it may be gone; there may be room at another start; what is being read would look damaged */
  kvi_log_error(
      "%s: no log file has room for what log file %u says was deleted: deleted chunks may come back "
      "at a restart",
      volume->name, file);
  kvi_ssd_file_free(volume, file);
}

static void begin(struct kvi_ssd_volume *volume, uint32_t file)
{
  struct kvi_ssd_walk *walk = calloc(1, sizeof(*walk));

  if (!walk)
    return;
  walk->volume = volume;
  walk->file = file;
  walk->on_record = kvi_ssd_move_wants;
  walk->on_bytes = kvi_ssd_move_came;
  walk->on_end = walk_over;
  walk->seal_errors = volume->seal_errors;
  volume->reclaim = walk;
  if (kvi_ssd_walk_start(walk) == KVS_OK)
    return;
  volume->reclaim = NULL;
  kvi_ssd_walk_free(walk);
}

/* Something had no place to go. If none can come, which takes a file that could not be written, the rest stays where it is. */
static void blocked_go_on(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;

  if (!kvi_ssd_move_again(walk) && kvi_ssd_cramped(volume) && volume->n_sealing == 0)
    left(walk);
}

/* Goes on with one that waits. */
static void go_on(struct kvi_ssd_volume *volume, struct kvi_ssd_walk *walk)
{
  if (walk->blocked) {
    blocked_go_on(walk);
  } else if (!walk->walked) {
    kvi_ssd_walk_step(walk);
  } else if (walk->keeps) {
    left(walk);
  } else if (walk->n_kept > 0 || walk->writing_rest) {
    kvi_ssd_move_rest(walk);
  } else if (!walk->synced) {
    copies_sync(walk);
  } else if (volume->files[walk->file].reading == 0 && volume->n_sealing == 0) {
    /* copies may lie in a file that is being sealed: its sync is part of that */
    if (volume->seal_errors == walk->seal_errors)
      freed(walk);
    else
      left(walk);
  }
}

void kvi_ssd_reclaim_step(struct kvi_ssd_volume *volume)
{
  uint32_t wanted = volume->n_files < FEW_FILES ? 1 : 2, file;

  if (volume->reclaim) {
    go_on(volume, volume->reclaim);
    return;
  }
  if (volume->n_sealing > 0)
    return;
  if (volume->n_free + volume->n_freeing < wanted)
    file = kvi_ssd_choose(volume);
  else
    file = kvi_ssd_choose_crowding(volume);
  if (file == KVI_SSD_NONE)
    return;
  if (kvi_ssd_moving_fits(volume, file))
    begin(volume, file);
  else
    give_up(volume, file);
}
