#include "tests/sim/queue_trace.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/sim/order.h"

struct maker {
  const struct sim_trace *trace;
  const struct sim_schedule *schedule;
  const struct sim_told *told;
  struct sim_queue_work *work;
  uint64_t n_refs;
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

/*
 * The next request of the same program whose prompt has all whole chunks of this one's, and is no shorter than that with its answer; NULL: none. Another program's prompt that begins like this one has
 * something else where the answer would be.
 */
static const struct sim_request *next_of(const struct maker *maker, uint32_t event,
                                         const struct sim_queue_turn *turn)
{
  const struct sim_trace *trace = maker->trace;
  const struct sim_request *request = request_of(maker, event);
  uint32_t whole = sim_trace_whole(trace, request);

  if (whole == 0)
    return NULL;
  for (uint32_t i = after(maker, event); i != SIM_NONE; i = after(maker, i)) {
    const struct sim_request *later = request_of(maker, i);

    if (later->n_chunks >= whole && later->input_tokens >= turn->input + turn->output &&
        trace->refs[later->first + whole - 1] == trace->refs[request->first + whole - 1])
      return later;
  }
  return NULL;
}

/* The chunks of prompt and answer; room for them is there. */
static void put_chain(struct maker *maker, uint32_t event, const struct sim_queue_turn *turn)
{
  const struct sim_trace *trace = maker->trace;
  const struct sim_request *request = request_of(maker, event), *next = next_of(maker, event, turn);
  struct sim_queue_work *work = maker->work;
  uint32_t *chain = work->refs + turn->first_ref, n = context_of(maker, turn),
           whole = sim_trace_whole(trace, request), known = whole;

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
  maker->n_refs += n;
}

static kvs_status add_program(struct maker *maker, uint32_t event)
{
  kvs_status status = sim_queue_work_program(maker->work, maker->schedule->events[event].at_ns);

  for (; status == KVS_OK && event != SIM_NONE; event = after(maker, event)) {
    struct sim_queue_turn turn = turn_of(maker, event);

    status = sim_queue_work_turn(maker->work, &turn);
    put_chain(maker, event, &turn);
  }
  return status;
}

/* Room for all chains of the trace. */
static kvs_status make_room(struct maker *maker)
{
  uint64_t refs = 0, chunks = maker->trace->n_chunks;
  struct sim_queue_work *work = maker->work;

  for (uint32_t i = 0; i < maker->schedule->n; i++) {
    struct sim_queue_turn turn = turn_of(maker, i);

    refs += context_of(maker, &turn);
  }
  chunks += refs;
  if (chunks >= UINT32_MAX / 2)
    return KVS_ERR_TOO_LARGE;
  work->n_chunks = maker->trace->n_chunks;
  work->refs = malloc((refs + 1) * sizeof *work->refs);
  work->parent = malloc((chunks + 1) * sizeof *work->parent);
  work->depth = malloc((chunks + 1) * sizeof *work->depth);
  return work->refs && work->parent && work->depth ? KVS_OK : KVS_ERR_NOMEM;
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

static kvs_status make(struct maker *maker, uint32_t n)
{
  bool *seen = calloc((size_t)maker->trace->n_runs + 1, sizeof *seen);
  kvs_status status = KVS_ERR_NOMEM;

  if (seen)
    status = make_room(maker);
  for (uint32_t i = 0; status == KVS_OK && i < maker->schedule->n && maker->work->n_programs < n; i++)
    if (is_first(maker, i, seen))
      status = add_program(maker, i);
  if (status == KVS_OK)
    status = find_shared(maker->work);
  free(seen);
  return status;
}

uint32_t sim_queue_trace_programs(const struct sim_trace *trace, const struct sim_schedule *schedule)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < schedule->n; i++)
    n += !trace->tells_runs || schedule->after[i] == SIM_NONE;
  return n;
}

kvs_status sim_queue_work_of_trace(const struct sim_trace *trace, const struct sim_schedule *schedule,
                                   const struct sim_told *told, uint32_t n, struct sim_queue_work **work_p)
{
  struct maker maker = {.trace = trace, .schedule = schedule, .told = told};
  kvs_status status = sim_queue_work_create(trace->chunk_tokens, work_p);

  maker.work = *work_p;
  if (status == KVS_OK)
    status = make(&maker, n);
  if (status != KVS_OK) {
    sim_queue_work_destroy(*work_p);
    *work_p = NULL;
  }
  return status;
}
