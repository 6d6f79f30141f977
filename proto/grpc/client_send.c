/*
 * Making and sending frames. One thread at a time has the sender's role (wire->sending): whoever found it free when it had
 * something to send, then the poller, as each send completes, until there is nothing left.
 */
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "proto/grpc/client_private.h"
#include "proto/service.h"

static bool held(const struct wire *w, const struct transfer *t)
{
  return w->n_held > 0 && w->held[w->n_held - 1] == t;
}

static void add_keys(Kvasir__V1__Keys *keys, const struct kvi_transfer *user)
{
  /* protobuf-c's types have no const; packing only reads. */
  keys->keys.data = (uint8_t *)(uintptr_t)user->keys;
  keys->keys.len = (size_t)user->n_chunks * user->key_length;
  keys->key_length = user->key_length;
  keys->first_place = user->chain.first_place;
  keys->unchained = user->chain.unchained;
  if (user->chain.parent) {
    keys->parent.data = (uint8_t *)(uintptr_t)user->chain.parent;
    keys->parent.len = user->key_length;
  }
  if (user->chain.extent_first) {
    keys->extent_first.data = (uint8_t *)(uintptr_t)user->chain.extent_first;
    keys->extent_first.len = user->key_length;
  }
}

static bool add_start(struct wire *w, struct transfer *t)
{
  if (w->start_bytes + t->start_bytes > START_BYTES_MAX)
    return false;
  Kvasir__V1__TransferStart *start = kvi_frame_out_start(w->out);
  if (!start)
    return false;
  const struct kvi_transfer *user = t->user;
  w->start_bytes += t->start_bytes;
  uint64_t now = kvi_now_ns();
  start->id = t->id;
  start->put = user->put;
  start->space.data = (uint8_t *)(uintptr_t)user->space;
  start->space.len = KVS_DIGEST_SIZE;
  uint64_t left_ms = now < user->deadline_ns ? (user->deadline_ns - now) / KVI_NS_PER_MS : 0;
  start->timeout_ms = left_ms < KVI_TIMEOUT_MS_MAX ? (uint32_t)left_ms : KVI_TIMEOUT_MS_MAX;
  start->lease = user->lease;
  start->abreast = user->abreast && !user->put;
  start->n_lengths = user->n_chunks;
  start->lengths = t->lengths;
  if (user->put) {
    start->ttl_ms = user->ttl_ms;
    start->chain_chunks = user->chain_chunks;
    start->n_segment_counts = user->n_chunks;
    start->segment_counts = t->segment_counts;
    start->n_segment_lengths = t->n_segment_lengths;
    start->segment_lengths = t->segment_lengths;
    start->n_qualities = t->qualities ? user->n_chunks : 0;
    start->qualities = t->qualities;
  } else {
    start->codings = user->on_coded ? 1u << KVI_CODING_KVC1 : 0;
    start->loss_max = user->loss_max;
    start->loss_enough = user->loss_enough;
    start->bytes_enough = user->bytes_enough;
  }
  add_keys(start->keys, user);
  t->start_sent = true;
  return true;
}

/* Adds bytes of the current segment; returns how many. */
static uint32_t add_run(struct wire *w, struct transfer *t, uint32_t max)
{
  uint32_t added = 0;
  while (added < max && w->out->n_slices < KVI_FRAME_OUT_SLICES) {
    struct kvi_iov run = kvi_iov_cursor_next(&t->send_cursor, max - added);
    t->send_crc = kvi_crc32c_update(t->send_crc, run.base, run.length);
    kvi_gw_transfer_ref(t);
    kvi_frame_out_bytes(w->out, run.base, run.length, kvi_gw_transfer_unref, t);
    added += (uint32_t)run.length;
  }
  return added;
}

static void next_chunk(struct transfer *t)
{
  t->send_chunk++;
  t->send_segment = 0;
  t->send_offset = 0;
}

/* One piece of the current segment. False: the frame is full. */
static bool add_piece(struct wire *w, struct transfer *t)
{
  const struct kvi_transfer_chunk *c = &t->user->chunks[t->send_chunk];
  if (t->send_segment == 0 && t->send_offset == 0)
    t->send_cursor = kvi_iov_cursor_make(c->iov, c->n_iov);
  if (t->send_offset == 0)
    t->send_crc = 0;
  uint32_t length = c->segment_lengths[t->send_segment];
  size_t room = kvi_frame_out_room(w->out);
  uint32_t left = length - t->send_offset;
  if (room == 0)
    return false;
  Kvasir__V1__Piece *piece = kvi_frame_out_piece(w->out);
  piece->id = t->id;
  piece->chunk = t->send_chunk;
  piece->segment = t->send_segment;
  piece->offset = t->send_offset;
  piece->first = t->send_offset == 0;
  piece->length = add_run(w, t, left < room ? left : (uint32_t)room);
  t->send_offset += piece->length;
  if (t->send_offset == length) {
    piece->last = true;
    piece->crc32c = t->send_crc;
    t->send_offset = 0;
    if (++t->send_segment == c->n_segments)
      next_chunk(t);
  }
  return true;
}

/* True when all of the transfer has been sent. */
static bool add_transfer(struct wire *w, struct transfer *t)
{
  if (!t->start_sent && !add_start(w, t))
    return false;
  if (!t->user->put)
    return true;
  while (t->send_chunk < t->user->n_chunks) {
    if (kvi_gw_chunk_ended(t, t->send_chunk))
      next_chunk(t);
    else if (!add_piece(w, t))
      return false;
  }
  return true;
}

/* The next transfer with something to send, held for the frame; NULL when there is none or the frame is full. */
static struct transfer *next_to_send(struct wire *w, struct transfer *done)
{
  struct transfer *t = NULL;
  pthread_mutex_lock(&w->lock);
  if (done && kvi_list_is_linked(&done->send_link))
    kvi_list_remove(&w->to_send, &done->send_link);
  kvi_list_node *node = kvi_list_first(&w->to_send);
  if (node && w->n_held < MAX_STARTS_HELD) {
    t = kvi_list_entry(node, struct transfer, send_link);
    t->started = true;
    if (!held(w, t)) {
      kvi_gw_transfer_ref(t);
      w->held[w->n_held++] = t;
    }
  }
  pthread_mutex_unlock(&w->lock);
  return t;
}

static void add_cancels(struct wire *w)
{
  pthread_mutex_lock(&w->lock);
  uint32_t n = 0;
  while (n < w->n_cancels && kvi_frame_out_cancel(w->out, w->cancels[n]))
    n++;
  w->n_cancels -= n;
  memmove(w->cancels, w->cancels + n, w->n_cancels * sizeof *w->cancels);
  pthread_mutex_unlock(&w->lock);
}

static void fill_frame(struct wire *w)
{
  kvi_frame_out_begin(w->out);
  w->start_bytes = 0;
  add_cancels(w);
  struct transfer *done = NULL, *t;
  while ((t = next_to_send(w, done)) != NULL) {
    if (!add_transfer(w, t))
      break;
    done = t;
  }
}

static bool give_role_back(struct wire *w)
{
  pthread_mutex_lock(&w->lock);
  bool idle = kvi_list_is_empty(&w->to_send) && w->n_cancels == 0;
  if (idle)
    w->sending = false;
  pthread_mutex_unlock(&w->lock);
  return idle;
}

static void release_held(struct wire *w)
{
  while (w->n_held > 0)
    kvi_gw_transfer_unref(w->held[--w->n_held]);
}

void kvi_gw_send(struct wire *w)
{
  do {
    fill_frame(w);
    if (kvi_frame_out_is_empty(w->out)) {
      release_held(w);
      continue;
    }
    w->sent = kvi_frame_out_finish(w->out);
    release_held(w);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = w->sent};
    atomic_fetch_add(&w->outstanding, 1);
    kvi_grpc_start_batch(w->stream, &op, 1, &w->tag_sent);
    return; /* the role goes on to on_sent */
  } while (!give_role_back(w));
}

void kvi_gw_on_sent(void *ctx, bool ok)
{
  struct wire *w = ctx;
  atomic_fetch_sub(&w->outstanding, 1);
  grpc_byte_buffer_destroy(w->sent);
  w->sent = NULL;
  if (ok && !w->stream_over)
    kvi_gw_send(w);
  else
    w->broken = true; /* the role is not given back: nothing more is sent on this stream */
}
