/*
 * fault_disk.h: a disk in memory, for the SSD tier, that fails on demand and forgets like a device whose power is cut: of what was not synced, each
 * write is there, is not, or is there in part, in any order; or it went to another place.
 */
#ifndef KVI_TESTS_UNIT_TIERS_FAULT_DISK_H
#define KVI_TESTS_UNIT_TIERS_FAULT_DISK_H

#include <stdatomic.h>

#include "base/rand.h"
#include "tiers/ssd/disk.h"

#define FAULT_FILES_MAX 32u

/* What is on the platter: outlives the disks that are opened over it. Zeroed but for what the test sets. */
struct fault_image {
  uint64_t file_bytes; /* the test's */
  kvi_rand rand;       /* the test's: seeded */
  bool misdirects;     /* a crash may put a write elsewhere */
  uint32_t files_max;  /* it has room for so many; 0: for FAULT_FILES_MAX */

  /* at the operation so many from now: */
  _Atomic uint64_t die_in;       /* the power goes: every operation fails from then on; 0: never */
  _Atomic uint64_t read_only_in; /* read_only from then on; 0: never */
  _Atomic uint64_t error_in;     /* one operation fails with error; 0: never */
  _Atomic uint32_t n_errors;     /* so many in a row */
  _Atomic int error;
  _Atomic uint64_t delay_ns; /* of each operation */
  _Atomic uint32_t n_discards;
  atomic_bool slow_syncs;   /* a sync takes as long as many reads */
  atomic_bool slow_headers; /* a header is written when there is nothing else to do, as a rule */
  atomic_bool read_only; /* writes and syncs fail with EROFS, as of a file system that was mounted so again */
  atomic_bool holds_writes; /* writes and syncs do not end while it is set; fault_disk_release() */
  atomic_bool holds_reads;
  _Atomic uint64_t held_bytes; /* of what is held */
  _Atomic uint64_t hang_in;    /* the operation so many from now, and all after it, do not end; 0: never */
  /* the test's, NULL: none. Called for each operation, on the disk's thread: true: it fails, and nothing of it is done */
  bool (*_Atomic fails)(const struct kvi_ssd_io *io);

  struct fault_file {
    uint8_t *now;     /* what reads see */
    uint8_t *durable; /* what a crash cannot take */
  } files[FAULT_FILES_MAX];
  struct fault_write {
    uint32_t file;
    uint64_t at;
    size_t length;
    uint8_t *bytes;
  } * writes; /* not synced */
  size_t n_writes, writes_room;
  struct kvi_ssd_disk
      *hung; /* has operations that do not end: whoever opened it gives it up, with their memory */
  atomic_bool dead;
  struct kvi_ssd_disk *disk; /* opened last */
};

struct kvi_ssd_disk *fault_disk_open(struct fault_image *image);
/* What was held ends. */
void fault_image_release(struct fault_image *image);
/* After the disk was closed: what a device may show when it comes back. */
void fault_image_crash(struct fault_image *image);
void fault_image_free(struct fault_image *image);

#endif
