/*
 * tiers/ssd/write.c: the open log file: records go to it one behind the other, then it is sealed with a footer (seal.c).
 *
 *     FREE ──► READYING ──► READY ──► OPEN ──► SEALING ──► SEALED ──► FREEING ──► FREE
 *              its header is written           records under way end  its header is written: not used
 *                                              sync, footer, trailer, sync
 *
 * One file is made ready ahead, so that a full one does not keep puts waiting for a header. Requests have it opened only if there is
 * another free one. The last one takes nothing but what is moved out of a file that is to be freed, until that is free.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tiers/ssd/volume_private.h"

/* ---- records ---- */

static bool has_room(const struct kvi_ssd_writer *writer, uint64_t bytes)
{
  uint64_t footer = kvi_ssd_footer_bytes(&writer->footer) + KVI_SSD_FOOTER_RECORD_MAX;

  return writer->next + bytes + kvi_ssd_round(footer, KVI_SSD_BLOCK) + KVI_SSD_BLOCK <=
         writer->volume->config.file_bytes;
}

uint64_t kvi_ssd_writer_room(const struct kvi_ssd_volume *volume, uint32_t records)
{
  const struct kvi_ssd_writer *writer = volume->writer;
  uint64_t footer, taken;

  if (!writer)
    return 0;
  footer = kvi_ssd_footer_bytes(&writer->footer) + (uint64_t)(records + 1) * KVI_SSD_FOOTER_RECORD_MAX;
  taken = writer->next + kvi_ssd_round(footer, KVI_SSD_BLOCK) + KVI_SSD_BLOCK;
  return taken < volume->config.file_bytes ? volume->config.file_bytes - taken : 0;
}

bool kvi_ssd_writer_have(struct kvi_ssd_volume *volume, uint64_t bytes, bool own)
{
  struct kvi_ssd_writer *writer = volume->writer;

  if (!own && volume->n_free == 0) {
    /* chunks leave deletions some room: these make room */
    uint64_t spare = bytes > KVI_SSD_BLOCK ? volume->config.file_bytes / 64 : 0;

    return volume->ready != KVI_SSD_NONE && writer && has_room(writer, bytes + spare);
  }
  if (writer && has_room(writer, bytes))
    return true;
  if (volume->ready == KVI_SSD_NONE || volume->files[volume->ready].state != KVI_SSD_READY)
    return false;
  writer = calloc(1, sizeof(*writer));
  if (!writer)
    return false;
  kvi_ssd_seal(volume);
  writer->volume = volume;
  writer->file = volume->ready;
  writer->next = KVI_SSD_BLOCK;
  volume->files[volume->ready].state = KVI_SSD_OPEN;
  volume->ready = KVI_SSD_NONE;
  volume->writer = writer;
  kvi_ssd_ready_step(volume);
  return true;
}

static void sync_begin(struct kvi_ssd_volume *volume);

/* The record is there, or not: whoever wanted it is told. The op is over. */
static void record_end(struct kvi_ssd_op *op, kvs_status status)
{
  struct kvi_ssd_volume *volume = op->volume;
  struct kvi_medium_put *put = op->put;

  kvi_ssd_op_free(op);
  if (put) {
    put->handle = status == KVS_OK ? op->handle : 0;
    kvi_ssd_put_end(volume, put, status);
  }
}

static void synced(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_volume *volume = io->user;
  uint32_t n = volume->n_syncing;

  volume->syncing = false;
  kvi_ssd_device_said(volume, "syncing", volume->sync_file, error);
  while (n-- > 0) {
    kvi_list_node *node = kvi_list_first(&volume->unsynced);
    struct kvi_ssd_op *op = kvi_list_entry(node, struct kvi_ssd_op, link);

    kvi_list_remove(&volume->unsynced, node);
    kvi_list_push_back(&volume->running, node);
    volume->files[op->io.file].unsynced--;
    if (op->own_done) {
      op->own_done(op, error);
      continue;
    }
    if (error == 0 && op->put)
      kvi_ssd_live_add(volume, op->io.file, op->io.length);
    record_end(op, error == 0 ? KVS_OK : KVS_ERR_IO);
  }
  sync_begin(volume);
}

/* One sync for all that were written to the first one's file, up to the first of another. */
static void sync_begin(struct kvi_ssd_volume *volume)
{
  if (volume->syncing || kvi_list_is_empty(&volume->unsynced))
    return;
  volume->n_syncing = 0;
  kvi_list_for_each(&volume->unsynced, node)
  {
    const struct kvi_ssd_op *op = kvi_list_entry(node, struct kvi_ssd_op, link);

    if (volume->n_syncing == 0)
      volume->sync_file = op->io.file;
    if (op->io.file != volume->sync_file)
      break;
    volume->n_syncing++;
  }
  volume->syncing = true;
  volume->sync_io =
      (struct kvi_ssd_io){.kind = KVI_SSD_SYNC, .file = volume->sync_file, .done = synced, .user = volume};
  kvi_ssd_submit(volume, &volume->sync_io);
}

static void record_written(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_op *op = io->user;
  struct kvi_ssd_volume *volume = op->volume;
  struct kvi_ssd_writer *writer = op->writer;
  void (*own_done)(struct kvi_ssd_op *, int) = op->own_done;

  kvi_ssd_device_said(volume, "writing", io->file, error);
  if (error != 0)
    kvi_ssd_footer_cancel(&writer->footer, op->mark);
  writer->writing--;
  if (error != 0 && writer == volume->writer)
    kvi_ssd_seal(volume); /* the next one goes elsewhere */
  else if (writer->sealing && writer->writing == 0)
    kvi_ssd_seal_next(writer);
  if (error == 0 && volume->config.durability == KVI_SSD_DURABLE_PUT && (op->put || op->wants_sync)) {
    kvi_list_remove(&volume->running, &op->link);
    kvi_list_push_back(&volume->unsynced, &op->link);
    volume->files[io->file].unsynced++; /* the store does not know of it yet: it must not be reclaimed */
    sync_begin(volume);
  } else if (own_done) {
    own_done(op, error);
  } else {
    if (error == 0 && op->put)
      kvi_ssd_live_add(volume, io->file, io->length);
    record_end(op, error == 0 ? KVS_OK : error == ENOSPC ? KVS_ERR_FULL : KVS_ERR_IO);
  }
}

bool kvi_ssd_write_record(struct kvi_ssd_op *op, struct kvi_ssd_record *record, bool own)
{
  struct kvi_ssd_volume *volume = op->volume;
  struct kvi_ssd_writer *writer;

  if (!kvi_ssd_writer_have(volume, record->bytes, own))
    return false;
  writer = volume->writer;
  record->use = volume->files[writer->file].use;
  record->at = writer->next;
  if (kvi_ssd_footer_add(&writer->footer, record, &op->mark) != KVS_OK) {
    kvi_ssd_seal(volume);
    return false;
  }
  kvi_ssd_record_write(op->buffer.bytes, record);
  kvi_ssd_contents_note(volume, writer->file, record);
  writer->next += record->bytes;
  writer->writing++;
  op->writer = writer;
  op->handle = kvi_ssd_handle_of(volume, writer->file, record->at, record->bytes);
  op->io = (struct kvi_ssd_io){.kind = KVI_SSD_WRITE,
                               .file = writer->file,
                               .at = record->at,
                               .bytes = op->n_places > 0 ? NULL : op->buffer.bytes,
                               .places = op->places,
                               .n_places = op->n_places,
                               .length = record->bytes,
                               .done = record_written,
                               .user = op};
  kvi_ssd_submit(volume, &op->io);
  return true;
}

/* ---- puts ---- */

/* Makes the record of a put, all but its head: in the op's buffer, or there up to the payload, which is written from where it lies. */
static kvs_status record_make(struct kvi_ssd_op *op, const struct kvi_medium_put *put,
                              struct kvi_ssd_record *record)
{
  uint64_t table = kvi_chunk_table_size(put->table.n_segments);
  uint64_t payload_at = kvi_ssd_payload_at(put->table.n_segments);
  uint8_t *bytes = op->buffer.bytes;

  *record = (struct kvi_ssd_record){.kind = KVI_SSD_CHUNK,
                                    .bytes = kvi_ssd_record_bytes(put->length, put->table.n_segments),
                                    .generation = kvi_ssd_put_generation(put),
                                    .length = put->length,
                                    .n_segments = put->table.n_segments,
                                    .quality = put->table.quality,
                                    .coding = (uint16_t)kvi_quality_coding(put->table.quality),
                                    .identity = put->identity};
  memcpy(bytes + KVI_SSD_HEAD, put->table.segments - KVI_CHUNK_TABLE_HEAD, table);
  memset(bytes + KVI_SSD_HEAD + table, 0, payload_at - KVI_SSD_HEAD - table);
  record->table_crc = kvi_load_le32(bytes + KVI_SSD_HEAD + 12);
  if (put->keep)
    return kvi_ssd_op_places(op, payload_at, put->iov, put->n_iov) ? KVS_OK : KVS_ERR_NOMEM;
  memset(bytes + payload_at + put->length, 0, record->bytes - payload_at - put->length);
  return kvi_medium_gather(put, bytes + payload_at);
}

/* False: not now. */
static bool put_start(struct kvi_ssd_volume *volume, struct kvi_medium_put *put, kvi_list_node *node)
{
  uint64_t bytes = kvi_ssd_record_bytes(put->length, put->table.n_segments);
  struct kvi_ssd_record record;
  struct kvi_ssd_op *op;
  kvs_status status;

  if (!kvi_ssd_writer_have(volume, bytes, false))
    return false;
  op = kvi_ssd_op_take(volume, put->keep ? kvi_ssd_payload_at(put->table.n_segments) : bytes, false);
  if (!op)
    return false;
  kvi_list_remove(&volume->puts, node);
  status = record_make(op, put, &record);
  op->put = put;
  if (status == KVS_OK && !kvi_ssd_write_record(op, &record, false))
    status = KVS_ERR_NOMEM;
  if (status != KVS_OK)
    record_end(op, status);
  return true;
}

void kvi_ssd_write_step(struct kvi_ssd_volume *volume)
{
  kvi_list_node *node;

  kvi_ssd_ready_step(volume);
  while ((node = kvi_list_first(&volume->puts)) != NULL) {
    struct kvi_medium_put *put = kvi_list_entry(node, struct kvi_medium_put, medium_link);

    if (atomic_load_explicit(&volume->no_room, memory_order_relaxed) &&
        !kvi_ssd_writer_have(volume, kvi_ssd_record_bytes(put->length, put->table.n_segments), false)) {
      kvi_list_remove(&volume->puts, node);
      kvi_ssd_put_end(volume, put, KVS_ERR_FULL);
    } else if (!put_start(volume, put, node)) {
      break;
    }
  }
}
