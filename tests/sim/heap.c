#include "tests/sim/heap.h"

#include <stdlib.h>
#include <string.h>

#include "client/traces/trace.h"

struct entry {
  double number;
  uint64_t order; /* in which they were put in */
  uint32_t chunk;
};

struct sim_heap {
  struct entry *entries;
  uint32_t *place; /* by chunk; SIM_NONE: not in */
  uint32_t n;
  bool shares; /* the places are another's */
  uint64_t puts;
};

kvs_status sim_heap_create(uint32_t chunks, struct sim_heap **heap_p)
{
  struct sim_heap *heap = calloc(1, sizeof *heap);

  *heap_p = NULL;
  if (!heap)
    return KVS_ERR_NOMEM;
  heap->entries = malloc(((size_t)chunks + 1) * sizeof *heap->entries);
  heap->place = malloc(((size_t)chunks + 1) * sizeof *heap->place);
  if (!heap->entries || !heap->place) {
    sim_heap_destroy(heap);
    return KVS_ERR_NOMEM;
  }
  memset(heap->place, 0xff, chunks * sizeof *heap->place);
  *heap_p = heap;
  return KVS_OK;
}

kvs_status sim_heap_create_sharing(const struct sim_heap *with, uint32_t room, struct sim_heap **heap_p)
{
  struct sim_heap *heap = calloc(1, sizeof *heap);

  *heap_p = NULL;
  if (!heap)
    return KVS_ERR_NOMEM;
  heap->shares = true;
  heap->place = with->place;
  heap->entries = malloc(((size_t)room + 1) * sizeof *heap->entries);
  if (!heap->entries) {
    sim_heap_destroy(heap);
    return KVS_ERR_NOMEM;
  }
  *heap_p = heap;
  return KVS_OK;
}

void sim_heap_destroy(struct sim_heap *heap)
{
  if (!heap)
    return;
  free(heap->entries);
  if (!heap->shares)
    free(heap->place);
  free(heap);
}

static bool before(const struct entry *a, const struct entry *b)
{
  return a->number < b->number || (a->number == b->number && a->order < b->order);
}

static void set(struct sim_heap *heap, uint32_t at, struct entry entry)
{
  heap->entries[at] = entry;
  heap->place[entry.chunk] = at;
}

/* Brings the entry to where it belongs, from the free place `at`. */
static void settle(struct sim_heap *heap, uint32_t at, struct entry entry)
{
  while (at > 0 && before(&entry, &heap->entries[(at - 1) / 2])) {
    set(heap, at, heap->entries[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  for (;;) {
    uint32_t child = 2 * at + 1;

    if (child + 1 < heap->n && before(&heap->entries[child + 1], &heap->entries[child]))
      child++;
    if (child >= heap->n || !before(&heap->entries[child], &entry))
      break;
    set(heap, at, heap->entries[child]);
    at = child;
  }
  set(heap, at, entry);
}

void sim_heap_put(struct sim_heap *heap, uint32_t chunk, double number)
{
  uint32_t at = heap->place[chunk];

  if (at == SIM_NONE)
    at = heap->n++;
  settle(heap, at, (struct entry){.number = number, .order = heap->puts++, .chunk = chunk});
}

void sim_heap_remove(struct sim_heap *heap, uint32_t chunk)
{
  uint32_t at = heap->place[chunk];

  if (at == SIM_NONE)
    return;
  heap->place[chunk] = SIM_NONE;
  if (at != --heap->n)
    settle(heap, at, heap->entries[heap->n]);
}

bool sim_heap_has(const struct sim_heap *heap, uint32_t chunk)
{
  return heap->place[chunk] != SIM_NONE;
}

uint32_t sim_heap_top(const struct sim_heap *heap)
{
  return heap->n > 0 ? heap->entries[0].chunk : SIM_NONE;
}

double sim_heap_number(const struct sim_heap *heap, uint32_t chunk)
{
  return heap->entries[heap->place[chunk]].number;
}
