/* client/cli/output_file.c: files that are whole or not there. Pipes and devices are written as they are. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"

bool cli_write_full(int fd, const void *bytes, size_t length)
{
  const uint8_t *at = bytes;

  while (length > 0) {
    ssize_t n = write(fd, at, length);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    at += n;
    length -= (size_t)n;
  }
  return true;
}

static int fail(const char *path, int error)
{
  fprintf(stderr, "kvasirctl: %s: %s\n", path, strerror(error));
  return CLI_ERROR;
}

/* A pipe or a device (/dev/null) cannot be replaced by a file, and must not be. */
static int open_special(struct cli_output *output)
{
  output->fd = open(output->path, O_WRONLY | O_CLOEXEC);
  return output->fd >= 0 ? CLI_OK : fail(output->path, errno);
}

int cli_output_begin(struct cli_output *output, const char *path)
{
  size_t size = strlen(path) + sizeof(".XXXXXX");
  struct stat info;
  mode_t mask;

  *output = (struct cli_output){.path = path, .fd = -1};
  if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
    return open_special(output);
  *output = (struct cli_output){.path = path, .scratch = malloc(size), .fd = -1};
  if (output->scratch == NULL)
    return fail(path, ENOMEM);
  snprintf(output->scratch, size, "%s.XXXXXX", path);
  output->fd = mkostemp(output->scratch, O_CLOEXEC);
  if (output->fd < 0)
    return fail(output->scratch, errno);
  mask = umask(0);
  umask(mask);
  (void)!fchmod(output->fd, 0666 & ~mask); /* as a file that was made in the usual way; 0600 is no harm */
  return CLI_OK;
}

int cli_output_write(struct cli_output *output, const void *bytes, size_t length)
{
  return cli_write_full(output->fd, bytes, length) ? CLI_OK : fail(output->path, errno);
}

int cli_output_end(struct cli_output *output, int code)
{
  /* Not descriptor 0 of an output that was never begun. */
  bool opened = output->path != NULL && output->fd >= 0, made = opened && output->scratch != NULL;

  if (opened &&
      (close(output->fd) != 0 || (made && code == CLI_OK && rename(output->scratch, output->path) != 0)))
    code = fail(output->path, errno);
  if (made && code != CLI_OK)
    unlink(output->scratch);
  free(output->scratch);
  *output = (struct cli_output){.fd = -1};
  return code;
}
