/* The connector with the store inside this process, to and from registered memory. */
#include <stdlib.h>
#include <string.h>

#include <kvasir/connector.h>

#include "tests/bench/keys.h"
#include "tests/bench/ring.h"
#include "tests/bench/way.h"

#define DRAM_BYTES (2 * BENCH_SERVER_BYTES)
#define WAIT_MS    10000u

struct embedded {
  kvs_connector *connector;
  kvs_space *space;
  kvs_memory *memory;   /* the ring, one slot for each chunk of the case's size */
  uint64_t memory_size; /* that size */
  struct bench_ring ring;
  struct bench_fresh fresh;
  uint8_t key[BENCH_KEY];
  uint64_t index; /* get: in the working set */
  kvs_op op;
};

static void embedded_close(void *way)
{
  struct embedded *embedded = way;

  if (embedded == NULL)
    return;
  kvs_close(embedded->connector);
  bench_ring_close(&embedded->ring);
  free(embedded);
}

static kvs_status embedded_open(const struct bench_way_config *config, void **way_p)
{
  kvs_options options = {.struct_size = sizeof options,
                         .endpoint = "embedded:",
                         .embedded_dram_bytes = DRAM_BYTES,
                         .timeout_ms = WAIT_MS};
  kvs_space_desc desc = bench_space();
  struct embedded *embedded = calloc(1, sizeof *embedded);
  kvs_status status = KVS_ERR_NOMEM;

  (void)config;
  *way_p = NULL;
  if (embedded == NULL)
    return status;
  if (bench_ring_open(&embedded->ring))
    status = kvs_open(&options, &embedded->connector);
  if (status == KVS_OK)
    status = kvs_space_open(embedded->connector, &desc, &embedded->space);
  if (status == KVS_OK)
    status = bench_fresh_open(&embedded->fresh);
  if (status != KVS_OK) {
    embedded_close(embedded);
    return status;
  }
  *way_p = embedded;
  return KVS_OK;
}

static kvs_keys keys_of(const uint8_t *key)
{
  return (kvs_keys){.struct_size = sizeof(kvs_keys), .n = 1, .keys = key, .unchained = 1};
}

static kvs_status finish(struct embedded *embedded, kvs_completion *completion)
{
  kvs_status status = kvs_wait(embedded->connector, embedded->op, WAIT_MS, completion);

  if (status != KVS_OK)
    return status;
  return completion->status == KVS_OK && completion->n_ok == 1 ? KVS_OK
         : completion->status < 0                              ? completion->status
                                                               : KVS_MISS;
}

/* One chunk between the store and a plain buffer. */
static kvs_status exchange(struct embedded *embedded, bool put, const uint8_t *key, void *at, uint64_t size)
{
  kvs_buffer buffer = {.base = at, .length = size};
  kvs_keys keys = keys_of(key);
  kvs_completion completion;
  kvs_status status = put ? kvs_put_buffers(embedded->space, &keys, &buffer, NULL, &embedded->op)
                          : kvs_get_buffers(embedded->space, &keys, &buffer, NULL, &embedded->op);

  return status == KVS_OK ? finish(embedded, &completion) : status;
}

static kvs_status register_ring(struct embedded *embedded, uint64_t size)
{
  kvs_region region = {.base = embedded->ring.slab.base,
                       .size = size,
                       .stride = size,
                       .n_slots = (uint32_t)(embedded->ring.slab.bytes / size)};
  kvs_status status = KVS_OK;

  if (embedded->memory_size == size)
    return KVS_OK;
  if (embedded->memory != NULL)
    status = kvs_memory_unregister(embedded->memory);
  if (status != KVS_OK)
    return status;
  embedded->memory = NULL;
  embedded->memory_size = 0;
  status = kvs_memory_register(embedded->connector, &region, 1, &embedded->memory);
  if (status == KVS_OK)
    embedded->memory_size = size;
  return status;
}

static kvs_status one_of_set(struct embedded *embedded, uint64_t size, uint64_t index)
{
  uint8_t *scratch = embedded->ring.scratch.base;
  uint8_t key[BENCH_KEY];
  kvs_status status;

  bench_key_of_set(key, size, index);
  status = exchange(embedded, false, key, scratch, size);
  if (status == KVS_MISS) {
    bench_pattern_fill(scratch, size, bench_seed(size, index));
    status = exchange(embedded, true, key, scratch, size);
    if (status == KVS_OK)
      status = exchange(embedded, false, key, scratch, size);
  }
  if (status != KVS_OK)
    return status;
  return bench_pattern_check(scratch, size, bench_seed(size, index)) ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status embedded_prepare(void *way, const struct bench_case *what)
{
  struct embedded *embedded = way;
  kvs_status status = register_ring(embedded, what->size);

  bench_ring_cut(&embedded->ring, what);
  for (uint64_t i = 0; what->op == BENCH_GET && i < BENCH_SERVER_BYTES / what->size && status == KVS_OK; i++)
    status = one_of_set(embedded, what->size, i);
  return status;
}

static kvs_status embedded_issue(void *way, const struct bench_case *what, uint32_t slot, uint64_t sequence)
{
  struct embedded *embedded = way;
  uint8_t *at = bench_ring_next(&embedded->ring, slot);
  int64_t place = (at - embedded->ring.slab.base) / (int64_t)what->size;
  kvs_keys keys = keys_of(embedded->key);

  if (what->op == BENCH_PUT) {
    bench_fresh_keys(&embedded->fresh, embedded->key, 1);
    return kvs_put(embedded->space, &keys, embedded->memory, &place, 1, NULL, &embedded->op);
  }
  embedded->index = sequence % (BENCH_SERVER_BYTES / what->size);
  bench_key_of_set(embedded->key, what->size, embedded->index);
  return kvs_get(embedded->space, &keys, embedded->memory, &place, 1, NULL, &embedded->op);
}

static kvs_status embedded_reap(void *way, const struct bench_case *what, struct bench_done *done_p)
{
  struct embedded *embedded = way;
  uint64_t seed = bench_seed(what->size, embedded->index);
  kvs_completion completion;
  kvs_status status = finish(embedded, &completion);

  if (status != KVS_OK)
    return status;
  done_p->bytes = what->size;
  if (what->op == BENCH_GET && !bench_pattern_glance(embedded->ring.last[0], what->size, seed))
    return KVS_ERR_CORRUPT;
  return KVS_OK;
}

static kvs_status embedded_verify(void *way, const struct bench_case *what)
{
  struct embedded *embedded = way;
  uint8_t *scratch = embedded->ring.scratch.base;
  kvs_status status;

  if (what->op != BENCH_PUT)
    return KVS_OK;
  status = exchange(embedded, false, embedded->key, scratch, what->size);
  if (status != KVS_OK)
    return status;
  return memcmp(scratch, embedded->ring.last[0], what->size) == 0 ? KVS_OK : KVS_ERR_CORRUPT;
}

const struct bench_way_ops bench_way_embedded = {
    .open = embedded_open,
    .prepare = embedded_prepare,
    .issue = embedded_issue,
    .reap = embedded_reap,
    .verify = embedded_verify,
    .close = embedded_close,
};
