/*
 * tiers/store.h: one node's store: the index over its tiers.
 *
 * The index maps (tenant, space, key) to an entry: where the bytes are, the chunk before it in its prefix chain, size, last use.
 * One mutex guards index, policy and leases; it is held for short, bounded work only (at most 64 keys at a time in a lookup),
 * never over a copy, a system call or a log line. Payload bytes are written and read outside it: a landing belongs to
 * its writer until commit, a sealed object is immutable and reference-counted.
 *
 * All functions are thread-safe and do not block beyond that mutex, unless they say so.
 */
#ifndef KVASIR_TIERS_STORE_H
#define KVASIR_TIERS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/encode.h"
#include "proto/service.h"
#include "tiers/compute.h"
#include "tiers/damage.h"
#include "tiers/medium.h"
#include "tiers/policy/policy.h"
#include "tiers/sampler.h"
#include "tiers/tier.h"
#include <kvasir/space.h>

#define KVI_TENANT_MAX                                                                                       \
  64u /* bytes of a tenant's name with its NUL; a longer one is KVS_ERR_INVALID, or knows nothing */

#define KVI_TENANTS_MAX 1024u

#define KVI_STORE_SECRET_WORDS 17u /* as many as XXH3 wants at least */

struct kvi_store;

/* One of those that share a store (docs/tenants.md). */
struct kvi_tenant_config {
  const char *name;      /* 1 to KVI_TENANT_MAX - 1 bytes; copied */
  uint32_t weight;       /* of its share, where shares are weighed; 0: 1 */
  uint64_t dram_bytes;   /* room of its chunks in memory; 0: no bound of its own */
  uint64_t medium_bytes; /* payload of its copies on the medium; 0: the same */
  uint64_t
      shared_bytes; /* that its chunks take that this node has written to the tier that nodes share, with keys and heads (shared_quota.h); 0: the same */
};

struct kvi_store_config {
  uint64_t dram_bytes;      /* reserved and touched at open */
  uint32_t dram_page_bytes; /* power of two, 4 KiB to 2 MiB; 0: 16 KiB */
  bool huge_pages;          /* try MAP_HUGETLB, then transparent ones; said in the log */
  bool lock_memory;         /* mlock; a warning when refused */
  /*
   * Percent of the memory, with a tier below: above the high mark a thread demotes clean chunks until the low one is reached (tiers/marks.h). high 0
   * or 100: never. low is at most high.
   */
  uint32_t dram_high_mark, dram_low_mark;
  uint64_t chunk_bytes_max; /* 0: KVI_CHUNK_BYTES_MAX; at most that */
  uint32_t max_chunks;      /* index entries; 0: dram_bytes / 64 KiB, at least 1024 */
  uint32_t max_spaces;      /* 0: 1024; at most 65535 */
  uint32_t max_leases;      /* 0: 65536 */
  uint32_t max_landings; /* puts in flight; 0: 1024; at most 1 << 24. Four times as many may wait for them. */
  const char *policy;    /* NULL: "lru" */
  bool
      declines; /* puts that say how long their prompt is, are declined by prices, if the policy has any (docs/policy.md); else whatever is put is stored */
  /* The policy's time, monotonic, in nanoseconds, for tests and replays; called under the lock. NULL: the machine's. Leases go by the machine's anyway. */
  uint64_t (*policy_clock)(void *ctx);
  void *policy_clock_ctx;
  /* The time by which it is remembered when chunks went (why.h), the same way. NULL: kvi_now_ns. */
  uint64_t (*departure_clock)(void *ctx);
  void *departure_clock_ctx;
  uint32_t
      curve_samples; /* of look-ups and puts, for kvi_store_curve: 64 to KVI_CURVE_SAMPLES_MAX; 56 bytes each. 0: none */
  uint64_t
      policy_ahead_ns; /* that time is ahead of the clock's by so much: what waited before the clock began can be told */
  const uint64_t *
      hash_secret; /* KVI_STORE_SECRET_WORDS, for keys and names: one that nobody can guess, of an earlier store; copied. NULL: random */

  /* How memory encodes what was put raw (tiers/coder.h), and threads for it; 0: it stays as it was put. */
  struct kvi_encode_rules codec;
  uint32_t codec_threads;

  /* The tier below, or NULL. The store's, also when it does not open; destroyed with it. It must have handles. */
  struct kvi_medium *medium;
  enum kvi_policy_admission write; /* which chunks are written to it */
  uint32_t write_queue;            /* that wait for it; 0: 4096 */
  uint64_t write_day_bytes;        /* most payload written to it in a day; 0: no bound */
  bool
      prefetch; /* read back what the policy expects to be asked for soon (tiers/ahead.h); without such a policy nothing is */

  /*
   * Who is accounted for, at most KVI_TENANTS_MAX, names all different. 0: nobody, and nobody has a bound. Tenants that are not named here share one account without bounds. Takes 12 bytes for
   * each of max_chunks and 8 for each page of memory.
   */
  const struct kvi_tenant_config *tenants;
  uint32_t n_tenants;

  const char *dram_test_fault; /* rules of tiers/faulty/faulty_tier.h around the memory; NULL or "": none */
};

/* Reserves and touches all memory: blocks for about 0.3 s a GiB. Errors: KVS_ERR_NOMEM, KVS_ERR_INVALID, KVS_ERR_SYSTEM (no random
 * seed). */
kvs_status kvi_store_open(const struct kvi_store_config *config, struct kvi_store **store_p);
/* Nothing may be in flight. NULL is fine. */
void kvi_store_close(struct kvi_store *store);

/* The largest payload it takes: as configured, and no more than its memory. */
uint64_t kvi_store_chunk_bytes_max(const struct kvi_store *store);
uint32_t kvi_store_chunks_max(const struct kvi_store *store); /* entries of the index */

/* The room for payloads in its memory. */
uint64_t kvi_store_dram_bytes(const struct kvi_store *store);

/* The memory's test faults, for faulty_tier.h; NULL: none. The store's. */
struct kvi_tier *kvi_store_dram_faults(struct kvi_store *store);

/* Whether there is a tier below: gets may have to wait for it. */
bool kvi_store_has_medium(const struct kvi_store *store);

/* ---- spaces ---- */

/* What kvi_store_space_open found out, for the log and the reply. */
struct kvi_space_opened {
  bool created;
  size_t
      nearest_differences; /* fields that differ from the nearest known space of this tenant; 0: none known */
  char nearest[512];       /* those fields as text */
};
/*
 * Makes a space known. Idempotent. Errors: KVS_ERR_SPACE_MISMATCH (the descriptor does not give the digest), KVS_ERR_BUSY
 * (max_spaces), and those of kvi_space_copy.
 */
kvs_status kvi_store_space_open(struct kvi_store *store, const char *tenant,
                                const uint8_t digest[KVS_DIGEST_SIZE], const kvs_space_desc *desc,
                                struct kvi_space_opened *opened_p);

/* ---- lookup and leases ---- */

struct kvi_store_lookup {
  const char *tenant;
  uint64_t owner;               /* whom a lease belongs to: kvi_peer.id */
  const uint8_t *const *spaces; /* n_spaces digests */
  uint32_t n_spaces;            /* 1 to KVI_LOOKUP_SPACES_MAX */
  const uint8_t *keys;
  uint32_t key_length, n_keys; /* n_keys 1 to KVI_LOOKUP_KEYS_MAX */
  uint32_t first_place;        /* of the first key in its chain, for the verdict */
  bool unchained;              /* lease every present key, not only the prefix */
  uint32_t loss_max;           /* what loses more is not there */
  bool peek;                   /* only looks: no use of what it finds, not counted, no lease */
  uint32_t lease_ms;           /* 0: none */
};
/* Of one key: how long loading what the store has of it takes, predicted, in all spaces that have it here; how many have not. */
struct kvi_key_load {
  float us; /* a tier's latency with the first key that has something there */
  uint32_t n_missing;
};
struct kvi_store_lookup_result {
  uint32_t prefix;            /* leading keys that every space has */
  uint8_t *present;           /* in: NULL or (n_keys + 7) / 8 bytes; set */
  uint8_t *tiers;             /* in: NULL or n_keys bytes; set */
  struct kvi_key_load *loads; /* in: NULL or n_keys of them; set: also of those behind the prefix */
  uint64_t lease;             /* 0: none */
  uint32_t lease_ms;          /* granted */
  kvs_status
      lease_status; /* why none: KVS_MISS (nothing to lease, or none asked), KVS_ERR_BUSY (bound), KVS_ERR_NOMEM */
  uint64_t fetch_us; /* predicted, of the prefix in all spaces */
  struct kvi_verdict
      verdict; /* of the prefix; not known if none of the spaces has an estimate (kvi_store_computed), or unchained */
};
/*
 * Whole chain in one call; counts as a use of what it finds (all at one instant, so that a parent is never older than its child), and
 * links chunks to parents that came after them. A lease holds the prefix in all spaces, or nothing: what is held is exactly what
 * prefix says (unchained: what present says), since each step of at most 64 keys is looked up and held in one hold of the lock.
 * Allocates only for a lease. Errors: KVS_ERR_INVALID, KVS_ERR_KEY_LENGTH. An unknown space is a miss for all.
 */
kvs_status kvi_store_lookup(struct kvi_store *store, const struct kvi_store_lookup *lookup,
                            struct kvi_store_lookup_result *result);
/*
 * An engine has measured how long it computes tokens of this space: for the verdict of look-ups, and what its chunks are worth to the policy. As kvi_compute_tell; MISSING: the tenant has no such
 * space.
 */
enum kvi_hint_outcome kvi_store_computed(struct kvi_store *store, const char *tenant, const uint8_t *space,
                                         const struct kvi_compute_measured *measured);
/* KVS_MISS when there is no such lease of this owner (it ended already). */
kvs_status kvi_store_release(struct kvi_store *store, uint64_t owner, uint64_t lease);
/* All leases of an owner. */
void kvi_store_release_owner(struct kvi_store *store, uint64_t owner);
/* Ends leases that ran out by the node's clock. Called by the other functions as they need it (room is short, a lease is asked for), and
 * by a slow timer. */
void kvi_store_expire(struct kvi_store *store);
/* Charges each tenant for its room in memory since the last call, at the price of now: to be called a few times a second. Nothing without tenants, or with a policy without prices. */
void kvi_store_rent(struct kvi_store *store);

/*
 * ---- put and get: as kvi_service_ops put_begin, put_commit, put_abort, put_unwait, get_open, get_unwait, get_ahead, get_close ----
 *
 * put_begin evicts by the policy when room is short, or ends with KVS_DECLINED if the policy finds what would go worth more (config.declines). A tenant that its put would take over its bound loses chunks of its own first, those that were not used for longest: KVS_ERR_QUOTA: leases hold
 * them, or the chunk is larger than the bound; KVS_ERR_BUSY: too many were looked at in vain, another put looks at others. It makes a chunk's place and parent known at once, so begin the puts of a chain in its order.
 * put_commit and put_abort call those who waited, on this thread, without a lock. Each ends the landing, errors included: never commit twice, never
 * abort after commit. put_unwait waits for a wait_fn that another thread is just calling.
 */

kvs_status kvi_store_put_begin(struct kvi_store *store, const char *tenant,
                               const struct kvi_put_request *request, kvi_put_wait_fn *wait_fn,
                               void *wait_ctx, struct kvi_landing *landing_p);
kvs_status kvi_store_put_commit(struct kvi_store *store, struct kvi_landing *landing);
/* Before the commit: the bytes do not come from a client but from another tier, and the first get of them is that tier's hit. */
void kvi_store_landing_from(struct kvi_store *store, const struct kvi_landing *landing,
                            enum kvi_tier_kind tier);
void kvi_store_put_abort(struct kvi_store *store, struct kvi_landing *landing);
void kvi_store_put_unwait(struct kvi_store *store, void *wait_ctx);
kvs_status kvi_store_get_open(struct kvi_store *store, const char *tenant, const uint8_t *space,
                              const uint8_t *key, uint32_t key_length, struct kvi_get_wait *wait,
                              struct kvi_source *source_p, uint32_t *cause_p);
bool kvi_store_get_unwait(struct kvi_store *store, struct kvi_get_wait *wait);
/* The same for what is in memory alone: KVS_PENDING: it is not, and nothing is started. */
kvs_status kvi_store_get_here(struct kvi_store *store, const char *tenant, const uint8_t *space,
                              const uint8_t *key, uint32_t key_length, const struct kvi_get_terms *terms,
                              struct kvi_source *source_p, uint32_t *cause_p);
/* So many chunks of this space ahead of the one that is read leave half of the memory to others, by the size they have or had so far: else they would
 * push each other out before they are asked for. */
bool kvi_store_ahead_fits(struct kvi_store *store, const char *tenant, const uint8_t *space,
                          uint32_t distance);
void kvi_store_get_ahead(struct kvi_store *store, const char *tenant, const uint8_t *space,
                         const uint8_t *key, uint32_t key_length);
/* Only what is in memory, not counted and no use of it: for who copies it elsewhere. get_close ends it. KVS_MISS, KVS_ERR_CORRUPT. */
kvs_status kvi_store_peek_open(struct kvi_store *store, const char *tenant, const uint8_t *space,
                               const uint8_t *key, uint32_t key_length, struct kvi_source *source_p);
/* A miss that get_open has counted is taken back, because the chunk is looked for elsewhere; or counted after all. */
void kvi_store_count_miss(struct kvi_store *store, uint32_t cause, bool back);
/* A get was counted as a hit, but its open source came to nothing. KVI_MISS_NONE: its reader is told to come again; else it is a miss. */
void kvi_store_count_unread(struct kvi_store *store, const struct kvi_source *source, uint32_t cause);
/*
 * The bytes of an open source are not the chunk: it is noted as damaged, and dropped for good. False: it has gone, or is another one by now. The source is still to be closed.
 */
bool kvi_store_drop_corrupt(struct kvi_store *store, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length, const struct kvi_source *source);
void kvi_store_get_close(struct kvi_store *store, struct kvi_source *source);

/* ---- what stands below the store ---- */

/* Functions are called without a lock of the store, on any of its threads and the medium's; they must not block. */
struct kvi_store_lower {
  void *ctx;
  enum kvi_tier_kind kind; /* whose hits it makes */
  /*
   * A get that waited for the medium has missed there (counted, because of `cause`): KVS_PENDING: the wait is theirs now, and ends there.
   */
  kvs_status (*missed)(void *ctx, const char *tenant, const uint8_t *space, const uint8_t *key,
                       uint32_t key_length, uint32_t cause, struct kvi_get_wait *wait);
  /* A chunk that waited for its first use (kvi_store_await_use) was used; it is in memory. identity is valid during the call. */
  void (*used)(void *ctx, const struct kvi_medium_identity *identity);
  /* Memory has encoded a chunk, or given up one: what kvi_store_is_coding has said before may be another now. NULL: nobody waits for it. */
  void (*coded)(void *ctx);
};
/* It stays until NULL is set, when no get waits any more. Waits for `coded` of the one before. */
void kvi_store_set_lower(struct kvi_store *store, const struct kvi_store_lower *lower);

/* Whether the chunk waits to be encoded in memory, or is: soon it is there in another form. */
bool kvi_store_is_coding(struct kvi_store *store, const char *tenant, const uint8_t *space,
                         const uint8_t *key, uint32_t key_length);

/* `used` is to be called when the chunk is used next; nothing if it is not here. */
void kvi_store_await_use(struct kvi_store *store, const char *tenant, const uint8_t *space,
                         const uint8_t *key, uint32_t key_length);

/*
 * The bytes of a chunk that has an entry here, but came from below the store because its copy on the medium could not be read. begin: as
 * kvi_store_put_begin; KVS_EXISTS: it is in memory already, KVS_MISS: it has gone. Then the bytes are landed, and refill_commit or refill_abort
 * ends it. The copy on the medium stays: it was late, not
 * wrong. commit: KVS_OK; KVS_MISS: it has gone meanwhile.
 */
kvs_status kvi_store_refill_begin(struct kvi_store *store, const char *tenant,
                                  const struct kvi_put_request *request, struct kvi_landing *landing_p);
kvs_status kvi_store_refill_commit(struct kvi_store *store, const char *tenant, const uint8_t *space,
                                   const uint8_t *key, uint32_t key_length, struct kvi_landing *landing);
void kvi_store_refill_abort(struct kvi_store *store, struct kvi_landing *landing);

/* ---- the rest ---- */

/*
 * KVS_OK, or KVS_MISS. Leased chunks go too; only a reader that has it open keeps its bytes until it closes them. Either way nothing that was stored
 * of it until now comes back; after a crash that holds once kvi_store_settle has said so.
 */
kvs_status kvi_store_delete(struct kvi_store *store, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length);
/*
 * Percent of the deletes that can wait until they are safe on the medium; 0 without one. Whoever passes on the deletes of others stops at
 * KVI_STORE_DELETES_MANY, since at 100 the medium has to let go of all it holds.
 */
#define KVI_STORE_DELETES_MANY 50u
uint32_t kvi_store_deletes_waiting(struct kvi_store *store);
/* When what was deleted until now is safe on the medium. As kvi_medium_ops.settle; KVS_OK without a medium. */
kvs_status kvi_store_settle(struct kvi_store *store, struct kvi_medium_settle *settle);
/*
 * Sums a chunk's bytes and drops it if they do not fit (KVS_ERR_CORRUPT). KVS_OK: they do; KVS_MISS: not here. Reads the whole chunk
 * without the lock; *length_p is how much that was. Counts as a get.
 */
kvs_status kvi_store_verify(struct kvi_store *store, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length, uint64_t *length_p);
/*
 * Evicts by the policy's ranks until `bytes` of payload went (UINT64_MAX: all), within a space or (space NULL) the tenant. Leased chunks and those
 * before them stay. For operators: allocates 16 bytes for each index entry while it runs, and evicts nothing if it cannot.
 */
void kvi_store_evict(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t bytes,
                     uint64_t *chunks_p, uint64_t *bytes_p);

/* A space's descriptor, which lives as long as the store; NULL: not known, or not told yet. */
const kvs_space_desc *kvi_store_space_desc(struct kvi_store *store, const char *tenant, const uint8_t *space);

struct kvi_space_info {
  uint8_t digest[KVS_DIGEST_SIZE];
  const kvs_space_desc
      *desc; /* lives as long as the store; NULL: found on a medium, and no client has told it yet */
  uint64_t chunks, bytes;
};
/* From *cursor_p (0 at first) up to `room` spaces of a tenant; *cursor_p 0: the end. */
size_t kvi_store_spaces(struct kvi_store *store, const char *tenant, uint64_t *cursor_p,
                        struct kvi_space_info *infos, size_t room);

struct kvi_chunk_info {
  uint8_t key[64];
  uint32_t key_length; /* 0: it is on the medium only, and its key too */
  uint32_t place, segments, children;
  uint64_t length, idle_ms;
  uint16_t quality; /* proto/chunk.h; of one that is on the medium only the loss alone */
  enum kvi_tier_kind tier;
  bool leased;
};
/* From *cursor_p (0 at first) up to `room` chunks; *cursor_p 0: the end. Fewer than room do not mean the end. Chunks that come and go meanwhile
 * may be missed. */
size_t kvi_store_chunks(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t *cursor_p,
                        struct kvi_chunk_info *infos, size_t room);

/* Who waits at which chunk (policy.h), for people. */
struct kvi_waiter_info {
  struct kvi_policy_waiter waiter;
  uint8_t space[KVS_DIGEST_SIZE], key[64];
  uint32_t key_length; /* of its last chunk; 0: that lies on the medium only, or nothing of it is left */
};
/*
 * From *cursor_p (0 at first) up to `room` waiters of a tenant, and those of whom nothing is left, whose tenant is known by their program's hash alone; *cursor_p 0: the end. 0 with a policy that does not mind
 * programs.
 */
size_t kvi_store_waiters(struct kvi_store *store, const char *tenant, uint64_t *cursor_p,
                         struct kvi_waiter_info *infos, size_t room);
/* By which the policy knows a program; never 0. */
uint64_t kvi_store_program_hash(const struct kvi_store *store, const char *tenant, const char *program);
struct kvi_price_info {
  const char *policy;
  bool by_price;    /* else by last use */
  double prices[2]; /* by enum kvi_policy_group; seconds saved for each second and byte */
};
/* Of the node's memory and of what is below; or, with a tenant, of what that has of its own there, at its bounds. */
void kvi_store_prices(struct kvi_store *store, const char *tenant, struct kvi_price_info *info_p);
/*
 * What memory of another size would have had of the look-ups of the time past (docs/curve.md), no older than max_age_ns. Takes some ms of this thread. KVS_ERR_UNSUPPORTED: nothing is sampled;
 * KVS_ERR_NOMEM.
 */
kvs_status kvi_store_curve(struct kvi_store *store, uint64_t max_age_ns, struct kvi_sampler_report *report_p);
/* A tenant's account. */
struct kvi_tenant_info {
  char name[KVI_TENANT_MAX]; /* "" for all that are not configured */
  uint32_t weight;
  uint64_t dram_max, medium_max, shared_max;         /* 0: no bound */
  uint64_t dram_bytes, medium_bytes, chunks, spaces; /* now */
  uint64_t
      shared_bytes; /* that this node has written to the tier that nodes share, and that is there still as it reckons; what is being written, too */
  uint64_t entries; /* of the index: chunks, what is being put, and what has gone and is held yet */
  uint64_t own_evictions, own_demotions; /* chunks that left, or left memory, for others of the same tenant */
  uint64_t puts_refused;                 /* KVS_ERR_QUOTA */
  uint64_t writes_refused;               /* chunks without a copy on the medium for it */
  uint64_t shared_refused; /* chunks that were not written to the tier that nodes share for it */
  uint64_t
      rent_ns; /* what its room in memory could have saved others, as far as kvi_store_rent has charged it */
};
/* From tenant number `first` on; number 0 is the account of those who are not configured. Returns how many; 0: there are no more, or none is configured. */
size_t kvi_store_tenants(struct kvi_store *store, uint32_t first, struct kvi_tenant_info *infos, size_t room);
/* Bounds and weight of a tenant that is configured; of another: nothing. What it has beyond a smaller bound goes before anything of others, when room is wanted. */
void kvi_store_tenant_set(struct kvi_store *store, const struct kvi_tenant_config *config);
/* The same of one that is to have nothing any more, until it is set anew: bounds of one byte, weight 0. */
void kvi_store_tenant_remove(struct kvi_store *store, const char *name);
/* The number of a tenant of this name, which is its place in the configuration + 1; 0: not configured. */
uint32_t kvi_store_tenant_find(const struct kvi_store *store, const char *name);

/* What a chunk was evicted for. */
enum kvi_evict_rule {
  KVI_EVICT_ROOM,   /* bytes: of memory, or of the medium */
  KVI_EVICT_INDEX,  /* an entry: max_chunks */
  KVI_EVICT_ASKED,  /* an operator */
  KVI_EVICT_QUOTA,  /* its tenant had more than it may have */
  KVI_EVICT_CLOSED, /* bytes or an entry, and its program has ended */
  KVI_EVICT_RULES
};

/* What a chunk left memory for, and stayed in the tier below. */
enum kvi_demote_rule {
  KVI_DEMOTE_ROOM, /* somebody needed it, and waited for it */
  KVI_DEMOTE_MARK, /* ahead of that: the high mark was crossed */
  KVI_DEMOTE_RULES
};

/* Counters since open (monotonic) and gauges; one row a field in docs. */
struct kvi_store_stats {
  uint64_t lookups, lookup_keys, lookup_hit_keys;
  uint64_t gets, get_hits, get_bytes, get_misses[KVI_MISS_COUNT];
  uint64_t
      tier_hits[KVI_TIER_GPU + 1]; /* get_hits by the tier that the chunk came from, by enum kvi_tier_kind */
  uint64_t left_out_planes, left_out_bytes; /* of those hits, as their readers asked for: not in get_bytes */
  uint64_t puts, put_exists, put_pending, put_commits, put_aborts, put_refused, put_bytes;
  uint64_t put_declined, put_declined_bytes; /* KVS_DECLINED */
  uint64_t evictions, evicted_bytes, deletes, corrupt;
  uint64_t evictions_by[2][KVI_EVICT_RULES]; /* by what asked for it; [1]: of those that had a copy below */
  uint64_t leases_granted, leases_expired, leases_refused;
  uint64_t chunks, spaces, leases, landings; /* now */
  uint64_t index_bytes,
      index_bytes_per_chunk; /* entries, hash, ghosts and policy: all that a chunk on a medium only takes; for each of max_chunks, rounded up */
  struct kvi_tier_usage dram;
  uint64_t dram_bytes_per_s; /* reading, measured at start */

  uint64_t cut_chunks,
      cut_bytes; /* in memory: planes that were taken off chunks to make room; payload that this saved */

  /* what memory encoded of what was put raw; all 0 without a codec */
  uint64_t coding;                                     /* now: chunks that wait for it, or are */
  uint64_t coded_chunks, coded_raw_bytes, coded_bytes; /* before and after */
  uint64_t uncoded_busy, uncoded_larger, uncoded_full,
      uncoded_failed; /* that stay as they were put: too many waited, it would hardly be smaller, no room for it beside the raw one, it failed */
  uint64_t code_ns;   /* of its threads */

  /* the tier below; all 0 without one */
  bool has_medium;
  uint64_t writes_queued;            /* now */
  uint64_t writes_shed, writes_lost; /* pushed out of the full queue; evicted before they were written */
  uint64_t writes_over_budget;
  uint64_t writes_put_off; /* not written when they were published, by the rule; once used they are */
  uint64_t fetches, fetch_joins,
      fetches_ahead;       /* started for a get; gets that waited for another's; started ahead */
  uint64_t prefetch_looks; /* for chunks to read ahead of a return */
  uint64_t prefetched,
      prefetched_bytes; /* chunks that were read ahead of a return that the policy expected, */
  uint64_t prefetched_used,
      prefetched_wasted; /* of them: got since, or while they were read; left memory before that */
  uint64_t fetch_misses, fetch_refused; /* came to nothing; no room to read into, or too many */
  uint64_t promotions, demotions_by[KVI_DEMOTE_RULES];
  uint64_t medium_evicted_bytes;       /* of evictions_by[1] */
  uint64_t medium_lost;                /* copies that could not be read, or whose device failed */
  uint64_t medium_chunks, medium_only; /* now: with a copy there; of these not in memory */
  struct kvi_medium_stats medium;
};
void kvi_store_stats(struct kvi_store *store, struct kvi_store_stats *stats_p);
/* The chunks that were dropped last because of a checksum; those who keep chunks for it add theirs. Lives as long as the store. */
struct kvi_damages *kvi_store_damages(struct kvi_store *store);

#endif
