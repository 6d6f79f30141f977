/*
 * client/decode.h: coded chunks (proto/coded.h) on their way from a wire to the caller's memory.
 *
 * A coded chunk lands in a staging buffer, a `struct decode`, of the client's bounded pool. As its segments are verified, a decoder
 * decodes it, layer after layer, into the caller's places; what is in place is told in the operation's op_chunk as for a chunk that came as it
 * was put. Decoders are threads of the client, which start with the first coded chunk; where there are none the wire's thread decodes.
 *
 * A decode is `queued` (to be run), `running` (one thread works on it, without the mutex), or neither: it waits for bytes, or is over and waits
 * for the wire to be done with its buffer. While any of an operation's decodes is there the operation does not complete.
 *
 * Locks: everything is guarded by the client's mutex but what a running decode's thread alone uses. The caller's memory is written by that thread
 * and without the mutex.
 */
#ifndef KVI_CLIENT_DECODE_H
#define KVI_CLIENT_DECODE_H

#include <pthread.h>
#include <stdbool.h>

#include <kvasir/client.h>

#include "base/list.h"
#include "base/thread.h"
#include "proto/coded.h"
#include "proto/wire.h"

#define DECODE_THREADS_MAX     64u
#define DECODE_THREADS_DEFAULT 2u   /* 1 on a machine of one core */
#define DECODE_MIB_DEFAULT     512u /* staging: of four of the largest chunks */
#define DECODE_MIB_MAX         65536u
#define DECODE_ROOM_STEP       (64u << 10) /* buffers are as large as a multiple of it */

struct client_op;

/* Where the next decoded byte goes in a scatter list. */
struct decode_cursor {
  const struct kvi_iov *iov;
  uint32_t n_iov, index;
  size_t offset; /* in iov[index] */
};

/* Memory for a layer whose place is not in one piece; grows, never shrinks. A thread's. */
struct decode_scratch {
  uint8_t *bytes;
  size_t room;
};

struct decode {
  kvi_list_node node;         /* in decoders->queue or idle */
  kvi_list_node running_node; /* in decoders->running */
  size_t room;                /* of bytes */
  struct client_op *op;
  uint32_t chunk;
  struct kvi_iov place; /* bytes, as the wire is told of them */
  uint64_t length;      /* of the payload, coded */
  uint64_t exact;       /* that the decoded bytes must be; 0: any that there is room for */
  uint64_t arrived;     /* leading bytes that are verified */
  uint64_t head;        /* of them, those that came first: the head has to be among them */
  uint64_t need;        /* of them, for the next step */
  bool queued, running;
  bool over;   /* decoded, failed, or not wanted any more */
  bool landed; /* the wire does not touch bytes any more */

  /* The running thread's. */
  bool opened;
  uint32_t loss; /* that the chunk has at most, as it was told */
  bool compares; /* no loss: decoded bytes have to fit the checksums that the chunk was put with */
  struct kvi_coded coded;
  uint32_t layer; /* the next one */
  uint64_t raw;   /* bytes that are decoded */
  struct decode_cursor cursor;
  uint32_t segment; /* as it was put: the one that `raw` is in */
  uint32_t segment_at, crc;
  bool segment_seen; /* all of it up to here was decoded; a layer that nobody wants is not */

  _Alignas(64) uint8_t bytes[];
};

struct kvi_decoders {
  uint32_t n_threads_wanted;
  uint64_t bytes_max; /* of all staging buffers */

  uint64_t bytes;      /* of all staging buffers that there are */
  uint64_t idle_bytes; /* of those that are idle */
  kvi_list idle;       /* buffers, the one used last first */
  kvi_list queue, running;
  uint64_t expired_ns;     /* when the queue was last looked through for what is past its deadline */
  pthread_cond_t work;     /* for decoders */
  pthread_cond_t progress; /* for who waits for a buffer */
  bool started, stop;
  uint32_t n_threads;
  kvi_thread threads[DECODE_THREADS_MAX];
};

/* ---- decode.c ---- */

/* options: checked. KVS_ERR_SYSTEM. */
kvs_status kvi_decoders_init(struct kvi_decoders *decoders, const kvsc_options *options);
/* Ends what is left, waits for the threads. The wire is gone. Without the mutex. */
void kvi_decoders_stop(kvsc_client *client);
/* Frees what init made. */
void kvi_decoders_destroy(struct kvi_decoders *decoders);

/* kvi_transfer's on_coded. KVS_ERR_BUSY: no buffer, and none will be given back before more bytes come. */
kvs_status kvi_decode_begin(struct kvi_transfer *transfer, uint32_t chunk, uint64_t length,
                            const struct kvi_iov **iov_p, uint32_t *n_iov_p);
/* The wire has verified the first `verified` bytes of the payload. Without the mutex. */
void kvi_decode_arrived(struct client_op *op, uint32_t chunk, uint64_t verified);
/* The wire has ended the chunk, and touches its buffer no more. Without the mutex. */
void kvi_decode_landed(struct client_op *op, uint32_t chunk, kvs_status status);
/* Ends all that an operation still decodes, of which the wire is done. With the mutex; it may be over when this returns. */
void kvi_decode_abort(struct client_op *op, kvs_status status);

/* ---- decode_staging.c: with the mutex, which take and give release for a moment ---- */

/* So many bytes of buffers are kept when nobody uses them. */
static inline uint64_t kvi_decode_keep_max(const struct kvi_decoders *decoders)
{
  return decoders->bytes_max / 4;
}
/* What a buffer for so many bytes takes of the bound. */
static inline uint64_t kvi_decode_room(uint64_t length)
{
  return (length + DECODE_ROOM_STEP - 1) / DECODE_ROOM_STEP * DECODE_ROOM_STEP;
}
/* A buffer of `length` bytes, all but bytes cleared; NULL: beyond the bound, or no memory. */
struct decode *kvi_decode_take(kvsc_client *client, uint64_t length);
void kvi_decode_give(kvsc_client *client, struct decode *decode);
/* All that are idle. Nobody else is there any more. */
void kvi_decode_free_idle(struct kvi_decoders *decoders);

/* ---- decode_layer.c: the running thread's, without the mutex ---- */

/*
 * Opens the object, of which `head` bytes are there, or decodes the next layer, for which `need` bytes are. Sets what is needed next.
 * KVS_OK: done, look at kvi_decode_is_done. KVS_ERR_BUFFER, KVS_ERR_SPACE_MISMATCH: the decoded bytes do not fit their place, of which nothing was
 * touched. KVS_ERR_CHECKSUM: the chunk is sound, but its bytes did not stay in their places as they were decoded: others write there. Errors besides:
 * KVS_ERR_CORRUPT, KVS_ERR_UNSUPPORTED, KVS_ERR_NOMEM.
 */
kvs_status kvi_decode_step(struct decode *decode, uint64_t *need_p, struct decode_scratch *scratch);
static inline bool kvi_decode_is_done(const struct decode *decode)
{
  return decode->opened && decode->layer == decode->coded.object.shape.n_layers;
}

#endif
