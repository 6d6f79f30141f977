/*
 * tests/sim/heads.c: lru-head, a baseline that is wrong on purpose: least recently used, each request from its head on, and blind to chains. Of an idle prompt the head goes first, and what is
 * behind it takes room and is of no use.
 */
#include <stdlib.h>

#include "tests/sim/replay.h"

struct cache {
  struct chunk {
    uint32_t newer, older;
    bool resident;
  } * chunks;
  uint32_t newest, oldest, used;
  uint64_t inserted, evicted;
};

static void take_out(struct cache *cache, uint32_t number)
{
  const struct chunk *chunk = &cache->chunks[number];

  if (chunk->older != SIM_NONE)
    cache->chunks[chunk->older].newer = chunk->newer;
  else
    cache->oldest = chunk->newer;
  if (chunk->newer != SIM_NONE)
    cache->chunks[chunk->newer].older = chunk->older;
  else
    cache->newest = chunk->older;
}

static void put_newest(struct cache *cache, uint32_t number)
{
  cache->chunks[number] = (struct chunk){.newer = SIM_NONE, .older = cache->newest, .resident = true};
  if (cache->newest != SIM_NONE)
    cache->chunks[cache->newest].newer = number;
  else
    cache->oldest = number;
  cache->newest = number;
}

/* All of a request is stored, then the oldest go, its own first chunks too where it is larger than the cache. */
static uint32_t use(struct cache *cache, const uint32_t *chain, uint32_t n, uint32_t capacity)
{
  uint32_t hits = 0;

  while (hits < n && cache->chunks[chain[hits]].resident)
    hits++;
  for (uint32_t i = 0; i < n; i++) {
    if (cache->chunks[chain[i]].resident) {
      take_out(cache, chain[i]);
    } else {
      cache->used++;
      cache->inserted++;
    }
    put_newest(cache, chain[i]);
  }
  while (cache->used > capacity) {
    uint32_t number = cache->oldest;

    take_out(cache, number);
    cache->chunks[number].resident = false;
    cache->used--;
    cache->evicted++;
  }
  return hits;
}

kvs_status sim_heads_run(const struct sim_replay *replay, struct sim_result *result)
{
  struct cache cache = {.newest = SIM_NONE, .oldest = SIM_NONE};

  cache.chunks = calloc((size_t)replay->trace->n_chunks + 1, sizeof *cache.chunks);
  if (!cache.chunks)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < replay->schedule->n; i++) {
    const struct sim_request *request = &replay->trace->requests[replay->schedule->events[i].request];

    if (i == replay->warm_up)
      cache.inserted = cache.evicted = 0;
    sim_result_count(result, replay, i,
                     use(&cache, replay->trace->refs + request->first, request->n_chunks, replay->capacity));
  }
  result->inserted = cache.inserted;
  result->evicted = cache.evicted;
  free(cache.chunks);
  return KVS_OK;
}
