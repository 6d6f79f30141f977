/* tiers/ssd/ring.c: the one file that knows liburing. */
#include "tiers/ssd/ring.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <liburing.h>

#include "base/clock.h"
#include "base/log.h"

/*
 * Bytes whose copying takes as long as a device needs for some: an operation of so many is not kept until the next wait, and after so many that have
 * ended what came meanwhile is looked at. Else the device has nothing to do while all of a queue is copied.
 */
#define LARGE (1u << 20)

struct kvi_ssd_ring {
  struct io_uring ring;
  int wake_fd;
  uint64_t wakes; /* what the read of wake_fd gives */
  bool listening; /* that read is under way; it has no io (NULL) */
};

kvs_status kvi_ssd_ring_create(uint32_t depth, int wake_fd, struct kvi_ssd_ring **ring_p)
{
  struct kvi_ssd_ring *ring = calloc(1, sizeof(*ring));
  int error;

  *ring_p = NULL;
  if (!ring)
    return KVS_ERR_NOMEM;
  error = io_uring_queue_init(depth + 1, &ring->ring, 0);
  /* without EXT_ARG (Linux 5.11) a wait with a time would need an operation of its own */
  if (error == 0 && !(ring->ring.features & IORING_FEAT_EXT_ARG)) {
    io_uring_queue_exit(&ring->ring);
    error = -1;
  }
  if (error != 0) {
    free(ring);
    return KVS_ERR_UNSUPPORTED;
  }
  ring->wake_fd = wake_fd;
  *ring_p = ring;
  return KVS_OK;
}

void kvi_ssd_ring_destroy(struct kvi_ssd_ring *ring)
{
  if (!ring)
    return;
  io_uring_queue_exit(&ring->ring);
  free(ring);
}

/* There is always room after what was queued has been submitted, since the kernel takes entries over at once. */
static struct io_uring_sqe *entry_take(struct kvi_ssd_ring *ring)
{
  struct io_uring_sqe *entry = io_uring_get_sqe(&ring->ring);

  while (!entry) {
    (void)io_uring_submit(&ring->ring);
    entry = io_uring_get_sqe(&ring->ring);
  }
  return entry;
}

void kvi_ssd_ring_submit(struct kvi_ssd_ring *ring, struct kvi_ssd_io *io, int fd)
{
  struct io_uring_sqe *entry = entry_take(ring);
  unsigned length = (unsigned)(io->length - io->progress);

  if (io->kind == KVI_SSD_SYNC)
    io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
  else if (io->kind == KVI_SSD_READ && io->bytes)
    io_uring_prep_read(entry, fd, io->bytes + io->progress, length, io->at + io->progress);
  else if (io->kind == KVI_SSD_READ)
    io_uring_prep_readv(entry, fd, io->places, kvi_ssd_io_places(io), io->at + io->progress);
  else if (io->bytes)
    io_uring_prep_write(entry, fd, io->bytes + io->progress, length, io->at + io->progress);
  else
    io_uring_prep_writev(entry, fd, io->places, kvi_ssd_io_places(io), io->at + io->progress);
  io_uring_sqe_set_data(entry, io);
  if (length >= LARGE)
    (void)io_uring_submit(&ring->ring);
}

static void listen_for_wakes(struct kvi_ssd_ring *ring)
{
  struct io_uring_sqe *entry;

  if (ring->listening)
    return;
  entry = entry_take(ring);
  io_uring_prep_read(entry, ring->wake_fd, &ring->wakes, sizeof(ring->wakes), 0);
  io_uring_sqe_set_data(entry, NULL);
  ring->listening = true;
}

void kvi_ssd_ring_wait(struct kvi_ssd_ring *ring, uint64_t until_ns,
                       void (*ended)(void *ctx, struct kvi_ssd_io *io, int result), void *ctx)
{
  uint64_t now = kvi_now_ns(), left = until_ns > now ? until_ns - now : 0;
  struct __kernel_timespec time = {.tv_sec = (long long)(left / KVI_NS_PER_S),
                                   .tv_nsec = (long long)(left % KVI_NS_PER_S)};
  struct io_uring_cqe *entry;
  size_t bytes = 0;

  listen_for_wakes(ring);
  (void)io_uring_submit_and_wait_timeout(&ring->ring, &entry, 1, &time, NULL);
  while (bytes < LARGE && io_uring_peek_cqe(&ring->ring, &entry) == 0) {
    struct kvi_ssd_io *io = io_uring_cqe_get_data(entry);
    int result = entry->res;

    io_uring_cqe_seen(&ring->ring, entry);
    bytes += io ? io->length : 0;
    if (io)
      ended(ctx, io, result);
    else
      ring->listening = false;
  }
}
