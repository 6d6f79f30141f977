#include "tests/sim/memory.h"

#include <stdlib.h>

#define NONE UINT32_MAX

kvs_status sim_memory_create(uint32_t n_chunks, uint32_t capacity, struct sim_memory *memory)
{
  *memory = (struct sim_memory){.capacity = capacity, .first = NONE, .last = NONE};
  memory->next = malloc(((size_t)n_chunks + 1) * sizeof *memory->next);
  memory->prev = malloc(((size_t)n_chunks + 1) * sizeof *memory->prev);
  memory->is_ahead = calloc((size_t)n_chunks + 1, sizeof *memory->is_ahead);
  if (!memory->is_ahead || !memory->next || !memory->prev)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < n_chunks; i++)
    memory->prev[i] = SIM_MEMORY_OUT;
  return KVS_OK;
}

void sim_memory_destroy(struct sim_memory *memory)
{
  free(memory->next);
  free(memory->prev);
  free(memory->is_ahead);
}

static bool is_in(const struct sim_memory *memory, uint32_t chunk)
{
  return memory->prev[chunk] != SIM_MEMORY_OUT;
}

static void unlink_chunk(struct sim_memory *memory, uint32_t chunk)
{
  uint32_t next = memory->next[chunk], prev = memory->prev[chunk];

  if (next != NONE)
    memory->prev[next] = prev;
  else
    memory->last = prev;
  if (prev != NONE)
    memory->next[prev] = next;
  else
    memory->first = next;
  memory->prev[chunk] = SIM_MEMORY_OUT;
}

static void push(struct sim_memory *memory, uint32_t chunk)
{
  memory->next[chunk] = NONE;
  memory->prev[chunk] = memory->last;
  if (memory->last != NONE)
    memory->next[memory->last] = chunk;
  else
    memory->first = chunk;
  memory->last = chunk;
}

void sim_memory_use(struct sim_memory *memory, struct sim_order *order, uint32_t chunk, bool fresh)
{
  if (is_in(memory, chunk)) {
    unlink_chunk(memory, chunk);
  } else {
    memory->used++;
    memory->loaded += !fresh;
  }
  memory->ahead_used += memory->is_ahead[chunk];
  memory->is_ahead[chunk] = false;
  push(memory, chunk);
  sim_order_in_memory(order, chunk, true);
}

void sim_memory_drop(struct sim_memory *memory, uint32_t chunk)
{
  if (!is_in(memory, chunk))
    return;
  unlink_chunk(memory, chunk);
  memory->is_ahead[chunk] = false;
  memory->used--;
}

/* The one in front, which was not used for longest, if the order does not mind; else that has had its turn, and goes to the back. */
static uint32_t next_out(struct sim_memory *memory, struct sim_order *order, uint64_t now_ns)
{
  uint32_t one = memory->first, chunk = sim_order_demotion(order, one, now_ns);

  if (chunk == one || chunk == NONE)
    return one;
  unlink_chunk(memory, one);
  push(memory, one);
  return chunk;
}

void sim_memory_fit(struct sim_memory *memory, struct sim_order *order, uint64_t now_ns)
{
  while (memory->used > memory->capacity) {
    uint32_t chunk = next_out(memory, order, now_ns);

    sim_memory_drop(memory, chunk);
    sim_order_in_memory(order, chunk, false);
  }
}

/* One comes to memory, before anybody asks for it. */
static void bring(struct sim_memory *memory, struct sim_order *order, uint32_t chunk, uint64_t now_ns)
{
  memory->used++;
  memory->ahead++;
  memory->is_ahead[chunk] = true;
  push(memory, chunk);
  sim_order_in_memory(order, chunk, true);
  sim_memory_fit(memory, order, now_ns);
}

void sim_memory_ahead(struct sim_memory *memory, struct sim_order *order, uint32_t most, uint64_t now_ns)
{
  uint32_t chunks[SIM_ORDER_AHEAD], n;

  while (most > 0) {
    n = sim_order_ahead(order, chunks, most < SIM_ORDER_AHEAD ? most : SIM_ORDER_AHEAD,
                        memory->used + SIM_ORDER_AHEAD > memory->capacity, memory->first, now_ns);
    if (n == 0)
      return;
    for (uint32_t i = 0; i < n; i++)
      if (!is_in(memory, chunks[i]))
        bring(memory, order, chunks[i], now_ns);
    most -= n;
  }
}
