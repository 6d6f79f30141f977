/*
 * tiers/medium.h: a tier whose bytes are not in this process's memory: ssd/ (this node's own), redis/ (shared with other nodes).
 *
 * A medium keeps whole chunks under their identity: tenant ‖ space digest ‖ key. Two puts of one identity carry the same chunk, perhaps in another
 * form and with another loss (proto/chunk.h); with handles each is a copy of its own, until it is dropped. Everything is asynchronous: an operation is a struct of the caller's, given to put, get or
 * lookup, and ends in exactly one call of its `done`, on a thread of the medium. Between the two, the struct and all it points to
 * belong to the medium. If the function returns an error, nothing was accepted and done is not called.
 *
 * Threads: ops may be called from any thread, with the store's lock held or not, and never block on the medium. Callbacks (done, land,
 * and the owner's) run on threads of the medium, hold no lock of it, must not block on I/O, and may call put, get, lookup and drop.
 * After destroy has returned, no callback runs any more.
 *
 * Deadlines: an operation ends at the latest 250 ms after its deadline_ns, whatever the device or the network does. Memory of the caller's that a
 * device may still read or write then is kept (struct kvi_medium_hold); without `keep` a medium gives no device such memory, so that an
 * operation given up leaves nothing behind that touches it.
 *
 * Bounds: each medium has a bounded number of operations in it. Beyond it put, get and lookup return KVS_ERR_BUSY; the caller keeps its
 * own queue, or does without.
 */
#ifndef KVASIR_TIERS_MEDIUM_H
#define KVASIR_TIERS_MEDIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/space.h>

#include "proto/chunk.h"
#include "proto/wire.h"
#include "tiers/tier.h"

#define KVI_MEDIUM_TENANT_MAX 64u /* with its NUL */
#define KVI_MEDIUM_KEY_MAX    64u

/* What a chunk is called, and its place in the prefix chain, which a medium keeps with the bytes. */
struct kvi_medium_identity {
  const char *tenant;
  const uint8_t *space; /* digest, KVS_DIGEST_SIZE bytes */
  const uint8_t *key;
  uint32_t key_length;
  const uint8_t *parent; /* key_length bytes; NULL: place 0, unchained, or not known */
  uint32_t place;
  bool unchained;
};

/*
 * Where a medium has put a chunk, for those that have places (attr.handles): told by put and recovery, kept by the store, given back to
 * get and drop. 0 is never one. A handle whose chunk is gone is a miss, never another chunk. Media without places take and tell 0.
 */
typedef uint64_t kvi_medium_handle;

struct kvi_medium_attr {
  const char *name;        /* "ssd", "redis": as in labels and configuration */
  enum kvi_tier_kind kind; /* told in lookups */
  bool handles;            /* has places; what it holds is known to the store alone, and told by recover */
  bool
      shared; /* others write it too: existence has to be asked (lookup), and what is there may go at any time */
  uint64_t capacity_bytes; /* hard bound of what it takes; 0: not this node's to bound */
  uint64_t chunk_bytes_max;
  uint64_t
      ttl_ms; /* so long a chunk stays after its last use, unless its put said less; 0: it does not go by time */
  uint32_t
      chunk_bytes; /* that each chunk takes there beside payload, segment table, keys (its own, its parent's) and its tenant's name; about */
};

struct kvi_medium;

#define KVI_MEDIUM_BLOCK 4096u /* what devices read and write in */

/*
 * Memory that must stay for longer than its operation, since a device still reads or writes it. The medium calls release once, on one of its threads,
 * when the device has answered; never, if that never comes, or the medium is destroyed before.
 */
struct kvi_medium_hold {
  void (*release)(const struct kvi_medium_hold *hold);
  void *ctx;
  uint64_t what;
};

/* ---- put ---- */

struct kvi_medium_put {
  struct kvi_medium_identity identity;
  const struct kvi_iov *iov; /* the payload in order */
  uint32_t n_iov;
  uint64_t length;
  struct kvi_chunk_table table; /* as sealed: lengths, checksums, quality */
  const kvs_space_desc
      *desc;            /* of the chunk's space, for media that encode (encoder/encoder.h); NULL: not known */
  bool hurry;           /* others wait behind it: it is not to be encoded first */
  uint32_t ttl_ms;      /* its own, for media that forget by themselves (policy.h); 0: none */
  uint64_t deadline_ns; /* kvi_now_ns() clock */
  /*
   * Not NULL: the places begin at blocks and are of whole ones, but for the last one's end, behind which memory up to the next block may be read
   * too; so a device may read them as they lie. The checksums are then those of the table, not compared. keep is called before done, if the put ends
   * while the device still reads: the places stay until hold_p is released.
   */
  void (*keep)(struct kvi_medium_put *put, struct kvi_medium_hold *hold_p);
  /*
   * KVS_OK: kept, as durable as the medium is configured to be; handle is set. KVS_EXISTS (shared media): nothing was written, since what lies there is as
   * good; of that `stored` and `stored_quality` tell, 0 if it is not known. KVS_ERR_FULL: no room (not a fault), KVS_ERR_IO: the
   * medium failed, KVS_ERR_CORRUPT: the bytes do not fit their table, so nothing was kept. KVS_ERR_CANCELED: it was removed before it was
   * written. KVS_ERR_DEADLINE, KVS_ERR_CLOSED; and of a medium that encodes first, what the one that it is around says to its put.
   */
  void (*done)(struct kvi_medium_put *put, kvs_status status);
  kvi_medium_handle handle; /* set before done */
  /*
   * Payload bytes that are kept, and that a get of it has, and the quality of their table: those of the put, from the caller; a medium that encodes sets them before
   * done.
   */
  uint64_t stored;
  uint16_t stored_quality;
  bool
      unsure; /* set before done, by media that others answer for: that did not come, and what was sent may lie there, whatever the status says */
  void *user;
  void *medium_link[4]; /* the medium's, while it has it */
};

/* ---- get ---- */

struct kvi_medium_get {
  struct kvi_medium_identity identity; /* parent, place and unchained are not looked at */
  kvi_medium_handle handle;
  /*
   * Not NULL, of media with handles: the key is not known, only its length; identity.key is not looked at, and room is NULL. Called before land with what lies there: KVS_OK: it is the chunk; anything else ends
   * the get with that status.
   */
  kvs_status (*known)(struct kvi_medium_get *get, const struct kvi_medium_identity *identity);
  uint64_t length;      /* payload, as the caller knows it. For room */
  uint32_t table_bytes; /* set before room: the chunk's table has at most so many */
  uint64_t deadline_ns;
  /*
   * Not NULL: a device may write where the payload goes. room is called before anything is known of the chunk, and gives places for `length` bytes: whole
   * blocks but for the last one's end, behind which memory up to the next block may be written too. keep: as of a put. After KVS_OK it is not
   * called again; after KVS_ERR_FULL it may be, when other gets have ended; anything else ends the get with that status.
   */
  kvs_status (*room)(struct kvi_medium_get *get, const struct kvi_iov **iov_p, uint32_t *n_iov_p);
  void (*keep)(struct kvi_medium_get *get, struct kvi_medium_hold *hold_p);
  /*
   * Called at most once, before any byte is delivered: the chunk was found, and this is its checked table (valid until done). Gives where
   * the payload goes, table->length bytes in all; must stay until done. After room it is called when the bytes are there, and gives the same places.
   * Anything but KVS_OK ends the get with that status.
   */
  kvs_status (*land)(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                     const struct kvi_iov **iov_p, uint32_t *n_iov_p);
  /*
   * KVS_OK: every byte is in place and fits its checksum. KVS_MISS: it is not there. KVS_ERR_CORRUPT: what is there is not this chunk, or does
   * not fit its checksums. KVS_ERR_IO, KVS_ERR_DEADLINE, KVS_ERR_CLOSED, or what land said. Unless KVS_OK, what land gave holds rubbish.
   */
  void (*done)(struct kvi_medium_get *get, kvs_status status);
  /* Set before land by a shared medium: its place in the prefix chain, as it was put. */
  uint32_t place;
  bool unchained;
  uint64_t ttl_ms;        /* so long it stays from now on, unless it is used; 0: it does not go by time */
  uint32_t parent_length; /* 0: none */
  uint8_t parent[KVI_MEDIUM_KEY_MAX];
  void *user;
  void *medium_link[4];
};

/* ---- settle: media with handles ---- */

/* Waits for what was dropped for good. */
struct kvi_medium_settle {
  uint64_t deadline_ns;
  /*
   * KVS_OK: what was dropped for good before is on the medium, as durably as it is configured to be. KVS_ERR_IO: a part of the medium has failed,
   * and may not know of it when it comes back. KVS_ERR_DEADLINE, KVS_ERR_CLOSED.
   */
  void (*done)(struct kvi_medium_settle *settle, kvs_status status);
  void *user;
  void *medium_link[4];
};

/* ---- lookup: shared media only ---- */

struct kvi_medium_lookup {
  const char *tenant;
  const uint8_t *space; /* digest */
  const uint8_t *keys;  /* n_keys * key_length */
  uint32_t key_length, n_keys;
  uint32_t loss_max;   /* kvi_quality_loss: what has lost more is not there */
  uint8_t *present;    /* (n_keys + 7) / 8 bytes, cleared by the caller; bits are set before done */
  const uint8_t *skip; /* as present: keys whose bit is set are not asked for; NULL: none */
  /*
   * For a chain, which is of use only up to its first hole: the first key that is not to be asked for any more. The medium lowers it to a key that
   * it did not find; lookups of one chain in several spaces may share one. NULL: every key is asked for.
   */
  _Atomic uint32_t *end;
  uint32_t n_asked; /* set before done: keys that were asked for */
  uint64_t deadline_ns;
  /* KVS_OK, or why not all could be asked: bits that are set hold all the same. */
  void (*done)(struct kvi_medium_lookup *lookup, kvs_status status);
  void *user;
  void *medium_link[4];
};

/* ---- remove: shared media only ---- */

struct kvi_medium_remove {
  struct kvi_medium_identity identity; /* parent, place and unchained are not looked at */
  uint64_t deadline_ns;
  /*
   * KVS_OK: it was there, and is not any more. KVS_MISS: it was not there. In both, puts of it that were accepted before the removal leave nothing
   * behind. Anything else: it may still be there.
   */
  void (*done)(struct kvi_medium_remove *remove, kvs_status status);
  void *user;
  void *medium_link[4];
};

/* ---- what a medium asks of its owner, the store ---- */

/* A chunk as a medium has it: found at the start, or copied to another place. Valid during the call. */
struct kvi_medium_found {
  struct kvi_medium_identity identity;
  kvi_medium_handle handle;
  uint64_t length;
  uint32_t loss; /* kvi_quality_loss */
};

struct kvi_medium_owner {
  void *ctx;
  /* Is this where the store has that chunk? What is not may be forgotten. */
  bool (*holds)(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle);
  /*
   * May the chunk there be moved with so much loss, as whoever put it allows? False, or no such function: it is moved as it is, if it is. True: the
   * store promises it with that loss from now on.
   */
  bool (*may_lose)(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle,
                   uint32_t loss);
  /*
   * The chunk was copied from one place to another, perhaps with more loss than it had, as its owner allows. False: the store did not have it at `from` any more; the copy is not
   * needed.
   */
  bool (*moved)(void *ctx, kvi_medium_handle from, const struct kvi_medium_found *to);
  /* Lets go of chunks by the policy, by calls of drop, until about `bytes` went. Returns the bytes; 0: nothing may go. */
  uint64_t (*make_room)(void *ctx, uint64_t bytes);
  /* What lies there is not that chunk, or does not fit its checksums: the store lets go of it if it has it there. */
  void (*corrupt)(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle);
  /* Handles first to last are gone (a device failed). */
  void (*lost)(void *ctx, kvi_medium_handle first, kvi_medium_handle last);
};

/* False: not wanted (no room in the index, or a copy is known already): the medium forgets it. */
typedef bool kvi_medium_found_fn(void *ctx, const struct kvi_medium_found *found);

/* ---- counters ---- */

struct kvi_medium_stats {
  /* counters */
  uint64_t puts, put_bytes, put_full, put_errors;
  uint64_t gets, get_bytes, get_misses, get_errors;
  uint64_t corrupt, deadlines, busy; /* busy: refused at the bound */
  uint64_t device_errors;
  uint64_t copied_chunks, copied_bytes; /* written again to free room */
  uint64_t cut_chunks, cut_bytes;       /* of these, that lost a plane; what that saved */
  uint64_t reclaims;                    /* log files freed */
  uint64_t scrubbed_bytes;
  /* what recover did */
  uint64_t recovered_chunks, recovered_bytes, recovery_read_bytes, recovery_us;
  /* gauges */
  uint64_t capacity_bytes, used_bytes, live_bytes, objects, metadata_bytes;
  uint64_t queued;                            /* operations in it */
  uint64_t queued_get_bytes;                  /* of the gets among them */
  uint64_t devices, devices_failed;           /* directories or connections */
  uint64_t devices_read_only;                 /* that take nothing, and still give what they have */
  uint64_t read_bytes_per_s, read_latency_us; /* measured, decaying averages; 0: not yet */
  uint64_t write_bytes_per_s;
  /* what was encoded on its way here (encoder/encoder.h); all 0 of a medium that does not */
  uint64_t encoded_chunks, encoded_raw_bytes, encoded_bytes; /* before and after */
  uint64_t unencoded_busy, unencoded_larger,
      unencoded_failed; /* chunks that went as they were: too many waited, it would not have been smaller, it failed */
  uint64_t encode_ns; /* of the workers */
};

/* ---- the ops ---- */

struct kvi_medium_ops {
  void (*attr)(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p);
  void (*stats)(struct kvi_medium *medium, struct kvi_medium_stats *stats_p); /* calls nobody back, as put */

  /*
   * Once, before anything else, if the medium has handles: tells every chunk it holds, and starts to work. Blocks. found and the owner's
   * functions may be called from here on. Media without handles only remember the owner. KVS_ERR_NOMEM, KVS_ERR_SYSTEM, KVS_ERR_IO.
   */
  kvs_status (*recover)(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                        kvi_medium_found_fn *found);

  /* KVS_OK: accepted. KVS_ERR_BUSY (bound), KVS_ERR_TOO_LARGE, KVS_ERR_IO (no device left), KVS_ERR_CLOSED. */
  kvs_status (*put)(struct kvi_medium *medium, struct kvi_medium_put *put);
  kvs_status (*get)(struct kvi_medium *medium, struct kvi_medium_get *get);
  /* Shared media only. */
  kvs_status (*lookup)(struct kvi_medium *medium, struct kvi_medium_lookup *lookup);
  kvs_status (*remove)(struct kvi_medium *medium, struct kvi_medium_remove *remove);

  /*
   * The store lets go of a chunk: its room may be used for others. for_good: it was deleted; whatever was put of it until now, wherever it lies, must
   * not come back by recovery or from others either (as far as the medium's durability goes). Then identity is needed (without parent
   * and place), and handle may be 0: the store knows of no copy, but there may be an old one. Else identity may be NULL. Never waits, never fails.
   */
  void (*drop)(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
               kvi_medium_handle handle, bool for_good);
  /* Percent of what can wait of chunks that were dropped for good, until it is safe. At 100 the medium may have to let go of all it holds. */
  uint32_t (*drops_waiting)(struct kvi_medium *medium);
  /*
   * Tells when what was dropped for good until now is safe. KVS_OK: it is, and done is not called; KVS_PENDING: done will be called, perhaps before
   * this returns; KVS_ERR_BUSY: too many wait for that; KVS_ERR_IO: as done says it; KVS_ERR_CLOSED.
   */
  kvs_status (*settle)(struct kvi_medium *medium, struct kvi_medium_settle *settle);

  /* Ends what is queued with KVS_ERR_CLOSED, waits for what is under way (bounded), frees. NULL is fine. */
  void (*destroy)(struct kvi_medium *medium);
};

/* Each medium's struct begins with this. */
struct kvi_medium {
  const struct kvi_medium_ops *ops;
};

/* Fills missing ops with ones that refuse (KVS_ERR_UNSUPPORTED) or do nothing. */
void kvi_medium_ops_complete(struct kvi_medium_ops *ops);

/* The same chunk? */
bool kvi_medium_identity_equal(const struct kvi_medium_identity *a, const struct kvi_medium_identity *b);

/*
 * What a get's medium does with a chunk that lies in memory as it was written, a table (docs/formats/chunk.md) and its payload: opens the
 * table, asks land for places, copies segment by segment and compares each checksum. size is what lies at `bytes`; payload_at where the payload
 * begins. KVS_OK, KVS_ERR_CORRUPT, or what land said. Not done: the caller calls it.
 */
kvs_status kvi_medium_deliver(struct kvi_medium_get *get, const uint8_t *bytes, size_t size,
                              size_t payload_at);
/*
 * The same for a payload that a device has written where get->room said, `size` bytes at `bytes` being the table: compares each checksum where the payload
 * lies.
 */
kvs_status kvi_medium_landed(struct kvi_medium_get *get, const uint8_t *bytes, size_t size);
/* Do bytes fit the checksums of their table? */
bool kvi_medium_fits(const struct kvi_chunk_table *table, const struct kvi_iov *iov, uint32_t n_iov);
/*
 * The other way: gathers a put's payload to `to` (put->length bytes), comparing each checksum. KVS_ERR_CORRUPT: they do not fit.
 */
kvs_status kvi_medium_gather(const struct kvi_medium_put *put, uint8_t *to);

#endif
