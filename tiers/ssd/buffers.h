/*
 * tiers/ssd/buffers.h: memory that devices read from and write to: aligned, touched once and then kept, bounded in all. One thread.
 */
#ifndef KVASIR_TIERS_SSD_BUFFERS_H
#define KVASIR_TIERS_SSD_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

#define KVI_SSD_BUFFER_CLASSES 64u

struct kvi_ssd_buffer {
  uint8_t *bytes; /* at a page */
  size_t size;    /* at least what was asked for */
};

/* Zeroed and with bytes_max: ready. */
struct kvi_ssd_buffers {
  size_t bytes_max;
  size_t bytes;                       /* given out or kept */
  size_t out;                         /* given out */
  void *kept[KVI_SSD_BUFFER_CLASSES]; /* a list by size; each points to the next in its first bytes */
};

/* bytes NULL: the bound is reached for now (or there is no memory). One of any size up to bytes_max is given when none is out. */
struct kvi_ssd_buffer kvi_ssd_buffer_take(struct kvi_ssd_buffers *buffers, size_t size);
void kvi_ssd_buffer_give(struct kvi_ssd_buffers *buffers, struct kvi_ssd_buffer buffer);
/* Frees what is kept. */
void kvi_ssd_buffers_clear(struct kvi_ssd_buffers *buffers);

#endif
