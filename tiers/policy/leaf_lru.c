/*
 * tiers/policy/leaf_lru.c: the least recently used chunk that nothing depends on.
 *
 * A chunk is of use only if all before it in its chain are there, so only leaves (no resident child) may go: a chain shrinks from
 * its end. Leaves that are not held stand in a binary min-heap by the last use that was recorded when they were put there. A touch
 * only writes the time down; a victim whose recorded time is older than its real one is keyed anew and sinks, until the top is true. That
 * keeps a touch at one store into a dense array, and a chunk that is used often is sifted only when it comes to the top.
 *
 *    last_use[handle]   8 B   0: not resident
 *    nodes[handle]     20 B   parent (and which of the handle's lives it was), children, holds or place in the heap
 *    heap_keys[slot]    8 B   recorded last use
 *    heap_handles[..]   4 B
 *
 * Each group has a heap; a chunk is in at most one, so both lie in the same arrays: group memory grows from the front, group medium from the back
 * (place p is slot capacity - 1 - p).
 *
 * 40 bytes a chunk in four arrays, rather than a struct padded to 48. A handle is used again after remove; `life` counts that, so that a child
 * of the former chunk is never taken for a child of the new one.
 */
#include "tiers/policy/policy.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#define HELD        0x80000000u /* in node.place_or_holds: the rest is the number of holds */
#define NOT_IN_HEAP 0x7fffffffu

struct node {
  uint32_t parent;
  uint32_t parent_life;
  uint32_t life;
  uint32_t children : 31;
  uint32_t group : 1;
  uint32_t place_or_holds; /* a held chunk is not in the heap, so one word is enough */
};
static_assert(sizeof(struct node) == 20, "metadata for each chunk");

struct kvi_policy {
  uint32_t capacity;
  uint32_t heap_size[2]; /* by group */
  uint64_t *last_use;
  uint64_t *heap_keys;
  uint32_t *heap_handles;
  struct node *nodes;
};

/* ---- the heap ---- */

static uint32_t slot_of(const struct kvi_policy *policy, uint32_t group, uint32_t place)
{
  return group == KVI_POLICY_MEMORY ? place : policy->capacity - 1 - place;
}

static uint64_t heap_key(const struct kvi_policy *policy, uint32_t group, uint32_t place)
{
  return policy->heap_keys[slot_of(policy, group, place)];
}

static uint32_t heap_handle(const struct kvi_policy *policy, uint32_t group, uint32_t place)
{
  return policy->heap_handles[slot_of(policy, group, place)];
}

static void heap_set(struct kvi_policy *policy, uint32_t group, uint32_t place, uint64_t key, uint32_t handle)
{
  uint32_t slot = slot_of(policy, group, place);

  policy->heap_keys[slot] = key;
  policy->heap_handles[slot] = handle;
  policy->nodes[handle].place_or_holds = place;
}

static void heap_rise(struct kvi_policy *policy, uint32_t group, uint32_t place, uint64_t key,
                      uint32_t handle)
{
  while (place > 0) {
    uint32_t above = (place - 1) / 2;

    if (heap_key(policy, group, above) <= key)
      break;
    heap_set(policy, group, place, heap_key(policy, group, above), heap_handle(policy, group, above));
    place = above;
  }
  heap_set(policy, group, place, key, handle);
}

static void heap_sink(struct kvi_policy *policy, uint32_t group, uint32_t place, uint64_t key,
                      uint32_t handle)
{
  uint32_t size = policy->heap_size[group];

  for (;;) {
    uint64_t below = 2 * (uint64_t)place + 1;

    if (below >= size)
      break;
    if (below + 1 < size &&
        heap_key(policy, group, (uint32_t)below + 1) < heap_key(policy, group, (uint32_t)below))
      below++;
    if (heap_key(policy, group, (uint32_t)below) >= key)
      break;
    heap_set(policy, group, place, heap_key(policy, group, (uint32_t)below),
             heap_handle(policy, group, (uint32_t)below));
    place = (uint32_t)below;
  }
  heap_set(policy, group, place, key, handle);
}

static void heap_take_out(struct kvi_policy *policy, uint32_t handle)
{
  uint32_t place = policy->nodes[handle].place_or_holds, group = policy->nodes[handle].group, end;
  uint64_t key;
  uint32_t last;

  if (place & HELD || place == NOT_IN_HEAP)
    return;
  policy->nodes[handle].place_or_holds = NOT_IN_HEAP;
  end = --policy->heap_size[group];
  if (place == end)
    return;
  key = heap_key(policy, group, end);
  last = heap_handle(policy, group, end);
  if (place > 0 && heap_key(policy, group, (place - 1) / 2) > key)
    heap_rise(policy, group, place, key, last);
  else
    heap_sink(policy, group, place, key, last);
}

/* Puts it in if it may be evicted now: resident, a leaf, not held, not in already. */
static void heap_put_in(struct kvi_policy *policy, uint32_t handle)
{
  const struct node *node = &policy->nodes[handle];

  if (policy->last_use[handle] == 0 || node->children > 0 || node->place_or_holds != NOT_IN_HEAP)
    return;
  policy->heap_size[node->group]++;
  heap_rise(policy, node->group, policy->heap_size[node->group] - 1, policy->last_use[handle], handle);
}

/* ---- chains ---- */

static bool has_parent(const struct kvi_policy *policy, const struct node *node)
{
  return node->parent != KVI_POLICY_NONE && policy->nodes[node->parent].life == node->parent_life;
}

static void parent_set(struct kvi_policy *policy, uint32_t handle, uint32_t parent)
{
  struct node *node = &policy->nodes[handle];

  node->parent = parent;
  if (parent == KVI_POLICY_NONE)
    return;
  node->parent_life = policy->nodes[parent].life;
  policy->nodes[parent].children++;
  heap_take_out(policy, parent);
}

static void parent_leave(struct kvi_policy *policy, uint32_t handle)
{
  struct node *node = &policy->nodes[handle];

  if (has_parent(policy, node)) {
    policy->nodes[node->parent].children--;
    heap_put_in(policy, node->parent);
  }
  node->parent = KVI_POLICY_NONE;
}

/* ---- the ops ---- */

static void leaf_lru_destroy(struct kvi_policy *policy)
{
  if (!policy)
    return;
  free(policy->last_use);
  free(policy->heap_keys);
  free(policy->heap_handles);
  free(policy->nodes);
  free(policy);
}

static kvs_status leaf_lru_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  struct kvi_policy *policy;

  *policy_p = NULL;
  if (capacity == 0 || capacity > KVI_POLICY_CAPACITY_MAX)
    return KVS_ERR_INVALID;
  policy = calloc(1, sizeof(*policy));
  if (!policy)
    return KVS_ERR_NOMEM;
  policy->capacity = capacity;
  policy->last_use = calloc(capacity, sizeof(*policy->last_use));
  policy->heap_keys = calloc(capacity, sizeof(*policy->heap_keys));
  policy->heap_handles = calloc(capacity, sizeof(*policy->heap_handles));
  policy->nodes = calloc(capacity, sizeof(*policy->nodes));
  if (!policy->last_use || !policy->heap_keys || !policy->heap_handles || !policy->nodes) {
    leaf_lru_destroy(policy);
    return KVS_ERR_NOMEM;
  }
  for (uint32_t i = 0; i < capacity; i++) {
    policy->nodes[i].parent = KVI_POLICY_NONE;
    policy->nodes[i].place_or_holds = NOT_IN_HEAP;
  }
  *policy_p = policy;
  return KVS_OK;
}

static uint64_t leaf_lru_memory(const struct kvi_policy *policy)
{
  return sizeof(*policy) + (uint64_t)policy->capacity * (sizeof(struct node) + 8 + 8 + 4);
}

static void leaf_lru_insert(struct kvi_policy *policy, uint32_t handle, uint32_t parent, uint64_t bytes,
                            uint64_t now_ns)
{
  (void)bytes; /* room is freed a chunk at a time, whatever its size */
  policy->last_use[handle] = now_ns ? now_ns : 1;
  policy->nodes[handle].group = KVI_POLICY_MEMORY;
  parent_set(policy, handle, parent);
  heap_put_in(policy, handle);
}

static void leaf_lru_link(struct kvi_policy *policy, uint32_t handle, uint32_t parent)
{
  if (parent == KVI_POLICY_NONE || policy->last_use[handle] == 0 ||
      has_parent(policy, &policy->nodes[handle]))
    return;
  parent_set(policy, handle, parent);
}

static void leaf_lru_touch(struct kvi_policy *policy, uint32_t handle, uint64_t now_ns)
{
  if (policy->last_use[handle] != 0 && policy->last_use[handle] < now_ns)
    policy->last_use[handle] = now_ns;
}

static void leaf_lru_hold(struct kvi_policy *policy, uint32_t handle)
{
  struct node *node = &policy->nodes[handle];

  if (node->place_or_holds & HELD) {
    node->place_or_holds++;
    return;
  }
  heap_take_out(policy, handle);
  node->place_or_holds = HELD | 1u;
}

static uint32_t leaf_lru_unhold(struct kvi_policy *policy, uint32_t handle)
{
  struct node *node = &policy->nodes[handle];

  assert(node->place_or_holds & HELD);
  node->place_or_holds--;
  if (node->place_or_holds != HELD)
    return node->place_or_holds & ~HELD;
  node->place_or_holds = NOT_IN_HEAP;
  heap_put_in(policy, handle);
  return 0;
}

static void leaf_lru_remove(struct kvi_policy *policy, uint32_t handle)
{
  struct node *node = &policy->nodes[handle];

  heap_take_out(policy, handle);
  policy->last_use[handle] = 0;
  parent_leave(policy, handle);
  node->children = 0;
  node->life++;
}

static void leaf_lru_move(struct kvi_policy *policy, uint32_t handle, enum kvi_policy_group group)
{
  struct node *node = &policy->nodes[handle];

  if (policy->last_use[handle] == 0 || node->group == (uint32_t)group)
    return;
  heap_take_out(policy, handle);
  node->group = group & 1u;
  heap_put_in(policy, handle);
}

static uint32_t leaf_lru_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  (void)now_ns;
  while (policy->heap_size[group] > 0) {
    uint32_t handle = heap_handle(policy, group, 0);

    if (heap_key(policy, group, 0) == policy->last_use[handle])
      return handle;
    heap_sink(policy, group, 0, policy->last_use[handle], handle);
  }
  return KVI_POLICY_NONE;
}

static void leaf_lru_info(const struct kvi_policy *policy, uint32_t handle, struct kvi_policy_info *info_p)
{
  const struct node *node = &policy->nodes[handle];

  info_p->parent = has_parent(policy, node) ? node->parent : KVI_POLICY_NONE;
  info_p->children = node->children;
  info_p->holds = node->place_or_holds & HELD ? node->place_or_holds & ~HELD : 0;
  info_p->last_use_ns = policy->last_use[handle];
  info_p->rank = policy->last_use[handle];
}

const struct kvi_policy_ops kvi_policy_leaf_lru = {
    .name = "leaf-lru",
    .create = leaf_lru_create,
    .destroy = leaf_lru_destroy,
    .memory = leaf_lru_memory,
    .insert = leaf_lru_insert,
    .link = leaf_lru_link,
    .touch = leaf_lru_touch,
    .hold = leaf_lru_hold,
    .unhold = leaf_lru_unhold,
    .remove = leaf_lru_remove,
    .move = leaf_lru_move,
    .victim = leaf_lru_victim,
    .info = leaf_lru_info,
};
