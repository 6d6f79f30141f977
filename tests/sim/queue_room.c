#include "tests/sim/queue_room.h"

#include <stdlib.h>

#define RETRY_NS (50 * KVI_NS_PER_MS) /* prices fall by themselves */
#define RETRIES  1200u                /* after a minute in which nothing happens there are fewer */

kvs_status sim_queue_room_create(struct sim_queue_pool *pool, const struct sim_queue_policy_ops *ops,
                                 void *policy, struct sim_queue_room *room)
{
  size_t n = (size_t)pool->work->n_programs + 1;

  *room = (struct sim_queue_room){.pool = pool, .ops = ops, .policy = policy};
  room->kept = malloc(n * sizeof *room->kept);
  room->ended = calloc(n, sizeof *room->ended);
  if (!room->kept || !room->ended)
    return KVS_ERR_NOMEM;
  for (size_t i = 0; i < n; i++)
    room->kept[i] = KVI_POLICY_NONE;
  return KVS_OK;
}

void sim_queue_room_destroy(struct sim_queue_room *room)
{
  free(room->kept);
  free(room->ended);
}

void sim_queue_room_came(struct sim_queue_room *room, uint32_t program)
{
  struct sim_queue_tier *tier = &room->pool->tier;
  uint32_t there = sim_queue_tier_findable(tier, program);

  if (!room->ops->by_request && there > 0)
    room->kept[program] = sim_queue_tier_hold(tier, program, there);
}

void sim_queue_room_started(struct sim_queue_room *room, uint32_t program)
{
  if (room->kept[program] == KVI_POLICY_NONE)
    return;
  sim_queue_tier_let(&room->pool->tier, program, room->kept[program]);
  room->kept[program] = KVI_POLICY_NONE;
}

void sim_queue_room_ended(struct sim_queue_room *room, uint32_t program)
{
  if (!room->ops->by_request)
    room->ended[room->n_ended++] = program;
}

/* What is there of a program goes for one that came before it, at any price, if as many chunks as are asked for would soon be back. */
static bool gives_way(const struct sim_queue_room *room, uint32_t program,
                      const struct sim_queue_asker *asker, uint64_t now_ns)
{
  const struct sim_queue_pool *pool = room->pool;

  return room->ops->price && program > asker->program && pool->lower.capacity > 0 &&
         sim_queue_tier_there(&pool->lower, program) >= sim_queue_tier_there(&pool->tier, program) &&
         sim_queue_link_would_take_s(&pool->link, asker->chunks * pool->bytes_per_chunk, now_ns) <=
             pool->give_way_s;
}

/* Lets go of the program that came last of those for which something is held that do not run or load. False: there is none that the asker may take from. */
static bool release(struct sim_queue_room *room, const struct sim_queue_asker *asker, uint64_t now_ns)
{
  const struct sim_queue_pool *pool = room->pool;

  for (uint32_t i = pool->work->n_programs; i-- > 0;) {
    if (i == asker->program || pool->tier.holds[i] == 0 ||
        (!sim_queue_pool_is_away(pool, i) && pool->states[i] != SIM_QUEUE_QUEUED))
      continue;
    if (!asker->is_desperate && !(room->ops->breaks_later && i > asker->program) &&
        !gives_way(room, i, asker, now_ns))
      continue;
    if (room->ops->unpin)
      room->ops->unpin(room->policy, i);
    sim_queue_room_started(room, i);
    return true;
  }
  return false;
}

/* The last chunk of a program that has ended, if it may go, and nobody has used it since: others may have gone on from there, or wait with it. */
static uint32_t ended_chunk(struct sim_queue_room *room)
{
  const struct sim_queue_tier *tier = &room->pool->tier;

  while (room->n_ended > 0) {
    uint32_t program = room->ended[room->n_ended - 1], chunk = sim_queue_tier_last(tier, program);

    if (chunk != KVI_POLICY_NONE && tier->chunks[chunk].user == program && sim_queue_tier_may_go(tier, chunk))
      return chunk;
    room->n_ended--;
  }
  return KVI_POLICY_NONE;
}

static bool evict_one(struct sim_queue_room *room, const struct sim_queue_asker *asker, uint64_t now_ns)
{
  struct sim_queue_pool *pool = room->pool;
  uint32_t chunk = ended_chunk(room);

  if (chunk == KVI_POLICY_NONE) {
    chunk = sim_queue_tier_victim(&pool->tier, now_ns);
    if (chunk == KVI_POLICY_NONE)
      return false;
    if (room->ops->price && !asker->is_desperate &&
        !gives_way(room, pool->tier.chunks[chunk].user, asker, now_ns) &&
        room->ops->price(room->policy, chunk, now_ns) > 1.0 / asker->chunks)
      return false;
  }
  sim_queue_pool_evict(pool, chunk, now_ns);
  return true;
}

bool sim_queue_room_make(struct sim_queue_room *room, const struct sim_queue_asker *asker, uint64_t now_ns)
{
  const struct sim_queue_pool *pool = room->pool;

  if (room->ops->expire)
    room->ops->expire(room->policy, now_ns);
  while (sim_queue_pool_free(pool) + pool->tier.used - pool->tier.held < asker->chunks)
    if (!release(room, asker, now_ns))
      return false;
  while (sim_queue_pool_free(pool) < asker->chunks)
    if (!evict_one(room, asker, now_ns))
      return false;
  return true;
}

uint64_t sim_queue_room_changes_ns(const struct sim_queue_room *room, uint64_t since_ns, uint64_t now_ns)
{
  uint64_t part_ns = (now_ns - since_ns) / RETRIES;

  if (room->ops->price)
    return now_ns + (part_ns > RETRY_NS ? part_ns : RETRY_NS);
  return room->ops->changes_ns ? room->ops->changes_ns(room->policy, now_ns) : UINT64_MAX;
}
