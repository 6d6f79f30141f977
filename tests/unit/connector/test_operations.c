/*
 * The life of the connector's operations and of the memory they use, embedded or with KVASIR_TEST_ENDPOINT set on a
 * node.
 */
#include "tests/unit/connector/connector_testing.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>

static void wrong_arguments_start_nothing(void **state)
{
  struct world *world = *state;
  kvs_connector *connector = world->connector;
  kvs_memory *memory = world->memory.registered;
  kvs_space *space = test_space(connector, "arguments", 0);
  int64_t slots[1] = {0}, hole[1] = {-1}, high[1] = {SLOTS};
  kvs_keys one = world->keys.keys, none = world->keys.keys, null = world->keys.keys, small = world->keys.keys,
           many = world->keys.keys;
  kvs_request bad = {.struct_size = 3};
  kvs_completion completion;
  kvs_counters before = {.struct_size = sizeof(before)}, after = {.struct_size = sizeof(after)};
  kvs_op op = 5;

  one.n = 1;
  none.n = 0;
  null.keys = NULL;
  small.struct_size = 0;
  many.n = 513;
  kvs_get_counters(connector, &before);
  assert_int_equal(kvs_get(space, NULL, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(op, 0);
  assert_int_equal(kvs_get(space, &none, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &null, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &small, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &many, memory, slots, 1, NULL, &op), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvs_get(space, &one, NULL, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, NULL, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, slots, 0, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, high, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, slots, 1, &bad, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, slots, 1, NULL, NULL), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(NULL, &one, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put(space, &one, memory, hole, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, slots, 200000, NULL, &op), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvs_lookup(connector, &space, 0, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_lookup(connector, &space, 65, &one, NULL, &op), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvs_lookup(connector, NULL, 1, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_lookup(NULL, &space, 1, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_delete(NULL, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_delete(space, NULL, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_release(NULL, 1), KVS_ERR_INVALID);
  assert_int_equal(kvs_wait(connector, 1234, 0, &completion), KVS_ERR_INVALID);
  assert_int_equal(kvs_wait(connector, 0, 0, &completion), KVS_ERR_INVALID);
  assert_int_equal(kvs_wait(connector, 0, 0, NULL), KVS_ERR_INVALID);
  assert_int_equal(kvs_poll(NULL, &completion, 1), 0);
  assert_int_equal(kvs_poll(connector, &completion, 1), 0);
  assert_int_equal(kvs_fd(NULL), -1);
  assert_int_equal(kvs_state(NULL, NULL, 0), KVS_ERR_INVALID);
  kvs_get_counters(connector, &after);
  assert_int_equal(before.get_chunks, after.get_chunks);
  assert_int_equal(after.in_flight, 0);
}

static void memory_in_use_stays_registered(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "busy", 0);
  struct test_memory memory;
  int64_t slots[] = {0};
  kvs_keys one = world->keys.keys;
  kvs_op op;

  one.n = 1;
  test_memory_init(&memory, world->connector, 2, 4, 8);
  assert_int_equal(kvs_put(space, &one, memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_memory_unregister(memory.registered),
                   KVS_ERR_BUSY); /* until the completion is taken */
  test_wait(world->connector, op);
  assert_int_equal(kvs_get(space, &one, memory.registered, slots, 0, NULL, &op),
                   KVS_ERR_INVALID); /* holds nothing */
  test_memory_destroy(&memory);
}

static void memory_of_another_connector_is_refused(void **state)
{
  struct world *world = *state;
  kvs_connector *other = test_open("embedded:64MiB");
  kvs_space *space = test_space(other, "other", 0);
  int64_t slots[] = {0};
  kvs_keys one = world->keys.keys;
  kvs_hint hint = {.struct_size = sizeof(hint), .program = "p"};
  kvs_op op;

  one.n = 1;
  assert_int_equal(kvs_put(space, &one, world->memory.registered, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_lookup(world->connector, &space, 1, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_send_hint(world->connector, &hint, space, &one, NULL, &op), KVS_ERR_INVALID);
  kvs_close(other);
}

static void cancelled_operations_complete_once(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "cancel", 0);
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  kvs_completion completion;
  kvs_op op;

  assert_int_equal(kvs_put(space, &world->keys.keys, world->memory.registered, slots, 1, NULL, &op), KVS_OK);
  kvs_cancel(world->connector, op); /* too late, or not: both are fine */
  completion = test_wait(world->connector, op);
  assert_true(completion.status == KVS_OK || completion.status == KVS_ERR_CANCELED ||
              completion.status == KVS_PARTIAL);
  assert_int_equal(kvs_wait(world->connector, op, 0, &completion), KVS_ERR_INVALID);
  assert_int_equal(kvs_cancel(world->connector, op), KVS_ERR_INVALID);
  assert_int_equal(kvs_cancel(world->connector, 0), KVS_ERR_INVALID);
  assert_int_equal(kvs_cancel(NULL, op), KVS_ERR_INVALID);
}

static void completions_come_through_the_descriptor(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "queue", 0);
  struct pollfd ready = {.fd = kvs_fd(world->connector), .events = POLLIN};
  kvs_op ops[100];
  bool seen[100] = {false};
  uint32_t taken = 0;

  for (uint32_t i = 0; i < 100; i++) {
    kvs_request request = {.struct_size = sizeof(request), .user = 1000 + i};

    assert_int_equal(kvs_lookup(world->connector, &space, 1, &world->keys.keys, &request, &ops[i]), KVS_OK);
  }
  while (taken < 100) {
    kvs_completion completions[40];
    size_t n;

    assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
    n = kvs_poll(world->connector, completions, 40);
    for (size_t i = 0; i < n; i++, taken++) {
      uint64_t index = completions[i].user - 1000;

      assert_true(index < 100);
      assert_false(seen[index]);
      seen[index] = true;
      assert_int_equal(completions[i].op, ops[index]);
      assert_int_equal(completions[i].status, KVS_MISS);
    }
  }
  assert_int_equal(poll(&ready, 1, 0), 0); /* and silent again */
}

static void the_number_of_operations_is_bounded(void **state)
{
  struct world *world = *state;
  kvs_options options = {.struct_size = sizeof(options),
                         .endpoint = test_endpoint(),
                         .max_operations = 3,
                         .wait_connected_ms = WAIT_MS};
  kvs_counters counters = {.struct_size = sizeof(counters)};
  kvs_connector *connector;
  kvs_space *space;
  kvs_op ops[3], op = 5;

  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  space = test_space(connector, "bounded", 0);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(kvs_lookup(connector, &space, 1, &world->keys.keys, NULL, &ops[i]), KVS_OK);
  assert_int_equal(kvs_lookup(connector, &space, 1, &world->keys.keys, NULL, &op), KVS_ERR_BUSY);
  assert_int_equal(op, 0);
  test_wait(connector, ops[1]);
  assert_int_equal(kvs_lookup(connector, &space, 1, &world->keys.keys, NULL, &op), KVS_OK);
  test_wait(connector, op);
  kvs_get_counters(connector, &counters);
  assert_int_equal(counters.busy, 1);
  kvs_close(connector); /* with two completions that nobody took */
}

static void closing_ends_what_is_open(void **state)
{
  struct world *world = *state;
  kvs_connector *connector = test_open(NULL);
  kvs_space *space = test_space(connector, "closing", 0);
  struct test_memory memory;
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  kvs_op op;

  test_memory_init(&memory, connector, 8, 8, 8);
  for (int i = 0; i < 10; i++)
    assert_int_equal(kvs_put(space, &world->keys.keys, memory.registered, slots, 1, NULL, &op), KVS_OK);
  kvs_close(connector);
  free(memory.bytes); /* nobody touches it any more */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(wrong_arguments_start_nothing),
      CASE(memory_in_use_stays_registered),
      CASE(memory_of_another_connector_is_refused),
      CASE(cancelled_operations_complete_once),
      CASE(completions_come_through_the_descriptor),
      CASE(the_number_of_operations_is_bounded),
      CASE(closing_ends_what_is_open),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
