/*
 * tiers/policy/lru.c: the least recently used chunk that nothing depends on.
 *
 * A chunk is of use only if all before it in its chain are there, so only leaves (no resident child) may go: a chain shrinks from
 * its end (forest.h). Of those the one goes whose last use is longest ago (heap.h).
 */
#include "tiers/policy/heap.h"

static struct kvi_heap_key lru_key(const struct kvi_policy *policy, uint32_t chunk)
{
  return (struct kvi_heap_key){.time = kvi_word48_get(&policy->nodes[chunk].last_use)};
}

static kvs_status lru_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  return kvi_heap_create(sizeof(struct kvi_heap), capacity, false, lru_key, policy_p);
}

const struct kvi_policy_ops kvi_policy_lru = {
    .name = "lru",
    .create = lru_create,
    .destroy = kvi_heap_destroy,
    .memory = kvi_heap_memory,
    .insert = kvi_forest_insert,
    .link = kvi_forest_link,
    .touch = kvi_forest_touch,
    .hold = kvi_forest_hold,
    .unhold = kvi_forest_unhold,
    .remove = kvi_forest_remove,
    .move = kvi_forest_move,
    .victim = kvi_heap_victim,
    .info = kvi_forest_info,
};
