/* client/cli/get.c: kvasirctl get. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"

static int fail_get(const struct cli *cli, const char *name, kvs_status status,
                    const kvsc_completion *completion)
{
  static const char *const causes[] = {
      "it was never stored, or so long ago that the node does not remember",
      "it was never stored, or so long ago that the node does not remember",
      "it was evicted",
      "it was deleted",
      "the node does not know this space",
      "its bytes did not fit their checksum and were dropped",
      "only a copy of lesser quality is there",
      "the node did not answer",
      "the tier that holds it failed, or took too long",
      "the node has this key in another space only",
      "it was evicted since its program has ended",
      "it was evicted since its tenant had more than it may have",
  };

  if (status != KVS_MISS && status != KVS_PARTIAL)
    return cli_fail(cli, "get", status);
  fprintf(stderr, "kvasirctl: '%s' is not (or not wholly) at %s: %s\n", name, cli->endpoint,
          (size_t)completion->cause < sizeof(causes) / sizeof(causes[0]) ? causes[completion->cause]
                                                                         : "a miss");
  return completion->cause == KVSC_CAUSE_NODE ? CLI_UNREACHABLE : CLI_MISS;
}

static int get_manifest(struct cli *cli, kvsc_space *space, const char *name, struct cli_manifest *manifest)
{
  const size_t room = CLI_MANIFEST_HEAD + (size_t)CLI_PARTS_MAX * CLI_KEY_SIZE;
  kvsc_iov buffer = {.base = malloc(room), .length = room};
  uint8_t keys[1][CLI_KEY_SIZE];
  kvsc_completion completion = {0};
  kvs_status status;
  int code = CLI_OK;

  if (buffer.base == NULL)
    return cli_fail(cli, "get", KVS_ERR_NOMEM);
  cli_manifest_key(name, keys[0]);
  status = cli_move(cli, space, false, 1, (const uint8_t(*)[CLI_KEY_SIZE])keys, &buffer, NULL, &completion);
  if (status != KVS_OK) {
    code = fail_get(cli, name, status, &completion);
  } else if (!cli_manifest_read(buffer.base, completion.bytes, manifest)) {
    fprintf(stderr, "kvasirctl: what stands under '%s' was not put there by 'kvasirctl put'\n", name);
    code = CLI_ERROR;
  }
  free(buffer.base);
  return code;
}

/* One batch of parts, checked against their keys and written. */
static int get_batch(struct cli *cli, kvsc_space *space, const char *name,
                     const struct cli_manifest *manifest, uint32_t first, uint8_t *buffer, int fd)
{
  uint32_t n = manifest->n_parts - first < CLI_BATCH ? manifest->n_parts - first : CLI_BATCH;
  kvsc_completion completion = {0};
  kvsc_iov buffers[CLI_BATCH];
  kvs_status status;

  for (uint32_t i = 0; i < n; i++) {
    uint64_t left = manifest->size - (uint64_t)(first + i) * manifest->part_bytes;

    buffers[i] = (kvsc_iov){.base = buffer + (size_t)i * CLI_PART_BYTES,
                            .length = left < manifest->part_bytes ? (size_t)left : manifest->part_bytes};
  }
  status = cli_move(cli, space, false, n, (const uint8_t(*)[CLI_KEY_SIZE])manifest->parts + first, buffers,
                    NULL, &completion);
  if (status != KVS_OK)
    return fail_get(cli, name, status, &completion);
  for (uint32_t i = 0; i < n; i++) {
    uint8_t key[CLI_KEY_SIZE];

    cli_part_key(buffers[i].base, buffers[i].length, key);
    if (memcmp(key, manifest->parts[first + i], sizeof(key)) != 0) {
      fprintf(stderr, "kvasirctl: part %u of '%s' is not what was put\n", first + i, name);
      return CLI_ERROR;
    }
    if (!cli_write_full(fd, buffers[i].base, buffers[i].length)) {
      fprintf(stderr, "kvasirctl: cannot write: %s\n", strerror(errno));
      return CLI_ERROR;
    }
  }
  return CLI_OK;
}

static int get_parts(struct cli *cli, kvsc_space *space, const char *name,
                     const struct cli_manifest *manifest, int fd)
{
  uint8_t *buffer = malloc((size_t)CLI_BATCH * CLI_PART_BYTES);
  struct cli_progress progress;
  int code = CLI_OK;

  if (buffer == NULL)
    return cli_fail(cli, "get", KVS_ERR_NOMEM);
  cli_progress_start(&progress, name, manifest->size);
  for (uint32_t first = 0; first < manifest->n_parts && code == CLI_OK; first += CLI_BATCH) {
    code = get_batch(cli, space, name, manifest, first, buffer, fd);
    cli_progress_at(&progress, (uint64_t)(first + CLI_BATCH) * manifest->part_bytes < manifest->size
                                   ? (uint64_t)(first + CLI_BATCH) * manifest->part_bytes
                                   : manifest->size);
  }
  cli_progress_end(&progress);
  free(buffer);
  return code;
}

/* A miss half way leaves the target alone. */
static int get_into_file(struct cli *cli, kvsc_space *space, const char *name,
                         const struct cli_manifest *manifest, const char *path)
{
  struct cli_output output;
  int code = cli_output_begin(&output, path);

  if (code == CLI_OK)
    code = get_parts(cli, space, name, manifest, output.fd);
  return cli_output_end(&output, code);
}

static int run(struct cli *cli, int n, char **arguments)
{
  bool standard_output = strcmp(arguments[1], "-") == 0;
  struct cli_manifest manifest = {0};
  char text[CLI_SIZE_TEXT];
  kvsc_space *space;
  int code = cli_connect(cli);

  (void)n;
  if (code == CLI_OK)
    code = cli_files_open(cli, &space);
  if (code == CLI_OK)
    code = get_manifest(cli, space, arguments[0], &manifest);
  if (code != CLI_OK)
    return code;
  code = standard_output ? get_parts(cli, space, arguments[0], &manifest, STDOUT_FILENO)
                         : get_into_file(cli, space, arguments[0], &manifest, arguments[1]);
  if (code == CLI_OK && !standard_output && cli->json)
    printf("{\"bytes\":%" PRIu64 ",\"parts\":%u}\n", manifest.size, manifest.n_parts);
  else if (code == CLI_OK && !standard_output)
    printf("read %s into %s\n", cli_size_text((double)manifest.size, text), arguments[1]);
  free(manifest.parts);
  return code;
}

const struct cli_command cli_get = {
    .name = "get",
    .arguments = "KEY FILE",
    .summary = "Read what was put under a key into a file",
    .details =
        "FILE - is standard output. What is written was checked against its checksums and its SHA-256.",
    .words = "@file",
    .options = cli_file_options,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
