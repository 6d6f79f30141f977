/* Gets at the node: a chunk is opened when its turn comes and sent by reference, in order of segments. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/coded.h"
#include "proto/grpc/server_private.h"

void kvi_server_source_unref(void *ctx)
{
  struct source *s = ctx;
  if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
    return;
  s->service->ops->get_close(s->service->self, &s->source);
  free(s);
}

/*
 * How much one get may hold open while others hold so much: all of them together twice what one alone may. What does not take coded chunks may need memory
 * to decode them, of which there is less.
 */
static uint64_t abreast_most(const struct server_transfer *t, uint64_t others)
{
  const struct kvi_service_limits *limits = &t->stream->poller->server->service->limits;
  bool decodes = t->terms.codings & 1u << KVI_CODING_KVC1;
  uint64_t most = limits->abreast_bytes;

  if (!decodes && limits->abreast_plain_bytes != 0 && limits->abreast_plain_bytes < most)
    most = limits->abreast_plain_bytes;
  if (others > most)
    most = others - most < most ? most - (others - most) : 0;
  return most;
}

/*
 * How many chunks from `first` on are sent abreast: as many as one get may hold open; one at least. Their room is counted by what the client has for
 * them, until they are opened.
 */
static uint32_t count_abreast(const struct server_transfer *t, uint32_t first, uint64_t others,
                              uint64_t *bytes_p)
{
  uint64_t most = abreast_most(t, others), bytes = 0;
  uint32_t n = 0;
  while (first + n < t->n_chunks && t->lengths[first + n] <= most - bytes)
    bytes += t->lengths[first + n++];
  *bytes_p = n > 1 ? bytes : 0;
  return n > 0 ? n : 1;
}

static void begin_group(struct server_transfer *t, uint32_t first)
{
  struct kvi_grpc_server *server = t->stream->poller->server;
  t->group_first = t->send_chunk = first;
  t->send_segment = t->send_offset = 0;
  t->group_left = 0;
  atomic_fetch_sub(&server->abreast_bytes, t->group_bytes);
  t->group_bytes = 0;
  t->group_chunks = first < t->n_chunks;
  if (t->abreast && first < t->n_chunks) {
    uint64_t others = atomic_load(&server->abreast_bytes);
    do
      t->group_chunks = count_abreast(t, first, others, &t->group_bytes);
    while (!atomic_compare_exchange_weak(&server->abreast_bytes, &others, others + t->group_bytes));
  }
  t->group_open = t->group_chunks;
  memset(t->group, 0, t->group_chunks * sizeof *t->group);
}

kvs_status kvi_server_get_start(struct server_transfer *t, bool abreast)
{
  t->group = &t->first_of_group;
  t->abreast = abreast && t->n_chunks > 1;
  if (t->abreast) {
    t->group = calloc(t->n_chunks, sizeof *t->group);
    if (!t->group)
      return KVS_ERR_NOMEM;
  }
  begin_group(t, 0);
  return KVS_OK;
}

static struct get_chunk *current(struct server_transfer *t)
{
  return &t->group[t->send_chunk - t->group_first];
}

/* To the next chunk of the group that has not ended; beyond the last one to the next segment, or the next group. */
static void advance(struct server_transfer *t)
{
  t->send_offset = 0;
  if (t->group_open == 0) {
    begin_group(t, t->group_first + t->group_chunks);
    return;
  }
  do {
    if (++t->send_chunk == t->group_first + t->group_chunks) {
      t->send_chunk = t->group_first;
      t->send_segment++;
    }
  } while (current(t)->ended);
}

static void close_chunk(struct server_transfer *t, struct get_chunk *chunk)
{
  if (chunk->source)
    kvi_server_source_unref(chunk->source);
  t->group_left -= chunk->left;
  *chunk = (struct get_chunk){0};
}

static bool tell_end(struct server_transfer *t, struct kvi_frame_out *out, kvs_status status, uint32_t cause)
{
  Kvasir__V1__ChunkEnd *end = kvi_frame_out_end(out);
  if (!end)
    return false;
  end->id = t->id;
  end->chunk = t->send_chunk;
  end->status = status;
  end->cause = cause;
  close_chunk(t, current(t));
  current(t)->ended = true;
  t->group_open--;
  return true;
}

/* From any thread: left as a message for the poller's. */
static void wait_ended(struct kvi_get_wait *base, kvs_status status, uint32_t cause)
{
  struct get_wait *wait = base->user;
  struct stream *stream = wait->transfer->stream;
  pthread_mutex_lock(&stream->woken_lock);
  wait->status = status;
  wait->cause = cause;
  kvi_list_push_back(&stream->woken_gets, &wait->link);
  /* Under the lock: once the poller can take the message, it may end the transfer, and with the last one the stream. */
  kvi_grpc_waker_wake(&stream->waker);
  pthread_mutex_unlock(&stream->woken_lock);
}

/* The end of a wait, on the poller's thread. */
static void wait_take(struct server_transfer *t)
{
  t->wait.waiting = false;
  t->waited = true;
  t->coming->source = t->wait.wait.source;
  if (t->wait.status != KVS_OK) {
    free(t->coming);
    t->coming = NULL;
  }
}

void kvi_server_get_woken(struct stream *stream)
{
  for (;;) {
    pthread_mutex_lock(&stream->woken_lock);
    kvi_list_node *node = kvi_list_first(&stream->woken_gets);
    if (node)
      kvi_list_remove(&stream->woken_gets, node);
    pthread_mutex_unlock(&stream->woken_lock);
    if (!node)
      return;
    struct server_transfer *t = kvi_list_entry(node, struct get_wait, link)->transfer;
    wait_take(t);
    kvi_server_want_send(t);
  }
}

void kvi_server_get_unwait(struct server_transfer *t)
{
  const struct kvi_service *service = t->stream->poller->server->service;
  if (!t->wait.waiting)
    return;
  if (service->ops->get_unwait(service->self, &t->wait.wait)) {
    t->wait.status = KVS_ERR_CANCELED;
  } else { /* it has ended: the message is there, or was taken */
    pthread_mutex_lock(&t->stream->woken_lock);
    kvi_list_remove(&t->stream->woken_gets, &t->wait.link);
    pthread_mutex_unlock(&t->stream->woken_lock);
  }
  wait_take(t);
  if (t->coming)
    kvi_server_source_unref(t->coming);
  t->coming = NULL;
  t->waited = false;
  kvi_server_want_send(t);
}

/* Chunks that come next may be fetched already, so that a slow tier works on several at a time. */
static void tell_ahead(struct server_transfer *t)
{
  const struct kvi_service *service = t->stream->poller->server->service;
  uint32_t until = t->send_chunk + 1 + service->limits.get_ahead_chunks;
  if (until > t->n_chunks)
    until = t->n_chunks;
  if (t->n_ahead < t->send_chunk + 1)
    t->n_ahead = t->send_chunk + 1;
  while (service->limits.get_ahead_chunks > 0 && t->n_ahead < until &&
         service->ops->get_ahead(service->self, &t->stream->peer, t->space, kvi_server_key(t, t->n_ahead),
                                 t->key_length, t->n_ahead - t->send_chunk))
    t->n_ahead++;
}

/* What get_open says, or what the wait for it came to; the source is t->coming's. */
static kvs_status get_source(struct server_transfer *t, uint32_t *cause)
{
  const struct kvi_service *service = t->stream->poller->server->service;
  if (t->waited) {
    t->waited = false;
    *cause = t->wait.cause;
    return t->wait.status;
  }
  struct source *s = malloc(sizeof *s);
  if (!s)
    return KVS_ERR_NOMEM;
  s->service = service;
  atomic_init(&s->refs, 1);
  memset(&t->wait, 0, sizeof t->wait);
  t->wait.wait.terms = t->terms;
  t->wait.wait.done = wait_ended;
  t->wait.wait.user = &t->wait;
  t->wait.transfer = t;
  t->wait.waiting = true; /* it may end before get_open returns */
  kvs_status status =
      service->ops->get_open(service->self, &t->stream->peer, t->space, kvi_server_key(t, t->send_chunk),
                             t->key_length, &t->wait.wait, &s->source, cause);
  t->wait.waiting = status == KVS_PENDING;
  if (status == KVS_OK || status == KVS_PENDING)
    t->coming = s;
  else
    free(s);
  tell_ahead(t);
  return status;
}

/*
 * The chunk that was opened is a coded one, and longer than the client's room for it, by which it was counted. If the group holds too much with it,
 * those that are not open yet come with the next group: so it is too much by one chunk at most.
 */
static void count_longer(struct server_transfer *t, uint64_t more)
{
  struct kvi_grpc_server *server = t->stream->poller->server;
  uint64_t before = t->group_bytes;
  uint32_t next = t->send_chunk + 1, end = t->group_first + t->group_chunks;
  if (t->group_chunks == 1)
    return; /* one there is always */
  t->group_bytes += more;
  if (t->group_bytes > abreast_most(t, atomic_load(&server->abreast_bytes) - before)) {
    for (uint32_t i = next; i < end; i++)
      t->group_bytes -= t->lengths[i];
    t->group_chunks -= end - next;
    t->group_open -= end - next;
  }
  atomic_fetch_add(&server->abreast_bytes, t->group_bytes - before); /* modulo 2^64 */
}

/*
 * A client that did not ask for a coding would take its bytes for the chunk's. Whether there is room for what a coded chunk decodes to, its reader finds out; but no more is sent than
 * what may decode to so much.
 */
static kvs_status check_source(const struct server_transfer *t, const struct kvi_source *source,
                               uint32_t *cause)
{
  uint32_t coding = kvi_quality_coding(source->table.quality);
  if (coding == KVI_CODING_NONE)
    return source->table.length > t->lengths[t->send_chunk] ? KVS_ERR_BUFFER : KVS_OK;
  if (coding == KVI_CODING_KVC1 && t->terms.codings & 1u << KVI_CODING_KVC1)
    return source->table.length > kvi_coded_longest(t->lengths[t->send_chunk]) ? KVS_ERR_BUFFER : KVS_OK;
  *cause = KVI_MISS_QUALITY;
  return KVS_MISS;
}

/* KVS_OK: the next chunk is open. KVS_PENDING: the transfer waits. Otherwise why the chunk ends. */
static kvs_status open_source(struct server_transfer *t, uint32_t *cause)
{
  if (t->wait.waiting)
    return KVS_PENDING;
  if (!t->waited && t->canceled)
    return KVS_ERR_CANCELED;
  if (!t->waited && kvi_now_ns() >= t->deadline_ns)
    return KVS_ERR_DEADLINE;
  kvs_status status = get_source(t, cause);
  if (status != KVS_OK)
    return status;
  struct source *s = t->coming;
  t->coming = NULL;
  status = check_source(t, &s->source, cause);
  if (status != KVS_OK) {
    kvi_server_source_unref(s);
    return status;
  }
  *current(t) = (struct get_chunk){.source = s,
                                   .cursor = kvi_iov_cursor_make(s->source.iov, s->source.n_iov),
                                   .left = s->source.table.length};
  t->group_left += s->source.table.length;
  if (s->source.table.length > t->lengths[t->send_chunk])
    count_longer(t, s->source.table.length - t->lengths[t->send_chunk]);
  return KVS_OK;
}

static uint32_t add_run(struct get_chunk *chunk, struct kvi_frame_out *out, uint32_t max)
{
  uint32_t added = 0;
  while (added < max && out->n_slices < KVI_FRAME_OUT_SLICES) {
    struct kvi_iov run = kvi_iov_cursor_next(&chunk->cursor, max - added);
    atomic_fetch_add_explicit(&chunk->source->refs, 1, memory_order_relaxed);
    kvi_frame_out_bytes(out, run.base, run.length, kvi_server_source_unref, chunk->source);
    added += (uint32_t)run.length;
  }
  return added;
}

/* Whether nothing is to be opened any more: then what is left of the transfer is known. */
static bool all_open(const struct server_transfer *t)
{
  uint32_t end = t->group_first + t->group_chunks;
  return end == t->n_chunks && (t->send_segment > 0 || t->send_chunk + 1 == end);
}

static void describe_chunk(const struct kvi_chunk_table *table, Kvasir__V1__Piece *piece)
{
  piece->segments = table->n_segments;
  piece->quality = table->quality;
  if (kvi_quality_coding(table->quality) != KVI_CODING_NONE)
    piece->chunk_length = (uint32_t)table->length;
}

static bool add_piece(struct server_transfer *t, struct kvi_segment segment, struct kvi_frame_out *out)
{
  struct get_chunk *chunk = current(t);
  if (t->stream->to_send.length == 1 && all_open(t))
    kvi_frame_out_taper(out, t->group_left);
  size_t room = kvi_frame_out_room(out);
  if (room == 0)
    return false;
  Kvasir__V1__Piece *piece = kvi_frame_out_piece(out);
  uint32_t left = segment.length - t->send_offset;
  piece->id = t->id;
  piece->chunk = t->send_chunk;
  piece->segment = t->send_segment;
  piece->offset = t->send_offset;
  if (t->send_offset == 0) {
    piece->first = true;
    piece->segment_length = segment.length;
    piece->crc32c = segment.crc32c;
    if (t->send_segment == 0)
      describe_chunk(&chunk->source->source.table, piece);
  }
  piece->length = add_run(chunk, out, left < room ? left : (uint32_t)room);
  t->send_offset += piece->length;
  chunk->left -= piece->length;
  t->group_left -= piece->length;
  piece->last = t->send_offset == segment.length;
  return true;
}

/* The rest of the segment whose turn it is. False: the frame is full. */
static bool add_segment(struct server_transfer *t, struct kvi_frame_out *out)
{
  struct kvi_segment segment = kvi_chunk_table_segment(&current(t)->source->source.table, t->send_segment);
  while (t->send_offset < segment.length)
    if (!add_piece(t, segment, out))
      return false;
  return true;
}

bool kvi_server_get_fill(struct server_transfer *t, struct kvi_frame_out *out)
{
  while (!kvi_server_get_over(t)) {
    uint32_t cause = 0;
    kvs_status status = current(t)->source ? KVS_OK : open_source(t, &cause);
    if (status == KVS_PENDING)
      return true; /* nothing to say before it is woken */
    if (status == KVS_OK && t->canceled)
      status = KVS_ERR_CANCELED;
    if (status == KVS_OK && !add_segment(t, out))
      return false;
    bool ended = status != KVS_OK || t->send_segment + 1 == current(t)->source->source.table.n_segments;
    if (ended && !tell_end(t, out, status, cause))
      return false; /* opened again or ended the same way in the next frame */
    advance(t);
  }
  return true;
}

static void close_group(struct server_transfer *t)
{
  for (uint32_t i = 0; i < t->group_chunks; i++)
    if (t->group[i].source)
      close_chunk(t, &t->group[i]);
}

void kvi_server_get_expire(struct server_transfer *t)
{
  kvi_server_get_unwait(t);
  if (kvi_server_get_over(t))
    return;
  close_group(t);
  t->send_offset = 0;
  kvi_server_want_send(t);
}

void kvi_server_get_end_all(struct server_transfer *t)
{
  kvi_server_get_unwait(t);
  if (t->coming)
    kvi_server_source_unref(t->coming);
  close_group(t);
  atomic_fetch_sub(&t->stream->poller->server->abreast_bytes, t->group_bytes);
  if (t->group != &t->first_of_group)
    free(t->group);
}
