/* tiers/decoder.c: see decoder.h. A chunk waits in the queue, then with its thread for memory, and is then decoded. */
#include "tiers/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tiers/decode_chunk.h"

#define WAITING_DEFAULT 256u

struct kvi_decoder {
  struct kvi_decoder_config config;
  kvi_thread threads[KVI_DECODER_THREADS_MAX];

  pthread_mutex_t lock; /* guards the rest */
  pthread_cond_t changed;
  kvi_list waiting;  /* chunks */
  uint64_t turn_now; /* of those that wait for memory */
  bool closed;
  struct kvi_decoder_stats stats; /* memory_bytes included; waiting is the list's */
};

/* ---- memory ---- */

static bool has_room(const struct kvi_decoder *decoder, uint64_t bytes)
{
  return decoder->config.memory_bytes - decoder->stats.memory_bytes >= bytes;
}

/* Turns are given in order, and each is waited out, so that a large chunk gets its own. */
static kvs_status memory_take(struct kvi_decoder *decoder, const struct kvi_decode *decode, uint64_t bytes)
{
  kvs_status status = KVS_OK;
  uint64_t turn;

  if (bytes > decoder->config.chunk_bytes_max)
    return KVS_ERR_TOO_LARGE;
  pthread_mutex_lock(&decoder->lock);
  turn = decoder->stats.turns++;
  while (turn != decoder->turn_now ||
         (!has_room(decoder, bytes) && !decoder->closed && !atomic_load(&decode->canceled)))
    pthread_cond_wait(&decoder->changed, &decoder->lock);
  if (decoder->closed)
    status = KVS_ERR_CLOSED;
  else if (atomic_load(&decode->canceled))
    status = KVS_ERR_CANCELED;
  else
    decoder->stats.memory_bytes += bytes;
  decoder->turn_now++;
  pthread_cond_broadcast(&decoder->changed);
  pthread_mutex_unlock(&decoder->lock);
  return status;
}

static void memory_give_back(struct kvi_decoder *decoder, uint64_t bytes)
{
  pthread_mutex_lock(&decoder->lock);
  decoder->stats.memory_bytes -= bytes;
  pthread_cond_broadcast(&decoder->changed);
  pthread_mutex_unlock(&decoder->lock);
}

void kvi_decoder_close(struct kvi_decoder *decoder, struct kvi_source *source)
{
  struct kvi_decoded_chunk *chunk = source->decoded;
  uint64_t bytes;

  if (!chunk)
    return;
  bytes = chunk->table.length;
  kvi_decoded_chunk_free(chunk);
  free(chunk);
  memset(source, 0, sizeof(*source));
  memory_give_back(decoder, bytes);
}

/* ---- threads ---- */

static kvs_status source_make(const struct kvi_decode_opened *opened, struct kvi_decode *decode)
{
  struct kvi_decoded_chunk *chunk = malloc(sizeof(*chunk));
  kvs_status status = KVS_ERR_NOMEM;

  if (chunk)
    status = kvi_decode_chunk(opened, &decode->canceled, chunk);
  if (status != KVS_OK) {
    free(chunk);
    return status;
  }
  decode->decoded = (struct kvi_source){
      .decoded = chunk, .iov = &chunk->iov, .n_iov = 1, .table = chunk->table, .tier = decode->coded->tier};
  return KVS_OK;
}

static void count(struct kvi_decoder *decoder, const struct kvi_decode *decode, kvs_status status,
                  uint64_t took_ns)
{
  struct kvi_decoder_stats *stats = &decoder->stats;

  pthread_mutex_lock(&decoder->lock);
  stats->decode_ns += took_ns;
  if (status == KVS_OK) {
    stats->chunks++;
    stats->coded_bytes += decode->coded->table.length;
    stats->raw_bytes += decode->decoded.table.length;
  } else if (status == KVS_ERR_CORRUPT) {
    stats->corrupt++;
  } else if (status != KVS_ERR_CANCELED && status != KVS_ERR_CLOSED) {
    stats->failed++;
  }
  pthread_mutex_unlock(&decoder->lock);
}

static void run(struct kvi_decoder *decoder, struct kvi_decode *decode, struct kvi_decode_room *room)
{
  struct kvi_decode_opened opened;
  kvs_status status = kvi_decode_open(decode->coded, room, &opened);
  uint64_t bytes = status == KVS_OK ? opened.coded.raw.length : 0;
  uint64_t began_ns;

  if (status == KVS_OK)
    status = memory_take(decoder, decode, bytes);
  began_ns = kvi_now_ns();
  if (status == KVS_OK) {
    status = source_make(&opened, decode);
    if (status != KVS_OK)
      memory_give_back(decoder, bytes);
  }
  count(decoder, decode, status, kvi_now_ns() - began_ns);
  decode->done(decode, status);
}

/* NULL: the end. */
static struct kvi_decode *take(struct kvi_decoder *decoder)
{
  kvi_list_node *node = NULL;

  pthread_mutex_lock(&decoder->lock);
  while (!decoder->closed && (node = kvi_list_pop_front(&decoder->waiting)) == NULL)
    pthread_cond_wait(&decoder->changed, &decoder->lock);
  pthread_mutex_unlock(&decoder->lock);
  return node ? kvi_list_entry(node, struct kvi_decode, link) : NULL;
}

static void worker(void *arg)
{
  struct kvi_decoder *decoder = arg;
  struct kvi_decode_room room = {0};
  struct kvi_decode *decode;

  while ((decode = take(decoder)) != NULL)
    run(decoder, decode, &room);
  kvi_decode_room_free(&room);
}

/* ---- the beginning and the end of one ---- */

kvs_status kvi_decoder_start(struct kvi_decoder *decoder, struct kvi_decode *decode)
{
  kvs_status status = KVS_OK;

  memset(&decode->decoded, 0, sizeof(decode->decoded));
  atomic_store(&decode->canceled, false);
  pthread_mutex_lock(&decoder->lock);
  if (decoder->closed)
    status = KVS_ERR_CLOSED;
  else if (decoder->waiting.length >= decoder->config.waiting_max)
    status = KVS_ERR_BUSY;
  if (status == KVS_OK) {
    kvi_list_push_back(&decoder->waiting, &decode->link);
    pthread_cond_broadcast(&decoder->changed);
  }
  decoder->stats.refused += status == KVS_ERR_BUSY;
  pthread_mutex_unlock(&decoder->lock);
  return status;
}

bool kvi_decoder_cancel(struct kvi_decoder *decoder, struct kvi_decode *decode)
{
  bool waited;

  pthread_mutex_lock(&decoder->lock);
  waited = kvi_list_is_linked(&decode->link);
  if (waited)
    kvi_list_remove(&decoder->waiting, &decode->link);
  atomic_store(&decode->canceled, true);
  pthread_cond_broadcast(&decoder->changed);
  pthread_mutex_unlock(&decoder->lock);
  return waited;
}

void kvi_decoder_stats(struct kvi_decoder *decoder, struct kvi_decoder_stats *stats_p)
{
  pthread_mutex_lock(&decoder->lock);
  *stats_p = decoder->stats;
  stats_p->waiting = decoder->waiting.length;
  pthread_mutex_unlock(&decoder->lock);
}

/* ---- life ---- */

/* From now on threads take nothing any more. The next one that waits; NULL: none does. */
static struct kvi_decode *close_next(struct kvi_decoder *decoder)
{
  kvi_list_node *node;

  pthread_mutex_lock(&decoder->lock);
  decoder->closed = true;
  node = kvi_list_pop_front(&decoder->waiting);
  pthread_cond_broadcast(&decoder->changed);
  pthread_mutex_unlock(&decoder->lock);
  return node ? kvi_list_entry(node, struct kvi_decode, link) : NULL;
}

void kvi_decoder_destroy(struct kvi_decoder *decoder)
{
  struct kvi_decode *decode;

  if (!decoder)
    return;
  while ((decode = close_next(decoder)) != NULL)
    decode->done(decode, KVS_ERR_CLOSED);
  for (uint32_t i = 0; i < decoder->config.threads; i++)
    kvi_thread_join(&decoder->threads[i]);
  pthread_cond_destroy(&decoder->changed);
  pthread_mutex_destroy(&decoder->lock);
  free(decoder);
}

kvs_status kvi_decoder_create(const struct kvi_decoder_config *config, struct kvi_decoder **decoder_p)
{
  struct kvi_decoder *decoder;
  kvs_status status = KVS_OK;

  *decoder_p = NULL;
  if (config->threads == 0 || config->threads > KVI_DECODER_THREADS_MAX ||
      config->memory_bytes < config->chunk_bytes_max)
    return KVS_ERR_INVALID;
  decoder = calloc(1, sizeof(*decoder));
  if (!decoder)
    return KVS_ERR_NOMEM;
  decoder->config = *config;
  if (decoder->config.waiting_max == 0)
    decoder->config.waiting_max = WAITING_DEFAULT;
  kvi_list_init(&decoder->waiting);
  pthread_mutex_init(&decoder->lock, NULL);
  pthread_cond_init(&decoder->changed, NULL);
  for (uint32_t i = 0; i < config->threads && status == KVS_OK; i++)
    status = kvi_thread_start(&decoder->threads[i], "kvi-decoder", worker, decoder);
  if (status != KVS_OK) {
    kvi_decoder_destroy(decoder);
    return status;
  }
  *decoder_p = decoder;
  return KVS_OK;
}
