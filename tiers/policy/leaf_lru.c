/*
 * tiers/policy/leaf_lru.c: the least recently used chunk that nothing depends on.
 *
 * A chunk is of use only if all before it in its chain are there, so only leaves (no resident child) may go: a chain shrinks from
 * its end. Leaves that are not held stand in a binary min-heap by the last use that was recorded when they were put there. A touch
 * only writes the time down; a victim whose recorded time is older than its real one is keyed anew and sinks, until the top is true. That
 * keeps a touch at one store, and a chunk that is used often is sifted only when it comes to the top.
 *
 *    nodes[handle]     20 B   parent and group 4, place in the heap or holds 4, last use 6, recorded last use or children 6
 *    heap[slot]         4 B   handle
 *
 * 24 bytes a chunk, since the index is memory: two pairs share a word. A held chunk is not in the heap, so place and holds never meet; one with
 * children is not either, so the time recorded for the heap and the children do not. Times are 48 bits of 256 ns, and an instant later is a tick later.
 *
 * Each group has a heap; a chunk is in at most one, so both lie in the same array: group memory grows from the front, group medium from the back
 * (place p is slot capacity - 1 - p).
 *
 * A handle that is removed before its children keeps their count and is GONE, until the last of them has left it: since it is not used for another chunk before,
 * a child of the former chunk is never taken for a child of the new one.
 */
#include "tiers/policy/policy.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HELD        0x80000000u /* in node.place_or_holds: the rest is the number of holds */
#define NOT_IN_HEAP 0x7fffffffu
#define NO_PARENT   0x7fffffffu

#define TICK_SHIFT 8u                        /* of nanoseconds */
#define TICK_LAST  ((UINT64_C(1) << 48) - 2) /* after 2.2 years every use is at this one */
#define GONE       ((UINT64_C(1) << 48) - 1) /* as a last use: removed, and has children */

/* 6 bytes, so that a node has no padding. */
struct word48 {
  uint16_t part[3];
};

struct node {
  uint32_t parent : 31;
  uint32_t group : 1;
  uint32_t place_or_holds;            /* in the heap: its place; NOT_IN_HEAP; HELD and the holds */
  struct word48 last_use;             /* in ticks; 0: not resident */
  struct word48 recorded_or_children; /* in the heap: the last use by which it stands there */
};
static_assert(sizeof(struct node) == 20, "metadata for each chunk; docs/store.md has the sum");

struct kvi_policy {
  uint32_t capacity;
  uint32_t heap_size[2]; /* by group */
  uint64_t epoch_ns;     /* of the first insert: tick 1 */
  uint64_t latest_ns, latest_tick;
  uint32_t *heap;
  struct node *nodes;
};

static inline uint64_t word48_get(const struct word48 *word)
{
  uint32_t low; /* two loads, not three */

  memcpy(&low, word->part, sizeof(low));
  return low | (uint64_t)word->part[2] << 32;
}

static inline void word48_set(struct word48 *word, uint64_t value)
{
  uint32_t low = (uint32_t)value;

  memcpy(word->part, &low, sizeof(low));
  word->part[2] = (uint16_t)(value >> 32);
}

/* Later instants have later ticks, even within the length of one; those that are told late may share one. */
static uint64_t tick_of(struct kvi_policy *policy, uint64_t now_ns)
{
  uint64_t tick = now_ns > policy->epoch_ns ? ((now_ns - policy->epoch_ns) >> TICK_SHIFT) + 1 : 1;

  if (now_ns == policy->latest_ns)
    return policy->latest_tick;
  if (now_ns < policy->latest_ns)
    return tick < policy->latest_tick ? tick : policy->latest_tick;
  if (tick <= policy->latest_tick)
    tick = policy->latest_tick + 1;
  policy->latest_ns = now_ns;
  policy->latest_tick = tick < TICK_LAST ? tick : TICK_LAST;
  return policy->latest_tick;
}

static bool is_resident(const struct node *node)
{
  uint64_t last_use = word48_get(&node->last_use);

  return last_use != 0 && last_use != GONE;
}

static bool is_in_heap(const struct node *node)
{
  return node->place_or_holds < NOT_IN_HEAP;
}

static uint64_t children_of(const struct node *node)
{
  return is_in_heap(node) ? 0 : word48_get(&node->recorded_or_children);
}

/* ---- the heap ---- */

static uint32_t *slot_of(const struct kvi_policy *policy, uint32_t group, uint32_t place)
{
  return &policy->heap[group == KVI_POLICY_MEMORY ? place : policy->capacity - 1 - place];
}

static uint64_t heap_key(const struct kvi_policy *policy, uint32_t group, uint32_t place)
{
  return word48_get(&policy->nodes[*slot_of(policy, group, place)].recorded_or_children);
}

static void heap_set(struct kvi_policy *policy, uint32_t group, uint32_t place, uint32_t handle)
{
  *slot_of(policy, group, place) = handle;
  policy->nodes[handle].place_or_holds = place;
}

/* From a place that is free, to where its recorded time belongs. */
static void heap_rise(struct kvi_policy *policy, uint32_t group, uint32_t place, uint32_t handle)
{
  uint64_t key = word48_get(&policy->nodes[handle].recorded_or_children);

  while (place > 0 && heap_key(policy, group, (place - 1) / 2) > key) {
    heap_set(policy, group, place, *slot_of(policy, group, (place - 1) / 2));
    place = (place - 1) / 2;
  }
  heap_set(policy, group, place, handle);
}

static void heap_sink(struct kvi_policy *policy, uint32_t group, uint32_t place, uint32_t handle)
{
  uint64_t key = word48_get(&policy->nodes[handle].recorded_or_children);
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
    heap_set(policy, group, place, *slot_of(policy, group, (uint32_t)below));
    place = (uint32_t)below;
  }
  heap_set(policy, group, place, handle);
}

static void heap_take_out(struct kvi_policy *policy, uint32_t handle)
{
  struct node *node = &policy->nodes[handle];
  uint32_t place = node->place_or_holds, group = node->group, end, last;

  if (!is_in_heap(node))
    return;
  node->place_or_holds = NOT_IN_HEAP;
  word48_set(&node->recorded_or_children, 0); /* a leaf */
  end = --policy->heap_size[group];
  if (place == end)
    return;
  last = *slot_of(policy, group, end);
  if (place > 0 &&
      heap_key(policy, group, (place - 1) / 2) > word48_get(&policy->nodes[last].recorded_or_children))
    heap_rise(policy, group, place, last);
  else
    heap_sink(policy, group, place, last);
}

/* Puts it in if it may be evicted now: resident, a leaf, not held, not in already. */
static void heap_put_in(struct kvi_policy *policy, uint32_t handle)
{
  struct node *node = &policy->nodes[handle];

  if (!is_resident(node) || node->place_or_holds != NOT_IN_HEAP || children_of(node) > 0)
    return;
  node->recorded_or_children = node->last_use;
  policy->heap_size[node->group]++;
  heap_rise(policy, node->group, policy->heap_size[node->group] - 1, handle);
}

/* ---- chains ---- */

static bool is_gone(const struct node *node)
{
  return word48_get(&node->last_use) == GONE;
}

static bool has_parent(const struct kvi_policy *policy, const struct node *node)
{
  return node->parent != NO_PARENT && !is_gone(&policy->nodes[node->parent]);
}

static void parent_set(struct kvi_policy *policy, uint32_t handle, uint32_t parent)
{
  struct node *above;

  if (parent == KVI_POLICY_NONE)
    return;
  policy->nodes[handle].parent = parent & NO_PARENT;
  above = &policy->nodes[parent];
  heap_take_out(policy, parent); /* its word is the number of children from here on */
  word48_set(&above->recorded_or_children, word48_get(&above->recorded_or_children) + 1);
}

/* Returns the parent if it had been removed, and nothing keeps its handle any longer; else KVI_POLICY_NONE. */
static uint32_t parent_leave(struct kvi_policy *policy, uint32_t handle)
{
  uint32_t parent = policy->nodes[handle].parent;
  struct node *above;

  if (parent == NO_PARENT)
    return KVI_POLICY_NONE;
  policy->nodes[handle].parent = NO_PARENT;
  above = &policy->nodes[parent];
  word48_set(&above->recorded_or_children, word48_get(&above->recorded_or_children) - 1);
  if (!is_gone(above)) {
    heap_put_in(policy, parent);
    return KVI_POLICY_NONE;
  }
  if (children_of(above) > 0)
    return KVI_POLICY_NONE;
  word48_set(&above->last_use, 0);
  return above->place_or_holds & HELD ? KVI_POLICY_NONE : parent;
}

/* ---- the ops ---- */

static void leaf_lru_destroy(struct kvi_policy *policy)
{
  if (!policy)
    return;
  free(policy->heap);
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
  policy->heap = calloc(capacity, sizeof(*policy->heap));
  policy->nodes = calloc(capacity, sizeof(*policy->nodes));
  if (!policy->heap || !policy->nodes) {
    leaf_lru_destroy(policy);
    return KVS_ERR_NOMEM;
  }
  for (uint32_t i = 0; i < capacity; i++) {
    policy->nodes[i].parent = NO_PARENT;
    policy->nodes[i].place_or_holds = NOT_IN_HEAP;
  }
  *policy_p = policy;
  return KVS_OK;
}

static uint64_t leaf_lru_memory(const struct kvi_policy *policy)
{
  return sizeof(*policy) + (uint64_t)policy->capacity * (sizeof(struct node) + sizeof(*policy->heap));
}

static void leaf_lru_insert(struct kvi_policy *policy, uint32_t handle, uint32_t parent, uint64_t bytes,
                            uint64_t now_ns)
{
  (void)bytes; /* room is freed a chunk at a time, whatever its size */
  if (policy->latest_tick == 0) {
    policy->epoch_ns = policy->latest_ns = now_ns;
    policy->latest_tick = 1;
  }
  word48_set(&policy->nodes[handle].last_use, tick_of(policy, now_ns));
  policy->nodes[handle].group = KVI_POLICY_MEMORY;
  parent_set(policy, handle, parent);
  heap_put_in(policy, handle);
}

static uint32_t leaf_lru_link(struct kvi_policy *policy, uint32_t handle, uint32_t parent)
{
  struct node *node = &policy->nodes[handle];
  uint32_t freed;

  if (parent == KVI_POLICY_NONE || !is_resident(node) || has_parent(policy, node))
    return KVI_POLICY_NONE;
  freed = parent_leave(policy, handle);
  parent_set(policy, handle, parent);
  return freed;
}

static void leaf_lru_touch(struct kvi_policy *policy, uint32_t handle, uint64_t now_ns)
{
  struct node *node = &policy->nodes[handle];
  uint64_t tick;

  if (!is_resident(node))
    return;
  tick = tick_of(policy, now_ns);
  if (word48_get(&node->last_use) < tick)
    word48_set(&node->last_use, tick);
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

static uint32_t leaf_lru_remove(struct kvi_policy *policy, uint32_t handle)
{
  struct node *node = &policy->nodes[handle];

  heap_take_out(policy, handle);
  word48_set(&node->last_use, children_of(node) > 0 ? GONE : 0);
  return parent_leave(policy, handle);
}

static void leaf_lru_move(struct kvi_policy *policy, uint32_t handle, enum kvi_policy_group group)
{
  struct node *node = &policy->nodes[handle];

  if (!is_resident(node) || node->group == (uint32_t)group)
    return;
  heap_take_out(policy, handle);
  node->group = group & 1u;
  heap_put_in(policy, handle);
}

static uint32_t leaf_lru_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  (void)now_ns;
  while (policy->heap_size[group] > 0) {
    uint32_t handle = *slot_of(policy, group, 0);
    struct node *node = &policy->nodes[handle];

    if (word48_get(&node->recorded_or_children) == word48_get(&node->last_use))
      return handle;
    node->recorded_or_children = node->last_use;
    heap_sink(policy, group, 0, handle);
  }
  return KVI_POLICY_NONE;
}

static void leaf_lru_info(const struct kvi_policy *policy, uint32_t handle, struct kvi_policy_info *info_p)
{
  const struct node *node = &policy->nodes[handle];
  uint64_t tick = is_resident(node) ? word48_get(&node->last_use) : 0;

  info_p->parent = has_parent(policy, node) ? node->parent : KVI_POLICY_NONE;
  info_p->children = (uint32_t)children_of(node);
  info_p->holds = node->place_or_holds & HELD ? node->place_or_holds & ~HELD : 0;
  info_p->last_use_ns = tick > 0 ? policy->epoch_ns + ((tick - 1) << TICK_SHIFT) : 0;
  info_p->rank = info_p->last_use_ns;
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
