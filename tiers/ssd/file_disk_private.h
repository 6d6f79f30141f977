/* tiers/ssd/file_disk_private.h: what file_disk.c (reads, writes, syncs) and disk_files.c (the files themselves) share. */
#ifndef KVASIR_TIERS_SSD_FILE_DISK_PRIVATE_H
#define KVASIR_TIERS_SSD_FILE_DISK_PRIVATE_H

#include "tiers/ssd/disk.h"
#include "tiers/ssd/ring.h"

struct kvi_ssd_file_disk {
  struct kvi_ssd_disk disk;
  char *path;
  int directory, lock, wake_fd;
  bool direct;
  int *fds; /* by number; -1 */
  uint32_t n_fds;
  struct kvi_ssd_ring *ring;        /* NULL: plain */
  struct kvi_ssd_io *first, **last; /* plain: submitted, to be carried out by wait */
};

static inline struct kvi_ssd_file_disk *kvi_ssd_file_disk_of(struct kvi_ssd_disk *disk)
{
  return (struct kvi_ssd_file_disk *)disk;
}

/* ---- disk_files.c: the ops of these names ---- */

kvs_status kvi_ssd_disk_file_open(struct kvi_ssd_disk *base, uint32_t number, uint64_t bytes, bool *fresh_p);
kvs_status kvi_ssd_disk_files_trim(struct kvi_ssd_disk *base, uint32_t n_files);
uint64_t kvi_ssd_disk_file_data(struct kvi_ssd_disk *base, uint32_t number, uint64_t at);
void kvi_ssd_disk_file_discard(struct kvi_ssd_disk *base, uint32_t number, uint64_t bytes);

#endif
