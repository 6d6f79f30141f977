/* client/transfer_end.c: gets and puts end: what the wire tells of them, what becomes of each chunk, what is tried once more. */
#include <assert.h>

#include "base/clock.h"
#include "client/client_internal.h"
#include "proto/service.h"

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
  case KVS_ERR_DENIED: /* an engine recomputes, whyever the node does not serve it */
    return true;
  default:
    return false;
  }
}

/* ---- chunk by chunk ---- */

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
    if (kvi_says_more(tally.first_bad, chunk->status))
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

void kvi_client_get_dropped(struct client_op *op)
{
  struct tally tally = tally_chunks(op, op->ended);

  kvi_client_drop_corrupt(op);
  pthread_mutex_lock(&op->client->mutex);
  op->lead = tally.n_prefix;
  end_transfer(op, op->ended, &tally);
  pthread_mutex_unlock(&op->client->mutex);
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

  if (op->kind == OP_GET)
    kvi_pace_note(op, kvi_now_ns());
  if (op->kind == OP_GET && wait_for_decoding(op, ended))
    return;
  if (op->kind == OP_GET)
    ended = get_ended(op, ended);
  tally = tally_chunks(op, ended);
  pthread_mutex_lock(&op->client->mutex);
  finish(op, ended, &tally);
  pthread_mutex_unlock(&op->client->mutex);
}

void kvi_client_transfer_listen(struct client_op *op)
{
  op->transfer.user = op;
  op->transfer.on_done = on_done;
  if (op->kind == OP_GET) {
    op->transfer.on_segments = on_segments;
    op->transfer.on_chunk = on_get_chunk;
  }
}
