#include "tests/sim/waste.h"

#include <stdlib.h>

#include "base/clock.h"

kvs_status sim_waste_create(uint32_t n_chunks, struct sim_waste *waste)
{
  *waste = (struct sim_waste){.n_chunks = n_chunks};
  waste->since_ns = calloc((size_t)n_chunks + 1, sizeof *waste->since_ns);
  waste->is_needed = calloc((size_t)n_chunks + 1, sizeof *waste->is_needed);
  return waste->since_ns && waste->is_needed ? KVS_OK : KVS_ERR_NOMEM;
}

void sim_waste_destroy(struct sim_waste *waste)
{
  free(waste->since_ns);
  free(waste->is_needed);
}

void sim_waste_forget(struct sim_waste *waste, uint64_t now_ns)
{
  waste->chunk_s = waste->never_chunk_s = 0;
  for (uint32_t i = 0; i < waste->n_chunks; i++)
    sim_waste_back(waste, i, now_ns);
}

void sim_waste_gone(struct sim_waste *waste, uint32_t chunk, uint64_t now_ns)
{
  uint64_t since_ns = waste->since_ns[chunk];
  double *sum = waste->is_needed[chunk] ? &waste->chunk_s : &waste->never_chunk_s;

  if (now_ns > since_ns) /* else it is still being answered */
    *sum += (double)(now_ns - since_ns) / (double)KVI_NS_PER_S;
}
