/* Memory for an unpacked header: a fixed arena that spills, within a bound. */
#include "proto/frame.h"

#include <stdlib.h>

#define ALIGNMENT 16u

struct kvi_frame_spill {
  _Alignas(ALIGNMENT) struct kvi_frame_spill *next;
};

static void *spill(struct kvi_frame_arena *arena, size_t size)
{
  if (size > KVI_FRAME_SPILL_MAX - arena->spilled_bytes) {
    arena->failure = KVS_ERR_TOO_LARGE;
    return NULL;
  }
  struct kvi_frame_spill *block = malloc(sizeof *block + size);
  if (!block) {
    arena->failure = KVS_ERR_NOMEM;
    return NULL;
  }
  block->next = arena->spilled;
  arena->spilled = block;
  arena->spilled_bytes += size;
  return block + 1;
}

static void *arena_alloc(void *data, size_t size)
{
  struct kvi_frame_arena *arena = data;

  if (size > KVI_FRAME_SPILL_MAX) {
    arena->failure = KVS_ERR_TOO_LARGE;
    return NULL;
  }
  size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  if (size > sizeof arena->bytes - arena->used)
    return spill(arena, size);
  void *place = arena->bytes + arena->used;
  arena->used += size;
  return place;
}

/* Everything is freed at once by reset. */
static void arena_free(void *data, void *pointer)
{
  (void)data;
  (void)pointer;
}

void kvi_frame_arena_init(struct kvi_frame_arena *arena)
{
  arena->allocator = (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
  arena->used = 0;
  arena->spilled = NULL;
  arena->spilled_bytes = 0;
  arena->failure = KVS_OK;
}

void kvi_frame_arena_reset(struct kvi_frame_arena *arena)
{
  while (arena->spilled) {
    struct kvi_frame_spill *next = arena->spilled->next;
    free(arena->spilled);
    arena->spilled = next;
  }
  arena->used = 0;
  arena->spilled_bytes = 0;
  arena->failure = KVS_OK;
}
