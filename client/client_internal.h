/*
 * client/client_internal.h: shared by the files of libkvasir.
 *
 * Life of an operation's slot, all under the client's mutex:
 *
 *     FREE -> WAITING -> RUNNING -> DONE -> FREE
 *      |        ^  |        |        ^
 *      +--------|--+-> -----+--------+        WAITING: a put whose space is still to be told to the node,
 *               +---- retry                            or that is tried again after a pause, or a get that met
 *                                                      corrupt chunks, which are to be dropped
 *                                             DONE: its completion waits to be taken
 *
 * A slot whose completion was taken while the wire still owes its callback (a cancelled call) is FREE's only when that
 * has come. Memory: the slots are one allocation at open, touched on first use. A transfer's keys and chunk states lie in
 * its slot's room (16 chunks with keys of 32 bytes fit); a bigger batch takes one malloc, freed with the slot. A chunk that comes coded takes
 * a staging buffer, which is there already but for the first ones; a put that is encoded one malloc and a buffer a chunk. Nothing else allocates on the way of a
 * lookup, get or put, save what the wire does.
 *
 * Locks: client->mutex is held for a few instructions, and over kvi_wire_ops.cancel (which does not call back); never
 * over another function of the wire.
 */
#ifndef KVI_CLIENT_CLIENT_INTERNAL_H
#define KVI_CLIENT_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include <kvasir/client.h>

#include "base/list.h"
#include "base/thread.h"
#include "client/client_private.h"
#include "client/decode.h"
#include "client/encode.h"
#include "proto/kvasir/v1/cache.pb-c.h"
#include "proto/wire.h"

#define CLIENT_SPACES_MAX     64u
#define CLIENT_OPERATIONS_MAX (1u << 20)
#define OP_ROOM               2560u /* bytes of a slot for keys and chunk states */

/* A put that the node is too busy for is tried again so often, after pauses of 10, 20 and 40 ms. */
#define PUT_BUSY_TRIES    3u
#define PUT_BUSY_PAUSE_MS 10u

/* A wire's state in words, as kvsc_state tells it. */
typedef kvs_status kvi_client_wire_text(struct kvi_wire *wire, char *text, size_t size);

enum op_state { OP_FREE, OP_WAITING, OP_RUNNING, OP_DONE };
enum op_kind { OP_LOOKUP, OP_GET, OP_PUT, OP_DELETE, OP_PING, OP_HINT };

/* What is kept of one chunk of a get or put beside the wire's own. */
struct op_chunk {
  uint64_t verified; /* get: bytes of the segments that are in place */
  uint64_t exact;    /* get: the length that the chunk must have; 0: any that there is room for */
  uint32_t segments; /* get: verified and in place */
  uint32_t whole;    /* put: the length of a chunk that is one segment */
  kvs_status stored; /* put: of a chunk that is ok, OK or EXISTS */
  bool ok;           /* ended well; put: at this try or an earlier one */

  /* Of a get's chunk that comes coded (decode.h). */
  bool coded, landed;    /* the wire has ended it well */
  bool overwritten;      /* sound, but others wrote to its places: nothing that a node could mend */
  kvs_status decoded;    /* how decoding ended; KVS_PENDING: not yet */
  uint64_t raw_length;   /* of what was decoded */
  struct decode *decode; /* NULL before it came, and when its buffer was given back */
};

struct client_op {
  kvsc_client *client;
  uint32_t index;      /* of the slot */
  uint64_t generation; /* of its use; the id is made of both */
  enum op_state state;
  enum op_kind kind;
  bool on_wire;       /* a callback is owed: the slot may not be used anew */
  bool queued;        /* in the completion queue */
  bool retried;       /* after the node did not know the space */
  bool canceled;      /* asked for before the wire had it */
  bool submitted;     /* transfer: the wire has it and may be asked to cancel it */
  bool has_cond;      /* changed is initialised: from the slot's first use on */
  uint32_t n_waiters; /* threads that sleep on changed */
  uint32_t n_takers;  /* of these, who will take the completion: it is not offered to kvsc_poll */
  pthread_cond_t changed;
  kvi_list_node node; /* client->completed or client->waiting */
  uint64_t started_ns, deadline_ns;
  uint32_t busy_tries;    /* put: so often it was tried again, since the node was busy */
  uint64_t not_before_ns; /* put: when it is tried again */
  kvsc_completion completion;

  kvs_status *statuses; /* the caller's places for the answer */
  uint8_t *present, *tiers;
  kvsc_space *space; /* put */
  struct kvi_transfer transfer;
  struct op_chunk *chunks; /* beside transfer.chunks */
  uint32_t lead;           /* get: leading chunks that are whole */
  uint32_t n_decoding;     /* get: chunks that hold a buffer */
  struct encode *encode;   /* put: while its chunks are encoded and sent one by one (encode.h); else NULL */
  bool wire_done;          /* get: the wire has ended it, while some of its chunks were still to be decoded */
  kvs_status
      ended; /* get that waits for that, or until the node was told to drop corrupt chunks: what the wire said */
  kvs_status
      stopped; /* get: what made decoders give a chunk up: cancel, deadline, close; KVS_OK: nothing did */
  void *big;   /* the room of a big batch, or NULL */
  _Alignas(16) uint8_t room[OP_ROOM];
};

struct kvsc_space {
  kvsc_client *client;
  kvs_space_desc *desc;
  uint8_t digest[KVS_DIGEST_SIZE];
  bool opening;         /* an OpenSpace call is under way */
  uint64_t asked_epoch; /* the connection it was sent on */
  uint64_t told_epoch;  /* the connection on which the node knows it; 0: none */
  kvs_status refused;   /* the last answer, unless it was OK */
};

struct kvsc_client {
  struct kvi_wire *wire;
  kvi_client_wire_text *wire_text; /* or NULL: no more than connected or not */
  uint32_t timeout_ms;
  pid_t pid;

  pthread_mutex_t mutex; /* guards all that follows */
  bool closing;
  uint32_t blocked; /* threads inside a blocking function */
  pthread_cond_t unblocked;

  bool connected;
  uint64_t epoch; /* connections so far */
  pthread_cond_t state_changed;

  struct client_op *slots;
  uint32_t n_slots;
  uint32_t *free_slots; /* a stack: the slot used last is warm */
  uint32_t n_free;
  kvi_list completed; /* completions to be taken, oldest first */
  int event_fd;
  bool event_fd_used; /* kvsc_fd was called: before that nobody listens, and nothing is written */
  bool event_fd_set;

  kvsc_space *spaces[CLIENT_SPACES_MAX];
  uint32_t n_spaces;
  kvi_list waiting; /* operations that wait for the client's thread */
  pthread_cond_t work;
  kvi_thread worker;
  kvsc_counters counters;
  struct kvi_decoders decoders;
  struct kvi_encoders encoders;
  uint64_t pace; /* bytes a second of gets, lately (pace.c); 0: not known yet */
};

/* ---- client.c ---- */

/* Copies a struct that begins with struct_size, as much of it as both sides know. False: struct_size is no size. */
bool kvi_client_take_struct(void *dst, size_t dst_size, const void *src);

/* kvi_client_open_over for a wire that can tell its state in words; wire_text may be NULL. */
kvs_status kvi_client_open_telling(const kvsc_options *options, kvi_client_wire_factory *factory,
                                   void *factory_ctx, kvi_client_wire_text *wire_text,
                                   kvsc_client **client_p);

/*
 * Counts the caller as inside a blocking function, so that close waits for it, and takes the mutex. Errors (the mutex is
 * not taken): KVS_ERR_FORKED, KVS_ERR_CLOSED.
 */
kvs_status kvi_client_block(kvsc_client *client);
/* The end of it: releases the mutex. */
void kvi_client_unblock(kvsc_client *client);

/* ---- call.c ---- */

/* The message has the hint's strings. KVS_ERR_INVALID: none, or a string too long. */
kvs_status kvi_client_hint_take(const kvsc_hint *hint, Kvasir__V1__HintRequest *request);

/* ---- op.c: the table and the completion queue ---- */

/* A slot for an operation of `kind`, its options read from `call` (may be NULL). Errors: those of a starter. */
kvs_status kvi_client_op_begin(kvsc_client *client, enum op_kind kind, const kvsc_call *call,
                               kvsc_call *call_p, struct client_op **op_p);
/* Gives back a slot whose operation was not started. */
void kvi_client_op_abandon(struct client_op *op);
kvsc_op kvi_client_op_id(const struct client_op *op);
/* The slot of an id whose completion was not taken; NULL: unknown. With the mutex. */
struct client_op *kvi_client_op_find(kvsc_client *client, kvsc_op id);
/* Ends an operation: op->completion holds what it becomes but for op, user, elapsed. With the mutex. */
void kvi_client_op_end(struct client_op *op, kvs_status status);
/* The wire's callback has come: true if the operation is still to be ended by it. With the mutex. */
bool kvi_client_op_landed(struct client_op *op);
/* Wakes who waits for progress. With the mutex. */
void kvi_client_op_progressed(struct client_op *op);

/* ---- space.c ---- */

/* Tells the node of a space, if that is due and possible now. Without the mutex; not from a callback. */
void kvi_client_space_tell(kvsc_space *space);
/* The client's thread: tells spaces, starts puts that waited for it, ends those that waited too long. */
void kvi_client_worker(void *arg);

/* ---- keys.c ---- */

/*
 * Reads and checks the keys of a call. Errors: KVS_ERR_INVALID (NULL, none, a parent or extent's first key missing),
 * KVS_ERR_TOO_LARGE (more than n_max).
 */
kvs_status kvi_client_keys_take(const kvsc_keys *keys, uint32_t n_max, kvsc_keys *keys_p);
/* A call's done function for those who do not care. */
void kvi_client_nobody_waits(void *ctx, kvs_status status, const ProtobufCMessage *message);
void kvi_client_keys_to_message(const kvsc_keys *keys, uint32_t key_length, Kvasir__V1__Keys *message);

/* ---- transfer.c ---- */

/*
 * Gives a put whose space is told now to the wire, and ends it if the wire refuses; has the node drop a get's corrupt chunks,
 * and ends it. Without the mutex; not from a callback.
 */
void kvi_client_transfer_resume(struct client_op *op);

/* ---- transfer_end.c ---- */

/* The wire's callbacks of a put or get end it. */
void kvi_client_transfer_listen(struct client_op *op);
/* Ends a put or get of which nothing is on the wire. With the mutex. */
void kvi_client_transfer_fail(struct client_op *op, kvs_status status);

/* A chunk of a get is whole and in place. With the mutex. */
void kvi_client_chunk_ready(struct client_op *op, uint32_t chunk);
/* The last chunk of a get that the wire has ended is decoded, or given up. With the mutex. */
void kvi_client_get_decoded(struct client_op *op);
/* Has the node drop the corrupt chunks of a get that the wire has ended, and ends it. Without the mutex; not from a callback. */
void kvi_client_get_dropped(struct client_op *op);

/* No chunk of a put that was encoded is under way any more, and each has its status. ended: what stopped it, or KVS_OK. With the mutex. */
void kvi_client_put_encoded(struct client_op *op, kvs_status ended);

/* A status that says that the node cannot answer, now: down, slow, gone or leaving. */
bool kvi_client_node_is_out(kvs_status status);

/* ---- pace.c: how fast gets are ---- */

/* The wire is done with a get: what came, and how long that took, is the pace of the next ones. Without the mutex. */
void kvi_pace_note(struct client_op *op, uint64_t now_ns);
/* How long each of n chunks may be for all to come in so long, at that pace: 1 at least. 0: it is not known. Without the mutex. */
uint64_t kvi_pace_bytes(kvsc_client *client, uint32_t ms, uint32_t n);

/* ---- drop.c ---- */

/*
 * Asks the node to look at the chunks of a get that came with wrong bytes, and to delete those that are wrong there too, or to delete them where that is known. Best
 * effort: where it fails they stay misses. Without the mutex.
 */
void kvi_client_drop_corrupt(struct client_op *op);

#endif
