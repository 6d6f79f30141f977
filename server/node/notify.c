/* notify.c: sd_notify's protocol: one datagram to the socket that systemd names in the environment. */
#include "server/node/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

void kvi_notify(const char *state)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *path = getenv("NOTIFY_SOCKET");
  size_t length = path == NULL ? 0 : strlen(path);
  socklen_t size;
  int fd;

  if (length < 2 || length >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
    return;
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') /* an abstract socket */
    address.sun_path[0] = '\0';
  size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, size) < 0)
    kvi_log_warn("cannot tell systemd %s: %m", state);
  if (fd >= 0)
    close(fd);
}
