/* client/transfer.c: gets and puts. */
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
static_assert((int)KVSC_CAUSE_NODE == (int)KVI_MISS_NODE && (int)KVSC_CAUSE_CORRUPT == (int)KVI_MISS_CORRUPT,
              "one numbering");

bool kvi_client_node_is_out(kvs_status status)
{
  switch (status) {
  case KVS_ERR_DEADLINE:
  case KVS_ERR_UNREACHABLE:
  case KVS_ERR_VERSION:
  case KVS_ERR_PROTOCOL:
  case KVS_ERR_DRAINING:
    return true;
  default:
    return false;
  }
}

/* ---- ends ---- */

/*
 * A get's chunk status as the caller sees it: whatever is the node's trouble is a miss, and so is an answer that no get has (EXISTS
 * counts as stored in a put; here it would count bytes that never came).
 */
static kvs_status get_status(struct kvi_transfer_chunk *chunk)
{
  if (kvi_client_node_is_out(chunk->status) || (chunk->status > 0 && chunk->status != KVS_MISS)) {
    chunk->cause = KVI_MISS_NODE;
    return KVS_MISS;
  }
  if (chunk->status == KVS_ERR_CHECKSUM || chunk->status == KVS_ERR_CORRUPT) {
    chunk->cause = KVI_MISS_CORRUPT;
    return KVS_MISS;
  }
  if (chunk->status == KVS_ERR_SPACE_UNKNOWN) {
    chunk->cause = KVI_MISS_SPACE;
    return KVS_MISS;
  }
  return chunk->status;
}

/* A get's chunk that is there, but not of the length that its reader needs. */
static bool has_wrong_length(const struct client_op *op, uint32_t i)
{
  const struct kvi_transfer_chunk *chunk = &op->transfer.chunks[i];

  return op->chunks[i].exact != 0 && chunk->status == KVS_OK && chunk->length != op->chunks[i].exact;
}

/* A get's chunk that came coded is as good as what was decoded of it. */
static void take_decoded(const struct op_chunk *kept, struct kvi_transfer_chunk *chunk)
{
  if (!kept->coded || chunk->status != KVS_OK)
    return;
  chunk->length = kept->raw_length;
  chunk->status = kept->decoded;
  if (kept->decoded == KVS_ERR_UNSUPPORTED) { /* by a codec that this library does not know */
    chunk->status = KVS_MISS;
    chunk->cause = KVI_MISS_QUALITY;
  }
}

/* What all chunks together came to. */
struct tally {
  uint32_t n_ok, n_prefix;
  uint32_t cause;
  uint32_t corrupt, to_drop;
  uint32_t busy;
  uint64_t bytes;
  kvs_status first_bad;
};

/* A put that is tried again is sent whole. What was stored at an earlier try stays stored, whatever is said of it now. */
static kvs_status put_status(struct op_chunk *kept, kvs_status status)
{
  if (kept->ok)
    return kept->stored;
  kept->ok = status == KVS_OK || status == KVS_EXISTS;
  kept->stored = status;
  return status;
}

/* Looks at each chunk, and tells the caller's array. ended: what the wire said of the whole. */
static struct tally tally_chunks(struct client_op *op, kvs_status ended)
{
  struct tally tally = {0};

  for (uint32_t i = 0; i < op->transfer.n_chunks; i++) {
    struct kvi_transfer_chunk *chunk = &op->transfer.chunks[i];

    if (chunk->status == KVS_PENDING) /* the wire ended the whole without a word about this one */
      chunk->status = ended < 0 ? ended : KVS_ERR_INTERNAL;
    if (op->kind == OP_GET)
      take_decoded(&op->chunks[i], chunk);
    chunk->status = op->kind == OP_GET ? get_status(chunk) : put_status(&op->chunks[i], chunk->status);
    if (has_wrong_length(op, i))
      chunk->status = KVS_ERR_SPACE_MISMATCH;
    if (op->statuses != NULL)
      op->statuses[i] = chunk->status;
    if (chunk->status == KVS_OK || chunk->status == KVS_EXISTS) {
      if (tally.n_prefix == i)
        tally.n_prefix++;
      tally.n_ok++;
      tally.bytes += chunk->status == KVS_OK ? chunk->length : 0;
      continue;
    }
    if (chunk->status == KVS_MISS) {
      tally.cause = tally.cause == KVI_MISS_NONE ? chunk->cause : tally.cause;
      tally.corrupt += chunk->cause == KVI_MISS_CORRUPT;
      tally.to_drop += chunk->cause == KVI_MISS_CORRUPT && !op->chunks[i].overwritten;
    }
    tally.busy += chunk->status == KVS_ERR_BUSY;
    /* a miss says more of a batch than an error beside it */
    if (tally.first_bad == KVS_OK || (tally.first_bad != KVS_MISS && chunk->status == KVS_MISS))
      tally.first_bad = chunk->status;
  }
  return tally;
}

static kvs_status final_status(const struct client_op *op, const struct tally *tally, kvs_status ended)
{
  if (tally->n_ok == op->transfer.n_chunks)
    return KVS_OK;
  if (ended == KVS_ERR_CANCELED || ended == KVS_ERR_CLOSED)
    return ended;
  if (op->kind == OP_PUT && kvi_client_node_is_out(ended))
    return ended;
  return tally->n_ok > 0 ? KVS_PARTIAL : tally->first_bad;
}

/* With the mutex. */
static void end_transfer(struct client_op *op, kvs_status ended, const struct tally *tally)
{
  kvsc_completion *completion = &op->completion;

  completion->n_ok = tally->n_ok;
  completion->n_prefix = tally->n_prefix;
  completion->cause = (kvsc_cause)tally->cause;
  completion->bytes = tally->bytes;
  op->client->counters.checksum_errors += tally->corrupt;
  if (ended == KVS_ERR_DEADLINE)
    op->client->counters.deadline_exceeded++;
  kvi_client_op_end(op, final_status(op, tally, ended));
}

void kvi_client_transfer_fail(struct client_op *op, kvs_status status)
{
  struct tally tally;

  for (uint32_t i = 0; i < op->transfer.n_chunks; i++)
    op->transfer.chunks[i].status = status;
  tally = tally_chunks(op, status);
  end_transfer(op, status, &tally);
}

/* ---- the wire's callbacks ---- */

static void on_segments(struct kvi_transfer *transfer, uint32_t index, uint32_t n_segments)
{
  struct client_op *op = transfer->user;

  if (op->chunks[index].coded) {
    kvi_decode_arrived(op, index, transfer->chunks[index].verified);
    return;
  }
  pthread_mutex_lock(&op->client->mutex);
  op->chunks[index].segments = n_segments;
  op->chunks[index].verified = transfer->chunks[index].verified;
  if (index == op->lead || transfer->abreast)
    kvi_client_op_progressed(op);
  pthread_mutex_unlock(&op->client->mutex);
}

void kvi_client_chunk_ready(struct client_op *op, uint32_t index)
{
  op->chunks[index].ok = true;
  if (index != op->lead)
    return;
  while (op->lead < op->transfer.n_chunks && op->chunks[op->lead].ok)
    op->lead++;
  kvi_client_op_progressed(op);
}

static void on_get_chunk(struct kvi_transfer *transfer, uint32_t index)
{
  struct client_op *op = transfer->user;

  if (op->chunks[index].coded) {
    kvi_decode_landed(op, index, transfer->chunks[index].status);
    return;
  }
  if (transfer->chunks[index].status != KVS_OK || has_wrong_length(op, index) || transfer->n_chunks == 1)
    return; /* nobody goes on after a miss; and of a single chunk the completion follows at once */
  pthread_mutex_lock(&op->client->mutex);
  kvi_client_chunk_ready(op, index);
  pthread_mutex_unlock(&op->client->mutex);
}

/* Hands a put to the client's thread, which gives it to the wire once more. With the mutex. */
static void put_again(struct client_op *op)
{
  op->submitted = false;
  op->state = OP_WAITING;
  kvi_list_push_back(&op->client->waiting, &op->node);
  pthread_cond_signal(&op->client->work);
}

/* True if the put is tried once more, since the node does not know its space. With the mutex. */
static bool retry_unknown_space(struct client_op *op, const struct tally *tally)
{
  if (tally->first_bad != KVS_ERR_SPACE_UNKNOWN || op->retried)
    return false;
  op->retried = true;
  op->space->told_epoch = 0;
  if (!op->space->opening)
    op->space->asked_epoch = 0;
  put_again(op);
  return true;
}

/*
 * True if the put is tried again after a pause, since the node was too busy for some of its chunks: mostly because an equal
 * put, which they waited for, came to nothing. With the mutex.
 */
static bool retry_busy(struct client_op *op, const struct tally *tally, uint64_t now_ns)
{
  uint64_t pause_ns = (PUT_BUSY_PAUSE_MS * KVI_NS_PER_MS) << op->busy_tries;

  if (tally->busy == 0 || op->busy_tries == PUT_BUSY_TRIES || op->deadline_ns - now_ns <= pause_ns)
    return false;
  op->busy_tries++;
  op->not_before_ns = now_ns + pause_ns;
  put_again(op);
  return true;
}

/* True if the put goes to the client's thread once more. With the mutex. */
static bool retry_put(struct client_op *op, const struct tally *tally, kvs_status ended)
{
  uint64_t now_ns = kvi_now_ns();

  if (op->kind != OP_PUT || op->canceled || op->client->closing || kvi_client_node_is_out(ended) ||
      now_ns >= op->deadline_ns)
    return false;
  return retry_unknown_space(op, tally) || retry_busy(op, tally, now_ns);
}

/*
 * True if the get goes to the client's thread, which has the node drop its corrupt chunks before the get ends. Else a put of the good
 * bytes would be told that the chunk exists, and every engine after it would miss again. With the mutex.
 */
static bool drop_corrupt_first(struct client_op *op, const struct tally *tally, kvs_status ended)
{
  if (op->kind != OP_GET || tally->to_drop == 0 || op->client->closing)
    return false;
  op->ended = ended;
  op->submitted = false;
  op->state = OP_WAITING;
  kvi_list_push_back(&op->client->waiting, &op->node);
  pthread_cond_signal(&op->client->work);
  return true;
}

/* With the mutex. */
static void finish(struct client_op *op, kvs_status ended, const struct tally *tally)
{
  if (!retry_put(op, tally, ended) && !drop_corrupt_first(op, tally, ended)) {
    if (op->kind == OP_GET)
      op->lead = tally->n_prefix;
    if (op->kind == OP_GET && tally->cause == KVI_MISS_SPACE && op->space->told_epoch == op->client->epoch &&
        !op->space->opening)
      op->space->told_epoch = op->space->asked_epoch = 0; /* the next put tells it again */
    end_transfer(op, ended, tally);
  }
}

/* What ends a get of which the wire said that. It may have been done with its part before decoders gave up theirs. */
static kvs_status get_ended(const struct client_op *op, kvs_status said)
{
  bool for_good = kvi_client_node_is_out(said) || said == KVS_ERR_CANCELED || said == KVS_ERR_CLOSED;

  return op->stopped != KVS_OK && !for_good ? op->stopped : said;
}

void kvi_client_get_decoded(struct client_op *op)
{
  struct tally tally;

  op->ended = get_ended(op, op->ended);
  tally = tally_chunks(op, op->ended);
  /* A cancel ends no decodes any more, should the get live on to have chunks dropped. */
  op->wire_done = false;
  finish(op, op->ended, &tally);
}

void kvi_client_put_encoded(struct client_op *op, kvs_status ended)
{
  struct tally tally = tally_chunks(op, ended);

  finish(op, ended, &tally);
}

/* True if chunks of the get are still being decoded: the last of them ends it. What ended it early ends them as well. */
static bool wait_for_decoding(struct client_op *op, kvs_status ended)
{
  bool waits;

  pthread_mutex_lock(&op->client->mutex);
  waits = op->n_decoding > 0;
  if (waits) {
    op->wire_done = true;
    op->submitted = false;
    op->ended = ended;
    if (ended == KVS_ERR_DEADLINE || ended == KVS_ERR_CANCELED || ended == KVS_ERR_CLOSED)
      kvi_decode_abort(op, ended);
  }
  pthread_mutex_unlock(&op->client->mutex);
  return waits;
}

static void on_done(struct kvi_transfer *transfer, kvs_status ended)
{
  struct client_op *op = transfer->user;
  struct tally tally;

  if (op->kind == OP_GET && wait_for_decoding(op, ended))
    return;
  if (op->kind == OP_GET)
    ended = get_ended(op, ended);
  tally = tally_chunks(op, ended);
  pthread_mutex_lock(&op->client->mutex);
  finish(op, ended, &tally);
  pthread_mutex_unlock(&op->client->mutex);
}

/* ---- starting ---- */

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
  transfer->abreast = op->kind == OP_GET && call->abreast != 0;
  transfer->deadline_ns = op->deadline_ns;
  transfer->on_done = on_done;
  transfer->user = op;
  if (op->kind == OP_GET) {
    transfer->on_segments = on_segments;
    transfer->on_chunk = on_get_chunk;
  }
  for (uint32_t i = 0; i < keys->n && status == KVS_OK; i++)
    status = take_chunk(op, &chunks[i], i);
  for (uint32_t i = 0; transfer->put && i < keys->n; i++)
    transfer->chunks[i].quality = kvi_quality(0, call->loss_max, KVI_CODING_NONE);
  if (!transfer->put) {
    transfer->loss_max = call->loss_max;
    transfer->on_coded = takes_coded(op) ? kvi_decode_begin : NULL;
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
    struct tally tally = tally_chunks(op, op->ended);

    kvi_client_drop_corrupt(op);
    pthread_mutex_lock(&client->mutex);
    op->lead = tally.n_prefix;
    end_transfer(op, op->ended, &tally);
    pthread_mutex_unlock(&client->mutex);
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
