/*
 * tiers/ssd/disk.h: the log files of one directory, as the volume uses them: numbered files of one size, reads, writes and syncs that end
 * later, in a callback. file_disk.c is the real one; tests put one with faults in its place.
 *
 * All ops but wake are for one thread at a time, the volume's (before it is started, the one that opens it). Callbacks run on that thread,
 * within wait, and may submit.
 */
#ifndef KVASIR_TIERS_SSD_DISK_H
#define KVASIR_TIERS_SSD_DISK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <kvasir/status.h>

enum kvi_ssd_io_kind { KVI_SSD_READ, KVI_SSD_WRITE, KVI_SSD_SYNC };

/* One operation. The caller's until submit, then the disk's until done. */
struct kvi_ssd_io {
  enum kvi_ssd_io_kind kind;
  uint32_t file;
  uint64_t at; /* whole blocks; so is length */
  size_t length;
  uint8_t *bytes;       /* at a multiple of a block; NULL: in the places instead */
  struct iovec *places; /* the same in pieces, each at a block and of whole ones; the disk changes them */
  uint32_t n_places;
  /* error: 0, or an errno. All of it was read or written, or an error is told. */
  void (*done)(struct kvi_ssd_io *io, int error);
  void *user;

  size_t progress; /* the disk's */
  struct kvi_ssd_io *next;
};

/* As many places as a system call takes; what is left follows with the next. */
static inline uint32_t kvi_ssd_io_places(const struct kvi_ssd_io *io)
{
  return io->n_places < IOV_MAX ? io->n_places : IOV_MAX;
}

struct kvi_ssd_disk;

struct kvi_ssd_disk_ops {
  const char *name; /* for the log: how it works */

  /*
   * Opens file `number`, of exactly `bytes`, all of it reserved on the device. *fresh_p: it was made just now and reads as zeros. KVS_ERR_FULL: no
   * room for it; KVS_ERR_IO: logged. Blocks.
   */
  kvs_status (*open)(struct kvi_ssd_disk *disk, uint32_t number, uint64_t bytes, bool *fresh_p);
  /*
   * Before open, and again when less files could be opened: removes files of this kind with a number of n_files or above, left from a larger configuration.
   * Looks at all headers first. KVS_ERR_VERSION, logged: one is of a format that this version does not know, and nothing was removed; open would do
   * away with it too. KVS_ERR_IO: logged. Blocks.
   */
  kvs_status (*trim)(struct kvi_ssd_disk *disk, uint32_t n_files);
  void (*submit)(struct kvi_ssd_disk *disk, struct kvi_ssd_io *io);
  /* Starts what was submitted, and waits until at least one operation has ended, a wake, or the time. Calls done functions. */
  void (*wait)(struct kvi_ssd_disk *disk, uint64_t until_ns);
  void (*wake)(struct kvi_ssd_disk *disk); /* any thread: wait returns, now or when it is called next */
  /* The bytes of a file are not needed: the device may forget them; it stays reserved where that can be had. Blocks for short. */
  void (*discard)(struct kvi_ssd_disk *disk, uint32_t number, uint64_t bytes);
  /* The first place from `at` on that may hold anything but zeros; UINT64_MAX: there is none. Blocks for short. */
  uint64_t (*data)(struct kvi_ssd_disk *disk, uint32_t number, uint64_t at);
  /* Nothing is under way. NULL is fine. */
  void (*destroy)(struct kvi_ssd_disk *disk);
};

struct kvi_ssd_disk {
  const struct kvi_ssd_disk_ops *ops;
};

/*
 * A directory, made if it is missing and its parent is there, and locked against other processes. Uses io_uring (if `ring`) and O_DIRECT where the kernel and
 * file system let it, else pread and pwrite, and the page cache; the log says which. KVS_ERR_BUSY: another process has it. KVS_ERR_INVALID:
 * it is no directory, and cannot be made one. KVS_ERR_IO, KVS_ERR_NOMEM. All logged.
 */
kvs_status kvi_ssd_file_disk_open(const char *path, uint32_t depth, bool ring, struct kvi_ssd_disk **disk_p);

#endif
