#include "tests/sim/shared.h"

kvs_status sim_shared_create(uint32_t n_chunks, uint32_t capacity, struct sim_shared *shared)
{
  *shared = (struct sim_shared){.capacity = capacity};
  return sim_list_create(n_chunks, &shared->list);
}

void sim_shared_destroy(struct sim_shared *shared)
{
  sim_list_destroy(&shared->list);
}

static void renew(struct sim_shared *shared, uint32_t chunk)
{
  sim_list_remove(&shared->list, chunk);
  sim_list_push(&shared->list, chunk);
}

uint32_t sim_shared_read(struct sim_shared *shared, const uint32_t *chunks, uint32_t n)
{
  uint32_t found = 0;

  if (shared->capacity == 0)
    return 0;
  for (; found < n && sim_list_has(&shared->list, chunks[found]); found++)
    renew(shared, chunks[found]);
  shared->found += found;
  return found;
}

void sim_shared_put(struct sim_shared *shared, const uint32_t *chunks, uint32_t n)
{
  if (shared->capacity == 0)
    return;
  for (uint32_t i = 0; i < n; i++) {
    if (sim_list_has(&shared->list, chunks[i])) {
      renew(shared, chunks[i]);
      continue;
    }
    if (shared->list.n == shared->capacity)
      sim_list_remove(&shared->list, shared->list.first);
    sim_list_push(&shared->list, chunks[i]);
    shared->written++;
  }
}
