/*
 * memory_medium.h: a medium (tiers/medium.h) in plain memory, of either kind, for tests of what stands on media: it counts what it is asked, can be
 * held still with everything under way, fails on demand, and lets go of chunks and moves them as one that needs room would.
 */
#ifndef KVASIR_TESTS_UNIT_TIERS_MEMORY_MEDIUM_H
#define KVASIR_TESTS_UNIT_TIERS_MEMORY_MEDIUM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "proto/coded.h"
#include "tiers/medium.h"

#define MEMORY_OPS   1024u
#define MEMORY_ITEMS 4096u

struct memory_name {
  char tenant[KVI_MEDIUM_TENANT_MAX];
  uint8_t space[KVS_DIGEST_SIZE], key[KVI_MEDIUM_KEY_MAX];
  uint32_t key_length;
};

struct memory_item {
  struct memory_name name;
  uint8_t *bytes; /* table and payload; NULL: free */
  size_t size, payload_at;
  uint32_t place;
  uint64_t ttl_ms;
};

enum memory_verb { MEMORY_PUT, MEMORY_GET, MEMORY_LOOKUP, MEMORY_REMOVE, MEMORY_LET_GO, MEMORY_MOVE };

struct memory_op {
  enum memory_verb verb;
  void *asked;
};

struct memory_medium {
  struct kvi_medium medium; /* first */
  bool shared;
  uint64_t ttl_ms; /* that it says; it forgets nothing */
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  pthread_t thread;
  struct kvi_medium_owner owner;
  bool hold, closing, running;
  bool cuts;             /* what is moved loses a plane, if it may */
  uint32_t ends;         /* so many operations end all the same while it is held */
  uint32_t follows;      /* so many gets more find that their chunk has just been moved */
  kvs_status get_status; /* of gets from now on, when it is not KVS_OK */
  kvs_status put_status; /* the same of puts */
  struct memory_op ops[MEMORY_OPS];
  uint32_t first, n_ops;
  struct memory_item items[MEMORY_ITEMS]; /* handle: index + 1 */
  uint32_t puts, gets, removes;
  uint32_t hurried; /* puts that were in a hurry */
};

static inline struct memory_medium *memory_of(struct kvi_medium *medium)
{
  return (struct memory_medium *)medium;
}

static inline void memory_name_fill(struct memory_name *name, const struct kvi_medium_identity *identity)
{
  memset(name, 0, sizeof(*name));
  memcpy(name->tenant, identity->tenant, strlen(identity->tenant));
  memcpy(name->space, identity->space, KVS_DIGEST_SIZE);
  memcpy(name->key, identity->key, identity->key_length);
  name->key_length = identity->key_length;
}

static inline struct memory_item *memory_find_locked(struct memory_medium *own,
                                                     const struct kvi_medium_identity *identity)
{
  struct memory_name name;

  memory_name_fill(&name, identity);
  for (uint32_t i = 0; i < MEMORY_ITEMS; i++)
    if (own->items[i].bytes && memcmp(&own->items[i].name, &name, sizeof(name)) == 0)
      return &own->items[i];
  return NULL;
}

static inline void memory_item_free(struct memory_item *item)
{
  free(item->bytes);
  item->bytes = NULL;
}

static inline kvs_status memory_put_now(struct memory_medium *own, struct kvi_medium_put *put)
{
  size_t table = kvi_chunk_table_size(put->table.n_segments);
  struct kvi_segment *segments = calloc(put->table.n_segments, sizeof(*segments));
  uint8_t *bytes = malloc(table + put->length);
  struct memory_item *item;
  kvs_status status;

  for (uint32_t i = 0; i < put->table.n_segments; i++)
    segments[i] = kvi_chunk_table_segment(&put->table, i);
  kvi_chunk_table_write(bytes, segments, put->table.n_segments, put->table.quality);
  free(segments);
  status = kvi_medium_gather(put, bytes + table);
  pthread_mutex_lock(&own->mutex);
  own->puts++;
  own->hurried += put->hurry;
  if (status == KVS_OK)
    status = own->put_status;
  item = own->shared ? memory_find_locked(own, &put->identity) : NULL; /* with handles each copy is its own */
  for (uint32_t i = 0; !item && i < MEMORY_ITEMS; i++)
    item = own->items[i].bytes ? NULL : &own->items[i];
  if (status == KVS_OK && !item)
    status = KVS_ERR_FULL;
  if (status == KVS_OK) {
    memory_item_free(item);
    memory_name_fill(&item->name, &put->identity);
    item->bytes = bytes;
    item->size = table + put->length;
    item->payload_at = table;
    item->place = put->identity.place;
    item->ttl_ms = put->ttl_ms;
    put->handle = own->shared ? 0 : (kvi_medium_handle)(item - own->items) + 1;
  } else {
    free(bytes);
  }
  pthread_mutex_unlock(&own->mutex);
  return status;
}

static inline struct kvi_medium_identity memory_identity(const struct memory_name *name)
{
  return (struct kvi_medium_identity){
      .tenant = name->tenant, .space = name->space, .key = name->key, .key_length = name->key_length};
}

static inline kvs_status memory_get_now(struct memory_medium *own, struct kvi_medium_get *get)
{
  struct memory_item *item;
  uint8_t *bytes = NULL;
  size_t size = 0, payload_at = 0;
  struct memory_name name = {0};
  kvs_status status;

  pthread_mutex_lock(&own->mutex);
  own->gets++;
  status = own->get_status;
  item = get->known ? NULL : memory_find_locked(own, &get->identity);
  if (get->known) { /* by its place alone */
    item = &own->items[(get->handle - 1) % MEMORY_ITEMS];
    name = item->name;
    item = item->bytes ? item : NULL;
  } else if (!own->shared) { /* it may have another place by now */
    struct memory_item *at = &own->items[(get->handle - 1) % MEMORY_ITEMS];

    item = item && at->bytes && memcmp(&at->name, &item->name, sizeof(at->name)) == 0 ? at : NULL;
  }
  if (status == KVS_OK && item) { /* a copy: it may be dropped meanwhile */
    size = item->size;
    payload_at = item->payload_at;
    bytes = malloc(size);
    memcpy(bytes, item->bytes, size);
    get->place = item->place;
    get->unchained = true;
    get->ttl_ms = item->ttl_ms > 0 ? item->ttl_ms : own->ttl_ms;
    get->parent_length = 0;
  }
  pthread_mutex_unlock(&own->mutex);
  if (status == KVS_OK && bytes && get->known) {
    struct kvi_medium_identity identity = memory_identity(&name);

    status = get->known(get, &identity);
  }
  if (status == KVS_OK)
    status = bytes ? kvi_medium_deliver(get, bytes, size, payload_at) : KVS_MISS;
  free(bytes);
  return status;
}

static inline void memory_lookup_now(struct memory_medium *own, struct kvi_medium_lookup *lookup)
{
  for (uint32_t i = 0; i < lookup->n_keys; i++) {
    struct kvi_medium_identity identity = {.tenant = lookup->tenant,
                                           .space = lookup->space,
                                           .key = lookup->keys + (size_t)i * lookup->key_length,
                                           .key_length = lookup->key_length};

    const struct memory_item *item;
    uint16_t quality = 0;

    pthread_mutex_lock(&own->mutex);
    item = memory_find_locked(own, &identity);
    if (item && kvi_chunk_table_quality(item->bytes, &quality) == KVS_OK &&
        kvi_quality_loss(quality) <= lookup->loss_max)
      lookup->present[i / 8] |= (uint8_t)(1u << i % 8);
    pthread_mutex_unlock(&own->mutex);
  }
}

static inline kvs_status memory_remove_now(struct memory_medium *own, struct kvi_medium_remove *remove)
{
  struct memory_item *item;

  pthread_mutex_lock(&own->mutex);
  own->removes++;
  item = memory_find_locked(own, &remove->identity);
  if (item)
    memory_item_free(item);
  pthread_mutex_unlock(&own->mutex);
  return item ? KVS_OK : KVS_MISS;
}

/* The store lets go of about so many bytes. */
static inline void memory_let_go_now(struct memory_medium *own, uint64_t bytes)
{
  (void)own->owner.make_room(own->owner.ctx, bytes);
}

/* Takes a plane off it, if it is coded and may lose one, and the store says yes. */
static inline void memory_cut(struct memory_medium *own, struct memory_item *item, kvi_medium_handle handle)
{
  struct kvi_medium_identity identity = memory_identity(&item->name);
  struct kvi_segment *segments;
  struct kvi_chunk_table table;
  struct kvi_coded_rest rest;
  struct kvi_coded coded;
  uint8_t *payload, *bytes;
  bool cut;

  assert_int_equal(kvi_chunk_table_read(item->bytes, item->payload_at, &table), KVS_OK);
  payload = malloc(table.length); /* aligned */
  memcpy(payload, item->bytes + item->payload_at, table.length);
  cut = kvi_quality_coding(table.quality) == KVI_CODING_KVC1 &&
        kvi_coded_open(payload, table.length, table.length, &coded) == KVS_OK &&
        kvi_coded_cut(&coded, payload, table.quality, kvi_quality_loss_max(table.quality), &rest) &&
        kvi_quality_loss(rest.quality) > kvi_quality_loss(table.quality) &&
        own->owner.may_lose(own->owner.ctx, &identity, handle, kvi_quality_loss(rest.quality));
  if (cut) {
    segments = calloc(rest.n_segments, sizeof(*segments));
    for (uint32_t i = 0; i < rest.n_segments; i++)
      segments[i] = kvi_chunk_table_segment(&table, i);
    item->payload_at = kvi_chunk_table_size(rest.n_segments);
    item->size = item->payload_at + rest.length;
    bytes = malloc(item->size);
    kvi_chunk_table_write(bytes, segments, rest.n_segments, rest.quality);
    memcpy(bytes + item->payload_at, payload, rest.length);
    free(segments);
    free(item->bytes);
    item->bytes = bytes;
  }
  free(payload);
}

/* A copy of what is in the first taken place from *from_p on, and a free place. False: there are none. */
static inline bool memory_copy(struct memory_medium *own, uint32_t *from_p, uint32_t *to_p,
                               struct memory_item *copy_p)
{
  uint32_t from = *from_p, to = 0;
  bool both;

  pthread_mutex_lock(&own->mutex);
  while (from < MEMORY_ITEMS && !own->items[from].bytes)
    from++;
  while (to < MEMORY_ITEMS && own->items[to].bytes)
    to++;
  both = from < MEMORY_ITEMS && to < MEMORY_ITEMS;
  if (both) {
    *copy_p = own->items[from];
    copy_p->bytes = malloc(copy_p->size);
    memcpy(copy_p->bytes, own->items[from].bytes, copy_p->size);
  }
  pthread_mutex_unlock(&own->mutex);
  *from_p = from;
  *to_p = to;
  return both;
}

/* The chunk in the first taken place from this one on comes to a free place, as when a log file is freed. */
static inline void memory_move_now(struct memory_medium *own, uint32_t from)
{
  struct kvi_chunk_table table;
  struct kvi_medium_found found;
  struct memory_item copy;
  struct memory_name name;
  uint32_t to;

  if (!memory_copy(own, &from, &to, &copy))
    return;
  /* places are given away on this thread alone: meanwhile both can only become free */
  if (own->cuts)
    memory_cut(own, &copy, (kvi_medium_handle)from + 1);
  name = copy.name;
  assert_int_equal(kvi_chunk_table_read(copy.bytes, copy.payload_at, &table), KVS_OK);
  found = (struct kvi_medium_found){.identity = memory_identity(&name),
                                    .handle = (kvi_medium_handle)to + 1,
                                    .length = table.length,
                                    .loss = kvi_quality_loss(table.quality)};
  pthread_mutex_lock(&own->mutex);
  own->items[to] = copy;
  pthread_mutex_unlock(&own->mutex);
  if (!own->owner.moved(own->owner.ctx, (kvi_medium_handle)from + 1, &found))
    from = to;
  pthread_mutex_lock(&own->mutex);
  memory_item_free(&own->items[from]);
  pthread_mutex_unlock(&own->mutex);
}

static inline bool memory_follow_take(struct memory_medium *own)
{
  bool move;

  pthread_mutex_lock(&own->mutex);
  move = own->follows > 0;
  own->follows -= move;
  pthread_mutex_unlock(&own->mutex);
  return move;
}

static inline void memory_op_run(struct memory_medium *own, const struct memory_op *op, bool closing)
{
  if (op->verb == MEMORY_PUT) {
    struct kvi_medium_put *put = op->asked;
    put->done(put, closing ? KVS_ERR_CLOSED : memory_put_now(own, put));
  } else if (op->verb == MEMORY_GET) {
    struct kvi_medium_get *get = op->asked;
    if (!closing && memory_follow_take(own))
      memory_move_now(own, (uint32_t)get->handle - 1);
    get->done(get, closing ? KVS_ERR_CLOSED : memory_get_now(own, get));
  } else if (op->verb == MEMORY_LOOKUP) {
    struct kvi_medium_lookup *lookup = op->asked;
    if (!closing)
      memory_lookup_now(own, lookup);
    lookup->done(lookup, closing ? KVS_ERR_CLOSED : KVS_OK);
  } else if (op->verb == MEMORY_LET_GO || op->verb == MEMORY_MOVE) {
    uintptr_t number = (uintptr_t)op->asked;
    if (!closing && op->verb == MEMORY_LET_GO)
      memory_let_go_now(own, number);
    else if (!closing)
      memory_move_now(own, (uint32_t)number);
  } else {
    struct kvi_medium_remove *remove = op->asked;
    remove->done(remove, closing ? KVS_ERR_CLOSED : memory_remove_now(own, remove));
  }
}

static inline void *memory_run(void *ctx)
{
  struct memory_medium *own = ctx;

  pthread_mutex_lock(&own->mutex);
  for (;;) {
    struct memory_op op;
    bool closing;

    while (!own->closing && (own->n_ops == 0 || (own->hold && own->ends == 0)))
      pthread_cond_wait(&own->changed, &own->mutex);
    if (own->n_ops == 0)
      break;
    op = own->ops[own->first];
    own->first = (own->first + 1) % MEMORY_OPS;
    own->n_ops--;
    own->ends -= own->ends > 0;
    closing = own->closing;
    own->running = true;
    pthread_mutex_unlock(&own->mutex);
    memory_op_run(own, &op, closing);
    pthread_mutex_lock(&own->mutex);
    own->running = false;
    pthread_cond_broadcast(&own->changed);
  }
  pthread_mutex_unlock(&own->mutex);
  return NULL;
}

static inline kvs_status memory_submit(struct kvi_medium *medium, enum memory_verb verb, void *asked)
{
  struct memory_medium *own = memory_of(medium);
  kvs_status status = KVS_ERR_BUSY;

  pthread_mutex_lock(&own->mutex);
  if (own->closing) {
    status = KVS_ERR_CLOSED;
  } else if (own->n_ops < MEMORY_OPS) {
    own->ops[(own->first + own->n_ops++) % MEMORY_OPS] = (struct memory_op){.verb = verb, .asked = asked};
    pthread_cond_broadcast(&own->changed);
    status = KVS_OK;
  }
  pthread_mutex_unlock(&own->mutex);
  return status;
}

static inline kvs_status memory_recover(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                                        kvi_medium_found_fn *found)
{
  (void)found;
  memory_of(medium)->owner = *owner;
  return KVS_OK;
}

static inline kvs_status memory_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  return memory_submit(medium, MEMORY_PUT, put);
}

static inline kvs_status memory_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  return memory_submit(medium, MEMORY_GET, get);
}

static inline kvs_status memory_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  return memory_submit(medium, MEMORY_LOOKUP, lookup);
}

static inline kvs_status memory_remove(struct kvi_medium *medium, struct kvi_medium_remove *remove)
{
  return memory_submit(medium, MEMORY_REMOVE, remove);
}

static inline void memory_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                               kvi_medium_handle handle, bool for_good)
{
  struct memory_medium *own = memory_of(medium);
  struct memory_item *item;

  if (own->shared && !for_good)
    return;
  pthread_mutex_lock(&own->mutex);
  if (handle != 0)
    memory_item_free(&own->items[handle - 1]);
  else if (identity)
    while ((item = memory_find_locked(own, identity)) != NULL)
      memory_item_free(item);
  pthread_mutex_unlock(&own->mutex);
}

static inline void memory_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  bool shared = ((const struct memory_medium *)medium)->shared;

  *attr_p = (struct kvi_medium_attr){.name = "memory",
                                     .kind = shared ? KVI_TIER_REDIS : KVI_TIER_SSD,
                                     .shared = shared,
                                     .handles = !shared,
                                     .ttl_ms = ((const struct memory_medium *)medium)->ttl_ms,
                                     .chunk_bytes_max = 1u << 20};
}

static inline void memory_destroy(struct kvi_medium *medium)
{
  struct memory_medium *own = memory_of(medium);

  if (!medium)
    return;
  pthread_mutex_lock(&own->mutex);
  own->closing = true;
  pthread_cond_broadcast(&own->changed);
  pthread_mutex_unlock(&own->mutex);
  pthread_join(own->thread, NULL);
  for (uint32_t i = 0; i < MEMORY_ITEMS; i++)
    memory_item_free(&own->items[i]);
  pthread_mutex_destroy(&own->mutex);
  pthread_cond_destroy(&own->changed);
  free(own);
}

static inline struct memory_medium *memory_medium_create(bool shared)
{
  static struct kvi_medium_ops ops = {.attr = memory_attr,
                                      .recover = memory_recover,
                                      .put = memory_put,
                                      .get = memory_get,
                                      .lookup = memory_lookup,
                                      .remove = memory_remove,
                                      .drop = memory_drop,
                                      .destroy = memory_destroy};
  struct memory_medium *own = calloc(1, sizeof(*own));

  kvi_medium_ops_complete(&ops);
  own->medium.ops = &ops;
  own->shared = shared;
  pthread_mutex_init(&own->mutex, NULL);
  pthread_cond_init(&own->changed, NULL);
  if (pthread_create(&own->thread, NULL, memory_run, own) != 0)
    abort();
  return own;
}

/* While it is held it accepts operations and ends none. */
static inline void memory_hold(struct memory_medium *own, bool hold)
{
  pthread_mutex_lock(&own->mutex);
  own->hold = hold;
  pthread_cond_broadcast(&own->changed);
  pthread_mutex_unlock(&own->mutex);
}

/* While it is held, the next so many end. */
static inline void memory_end(struct memory_medium *own, uint32_t n)
{
  pthread_mutex_lock(&own->mutex);
  own->ends = n;
  pthread_cond_broadcast(&own->changed);
  pthread_mutex_unlock(&own->mutex);
}

/* Waits until it has nothing to do, what follows from what it did included. It must not be held. */
static inline void memory_settle(struct memory_medium *own)
{
  pthread_mutex_lock(&own->mutex);
  while (own->n_ops > 0 || own->running)
    pthread_cond_wait(&own->changed, &own->mutex);
  pthread_mutex_unlock(&own->mutex);
}

/* In their turn: the store is asked to let go of about so many bytes; the chunk at or behind that place is moved. Left out when it has too much to do. */
static inline void memory_let_go(struct memory_medium *own, uint64_t bytes)
{
  (void)memory_submit(&own->medium, MEMORY_LET_GO, (void *)(uintptr_t)bytes);
}

static inline void memory_move(struct memory_medium *own, uint32_t from)
{
  (void)memory_submit(&own->medium, MEMORY_MOVE, (void *)(uintptr_t)from);
}

/* The next so many gets of a medium that is not shared find their chunk moved in the moment before. */
static inline void memory_follow(struct memory_medium *own, uint32_t gets)
{
  pthread_mutex_lock(&own->mutex);
  own->follows = gets;
  pthread_mutex_unlock(&own->mutex);
}

static inline void memory_fail(struct memory_medium *own, kvs_status get_status, kvs_status put_status)
{
  pthread_mutex_lock(&own->mutex);
  own->get_status = get_status;
  own->put_status = put_status;
  pthread_mutex_unlock(&own->mutex);
}

static inline uint32_t memory_puts(struct memory_medium *own)
{
  uint32_t n;

  pthread_mutex_lock(&own->mutex);
  n = own->puts;
  pthread_mutex_unlock(&own->mutex);
  return n;
}

static inline uint32_t memory_items(struct memory_medium *own)
{
  uint32_t n = 0;

  pthread_mutex_lock(&own->mutex);
  for (uint32_t i = 0; i < MEMORY_ITEMS; i++)
    n += own->items[i].bytes != NULL;
  pthread_mutex_unlock(&own->mutex);
  return n;
}

/* Where it lies: the first place that was free when it came. UINT32_MAX: it is not there. */
static inline uint32_t memory_place(struct memory_medium *own, const struct kvi_medium_identity *identity)
{
  struct memory_item *item;

  pthread_mutex_lock(&own->mutex);
  item = memory_find_locked(own, identity);
  pthread_mutex_unlock(&own->mutex);
  return item ? (uint32_t)(item - own->items) : UINT32_MAX;
}

/* Of a chunk that is there: its time to live as it was put. */
static inline uint32_t memory_ttl(struct memory_medium *own, const struct kvi_medium_identity *identity)
{
  struct memory_item *item;
  uint32_t ttl_ms;

  pthread_mutex_lock(&own->mutex);
  item = memory_find_locked(own, identity);
  ttl_ms = item ? (uint32_t)item->ttl_ms : UINT32_MAX;
  pthread_mutex_unlock(&own->mutex);
  return ttl_ms;
}

#endif
