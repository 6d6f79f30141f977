/* client/op.c: the table of operations and the queue of their completions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "client/client_internal.h"
#include "proto/limits.h"

/* Slots take 20 bits of an id (CLIENT_OPERATIONS_MAX), their generation the other 44: at a million uses a second 200 days. */
#define INDEX_BITS 20u

kvsc_op kvi_client_op_id(const struct client_op *op)
{
  return op->generation << INDEX_BITS | op->index;
}

struct client_op *kvi_client_op_find(kvsc_client *client, kvsc_op id)
{
  uint32_t index = (uint32_t)(id & ((1u << INDEX_BITS) - 1));
  struct client_op *op;

  if (index >= client->n_slots)
    return NULL;
  op = &client->slots[index];
  return op->state != OP_FREE && kvi_client_op_id(op) == id ? op : NULL;
}

/* A free slot, or NULL. With the mutex. */
static struct client_op *take_slot(kvsc_client *client)
{
  struct client_op *op;
  uint32_t index;

  if (client->n_free == 0)
    return NULL;
  index = client->free_slots[client->n_free - 1];
  op = &client->slots[index];
  if (!op->has_cond) {
    if (kvi_cond_init(&op->changed) != KVS_OK)
      return NULL;
    op->has_cond = true;
    op->client = client;
    op->index = index;
  }
  client->n_free--;
  op->generation++;
  return op;
}

static void release_slot(struct client_op *op)
{
  kvsc_client *client = op->client;

  free(op->big);
  op->big = NULL;
  op->state = OP_FREE;
  client->free_slots[client->n_free++] = op->index;
}

static kvs_status take_call(const kvsc_client *client, const kvsc_call *call, kvsc_call *call_p)
{
  memset(call_p, 0, sizeof(*call_p));
  if (call != NULL && !kvi_client_take_struct(call_p, sizeof(*call_p), call))
    return KVS_ERR_INVALID;
  if (call_p->timeout_ms == 0)
    call_p->timeout_ms = client->timeout_ms;
  if (call_p->timeout_ms > KVI_TIMEOUT_MS_MAX || call_p->loss_max > KVI_LOSS_MAX ||
      call_p->loss_enough > call_p->loss_max)
    return KVS_ERR_INVALID;
  return KVS_OK;
}

static void reset_op(struct client_op *op, enum op_kind kind, const kvsc_call *call)
{
  op->kind = kind;
  op->state = OP_RUNNING;
  op->on_wire = op->queued = op->retried = op->canceled = op->submitted = false;
  op->started_ns = kvi_now_ns();
  op->deadline_ns = op->started_ns + (uint64_t)call->timeout_ms * KVI_NS_PER_MS;
  op->completion = (kvsc_completion){.op = kvi_client_op_id(op), .user = call->user};
  op->statuses = call->statuses;
  op->present = call->present;
  op->tiers = call->tiers;
  op->space = NULL;
  op->chunks = NULL;
  op->encode = NULL;
  op->lead = op->n_decoding = 0;
  op->wire_done = false;
  op->stopped = KVS_OK;
  op->busy_tries = 0;
  op->not_before_ns = 0;
}

kvs_status kvi_client_op_begin(kvsc_client *client, enum op_kind kind, const kvsc_call *call,
                               kvsc_call *call_p, struct client_op **op_p)
{
  struct client_op *op = NULL;
  kvs_status status = take_call(client, call, call_p);

  *op_p = NULL;
  if (status != KVS_OK)
    return status;
  if (kvi_forked(client->pid))
    return KVS_ERR_FORKED;
  pthread_mutex_lock(&client->mutex);
  if (client->closing) {
    status = KVS_ERR_CLOSED;
  } else if ((op = take_slot(client)) == NULL) {
    client->counters.busy++;
    status = KVS_ERR_BUSY;
  } else {
    client->counters.operations++;
    reset_op(op, kind, call_p); /* under the mutex: another thread may be asking for this slot's old id */
    *op_p = op;
  }
  pthread_mutex_unlock(&client->mutex);
  return status;
}

void kvi_client_op_abandon(struct client_op *op)
{
  kvsc_client *client = op->client;

  pthread_mutex_lock(&client->mutex);
  client->counters.operations--;
  release_slot(op);
  pthread_mutex_unlock(&client->mutex);
}

/* Makes the eventfd readable, or not. With the mutex, so that it is never wrong. */
static void set_event(kvsc_client *client, bool set)
{
  uint64_t count = 1;
  ssize_t done;

  if (!client->event_fd_used || client->event_fd_set == set)
    return;
  do {
    done =
        set ? write(client->event_fd, &count, sizeof(count)) : read(client->event_fd, &count, sizeof(count));
  } while (done < 0 && errno == EINTR);
  if (done < 0)
    kvi_log_limited(KVI_LOG_ERROR, "eventfd of the completion queue: %m");
  client->event_fd_set = set;
}

/* Offers a completion to kvsc_poll, unless a thread waits for this very one. With the mutex. */
static void offer(struct client_op *op)
{
  if (op->state != OP_DONE || op->queued || op->n_takers > 0)
    return;
  kvi_list_push_back(&op->client->completed, &op->node);
  op->queued = true;
  set_event(op->client, true);
}

/* Takes a completion; the slot is free when the wire owes nothing any more. With the mutex. */
static void take(struct client_op *op, kvsc_completion *completion_p)
{
  kvsc_client *client = op->client;

  if (op->queued) {
    kvi_list_remove(&client->completed, &op->node);
    op->queued = false;
    if (kvi_list_is_empty(&client->completed))
      set_event(client, false);
  }
  if (completion_p != NULL)
    *completion_p = op->completion;
  if (op->on_wire)
    op->state = OP_FREE; /* not found any more; kvi_client_op_landed gives the slot back */
  else
    release_slot(op);
}

bool kvi_client_op_landed(struct client_op *op)
{
  op->on_wire = false;
  if (op->state == OP_FREE)
    release_slot(op);
  return op->state == OP_RUNNING;
}

static void count_end(kvsc_counters *counters, const struct client_op *op, kvs_status status)
{
  const kvsc_completion *completion = &op->completion;

  counters->completions++;
  switch (op->kind) {
  case OP_LOOKUP:
    counters->lookups++;
    break;
  case OP_GET:
    counters->gets++;
    counters->get_chunks += completion->n;
    counters->get_hits += completion->n_ok;
    counters->get_bytes += completion->bytes;
    counters->misses += completion->n - completion->n_ok;
    break;
  case OP_PUT:
    counters->puts++;
    counters->put_chunks += completion->n;
    counters->put_bytes += completion->bytes;
    break;
  default:
    break;
  }
  if (op->kind == OP_LOOKUP && status == KVS_MISS)
    counters->misses++;
  if (status == KVS_ERR_CANCELED)
    counters->canceled++;
}

void kvi_client_op_end(struct client_op *op, kvs_status status)
{
  op->state = OP_DONE;
  op->completion.status = status;
  op->completion.elapsed_ns = kvi_now_ns() - op->started_ns;
  count_end(&op->client->counters, op, status);
  offer(op);
  if (op->n_waiters > 0)
    pthread_cond_broadcast(&op->changed);
}

void kvi_client_op_progressed(struct client_op *op)
{
  if (op->n_waiters > 0)
    pthread_cond_broadcast(&op->changed);
}

int kvsc_fd(kvsc_client *client)
{
  if (client == NULL || kvi_forked(client->pid))
    return -1;
  pthread_mutex_lock(&client->mutex);
  client->event_fd_used = true;
  set_event(client, !kvi_list_is_empty(&client->completed));
  pthread_mutex_unlock(&client->mutex);
  return client->event_fd;
}

size_t kvsc_poll(kvsc_client *client, kvsc_completion *completions, size_t max)
{
  size_t n = 0;

  if (client == NULL || completions == NULL || kvi_forked(client->pid))
    return 0;
  pthread_mutex_lock(&client->mutex);
  while (n < max) {
    kvi_list_node *node = kvi_list_first(&client->completed);

    if (node == NULL)
      break;
    take(kvi_list_entry(node, struct client_op, node), &completions[n++]);
  }
  pthread_mutex_unlock(&client->mutex);
  return n;
}

/* Sleeps until something of the operation changes. With the mutex. */
static kvs_status sleep_on(struct client_op *op, kvi_deadline deadline)
{
  kvs_status status;

  op->n_waiters++;
  status = kvi_cond_wait(&op->changed, &op->client->mutex, deadline);
  op->n_waiters--;
  return status;
}

/*
 * Sleeps, and will take the completion. Where that comes to nothing (it was for another one who waits, or the slot is in
 * its next use by now) what was held back for us is offered. With the mutex.
 */
static kvs_status sleep_to_take(struct client_op *op, kvsc_op id, kvi_deadline deadline)
{
  kvs_status status;

  op->n_takers++;
  status = sleep_on(op, deadline);
  op->n_takers--;
  if (kvi_client_op_id(op) != id)
    offer(op);
  return status;
}

kvs_status kvsc_wait(kvsc_client *client, kvsc_op id, uint32_t timeout_ms, kvsc_completion *completion_p)
{
  kvi_deadline deadline = {0};
  struct client_op *op;
  kvs_status status;

  if (client == NULL)
    return KVS_ERR_INVALID;
  status = kvi_client_block(client);
  if (status != KVS_OK)
    return status;
  while ((op = kvi_client_op_find(client, id)) != NULL && op->state != OP_DONE) {
    if (timeout_ms == 0 || status == KVS_ERR_DEADLINE)
      break;
    if (deadline.at_ns == 0)
      deadline = kvi_deadline_from_ms(timeout_ms);
    status = sleep_to_take(op, id, deadline);
  }
  if (op == NULL) {
    status = KVS_ERR_INVALID;
  } else if (op->state == OP_DONE) {
    take(op, completion_p);
    status = KVS_OK;
  } else {
    status = KVS_ERR_DEADLINE;
  }
  kvi_client_unblock(client);
  return status;
}

/* Leading chunks that are whole, and the segments in place of the chunk after them. With the mutex. */
static void look_at_progress(const struct client_op *op, uint32_t *chunks_p, uint32_t *segments_p)
{
  *chunks_p = op->lead;
  *segments_p = op->chunks != NULL && op->lead < op->completion.n ? op->chunks[op->lead].segments : 0;
}

kvs_status kvsc_progress(kvsc_client *client, kvsc_op id, uint32_t *chunks_p, uint32_t *segments_p)
{
  struct client_op *op;

  if (client == NULL || chunks_p == NULL || segments_p == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(client->pid))
    return KVS_ERR_FORKED;
  pthread_mutex_lock(&client->mutex);
  op = kvi_client_op_find(client, id);
  if (op != NULL)
    look_at_progress(op, chunks_p, segments_p);
  pthread_mutex_unlock(&client->mutex);
  return op != NULL ? KVS_OK : KVS_ERR_INVALID;
}

/* How far a get is waited for: chunks that are whole, and of the next one segments; or so many bytes of every chunk. */
struct mark {
  uint32_t chunks, segments;
  uint64_t bytes;
};

/* With the mutex. */
static bool every_chunk_has(const struct client_op *op, uint64_t bytes)
{
  for (uint32_t i = op->lead; i < op->completion.n; i++) {
    if (op->chunks == NULL || (!op->chunks[i].ok && op->chunks[i].verified < bytes))
      return false;
  }
  return true;
}

/* With the mutex. */
static bool is_reached(const struct client_op *op, const struct mark *mark)
{
  const struct op_chunk none = {0};
  const struct op_chunk *next =
      op->chunks != NULL && op->lead < op->completion.n ? &op->chunks[op->lead] : &none;

  if (mark->bytes > 0)
    return every_chunk_has(op, mark->bytes);
  if (op->lead != mark->chunks)
    return op->lead > mark->chunks;
  return next->segments >= mark->segments;
}

/* KVS_OK: the mark is reached, or the operation has ended. */
static kvs_status wait_mark(kvsc_client *client, kvsc_op id, const struct mark *mark, uint32_t timeout_ms,
                            bool *reached_p)
{
  kvi_deadline deadline = kvi_deadline_from_ms(timeout_ms);
  struct client_op *op;
  kvs_status status;

  *reached_p = false;
  if (client == NULL)
    return KVS_ERR_INVALID;
  status = kvi_client_block(client);
  if (status != KVS_OK)
    return status;
  for (;;) {
    op = kvi_client_op_find(client, id);
    if (op == NULL) {
      status = KVS_ERR_INVALID;
      break;
    }
    *reached_p = is_reached(op, mark);
    if (op->state == OP_DONE || *reached_p) {
      status = KVS_OK;
      break;
    }
    if (status == KVS_ERR_DEADLINE)
      break;
    status = sleep_on(op, deadline);
  }
  kvi_client_unblock(client);
  return status;
}

kvs_status kvsc_wait_progress(kvsc_client *client, kvsc_op id, uint32_t chunks, uint32_t segments,
                              uint32_t timeout_ms)
{
  bool reached;

  return wait_mark(client, id, &(struct mark){.chunks = chunks, .segments = segments}, timeout_ms, &reached);
}

kvs_status kvi_client_wait_bytes(kvsc_client *client, kvsc_op id, uint64_t bytes, uint32_t timeout_ms,
                                 bool *reached_p)
{
  return wait_mark(client, id, &(struct mark){.bytes = bytes}, timeout_ms, reached_p);
}
