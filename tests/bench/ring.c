#include "tests/bench/ring.h"

#include <string.h>

#define SCRATCH_BYTES (UINT64_C(32) << 20)

bool bench_ring_open(struct bench_ring *ring)
{
  memset(ring, 0, sizeof *ring);
  if (!bench_slab_open(&ring->slab, BENCH_RING_BYTES))
    return false;
  if (bench_slab_open(&ring->scratch, SCRATCH_BYTES))
    return true;
  bench_slab_close(&ring->slab);
  return false;
}

void bench_ring_close(struct bench_ring *ring)
{
  bench_slab_close(&ring->slab);
  bench_slab_close(&ring->scratch);
}

void bench_ring_cut(struct bench_ring *ring, const struct bench_case *what)
{
  ring->depth = bench_case_depth(what);
  ring->call_bytes = what->size * bench_case_chunks(what);
  ring->turns = (uint32_t)(ring->slab.bytes / (ring->call_bytes * ring->depth));
  memset(ring->turn, 0, sizeof ring->turn);
  memset(ring->last, 0, sizeof ring->last);
  if (what->op != BENCH_PUT)
    return;
  for (uint64_t i = 0; i < ring->slab.bytes / what->size; i++)
    bench_pattern_fill(ring->slab.base + i * what->size, what->size, ~bench_seed(what->size, i));
}

uint8_t *bench_ring_next(struct bench_ring *ring, uint32_t slot)
{
  uint64_t turn = ring->turn[slot]++ % ring->turns;
  uint8_t *at = ring->slab.base + (turn * ring->depth + slot) * ring->call_bytes;

  ring->last[slot] = at;
  return at;
}
