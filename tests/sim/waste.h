/*
 * tests/sim/waste.h: how long chunks were kept for nothing: a chunk is kept for whoever needs it next, from the answer to the request that used it last on. If it goes before that, all the time until
 * then was wasted. What nobody needs any more counts apart. One thread.
 */
#ifndef KVASIR_SIM_WASTE_H
#define KVASIR_SIM_WASTE_H

#include <kvasir/status.h>

#include "client/traces/trace.h"

struct sim_waste {
  uint32_t n_chunks;
  uint64_t *since_ns;   /* by chunk: it is kept from then on */
  bool *is_needed;      /* by chunk: by somebody, later */
  double chunk_s;       /* chunks times seconds: gone before they were needed */
  double never_chunk_s; /* gone, and never needed again */
};

/* KVS_ERR_NOMEM; destroy is fine then. */
kvs_status sim_waste_create(uint32_t n_chunks, struct sim_waste *waste);
void sim_waste_destroy(struct sim_waste *waste); /* all 0 is fine */

/* A request has used it, and is answered at that time. */
static inline void sim_waste_used(struct sim_waste *waste, uint32_t chunk, bool is_needed,
                                  uint64_t answered_ns)
{
  if (waste->since_ns[chunk] < answered_ns)
    waste->since_ns[chunk] = answered_ns;
  waste->is_needed[chunk] = is_needed;
}

/* It is kept again, though nobody has used it. */
static inline void sim_waste_back(struct sim_waste *waste, uint32_t chunk, uint64_t now_ns)
{
  if (waste->since_ns[chunk] < now_ns)
    waste->since_ns[chunk] = now_ns;
}

/* What was before that, and is counted so far, does not count: chunks are kept from then on. */
void sim_waste_forget(struct sim_waste *waste, uint64_t now_ns);

/* It is not kept any longer, or not counted. */
void sim_waste_gone(struct sim_waste *waste, uint32_t chunk, uint64_t now_ns);

#endif
