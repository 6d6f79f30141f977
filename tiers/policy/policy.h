/*
 * tiers/policy/policy.h: which chunk goes when room is needed. A policy is an ops struct over handles: it does no I/O, takes time as
 * an argument, and knows of a chunk only what it is told here. The store calls it under its own lock, so a policy needs none.
 *
 * A handle is the number of the store's index entry, below the capacity given at create. parent is the handle of the chunk before
 * it in its prefix chain, or KVI_POLICY_NONE. A parent may be named before it is resident itself (chunks of a chain may land in any
 * order): it counts its children from then on. The caller sees to it that links make no circle.
 *
 * A resident chunk is in one of three groups: its bytes are in memory only, on a medium only, or in both. To evict is to lose it: there are victims of those in memory only, and of those that have a copy on a medium. To demote is to
 * drop from memory what both have. Parents, children and holds are counted over all groups, so a chunk is a leaf only if none continues it in any tier.
 *
 * The policy is the one place that remembers parents, children, holds and last use, so that the store does not keep them twice.
 */
#ifndef KVASIR_TIERS_POLICY_POLICY_H
#define KVASIR_TIERS_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_POLICY_NONE         UINT32_MAX
#define KVI_POLICY_TENANTS_MAX  1025u /* numbers of tenants are below; 0: all that have none of their own */
#define KVI_POLICY_CAPACITY_MAX 0x3ffffffeu /* handles: two bits of the word are the policy's own */

enum kvi_policy_group { KVI_POLICY_MEMORY = 0, KVI_POLICY_MEDIUM = 1, KVI_POLICY_BOTH = 2 };

struct kvi_policy;

/* What is told of a chunk that became resident. What is not known is 0. */
struct kvi_policy_chunk {
  uint32_t parent; /* KVI_POLICY_NONE: none */
  uint32_t place;  /* in its chain; 0: the first */
  uint64_t name;   /* a hash of what it is: the same when it comes back with another handle */
  uint64_t bytes;  /* that it takes */
  float tokens;    /* of the chain's chunks, as in kvi_policy_use */
  float cost;      /* of computing a token, the same */
};

/* What a policy knows of one handle. */
struct kvi_policy_info {
  uint32_t parent;   /* KVI_POLICY_NONE: none, or it is gone */
  uint32_t children; /* of a handle that was removed too, until they have left it */
  uint32_t holds;
  uint64_t last_use_ns; /* rounded down a little; 0: not resident */
  uint64_t
      rank; /* the lower, the sooner it would be evicted, as far as a number can say it; comparable between handles of one policy */
  double price;  /* seconds that keeping it saves, for each second and byte; NAN: the policy has no prices */
  bool by_price; /* the policy orders by that just now; else by last use */
  bool ended;    /* it goes first, since all who needed it as far as is known have closed */
  uint64_t
      until_ns; /* the end of the time that it is kept for, as told for whoever waits there, or pinned, be it over or not; rounded up a little; 0: none was told */
};

/* What somebody waits for; numbers as on the wire (HintRequest.wait_kind). */
enum kvi_wait_kind {
  KVI_WAIT_UNKNOWN = 0,
  KVI_WAIT_TOOL,
  KVI_WAIT_HUMAN,
  KVI_WAIT_SUBAGENT,
  KVI_WAIT_APPROVAL,
  KVI_WAIT_END, /* it thinks that it will not come back; who is certain closes */
  KVI_WAIT_KINDS
};

/*
 * A program (an agent's run, a chat) uses a chain: a request has come, or has gone on. It is known by its name, or else by the chain: of two requests that have most of the shorter one's chunks in
 * common, the later continues the earlier.
 */
struct kvi_policy_use {
  uint64_t program; /* a hash of its name; 0: not known */
  uint32_t
      last; /* the handle of the last chunk of the chain that is resident, with all before it; KVI_POLICY_NONE: not even the first is */
  uint32_t n_chunks;               /* of the chain up to it */
  uint32_t n_whole;                /* of the prompt, stored or not; at least n_chunks */
  float chunk_tokens, chunk_bytes; /* on average. Tokens 0: 256; bytes 0: those of other chunks */
  float
      cost; /* of computing a token, in parts of what it costs with a model of 70 billion parameters (prefill.h); 0: 1 */
  float again_s;   /* what is stored now was put so long ago too, and was not admitted; 0: not known */
  uint32_t tenant; /* whose request it is */
  uint32_t
      space; /* chains of different spaces have nothing in common, and a program has branches of its own in each */
};

/* It has been answered, and waits: for what, and how long. */
struct kvi_policy_wait {
  uint64_t program; /* not 0 */
  uint32_t last,
      n_chunks; /* of the chain that was used, as above; NONE: what its last request used, in all spaces */
  enum kvi_wait_kind kind;
  uint64_t tool;      /* a hash of its name; 0: none */
  uint32_t source;    /* who says when it will be over: any number */
  uint64_t client;    /* and which of its clients, as far as that is known: any number; 0: it is not */
  double announced_s; /* how long it will take, as far as that is known; 0: not said */
  uint32_t
      priority; /* to 100: what it saves counts 2^((priority - 50) / 25) times, also if none is said the next time; 0: not said, unless has_priority */
  double
      ttl_s; /* so long it is to be worth at least what somebody is who comes back once in that time; 0: not said */
  double most_s;         /* so long it will take at most, or nearly: nothing is decided by it; 0: not said */
  uint32_t range_tokens; /* so many from the first on are all that priority and ttl_s are said of; 0: all */
  uint32_t space;        /* of last */
  bool has_priority;
};

/* Who waits, and what that is worth. */
struct kvi_policy_waiter {
  uint64_t program;                 /* 0: not known */
  uint32_t last, n_chunks, n_whole; /* as in kvi_policy_use */
  uint32_t
      n_ranged; /* so many from the first on are all that its priority and its time to live are of; 0: one of them is of all, or neither was said */
  enum kvi_wait_kind kind; /* UNKNOWN too while a request is not answered */
  bool answered;
  double waits_s, announced_s; /* so far; from when that began, 0: not said */
  double value_s;              /* of its last chunk: what it costs to have it again */
  double
      price; /* seconds saved for each second and byte of keeping its last chunk where it is; 0: nothing of it is there */
  double tier_price; /* what that costs there, or what its tenant's own room does, if that is more */
  double ttl_s;      /* from now on its price is above what the tier's memory costs; INFINITY: for good */
};

/* A waiter as a restart keeps it. */
#define KVI_POLICY_KEPT_CHUNKS 6u
struct kvi_policy_kept {
  uint64_t program, tool; /* hashes; 0: not known, none */
  uint64_t used_ns, seen_ns,
      begins_ns; /* when it came last, when anything was heard of that, since when it waits */
  /* keep: its last chunk, and those 1, 3, 7, 15 and 31 before it; NONE: there is none. restore: the first of them is where it ends now. */
  uint32_t at[KVI_POLICY_KEPT_CHUNKS];
  uint32_t n_chunks, n_whole;  /* as in kvi_policy_use */
  uint32_t n_weighed, n_timed; /* chunks that weight and ttl_s are of, from the first on; 0: all */
  uint32_t tenant, space, source;
  enum kvi_wait_kind kind;
  float announced_s, ttl_s; /* 0: not said */
  float weight;             /* by its priority: a factor */
  float chunk_tokens, chunk_bytes, cost;
  bool answered; /* else kind and tool are not known yet */
};

#define KVI_POLICY_LEARNED_MAX 704u /* bytes of a part of what was learned */

/* What may be brought to memory ahead of its use. */
struct kvi_policy_ahead {
  uint32_t most; /* chunks */
  bool full;     /* something has to leave memory for them */
  uint32_t one;  /* as of `demotion` */
  /* Whether a chunk of so many bytes may come for that tenant. NULL: any may. */
  bool (*may)(const void *ctx, uint32_t tenant, double bytes);
  const void *ctx;
};

struct kvi_policy_ops {
  const char *name; /* "lru" */
  /* How often a chunk was touched decides, not only when, or whether: whoever touches it does so once for each request. */
  bool counts;

  /* All memory for `capacity` handles is taken here; the other ops allocate nothing. KVS_ERR_NOMEM, KVS_ERR_INVALID. */
  kvs_status (*create)(uint32_t capacity, struct kvi_policy **policy_p);
  void (*destroy)(struct kvi_policy *policy);          /* NULL is fine */
  uint64_t (*memory)(const struct kvi_policy *policy); /* bytes taken at create */

  /* A chunk became resident, in group memory. The handle is not resident yet; it may have children and holds already. */
  void (*insert)(struct kvi_policy *policy, uint32_t handle, const struct kvi_policy_chunk *chunk,
                 uint64_t now_ns);
  /* Told later than insert: the parent came after its child. Ignored when the handle has a parent that is still there. Returns as remove. O(log n). */
  uint32_t (*link)(struct kvi_policy *policy, uint32_t handle, uint32_t parent);
  /* It was read or found by a lookup. Time never goes back. O(1). Ignored when not resident. */
  void (*touch)(struct kvi_policy *policy, uint32_t handle, uint64_t now_ns);
  /* It may not be evicted (a lease) / it may again. Calls nest, and may come before insert. unhold returns the holds left. */
  void (*hold)(struct kvi_policy *policy, uint32_t handle);
  uint32_t (*unhold)(struct kvi_policy *policy, uint32_t handle);
  /*
   * It is gone (evicted, deleted), or will not come after all. Its children, if any, become roots. Its holds stay, and so does the count of its children; the
   * caller does not use the handle for another chunk before the holds are given back and the children are removed or linked to another.
   * Returns a handle that was removed before and is free now, since this was the last of its children; KVI_POLICY_NONE: none.
   */
  uint32_t (*remove)(struct kvi_policy *policy, uint32_t handle);
  /* It is of this group from now on; both is told only to a policy with `demotion`, and is medium to others. Ignored when not resident. O(log n). */
  void (*move)(struct kvi_policy *policy, uint32_t handle, enum kvi_policy_group group);
  /* The chunk to evict next, without removing it: a leaf, not held. Group memory: of those that are there only; medium: of all that have a copy there. KVI_POLICY_NONE when there is none. O(log n) for each
   * chunk that was used, moved or became one that may go since it was looked at last. */
  uint32_t (*victim)(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns);
  /* What `victim` has answered goes now, to make room; `remove` of it comes next. What is removed without this was deleted, or went for its tenant's own bound: that says nothing of the order. NULL: it does not matter to the policy. */
  void (*evicted)(struct kvi_policy *policy, uint32_t handle);
  void (*info)(const struct kvi_policy *policy, uint32_t handle, struct kvi_policy_info *info_p);

  /*
   * What follows is NULL in a policy that does not mind programs. Each takes O(chunks of the chain).
   *
   * arrive: a request has come, before what it brings is inserted: whoever waited there is back. extend: the same request, with more of its chain resident; nobody is back by that. Ignored if a chunk before use->last is missing.
   * wait: it is answered. A node that hears nothing of answers does not call it: the wait began when the request came, and is for something that is not known.
   */
  void (*arrive)(struct kvi_policy *policy, const struct kvi_policy_use *use, uint64_t now_ns);
  void (*extend)(struct kvi_policy *policy, const struct kvi_policy_use *use, uint64_t now_ns);
  /* The chain up to the handle, n chunks, is this program's, whoever used it last without a name. False: nobody waits there who might be it. */
  bool (*claim)(struct kvi_policy *policy, uint64_t program, uint32_t handle, uint32_t n, uint32_t space);
  /* False: nothing is known of such a program. */
  bool (*wait)(struct kvi_policy *policy, const struct kvi_policy_wait *wait, uint64_t now_ns);
  /*
   * Is the n'th chunk of the chain, from 1 on, which is not stored yet, worth more than this victim, which would have to go for it? Always true while the policy goes by last use. use: the chain up to what is resident of it.
   */
  bool (*admits)(struct kvi_policy *policy, uint32_t victim, const struct kvi_policy_use *use, uint32_t n,
                 uint64_t now_ns);
  /*
   * What this tenant's requests save counts `factor` times from now on, above 0 and at most 1: less than 1 for one that has more than its share, so that it is its own chunks that go for what it stores. In the order by last
   * use, its chunks count as unused for 1 / factor times as long. 1 until it is told.
   */
  void (*share)(struct kvi_policy *policy, uint32_t tenant, double factor);
  /* The program has ended: what it alone has goes first. O(its branches). */
  bool (*close)(struct kvi_policy *policy, uint64_t program,
                uint64_t now_ns); /* false: nothing was known of it */
  /*
   * The chunk of group both to demote next, be it a leaf or not, held or not; *price_p: what it saves to have it in memory, in seconds for each second and byte, negative while the policy goes by last use. `one` is
   * a chunk of that group that the caller comes upon, each in its turn, or KVI_POLICY_NONE: chunks of which the policy knows no branch are found by that. May be it, or KVI_POLICY_NONE if there is none at all. NULL: by last use.
   */
  uint32_t (*demotion)(struct kvi_policy *policy, uint32_t one, double *price_p, uint64_t now_ns);
  /* The same of one tenant's chunks, of which `one`, if it is not KVI_POLICY_NONE, is one that the caller would let go: what leaves its own memory, at its bound. Not NULL in a policy that has `demotion`. */
  uint32_t (*own_demotion)(struct kvi_policy *policy, uint32_t tenant, uint32_t one, double *price_p,
                           uint64_t now_ns);
  /* A chunk that saved so much where it was (memory, or a medium) had to leave that for others of the same tenant: what the tenant's own room costs. In a policy that has tier_price. */
  void (*own_paid)(struct kvi_policy *policy, uint32_t tenant, enum kvi_policy_group group, double price,
                   uint64_t now_ns);
  /*
   * Chunks of group medium that are to be in memory before they are asked for, since whoever waits there is about to be back, and they are worth more there than what has to leave for them and the read. Of one
   * chain, the first of it first; at most ahead->most. Returns how many; 0: none are, as far as was looked at: a part of those who wait, another one at each call. It changes nothing of the chunks, but time passes, and who looks next has others first; who brings them calls `move`. In a policy that has `demotion`.
   */
  uint32_t (*promotion)(struct kvi_policy *policy, const struct kvi_policy_ahead *ahead, uint32_t *handles,
                        uint64_t now_ns);
  /* There is a medium below: memory holds about so many chunks, and a byte from there takes so long; 0: not known, as long as computing it. For `demotion`; in a policy that has that. */
  void (*memory_told)(struct kvi_policy *policy, uint64_t chunks, double byte_s);
  /* For people. Waiters have numbers below waiters(); waiter: false: none has this one. O(1). */
  uint32_t (*waiters)(const struct kvi_policy *policy);
  bool (*waiter)(const struct kvi_policy *policy, uint32_t number, struct kvi_policy_waiter *waiter_p,
                 uint64_t now_ns);
  /* What memory costs: the price of the victims of late; 0: none was needed in the last minute. */
  double (*tier_price)(const struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns);
  /* What a byte of that saves in a second, whoever has it: the same without shares and priorities, which say who is to have it. Together with tier_price. */
  double (*tier_worth)(const struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns);
  /* The price of a tenant's own room there. Together with tier_price, where it has that. */
  double (*own_price)(const struct kvi_policy *policy, uint32_t tenant, enum kvi_policy_group group,
                      uint64_t now_ns);
  /* Whether that is the order that is live, or the last use. In a policy that has admits. */
  bool (*goes_by_price)(const struct kvi_policy *policy);

  /*
   * What outlives the process; NULL in a policy that keeps nothing. keep: the waiter of this number, below waiters(); false: none that has a chunk. learned: a part of what was learned, in a form that other builds of this policy read, below KVI_POLICY_LEARNED_MAX bytes; 0: nothing; *more_p: there
   * are parts of higher numbers. O(1) each.
   */
  bool (*keep)(const struct kvi_policy *policy, uint32_t number, struct kvi_policy_kept *kept_p);
  uint32_t (*learned)(const struct kvi_policy *policy, uint32_t part, uint8_t bytes[KVI_POLICY_LEARNED_MAX],
                      bool *more_p);
  /*
   * In a new policy, once it has its chunks and before anybody uses them: learn, of each part, false: not understood; restore, of each waiter, the one not used for longest first, false: its chunk is not there, or there
   * is no room for it: only for `room` more there is; and then relearn, once. Any bytes and numbers are harmless.
   */
  bool (*learn)(struct kvi_policy *policy, const uint8_t *bytes, uint32_t length);
  bool (*restore)(struct kvi_policy *policy, const struct kvi_policy_kept *kept, uint64_t now_ns);
  uint32_t (*room)(const struct kvi_policy *policy);
  void (*relearn)(struct kvi_policy *policy, uint64_t now_ns);
};

/* What `victim` has answered goes. As `remove`. */
static inline uint32_t kvi_policy_evict(const struct kvi_policy_ops *ops, struct kvi_policy *policy,
                                        uint32_t victim)
{
  if (ops->evicted)
    ops->evicted(policy, victim);
  return ops->remove(policy, victim);
}

extern const struct kvi_policy_ops kvi_policy_lru;
extern const struct kvi_policy_ops kvi_policy_lfu;
extern const struct kvi_policy_ops kvi_policy_gdsf;
extern const struct kvi_policy_ops kvi_policy_s3fifo;
extern const struct kvi_policy_ops kvi_policy_sieve;
extern const struct kvi_policy_ops kvi_policy_fixed_ttl;
extern const struct kvi_policy_ops kvi_policy_continuum;
extern const struct kvi_policy_ops kvi_policy_index; /* docs/policy.md */

/* ---- what goes to a lower tier, and for how long ---- */

/* A tier's rule. What it means for a chunk is the policy's: the store asks when the chunk is published, and when it is used. */
enum kvi_policy_admission {
  KVI_ADMIT_ALL = 0, /* every chunk, when it is published */
  /*
   * Once it was used: got, or put again by somebody who had computed it too. A chunk that nobody comes back for costs no write, and goes with the
   * memory that it is in. (Of the chunks of real agents' sessions 97 % are used again within half an hour; of chats far fewer.)
   */
  KVI_ADMIT_REUSED,
  KVI_ADMIT_NONE /* none: the tier is only read */
};

struct kvi_policy_candidate {
  uint32_t uses; /* gets and equal puts since it was published; a look-up is none */
};
bool kvi_policy_admits(enum kvi_policy_admission rule, const struct kvi_policy_candidate *candidate);

/*
 * How long a tier that forgets by itself keeps a chunk after its last use. own_ms: what its put asked for, 0: nothing; longest_ms: the tier's, 0: no
 * bound. A put may shorten it and not lengthen it, so that no client fills a tier that others share. 0: for ever.
 */
uint64_t kvi_policy_ttl_ms(uint64_t own_ms, uint64_t longest_ms);

/* By name; NULL when there is no such policy. */
const struct kvi_policy_ops *kvi_policy_find(const char *name);
/* The number'th; NULL behind the last. */
const struct kvi_policy_ops *kvi_policy_at(size_t number);

#endif
