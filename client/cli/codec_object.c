/* client/cli/codec_object.c: objects in files and in memory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/codec.h"

static int read_all(const char *path, int fd, uint8_t *bytes, size_t size)
{
  size_t have = 0;

  while (have < size) {
    ssize_t n = read(fd, bytes + have, size - have);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return cli_codec_fail(path, "%s", strerror(errno));
    if (n == 0)
      return cli_codec_fail(path, "became shorter while it was read");
    have += (size_t)n;
  }
  return CLI_OK;
}

int cli_codec_file(const char *path, uint64_t max_bytes, uint8_t **bytes_p, size_t *size_p)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info = {.st_size = 0};
  int code = CLI_OK;

  *bytes_p = NULL;
  *size_p = 0;
  if (fd < 0 || fstat(fd, &info) != 0)
    code = cli_codec_fail(path, "%s", strerror(errno));
  else if (!S_ISREG(info.st_mode))
    code = cli_codec_fail(path, "is no file");
  else if (info.st_size == 0)
    code = cli_codec_fail(path, "is empty");
  else if ((uint64_t)info.st_size > max_bytes)
    code = cli_codec_fail(path, "has %" PRIu64 " bytes, more than the %" PRIu64 " that one object may have",
                          (uint64_t)info.st_size, max_bytes);
  else if ((*bytes_p = malloc((size_t)info.st_size)) == NULL)
    code = cli_codec_fail(path, "there is no memory for it");
  if (code == CLI_OK)
    code = read_all(path, fd, *bytes_p, (size_t)info.st_size);
  if (fd >= 0)
    close(fd);
  if (code == CLI_OK) {
    *size_p = (size_t)info.st_size;
    return CLI_OK;
  }
  free(*bytes_p);
  *bytes_p = NULL;
  return code;
}

/* Says in words why kvi_codec_open refused it. */
static int fail_open(const char *path, const uint8_t *bytes, size_t size, kvs_status status)
{
  uint32_t length;

  if (size < 8 || memcmp(bytes, "KVC1", 4) != 0)
    return cli_codec_fail(path, "is no KVC1 object");
  if (bytes[4] != KVI_CODEC_VERSION)
    return cli_codec_fail(path, "has version %u of KVC1, and this kvasirctl reads version %u: take %s one",
                          bytes[4], KVI_CODEC_VERSION, bytes[4] > KVI_CODEC_VERSION ? "a newer" : "an older");
  if (status == KVS_ERR_UNSUPPORTED)
    return cli_codec_fail(path, "has a level or dtype that this kvasirctl does not know: take a newer one");
  if (size < KVI_CODEC_HEADER_SIZE)
    return cli_codec_fail(path, "is cut within its header: %zu bytes are there, a header has at least %u",
                          size, KVI_CODEC_HEADER_SIZE);
  if (kvi_codec_header_length(bytes, &length) == KVS_OK && size < length)
    return cli_codec_fail(path, "is cut within its header: %zu bytes are there, the header has %" PRIu32,
                          size, length);
  return cli_codec_fail(path, "is damaged: its header does not fit its checksum, or says what cannot be");
}

int cli_codec_object_open(const char *path, struct cli_codec_object *object_p)
{
  kvs_status status;
  int code;

  memset(object_p, 0, sizeof *object_p);
  code = cli_codec_file(path, SIZE_MAX, &object_p->bytes, &object_p->size);
  if (code != CLI_OK)
    return code;
  status = kvi_codec_open(object_p->bytes, object_p->size, &object_p->object);
  if (status != KVS_OK) {
    code = fail_open(path, object_p->bytes, object_p->size, status);
    cli_codec_object_close(object_p);
    return code;
  }
  object_p->quality = kvi_codec_quality_in(&object_p->object, object_p->size);
  return CLI_OK;
}

void cli_codec_object_close(struct cli_codec_object *object)
{
  free(object->bytes);
  memset(object, 0, sizeof *object);
}

kvs_status cli_codec_coder_open(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                                struct cli_codec_coder *coder_p)
{
  size_t scratch_bytes;

  memset(coder_p, 0, sizeof *coder_p);
  if (kvi_codec_shape_check(shape) != KVS_OK)
    return KVS_ERR_INVALID;
  coder_p->shape = *shape;
  coder_p->options = *options;
  coder_p->room = (size_t)kvi_codec_bound(shape, options);
  scratch_bytes = kvi_codec_encode_scratch(shape, options);
  coder_p->scratch = aligned_alloc(64, (scratch_bytes + 64) / 64 * 64);
  coder_p->out = malloc(coder_p->room);
  if (coder_p->scratch != NULL && coder_p->out != NULL)
    return KVS_OK;
  cli_codec_coder_close(coder_p);
  return KVS_ERR_NOMEM;
}

kvs_status cli_codec_coder_encode(struct cli_codec_coder *coder, const uint8_t *raw)
{
  return kvi_codec_encode(&coder->shape, &coder->options, raw, coder->scratch, coder->out, coder->room,
                          &coder->length);
}

void cli_codec_coder_close(struct cli_codec_coder *coder)
{
  free(coder->scratch);
  free(coder->out);
  memset(coder, 0, sizeof *coder);
}
