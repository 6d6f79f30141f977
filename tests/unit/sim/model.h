/*
 * model.h: caches of prefix chains that are too simple to be wrong, for comparing the simulator with. They share no code with it: a trace is an array of chains of letters, a block is known
 * by all letters up to it, and everything is searched from end to end.
 */
#ifndef KVI_TESTS_UNIT_SIM_MODEL_H
#define KVI_TESTS_UNIT_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define MODEL_REQUESTS 40
#define MODEL_LENGTH   12
#define MODEL_BLOCKS   (MODEL_REQUESTS * MODEL_LENGTH)

struct model_trace {
  char chain[MODEL_REQUESTS][MODEL_LENGTH + 1]; /* "abc" is three blocks: a, ab, abc */
  int n;
};

/* A set of blocks in an order: the first one goes first where a rule says nothing else. */
struct model_cache {
  char block[MODEL_BLOCKS + MODEL_LENGTH][MODEL_LENGTH + 1];
  int uses[MODEL_BLOCKS + MODEL_LENGTH];
  int came[MODEL_BLOCKS + MODEL_LENGTH];
  int n;
};

static inline int model_find(const struct model_cache *cache, const char *block)
{
  for (int i = 0; i < cache->n; i++)
    if (strcmp(cache->block[i], block) == 0)
      return i;
  return -1;
}

static inline void model_remove(struct model_cache *cache, int at)
{
  cache->n--;
  memmove(cache->block[at], cache->block[at + 1], (size_t)(cache->n - at) * sizeof cache->block[0]);
  memmove(&cache->uses[at], &cache->uses[at + 1], (size_t)(cache->n - at) * sizeof cache->uses[0]);
  memmove(&cache->came[at], &cache->came[at + 1], (size_t)(cache->n - at) * sizeof cache->came[0]);
}

static inline void model_put(struct model_cache *cache, int at, const char *block, int uses, int came)
{
  memmove(cache->block[at + 1], cache->block[at], (size_t)(cache->n - at) * sizeof cache->block[0]);
  memmove(&cache->uses[at + 1], &cache->uses[at], (size_t)(cache->n - at) * sizeof cache->uses[0]);
  memmove(&cache->came[at + 1], &cache->came[at], (size_t)(cache->n - at) * sizeof cache->came[0]);
  cache->n++;
  strcpy(cache->block[at], block);
  cache->uses[at] = uses;
  cache->came[at] = came;
}

static inline void model_append(struct model_cache *cache, const char *block, int uses)
{
  model_put(cache, cache->n, block, uses, 0);
}

/* The first `length` letters of a chain. */
static inline const char *model_prefix(const char *chain, int length, char out[MODEL_LENGTH + 1])
{
  memcpy(out, chain, (size_t)length);
  out[length] = '\0';
  return out;
}

static inline bool model_is_prefix(const char *prefix, const char *chain)
{
  return strncmp(prefix, chain, strlen(prefix)) == 0;
}

/* Nothing in the cache, nor in the other, goes on from it. */
static inline bool model_is_leaf(const struct model_cache *cache, const struct model_cache *other,
                                 const char *block)
{
  for (int i = 0; i < cache->n; i++)
    if (strcmp(cache->block[i], block) != 0 && model_is_prefix(block, cache->block[i]))
      return false;
  for (int i = 0; other && i < other->n; i++)
    if (strcmp(other->block[i], block) != 0 && model_is_prefix(block, other->block[i]))
      return false;
  return true;
}

static inline int model_hits(const struct model_cache *cache, const struct model_cache *other,
                             const char *chain)
{
  char block[MODEL_LENGTH + 1];
  int hits = 0, n = (int)strlen(chain);

  while (hits < n && (model_find(cache, model_prefix(chain, hits + 1, block)) >= 0 ||
                      (other && model_find(other, block) >= 0)))
    hits++;
  return hits;
}

/* Plain LRU that knows nothing of leaves; a chain is used from its tail on, or from its head. */
static inline void model_lru(const struct model_trace *trace, int capacity, bool tail_first, int *hits)
{
  static struct model_cache cache;
  char block[MODEL_LENGTH + 1];

  cache.n = 0;
  for (int i = 0; i < trace->n; i++) {
    hits[i] = model_hits(&cache, NULL, trace->chain[i]);
    for (int k = 0, n = (int)strlen(trace->chain[i]); k < n; k++) {
      int at = model_find(&cache, model_prefix(trace->chain[i], tail_first ? n - k : k + 1, block));

      if (at >= 0)
        model_remove(&cache, at);
      model_append(&cache, block, 0);
    }
    while (cache.n > capacity)
      model_remove(&cache, 0);
  }
}

/* The first request after `now` that needs the block; far away if none does. */
static inline int model_next(const struct model_trace *trace, int now, const char *block)
{
  for (int i = now + 1; i < trace->n; i++)
    if (model_is_prefix(block, trace->chain[i]))
      return i;
  return 1 << 20;
}

/* Plain Belady: the farthest next use goes, of those the deepest. */
static inline void model_belady(const struct model_trace *trace, int capacity, int *hits)
{
  static struct model_cache cache;
  char block[MODEL_LENGTH + 1];

  cache.n = 0;
  for (int i = 0; i < trace->n; i++) {
    hits[i] = model_hits(&cache, NULL, trace->chain[i]);
    for (int k = 1; k <= (int)strlen(trace->chain[i]); k++)
      if (model_find(&cache, model_prefix(trace->chain[i], k, block)) < 0)
        model_append(&cache, block, 0);
    while (cache.n > capacity) {
      int worst = 0, far = -1;

      for (int k = 0; k < cache.n; k++) {
        int next = model_next(trace, i, cache.block[k]) * 100 + (int)strlen(cache.block[k]);

        if (next > far) {
          far = next;
          worst = k;
        }
      }
      model_remove(&cache, worst);
    }
  }
}

/*
 * S3-FIFO: where a block that others go on from, or that the request has found, comes to its queue's end, it goes on as if it had been used. A new one is queued before the one that it follows if that is in the same queue, and no more than
 * 64 came since.
 */
struct model_s3fifo {
  struct model_cache small, main, ghosts;
  int came;
};

static inline int model_small_room(const struct model_s3fifo *all)
{
  int room = (all->small.n + all->main.n) / 10;

  return room > 0 ? room : 1;
}

static inline bool model_may_go(const struct model_s3fifo *all, const char *block, const char *held)
{
  return model_is_leaf(&all->small, &all->main, block) && strcmp(block, held) != 0;
}

static inline bool model_any_leaf(const struct model_s3fifo *all, const struct model_cache *queue,
                                  const char *held)
{
  for (int i = 0; i < queue->n; i++)
    if (model_may_go(all, queue->block[i], held))
      return true;
  return false;
}

/* False: nothing may go. */
static inline bool model_s3fifo_evict(struct model_s3fifo *all, const char *held)
{
  for (;;) {
    bool in_small = model_any_leaf(all, &all->small, held), in_main = model_any_leaf(all, &all->main, held);
    struct model_cache *queue;
    char block[MODEL_LENGTH + 1];
    int uses, came;
    bool may_go;

    if (!in_small && !in_main)
      return false;
    queue = all->small.n >= model_small_room(all) || !in_main ? &all->small : &all->main;
    strcpy(block, queue->block[0]);
    uses = queue->uses[0];
    came = queue->came[0];
    may_go = model_may_go(all, block, held);
    model_remove(queue, 0);
    if (queue == &all->small && may_go && uses <= 1) {
      model_append(&all->ghosts, block, 0);
      return true;
    }
    if (queue == &all->main && may_go && uses == 0)
      return true;
    model_put(&all->main, all->main.n, block, queue == &all->small || uses == 0 ? 0 : uses - 1, came);
  }
}

/* A ghost is one of the last blocks that left the small queue, as many as the main one has room for, if it has not come back since. */
static inline bool model_was_ghost(struct model_s3fifo *all, const char *block)
{
  int n = all->small.n + all->main.n, room = n > 0 ? n - model_small_room(all) : 0;

  for (int i = all->ghosts.n - 1; i >= 0 && i >= all->ghosts.n - room; i--) {
    if (strcmp(all->ghosts.block[i], block) != 0)
      continue;
    strcpy(all->ghosts.block[i], "?");
    return true;
  }
  return false;
}

static inline void model_s3fifo_insert(struct model_s3fifo *all, const char *block)
{
  struct model_cache *queue = model_was_ghost(all, block) ? &all->main : &all->small;
  char parent[MODEL_LENGTH + 1];
  int at = model_find(queue, model_prefix(block, (int)strlen(block) - 1, parent));

  model_put(queue, at >= 0 && all->came - queue->came[at] <= 64 ? at : queue->n, block, 0, all->came);
  all->came++;
}

static inline void model_s3fifo(const struct model_trace *trace, int capacity, int *hits)
{
  static struct model_s3fifo all;
  char block[MODEL_LENGTH + 1], held[MODEL_LENGTH + 1];

  all.small.n = all.main.n = all.ghosts.n = all.came = 0;
  for (int i = 0; i < trace->n; i++) {
    int n = (int)strlen(trace->chain[i]), end;

    hits[i] = model_hits(&all.small, &all.main, trace->chain[i]);
    for (int k = 1; k <= hits[i]; k++) {
      int at = model_find(&all.small, model_prefix(trace->chain[i], k, block));
      int *uses = at >= 0 ? &all.small.uses[at] : &all.main.uses[model_find(&all.main, block)];

      *uses += *uses < 3;
    }
    model_prefix(trace->chain[i], hits[i], held);
    while (capacity - all.small.n - all.main.n < n - hits[i] && model_s3fifo_evict(&all, held))
      continue;
    end = hits[i] + capacity - all.small.n - all.main.n;
    for (int k = end < n ? end : n; k > hits[i]; k--)
      model_s3fifo_insert(&all, model_prefix(trace->chain[i], k, block));
  }
}

#endif
