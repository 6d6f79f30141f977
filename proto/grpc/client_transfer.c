/* The life of a transfer: table, references, ends, deadlines. */
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/grpc/client_private.h"
#include "proto/service.h"

/* How long after an early end gRPC may hold slices before the stream, and then the socket, is given up. */
#define LINGER_DEADLINE_MS 20u
#define LINGER_CANCEL_MS   500u
#define SHUTDOWN_MS        100u

void kvi_gw_transfer_ref(struct transfer *t)
{
  atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

static struct transfer *take_slot(struct wire *w)
{
  struct transfer *t = NULL;
  pthread_mutex_lock(&w->slot_lock);
  if (w->n_free > 0) {
    t = &w->slots[w->free_slots[--w->n_free]];
    w->unfinished++;
  }
  pthread_mutex_unlock(&w->slot_lock);
  return t;
}

static void return_slot(struct wire *w, struct transfer *t)
{
  pthread_mutex_lock(&w->slot_lock);
  w->free_slots[w->n_free++] = (uint16_t)(t - w->slots);
  if (--w->unfinished == 0)
    pthread_cond_broadcast(&w->finished);
  pthread_mutex_unlock(&w->slot_lock);
}

static kvs_status overall_status(const struct transfer *t)
{
  if (t->n_ok == t->user->n_chunks)
    return KVS_OK;
  if (t->failure != KVS_OK)
    return t->failure;
  if (t->n_ok > 0)
    return KVS_PARTIAL;
  return t->user->put ? KVS_DECLINED : KVS_MISS;
}

/*
 * Runs on any thread: the last slice's release may be what ends a transfer. It touches the slot lock and the caller's
 * completion queue, never the connection's lock.
 */
void kvi_gw_transfer_unref(void *ctx)
{
  struct transfer *t = ctx;
  if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
    return;
  struct wire *w = t->wire;
  struct kvi_transfer *user = t->user;
  kvs_status status = overall_status(t);
  if (atomic_exchange(&t->linger_until_ns, 0) != 0)
    atomic_fetch_sub(&w->lingering, 1);
  free(t->arrays);
  t->arrays = NULL;
  user->on_done(user, status);

  return_slot(w, t);
}

/* ---- ends: the poller's ---- */

/* From here on nothing holds the transfer but slices into its memory: until when that is borne. */
static void linger(struct transfer *t, uint64_t until_ns)
{
  struct wire *w = t->wire;
  if (atomic_load(&t->refs) == 1)
    return;
  atomic_store(&t->linger_until_ns, until_ns);
  atomic_fetch_add(&w->lingering, 1);
  if (w->linger_at_ns == 0 || until_ns < w->linger_at_ns)
    w->linger_at_ns = until_ns;
}

static void end_protocol(struct transfer *t, bool early, uint64_t linger_until_ns)
{
  struct wire *w = t->wire;
  pthread_mutex_lock(&w->lock);
  kvi_list_remove(&w->live, &t->live_link);
  if (kvi_list_is_linked(&t->send_link))
    kvi_list_remove(&w->to_send, &t->send_link);
  if (early && t->started && w->n_cancels < MAX_TRANSFERS)
    w->cancels[w->n_cancels++] = t->id;
  pthread_mutex_unlock(&w->lock);
  if (t->user->put)
    linger(t, linger_until_ns);
  kvi_gw_transfer_unref(t);
}

static void end_chunk(struct transfer *t, uint32_t chunk, kvs_status status, uint32_t cause)
{
  struct kvi_transfer_chunk *c = &t->user->chunks[chunk];
  c->status = status;
  c->cause = cause;
  if (status == KVS_OK || status == KVS_EXISTS)
    t->n_ok++;
  else if (status < 0 && t->failure == KVS_OK)
    t->failure = status;
  atomic_fetch_or_explicit(&t->ended[chunk / 64], UINT64_C(1) << (chunk % 64), memory_order_relaxed);
  t->n_ended++;
  if (t->user->on_chunk)
    t->user->on_chunk(t->user, chunk);
}

void kvi_gw_end_chunk(struct transfer *t, uint32_t chunk, kvs_status status, uint32_t cause)
{
  if (kvi_gw_chunk_ended(t, chunk))
    return;
  end_chunk(t, chunk, status, cause);
  if (t->n_ended == t->user->n_chunks)
    end_protocol(t, false, t->user->deadline_ns + LINGER_DEADLINE_MS * KVI_NS_PER_MS);
}

void kvi_gw_end_all(struct transfer *t, kvs_status status)
{
  uint32_t cause = KVI_MISS_NONE;
  if (status == KVS_ERR_UNREACHABLE && !t->user->put) {
    status = KVS_MISS; /* a get from a lost node is a miss like any other */
    cause = KVI_MISS_NODE;
  }
  for (uint32_t i = 0; i < t->user->n_chunks; i++)
    if (!kvi_gw_chunk_ended(t, i))
      end_chunk(t, i, status, cause);
  uint64_t now = kvi_now_ns(), until = now + LINGER_CANCEL_MS * KVI_NS_PER_MS;
  uint64_t last =
      (now > t->user->deadline_ns ? now : t->user->deadline_ns) + LINGER_DEADLINE_MS * KVI_NS_PER_MS;
  end_protocol(t, true, until < last ? until : last);
}

struct transfer *kvi_gw_find(struct wire *w, uint64_t id)
{
  struct transfer *t = &w->slots[id & SLOT_MASK];
  pthread_mutex_lock(&w->lock);
  bool live = kvi_list_is_linked(&t->live_link) && t->id == id;
  pthread_mutex_unlock(&w->lock);
  return live ? t : NULL;
}

/* ---- deadlines: the poller's ---- */

static void end_overdue(struct wire *w, uint64_t now)
{
  for (;;) {
    struct transfer *overdue = NULL;
    kvs_status status = KVS_ERR_DEADLINE;
    pthread_mutex_lock(&w->lock);
    kvi_list_for_each(&w->live, node)
    {
      struct transfer *t = kvi_list_entry(node, struct transfer, live_link);
      bool canceled = atomic_load(&t->cancel);
      if (canceled || now >= t->user->deadline_ns) {
        overdue = t;
        status = canceled ? KVS_ERR_CANCELED : KVS_ERR_DEADLINE;
        break;
      }
    }
    pthread_mutex_unlock(&w->lock);
    if (!overdue)
      return;
    kvi_gw_end_all(overdue, status);
  }
}

/* Seldom: only when a put that has ended still has slices out at its deadline, or had when another ended. */
static uint64_t earliest_linger(const struct wire *w)
{
  uint64_t earliest = 0;
  for (uint32_t i = 0; i < MAX_TRANSFERS; i++) {
    uint64_t until = atomic_load(&w->slots[i].linger_until_ns);
    if (until != 0 && (earliest == 0 || until < earliest))
      earliest = until;
  }
  return earliest;
}

static void check_lingering(struct wire *w, uint64_t now)
{
  if (atomic_load(&w->lingering) == 0) {
    w->linger_at_ns = 0;
    return;
  }
  if (w->linger_at_ns == 0 || now < w->linger_at_ns || w->shutdown_at_ns != 0)
    return;
  w->linger_at_ns = earliest_linger(w);
  if (w->linger_at_ns == 0 || now < w->linger_at_ns)
    return;
  kvi_log_warn("node %s does not read: giving up its stream to free memory of puts that ended", w->endpoint);
  w->shutdown_at_ns = now + SHUTDOWN_MS * KVI_NS_PER_MS;
  grpc_call_cancel(w->stream, NULL);
}

void kvi_gw_check_deadlines(struct wire *w, uint64_t now)
{
  end_overdue(w, now);

  pthread_mutex_lock(&w->lock);
  bool send = w->n_cancels > 0 && !w->sending && w->state == READY;
  if (send)
    w->sending = true;
  pthread_mutex_unlock(&w->lock);
  if (send)
    kvi_gw_send(w);

  check_lingering(w, now);
}

/* ---- submit ---- */

static kvs_status check_chunk(const struct wire *w, const struct kvi_transfer *user,
                              const struct kvi_transfer_chunk *c, size_t *n_segments)
{
  if (c->length == 0 || !c->iov || c->n_iov == 0 || kvi_iov_total(c->iov, c->n_iov) != c->length)
    return KVS_ERR_INVALID;
  if (!user->put)
    return KVS_OK;
  if (c->length > w->chunk_bytes_max || c->n_segments > KVI_SEGMENTS_MAX)
    return KVS_ERR_TOO_LARGE;
  uint64_t sum = 0;
  if (kvi_quality_coding(c->quality) > KVI_CODING_KVC1)
    return KVS_ERR_INVALID;
  for (uint32_t i = 0; i < c->n_segments; i++) {
    if (c->segment_lengths[i] == 0)
      return KVS_ERR_INVALID;
    sum += c->segment_lengths[i];
  }
  for (uint32_t i = 0; i < c->n_iov; i++)
    if (!c->iov[i].base)
      return KVS_ERR_INVALID;
  *n_segments += c->n_segments;
  return sum == c->length ? KVS_OK : KVS_ERR_INVALID;
}

/* All that a node would refuse with the whole stream is refused here: other transfers share it. */
static kvs_status check_transfer(const struct wire *w, const struct kvi_transfer *user, size_t *n_segments_p,
                                 size_t *start_bytes_p)
{
  if (user->n_chunks == 0 || !user->chunks || !user->keys || !user->space || !user->on_done)
    return KVS_ERR_INVALID;
  if (user->n_chunks > w->batch_chunks_max || user->n_chunks > KVI_BATCH_CHUNKS_MAX)
    return KVS_ERR_TOO_LARGE;
  if (user->key_length < KVS_KEY_MIN || user->key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  if (user->n_chunks - 1 > UINT32_MAX - user->chain.first_place || user->loss_max > KVI_LOSS_MAX ||
      user->loss_enough > KVI_LOSS_MAX)
    return KVS_ERR_INVALID;
  size_t n_segments = 0;
  for (uint32_t i = 0; i < user->n_chunks; i++) {
    kvs_status status = check_chunk(w, user, &user->chunks[i], &n_segments);
    if (status != KVS_OK)
      return status;
  }
  /* Packed numbers take at most 5 bytes (lengths 10, qualities 3). */
  size_t packed = 256 + (size_t)user->n_chunks * (user->key_length + 18u) + n_segments * 5u;
  *n_segments_p = n_segments;
  *start_bytes_p = packed;
  return packed <= START_BYTES_MAX ? KVS_OK : KVS_ERR_TOO_LARGE;
}

/* For a put of which some chunk has one; nodes of before there were any see what they know. */
static void fill_qualities(struct transfer *t, uint32_t *room)
{
  const struct kvi_transfer *user = t->user;
  t->qualities = NULL;
  for (uint32_t i = 0; user->put && i < user->n_chunks; i++) {
    room[i] = user->chunks[i].quality;
    if (room[i] != 0)
      t->qualities = room;
  }
}

/* What is kept of each chunk beside its slot: one allocation for batches above INLINE_CHUNKS or INLINE_SEGMENTS, and for gets abreast. */
static kvs_status fill_arrays(struct transfer *t, size_t n_segments)
{
  const struct kvi_transfer *user = t->user;
  t->lengths = t->inline_lengths;
  t->segment_counts = t->inline_counts;
  uint32_t *qualities = t->inline_qualities;
  t->segment_lengths = t->inline_segments;
  bool abreast = user->abreast && !user->put && user->n_chunks > 1;
  if (abreast || user->n_chunks > INLINE_CHUNKS || n_segments > INLINE_SEGMENTS) {
    size_t landings = abreast ? user->n_chunks * sizeof *t->abreast : 0;
    size_t size =
        landings + user->n_chunks * (sizeof(uint64_t) + 2 * sizeof(uint32_t)) + n_segments * sizeof(uint32_t);
    t->arrays = malloc(size);
    if (!t->arrays)
      return KVS_ERR_NOMEM;
    if (abreast)
      t->abreast = memset(t->arrays, 0, landings);
    t->lengths = (uint64_t *)(void *)((char *)t->arrays + landings);
    t->segment_counts = (uint32_t *)(t->lengths + user->n_chunks);
    qualities = t->segment_counts + user->n_chunks;
    t->segment_lengths = qualities + user->n_chunks;
  }
  t->n_segment_lengths = n_segments;
  fill_qualities(t, qualities);
  size_t k = 0;
  for (uint32_t i = 0; i < user->n_chunks; i++) {
    const struct kvi_transfer_chunk *c = &user->chunks[i];
    t->lengths[i] =
        c->length < KVI_CHUNK_BYTES_MAX ? c->length : KVI_CHUNK_BYTES_MAX; /* a get may have more room */
    if (!user->put)
      continue;
    t->segment_counts[i] = c->n_segments;
    memcpy(t->segment_lengths + k, c->segment_lengths, c->n_segments * sizeof(uint32_t));
    k += c->n_segments;
  }
  return KVS_OK;
}

static void reset(struct transfer *t, struct wire *w, struct kvi_transfer *user)
{
  memset(t, 0, offsetof(struct transfer, inline_lengths));
  t->wire = w;
  t->user = user;
  atomic_init(&t->refs, 1);
  t->chunk = UINT32_MAX;
}

kvs_status kvi_gw_submit(struct kvi_wire *wire, struct kvi_transfer *user)
{
  struct wire *w = (struct wire *)wire;
  kvs_status status;
  if (!kvi_gw_enter(w, &status))
    return status;
  size_t n_segments = 0, start_bytes = 0;
  status = check_transfer(w, user, &n_segments, &start_bytes);
  if (status != KVS_OK)
    goto leave;
  struct transfer *t = take_slot(w);
  if (!t) {
    status = KVS_ERR_BUSY;
    goto leave;
  }
  reset(t, w, user);
  t->start_bytes = start_bytes;
  status = fill_arrays(t, n_segments);
  if (status != KVS_OK) {
    return_slot(w, t);
    goto leave;
  }

  pthread_mutex_lock(&w->lock);
  t->id = ++w->sequence << 10 | (uint64_t)(t - w->slots);
  kvi_list_push_back(&w->live, &t->live_link);
  kvi_list_push_back(&w->to_send, &t->send_link);
  bool send = !w->sending;
  w->sending = true;
  bool wake = w->idle;
  w->idle = false;
  bool hand_over = w->options.hand_over && (send || wake);
  if (hand_over)
    kvi_gw_hand_over(w, NULL, send, wake);
  pthread_mutex_unlock(&w->lock);
  if (hand_over)
    return KVS_OK;
  if (send)
    kvi_gw_send(w);
  if (wake)
    kvi_grpc_waker_wake(&w->waker);
leave:
  kvi_gw_leave(w);
  return status;
}

/* Found by a walk: cancels are rare, and a transfer that has ended meanwhile is simply not there. */
void kvi_gw_cancel(struct kvi_wire *wire, struct kvi_transfer *user)
{
  struct wire *w = (struct wire *)wire;
  kvs_status status;
  if (!kvi_gw_enter(w, &status))
    return;
  pthread_mutex_lock(&w->lock);
  bool found = false;
  kvi_list_for_each(&w->live, node)
  {
    struct transfer *t = kvi_list_entry(node, struct transfer, live_link);
    if (t->user == user) {
      atomic_store(&t->cancel, true);
      found = true;
      break;
    }
  }
  pthread_mutex_unlock(&w->lock);
  if (found)
    kvi_grpc_waker_wake(&w->waker);
  kvi_gw_leave(w);
}
