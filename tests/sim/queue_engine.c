#include "tests/sim/queue_engine.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "client/traces/trace.h"
#include "tests/sim/heap.h"
#include "tests/sim/queue_room.h"

/* A turn that is under way. */
struct job {
  uint32_t turn; /* of the program, from 0 on */
  uint64_t came_ns;
  uint32_t held, taken; /* what it holds of the pool's tier, KVI_POLICY_NONE: nothing; chunks of its own */
  uint32_t done, left;  /* tokens of the prompt that are there; of the answer that are not */
  bool is_computed;     /* all of the prompt is there, and others may find it */
  uint32_t whole;       /* chunks of its context that it had in the pool when it was answered last */
};

struct engine {
  const struct sim_queue_work *work;
  const struct sim_queue_machine *machine;
  const struct sim_queue_policy_ops *ops;
  void *policy;
  struct sim_queue_pool pool;
  struct sim_queue_room room;
  struct sim_queue_result *result;
  struct job *jobs;             /* by program */
  uint32_t *queue, n_queue;     /* programs, in no order */
  uint32_t *running, n_running; /* programs, as they were let in */
  uint32_t n_loading, n_ended;
  struct sim_heap *
      events; /* programs by when they come, come back, or are loaded: one of these at most is ahead of each */
  bool is_changed;   /* since somebody was refused */
  uint64_t retry_ns; /* when to ask again, even if it is not */
  uint64_t changed_ns;
  uint64_t now_ns;
};

/* ---- turns ---- */

static const struct sim_queue_turn *turn_of(const struct engine *engine, uint32_t program)
{
  return &engine->work->turns[engine->work->programs[program].first_turn + engine->jobs[program].turn];
}

static uint32_t chunks_up(const struct engine *engine, uint32_t tokens)
{
  return (tokens + engine->work->chunk_tokens - 1) / engine->work->chunk_tokens;
}

static double seconds(uint64_t ns)
{
  return (double)ns / (double)KVI_NS_PER_S;
}

static void start_running(struct engine *engine, uint32_t program)
{
  engine->pool.states[program] = SIM_QUEUE_RUNNING;
  engine->running[engine->n_running++] = program;
}

/* CPU time of the policy is what passes between these. */
static uint64_t watch(void)
{
  struct timespec now;

  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * KVI_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Of the chunks that are below and not in the pool, how many to bring. */
static uint32_t choose_loaded(const struct engine *engine, uint32_t program, uint32_t hits)
{
  const struct sim_queue_pool *pool = &engine->pool;
  uint32_t below = pool->lower.capacity > 0 ? sim_queue_tier_findable(&pool->lower, program) : 0;
  double tokens = engine->work->chunk_tokens;

  if (below <= hits)
    return 0;
  if (engine->machine->is_load_weighed &&
      sim_queue_link_would_take_s(&pool->link, (below - hits) * pool->bytes_per_chunk, engine->now_ns) >
          sim_cost_of(&pool->cost, hits * tokens, below * tokens))
    return 0;
  return below - hits;
}

/* Lets a turn in, if there is room or can be made. */
static bool admit(struct engine *engine, uint32_t program)
{
  struct sim_queue_pool *pool = &engine->pool;
  struct sim_queue_result *result = engine->result;
  const struct sim_queue_turn *turn = turn_of(engine, program);
  struct job *job = &engine->jobs[program];
  uint32_t chunk_tokens = engine->work->chunk_tokens, context = chunks_up(engine, turn->input + turn->output);
  uint32_t hits = sim_queue_tier_findable(&pool->tier, program), held = KVI_POLICY_NONE, loaded;
  struct sim_queue_asker asker = {.program = program,
                                  .chunks = context - hits,
                                  .is_desperate = engine->n_running + engine->n_loading == 0};
  uint64_t start = watch();
  bool is_room;

  if (hits > 0)
    held = sim_queue_tier_hold(&pool->tier, program, hits);
  is_room =
      sim_queue_pool_free(pool) >= asker.chunks || sim_queue_room_make(&engine->room, &asker, engine->now_ns);
  if (is_room && engine->ops->started)
    engine->ops->started(engine->policy, program, seconds(engine->now_ns - job->came_ns),
                         job->whole > hits ? job->whole - hits : 0, engine->now_ns);
  result->policy_ns += watch() - start;
  if (!is_room) {
    if (hits > 0)
      sim_queue_tier_let(&pool->tier, program, held);
    return false;
  }
  sim_queue_room_started(&engine->room, program);
  pool->taken += asker.chunks;
  job->held = held;
  job->taken = asker.chunks;
  loaded = choose_loaded(engine, program, hits);
  job->done = (hits + loaded) * chunk_tokens;
  job->left = turn->output;
  job->is_computed = false;
  result->asked_tokens += turn->input;
  result->hit_tokens += (uint64_t)hits * chunk_tokens;
  result->loaded_tokens += (uint64_t)loaded * chunk_tokens;
  if (loaded == 0) {
    start_running(engine, program);
    return true;
  }
  pool->states[program] = SIM_QUEUE_LOADING;
  engine->n_loading++;
  sim_heap_put(engine->events, program,
               (double)sim_queue_link_take(&pool->link, loaded * pool->bytes_per_chunk, engine->now_ns));
  return true;
}

static bool is_any_there(const struct engine *engine, uint32_t program)
{
  const struct sim_queue_tier *tier = &engine->pool.tier;
  const uint32_t *chain;

  return sim_queue_work_chain(tier->work, tier->turns[program], &chain) > 0 &&
         tier->chunks[chain[0]].is_there;
}

static bool is_before(const struct engine *engine, uint32_t a, uint32_t b)
{
  if (engine->ops->by_request && engine->jobs[a].came_ns != engine->jobs[b].came_ns)
    return engine->jobs[a].came_ns < engine->jobs[b].came_ns;
  if (!engine->ops->by_request && is_any_there(engine, a) != is_any_there(engine, b))
    return is_any_there(engine, a);
  return a < b; /* programs have the order of their arrival */
}

/* Lets in who is first, until one cannot be. */
static void admit_all(struct engine *engine)
{
  if (!engine->is_changed && engine->now_ns < engine->retry_ns)
    return;
  if (engine->is_changed)
    engine->changed_ns = engine->now_ns;
  engine->is_changed = false;
  engine->retry_ns = UINT64_MAX;
  while (engine->n_queue > 0) {
    uint32_t first = 0;

    for (uint32_t i = 1; i < engine->n_queue; i++)
      if (is_before(engine, engine->queue[i], engine->queue[first]))
        first = i;
    if (!admit(engine, engine->queue[first])) {
      engine->retry_ns = sim_queue_room_changes_ns(&engine->room, engine->changed_ns, engine->now_ns);
      return;
    }
    engine->queue[first] = engine->queue[--engine->n_queue];
  }
}

/* Writes what was computed to the tier below, as far as that makes room. Its first `there` chunks are there already. */
static void store_below(struct engine *engine, uint32_t program, uint32_t chunks)
{
  struct sim_queue_tier *lower = &engine->pool.lower;
  uint32_t there, more, held = KVI_POLICY_NONE;

  if (lower->capacity == 0)
    return;
  there = sim_queue_tier_there(lower, program);
  more = chunks > there ? chunks - there : 0;
  if (there > 0)
    held = sim_queue_tier_hold(lower, program, there);
  while (lower->capacity - lower->used < more) {
    uint32_t victim = sim_queue_tier_victim(lower, engine->now_ns);

    if (victim == KVI_POLICY_NONE)
      break;
    sim_queue_tier_evict(lower, victim);
  }
  if (there > 0)
    sim_queue_tier_let(lower, program, held);
  if (more > lower->capacity - lower->used)
    chunks = there + lower->capacity - lower->used;
  engine->result->stored_tokens +=
      (uint64_t)sim_queue_tier_use(lower, program, chunks, engine->now_ns) * engine->work->chunk_tokens;
}

static void answer(struct engine *engine, uint32_t program)
{
  struct sim_queue_pool *pool = &engine->pool;
  const struct sim_queue_program *own = &engine->work->programs[program];
  const struct sim_queue_turn *turn = turn_of(engine, program);
  struct job *job = &engine->jobs[program];
  bool is_over = job->turn + 1 == own->n_turns;
  struct sim_queue_answered answered = {.program = program,
                                        .turn = turn,
                                        .number = job->turn,
                                        .is_last = is_over && !turn->is_end_untold,
                                        .chunks = (turn->input + turn->output) / engine->work->chunk_tokens};
  uint64_t start;

  if (job->held != KVI_POLICY_NONE)
    sim_queue_tier_let(&pool->tier, program, job->held);
  pool->taken -= job->taken;
  pool->states[program] = answered.is_last ? SIM_QUEUE_ENDED : is_over ? SIM_QUEUE_GONE : SIM_QUEUE_AWAY;
  pool->answered_ns[program] = engine->now_ns;
  engine->result->answered_tokens += turn->output;
  engine->result->turns++;
  store_below(engine, program, answered.chunks);
  start = watch();
  sim_queue_tier_use(&pool->tier, program, answered.chunks, engine->now_ns);
  if (engine->ops->answered)
    engine->ops->answered(engine->policy, &answered, engine->now_ns);
  engine->result->policy_ns += watch() - start;
  job->whole = answered.chunks;
  engine->is_changed = true;
  if (!is_over) {
    job->turn++;
    sim_heap_put(engine->events, program, (double)(engine->now_ns + turn->wait_ns));
    return;
  }
  if (answered.is_last)
    sim_queue_room_ended(&engine->room, program);
  engine->n_ended++;
  engine->result->jct_s[program] = seconds(engine->now_ns - own->arrives_ns);
}

/*
 * Its prompt is computed: from here on others find what of it is in their chains too. What it had taken for that is in the tier now, held for it until it is answered; what somebody else has put there meanwhile is
 * free.
 */
static void share(struct engine *engine, uint32_t program)
{
  struct sim_queue_tier *tier = &engine->pool.tier;
  struct job *job = &engine->jobs[program];
  uint32_t n = turn_of(engine, program)->input / engine->work->chunk_tokens, shared = 0, own, held;
  const uint32_t *chain;

  job->is_computed = true;
  if (!engine->work->is_shared)
    return;
  sim_queue_work_chain(engine->work, tier->turns[program], &chain);
  while (shared < n && engine->work->is_shared[chain[shared]])
    shared++;
  own = job->held != KVI_POLICY_NONE ? engine->work->depth[job->held] + 1 : 0;
  if (shared <= own)
    return;
  engine->pool.taken -= shared - own;
  job->taken -= shared - own;
  sim_queue_tier_use(tier, program, shared, engine->now_ns);
  held = sim_queue_tier_hold(tier, program, shared);
  if (job->held != KVI_POLICY_NONE)
    sim_queue_tier_let(tier, program, job->held);
  job->held = held;
  engine->is_changed = true;
}

static void tell_came(struct engine *engine, uint32_t program)
{
  struct sim_queue_came came = {.program = program, .turn = turn_of(engine, program)};
  uint64_t start = watch();

  if (engine->ops->came)
    engine->ops->came(engine->policy, &came, engine->now_ns);
  sim_queue_room_came(&engine->room, program);
  if (engine->ops
          ->unpin) /* what its turn needs is kept; the rest, of a turn that has left its chain, is not */
    engine->ops->unpin(engine->policy, program);
  engine->result->policy_ns += watch() - start;
}

/* ---- time ---- */

/* Who arrives, comes back or is loaded by now. */
static void take_events(struct engine *engine)
{
  uint32_t program;

  while ((program = sim_heap_top(engine->events)) != SIM_NONE &&
         sim_heap_number(engine->events, program) <= (double)engine->now_ns) {
    uint64_t at_ns = (uint64_t)sim_heap_number(engine->events, program);

    sim_heap_remove(engine->events, program);
    if (engine->pool.states[program] == SIM_QUEUE_LOADING) {
      engine->n_loading--;
      start_running(engine, program);
      continue;
    }
    engine->pool.states[program] = SIM_QUEUE_QUEUED;
    engine->pool.turns[program] = engine->work->programs[program].first_turn + engine->jobs[program].turn;
    engine->jobs[program].came_ns = at_ns;
    engine->queue[engine->n_queue++] = program;
    engine->is_changed = true;
    tell_came(engine, program);
  }
}

/* When the engine has to look up again: the next event, or another try to let somebody in. UINT64_MAX: never. */
static uint64_t next_ns(const struct engine *engine)
{
  uint32_t program = sim_heap_top(engine->events);
  uint64_t event_ns = program == SIM_NONE ? UINT64_MAX : (uint64_t)sim_heap_number(engine->events, program);
  uint64_t retry_ns = engine->n_queue > 0 ? engine->retry_ns : UINT64_MAX;

  return event_ns < retry_ns ? event_ns : retry_ns;
}

/* So many steps that only add tokens to answers: until the first answer is whole, or somebody has to be looked at. */
static uint64_t alike(const struct engine *engine)
{
  uint64_t until_ns = next_ns(engine), steps = UINT64_MAX, step_ns = engine->machine->step_ns;

  for (uint32_t i = 0; i < engine->n_running; i++) {
    const struct job *job = &engine->jobs[engine->running[i]];

    if (job->done < turn_of(engine, engine->running[i])->input)
      return 1;
    if (job->left < steps)
      steps = job->left;
  }
  if (until_ns != UINT64_MAX && until_ns > engine->now_ns) {
    uint64_t ahead = (until_ns - engine->now_ns + step_ns - 1) / step_ns;

    return steps < ahead ? steps : ahead;
  }
  return until_ns == UINT64_MAX ? steps : 1;
}

/*
 * Parts of prompts, first come first, and a token for each answer whose prompt is there. The step that ends a prompt gives the answer's first token. Returns what the
 * prompts took.
 */
static double compute(struct engine *engine, uint64_t steps)
{
  uint32_t room = engine->machine->step_tokens;
  double prompts_s = 0;

  for (uint32_t i = 0; i < engine->n_running; i++) {
    const struct sim_queue_turn *turn = turn_of(engine, engine->running[i]);
    struct job *job = &engine->jobs[engine->running[i]];
    uint32_t part = turn->input - job->done;

    if (part == 0) {
      job->left -= (uint32_t)steps;
      continue;
    }
    part = part < room ? part : room;
    room -= part;
    prompts_s += sim_cost_of(&engine->machine->cost, job->done, job->done + part);
    engine->result->computed_tokens += part;
    job->done += part;
    if (job->done == turn->input)
      job->left--;
  }
  return prompts_s;
}

static void step(struct engine *engine)
{
  uint64_t steps = alike(engine), takes_ns;
  uint32_t n = engine->n_running;
  double prompts_s;

  prompts_s = compute(engine, steps);
  engine->result->computed_s += prompts_s;
  takes_ns = (uint64_t)(prompts_s * (double)KVI_NS_PER_S) + steps * engine->machine->step_ns;
  engine->now_ns += takes_ns;
  engine->result->busy_s += seconds(takes_ns);
  engine->n_running = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t program = engine->running[i];

    if (engine->jobs[program].left == 0) {
      answer(engine, program);
      continue;
    }
    engine->running[engine->n_running++] = program;
    if (!engine->jobs[program].is_computed && engine->jobs[program].done == turn_of(engine, program)->input)
      share(engine, program);
  }
}

static void run(struct engine *engine)
{
  for (uint32_t i = 0; i < engine->work->n_programs; i++)
    sim_heap_put(engine->events, i, (double)engine->work->programs[i].arrives_ns);
  while (engine->n_ended < engine->work->n_programs) {
    take_events(engine);
    admit_all(engine);
    if (engine->n_running > 0) {
      step(engine);
      continue;
    }
    engine->now_ns = next_ns(engine);
  }
}

/* ---- from nothing to results ---- */

void sim_queue_result_free(struct sim_queue_result *result)
{
  free(result->jct_s);
  *result = (struct sim_queue_result){0};
}

static kvs_status pool_create(const struct engine *engine, struct sim_queue_pool *pool)
{
  const struct sim_queue_work *work = engine->work;
  const struct sim_queue_machine *machine = engine->machine;
  kvs_status status;

  *pool = (struct sim_queue_pool){.work = work,
                                  .cost = machine->cost,
                                  .bytes_per_chunk = machine->bytes_per_token * work->chunk_tokens,
                                  .link = {.bytes_per_s = machine->bandwidth},
                                  .link_weight = machine->link_weight,
                                  .give_way_s = machine->give_way_s};
  pool->states = calloc((size_t)work->n_programs + 1, sizeof *pool->states);
  pool->answered_ns = calloc((size_t)work->n_programs + 1, sizeof *pool->answered_ns);
  pool->turns = calloc((size_t)work->n_programs + 1, sizeof *pool->turns);
  if (!pool->states || !pool->answered_ns || !pool->turns)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < work->n_programs; i++)
    pool->turns[i] = work->programs[i].first_turn;
  status = sim_queue_tier_create(work, pool->turns, engine->ops->order,
                                 machine->pool_tokens / work->chunk_tokens, &pool->tier);
  if (status == KVS_OK && machine->bandwidth > 0)
    status = sim_queue_tier_create(work, pool->turns, &kvi_policy_lru,
                                   machine->lower_tokens / work->chunk_tokens, &pool->lower);
  return status;
}

static kvs_status create(struct engine *engine)
{
  uint32_t n = engine->work->n_programs;
  kvs_status status = pool_create(engine, &engine->pool);

  if (status != KVS_OK)
    return status;
  if (sim_queue_work_longest_s(engine->work, engine->machine) > SIM_QUEUE_LONGEST_S)
    return KVS_ERR_INVALID;
  for (uint32_t i = 0; i < engine->work->n_turns; i++)
    if (chunks_up(engine, engine->work->turns[i].input + engine->work->turns[i].output) >
        engine->pool.tier.capacity)
      return KVS_ERR_TOO_LARGE;
  engine->jobs = calloc((size_t)n + 1, sizeof *engine->jobs);
  engine->queue = calloc((size_t)n + 1, sizeof *engine->queue);
  engine->running = calloc((size_t)n + 1, sizeof *engine->running);
  engine->result->jct_s = calloc((size_t)n + 1, sizeof *engine->result->jct_s);
  if (!engine->jobs || !engine->queue || !engine->running || !engine->result->jct_s)
    return KVS_ERR_NOMEM;
  status = sim_heap_create(n, &engine->events);
  if (status == KVS_OK)
    status = engine->ops->create(&engine->pool, &engine->policy);
  return status == KVS_OK ? sim_queue_room_create(&engine->pool, engine->ops, engine->policy, &engine->room)
                          : status;
}

static void destroy(struct engine *engine)
{
  sim_queue_room_destroy(&engine->room);
  engine->ops->destroy(engine->policy);
  sim_heap_destroy(engine->events);
  sim_queue_tier_destroy(&engine->pool.tier);
  sim_queue_tier_destroy(&engine->pool.lower);
  free(engine->pool.states);
  free(engine->pool.answered_ns);
  free(engine->pool.turns);
  free(engine->jobs);
  free(engine->queue);
  free(engine->running);
}

kvs_status sim_queue_run(const struct sim_queue_work *work, const struct sim_queue_machine *machine,
                         const struct sim_queue_policy_ops *policy, struct sim_queue_result *result_p)
{
  struct sim_queue_result result = {.programs = work->n_programs};
  struct engine engine = {.work = work, .machine = machine, .ops = policy, .result = &result};
  bool *seen = calloc((size_t)work->n_chunks + 1, sizeof *seen);
  kvs_status status = create(&engine);

  *result_p = (struct sim_queue_result){0};
  if (!seen && status == KVS_OK)
    status = KVS_ERR_NOMEM;
  if (status == KVS_OK) {
    run(&engine);
    result.first_s = sim_queue_work_first_s(work, &machine->cost, seen);
    result.end_s = seconds(engine.now_ns);
    result.link_busy_s = seconds(engine.pool.link.busy_ns);
    result.wasted_byte_s = engine.pool.wasted_chunk_s * engine.pool.bytes_per_chunk;
    result.never_byte_s = engine.pool.never_chunk_s * engine.pool.bytes_per_chunk;
    *result_p = result;
  } else
    sim_queue_result_free(&result);
  free(seen);
  destroy(&engine);
  return status;
}
