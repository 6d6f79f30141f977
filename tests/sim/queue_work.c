#include "tests/sim/queue_work.h"

#include <stdlib.h>

kvs_status sim_queue_work_create(uint32_t chunk_tokens, struct sim_queue_work **work_p)
{
  *work_p = calloc(1, sizeof **work_p);
  if (!*work_p)
    return KVS_ERR_NOMEM;
  (*work_p)->chunk_tokens = chunk_tokens;
  return KVS_OK;
}

void sim_queue_work_destroy(struct sim_queue_work *work)
{
  if (!work)
    return;
  free(work->programs);
  free(work->turns);
  free(work->refs);
  free(work->parent);
  free(work->depth);
  free(work->is_shared);
  free(work);
}

/* Room for one more. */
static kvs_status grow(void **array, uint32_t n, uint32_t *room_p, size_t size)
{
  uint32_t room = *room_p < 64 ? 64 : 2 * *room_p;
  void *grown;

  if (n < *room_p)
    return KVS_OK;
  grown = realloc(*array, room * size);
  if (!grown)
    return KVS_ERR_NOMEM;
  *array = grown;
  *room_p = room;
  return KVS_OK;
}

kvs_status sim_queue_work_program(struct sim_queue_work *work, uint64_t arrives_ns)
{
  void *programs = work->programs;
  kvs_status status = grow(&programs, work->n_programs, &work->room_programs, sizeof *work->programs);

  work->programs = programs;
  if (status == KVS_OK)
    work->programs[work->n_programs++] =
        (struct sim_queue_program){.arrives_ns = arrives_ns, .first_turn = work->n_turns};
  return status;
}

kvs_status sim_queue_work_turn(struct sim_queue_work *work, const struct sim_queue_turn *turn)
{
  void *turns = work->turns;
  kvs_status status = grow(&turns, work->n_turns, &work->room_turns, sizeof *work->turns);

  work->turns = turns;
  if (status != KVS_OK)
    return status;
  work->turns[work->n_turns++] = *turn;
  work->programs[work->n_programs - 1].n_turns++;
  return KVS_OK;
}

kvs_status sim_queue_work_done(struct sim_queue_work *work)
{
  for (uint32_t i = 0; i < work->n_programs; i++) {
    struct sim_queue_turn *turns = &work->turns[work->programs[i].first_turn];
    uint32_t n_turns = work->programs[i].n_turns;

    for (uint32_t k = 0; k < n_turns; k++)
      turns[k].first_ref = work->n_chunks;
    work->n_chunks += (turns[n_turns - 1].input + turns[n_turns - 1].output) / work->chunk_tokens;
  }
  work->refs = malloc((work->n_chunks + 1) * sizeof *work->refs);
  work->parent = malloc((work->n_chunks + 1) * sizeof *work->parent);
  work->depth = malloc((work->n_chunks + 1) * sizeof *work->depth);
  if (!work->refs || !work->parent || !work->depth)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < work->n_programs; i++) {
    uint32_t first = (uint32_t)work->turns[work->programs[i].first_turn].first_ref,
             end = i + 1 < work->n_programs
                       ? (uint32_t)work->turns[work->programs[i + 1].first_turn].first_ref
                       : work->n_chunks;

    for (uint32_t chunk = first; chunk < end; chunk++) {
      work->refs[chunk] = chunk;
      work->parent[chunk] = chunk > first ? chunk - 1 : KVI_POLICY_NONE;
      work->depth[chunk] = chunk - first;
    }
  }
  return KVS_OK;
}
