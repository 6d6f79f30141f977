/* connector_testing.h: a connector on the endpoint under test with some memory and keys, made anew for each case. */
#ifndef KVI_TESTS_UNIT_CONNECTOR_CONNECTOR_TESTING_H
#define KVI_TESTS_UNIT_CONNECTOR_CONNECTOR_TESTING_H

#include "tests/unit/connector/fixture.h"

#include <stdlib.h>

#define SLOTS 32u

struct world {
  kvs_connector *connector;
  struct test_memory memory;
  struct test_keys keys;
};

static inline int set_up(void **state)
{
  struct world *world = calloc(1, sizeof(*world));

  world->connector = test_open(NULL);
  test_memory_init(&world->memory, world->connector, 6, SLOTS, 24);
  test_keys_init(&world->keys, 8);
  *state = world;
  return 0;
}

static inline int tear_down(void **state)
{
  struct world *world = *state;
  kvs_counters counters = {.struct_size = sizeof(counters)};

  kvs_get_counters(world->connector, &counters);
  assert_int_equal(counters.in_flight, 0);
  test_memory_destroy(&world->memory); /* and so nothing uses it */
  kvs_close(world->connector);
  free(world);
  return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
