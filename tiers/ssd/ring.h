/* tiers/ssd/ring.h: io_uring for the log files of one directory: submission, completion, and a wake from other threads. */
#ifndef KVASIR_TIERS_SSD_RING_H
#define KVASIR_TIERS_SSD_RING_H

#include "tiers/ssd/disk.h"

struct kvi_ssd_ring;

/* KVS_ERR_UNSUPPORTED: the kernel has none, or does not let us. wake_fd: an eventfd that ends kvi_ssd_ring_wait. */
kvs_status kvi_ssd_ring_create(uint32_t depth, int wake_fd, struct kvi_ssd_ring **ring_p);
void kvi_ssd_ring_destroy(struct kvi_ssd_ring *ring); /* NULL is fine */
/* io->length bytes from io->progress on. */
void kvi_ssd_ring_submit(struct kvi_ssd_ring *ring, struct kvi_ssd_io *io, int fd);
/* As kvi_ssd_disk_ops.wait; each end is told to `ended` with the result of the system call. */
void kvi_ssd_ring_wait(struct kvi_ssd_ring *ring, uint64_t until_ns,
                       void (*ended)(void *ctx, struct kvi_ssd_io *io, int result), void *ctx);

#endif
