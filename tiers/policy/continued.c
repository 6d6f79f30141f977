#include "tiers/policy/continued.h"

#include "tiers/policy/forest.h"

#define WALKED_MAX 8192u /* chunks of a chain: what is longer is not compared any further */
#define LOOKED_MAX 32u   /* branches of a chunk, for one without a name */

/* Of two chains up to these chunks. */
static uint32_t resident_common(const struct kvi_policy *forest, uint32_t a, uint32_t n_a, uint32_t b,
                                uint32_t n_b)
{
  for (uint32_t i = 0; i < WALKED_MAX && a != b && a != KVI_POLICY_NONE && b != KVI_POLICY_NONE; i++) {
    uint32_t *further = n_a >= n_b ? &a : &b, *n = n_a >= n_b ? &n_a : &n_b;

    *further = kvi_forest_parent(forest, *further);
    *n -= *n > 0;
  }
  return a == b && a != KVI_POLICY_NONE ? n_a : 0;
}

static uint32_t shorter(const struct kvi_branch *branch, const struct kvi_policy_use *use)
{
  return branch->n_whole < use->n_whole ? branch->n_whole : use->n_whole;
}

/* n: those that are resident. */
static uint32_t whole_common(const struct kvi_branch *branch, const struct kvi_policy_use *use, uint32_t n)
{
  return n < branch->n_chunks ? n : shorter(branch, use);
}

static bool is_half(const struct kvi_branch *branch, const struct kvi_policy_use *use, uint32_t n)
{
  return n > 0 && 2 * (uint64_t)n >= shorter(branch, use);
}

static uint32_t of_program(const struct kvi_policy *forest, const struct kvi_branches *branches,
                           const struct kvi_policy_use *use, uint32_t *evicted_p)
{
  uint32_t best = KVI_BRANCH_NONE, most = 0;

  for (uint32_t branch = kvi_branches_of(branches, use->program); branch != KVI_BRANCH_NONE;
       branch = kvi_branches_next_of(branches, branch)) {
    const struct kvi_branch *own = kvi_branch(branches, branch);
    uint32_t n;

    if (own->space != use->space)
      continue;
    n = resident_common(forest, own->last, own->n_chunks, use->last, use->n_chunks);
    if (own->last == KVI_POLICY_NONE && *evicted_p == KVI_BRANCH_NONE)
      *evicted_p = branch;
    if (n > most && is_half(own, use, whole_common(own, use, n))) {
      most = n;
      best = branch;
    }
  }
  return best;
}

/* A request without a name finds what was left of a program with one, alone, at the end of what is there: it has grown since, as conversations do. */
static bool is_what_was_left(const struct kvi_branches *branches, uint32_t branch,
                             const struct kvi_policy_use *use, uint32_t n)
{
  const struct kvi_branch *own = kvi_branch(branches, branch);

  return use->program == 0 && n == use->n_chunks && n == own->n_chunks && n < own->n_whole &&
         own->n_whole <= use->n_whole && kvi_branches_at(branches, own->last) == branch &&
         kvi_branches_next_at(branches, branch) == KVI_BRANCH_NONE;
}

/* Who is known by another name is passed over, unless the request has none. */
static uint32_t on_chain(const struct kvi_policy *forest, const struct kvi_branches *branches,
                         const struct kvi_policy_use *use)
{
  uint32_t chunk = use->last;

  for (uint32_t n = use->n_chunks, walked = 0; n > 0 && walked < WALKED_MAX && chunk != KVI_POLICY_NONE;
       n--, walked++) {
    uint32_t branch = kvi_branches_at(branches, chunk);

    for (uint32_t i = 0; i < LOOKED_MAX && branch != KVI_BRANCH_NONE; i++) {
      const struct kvi_branch *own = kvi_branch(branches, branch);

      if (use->program == 0 || own->program == 0)
        return is_half(own, use, n) || is_what_was_left(branches, branch, use, n) ? branch : KVI_BRANCH_NONE;
      branch = kvi_branches_next_at(branches, branch);
    }
    chunk = kvi_forest_parent(forest, chunk);
  }
  return KVI_BRANCH_NONE;
}

uint32_t kvi_continued(const struct kvi_policy *forest, const struct kvi_branches *branches,
                       const struct kvi_policy_use *use)
{
  uint32_t evicted = KVI_BRANCH_NONE, branch = of_program(forest, branches, use, &evicted);

  if (branch == KVI_BRANCH_NONE)
    branch = on_chain(forest, branches, use);
  return branch != KVI_BRANCH_NONE ? branch : evicted;
}

uint32_t kvi_continued_unnamed(const struct kvi_branches *branches, uint32_t last)
{
  uint32_t branch = kvi_branches_at(branches, last);

  for (uint32_t i = 0; i < LOOKED_MAX && branch != KVI_BRANCH_NONE; i++) {
    if (kvi_branch(branches, branch)->program == 0)
      return branch;
    branch = kvi_branches_next_at(branches, branch);
  }
  return KVI_BRANCH_NONE;
}

/* Of the first n chunks, which end where the branch does. */
static bool is_storing(const struct kvi_branch *branch, const struct kvi_policy_use *use, uint32_t n)
{
  if (branch->n_chunks != n || (use->program != 0 && branch->program != 0 && branch->program != use->program))
    return false;
  return (!branch->answered && n < branch->n_whole) || is_half(branch, use, n);
}

/* The program's request of which nothing was there. */
static uint32_t just_come(const struct kvi_branches *branches, uint64_t program, uint32_t space)
{
  uint32_t branch = kvi_branches_of(branches, program);

  while (branch != KVI_BRANCH_NONE && kvi_branch(branches, branch)->space != space)
    branch = kvi_branches_next_of(branches, branch);
  if (branch == KVI_BRANCH_NONE || kvi_branch(branches, branch)->answered ||
      kvi_branch(branches, branch)->last != KVI_POLICY_NONE)
    return KVI_BRANCH_NONE;
  return branch;
}

uint32_t kvi_extended(const struct kvi_policy *forest, const struct kvi_branches *branches,
                      const struct kvi_policy_use *use, bool *is_whole_p)
{
  uint32_t chunk = use->last, n = use->n_chunks;

  *is_whole_p = true;
  for (uint32_t walked = 0; n > 0 && walked < WALKED_MAX && chunk != KVI_POLICY_NONE; n--, walked++) {
    uint32_t branch = kvi_branches_at(branches, chunk);

    for (uint32_t i = 0; i < LOOKED_MAX && branch != KVI_BRANCH_NONE; i++) {
      if (is_storing(kvi_branch(branches, branch), use, n))
        return branch;
      branch = kvi_branches_next_at(branches, branch);
    }
    chunk = kvi_forest_parent(forest, chunk);
  }
  *is_whole_p = n == 0 && chunk == KVI_POLICY_NONE;
  return *is_whole_p ? just_come(branches, use->program, use->space) : KVI_BRANCH_NONE;
}
