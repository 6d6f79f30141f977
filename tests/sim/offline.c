/*
 * tests/sim/offline.c: what a cache could do that knew the future.
 *
 * belady evicts the leaf whose next use is farthest away. Whoever uses a chunk uses all before it, so a leaf's next use is never nearer than its parent's: the farthest chunk
 * of all is a leaf, and this is Belady's rule itself, which no policy beats in hits. A chunk may go before it was of use, which is bypass.
 *
 * cost-oracle is greedy by what a chunk is worth: the seconds that it saves at its next use, divided by the time until then, in requests. Seconds grow with depth, so that worth
 * does not order chunks once and for all: they lie in heaps by depth (powers of 2^(1/8)), in each the farthest next use on top, and the least worth of the tops goes. It is no optimum: that would
 * be a flow of least cost.
 */
#include <math.h>
#include <stdlib.h>

#include "tests/sim/heap.h"
#include "tests/sim/replay.h"

#define HEAPS_MAX 256u

struct cache {
  const struct sim_replay *replay;
  bool weighed;
  struct sim_heap *heaps[HEAPS_MAX]; /* leaves, by minus their next use */
  uint32_t n_heaps;
  struct chunk {
    uint32_t children;
    uint32_t next;     /* event; SIM_NONE: never */
    uint32_t inserted; /* at this event */
    uint8_t heap;
    bool resident;
  } * chunks;
  uint32_t used;
  uint64_t stored, gone;
};

static uint8_t heap_of(const struct cache *cache, uint32_t depth)
{
  double number = cache->weighed ? 8 * log2(depth + 1.0) : 0;

  return (uint8_t)(number < HEAPS_MAX - 1 ? number : HEAPS_MAX - 1);
}

static void destroy(struct cache *cache)
{
  for (uint32_t i = cache->n_heaps; i-- > 0;)
    sim_heap_destroy(cache->heaps[i]);
  free(cache->chunks);
}

static kvs_status create(struct cache *cache)
{
  const struct sim_trace *trace = cache->replay->trace;
  uint32_t room[HEAPS_MAX] = {0}, most = 0;
  kvs_status status;

  cache->chunks = calloc((size_t)trace->n_chunks + 1, sizeof *cache->chunks);
  if (!cache->chunks)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < trace->n_chunks; i++) {
    uint8_t heap = heap_of(cache, trace->depth[i]);

    cache->chunks[i].heap = heap;
    room[heap]++;
    if (most < heap)
      most = heap;
  }
  status = sim_heap_create(trace->n_chunks, &cache->heaps[0]);
  cache->n_heaps = status == KVS_OK;
  while (status == KVS_OK && cache->n_heaps <= most) {
    status = sim_heap_create_sharing(cache->heaps[0], room[cache->n_heaps], &cache->heaps[cache->n_heaps]);
    cache->n_heaps += status == KVS_OK;
  }
  return status;
}

static void put_leaf(struct cache *cache, uint32_t number)
{
  const struct chunk *chunk = &cache->chunks[number];

  sim_heap_put(cache->heaps[chunk->heap], number, chunk->next == SIM_NONE ? -INFINITY : -(double)chunk->next);
}

/* Seconds saved for each request that it has to be kept over. */
static double worth_of(const struct cache *cache, uint32_t number, uint32_t event)
{
  const struct sim_replay *replay = cache->replay;
  const struct chunk *chunk = &cache->chunks[number];
  double start = (double)replay->trace->depth[number] * replay->trace->chunk_tokens;

  if (chunk->next == SIM_NONE)
    return 0;
  if (!cache->weighed)
    return 1.0 / (chunk->next - event);
  return sim_cost_of(&replay->cost, start, start + replay->trace->chunk_tokens) / (chunk->next - event);
}

/* There is a leaf, since something is resident. */
static void evict(struct cache *cache, uint32_t event)
{
  uint32_t worst = SIM_NONE, parent;
  double least = INFINITY;
  struct chunk *chunk;

  for (uint32_t i = 0; i < cache->n_heaps; i++) {
    uint32_t top = sim_heap_top(cache->heaps[i]);
    double worth = top != SIM_NONE ? worth_of(cache, top, event) : INFINITY;

    if (worth >= least)
      continue;
    least = worth;
    worst = top;
  }
  chunk = &cache->chunks[worst];
  sim_heap_remove(cache->heaps[chunk->heap], worst);
  chunk->resident = false;
  cache->used--;
  if (chunk->inserted == event)
    cache->stored--; /* bypassed */
  else
    cache->gone++;
  parent = cache->replay->trace->parent[worst];
  if (parent != SIM_NONE && --cache->chunks[parent].children == 0)
    put_leaf(cache, parent);
}

static uint32_t use(struct cache *cache, uint32_t event)
{
  const struct sim_trace *trace = cache->replay->trace;
  const struct sim_request *request = &trace->requests[cache->replay->schedule->events[event].request];
  const uint32_t *chain = trace->refs + request->first,
                 *next = cache->replay->schedule->next + request->first;
  uint32_t hits = 0, n = request->n_chunks;

  while (hits < n && cache->chunks[chain[hits]].resident)
    hits++;
  for (uint32_t i = 0; i < n; i++)
    cache->chunks[chain[i]].next = next[i];
  if (hits > 0 && hits < n && cache->chunks[chain[hits - 1]].children == 0)
    sim_heap_remove(cache->heaps[cache->chunks[chain[hits - 1]].heap], chain[hits - 1]);
  for (uint32_t i = hits; i < n; i++) {
    struct chunk *chunk = &cache->chunks[chain[i]];

    chunk->resident = true;
    chunk->inserted = event;
    if (i > 0)
      cache->chunks[chain[i - 1]].children++;
  }
  cache->used += n - hits;
  cache->stored += n - hits;
  if (n > 0 && cache->chunks[chain[n - 1]].children == 0)
    put_leaf(cache, chain[n - 1]);
  while (cache->used > cache->replay->capacity)
    evict(cache, event);
  return hits;
}

kvs_status sim_offline_run(const struct sim_replay *replay, bool weighed, struct sim_result *result)
{
  struct cache cache = {.replay = replay, .weighed = weighed};
  kvs_status status = create(&cache);

  for (uint32_t i = 0; status == KVS_OK && i < replay->schedule->n; i++) {
    if (i == replay->warm_up)
      cache.stored = cache.gone = 0;
    sim_result_count(result, replay, i, use(&cache, i));
  }
  result->inserted = cache.stored;
  result->evicted = cache.gone;
  destroy(&cache);
  return status;
}
