/* The queue of chunks that wait to be written to the medium: who goes when it is full, and what is never written. */
#include "testing.h"

#include "memory_medium.h"
#include "store_waiting.h"

#define CHUNK    1000u
#define UNDERWAY 16u /* as many as the store gives to a medium at a time */
#define QUEUE    4u

struct fixture {
  struct memory_medium *medium;
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE];
};

static int setup_with(void **state, enum kvi_policy_admission write)
{
  struct fixture *f = calloc(1, sizeof(*f));
  struct kvi_store_config config = {.dram_bytes = 4 << 20, .write_queue = QUEUE, .write = write};
  kvs_space_desc desc = testing_space("queue", KEY_BYTES);

  f->medium = memory_medium_create(false);
  config.medium = &f->medium->medium;
  assert_int_equal(kvi_store_open(&config, &f->store), KVS_OK);
  testing_space_open(f->store, TENANT, &desc, f->space);
  memory_hold(f->medium, true);
  *state = f;
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

static int teardown(void **state)
{
  struct fixture *f = *state;

  kvi_store_close(f->store);
  free(f);
  return 0;
}

static void put(struct fixture *f, uint32_t first, uint32_t end)
{
  uint8_t key[KEY_BYTES];

  for (uint32_t i = first; i < end; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_put(f->store, TENANT, f->space, key, KEY_BYTES, NULL, 0, CHUNK, i), KVS_OK);
  }
}

static void use(struct fixture *f, uint32_t first, uint32_t end)
{
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  for (uint32_t i = first; i < end; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_get(f->store, TENANT, f->space, key, KEY_BYTES, i, &cause), KVS_OK);
  }
}

static void forget(struct fixture *f, uint32_t i)
{
  uint8_t key[KEY_BYTES];

  testing_key(i, key, KEY_BYTES);
  assert_int_equal(kvi_store_delete(f->store, TENANT, f->space, key, KEY_BYTES), KVS_OK);
}

/* When it was written: places are given in order. UINT32_MAX: it is not there. */
static uint32_t turn_of(struct fixture *f, uint32_t i)
{
  uint8_t key[KEY_BYTES];

  testing_key(i, key, KEY_BYTES);
  return memory_place(f->medium,
                      &(struct kvi_medium_identity){
                          .tenant = TENANT, .space = f->space, .key = key, .key_length = KEY_BYTES});
}

static struct kvi_store_stats stats_of(struct fixture *f)
{
  struct kvi_store_stats stats;

  kvi_store_stats(f->store, &stats);
  return stats;
}

static void let_it_write(struct fixture *f)
{
  memory_hold(f->medium, false);
  memory_settle(f->medium);
}

/* It comes again when nothing else waits. */
static void the_oldest_is_shed(void **state)
{
  struct fixture *f = *state;
  uint32_t full = UNDERWAY + QUEUE;

  put(f, 0, full);
  assert_int_equal(stats_of(f).writes_queued, QUEUE);
  assert_int_equal(stats_of(f).writes_shed, 0);
  put(f, full, full + 3);
  assert_int_equal(stats_of(f).writes_queued, QUEUE);
  assert_int_equal(stats_of(f).writes_shed, 3);
  let_it_write(f);
  for (uint32_t i = 0; i < UNDERWAY; i++)
    assert_int_equal(turn_of(f, i), i);
  for (uint32_t i = UNDERWAY; i < UNDERWAY + 3; i++)
    assert_int_equal(turn_of(f, i), i + QUEUE);
  for (uint32_t i = UNDERWAY + 3; i < full + 3; i++)
    assert_int_equal(turn_of(f, i), i - 3);
  assert_int_equal(stats_of(f).medium_chunks, full + 3);
}

/* The place of one that has gone is free: nobody has to make way. */
static void what_has_gone_makes_way_first(void **state)
{
  struct fixture *f = *state;
  uint32_t full = UNDERWAY + QUEUE;

  put(f, 0, full);
  forget(f, UNDERWAY);
  assert_int_equal(stats_of(f).writes_queued, QUEUE - 1);
  put(f, full, full + 1);
  assert_int_equal(stats_of(f).writes_shed, 0);
  put(f, full + 1, full + 2);
  assert_int_equal(stats_of(f).writes_shed, 1);
  let_it_write(f);
  assert_int_equal(turn_of(f, UNDERWAY), UINT32_MAX);
  assert_int_equal(turn_of(f, UNDERWAY + 1), full); /* the one that was shed: the last */
}

static void what_was_deleted_is_not_written(void **state)
{
  struct fixture *f = *state;

  put(f, 0, UNDERWAY + 2);
  forget(f, 3);        /* under way: the copy is let go of when it ends */
  forget(f, UNDERWAY); /* in the queue */
  put(f, UNDERWAY, UNDERWAY + 1);
  let_it_write(f);
  for (uint32_t i = 0; i < UNDERWAY + 2; i++)
    assert_int_equal(turn_of(f, i) == UINT32_MAX, i == 3);
  assert_int_equal(f->medium->puts, UNDERWAY + 2);
  assert_int_equal(stats_of(f).medium_chunks, UNDERWAY + 1);
}

/* A place that is kept for another try names the chunk by its entry and object, which may be another's by then: that one is written in its own time, and once. */
static void a_place_of_one_that_has_gone(void **state)
{
  struct fixture *f = *state;
  uint32_t full = UNDERWAY + QUEUE, other = full + 1;

  put(f, 0, full + 1);
  use(f, 0, full + 1);
  assert_int_equal(stats_of(f).writes_shed, 1);
  forget(f, UNDERWAY); /* the one that was shed */
  put(f, other, other + 1);
  let_it_write(f);
  assert_int_equal(turn_of(f, UNDERWAY), UINT32_MAX);
  assert_int_equal(turn_of(f, other), UINT32_MAX); /* it was not used yet */
  use(f, other, other + 1);
  memory_settle(f->medium);
  assert_int_equal(turn_of(f, other), full);
  assert_int_equal(stats_of(f).medium_chunks, full + 1);
  assert_int_equal(stats_of(f).writes_queued, 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* What waits to be written fills a part of memory that it cannot leave: it is to be written as it is, not encoded first. */
static void a_full_memory_is_in_a_hurry(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20, .dram_page_bytes = 4096, .write_queue = 4096};
  kvs_space_desc desc = testing_space("hurry", KEY_BYTES);
  struct fixture f = {.medium = memory_medium_create(false)};
  uint8_t key[KEY_BYTES];

  (void)state;
  config.medium = &f.medium->medium;
  assert_int_equal(kvi_store_open(&config, &f.store), KVS_OK);
  testing_space_open(f.store, TENANT, &desc, f.space);
  memory_hold(f.medium, true);
  for (uint32_t i = 0; i < UNDERWAY + 20; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_put(f.store, TENANT, f.space, key, KEY_BYTES, NULL, 0, 20000, i), KVS_OK);
  }
  let_it_write(&f);
  assert_int_equal(f.medium->puts, UNDERWAY + 20);
  assert_in_range(f.medium->hurried, 1, 19); /* until a quarter of memory or less waits */
  kvi_store_close(f.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(the_oldest_is_shed), CASE(what_has_gone_makes_way_first), CASE(what_was_deleted_is_not_written),
      cmocka_unit_test(a_full_memory_is_in_a_hurry),
      cmocka_unit_test_setup_teardown(a_place_of_one_that_has_gone, setup_reused, teardown)};

  return cmocka_run_group_tests_name("tiers/write_queue", tests, NULL, NULL);
}
