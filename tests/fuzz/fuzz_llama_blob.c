/* Any bytes as a llama.cpp state blob: what is read must survive cutting and composing, bit for bit. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connector/llamacpp/state_blob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
  if (!holds)
    abort();
}

static void round_trip(const kvi_llama_blob *blob)
{
  const size_t chunk_size = (size_t)(blob->n_cell * blob->shape.token_bytes);
  uint8_t *chunk = malloc(chunk_size), *again = malloc(chunk_size);
  size_t size = 0;
  check(chunk != NULL && again != NULL);
  check(kvi_llama_blob_cut(blob, blob->first_pos, blob->n_cell, chunk, chunk_size) == KVS_OK);
  check(kvi_llama_compose_size(&blob->shape, blob->n_cell, &size) == KVS_OK);
  uint8_t *composed = malloc(size);
  check(composed != NULL);
  const uint8_t *chunks[] = {chunk};
  const kvs_status status = kvi_llama_compose(&blob->shape, blob->stream, 0, blob->first_pos, chunks, 1,
                                              blob->n_cell, composed, size);
  /* The one thing a readable blob may have that a composed one may not: positions up to the very last. */
  check(status == KVS_OK || blob->first_pos > INT32_MAX - (int32_t)blob->n_cell);
  if (status == KVS_OK) {
    kvi_llama_blob *second = NULL;
    check(kvi_llama_blob_read(composed, size, &second) == KVS_OK);
    check(kvi_llama_shape_fits(&second->shape, &blob->shape));
    check(kvi_llama_blob_cut(second, blob->first_pos, blob->n_cell, again, chunk_size) == KVS_OK);
    check(memcmp(chunk, again, chunk_size) == 0);
    kvi_llama_blob_free(second);
  }
  free(composed);
  free(again);
  free(chunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  kvi_llama_blob *blob = NULL;
  if (kvi_llama_blob_read(data, size, &blob) != KVS_OK) {
    check(blob == NULL);
    return 0;
  }
  if (blob->kind == KVI_LLAMA_BLOB_PLAIN)
    round_trip(blob);
  kvi_llama_blob_free(blob);
  return 0;
}
