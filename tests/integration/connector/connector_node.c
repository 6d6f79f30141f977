/*
 * tests/integration/connector/connector_node.c: chunks of real size through the connector, on the endpoint named by
 * KVASIR_TEST_ENDPOINT: layers that are used while the rest is on the wire, cancels, deadlines and closing in the middle.
 * Where the endpoint is a node, the memory of each case is freed as soon as the contract allows it, so that a late write is
 * seen by AddressSanitizer.
 */
#include "tests/unit/connector/fixture.h"

#include <stdlib.h>
#include <string.h>

#define LAYERS      16u
#define BLOCK_BYTES (64u << 10)
#define PER_CHUNK   4u
#define CHUNKS      4u
#define BLOCKS      (PER_CHUNK * CHUNKS)
#define LAYER_BYTES (BLOCK_BYTES * BLOCKS)
#define CHUNK_BYTES ((uint64_t)LAYERS * PER_CHUNK * BLOCK_BYTES) /* 4 MiB */

/* One allocation a layer, as engines have it. */
struct cache {
  unsigned char *layers[LAYERS];
  kvs_memory *memory;
};

static void cache_init(struct cache *cache, kvs_connector *connector)
{
  kvs_region regions[LAYERS];

  for (uint32_t i = 0; i < LAYERS; i++) {
    cache->layers[i] = malloc(LAYER_BYTES);
    assert_non_null(cache->layers[i]);
    memset(cache->layers[i], 0, LAYER_BYTES);
    regions[i] = (kvs_region){
        .base = cache->layers[i], .size = BLOCK_BYTES, .stride = BLOCK_BYTES, .n_slots = BLOCKS, .layer = i};
  }
  assert_int_equal(kvs_memory_register(connector, regions, LAYERS, &cache->memory), KVS_OK);
}

static void cache_free_layers(struct cache *cache)
{
  for (uint32_t i = 0; i < LAYERS; i++)
    free(cache->layers[i]);
}

static void cache_destroy(struct cache *cache)
{
  assert_int_equal(kvs_memory_unregister(cache->memory), KVS_OK);
  cache_free_layers(cache);
}

static void cache_fill(struct cache *cache, uint64_t seed)
{
  for (uint32_t i = 0; i < LAYERS; i++)
    test_fill(cache->layers[i], LAYER_BYTES, seed + i);
}

struct world {
  kvs_connector *connector;
  kvs_space *space;
  struct cache source;
  struct test_keys keys;
  int64_t from[BLOCKS], to[BLOCKS];
};

/* CHUNKS chunks are stored; `to` are the same blocks in another order, within and across chunks. */
static int set_up(void **state)
{
  struct world *world = calloc(1, sizeof(*world));
  kvs_completion done;
  kvs_op op;

  world->connector = test_open(NULL);
  world->space = test_space(world->connector, "layers of real size", CHUNK_BYTES);
  cache_init(&world->source, world->connector);
  cache_fill(&world->source, 1000);
  test_keys_init(&world->keys, CHUNKS);
  for (uint32_t i = 0; i < BLOCKS; i++) {
    world->from[i] = i;
    world->to[i] = (int64_t)(BLOCKS - 1 - i);
  }
  assert_int_equal(
      kvs_put(world->space, &world->keys.keys, world->source.memory, world->from, PER_CHUNK, NULL, &op),
      KVS_OK);
  done = test_wait(world->connector, op);
  assert_int_equal(done.status, KVS_OK);
  *state = world;
  return 0;
}

static int tear_down(void **state)
{
  struct world *world = *state;

  cache_destroy(&world->source);
  kvs_close(world->connector);
  free(world);
  return 0;
}

static void check_layer(const struct world *world, const struct cache *cache, uint32_t layer,
                        uint32_t first_chunk, uint32_t n_chunks)
{
  for (uint32_t i = first_chunk * PER_CHUNK; i < (first_chunk + n_chunks) * PER_CHUNK; i++)
    assert_memory_equal(cache->layers[layer] + (size_t)world->to[i] * BLOCK_BYTES,
                        world->source.layers[layer] + (size_t)world->from[i] * BLOCK_BYTES, BLOCK_BYTES);
}

static void get_layers(struct world *world, const kvs_request *request)
{
  struct cache cache;
  kvs_op op;

  cache_init(&cache, world->connector);
  assert_int_equal(kvs_get(world->space, &world->keys.keys, cache.memory, world->to, PER_CHUNK, request, &op),
                   KVS_OK);
  for (uint32_t layer = 0; layer < LAYERS; layer++) {
    assert_int_equal(kvs_wait_layer(world->connector, op, layer, WAIT_MS), KVS_OK);
    check_layer(world, &cache, layer, 0, CHUNKS);
  }
  assert_int_equal(test_wait(world->connector, op).n_ok, CHUNKS);
  cache_destroy(&cache);
}

static void layers_are_whole_when_they_are_handed_over(void **state)
{
  const kvs_request by_layer = {.struct_size = sizeof(by_layer), .by_layer = 1};

  get_layers(*state, NULL);
  get_layers(*state, &by_layer);
}

/* One get for each chunk: layers of all of them come while later ones are on the wire. */
static void a_get_for_each_chunk(void **state)
{
  struct world *world = *state;
  struct cache cache;
  kvs_op ops[CHUNKS];

  cache_init(&cache, world->connector);
  for (uint32_t i = 0; i < CHUNKS; i++) {
    kvs_keys one = world->keys.keys;

    one.n = 1;
    one.keys += (size_t)i * KVS_HASH_SIZE;
    one.first_place = i;
    one.parent = i > 0 ? one.keys - KVS_HASH_SIZE : NULL;
    one.extent_first = i > 0 ? world->keys.bytes : NULL;
    assert_int_equal(kvs_get(world->space, &one, cache.memory, world->to + (size_t)i * PER_CHUNK, PER_CHUNK,
                             NULL, &ops[i]),
                     KVS_OK);
  }
  for (uint32_t layer = 0; layer < LAYERS; layer++) {
    for (uint32_t i = 0; i < CHUNKS; i++) {
      assert_int_equal(kvs_wait_layer(world->connector, ops[i], layer, WAIT_MS), KVS_OK);
      check_layer(world, &cache, layer, i, 1);
    }
  }
  for (uint32_t i = 0; i < CHUNKS; i++)
    assert_int_equal(test_wait(world->connector, ops[i]).status, KVS_OK);
  cache_destroy(&cache);
}

static void holes_are_not_written(void **state)
{
  struct world *world = *state;
  struct cache cache;
  int64_t to[BLOCKS];
  kvs_op op;

  cache_init(&cache, world->connector);
  for (uint32_t i = 0; i < BLOCKS; i++)
    to[i] = i < 6 ? -1 : world->to[i]; /* the first chunk and half of the second are the engine's already */
  assert_int_equal(kvs_get(world->space, &world->keys.keys, cache.memory, to, PER_CHUNK, NULL, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);
  for (uint32_t layer = 0; layer < LAYERS; layer++) {
    check_layer(world, &cache, layer, 2, CHUNKS - 2);
    for (uint32_t i = 0; i < 6; i++)
      for (uint32_t b = 0; b < BLOCK_BYTES; b++)
        assert_int_equal(cache.layers[layer][(size_t)world->to[i] * BLOCK_BYTES + b], 0);
  }
  cache_destroy(&cache);
}

static void cancelled_gets_leave_the_memory_alone(void **state)
{
  struct world *world = *state;

  for (uint32_t round = 0; round < 8; round++) {
    struct cache cache;
    kvs_completion done;
    kvs_op op;

    cache_init(&cache, world->connector);
    assert_int_equal(kvs_get(world->space, &world->keys.keys, cache.memory, world->to, PER_CHUNK, NULL, &op),
                     KVS_OK);
    if (round > 0)
      assert_int_equal(kvs_wait_layer(world->connector, op, round % LAYERS, WAIT_MS), KVS_OK);
    assert_int_equal(kvs_cancel(world->connector, op), KVS_OK);
    done = test_wait(world->connector, op);
    assert_true(done.status == KVS_OK || done.status == KVS_ERR_CANCELED);
    cache_destroy(&cache);
  }
}

static void cancelled_puts_store_all_or_nothing(void **state)
{
  struct world *world = *state;

  for (uint32_t round = 0; round < 8; round++) {
    struct cache source, cache;
    struct test_keys keys;
    kvs_completion done;
    kvs_op op;

    test_keys_init(&keys, CHUNKS);
    cache_init(&source, world->connector);
    cache_fill(&source, 1000); /* as the world's, so that check_layer knows it */
    assert_int_equal(kvs_put(world->space, &keys.keys, source.memory, world->from, PER_CHUNK, NULL, &op),
                     KVS_OK);
    assert_int_equal(kvs_cancel(world->connector, op), KVS_OK);
    done = test_wait(world->connector, op);
    assert_true(done.status == KVS_OK || done.status == KVS_ERR_CANCELED);
    cache_destroy(&source);

    cache_init(&cache, world->connector);
    assert_int_equal(kvs_get(world->space, &keys.keys, cache.memory, world->to, PER_CHUNK, NULL, &op),
                     KVS_OK);
    done = test_wait(world->connector, op);
    for (uint32_t i = 0; i < done.n_prefix; i++)
      for (uint32_t layer = 0; layer < LAYERS; layer++)
        check_layer(world, &cache, layer, i, 1);
    cache_destroy(&cache);
  }
}

static void short_deadlines_are_kept(void **state)
{
  struct world *world = *state;
  kvs_request request = {.struct_size = sizeof(request), .timeout_ms = 1};

  for (uint32_t round = 0; round < 8; round++) {
    struct cache cache;
    kvs_completion done;
    kvs_op op;

    cache_init(&cache, world->connector);
    assert_int_equal(
        kvs_get(world->space, &world->keys.keys, cache.memory, world->to, PER_CHUNK, &request, &op), KVS_OK);
    done = test_wait(world->connector, op);
    assert_true(done.status == KVS_OK || done.status == KVS_PARTIAL || done.status == KVS_MISS);
    for (uint32_t i = 0; i < done.n_prefix; i++)
      check_layer(world, &cache, LAYERS - 1, i, 1);
    cache_destroy(&cache);
  }
}

static void closing_in_the_middle(void **state)
{
  struct world *world = *state;

  for (uint32_t round = 0; round < 4; round++) {
    kvs_connector *connector = test_open(NULL);
    kvs_space *space = test_space(connector, "layers of real size", CHUNK_BYTES);
    struct cache cache;
    struct test_keys keys;
    kvs_op op;

    test_keys_init(&keys, CHUNKS);
    cache_init(&cache, connector);
    assert_int_equal(kvs_put(space, &keys.keys, cache.memory, world->from, PER_CHUNK, NULL, &op), KVS_OK);
    assert_int_equal(kvs_get(space, &world->keys.keys, cache.memory, world->to, PER_CHUNK, NULL, &op),
                     KVS_OK);
    kvs_close(connector);
    cache_free_layers(&cache);
  }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(layers_are_whole_when_they_are_handed_over),
      CASE(a_get_for_each_chunk),
      CASE(holes_are_not_written),
      CASE(cancelled_gets_leave_the_memory_alone),
      CASE(cancelled_puts_store_all_or_nothing),
      CASE(short_deadlines_are_kept),
      CASE(closing_in_the_middle),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
