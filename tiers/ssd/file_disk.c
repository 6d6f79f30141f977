/* tiers/ssd/file_disk.c: log files in a directory, through io_uring and O_DIRECT, or by plain pread and pwrite. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "tiers/ssd/file_disk_private.h"

/* ---- reads, writes, syncs ---- */

/* What comes after n more bytes. */
static void places_advance(struct kvi_ssd_io *io, size_t n)
{
  while (n > 0 && io->n_places > 0) {
    size_t part = n < io->places->iov_len ? n : io->places->iov_len;

    io->places->iov_base = (uint8_t *)io->places->iov_base + part;
    io->places->iov_len -= part;
    n -= part;
    if (io->places->iov_len == 0) {
      io->places++;
      io->n_places--;
    }
  }
}

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
  if (!io->bytes)
    places_advance(io, (size_t)result);
  return io->progress >= io->length;
}

static void ring_ended(void *ctx, struct kvi_ssd_io *io, int result)
{
  struct kvi_ssd_file_disk *disk = ctx;
  int error;

  if (has_ended(io, result, &error))
    io->done(io, error);
  else
    kvi_ssd_ring_submit(disk->ring, io, disk->fds[io->file]);
}

static void file_submit(struct kvi_ssd_disk *base, struct kvi_ssd_io *io)
{
  struct kvi_ssd_file_disk *disk = kvi_ssd_file_disk_of(base);

  io->progress = 0;
  if (disk->ring) {
    kvi_ssd_ring_submit(disk->ring, io, disk->fds[io->file]);
    return;
  }
  io->next = NULL;
  *disk->last = io;
  disk->last = &io->next;
}

static ssize_t plain_call(struct kvi_ssd_io *io, int fd)
{
  struct iovec whole = {.iov_base = io->bytes ? io->bytes + io->progress : NULL,
                        .iov_len = io->length - io->progress};
  const struct iovec *places = io->bytes ? &whole : io->places;
  int n = (int)(io->bytes ? 1 : kvi_ssd_io_places(io));
  off_t at = (off_t)(io->at + io->progress);

  if (io->kind == KVI_SSD_SYNC)
    return fdatasync(fd);
  return io->kind == KVI_SSD_READ ? preadv(fd, places, n, at) : pwritev(fd, places, n, at);
}

static void plain_carry_out(struct kvi_ssd_file_disk *disk, struct kvi_ssd_io *io)
{
  int fd = disk->fds[io->file], error = 0;
  ssize_t result;

  do {
    result = plain_call(io, fd);
  } while (!has_ended(io, result < 0 ? -errno : (int)result, &error));
  io->done(io, error);
}

static void file_wait(struct kvi_ssd_disk *base, uint64_t until_ns)
{
  struct kvi_ssd_file_disk *disk = kvi_ssd_file_disk_of(base);
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

  (void)!write(kvi_ssd_file_disk_of(base)->wake_fd, &one, sizeof(one));
}

/* ---- life ---- */

static void file_destroy(struct kvi_ssd_disk *base)
{
  struct kvi_ssd_file_disk *disk = kvi_ssd_file_disk_of(base);

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
                                                 .open = kvi_ssd_disk_file_open,
                                                 .trim = kvi_ssd_disk_files_trim,
                                                 .submit = file_submit,
                                                 .wait = file_wait,
                                                 .wake = file_wake,
                                                 .discard = kvi_ssd_disk_file_discard,
                                                 .data = kvi_ssd_disk_file_data,
                                                 .destroy = file_destroy};
static const struct kvi_ssd_disk_ops plain_ops = {.name = "pread and pwrite",
                                                  .open = kvi_ssd_disk_file_open,
                                                  .trim = kvi_ssd_disk_files_trim,
                                                  .submit = file_submit,
                                                  .wait = file_wait,
                                                  .wake = file_wake,
                                                  .discard = kvi_ssd_disk_file_discard,
                                                  .data = kvi_ssd_disk_file_data,
                                                  .destroy = file_destroy};

/* Only one process may use a directory. */
static kvs_status lock_take(struct kvi_ssd_file_disk *disk)
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

/* Of a path that no device's coming back would make right, KVS_ERR_INVALID. */
static kvs_status path_refuse(const char *path, const char *what)
{
  bool wrong = errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG;

  kvi_log_error("%s: cannot be %s: %m", path, what);
  return wrong ? KVS_ERR_INVALID : KVS_ERR_IO;
}

static kvs_status directory_open(struct kvi_ssd_file_disk *disk)
{
  if (mkdir(disk->path, 0700) != 0 && errno != EEXIST && errno != EROFS) /* read-only: perhaps it is there */
    return path_refuse(disk->path, "made");
  disk->directory = open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (disk->directory < 0)
    return path_refuse(disk->path, "opened");
  return lock_take(disk);
}

kvs_status kvi_ssd_file_disk_open(const char *path, uint32_t depth, bool ring, struct kvi_ssd_disk **disk_p)
{
  struct kvi_ssd_file_disk *disk = calloc(1, sizeof(*disk));
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
