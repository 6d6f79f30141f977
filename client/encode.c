/* client/encode.c: the life of puts whose chunks are encoded, and the threads that encode them. */
#include "client/encode.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client_internal.h"
#include "proto/limits.h"
#include "proto/service.h"

#define EXPIRE_NS (10 * KVI_NS_PER_MS)
#define WAIT_MS   20u
#define ROOM_KEEP (16u << 20) /* of a thread's memory, when there is nothing to do */

/* ---- ends ---- */

/* Why a put's chunks stop, or KVS_OK. */
static kvs_status stopped(const struct client_op *op, uint64_t now_ns)
{
  if (op->encode->stop != KVS_OK)
    return op->encode->stop;
  if (op->client->closing)
    return KVS_ERR_CLOSED;
  if (op->canceled)
    return KVS_ERR_CANCELED;
  if (now_ns >= op->deadline_ns)
    return KVS_ERR_DEADLINE;
  return op->client->connected ? KVS_OK : KVS_ERR_UNREACHABLE;
}

static void unqueue(struct client_op *op)
{
  struct encode *encode = op->encode;

  if (!encode->queued)
    return;
  kvi_list_remove(&op->client->encoders.queue, &encode->node);
  op->client->encoders.n_queued--;
  encode->queued = false;
}

/* Gives back staging that a part does not need. */
static void release(struct kvi_encoders *encoders, struct encode_part *part, uint64_t keep)
{
  encoders->bytes -= part->reserved - keep;
  part->reserved = keep;
  pthread_cond_broadcast(&encoders->work);
}

/* A part of which the wire has nothing, or nothing any more. */
static void end_part(struct encode_part *part, kvs_status status, uint32_t cause)
{
  struct kvi_transfer_chunk *chunk = &part->op->transfer.chunks[part->index];
  struct kvi_encoders *encoders = &part->op->client->encoders;

  if (part->state != ENCODE_ASKED)
    encoders->n_parts--;
  part->state = ENCODE_OVER;
  part->submitted = false;
  free(part->staging);
  part->staging = NULL;
  release(encoders, part, 0);
  chunk->status = status;
  chunk->cause = cause;
}

/* From now on no more of its chunks are taken, nor given to the wire. */
static void set_stop(struct client_op *op, kvs_status status)
{
  if (op->encode->stop == KVS_OK)
    op->encode->stop = status;
  unqueue(op);
}

/* Ends the put if nobody works on it and the wire has nothing of it. It may be over then. */
static void settle(struct client_op *op)
{
  struct encode *encode = op->encode;
  kvs_status status = encode->stop;

  if (encode->n_working > 0 || encode->n_sent > 0)
    return;
  if (status == KVS_OK && encode->next_send < op->transfer.n_chunks)
    return;
  for (uint32_t i = encode->next_send; i < op->transfer.n_chunks; i++) {
    if (encode->parts[i].state != ENCODE_OVER)
      end_part(&encode->parts[i], status, KVI_MISS_NONE);
  }
  op->encode = NULL;
  free(encode);
  kvi_client_put_encoded(op, status);
}

/* It may be over when this returns. */
static void stop(struct client_op *op, kvs_status status)
{
  set_stop(op, status);
  settle(op);
}

void kvi_encode_cancel(struct client_op *op)
{
  struct kvi_wire *wire = op->client->wire;

  for (uint32_t i = 0; i < op->encode->next_send; i++) {
    if (op->encode->parts[i].submitted)
      wire->ops->cancel(wire, &op->encode->parts[i].transfer);
  }
  stop(op, KVS_ERR_CANCELED);
}

/* A put of the queue that has to stop, or NULL. */
static struct client_op *find_expired(const struct kvi_encoders *encoders, uint64_t now_ns)
{
  kvi_list_for_each(&encoders->queue, node)
  {
    struct client_op *op = kvi_list_entry(node, struct encode, node)->parts[0].op;

    if (stopped(op, now_ns) != KVS_OK)
      return op;
  }
  return NULL;
}

/* Ends what waits in vain: a long queue must not keep operations beyond their deadline. */
static void expire_queued(kvsc_client *client, uint64_t now_ns)
{
  struct kvi_encoders *encoders = &client->encoders;
  struct client_op *op;

  if (kvi_list_is_empty(&encoders->queue) || now_ns - encoders->expired_ns < EXPIRE_NS)
    return;
  encoders->expired_ns = now_ns;
  while ((op = find_expired(encoders, now_ns)) != NULL)
    stop(op, stopped(op, now_ns));
}

/* ---- to the wire and back ---- */

/* From the wire: a part is over. */
static void on_part_done(struct kvi_transfer *transfer, kvs_status ended)
{
  struct encode_part *part = transfer->user;
  struct client_op *op = part->op;
  kvsc_client *client = op->client;
  kvs_status status = part->chunk.status;

  if (status == KVS_PENDING) /* the wire ended the whole without a word about it */
    status = ended < 0 ? ended : KVS_ERR_INTERNAL;
  free(part->staging); /* without the mutex, since the system is asked for such sizes */
  part->staging = NULL;
  pthread_mutex_lock(&client->mutex);
  op->encode->n_sent--;
  end_part(part, status, part->chunk.cause);
  if (kvi_client_node_is_out(ended) || ended == KVS_ERR_CANCELED || ended == KVS_ERR_CLOSED)
    stop(op, ended);
  else if (status == KVS_ERR_SPACE_UNKNOWN)
    stop(op, status); /* so are the others: the put is tried again as a whole */
  else
    settle(op);
  pthread_mutex_unlock(&client->mutex);
}

/* Where the chunk stands in its prefix chain. */
static struct kvi_chain chain_of(const struct client_op *op, uint32_t index)
{
  const struct kvi_transfer *whole = &op->transfer;
  struct kvi_chain chain = whole->chain;
  uint32_t in_extent;

  if (index == 0 || chain.unchained)
    return chain;
  chain.first_place += index;
  chain.parent = whole->keys + (size_t)(index - 1) * whole->key_length;
  in_extent = chain.first_place % KVI_EXTENT_CHUNKS;
  if (in_extent == 0)
    chain.extent_first = NULL;
  else if (in_extent <= index)
    chain.extent_first = whole->keys + (size_t)(index - in_extent) * whole->key_length;
  return chain;
}

static void fill_part(struct client_op *op, uint32_t index)
{
  struct encode_part *part = &op->encode->parts[index];
  const struct kvi_transfer *whole = &op->transfer;

  part->op = op;
  part->index = index;
  part->chunk = whole->chunks[index];
  part->transfer = (struct kvi_transfer){.put = true,
                                         .space = whole->space,
                                         .keys = whole->keys + (size_t)index * whole->key_length,
                                         .key_length = whole->key_length,
                                         .chain = chain_of(op, index),
                                         .ttl_ms = whole->ttl_ms,
                                         .chain_chunks = whole->chain_chunks,
                                         .deadline_ns = whole->deadline_ns,
                                         .n_chunks = 1,
                                         .chunks = &part->chunk,
                                         .on_done = on_part_done,
                                         .user = part};
}

/* Gives a part to the wire. With the mutex, which it releases meanwhile. */
static void submit(struct encode_part *part)
{
  struct client_op *op = part->op;
  kvsc_client *client = op->client;
  kvs_status status;

  part->state = ENCODE_SENT;
  op->encode->n_sent++;
  pthread_mutex_unlock(&client->mutex);
  status = client->wire->ops->submit(client->wire, &part->transfer);
  pthread_mutex_lock(&client->mutex);
  if (status != KVS_OK) {
    op->encode->n_sent--;
    end_part(part, status, KVI_MISS_NONE);
    if (kvi_client_node_is_out(status))
      set_stop(op, status);
  } else if (part->state == ENCODE_SENT) {
    part->submitted = true;
    if (op->canceled)
      client->wire->ops->cancel(client->wire, &part->transfer);
  }
}

/* Submits what is ready, in order. The caller counts as one who works on it. With the mutex, which it releases meanwhile. */
static void send_ready(struct client_op *op)
{
  struct encode *encode = op->encode;

  if (encode->sending)
    return;
  encode->sending = true;
  while (encode->next_send < op->transfer.n_chunks &&
         encode->parts[encode->next_send].state >= ENCODE_READY) {
    struct encode_part *part = &encode->parts[encode->next_send++];
    kvs_status status = stopped(op, kvi_now_ns());

    if (part->state == ENCODE_OVER)
      continue;
    if (status == KVS_OK) {
      submit(part);
      continue;
    }
    set_stop(op, status);
    end_part(part, status, KVI_MISS_NONE);
  }
  encode->sending = false;
}

/* ---- encoding ---- */

/* What a thread has while it encodes a chunk. */
struct work {
  struct encode_part *part;
  struct kvi_encode_plan plan;
  struct kvi_encode_room *room;
};

/* kvi_codec_options.stop: between layers. */
static bool must_stop(void *ctx)
{
  struct client_op *op = ctx;
  kvsc_client *client = op->client;
  uint64_t now_ns = kvi_now_ns();
  bool stops;

  pthread_mutex_lock(&client->mutex);
  stops = stopped(op, now_ns) != KVS_OK;
  expire_queued(client, now_ns);
  pthread_mutex_unlock(&client->mutex);
  return stops;
}

static bool plan_of(const struct client_op *op, uint32_t index, struct kvi_encode_plan *plan_p)
{
  const struct kvi_transfer_chunk *chunk = &op->transfer.chunks[index];
  const struct kvi_chain *chain = &op->transfer.chain;

  return kvi_encode_plan_make(&op->client->encoders.rules, op->space->desc, chunk->length,
                              chain->first_place + index, chain->unchained, chunk->quality, plan_p) == KVS_OK;
}

/* With the mutex. */
static void count(kvsc_client *client, const struct encode_part *part)
{
  client->counters.encoded_chunks++;
  client->counters.encoded_raw_bytes += part->op->transfer.chunks[part->index].length;
  client->counters.encoded_bytes += part->chunk.length;
}

/* One chunk, and what it lets go. With the mutex, which it releases meanwhile. The put may be over afterwards. */
static void run(kvsc_client *client, struct work *work)
{
  struct encode_part *part = work->part;
  struct client_op *op = part->op;
  bool encoded = false;

  op->encode->n_working++;
  if (part->reserved > 0) {
    pthread_mutex_unlock(&client->mutex);
    work->plan.options.stop = must_stop;
    work->plan.options.stop_ctx = op;
    encoded = kvi_encode_part(part, &work->plan, work->room);
    pthread_mutex_lock(&client->mutex);
    release(&client->encoders, part, encoded ? part->chunk.length : 0);
  }
  if (encoded)
    count(client, part);
  if (part->state == ENCODE_ENCODING)
    part->state = ENCODE_READY;
  send_ready(op);
  op->encode->n_working--;
  settle(op);
}

/* ---- threads ---- */

/* Takes the put's next chunk. False: there is no room yet. */
static bool take_chunk(struct kvi_encoders *encoders, struct client_op *op, struct work *work)
{
  struct encode *encode = op->encode;
  struct encode_part *part = &encode->parts[encode->next];
  uint64_t length = op->transfer.chunks[encode->next].length;

  if (part->state == ENCODE_ASKED) {
    if (encoders->n_parts == ENCODE_PARTS_MAX)
      return false;
    if (length > encoders->bytes_max || !plan_of(op, encode->next, &work->plan))
      length = 0;
    if (encoders->bytes + length > encoders->bytes_max)
      return false;
    encoders->n_parts++;
    encoders->bytes += length;
    part->reserved = length;
    part->state = ENCODE_ENCODING;
  }
  work->part = part;
  if (++encode->next == op->transfer.n_chunks)
    unqueue(op);
  return true;
}

/* The next chunk of the put that waits longest. False: there is nothing to do now. */
static bool take(kvsc_client *client, struct work *work)
{
  struct kvi_encoders *encoders = &client->encoders;
  kvi_list_node *node;

  expire_queued(client, kvi_now_ns());
  node = kvi_list_first(&encoders->queue);
  if (node == NULL)
    return false;
  return take_chunk(encoders, kvi_list_entry(node, struct encode, node)->parts[0].op, work);
}

/* Without the mutex, since the system is asked for such sizes. */
static void free_room(kvsc_client *client, struct kvi_encode_room *room)
{
  pthread_mutex_unlock(&client->mutex);
  kvi_encode_room_free(room);
  pthread_mutex_lock(&client->mutex);
}

static void encoder(void *arg)
{
  kvsc_client *client = arg;
  struct kvi_encoders *encoders = &client->encoders;
  struct kvi_encode_room room = {0};
  struct work work = {.room = &room};

  pthread_mutex_lock(&client->mutex);
  while (!encoders->stop) {
    if (take(client, &work))
      run(client, &work);
    else if (!kvi_list_is_empty(&encoders->queue))
      (void)kvi_cond_wait(&encoders->work, &client->mutex, kvi_deadline_from_ms(WAIT_MS));
    else if (kvi_encode_room_bytes(&room) > ROOM_KEEP)
      free_room(client, &room);
    else
      pthread_cond_wait(&encoders->work, &client->mutex);
  }
  pthread_mutex_unlock(&client->mutex);
  kvi_encode_room_free(&room);
}

/* ---- from the callers ---- */

/* What the wire would refuse is left to it. */
static bool is_well_formed(const struct kvi_transfer_chunk *chunk)
{
  uint64_t sum = 0;

  if (chunk->n_segments > KVI_SEGMENTS_MAX)
    return false;
  for (uint32_t i = 0; i < chunk->n_segments; i++) {
    if (chunk->segment_lengths[i] == 0)
      return false;
    sum += chunk->segment_lengths[i];
  }
  return sum == chunk->length;
}

static bool has_work(const struct client_op *op)
{
  struct kvi_encode_plan plan;
  bool any = false;

  if (op->client->encoders.n_threads == 0 || op->space->desc->layout != KVS_LAYOUT_TENSORS)
    return false;
  for (uint32_t i = 0; i < op->transfer.n_chunks; i++) {
    if (!is_well_formed(&op->transfer.chunks[i]))
      return false;
    any |= plan_of(op, i, &plan);
  }
  return any;
}

bool kvi_encode_take(struct client_op *op)
{
  kvsc_client *client = op->client;
  struct kvi_encoders *encoders = &client->encoders;
  struct encode *encode;
  bool taken;

  if (!has_work(op))
    return false;
  encode = calloc(1, sizeof(*encode) + op->transfer.n_chunks * sizeof(*encode->parts));
  if (encode == NULL)
    return false;
  pthread_mutex_lock(&client->mutex);
  taken = client->connected && !client->closing && encoders->n_queued < ENCODE_WAITING_MAX;
  if (taken) {
    op->submitted = false; /* as a whole it never is */
    op->encode = encode;
    for (uint32_t i = 0; i < op->transfer.n_chunks; i++) {
      fill_part(op, i);
      if (op->chunks[i].ok) /* at an earlier try */
        encode->parts[i].state = ENCODE_OVER;
    }
    encode->queued = true;
    kvi_list_push_back(&encoders->queue, &encode->node);
    encoders->n_queued++;
    pthread_cond_broadcast(&encoders->work);
    if (op->canceled)
      stop(op, KVS_ERR_CANCELED);
  }
  pthread_mutex_unlock(&client->mutex);
  if (!taken)
    free(encode);
  return taken;
}

/* ---- the client's life ---- */

kvs_status kvi_encoders_init(struct kvi_encoders *encoders, const kvsc_options *options)
{
  static const enum kvi_codec_level lossy[] = {[KVSC_ENCODE_NONE] = KVI_CODEC_RAW,
                                               [KVSC_ENCODE_LOSSLESS] = KVI_CODEC_RAW,
                                               [KVSC_ENCODE_LADDER] = KVI_CODEC_LADDER,
                                               [KVSC_ENCODE_CACHEGEN] = KVI_CODEC_CACHEGEN};
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  uint32_t mib = options->encode_mib > 0 ? options->encode_mib : ENCODE_MIB_DEFAULT;

  encoders->rules = (struct kvi_encode_rules){.tensors = true,
                                              .lossy = lossy[options->encode],
                                              .planes = options->encode_planes > 0 ? options->encode_planes
                                                                                   : ENCODE_PLANES_DEFAULT};
  if (options->encode != KVSC_ENCODE_NONE && options->encode_threads > 0)
    encoders->n_threads_wanted = options->encode_threads;
  else if (options->encode != KVSC_ENCODE_NONE)
    encoders->n_threads_wanted = cores < ENCODE_THREADS_DEFAULT ? 1 : ENCODE_THREADS_DEFAULT;
  encoders->bytes_max = (uint64_t)mib << 20;
  kvi_list_init(&encoders->queue);
  return kvi_cond_init(&encoders->work);
}

void kvi_encoders_start(kvsc_client *client)
{
  struct kvi_encoders *encoders = &client->encoders;

  while (encoders->n_threads < encoders->n_threads_wanted) {
    if (kvi_thread_start(&encoders->threads[encoders->n_threads], "kvasir-encode", encoder, client) != KVS_OK)
      return;
    encoders->n_threads++;
  }
}

void kvi_encoders_stop(kvsc_client *client)
{
  struct kvi_encoders *encoders = &client->encoders;
  kvi_list_node *node;

  pthread_mutex_lock(&client->mutex);
  encoders->stop = true;
  pthread_cond_broadcast(&encoders->work);
  pthread_mutex_unlock(&client->mutex);
  for (uint32_t i = 0; i < encoders->n_threads; i++)
    kvi_thread_join(&encoders->threads[i]);
  pthread_mutex_lock(&client->mutex);
  while ((node = kvi_list_first(&encoders->queue)) != NULL) {
    struct client_op *op = kvi_list_entry(node, struct encode, node)->parts[0].op;

    stop(op, KVS_ERR_CLOSED); /* the wire ends what it has */
  }
  pthread_mutex_unlock(&client->mutex);
}

void kvi_encoders_destroy(struct kvi_encoders *encoders)
{
  pthread_cond_destroy(&encoders->work);
}
