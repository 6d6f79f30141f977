/* proto/local/local.c: the wire over a service of this process: its calls, and transfers on the caller's thread. */
#include "proto/local/local.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/kvasir/v1/cache.pb-c.h"
#include "proto/limits.h"
#include "proto/local/local_private.h"

/* A wire may be used: KVS_ERR_FORKED, KVS_ERR_CLOSED. On success something of it is counted as under way. */
static kvs_status enter(struct local_wire *wire, struct local_run *run)
{
  if (kvi_forked(wire->pid))
    return KVS_ERR_FORKED; /* before the mutex: a thread that is not here may hold it */
  pthread_mutex_lock(&wire->mutex);
  if (wire->closing) {
    pthread_mutex_unlock(&wire->mutex);
    return KVS_ERR_CLOSED;
  }
  if (run != NULL)
    kvi_list_push_back(&wire->running, &run->node);
  else
    wire->calls++;
  pthread_mutex_unlock(&wire->mutex);
  return KVS_OK;
}

static void leave(struct local_wire *wire, struct local_run *run)
{
  pthread_mutex_lock(&wire->mutex);
  if (run != NULL)
    kvi_list_remove(&wire->running, &run->node);
  else
    wire->calls--;
  if (wire->closing)
    pthread_cond_broadcast(&wire->changed);
  pthread_mutex_unlock(&wire->mutex);
}

static kvs_status local_call(struct kvi_wire *base, enum kvi_method method, const ProtobufCMessage *request,
                             uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx)
{
  struct local_wire *wire = (struct local_wire *)base;
  ProtobufCMessage *reply = NULL;
  kvs_status status = enter(wire, NULL);

  if (status != KVS_OK)
    return status;
  if (kvi_now_ns() >= deadline_ns)
    status = KVS_ERR_DEADLINE;
  else
    status = wire->service->ops->call(wire->service->self, &wire->peer, method, request, NULL, &reply);
  done(ctx, status, status == KVS_OK ? reply : NULL);
  if (reply != NULL)
    protobuf_c_message_free_unpacked(reply, NULL);
  leave(wire, NULL);
  return KVS_OK;
}

/*
 * Moves a run from its thread's stack to the heap, with a place to wait for each chunk. NULL: no memory, nothing
 * happened.
 */
static struct local_run *run_to_heap(struct local_run *run)
{
  struct local_wire *wire = run->wire;
  struct local_run *heap = malloc(sizeof(*heap));
  struct local_wait *waits = calloc(run->transfer->n_chunks, sizeof(*waits));

  if (heap == NULL || waits == NULL) {
    free(heap);
    free(waits);
    return NULL;
  }
  for (uint32_t i = 0; i < run->transfer->n_chunks; i++)
    waits[i] = (struct local_wait){.run = heap, .chunk = i};
  *heap = (struct local_run){.wire = wire, .transfer = run->transfer, .waits = waits};
  pthread_mutex_lock(&wire->mutex);
  atomic_init(&heap->stop, atomic_load_explicit(&run->stop, memory_order_relaxed));
  kvi_list_remove(&wire->running, &run->node);
  kvi_list_push_back(&wire->running, &heap->node);
  pthread_mutex_unlock(&wire->mutex);
  return heap;
}

/* Puts a chunk that has a place to wait. KVS_PENDING: it waits. */
static kvs_status put_or_wait(struct local_run *run, uint32_t index)
{
  struct local_wait *wait = &run->waits[index];
  kvs_status status;

  wait->state = LOCAL_WAIT_ASKED;
  status = kvi_local_put_chunk(run, index, wait);
  if (status == KVS_PENDING)
    run->n_waits++;
  else
    wait->state = LOCAL_WAIT_NONE;
  return status;
}

/* What kvi_local_run_stopped says, and no service does. */
static bool ends_the_rest(kvs_status status)
{
  return status == KVS_ERR_DEADLINE || status == KVS_ERR_CANCELED || status == KVS_ERR_CLOSED;
}

/* Runs each chunk; *run_p changes when the run had to move to the heap. Returns what ended it early, or KVS_OK. */
static kvs_status run_chunks(struct local_run **run_p)
{
  struct kvi_transfer *transfer = (*run_p)->transfer;
  kvs_status stopped = KVS_OK;

  for (uint32_t i = 0; i < transfer->n_chunks; i++) {
    kvs_status status = stopped == KVS_OK ? kvi_local_run_stopped(*run_p) : stopped;

    if (status == KVS_OK && !transfer->put)
      status = kvi_local_get_chunk(*run_p, i);
    else if (status == KVS_OK && (*run_p)->waits == NULL)
      status = kvi_local_put_chunk(*run_p, i, NULL);
    else if (status == KVS_OK)
      status = put_or_wait(*run_p, i);
    if (status == KVS_PENDING && (*run_p)->waits == NULL) {
      struct local_run *heap = run_to_heap(*run_p);

      if (heap != NULL)
        *run_p = heap;
      status = heap != NULL ? put_or_wait(heap, i) : KVS_ERR_NOMEM;
    }
    if (ends_the_rest(status))
      stopped = status;
    if (status != KVS_PENDING)
      kvi_local_chunk_end(*run_p, i, status);
  }
  return stopped;
}

/* Gives a run whose waits are not over to the worker. */
static void hand_over(struct local_wire *wire, struct local_run *run)
{
  pthread_mutex_lock(&wire->mutex);
  kvi_list_remove(&wire->running, &run->node);
  kvi_list_push_back(&wire->waiting, &run->node);
  if (wire->closing)
    atomic_store_explicit(&run->stop, (int)KVS_ERR_CLOSED, memory_order_relaxed);
  pthread_cond_broadcast(&wire->changed);
  pthread_mutex_unlock(&wire->mutex);
}

static kvs_status local_submit(struct kvi_wire *base, struct kvi_transfer *transfer)
{
  struct local_wire *wire = (struct local_wire *)base;
  struct local_run on_stack = {.wire = wire, .transfer = transfer};
  struct local_run *run = &on_stack;
  kvs_status status = kvi_local_transfer_check(transfer, &wire->service->limits);
  kvs_status stopped;

  if (status == KVS_OK)
    status = enter(wire, run);
  if (status != KVS_OK)
    return status;
  stopped = run_chunks(&run);
  if (run->n_waits > 0) {
    hand_over(wire, run);
    return KVS_OK;
  }
  kvi_local_run_done(transfer, stopped); /* still in the list, so that destroy waits for this callback too */
  leave(wire, run);
  if (run != &on_stack) {
    free(run->waits);
    free(run);
  }
  return KVS_OK;
}

/*
 * Stops the runs of a transfer, or (NULL) all. There may be two of one transfer: one whose on_done has returned and that
 * is about to leave the list, and one of the same struct used anew.
 */
static void stop_runs(kvi_list *list, const struct kvi_transfer *transfer, kvs_status why)
{
  kvi_list_for_each(list, node)
  {
    struct local_run *run = kvi_list_entry(node, struct local_run, node);

    if (transfer == NULL || run->transfer == transfer)
      atomic_store_explicit(&run->stop, (int)why, memory_order_relaxed);
  }
}

/* Never calls back itself: the run's own thread or the worker does. */
static void local_cancel(struct kvi_wire *base, struct kvi_transfer *transfer)
{
  struct local_wire *wire = (struct local_wire *)base;

  if (kvi_forked(wire->pid))
    return;
  pthread_mutex_lock(&wire->mutex);
  stop_runs(&wire->running, transfer, KVS_ERR_CANCELED);
  stop_runs(&wire->waiting, transfer, KVS_ERR_CANCELED);
  pthread_cond_broadcast(&wire->changed);
  pthread_mutex_unlock(&wire->mutex);
}

static bool local_connected(struct kvi_wire *base)
{
  return !kvi_forked(((struct local_wire *)base)->pid);
}

static void local_destroy(struct kvi_wire *base)
{
  struct local_wire *wire = (struct local_wire *)base;

  if (wire == NULL || kvi_forked(wire->pid))
    return; /* in a child nothing of it is usable, not even to be freed: its memory is the parent's copy */
  pthread_mutex_lock(&wire->mutex);
  wire->closing = true;
  stop_runs(&wire->running, NULL, KVS_ERR_CLOSED);
  stop_runs(&wire->waiting, NULL, KVS_ERR_CLOSED);
  pthread_cond_broadcast(&wire->changed);
  /* Bounded: a run looks at its stop once a segment, a control call does not block. */
  while (!kvi_list_is_empty(&wire->running) || !kvi_list_is_empty(&wire->waiting) || wire->calls > 0)
    (void)kvi_cond_wait(&wire->changed, &wire->mutex, kvi_deadline_from_ms(1000));
  pthread_mutex_unlock(&wire->mutex);
  kvi_thread_join(&wire->worker);
  wire->service->ops->peer_gone(wire->service->self, &wire->peer);
  pthread_cond_destroy(&wire->changed);
  pthread_mutex_destroy(&wire->mutex);
  free(wire);
}

/* "Hello", so that a service that refuses this side does so here as it would over a network. */
static kvs_status say_hello(struct local_wire *wire)
{
  Kvasir__V1__HelloRequest request = KVASIR__V1__HELLO_REQUEST__INIT;
  ProtobufCMessage *message = NULL;
  kvs_status status;

  request.protocol_min = KVI_PROTOCOL_MIN;
  request.protocol_max = KVI_PROTOCOL_MAX;
  request.software = (char *)"kvasir (same process)";
  request.incarnation = (uint64_t)getpid();
  status = wire->service->ops->call(wire->service->self, &wire->peer, KVI_METHOD_HELLO, &request.base, NULL,
                                    &message);
  if (status != KVS_OK)
    return status;
  const Kvasir__V1__HelloReply *reply = (const Kvasir__V1__HelloReply *)message;
  status = (kvs_status)reply->status;
  wire->incarnation = reply->incarnation;
  if (status != KVS_OK)
    kvi_log_error("the store in this process refuses protocol %u to %u: it speaks %u to %u", KVI_PROTOCOL_MIN,
                  KVI_PROTOCOL_MAX, reply->protocol_min, reply->protocol_max);
  protobuf_c_message_free_unpacked(message, NULL);
  return status;
}

static const struct kvi_wire_ops local_ops = {
    .name = "local",
    .call = local_call,
    .submit = local_submit,
    .cancel = local_cancel,
    .connected = local_connected,
    .destroy = local_destroy,
};

kvs_status kvi_local_wire_open(const struct kvi_service *service, kvi_wire_state_fn *state_fn,
                               void *state_ctx, struct kvi_wire **wire_p)
{
  /* The upper half of the ids is the local wires', so that no listener of this process gives the same one. */
  static _Atomic uint64_t next_peer = UINT64_C(1) << 63;
  struct local_wire *wire;
  kvs_status status;

  *wire_p = NULL;
  if (service == NULL)
    return KVS_ERR_INVALID;
  wire = calloc(1, sizeof(*wire));
  if (wire == NULL)
    return KVS_ERR_NOMEM;
  wire->wire.ops = &local_ops;
  wire->service = service;
  wire->pid = getpid();
  wire->peer = (struct kvi_peer){.id = atomic_fetch_add_explicit(&next_peer, 1, memory_order_relaxed),
                                 .tenant = "default",
                                 .name = "local"};
  kvi_list_init(&wire->running);
  kvi_list_init(&wire->waiting);
  pthread_mutex_init(&wire->mutex, NULL);
  status = kvi_cond_init(&wire->changed);
  if (status != KVS_OK)
    goto free_wire;
  status = say_hello(wire);
  if (status != KVS_OK)
    goto destroy_cond;
  status = kvi_thread_start(&wire->worker, "kvasir-local", kvi_local_worker, wire);
  if (status != KVS_OK)
    goto destroy_cond;
  if (state_fn != NULL)
    state_fn(state_ctx, true, wire->incarnation);
  *wire_p = &wire->wire;
  return KVS_OK;

destroy_cond:
  pthread_cond_destroy(&wire->changed);
free_wire:
  pthread_mutex_destroy(&wire->mutex);
  free(wire);
  return status;
}
