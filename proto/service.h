/*
 * proto/service.h: what a node's wires ask of its store. The wires (grpc/, local/) call these ops; tiers/service.c
 * implements them over the store, so that a server and an embedded store answer alike.
 *
 * Threads: every op may be called from several wire threads at once and must not block (no I/O, no waiting; short
 * locks only). `now` is never passed: implementations read the monotonic clock.
 */
#ifndef KVASIR_PROTO_SERVICE_H
#define KVASIR_PROTO_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/chunk.h"
#include "proto/wire.h"

/* Why a get or lookup missed. Values travel on the wire (ChunkEnd.cause). */
enum kvi_miss_cause {
  KVI_MISS_NONE = 0,
  KVI_MISS_NEVER = 1, /* never stored here, or so long ago that nobody remembers */
  KVI_MISS_EVICTED = 2,
  KVI_MISS_DELETED = 3,
  KVI_MISS_SPACE = 4,   /* no such space here */
  KVI_MISS_CORRUPT = 5, /* dropped: checksum */
  KVI_MISS_QUALITY = 6,
  KVI_MISS_NODE = 7, /* node down or draining (told by the client's side) */
  KVI_MISS_TIER = 8, /* the tier that holds it failed, or took too long */
  KVI_MISS_ELSEWHERE =
      9, /* never stored in this space; another one of the same tenant has a chunk with this key */
  KVI_MISS_CLOSED = 10,   /* evicted since its program has ended */
  KVI_MISS_QUOTA = 11,    /* evicted since its tenant had more than it may have */
  KVI_MISS_DECLINED = 12, /* not stored when it was put last: what would have had to go was worth more */
  KVI_MISS_EXPIRED =
      13, /* evicted after the time ran out that it was kept for; or its time in a tier that forgets by itself did */
  KVI_MISS_COUNT
};

/* Who asks. One per connection (or stream); leases and unfinished puts belong to it and end with it. */
struct kvi_peer {
  uint64_t id;        /* unique in this process, never 0 */
  const char *tenant; /* whose chunks it sees; "default" where there are no credentials */
  bool limited;       /* it is told of its own tenant only, and changes nothing of the node */
  const char *name;   /* for logs: address or "pid 123 uid 0" */
};

/* A chunk being landed: where its bytes go. Filled by put_begin; the wire writes the bytes and the checksums. */
struct kvi_landing {
  void *handle;              /* the service's */
  const struct kvi_iov *iov; /* payload places in order; the service's, valid until commit or abort */
  uint32_t n_iov;
  struct kvi_segment *segments; /* n_segments entries, lengths filled; the wire fills crc32c before commit */
  uint32_t n_segments;
  uint16_t quality; /* as the put said it */
  void *note;       /* the service's */
};

/* A chunk being read. Bytes do not change or move until get_close. */
struct kvi_source {
  void *handle;
  const struct kvi_iov *iov; /* table.length bytes; of a chunk whose planes are left out more follow */
  uint32_t n_iov;
  struct kvi_chunk_table table;
  void *decoded; /* the service's: not NULL: the bytes are a copy that was decoded, and handle is NULL */
  uint32_t tier; /* the service's: where the chunk came from */
  uint32_t left_out_planes; /* the service's: what table lacks of the chunk, as its reader asked */
  uint64_t left_out_bytes;
};

/*
 * What a reader takes. All 0: nothing but the bytes that were put.
 *
 * A coded chunk is sent without its last planes as long as the loss without the next one is within loss_max, and either within loss_enough too, or what is sent is longer than bytes_enough. The chunk that
 * is stored stays as it is, and its owner's loss_max does not matter for that.
 */
struct kvi_get_terms {
  uint32_t codings;      /* that it reads: bit 1 << enum kvi_chunk_coding; KVI_CODING_NONE everybody does */
  uint32_t loss_max;     /* the most loss (kvi_quality_loss) */
  uint32_t loss_enough;  /* better than that it need not be; 0: as good as there is */
  uint64_t bytes_enough; /* a payload that is longer may be as bad as loss_max; 0: it has no such bound */
};

/*
 * A get that waits for its chunk to come from a slower tier, or to be decoded. The caller's, zeroed; from KVS_PENDING on the service's until done is called or
 * get_unwait has returned. A get without one (NULL) has terms of all 0.
 */
struct kvi_get_wait {
  struct kvi_get_terms terms; /* the caller's, set before */
  /*
   * Once, from a thread of the service, which it must not block. KVS_OK: source is open, and the caller's to close. KVS_MISS with cause;
   * KVS_ERR_BUSY (no room to read it into).
   */
  void (*done)(struct kvi_get_wait *wait, kvs_status status, uint32_t cause);
  void *user;
  struct kvi_source source;

  uint32_t state, cause; /* the service's */
  void *where;
  struct kvi_get_wait *next;
};

struct kvi_put_request {
  const uint8_t *space, *key;
  uint32_t key_length;
  const uint8_t *parent; /* key before it in its chain; NULL: place 0 or unchained */
  uint32_t place;
  bool unchained;
  uint64_t length;
  uint32_t n_segments;
  const uint32_t *segment_lengths;
  uint32_t ttl_ms;  /* it is of no use so long after its last use; 0: not said */
  uint16_t quality; /* of the table: what the bytes are, and how far they may be degraded (proto/chunk.h) */
  bool fetched;     /* from another tier, for somebody who asks for it */
  uint32_t chain_chunks; /* of its prompt, stored or not; 0: not said, and the put is never declined */
  const uint8_t *behind; /* keys that follow it in its chain, as far as they are put with it */
  uint32_t n_behind;
};

/* Told once when the equal put that was in flight has ended: OK (it is stored), or KVS_ERR_BUSY (it failed, or has lost more: put again). */
typedef void kvi_put_wait_fn(void *ctx, kvs_status status);

/* A control call whose answer has to be asked of others: the caller's, from KVS_PENDING on the service's until done is called. */
struct kvi_call_wait {
  /* Once, soon (a lookup has a deadline of some 100 ms at most, a delete of 2 s), from a thread of the service, which it must not block. As call returns them. */
  void (*done)(struct kvi_call_wait *wait, kvs_status status, ProtobufCMessage *reply);
  void *user;
};

struct kvi_service_ops {
  /*
   * A control call. request is of the method's type and valid during the call. *reply_p is of the method's reply type
   * and allocated with protobuf-c's default allocator; the wire frees it with protobuf_c_message_free_unpacked. KVS_PENDING: wait->done will be
   * called, perhaps before this returns (wait NULL: answered at once, with what is known here). Errors
   * are transport-level only (KVS_ERR_UNSUPPORTED, KVS_ERR_DRAINING, KVS_ERR_DENIED: not for a limited peer, KVS_ERR_NOMEM); everything else is the reply's status.
   */
  kvs_status (*call)(void *service, const struct kvi_peer *peer, enum kvi_method method,
                     const ProtobufCMessage *request, struct kvi_call_wait *wait, ProtobufCMessage **reply_p);

  /*
   * KVS_OK: land the bytes, then put_commit or put_abort, exactly one of them.
   * KVS_EXISTS: it is stored; nothing to do.  KVS_PENDING: an equal put is in flight; wait_fn will be called once.
   * KVS_DECLINED: it is not stored, since what would have to go is worth more; only of one that says chain_chunks.
   * Errors: KVS_ERR_SPACE_UNKNOWN, KVS_ERR_SPACE_MISMATCH, KVS_ERR_KEY_LENGTH, KVS_ERR_TOO_LARGE, KVS_ERR_FULL,
   * KVS_ERR_INVALID, KVS_ERR_DRAINING, KVS_ERR_BUSY, KVS_ERR_QUOTA.
   */
  kvs_status (*put_begin)(void *service, const struct kvi_peer *peer, const struct kvi_put_request *request,
                          kvi_put_wait_fn *wait_fn, void *wait_ctx, struct kvi_landing *landing_p);
  /* Seals and publishes. After it the chunk is visible to every lookup. KVS_EXISTS when an equal one won. */
  kvs_status (*put_commit)(void *service, struct kvi_landing *landing);
  void (*put_abort)(void *service, struct kvi_landing *landing);
  /* Forgets a wait_fn that has not been called; after return it will not be. */
  void (*put_unwait)(void *service, void *wait_ctx);

  /*
   * KVS_OK: read, then get_close (any thread). KVS_MISS with *cause_p; KVI_MISS_QUALITY: what is there is not what wait->terms take. KVS_PENDING: it has to come from a slower tier, or to be decoded first,
   * and wait->done will be called once (wait NULL: nobody is told, and nothing is started). Errors: KVS_ERR_SPACE_UNKNOWN is a MISS with cause SPACE;
   * KVS_ERR_KEY_LENGTH, KVS_ERR_DRAINING, KVS_ERR_BUSY (too many wait).
   */
  kvs_status (*get_open)(void *service, const struct kvi_peer *peer, const uint8_t *space, const uint8_t *key,
                         uint32_t key_length, struct kvi_get_wait *wait, struct kvi_source *source_p,
                         uint32_t *cause_p);
  /* Forgets a wait that has not ended; after return it will not. Waits for a done that is just running. True: done has not been, and will not be called. */
  bool (*get_unwait)(void *service, struct kvi_get_wait *wait);
  /* A get of this chunk comes soon, `distance` chunks after the one that is read now: it may be fetched from a slower tier. Advice. False: there is
   * no room for so many yet; to be told again when it is nearer. */
  bool (*get_ahead)(void *service, const struct kvi_peer *peer, const uint8_t *space, const uint8_t *key,
                    uint32_t key_length, uint32_t distance);
  void (*get_close)(void *service, struct kvi_source *source);

  /* The peer is gone: its leases end. Its landings were aborted by the wire before. */
  void (*peer_gone)(void *service, const struct kvi_peer *peer);
};

/* Limits that a node tells in its Hello and that wires enforce. */
struct kvi_service_limits {
  uint64_t chunk_bytes_max;
  uint32_t frame_bytes_max;
  uint32_t batch_chunks_max;
  uint64_t
      abreast_bytes; /* how much of a get that asks for its chunks abreast is held open at a time. Not told to clients. */
  uint64_t
      abreast_plain_bytes;   /* of one that does not take coded chunks; 0: the same. Not told to clients. */
  uint32_t get_ahead_chunks; /* how far ahead get_ahead is worth while; 0: not at all. Not told to clients. */
};

struct kvi_service {
  const struct kvi_service_ops *ops;
  void *self;
  struct kvi_service_limits limits;
};

#endif
