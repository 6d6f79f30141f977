/* proto/local/local_private.h: shared by the files of the local wire. */
#ifndef KVI_PROTO_LOCAL_LOCAL_PRIVATE_H
#define KVI_PROTO_LOCAL_LOCAL_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/thread.h"
#include "proto/local/local.h"

struct local_wire {
  struct kvi_wire wire;
  const struct kvi_service *service;
  struct kvi_peer peer;
  kvi_wire_state_fn *state_fn;
  void *state_ctx;
  uint64_t incarnation;
  pid_t pid;

  /* Guards the rest. A leaf: never held while the service or a callback runs. */
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* the worker's and destroy's alarm clock */
  bool closing;
  uint32_t calls;   /* control calls under way */
  kvi_list running; /* local_run.node: transfers on their caller's thread */
  kvi_list waiting; /* local_run.node: the worker's */
  kvi_thread worker;
};

/* A put that waits for an equal one. */
struct local_wait {
  struct local_run *run;
  uint32_t chunk;
  enum { LOCAL_WAIT_NONE, LOCAL_WAIT_ASKED, LOCAL_WAIT_ANSWERED } state;
  kvs_status answer; /* of LOCAL_WAIT_ANSWERED */
};

/* One transfer under way: on the stack of the thread that runs it, or, with waits, on the heap. */
struct local_run {
  kvi_list_node node;
  struct local_wire *wire;
  struct kvi_transfer *transfer;
  _Atomic int stop;         /* a kvs_status that ends it early, or KVS_OK */
  uint32_t n_waits;         /* waits of the heap copy that are not over */
  struct local_wait *waits; /* n_chunks of them, or NULL; the wire's mutex guards state and answer */
};

/* KVS_OK, or why the transfer must end now: its stop, its deadline. */
kvs_status kvi_local_run_stopped(struct local_run *run);

/* Whether the batch may be run: counts, lengths, holes. Errors: KVS_ERR_INVALID, KVS_ERR_KEY_LENGTH, KVS_ERR_TOO_LARGE. */
kvs_status kvi_local_transfer_check(const struct kvi_transfer *transfer,
                                    const struct kvi_service_limits *limits);

/* The whole of one get of a chunk: sets its fields; the result is its status. */
kvs_status kvi_local_get_chunk(struct local_run *run, uint32_t index);

/*
 * The whole of one put of a chunk. KVS_PENDING: an equal put is in flight and `wait` will be answered. `wait` NULL: the
 * caller has no place to wait yet: KVS_PENDING then means nothing was begun.
 */
kvs_status kvi_local_put_chunk(struct local_run *run, uint32_t index, struct local_wait *wait);

/* Records a chunk's end and tells it. */
void kvi_local_chunk_end(struct local_run *run, uint32_t index, kvs_status status);

/* Tells the transfer's end; touches neither it nor its memory afterwards. stopped: what ended the rest, or KVS_OK. */
void kvi_local_run_done(struct kvi_transfer *transfer, kvs_status stopped);

/* The service's answer to a wait. */
void kvi_local_wait_answer(void *ctx, kvs_status status);

/* The worker: ends transfers that wait. */
void kvi_local_worker(void *arg);

#endif
