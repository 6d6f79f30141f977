/*
 * tests/sim/memory.h: memory over a medium that has all that is cached: what of it is in memory as well, and how much has to be brought from below.
 *
 * What a request uses is in memory afterwards; what is in memory too much leaves it, as in the store (tiers/clean.c): what was not used for longest, or what the order says.
 */
#ifndef KVASIR_SIM_MEMORY_H
#define KVASIR_SIM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "tests/sim/list.h"
#include "tests/sim/order.h"
#include "tests/sim/waste.h"

struct sim_memory {
  uint32_t capacity; /* chunks; 0: there is no memory apart */
  struct sim_list list;
  uint64_t loaded; /* chunks, brought from below when somebody asked for them */
  uint64_t came;   /* chunks that came to memory, computed or brought */
  uint64_t ahead,
      ahead_used; /* brought before that; of these, those that were asked for while they were there */
  uint32_t n_chunks;
  bool *is_ahead; /* by chunk: it was, and was not asked for yet */
  struct sim_waste
      *waste; /* told of what leaves memory, and of what comes before it is asked for; NULL: none */
};

/* KVS_ERR_NOMEM. */
kvs_status sim_memory_create(uint32_t n_chunks, uint32_t capacity, struct sim_memory *memory);
void sim_memory_destroy(struct sim_memory *memory); /* all 0 is fine */
/* It is used; fresh: computed just now, else it is brought from below if it is not in memory. */
void sim_memory_use(struct sim_memory *memory, struct sim_order *order, uint32_t chunk, bool fresh);
/* It is nowhere any more. */
void sim_memory_drop(struct sim_memory *memory, uint32_t chunk, uint64_t now_ns);
/* Brings what the order says is about to be asked for: at most so many chunks. Returns how many. */
uint32_t sim_memory_ahead(struct sim_memory *memory, struct sim_order *order, uint32_t most, uint64_t now_ns);
/* What was counted so far does not count, nor what was brought ahead if it is asked for later. */
void sim_memory_forget(struct sim_memory *memory);
void sim_memory_fit(struct sim_memory *memory, struct sim_order *order, uint64_t now_ns);

#endif
