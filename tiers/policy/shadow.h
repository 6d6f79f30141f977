/*
 * tiers/policy/shadow.h: would the order by last use do better than the one by price? Two caches of the same size as the real one run beside it, one in each order, of a sample of the chunks: these are taken by a
 * hash of what they are, each at all of its uses or at none (SHARDS: Waldspurger et al., FAST 2015). What last use would have had to pay at the uses that are seen is held against what was paid, while price is live, or
 * else against what price would have had to pay; what is long ago counts less.
 *
 * A chunk belongs to the branch that used it last, and is worth what the branch's end is, since a chain goes from its end on; of one branch's chunks the deepest goes first.
 *
 * One thread at a time. All memory is taken at start.
 */
#ifndef KVASIR_TIERS_POLICY_SHADOW_H
#define KVASIR_TIERS_POLICY_SHADOW_H

#include "tiers/policy/branches.h"
#include "tiers/policy/least.h"

enum kvi_shadow_order { KVI_SHADOW_BY_USE = 0, KVI_SHADOW_BY_PRICE };

struct kvi_shadow_chunk;

/* How a shadow asks what things are worth. */
struct kvi_shadow_worth {
  /* What the n'th chunk of a branch is worth now, and what it costs to have those behind the first `from` again, up to the to'th. */
  double (*price)(const void *ctx, const struct kvi_branch *branch, uint32_t n, uint64_t now_ns);
  double (*cost)(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to);
  /* How often a second somebody comes back, of whom nothing is known but when that was. */
  double (*unknown)(const void *ctx, uint64_t used_ns, uint64_t now_ns);
  const void *ctx;
};

struct kvi_shadow {
  const struct kvi_branches *branches;
  struct kvi_shadow_worth worth;
  enum kvi_shadow_order live; /* by price, to begin with */

  struct kvi_shadow_chunk *chunks; /* of the sample: what is in one of the caches or in the real one */
  uint32_t n_max, free_one,
      shift; /* one chunk of 2^shift is in the sample: half as many whenever that is full */
  uint32_t *by_name, *by_handle; /* heads of chains, n_max each */
  uint32_t handles;
  uint64_t *has;                   /* by handle, a bit: it is in the sample */
  uint32_t newest, oldest, n_used; /* the cache by last use */
  uint32_t *priced, n_priced;      /* the cache by price */
  struct kvi_least_kept kept;
  uint64_t random;
  uint64_t room; /* chunks of the real one; 0: it was never full */

  uint32_t branch;           /* whose request is being seen; KVI_BRANCH_NONE */
  double paid_more;          /* than by last use, at that request */
  bool seen;                 /* it used something that was used before */
  double lost, lost_squares; /* that, and its squares: sums over requests that fade */
  uint64_t judged, victims;  /* requests; victims since the last one */
};

/* branches and worth are set, the rest is zero. For so many handles. KVS_ERR_NOMEM: kvi_shadow_end is to be called all the same. */
kvs_status kvi_shadow_start(struct kvi_shadow *shadow, uint32_t handles);
void kvi_shadow_end(struct kvi_shadow *shadow); /* all zero is fine */
uint64_t kvi_shadow_memory(const struct kvi_shadow *shadow);
/* The real cache is full, with so many chunks, and one has to go. */
void kvi_shadow_full(struct kvi_shadow *shadow, uint64_t chunks);
/* The real cache has this chunk (its name, a hash; 0: it has none) from now on, as this handle. */
void kvi_shadow_here(struct kvi_shadow *shadow, uint32_t handle, uint64_t name);
void kvi_shadow_gone(struct kvi_shadow *shadow, uint32_t handle);
/* The branch uses it, as the n'th of its chain, from 1 on. missed: the real cache did not have it, and it is not new by `here` either. Of a request the last chunks are told first. */
void kvi_shadow_used(struct kvi_shadow *shadow, uint32_t branch, uint32_t handle, uint32_t n, bool missed,
                     uint64_t now_ns);
/* Nobody needs it any more, unless it is used again. */
void kvi_shadow_ended(struct kvi_shadow *shadow, uint32_t handle);

#endif
