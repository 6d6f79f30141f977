/*
 * tiers/faulty/faulty.c: see faulty.h. An operation that nothing happens to goes to the inner medium as it is. For each other one there is a `held`:
 * it waits for its time in a list, by the thread it ends or goes on to the inner medium as an operation of our own, whose end ends the caller's.
 */
#include "tiers/faulty/faulty.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/list.h"
#include "base/log.h"
#include "base/thread.h"

struct faulty {
  struct kvi_medium medium; /* first */
  struct kvi_medium *inner;
  const char *name; /* the inner one's */
  kvi_thread thread;

  pthread_mutex_t lock; /* only the inner medium's queues come after it; guards what follows */
  pthread_cond_t changed;
  kvi_list waiting;      /* of struct held, the next one first */
  struct held *starting; /* a put that has left the list and is not in the inner medium yet; NULL: none */
  struct kvi_faulty_rules rules;
  struct kvi_faulty_stats stats;
  struct kvi_medium_stats ended; /* operations that ended here, as the inner medium would count them */
  bool closed;
};

struct held {
  kvi_list_node link;
  struct faulty *faulty;
  enum kvi_faulty_op op;
  struct kvi_faulty_fate fate;
  uint64_t due_ns;
  union {
    struct kvi_medium_put *put;
    struct kvi_medium_get *get;
    struct kvi_medium_lookup *lookup;
  } asked;
  union {
    struct kvi_medium_put put;
    struct kvi_medium_get get;
    struct kvi_medium_lookup lookup;
  } own;              /* what the inner medium is given */
  bool canceled;      /* a put whose chunk was dropped for good meanwhile; guarded by the lock */
  struct kvi_iov iov; /* a put's changed payload */
  const struct kvi_iov *landed;
  uint32_t n_landed;
};

static struct faulty *of(struct kvi_medium *medium)
{
  return (struct faulty *)medium;
}

/* ---- ends ---- */

static void end_count_locked(struct faulty *faulty, const struct held *held, kvs_status status)
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
static void held_end(struct held *held, kvs_status status, bool ours)
{
  struct faulty *faulty = held->faulty;
  enum kvi_faulty_op op = held->op;
  struct kvi_medium_put *put = held->asked.put;
  struct kvi_medium_get *get = held->asked.get;
  struct kvi_medium_lookup *lookup = held->asked.lookup;

  pthread_mutex_lock(&faulty->lock);
  faulty->stats.held--;
  if (ours)
    end_count_locked(faulty, held, status);
  pthread_mutex_unlock(&faulty->lock);
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

void kvi_faulty_byte_flip(const struct kvi_iov *iov, uint32_t n_iov, uint64_t at)
{
  for (uint32_t i = 0; i < n_iov; i++) {
    if (at < iov[i].length) {
      ((uint8_t *)iov[i].base)[at] ^= 0x10;
      return;
    }
    at -= iov[i].length;
  }
}

static void put_done(struct kvi_medium_put *put, kvs_status status)
{
  struct held *held = put->user;

  held->asked.put->handle = put->handle;
  held_end(held, status, false);
}

/*
 * The inner medium is called with our lock held, so that a drop comes before it or after it; it is one of those that call nobody back from put, as
 * medium.h demands.
 */
static kvs_status put_start(struct held *held)
{
  const struct kvi_medium_put *asked = held->asked.put;
  struct faulty *faulty = held->faulty;
  struct kvi_medium *inner = faulty->inner;
  kvs_status status = KVS_ERR_NOMEM;
  uint8_t *to;

  held->own.put = *asked;
  held->own.put.done = put_done;
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
  pthread_mutex_lock(&faulty->lock);
  if (held->canceled)
    status = KVS_ERR_CANCELED;
  if (status == KVS_OK)
    status = inner->ops->put(inner, &held->own.put);
  if (faulty->starting == held) /* which may be over, and free, by now: only its address is compared */
    faulty->starting = NULL;
  pthread_mutex_unlock(&faulty->lock);
  return status;
}

static kvs_status get_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                           const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct held *held = get->user;
  struct kvi_medium_get *asked = held->asked.get;
  kvs_status status;

  asked->place = get->place;
  asked->unchained = get->unchained;
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
  struct held *held = get->user;
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
  struct held *held = lookup->user;

  held->asked.lookup->n_asked = lookup->n_asked;
  held_end(held, status, false);
}

static kvs_status held_start(struct held *held)
{
  struct kvi_medium *inner = held->faulty->inner;

  switch (held->op) {
  case KVI_FAULTY_WRITE:
    return put_start(held);
  case KVI_FAULTY_READ:
    held->own.get = *held->asked.get;
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

static void waiting_add_locked(struct faulty *faulty, struct held *held)
{
  kvi_list_node *place = &faulty->waiting.head;

  while (place->prev != &faulty->waiting.head &&
         kvi_list_entry(place->prev, struct held, link)->due_ns > held->due_ns)
    place = place->prev;
  kvi_list_insert_before(&faulty->waiting, place, &held->link);
  pthread_cond_signal(&faulty->changed);
}

static bool is_put_of(const struct held *held, const struct kvi_medium_identity *identity)
{
  const struct kvi_medium_identity *own = &held->asked.put->identity;

  uint8_t digest[KVI_SHA256_BYTES];
  const uint8_t *key = own->key;
  uint32_t length = own->key_length;

  if (held->op != KVI_FAULTY_WRITE || length != identity->key_length)
    return false;
  if (identity->folded) {
    kvi_sha256(own->key, length, digest);
    key = digest;
    length = sizeof(digest);
  }
  return memcmp(key, identity->key, length) == 0 &&
         memcmp(own->space, identity->space, KVS_DIGEST_SIZE) == 0 &&
         strcmp(own->tenant, identity->tenant) == 0;
}

/* What is kept back of this chunk will not be written. */
static void puts_cancel(struct faulty *faulty, const struct kvi_medium_identity *identity)
{
  kvi_list canceled;

  kvi_list_init(&canceled);
  pthread_mutex_lock(&faulty->lock);
  if (faulty->starting && is_put_of(faulty->starting, identity))
    faulty->starting->canceled = true;
  kvi_list_for_each_safe(&faulty->waiting, node)
  {
    struct held *held = kvi_list_entry(node, struct held, link);

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
  pthread_mutex_unlock(&faulty->lock);
}

static void held_go(struct held *held, bool closed)
{
  kvs_status status = closed ? KVS_ERR_CLOSED : held->fate.status;

  if (status == KVS_OK)
    status = held_start(held);
  if (status != KVS_OK)
    held_end(held, status, true);
}

static void run(void *arg)
{
  struct faulty *faulty = arg;
  kvi_list_node *first;

  pthread_mutex_lock(&faulty->lock);
  while ((first = kvi_list_first(&faulty->waiting)) != NULL || !faulty->closed) {
    struct held *held = first ? kvi_list_entry(first, struct held, link) : NULL;
    bool closed = faulty->closed;

    if (!held || (!closed && held->due_ns > kvi_now_ns())) {
      kvi_deadline until = held ? (kvi_deadline){held->due_ns} : kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS);

      (void)kvi_cond_wait(&faulty->changed, &faulty->lock, until);
      continue;
    }
    kvi_list_remove(&faulty->waiting, &held->link);
    if (held->op == KVI_FAULTY_WRITE && !closed && held->fate.status == KVS_OK)
      faulty->starting = held;
    pthread_mutex_unlock(&faulty->lock);
    held_go(held, closed);
    pthread_mutex_lock(&faulty->lock);
  }
  pthread_mutex_unlock(&faulty->lock);
}

/* ---- the ops ---- */

/* False: nothing happens to this one. */
static bool decide(struct faulty *faulty, enum kvi_faulty_op op, struct kvi_faulty_fate *fate_p)
{
  bool any;

  pthread_mutex_lock(&faulty->lock);
  any = kvi_faulty_rules_decide(&faulty->rules, op, fate_p);
  faulty->stats.done[KVI_FAULTY_DELAY] += fate_p->delay_ms > 0;
  faulty->stats.done[KVI_FAULTY_ERROR] += fate_p->status != KVS_OK;
  faulty->stats.done[KVI_FAULTY_CORRUPT] += fate_p->corrupt;
  pthread_mutex_unlock(&faulty->lock);
  return any;
}

/* Takes a held that has `op` and `asked`, also when it fails. */
static kvs_status hold(struct faulty *faulty, struct held *held, const struct kvi_faulty_fate *fate,
                       uint64_t deadline_ns)
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
  pthread_mutex_lock(&faulty->lock);
  if (faulty->closed)
    status = KVS_ERR_CLOSED;
  else if (faulty->stats.held >= KVI_FAULTY_HELD_MAX)
    status = KVS_ERR_BUSY;
  faulty->ended.busy += status == KVS_ERR_BUSY;
  faulty->stats.held += status == KVS_OK;
  if (status == KVS_OK && waits)
    waiting_add_locked(faulty, held);
  pthread_mutex_unlock(&faulty->lock);
  if (status == KVS_OK && waits)
    return KVS_OK; /* it is the thread's now */
  if (status == KVS_OK) {
    status = held_start(held);
    if (status == KVS_OK)
      return KVS_OK;
    pthread_mutex_lock(&faulty->lock);
    faulty->stats.held--;
    pthread_mutex_unlock(&faulty->lock);
  }
  free(held->iov.base);
  free(held);
  return status;
}

/* NULL with a status: it is refused. */
static struct held *held_make(struct faulty *faulty, enum kvi_faulty_op op,
                              const struct kvi_faulty_fate *fate, kvs_status *status_p)
{
  struct held *held = NULL;

  if (fate->status == KVS_ERR_BUSY && fate->delay_ms == 0) {
    pthread_mutex_lock(&faulty->lock);
    faulty->ended.busy++;
    pthread_mutex_unlock(&faulty->lock);
    *status_p = KVS_ERR_BUSY;
    return NULL;
  }
  held = calloc(1, sizeof(*held));
  *status_p = KVS_ERR_NOMEM;
  if (held)
    held->op = op;
  return held;
}

static kvs_status faulty_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  struct faulty *faulty = of(medium);
  struct kvi_faulty_fate fate;
  struct held *held;
  kvs_status status;

  if (!decide(faulty, KVI_FAULTY_WRITE, &fate))
    return faulty->inner->ops->put(faulty->inner, put);
  put->handle = 0;
  held = held_make(faulty, KVI_FAULTY_WRITE, &fate, &status);
  if (!held)
    return status;
  held->asked.put = put;
  return hold(faulty, held, &fate, put->deadline_ns);
}

static kvs_status faulty_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  struct faulty *faulty = of(medium);
  struct kvi_faulty_fate fate;
  struct held *held;
  kvs_status status;

  if (!decide(faulty, KVI_FAULTY_READ, &fate))
    return faulty->inner->ops->get(faulty->inner, get);
  held = held_make(faulty, KVI_FAULTY_READ, &fate, &status);
  if (!held)
    return status;
  held->asked.get = get;
  return hold(faulty, held, &fate, get->deadline_ns);
}

static kvs_status faulty_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  struct faulty *faulty = of(medium);
  struct kvi_faulty_fate fate;
  struct held *held;
  kvs_status status;

  if (!decide(faulty, KVI_FAULTY_LOOKUP, &fate))
    return faulty->inner->ops->lookup(faulty->inner, lookup);
  held = held_make(faulty, KVI_FAULTY_LOOKUP, &fate, &status);
  if (!held)
    return status;
  held->asked.lookup = lookup;
  return hold(faulty, held, &fate, lookup->deadline_ns);
}

static void faulty_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  const struct faulty *faulty = (const struct faulty *)medium;

  faulty->inner->ops->attr(faulty->inner, attr_p);
}

static void faulty_medium_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  struct faulty *faulty = of(medium);
  const struct kvi_medium_stats *ended = &faulty->ended;

  faulty->inner->ops->stats(faulty->inner, stats_p);
  pthread_mutex_lock(&faulty->lock);
  stats_p->put_full += ended->put_full;
  stats_p->put_errors += ended->put_errors;
  stats_p->get_misses += ended->get_misses;
  stats_p->get_errors += ended->get_errors;
  stats_p->corrupt += ended->corrupt;
  stats_p->deadlines += ended->deadlines;
  stats_p->busy += ended->busy;
  stats_p->queued += faulty->waiting.length;
  pthread_mutex_unlock(&faulty->lock);
}

static kvs_status faulty_recover(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                                 kvi_medium_found_fn *found)
{
  struct faulty *faulty = of(medium);

  return faulty->inner->ops->recover(faulty->inner, owner, found);
}

static kvs_status faulty_remove(struct kvi_medium *medium, struct kvi_medium_remove *remove)
{
  struct faulty *faulty = of(medium);

  puts_cancel(faulty, &remove->identity);
  return faulty->inner->ops->remove(faulty->inner, remove);
}

static void faulty_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                        kvi_medium_handle handle, bool for_good)
{
  struct faulty *faulty = of(medium);

  if (for_good && identity)
    puts_cancel(faulty, identity);
  faulty->inner->ops->drop(faulty->inner, identity, handle, for_good);
}

static uint32_t faulty_drops_waiting(struct kvi_medium *medium)
{
  struct faulty *faulty = of(medium);

  return faulty->inner->ops->drops_waiting(faulty->inner);
}

static kvs_status faulty_settle(struct kvi_medium *medium, struct kvi_medium_settle *settle)
{
  struct faulty *faulty = of(medium);

  return faulty->inner->ops->settle(faulty->inner, settle);
}

static void faulty_free(struct faulty *faulty)
{
  pthread_cond_destroy(&faulty->changed);
  pthread_mutex_destroy(&faulty->lock);
  free(faulty);
}

static void faulty_destroy(struct kvi_medium *medium)
{
  struct faulty *faulty = of(medium);

  if (!medium)
    return;
  pthread_mutex_lock(&faulty->lock);
  faulty->closed = true;
  pthread_cond_signal(&faulty->changed);
  pthread_mutex_unlock(&faulty->lock);
  kvi_thread_join(&faulty->thread);
  faulty->inner->ops->destroy(faulty->inner); /* ends those of ours that are in it */
  faulty_free(faulty);
}

static struct kvi_medium_ops faulty_ops = {.attr = faulty_attr,
                                           .stats = faulty_medium_stats,
                                           .recover = faulty_recover,
                                           .put = faulty_put,
                                           .get = faulty_get,
                                           .lookup = faulty_lookup,
                                           .remove = faulty_remove,
                                           .drop = faulty_drop,
                                           .drops_waiting = faulty_drops_waiting,
                                           .settle = faulty_settle,
                                           .destroy = faulty_destroy};

/* ---- life ---- */

static pthread_once_t completed = PTHREAD_ONCE_INIT;

static void complete(void)
{
  kvi_medium_ops_complete(&faulty_ops);
}

void kvi_faulty_say(const char *tier, const char *rules)
{
  kvi_log_warn("TEST FAULTS: operations of the tier %s are made to fail on purpose: %s", tier,
               rules ? rules : "off for now");
}

kvs_status kvi_faulty_set(struct kvi_medium *medium, const char *text)
{
  struct faulty *faulty = of(medium);
  struct kvi_faulty_rules rules;
  kvs_status status = kvi_faulty_rules_parse(text, &rules, NULL, 0);

  if (status != KVS_OK)
    return status;
  pthread_mutex_lock(&faulty->lock);
  faulty->rules = rules;
  faulty->stats.rules = rules.n;
  faulty->stats.changes++;
  pthread_mutex_unlock(&faulty->lock);
  kvi_faulty_say(faulty->name, rules.n > 0 ? text : NULL);
  return KVS_OK;
}

void kvi_faulty_stats(struct kvi_medium *medium, struct kvi_faulty_stats *stats_p)
{
  struct faulty *faulty = of(medium);

  pthread_mutex_lock(&faulty->lock);
  *stats_p = faulty->stats;
  pthread_mutex_unlock(&faulty->lock);
}

kvs_status kvi_faulty_create(struct kvi_medium *inner, const char *rules, struct kvi_medium **medium_p)
{
  struct faulty *faulty = calloc(1, sizeof(*faulty));
  struct kvi_medium_attr attr;
  kvs_status status = KVS_ERR_NOMEM;

  *medium_p = NULL;
  if (!faulty)
    goto destroy_inner;
  pthread_once(&completed, complete);
  inner->ops->attr(inner, &attr);
  faulty->medium.ops = &faulty_ops;
  faulty->inner = inner;
  faulty->name = attr.name ? attr.name : "without a name";
  kvi_list_init(&faulty->waiting);
  pthread_mutex_init(&faulty->lock, NULL);
  status = kvi_cond_init(&faulty->changed);
  if (status != KVS_OK)
    goto free_faulty;
  status = kvi_faulty_set(&faulty->medium, rules);
  if (status == KVS_OK)
    status = kvi_thread_start(&faulty->thread, "kvi-faulty", run, faulty);
  if (status != KVS_OK)
    goto destroy_cond;
  *medium_p = &faulty->medium;
  return KVS_OK;

destroy_cond:
  pthread_cond_destroy(&faulty->changed);
free_faulty:
  pthread_mutex_destroy(&faulty->lock);
  free(faulty);
destroy_inner:
  inner->ops->destroy(inner);
  return status;
}
