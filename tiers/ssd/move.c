/*
 * tiers/ssd/move.c: what is needed of a log file that is to be freed is written to the open one: the chunks that the store still has, one by one, and the
 * deletions that concern chunks elsewhere, packed into as few blocks as they take.
 */
#include "base/crc32c.h"
#include "base/log.h"
#include "tiers/ssd/volume_private.h"

/* ---- chunks ---- */

static void moved(struct kvi_ssd_op *op, int error)
{
  struct kvi_ssd_walk *walk = op->walk;
  struct kvi_ssd_volume *volume = op->volume;
  const struct kvi_ssd_record *record = &walk->record;
  kvi_medium_handle from = kvi_ssd_handle_of(volume, walk->file, record->at, record->bytes);
  const struct kvi_ssd_record *copy = &walk->writing;
  struct kvi_medium_found to = {.identity = record->identity,
                                .handle = op->handle,
                                .length = copy->length,
                                .loss = kvi_quality_loss(copy->quality)};
  uint32_t file = op->io.file;

  kvi_ssd_op_free(op);
  if (error != 0) {
    walk->failed = true;
    kvi_ssd_walk_next(walk);
    return;
  }
  kvi_ssd_live_add(volume, file, copy->bytes);
  kvi_ssd_copied(volume, copy->bytes);
  if (volume->owner.moved(volume->owner.ctx, from, &to)) {
    kvi_ssd_volume_drop(volume, from);
    pthread_mutex_lock(&volume->lock);
    volume->stats.copied_chunks++;
    volume->stats.copied_bytes += copy->bytes;
    volume->stats.cut_chunks += copy->length < record->length;
    volume->stats.cut_bytes += record->length - copy->length;
    pthread_mutex_unlock(&volume->lock);
  } else {
    kvi_ssd_volume_drop(volume, to.handle);
  }
  kvi_ssd_walk_next(walk);
}

/* False: it has no place now. */
static bool chunk_write(struct kvi_ssd_walk *walk, struct kvi_ssd_op *op)
{
  op->own_done = moved;
  walk->writing.generation = walk->generation;
  return kvi_ssd_write_record(op, &walk->writing, true);
}

/* ---- deletions ---- */

static void deletions_written(struct kvi_ssd_op *op, int error)
{
  struct kvi_ssd_walk *walk = op->walk;

  kvi_ssd_op_free(op);
  walk->keeps |= error != 0;
  if (walk->walked)
    walk->writing_rest = false;
  else
    kvi_ssd_walk_next(walk);
}

/* A block of those that are kept, in the op's buffer. False: it has no place now. */
static bool deletions_write(struct kvi_ssd_walk *walk, struct kvi_ssd_op *op)
{
  struct kvi_ssd_record record = {.kind = KVI_SSD_DELETIONS, .bytes = KVI_SSD_BLOCK};
  uint8_t *payload = op->buffer.bytes + KVI_SSD_HEAD;
  uint32_t n = 0;

  memset(op->buffer.bytes, 0, KVI_SSD_BLOCK);
  while (n < walk->n_kept && n < KVI_SSD_DELETIONS_BLOCK)
    kvi_ssd_deletions_append(&record, payload, &walk->kept[n++]);
  record.table_crc = kvi_crc32c_update(0, payload, record.length);
  op->own_done = deletions_written;
  if (!kvi_ssd_write_record(op, &record, true))
    return false;
  walk->n_kept -= n;
  memmove(walk->kept, walk->kept + n, walk->n_kept * sizeof(*walk->kept));
  return true;
}

/* Takes over what is needed of a record. */
static void deletions_keep(struct kvi_ssd_walk *walk, const uint8_t *payload, uint64_t length)
{
  uint64_t needed_from = kvi_ssd_deletions_needed_from(walk->volume, walk->file);

  for (uint64_t i = 0; i < length; i += KVI_SSD_DELETION) {
    struct kvi_ssd_deletion deletion = kvi_ssd_deletion_read(payload + i);

    if (deletion.generation >= needed_from)
      walk->kept[walk->n_kept++] = deletion;
  }
}

void kvi_ssd_move_rest(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_op *op;

  if (walk->writing_rest)
    return;
  op = kvi_ssd_op_take(walk->volume, KVI_SSD_BLOCK, true);
  if (!op)
    return;
  op->walk = walk;
  walk->writing_rest = true;
  if (!deletions_write(walk, op))
    walk->blocked = op;
}

/* ---- the walk ---- */

bool kvi_ssd_move_wants(struct kvi_ssd_walk *walk, const struct kvi_ssd_record *record)
{
  struct kvi_ssd_volume *volume = walk->volume;

  if (record->kind == KVI_SSD_DELETIONS)
    return true;
  walk->generation =
      kvi_ssd_generation_next(volume); /* a deletion that comes after the answer is of the copy too */
  return volume->owner.holds(volume->owner.ctx, &record->identity,
                             kvi_ssd_handle_of(volume, walk->file, record->at, record->bytes));
}

/* The record cannot be read, and error is why, or 0: it is damaged. */
static void record_missed(struct kvi_ssd_walk *walk, int error)
{
  struct kvi_ssd_volume *volume = walk->volume;
  kvi_medium_handle handle = kvi_ssd_handle_of(volume, walk->file, walk->record.at, walk->record.bytes);
  bool deletions = walk->record.kind == KVI_SSD_DELETIONS;

  if (error != 0 && ++volume->reclaim_errors < KVI_SSD_RECLAIM_TRIES) {
    walk->failed = true;
    walk->keeps |= deletions; /* another try may read them */
  } else if (deletions && error != 0) {
    walk->unreadable = true;
  } else if (deletions) {
    kvi_log_error("%s: deletions in log file %u are damaged: deleted chunks may come back at a restart",
                  volume->name, walk->file);
  } else if (error != 0) { /* not a passing one: kept, it would have this file moved again and again */
    volume->owner.lost(volume->owner.ctx, handle, handle);
  } else {
    volume->owner.corrupt(volume->owner.ctx, &walk->record.identity, handle);
  }
}

/* Reads the record in the op's buffer, which is to be the one that the walk is at. */
static bool record_open(const struct kvi_ssd_walk *walk, const struct kvi_ssd_op *op,
                        struct kvi_ssd_record *record)
{
  const struct kvi_ssd_use *use = &walk->volume->files[walk->file].use;

  return kvi_ssd_record_read(op->buffer.bytes, use, walk->record.at, record) == KVS_OK &&
         record->bytes == walk->record.bytes && record->kind == walk->record.kind &&
         (record->kind == KVI_SSD_CHUNK || record->bytes == KVI_SSD_BLOCK);
}

/* A plane of it goes, if its owner and who has been promised it allow that. */
static void plane_drop(struct kvi_ssd_walk *walk, const struct kvi_ssd_op *op)
{
  const struct kvi_medium_owner *owner = &walk->volume->owner;
  const struct kvi_ssd_record *record = &walk->record;
  struct kvi_coded_rest rest;

  if (owner->may_lose && kvi_ssd_record_may_cut(op->buffer.bytes, &walk->writing, &rest) &&
      owner->may_lose(owner->ctx, &record->identity,
                      kvi_ssd_handle_of(walk->volume, walk->file, record->at, record->bytes),
                      kvi_quality_loss(rest.quality)))
    kvi_ssd_record_cut(op->buffer.bytes, &walk->writing, &rest);
}

void kvi_ssd_move_came(struct kvi_ssd_walk *walk, struct kvi_ssd_op *op, int error)
{
  struct kvi_ssd_record record;

  if (error != 0 || !record_open(walk, op, &record) ||
      kvi_ssd_record_check(op->buffer.bytes, record.bytes, &record, true, NULL) != KVS_OK) {
    record_missed(walk, error);
  } else if (record.kind == KVI_SSD_CHUNK) {
    walk->writing = record;
    plane_drop(walk, op);
    if (!chunk_write(walk, op))
      walk->blocked = op;
    return;
  } else {
    deletions_keep(walk, op->buffer.bytes + KVI_SSD_HEAD, record.length);
    if (walk->n_kept >= KVI_SSD_DELETIONS_BLOCK) {
      if (!deletions_write(walk, op))
        walk->blocked = op;
      return;
    }
  }
  kvi_ssd_op_free(op);
  kvi_ssd_walk_next(walk);
}

bool kvi_ssd_move_again(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_op *op = walk->blocked;
  bool written;

  if (walk->walked || walk->record.kind == KVI_SSD_DELETIONS)
    written = deletions_write(walk, op);
  else
    written = chunk_write(walk, op);
  if (written)
    walk->blocked = NULL;
  return written;
}
