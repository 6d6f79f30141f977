#include "tests/sim/queue_trace.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/sim/order.h"

#define CHUNKS_MAX (UINT32_MAX / 2)

struct maker {
  const struct sim_trace *trace;
  const struct sim_schedule *schedule;
  const struct sim_told *told;
  struct sim_queue_work *work;
  uint32_t *events; /* by turn */
  uint32_t *next;   /* by turn: the one that goes on from prompt and answer; SIM_NONE: none does */
  uint64_t n_refs;
  uint64_t n_new;   /* chunks at most that are in no prompt */
  uint32_t longest; /* tokens of a context */
};

static const struct sim_request *request_of(const struct maker *maker, uint32_t event)
{
  return &maker->trace->requests[maker->schedule->events[event].request];
}

/* The event of the same program after this one; SIM_NONE: there is none. */
static uint32_t after(const struct maker *maker, uint32_t event)
{
  return maker->trace->tells_runs ? maker->schedule->after[event] : SIM_NONE;
}

static struct sim_queue_turn turn_of(const struct maker *maker, uint32_t event)
{
  const struct sim_request *request = request_of(maker, event);
  const struct sim_told *told = &maker->told[event];
  struct sim_queue_turn turn = {.input = request->input_tokens > 0 ? request->input_tokens : 1,
                                .output = request->output_tokens > 0 ? request->output_tokens : 1,
                                .kind = sim_order_wait(told->wait),
                                .name = told->program,
                                .is_unnamed = told->program == 0,
                                .is_end_untold = !told->ended,
                                .announced_s = told->announced_s,
                                .first_ref = maker->n_refs};
  uint32_t next = after(maker, event);

  turn.tool = (uint32_t)turn.kind; /* no trace says more */
  if (next != SIM_NONE) {
    double gap_ns = (double)(maker->schedule->events[next].at_ns - maker->schedule->events[event].at_ns) -
                    (request->api_s > 0 ? request->api_s * (double)KVI_NS_PER_S : 0);

    turn.wait_ns = gap_ns > 0 ? (uint64_t)gap_ns : 0;
  }
  return turn;
}

static uint32_t context_of(const struct maker *maker, const struct sim_queue_turn *turn)
{
  return (turn->input + turn->output) / maker->trace->chunk_tokens;
}

/* ---- who goes on from whom ---- */

/*
 * Of a program, from its last turn on: for each chunk the later turns whose prompts have it, the next one on top, without those that are behind one that is as long: a turn that is as long as is looked for is found
 * before them.
 */
struct later {
  uint32_t *top;     /* by chunk: a turn */
  uint32_t *program; /* by chunk: whose that is */
  uint32_t *below;   /* as trace->refs: the turn below the one with that prompt; SIM_NONE: there is none */
};

static const struct sim_request *prompt_of(const struct maker *maker, uint32_t turn)
{
  return request_of(maker, maker->events[turn]);
}

/* The next turn whose prompt has the chunk, and at least so many tokens. */
static uint32_t find_later(const struct maker *maker, const struct later *later, uint32_t program,
                           uint32_t chunk, uint32_t tokens)
{
  uint32_t turn = later->program[chunk] == program ? later->top[chunk] : SIM_NONE;

  while (turn != SIM_NONE && prompt_of(maker, turn)->input_tokens < tokens)
    turn = later->below[prompt_of(maker, turn)->first + maker->trace->depth[chunk]];
  return turn;
}

/*
 * The next turn of a program that goes on from a turn has all whole chunks of its prompt, and is no shorter than that with its answer. Another program's prompt that begins like this one has something else where
 * the answer would be.
 */
static void find_next(struct maker *maker, const struct later *later, uint32_t program)
{
  const struct sim_trace *trace = maker->trace;
  const struct sim_queue_program *own = &maker->work->programs[program];

  for (uint32_t turn = own->first_turn + own->n_turns; turn-- > own->first_turn;) {
    const struct sim_queue_turn *about = &maker->work->turns[turn];
    const struct sim_request *request = prompt_of(maker, turn);
    uint32_t whole = sim_trace_whole(trace, request);

    maker->next[turn] = whole == 0
                            ? SIM_NONE
                            : find_later(maker, later, program, trace->refs[request->first + whole - 1],
                                         about->input + about->output);
    for (uint32_t i = 0; i < request->n_chunks; i++) {
      uint32_t chunk = trace->refs[request->first + i];

      later->below[request->first + i] = find_later(maker, later, program, chunk, request->input_tokens + 1);
      later->top[chunk] = turn;
      later->program[chunk] = program;
    }
  }
}

static kvs_status find_all_next(struct maker *maker)
{
  size_t n = (size_t)maker->trace->n_chunks + 1;
  struct later later = {.top = malloc(n * sizeof *later.top),
                        .program = malloc(n * sizeof *later.program),
                        .below = malloc((maker->trace->n_refs + 1) * sizeof *later.below)};
  bool is_room = later.top && later.program && later.below;

  maker->next = calloc((size_t)maker->work->n_turns + 1, sizeof *maker->next);
  if (is_room && maker->next) {
    memset(later.program, 0xff, n * sizeof *later.program);
    for (uint32_t i = 0; i < maker->work->n_programs; i++)
      find_next(maker, &later, i);
  }
  free(later.top);
  free(later.program);
  free(later.below);
  return is_room && maker->next ? KVS_OK : KVS_ERR_NOMEM;
}

/* ---- chains ---- */

/* The chunks of prompt and answer; room for them is there. */
static void put_chain(struct maker *maker, uint32_t turn)
{
  const struct sim_trace *trace = maker->trace;
  struct sim_queue_work *work = maker->work;
  const struct sim_request *request = prompt_of(maker, turn), *next = NULL;
  uint32_t *chain = work->refs + work->turns[turn].first_ref, n = context_of(maker, &work->turns[turn]),
           whole = sim_trace_whole(trace, request), known = whole;

  if (maker->next[turn] != SIM_NONE)
    next = prompt_of(maker, maker->next[turn]);
  if (next && sim_trace_whole(trace, next) > known)
    known = sim_trace_whole(trace, next);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t chunk = i < whole   ? trace->refs[request->first + i]
                     : i < known ? trace->refs[next->first + i]
                                 : work->n_chunks++;

    chain[i] = chunk;
    work->parent[chunk] = i > 0 ? chain[i - 1] : KVI_POLICY_NONE;
    work->depth[chunk] = i;
  }
}

/* Refused here, before there is room for it, is what no pool takes, or no number. */
static kvs_status check(const struct maker *maker, uint32_t pool_tokens, struct sim_error *error)
{
  kvs_status status = sim_queue_work_fits(maker->longest, maker->trace->chunk_tokens, pool_tokens, error);

  if (status == KVS_OK && maker->trace->n_chunks + maker->n_refs >= CHUNKS_MAX)
    status = sim_fail(error, KVS_ERR_TOO_LARGE,
                      "more than 2^31 chunks of contexts: say a larger --chunk, or fewer --programs");
  return status;
}

/* All chains of the turns. */
static kvs_status put_chains(struct maker *maker)
{
  struct sim_queue_work *work = maker->work;
  size_t chunks = maker->trace->n_chunks + maker->n_new;

  work->n_chunks = maker->trace->n_chunks;
  work->refs = malloc((maker->n_refs + 1) * sizeof *work->refs);
  work->parent = malloc((chunks + 1) * sizeof *work->parent);
  work->depth = malloc((chunks + 1) * sizeof *work->depth);
  if (!work->refs || !work->parent || !work->depth)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < work->n_turns; i++)
    put_chain(maker, i);
  return KVS_OK;
}

/* ---- programs ---- */

static kvs_status add_program(struct maker *maker, uint32_t event)
{
  struct sim_queue_work *work = maker->work;
  kvs_status status = sim_queue_work_program(work, maker->schedule->events[event].at_ns);

  for (; status == KVS_OK && event != SIM_NONE; event = after(maker, event)) {
    struct sim_queue_turn turn = turn_of(maker, event);
    uint32_t context = context_of(maker, &turn),
             whole = sim_trace_whole(maker->trace, request_of(maker, event));

    maker->events[work->n_turns] = event;
    maker->n_refs += context;
    maker->n_new += context > whole ? context - whole : 0;
    if (maker->longest < turn.input + turn.output)
      maker->longest = turn.input + turn.output;
    status = sim_queue_work_turn(work, &turn);
  }
  return status;
}

/* Is it a program's first event? seen: by run. */
static bool is_first(const struct maker *maker, uint32_t event, bool *seen)
{
  uint32_t run = request_of(maker, event)->run;
  bool is = !maker->trace->tells_runs || !seen[run];

  seen[run] = true;
  return is;
}

/* Which chunks several programs have. */
static kvs_status find_shared(struct sim_queue_work *work)
{
  uint32_t *first = malloc(((size_t)work->n_chunks + 1) * sizeof *first);

  work->is_shared = calloc((size_t)work->n_chunks + 1, sizeof *work->is_shared);
  if (!first || !work->is_shared) {
    free(first);
    return KVS_ERR_NOMEM;
  }
  memset(first, 0xff, work->n_chunks * sizeof *first);
  for (uint32_t i = 0; i < work->n_programs; i++)
    for (uint32_t k = 0; k < work->programs[i].n_turns; k++) {
      const uint32_t *chain;
      uint32_t n = sim_queue_work_chain(work, work->programs[i].first_turn + k, &chain);

      for (uint32_t c = 0; c < n; c++) {
        if (first[chain[c]] == SIM_NONE)
          first[chain[c]] = i;
        work->is_shared[chain[c]] |= first[chain[c]] != i;
      }
    }
  free(first);
  return KVS_OK;
}

/* The first n programs, with their turns. */
static kvs_status add_programs(struct maker *maker, uint32_t n)
{
  bool *seen = calloc((size_t)maker->trace->n_runs + 1, sizeof *seen);
  kvs_status status = seen ? KVS_OK : KVS_ERR_NOMEM;

  for (uint32_t i = 0; status == KVS_OK && i < maker->schedule->n && maker->work->n_programs < n; i++)
    if (is_first(maker, i, seen))
      status = add_program(maker, i);
  free(seen);
  return status;
}

static kvs_status make(struct maker *maker, uint32_t n, uint32_t pool_tokens, struct sim_error *error)
{
  kvs_status status = KVS_ERR_NOMEM;

  maker->events = calloc((size_t)maker->schedule->n + 1, sizeof *maker->events);
  if (maker->events)
    status = add_programs(maker, n);
  if (status == KVS_OK)
    status = check(maker, pool_tokens, error);
  if (status == KVS_OK)
    status = find_all_next(maker);
  if (status == KVS_OK)
    status = put_chains(maker);
  if (status == KVS_OK)
    status = find_shared(maker->work);
  free(maker->events);
  free(maker->next);
  return status;
}

kvs_status sim_queue_work_of_trace(const struct sim_trace *trace, const struct sim_schedule *schedule,
                                   const struct sim_told *told, uint32_t n, uint32_t pool_tokens,
                                   struct sim_queue_work **work_p, struct sim_error *error)
{
  struct maker maker = {.trace = trace, .schedule = schedule, .told = told};
  kvs_status status = sim_queue_work_create(trace->chunk_tokens, work_p);

  maker.work = *work_p;
  if (status == KVS_OK)
    status = make(&maker, n, pool_tokens, error);
  if (status == KVS_OK)
    return KVS_OK;
  sim_queue_work_destroy(*work_p);
  *work_p = NULL;
  return error->status != KVS_OK ? status
                                 : sim_fail(error, status, "the programs: %s", kvs_status_text(status));
}
