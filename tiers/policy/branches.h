/*
 * tiers/policy/branches.h: who waits at which chunk. A branch is a path from a chain's first chunk to its last; here it is known by the last one that is still resident, and by its program.
 *
 * A bounded table, found by chunk and by program, and in the order of use. Nothing is allocated after create; one thread at a time. Numbers of branches are good until
 * the branch is removed.
 */
#ifndef KVASIR_TIERS_POLICY_BRANCHES_H
#define KVASIR_TIERS_POLICY_BRANCHES_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "tiers/policy/classes.h"

#define KVI_BRANCH_NONE UINT32_MAX

struct kvi_branch {
  uint64_t program;   /* 0: not known */
  uint64_t used_ns;   /* when it came last */
  uint64_t seen_ns;   /* when anything was heard of that request, or was told of its wait */
  uint64_t begins_ns; /* of the wait: when it came, or was answered */
  struct kvi_class_wait wait;
  float
      until_s; /* from seen_ns on, so long it will take at most, as it was told; 0: it was not. Nothing is decided by it */
  float chunk_tokens, chunk_bytes; /* on average */
  float cost;                      /* of a token: a factor */
  float weight;                    /* by its priority: a factor */
  float ttl_s;                     /* from seen_ns on; 0: none */
  uint32_t last;                   /* chunk; KVI_POLICY_NONE: nothing of it is resident */
  uint32_t n_chunks;               /* up to it */
  uint32_t n_whole;                /* of what it used last, stored or not */
  uint32_t n_weighed, n_timed; /* so many from the first on are all that weight and ttl_s are of; 0: all */
  uint32_t space;
  uint16_t tenant;
  uint8_t life;      /* the table's: how often its number was given to another */
  bool answered : 1; /* since it came last */
  bool grown : 1;    /* more was stored of it since that was told */
  bool used : 1;     /* the table's */
  uint32_t
      warm; /* its place among those of which something may be in memory and below; KVI_BRANCH_NONE: it has none */
  uint32_t warm_last,
      n_warm; /* behind this chunk, its n'th, memory has none of it; KVI_POLICY_NONE: not known */
  uint32_t
      ahead; /* its place among those that may be brought to memory before they are back; KVI_BRANCH_NONE: it has none */

  /* The table's: those of the same bucket, by the chunk that they end at and by program, and all by use; of a free one newer is the next free one. */
  uint32_t next_at, prev_at;
  uint32_t next_of, prev_of;
  uint32_t newer, older;
  float
      again_s; /* so long it stayed away the last time, as far as that is known although it was not stored then; 0: it is not */
};
static_assert(sizeof(struct kvi_branch) == 144, "docs/policy.md says so");

/* Is its n'th chunk among the first so many? */
static inline bool kvi_branch_is_within(uint32_t n, uint32_t n_first)
{
  return n_first == 0 || n <= n_first;
}

/* Of so many chunks, the last one for which the same was said as for the n'th, 1 or more. */
static inline uint32_t kvi_branch_part_end(const struct kvi_branch *branch, uint32_t n, uint32_t whole)
{
  uint32_t end = whole;

  if (n <= branch->n_weighed && branch->n_weighed < end)
    end = branch->n_weighed;
  if (n <= branch->n_timed && branch->n_timed < end)
    end = branch->n_timed;
  return end;
}

struct kvi_branches;

/* KVS_ERR_INVALID: max is 0 or too large. KVS_ERR_NOMEM. */
kvs_status kvi_branches_create(uint32_t max, struct kvi_branches **branches_p);
void kvi_branches_destroy(struct kvi_branches *branches); /* NULL is fine */
uint64_t kvi_branches_memory(const struct kvi_branches *branches);
uint32_t kvi_branches_count(const struct kvi_branches *branches);
uint32_t kvi_branches_room(const struct kvi_branches *branches); /* for so many more */
bool kvi_branches_is_full(const struct kvi_branches *branches);
/* Numbers are below; some may be of none, all zero but for what is the table's. */
uint32_t kvi_branches_places(const struct kvi_branches *branches);
bool kvi_branches_is_used(const struct kvi_branches *branches, uint32_t branch);

/* Its number and life in one word, never 0, to be kept where nobody tells that it is removed: kvi_branches_of_tag says NONE then (unless its number has had 31 others since). */
#define KVI_BRANCH_TAG_BITS 27u /* of the number */
uint32_t kvi_branches_tag(const struct kvi_branches *branches, uint32_t branch);
uint32_t kvi_branches_of_tag(const struct kvi_branches *branches, uint32_t tag);

struct kvi_branch *kvi_branch(const struct kvi_branches *branches, uint32_t branch);
/* The first / next one that ends at the chunk; KVI_BRANCH_NONE: there is none (more). The order is no particular one. */
uint32_t kvi_branches_at(const struct kvi_branches *branches, uint32_t chunk);
uint32_t kvi_branches_next_at(const struct kvi_branches *branches, uint32_t branch);
/* Of a program that is known; newest first. */
uint32_t kvi_branches_of(const struct kvi_branches *branches, uint64_t program);
uint32_t kvi_branches_next_of(const struct kvi_branches *branches, uint32_t branch);
/* All of them, the one not used for longest first. */
uint32_t kvi_branches_oldest(const struct kvi_branches *branches);
uint32_t kvi_branches_newer(const struct kvi_branches *branches, uint32_t branch);

/* A new one, used just now; the table is not full. The caller fills what is not the table's, program and last aside. */
uint32_t kvi_branches_add(struct kvi_branches *branches, uint64_t program, uint32_t last);
/* It ends at this chunk from now on, which may be KVI_POLICY_NONE. */
void kvi_branches_move(struct kvi_branches *branches, uint32_t branch, uint32_t last);
/* It is the newest. */
void kvi_branches_use(struct kvi_branches *branches, uint32_t branch);
/* It is of this program from now on, and its newest. */
void kvi_branches_name(struct kvi_branches *branches, uint32_t branch, uint64_t program);
void kvi_branches_remove(struct kvi_branches *branches, uint32_t branch);

#endif
