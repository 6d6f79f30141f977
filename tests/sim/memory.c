#include "tests/sim/memory.h"

#include <stdlib.h>
#include <string.h>

kvs_status sim_memory_create(uint32_t n_chunks, uint32_t capacity, struct sim_memory *memory)
{
  kvs_status status;

  *memory = (struct sim_memory){.capacity = capacity, .n_chunks = n_chunks};
  status = sim_list_create(n_chunks, &memory->list);
  memory->is_ahead = calloc((size_t)n_chunks + 1, sizeof *memory->is_ahead);
  return memory->is_ahead ? status : KVS_ERR_NOMEM;
}

void sim_memory_destroy(struct sim_memory *memory)
{
  sim_list_destroy(&memory->list);
  free(memory->is_ahead);
}

void sim_memory_use(struct sim_memory *memory, struct sim_order *order, uint32_t chunk, bool fresh)
{
  if (sim_list_has(&memory->list, chunk)) {
    sim_list_remove(&memory->list, chunk);
  } else {
    memory->came++;
    memory->loaded += !fresh;
  }
  memory->ahead_used += memory->is_ahead[chunk];
  memory->is_ahead[chunk] = false;
  sim_list_push(&memory->list, chunk);
  sim_order_in_memory(order, chunk, true);
}

void sim_memory_drop(struct sim_memory *memory, uint32_t chunk, uint64_t now_ns)
{
  if (!sim_list_has(&memory->list, chunk))
    return;
  sim_list_remove(&memory->list, chunk);
  memory->is_ahead[chunk] = false;
  if (memory->waste)
    sim_waste_gone(memory->waste, chunk, now_ns);
}

void sim_memory_forget(struct sim_memory *memory)
{
  memory->came = memory->loaded = memory->ahead = memory->ahead_used = 0;
  memset(memory->is_ahead, 0, memory->n_chunks * sizeof *memory->is_ahead);
}

/* The one in front, which was not used for longest, if the order does not mind; else that has had its turn, and goes to the back. */
static uint32_t next_out(struct sim_memory *memory, struct sim_order *order, uint64_t now_ns)
{
  uint32_t one = memory->list.first, chunk = sim_order_demotion(order, one, now_ns);

  if (chunk == one || chunk == SIM_NONE)
    return one;
  sim_list_remove(&memory->list, one);
  sim_list_push(&memory->list, one);
  return chunk;
}

void sim_memory_fit(struct sim_memory *memory, struct sim_order *order, uint64_t now_ns)
{
  while (memory->list.n > memory->capacity) {
    uint32_t chunk = next_out(memory, order, now_ns);

    sim_memory_drop(memory, chunk, now_ns);
    sim_order_in_memory(order, chunk, false);
  }
}

/* One comes to memory, before anybody asks for it. */
static void bring(struct sim_memory *memory, struct sim_order *order, uint32_t chunk, uint64_t now_ns)
{
  memory->came++;
  memory->ahead++;
  memory->is_ahead[chunk] = true;
  if (memory->waste)
    sim_waste_back(memory->waste, chunk, now_ns);
  sim_list_push(&memory->list, chunk);
  sim_order_in_memory(order, chunk, true);
  sim_memory_fit(memory, order, now_ns);
}

uint32_t sim_memory_ahead(struct sim_memory *memory, struct sim_order *order, uint32_t most, uint64_t now_ns)
{
  uint32_t chunks[SIM_ORDER_AHEAD], n, left = most;

  while (left > 0) {
    n = sim_order_ahead(order, chunks, left < SIM_ORDER_AHEAD ? left : SIM_ORDER_AHEAD,
                        memory->list.n + SIM_ORDER_AHEAD > memory->capacity, memory->list.first, now_ns);
    if (n == 0)
      break;
    for (uint32_t i = 0; i < n; i++)
      if (!sim_list_has(&memory->list, chunks[i]))
        bring(memory, order, chunks[i], now_ns);
    left -= n;
  }
  return most - left;
}
