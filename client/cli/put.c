/* client/cli/put.c: kvasirctl put. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"

/* Reads until the buffer is full or the file ends; -1 with errno. */
static ssize_t read_full(int fd, uint8_t *buffer, size_t size)
{
  size_t have = 0;

  while (have < size) {
    ssize_t n = read(fd, buffer + have, size - have);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -1;
    if (n == 0)
      break;
    have += (size_t)n;
  }
  return (ssize_t)have;
}

static int fail_put(const struct cli *cli, kvs_status status)
{
  if (status == KVS_ERR_UNREACHABLE || status == KVS_ERR_DEADLINE)
    return cli_fail(cli, "put", status);
  cli_fail(cli, "put", status);
  return CLI_ERROR;
}

/* The node's answer for n chunks: stored, or stored before. */
static int check_stored(const struct cli *cli, kvs_status status, const kvs_status *statuses, uint32_t n)
{
  if (status == KVS_OK)
    return CLI_OK;
  if (status == KVS_PARTIAL) {
    for (uint32_t i = 0; i < n; i++)
      if (statuses[i] != KVS_OK && statuses[i] != KVS_EXISTS)
        return fail_put(cli, statuses[i]);
  }
  return fail_put(cli, status);
}

/* Reads and puts the whole file, CLI_BATCH parts at a time. */
static int put_parts(struct cli *cli, kvsc_space *space, int fd, const char *path, uint64_t expected,
                     struct cli_manifest *manifest)
{
  uint8_t *buffer = malloc((size_t)CLI_BATCH * CLI_PART_BYTES);
  struct cli_progress progress;
  int code = CLI_OK;
  bool more = true;

  if (buffer == NULL)
    return cli_fail(cli, "put", KVS_ERR_NOMEM);
  cli_progress_start(&progress, path, expected);
  while (more && code == CLI_OK) {
    kvs_status statuses[CLI_BATCH] = {KVS_OK};
    kvsc_iov buffers[CLI_BATCH];
    kvsc_completion completion;
    uint32_t n = 0, first = manifest->n_parts;

    while (more && n < CLI_BATCH) {
      uint8_t *part = buffer + (size_t)n * CLI_PART_BYTES;
      ssize_t length = read_full(fd, part, CLI_PART_BYTES);

      if (length < 0) {
        fprintf(stderr, "kvasirctl: %s: %s\n", path, strerror(errno));
        code = CLI_ERROR;
        goto end;
      }
      more = length == (ssize_t)CLI_PART_BYTES;
      if (length == 0)
        break;
      if (manifest->n_parts == CLI_PARTS_MAX) {
        fprintf(stderr, "kvasirctl: %s is larger than 512 GiB, the most a file may have here\n", path);
        code = CLI_ERROR;
        goto end;
      }
      cli_part_key(part, (size_t)length, manifest->parts[manifest->n_parts++]);
      manifest->size += (uint64_t)length;
      buffers[n++] = (kvsc_iov){.base = part, .length = (size_t)length};
    }
    if (n > 0)
      code =
          check_stored(cli,
                       cli_move(cli, space, true, n, (const uint8_t(*)[CLI_KEY_SIZE])manifest->parts + first,
                                buffers, statuses, &completion),
                       statuses, n);
    cli_progress_at(&progress, manifest->size);
  }
end:
  cli_progress_end(&progress);
  free(buffer);
  return code;
}

/* Takes away what stood under the name; that there was nothing is fine. */
static kvs_status delete_name(struct cli *cli, kvsc_space *space, const uint8_t key[CLI_KEY_SIZE])
{
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = key, .unchained = 1};
  kvsc_completion completion;
  kvsc_op op;
  kvs_status status = kvsc_delete(space, &keys, NULL, &op);

  if (status == KVS_OK)
    status = cli_wait(cli, op, &completion);
  return status == KVS_MISS ? KVS_OK : status;
}

/* A name's manifest, in the place of an older one: chunks are immutable, so that is deleted first. */
static int put_manifest(struct cli *cli, kvsc_space *space, const char *name,
                        const struct cli_manifest *manifest)
{
  uint8_t keys[1][CLI_KEY_SIZE];
  kvs_status status, chunk_status = KVS_OK;
  kvsc_completion completion;
  kvsc_iov buffer;
  size_t length;

  cli_manifest_key(name, keys[0]);
  buffer.base = cli_manifest_write(manifest, &length);
  buffer.length = length;
  if (buffer.base == NULL)
    return cli_fail(cli, "put", KVS_ERR_NOMEM);
  status = delete_name(cli, space, keys[0]);
  if (status == KVS_OK)
    status = cli_move(cli, space, true, 1, (const uint8_t(*)[CLI_KEY_SIZE])keys, &buffer, &chunk_status,
                      &completion);
  free(buffer.base);
  if (status == KVS_OK && chunk_status == KVS_EXISTS) {
    fprintf(stderr, "kvasirctl: somebody else put '%s' at this moment, and theirs stands; put it again\n",
            name);
    return CLI_ERROR;
  }
  return status == KVS_OK ? CLI_OK : fail_put(cli, status);
}

static int put_file(struct cli *cli, const char *name, const char *path, int fd, uint64_t expected)
{
  struct cli_manifest manifest = {.part_bytes = CLI_PART_BYTES, .parts = calloc(CLI_PARTS_MAX, CLI_KEY_SIZE)};
  kvsc_space *space;
  char text[CLI_SIZE_TEXT];
  int code;

  if (manifest.parts == NULL)
    return cli_fail(cli, "put", KVS_ERR_NOMEM);
  code = cli_files_open(cli, &space);
  if (code == CLI_OK)
    code = put_parts(cli, space, fd, path, expected, &manifest);
  if (code == CLI_OK)
    code = put_manifest(cli, space, name, &manifest);
  if (code == CLI_OK && cli->json)
    printf("{\"bytes\":%" PRIu64 ",\"parts\":%u}\n", manifest.size, manifest.n_parts);
  else if (code == CLI_OK)
    printf("stored %s as '%s'\n", cli_size_text((double)manifest.size, text), name);
  free(manifest.parts);
  return code;
}

static int run(struct cli *cli, int n, char **arguments)
{
  const char *path = arguments[1];
  bool standard_input = strcmp(path, "-") == 0;
  int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  int code;

  (void)n;
  if (fd < 0 || fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
    fprintf(stderr, "kvasirctl: %s: %s\n", path, fd < 0 ? strerror(errno) : "is no file");
    code = CLI_ERROR;
  } else {
    code = cli_connect(cli);
    if (code == CLI_OK)
      code = put_file(cli, arguments[0], path, fd, S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0);
  }
  if (fd >= 0 && !standard_input)
    close(fd);
  return code;
}

const struct cli_command cli_put = {
    .name = "put",
    .arguments = "KEY FILE",
    .summary = "Store a file under a key",
    .details =
        "KEY is any text; what stood under it is replaced. FILE - is standard input.\n"
        "The file is cut into parts of 8 MiB, each a chunk; a cache may evict them like any other chunk.",
    .words = "@file",
    .options = cli_file_options,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
