/*
 * tests/sim/heads.c: lru-head, a baseline that is wrong on purpose: least recently used, each request from its head on, and blind to chains. Of an idle prompt the head goes first, and what is
 * behind it takes room and is of no use.
 */
#include "tests/sim/list.h"
#include "tests/sim/replay.h"

struct cache {
  struct sim_list list;
  uint64_t inserted, evicted;
};

/* All of a request is stored, then the oldest go, its own first chunks too where it is larger than the cache. */
static uint32_t use(struct cache *cache, const uint32_t *chain, uint32_t n, uint32_t capacity)
{
  uint32_t hits = 0;

  while (hits < n && sim_list_has(&cache->list, chain[hits]))
    hits++;
  for (uint32_t i = 0; i < n; i++) {
    if (sim_list_has(&cache->list, chain[i]))
      sim_list_remove(&cache->list, chain[i]);
    else
      cache->inserted++;
    sim_list_push(&cache->list, chain[i]);
  }
  while (cache->list.n > capacity) {
    sim_list_remove(&cache->list, cache->list.first);
    cache->evicted++;
  }
  return hits;
}

kvs_status sim_heads_run(const struct sim_replay *replay, struct sim_result *result)
{
  struct cache cache = {0};
  kvs_status status = sim_list_create(replay->trace->n_chunks, &cache.list);

  for (uint32_t i = 0; status == KVS_OK && i < replay->schedule->n; i++) {
    const struct sim_request *request = &replay->trace->requests[replay->schedule->events[i].request];

    if (i == replay->warm_up)
      cache.inserted = cache.evicted = 0;
    sim_result_count(result, replay, i,
                     use(&cache, replay->trace->refs + request->first, request->n_chunks, replay->capacity));
  }
  result->inserted = cache.inserted;
  result->evicted = cache.evicted;
  sim_list_destroy(&cache.list);
  return status;
}
