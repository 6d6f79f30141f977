/* tiers/ssd/seal.c: a full log file gets its footer: sync, footer, trailer, sync. */
#include <stdlib.h>

#include "base/log.h"
#include "tiers/ssd/volume_private.h"

/* Steps. What the footer lists has to be there when the footer is. */
enum { SEAL_SYNC = 0, SEAL_BODY, SEAL_TRAILER, SEAL_SYNC_FOOTER, SEAL_END };

void kvi_ssd_list_keep(struct kvi_ssd_volume *volume, uint32_t file, struct kvi_ssd_footer *footer)
{
  struct kvi_ssd_footer *list = malloc(sizeof(*list));

  if (!list) {
    kvi_log_error("%s: no memory for the list of log file %u", volume->name, file);
    return;
  }
  *list = *footer;
  memset(footer, 0, sizeof(*footer));
  volume->files[file].list = list;
}

void kvi_ssd_list_forget(struct kvi_ssd_volume *volume, uint32_t file)
{
  if (volume->files[file].list)
    kvi_ssd_footer_clear(volume->files[file].list);
  free(volume->files[file].list);
  volume->files[file].list = NULL;
}

static void seal_end(struct kvi_ssd_writer *writer)
{
  struct kvi_ssd_volume *volume = writer->volume;

  volume->files[writer->file].state = KVI_SSD_SEALED;
  volume->n_sealing--;
  if (writer->footer.n_records == 0) {
    kvi_ssd_file_free(volume, writer->file);
  } else if (!writer->sealed) {
    volume->files[writer->file].dirty = true;
    kvi_ssd_list_keep(volume, writer->file, &writer->footer);
  }
  kvi_ssd_footer_clear(&writer->footer);
  free(writer->body);
  free(writer);
}

static void seal_stepped(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_writer *writer = io->user;

  kvi_ssd_device_said(writer->volume, "sealing", writer->file, error);
  writer->volume->seal_errors += error != 0;
  writer->step = error == 0 ? writer->step + 1 : SEAL_END; /* it is read through at the next start */
  writer->sealed = error == 0 && writer->step > SEAL_TRAILER;
  kvi_ssd_seal_next(writer);
}

/* The footer, and the trailer in a block of its own behind it in memory. */
static bool body_make(struct kvi_ssd_writer *writer)
{
  struct kvi_ssd_volume *volume = writer->volume;
  struct kvi_ssd_trailer trailer = {.use = volume->files[writer->file].use, .body_at = writer->next};

  writer->body_room = kvi_ssd_round(kvi_ssd_footer_bytes(&writer->footer), KVI_SSD_BLOCK);
  writer->body = kvi_ssd_blocks_alloc(writer->body_room + KVI_SSD_BLOCK);
  if (!writer->body)
    return false;
  kvi_ssd_footer_write(&writer->footer, writer->body, &trailer);
  kvi_ssd_trailer_write(writer->body + writer->body_room, &trailer);
  return true;
}

void kvi_ssd_seal_next(struct kvi_ssd_writer *writer)
{
  struct kvi_ssd_volume *volume = writer->volume;
  struct kvi_ssd_io *io = &writer->io;

  if (writer->footer.n_records == 0)
    writer->step = SEAL_END;
  if (!kvi_ssd_syncs(volume) && (writer->step == SEAL_SYNC || writer->step == SEAL_SYNC_FOOTER))
    writer->step++;
  if (writer->step == SEAL_BODY && !body_make(writer))
    writer->step = SEAL_END;
  *io = (struct kvi_ssd_io){.file = writer->file, .done = seal_stepped, .user = writer};
  switch (writer->step) {
  case SEAL_SYNC:
  case SEAL_SYNC_FOOTER:
    io->kind = KVI_SSD_SYNC;
    break;
  case SEAL_BODY:
    io->kind = KVI_SSD_WRITE;
    io->at = writer->next;
    io->bytes = writer->body;
    io->length = writer->body_room;
    break;
  case SEAL_TRAILER:
    io->kind = KVI_SSD_WRITE;
    io->at = volume->config.file_bytes - KVI_SSD_BLOCK;
    io->bytes = writer->body + writer->body_room;
    io->length = KVI_SSD_BLOCK;
    break;
  default:
    seal_end(writer);
    return;
  }
  kvi_ssd_submit(volume, io);
}

void kvi_ssd_seal(struct kvi_ssd_volume *volume)
{
  struct kvi_ssd_writer *writer = volume->writer;

  if (!writer)
    return;
  volume->writer = NULL;
  volume->n_sealing++;
  volume->files[writer->file].state = KVI_SSD_SEALING;
  writer->sealing = true;
  if (writer->writing == 0)
    kvi_ssd_seal_next(writer);
}
