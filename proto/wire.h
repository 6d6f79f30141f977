/*
 * proto/wire.h: how one process reaches a node. A wire is an ops struct; grpc/ is the first, local/ reaches a store in
 * the same process, RDMA and shared memory come later without a change to the users of this header.
 *
 * Two kinds of work go over a wire:
 *   calls      small control messages, one answer each (lookup, open a space, ...)
 *   transfers  batches of chunks to or from scatter lists of the caller's memory
 *
 * The node drives a transfer: the client says what it has or wants, the node decides when which bytes move. On gRPC
 * "when" is the stream's flow control; on RDMA it will be the node's reads and writes.
 *
 * Threads. submit, call and cancel may come from any thread, never block on the network, and never call back before
 * they return, save for the local wire, which says so. (What is submitted may of course end, on another thread, before
 * submit has returned; and a submit that sends for others as well may be what ends one of those, and calls back for it.)
 * Callbacks come from threads of the wire; they must not block and must not call back into the wire.
 * docs/threads-and-memory.md says who owns what.
 *
 * Exactly once. Every accepted call or transfer ends in exactly one done callback, at the latest 250 ms after its
 * deadline. After it the wire touches nothing the caller passed. If submit or call returns an error, nothing was
 * accepted and there is no callback.
 */
#ifndef KVASIR_PROTO_WIRE_H
#define KVASIR_PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include <kvasir/space.h>
#include <kvasir/status.h>

/* The control methods. The order is that of method_table in methods.c, which names their paths and messages. */
enum kvi_method {
  KVI_METHOD_HELLO,
  KVI_METHOD_PING,
  KVI_METHOD_OPEN_SPACE,
  KVI_METHOD_LOOKUP,
  KVI_METHOD_RELEASE,
  KVI_METHOD_DELETE,
  KVI_METHOD_HINT,
  KVI_METHOD_STATS,
  KVI_METHOD_LIST_SPACES,
  KVI_METHOD_LIST_CHUNKS,
  KVI_METHOD_EVICT,
  KVI_METHOD_CONFIG,
  KVI_METHOD_LIST_PROGRAMS,
  KVI_METHOD_WHY_MISS,
  KVI_METHOD_TENANTS,
  KVI_METHOD_CURVE,
  KVI_METHOD_COUNT
};

struct kvi_method_info {
  const char *path; /* "/kvasir.v1.Cache/Lookup" */
  const ProtobufCMessageDescriptor *request, *reply;
};
/* Static; NULL for a value that is no method. */
const struct kvi_method_info *kvi_method_info(enum kvi_method method);

/*
 * A call's end. reply is NULL unless status is KVS_OK (of the transport: the reply has a status of its own); it is
 * the wire's and valid only during the callback.
 */
typedef void kvi_call_done_fn(void *ctx, kvs_status status, const ProtobufCMessage *reply);

/* A place of the payload in the caller's memory. base NULL: a hole, the bytes are skipped (get only). */
struct kvi_iov {
  void *base;
  size_t length;
};

/* Prefix-chain position of a batch's keys; see Keys in cache.proto. Pointers need to live until submit returns. */
struct kvi_chain {
  uint32_t first_place;
  const uint8_t *parent;       /* key_length bytes, or NULL at place 0 */
  const uint8_t *extent_first; /* key_length bytes, or NULL */
  bool unchained;
};

/* One chunk of a transfer. The scatter list and segment lengths must live until done. */
struct kvi_transfer_chunk {
  const struct kvi_iov *iov; /* in payload order */
  uint32_t n_iov;
  uint32_t n_segments;             /* put: how the payload is cut; get: filled with the node's answer */
  const uint32_t *segment_lengths; /* put only */
  uint64_t length;                 /* put: payload bytes; get: room on entry, payload bytes after */
  uint64_t verified; /* get: payload bytes of the segments that on_segments told; set before it */
  kvs_status status; /* set before on_chunk */
  uint32_t cause;    /* of a miss: enum kvi_miss_cause */
  uint16_t
      quality; /* of its table (proto/chunk.h). put: set by the caller; get: set before on_coded and on_segments */
};

/*
 * A batch of chunks. The caller owns the struct, its arrays and the memory they point to, and leaves all of it alone
 * until on_done.
 */
struct kvi_transfer {
  bool put;
  const uint8_t *space; /* digest, KVS_DIGEST_SIZE bytes */
  const uint8_t *keys;  /* n_chunks * key_length bytes */
  uint32_t key_length;
  struct kvi_chain chain;
  uint32_t ttl_ms;       /* put: the chunks are of no use so long after their last use; 0: not said */
  uint32_t chain_chunks; /* put: of the whole prompt, stored or not; 0: not said, and nothing is declined */
  uint64_t lease;        /* get: read under this lease; 0: none */
  bool
      abreast; /* get: a wish: segment 0 of every chunk, then segment 1 of every one, rather than chunk after chunk */
  uint32_t loss_max;    /* get: the most loss that is taken (kvi_quality_loss) */
  uint32_t loss_enough; /* get: as of struct kvi_get_terms */
  uint64_t bytes_enough;
  uint64_t deadline_ns; /* kvi_now_ns() clock; at most KVI_TIMEOUT_MS_MAX ahead */
  uint32_t n_chunks;    /* 1 to KVI_BATCH_CHUNKS_MAX */
  struct kvi_transfer_chunk *chunks;

  /*
   * get: this chunk comes coded (chunks[chunk].quality), in `length` bytes: gives where they land, instead of the chunk's own scatter list. The places
   * are the wire's until all of them are verified or the chunk has ended. From here on `verified` and `length` of the chunk, and the segments of on_segments, are those of the coded bytes. Anything but KVS_OK ends the
   * chunk with that status. It may take as long as decoding a chunk, where there is no place before that is done. NULL: the node sends nothing that is coded.
   */
  kvs_status (*on_coded)(struct kvi_transfer *transfer, uint32_t chunk, uint64_t length,
                         const struct kvi_iov **iov_p, uint32_t *n_iov_p);
  /*
   * get: segments [0, n_segments) of this chunk, `verified` bytes, are verified and in place. May be NULL. In order for each chunk.
   * The segments are those it was stored in, which need not be how its reader would cut it.
   */
  void (*on_segments)(struct kvi_transfer *transfer, uint32_t chunk, uint32_t n_segments);
  /* One chunk ended; chunks[chunk].status says how. May be NULL. A put's memory is free only at on_done. */
  void (*on_chunk)(struct kvi_transfer *transfer, uint32_t chunk);
  /* All ended. status: OK when every chunk is OK or EXISTS, PARTIAL, MISS, DECLINED (a put, of none of whose chunks the node wants to let others go), or what ended the rest. Exactly once, last. */
  void (*on_done)(struct kvi_transfer *transfer, kvs_status status);
  void *user;
};

/* What a batch of which no chunk is good ends with: of two of its chunks, whether the later says more of it. A miss does beside an error, and an error beside what was declined, which is none. said KVS_OK: none was bad before. */
static inline bool kvi_says_more(kvs_status said, kvs_status status)
{
  return said == KVS_OK || (said != KVS_MISS && status == KVS_MISS) ||
         (said == KVS_DECLINED && status != KVS_DECLINED);
}

/*
 * For wires: where a get's chunk of this quality and, if it is coded, of so many bytes lands, and sets its quality. Anything but KVS_OK ends the chunk, with *cause_p: KVS_MISS, if it is worse than
 * asked for or coded in a way that nobody takes, and what on_coded says.
 */
kvs_status kvi_transfer_place(struct kvi_transfer *transfer, uint32_t chunk, uint16_t quality,
                              uint64_t length, const struct kvi_iov **iov_p, uint32_t *n_iov_p,
                              uint32_t *cause_p);

struct kvi_wire;

struct kvi_wire_ops {
  const char *name; /* "grpc", "local" */

  /*
   * Sends a control call. request is packed or used before the function returns. deadline_ns as in transfers.
   * Errors: KVS_ERR_UNREACHABLE (no connection now: decide at once, never wait for one), KVS_ERR_BUSY (too many in
   * flight), KVS_ERR_TOO_LARGE, KVS_ERR_FORKED, KVS_ERR_CLOSED.
   */
  kvs_status (*call)(struct kvi_wire *wire, enum kvi_method method, const ProtobufCMessage *request,
                     uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx);

  /* Starts a transfer. Errors as call, and KVS_ERR_INVALID (counts, lengths, a hole in a put), KVS_ERR_KEY_LENGTH. */
  kvs_status (*submit)(struct kvi_wire *wire, struct kvi_transfer *transfer);

  /*
   * Asks a transfer to end early: on_done comes soon, with KVS_ERR_CANCELED unless it was over already. Safe at any
   * time before on_done has returned. Memory is in use until on_done.
   */
  void (*cancel)(struct kvi_wire *wire, struct kvi_transfer *transfer);

  /* True while calls can be sent. A hint: it may be stale when it returns. */
  bool (*connected)(struct kvi_wire *wire);

  /* Ends everything in flight (on_done with KVS_ERR_CLOSED), waits for the last callback, frees. Blocks <= 1 s. NULL is fine. */
  void (*destroy)(struct kvi_wire *wire);
};

/* Each wire's struct begins with this. */
struct kvi_wire {
  const struct kvi_wire_ops *ops;
};

/* Told by a wire when a connection was made or lost; incarnation is the node's, 0 when lost. From the wire's thread. */
typedef void kvi_wire_state_fn(void *ctx, bool connected, uint64_t incarnation);

#endif
