#include "tiers/remember_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static kvs_status bytes_read(int fd, uint8_t *bytes, size_t length)
{
  for (size_t at = 0; at < length;) {
    ssize_t n = read(fd, bytes + at, length - at);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return KVS_ERR_IO; /* it shrinks while it is read: somebody else's */
    at += (size_t)n;
  }
  return KVS_OK;
}

kvs_status kvi_remember_file_read(const char *path, size_t most, uint8_t **bytes_p, size_t *length_p,
                                  bool *open_p)
{
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  kvs_status status = KVS_OK;
  struct stat stat;
  int error;

  *bytes_p = NULL;
  *length_p = 0;
  *open_p = false;
  if (fd < 0)
    return errno == ENOENT || errno == ENOTDIR ? KVS_MISS : errno == ELOOP ? KVS_ERR_INVALID : KVS_ERR_IO;
  if (fstat(fd, &stat) != 0)
    status = KVS_ERR_IO;
  else if (!S_ISREG(stat.st_mode)) {
    status = KVS_ERR_INVALID;
    errno = S_ISDIR(stat.st_mode) ? EISDIR : 0;
  } else if (stat.st_uid != geteuid())
    status = KVS_ERR_DENIED;
  else if ((uint64_t)stat.st_size > most)
    status = KVS_ERR_TOO_LARGE;
  if (status == KVS_OK) {
    *open_p = (stat.st_mode & 077) != 0;
    *length_p = (size_t)stat.st_size;
    *bytes_p = malloc(*length_p + 1);
    status = *bytes_p ? bytes_read(fd, *bytes_p, *length_p) : KVS_ERR_NOMEM;
  }
  if (status != KVS_OK) {
    free(*bytes_p);
    *bytes_p = NULL;
  }
  error = errno;
  close(fd);
  errno = error;
  return status;
}

static bool bytes_write(int fd, const uint8_t *bytes, size_t length)
{
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return false;
    bytes += n;
    length -= (size_t)n;
  }
  return true;
}

/* The folder of a path; *name_p: what follows. */
static int folder_open(const char *path, const char **name_p)
{
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  char folder[PATH_MAX];

  *name_p = slash ? slash + 1 : path;
  if (length >= sizeof(folder)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(folder, path, length);
  folder[length] = '\0';
  return open(!slash ? "." : length == 0 ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool name_add(char with[NAME_MAX + 1], const char *name, const char *end)
{
  if (snprintf(with, NAME_MAX + 1, "%s%s", name, end) <= NAME_MAX)
    return true;
  errno = ENAMETOOLONG;
  return false;
}

kvs_status kvi_remember_file_lock(const char *path, int *fd_p)
{
  char lock[NAME_MAX + 1];
  const char *name;
  int folder = folder_open(path, &name), fd = -1, error;
  kvs_status status = KVS_ERR_IO;

  *fd_p = -1;
  if (folder < 0)
    return KVS_ERR_IO;
  if (name_add(lock, name, ".lock"))
    fd = openat(folder, lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
    status = KVS_OK;
  else if (fd >= 0 && errno == EWOULDBLOCK)
    status = KVS_ERR_BUSY;
  error = errno;
  close(folder);
  if (status == KVS_OK)
    *fd_p = fd;
  else if (fd >= 0)
    close(fd);
  errno = error;
  return status;
}

static bool new_write(int folder, const char *name, const uint8_t *bytes, size_t length)
{
  int fd, error;
  bool good;

  (void)unlinkat(folder, name, 0); /* what a crash has left, with whatever mode */
  fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return false;
  good = bytes_write(fd, bytes, length) && fsync(fd) == 0;
  error = errno;
  good = close(fd) == 0 && good;
  errno = error;
  return good;
}

kvs_status kvi_remember_file_write(const char *path, const uint8_t *bytes, size_t length)
{
  char fresh[NAME_MAX + 1];
  const char *name;
  int folder = folder_open(path, &name), error;
  bool good;

  if (folder < 0)
    return KVS_ERR_IO;
  good = name_add(fresh, name, ".new") && new_write(folder, fresh, bytes, length) &&
         renameat(folder, fresh, folder, name) == 0;
  error = errno;
  if (!good)
    (void)unlinkat(folder, fresh, 0);
  else if (fsync(folder) != 0) {
    error = errno;
    good = false;
  }
  close(folder);
  errno = error;
  return good ? KVS_OK : KVS_ERR_IO;
}

kvs_status kvi_remember_file_aside(const char *path)
{
  char aside[NAME_MAX + 1];
  const char *name;
  int folder = folder_open(path, &name);
  bool good;

  if (folder < 0)
    return KVS_ERR_IO;
  good = name_add(aside, name, ".aside") && renameat(folder, name, folder, aside) == 0;
  close(folder);
  return good ? KVS_OK : KVS_ERR_IO;
}
