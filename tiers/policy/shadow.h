/*
 * tiers/policy/shadow.h: would the order by last use have done better? Two caches of the same size as the real one, in which branches have a length and nothing else: one shortens the branch that was not used for
 * longest, the other the one that is worth least. What the returns that they see would have to compute again in one is held against the other; what is long ago counts less.
 *
 * Chunks that branches share count for each of them, in both alike. One thread at a time; no memory of its own.
 */
#ifndef KVASIR_TIERS_POLICY_SHADOW_H
#define KVASIR_TIERS_POLICY_SHADOW_H

#include "tiers/policy/branches.h"
#include "tiers/policy/least.h"

enum kvi_shadow_order { KVI_SHADOW_BY_USE = 0, KVI_SHADOW_BY_PRICE };

struct kvi_shadow {
  struct kvi_branches *branches;
  /* What the n'th chunk of a branch is worth now, and what it costs to compute again those behind the first `from` up to the to'th. */
  double (*price)(const void *ctx, const struct kvi_branch *branch, uint32_t n, uint64_t now_ns);
  double (*cost)(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to);
  const void *ctx;

  uint32_t tier; /* 0 or 1: which of a branch's lengths are its own */

  uint64_t room, taken[2]; /* chunks; room 0: it was never full */
  double lost,
      lost_squares; /* what price has paid more than last use, and its squares: sums over returns that fade */
  uint32_t oldest;  /* of those that have something left by use; KVI_BRANCH_NONE: none has */
  struct kvi_least_kept kept;
  uint64_t random;
  uint64_t judged, victims; /* returns; victims since the last one */
};

/* branches, price, cost, ctx and tier are set, the rest is zero. */
void kvi_shadow_start(struct kvi_shadow *shadow);
/* The real cache is full, with so many chunks. */
void kvi_shadow_full(struct kvi_shadow *shadow, uint64_t chunks);
/* It is back, before it is renewed: it had `common` chunks in common with what it is now. */
void kvi_shadow_back(struct kvi_shadow *shadow, uint32_t branch, uint32_t common);
/* It is about to be the newest of its table. */
void kvi_shadow_renew(struct kvi_shadow *shadow, uint32_t branch);
/* It has been used, is the newest, and has n_whole chunks. */
void kvi_shadow_used(struct kvi_shadow *shadow, uint32_t branch, uint64_t now_ns);
/* It is about to be removed. */
void kvi_shadow_left(struct kvi_shadow *shadow, uint32_t branch);
/* Which order has had to pay less, as far as that is no chance. */
enum kvi_shadow_order kvi_shadow_better(const struct kvi_shadow *shadow, enum kvi_shadow_order now);

#endif
