/*
 * tiers/policy/shadow.h: would the order by last use do better than the one by price? Two caches of the same size as the real one run beside it, one in each order, of a sample of the chunks: these are taken by a
 * hash of what they are, each at all of its uses or at none (SHARDS: Waldspurger et al., FAST 2015). What last use would have had to pay at the uses that are seen is held against what was paid, while price is live, or
 * else against what price would have had to pay; what is long ago counts less.
 *
 * A chunk belongs to the branch that used it last, and is worth what the branch's end is, since a chain goes from its end on; of one branch's chunks the deepest goes first.
 *
 * There are two kinds. What the real cache loses is gone, and when it comes back it has another handle: it is known by its name. Or it stays below, with its handle, and is known by that.
 *
 * One thread at a time. All memory is taken at start.
 */
#ifndef KVASIR_TIERS_POLICY_SHADOW_H
#define KVASIR_TIERS_POLICY_SHADOW_H

#include "tiers/policy/branches.h"
#include "tiers/policy/least.h"

enum kvi_shadow_order { KVI_SHADOW_BY_USE = 0, KVI_SHADOW_BY_PRICE };

#define KVI_SHADOW_REQUESTS 32u

struct kvi_shadow_chunk;

/* A request that is being seen: of which branch (a tag; 0: none), when it used something last, what it paid more than by last use, and whether any of that was used before. */
struct kvi_shadow_request {
  uint32_t branch;
  bool seen;
  uint64_t used_ns;
  double paid_more;
};

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

  bool below;      /* what is lost keeps its handle */
  uint32_t n_here; /* of the sample, what the real cache has */
  uint32_t n_came; /* the same when the last one came: several may have gone since for the next request */
  uint64_t room;   /* of the real one, in chunks of the sample; UINT64_MAX: it was never full */

  struct kvi_shadow_request requests[KVI_SHADOW_REQUESTS]; /* by branch; several come side by side */
  uint64_t judged;
  double lost, lost_squares; /* what was paid more, and its squares: sums over requests that fade */
};

/* branches, worth and below are set, the rest is zero. For so many handles. KVS_ERR_NOMEM: kvi_shadow_end is to be called all the same. */
kvs_status kvi_shadow_start(struct kvi_shadow *shadow, uint32_t handles);
void kvi_shadow_end(struct kvi_shadow *shadow); /* all zero is fine */
uint64_t kvi_shadow_memory(const struct kvi_shadow *shadow);

/* Not below: the real cache has this chunk (its name, a hash; 0: it has none) from now on, as this handle; and has lost it, to make room. */
void kvi_shadow_here(struct kvi_shadow *shadow, uint32_t handle, uint64_t name);
void kvi_shadow_lost(struct kvi_shadow *shadow, uint32_t handle);
/* Below: the real cache has room for so many chunks; and it has lost this one, to make room. */
void kvi_shadow_room(struct kvi_shadow *shadow, uint64_t chunks);
void kvi_shadow_lost_below(struct kvi_shadow *shadow, uint32_t handle);
/* The handle is nobody's any more, and not by any order of the cache's: nobody is to blame. */
void kvi_shadow_gone(struct kvi_shadow *shadow, uint32_t handle);

/* A request of the branch begins. O(KVI_SHADOW_REQUESTS). */
void kvi_shadow_request(struct kvi_shadow *shadow, uint32_t branch, uint64_t now_ns);
/* A use of a chunk. */
struct kvi_shadow_use {
  uint32_t branch, handle;
  uint32_t n; /* in its chain, from 1 on */
  bool known; /* below: it was used before */
  bool
      missed; /* below: the real cache does not have it. It counts if that is its order's doing, or if nothing is known of it any more */
};
/* Of a request the last chunks are told first. */
void kvi_shadow_used(struct kvi_shadow *shadow, const struct kvi_shadow_use *use, uint64_t now_ns);
/* Nobody needs it any more, unless it is used again. */
void kvi_shadow_ended(struct kvi_shadow *shadow, uint32_t handle);

#endif
