#include "tests/bench/codec/set.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/tensor_file.h"

#define FILE_BYTES_MAX ((size_t)4 << 30)

bool codec_set_allocate(struct codec_set *set)
{
  size_t queries = (size_t)set->n_chunks * set->n_layers * set->n_queries * set->query_heads * set->dim;

  set->kv = calloc(set->n_chunks * codec_set_chunk(set), sizeof *set->kv);
  set->queries = calloc(queries > 0 ? queries : 1, sizeof *set->queries);
  if (set->kv != NULL && set->queries != NULL)
    return true;
  codec_set_free(set);
  return false;
}

void codec_set_free(struct codec_set *set)
{
  free(set->kv);
  free(set->queries);
  set->kv = NULL;
  set->queries = NULL;
}

/* ---- files ---- */

static const char *const endings[] = {"-k.npy", "-k.npy.zst"};

static int compare_names(const void *a, const void *b)
{
  return strcmp(a, b);
}

int codec_set_names(const char *folder, char (*names)[CODEC_NAME_MAX], int room)
{
  DIR *directory = opendir(folder);
  struct dirent *entry;
  int n = 0;

  if (directory == NULL) {
    fprintf(stderr, "kvasir-bench: %s: %s\n", folder, strerror(errno));
    return -1;
  }
  while ((entry = readdir(directory)) != NULL && n < room) {
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
      size_t length = strlen(entry->d_name);
      size_t end = strlen(endings[i]);

      if (length <= end || length - end >= CODEC_NAME_MAX ||
          strcmp(entry->d_name + length - end, endings[i]) != 0)
        continue;
      memcpy(names[n], entry->d_name, length - end);
      names[n++][length - end] = '\0';
    }
  }
  closedir(directory);
  qsort(names, (size_t)n, sizeof names[0], compare_names);
  return n;
}

static kvs_status read_one(const char *folder, const char *name, char letter, struct kvi_tensor_file *file)
{
  char path[4096];
  char why[KVI_TENSOR_WHY_SIZE];
  kvs_status status;

  snprintf(path, sizeof path, "%s/%s-%c.npy", folder, name, letter);
  if (access(path, R_OK) != 0)
    snprintf(path, sizeof path, "%s/%s-%c.npy.zst", folder, name, letter);
  status = kvi_tensor_file_open(path, FILE_BYTES_MAX, file, why);
  if (status != KVS_OK)
    fprintf(stderr, "kvasir-bench: %s: %s\n", path, why);
  return status;
}

static bool fits(const struct kvi_tensor_file *k, const struct kvi_tensor_file *v,
                 const struct kvi_tensor_file *q)
{
  const struct kvi_tensor_file *files[] = {k, v, q};

  for (size_t i = 0; i < 3; i++) {
    if (files[i]->kind != KVI_TENSOR_UNSIGNED || files[i]->element_bits != 16 || files[i]->n_dims != 5)
      return false;
    for (uint32_t d = 0; d < 5; d++)
      if (files[i]->dims[d] > 65535)
        return false;
  }
  return memcmp(k->dims, v->dims, sizeof k->dims) == 0 && k->dims[0] == q->dims[0] &&
         k->dims[1] == q->dims[1] && k->dims[4] == q->dims[4] && q->dims[3] % k->dims[3] == 0;
}

/* Keys and values of a layer lie behind each other in a chunk. */
static void interleave(struct codec_set *set, const uint16_t *keys, const uint16_t *values)
{
  size_t plane = codec_set_plane(set);

  for (size_t i = 0; i < (size_t)set->n_chunks * set->n_layers; i++) {
    memcpy(set->kv + 2 * i * plane, keys + i * plane, plane * sizeof *keys);
    memcpy(set->kv + (2 * i + 1) * plane, values + i * plane, plane * sizeof *values);
  }
}

static kvs_status assemble(const struct kvi_tensor_file *k, const struct kvi_tensor_file *v,
                           const struct kvi_tensor_file *q, struct codec_set *set)
{
  set->n_chunks = (uint32_t)k->dims[0];
  set->n_layers = (uint32_t)k->dims[1];
  set->n_tokens = (uint32_t)k->dims[2];
  set->n_heads = (uint32_t)k->dims[3];
  set->dim = (uint32_t)k->dims[4];
  set->n_queries = (uint32_t)q->dims[2];
  set->query_heads = (uint32_t)q->dims[3];
  if (!codec_set_allocate(set))
    return KVS_ERR_NOMEM;
  interleave(set, k->data, v->data);
  memcpy(set->queries, q->data, q->bytes);
  return KVS_OK;
}

kvs_status codec_set_read(const char *folder, const char *name, struct codec_set *set_p)
{
  struct kvi_tensor_file k = {0}, v = {0}, q = {0};
  kvs_status status;

  memset(set_p, 0, sizeof *set_p);
  snprintf(set_p->name, sizeof set_p->name, "%s", name);
  status = read_one(folder, name, 'k', &k);
  if (status == KVS_OK)
    status = read_one(folder, name, 'v', &v);
  if (status == KVS_OK)
    status = read_one(folder, name, 'q', &q);
  if (status == KVS_OK && !fits(&k, &v, &q)) {
    fprintf(stderr, "kvasir-bench: %s/%s: keys, values and queries do not fit each other\n", folder, name);
    status = KVS_ERR_INVALID;
  }
  if (status == KVS_OK)
    status = assemble(&k, &v, &q, set_p);
  kvi_tensor_file_close(&k);
  kvi_tensor_file_close(&v);
  kvi_tensor_file_close(&q);
  return status;
}
