/*
 * tiers/ssd/reclaim.c: room, by whole log files. The sealed file with the least alive is freed: what the store still has in it is
 * copied to the open file, made durable, and told to the store; then the file may be used again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tiers/ssd/volume_private.h"

#define TRIES     KVI_SSD_ERRORS_MAX /* to read a footer: a device that is gone is found out first */
#define FEW_FILES 8u                 /* with so few, one is kept free; else two */

/* ---- moving ---- */

static void moved(struct kvi_ssd_op *op, int error)
{
  struct kvi_ssd_walk *walk = op->walk;
  struct kvi_ssd_volume *volume = op->volume;
  const struct kvi_ssd_record *record = &walk->record;
  kvi_medium_handle from = kvi_ssd_handle_of(volume, walk->file, record->at, record->bytes);
  kvi_medium_handle to = op->handle;
  uint32_t file = op->io.file;

  kvi_ssd_op_free(op);
  if (error != 0) {
    walk->failed = true;
    kvi_ssd_walk_next(walk);
    return;
  }
  kvi_ssd_live_add(volume, file, record->bytes);
  if (volume->owner.moved(volume->owner.ctx, &record->identity, from, to)) {
    kvi_ssd_volume_drop(volume, from);
    pthread_mutex_lock(&volume->lock);
    volume->stats.copied_chunks++;
    volume->stats.copied_bytes += record->bytes;
    pthread_mutex_unlock(&volume->lock);
  } else {
    kvi_ssd_volume_drop(volume, to);
  }
  kvi_ssd_walk_next(walk);
}

static bool record_wanted(struct kvi_ssd_walk *walk, const struct kvi_ssd_record *record)
{
  struct kvi_ssd_volume *volume = walk->volume;

  if (record->kind == KVI_SSD_DELETIONS)
    return true;
  walk->generation =
      kvi_ssd_generation_next(volume); /* a deletion that comes after the answer is of the copy too */
  return volume->owner.holds(volume->owner.ctx, &record->identity,
                             kvi_ssd_handle_of(volume, walk->file, record->at, record->bytes));
}

/* record NULL: they cannot be read, and error is why, or 0: they are damaged. False: they wait for a place in the ring. */
static bool deletions_came(struct kvi_ssd_walk *walk, const struct kvi_ssd_op *op,
                           const struct kvi_ssd_record *record, int error)
{
  if (!record && error == 0)
    kvi_log_error("%s: deletions in log file %u are damaged: deleted chunks may come back at a restart",
                  walk->volume->name, walk->file);
  else if (!record)
    walk->unreadable = true;
  else
    return kvi_ssd_deletions_keep(walk->volume, walk->file, op->buffer.bytes, record,
                                  &walk->deletions_come) == KVS_OK;
  return true;
}

static void record_came(struct kvi_ssd_walk *walk, struct kvi_ssd_op *op, int error)
{
  struct kvi_ssd_volume *volume = walk->volume;
  kvi_medium_handle handle = kvi_ssd_handle_of(volume, walk->file, walk->record.at, walk->record.bytes);
  struct kvi_ssd_record record;
  kvs_status status = KVS_ERR_IO;

  if (error == 0)
    status = kvi_ssd_record_read(op->buffer.bytes, &volume->files[walk->file].use, walk->record.at, &record);
  if (status == KVS_OK)
    status = record.bytes == walk->record.bytes && record.kind == walk->record.kind
                 ? kvi_ssd_record_check(op->buffer.bytes, record.bytes, &record, true, NULL)
                 : KVS_ERR_CORRUPT;
  if (status == KVS_OK && record.kind == KVI_SSD_CHUNK) {
    op->own_done = moved;
    record.generation = walk->generation;
    if (kvi_ssd_write_record(op, &record, true))
      return;
    walk->blocked = op; /* until a file is ready */
    return;
  }
  if (error != 0 && ++volume->reclaim_errors < TRIES) {
    walk->failed = true;
    walk->keeps |= walk->record.kind == KVI_SSD_DELETIONS; /* another try may read them */
  } else if (walk->record.kind == KVI_SSD_DELETIONS) {
    if (!deletions_came(walk, op, status == KVS_OK ? &record : NULL, error)) {
      walk->blocked = op; /* until those before are written */
      return;
    }
  } else if (error != 0) { /* not a passing one: kept, it would have this file moved again and again */
    volume->owner.lost(volume->owner.ctx, handle, handle);
  } else {
    volume->owner.corrupt(volume->owner.ctx, &walk->record.identity, handle);
  }
  kvi_ssd_op_free(op);
  kvi_ssd_walk_next(walk);
}

/* ---- the end ---- */

static void freed(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;

  volume->reclaim = NULL;
  pthread_mutex_lock(&volume->lock);
  volume->stats.reclaims++;
  pthread_mutex_unlock(&volume->lock);
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
  if (walk->blocked || walk->wants_op)
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
  walk->synced = error == 0; /* freed by the next step, when nobody reads it any more */
  if (error != 0)
    left(walk);
}

static void copies_sync(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;

  if (walk->syncing)
    return;
  if (!kvi_ssd_syncs(volume) || !volume->writer) {
    walk->synced = true; /* a file that was sealed meanwhile was synced then */
    return;
  }
  walk->syncing = true;
  walk->io = (struct kvi_ssd_io){
      .kind = KVI_SSD_SYNC, .file = volume->writer->file, .done = copies_synced, .user = walk};
  kvi_ssd_submit(volume, &walk->io);
}

static void walk_over(struct kvi_ssd_walk *walk, kvs_status status)
{
  struct kvi_ssd_volume *volume = walk->volume;
  uint64_t alive = kvi_ssd_live_bytes(volume, walk->file);

  if (status == KVS_ERR_CLOSED || status == KVS_ERR_NOMEM ||
      (status == KVS_ERR_IO && ++volume->reclaim_errors < TRIES)) {
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

/* A file's chunks are given up: there is nothing to move them to. Not now if all are being read. */
static void give_one_up(struct kvi_ssd_volume *volume)
{
  uint32_t file = kvi_ssd_choose_last_resort(volume);

  if (file == KVI_SSD_NONE)
    return;
  kvi_log_warn("%s: no log file is free to move anything to: the chunks of log file %u are given up%s",
               volume->name, file,
               volume->files[file].deletions > 0 ? ", and deleted ones may come back at a restart" : "");
  chunks_lose(volume, file);
  kvi_ssd_file_free(volume, file);
}

static void begin(struct kvi_ssd_volume *volume, uint32_t file)
{
  struct kvi_ssd_walk *walk = calloc(1, sizeof(*walk));

  if (!walk)
    return;
  walk->volume = volume;
  walk->file = file;
  walk->on_record = record_wanted;
  walk->on_bytes = record_came;
  walk->on_end = walk_over;
  walk->seal_errors = volume->seal_errors;
  volume->reclaim = walk;
  if (kvi_ssd_walk_start(walk) == KVS_OK)
    return;
  volume->reclaim = NULL;
  kvi_ssd_walk_free(walk);
}

/* The chunk that had no place to go. If none can come, since this very walk is what would free one, its chunk is given up. */
static void blocked_chunk_go_on(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;
  struct kvi_ssd_op *op = walk->blocked;
  struct kvi_ssd_record record;
  kvi_medium_handle handle = kvi_ssd_handle_of(volume, walk->file, walk->record.at, walk->record.bytes);

  if (kvi_ssd_record_read(op->buffer.bytes, &volume->files[walk->file].use, walk->record.at, &record) ==
          KVS_OK &&
      (record.generation = walk->generation, kvi_ssd_write_record(op, &record, true))) {
    walk->blocked = NULL;
    return;
  }
  if (volume->ready != KVI_SSD_NONE || volume->n_free > 0 || volume->n_freeing > 0 || volume->n_sealing > 0)
    return;
  walk->blocked = NULL;
  kvi_ssd_op_free(op);
  kvi_log_limited(KVI_LOG_WARN, "%s: a chunk is given up, no log file has room for it", volume->name);
  volume->owner.lost(volume->owner.ctx, handle, handle);
  kvi_ssd_walk_next(walk);
}

/* Deletions have no place to go. After an error nothing is given up before the device has done something well: it may be gone. */
static void stuck(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;

  left(walk);
  if (volume->errors_in_row == 0)
    give_one_up(volume);
}

/* The deletions that had no place in the ring. */
static void blocked_deletions_go_on(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;
  struct kvi_ssd_op *op = walk->blocked;
  struct kvi_ssd_record record;
  bool sound = kvi_ssd_record_read(op->buffer.bytes, &volume->files[walk->file].use, walk->record.at,
                                   &record) == KVS_OK;

  if (deletions_came(walk, op, sound ? &record : NULL, 0)) {
    walk->blocked = NULL;
    kvi_ssd_op_free(op);
    kvi_ssd_walk_next(walk);
  } else if (kvi_ssd_deletions_are_stuck(volume)) {
    stuck(walk);
  }
}

/* Goes on with one that waits. */
static void go_on(struct kvi_ssd_volume *volume, struct kvi_ssd_walk *walk)
{
  if (walk->blocked && walk->record.kind == KVI_SSD_DELETIONS) {
    blocked_deletions_go_on(walk);
  } else if (walk->blocked) {
    blocked_chunk_go_on(walk);
  } else if (!walk->walked) {
    kvi_ssd_walk_step(walk);
  } else if (!kvi_ssd_deletions_are_safe(volume, walk->deletions_come)) {
    if (kvi_ssd_deletions_are_stuck(volume))
      stuck(walk);
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
  if (!volume->writer && volume->ready == KVI_SSD_NONE && volume->n_free == 0 && volume->n_freeing == 0 &&
      volume->errors_in_row == 0 && kvi_ssd_live_bytes(volume, file) > 0)
    give_one_up(volume);
  else
    begin(volume, file);
}
