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

static void segments_come(struct kvi_transfer *transfer, uint32_t n, uint64_t bytes)
{
  transfer->chunks[0].verified = bytes;
  transfer->on_segments(transfer, 0, n);
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
  const kvs_space_desc desc = test_desc("layers");
  struct held_wire wire = {0};
  kvs_connector *connector = open_over(&wire);
  kvs_completion completion;
  kvs_memory *memory;
  kvs_space *space;
  kvs_op op;

  (void)state;
  assert_int_equal(kvs_space_open(connector, &desc, &space), KVS_OK);
  assert_int_equal(kvs_memory_register(connector, regions, 2, &memory), KVS_OK);
  assert_int_equal(kvs_get(space, &keys, memory, &slot, 1, NULL, &op), KVS_OK);
  segments_come(wire.held[0], 1, LAYER / 2);
  assert_int_equal(kvs_wait_layer(connector, op, 0, 1), KVS_ERR_DEADLINE); /* K, but no V */
  segments_come(wire.held[0], 2, LAYER);
  assert_int_equal(kvs_wait_layer(connector, op, 0, 1000), KVS_OK);
  assert_int_equal(kvs_wait_layer(connector, op, 1, 1), KVS_ERR_DEADLINE);
  segments_come(wire.held[0], 4, 2 * LAYER);
  assert_int_equal(kvs_wait_layer(connector, op, 1, 1000), KVS_OK);
  held_end(&wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(kvs_wait_layer(connector, op, 1, 1000), KVS_OK);
  assert_int_equal(kvs_wait(connector, op, 1000, &completion), KVS_OK);
  assert_int_equal(completion.status, KVS_OK);
  kvs_close(connector);
}

static void chunk_comes(struct kvi_transfer *transfer, uint32_t chunk, uint32_t n, uint64_t bytes)
{
  transfer->chunks[chunk].verified = bytes;
  transfer->on_segments(transfer, chunk, n);
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
  const kvs_space_desc desc = test_desc("layers");
  struct held_wire wire = {0};
  kvs_connector *connector = open_over(&wire);
  kvs_completion completion;
  kvs_memory *memory;
  kvs_space *space;
  kvs_op op;

  (void)state;
  assert_int_equal(kvs_space_open(connector, &desc, &space), KVS_OK);
  assert_int_equal(kvs_memory_register(connector, regions, 2, &memory), KVS_OK);
  assert_int_equal(kvs_get(space, &keys, memory, slots, 1, &request, &op), KVS_OK);
  assert_true(wire.held[0]->abreast);
  chunk_comes(wire.held[0], 1, 1, LAYER);
  assert_int_equal(kvs_wait_layer(connector, op, 0, 1), KVS_ERR_DEADLINE); /* the first chunk lacks it */
  chunk_comes(wire.held[0], 0, 1, LAYER);
  assert_int_equal(kvs_wait_layer(connector, op, 0, 1000), KVS_OK);
  assert_int_equal(kvs_wait_layer(connector, op, 1, 1), KVS_ERR_DEADLINE);
  chunk_comes(wire.held[0], 0, 2, 2 * LAYER);
  assert_int_equal(kvs_wait_layer(connector, op, 1, 1), KVS_ERR_DEADLINE);
  chunk_comes(wire.held[0], 1, 2, 2 * LAYER);
  assert_int_equal(kvs_wait_layer(connector, op, 1, 1000), KVS_OK);
  held_end(&wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(kvs_wait(connector, op, 1000, &completion), KVS_OK);
  assert_int_equal(completion.status, KVS_OK);
  kvs_close(connector);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_layer_is_its_bytes_however_the_chunk_is_cut),
                                     cmocka_unit_test(layers_of_several_chunks)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
