/* unix_path.c: the place of the node's unix socket. */
#include "server/node/unix_path.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static kvs_status prepare_directory(const char *path, char *error, size_t error_size)
{
  char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
  const char *slash = strrchr(path, '/');
  size_t length = (size_t)(slash - path);

  if (length == 0)
    return KVS_OK; /* the root */
  memcpy(directory, path, length);
  directory[length] = '\0';
  if (mkdir(directory, 0750) != 0 && errno != EEXIST) {
    snprintf(error, error_size, "unix_socket: cannot create the directory %s: %s", directory,
             strerror(errno));
    return KVS_ERR_SYSTEM;
  }
  if (access(directory, W_OK | X_OK) != 0) {
    snprintf(error, error_size, "unix_socket: cannot make a socket in %s: %s", directory, strerror(errno));
    return KVS_ERR_SYSTEM;
  }
  return KVS_OK;
}

/* Whether somebody accepts there. Does not wait: a full backlog answers EAGAIN, which is somebody too. */
static bool is_alive(const char *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bool alive;

  if (fd < 0)
    return true;
  strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  alive = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 || errno != ECONNREFUSED;
  close(fd);
  return alive;
}

kvs_status kvi_unix_path_prepare(const char *path, char *error, size_t error_size)
{
  struct stat found;
  kvs_status status;

  if (path[0] != '/' || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
    snprintf(error, error_size, "unix_socket: %.120s is not an absolute path of at most 107 bytes", path);
    return KVS_ERR_SYSTEM;
  }
  status = prepare_directory(path, error, error_size);
  if (status != KVS_OK)
    return status;
  if (lstat(path, &found) != 0) {
    if (errno == ENOENT)
      return KVS_OK;
    snprintf(error, error_size, "unix_socket: %s: %s", path, strerror(errno));
    return KVS_ERR_SYSTEM;
  }
  if (!S_ISSOCK(found.st_mode)) {
    snprintf(error, error_size, "unix_socket: %s exists and is not a socket", path);
    return KVS_ERR_SYSTEM;
  }
  if (is_alive(path)) {
    snprintf(error, error_size, "unix_socket: %s is in use by another process", path);
    return KVS_ERR_SYSTEM;
  }
  if (unlink(path) != 0 && errno != ENOENT) {
    snprintf(error, error_size, "unix_socket: cannot replace the stale socket %s: %s", path, strerror(errno));
    return KVS_ERR_SYSTEM;
  }
  return KVS_OK;
}

struct kvi_unix_path_id kvi_unix_path_identify(const char *path)
{
  struct kvi_unix_path_id id = {0, 0};
  struct stat found;

  if (lstat(path, &found) == 0 && S_ISSOCK(found.st_mode)) {
    id.device = found.st_dev;
    id.inode = found.st_ino;
  }
  return id;
}

void kvi_unix_path_remove(const char *path, struct kvi_unix_path_id id)
{
  struct kvi_unix_path_id now = kvi_unix_path_identify(path);

  if (id.inode != 0 && now.inode == id.inode && now.device == id.device)
    unlink(path);
}
