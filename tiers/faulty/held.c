/* tiers/faulty/held.c: an operation that something happens to: kept back, ended here, or given to the inner medium as one of our own. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/faulty/faulty_private.h"

/* ---- ends ---- */

static void end_count_locked(struct kvi_faulty *faulty, const struct kvi_faulty_held *held, kvs_status status)
{
  struct kvi_medium_stats *ended = &faulty->ended;

  if (held->op == KVI_FAULTY_WRITE) {
    ended->put_full += status == KVS_ERR_FULL;
    ended->put_errors += status == KVS_ERR_IO;
  } else if (held->op == KVI_FAULTY_READ) {
    ended->get_misses += status == KVS_MISS;
    ended->get_errors += status == KVS_ERR_IO;
    ended->corrupt += status == KVS_ERR_CORRUPT;
  }
  ended->deadlines += status == KVS_ERR_DEADLINE;
}

/* The caller is told. ours: the inner medium did not count it. */
static void held_end(struct kvi_faulty_held *held, kvs_status status, bool ours)
{
  struct kvi_faulty *faulty = held->faulty;
  enum kvi_faulty_op op = held->op;
  struct kvi_medium_put *put = held->asked.put;
  struct kvi_medium_get *get = held->asked.get;
  struct kvi_medium_lookup *lookup = held->asked.lookup;

  pthread_mutex_lock(&faulty->plan.lock);
  faulty->plan.stats.held--;
  if (ours)
    end_count_locked(faulty, held, status);
  pthread_mutex_unlock(&faulty->plan.lock);
  free(held->iov.base);
  free(held);
  if (op == KVI_FAULTY_WRITE)
    put->done(put, status);
  else if (op == KVI_FAULTY_READ)
    get->done(get, status);
  else
    lookup->done(lookup, status);
}

/* ---- on to the inner medium ---- */

static void put_done(struct kvi_medium_put *put, kvs_status status)
{
  struct kvi_faulty_held *held = put->user;

  held->asked.put->handle = put->handle;
  held->asked.put->stored = put->stored;
  held->asked.put->stored_quality = put->stored_quality;
  held->asked.put->unsure = put->unsure;
  held_end(held, status, false);
}

static void put_keep(struct kvi_medium_put *put, struct kvi_medium_hold *hold_p)
{
  struct kvi_medium_put *asked = ((struct kvi_faulty_held *)put->user)->asked.put;

  asked->keep(asked, hold_p);
}

/*
 * The inner medium is called with our lock held, so that a drop comes before it or after it; it is one of those that call nobody back from put, as
 * medium.h demands.
 */
static kvs_status put_start(struct kvi_faulty_held *held)
{
  const struct kvi_medium_put *asked = held->asked.put;
  struct kvi_faulty *faulty = held->faulty;
  struct kvi_medium *inner = faulty->inner;
  kvs_status status = KVS_ERR_NOMEM;
  uint8_t *to;

  held->own.put = *asked;
  held->own.put.done = put_done;
  held->own.put.keep =
      asked->keep && !held->fate.corrupt ? put_keep : NULL; /* changed bytes are in memory of ours */
  held->own.put.user = held;
  if (held->fate.corrupt && asked->length > 0) {
    to = malloc(asked->length);
    if (!to)
      goto done;
    held->iov = (struct kvi_iov){.base = to, .length = asked->length};
    for (uint32_t i = 0; i < asked->n_iov; i++) {
      memcpy(to, asked->iov[i].base, asked->iov[i].length);
      to += asked->iov[i].length;
    }
    kvi_faulty_byte_flip(&held->iov, 1, held->fate.random % asked->length);
    held->own.put.iov = &held->iov;
    held->own.put.n_iov = 1;
  }
  status = KVS_OK;
done:
  pthread_mutex_lock(&faulty->plan.lock);
  if (held->canceled)
    status = KVS_ERR_CANCELED;
  if (status == KVS_OK)
    status = inner->ops->put(inner, &held->own.put);
  if (faulty->starting == held) /* which may be over, and free, by now: only its address is compared */
    faulty->starting = NULL;
  pthread_mutex_unlock(&faulty->plan.lock);
  return status;
}

static void get_keep(struct kvi_medium_get *get, struct kvi_medium_hold *hold_p)
{
  struct kvi_medium_get *asked = ((struct kvi_faulty_held *)get->user)->asked.get;

  asked->keep(asked, hold_p);
}

static kvs_status get_room(struct kvi_medium_get *get, const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct kvi_medium_get *asked = ((struct kvi_faulty_held *)get->user)->asked.get;

  asked->table_bytes = get->table_bytes;
  return asked->room(asked, iov_p, n_iov_p);
}

static kvs_status get_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                           const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct kvi_faulty_held *held = get->user;
  struct kvi_medium_get *asked = held->asked.get;
  kvs_status status;

  asked->place = get->place;
  asked->unchained = get->unchained;
  asked->ttl_ms = get->ttl_ms;
  asked->parent_length = get->parent_length;
  memcpy(asked->parent, get->parent, sizeof(asked->parent));
  status = asked->land(asked, table, iov_p, n_iov_p);
  if (status == KVS_OK && held->fate.corrupt && table->length > 0) {
    held->landed = *iov_p;
    held->n_landed = *n_iov_p;
    held->fate.random %= table->length;
  }
  return status;
}

static void get_done(struct kvi_medium_get *get, kvs_status status)
{
  struct kvi_faulty_held *held = get->user;
  bool ours = false;

  if (status == KVS_OK && held->landed) {
    kvi_faulty_byte_flip(held->landed, held->n_landed, held->fate.random);
    ours = !held->fate.silent;
    if (ours)
      status = KVS_ERR_CORRUPT;
  }
  held_end(held, status, ours);
}

static void lookup_done(struct kvi_medium_lookup *lookup, kvs_status status)
{
  struct kvi_faulty_held *held = lookup->user;

  held->asked.lookup->n_asked = lookup->n_asked;
  held_end(held, status, false);
}

static kvs_status held_start(struct kvi_faulty_held *held)
{
  struct kvi_medium *inner = held->faulty->inner;

  switch (held->op) {
  case KVI_FAULTY_WRITE:
    return put_start(held);
  case KVI_FAULTY_READ:
    held->own.get = *held->asked.get;
    held->own.get.room = held->asked.get->room ? get_room : NULL;
    held->own.get.keep = get_keep;
    held->own.get.land = get_land;
    held->own.get.done = get_done;
    held->own.get.user = held;
    return inner->ops->get(inner, &held->own.get);
  case KVI_FAULTY_LOOKUP:
    held->own.lookup = *held->asked.lookup;
    held->own.lookup.done = lookup_done;
    held->own.lookup.user = held;
    return inner->ops->lookup(inner, &held->own.lookup);
  case KVI_FAULTY_SEAL: /* no operation of a medium */
    break;
  }
  return KVS_ERR_UNSUPPORTED;
}

/* ---- what is kept back ---- */

static void waiting_add_locked(struct kvi_faulty *faulty, struct kvi_faulty_held *held)
{
  kvi_list_node *place = &faulty->waiting.head;

  while (place->prev != &faulty->waiting.head &&
         kvi_list_entry(place->prev, struct kvi_faulty_held, link)->due_ns > held->due_ns)
    place = place->prev;
  kvi_list_insert_before(&faulty->waiting, place, &held->link);
  pthread_cond_signal(&faulty->changed);
}

static bool is_put_of(const struct kvi_faulty_held *held, const struct kvi_medium_identity *identity)
{
  return held->op == KVI_FAULTY_WRITE && kvi_medium_identity_equal(&held->asked.put->identity, identity);
}

void kvi_faulty_puts_cancel(struct kvi_faulty *faulty, const struct kvi_medium_identity *identity)
{
  kvi_list canceled;

  kvi_list_init(&canceled);
  pthread_mutex_lock(&faulty->plan.lock);
  if (faulty->starting && is_put_of(faulty->starting, identity))
    faulty->starting->canceled = true;
  kvi_list_for_each_safe(&faulty->waiting, node)
  {
    struct kvi_faulty_held *held = kvi_list_entry(node, struct kvi_faulty_held, link);

    if (!is_put_of(held, identity))
      continue;
    kvi_list_remove(&faulty->waiting, node);
    held->fate.status = KVS_ERR_CANCELED;
    held->due_ns = 0;
    kvi_list_push_back(&canceled, node);
  }
  kvi_list_splice_back(&canceled, &faulty->waiting);
  kvi_list_splice_back(&faulty->waiting, &canceled);
  pthread_cond_signal(&faulty->changed);
  pthread_mutex_unlock(&faulty->plan.lock);
}

static void held_go(struct kvi_faulty_held *held, bool closed)
{
  kvs_status status = closed ? KVS_ERR_CLOSED : held->fate.status;

  if (status == KVS_OK)
    status = held_start(held);
  if (status != KVS_OK)
    held_end(held, status, true);
}

void kvi_faulty_run(void *arg)
{
  struct kvi_faulty *faulty = arg;
  kvi_list_node *first;

  pthread_mutex_lock(&faulty->plan.lock);
  while ((first = kvi_list_first(&faulty->waiting)) != NULL || !faulty->closed) {
    struct kvi_faulty_held *held = first ? kvi_list_entry(first, struct kvi_faulty_held, link) : NULL;
    bool closed = faulty->closed;

    if (!held || (!closed && held->due_ns > kvi_now_ns())) {
      kvi_deadline until = held ? (kvi_deadline){held->due_ns} : kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS);

      (void)kvi_cond_wait(&faulty->changed, &faulty->plan.lock, until);
      continue;
    }
    kvi_list_remove(&faulty->waiting, &held->link);
    if (held->op == KVI_FAULTY_WRITE && !closed && held->fate.status == KVS_OK)
      faulty->starting = held;
    pthread_mutex_unlock(&faulty->plan.lock);
    held_go(held, closed);
    pthread_mutex_lock(&faulty->plan.lock);
  }
  pthread_mutex_unlock(&faulty->plan.lock);
}

kvs_status kvi_faulty_hold(struct kvi_faulty *faulty, struct kvi_faulty_held *held,
                           const struct kvi_faulty_fate *fate, uint64_t deadline_ns)
{
  bool waits = fate->delay_ms > 0 || fate->status != KVS_OK;
  kvs_status status = KVS_OK;

  held->faulty = faulty;
  held->fate = *fate;
  held->due_ns = kvi_now_ns() + fate->delay_ms * KVI_NS_PER_MS;
  if (held->due_ns > deadline_ns && fate->delay_ms > 0) {
    held->due_ns = deadline_ns;
    held->fate.status = KVS_ERR_DEADLINE;
  }
  pthread_mutex_lock(&faulty->plan.lock);
  if (faulty->closed)
    status = KVS_ERR_CLOSED;
  else if (faulty->plan.stats.held >= KVI_FAULTY_HELD_MAX)
    status = KVS_ERR_BUSY;
  faulty->ended.busy += status == KVS_ERR_BUSY;
  faulty->plan.stats.held += status == KVS_OK;
  if (status == KVS_OK && waits)
    waiting_add_locked(faulty, held);
  pthread_mutex_unlock(&faulty->plan.lock);
  if (status == KVS_OK && waits)
    return KVS_OK; /* it is the thread's now */
  if (status == KVS_OK) {
    status = held_start(held);
    if (status == KVS_OK)
      return KVS_OK;
    pthread_mutex_lock(&faulty->plan.lock);
    faulty->plan.stats.held--;
    pthread_mutex_unlock(&faulty->plan.lock);
  }
  free(held->iov.base);
  free(held);
  return status;
}

struct kvi_faulty_held *kvi_faulty_held_make(struct kvi_faulty *faulty, enum kvi_faulty_op op,
                                             const struct kvi_faulty_fate *fate, kvs_status *status_p)
{
  struct kvi_faulty_held *held = NULL;

  if (fate->status == KVS_ERR_BUSY && fate->delay_ms == 0) {
    pthread_mutex_lock(&faulty->plan.lock);
    faulty->ended.busy++;
    pthread_mutex_unlock(&faulty->plan.lock);
    *status_p = KVS_ERR_BUSY;
    return NULL;
  }
  held = calloc(1, sizeof(*held));
  *status_p = KVS_ERR_NOMEM;
  if (held)
    held->op = op;
  return held;
}
