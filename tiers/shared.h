/*
 * tiers/shared.h: the tier that nodes share, below a store: what one of them put, another one gets. It stands over the store and a medium
 * (medium.h) that is shared: asked for what the store has not, and told what was put into the store.
 *
 *   put      queued when the chunk is published in the store, written in the background; the oldest of a full queue is shed
 *   get      what the store misses is fetched and lands in the store like a put; whoever asks for it meanwhile waits for the same fetch
 *   lookup   keys that the store has not are asked for together; an answer that does not come in time is a no
 *
 * Chunks of a shared medium may go at any time, and no lease holds them there: a get may miss what a lookup has promised.
 *
 * Threads: any, save where it says otherwise; nothing blocks. Lock order: shared -> store -> tiers; medium's queue. Waiters are called without a lock.
 */
#ifndef KVASIR_TIERS_SHARED_H
#define KVASIR_TIERS_SHARED_H

#include "tiers/medium.h"
#include "tiers/store.h"

struct kvi_shared;

struct kvi_shared_config {
  struct kvi_store *store;            /* not owned; outlives it */
  struct kvi_medium *medium;          /* shared, without handles; owned, also when create fails */
  enum kvi_policy_admission write;    /* which chunks are written to it */
  uint32_t write_queue;               /* that wait for it; 0: 4096 */
  uint32_t max_fetches;               /* at a time; 0: 256. Four times as many may wait for them. */
  uint32_t max_lookups;               /* asked at a time; 0: 256 */
  uint32_t lookup_ms, get_ms, put_ms; /* how long each may take; 0: 50, 2000, 10000 */
  uint32_t
      expiries; /* chunks of which it is known until when they are there, 16 bytes each; 0: one for 4 entries of the store's index, 4096 at least */
  uint64_t (*clock)(void *ctx); /* by which they live; the store's departure clock; NULL: kvi_now_ns */
  void *clock_ctx;
};

kvs_status kvi_shared_create(const struct kvi_shared_config *config, struct kvi_shared **shared_p);
/* Ends what is under way; whoever waits is told. Before the store is closed. NULL is fine. */
void kvi_shared_destroy(struct kvi_shared *shared);

/* ---- put ---- */

/* What a chunk is called and how long it is of use, kept from put_begin to put_commit, since the landing does not say it. NULL: no memory, or it is not to be written. */
struct kvi_shared_note;
struct kvi_shared_note *kvi_shared_note_make(struct kvi_shared *shared, const char *tenant,
                                             const struct kvi_put_request *request);
void kvi_shared_note_free(struct kvi_shared_note *note); /* NULL is fine */
/* The chunk is in the store: it is written, now or (KVI_ADMIT_REUSED) once it is used. Takes the note; NULL is fine. */
void kvi_shared_offer(struct kvi_shared *shared, struct kvi_shared_note *note);

/* ---- delete ---- */

struct kvi_shared_forget {
  const char *tenant;
  const uint8_t *space;
  const uint8_t *keys;
  uint32_t key_length, n_keys;
  /*
   * Once, perhaps before kvi_shared_forget returns: bit i of there says that key i was in the shared tier, or had come to the store meanwhile.
   * unconfirmed: keys that may still be in the shared tier, which did not answer. On a thread of the medium; must not block.
   */
  void (*done)(void *ctx, const uint8_t *there, uint32_t unconfirmed);
  void *ctx;
};
/*
 * Chunks that were deleted from the store leave the shared tier too. Writes and fetches of them that are under way come to nothing, and none are
 * started before it is over. Everything but ctx is copied. KVS_OK: done will be called. KVS_ERR_BUSY (too many deletes, or no memory): it will
 * not, and the chunks are removed as far as the medium takes it, without an answer. KVS_ERR_INVALID.
 */
kvs_status kvi_shared_forget(struct kvi_shared *shared, const struct kvi_shared_forget *asked);

/* ---- get ---- */

/*
 * The store has missed it because of `cause`; what a medium of the store could not give comes here by itself (kvi_store_lower). KVS_PENDING: wait->done will be called once. KVS_MISS: it is not worth while (too many are under way, or
 * wait is NULL).
 */
kvs_status kvi_shared_get(struct kvi_shared *shared, const char *tenant, const uint8_t *space,
                          const uint8_t *key, uint32_t key_length, uint32_t cause, struct kvi_get_wait *wait);
/* A get of it will come. Advice. */
void kvi_shared_ahead(struct kvi_shared *shared, const char *tenant, const uint8_t *space, const uint8_t *key,
                      uint32_t key_length);
/* As get_unwait of proto/service.h. False also for a wait that is not here. */
bool kvi_shared_unwait(struct kvi_shared *shared, struct kvi_get_wait *wait);

/* ---- lookup ---- */

struct kvi_shared_lookup {
  const char *tenant;
  const uint8_t *const *spaces; /* n_spaces digests */
  uint32_t n_spaces;
  const uint8_t *keys; /* in order */
  uint32_t key_length, n_keys;
  uint32_t loss_max;   /* what has lost more is not there */
  const uint8_t *skip; /* a bit a key: it need not be asked for, since the store has it; NULL: none */
  bool unchained;      /* every key counts; else nothing behind the first hole does */
  /*
   * Once, perhaps before kvi_shared_ask returns: bit i of present says that every space has key i, which was asked for. failed: nobody has said that the first key that is neither there nor skipped is missing, since the medium did
   * not answer. chunk_us: what fetching one takes, measured; 0: not known yet. On a thread of the medium; must not block.
   */
  void (*done)(void *ctx, const uint8_t *present, bool failed, uint64_t chunk_us);
  void *ctx;
};
/* Everything but ctx is copied. KVS_OK: done will be called. KVS_ERR_BUSY (too many lookups, or too many bytes of keys in them), KVS_ERR_NOMEM: it will not. */
kvs_status kvi_shared_ask(struct kvi_shared *shared, const struct kvi_shared_lookup *lookup);

/* ---- until when ---- */

/*
 * The chunk was in the shared tier, and its time there is over, as this node reckons by what it has written and read: since *at_ns_p, of the config's clock. False: it is not, or nothing is known of it. So it is with what another
 * node alone has used, and with what is not among the last config.expiries. O(1).
 */
bool kvi_shared_expired(struct kvi_shared *shared, const char *tenant, const uint8_t *space,
                        const uint8_t *key, uint32_t key_length, uint64_t *at_ns_p);
/*
 * The cause of a miss of such a chunk, which the store has missed for this one: expired, unless it went from here after that time was over (went_ns: kvi_store_went_ns), or the store's says more.
 */
uint32_t kvi_shared_cause(uint32_t cause, uint64_t went_ns, uint64_t until_ns);
/* Its clock, now. */
uint64_t kvi_shared_now(const struct kvi_shared *shared);

/* ---- what it counts ---- */

struct kvi_shared_stats {
  uint64_t offers, puts_off /* offered, but to be written only once used */, writes, write_bytes, writes_shed,
      writes_lost;       /* lost: gone from the store before they were written */
  uint64_t writes_found; /* of writes: another node's lay there, as good; no byte of it is in write_bytes */
  uint64_t writes_full, writes_failed;
  uint64_t writes_over; /* not written, since their tenant has a bound */
  uint64_t fetches, fetch_joins, fetches_ahead, fetch_hits, fetch_bytes, fetch_misses, fetch_corrupt,
      fetch_failed, fetch_no_room, fetch_refused;
  uint64_t lookups, lookup_keys, lookup_hit_keys, lookups_failed, lookups_refused;
  uint64_t forgets, forget_hits,
      forgets_unconfirmed; /* keys: asked to be removed; were there; may be there still */
  uint64_t writes_queued, writing, fetching, looking; /* now */
  uint64_t write_bytes_per_s;                         /* measured; 0: not yet */
  uint64_t chunk_us;                                  /* a fetch, decaying average; 0: none yet */
};
void kvi_shared_stats(struct kvi_shared *shared, struct kvi_shared_stats *stats_p,
                      struct kvi_medium_stats *medium_p);

#endif
