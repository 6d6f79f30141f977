/*
 * client/encode.h: puts whose chunks are encoded (proto/encode.h) on their way to the wire, when the link is the bottleneck (kvsc_options.encode).
 *
 * Such a put is not given to the wire as one transfer, whose lengths would all have to be known at its start, but chunk by chunk: each is a `part`, a transfer of its own. An encoder, a thread
 * of the client, takes the next chunk of the put that has waited longest, encodes it from the caller's memory to memory of its own, copies the result to a buffer
 * of just that length, and submits it when all chunks of the put before it are submitted. So chunks go in their order, and the next one is encoded while the wire sends the one before. A chunk that is not
 * encoded goes in its turn as it is, from the caller's memory.
 *
 *     ASKED -> ENCODING -> READY -> SENT -> OVER      READY: waits for its turn. SENT: the wire has it
 *
 * Bounds. A chunk reserves staging of its length before it is encoded, in the order in which chunks are submitted, and keeps what it turns out to need until the wire is done with it: so whoever has a
 * reservation never waits for one who has none. Where the wire holds all of it the encoders wait: the link is the bottleneck, and what went as it is would not be there sooner. A
 * chunk larger than all staging goes as it is, and so does one for whose result there is no memory, and a put that comes when many wait.
 *
 * Ends. What stops a put (deadline, cancel, close, a lost connection) stops its chunks that the wire does not have: one that is being encoded is given up after a layer; the wire ends the others. The put
 * ends when no thread works on it and the wire has none of its parts.
 *
 * Locks: everything is guarded by the client's mutex, which is not held while a chunk is encoded or submitted. The caller's memory is only read.
 */
#ifndef KVI_CLIENT_ENCODE_H
#define KVI_CLIENT_ENCODE_H

#include <pthread.h>
#include <stdbool.h>

#include <kvasir/client.h>

#include "base/list.h"
#include "base/thread.h"
#include "proto/encode.h"
#include "proto/wire.h"

#define ENCODE_THREADS_MAX     64u
#define ENCODE_THREADS_DEFAULT 2u   /* 1 on a machine of one core */
#define ENCODE_MIB_DEFAULT     256u /* staging: of two of the largest chunks */
#define ENCODE_MIB_MAX         65536u
#define ENCODE_PLANES_DEFAULT  2u
#define ENCODE_PARTS_MAX       64u /* of all puts, encoded or on the wire; it has room for 1024 transfers */
#define ENCODE_WAITING_MAX     64u /* puts that wait for an encoder; what comes then goes as it is */

struct client_op;

enum encode_state { ENCODE_ASKED, ENCODE_ENCODING, ENCODE_READY, ENCODE_SENT, ENCODE_OVER };

struct encode_part {
  struct client_op *op;
  uint32_t index; /* of its chunk */
  enum encode_state state;
  bool submitted;    /* the wire may be asked to cancel it */
  uint64_t reserved; /* bytes of staging */
  uint8_t *staging;  /* the coded payload, then the lengths of its segments; NULL: it goes as it is */
  struct kvi_transfer transfer;
  struct kvi_transfer_chunk chunk;
  struct kvi_iov iov; /* the payload in staging */
};

/* What an operation has while its chunks are encoded and sent. */
struct encode {
  kvi_list_node node; /* in encoders->queue */
  bool queued;        /* chunks are still to be taken */
  bool sending;       /* a thread submits parts */
  uint32_t next;      /* chunk to be taken */
  uint32_t next_send; /* part to be submitted */
  uint32_t n_working; /* threads that use it without the mutex */
  uint32_t n_sent;    /* parts that the wire has */
  kvs_status stop;    /* not KVS_OK: how chunks end that the wire does not have */
  struct encode_part parts[];
};

struct kvi_encoders {
  struct kvi_encode_rules rules;
  uint32_t n_threads_wanted; /* 0: puts are not encoded */
  uint64_t bytes_max;        /* of staging */

  uint64_t bytes; /* reserved */
  uint32_t n_parts;
  kvi_list queue; /* encodes that have chunks to be taken, the oldest first */
  uint32_t n_queued;
  uint64_t expired_ns; /* when the queue was last looked through for what has to stop */
  pthread_cond_t work;
  bool stop;
  uint32_t n_threads;
  kvi_thread threads[ENCODE_THREADS_MAX];
};

/* ---- encode.c ---- */

/* options: checked. KVS_ERR_SYSTEM. */
kvs_status kvi_encoders_init(struct kvi_encoders *encoders, const kvsc_options *options);
/* Starts the threads, if puts are to be encoded. Where there are none puts go as they are. */
void kvi_encoders_start(kvsc_client *client);
/* Waits for the threads, and ends what waits for them; what the wire has it ends. The client is closing. Without the mutex. */
void kvi_encoders_stop(kvsc_client *client);
void kvi_encoders_destroy(struct kvi_encoders *encoders);

/*
 * Takes a put that is to be given to the wire, if it has chunks to encode: it ends by itself then, and may be over when this returns. False: it is to be submitted as it is. Without
 * the mutex.
 */
bool kvi_encode_take(struct client_op *op);
/* Ends a put that was taken and whose op->canceled is set. With the mutex, not from a callback; it may be over when this returns. */
void kvi_encode_cancel(struct client_op *op);

/* ---- encode_part.c: an encoder's, without the mutex ---- */

/*
 * Encodes a part's chunk as planned: from then on the part is of the coded payload, in staging. False: it goes as it is, since it would not be smaller, encoding was stopped, or there is no
 * memory.
 */
bool kvi_encode_part(struct encode_part *part, const struct kvi_encode_plan *plan,
                     struct kvi_encode_room *room);

#endif
