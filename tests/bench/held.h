/*
 * tests/bench/held.h: what stands for the store above a medium: the chunks that were put, the oldest first. It lets the oldest go when
 * the medium needs room, as a store does whose chunks are read once.
 */
#ifndef KVASIR_BENCH_HELD_H
#define KVASIR_BENCH_HELD_H

#include <pthread.h>

#include "tests/bench/keys.h"
#include "tiers/medium.h"

struct bench_held_chunk {
  kvi_medium_handle handle; /* 0: not there, or on its way */
  uint32_t place;           /* of its bytes in the client's memory */
};

struct bench_held {
  pthread_mutex_t lock;
  struct kvi_medium *medium;
  struct bench_held_chunk *chunks; /* by number % room */
  uint64_t size, room;
  uint64_t most;         /* chunks that stay when another comes; 0: until the medium needs room */
  uint64_t oldest, next; /* numbers */
};

/* room: chunks. False: no memory. */
bool bench_held_open(struct bench_held *held, struct kvi_medium *medium, uint64_t size, uint64_t room);
void bench_held_close(struct bench_held *held); /* a zeroed one is fine */

/* Tells the medium that this is its owner. What it has from before is not wanted. */
kvs_status bench_held_recover(struct bench_held *held);

/* The number of a chunk that will be put. */
uint64_t bench_held_begin(struct bench_held *held, uint32_t place);
/* It is there. Any thread. */
void bench_held_end(struct bench_held *held, uint64_t number, kvi_medium_handle handle);
/* False: it was let go, or has not come yet. */
bool bench_held_find(struct bench_held *held, uint64_t number, struct bench_held_chunk *chunk_p);

void bench_held_key(uint64_t number, uint8_t key[BENCH_KEY]);

#endif
