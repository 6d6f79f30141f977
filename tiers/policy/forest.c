#include "tiers/policy/forest.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define HELD      0x80000000u /* in node.place_or_holds: the rest is the number of holds */
#define NO_PARENT 0x3fffffffu

#define TICK_LAST ((UINT64_C(1) << 48) - 2) /* after 2.2 years every use is at this one */
#define GONE      ((UINT64_C(1) << 48) - 1) /* as a last use: removed, and has children */

static_assert(sizeof(struct kvi_forest_node) == 20, "metadata for each chunk; docs/store.md has the sum");

uint64_t kvi_forest_tick(struct kvi_policy *forest, uint64_t now_ns)
{
  uint64_t tick;

  if (forest->latest_tick == 0) {
    forest->epoch_ns = forest->latest_ns = now_ns;
    forest->latest_tick = 1;
  }
  tick = now_ns > forest->epoch_ns ? ((now_ns - forest->epoch_ns) >> KVI_FOREST_TICK_SHIFT) + 1 : 1;

  if (now_ns == forest->latest_ns)
    return forest->latest_tick;
  if (now_ns < forest->latest_ns)
    return tick < forest->latest_tick ? tick : forest->latest_tick;
  if (tick <= forest->latest_tick)
    tick = forest->latest_tick + 1;
  forest->latest_ns = now_ns;
  forest->latest_tick = tick < TICK_LAST ? tick : TICK_LAST;
  return forest->latest_tick;
}

static bool is_resident(const struct kvi_forest_node *node)
{
  uint64_t last_use = kvi_word48_get(&node->last_use);

  return last_use != 0 && last_use != GONE;
}

static bool has_place(const struct kvi_forest_node *node)
{
  return node->place_or_holds < KVI_FOREST_NO_PLACE;
}

static uint64_t children_of(const struct kvi_forest_node *node)
{
  return has_place(node) ? 0
                         : kvi_word48_get(&node->word_or_children) & ~(KVI_FOREST_MARK | KVI_FOREST_ENDED);
}

/* ---- slots ---- */

static void leave(struct kvi_policy *forest, uint32_t handle)
{
  struct kvi_forest_node *node = &forest->nodes[handle];

  if (!has_place(node))
    return;
  forest->n[kvi_forest_side(forest, handle)]--;
  forest->leave(forest, handle);
  node->place_or_holds = KVI_FOREST_NO_PLACE;
  kvi_word48_set(&node->word_or_children,
                 kvi_word48_get(&node->word_or_children) & (KVI_FOREST_MARK | KVI_FOREST_ENDED)); /* a leaf */
}

/* If it may be evicted now: resident, a leaf, not held, not in already. */
static void enter(struct kvi_policy *forest, uint32_t handle)
{
  struct kvi_forest_node *node = &forest->nodes[handle];

  if (!is_resident(node) || node->place_or_holds != KVI_FOREST_NO_PLACE || children_of(node) > 0)
    return;
  forest->n[kvi_forest_side(forest, handle)]++;
  forest->enter(forest, handle);
}

/* ---- chains ---- */

static bool is_gone(const struct kvi_forest_node *node)
{
  return kvi_word48_get(&node->last_use) == GONE;
}

static bool has_parent(const struct kvi_policy *forest, const struct kvi_forest_node *node)
{
  return node->parent != NO_PARENT && !is_gone(&forest->nodes[node->parent]);
}

static void parent_set(struct kvi_policy *forest, uint32_t handle, uint32_t parent)
{
  struct kvi_forest_node *above;

  if (parent == KVI_POLICY_NONE)
    return;
  forest->nodes[handle].parent = parent & NO_PARENT;
  above = &forest->nodes[parent];
  leave(forest, parent); /* its word is the number of children from here on */
  kvi_word48_set(&above->word_or_children, kvi_word48_get(&above->word_or_children) + 1);
}

/* Returns the parent if it had been removed, and nothing keeps its handle any longer; else KVI_POLICY_NONE. */
static uint32_t parent_leave(struct kvi_policy *forest, uint32_t handle)
{
  uint32_t parent = forest->nodes[handle].parent;
  struct kvi_forest_node *above;

  if (parent == NO_PARENT)
    return KVI_POLICY_NONE;
  forest->nodes[handle].parent = NO_PARENT;
  above = &forest->nodes[parent];
  kvi_word48_set(&above->word_or_children, kvi_word48_get(&above->word_or_children) - 1);
  if (!is_gone(above)) {
    enter(forest, parent);
    return KVI_POLICY_NONE;
  }
  if (children_of(above) > 0)
    return KVI_POLICY_NONE;
  kvi_word48_set(&above->last_use, 0);
  return above->place_or_holds & HELD ? KVI_POLICY_NONE : parent;
}

bool kvi_forest_is_resident(const struct kvi_policy *forest, uint32_t handle)
{
  return is_resident(&forest->nodes[handle]);
}

uint32_t kvi_forest_parent(const struct kvi_policy *forest, uint32_t handle)
{
  const struct kvi_forest_node *node = &forest->nodes[handle];

  return has_parent(forest, node) ? node->parent : KVI_POLICY_NONE;
}

uint32_t kvi_forest_depth(const struct kvi_policy *forest, uint32_t handle, uint32_t most)
{
  uint32_t n = 0;

  for (; n < most && handle != KVI_POLICY_NONE && is_resident(&forest->nodes[handle]); n++)
    handle = kvi_forest_parent(forest, handle);
  return n;
}

bool kvi_forest_has_children(const struct kvi_policy *forest, uint32_t handle)
{
  return children_of(&forest->nodes[handle]) > 0;
}

/* ---- life ---- */

void kvi_forest_destroy(struct kvi_policy *forest)
{
  if (!forest)
    return;
  free(forest->slots);
  free(forest->nodes);
  free(forest);
}

kvs_status kvi_forest_create(size_t size, uint32_t capacity,
                             void (*enter_order)(struct kvi_policy *forest, uint32_t handle),
                             void (*leave_order)(struct kvi_policy *forest, uint32_t handle),
                             struct kvi_policy **forest_p)
{
  struct kvi_policy *forest;

  *forest_p = NULL;
  if (capacity == 0 || capacity > KVI_POLICY_CAPACITY_MAX)
    return KVS_ERR_INVALID;
  forest = calloc(1, size);
  if (!forest)
    return KVS_ERR_NOMEM;
  forest->capacity = capacity;
  forest->enter = enter_order;
  forest->leave = leave_order;
  forest->slots = calloc(capacity, sizeof(*forest->slots));
  forest->nodes = calloc(capacity, sizeof(*forest->nodes));
  if (!forest->slots || !forest->nodes) {
    kvi_forest_destroy(forest);
    return KVS_ERR_NOMEM;
  }
  for (uint32_t i = 0; i < capacity; i++) {
    forest->nodes[i].parent = NO_PARENT;
    forest->nodes[i].place_or_holds = KVI_FOREST_NO_PLACE;
  }
  *forest_p = forest;
  return KVS_OK;
}

uint64_t kvi_forest_memory(const struct kvi_policy *forest)
{
  return sizeof(*forest) + (uint64_t)forest->capacity * (sizeof(*forest->nodes) + sizeof(*forest->slots));
}

/* ---- the ops ---- */

void kvi_forest_insert(struct kvi_policy *forest, uint32_t handle, const struct kvi_policy_chunk *chunk,
                       uint64_t now_ns)
{
  kvi_word48_set(&forest->nodes[handle].last_use, kvi_forest_tick(forest, now_ns));
  forest->nodes[handle].group = KVI_POLICY_MEMORY;
  parent_set(forest, handle, chunk->parent);
  enter(forest, handle);
}

uint32_t kvi_forest_link(struct kvi_policy *forest, uint32_t handle, uint32_t parent)
{
  struct kvi_forest_node *node = &forest->nodes[handle];
  uint32_t freed;

  if (parent == KVI_POLICY_NONE || !is_resident(node) || has_parent(forest, node))
    return KVI_POLICY_NONE;
  freed = parent_leave(forest, handle);
  parent_set(forest, handle, parent);
  return freed;
}

void kvi_forest_touch(struct kvi_policy *forest, uint32_t handle, uint64_t now_ns)
{
  struct kvi_forest_node *node = &forest->nodes[handle];
  uint64_t tick;

  if (!is_resident(node))
    return;
  tick = kvi_forest_tick(forest, now_ns);
  if (kvi_word48_get(&node->last_use) < tick)
    kvi_word48_set(&node->last_use, tick);
}

void kvi_forest_hold(struct kvi_policy *forest, uint32_t handle)
{
  struct kvi_forest_node *node = &forest->nodes[handle];

  if (node->place_or_holds & HELD) {
    node->place_or_holds++;
    return;
  }
  leave(forest, handle);
  node->place_or_holds = HELD | 1u;
}

uint32_t kvi_forest_unhold(struct kvi_policy *forest, uint32_t handle)
{
  struct kvi_forest_node *node = &forest->nodes[handle];

  assert(node->place_or_holds & HELD);
  node->place_or_holds--;
  if (node->place_or_holds != HELD)
    return node->place_or_holds & ~HELD;
  node->place_or_holds = KVI_FOREST_NO_PLACE;
  enter(forest, handle);
  return 0;
}

uint32_t kvi_forest_remove(struct kvi_policy *forest, uint32_t handle)
{
  struct kvi_forest_node *node = &forest->nodes[handle];

  leave(forest, handle);
  kvi_forest_mark(forest, handle, false);
  kvi_word48_set(&node->last_use, children_of(node) > 0 ? GONE : 0);
  node->group = KVI_POLICY_MEMORY;
  return parent_leave(forest, handle);
}

void kvi_forest_move(struct kvi_policy *forest, uint32_t handle, enum kvi_policy_group group)
{
  struct kvi_forest_node *node = &forest->nodes[handle];

  if (!is_resident(node))
    return;
  if ((group == KVI_POLICY_MEMORY) == (node->group == KVI_POLICY_MEMORY)) { /* it keeps its place */
    node->group = (uint32_t)group & 3u;
    return;
  }
  leave(forest, handle);
  node->group = (uint32_t)group & 3u;
  enter(forest, handle);
}

void kvi_forest_info(const struct kvi_policy *forest, uint32_t handle, struct kvi_policy_info *info_p)
{
  const struct kvi_forest_node *node = &forest->nodes[handle];
  uint64_t tick = is_resident(node) ? kvi_word48_get(&node->last_use) : 0;

  info_p->parent = kvi_forest_parent(forest, handle);
  info_p->children = (uint32_t)children_of(node);
  info_p->holds = node->place_or_holds & HELD ? node->place_or_holds & ~HELD : 0;
  info_p->last_use_ns = tick > 0 ? kvi_forest_time(forest, tick) : 0;
  info_p->rank = info_p->last_use_ns;
  info_p->price = NAN;
  info_p->by_price = false;
  info_p->ended = false;
  info_p->until_ns = 0;
}
