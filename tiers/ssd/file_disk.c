/* tiers/ssd/file_disk.c: log files in a directory, through io_uring and O_DIRECT, or by plain pread and pwrite. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "base/clock.h"
#include "base/log.h"
#include "tiers/ssd/disk.h"
#include "tiers/ssd/ring.h"

#define NAME_MAX_BYTES 32u
#define FILES_LIMIT    (1u << 20)

struct file_disk {
  struct kvi_ssd_disk disk;
  char *path;
  int directory, lock, wake_fd;
  bool direct;
  int *fds; /* by number; -1 */
  uint32_t n_fds;
  struct kvi_ssd_ring *ring;        /* NULL: plain */
  struct kvi_ssd_io *first, **last; /* plain: submitted, to be carried out by wait */
};

static struct file_disk *from(struct kvi_ssd_disk *disk)
{
  return (struct file_disk *)disk;
}

/* ---- files ---- */

static void name_write(uint32_t number, char name[NAME_MAX_BYTES])
{
  snprintf(name, NAME_MAX_BYTES, "log-%05u.kvl", number);
}

static kvs_status fds_grow(struct file_disk *disk, uint32_t number)
{
  uint32_t n = number + 1 > 64 ? (number + 1) * 2 : 64;
  int *grown;

  if (number < disk->n_fds)
    return KVS_OK;
  if (number >= FILES_LIMIT)
    return KVS_ERR_FULL;
  grown = realloc(disk->fds, n * sizeof(*grown));
  if (!grown)
    return KVS_ERR_NOMEM;
  for (uint32_t i = disk->n_fds; i < n; i++)
    grown[i] = -1;
  disk->fds = grown;
  disk->n_fds = n;
  return KVS_OK;
}

/* Reserves what the file lacks. A file system without reservation (KVS_OK all the same) may say later that it is full. */
static kvs_status reserve(struct file_disk *disk, int fd, const char *name, uint64_t bytes, bool *fresh_p)
{
  struct stat stat;

  if (fstat(fd, &stat) != 0)
    goto failed;
  *fresh_p = stat.st_size == 0;
  if ((uint64_t)stat.st_size == bytes)
    return KVS_OK;
  if (stat.st_size != 0) {
    kvi_log_warn("%s/%s has another size than configured: made anew", disk->path, name);
    *fresh_p = true;
    if (ftruncate(fd, 0) != 0)
      goto failed;
  }
  if (fallocate(fd, 0, 0, (off_t)bytes) == 0)
    return KVS_OK;
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
    (void)ftruncate(fd, 0);
    return KVS_ERR_FULL;
  }
  if (errno == EOPNOTSUPP && ftruncate(fd, (off_t)bytes) == 0)
    return KVS_OK;
failed:
  kvi_log_error("%s/%s: cannot be reserved: %m", disk->path, name);
  return KVS_ERR_IO;
}

static kvs_status file_open(struct kvi_ssd_disk *base, uint32_t number, uint64_t bytes, bool *fresh_p)
{
  struct file_disk *disk = from(base);
  char name[NAME_MAX_BYTES];
  kvs_status status = fds_grow(disk, number);
  int fd = -1;

  if (status != KVS_OK)
    return status;
  name_write(number, name);
  if (disk->direct)
    fd = openat(disk->directory, name, O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);
  if (fd < 0 && disk->direct && errno == EINVAL) {
    disk->direct = false;
    kvi_log_warn("%s: the file system refuses O_DIRECT, the page cache is used", disk->path);
  }
  if (fd < 0)
    fd = openat(disk->directory, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    kvi_log_error("%s/%s: cannot be opened: %m", disk->path, name);
    return errno == ENOSPC ? KVS_ERR_FULL : KVS_ERR_IO;
  }
  status = reserve(disk, fd, name, bytes, fresh_p);
  if (status != KVS_OK) {
    close(fd);
    if (status == KVS_ERR_FULL)
      (void)unlinkat(disk->directory, name, 0);
    return status;
  }
  if (*fresh_p && fsync(disk->directory) != 0)
    kvi_log_warn("%s: cannot be synced: %m", disk->path);
  disk->fds[number] = fd;
  return KVS_OK;
}

static void file_trim(struct kvi_ssd_disk *base, uint32_t n_files)
{
  struct file_disk *disk = from(base);
  int fd = dup(disk->directory);
  DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
  const struct dirent *entry;
  uint32_t removed = 0;

  if (!listing) {
    if (fd >= 0)
      close(fd);
    return;
  }
  rewinddir(listing);
  while ((entry = readdir(listing)) != NULL) {
    char name[NAME_MAX_BYTES];
    unsigned number;

    /* NOLINTNEXTLINE(cert-err34-c): whatever it makes of it, the name is compared below */
    if (sscanf(entry->d_name, "log-%u.kvl", &number) != 1 || number < n_files)
      continue;
    name_write(number, name);
    if (strcmp(name, entry->d_name) == 0 && unlinkat(disk->directory, name, 0) == 0)
      removed++;
  }
  closedir(listing);
  if (removed > 0)
    kvi_log_info("%s: %u log files beyond the configured size removed", disk->path, removed);
}

static void file_discard(struct kvi_ssd_disk *base, uint32_t number, uint64_t bytes)
{
  struct file_disk *disk = from(base);
  int fd = disk->fds[number];

  /* advice: where it is refused the bytes stay, and are overwritten */
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0)
    (void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
}

/* ---- reads, writes, syncs ---- */

/* A result of a system call: the rest is submitted again, or it has ended. */
static bool has_ended(struct kvi_ssd_io *io, int result, int *error_p)
{
  *error_p = 0;
  if (result == -EINTR || result == -EAGAIN)
    return false;
  if (result < 0) {
    *error_p = -result;
    return true;
  }
  if (io->kind == KVI_SSD_SYNC)
    return true;
  if (result == 0) { /* beyond the end: somebody has cut the file */
    *error_p = EIO;
    return true;
  }
  io->progress += (size_t)result;
  return io->progress >= io->length;
}

static void ring_ended(void *ctx, struct kvi_ssd_io *io, int result)
{
  struct file_disk *disk = ctx;
  int error;

  if (has_ended(io, result, &error))
    io->done(io, error);
  else
    kvi_ssd_ring_submit(disk->ring, io, disk->fds[io->file]);
}

static void file_submit(struct kvi_ssd_disk *base, struct kvi_ssd_io *io)
{
  struct file_disk *disk = from(base);

  io->progress = 0;
  if (disk->ring) {
    kvi_ssd_ring_submit(disk->ring, io, disk->fds[io->file]);
    return;
  }
  io->next = NULL;
  *disk->last = io;
  disk->last = &io->next;
}

static void plain_carry_out(struct file_disk *disk, struct kvi_ssd_io *io)
{
  int fd = disk->fds[io->file], error = 0;
  ssize_t result;

  do {
    if (io->kind == KVI_SSD_READ)
      result = pread(fd, io->bytes + io->progress, io->length - io->progress, (off_t)(io->at + io->progress));
    else if (io->kind == KVI_SSD_WRITE)
      result =
          pwrite(fd, io->bytes + io->progress, io->length - io->progress, (off_t)(io->at + io->progress));
    else
      result = fdatasync(fd);
  } while (!has_ended(io, result < 0 ? -errno : (int)result, &error));
  io->done(io, error);
}

static void file_wait(struct kvi_ssd_disk *base, uint64_t until_ns)
{
  struct file_disk *disk = from(base);
  struct pollfd woken = {.fd = disk->wake_fd, .events = POLLIN};
  uint64_t now = kvi_now_ns(), left_ms = until_ns > now ? (until_ns - now) / KVI_NS_PER_MS + 1 : 0, count;

  if (disk->ring) {
    kvi_ssd_ring_wait(disk->ring, until_ns, ring_ended, disk);
    return;
  }
  if (!disk->first && poll(&woken, 1, left_ms < 1000 ? (int)left_ms : 1000) > 0)
    (void)!read(disk->wake_fd, &count, sizeof(count));
  /* one at a time, so that what came meanwhile is looked at */
  if (disk->first) {
    struct kvi_ssd_io *io = disk->first;

    disk->first = io->next;
    if (!disk->first)
      disk->last = &disk->first;
    plain_carry_out(disk, io);
  }
}

static void file_wake(struct kvi_ssd_disk *base)
{
  uint64_t one = 1;

  (void)!write(from(base)->wake_fd, &one, sizeof(one));
}

/* ---- life ---- */

static void file_destroy(struct kvi_ssd_disk *base)
{
  struct file_disk *disk = from(base);

  if (!base)
    return;
  kvi_ssd_ring_destroy(disk->ring);
  for (uint32_t i = 0; i < disk->n_fds; i++)
    if (disk->fds[i] >= 0)
      close(disk->fds[i]);
  if (disk->wake_fd >= 0)
    close(disk->wake_fd);
  if (disk->lock >= 0)
    close(disk->lock);
  if (disk->directory >= 0)
    close(disk->directory);
  free(disk->fds);
  free(disk->path);
  free(disk);
}

static const struct kvi_ssd_disk_ops ring_ops = {.name = "io_uring",
                                                 .open = file_open,
                                                 .trim = file_trim,
                                                 .submit = file_submit,
                                                 .wait = file_wait,
                                                 .wake = file_wake,
                                                 .discard = file_discard,
                                                 .destroy = file_destroy};
static const struct kvi_ssd_disk_ops plain_ops = {.name = "pread and pwrite",
                                                  .open = file_open,
                                                  .trim = file_trim,
                                                  .submit = file_submit,
                                                  .wait = file_wait,
                                                  .wake = file_wake,
                                                  .discard = file_discard,
                                                  .destroy = file_destroy};

/* Only one process may use a directory. */
static kvs_status lock_take(struct file_disk *disk)
{
  disk->lock = openat(disk->directory, "kvasir.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (disk->lock < 0) {
    kvi_log_error("%s/kvasir.lock: cannot be opened: %m", disk->path);
    return KVS_ERR_IO;
  }
  if (flock(disk->lock, LOCK_EX | LOCK_NB) == 0)
    return KVS_OK;
  kvi_log_error("%s: another process uses this directory", disk->path);
  return KVS_ERR_BUSY;
}

static kvs_status directory_open(struct file_disk *disk)
{
  if (mkdir(disk->path, 0700) != 0 && errno != EEXIST) {
    kvi_log_error("%s: cannot be made: %m", disk->path);
    return KVS_ERR_IO;
  }
  disk->directory = open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (disk->directory < 0) {
    kvi_log_error("%s: cannot be opened: %m", disk->path);
    return KVS_ERR_IO;
  }
  return lock_take(disk);
}

kvs_status kvi_ssd_file_disk_open(const char *path, uint32_t depth, bool ring, struct kvi_ssd_disk **disk_p)
{
  struct file_disk *disk = calloc(1, sizeof(*disk));
  kvs_status status = KVS_ERR_NOMEM;

  *disk_p = NULL;
  if (!disk)
    return KVS_ERR_NOMEM;
  disk->directory = disk->lock = disk->wake_fd = -1;
  disk->direct = true;
  disk->last = &disk->first;
  disk->path = strdup(path);
  disk->wake_fd = eventfd(0, EFD_CLOEXEC);
  if (!disk->path || disk->wake_fd < 0)
    goto failed;
  status = directory_open(disk);
  if (status != KVS_OK)
    goto failed;
  status = ring ? kvi_ssd_ring_create(depth, disk->wake_fd, &disk->ring) : KVS_OK;
  if (status == KVS_ERR_UNSUPPORTED)
    kvi_log_warn("%s: the kernel gives no io_uring, pread and pwrite are used", path);
  else if (status != KVS_OK)
    goto failed;
  disk->disk.ops = disk->ring ? &ring_ops : &plain_ops;
  *disk_p = &disk->disk;
  return KVS_OK;

failed:
  file_destroy(&disk->disk);
  return status;
}
