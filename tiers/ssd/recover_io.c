/* tiers/ssd/recover_io.c: reads, writes and syncs while a directory is opened, one at a time. */
#include <errno.h>
#include <stdlib.h>

#include "tiers/ssd/recover_private.h"

#define TRIES 3 /* of an operation */

uint8_t *kvi_ssd_blocks_alloc(size_t bytes)
{
  void *blocks = NULL;

  return posix_memalign(&blocks, KVI_SSD_BLOCK, kvi_ssd_round(bytes ? bytes : 1, KVI_SSD_BLOCK)) == 0 ? blocks
                                                                                                      : NULL;
}

struct waited {
  bool ended;
  int error;
};

static void waited_done(struct kvi_ssd_io *io, int error)
{
  struct waited *waited = io->user;

  waited->ended = true;
  waited->error = error;
}

static int io_once(struct kvi_ssd_volume *volume, struct kvi_ssd_io *io)
{
  struct waited waited = {0};

  io->user = &waited;
  kvi_ssd_submit(volume, io);
  while (!waited.ended)
    volume->disk->ops->wait(volume->disk, kvi_now_ns() + KVI_NS_PER_S);
  kvi_ssd_device_said(volume, io->kind == KVI_SSD_READ ? "reading" : "writing", io->file, waited.error);
  return waited.error;
}

int kvi_ssd_recover_io(struct kvi_ssd_recovery *recovery, enum kvi_ssd_io_kind kind, uint32_t file,
                       uint64_t at, uint8_t *bytes, size_t length)
{
  struct kvi_ssd_io io = {
      .kind = kind, .file = file, .at = at, .bytes = bytes, .length = length, .done = waited_done};
  struct kvi_ssd_volume *volume = recovery->volume;
  int error = EIO;

  /* a passing error must not make a deletion unseen, or a file */
  for (int try = 0; try < TRIES && error != 0 && !atomic_load(&volume->failed); try++)
    error = io_once(volume, &io);
  if (kind == KVI_SSD_READ)
    volume->stats.recovery_read_bytes += length;
  if (error != 0)
    recovery->uncertain = true;
  return error;
}
