/* connector/op.c: operations from their start until their completion is taken. */
#include "connector/connector_private.h"

#include <stdlib.h>

/* The place is the low bits of a number, the count of its uses the others. */
#define OP_INDEX_BITS 16u
#define OP_INDEX_MASK ((UINT64_C(1) << OP_INDEX_BITS) - 1)
_Static_assert(KVI_CONNECTOR_OPERATIONS_MAX <= OP_INDEX_MASK + 1, "a place fits in a number");

kvs_status kvi_connector_op_table_create(uint32_t capacity, struct kvi_connector_op_table *table_p)
{
  /* Places are used lowest first and zeroed by the kernel: those that are never used cost no memory. */
  table_p->ops = calloc(capacity, sizeof(*table_p->ops));
  if (table_p->ops == NULL)
    return KVS_ERR_NOMEM;
  table_p->capacity = capacity;
  table_p->first_free = 1;
  return KVS_OK;
}

void kvi_connector_op_table_destroy(struct kvi_connector_op_table *table)
{
  if (table->ops == NULL)
    return;
  for (uint32_t i = 0; i < table->capacity; i++) {
    if (table->ops[i].id == 0)
      break; /* never used, and so are all after it */
    free(table->ops[i].allocation);
  }
  free(table->ops);
}

/* The free list is threaded through next_free; 0 there means "the place after this one", which only a fresh place has. */
static struct kvi_connector_op *take_place(struct kvi_connector_op_table *table)
{
  uint32_t index = table->first_free - 1;
  struct kvi_connector_op *op;

  if (index >= table->capacity)
    return NULL;
  op = &table->ops[index];
  table->first_free = op->next_free == 0 ? index + 2 : op->next_free;
  op->next_free = 0;
  op->id = ((op->id >> OP_INDEX_BITS) + 1) << OP_INDEX_BITS | index;
  return op;
}

static void give_place(struct kvi_connector_op_table *table, struct kvi_connector_op *op)
{
  op->next_free = table->first_free;
  table->first_free = (uint32_t)(op - table->ops) + 1;
}

kvs_status kvi_connector_op_begin(kvs_connector *connector, const kvs_request *request, kvs_memory *memory,
                                  struct kvi_connector_op **op_p)
{
  struct kvi_connector_op *op;

  *op_p = NULL;
  pthread_mutex_lock(&connector->mutex);
  op = take_place(&connector->table);
  if (op != NULL) {
    op->client = 0;
    op->user = request->user;
    op->memory = memory;
    op->references = 2;
    op->n_chunks = op->slots_per_chunk = 0;
    op->lookup = op->put = op->taken = false;
    if (memory != NULL)
      memory->users++;
  }
  pthread_mutex_unlock(&connector->mutex);
  if (op == NULL) {
    atomic_fetch_add_explicit(&connector->busy, 1, memory_order_relaxed);
    return KVS_ERR_BUSY;
  }
  *op_p = op;
  return KVS_OK;
}

void *kvi_connector_op_alloc(struct kvi_connector_op *op, size_t size)
{
  if (size <= sizeof(op->room))
    return op->room;
  op->allocation = malloc(size);
  return op->allocation;
}

/* With the mutex held. Returns what is to be freed without it. */
static void *drop_references(kvs_connector *connector, struct kvi_connector_op *op, uint32_t count)
{
  void *allocation = op->allocation;

  op->references -= count;
  if (op->references > 0)
    return NULL;
  op->allocation = NULL;
  give_place(&connector->table, op);
  return allocation;
}

/* With the mutex held: the operation is over for the engine. */
static void forget(struct kvi_connector_op *op)
{
  op->taken = true;
  if (op->memory != NULL)
    op->memory->users--;
  op->memory = NULL;
}

kvs_op kvi_connector_op_started(kvs_connector *connector, struct kvi_connector_op *op, kvsc_op client)
{
  kvs_op id = op->id;
  void *garbage;

  pthread_mutex_lock(&connector->mutex);
  op->client = client;
  garbage = drop_references(connector, op, 1);
  pthread_mutex_unlock(&connector->mutex);
  free(garbage);
  return id;
}

void kvi_connector_op_refused(kvs_connector *connector, struct kvi_connector_op *op)
{
  void *garbage;

  pthread_mutex_lock(&connector->mutex);
  forget(op);
  garbage = drop_references(connector, op, 2);
  pthread_mutex_unlock(&connector->mutex);
  free(garbage);
}

/* With the mutex held. */
static struct kvi_connector_op *find(kvs_connector *connector, kvs_op id)
{
  uint64_t index = id & OP_INDEX_MASK;
  struct kvi_connector_op *op;

  if (index >= connector->table.capacity)
    return NULL;
  op = &connector->table.ops[index];
  return id != 0 && op->id == id && !op->taken ? op : NULL;
}

static void count(kvs_connector *connector, const struct kvi_connector_op *op, const kvsc_completion *from)
{
  if (op->lookup)
    atomic_fetch_add_explicit(&connector->lookup_hit_keys, from->n_ok, memory_order_relaxed);
  if (op->put)
    atomic_fetch_add_explicit(&connector->put_stored, from->n_ok, memory_order_relaxed);
}

void kvi_connector_op_complete(kvs_connector *connector, const kvsc_completion *from, kvs_completion *to)
{
  struct kvi_connector_op *op;
  void *garbage = NULL;

  *to = (kvs_completion){.op = from->user,
                         .status = from->status,
                         .n = from->n,
                         .n_ok = from->n_ok,
                         .n_prefix = from->n_prefix,
                         .cause = (uint32_t)from->cause,
                         .bytes = from->bytes,
                         .elapsed_ns = from->elapsed_ns,
                         .lease = from->lease,
                         .lease_ms = from->lease_ms,
                         .n_worth = from->n_worth,
                         .fetch_us = from->fetch_us,
                         .compute_us = from->compute_us,
                         .worth_us = from->worth_us};

  pthread_mutex_lock(&connector->mutex);
  op = find(connector, from->user); /* the number travels as the client's user value */
  if (op != NULL) {
    to->user = op->user;
    op->status = from->status;
    op->n_prefix = from->n_prefix;
    count(connector, op, from);
    forget(op);
    garbage = drop_references(connector, op, 1);
  }
  pthread_mutex_unlock(&connector->mutex);
  free(garbage);
}

kvsc_op kvi_connector_op_client(kvs_connector *connector, kvs_op id)
{
  struct kvi_connector_op *op;
  kvsc_op client;

  pthread_mutex_lock(&connector->mutex);
  op = find(connector, id);
  client = op != NULL ? op->client : 0;
  pthread_mutex_unlock(&connector->mutex);
  return client;
}

struct kvi_connector_op *kvi_connector_op_hold(kvs_connector *connector, kvs_op id)
{
  struct kvi_connector_op *op = find(connector, id);

  if (op != NULL)
    op->references++;
  return op;
}

void kvi_connector_op_release(kvs_connector *connector, struct kvi_connector_op *op)
{
  void *garbage;

  pthread_mutex_lock(&connector->mutex);
  garbage = drop_references(connector, op, 1);
  pthread_mutex_unlock(&connector->mutex);
  free(garbage);
}
