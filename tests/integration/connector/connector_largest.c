/*
 * tests/integration/connector/connector_largest.c: the largest chunk that there may be, put to the node named by KVASIR_TEST_ENDPOINT, got
 * back and compared word by word; and one that is a byte larger, which is refused. It holds one such chunk at a time.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "proto/limits.h"
#include "tests/unit/connector/fixture.h"

#define TIMEOUT_MS 600000u /* the most: no machine is so slow */
#define WORDS      (KVI_CHUNK_BYTES_MAX / sizeof(uint64_t))

struct world {
  kvs_connector *connector;
  kvs_space *space;
  struct test_keys keys;
  uint64_t *chunk;
};

static int set_up(void **state)
{
  struct world *world = calloc(1, sizeof(*world));

  assert_non_null(world);
  world->connector = test_open(NULL);
  world->space = test_space(world->connector, "the largest chunk", 0);
  test_keys_init(&world->keys, 1);
  world->chunk = malloc(KVI_CHUNK_BYTES_MAX + 1);
  assert_non_null(world->chunk);
  *state = world;
  return 0;
}

static int tear_down(void **state)
{
  struct world *world = *state;

  kvs_close(world->connector);
  free(world->chunk);
  free(world);
  return 0;
}

static const kvs_request patient = {.struct_size = sizeof(patient), .timeout_ms = TIMEOUT_MS};

static kvs_completion wait_long(struct world *world, kvs_op op)
{
  kvs_completion done = {0};

  assert_int_equal(kvs_wait(world->connector, op, TIMEOUT_MS + 10000, &done), KVS_OK);
  return done;
}

static void it_comes_back_as_it_was(void **state)
{
  struct world *world = *state;
  const kvs_buffer buffer = {.base = world->chunk, .length = KVI_CHUNK_BYTES_MAX};
  uint64_t seed = 1, wrong = 0;
  kvs_completion done;
  kvs_op op;

  for (size_t i = 0; i < WORDS; i++)
    world->chunk[i] = kvi_splitmix64(&seed);
  assert_int_equal(kvs_put_buffers(world->space, &world->keys.keys, &buffer, &patient, &op), KVS_OK);
  done = wait_long(world, op);
  assert_int_equal(done.status, KVS_OK);
  assert_int_equal(done.n_ok, 1);
  assert_int_equal(done.bytes, KVI_CHUNK_BYTES_MAX);

  memset(world->chunk, 0, KVI_CHUNK_BYTES_MAX);
  assert_int_equal(kvs_get_buffers(world->space, &world->keys.keys, &buffer, &patient, &op), KVS_OK);
  done = wait_long(world, op);
  assert_int_equal(done.status, KVS_OK);
  assert_int_equal(done.bytes, KVI_CHUNK_BYTES_MAX);
  seed = 1;
  for (size_t i = 0; i < WORDS; i++)
    wrong += world->chunk[i] != kvi_splitmix64(&seed);
  assert_int_equal(wrong, 0);
}

static void a_byte_more_is_refused(void **state)
{
  struct world *world = *state;
  const kvs_buffer buffer = {.base = world->chunk, .length = KVI_CHUNK_BYTES_MAX + 1};
  kvs_op op = 1;

  assert_int_equal(kvs_put_buffers(world->space, &world->keys.keys, &buffer, &patient, &op),
                   KVS_ERR_TOO_LARGE);
  assert_int_equal(op, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(it_comes_back_as_it_was, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_byte_more_is_refused, set_up, tear_down),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
