/*
 * tiers/ssd/recover_scan.c: the list of a log file's records at a start: its footer, or, of a file that was not sealed, what is found in it.
 */
#include <stdlib.h>

#include "base/log.h"
#include "tiers/ssd/recover_private.h"

#define WINDOW (1u << 20) /* of an unsealed file that is searched at a time */

/* False: it has no footer, or not a whole one. */
static bool footer_load(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_ssd_footer_reader reader;
  size_t room;

  used->perhaps_sealed = true;
  if (kvi_ssd_recover_io(recovery, KVI_SSD_READ, used->file, volume->config.file_bytes - KVI_SSD_BLOCK,
                         volume->header_block, KVI_SSD_BLOCK) != 0)
    return false;
  if (kvi_ssd_trailer_read(volume->header_block, &used->use, volume->config.file_bytes, &used->trailer) !=
      KVS_OK) {
    used->perhaps_sealed = false;
    return false;
  }
  room = kvi_ssd_round(used->trailer.body_bytes, KVI_SSD_BLOCK);
  used->body = kvi_ssd_blocks_alloc(room);
  if (used->body && room > 0 &&
      kvi_ssd_recover_io(recovery, KVI_SSD_READ, used->file, used->trailer.body_at, used->body, room) == 0 &&
      kvi_ssd_footer_open(used->body, room, &used->trailer, &reader) == KVS_OK) {
    kvi_ssd_footer_close(&reader);
    return true;
  }
  kvi_ssd_recover_free(recovery, used->body);
  used->body = NULL;
  return false;
}

/* The record at this place, if a whole one is there; its bytes are in recovery->record. */
static bool record_look(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used, uint64_t at,
                        const uint8_t *head, struct kvi_ssd_record *record)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  if (kvi_ssd_record_read(head, &used->use, at, record) != KVS_OK ||
      record->bytes > volume->record_bytes_max || at + record->bytes > volume->config.file_bytes)
    return false;
  if (kvi_ssd_recover_io(recovery, KVI_SSD_READ, used->file, at, recovery->record, record->bytes) != 0) {
    used->uncertain = true;
    return false;
  }
  return kvi_ssd_record_read(recovery->record, &used->use, at, record) == KVS_OK &&
         kvi_ssd_record_check(recovery->record, record->bytes, record, true, NULL) == KVS_OK;
}

/* The window of this place is read. What cannot be had now is zeros. */
static void window_read(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used, uint64_t at)
{
  if (kvi_ssd_recover_io(recovery, KVI_SSD_READ, used->file, at / WINDOW * WINDOW, recovery->window,
                         WINDOW) == 0)
    return;
  memset(recovery->window, 0, WINDOW);
  used->uncertain = true;
}

/* All whole records of an unsealed file; *end_p: behind the last one. What was never written, or was punched, is not read. */
static kvs_status scan(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used,
                       struct kvi_ssd_footer *footer, uint64_t *end_p)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  uint64_t last = volume->config.file_bytes - KVI_SSD_BLOCK, window = UINT64_MAX;
  struct kvi_ssd_record record;
  size_t mark;

  *end_p = KVI_SSD_BLOCK;
  for (uint64_t at = KVI_SSD_BLOCK; at < last;) {
    if (at / WINDOW != window) {
      uint64_t data = volume->disk->ops->data(volume->disk, used->file, at);

      if (data >= last)
        break;
      at = data / KVI_SSD_BLOCK * KVI_SSD_BLOCK;
      window = at / WINDOW;
      window_read(recovery, used, at);
    }
    if (!record_look(recovery, used, at, recovery->window + at % WINDOW, &record)) {
      at += KVI_SSD_BLOCK;
      continue;
    }
    if (kvi_ssd_footer_add(footer, &record, &mark) != KVS_OK)
      return KVS_ERR_NOMEM;
    at += record.bytes;
    *end_p = at;
  }
  return KVS_OK;
}

/* Gives a file that was scanned its footer on disk. False: it has none there. */
static bool seal(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  uint64_t end = used->trailer.body_at;
  size_t room = kvi_ssd_round(used->trailer.body_bytes, KVI_SSD_BLOCK);

  if (end + room + KVI_SSD_BLOCK > volume->config.file_bytes)
    return false; /* writers leave room; should it lack, the file is scanned again next time */
  kvi_ssd_trailer_write(volume->header_block, &used->trailer);
  return kvi_ssd_recover_io(recovery, KVI_SSD_SYNC, used->file, 0, NULL, 0) == 0 &&
         kvi_ssd_recover_io(recovery, KVI_SSD_WRITE, used->file, end, used->body, room) == 0 &&
         kvi_ssd_recover_io(recovery, KVI_SSD_WRITE, used->file, volume->config.file_bytes - KVI_SSD_BLOCK,
                            volume->header_block, KVI_SSD_BLOCK) == 0 &&
         kvi_ssd_recover_io(recovery, KVI_SSD_SYNC, used->file, 0, NULL, 0) == 0;
}

static void leave_unsealed(struct kvi_ssd_volume *volume, struct kvi_ssd_used *used)
{
  kvi_ssd_list_keep(volume, used->file, &used->footer);
  volume->files[used->file].dirty = true;
}

kvs_status kvi_ssd_recover_unsealed(struct kvi_ssd_recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  for (uint32_t i = recovery->n_used; i > 0; i--) {
    struct kvi_ssd_used *used = &recovery->used[i - 1];

    if (!used->unsealed || !used->body || used->uncertain)
      continue;
    if (volume->writer || used->perhaps_sealed) {
      if (!seal(recovery, used))
        leave_unsealed(volume, used);
      continue;
    }
    /* what a node that was killed has not synced is found, and is about to be told as safe */
    if (volume->config.durability == KVI_SSD_DURABLE_PUT &&
        kvi_ssd_recover_io(recovery, KVI_SSD_SYNC, used->file, 0, NULL, 0) != 0) {
      leave_unsealed(volume, used);
      continue;
    }
    volume->writer = calloc(1, sizeof(*volume->writer));
    if (!volume->writer)
      return KVS_ERR_NOMEM;
    volume->writer->volume = volume;
    volume->writer->file = used->file;
    volume->writer->next = used->trailer.body_at;
    volume->writer->footer = used->footer;
    memset(&used->footer, 0, sizeof(used->footer));
    volume->files[used->file].state = KVI_SSD_OPEN;
  }
  return KVS_OK;
}

static kvs_status unsealed_load(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used)
{
  struct kvi_ssd_footer *footer = &used->footer;
  uint64_t end;
  size_t room;
  kvs_status status;

  if (!recovery->window)
    recovery->window = kvi_ssd_blocks_alloc(WINDOW);
  if (!recovery->record)
    recovery->record = kvi_ssd_blocks_alloc(recovery->volume->record_bytes_max);
  if (!recovery->window || !recovery->record)
    return KVS_ERR_NOMEM;
  status = scan(recovery, used, footer, &end);
  kvi_log_info("%s: log file %u was not sealed, %u records found in it", recovery->volume->name, used->file,
               footer->n_records);
  if (status != KVS_OK || footer->n_records == 0)
    return status;
  room = kvi_ssd_round(kvi_ssd_footer_bytes(footer), KVI_SSD_BLOCK);
  used->unsealed = true;
  used->trailer = (struct kvi_ssd_trailer){.use = used->use, .body_at = end};
  used->body = kvi_ssd_blocks_alloc(room);
  if (!used->body)
    return KVS_ERR_NOMEM;
  memset(used->body, 0, room);
  kvi_ssd_footer_write(footer, used->body, &used->trailer);
  return KVS_OK;
}

kvs_status kvi_ssd_recover_list(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used)
{
  return footer_load(recovery, used) ? KVS_OK : unsealed_load(recovery, used);
}
