/* Layers of a get that is under way, over a wire in the test's hands. */
#include <stdlib.h>
#include <unistd.h>

#include "connector/connector_private.h"
#include "tests/unit/client/fixture.h"

#define LAYER      64u /* bytes */
#define OPERATIONS 8u

/* Made by hand, since kvs_open makes a wire of its own. */
static kvs_connector *open_over(struct held_wire *wire)
{
  const kvsc_options options = {.struct_size = sizeof(options), .max_operations = OPERATIONS};
  kvs_connector *connector = calloc(1, sizeof(*connector));

  assert_non_null(connector);
  connector->pid = getpid();
  kvi_list_init(&connector->memories);
  pthread_mutex_init(&connector->mutex, NULL);
  assert_int_equal(kvi_connector_op_table_create(OPERATIONS, &connector->table), KVS_OK);
  assert_int_equal(kvi_client_open_over(&options, held_factory, wire, &connector->client), KVS_OK);
  return connector;
}

/* A connector with memory of two layers. */
struct world {
  struct held_wire wire;
  kvs_connector *connector;
  kvs_memory *memory;
  kvs_space *space;
  kvs_op op; /* the get */
};

static void open_world(struct world *world, const kvs_region regions[2])
{
  const kvs_space_desc desc = test_desc("layers");

  *world = (struct world){0};
  world->connector = open_over(&world->wire);
  assert_int_equal(kvs_space_open(world->connector, &desc, &world->space), KVS_OK);
  assert_int_equal(kvs_memory_register(world->connector, regions, 2, &world->memory), KVS_OK);
}

/* The first n segments of the chunk are there. */
static void segments_come(struct world *world, uint32_t chunk, uint32_t n, uint64_t bytes)
{
  struct kvi_transfer *transfer = world->wire.held[0];

  transfer->chunks[chunk].verified = bytes;
  transfer->on_segments(transfer, chunk, n);
}

static kvs_status wait_layer(struct world *world, uint32_t layer, uint32_t timeout_ms)
{
  return kvs_wait_layer(world->connector, world->op, layer, timeout_ms);
}

/* The get ends, well, and with it the connector. */
static void close_world(struct world *world)
{
  kvs_completion completion;

  assert_int_equal(kvs_wait(world->connector, world->op, 1000, &completion), KVS_OK);
  assert_int_equal(completion.status, KVS_OK);
  kvs_close(world->connector);
}

/* Stored by an engine that cuts a layer in two, K and V; read by one that has one region a layer. */
static void a_layer_is_its_bytes_however_the_chunk_is_cut(void **state)
{
  static char bytes[2 * LAYER];
  const kvs_region regions[] = {
      {.base = bytes, .size = LAYER, .stride = LAYER, .n_slots = 1, .layer = 0},
      {.base = bytes + LAYER, .size = LAYER, .stride = LAYER, .n_slots = 1, .layer = 1},
  };
  const int64_t slot = 0;
  const uint8_t key[KEY] = {1};
  const kvs_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = key, .unchained = 1};
  struct world world;

  (void)state;
  open_world(&world, regions);
  assert_int_equal(kvs_get(world.space, &keys, world.memory, &slot, 1, NULL, &world.op), KVS_OK);
  segments_come(&world, 0, 1, LAYER / 2);
  assert_int_equal(wait_layer(&world, 0, 1), KVS_ERR_DEADLINE); /* K, but no V */
  segments_come(&world, 0, 2, LAYER);
  assert_int_equal(wait_layer(&world, 0, 1000), KVS_OK);
  assert_int_equal(wait_layer(&world, 1, 1), KVS_ERR_DEADLINE);
  segments_come(&world, 0, 4, 2 * LAYER);
  assert_int_equal(wait_layer(&world, 1, 1000), KVS_OK);
  held_end(&world.wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_layer(&world, 1, 1000), KVS_OK);
  close_world(&world);
}

/* Asked for layer by layer, a layer is there when all chunks have it, in whatever order they come. */
static void layers_of_several_chunks(void **state)
{
  static char bytes[4 * LAYER];
  const kvs_region regions[] = {
      {.base = bytes, .size = LAYER, .stride = LAYER, .n_slots = 2, .layer = 0},
      {.base = bytes + 2 * LAYER, .size = LAYER, .stride = LAYER, .n_slots = 2, .layer = 1},
  };
  const int64_t slots[] = {0, 1};
  const uint8_t keys_bytes[2 * KEY] = {1};
  const kvs_keys keys = {.struct_size = sizeof(keys), .n = 2, .keys = keys_bytes, .unchained = 1};
  const kvs_request request = {.struct_size = sizeof(request), .by_layer = 1};
  struct world world;

  (void)state;
  open_world(&world, regions);
  assert_int_equal(kvs_get(world.space, &keys, world.memory, slots, 1, &request, &world.op), KVS_OK);
  assert_true(world.wire.held[0]->abreast);
  segments_come(&world, 1, 1, LAYER);
  assert_int_equal(wait_layer(&world, 0, 1), KVS_ERR_DEADLINE); /* the first chunk lacks it */
  segments_come(&world, 0, 1, LAYER);
  assert_int_equal(wait_layer(&world, 0, 1000), KVS_OK);
  assert_int_equal(wait_layer(&world, 1, 1), KVS_ERR_DEADLINE);
  segments_come(&world, 0, 2, 2 * LAYER);
  assert_int_equal(wait_layer(&world, 1, 1), KVS_ERR_DEADLINE);
  segments_come(&world, 1, 2, 2 * LAYER);
  assert_int_equal(wait_layer(&world, 1, 1000), KVS_OK);
  held_end(&world.wire, 0, KVS_OK, KVS_OK);
  close_world(&world);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_layer_is_its_bytes_however_the_chunk_is_cut),
                                     cmocka_unit_test(layers_of_several_chunks)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
