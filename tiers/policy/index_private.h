/*
 * tiers/policy/index_private.h: the policy "index" inside. Files: index.c (the ops: who waits where, and what is learned of that), index_told.c (what is told of programs), index_leaves.c (what a leaf is worth, and which goes), index_memory.c (what it is worth to have in memory what is below too), index_ahead.c (what is to be there before it is asked for), index_uses.c (which branch used a chunk last, and the guard), index_waiters.c (views for people), index_kept.c (what outlives the process).
 */
#ifndef KVASIR_TIERS_POLICY_INDEX_PRIVATE_H
#define KVASIR_TIERS_POLICY_INDEX_PRIVATE_H

#include "base/clock.h"
#include "tiers/policy/branches.h"
#include "tiers/policy/forest.h"
#include "tiers/policy/least.h"
#include "tiers/policy/shadow.h"

#define KVI_INDEX_LEFT                                                                                       \
  256u /* chunks that were left behind; a ring, so the oldest is forgotten first, and found by the sample then */
#define KVI_INDEX_PRICED_OVER 64.0   /* victims */
#define KVI_INDEX_TOKENS      256.0f /* of a chunk of which nobody said */
#define KVI_INDEX_OF_PROGRAM  12u /* branches in a space; of more the one not used for longest is given up */
#define KVI_INDEX_ENDED_MAX   64u
#define KVI_INDEX_ENDED       UINT32_MAX /* the branch that used it last was closed */

struct kvi_index_left {
  uint32_t chunks[KVI_INDEX_LEFT];
  uint32_t first, n;
};

struct kvi_index_tier {
  double price;   /* of its victims, on average */
  double worth;   /* the same without what shares and priorities make of it */
  double victims; /* that count */
  uint64_t sought_ns;
};

/* Of one tenant's chunks. */
struct kvi_index_own {
  uint32_t
      at; /* a branch of its ring (kvi_index_ring), where the next sample begins; KVI_BRANCH_NONE: it has none */
  struct kvi_least_kept kept; /* of them */
  struct kvi_index_tier
      tiers[2]; /* what has left its memory, or the medium, for others of its own; by group */
};

/* A branch's neighbours among those of its tenant of which something may be in both. */
struct kvi_index_ring {
  uint32_t next, prev;
};

struct kvi_index {
  struct kvi_policy forest; /* first */
  struct kvi_branches *branches;
  struct kvi_classes *classes;
  struct kvi_index_left left[2];
  struct kvi_least_kept kept[2]; /* leaves, by group, of the order that is live */
  uint32_t *
      users; /* by chunk: a tag (branches.h) of the branch that used it last; KVI_INDEX_ENDED; 0: not known */
  struct kvi_shadow shadow;
  struct kvi_index_memory { /* over a medium; chunks 0: there is none */
    uint64_t chunks;
    double byte_s; /* from the medium; 0: not known */
    struct kvi_shadow shadow;
    uint32_t *warm, n_warm, branches; /* branches of which something may be in both */
    struct kvi_index_ring *rings;     /* by branch: of those, a ring for each tenant */
    struct kvi_index_own *own;        /* by tenant */
    struct kvi_least_kept kept;       /* of them */
    struct {
      uint32_t chunk, tenant;
    } ended[KVI_INDEX_ENDED_MAX];
    uint32_t first_ended,
        n_ended; /* a ring: where what has ended ends; what it forgets is found as what nobody is known to need */
    uint32_t
        next; /* was said to leave memory, at this price, below 0 by last use; KVI_POLICY_NONE: none was */
    double next_price;
    struct kvi_index_tier tier; /* of what has left it */
    struct {
      uint32_t *branches, n,
          next; /* whose end is below only, and who may be about to be back; the one that is looked at next */
    } ahead;
  } memory;
  struct kvi_index_tier tiers[2]; /* by group */
  uint64_t n_resident;
  uint32_t evicted;   /* goes now, to make room; KVI_POLICY_NONE */
  double chunk_bytes; /* of those inserted of late, on average */
  double first_value; /* of the first chunks of requests of late, on average: seconds for each byte */
  uint32_t
      learning; /* the branch that is next to be observed for the curves that are being built; KVI_BRANCH_NONE: none are */
  uint64_t random;
  float shares[KVI_POLICY_TENANTS_MAX]; /* factors, by tenant */
  uint32_t greediest;                   /* the tenant with the least of them */
};

static inline struct kvi_index *kvi_index_of(struct kvi_policy *policy)
{
  return (struct kvi_index *)policy;
}

static inline bool kvi_index_has_place(const struct kvi_index *index, uint32_t chunk)
{
  return index->forest.nodes[chunk].place_or_holds < KVI_FOREST_NO_PLACE;
}

static inline double kvi_index_seconds(uint64_t from_ns, uint64_t to_ns)
{
  return to_ns > from_ns ? (double)(to_ns - from_ns) / (double)KVI_NS_PER_S : 0;
}

/* What is waited for from a request on until it is answered. */
static inline struct kvi_class_wait kvi_index_request(uint64_t program)
{
  return (struct kvi_class_wait){.class = program != 0 ? KVI_CLASS_REQUEST : KVI_WAIT_UNKNOWN};
}

/* One of this price had to go, in which shares and priorities count by this factor. */
static inline void kvi_index_tier_paid(struct kvi_index_tier *tier, double price, double factor,
                                       uint64_t now_ns)
{
  double worth = factor > 0 ? price / factor : price;

  tier->victims += tier->victims < KVI_INDEX_PRICED_OVER;
  tier->price += (price - tier->price) / tier->victims;
  tier->worth += (worth - tier->worth) / tier->victims;
  tier->sought_ns = now_ns;
}

/* ---- index.c ---- */

/* The branch of the request that is storing the chain, as extend would find it; KVI_BRANCH_NONE: it would be a new one, or is back by that. */
uint32_t kvi_index_storing(const struct kvi_index *index, const struct kvi_policy_use *use, uint64_t now_ns);
#define KVI_INDEX_TOKENS_MOST (1u << 21) /* of a prompt: who claims more gains nothing by it */
#define KVI_INDEX_REPEATED_NS                                                                                \
  KVI_NS_PER_S /* requests of a branch that are closer together are one, unless the first was answered */
/* A wait as it is now, for its class; and if it was answered, from the request on for the class that a request has before. add: of classes.h. */
void kvi_index_observe(struct kvi_index *index, const struct kvi_branch *branch,
                       void (*add)(struct kvi_classes *classes, const struct kvi_class_wait *wait,
                                   double seconds),
                       uint64_t now_ns);
/* A branch ends. Who was not told to have ended is away for good, as far as anybody can tell. */
void kvi_index_give_up(struct kvi_index *index, uint32_t branch, bool closed, uint64_t now_ns);
/* Its program was not known when it came, and is now. 0: it is not. */
void kvi_index_branch_name(struct kvi_index *index, uint32_t branch, uint64_t program, uint64_t now_ns);

/* ---- index_told.c: the ops of these names ---- */

bool kvi_index_claim(struct kvi_policy *policy, uint64_t program, uint32_t handle, uint32_t n,
                     uint32_t space);
bool kvi_index_wait(struct kvi_policy *policy, const struct kvi_policy_wait *wait, uint64_t now_ns);
bool kvi_index_close(struct kvi_policy *policy, uint64_t program, uint64_t now_ns);

/* ---- index_uses.c ---- */

/* KVS_ERR_NOMEM: kvi_index_uses_end is to be called all the same. */
kvs_status kvi_index_uses_start(struct kvi_index *index, uint32_t capacity);
void kvi_index_uses_end(struct kvi_index *index);
uint64_t kvi_index_uses_memory(const struct kvi_index *index);
/* The branch uses all its chunks; or, if it is the same request still, those that are new to it. */
void kvi_index_used(struct kvi_index *index, uint32_t branch, bool all, uint64_t now_ns);
/* It is about to be removed; to make room, if it was evicted. */
void kvi_index_evicted(struct kvi_policy *policy, uint32_t chunk);
void kvi_index_uses_gone(struct kvi_index *index, uint32_t chunk);

/* ---- index_leaves.c ---- */

/* For the forest. */
void kvi_index_leaf_enter(struct kvi_policy *forest, uint32_t chunk);
void kvi_index_leaf_leave(struct kvi_policy *forest, uint32_t chunk);
/*
 * Who waited there has gone on elsewhere, or has ended: if nobody else waits there the chunk is marked (forest.h) as left, until somebody uses it. KVI_POLICY_NONE is fine. ended: also if it is held or others
 * go on behind it, for when that is over; else who goes on behind it may be the same.
 */
void kvi_index_left(struct kvi_index *index, uint32_t chunk, bool ended);
/* And it was told so: if it was marked, info says that it has ended. KVI_POLICY_NONE is fine. */
void kvi_index_closed(struct kvi_index *index, uint32_t chunk);
/* About to be removed, with its parent still known. */
void kvi_index_leaf_gone(struct kvi_index *index, uint32_t chunk);

/* For the shadows: of a branch's n'th chunk; from the chunks behind the first `from` up to the to'th. */
double kvi_index_branch_price(const void *index, const struct kvi_branch *branch, uint32_t n,
                              uint64_t now_ns);
double kvi_index_branch_cost(const void *index, const struct kvi_branch *branch, uint32_t from, uint32_t to);
/* How often a second it comes back, as far as that counts for its n'th chunk. */
double kvi_index_branch_rate(const struct kvi_index *index, const struct kvi_branch *branch, uint32_t n,
                             uint64_t now_ns);
/* The factor of its priority, for its n'th chunk. */
float kvi_index_branch_weight(const struct kvi_branch *branch, uint32_t n);
/* The same of one of which nothing is known, since then; whose it is neither: the greediest tenant's, for all that is. */
double kvi_index_unknown_rate(const struct kvi_index *index, uint64_t used_ns, uint64_t now_ns);
/* By how much its tenant's share and its priority change a chunk's price: those of the first who waits at it, or of who used it last. */
double kvi_index_factor(const struct kvi_index *index, uint32_t chunk);

/* The ops. */
uint32_t kvi_index_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns);
bool kvi_index_admits(struct kvi_policy *policy, uint32_t victim, const struct kvi_policy_use *use,
                      uint32_t n, uint64_t now_ns);
void kvi_index_info(const struct kvi_policy *policy, uint32_t chunk, struct kvi_policy_info *info_p);

/* ---- index_memory.c ---- */

/* For so many branches. KVS_ERR_NOMEM: kvi_index_memory_end is to be called all the same. */
kvs_status kvi_index_memory_start(struct kvi_index *index, uint32_t branches);
void kvi_index_memory_end(struct kvi_index *index);
/* The branch uses its chunks. */
void kvi_index_memory_used(struct kvi_index *index, uint32_t branch);
/* It is about to be removed; closed: it has ended, and with it what it alone used. */
void kvi_index_memory_left(struct kvi_index *index, uint32_t branch, bool closed);
/* What it saves, in seconds, to have one more or less of the branch's chunks in memory and not only below. */
double kvi_index_memory_value_s(const struct kvi_index *index, const struct kvi_branch *branch, uint32_t n);
/* The branch is about to be another tenant's. */
void kvi_index_memory_given(struct kvi_index *index, uint32_t branch);
/* It is about to be removed, or is in another group now. */
void kvi_index_memory_gone(struct kvi_index *index, uint32_t chunk);
void kvi_index_memory_moved(struct kvi_index *index, uint32_t chunk);

/* For the shadow. */
double kvi_index_memory_price(const void *index, const struct kvi_branch *branch, uint32_t n,
                              uint64_t now_ns);
double kvi_index_memory_cost(const void *index, const struct kvi_branch *branch, uint32_t from, uint32_t to);

/* The ops. */
uint32_t kvi_index_demotion(struct kvi_policy *policy, uint32_t one, double *price_p, uint64_t now_ns);
uint32_t kvi_index_own_demotion(struct kvi_policy *policy, uint32_t tenant, uint32_t one, double *price_p,
                                uint64_t now_ns);
void kvi_index_memory_told(struct kvi_policy *policy, uint64_t chunks, double byte_s);

/* What has to leave memory next saves so much by being there (as demotion says it); `one` as there. INFINITY: there is nothing. */
double kvi_index_memory_least(struct kvi_index *index, uint32_t one, uint64_t now_ns);

/* ---- index_ahead.c ---- */

/* What ends there is on the medium only now, or waits for something else: it may be one to bring back before it is asked for, or is not. KVI_BRANCH_NONE is fine. */
void kvi_index_ahead_may(struct kvi_index *index, uint32_t branch);
/* It is about to be removed. */
void kvi_index_ahead_not(struct kvi_index *index, uint32_t branch);

/* The op. */
uint32_t kvi_index_promotion(struct kvi_policy *policy, const struct kvi_policy_ahead *ahead,
                             uint32_t *handles, uint64_t now_ns);

/* ---- index_waiters.c: the ops of these names ---- */

uint32_t kvi_index_waiters(const struct kvi_policy *policy);
bool kvi_index_waiter(const struct kvi_policy *policy, uint32_t number, struct kvi_policy_waiter *waiter_p,
                      uint64_t now_ns);
double kvi_index_tier_price(const struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns);
double kvi_index_tier_worth(const struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns);
void kvi_index_own_paid(struct kvi_policy *policy, uint32_t tenant, enum kvi_policy_group group, double price,
                        uint64_t now_ns);
double kvi_index_own_price(const struct kvi_policy *policy, uint32_t tenant, enum kvi_policy_group group,
                           uint64_t now_ns);
bool kvi_index_goes_by_price(const struct kvi_policy *policy);

/* ---- index_kept.c: the ops of these names ---- */

bool kvi_index_keep(const struct kvi_policy *policy, uint32_t number, struct kvi_policy_kept *kept_p);
uint32_t kvi_index_learned(const struct kvi_policy *policy, uint32_t part,
                           uint8_t bytes[KVI_POLICY_LEARNED_MAX], bool *more_p);
bool kvi_index_learn(struct kvi_policy *policy, const uint8_t *bytes, uint32_t length);
uint32_t kvi_index_room(const struct kvi_policy *policy);
bool kvi_index_restore(struct kvi_policy *policy, const struct kvi_policy_kept *kept, uint64_t now_ns);
void kvi_index_relearn(struct kvi_policy *policy, uint64_t now_ns);

#endif
