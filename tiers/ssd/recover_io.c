/* tiers/ssd/recover_io.c: reads, writes and syncs while a directory is opened, one at a time. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "tiers/ssd/recover_private.h"

#define TRIES 3 /* of an operation */

uint8_t *kvi_ssd_blocks_alloc(size_t bytes)
{
  void *blocks = NULL;

  return posix_memalign(&blocks, KVI_SSD_BLOCK, kvi_ssd_round(bytes ? bytes : 1, KVI_SSD_BLOCK)) == 0 ? blocks
                                                                                                      : NULL;
}

/* One operation. A device that hangs keeps it. */
struct waited {
  struct kvi_ssd_io io;
  struct kvi_ssd_volume *volume;
  bool ended;
  int error;
};

static void waited_done(struct kvi_ssd_io *io, int error)
{
  struct waited *waited = io->user;

  waited->ended = true;
  waited->error = error;
  kvi_ssd_device_said(waited->volume, io->kind == KVI_SSD_READ ? "reading" : "writing", io->file, error);
}

/* The device does not answer: the directory is out, and what it has of us is left to it, since it may still write there. */
static int hung(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_io *io)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  kvi_log_error(
      "%s: log file %u did not answer for %llu s: its log files are out, the node goes on without them",
      volume->name, io->file, (unsigned long long)(volume->config.open_wait_ns / KVI_NS_PER_S));
  recovery->hung = io->bytes;
  atomic_store(&volume->failed, true);
  return ETIMEDOUT;
}

static int io_once(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_io *io)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  uint64_t until = kvi_now_ns() + volume->config.open_wait_ns;
  struct waited *waited = calloc(1, sizeof(*waited));
  int error;

  if (!waited)
    return ENOMEM;
  waited->io = *io;
  waited->io.user = waited;
  waited->volume = volume;
  kvi_ssd_submit(volume, &waited->io);
  do {
    volume->disk->ops->wait(volume->disk, until);
  } while (!waited->ended && kvi_now_ns() < until);
  if (!waited->ended)
    return hung(recovery, io);
  error = waited->error;
  free(waited);
  return error;
}

int kvi_ssd_recover_io(struct kvi_ssd_recovery *recovery, enum kvi_ssd_io_kind kind, uint32_t file,
                       uint64_t at, uint8_t *bytes, size_t length)
{
  const struct kvi_ssd_io io = {
      .kind = kind, .file = file, .at = at, .bytes = bytes, .length = length, .done = waited_done};
  struct kvi_ssd_volume *volume = recovery->volume;
  int error = EIO;

  /* a passing error must not make a deletion unseen, or a file */
  for (int try = 0; try < TRIES && error != 0 && !atomic_load(&volume->failed); try++)
    error = io_once(recovery, &io);
  if (kind == KVI_SSD_READ)
    volume->stats.recovery_read_bytes += length;
  if (error != 0)
    recovery->uncertain = true;
  return error;
}

void kvi_ssd_recover_free(const struct kvi_ssd_recovery *recovery, uint8_t *blocks)
{
  if (blocks != recovery->hung)
    free(blocks);
}
