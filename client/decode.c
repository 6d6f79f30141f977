/* client/decode.c: the life of coded chunks at the client, and the threads that decode them. */
#include "client/decode.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client_internal.h"
#include "proto/limits.h"

#define SCRATCH_KEEP (16u << 20) /* a larger one is freed when it was used */
#define EXPIRE_NS    (10 * KVI_NS_PER_MS)
#define WAIT_MS      100u

static struct op_chunk *chunk_of(const struct decode *decode)
{
  return &decode->op->chunks[decode->chunk];
}

static bool is_whole(const struct decode *decode)
{
  return decode->arrived == decode->length;
}

/* ---- ends ---- */

/* One decode of an operation is gone; with the last one the operation ends, if the wire is done with it. */
static void count_down(struct client_op *op)
{
  if (--op->n_decoding == 0 && op->wire_done)
    kvi_client_get_decoded(op);
}

/* Gives the buffer back, if nobody uses it any more. With the mutex, which it releases for a moment; the operation may be over then. */
static void settle(struct decode *decode)
{
  struct client_op *op = decode->op;
  kvsc_client *client = op->client;

  if (!decode->over || !decode->landed || decode->queued || decode->running)
    return;
  chunk_of(decode)->decode = NULL;
  client->counters.coded_bytes += decode->arrived;
  kvi_decode_give(client, decode);
  pthread_cond_broadcast(&client->decoders.progress);
  count_down(op);
}

/* Says how it ended. settle is the caller's. */
static void end_decode(struct decode *decode, kvs_status status)
{
  struct client_op *op = decode->op;
  struct op_chunk *chunk = chunk_of(decode);
  struct kvi_decoders *decoders = &op->client->decoders;

  decode->over = true;
  chunk->decoded = status;
  if (decode->queued) {
    kvi_list_remove(&decoders->queue, &decode->node);
    decode->queued = false;
  }
  if (status == KVS_OK) {
    op->client->counters.coded_chunks++;
    if (chunk->landed)
      kvi_client_chunk_ready(op, decode->chunk);
  }
}

/* Gives it up: not for its bytes, nor because the wire did, which would end the get otherwise. settle is the caller's. */
static void stop_decode(struct decode *decode, kvs_status status)
{
  decode->op->stopped = status;
  end_decode(decode, status);
}

void kvi_decode_abort(struct client_op *op, kvs_status status)
{
  op->n_decoding++; /* so that it is not over before we are */
  for (uint32_t i = 0; i < op->transfer.n_chunks; i++) {
    struct decode *decode = op->chunks[i].decode;

    if (decode == NULL || decode->over)
      continue;
    stop_decode(decode, status);
    settle(decode);
  }
  count_down(op);
}

/* ---- running ---- */

/* Why an operation's decodes stop, or KVS_OK. */
static kvs_status stopped(const struct client_op *op, uint64_t now_ns)
{
  if (op->client->closing)
    return KVS_ERR_CLOSED;
  if (op->canceled)
    return KVS_ERR_CANCELED;
  return now_ns >= op->deadline_ns ? KVS_ERR_DEADLINE : KVS_OK;
}

/* A queued decode that is past its deadline, or NULL. */
static struct decode *find_expired(const struct kvi_decoders *decoders, uint64_t now_ns)
{
  kvi_list_for_each(&decoders->queue, node)
  {
    struct decode *decode = kvi_list_entry(node, struct decode, node);

    if (stopped(decode->op, now_ns) != KVS_OK)
      return decode;
  }
  return NULL;
}

/* Ends what waits in vain: a long queue must not keep operations beyond their deadline. */
static void expire_queued(kvsc_client *client, uint64_t now_ns)
{
  struct kvi_decoders *decoders = &client->decoders;
  struct decode *decode;

  if (kvi_list_is_empty(&decoders->queue) || now_ns - decoders->expired_ns < EXPIRE_NS)
    return;
  decoders->expired_ns = now_ns;
  while ((decode = find_expired(decoders, now_ns)) != NULL) {
    stop_decode(decode, stopped(decode->op, now_ns));
    settle(decode);
  }
}

/* After a step that went well. */
static void tell_progress(struct decode *decode)
{
  struct client_op *op = decode->op;
  struct op_chunk *chunk = chunk_of(decode);

  chunk->verified = decode->raw;
  chunk->segments = decode->segment;
  if (kvi_decode_is_done(decode)) {
    chunk->raw_length = decode->raw;
    end_decode(decode, KVS_OK);
  }
  if (decode->chunk == op->lead || op->transfer.abreast)
    kvi_client_op_progressed(op);
}

/* One step. With the mutex, which it releases meanwhile. */
static void step(kvsc_client *client, struct decode *decode, uint64_t now_ns, struct decode_scratch *scratch)
{
  kvs_status status = stopped(decode->op, now_ns);
  uint64_t need = decode->need;

  if (status != KVS_OK) {
    stop_decode(decode, status);
    return;
  }
  pthread_mutex_unlock(&client->mutex);
  status = kvi_decode_step(decode, &need, scratch);
  pthread_mutex_lock(&client->mutex);
  decode->need = need;
  if (decode->over)
    return; /* nobody wants it any more */
  chunk_of(decode)->overwritten = status == KVS_ERR_CHECKSUM;
  if (status == KVS_OK)
    tell_progress(decode);
  else
    end_decode(decode, status);
}

/* As far as bytes are there. With the mutex, which it releases meanwhile. The decode, and its operation, may be gone afterwards. */
static void run(kvsc_client *client, struct decode *decode, struct decode_scratch *scratch)
{
  struct kvi_decoders *decoders = &client->decoders;

  decode->running = true;
  kvi_list_push_back(&decoders->running, &decode->running_node);
  while (!decode->over && decode->arrived >= decode->need) {
    uint64_t now_ns = kvi_now_ns();

    step(client, decode, now_ns, scratch);
    expire_queued(client, now_ns);
  }
  kvi_list_remove(&decoders->running, &decode->running_node);
  decode->running = false;
  pthread_cond_broadcast(&decoders->progress);
  settle(decode);
}

static struct decode *pop(struct kvi_decoders *decoders)
{
  kvi_list_node *node = kvi_list_pop_front(&decoders->queue);
  struct decode *decode = node == NULL ? NULL : kvi_list_entry(node, struct decode, node);

  if (decode != NULL)
    decode->queued = false;
  return decode;
}

static void decoder(void *arg)
{
  kvsc_client *client = arg;
  struct kvi_decoders *decoders = &client->decoders;
  struct decode_scratch scratch = {0};

  pthread_mutex_lock(&client->mutex);
  for (;;) {
    struct decode *decode = pop(decoders);

    if (decode != NULL)
      run(client, decode, &scratch);
    else if (decoders->stop)
      break;
    else
      pthread_cond_wait(&decoders->work, &client->mutex);
    if (scratch.room > SCRATCH_KEEP) {
      free(scratch.bytes);
      scratch = (struct decode_scratch){0};
    }
  }
  pthread_mutex_unlock(&client->mutex);
  free(scratch.bytes);
}

/* Where threads cannot be had, nobody is worse off than a client whose wire decodes. Without the mutex. */
static void start_threads(kvsc_client *client)
{
  struct kvi_decoders *decoders = &client->decoders;
  bool start;

  pthread_mutex_lock(&client->mutex);
  start = !decoders->started && !client->closing;
  decoders->started |= start;
  pthread_mutex_unlock(&client->mutex);
  for (uint32_t i = 0; start && i < decoders->n_threads_wanted; i++) {
    if (kvi_thread_start(&decoders->threads[i], "kvasir-decode", decoder, client) != KVS_OK)
      return;
    pthread_mutex_lock(&client->mutex);
    decoders->n_threads = i + 1;
    pthread_mutex_unlock(&client->mutex);
  }
}

/* ---- from the wire ---- */

/* A queued decode all of whose bytes are there, or NULL. */
static struct decode *find_whole(const struct kvi_decoders *decoders)
{
  kvi_list_for_each(&decoders->queue, node)
  {
    struct decode *decode = kvi_list_entry(node, struct decode, node);

    if (is_whole(decode))
      return decode;
  }
  return NULL;
}

/* True if a running decode will give its buffer back without another byte. */
static bool one_is_ending(const struct kvi_decoders *decoders)
{
  kvi_list_for_each(&decoders->running, node)
  {
    if (is_whole(kvi_list_entry(node, struct decode, running_node)))
      return true;
  }
  return false;
}

/* Decodes a chunk of the queue that has come whole, on the wire's thread. False: there is none. */
static bool help(kvsc_client *client, struct decode_scratch *scratch)
{
  struct decode *whole = find_whole(&client->decoders);

  if (whole == NULL)
    return false;
  kvi_list_remove(&client->decoders.queue, &whole->node);
  whole->queued = false;
  run(client, whole, scratch);
  return true;
}

/*
 * A buffer. Where so many are in use that another would be freed again, the wire's thread decodes one chunk first. Where there is none the wire's thread decodes what has come whole, or waits for the decoders to do so: what comes faster than it is decoded has
 * to wait with its sender. NULL: only chunks that are still to come have buffers.
 */
static struct decode *take(kvsc_client *client, uint64_t length, struct decode_scratch *scratch)
{
  struct kvi_decoders *decoders = &client->decoders;

  if (decoders->bytes - decoders->idle_bytes + length > kvi_decode_keep_max(decoders))
    (void)help(client, scratch);
  while (!client->closing) {
    struct decode *decode = kvi_decode_take(client, length);

    if (decode != NULL)
      return decode;
    if (help(client, scratch))
      continue;
    if (!one_is_ending(decoders))
      return NULL;
    (void)kvi_cond_wait(&decoders->progress, &client->mutex, kvi_deadline_from_ms(WAIT_MS));
  }
  return NULL;
}

kvs_status kvi_decode_begin(struct kvi_transfer *transfer, uint32_t index, uint64_t length,
                            const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  const struct kvi_transfer_chunk *from = &transfer->chunks[index];
  struct client_op *op = transfer->user;
  struct op_chunk *chunk = &op->chunks[index];
  struct decode_scratch scratch = {0};
  struct decode *decode;

  if (length == 0 || length > KVI_CHUNK_BYTES_MAX)
    return KVS_ERR_PROTOCOL;
  start_threads(op->client);
  pthread_mutex_lock(&op->client->mutex);
  decode = take(op->client, length, &scratch);
  if (decode != NULL) {
    decode->op = op;
    decode->chunk = index;
    decode->place = (struct kvi_iov){decode->bytes, (size_t)length};
    decode->length = length;
    decode->exact = chunk->exact;
    decode->need = 1;
    decode->loss = kvi_quality_loss(from->quality);
    decode->compares = decode->loss == 0;
    decode->cursor = (struct decode_cursor){.iov = from->iov, .n_iov = from->n_iov};
    chunk->decode = decode;
    chunk->coded = true;
    op->n_decoding++;
    *iov_p = &decode->place;
    *n_iov_p = 1;
  }
  pthread_mutex_unlock(&op->client->mutex);
  free(scratch.bytes);
  return decode != NULL ? KVS_OK : KVS_ERR_BUSY;
}

/* Has a decode run that can. With the mutex, which it may release. */
static void want(kvsc_client *client, struct decode *decode)
{
  struct kvi_decoders *decoders = &client->decoders;
  struct decode_scratch scratch = {0};

  if (decode->over || decode->queued || decode->running || decode->arrived < decode->need)
    return;
  if (decoders->n_threads > 0) {
    decode->queued = true;
    kvi_list_push_back(&decoders->queue, &decode->node);
    pthread_cond_signal(&decoders->work);
    return;
  }
  run(client, decode, &scratch);
  free(scratch.bytes);
}

void kvi_decode_arrived(struct client_op *op, uint32_t index, uint64_t verified)
{
  kvsc_client *client = op->client;
  struct decode *decode;

  pthread_mutex_lock(&client->mutex);
  decode = op->chunks[index].decode;
  if (decode != NULL) {
    if (decode->arrived == 0)
      decode->head = verified;
    decode->arrived = verified;
    decode->landed |= is_whole(decode);
    if (decode->over)
      settle(decode);
    else
      want(client, decode);
  }
  pthread_mutex_unlock(&client->mutex);
}

void kvi_decode_landed(struct client_op *op, uint32_t index, kvs_status status)
{
  kvsc_client *client = op->client;
  struct op_chunk *chunk = &op->chunks[index];
  struct decode *decode;

  pthread_mutex_lock(&client->mutex);
  decode = chunk->decode;
  chunk->landed = status == KVS_OK;
  if (decode == NULL) {
    if (status == KVS_OK && chunk->decoded == KVS_OK)
      kvi_client_chunk_ready(op, index);
  } else {
    decode->landed = true;
    if (!decode->over && status != KVS_OK)
      end_decode(decode, status);
    else if (!decode->over && !is_whole(decode))
      end_decode(decode, KVS_ERR_CORRUPT);
    settle(decode);
  }
  pthread_mutex_unlock(&client->mutex);
}

/* ---- the client's life ---- */

kvs_status kvi_decoders_init(struct kvi_decoders *decoders, const kvsc_options *options)
{
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  uint32_t mib = options->decode_mib > 0 ? options->decode_mib : DECODE_MIB_DEFAULT;
  kvs_status status;

  decoders->n_threads_wanted = cores < DECODE_THREADS_DEFAULT ? 1 : DECODE_THREADS_DEFAULT;
  if (options->decode_threads > 0)
    decoders->n_threads_wanted = options->decode_threads;
  decoders->bytes_max = (uint64_t)mib << 20;
  kvi_list_init(&decoders->idle);
  kvi_list_init(&decoders->queue);
  kvi_list_init(&decoders->running);
  status = kvi_cond_init(&decoders->work);
  if (status != KVS_OK)
    return status;
  status = kvi_cond_init(&decoders->progress);
  if (status != KVS_OK)
    pthread_cond_destroy(&decoders->work);
  return status;
}

void kvi_decoders_stop(kvsc_client *client)
{
  struct kvi_decoders *decoders = &client->decoders;

  pthread_mutex_lock(&client->mutex);
  decoders->stop = true; /* what is queued ends at once: the client is closing */
  pthread_cond_broadcast(&decoders->work);
  pthread_mutex_unlock(&client->mutex);
  for (uint32_t i = 0; i < DECODE_THREADS_MAX; i++)
    kvi_thread_join(&decoders->threads[i]);
}

void kvi_decoders_destroy(struct kvi_decoders *decoders)
{
  kvi_decode_free_idle(decoders);
  pthread_cond_destroy(&decoders->work);
  pthread_cond_destroy(&decoders->progress);
}
