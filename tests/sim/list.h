/* tests/sim/list.h: chunks in the order of their last use. One thread. */
#ifndef KVASIR_SIM_LIST_H
#define KVASIR_SIM_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "client/traces/trace.h"

#define SIM_LIST_OUT (SIM_NONE - 1)

struct sim_list {
  uint32_t *next, *prev; /* by chunk; prev of one that is not in: SIM_LIST_OUT */
  uint32_t first, last;  /* SIM_NONE: it is empty */
  uint32_t n;
};

/* For chunks below n_chunks. KVS_ERR_NOMEM; destroy is fine then. */
kvs_status sim_list_create(uint32_t n_chunks, struct sim_list *list);
void sim_list_destroy(struct sim_list *list); /* all 0 is fine */

static inline bool sim_list_has(const struct sim_list *list, uint32_t chunk)
{
  return list->prev[chunk] != SIM_LIST_OUT;
}
/* To the end. It is not in. */
void sim_list_push(struct sim_list *list, uint32_t chunk);
/* It is in. */
void sim_list_remove(struct sim_list *list, uint32_t chunk);

#endif
