/* tiers/ssd/disk_files.c: the log files of a directory: made, reserved, removed, punched. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "base/log.h"
#include "tiers/ssd/file_disk_private.h"
#include "tiers/ssd/format.h"

#define NAME_MAX_BYTES 32u
#define FILES_LIMIT    (1u << 20)

static void name_write(uint32_t number, char name[NAME_MAX_BYTES])
{
  snprintf(name, NAME_MAX_BYTES, "log-%05u.kvl", number);
}

static kvs_status fds_grow(struct kvi_ssd_file_disk *disk, uint32_t number)
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
static kvs_status reserve(struct kvi_ssd_file_disk *disk, int fd, const char *name, uint64_t bytes,
                          bool *fresh_p)
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

kvs_status kvi_ssd_disk_file_open(struct kvi_ssd_disk *base, uint32_t number, uint64_t bytes, bool *fresh_p)
{
  struct kvi_ssd_file_disk *disk = kvi_ssd_file_disk_of(base);
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

/* Whether the next version of this program, or an older one, has written it. One that cannot be read is recovery's to deal with. */
static kvs_status version_look(const struct kvi_ssd_file_disk *disk, uint32_t number, const char *name)
{
  uint8_t block[KVI_SSD_BLOCK];
  struct kvi_ssd_header header;
  uint32_t version;
  int fd = openat(disk->directory, name, O_RDONLY | O_CLOEXEC);
  bool known = fd < 0 || pread(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block) ||
               kvi_ssd_header_read(block, &header, &version) != KVS_ERR_VERSION;

  if (fd >= 0)
    close(fd);
  if (!known)
    kvi_log_error(KVI_SSD_VERSION_TEXT, disk->path, number, version, KVI_SSD_VERSION);
  return known ? KVS_OK : KVS_ERR_VERSION;
}

static kvs_status unneeded_remove(const struct kvi_ssd_file_disk *disk, uint32_t number, const char *name,
                                  uint32_t n_files, uint32_t *removed)
{
  if (number < n_files)
    return KVS_OK;
  if (unlinkat(disk->directory, name, 0) != 0) {
    kvi_log_error("%s/%s: cannot be removed: %m", disk->path, name);
    return KVS_ERR_IO;
  }
  ++*removed;
  return KVS_OK;
}

/* All log files of the directory: are they of this version? With `removed`: those of n_files and above go. */
static kvs_status files_visit(const struct kvi_ssd_file_disk *disk, DIR *listing, uint32_t n_files,
                              uint32_t *removed)
{
  const struct dirent *entry;
  kvs_status status = KVS_OK;

  rewinddir(listing);
  while (status == KVS_OK && (entry = readdir(listing)) != NULL) {
    char name[NAME_MAX_BYTES];
    unsigned number;

    /* NOLINTNEXTLINE(cert-err34-c): whatever it makes of it, the name is compared below */
    if (sscanf(entry->d_name, "log-%u.kvl", &number) != 1)
      continue;
    name_write(number, name);
    if (strcmp(name, entry->d_name) != 0)
      continue;
    status =
        removed ? unneeded_remove(disk, number, name, n_files, removed) : version_look(disk, number, name);
  }
  return status;
}

kvs_status kvi_ssd_disk_files_trim(struct kvi_ssd_disk *base, uint32_t n_files)
{
  struct kvi_ssd_file_disk *disk = kvi_ssd_file_disk_of(base);
  int fd = dup(disk->directory);
  DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
  uint32_t removed = 0;
  kvs_status status;

  if (!listing) {
    kvi_log_error("%s: cannot be listed: %m", disk->path);
    if (fd >= 0)
      close(fd);
    return KVS_ERR_IO;
  }
  status = files_visit(disk, listing, n_files, NULL);
  if (status == KVS_OK)
    status = files_visit(disk, listing, n_files, &removed);
  closedir(listing);
  if (removed > 0)
    kvi_log_warn("%s: %u log files beyond the configured size were removed, and the deletions in them: "
                 "deleted chunks of the others may come back",
                 disk->path, removed);
  return status;
}

void kvi_ssd_disk_file_discard(struct kvi_ssd_disk *base, uint32_t number, uint64_t bytes)
{
  struct kvi_ssd_file_disk *disk = kvi_ssd_file_disk_of(base);
  int fd = disk->fds[number];

  /* advice: where it is refused the bytes stay, and are overwritten */
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0)
    (void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
}

/* What is reserved and was not written since is a hole to readers. */
uint64_t kvi_ssd_disk_file_data(struct kvi_ssd_disk *base, uint32_t number, uint64_t at)
{
  off_t data = lseek(kvi_ssd_file_disk_of(base)->fds[number], (off_t)at, SEEK_DATA);

  if (data >= 0)
    return (uint64_t)data;
  return errno == ENXIO ? UINT64_MAX : at; /* a file system that cannot tell */
}
