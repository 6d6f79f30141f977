/*
 * Chunks through the connector, to and from registered memory and buffers, embedded or with KVASIR_TEST_ENDPOINT set on
 * a node.
 */
#include "tests/unit/connector/connector_testing.h"

#include <stdlib.h>
#include <string.h>

#include <kvasir/client.h>

#include "base/rand.h"

/* ---- gets and puts on registered memory ---- */

/* Puts chunks from some slots, gets them into others with holes; every byte of the memory must be as the reference says. */
static void one_round_trip(struct world *world, kvi_rand *rand, kvs_space *space, uint32_t n_chunks,
                           uint32_t per_chunk)
{
  struct test_memory *memory = &world->memory;
  size_t chunk_bytes = test_chunk_bytes(memory, per_chunk);
  unsigned char *payload = malloc(chunk_bytes * n_chunks), *expected = malloc(memory->size);
  int64_t from[SLOTS], to[SLOTS];
  kvs_completion completion;

  test_keys_init(&world->keys, n_chunks);
  for (uint32_t i = 0; i < n_chunks * per_chunk; i++) {
    from[i] = (int64_t)kvi_rand_below(rand, SLOTS);
    to[i] = i; /* each slot once, then mixed */
  }
  for (uint32_t i = n_chunks * per_chunk - 1; i > 0; i--) {
    uint32_t j = (uint32_t)kvi_rand_below(rand, i + 1);
    int64_t swap = to[i];

    to[i] = to[j];
    to[j] = swap;
  }
  for (uint32_t i = 0; i < n_chunks * per_chunk; i++)
    if (kvi_rand_below(rand, 4) == 0)
      to[i] = -1;
  for (uint32_t i = 0; i < n_chunks; i++)
    reference_gather(memory, from + i * per_chunk, per_chunk, payload + i * chunk_bytes);
  test_put(space, world->connector, &world->keys.keys, memory, from, per_chunk);

  test_fill(memory->bytes, memory->size, kvi_rand_next(rand));
  memcpy(expected, memory->bytes, memory->size);
  for (uint32_t i = 0; i < n_chunks; i++)
    reference_scatter(memory, expected, to + i * per_chunk, per_chunk, payload + i * chunk_bytes);
  completion = test_get(space, world->connector, &world->keys.keys, memory, to, per_chunk);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.n, n_chunks);
  assert_int_equal(completion.n_ok, n_chunks);
  assert_int_equal(completion.n_prefix, n_chunks);
  assert_memory_equal(memory->bytes, expected, memory->size); /* holes and gaps untouched */
  free(payload);
  free(expected);
}

static void chunks_come_back_as_the_reference_says(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "any size", 0);
  kvi_rand rand;

  kvi_rand_seed(&rand, 7);
  for (int i = 0; i < 60; i++) {
    uint32_t per_chunk = 1 + (uint32_t)kvi_rand_below(&rand, 4);

    one_round_trip(world, &rand, space, 1 + (uint32_t)kvi_rand_below(&rand, 8), per_chunk);
  }
}

static void a_missing_chunk_is_a_miss_of_its_own(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "partial", 0);
  int64_t slots[] = {0, 1, 2};
  kvs_status statuses[3] = {KVS_ERR_INTERNAL, KVS_ERR_INTERNAL, KVS_ERR_INTERNAL};
  kvs_request request = {.struct_size = sizeof(request), .statuses = statuses, .user = 4711};
  kvs_keys two = world->keys.keys, three = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  two.n = 2;
  three.n = 3;
  test_put(space, world->connector, &two, &world->memory, slots, 1);
  assert_int_equal(kvs_get(space, &three, world->memory.registered, slots, 1, &request, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.user, 4711);
  assert_int_equal(completion.n_ok, 2);
  assert_int_equal(completion.n_prefix, 2);
  assert_int_equal(completion.cause, KVSC_CAUSE_NEVER);
  assert_int_equal(statuses[0], KVS_OK);
  assert_int_equal(statuses[1], KVS_OK);
  assert_int_equal(statuses[2], KVS_MISS);

  test_keys_init(&world->keys, 3);
  completion = test_get(space, world->connector, &world->keys.keys, &world->memory, slots, 1);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.n_ok, 0);
}

static void a_second_put_of_a_key_changes_nothing(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "twice", 0);
  int64_t first[] = {1}, second[] = {2};
  unsigned char *payload = malloc(test_chunk_bytes(&world->memory, 1));
  unsigned char *got = malloc(test_chunk_bytes(&world->memory, 1));

  world->keys.keys.n = 1;
  reference_gather(&world->memory, first, 1, payload);
  test_put(space, world->connector, &world->keys.keys, &world->memory, first, 1);
  test_put(space, world->connector, &world->keys.keys, &world->memory, second, 1);
  assert_int_equal(test_get(space, world->connector, &world->keys.keys, &world->memory, second, 1).status,
                   KVS_OK);
  reference_gather(&world->memory, second, 1, got);
  assert_memory_equal(got, payload, test_chunk_bytes(&world->memory, 1));
  free(payload);
  free(got);
}

static void a_deleted_chunk_is_gone(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "deleted", 0);
  int64_t slots[] = {0, 1};
  kvs_keys two = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  two.n = 2;
  test_put(space, world->connector, &two, &world->memory, slots, 1);
  assert_int_equal(kvs_delete(space, &two, NULL, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.n_ok, 2);
  completion = test_get(space, world->connector, &two, &world->memory, slots, 1);
  assert_int_equal(completion.status, KVS_MISS);
}

static void wrong_sizes_are_typed_errors(void **state)
{
  struct world *world = *state;
  size_t bytes = test_chunk_bytes(&world->memory, 2);
  kvs_space *right = test_space(world->connector, "sized", bytes),
            *wrong = test_space(world->connector, "sized", bytes + 1);
  int64_t slots[2] = {0, 1};
  kvs_keys one = world->keys.keys;
  kvs_op op = 5;

  one.n = 1;
  assert_int_equal(kvs_put(wrong, &one, world->memory.registered, slots, 2, NULL, &op),
                   KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(op, 0);
  assert_int_equal(kvs_get(wrong, &one, world->memory.registered, slots, 2, NULL, &op),
                   KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(kvs_put(right, &one, world->memory.registered, slots, 1, NULL, &op),
                   KVS_ERR_SPACE_MISMATCH);
  test_put(right, world->connector, &one, &world->memory, slots, 2);
}

/* ---- layers ---- */

static void layers_of_one_chunk_come_in_order(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "layers", 0);
  int64_t from[] = {0, 1, 2}, to[] = {8, 9, 10};
  kvs_keys one = world->keys.keys;
  size_t chunk_bytes = test_chunk_bytes(&world->memory, 3);
  unsigned char *payload = malloc(chunk_bytes), *got = malloc(chunk_bytes);
  size_t layer_end = 0;
  kvs_op op;

  one.n = 1;
  reference_gather(&world->memory, from, 3, payload);
  test_put(space, world->connector, &one, &world->memory, from, 3);
  assert_int_equal(kvs_get(space, &one, world->memory.registered, to, 3, NULL, &op), KVS_OK);
  for (uint32_t layer = 0; layer < 3; layer++) {
    assert_int_equal(kvs_wait_layer(world->connector, op, layer, WAIT_MS), KVS_OK);
    reference_gather(&world->memory, to, 3, got);
    layer_end += 3 * (world->memory.regions[2 * layer].size + world->memory.regions[2 * layer + 1].size);
    assert_memory_equal(got, payload, layer_end);
  }
  assert_int_equal(layer_end, chunk_bytes);
  assert_int_equal(kvs_wait_layer(world->connector, op, 3, WAIT_MS), KVS_ERR_INVALID); /* no such layer */
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, WAIT_MS), KVS_ERR_INVALID); /* taken */
  free(payload);
  free(got);
}

static void a_layer_is_ready_when_all_chunks_have_it(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "layers", 0);
  int64_t slots[] = {0, 1, 2, 3};
  kvs_keys three = world->keys.keys, four = world->keys.keys;
  kvs_op op;

  three.n = 3;
  four.n = 4;
  test_put(space, world->connector, &three, &world->memory, slots, 1);
  assert_int_equal(kvs_get(space, &three, world->memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, WAIT_MS), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 2, WAIT_MS), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);

  /* One chunk is missing: no layer is there for all. */
  assert_int_equal(kvs_get(space, &four, world->memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, WAIT_MS), KVS_MISS);
  assert_int_equal(kvs_wait_layer(world->connector, op, 2, WAIT_MS), KVS_MISS);
  assert_int_equal(test_wait(world->connector, op).status, KVS_PARTIAL);
}

static void only_gets_have_layers(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "layers", 0);
  int64_t slots[] = {0};
  kvs_keys one = world->keys.keys;
  kvs_op op;

  one.n = 1;
  assert_int_equal(kvs_put(space, &one, world->memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, 0), KVS_ERR_INVALID);
  test_wait(world->connector, op);
  assert_int_equal(kvs_lookup(world->connector, &space, 1, &one, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, 0), KVS_ERR_INVALID);
  test_wait(world->connector, op);
  assert_int_equal(kvs_wait_layer(world->connector, 12345, 0, 0), KVS_ERR_INVALID);
  assert_int_equal(kvs_wait_layer(NULL, op, 0, 0), KVS_ERR_INVALID);
}

/* ---- buffers ---- */

static void buffers_carry_blobs(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "blobs", 0);
  static unsigned char put[2][5000], got[2][6000];
  uint32_t cuts[] = {1, 999, 4000};
  kvs_buffer buffers[2] = {{.base = put[0], .length = 5000, .n_segments = 3, .segment_lengths = cuts},
                           {.base = put[1], .length = 1234}};
  kvs_keys two = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  two.n = 2;
  test_fill(put, sizeof(put), 3);
  assert_int_equal(kvs_put_buffers(space, &two, buffers, NULL, &op), KVS_OK);
  cuts[0] = 77; /* copied at the start */
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);

  memset(got, 0xee, sizeof(got));
  buffers[0] = (kvs_buffer){.base = got[0], .length = sizeof(got[0])};
  buffers[1] = (kvs_buffer){.base = got[1], .length = sizeof(got[1])};
  assert_int_equal(kvs_get_buffers(space, &two, buffers, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, 0), KVS_ERR_INVALID);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.bytes, 6234);
  assert_memory_equal(got[0], put[0], 5000);
  assert_memory_equal(got[1], put[1], 1234);
  assert_int_equal(got[0][5000], 0xee);
  assert_int_equal(got[1][1234], 0xee);
}

/* Slots that the chunk does not fill hold the engine's old bytes: that is no hit. */
static void a_chunk_shorter_than_its_slots_is_no_hit(void **state)
{
  static unsigned char bytes[16];
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "short", 0);
  const kvs_buffer buffer = {.base = bytes, .length = sizeof(bytes)};
  int64_t slots[] = {0};
  kvs_keys one = world->keys.keys;
  kvs_status status = KVS_OK;
  const kvs_request request = {.struct_size = sizeof(request), .statuses = &status};
  kvs_completion completion;
  kvs_op op;

  one.n = 1;
  assert_int_equal(kvs_put_buffers(space, &one, &buffer, NULL, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);
  assert_int_equal(kvs_get(space, &one, world->memory.registered, slots, 1, &request, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 2, WAIT_MS), KVS_MISS);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(completion.n_ok, 0);
  assert_int_equal(completion.n_prefix, 0);
  assert_int_equal(status, KVS_ERR_SPACE_MISMATCH);
}

static void bad_buffers_are_refused(void **state)
{
  struct world *world = *state;
  kvs_space *any = test_space(world->connector, "blobs", 0),
            *fixed = test_space(world->connector, "blobs", 100);
  unsigned char bytes[200] = {0};
  uint32_t cuts[] = {100, 0, 100}, short_cuts[] = {100, 99};
  kvs_buffer null = {.length = 200}, empty = {.base = bytes}, zero = {bytes, 200, 3, cuts},
             sum = {bytes, 200, 2, short_cuts}, many = {bytes, 200, 4097, cuts},
             no_cuts = {bytes, 200, 2, NULL}, big = {.base = bytes, .length = UINT64_C(1) << 40},
             whole = {.base = bytes, .length = 200}, less = {.base = bytes, .length = 99};
  kvs_keys one = world->keys.keys;
  kvs_op op = 5;

  one.n = 1;
  assert_int_equal(kvs_put_buffers(any, &one, NULL, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(op, 0);
  assert_int_equal(kvs_put_buffers(any, &one, &null, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get_buffers(any, &one, &null, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &empty, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &zero, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &sum, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &many, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &no_cuts, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &big, NULL, &op), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvs_put_buffers(fixed, &one, &whole, NULL, &op), KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(kvs_get_buffers(fixed, &one, &less, NULL, &op), KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(kvs_put_buffers(NULL, &one, &whole, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &whole, NULL, NULL), KVS_ERR_INVALID);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(chunks_come_back_as_the_reference_says),
      CASE(a_missing_chunk_is_a_miss_of_its_own),
      CASE(a_second_put_of_a_key_changes_nothing),
      CASE(a_deleted_chunk_is_gone),
      CASE(wrong_sizes_are_typed_errors),
      CASE(layers_of_one_chunk_come_in_order),
      CASE(a_layer_is_ready_when_all_chunks_have_it),
      CASE(only_gets_have_layers),
      CASE(buffers_carry_blobs),
      CASE(a_chunk_shorter_than_its_slots_is_no_hit),
      CASE(bad_buffers_are_refused),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
