/* The fingerprint of a model file: what makes two files give the same KV for the same tokens. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gguf.h>

#include <kvasir/llama.h>

#include "base/digest.h"
#include "base/log.h"

/* Retrained weights differ nearly everywhere: some spots of each tensor tell them apart without reading
 * gigabytes. */
enum { SAMPLES = 16, SAMPLE_BYTES = 256 };

static void add_u64(kvi_sha256_ctx *hash, uint64_t value)
{
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++)
    bytes[i] = (uint8_t)(value >> (8 * i));
  kvi_sha256_update(hash, bytes, sizeof(bytes));
}

/* With its length, so that neighbours cannot trade bytes. */
static void add_text(kvi_sha256_ctx *hash, const char *text)
{
  add_u64(hash, strlen(text));
  kvi_sha256_update(hash, text, strlen(text));
}

static size_t scalar_size(enum gguf_type type)
{
  switch (type) {
  case GGUF_TYPE_UINT8:
  case GGUF_TYPE_INT8:
  case GGUF_TYPE_BOOL:
    return 1;
  case GGUF_TYPE_UINT16:
  case GGUF_TYPE_INT16:
    return 2;
  case GGUF_TYPE_UINT32:
  case GGUF_TYPE_INT32:
  case GGUF_TYPE_FLOAT32:
    return 4;
  case GGUF_TYPE_UINT64:
  case GGUF_TYPE_INT64:
  case GGUF_TYPE_FLOAT64:
    return 8;
  default:
    return 0;
  }
}

/* The model's parameters ("llama.rope.freq_base"): the same weights give other KV with others. Not names or
 * authors. */
static void add_parameters(kvi_sha256_ctx *hash, const struct gguf_context *file)
{
  const int64_t family_key = gguf_find_key(file, "general.architecture");
  if (family_key < 0 || gguf_get_kv_type(file, family_key) != GGUF_TYPE_STRING)
    return;
  const char *family = gguf_get_val_str(file, family_key);
  const size_t length = strlen(family);
  add_text(hash, family);
  for (int64_t i = 0; i < gguf_get_n_kv(file); i++) {
    const char *key = gguf_get_key(file, i);
    if (strncmp(key, family, length) != 0 || key[length] != '.')
      continue;
    const enum gguf_type type = gguf_get_kv_type(file, i);
    add_text(hash, key);
    add_u64(hash, type);
    if (type == GGUF_TYPE_STRING) {
      add_text(hash, gguf_get_val_str(file, i));
    } else if (type != GGUF_TYPE_ARRAY) {
      kvi_sha256_update(hash, gguf_get_val_data(file, i), scalar_size(type));
    } else if (scalar_size(gguf_get_arr_type(file, i)) != 0) {
      const size_t size = scalar_size(gguf_get_arr_type(file, i)) * gguf_get_arr_n(file, i);
      add_u64(hash, size);
      kvi_sha256_update(hash, gguf_get_arr_data(file, i), size);
    }
  }
}

static kvs_status add_samples(kvi_sha256_ctx *hash, int fd, uint64_t offset, uint64_t size)
{
  uint8_t bytes[SAMPLE_BYTES];
  const uint64_t length = size < SAMPLE_BYTES ? size : SAMPLE_BYTES;
  for (uint64_t i = 0; i < SAMPLES; i++) {
    const uint64_t at = offset + (size - length) / (SAMPLES - 1) * i;
    const ssize_t got = pread(fd, bytes, length, (off_t)at);
    if (got < 0)
      return KVS_ERR_IO;
    if ((uint64_t)got != length)
      return KVS_ERR_CORRUPT;
    kvi_sha256_update(hash, bytes, length);
  }
  return KVS_OK;
}

static kvs_status add_tensors(kvi_sha256_ctx *hash, const struct gguf_context *file, int fd)
{
  kvs_status status = KVS_OK;
  add_u64(hash, (uint64_t)gguf_get_n_tensors(file));
  for (int64_t i = 0; i < gguf_get_n_tensors(file) && status == KVS_OK; i++) {
    const int64_t *shape = gguf_get_tensor_ne(file, i);
    add_text(hash, gguf_get_tensor_name(file, i));
    add_u64(hash, gguf_get_tensor_type(file, i));
    for (int d = 0; d < GGML_MAX_DIMS; d++)
      add_u64(hash, (uint64_t)shape[d]);
    status = add_samples(hash, fd, gguf_get_data_offset(file) + gguf_get_tensor_offset(file, i),
                         gguf_get_tensor_size(file, i));
  }
  return status;
}

/* One file; *n_files_p is what its header says of how many the model was split into. */
static kvs_status add_file(kvi_sha256_ctx *hash, const char *path, uint32_t *n_files_p)
{
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return KVS_ERR_IO;
  kvs_status status = KVS_ERR_CORRUPT;
  struct gguf_context *file = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true});
  if (file == NULL)
    goto out;
  *n_files_p = 1;
  const int64_t split = gguf_find_key(file, "split.count");
  if (split >= 0 && gguf_get_kv_type(file, split) == GGUF_TYPE_UINT16 && gguf_get_val_u16(file, split) > 1)
    *n_files_p = gguf_get_val_u16(file, split);
  add_parameters(hash, file);
  status = add_tensors(hash, file, fd);
out:
  gguf_free(file);
  close(fd);
  return status;
}

/* name-00001-of-00003.gguf: its siblings. */
static kvs_status add_siblings(kvi_sha256_ctx *hash, const char *path, uint32_t n_files)
{
  char prefix[4096], sibling[4096];
  if (llama_split_prefix(prefix, sizeof(prefix), path, 0, (int32_t)n_files) <= 0)
    return KVS_ERR_CORRUPT;
  kvs_status status = KVS_OK;
  for (uint32_t i = 1; i < n_files && status == KVS_OK; i++) {
    uint32_t unused;
    llama_split_path(sibling, sizeof(sibling), prefix, (int32_t)i, (int32_t)n_files);
    status = add_file(hash, sibling, &unused);
  }
  return status;
}

kvs_status kvs_llama_fingerprint(const char *model_path, uint8_t weights[KVS_DIGEST_SIZE])
{
  if (model_path == NULL || weights == NULL)
    return KVS_ERR_INVALID;
  kvi_sha256_ctx hash;
  kvi_sha256_init(&hash);
  uint32_t n_files = 1;
  kvs_status status = add_file(&hash, model_path, &n_files);
  if (status == KVS_OK && n_files > 1)
    status = add_siblings(&hash, model_path, n_files);
  if (status != KVS_OK)
    return status;
  kvi_sha256_final(&hash, weights);
  return KVS_OK;
}
