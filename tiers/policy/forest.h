/*
 * tiers/policy/forest.h: what policies have in common: chains of chunks as a forest over handles, holds, last uses, and which chunks may be evicted just now. policy.h has the contract of the
 * ops, of which a policy takes from here what it does not do otherwise.
 *
 * A chunk may go if it is resident, a leaf (no resident chunk continues it) and not held. Such chunks stand in slots, by side, in an order that is the policy's: it
 * is told when one enters and leaves.
 *
 *    nodes[handle]     20 B   parent and group 4, place in the slots or holds 4, last use 6, the order's word or children 6
 *    slots[place]       4 B   handle
 *
 * 24 bytes a chunk, since the index is memory: two pairs share a word. A held chunk has no slot, so place and holds never meet; one with children has none either, so the order's word
 * and the children do not. Times are 48 bits of 256 ns, and an instant later is a tick later.
 *
 * There are two sides: chunks that are in memory only, and those that have a copy below, be they in memory or not. A chunk is on one, so both share an array: side memory grows from the front, side medium from the back (place p is slot capacity - 1 - p).
 *
 * A handle that is removed before its children keeps their count and is GONE, until the last of them has left it: since it is not used for another chunk before,
 * a child of the former chunk is never taken for a child of the new one.
 */
#ifndef KVASIR_TIERS_POLICY_FOREST_H
#define KVASIR_TIERS_POLICY_FOREST_H

#include <string.h>

#include "tiers/policy/policy.h"

#define KVI_FOREST_TICK_SHIFT 8u /* of nanoseconds */
#define KVI_FOREST_NO_PLACE                                                                                  \
  0x7fffffffu /* in node.place_or_holds: it may not be evicted, or is not in its slot yet */

/* 6 bytes, so that a node has no padding. */
struct kvi_word48 {
  uint16_t part[3];
};

static inline uint64_t kvi_word48_get(const struct kvi_word48 *word)
{
  uint32_t low; /* two loads, not three */

  memcpy(&low, word->part, sizeof(low));
  return low | (uint64_t)word->part[2] << 32;
}

static inline void kvi_word48_set(struct kvi_word48 *word, uint64_t value)
{
  uint32_t low = (uint32_t)value;

  memcpy(word->part, &low, sizeof(low));
  word->part[2] = (uint16_t)(value >> 32);
}

struct kvi_forest_node {
  uint32_t parent : 30;
  uint32_t group : 2;
  uint32_t place_or_holds;    /* its place in the slots; KVI_FOREST_NO_PLACE; or held, and how often */
  struct kvi_word48 last_use; /* in ticks; 0: not resident */
  struct kvi_word48
      word_or_children; /* with a place: the order's own; without: children and the order's mark */
};

/* What every policy begins with. */
struct kvi_policy {
  uint32_t capacity;
  uint32_t n[2];     /* places taken, by side */
  uint64_t epoch_ns; /* of the first insert: tick 1 */
  uint64_t latest_ns, latest_tick;
  uint32_t *slots;
  struct kvi_forest_node *nodes;
  /* enter: finds a place for it, of the n[side] places from now on (n is raised before). leave: another takes its place (n is lowered before); its own fields are the forest's again after it. */
  void (*enter)(struct kvi_policy *forest, uint32_t handle);
  void (*leave)(struct kvi_policy *forest, uint32_t handle);
};

/* size: of the policy's own struct, zeroed, whose first member is this one; at least as large. On an error nothing is left. Errors: as create of the ops. */
kvs_status kvi_forest_create(size_t size, uint32_t capacity,
                             void (*enter)(struct kvi_policy *forest, uint32_t handle),
                             void (*leave)(struct kvi_policy *forest, uint32_t handle),
                             struct kvi_policy **forest_p);

/* The ops of these names. memory is without what is behind this struct. */
void kvi_forest_destroy(struct kvi_policy *forest);
uint64_t kvi_forest_memory(const struct kvi_policy *forest);
void kvi_forest_insert(struct kvi_policy *forest, uint32_t handle, const struct kvi_policy_chunk *chunk,
                       uint64_t now_ns);
uint32_t kvi_forest_link(struct kvi_policy *forest, uint32_t handle, uint32_t parent);
void kvi_forest_touch(struct kvi_policy *forest, uint32_t handle, uint64_t now_ns);
void kvi_forest_hold(struct kvi_policy *forest, uint32_t handle);
uint32_t kvi_forest_unhold(struct kvi_policy *forest, uint32_t handle);
uint32_t kvi_forest_remove(struct kvi_policy *forest, uint32_t handle);
void kvi_forest_move(struct kvi_policy *forest, uint32_t handle, enum kvi_policy_group group);
/* rank: the last use. */
void kvi_forest_info(const struct kvi_policy *forest, uint32_t handle, struct kvi_policy_info *info_p);

bool kvi_forest_is_resident(const struct kvi_policy *forest, uint32_t handle);
/* Chunks of its chain up to it that are there one after the other, itself included; `most` at most. */
uint32_t kvi_forest_depth(const struct kvi_policy *forest, uint32_t handle, uint32_t most);
bool kvi_forest_has_children(const struct kvi_policy *forest, uint32_t handle);
/* KVI_POLICY_NONE: none, or it is gone. */
uint32_t kvi_forest_parent(const struct kvi_policy *forest, uint32_t handle);

/* ---- for orders ---- */

/* A bit of the word that stays when a chunk loses its place and finds one again, until it is removed: above any number of children. Free to an order that uses no more of the word. */
#define KVI_FOREST_MARK  (UINT64_C(1) << 47)
#define KVI_FOREST_ENDED (UINT64_C(1) << 46) /* another, only beside the first */

static inline bool kvi_forest_is_marked(const struct kvi_policy *forest, uint32_t handle)
{
  return (kvi_word48_get(&forest->nodes[handle].word_or_children) & KVI_FOREST_MARK) != 0;
}

static inline void kvi_forest_mark(struct kvi_policy *forest, uint32_t handle, bool is)
{
  struct kvi_word48 *word = &forest->nodes[handle].word_or_children;
  uint64_t rest = kvi_word48_get(word) & ~(KVI_FOREST_MARK | KVI_FOREST_ENDED);

  kvi_word48_set(word, is ? rest | KVI_FOREST_MARK : rest);
}

/* Of one that is marked: until it is marked anew, or not any more. */
static inline void kvi_forest_mark_ended(const struct kvi_policy *forest, uint32_t handle)
{
  struct kvi_word48 *word = &forest->nodes[handle].word_or_children;

  kvi_word48_set(word, kvi_word48_get(word) | KVI_FOREST_ENDED);
}

static inline bool kvi_forest_is_ended(const struct kvi_policy *forest, uint32_t handle)
{
  return (kvi_word48_get(&forest->nodes[handle].word_or_children) & KVI_FOREST_ENDED) != 0;
}

/* Of an instant, which may be told again. Later instants have later ticks, even within the length of one; those that are told late may share one. */
uint64_t kvi_forest_tick(struct kvi_policy *forest, uint64_t now_ns);

/* When a tick, above 0, began. */
static inline uint64_t kvi_forest_time(const struct kvi_policy *forest, uint64_t tick)
{
  return forest->epoch_ns + ((tick - 1) << KVI_FOREST_TICK_SHIFT);
}

/* When it was used last; 0: it is not resident. */
static inline uint64_t kvi_forest_used_ns(const struct kvi_policy *forest, uint32_t handle)
{
  return kvi_forest_is_resident(forest, handle)
             ? kvi_forest_time(forest, kvi_word48_get(&forest->nodes[handle].last_use))
             : 0;
}

/* In which of the two sets of places it has its own, if it has one. */
static inline uint32_t kvi_forest_side(const struct kvi_policy *forest, uint32_t handle)
{
  return forest->nodes[handle].group != KVI_POLICY_MEMORY;
}

static inline uint32_t *kvi_forest_slot(const struct kvi_policy *forest, uint32_t side, uint32_t place)
{
  return &forest->slots[side == KVI_POLICY_MEMORY ? place : forest->capacity - 1 - place];
}

static inline void kvi_forest_place(struct kvi_policy *forest, uint32_t side, uint32_t place, uint32_t handle)
{
  *kvi_forest_slot(forest, side, place) = handle;
  forest->nodes[handle].place_or_holds = place;
}

#endif
