#include "tiers/policy/branches.h"

#include <stdlib.h>
#include <string.h>

#define MAX   ((UINT32_C(1) << KVI_BRANCH_TAG_BITS) - 1)
#define LIVES 31u

struct kvi_branches {
  uint32_t max, n, free, fresh; /* from `fresh` on never used */
  uint32_t newest, oldest;
  uint32_t mask;      /* of buckets */
  uint32_t *by_chunk; /* each the first of a list */
  uint32_t *by_program;
  struct kvi_branch *branches;
};

/* ---- life ---- */

static uint32_t buckets_for(uint32_t max)
{
  uint32_t n = 16;

  while (n < max)
    n *= 2;
  return n;
}

kvs_status kvi_branches_create(uint32_t max, struct kvi_branches **branches_p)
{
  struct kvi_branches *branches;
  uint32_t n_buckets;

  *branches_p = NULL;
  if (max == 0 || max > MAX)
    return KVS_ERR_INVALID;
  branches = calloc(1, sizeof(*branches));
  if (!branches)
    return KVS_ERR_NOMEM;
  n_buckets = buckets_for(max);
  branches->max = max;
  branches->mask = n_buckets - 1;
  branches->free = branches->newest = branches->oldest = KVI_BRANCH_NONE;
  branches->branches = calloc(max, sizeof(*branches->branches));
  branches->by_chunk = malloc(n_buckets * sizeof(*branches->by_chunk));
  branches->by_program = malloc(n_buckets * sizeof(*branches->by_program));
  if (!branches->branches || !branches->by_chunk || !branches->by_program) {
    kvi_branches_destroy(branches);
    return KVS_ERR_NOMEM;
  }
  memset(branches->by_chunk, 0xff, n_buckets * sizeof(*branches->by_chunk));
  memset(branches->by_program, 0xff, n_buckets * sizeof(*branches->by_program));
  *branches_p = branches;
  return KVS_OK;
}

void kvi_branches_destroy(struct kvi_branches *branches)
{
  if (!branches)
    return;
  free(branches->by_program);
  free(branches->by_chunk);
  free(branches->branches);
  free(branches);
}

uint64_t kvi_branches_memory(const struct kvi_branches *branches)
{
  return sizeof(*branches) + (uint64_t)branches->max * sizeof(*branches->branches) +
         2 * ((uint64_t)branches->mask + 1) * sizeof(*branches->by_chunk);
}

uint32_t kvi_branches_count(const struct kvi_branches *branches)
{
  return branches->n;
}

uint32_t kvi_branches_room(const struct kvi_branches *branches)
{
  return branches->max - branches->n;
}

bool kvi_branches_is_full(const struct kvi_branches *branches)
{
  return branches->n == branches->max;
}

uint32_t kvi_branches_places(const struct kvi_branches *branches)
{
  return branches->fresh;
}

bool kvi_branches_is_used(const struct kvi_branches *branches, uint32_t branch)
{
  return branches->branches[branch].used;
}

uint32_t kvi_branches_tag(const struct kvi_branches *branches, uint32_t branch)
{
  return branch << (32 - KVI_BRANCH_TAG_BITS) | (branches->branches[branch].life % LIVES + 1);
}

uint32_t kvi_branches_of_tag(const struct kvi_branches *branches, uint32_t tag)
{
  uint32_t branch = tag >> (32 - KVI_BRANCH_TAG_BITS);

  return tag != 0 && branch < branches->fresh && branches->branches[branch].used &&
                 kvi_branches_tag(branches, branch) == tag
             ? branch
             : KVI_BRANCH_NONE;
}

struct kvi_branch *kvi_branch(const struct kvi_branches *branches, uint32_t branch)
{
  return &branches->branches[branch];
}

/* ---- by chunk, and by program ---- */

static uint32_t *chunk_bucket(const struct kvi_branches *branches, uint32_t chunk)
{
  return &branches->by_chunk[(chunk * UINT32_C(0x9E3779B1) >> 7) & branches->mask];
}

static uint32_t *program_bucket(const struct kvi_branches *branches, uint64_t program)
{
  return &branches->by_program[(uint32_t)(program * UINT64_C(0x9E3779B97F4A7C15) >> 33) & branches->mask];
}

static uint32_t find_at(const struct kvi_branches *branches, uint32_t branch, uint32_t chunk)
{
  while (branch != KVI_BRANCH_NONE && branches->branches[branch].last != chunk)
    branch = branches->branches[branch].next_at;
  return branch;
}

static uint32_t find_of(const struct kvi_branches *branches, uint32_t branch, uint64_t program)
{
  while (branch != KVI_BRANCH_NONE && branches->branches[branch].program != program)
    branch = branches->branches[branch].next_of;
  return branch;
}

uint32_t kvi_branches_at(const struct kvi_branches *branches, uint32_t chunk)
{
  return find_at(branches, *chunk_bucket(branches, chunk), chunk);
}

uint32_t kvi_branches_next_at(const struct kvi_branches *branches, uint32_t branch)
{
  return find_at(branches, branches->branches[branch].next_at, branches->branches[branch].last);
}

uint32_t kvi_branches_of(const struct kvi_branches *branches, uint64_t program)
{
  return program == 0 ? KVI_BRANCH_NONE : find_of(branches, *program_bucket(branches, program), program);
}

uint32_t kvi_branches_next_of(const struct kvi_branches *branches, uint32_t branch)
{
  return find_of(branches, branches->branches[branch].next_of, branches->branches[branch].program);
}

static void chunk_enter(struct kvi_branches *branches, uint32_t branch, uint32_t last)
{
  struct kvi_branch *own = &branches->branches[branch];
  uint32_t *bucket = chunk_bucket(branches, last);

  own->last = last;
  if (last == KVI_POLICY_NONE)
    return;
  own->prev_at = KVI_BRANCH_NONE;
  own->next_at = *bucket;
  if (own->next_at != KVI_BRANCH_NONE)
    branches->branches[own->next_at].prev_at = branch;
  *bucket = branch;
}

static void chunk_leave(struct kvi_branches *branches, uint32_t branch)
{
  const struct kvi_branch *own = &branches->branches[branch];

  if (own->last == KVI_POLICY_NONE)
    return;
  if (own->next_at != KVI_BRANCH_NONE)
    branches->branches[own->next_at].prev_at = own->prev_at;
  if (own->prev_at != KVI_BRANCH_NONE)
    branches->branches[own->prev_at].next_at = own->next_at;
  else
    *chunk_bucket(branches, own->last) = own->next_at;
}

/* Programs that are not known are in no list. */
static void program_enter(struct kvi_branches *branches, uint32_t branch, uint64_t program)
{
  struct kvi_branch *own = &branches->branches[branch];
  uint32_t *bucket = program_bucket(branches, program);

  own->program = program;
  if (program == 0)
    return;
  own->prev_of = KVI_BRANCH_NONE;
  own->next_of = *bucket;
  if (own->next_of != KVI_BRANCH_NONE)
    branches->branches[own->next_of].prev_of = branch;
  *bucket = branch;
}

static void program_leave(struct kvi_branches *branches, uint32_t branch)
{
  const struct kvi_branch *own = &branches->branches[branch];

  if (own->program == 0)
    return;
  if (own->next_of != KVI_BRANCH_NONE)
    branches->branches[own->next_of].prev_of = own->prev_of;
  if (own->prev_of != KVI_BRANCH_NONE)
    branches->branches[own->prev_of].next_of = own->next_of;
  else
    *program_bucket(branches, own->program) = own->next_of;
}

/* ---- by use ---- */

uint32_t kvi_branches_oldest(const struct kvi_branches *branches)
{
  return branches->oldest;
}

uint32_t kvi_branches_newer(const struct kvi_branches *branches, uint32_t branch)
{
  return branches->branches[branch].newer;
}

static void use_enter(struct kvi_branches *branches, uint32_t branch)
{
  struct kvi_branch *own = &branches->branches[branch];

  own->newer = KVI_BRANCH_NONE;
  own->older = branches->newest;
  if (branches->newest == KVI_BRANCH_NONE)
    branches->oldest = branch;
  else
    branches->branches[branches->newest].newer = branch;
  branches->newest = branch;
}

static void use_leave(struct kvi_branches *branches, uint32_t branch)
{
  const struct kvi_branch *own = &branches->branches[branch];

  if (own->newer == KVI_BRANCH_NONE)
    branches->newest = own->older;
  else
    branches->branches[own->newer].older = own->older;
  if (own->older == KVI_BRANCH_NONE)
    branches->oldest = own->newer;
  else
    branches->branches[own->older].newer = own->newer;
}

/* ---- changes ---- */

uint32_t kvi_branches_add(struct kvi_branches *branches, uint64_t program, uint32_t last)
{
  uint32_t branch;
  uint8_t life;

  branch = branches->free;
  if (branch != KVI_BRANCH_NONE)
    branches->free = branches->branches[branch].newer;
  else
    branch = branches->fresh++;
  branches->n++;
  life = branches->branches[branch].life;
  memset(&branches->branches[branch], 0, sizeof(branches->branches[branch]));
  branches->branches[branch].life = life;
  branches->branches[branch].warm = KVI_BRANCH_NONE;
  branches->branches[branch].warm_last = KVI_POLICY_NONE;
  branches->branches[branch].ahead = KVI_BRANCH_NONE;
  branches->branches[branch].used = true;
  program_enter(branches, branch, program);
  chunk_enter(branches, branch, last);
  use_enter(branches, branch);
  return branch;
}

void kvi_branches_move(struct kvi_branches *branches, uint32_t branch, uint32_t last)
{
  chunk_leave(branches, branch);
  chunk_enter(branches, branch, last);
}

void kvi_branches_use(struct kvi_branches *branches, uint32_t branch)
{
  use_leave(branches, branch);
  use_enter(branches, branch);
  kvi_branches_name(branches, branch, branches->branches[branch].program);
}

void kvi_branches_name(struct kvi_branches *branches, uint32_t branch, uint64_t program)
{
  program_leave(branches, branch);
  program_enter(branches, branch, program);
}

void kvi_branches_remove(struct kvi_branches *branches, uint32_t branch)
{
  uint8_t life;

  program_leave(branches, branch);
  chunk_leave(branches, branch);
  use_leave(branches, branch);
  life = branches->branches[branch].life;
  memset(&branches->branches[branch], 0, sizeof(branches->branches[branch]));
  branches->branches[branch].life = (uint8_t)((life + 1) % LIVES);
  branches->branches[branch].newer = branches->free;
  branches->free = branch;
  branches->n--;
}
