/*
 * kvasir/connector.h: what an inference engine calls.
 *
 * The engine opens a connector on an endpoint, opens a space for each of its layouts and ranks, registers its memory as
 * regions, and then looks up, gets and puts whole chunks by key. Regions say where things lie (base + stride * slot), a
 * request says which slots make up each chunk; a slot of -1 is a hole that is not written. Tokens become keys by
 * kvs_keys_from_tokens (kvasir/keys.h) or by kvs_lookup_tokens, or come from the engine.
 *
 * Endpoints: "embedded:" or "embedded:SIZE" (the store inside this process, "embedded:4GiB"; the default),
 * "unix:/path", "kvasir://host:port".
 *
 * Failures are misses. A node that is down, slow, restarted or full costs recomputation, never an error the engine must
 * handle and never a wrong byte: bytes are checked against their checksum before they are reported ready (against which of a chunk that comes coded, kvs_wait_layer
 * says).
 *
 * Operations complete exactly once, at the latest 250 ms after their deadline; until then their memory is in use,
 * afterwards nobody touches it. What an operation holds inside the library is freed when its completion is taken, so
 * take every one (kvs_poll or kvs_wait). Everything else that is passed (keys, slots, buffer arrays, strings) is copied.
 *
 * Threads: every function from any thread, several at once. None blocks, save kvs_open, kvs_close, the kvs_wait
 * functions and, on "embedded:", the gets and puts, which copy on the calling thread. kvs_close: no other call may be
 * under way. kvs_open starts threads, which may run where its caller may: an engine that pins its threads to processors
 * that compute opens from one that is not pinned. Fork: open after fork. A connector opened before answers KVS_ERR_FORKED in the child, where kvs_close only
 * forgets it.
 *
 * Structs that begin with struct_size may grow: set it to sizeof, and everything not used to zero. They end with a field and not with a gap (hence `reserved`), so
 * that what a later version appends is not a part of what an older caller passed without setting it.
 */
#ifndef KVASIR_CONNECTOR_H
#define KVASIR_CONNECTOR_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/keys.h>
#include <kvasir/space.h>
#include <kvasir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVS_VERSION_MAJOR 0
#define KVS_VERSION_MINOR 1
#define KVS_VERSION_PATCH 0
/* Of the library at hand: major << 16 | minor << 8 | patch. */
KVS_API uint32_t kvs_version(void);

typedef struct kvs_connector kvs_connector;
typedef struct kvs_space kvs_space;
typedef struct kvs_memory kvs_memory;
typedef uint64_t kvs_op; /* never reused within a connector; 0: none */

/* ---- connector ---- */

typedef enum kvs_encode { /* how what is put is encoded before it is sent */
                          KVS_ENCODE_NONE = 0,
                          KVS_ENCODE_LOSSLESS = 1,
                          KVS_ENCODE_LADDER = 2,
                          KVS_ENCODE_CACHEGEN = 3
} kvs_encode;

typedef struct kvs_options {
  uint32_t struct_size;
  const char *endpoint;         /* NULL or "": "embedded:" */
  uint64_t embedded_dram_bytes; /* "embedded:" without a size: reserved and touched at open; 0: 1 GiB */
  uint32_t timeout_ms;          /* of operations that name none; 0: 5000; at most 600000 */
  uint32_t wait_connected_ms;   /* kvs_open waits so long for a node; 0: does not wait */
  uint32_t max_operations;      /* started and not yet taken; 0: 4096; at most 65536 */
  const char *tls_ca_file, *tls_cert_file, *tls_key_file, *tls_server_name;
  uint32_t
      hand_over; /* 1: operations are sent by a thread of the library: for engines whose step must not wait. Starting one takes
                         microseconds, and its answer comes a wake-up later. No effect on "embedded:" */
  uint32_t reserved; /* not looked at: a field that comes later begins behind it */
  /*
   * For a link that is slower than a core, to a kvasir:// endpoint: chunks of spaces of tensors are encoded by threads of the library before they are sent, with that level (enum kvs_encode)
   * where a put's loss_max allows its loss, else without loss. What would not be a 16th smaller goes as it is. Gets of this library decode. docs/codec.md has the levels.
   */
  uint32_t encode;
  uint32_t encode_planes;  /* of KVS_ENCODE_LADDER; 0: 2; at most 3 */
  uint32_t encode_threads; /* 0: 2, or 1 on one core; at most 64 */
  uint32_t
      encode_mib; /* MiB of chunks that are being encoded, and of coded ones until the node has them; 0: 256; at most 65536 */
  /*
   * A file with the token that says which tenant this is (docs/tenants.md), read anew for each connection; NULL: none. Without TLS it is sent on this machine alone (unix:, a loopback address), else
   * KVS_ERR_INVALID, unless plain_token is 1: everybody on the way can read it then.
   */
  const char *token_file;
  uint32_t plain_token;
  uint32_t reserved_more; /* as reserved */
} kvs_options;

/*
 * options NULL: all defaults. Succeeds with the node down. Two "embedded:" connectors of one process are two stores.
 * Errors: KVS_ERR_INVALID (malformed endpoint or options), KVS_ERR_VERSION, KVS_ERR_NOMEM, KVS_ERR_SYSTEM.
 */
KVS_API kvs_status kvs_open(const kvs_options *options, kvs_connector **connector_p);
/* Cancels what is in flight, waits for the last touch of the engine's memory (<= 1 s), frees spaces and registrations too. NULL is fine. */
KVS_API void kvs_close(kvs_connector *connector);
/* KVS_OK: usable now; else why not. text (may be NULL) says it in a sentence. */
KVS_API kvs_status kvs_state(kvs_connector *connector, char *text, size_t size);

/*
 * The same description gives the same handle. Lives until kvs_close. Errors: those of kvs_space_digest (kvasir/space.h),
 * KVS_ERR_BUSY (64 spaces), KVS_ERR_FORKED, KVS_ERR_NOMEM.
 */
KVS_API kvs_status kvs_space_open(kvs_connector *connector, const kvs_space_desc *desc, kvs_space **space_p);
KVS_API void kvs_space_get_digest(const kvs_space *space, uint8_t digest[KVS_DIGEST_SIZE]);

/* ---- memory ---- */

/*
 * One region: the same part of each slot (one layer's K and V of an engine block, say): bytes of slot i are
 * [base + stride * i, + size). Shape taken from TensorRT-LLM's KvCacheRegion.
 */
typedef struct kvs_region {
  void *base;
  uint64_t size;    /* bytes of one slot in this region */
  uint64_t stride;  /* bytes from slot to slot, >= size */
  uint32_t n_slots; /* at least 1; a slot of a request must exist in every region */
  uint32_t
      layer; /* layer these bytes belong to; regions are given in layer order, several may share a layer */
} kvs_region;

/*
 * Registers memory. A chunk of a request on it is, layer-major: for each region in order, for each of the chunk's slots
 * in order, `size` bytes. Each region is one segment of the chunk, so a get hands layers over as they arrive.
 * At most 4096 regions. The memory stays the engine's and must outlive the registration. Errors: KVS_ERR_INVALID (no
 * region or too many, size 0, stride < size, no slots, layers out of order, NULL base, an end beyond the address space),
 * KVS_ERR_FORKED, KVS_ERR_NOMEM.
 */
KVS_API kvs_status kvs_memory_register(kvs_connector *connector, const kvs_region *regions, size_t n_regions,
                                       kvs_memory **memory_p);
/* KVS_ERR_BUSY while operations use it, or their completions are not yet taken: nothing happens then. NULL is fine. */
KVS_API kvs_status kvs_memory_unregister(kvs_memory *memory);

/* ---- requests ---- */

/* Keys of a request and their place in the prefix chain. Copied. */
typedef struct kvs_keys {
  uint32_t struct_size;
  uint32_t n;
  const uint8_t *keys;   /* n * key_length of the space */
  uint32_t first_place;  /* place of keys[0] in its chain: how many chunks come before it */
  uint32_t unchained;    /* 1: each key stands alone */
  const uint8_t *parent; /* the key before keys[0]; NULL at place 0 */
  const uint8_t
      *extent_first; /* first key of keys[0]'s extent of 64 chunks; NULL when first_place % 64 == 0 */
} kvs_keys;

/* Options of one request; NULL: defaults. */
typedef struct kvs_request {
  uint32_t struct_size;
  uint32_t timeout_ms;  /* 0: the connector's */
  uint64_t user;        /* given back in the completion */
  uint64_t lease;       /* get: from a lookup */
  uint32_t lease_ms;    /* lookup: hold what is found for so long; 0: no lease */
  kvs_status *statuses; /* get, put: each chunk's status, filled before the completion; NULL: not wanted */
  uint8_t *present; /* lookup: bitmap of (n + 7) / 8 bytes, least significant bit first; NULL: not wanted */
  uint32_t
      by_layer; /* get; 1: the chunks come layer by layer rather than one after another, for kvs_wait_layer */
  uint32_t reserved; /* 0, or whatever a caller of an older version left there: not looked at */
  uint32_t
      loss_max; /* get, lookup: the most loss that is taken, 0 (the bytes that were put) to 15; put: how far the chunks may be degraded.
                   docs/formats/chunk.md has the scale */
  uint32_t reserved_2; /* not looked at */
  /*
   * get: of chunks that the node holds coded in planes (docs/codec.md) it leaves out those that are not wanted, and so sends less: never so many that more is lost than loss_max. Both only ever leave out;
   * no chunk is a miss for them. loss_enough above loss_max is KVS_ERR_INVALID, whatever is started. A hurry does nothing before the first get that has brought 64 KiB, by which gets are measured, and for gets
   * that the node decodes: as many bytes come with fewer planes.
   */
  uint32_t loss_enough; /* better than that a chunk need not be; at most loss_max; 0: as good as there is */
  uint32_t
      hurry_ms; /* planes are left out if the chunks would take longer than this, as fast as gets of this connector were lately; 0: no hurry */
  /*
   * put: how many chunks the whole prompt has, stored or not. By that a node whose policy knows prices weighs the chunks against what would have to go for them, and may end them with KVS_DECLINED: nothing is
   * wrong, and the rest of the prompt need not be put. 0: not said, and nothing is declined:
   * so for a prompt that goes into several spaces, since each is weighed by itself.
   */
  uint32_t chain_chunks;
  uint32_t reserved_3; /* not looked at */
} kvs_request;

/*
 * How much of a prompt is there: the completion's n_prefix (its status is KVS_OK for all keys, KVS_PARTIAL for some,
 * KVS_MISS for none). Several spaces (all ranks of a tensor-parallel engine, up to 64): the common prefix.
 * Up to 8192 keys. Errors of every starter: KVS_ERR_INVALID, KVS_ERR_BUSY (max_operations), KVS_ERR_TOO_LARGE,
 * KVS_ERR_FORKED, KVS_ERR_CLOSED, KVS_ERR_NOMEM; then nothing was started and *op_p is 0.
 */
KVS_API kvs_status kvs_lookup(kvs_connector *connector, kvs_space *const *spaces, uint32_t n_spaces,
                              const kvs_keys *keys, const kvs_request *request, kvs_op *op_p);
/*
 * The same by tokens of one prompt from its start, for spaces with native keys (others: KVS_ERR_UNSUPPORTED). The last
 * token is never counted: an engine needs it to compute logits. KVS_MISS: the prompt holds no whole chunk before its last
 * token; nothing was started.
 */
KVS_API kvs_status kvs_lookup_tokens(kvs_space *space, const uint32_t *tokens, size_t n_tokens,
                                     const kvs_request *request, kvs_op *op_p);

/*
 * Chunks to and from registered memory. slots: keys->n * slots_per_chunk slot numbers, those of a chunk in token order;
 * -1: a hole (get only), whose bytes are neither written nor handed over. On a miss the slots' bytes are undefined.
 * Up to 512 chunks, and up to 1048576 places (chunks * slots_per_chunk * regions): KVS_ERR_TOO_LARGE beyond, and for a
 * chunk above 128 MiB. KVS_ERR_SPACE_MISMATCH: the chunk's bytes are not the space's chunk_bytes; as the status of a chunk of a
 * get: what is stored is shorter than its slots (longer: KVS_ERR_BUFFER). KVS_ERR_BUSY as a chunk's status: of a put, the node has no room for it now; of a get, what the library
 * holds of coded chunks left no room for this one: compute it, or ask again later.
 */
KVS_API kvs_status kvs_get(kvs_space *space, const kvs_keys *keys, kvs_memory *memory, const int64_t *slots,
                           uint32_t slots_per_chunk, const kvs_request *request, kvs_op *op_p);
KVS_API kvs_status kvs_put(kvs_space *space, const kvs_keys *keys, kvs_memory *memory, const int64_t *slots,
                           uint32_t slots_per_chunk, const kvs_request *request, kvs_op *op_p);

/* The same with a buffer for each chunk, cut in segments; for engines that hand out blobs. Arrays are copied, payload is not. */
typedef struct kvs_buffer {
  void *base;
  uint64_t length;                 /* put: of the payload; get: room, the chunk's bytes at least */
  uint32_t n_segments;             /* put; 0: one segment; at most 4096 */
  const uint32_t *segment_lengths; /* put; each > 0, sum = length */
} kvs_buffer;
KVS_API kvs_status kvs_get_buffers(kvs_space *space, const kvs_keys *keys, const kvs_buffer *buffers,
                                   const kvs_request *request, kvs_op *op_p);
KVS_API kvs_status kvs_put_buffers(kvs_space *space, const kvs_keys *keys, const kvs_buffer *buffers,
                                   const kvs_request *request, kvs_op *op_p);

KVS_API kvs_status kvs_delete(kvs_space *space, const kvs_keys *keys, const kvs_request *request,
                              kvs_op *op_p);
/* Ends a lease early; it ends by itself otherwise. */
KVS_API kvs_status kvs_release(kvs_connector *connector, uint64_t lease);
/* The operation completes soon; its memory is in use until it does. KVS_ERR_INVALID: unknown or taken. */
KVS_API kvs_status kvs_cancel(kvs_connector *connector, kvs_op op);

/* ---- completions ---- */

typedef struct kvs_completion {
  kvs_op op;
  uint64_t user;
  kvs_status status; /* OK, PARTIAL, MISS, or an error */
  uint32_t n;        /* chunks or keys asked */
  uint32_t n_ok;     /* in place (get), stored (put), present (lookup), deleted */
  uint32_t n_prefix; /* leading ones */
  uint32_t cause;    /* of the first miss: kvsc_cause of kvasir/client.h */
  uint64_t bytes;
  uint64_t elapsed_ns;
  uint64_t lease; /* lookup: 0 = none */
  uint32_t lease_ms;
  /*
   * lookup: load or compute. If engines told what computing takes (kvs_hint.prefill_us), compute_us predicts it for the prefix, and n_worth says how many of its chunks to load so that with the rest computed all of it is
   * there soonest, which takes worth_us: 0 where computing is faster, less than n_prefix where the last ones lie in a slower tier. Not known: 0, and n_worth is n_prefix. It is for the first of a chain's tokens, none of
   * which the engine has yet; nothing depends on following it.
   */
  uint32_t n_worth;
  uint64_t fetch_us; /* lookup: predicted time to fetch the prefix */
  uint64_t compute_us;
  uint64_t worth_us;
} kvs_completion;

/* An eventfd, readable while completions wait; owned by the connector. For poll/epoll; do not read it. */
KVS_API int kvs_fd(kvs_connector *connector);
KVS_API size_t kvs_poll(kvs_connector *connector, kvs_completion *completions, size_t max);
/* Waits for one operation and takes its completion. KVS_ERR_DEADLINE: still under way; KVS_ERR_INVALID: unknown or taken. */
KVS_API kvs_status kvs_wait(kvs_connector *connector, kvs_op op, uint32_t timeout_ms,
                            kvs_completion *completion_p);
/*
 * Waits until the bytes of a layer (and all before it) of every chunk of a get are verified and in place. KVS_OK; KVS_MISS:
 * they will not come; KVS_ERR_DEADLINE: not yet; KVS_ERR_INVALID: unknown operation (its completion was taken before this
 * call), not a kvs_get, no such layer.
 *
 * A chunk that comes coded is decoded layer by layer; with planes (docs/codec.md) a layer is there only when the last plane of it has come. Its layers are verified by the checksums of
 * the coded object: of the bytes that came, and, if it has no loss, of the elements that they give. The checksums that the put made are compared at the ends of the put's segments besides, which may be
 * after layers were told: where a segment is longer than a layer (a chunk put as one buffer, say). Should they not fit, which takes an object that was made of other bytes and sealed by its maker, then the chunk is a
 * miss, but layers of it had been told. Who puts regions, a segment each, has both compared before a layer is told.
 *
 * A chunk that was put in other segments than this registration's regions (by another engine, as a buffer) is waited for up to the
 * end of the segment in which the layer ends.
 *
 * The chunks of a get arrive one after another, each in layer order: its layers overlap with compute for the last chunk only,
 * and a get that ends early has whole chunks. With request->by_layer they come abreast: the first layers of all of them, then the next ones,
 * as they were cut into segments when they were put; a get that ends early may have no chunk whole. A node holds no more than an eighth of
 * its memory for that: what is larger comes in groups of chunks. "embedded:" copies at once, in either case.
 */
KVS_API kvs_status kvs_wait_layer(kvs_connector *connector, kvs_op op, uint32_t layer, uint32_t timeout_ms);

/* ---- hints: advisory; recorded, answered, acted on as far as the node can ---- */

typedef enum kvs_wait_kind {
  KVS_WAIT_NONE = 0,
  KVS_WAIT_TOOL = 1,
  KVS_WAIT_HUMAN = 2,
  KVS_WAIT_SUBAGENT = 3,
  KVS_WAIT_APPROVAL = 4,
  KVS_WAIT_END =
      5, /* it will hardly come back: believed as far as that has been true. What is certain is `close` */
} kvs_wait_kind;

typedef enum kvs_hint_outcome {
  KVS_HINT_NONE = 0,
  KVS_HINT_ACCEPTED = 1,
  KVS_HINT_CLIPPED = 2,
  KVS_HINT_DEFERRED = 3,
  KVS_HINT_REJECTED = 4,
  KVS_HINT_MISSING = 5,
} kvs_hint_outcome;

typedef struct kvs_hint {
  uint32_t struct_size;
  const char *program, *parent_program; /* at most 255 bytes each */
  uint32_t turn;
  kvs_wait_kind wait;
  const char *tool;
  uint32_t return_p50_ms, return_p90_ms; /* expected return, from now: p50, or if that is 0 p90 */
  uint32_t close;                        /* 1: the program will not come back */
  uint32_t priority;                     /* 0 to 100 */
  uint32_t ttl_ms;
  uint32_t
      has_priority; /* 1: a priority of 0 is the least there is; else 0 is not said, and what was said before stays */
  /*
   * The engine has computed so many tokens (64 at least, else it is KVS_HINT_DEFERRED) behind prefill_from others of their prompt, nothing else meanwhile, in so long; of one space, given
   * without keys, and with or without a program. From the last 16 of a space the node predicts what computing takes, for the verdict of look-ups and for what stays. 0: not said.
   */
  uint32_t prefill_tokens, prefill_from;
  uint64_t prefill_us;
  /* priority and ttl_ms are of the first so many tokens of the chain, its last chunk whole; what is behind is worth what it is without them, and no more than that. 0, or more than there are: of all. */
  uint32_t range_tokens;
  uint32_t reserved; /* not looked at */
} kvs_hint;

/*
 * space and keys may both be NULL: the hint is about the program. A space without keys: about what computing takes in it (prefill_tokens). The completion's n_ok is a kvs_hint_outcome.
 * KVS_ERR_INVALID besides: a string too long, priority above 100, an unknown wait, keys without a space.
 */
KVS_API kvs_status kvs_send_hint(kvs_connector *connector, const kvs_hint *hint, kvs_space *space,
                                 const kvs_keys *keys, const kvs_request *request, kvs_op *op_p);

/* ---- counters of this connector ---- */

typedef struct kvs_counters {
  uint32_t struct_size;
  uint64_t lookups;         /* complete */
  uint64_t lookup_keys;     /* keys they asked for */
  uint64_t lookup_hit_keys; /* of those, present; counted when the completion is taken */
  uint64_t get_chunks;      /* asked for by complete gets */
  uint64_t get_hits;        /* came whole */
  uint64_t get_bytes;
  uint64_t put_chunks; /* offered by complete puts */
  uint64_t put_stored; /* stored, or found stored; counted when the completion is taken */
  uint64_t put_bytes;
  uint64_t misses;            /* chunks and lookups that found nothing */
  uint64_t deadline_exceeded; /* operations */
  uint64_t canceled;          /* operations */
  uint64_t checksum_errors;   /* segments that came with the wrong bytes, and were not handed over */
  uint64_t busy;              /* starts refused because of max_operations */
  uint64_t reconnects;
  uint64_t in_flight;         /* now: started, and the completion not yet taken */
  uint64_t hints;             /* started */
  uint64_t coded_chunks;      /* of get_hits: came coded, and were decoded here */
  uint64_t coded_bytes;       /* that came for coded chunks, in place of get_bytes */
  uint64_t encoded_chunks;    /* of puts: that were encoded here */
  uint64_t encoded_raw_bytes; /* their bytes as they were put */
  uint64_t encoded_bytes;     /* and as they were sent */
} kvs_counters;
/* Since open. Fills what counters->struct_size has room for. */
KVS_API void kvs_get_counters(kvs_connector *connector, kvs_counters *counters);

#ifdef __cplusplus
}
#endif
#endif
