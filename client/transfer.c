/* client/transfer.c: gets and puts begin, and are cancelled. */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client_internal.h"
#include "proto/limits.h"
#include "proto/service.h"

/* The caller's scatter lists are handed to the wire as they are. */
static_assert(sizeof(kvsc_iov) == sizeof(struct kvi_iov), "one shape");
static_assert(offsetof(kvsc_iov, base) == offsetof(struct kvi_iov, base), "one shape");
static_assert(offsetof(kvsc_iov, length) == offsetof(struct kvi_iov, length), "one shape");

/* Makes room for what a transfer of n chunks needs beside its slot, and lays it out. */
static kvs_status lay_out(struct client_op *op, const kvsc_keys *keys, uint32_t key_length)
{
  size_t n = keys->n;
  size_t size =
      n * (sizeof(struct kvi_transfer_chunk) + sizeof(struct op_chunk) + key_length) + 2 * (size_t)key_length;
  struct kvi_transfer *transfer = &op->transfer;
  uint8_t *room = op->room;
  uint8_t *copy;

  if (size > sizeof(op->room)) {
    room = op->big = malloc(size);
    if (room == NULL)
      return KVS_ERR_NOMEM;
  }
  *transfer = (struct kvi_transfer){.chunks = (struct kvi_transfer_chunk *)(void *)room, .n_chunks = keys->n};
  op->chunks = (struct op_chunk *)(void *)(transfer->chunks + n);
  copy = (uint8_t *)(op->chunks + n);
  memcpy(copy, keys->keys, n * key_length);
  transfer->keys = copy;
  transfer->key_length = key_length;
  transfer->chain = (struct kvi_chain){.first_place = keys->first_place, .unchained = keys->unchained != 0};
  copy += n * key_length;
  if (keys->parent != NULL)
    transfer->chain.parent = memcpy(copy, keys->parent, key_length);
  copy += key_length;
  if (keys->extent_first != NULL)
    transfer->chain.extent_first = memcpy(copy, keys->extent_first, key_length);
  return KVS_OK;
}

/* One chunk as the wire wants it. Its segments are the wire's to check. */
static kvs_status take_chunk(struct client_op *op, const kvsc_chunk *chunk, uint32_t i)
{
  uint64_t length = 0;

  if (chunk->n_iov > 0 && chunk->iov == NULL)
    return KVS_ERR_INVALID;
  for (uint32_t k = 0; k < chunk->n_iov; k++) {
    if (chunk->iov[k].length > UINT64_MAX - length)
      return KVS_ERR_INVALID;
    if (op->kind == OP_PUT && chunk->iov[k].base == NULL)
      return KVS_ERR_INVALID;
    length += chunk->iov[k].length;
  }
  if (op->kind == OP_PUT && length == 0)
    return KVS_ERR_INVALID;
  if (op->kind == OP_PUT && length > KVI_CHUNK_BYTES_MAX)
    return KVS_ERR_TOO_LARGE;
  if (op->kind == OP_PUT && chunk->n_segments > 0 && chunk->segment_lengths == NULL)
    return KVS_ERR_INVALID;
  op->chunks[i] = (struct op_chunk){.whole = (uint32_t)length,
                                    .decoded = KVS_PENDING,
                                    .exact = op->kind == OP_GET && chunk->exact != 0 ? length : 0};
  op->transfer.chunks[i] = (struct kvi_transfer_chunk){.iov = (const struct kvi_iov *)chunk->iov,
                                                       .n_iov = chunk->n_iov,
                                                       .length = length,
                                                       .status = KVS_PENDING};
  if (op->kind == OP_PUT) {
    op->transfer.chunks[i].n_segments = chunk->n_segments > 0 ? chunk->n_segments : 1;
    op->transfer.chunks[i].segment_lengths =
        chunk->n_segments > 0 ? chunk->segment_lengths : &op->chunks[i].whole;
  }
  return KVS_OK;
}

/*
 * Whether what comes coded has a place, each chunk in a buffer as large as its room at most. Of chunks that come abreast all are under way at once. Where they are too large or
 * too many the node has to decode.
 */
static bool takes_coded(const struct client_op *op)
{
  uint64_t left = op->client->decoders.bytes_max;

  for (uint32_t i = 0; i < op->transfer.n_chunks; i++) {
    uint64_t length = op->transfer.chunks[i].length;
    uint64_t room = kvi_decode_room(length < KVI_CHUNK_BYTES_MAX ? length : KVI_CHUNK_BYTES_MAX);

    if (room > left)
      return false;
    if (op->transfer.abreast)
      left -= room;
  }
  return true;
}

static kvs_status prepare(struct client_op *op, kvsc_space *space, const kvsc_keys *keys,
                          const kvsc_chunk *chunks, const kvsc_call *call)
{
  struct kvi_transfer *transfer = &op->transfer;
  kvs_status status = lay_out(op, keys, space->desc->key_length);

  if (status != KVS_OK)
    return status;
  op->space = space;
  op->completion.n = keys->n;
  transfer->put = op->kind == OP_PUT;
  transfer->space = space->digest;
  transfer->lease = call->lease;
  transfer->ttl_ms = call->ttl_ms;
  transfer->chain_chunks = call->chain_chunks;
  transfer->abreast = op->kind == OP_GET && call->abreast != 0;
  transfer->deadline_ns = op->deadline_ns;
  kvi_client_transfer_listen(op);
  for (uint32_t i = 0; i < keys->n && status == KVS_OK; i++)
    status = take_chunk(op, &chunks[i], i);
  for (uint32_t i = 0; transfer->put && i < keys->n; i++)
    transfer->chunks[i].quality = kvi_quality(0, call->loss_max, KVI_CODING_NONE);
  if (!transfer->put) {
    transfer->loss_max = call->loss_max;
    transfer->loss_enough = call->loss_enough;
    transfer->on_coded = takes_coded(op) ? kvi_decode_begin : NULL;
    if (call->hurry_ms > 0 && call->loss_max > 0 && transfer->on_coded != NULL)
      transfer->bytes_enough = kvi_pace_bytes(op->client, call->hurry_ms, keys->n);
  }
  return status;
}

/* True if the put was given to the client's thread, since its space is to be told first. */
static bool wait_for_space(struct client_op *op)
{
  kvsc_client *client = op->client;
  kvsc_space *space = op->space;
  bool waits;

  pthread_mutex_lock(&client->mutex);
  /* Without a connection the wire says so at once; there is nothing to wait for. */
  waits = client->connected && space->told_epoch != client->epoch && !client->closing;
  if (waits) {
    if (!space->opening && space->refused != KVS_OK) {
      space->asked_epoch = 0; /* each put makes one new attempt */
      space->refused = KVS_OK;
    }
    op->state = OP_WAITING;
    kvi_list_push_back(&client->waiting, &op->node);
    pthread_cond_signal(&client->work);
  } else {
    op->submitted = true;
  }
  pthread_mutex_unlock(&client->mutex);
  return waits;
}

/* The rest of a start: from here on the operation ends by itself, unless an error is returned. */
static kvs_status launch(struct client_op *op)
{
  kvsc_client *client = op->client;
  kvs_status status;

  if (op->kind == OP_PUT && (wait_for_space(op) || kvi_encode_take(op)))
    return KVS_OK;
  op->submitted = true; /* nobody knows the id yet, so nobody can cancel before the wire has it */
  status = client->wire->ops->submit(client->wire, &op->transfer);
  if (!kvi_client_node_is_out(status))
    return status;
  pthread_mutex_lock(&client->mutex);
  kvi_client_transfer_fail(op, status);
  pthread_mutex_unlock(&client->mutex);
  return KVS_OK;
}

void kvi_client_transfer_resume(struct client_op *op)
{
  kvsc_client *client = op->client;
  kvsc_op id = op->completion.op;
  kvs_status status;

  if (op->kind == OP_GET) {
    kvi_client_get_dropped(op);
    return;
  }
  for (uint32_t i = 0; i < op->transfer.n_chunks; i++)
    op->transfer.chunks[i].status = KVS_PENDING;
  if (kvi_encode_take(op))
    return;
  status = client->wire->ops->submit(client->wire, &op->transfer);
  pthread_mutex_lock(&client->mutex);
  if (status != KVS_OK) {
    kvi_client_transfer_fail(op, status);
  } else if (kvi_client_op_find(client, id) == op && op->state == OP_RUNNING) {
    op->submitted = true;
    if (op->canceled)
      client->wire->ops->cancel(client->wire, &op->transfer);
  }
  pthread_mutex_unlock(&client->mutex);
}

static kvs_status start(enum op_kind kind, kvsc_space *space, const kvsc_keys *keys, const kvsc_chunk *chunks,
                        const kvsc_call *call, kvsc_op *op_p)
{
  kvsc_keys taken_keys;
  kvsc_call taken_call;
  struct client_op *op;
  kvs_status status;
  kvsc_op id;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (space == NULL || chunks == NULL)
    return KVS_ERR_INVALID;
  status = kvi_client_keys_take(keys, KVI_BATCH_CHUNKS_MAX, &taken_keys);
  if (status == KVS_OK)
    status = kvi_client_op_begin(space->client, kind, call, &taken_call, &op);
  if (status != KVS_OK)
    return status;
  id = kvi_client_op_id(op);
  status = prepare(op, space, &taken_keys, chunks, &taken_call);
  if (status == KVS_OK)
    status = launch(op);
  if (status != KVS_OK) {
    kvi_client_op_abandon(op);
    return status;
  }
  *op_p = id;
  return KVS_OK;
}

kvs_status kvsc_get(kvsc_space *space, const kvsc_keys *keys, const kvsc_chunk *chunks, const kvsc_call *call,
                    kvsc_op *op_p)
{
  return start(OP_GET, space, keys, chunks, call, op_p);
}

kvs_status kvsc_put(kvsc_space *space, const kvsc_keys *keys, const kvsc_chunk *chunks, const kvsc_call *call,
                    kvsc_op *op_p)
{
  return start(OP_PUT, space, keys, chunks, call, op_p);
}

/* Here and not beside the calls: only a transfer can be cancelled on the wire. */
kvs_status kvsc_cancel(kvsc_client *client, kvsc_op id)
{
  struct client_op *op;

  if (client == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(client->pid))
    return KVS_ERR_FORKED;
  pthread_mutex_lock(&client->mutex);
  op = kvi_client_op_find(client, id);
  if (op != NULL && op->state == OP_WAITING) {
    kvi_list_remove(&client->waiting, &op->node);
    kvi_client_transfer_fail(op, KVS_ERR_CANCELED);
  } else if (op != NULL && op->state == OP_RUNNING && (op->kind == OP_GET || op->kind == OP_PUT)) {
    /* on_done takes the mutex, so the transfer lives as long as we hold it */
    op->canceled = true;
    if (op->encode != NULL)
      kvi_encode_cancel(op);
    else if (op->wire_done && op->n_decoding > 0)
      kvi_decode_abort(op, KVS_ERR_CANCELED);
    else if (op->submitted)
      client->wire->ops->cancel(client->wire, &op->transfer);
  } else if (op != NULL && op->state == OP_RUNNING) {
    kvi_client_op_end(op, KVS_ERR_CANCELED); /* a call: its answer will find nobody */
  }
  pthread_mutex_unlock(&client->mutex);
  return op != NULL ? KVS_OK : KVS_ERR_INVALID;
}
