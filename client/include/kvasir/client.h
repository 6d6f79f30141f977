/*
 * kvasir/client.h: libkvasir, an asynchronous client of one Kvasir node.
 *
 * An engine uses the connector (kvasir/connector.h); this library is for tools and for those who bring their own memory
 * and keys.
 *
 * Operations. kvsc_lookup, kvsc_get, ... start an operation and return at once; each completes exactly once, at the
 * latest 250 ms after its deadline, and its completion is taken from the client's one completion queue with
 * kvsc_poll or kvsc_wait. From then on nobody touches the memory it named. A node that is down, slow or gone costs a
 * miss, never an error that an engine must handle: gets and lookups complete with KVS_MISS and cause KVSC_CAUSE_NODE.
 *
 * Threads: every function may be called from any thread. None blocks, save kvsc_open, kvsc_wait and kvsc_close.
 * Fork: open after fork. A client opened before fork answers KVS_ERR_FORKED in the child.
 *
 * Structs that begin with struct_size may grow: set it to sizeof, and everything not used to zero. They end with a field and not with a gap (hence `reserved`), so
 * that what a later version appends is not a part of what an older caller passed without setting it.
 */
#ifndef KVASIR_CLIENT_H
#define KVASIR_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/space.h>
#include <kvasir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvsc_client kvsc_client;
typedef struct kvsc_space kvsc_space;
typedef uint64_t kvsc_op; /* never reused within a client; 0: none */

typedef enum kvsc_encode { /* how a client encodes what it puts */
                           KVSC_ENCODE_NONE = 0,
                           KVSC_ENCODE_LOSSLESS = 1,
                           KVSC_ENCODE_LADDER = 2,
                           KVSC_ENCODE_CACHEGEN = 3
} kvsc_encode;

typedef struct kvsc_options {
  uint32_t struct_size;
  const char *endpoint;        /* "kvasir://host:port" or "unix:/path"; copied */
  uint32_t timeout_ms;         /* of operations that name none; 0: 5000; at most 600000 */
  uint32_t connect_timeout_ms; /* one attempt to connect; 0: 1000 */
  uint32_t max_operations;     /* in flight and completed but not taken; 0: 4096; beyond: KVS_ERR_BUSY */
  uint32_t wait_connected_ms;  /* kvsc_open waits so long for the first connection; 0: does not wait */
  const char *tls_ca_file;     /* PEM; NULL: no TLS */
  const char *tls_cert_file, *tls_key_file; /* client certificate; NULL: none */
  const char *tls_server_name;              /* expected in the node's certificate; NULL: the host */
  uint32_t
      hand_over; /* 1: operations are sent by a thread of the library: starting one takes microseconds, and its answer
                         comes a wake-up later. 0: the caller sends, which is the shortest way to an answer */
  uint32_t reserved; /* 0, or whatever a caller of an older version left there: not looked at */
  uint32_t
      decode_threads; /* of the library, for chunks that come coded; 0: 2, or 1 on one core; at most 64. They start when the first one comes */
  uint32_t decode_mib; /* MiB of coded bytes that are held until they are decoded; 0: 512; at most 65536 */
  /*
   * For a link that is slower than a core: chunks of spaces of tensors are encoded by threads of the library before they are sent, with that level (enum kvsc_encode) where a put's loss_max allows its loss, else
   * without loss. What would not be a 16th smaller goes as it is. They arrive coded, so who reads them has to decode, as this library does. No effect on unix: endpoints, where nothing is won.
   */
  uint32_t encode;
  uint32_t encode_planes;  /* of KVSC_ENCODE_LADDER; 0: 2; at most 3 */
  uint32_t encode_threads; /* 0: 2, or 1 on one core; at most 64. They start with the client */
  uint32_t
      encode_mib; /* MiB of chunks that are being encoded, and of coded ones until the node has them; 0: 256; at most 65536. A larger chunk goes as it is */
  /*
   * A file with the token that says which tenant this is (docs/tenants.md), read anew for each connection; NULL: none. Without TLS it is sent on this machine alone (unix:, a loopback address), else
   * KVS_ERR_INVALID, unless plain_token is 1: everybody on the way can read it then.
   */
  const char *token_file;
  uint32_t plain_token;
  uint32_t reserved_more; /* as reserved */
} kvsc_options;

/*
 * Opens a client. Succeeds with the node down: operations then miss at once, and the client reconnects with
 * backoff (100 ms to 5 s). Errors: KVS_ERR_INVALID (endpoint or options malformed), KVS_ERR_VERSION (connected within
 * wait_connected_ms and no protocol version in common), KVS_ERR_NOMEM, KVS_ERR_SYSTEM.
 */
KVS_API kvs_status kvsc_open(const kvsc_options *options, kvsc_client **client_p);

/* Cancels what is in flight, waits for the last touch of callers' memory (<= 1 s), frees. NULL is fine. Closes spaces. */
KVS_API void kvsc_close(kvsc_client *client);

/* KVS_OK when connected, KVS_ERR_UNREACHABLE, KVS_ERR_DENIED (the node wants a credential, or another one), or KVS_ERR_VERSION (text says both ranges). text may be NULL. */
KVS_API kvs_status kvsc_state(kvsc_client *client, char *text, size_t size);

/*
 * A space at the client: checked, digested, told to the node at once, after each reconnect, and before a put if it is not
 * known yet (lookups and gets do not wait: a space the node does not know has no chunks). Opening an equal one again gives
 * the same handle. Valid until kvsc_close. Errors: those of kvs_space_digest, KVS_ERR_BUSY (64 spaces), KVS_ERR_NOMEM.
 */
KVS_API kvs_status kvsc_space_open(kvsc_client *client, const kvs_space_desc *desc, kvsc_space **space_p);
KVS_API void kvsc_space_get_digest(const kvsc_space *space, uint8_t digest[KVS_DIGEST_SIZE]);

/* Keys of a call: one blob. Copied by the functions that take it. */
typedef struct kvsc_keys {
  uint32_t struct_size;
  uint32_t n;
  const uint8_t *keys;   /* n * key_length of the space */
  uint32_t first_place;  /* place of keys[0] in its prefix chain */
  uint32_t unchained;    /* 1: each key stands alone */
  const uint8_t *parent; /* the key before keys[0]; NULL at place 0 */
  const uint8_t
      *extent_first; /* first key of keys[0]'s extent of 64 chunks; NULL when first_place % 64 == 0 */
} kvsc_keys;

/* Options of one operation; NULL: defaults. */
typedef struct kvsc_call {
  uint32_t struct_size;
  uint32_t timeout_ms; /* 0: the client's */
  uint64_t user;       /* given back in the completion */
  uint64_t lease;      /* get: read under this lease */
  uint32_t lease_ms;   /* lookup: lease what is found for so long; 0: no lease */
  kvs_status
      *statuses;    /* get, put: filled with each chunk's status before the completion; NULL: not wanted */
  uint8_t *present; /* lookup: bitmap of (n + 7) / 8 bytes, least significant bit first; NULL: not wanted */
  uint8_t *tiers;   /* lookup: one byte a key (0 absent, 1 dram, 2 ssd, 3 redis, 4 gpu); NULL: not wanted */
  uint32_t
      abreast; /* get; 1: segment 0 of every chunk, then segment 1 of every one, rather than chunk after chunk. A wish */
  uint32_t
      ttl_ms; /* put: the chunks are of no use so long after their last use, and tiers that are shared may forget them; 0: not said */
  uint32_t
      loss_max; /* get, lookup: the most loss that is taken, 0 (the bytes that were put) to 15; put: how far the node may degrade the chunks.
                   docs/formats/chunk.md has the scale */
  uint32_t reserved; /* not looked at: a field that comes later begins behind it */
  /*
   * get: of chunks that the node holds coded in planes (docs/codec.md) it leaves out those that are not wanted, and so sends less: never so many that more is lost than loss_max. Both only ever leave out;
   * no chunk is a miss for them. loss_enough above loss_max is KVS_ERR_INVALID, whatever is started. A hurry does nothing before the first get that has brought 64 KiB, by which gets are measured, and for gets
   * that the node decodes: as many bytes come with fewer planes.
   */
  uint32_t loss_enough; /* better than that a chunk need not be; at most loss_max; 0: as good as there is */
  uint32_t
      hurry_ms; /* planes are left out if the chunks would take longer than this, as fast as gets of this client were lately; 0: no hurry */
  /*
   * put: how many chunks the whole prompt has, stored or not. By that a node whose policy knows prices weighs the chunks against what would have to go for them, and may end them with KVS_DECLINED: nothing is
   * wrong, and the rest of the prompt need not be put. 0: not said, and nothing is declined:
   * so for a prompt that goes into several spaces, since each is weighed by itself.
   */
  uint32_t chain_chunks;
  uint32_t reserved_2; /* not looked at */
} kvsc_call;

typedef struct kvsc_iov {
  void *base; /* NULL: a hole, not written (get only) */
  size_t length;
} kvsc_iov;

/* One chunk of a get or put. Arrays must live until the completion. */
typedef struct kvsc_chunk {
  const kvsc_iov *iov; /* in payload order */
  uint32_t n_iov;
  uint32_t n_segments;             /* put; 0: one segment */
  const uint32_t *segment_lengths; /* put; NULL with n_segments 0 */
  uint32_t exact; /* get; 1: a chunk that is shorter than iov ends with KVS_ERR_SPACE_MISMATCH */
} kvsc_chunk;

/*
 * The longest prefix of the keys that every space has. Up to 64 spaces of equal key length. Errors of every starter:
 * KVS_ERR_INVALID, KVS_ERR_BUSY (max_operations), KVS_ERR_TOO_LARGE, KVS_ERR_FORKED, KVS_ERR_CLOSED, KVS_ERR_NOMEM; on an error nothing was
 * started and *op_p is 0. A node that cannot be reached is no error: the operation completes as a miss.
 */
KVS_API kvs_status kvsc_lookup(kvsc_client *client, kvsc_space *const *spaces, uint32_t n_spaces,
                               const kvsc_keys *keys, const kvsc_call *call, kvsc_op *op_p);
/*
 * Reads chunks into memory. Up to 512 chunks. Bytes of chunks that end with another status than OK are undefined. A chunk
 * larger than its room ends with KVS_ERR_BUFFER. What the node has but call->loss_max does not allow is a miss with KVSC_CAUSE_QUALITY. A chunk may come coded, and is decoded here: what is
 * said of lengths, progress and completion.bytes is always of the chunk as it was put. KVS_ERR_BUSY as a chunk's status: other chunks left no room to hold it coded (one
 * that is larger than all of decode_mib is asked for as it was put). One whose bytes do not fit their checksum is a miss with KVSC_CAUSE_CORRUPT,
 * and the node is asked to drop it, so that a put can bring good ones (not where they fit until others wrote to their places). With a chain, keys->parent and keys->extent_first are required where
 * keys->first_place says so (see kvsc_keys): KVS_ERR_INVALID.
 */
KVS_API kvs_status kvsc_get(kvsc_space *space, const kvsc_keys *keys, const kvsc_chunk *chunks,
                            const kvsc_call *call, kvsc_op *op_p);
/*
 * Stores chunks; a chunk that is stored already counts as stored. The memory must not change until the completion. What a
 * node that is out leaves undone ends with KVS_ERR_UNREACHABLE, KVS_ERR_DEADLINE or KVS_ERR_DRAINING.
 */
KVS_API kvs_status kvsc_put(kvsc_space *space, const kvsc_keys *keys, const kvsc_chunk *chunks,
                            const kvsc_call *call, kvsc_op *op_p);
/*
 * Deletes chunks; up to 8192. OK: all were there; PARTIAL, MISS. KVS_ERR_IO: they are gone from the node, but the tier that it shares with others did
 * not say that they are gone there too: they may come back, until their time to live is over or they are deleted again. KVS_ERR_BUSY: deletes come faster than the node's SSD notes them, some may be
 * gone: again, later.
 */
KVS_API kvs_status kvsc_delete(kvsc_space *space, const kvsc_keys *keys, const kvsc_call *call,
                               kvsc_op *op_p);
/* Round trip with no work. */
KVS_API kvs_status kvsc_ping(kvsc_client *client, const kvsc_call *call, kvsc_op *op_p);
/* Advisory: what an agent framework or engine knows of a program. Strings at most 255 bytes, NULL = "". */
typedef struct kvsc_hint {
  uint32_t struct_size;
  const char *program, *parent_program, *tool;
  uint32_t turn, wait_kind; /* 0 none, 1 tool, 2 human, 3 subagent, 4 approval, 5 end */
  uint32_t return_p50_ms, return_p90_ms, close, priority, ttl_ms;
  uint32_t has_priority;                 /* 1: a priority of 0 is said too */
  uint32_t prefill_tokens, prefill_from; /* kvs_hint of kvasir/connector.h */
  uint64_t prefill_us;
  uint32_t range_tokens; /* priority and ttl_ms are of the first so many tokens of the chain; 0: of all */
  uint32_t reserved;     /* not looked at */
} kvsc_hint;
/* space and keys may be NULL; keys alone too, if it tells of a prefill. The completion's n_ok is the outcome: 1 accepted, 2 clipped, 3 deferred, 4 rejected, 5 missing. */
KVS_API kvs_status kvsc_send_hint(kvsc_client *client, const kvsc_hint *hint, kvsc_space *space,
                                  const kvsc_keys *keys, const kvsc_call *call, kvsc_op *op_p);
/* Ends a lease early. Best effort: no completion; a lease ends by itself. */
KVS_API kvs_status kvsc_release(kvsc_client *client, uint64_t lease);
/* The operation ends soon, with KVS_ERR_CANCELED unless it was over; its memory is in use until its completion. */
KVS_API kvs_status kvsc_cancel(kvsc_client *client, kvsc_op op);

typedef enum kvsc_cause { /* why a chunk or lookup missed */
                          KVSC_CAUSE_NONE = 0,
                          KVSC_CAUSE_NEVER = 1,
                          KVSC_CAUSE_EVICTED = 2,
                          KVSC_CAUSE_DELETED = 3,
                          KVSC_CAUSE_SPACE = 4,
                          KVSC_CAUSE_CORRUPT = 5,
                          KVSC_CAUSE_QUALITY = 6,
                          KVSC_CAUSE_NODE = 7,
                          KVSC_CAUSE_TIER = 8, /* the node's tier that holds it failed or took too long */
                          KVSC_CAUSE_ELSEWHERE =
                              9, /* not in this space; the node has this key in another of the same tenant's */
                          KVSC_CAUSE_CLOSED = 10, /* evicted since its program has ended */
                          KVSC_CAUSE_QUOTA = 11,  /* evicted since its tenant had more than it may have */
                          KVSC_CAUSE_DECLINED =
                              12, /* not stored when it was put last: what would have had to go was worth more */
                          KVSC_CAUSE_EXPIRED = 13, /* the time that it was kept for had run out */
} kvsc_cause;

/* How an operation ended. */
typedef struct kvsc_completion {
  kvsc_op op;
  uint64_t user;
  kvs_status status; /* OK; PARTIAL, MISS; or an error */
  uint32_t n;        /* chunks or keys asked */
  uint32_t
      n_ok; /* get: chunks in place; put: chunks stored (EXISTS included); delete: deleted; lookup: keys present */
  uint32_t n_prefix; /* leading chunks that are OK */
  kvsc_cause cause;  /* of the first miss; a lookup tells only KVSC_CAUSE_SPACE and KVSC_CAUSE_NODE */
  uint64_t bytes;    /* payload moved */
  uint64_t elapsed_ns;
  uint64_t lease; /* lookup: 0 = none granted */
  uint32_t lease_ms;
  uint32_t n_worth;    /* lookup: leading keys to load; kvs_completion of kvasir/connector.h */
  uint64_t fetch_us;   /* lookup: predicted time to fetch the prefix */
  uint64_t compute_us; /* lookup: to compute it; 0: not known */
  uint64_t worth_us;   /* lookup: to have it with n_worth chunks loaded and the rest computed; 0: not known */
} kvsc_completion;

/*
 * An eventfd, readable while completions wait to be taken; owned by the client. For poll/epoll; do not read it. A completion
 * that a thread sleeps for in kvsc_wait is that thread's: it does not make the descriptor readable. -1 in a child.
 */
KVS_API int kvsc_fd(kvsc_client *client);
/* Takes up to max completions. Returns how many. */
KVS_API size_t kvsc_poll(kvsc_client *client, kvsc_completion *completions, size_t max);
/*
 * Waits for one operation and takes its completion. KVS_ERR_DEADLINE: not yet (it is still under way); KVS_ERR_INVALID: unknown or taken
 * already. timeout_ms 0 looks only.
 */
KVS_API kvs_status kvsc_wait(kvsc_client *client, kvsc_op op, uint32_t timeout_ms,
                             kvsc_completion *completion_p);
/*
 * get: how many leading chunks are whole, and of the chunk after them how many leading segments are verified and in place. Any time
 * until the completion is taken. KVS_ERR_INVALID: unknown operation. Segments of a chunk that comes coded are told when they fit the checksums of the coded object
 * and, if it has no loss, those of the put.
 */
KVS_API kvs_status kvsc_progress(kvsc_client *client, kvsc_op op, uint32_t *chunks_p, uint32_t *segments_p);
/* KVS_OK once that much of a get is in place or the operation has ended (kvsc_progress tells which). KVS_ERR_DEADLINE: not yet. */
KVS_API kvs_status kvsc_wait_progress(kvsc_client *client, kvsc_op op, uint32_t chunks, uint32_t segments,
                                      uint32_t timeout_ms);
/* ---- administration: these block until the answer or the timeout (0: the client's) ---- */

/*
 * Each returns a malloc'd JSON document (docs/cli.md has their fields) to be freed with free(). Errors: KVS_ERR_UNREACHABLE,
 * KVS_ERR_DEADLINE, KVS_ERR_DENIED (the settings of a node with tenants are its administrators'), KVS_ERR_NOMEM.
 */
KVS_API kvs_status kvsc_stats_json(kvsc_client *client, uint32_t timeout_ms, char **json_p);
KVS_API kvs_status kvsc_config_json(kvsc_client *client, uint32_t timeout_ms, char **json_p);
/* Tenants, their shares and what they have: of all for an administrator, else the caller's own alone; none where the node has no tenants. */
KVS_API kvs_status kvsc_tenants_json(kvsc_client *client, uint32_t timeout_ms, char **json_p);
KVS_API kvs_status kvsc_spaces_json(kvsc_client *client, uint32_t timeout_ms, char **json_p);
KVS_API kvs_status kvsc_chunks_json(kvsc_client *client, const uint8_t digest[KVS_DIGEST_SIZE],
                                    uint64_t *cursor_p, uint32_t limit, uint32_t timeout_ms, char **json_p);
/* Who waits at which chunk: a page of at most `limit` (0: 100, at most 1000) from *cursor_p on, 0 at first and at the end. */
KVS_API kvs_status kvsc_programs_json(kvsc_client *client, uint64_t *cursor_p, uint32_t limit,
                                      uint32_t timeout_ms, char **json_p);
/*
 * What memory of another size would have had of the look-ups of the time past, estimated from samples (docs/curve.md). Errors as above, and KVS_ERR_UNSUPPORTED (the node takes no samples, or is
 * older), KVS_ERR_DENIED (not an administrator).
 */
KVS_API kvs_status kvsc_curve_json(kvsc_client *client, uint32_t timeout_ms, char **json_p);
/*
 * Why a get of a chain ends where it ends, and of the first chunk that is missing all that the node remembers (docs/why-miss.md). Counts as no use. keys: n_keys of key_length bytes, a chain from
 * its beginning, or one key alone; at most 8192. desc: of the space, if it is at hand, else NULL: a node that does not know the space tells the nearest it knows. loss_max: as of a get.
 * Errors as above, and KVS_ERR_INVALID, KVS_ERR_TOO_LARGE, KVS_ERR_KEY_LENGTH, KVS_ERR_UNSUPPORTED (the node is older).
 */
KVS_API kvs_status kvsc_why_miss_json(kvsc_client *client, const uint8_t digest[KVS_DIGEST_SIZE],
                                      const kvs_space_desc *desc, const uint8_t *keys, uint32_t key_length,
                                      uint32_t n_keys, uint32_t loss_max, uint32_t timeout_ms, char **json_p);
/*
 * As kvsc_send_hint, of a space by its digest (NULL: none), whose keys are n_keys of key_length bytes, at most 8192 (NULL: none); waits for the answer, which has words for people too: what was clipped and to
 * what, or why it was not accepted. A hint that is rejected is an answer. Errors as above, and KVS_ERR_INVALID, KVS_ERR_TOO_LARGE.
 */
KVS_API kvs_status kvsc_hint_json(kvsc_client *client, const kvsc_hint *hint, const uint8_t *digest,
                                  const uint8_t *keys, uint32_t key_length, uint32_t n_keys,
                                  uint32_t timeout_ms, char **json_p);
/* Evicts at least `bytes` by policy (UINT64_MAX: everything); digest NULL: over all spaces. */
KVS_API kvs_status kvsc_evict(kvsc_client *client, const uint8_t *digest, uint64_t bytes, uint32_t timeout_ms,
                              uint64_t *chunks_p, uint64_t *bytes_p);

/* ---- counters of this client ---- */
typedef struct kvsc_counters {
  uint32_t struct_size;
  uint64_t operations, completions, gets, get_chunks, get_hits, get_bytes, puts, put_chunks, put_bytes,
      lookups;
  uint64_t misses, deadline_exceeded, canceled, checksum_errors, busy, reconnects, in_flight;
  uint64_t coded_chunks;      /* of get_hits: came coded and were decoded here */
  uint64_t coded_bytes;       /* that came for coded chunks, in place of get_bytes */
  uint64_t encoded_chunks;    /* of puts: that were encoded here */
  uint64_t encoded_raw_bytes; /* their bytes as they were put */
  uint64_t encoded_bytes;     /* and as they were sent */
} kvsc_counters;
KVS_API void kvsc_get_counters(kvsc_client *client, kvsc_counters *counters);

#ifdef __cplusplus
}
#endif
#endif
