/* client/cli/files.c: files as chunks: their space, their keys, their manifest. */
#include "client/cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

static const char *space_name = "files";
static const char *revision = "";

const struct cli_option cli_file_options[] = {
    {'s', "space", "NAME", "a namespace of its own for such files (default files)", CLI_TEXT, &space_name},
    {'r', "revision", "TEXT", "tells spaces of one name apart", CLI_TEXT, &revision},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

int cli_files_open(struct cli *cli, kvsc_space **space_p)
{
  const kvs_space_desc desc = {.struct_size = sizeof(desc),
                               .model = space_name,
                               .revision = revision,
                               .engine = "kvasirctl",
                               .layout = KVS_LAYOUT_OPAQUE,
                               .tokens_per_chunk = 1,
                               .hash = KVS_HASH_OPAQUE,
                               .key_length = CLI_KEY_SIZE};
  kvs_status status = kvsc_space_open(cli->client, &desc, space_p);

  if (status != KVS_OK)
    return cli_fail(cli, "space of the files", status);
  return CLI_OK;
}

/* Two kinds of keys in one space: the first byte that is hashed keeps them apart. */
static void make_key(char kind, const void *bytes, size_t length, uint8_t key[CLI_KEY_SIZE])
{
  kvi_sha256_ctx sha;

  kvi_sha256_init(&sha);
  kvi_sha256_update(&sha, &kind, 1);
  kvi_sha256_update(&sha, bytes, length);
  kvi_sha256_final(&sha, key);
}

void cli_manifest_key(const char *name, uint8_t key[CLI_KEY_SIZE])
{
  make_key('m', name, strlen(name), key);
}

void cli_part_key(const void *bytes, size_t length, uint8_t key[CLI_KEY_SIZE])
{
  make_key('p', bytes, length, key);
}

/*  0 "KVFILE1\n"   8 u64 size   16 u32 bytes of a part   20 u32 parts   24 their keys; little-endian */
static const char magic[8] = {'K', 'V', 'F', 'I', 'L', 'E', '1', '\n'};

static void put_le(uint8_t *out, uint64_t value, size_t n)
{
  for (size_t i = 0; i < n; i++)
    out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *in, size_t n)
{
  uint64_t value = 0;

  for (size_t i = 0; i < n; i++)
    value |= (uint64_t)in[i] << (8 * i);
  return value;
}

uint8_t *cli_manifest_write(const struct cli_manifest *manifest, size_t *length_p)
{
  size_t length = CLI_MANIFEST_HEAD + (size_t)manifest->n_parts * CLI_KEY_SIZE;
  uint8_t *bytes = malloc(length);

  if (bytes == NULL)
    return NULL;
  memcpy(bytes, magic, sizeof(magic));
  put_le(bytes + 8, manifest->size, 8);
  put_le(bytes + 16, manifest->part_bytes, 4);
  put_le(bytes + 20, manifest->n_parts, 4);
  if (manifest->n_parts > 0)
    memcpy(bytes + CLI_MANIFEST_HEAD, manifest->parts, length - CLI_MANIFEST_HEAD);
  *length_p = length;
  return bytes;
}

bool cli_manifest_read(const uint8_t *bytes, size_t length, struct cli_manifest *manifest_p)
{
  struct cli_manifest manifest = {0};

  if (length < CLI_MANIFEST_HEAD || memcmp(bytes, magic, sizeof(magic)) != 0)
    return false;
  manifest.size = get_le(bytes + 8, 8);
  manifest.part_bytes = (uint32_t)get_le(bytes + 16, 4);
  manifest.n_parts = (uint32_t)get_le(bytes + 20, 4);
  if (manifest.n_parts > CLI_PARTS_MAX || manifest.part_bytes == 0 || manifest.part_bytes > CLI_PART_BYTES ||
      length != CLI_MANIFEST_HEAD + (size_t)manifest.n_parts * CLI_KEY_SIZE)
    return false;
  if (manifest.size > (uint64_t)manifest.n_parts * manifest.part_bytes ||
      (manifest.size + manifest.part_bytes - 1) / manifest.part_bytes != manifest.n_parts)
    return false;
  manifest.parts = malloc(length);
  if (manifest.parts == NULL)
    return false;
  memcpy(manifest.parts, bytes + CLI_MANIFEST_HEAD, length - CLI_MANIFEST_HEAD);
  *manifest_p = manifest;
  return true;
}

kvs_status cli_move(struct cli *cli, kvsc_space *space, bool put, uint32_t n,
                    const uint8_t (*keys)[CLI_KEY_SIZE], const kvsc_iov *buffers, kvs_status *statuses,
                    kvsc_completion *completion)
{
  const kvsc_keys list = {.struct_size = sizeof(list), .n = n, .keys = keys[0], .unchained = 1};
  const kvsc_call call = {.struct_size = sizeof(call), .statuses = statuses};
  kvsc_chunk chunks[CLI_BATCH];
  kvs_status status;
  kvsc_op op;

  for (uint32_t i = 0; i < n; i++)
    chunks[i] = (kvsc_chunk){.iov = &buffers[i], .n_iov = 1};
  status = put ? kvsc_put(space, &list, chunks, &call, &op) : kvsc_get(space, &list, chunks, &call, &op);
  if (status == KVS_OK)
    status = cli_wait(cli, op, completion);
  return status;
}
