/*
 * tiers/policy/index_ahead.c: what is to be in memory before it is asked for. Of who has told what it waits for, and whose end is on the medium only, it is known when a return becomes likely: near the time that was announced, or
 * that others of its class took. Its chunks are read back then, if what that is expected to save is more than what leaves memory for them would, and the read itself.
 *
 * Those who may be brought back are a set; a call looks at the next few of it. Who gets less and less likely to be back, as most do from the beginning on, is none of them: what was not worth its memory before is not later, either.
 */
#include <math.h>

#include "base/clock.h"
#include "tiers/policy/index_private.h"

#define LOOKED 64u /* branches, in one call */
#define MARGIN                                                                                               \
  1.25 /* so many times as much as what leaves it is it to be worth in memory: else it would be the next to leave it */
#define WITHIN_S 30.0 /* a return that is expected later is waited for without the chunks */
#define READ                                                                                                 \
  0.3 /* a read that nobody waits for costs so much of one that somebody waits for: memory's bandwidth, the medium's, and what is read in vain */

void kvi_index_ahead_not(struct kvi_index *index, uint32_t branch)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t last;

  if (own->ahead == KVI_BRANCH_NONE)
    return;
  last = index->memory.ahead.branches[--index->memory.ahead.n];
  index->memory.ahead.branches[own->ahead] = last;
  kvi_branch(index->branches, last)->ahead = own->ahead;
  own->ahead = KVI_BRANCH_NONE;
}

static double age_s(const struct kvi_branch *branch, uint64_t now_ns)
{
  return kvi_index_seconds(branch->begins_ns, now_ns);
}

/* Its end is below, and its return gets likelier, or has since it began to wait and is not over yet. */
static bool may_be(const struct kvi_index *index, const struct kvi_branch *branch, uint64_t now_ns)
{
  double first;

  if (!branch->answered || branch->last == KVI_POLICY_NONE ||
      index->forest.nodes[branch->last].group != KVI_POLICY_MEDIUM)
    return false;
  first = kvi_classes_rate(index->classes, &branch->wait, 0);
  return first > 0 && age_s(branch, now_ns) < kvi_classes_worth_until(index->classes, &branch->wait, first);
}

void kvi_index_ahead_may(struct kvi_index *index, uint32_t branch)
{
  struct kvi_branch *own;

  if (branch == KVI_BRANCH_NONE || index->memory.chunks == 0)
    return;
  own = kvi_branch(index->branches, branch);
  if (own->ahead != KVI_BRANCH_NONE || index->memory.ahead.n == index->memory.branches ||
      !may_be(index, own, index->forest.latest_ns))
    return;
  own->ahead = index->memory.ahead.n;
  index->memory.ahead.branches[index->memory.ahead.n++] = branch;
}

/* What bringing it is worth, in parts of what it saves if it is back then. price: of what has to leave memory. */
static double gain(const struct kvi_index *index, const struct kvi_branch *branch, double price,
                   uint64_t now_ns)
{
  double value = kvi_index_memory_value_s(index, branch, branch->n_chunks) *
                 kvi_index_branch_weight(branch, branch->n_chunks) * (double)index->shares[branch->tenant];

  if (kvi_index_memory_price(index, branch, branch->n_chunks, now_ns) < MARGIN * price ||
      kvi_classes_rate(index->classes, &branch->wait, age_s(branch, now_ns)) <
          kvi_classes_rate(index->classes, &branch->wait, 0))
    return 0;
  return kvi_classes_gain(index->classes, &branch->wait, age_s(branch, now_ns),
                          price * branch->chunk_bytes / value, WITHIN_S);
}

/* The best of the next few that may; KVI_BRANCH_NONE: none of them is worth it. */
static uint32_t best_branch(struct kvi_index *index, const struct kvi_policy_ahead *ahead, double price,
                            uint64_t now_ns)
{
  uint32_t best = KVI_BRANCH_NONE;
  double most = READ;

  for (uint32_t i = 0; i < LOOKED && i < index->memory.ahead.n; i++) {
    const struct kvi_branch *at;
    uint32_t branch;
    double own;

    if (index->memory.ahead.next >= index->memory.ahead.n)
      index->memory.ahead.next = 0;
    branch = index->memory.ahead.branches[index->memory.ahead.next];
    at = kvi_branch(index->branches, branch);
    if (!may_be(index, at, now_ns)) {
      kvi_index_ahead_not(index, branch);
      continue;
    }
    index->memory.ahead.next++;
    if (ahead->may && !ahead->may(ahead->ctx, at->tenant, (double)at->chunk_bytes))
      continue;
    own = gain(index, at, price, now_ns);
    if (own > most) {
      most = own;
      best = branch;
    }
  }
  return best;
}

/* The first chunks of its chain that are below only. */
static uint32_t first_below(const struct kvi_index *index, uint32_t last, uint32_t *handles, uint32_t most)
{
  uint32_t n = 0, at;

  for (uint32_t chunk = last; chunk != KVI_POLICY_NONE; chunk = kvi_forest_parent(&index->forest, chunk))
    n += index->forest.nodes[chunk].group == KVI_POLICY_MEDIUM;
  at = n;
  for (uint32_t chunk = last; chunk != KVI_POLICY_NONE; chunk = kvi_forest_parent(&index->forest, chunk))
    if (index->forest.nodes[chunk].group == KVI_POLICY_MEDIUM && --at < most)
      handles[at] = chunk;
  return n < most ? n : most;
}

uint32_t kvi_index_promotion(struct kvi_policy *policy, const struct kvi_policy_ahead *ahead,
                             uint32_t *handles, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t branch;
  double price;

  (void)kvi_forest_tick(policy, now_ns);
  if (index->memory.shadow.live != KVI_SHADOW_BY_PRICE || index->memory.ahead.n == 0 || ahead->most == 0)
    return 0;
  price = ahead->full ? kvi_index_memory_least(index, ahead->one, now_ns) : 0;
  branch = isinf(price) ? KVI_BRANCH_NONE : best_branch(index, ahead, price, now_ns);
  return branch == KVI_BRANCH_NONE
             ? 0
             : first_below(index, kvi_branch(index->branches, branch)->last, handles, ahead->most);
}
