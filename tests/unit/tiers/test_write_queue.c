/* The queue of chunks that wait to be written to the medium: who goes when it is full, and what is never written. */
#define CHUNK 1000u
#include "chains_testing.h"

#define UNDERWAY 16u /* as many as the store gives to a medium at a time */
#define QUEUE    4u

/* Prompts of one chunk each, in a store whose medium is held still. */
static int setup_with(void **state, enum kvi_policy_admission write)
{
  const struct kvi_store_config config = {.dram_bytes = 4 << 20, .write_queue = QUEUE, .write = write};
  struct world *world = world_new(config, memory_medium_create(false));

  memory_hold(world->medium, true);
  *state = world;
  return 0;
}

static int setup(void **state)
{
  return setup_with(state, KVI_ADMIT_ALL);
}

static int setup_reused(void **state)
{
  return setup_with(state, KVI_ADMIT_REUSED);
}

static void put(struct world *world, uint32_t first, uint32_t end)
{
  for (uint32_t i = first; i < end; i++)
    assert_int_equal(put_chunk(world, i, 0, CHUNK), KVS_OK);
}

/* It is in memory. */
static void use(struct world *world, uint32_t first, uint32_t end)
{
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  for (uint32_t i = first; i < end; i++) {
    key_of(i, 0, key);
    assert_int_equal(
        testing_get(world->store, TENANT, world->space, key, KEY_BYTES, chunk_number(i, 0), &cause), KVS_OK);
  }
}

/* When it was written: places are given in order. UINT32_MAX: it is not there. */
static uint32_t turn_of(struct world *world, uint32_t i)
{
  uint8_t key[KEY_BYTES];

  key_of(i, 0, key);
  return memory_place(world->medium,
                      &(struct kvi_medium_identity){
                          .tenant = TENANT, .space = world->space, .key = key, .key_length = KEY_BYTES});
}

static void let_it_write(struct world *world)
{
  memory_hold(world->medium, false);
  memory_settle(world->medium);
}

/* It comes again when nothing else waits. */
static void the_oldest_is_shed(void **state)
{
  struct world *world = *state;
  uint32_t full = UNDERWAY + QUEUE;

  put(world, 0, full);
  assert_int_equal(stats_of(world).writes_queued, QUEUE);
  assert_int_equal(stats_of(world).writes_shed, 0);
  put(world, full, full + 3);
  assert_int_equal(stats_of(world).writes_queued, QUEUE);
  assert_int_equal(stats_of(world).writes_shed, 3);
  let_it_write(world);
  for (uint32_t i = 0; i < UNDERWAY; i++)
    assert_int_equal(turn_of(world, i), i);
  for (uint32_t i = UNDERWAY; i < UNDERWAY + 3; i++)
    assert_int_equal(turn_of(world, i), i + QUEUE);
  for (uint32_t i = UNDERWAY + 3; i < full + 3; i++)
    assert_int_equal(turn_of(world, i), i - 3);
  assert_int_equal(stats_of(world).medium_chunks, full + 3);
}

/* The place of one that has gone is free: nobody has to make way. */
static void what_has_gone_makes_way_first(void **state)
{
  struct world *world = *state;
  uint32_t full = UNDERWAY + QUEUE;

  put(world, 0, full);
  drop_chunk(world, UNDERWAY, 0);
  assert_int_equal(stats_of(world).writes_queued, QUEUE - 1);
  put(world, full, full + 1);
  assert_int_equal(stats_of(world).writes_shed, 0);
  put(world, full + 1, full + 2);
  assert_int_equal(stats_of(world).writes_shed, 1);
  let_it_write(world);
  assert_int_equal(turn_of(world, UNDERWAY), UINT32_MAX);
  assert_int_equal(turn_of(world, UNDERWAY + 1), full); /* the one that was shed: the last */
}

static void what_was_deleted_is_not_written(void **state)
{
  struct world *world = *state;

  put(world, 0, UNDERWAY + 2);
  drop_chunk(world, 3, 0);        /* under way: the copy is let go of when it ends */
  drop_chunk(world, UNDERWAY, 0); /* in the queue */
  put(world, UNDERWAY, UNDERWAY + 1);
  let_it_write(world);
  for (uint32_t i = 0; i < UNDERWAY + 2; i++)
    assert_int_equal(turn_of(world, i) == UINT32_MAX, i == 3);
  assert_int_equal(world->medium->puts, UNDERWAY + 2);
  assert_int_equal(stats_of(world).medium_chunks, UNDERWAY + 1);
}

/* A place that is kept for another try names the chunk by its entry and object, which may be another's by then: that one is written in its own time, and once. */
static void a_place_of_one_that_has_gone(void **state)
{
  struct world *world = *state;
  uint32_t full = UNDERWAY + QUEUE, other = full + 1;

  put(world, 0, full + 1);
  use(world, 0, full + 1);
  assert_int_equal(stats_of(world).writes_shed, 1);
  drop_chunk(world, UNDERWAY, 0); /* the one that was shed */
  put(world, other, other + 1);
  let_it_write(world);
  assert_int_equal(turn_of(world, UNDERWAY), UINT32_MAX);
  assert_int_equal(turn_of(world, other), UINT32_MAX); /* it was not used yet */
  use(world, other, other + 1);
  memory_settle(world->medium);
  assert_int_equal(turn_of(world, other), full);
  assert_int_equal(stats_of(world).medium_chunks, full + 1);
  assert_int_equal(stats_of(world).writes_queued, 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, world_teardown)

/* What waits to be written fills a part of memory that it cannot leave: it is to be written as it is, not encoded first. */
static void a_full_memory_is_in_a_hurry(void **state)
{
  const struct kvi_store_config config = {
      .dram_bytes = 1 << 20, .dram_page_bytes = 4096, .write_queue = 4096};
  struct world *world = world_new(config, memory_medium_create(false));

  (void)state;
  memory_hold(world->medium, true);
  for (uint32_t i = 0; i < UNDERWAY + 20; i++)
    assert_int_equal(put_chunk(world, i, 0, 20000), KVS_OK);
  let_it_write(world);
  assert_int_equal(world->medium->puts, UNDERWAY + 20);
  assert_in_range(world->medium->hurried, 1, 19); /* until a quarter of memory or less waits */
  world_end(world);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(the_oldest_is_shed), CASE(what_has_gone_makes_way_first), CASE(what_was_deleted_is_not_written),
      cmocka_unit_test(a_full_memory_is_in_a_hurry),
      cmocka_unit_test_setup_teardown(a_place_of_one_that_has_gone, setup_reused, world_teardown)};

  return cmocka_run_group_tests_name("tiers/write_queue", tests, NULL, NULL);
}
