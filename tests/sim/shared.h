/*
 * tests/sim/shared.h: the tier that nodes share, Redis (docs/redis.md): it knows no chains, and drops what was not written or read there for longest. What a node finds in its own tiers it does not
 * ask for there, so that renews nothing.
 */
#ifndef KVASIR_SIM_SHARED_H
#define KVASIR_SIM_SHARED_H

#include "tests/sim/list.h"

struct sim_shared {
  uint32_t capacity; /* chunks; 0: there is none */
  struct sim_list list;
  uint64_t found, written; /* chunks */
};

/* KVS_ERR_NOMEM; destroy is fine then. */
kvs_status sim_shared_create(uint32_t n_chunks, uint32_t capacity, struct sim_shared *shared);
void sim_shared_destroy(struct sim_shared *shared); /* all 0 is fine */

/* Reads the first of the n that are there, until one is not. Returns how many. */
uint32_t sim_shared_read(struct sim_shared *shared, const uint32_t *chunks, uint32_t n);
/* Puts all of them, from the first one on. What is there is not written again, but renewed. */
void sim_shared_put(struct sim_shared *shared, const uint32_t *chunks, uint32_t n);

#endif
