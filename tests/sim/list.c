#include "tests/sim/list.h"

#include <stdlib.h>

kvs_status sim_list_create(uint32_t n_chunks, struct sim_list *list)
{
  *list = (struct sim_list){.first = SIM_NONE, .last = SIM_NONE};
  list->next = malloc(((size_t)n_chunks + 1) * sizeof *list->next);
  list->prev = malloc(((size_t)n_chunks + 1) * sizeof *list->prev);
  if (!list->next || !list->prev)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < n_chunks; i++)
    list->prev[i] = SIM_LIST_OUT;
  return KVS_OK;
}

void sim_list_destroy(struct sim_list *list)
{
  free(list->next);
  free(list->prev);
}

void sim_list_push(struct sim_list *list, uint32_t chunk)
{
  list->next[chunk] = SIM_NONE;
  list->prev[chunk] = list->last;
  if (list->last != SIM_NONE)
    list->next[list->last] = chunk;
  else
    list->first = chunk;
  list->last = chunk;
  list->n++;
}

void sim_list_remove(struct sim_list *list, uint32_t chunk)
{
  uint32_t next = list->next[chunk], prev = list->prev[chunk];

  if (next != SIM_NONE)
    list->prev[next] = prev;
  else
    list->last = prev;
  if (prev != SIM_NONE)
    list->next[prev] = next;
  else
    list->first = next;
  list->prev[chunk] = SIM_LIST_OUT;
  list->n--;
}
