/* tiers/ssd/walk.c: the records of a sealed log file, one after the other, by its footer. */
#include <stdlib.h>
#include <string.h>

#include "tiers/ssd/volume_private.h"

static void walk_end(struct kvi_ssd_walk *walk, kvs_status status)
{
  walk->volume->files[walk->file].reading--;
  kvi_ssd_footer_close(&walk->reader);
  free(walk->body);
  walk->body = NULL;
  walk->on_end(walk, status);
}

static void record_read(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_op *op = io->user;
  struct kvi_ssd_walk *walk = op->walk;

  kvi_ssd_device_said(op->volume, "reading", io->file, error);
  walk->on_bytes(walk, op, error);
}

/* Reads the record that the walk is at. */
static void bytes_read(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_op *op = kvi_ssd_op_take(walk->volume, walk->record.bytes, true);

  walk->wants_op = !op;
  if (!op)
    return;
  op->walk = walk;
  op->io = (struct kvi_ssd_io){.kind = KVI_SSD_READ,
                               .file = walk->file,
                               .at = walk->record.at,
                               .bytes = op->buffer.bytes,
                               .length = walk->record.bytes,
                               .done = record_read,
                               .user = op};
  kvi_ssd_submit(walk->volume, &op->io);
}

static bool in_file(const struct kvi_ssd_walk *walk)
{
  const struct kvi_ssd_record *record = &walk->record;

  return record->at % KVI_SSD_BLOCK == 0 && record->bytes % KVI_SSD_BLOCK == 0 && record->bytes > 0 &&
         record->bytes <= walk->volume->record_bytes_max && record->at >= KVI_SSD_BLOCK &&
         record->bytes <= walk->volume->config.file_bytes &&
         record->at <= walk->volume->config.file_bytes - record->bytes;
}

void kvi_ssd_walk_next(struct kvi_ssd_walk *walk)
{
  for (;;) {
    bool stop = atomic_load_explicit(&walk->volume->stop, memory_order_relaxed);
    kvs_status status =
        stop ? KVS_ERR_CLOSED : kvi_ssd_footer_next(&walk->reader, &walk->record, walk->tenant);

    if (status == KVS_OK && !in_file(walk))
      status = KVS_ERR_CORRUPT;
    if (status != KVS_OK) {
      walk_end(walk, status == KVS_MISS ? KVS_OK : status);
      return;
    }
    if (!walk->on_record(walk, &walk->record))
      continue;
    bytes_read(walk);
    return;
  }
}

void kvi_ssd_walk_again(struct kvi_ssd_walk *walk)
{
  bytes_read(walk);
}

void kvi_ssd_walk_step(struct kvi_ssd_walk *walk)
{
  if (walk->wants_op)
    bytes_read(walk);
}

static void body_came(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_walk *walk = io->user;
  kvs_status status = KVS_ERR_IO;

  kvi_ssd_device_said(walk->volume, "reading the footer of", walk->file, error);
  if (error == 0)
    status = kvi_ssd_footer_open(walk->body, walk->body_room, &walk->trailer, &walk->reader);
  if (status == KVS_OK)
    kvi_ssd_walk_next(walk);
  else
    walk_end(walk, status);
}

static void trailer_came(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_walk *walk = io->user;
  struct kvi_ssd_volume *volume = walk->volume;
  kvs_status status = KVS_ERR_IO;

  kvi_ssd_device_said(volume, "reading the trailer of", walk->file, error);
  if (error == 0)
    status = kvi_ssd_trailer_read(walk->body, &volume->files[walk->file].use, volume->config.file_bytes,
                                  &walk->trailer);
  free(walk->body);
  walk->body_room = kvi_ssd_round(walk->trailer.body_bytes, KVI_SSD_BLOCK);
  walk->body = status == KVS_OK ? kvi_ssd_blocks_alloc(walk->body_room) : NULL;
  if (!walk->body) {
    walk_end(walk, status == KVS_OK ? KVS_ERR_NOMEM : status);
    return;
  }
  *io = (struct kvi_ssd_io){.kind = KVI_SSD_READ,
                            .file = walk->file,
                            .at = walk->trailer.body_at,
                            .bytes = walk->body,
                            .length = walk->body_room,
                            .done = body_came,
                            .user = walk};
  kvi_ssd_submit(volume, io);
}

/* Of a file whose footer is not on the disk: from the list in memory. */
static kvs_status list_walk(struct kvi_ssd_walk *walk, const struct kvi_ssd_footer *list)
{
  kvs_status status;

  walk->body_room = kvi_ssd_footer_bytes(list);
  walk->body = kvi_ssd_blocks_alloc(walk->body_room);
  if (!walk->body)
    return KVS_ERR_NOMEM;
  kvi_ssd_footer_write(list, walk->body, &walk->trailer);
  status = kvi_ssd_footer_open(walk->body, walk->body_room, &walk->trailer, &walk->reader);
  if (status != KVS_OK)
    return status;
  walk->volume->files[walk->file].reading++;
  kvi_ssd_walk_next(walk);
  return KVS_OK;
}

kvs_status kvi_ssd_walk_start(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;

  if (volume->files[walk->file].list)
    return list_walk(walk, volume->files[walk->file].list);
  walk->body = kvi_ssd_blocks_alloc(KVI_SSD_BLOCK);
  if (!walk->body)
    return KVS_ERR_NOMEM;
  volume->files[walk->file].reading++;
  walk->io = (struct kvi_ssd_io){.kind = KVI_SSD_READ,
                                 .file = walk->file,
                                 .at = volume->config.file_bytes - KVI_SSD_BLOCK,
                                 .bytes = walk->body,
                                 .length = KVI_SSD_BLOCK,
                                 .done = trailer_came,
                                 .user = walk};
  kvi_ssd_submit(volume, &walk->io);
  return KVS_OK;
}

void kvi_ssd_walk_free(struct kvi_ssd_walk *walk)
{
  if (!walk)
    return;
  kvi_ssd_footer_close(&walk->reader);
  free(walk->body);
  free(walk);
}
