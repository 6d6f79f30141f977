/*
 * tiers/redis/medium_lookup.c: a lookup asks for some keys at a time, pipelined. A turn on the tier's thread starts the first ones; each that
 * ends starts another one: so all of it happens on that thread, the many small commands leave in one packet, and behind a key that is known
 * not to be there no further one is asked for.
 */
#include <stdlib.h>

#include "tiers/redis/medium_private.h"

#define LOOKS_AT_ONCE 64u /* of one lookup */

struct looks {
  struct kvi_redis_op turn;
  struct kvi_redis_medium *own;
  struct kvi_medium_lookup *asked;
  uint32_t next, pending, n_slots;
  kvs_status status;
  struct look {
    struct kvi_redis_op op;
    struct looks *all;
    uint32_t index;
  } slots[];
};

static void look_done(struct kvi_redis_op *op);

/* Keys from here on are not asked for. */
static uint32_t end_of(const struct kvi_medium_lookup *asked)
{
  /* relaxed: another lookup of the chain may lower it a moment later just as well */
  uint32_t end = asked->end ? atomic_load_explicit(asked->end, memory_order_relaxed) : asked->n_keys;

  return end < asked->n_keys ? end : asked->n_keys;
}

static void end_lower(const struct kvi_medium_lookup *asked, uint32_t index)
{
  uint32_t end;

  if (!asked->end)
    return;
  end = atomic_load_explicit(asked->end, memory_order_relaxed);
  while (index < end && !atomic_compare_exchange_weak_explicit(asked->end, &end, index, memory_order_relaxed,
                                                               memory_order_relaxed))
    ;
}

static bool is_skipped(const struct kvi_medium_lookup *asked, uint32_t index)
{
  return asked->skip && (asked->skip[index / 8] >> index % 8 & 1);
}

/* The next key, if there is one. */
static void look_next(struct look *look)
{
  struct looks *all = look->all;
  struct kvi_medium_lookup *asked = all->asked;
  struct kvi_medium_identity identity = {
      .tenant = asked->tenant, .space = asked->space, .key_length = asked->key_length};
  uint32_t end = end_of(asked);

  while (all->next < end && is_skipped(asked, all->next))
    all->next++;
  if (all->next >= end || all->status != KVS_OK)
    return;
  look->index = all->next++;
  identity.key = asked->keys + (size_t)look->index * asked->key_length;
  look->op = (struct kvi_redis_op){
      .verb = KVI_REDIS_LOOK, .deadline_ns = asked->deadline_ns, .done = look_done, .ctx = look};
  all->status = kvi_redis_medium_key(all->own, &identity, &look->op.key);
  if (all->status == KVS_OK)
    all->status = kvi_redis_submit(all->own->redis, &look->op);
  if (all->status == KVS_ERR_BUSY &&
      all->pending > 0) { /* one of those under way asks for it when it has ended */
    all->status = KVS_OK;
    all->next = look->index;
    return;
  }
  asked->n_asked += all->status == KVS_OK;
  all->pending += all->status == KVS_OK;
}

static void looks_end(struct looks *all)
{
  struct kvi_medium_lookup *asked = all->asked;
  kvs_status status = all->status;

  if (all->pending > 0)
    return;
  free(all);
  asked->done(asked, status);
}

static void look_done(struct kvi_redis_op *op)
{
  struct look *look = op->ctx;
  struct looks *all = look->all;
  kvs_status status = kvi_redis_medium_outcome(all->own, op);

  if (status == KVS_OK && kvi_quality_loss(op->value.quality) > all->asked->loss_max)
    status = KVS_MISS; /* a get of it would be one */
  all->pending--;
  if (status == KVS_OK)
    all->asked->present[look->index / 8] |= (uint8_t)(1u << look->index % 8);
  else if (status == KVS_MISS || status == KVS_ERR_CORRUPT)
    end_lower(all->asked, look->index);
  else if (all->status == KVS_OK)
    all->status = status; /* no use in asking for the others */
  look_next(look);
  looks_end(all);
}

static void looks_begin(struct kvi_redis_op *op)
{
  struct looks *all = op->ctx;

  if (op->status != KVS_OK)
    all->status = kvi_redis_medium_outcome(all->own, op);
  for (uint32_t i = 0; i < all->n_slots; i++) {
    all->slots[i].all = all;
    look_next(&all->slots[i]);
  }
  looks_end(all);
}

kvs_status kvi_redis_medium_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *asked)
{
  uint32_t n_slots = asked->n_keys < LOOKS_AT_ONCE ? asked->n_keys : LOOKS_AT_ONCE;
  struct looks *all;
  kvs_status status;

  if (asked->n_keys == 0 || asked->key_length < KVS_KEY_MIN || asked->key_length > KVS_KEY_MAX)
    return KVS_ERR_INVALID;
  all = calloc(1, sizeof(*all) + n_slots * sizeof(all->slots[0]));
  if (!all)
    return KVS_ERR_NOMEM;
  asked->n_asked = 0;
  all->own = kvi_redis_medium_of(medium);
  all->asked = asked;
  all->n_slots = n_slots;
  all->turn = (struct kvi_redis_op){
      .verb = KVI_REDIS_TURN, .deadline_ns = asked->deadline_ns, .done = looks_begin, .ctx = all};
  status = kvi_redis_submit(all->own->redis, &all->turn);
  if (status != KVS_OK)
    free(all);
  return status;
}
