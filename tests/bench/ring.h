/* tests/bench/ring.h: a client's payload memory: each slot in flight has its own part and goes round in it. */
#ifndef KVASIR_BENCH_RING_H
#define KVASIR_BENCH_RING_H

#include "tests/bench/case.h"
#include "tests/bench/memory.h"

struct bench_ring {
  struct bench_slab slab;
  struct bench_slab scratch; /* one operation's bytes, for filling and comparing */
  uint64_t call_bytes;       /* of one operation of the case at hand */
  uint32_t depth, turns;     /* turns: operations' worth of memory that each slot has */
  uint64_t turn[BENCH_DEPTH_MAX];
  uint8_t *last[BENCH_DEPTH_MAX]; /* where the slot's last operation lay; NULL: it had none */
};

#define BENCH_RING_BYTES (2 * BENCH_CLIENT_BYTES) /* four chunks of 32 MiB */

bool bench_ring_open(struct bench_ring *ring);
void bench_ring_close(struct bench_ring *ring);

/* Cuts the ring for a case; for puts fills it with bytes that differ from chunk to chunk. */
void bench_ring_cut(struct bench_ring *ring, const struct bench_case *what);

/* Memory of the slot's next operation. */
uint8_t *bench_ring_next(struct bench_ring *ring, uint32_t slot);

#endif
