/*
 * tiers/policy/leaf_lru.c: the least recently used chunk that nothing depends on.
 *
 * A chunk is of use only if all before it in its chain are there, so only leaves (no resident child) may go: a chain shrinks from
 * its end (forest.h). Leaves that are not held stand in a binary min-heap by the last use that was recorded when they were put there, the order's word. A touch
 * only writes the time down; a victim whose recorded time is older than its real one is keyed anew and sinks, until the top is true. That
 * keeps a touch at one store, and a chunk that is used often is sifted only when it comes to the top.
 */
#include "tiers/policy/forest.h"

static uint64_t heap_key(const struct kvi_policy *forest, uint32_t group, uint32_t place)
{
  return kvi_word48_get(&forest->nodes[*kvi_forest_slot(forest, group, place)].word_or_children);
}

/* From a place that is free, to where its recorded time belongs. */
static void heap_rise(struct kvi_policy *forest, uint32_t group, uint32_t place, uint32_t handle)
{
  uint64_t key = kvi_word48_get(&forest->nodes[handle].word_or_children);

  while (place > 0 && heap_key(forest, group, (place - 1) / 2) > key) {
    kvi_forest_place(forest, group, place, *kvi_forest_slot(forest, group, (place - 1) / 2));
    place = (place - 1) / 2;
  }
  kvi_forest_place(forest, group, place, handle);
}

static void heap_sink(struct kvi_policy *forest, uint32_t group, uint32_t place, uint32_t handle)
{
  uint64_t key = kvi_word48_get(&forest->nodes[handle].word_or_children);
  uint32_t size = forest->n[group];

  for (;;) {
    uint64_t below = 2 * (uint64_t)place + 1;

    if (below >= size)
      break;
    if (below + 1 < size &&
        heap_key(forest, group, (uint32_t)below + 1) < heap_key(forest, group, (uint32_t)below))
      below++;
    if (heap_key(forest, group, (uint32_t)below) >= key)
      break;
    kvi_forest_place(forest, group, place, *kvi_forest_slot(forest, group, (uint32_t)below));
    place = (uint32_t)below;
  }
  kvi_forest_place(forest, group, place, handle);
}

static void heap_enter(struct kvi_policy *forest, uint32_t handle)
{
  struct kvi_forest_node *node = &forest->nodes[handle];

  node->word_or_children = node->last_use;
  heap_rise(forest, node->group, forest->n[node->group] - 1, handle);
}

static void heap_leave(struct kvi_policy *forest, uint32_t handle)
{
  uint32_t place = forest->nodes[handle].place_or_holds, group = forest->nodes[handle].group;
  uint32_t end = forest->n[group], last = *kvi_forest_slot(forest, group, end);

  if (place == end)
    return;
  if (place > 0 &&
      heap_key(forest, group, (place - 1) / 2) > kvi_word48_get(&forest->nodes[last].word_or_children))
    heap_rise(forest, group, place, last);
  else
    heap_sink(forest, group, place, last);
}

/* ---- the ops ---- */

static kvs_status leaf_lru_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  return kvi_forest_create(sizeof(struct kvi_policy), capacity, heap_enter, heap_leave, policy_p);
}

static uint32_t leaf_lru_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  (void)now_ns;
  while (policy->n[group] > 0) {
    uint32_t handle = *kvi_forest_slot(policy, group, 0);
    struct kvi_forest_node *node = &policy->nodes[handle];

    if (kvi_word48_get(&node->word_or_children) == kvi_word48_get(&node->last_use))
      return handle;
    node->word_or_children = node->last_use;
    heap_sink(policy, group, 0, handle);
  }
  return KVI_POLICY_NONE;
}

const struct kvi_policy_ops kvi_policy_leaf_lru = {
    .name = "leaf-lru",
    .create = leaf_lru_create,
    .destroy = kvi_forest_destroy,
    .memory = kvi_forest_memory,
    .insert = kvi_forest_insert,
    .link = kvi_forest_link,
    .touch = kvi_forest_touch,
    .hold = kvi_forest_hold,
    .unhold = kvi_forest_unhold,
    .remove = kvi_forest_remove,
    .move = kvi_forest_move,
    .victim = leaf_lru_victim,
    .info = kvi_forest_info,
};
