#include "tests/sim/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "tests/sim/heap.h"
#include "tests/sim/memory.h"
#include "tests/sim/shared.h"
#include "tests/sim/waste.h"

#define TICK_NS        256u /* the node's policies tell times apart that differ by as much */
#define PROGRESS_EVERY 256u
#define AHEAD_MOST     1e6 /* chunks in a second */
#define AHEAD_IDLE_S   600u

enum kind { NODE, HEADS, INFINITE, BELADY, COST_ORACLE };

struct sim_policy {
  const char *name, *about;
  enum kind kind;
  const struct kvi_policy_ops *ops; /* of the node's */
};

static const struct sim_policy policies[] = {
    {"lru", "least recently used, tails first", NODE, &kvi_policy_lru},
    {"index", "least worth, by waits, costs and hints", NODE, &kvi_policy_index},
    {"lru-head", "least recently used, heads first, blind to chains: the wrong order", HEADS, NULL},
    {"lfu", "least frequently used, with aging (LFU-DA)", NODE, &kvi_policy_lfu},
    {"s3fifo", "S3-FIFO, small queue of 10 %", NODE, &kvi_policy_s3fifo},
    {"sieve", "SIEVE", NODE, &kvi_policy_sieve},
    {"gdsf", "GreedyDual by frequency and prefill seconds", NODE, &kvi_policy_gdsf},
    {"fixed-ttl", "pinned softly for 2 s after each answer, else last use", NODE, &kvi_policy_fixed_ttl},
    {"continuum", "pinned softly for the time of Continuum's formula, else last use", NODE,
     &kvi_policy_continuum},
    {"infinite", "a cache that loses nothing", INFINITE, &kvi_policy_lru},
    {"belady", "offline: the most hits that are possible", BELADY, NULL},
    {"cost-oracle", "offline: greedy by saved prefill seconds", COST_ORACLE, NULL}};

const struct sim_policy *sim_policy_at(size_t number)
{
  return number < KVI_ARRAY_SIZE(policies) ? &policies[number] : NULL;
}

const struct sim_policy *sim_policy_find(const char *name)
{
  for (size_t i = 0; i < KVI_ARRAY_SIZE(policies); i++)
    if (strcmp(policies[i].name, name) == 0)
      return &policies[i];
  return NULL;
}

const char *sim_policy_name(const struct sim_policy *policy)
{
  return policy->name;
}

const char *sim_policy_about(const struct sim_policy *policy)
{
  return policy->about;
}

bool sim_policy_is_infinite(const struct sim_policy *policy)
{
  return policy->kind == INFINITE;
}

bool sim_policy_knows_tiers(const struct sim_policy *policy)
{
  return policy->kind == NODE || policy->kind == INFINITE;
}

void sim_result_count(struct sim_result *result, const struct sim_replay *replay, uint32_t event,
                      uint32_t hits)
{
  const struct sim_request *request = &replay->trace->requests[replay->schedule->events[event].request];
  uint32_t hit_tokens = sim_trace_tokens(replay->trace, request, hits);

  if (replay->hits)
    replay->hits[event] = hits;
  if (replay->progress && (event % PROGRESS_EVERY == 0 || event + 1 == replay->schedule->n))
    replay->progress(replay->own, event + 1);
  result->cpu_chunks += request->n_chunks;
  if (event < replay->warm_up)
    return;
  result->requests++;
  result->chunks += request->n_chunks;
  result->hits += hits;
  result->input_tokens += request->input_tokens;
  result->hit_tokens += hit_tokens;
  result->paid_s += sim_cost_of(&replay->cost, hit_tokens, request->input_tokens);
  result->whole_s += sim_cost_of(&replay->cost, 0, request->input_tokens);
}

/* ---- a cache under an order ---- */

struct cache {
  const struct sim_trace *trace;
  const struct sim_schedule *schedule;
  struct sim_order order;
  bool *resident; /* by chunk */
  uint32_t used, capacity;
  uint64_t clock_ns;        /* later than all uses so far */
  struct sim_heap *answers; /* events that are not answered yet, by when they are */
  uint64_t inserted, evicted, found;
  struct sim_memory memory; /* capacity 0: all is in memory */
  struct sim_shared shared;
  struct sim_waste waste;
  uint64_t asked_ns; /* what is to be brought ahead, last */
  double part;       /* of a chunk that the link has brought ahead, where one takes longer than a second */
};

/* False: nothing may go. */
static bool evict(struct cache *cache)
{
  uint32_t chunk;

  if (!sim_order_evict(&cache->order, cache->clock_ns, &chunk))
    return false;
  cache->resident[chunk] = false;
  if (cache->memory.capacity > 0)
    sim_memory_drop(&cache->memory, chunk, cache->clock_ns);
  else
    sim_waste_gone(&cache->waste, chunk, cache->clock_ns);
  cache->used--;
  cache->evicted++;
  return true;
}

static void insert(struct cache *cache, uint32_t chunk, uint64_t now_ns)
{
  sim_order_insert(&cache->order, chunk, now_ns);
  cache->resident[chunk] = true;
  cache->used++;
  cache->inserted++;
}

static struct sim_used used_of(const struct cache *cache, const struct sim_request *request,
                               const struct sim_told *told, uint32_t n)
{
  return (struct sim_used){.request = request,
                           .told = told,
                           .last = n > 0 ? cache->trace->refs[request->first + n - 1] : SIM_NONE,
                           .n = n,
                           .now_ns = cache->clock_ns};
}

static uint32_t hits_of(const struct cache *cache, const struct sim_request *request)
{
  uint32_t hits = 0;

  while (hits < request->n_chunks && cache->resident[cache->trace->refs[request->first + hits]])
    hits++;
  return hits;
}

static double answer_ns(const struct sim_request *request)
{
  return request->api_s > 0 ? request->api_s * (double)KVI_NS_PER_S : 0;
}

static const struct sim_told *told_of(const struct sim_replay *replay, uint32_t event)
{
  static const struct sim_told nothing;

  return replay->told ? &replay->told[event] : &nothing;
}

/* Those who are answered until then, before the next event. Returns whether there are any. */
static bool answer(struct cache *cache, const struct sim_replay *replay, uint32_t next, uint64_t until_ns)
{
  uint32_t event;
  bool is_any = false;

  while ((event = sim_heap_top(cache->answers)) != SIM_NONE) {
    const struct sim_request *request = &cache->trace->requests[replay->schedule->events[event].request];
    double at_ns = sim_heap_number(cache->answers, event);
    struct sim_used used;

    if (at_ns > (double)until_ns)
      break;
    is_any = true;
    sim_heap_remove(cache->answers, event);
    if (sim_schedule_is_overtaken(replay->trace, replay->schedule, event, next))
      continue;
    if ((double)cache->clock_ns < at_ns)
      cache->clock_ns = (uint64_t)at_ns / TICK_NS * TICK_NS;
    used = used_of(cache, request, told_of(replay, event), hits_of(cache, request));
    sim_order_answered(&cache->order, &used);
  }
  return is_any;
}

/*
 * Room for the chunks from `hits` on, as far as they are worth more than what goes for them; those up to `found` come from the shared tier, and are not weighed. Returns how many chunks will be
 * there.
 */
static uint32_t make_room(struct cache *cache, const struct sim_request *request, const struct sim_told *told,
                          uint32_t hits, uint32_t found)
{
  uint32_t end = request->n_chunks;

  while (end > hits && cache->capacity - cache->used < end - hits) {
    struct sim_used used = used_of(cache, request, told, hits);

    if ((end > found && !sim_order_admits(&cache->order, &used, end)) || !evict(cache))
      end--;
  }
  return end;
}

/* All of it is in memory now, if memory holds as much. */
static void use_memory(struct cache *cache, const uint32_t *chain, uint32_t hits, uint32_t end)
{
  if (cache->memory.capacity == 0)
    return;
  for (uint32_t i = end; i-- > 0;)
    sim_memory_use(&cache->memory, &cache->order, chain[i], i >= hits);
  sim_memory_fit(&cache->memory, &cache->order, cache->clock_ns);
}

/*
 * A request: its longest resident prefix is found, and what goes on from there in the shared tier; room is made for the rest, which is stored as far as there is room. Chunks are used from the tail
 * on, a tick after the other, so that a tail is always older than what is before it. Returns the hits.
 */
static uint32_t use(struct cache *cache, const struct sim_request *request, const struct sim_told *told,
                    uint64_t at_ns)
{
  const uint32_t *chain = cache->trace->refs + request->first;
  uint32_t n = request->n_chunks, hits = hits_of(cache, request), found, end;
  uint32_t held = hits > 0 ? chain[hits - 1] : SIM_NONE;
  uint64_t start = cache->clock_ns < at_ns ? at_ns / TICK_NS * TICK_NS : cache->clock_ns;
  struct sim_order *order = &cache->order;
  struct sim_used used;

  cache->clock_ns = start + (uint64_t)n * TICK_NS;
  for (uint32_t i = hits; i-- > 0;)
    order->ops->touch(order->policy, chain[i], start + (n - 1 - i) * (uint64_t)TICK_NS);
  if (held != SIM_NONE)
    order->ops->hold(order->policy, held);
  used = used_of(cache, request, told, hits);
  sim_order_arrived(order, &used);
  found = hits + sim_shared_read(&cache->shared, chain + hits, n - hits);
  end = make_room(cache, request, told, hits, found);
  for (uint32_t i = end; i-- > hits;)
    insert(cache, chain[i], start + (n - 1 - i) * (uint64_t)TICK_NS);
  if (held != SIM_NONE)
    order->ops->unhold(order->policy, held);
  used = used_of(cache, request, told, end);
  if (end > hits)
    sim_order_stored(order, &used);
  for (uint32_t i = 0; i < end; i++)
    sim_waste_used(&cache->waste, chain[i], cache->schedule->next[request->first + i] != SIM_NONE,
                   cache->clock_ns + (uint64_t)answer_ns(request));
  use_memory(cache, chain, hits, end);
  if (end > found)
    sim_shared_put(&cache->shared, chain + found, end - found);
  cache->found += hits;
  return found;
}

/*
 * The seconds until the policy is asked again, of those that are left: one, but after AHEAD_IDLE_S in which nothing was brought and nobody answered more and more, or a gap of years would be asked through second by
 * second. Not beyond the next answer.
 */
static uint64_t ahead_step_s(const struct cache *cache, uint64_t idle_s, uint64_t left_s)
{
  uint32_t event = sim_heap_top(cache->answers);
  uint64_t step_s = 1 + idle_s / AHEAD_IDLE_S;

  if (event != SIM_NONE) {
    double answer_s = ceil((sim_heap_number(cache->answers, event) - (double)cache->asked_ns) / KVI_NS_PER_S);

    if (answer_s < (double)step_s)
      step_s = answer_s > 1 ? (uint64_t)answer_s : 1;
  }
  return step_s < left_s ? step_s : left_s;
}

/* Chunks that the link brings in so many seconds, but no more than in one, or a single one. */
static uint32_t link_brings(struct cache *cache, double load_s, uint64_t seconds)
{
  if (load_s <= 1)
    return (uint32_t)fmin(1 / load_s, AHEAD_MOST);
  cache->part = fmin(cache->part + (double)seconds / load_s, 1);
  return cache->part >= 1 - 1e-9;
}

/* Once a second until the next event, as much as the link brings in one. */
static void bring_ahead(struct cache *cache, const struct sim_replay *replay, uint32_t next)
{
  uint64_t until_ns = replay->schedule->events[next].at_ns, idle_s = 0;

  if (cache->asked_ns == 0)
    cache->asked_ns = until_ns;
  while (cache->asked_ns + KVI_NS_PER_S <= until_ns) {
    uint64_t step_s = ahead_step_s(cache, idle_s, (until_ns - cache->asked_ns) / KVI_NS_PER_S);
    uint64_t now_ns = cache->asked_ns += step_s * KVI_NS_PER_S;
    bool is_answered = answer(cache, replay, next, now_ns);
    uint32_t brought;

    if (cache->clock_ns < now_ns)
      cache->clock_ns = now_ns / TICK_NS * TICK_NS;
    idle_s += step_s;
    brought = sim_memory_ahead(&cache->memory, &cache->order, link_brings(cache, replay->load_s, step_s),
                               cache->clock_ns);
    if (brought > 0)
      cache->part = 0;
    if (brought > 0 || is_answered)
      idle_s = 0;
  }
}

/* What the warm-up has moved does not count, nor what it has kept: it is over when the first request comes that counts. */
static void forget_counts(struct cache *cache, uint64_t at_ns)
{
  cache->inserted = cache->evicted = cache->found = 0;
  if (cache->memory.capacity > 0)
    sim_memory_forget(&cache->memory);
  cache->shared.found = cache->shared.written = 0;
  sim_waste_forget(&cache->waste, at_ns);
}

/* What is kept to the end was kept for nobody. */
static void end_waits(struct cache *cache)
{
  for (uint32_t i = 0; i < cache->trace->n_chunks; i++)
    if (cache->memory.capacity > 0 ? sim_list_has(&cache->memory.list, i) : cache->resident[i])
      sim_waste_gone(&cache->waste, i, cache->clock_ns);
}

/* As in a node, all that is put is written below at once: what leaves memory, or the SSD, moves no byte. */
static void take_counts(const struct cache *cache, struct sim_result *result)
{
  const struct sim_memory *memory = &cache->memory;
  uint64_t in_memory = cache->found - memory->loaded;

  result->inserted = cache->inserted;
  result->evicted = cache->evicted;
  result->ahead = memory->ahead;
  result->ahead_used = memory->ahead_used;
  result->wasted_chunk_s = cache->waste.chunk_s;
  result->never_chunk_s = cache->waste.never_chunk_s;
  result->moved[SIM_MEMORY] =
      (struct sim_moved){.found = in_memory, .read = in_memory, .written = cache->inserted};
  result->moved[SIM_REDIS] = (struct sim_moved){
      .found = cache->shared.found, .read = cache->shared.found, .written = cache->shared.written};
  if (memory->capacity == 0)
    return;
  result->moved[SIM_MEMORY].written = memory->came;
  result->moved[SIM_SSD] = (struct sim_moved){
      .found = memory->loaded, .read = memory->loaded + memory->ahead, .written = cache->inserted};
}

static kvs_status run_order(const struct sim_replay *replay, const struct sim_policy *policy,
                            struct sim_result *result)
{
  const struct sim_trace *trace = replay->trace;
  struct cache cache = {.trace = trace, .schedule = replay->schedule, .clock_ns = TICK_NS};
  kvs_status status = KVS_ERR_NOMEM;

  cache.capacity = policy->kind == INFINITE ? SIM_NONE : replay->capacity;
  cache.resident = calloc((size_t)trace->n_chunks + 1, sizeof *cache.resident);
  if (cache.resident && sim_heap_create(replay->schedule->n, &cache.answers) == KVS_OK)
    status = sim_order_create(trace, policy->ops, &cache.order);
  if (status == KVS_OK && replay->memory > 0)
    status = sim_memory_create(trace->n_chunks, replay->memory, &cache.memory);
  if (status == KVS_OK)
    status = sim_waste_create(trace->n_chunks, &cache.waste);
  if (status == KVS_OK && replay->shared > 0)
    status = sim_shared_create(trace->n_chunks, replay->shared, &cache.shared);
  cache.memory.waste = &cache.waste;
  if (status == KVS_OK) {
    for (uint32_t i = 0; i < replay->schedule->n; i++) {
      const struct sim_event *event = &replay->schedule->events[i];
      const struct sim_request *request = &trace->requests[event->request];

      if (i == replay->warm_up)
        forget_counts(&cache, event->at_ns);
      if (cache.memory.capacity > 0)
        sim_order_memory(&cache.order, cache.memory.capacity, replay->load_s);
      if (cache.memory.capacity > 0 && replay->ahead)
        bring_ahead(&cache, replay, i);
      answer(&cache, replay, i, event->at_ns);
      sim_result_count(result, replay, i, use(&cache, request, told_of(replay, i), event->at_ns));
      sim_heap_put(cache.answers, i, (double)cache.clock_ns + answer_ns(request));
    }
    end_waits(&cache);
  }
  sim_order_destroy(&cache.order);
  take_counts(&cache, result);
  sim_memory_destroy(&cache.memory);
  sim_shared_destroy(&cache.shared);
  sim_waste_destroy(&cache.waste);
  sim_heap_destroy(cache.answers);
  free(cache.resident);
  return status;
}

static uint64_t cpu_now_ns(void)
{
  struct timespec now;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * KVI_NS_PER_S + (uint64_t)now.tv_nsec;
}

kvs_status sim_replay_run(const struct sim_replay *replay, const struct sim_policy *policy,
                          struct sim_result *result_p)
{
  struct sim_result result = {0};
  uint64_t start = cpu_now_ns();
  kvs_status status;

  *result_p = result;
  if (policy->kind == BELADY || policy->kind == COST_ORACLE)
    status = sim_offline_run(replay, policy->kind == COST_ORACLE, &result);
  else if (policy->kind == HEADS)
    status = sim_heads_run(replay, &result);
  else
    status = run_order(replay, policy, &result);
  if (status != KVS_OK)
    return status;
  if (!sim_policy_knows_tiers(policy))
    result.moved[SIM_MEMORY] =
        (struct sim_moved){.found = result.hits, .read = result.hits, .written = result.inserted};
  result.cpu_ns = cpu_now_ns() - start;
  *result_p = result;
  return KVS_OK;
}
