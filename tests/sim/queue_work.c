#include "tests/sim/queue_work.h"

#include <math.h>
#include <stdlib.h>

#include "tests/sim/queue_engine.h"

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

kvs_status sim_queue_work_fits(uint32_t context_tokens, uint32_t chunk_tokens, uint32_t pool_tokens,
                               struct sim_error *error)
{
  uint32_t chunks = (context_tokens + chunk_tokens - 1) / chunk_tokens;

  if (chunks <= pool_tokens / chunk_tokens)
    return KVS_OK;
  return sim_fail(
      error, KVS_ERR_TOO_LARGE,
      "a context of %u tokens in chunks of %u does not fit into the pool: say --pool %llu or more",
      context_tokens, chunk_tokens, (unsigned long long)chunks * chunk_tokens);
}

uint32_t sim_queue_work_largest(const struct sim_queue_work *work)
{
  uint32_t most = 0;

  for (uint32_t i = 0; i < work->n_turns; i++)
    if (most < work->turns[i].input + work->turns[i].output)
      most = work->turns[i].input + work->turns[i].output;
  return most;
}

static double seconds(uint64_t ns)
{
  return (double)ns / (double)KVI_NS_PER_S;
}

double sim_queue_work_longest_s(const struct sim_queue_work *work, const struct sim_queue_machine *machine)
{
  double sum_s = 0;

  for (uint32_t i = 0; i < work->n_turns; i++) {
    const struct sim_queue_turn *turn = &work->turns[i];
    double steps = ceil((double)turn->input / machine->step_tokens) + turn->output;

    sum_s += sim_cost_of(&machine->cost, 0, turn->input) + steps * seconds(machine->step_ns) +
             seconds(turn->wait_ns);
    if (machine->bandwidth > 0)
      sum_s += turn->input * machine->bytes_per_token / machine->bandwidth;
  }
  return work->n_programs > 0 ? sum_s + seconds(work->programs[work->n_programs - 1].arrives_ns) : sum_s;
}

/* So many tokens of a turn's prompt were in some context before: chunks that were seen, or all of the turn before, if it goes on from that. */
static double known_of(const struct sim_queue_work *work, const struct sim_queue_program *program, uint32_t k,
                       const bool *seen)
{
  const struct sim_queue_turn *turn = &work->turns[program->first_turn + k];
  const uint32_t *chain, *before;
  uint32_t n = sim_queue_work_chain(work, program->first_turn + k, &chain), shared = 0, from, n_before;

  while (shared < n && seen[chain[shared]])
    shared++;
  from = shared * work->chunk_tokens;
  if (k > 0) {
    uint32_t context = turn[-1].input + turn[-1].output;

    n_before = sim_queue_work_chain(work, program->first_turn + k - 1, &before);
    if (context > from && (n_before == 0 || (n_before <= n && chain[n_before - 1] == before[n_before - 1])))
      from = context;
  }
  return from < turn->input ? from : turn->input;
}

double sim_queue_work_first_s(const struct sim_queue_work *work, const struct sim_cost *cost, bool *seen)
{
  double sum = 0;

  for (uint32_t i = 0; i < work->n_programs; i++)
    for (uint32_t k = 0; k < work->programs[i].n_turns; k++) {
      uint32_t turn = work->programs[i].first_turn + k, n;
      const uint32_t *chain;

      sum += sim_cost_of(cost, known_of(work, &work->programs[i], k, seen), work->turns[turn].input);
      n = sim_queue_work_chain(work, turn, &chain);
      for (uint32_t c = 0; c < n; c++)
        seen[chain[c]] = true;
    }
  return sum;
}
