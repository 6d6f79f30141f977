/* connector/region.c: the engine's memory, and the scatter lists of chunks that lie in it. */
#include "connector/connector_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/thread.h"
#include "proto/limits.h"

static bool region_is_sound(const kvs_region *region)
{
  size_t end;

  if (region->base == NULL || region->size == 0 || region->stride < region->size || region->n_slots == 0)
    return false;
  /* [base, base + stride * (n_slots - 1) + size) must not wrap. */
  return kvi_size_mul(region->stride, region->n_slots - 1, &end) && kvi_size_add(end, region->size, &end) &&
         kvi_size_add((uintptr_t)region->base, end, &end);
}

static kvs_status check_regions(const kvs_region *regions, size_t n_regions)
{
  if (regions == NULL || n_regions == 0 || n_regions > KVI_CONNECTOR_REGIONS_MAX)
    return KVS_ERR_INVALID;
  for (size_t i = 0; i < n_regions; i++) {
    if (!region_is_sound(&regions[i]) || (i > 0 && regions[i].layer < regions[i - 1].layer))
      return KVS_ERR_INVALID;
  }
  return KVS_OK;
}

kvs_status kvs_memory_register(kvs_connector *connector, const kvs_region *regions, size_t n_regions,
                               kvs_memory **memory_p)
{
  kvs_memory *memory;
  kvs_status status;

  if (memory_p == NULL)
    return KVS_ERR_INVALID;
  *memory_p = NULL;
  if (connector == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(connector->pid))
    return KVS_ERR_FORKED;
  status = check_regions(regions, n_regions);
  if (status != KVS_OK)
    return status;

  memory = calloc(1, sizeof(*memory) + n_regions * sizeof(*regions));
  if (memory == NULL)
    return KVS_ERR_NOMEM;
  memory->connector = connector;
  memory->n_regions = (uint32_t)n_regions;
  memory->n_slots = UINT32_MAX;
  memcpy(memory->regions, regions, n_regions * sizeof(*regions));
  for (size_t i = 0; i < n_regions; i++) {
    if (regions[i].n_slots < memory->n_slots)
      memory->n_slots = regions[i].n_slots;
    /* A sum that wraps is far above any chunk: keep it at the top, and every request is too large. */
    if (__builtin_add_overflow(memory->slot_bytes, regions[i].size, &memory->slot_bytes))
      memory->slot_bytes = UINT64_MAX;
  }
  pthread_mutex_lock(&connector->mutex);
  kvi_list_push_back(&connector->memories, &memory->node);
  pthread_mutex_unlock(&connector->mutex);
  *memory_p = memory;
  return KVS_OK;
}

kvs_status kvs_memory_unregister(kvs_memory *memory)
{
  kvs_connector *connector;
  bool busy;

  if (memory == NULL)
    return KVS_OK;
  connector = memory->connector;
  if (kvi_forked(connector->pid))
    return KVS_ERR_FORKED;
  pthread_mutex_lock(&connector->mutex);
  busy = memory->users > 0;
  if (!busy)
    kvi_list_remove(&connector->memories, &memory->node);
  pthread_mutex_unlock(&connector->mutex);
  if (busy)
    return KVS_ERR_BUSY;
  free(memory);
  return KVS_OK;
}

uint64_t kvi_connector_memory_bytes_of_layer(const kvs_memory *memory, uint32_t layer)
{
  uint64_t bytes = 0;
  uint32_t i = 0;

  /* At most 4096 steps, and an engine's tables are far shorter. What wraps has no operations, see above. */
  for (; i < memory->n_regions && memory->regions[i].layer <= layer; i++)
    bytes += memory->regions[i].size;
  return i > 0 && memory->regions[i - 1].layer == layer ? bytes : 0;
}

kvs_status kvi_connector_scatter_check(const struct kvi_connector_scatter *scatter)
{
  const kvs_memory *memory = scatter->memory;
  size_t n_slots, places, bytes;

  if (scatter->slots == NULL || scatter->slots_per_chunk == 0)
    return KVS_ERR_INVALID;
  if (!kvi_size_mul(scatter->n_chunks, scatter->slots_per_chunk, &n_slots) ||
      !kvi_size_mul(n_slots, memory->n_regions, &places) || places > KVI_CONNECTOR_PLACES_MAX)
    return KVS_ERR_TOO_LARGE;
  if (!kvi_size_mul(memory->slot_bytes, scatter->slots_per_chunk, &bytes) || bytes > KVI_CHUNK_BYTES_MAX)
    return KVS_ERR_TOO_LARGE;
  for (size_t i = 0; i < n_slots; i++) {
    if (scatter->slots[i] == -1 ? !scatter->holes
                                : scatter->slots[i] < 0 || scatter->slots[i] >= (int64_t)memory->n_slots)
      return KVS_ERR_INVALID;
  }
  return KVS_OK;
}

uint64_t kvi_connector_scatter_chunk_bytes(const struct kvi_connector_scatter *scatter)
{
  return scatter->memory->slot_bytes * scatter->slots_per_chunk;
}

/* A list under construction; iov NULL: only its length is wanted. */
struct scatter_writer {
  kvsc_iov *iov;
  uint32_t n;
  char *end;     /* of the last place; NULL: a hole */
  size_t length; /* of the last place */
};

static void add_place(struct scatter_writer *writer, char *base, size_t length)
{
  /* Two holes in a row are one, two places that touch are one. */
  bool joined = writer->n > 0 && base == writer->end;

  writer->length = joined ? writer->length + length : length;
  writer->n += joined ? 0 : 1;
  writer->end = base == NULL ? NULL : base + length;
  if (writer->iov == NULL)
    return;
  if (!joined)
    writer->iov[writer->n - 1].base = base;
  writer->iov[writer->n - 1].length = writer->length;
}

uint32_t kvi_connector_scatter_chunk(const struct kvi_connector_scatter *scatter, uint32_t chunk,
                                     kvsc_iov *iov)
{
  const int64_t *slots = scatter->slots + (size_t)chunk * scatter->slots_per_chunk;
  struct scatter_writer writer = {.iov = iov};

  for (uint32_t r = 0; r < scatter->memory->n_regions; r++) {
    const kvs_region *region = &scatter->memory->regions[r];

    for (uint32_t i = 0; i < scatter->slots_per_chunk; i++) {
      char *base = slots[i] < 0 ? NULL : (char *)region->base + region->stride * (uint64_t)slots[i];

      add_place(&writer, base, region->size);
    }
  }
  return writer.n;
}
