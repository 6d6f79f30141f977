/*
 * tiers/policy/s3fifo.c: S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023) over prefix chains.
 *
 * A small queue of a tenth of what is there for what is new, a main one for what was used more than once in it, and ghosts: the names of as many chunks as the main queue has room for
 * that left the small one last. A chunk's uses count up to 3, are forgotten when it moves to the main queue, and each buys one more round there.
 *
 * As published, but that only leaves may go: where one that others follow (or that is held) comes to its queue's end, it goes on as one that was used does. To evict others' prefixes would make them useless
 * while they take room; to look for leaves only would leave prefixes that are used all the time in the small queue for ever. So that a prompt goes from its end on in one round, in whatever order it came, a chunk is queued
 * before the one that it follows if that came just before it.
 */
#include <stdlib.h>

#include "tiers/policy/forest.h"

#define SMALL_PART 10u
#define USES_MAX   3u
#define NEAR                                                                                                 \
  64u /* chunks that came between a chunk and the one it follows, at most, if both came with one request */
#define LOOKED_MAX 4096u /* for one victim; then any that may go does */
#define GHOSTS     8u    /* in a bucket, of which there is one for as many chunks */

struct s3fifo_chunk {
  uint32_t newer, older; /* in its queue; KVI_POLICY_NONE: none */
  uint32_t name;         /* of its name; 0: not known */
  uint32_t came;         /* its number, of all that came */
  bool main;
  uint8_t uses;
};

struct s3fifo {
  struct kvi_policy forest; /* first */
  struct s3fifo_queue {
    uint32_t newest, oldest; /* KVI_POLICY_NONE: it is empty */
    uint32_t n, leaves;      /* leaves: that may go */
  } queues[2][2];            /* by group; small, main */
  struct s3fifo_chunk *chunks;
  struct s3fifo_ghosts {
    uint32_t name[GHOSTS], number[GHOSTS];
  } * ghosts;
  uint32_t n_ghosts, n_came; /* so far: the number of the next one */
};

static struct s3fifo *s3fifo_of(struct kvi_policy *policy)
{
  return (struct s3fifo *)policy;
}

static struct s3fifo_queue *queue_of(struct s3fifo *s3fifo, uint32_t chunk)
{
  return &s3fifo->queues[s3fifo->forest.nodes[chunk].group][s3fifo->chunks[chunk].main];
}

static bool is_leaf(const struct s3fifo *s3fifo, uint32_t chunk)
{
  return s3fifo->forest.nodes[chunk].place_or_holds < KVI_FOREST_NO_PLACE;
}

static uint32_t small_room(const struct s3fifo_queue *queues)
{
  uint32_t room = (queues[0].n + queues[1].n) / SMALL_PART;

  return room > 0 ? room : 1;
}

/* ---- ghosts ---- */

static uint32_t n_buckets(const struct s3fifo *s3fifo)
{
  return s3fifo->forest.capacity / GHOSTS + 1;
}

static struct s3fifo_ghosts *bucket_of(const struct s3fifo *s3fifo, uint32_t name)
{
  return &s3fifo->ghosts[(uint64_t)name * n_buckets(s3fifo) >> 32];
}

/* In the place of the one that is one for longest. */
static void ghost_add(struct s3fifo *s3fifo, uint32_t name)
{
  struct s3fifo_ghosts *bucket = bucket_of(s3fifo, name);
  uint32_t oldest = 0;

  if (name == 0)
    return;
  for (uint32_t i = 0; i < GHOSTS && bucket->name[oldest] != 0; i++)
    if (bucket->name[i] == 0 ||
        s3fifo->n_ghosts - bucket->number[i] > s3fifo->n_ghosts - bucket->number[oldest])
      oldest = i;
  bucket->name[oldest] = name;
  bucket->number[oldest] = s3fifo->n_ghosts++;
}

/* False: it was none, or has left as long ago as the main queues of both groups have room. */
static bool ghost_take(struct s3fifo *s3fifo, uint32_t name)
{
  struct s3fifo_ghosts *bucket = bucket_of(s3fifo, name);
  uint32_t room = 0;

  for (uint32_t i = 0; i < 2; i++)
    if (s3fifo->queues[i][0].n + s3fifo->queues[i][1].n > 0)
      room += s3fifo->queues[i][0].n + s3fifo->queues[i][1].n - small_room(s3fifo->queues[i]);
  for (uint32_t i = 0; name != 0 && i < GHOSTS; i++) {
    if (bucket->name[i] != name)
      continue;
    bucket->name[i] = 0;
    return s3fifo->n_ghosts - bucket->number[i] <= room;
  }
  return false;
}

/* ---- queues ---- */

/* newer: what it is queued before; KVI_POLICY_NONE: it is the newest. */
static void join(struct s3fifo *s3fifo, struct s3fifo_queue *queue, uint32_t chunk, uint32_t newer)
{
  struct s3fifo_chunk *chunks = s3fifo->chunks;
  uint32_t older = newer == KVI_POLICY_NONE ? queue->newest : chunks[newer].older;

  chunks[chunk].newer = newer;
  chunks[chunk].older = older;
  *(newer == KVI_POLICY_NONE ? &queue->newest : &chunks[newer].older) = chunk;
  *(older == KVI_POLICY_NONE ? &queue->oldest : &chunks[older].newer) = chunk;
  queue->n++;
}

static void part(struct s3fifo *s3fifo, uint32_t chunk)
{
  struct s3fifo_queue *queue = queue_of(s3fifo, chunk);
  struct s3fifo_chunk *chunks = s3fifo->chunks;
  uint32_t newer = chunks[chunk].newer, older = chunks[chunk].older;

  *(newer == KVI_POLICY_NONE ? &queue->newest : &chunks[newer].older) = older;
  *(older == KVI_POLICY_NONE ? &queue->oldest : &chunks[older].newer) = newer;
  queue->n--;
}

/* One that is new in a group. */
static void join_new(struct s3fifo *s3fifo, struct s3fifo_queue *queue, uint32_t chunk, uint32_t parent)
{
  bool together = parent != KVI_POLICY_NONE && kvi_forest_is_resident(&s3fifo->forest, parent) &&
                  queue_of(s3fifo, parent) == queue &&
                  s3fifo->chunks[chunk].came - s3fifo->chunks[parent].came <= NEAR;

  join(s3fifo, queue, chunk, together ? parent : KVI_POLICY_NONE);
}

static void enter(struct kvi_policy *policy, uint32_t chunk)
{
  kvi_forest_place(policy, policy->nodes[chunk].group, policy->n[policy->nodes[chunk].group] - 1, chunk);
  queue_of(s3fifo_of(policy), chunk)->leaves++;
}

static void leave(struct kvi_policy *policy, uint32_t chunk)
{
  uint32_t group = policy->nodes[chunk].group;

  kvi_forest_place(policy, group, policy->nodes[chunk].place_or_holds,
                   *kvi_forest_slot(policy, group, policy->n[group]));
  queue_of(s3fifo_of(policy), chunk)->leaves--;
}

/* ---- the ops ---- */

static void s3fifo_destroy(struct kvi_policy *policy)
{
  if (policy) {
    free(s3fifo_of(policy)->chunks);
    free(s3fifo_of(policy)->ghosts);
  }
  kvi_forest_destroy(policy);
}

static kvs_status s3fifo_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  kvs_status status = kvi_forest_create(sizeof(struct s3fifo), capacity, enter, leave, policy_p);
  struct s3fifo *s3fifo;

  if (status != KVS_OK)
    return status;
  s3fifo = s3fifo_of(*policy_p);
  for (uint32_t i = 0; i < 4; i++)
    s3fifo->queues[i / 2][i % 2] =
        (struct s3fifo_queue){.newest = KVI_POLICY_NONE, .oldest = KVI_POLICY_NONE};
  s3fifo->chunks = calloc(capacity, sizeof(*s3fifo->chunks));
  s3fifo->ghosts = calloc(n_buckets(s3fifo), sizeof(*s3fifo->ghosts));
  if (s3fifo->chunks && s3fifo->ghosts)
    return KVS_OK;
  s3fifo_destroy(*policy_p);
  *policy_p = NULL;
  return KVS_ERR_NOMEM;
}

static uint64_t s3fifo_memory(const struct kvi_policy *policy)
{
  const struct s3fifo *s3fifo = (const struct s3fifo *)policy;

  return kvi_forest_memory(policy) + sizeof(*s3fifo) - sizeof(*policy) +
         (uint64_t)policy->capacity * sizeof(*s3fifo->chunks) +
         (uint64_t)n_buckets(s3fifo) * sizeof(*s3fifo->ghosts);
}

static void s3fifo_insert(struct kvi_policy *policy, uint32_t handle, const struct kvi_policy_chunk *chunk,
                          uint64_t now_ns)
{
  struct s3fifo *s3fifo = s3fifo_of(policy);
  uint32_t name = (uint32_t)(chunk->name * UINT64_C(0x9E3779B97F4A7C15) >> 32);
  bool main = ghost_take(s3fifo, name);

  s3fifo->chunks[handle] = (struct s3fifo_chunk){.name = name, .came = s3fifo->n_came++, .main = main};
  join_new(s3fifo, &s3fifo->queues[KVI_POLICY_MEMORY][main], handle, chunk->parent);
  kvi_forest_insert(policy, handle, chunk, now_ns);
}

static void s3fifo_touch(struct kvi_policy *policy, uint32_t chunk, uint64_t now_ns)
{
  struct s3fifo_chunk *own = &s3fifo_of(policy)->chunks[chunk];

  if (kvi_forest_is_resident(policy, chunk) && own->uses < USES_MAX)
    own->uses++;
  kvi_forest_touch(policy, chunk, now_ns);
}

static uint32_t s3fifo_remove(struct kvi_policy *policy, uint32_t chunk)
{
  struct s3fifo *s3fifo = s3fifo_of(policy);

  if (kvi_forest_is_resident(policy, chunk)) {
    part(s3fifo, chunk);
    if (!s3fifo->chunks[chunk].main)
      ghost_add(s3fifo, s3fifo->chunks[chunk].name);
  }
  return kvi_forest_remove(policy, chunk);
}

/* It is new in the same queue there. */
static void s3fifo_move(struct kvi_policy *policy, uint32_t chunk, enum kvi_policy_group group)
{
  struct s3fifo *s3fifo = s3fifo_of(policy);

  if (!kvi_forest_is_resident(policy, chunk) || policy->nodes[chunk].group == (uint32_t)group)
    return;
  part(s3fifo, chunk);
  kvi_forest_move(policy, chunk, group);
  join_new(s3fifo, queue_of(s3fifo, chunk), chunk, kvi_forest_parent(policy, chunk));
}

/* The oldest of a queue goes, or on to the end of the main one. KVI_POLICY_NONE: that. */
static uint32_t look(struct s3fifo *s3fifo, struct s3fifo_queue *queues, bool main)
{
  uint32_t chunk = queues[main].oldest;
  struct s3fifo_chunk *own = &s3fifo->chunks[chunk];
  bool leaf = is_leaf(s3fifo, chunk);

  if (leaf && own->uses <= (main ? 0 : 1))
    return chunk;
  part(s3fifo, chunk);
  queues[main].leaves -= leaf;
  queues[1].leaves += leaf;
  own->uses = main && own->uses > 0 ? (uint8_t)(own->uses - 1) : 0;
  own->main = true;
  join(s3fifo, &queues[1], chunk, KVI_POLICY_NONE);
  return KVI_POLICY_NONE;
}

/* Ends: what leaves the small queue does not come back to it, and each round of the main one takes a use of each chunk in it. */
static uint32_t s3fifo_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  struct s3fifo *s3fifo = s3fifo_of(policy);
  struct s3fifo_queue *queues = s3fifo->queues[group];
  uint32_t chunk = KVI_POLICY_NONE;

  (void)now_ns;
  if (policy->n[group] == 0)
    return KVI_POLICY_NONE;
  for (uint32_t looked = 0; chunk == KVI_POLICY_NONE && looked < LOOKED_MAX; looked++)
    chunk = look(s3fifo, queues, queues[1].leaves > 0 && queues[0].n < small_room(queues));
  return chunk != KVI_POLICY_NONE ? chunk : *kvi_forest_slot(policy, group, 0);
}

const struct kvi_policy_ops kvi_policy_s3fifo = {
    .name = "s3fifo",
    .counts = true,
    .create = s3fifo_create,
    .destroy = s3fifo_destroy,
    .memory = s3fifo_memory,
    .insert = s3fifo_insert,
    .link = kvi_forest_link,
    .touch = s3fifo_touch,
    .hold = kvi_forest_hold,
    .unhold = kvi_forest_unhold,
    .remove = s3fifo_remove,
    .move = s3fifo_move,
    .victim = s3fifo_victim,
    .info = kvi_forest_info,
};
