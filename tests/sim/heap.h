/* tests/sim/heap.h: chunks by a number, the smallest on top; at equal numbers the one that was put in earlier. One thread. */
#ifndef KVASIR_SIM_HEAP_H
#define KVASIR_SIM_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

struct sim_heap;

/* For chunks below `chunks`; all memory is taken here. KVS_ERR_NOMEM. */
kvs_status sim_heap_create(uint32_t chunks, struct sim_heap **heap_p);
/*
 * One more over the same chunks: a chunk is in one of all that share at most, and has, number and remove are asked of the one that it is in. Never more
 * than `room` at once. `with` is destroyed after it. KVS_ERR_NOMEM.
 */
kvs_status sim_heap_create_sharing(const struct sim_heap *with, uint32_t room, struct sim_heap **heap_p);
void sim_heap_destroy(struct sim_heap *heap);

/* Puts it in, or gives it another number. O(log n). */
void sim_heap_put(struct sim_heap *heap, uint32_t chunk, double number);
/* Nothing happens to one that is not in. O(log n). */
void sim_heap_remove(struct sim_heap *heap, uint32_t chunk);
bool sim_heap_has(const struct sim_heap *heap, uint32_t chunk); /* in any of those that share */
/* SIM_NONE: it is empty. */
uint32_t sim_heap_top(const struct sim_heap *heap);
double sim_heap_number(const struct sim_heap *heap, uint32_t chunk);

#endif
