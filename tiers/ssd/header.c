/*
 * tiers/ssd/header.c: the use of a log file begins with a header that says so, and ends with one that says that too. The second is what makes a deletion
 * keep its promise: while a header is good its records may be found again, wherever their chunks are by then.
 */
#include "base/log.h"
#include "base/rand.h"
#include "tiers/ssd/volume_private.h"

#define TRIES KVI_SSD_ERRORS_MAX /* to write the header of a file that is freed */

/* ---- a file is made ready ---- */

static void ready_end(struct kvi_ssd_volume *volume, bool good)
{
  volume->files[volume->ready].state = good ? KVI_SSD_READY : KVI_SSD_FREE;
  if (!good) {
    volume->ready_from = (volume->ready + 1) % volume->n_files; /* its first block may be bad: another one */
    volume->n_free++;
    volume->ready = KVI_SSD_NONE;
  }
}

static void ready_synced(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_volume *volume = io->user;

  kvi_ssd_device_said(volume, "syncing", volume->ready, error);
  ready_end(volume, error == 0);
}

static void ready_written(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_volume *volume = io->user;

  kvi_ssd_device_said(volume, "writing the header of", volume->ready, error);
  if (error != 0 || !kvi_ssd_syncs(volume)) {
    ready_end(volume, error == 0);
    return;
  }
  io->kind = KVI_SSD_SYNC;
  io->done = ready_synced;
  kvi_ssd_submit(volume, io);
}

void kvi_ssd_ready_step(struct kvi_ssd_volume *volume)
{
  struct kvi_ssd_header header = {.file_bytes = volume->config.file_bytes};
  uint32_t file = volume->ready_from;
  uint64_t nonce;

  if (volume->ready != KVI_SSD_NONE || volume->n_free == 0 || kvi_random_id(&nonce) != KVS_OK)
    return;
  while (volume->files[file].state != KVI_SSD_FREE)
    file = (file + 1) % volume->n_files;
  volume->ready_from = 0;
  header.number = file;
  header.sequence = ++volume->sequence;
  header.nonce = nonce;
  memcpy(header.directory, volume->directory, sizeof(header.directory));
  pthread_mutex_lock(&volume->lock);
  volume->files[file].use = (struct kvi_ssd_use){.sequence = header.sequence, .nonce = nonce};
  pthread_mutex_unlock(&volume->lock);
  volume->files[file].state = KVI_SSD_READYING;
  volume->n_discards -= volume->files[file].discard_ns != 0;
  volume->files[file].discard_ns = 0;
  volume->n_free--;
  volume->ready = file;
  kvi_ssd_header_write(volume->header_block, &header);
  volume->header_io = (struct kvi_ssd_io){.kind = KVI_SSD_WRITE,
                                          .file = file,
                                          .bytes = volume->header_block,
                                          .length = KVI_SSD_BLOCK,
                                          .done = ready_written,
                                          .user = volume};
  kvi_ssd_submit(volume, &volume->header_io);
}

static void ready_canceled(struct kvi_ssd_io *io, int error)
{
  kvi_ssd_device_said(io->user, "writing the header of", io->file, error);
}

void kvi_ssd_ready_cancel(struct kvi_ssd_volume *volume)
{
  if (volume->ready == KVI_SSD_NONE || volume->files[volume->ready].state != KVI_SSD_READY)
    return;
  kvi_ssd_header_unused(volume, volume->ready, volume->header_block);
  volume->header_io.kind = KVI_SSD_WRITE;
  volume->header_io.done = ready_canceled;
  kvi_ssd_submit(volume, &volume->header_io);
}

/* ---- a file is freed ---- */

void kvi_ssd_header_unused(const struct kvi_ssd_volume *volume, uint32_t file, uint8_t block[KVI_SSD_BLOCK])
{
  struct kvi_ssd_header header = {.number = file, .file_bytes = volume->config.file_bytes};

  memcpy(header.directory, volume->directory, sizeof(header.directory));
  kvi_ssd_header_write(block, &header);
}

void kvi_ssd_file_free(struct kvi_ssd_volume *volume, uint32_t file)
{
  kvi_ssd_live_clear(volume, file);
  kvi_ssd_list_forget(volume, file);
  volume->files[file].state = KVI_SSD_FREEING;
  volume->n_freeing++;
}

static void freeing_end(struct kvi_ssd_volume *volume)
{
  struct kvi_ssd_file *file = &volume->files[volume->freeing];

  file->state = KVI_SSD_FREE;
  file->dirty = false;
  file->oldest = UINT64_MAX;
  file->newest_deleted = 0;
  volume->deletions_kept -= file->deletions;
  file->deletions = 0;
  volume->n_freeing--;
  volume->n_free++;
  if (volume->config.discard) {
    file->discard_ns = kvi_now_ns() + volume->config.discard_after_ms * KVI_NS_PER_MS;
    volume->n_discards++;
  }
  volume->freeing = KVI_SSD_NONE;
}

void kvi_ssd_discard_step(struct kvi_ssd_volume *volume, uint64_t now)
{
  /* it is done by this thread, which a device that is slow or gone must not keep */
  if (volume->config.discard_after_ms > 0 && (volume->in_flight > 0 || volume->errors_in_row > 0))
    return;
  for (uint32_t i = 0; i < volume->n_files && volume->n_discards > 0; i++) {
    struct kvi_ssd_file *file = &volume->files[i];

    if (file->discard_ns == 0 || now < file->discard_ns)
      continue;
    volume->disk->ops->discard(volume->disk, i, volume->config.file_bytes);
    file->discard_ns = 0;
    volume->n_discards--;
    return; /* it takes a moment: one at a time */
  }
}

static void freeing_write(struct kvi_ssd_volume *volume);

/* It is tried again, since the device may be well but for a moment; a file is not lost to one error. */
static void freeing_failed(struct kvi_ssd_volume *volume)
{
  if (atomic_load_explicit(&volume->read_only, memory_order_relaxed))
    return; /* nothing of it is needed any more, and it stays as it is */
  if (++volume->freeing_tries < TRIES && !atomic_load_explicit(&volume->failed, memory_order_relaxed)) {
    freeing_write(volume);
    return;
  }
  kvi_log_error("%s: the header of log file %u cannot be written: its log files are out, the node goes on "
                "without them",
                volume->name, volume->freeing);
  atomic_store_explicit(&volume->failed, true, memory_order_relaxed);
}

static void freeing_stepped(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_volume *volume = io->user;

  kvi_ssd_device_said(volume, "freeing", io->file, error);
  if (error != 0) {
    freeing_failed(volume);
  } else if (io->kind == KVI_SSD_WRITE && kvi_ssd_syncs(volume)) {
    io->kind = KVI_SSD_SYNC;
    kvi_ssd_submit(volume, io);
  } else if (io->at != 0) {
    kvi_ssd_header_unused(volume, io->file, io->bytes);
    io->kind = KVI_SSD_WRITE;
    io->at = 0;
    kvi_ssd_submit(volume, io);
  } else {
    freeing_end(volume);
  }
}

/* Its trailer goes, and that is safe, before its header does: a header that is damaged later is mended by a trailer, which must not be one of this use. */
static void freeing_write(struct kvi_ssd_volume *volume)
{
  memset(volume->freeing_block, 0, KVI_SSD_BLOCK);
  volume->freeing_io = (struct kvi_ssd_io){.kind = KVI_SSD_WRITE,
                                           .file = volume->freeing,
                                           .at = volume->config.file_bytes - KVI_SSD_BLOCK,
                                           .bytes = volume->freeing_block,
                                           .length = KVI_SSD_BLOCK,
                                           .done = freeing_stepped,
                                           .user = volume};
  kvi_ssd_submit(volume, &volume->freeing_io);
}

void kvi_ssd_free_step(struct kvi_ssd_volume *volume)
{
  uint32_t file = 0;

  if (volume->n_freeing == 0 || volume->freeing != KVI_SSD_NONE)
    return;
  while (volume->files[file].state != KVI_SSD_FREEING)
    file++;
  volume->freeing = file;
  volume->freeing_tries = 0;
  freeing_write(volume);
}
