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
  free(work->of_chunk);
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
    struct sim_queue_program *program = &work->programs[i];
    const struct sim_queue_turn *last = &work->turns[program->first_turn + program->n_turns - 1];

    program->first_chunk = work->n_chunks;
    work->n_chunks += (last->input + last->output) / work->chunk_tokens;
  }
  work->of_chunk = malloc((work->n_chunks + 1) * sizeof *work->of_chunk);
  if (!work->of_chunk)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < work->n_programs; i++) {
    uint32_t end = i + 1 < work->n_programs ? work->programs[i + 1].first_chunk : work->n_chunks;

    for (uint32_t chunk = work->programs[i].first_chunk; chunk < end; chunk++)
      work->of_chunk[chunk] = i;
  }
  return KVS_OK;
}
