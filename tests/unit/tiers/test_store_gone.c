/* Why what a program held is not there any more: it has ended, its time was over, or neither. By a clock that the test turns. */
#include "store_testing.h"

#include <math.h>

#include "chains_testing.h"
#include "tiers/store_private.h"

static struct world *world_under(const char *policy)
{
  const struct kvi_store_config config = {.dram_bytes = (uint64_t)CHAIN_MOST * PAGE,
                                          .dram_page_bytes = PAGE,
                                          .max_chunks = 1024,
                                          .policy = policy};

  return world_new(config, NULL);
}

static int setup(void **state)
{
  *state = world_under("index");
  return 0;
}

/* rule KVI_EVICT_RULES: it is not remembered. */
static struct kvi_departure departure(struct world *world, uint32_t chain, uint32_t place)
{
  struct kvi_why why = why_of(world, chain, place);

  assert_false(why.here);
  if (!why.went)
    return (struct kvi_departure){.rule = KVI_EVICT_RULES};
  assert_int_equal(why.cause, why.departure.cause);
  return why.departure;
}

/* And why it is not there any more is that it has ended, of each of its chunks; of another that had to go it is not. So in memory, and for the want of an entry; an operator's word is one. */
static void ended_is_why(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_HUMAN}, ends = {.close = true};
  struct world *world = *state;
  uint32_t told = 0;

  prompt(world, 3, 15);
  say(world, "three", 3, 15, &waits);
  prompt(world, 4, 20);
  say(world, "four", 4, 20, &waits);
  say(world, "four", 0, 0, &ends);
  pthread_mutex_lock(&world->store->lock);
  assert_true(kvi_store_drop_one_locked(world->store));
  pthread_mutex_unlock(&world->store->lock);
  assert_int_equal(there(world, 4), 19);
  prompt(world, 5, 30);
  assert_int_equal(there(world, 4), 0);
  assert_int_equal(there(world, 3), 10);
  for (uint32_t i = 0; i < 20; i++) {
    struct kvi_departure gone = departure(world, 4, i);

    if (gone.rule == KVI_EVICT_RULES) /* its set of eight has others, of the same instant */
      continue;
    assert_int_equal(gone.cause, KVI_MISS_CLOSED);
    assert_int_equal(gone.rule, KVI_EVICT_CLOSED);
    told++;
  }
  assert_true(told > 0);
  for (uint32_t i = 10; i < 15; i++) {
    struct kvi_departure gone = departure(world, 3, i);

    assert_true(gone.rule == KVI_EVICT_RULES ||
                (gone.rule == KVI_EVICT_ROOM && gone.cause == KVI_MISS_EVICTED));
  }
  assert_int_equal(stats_of(world).evictions_by[0][KVI_EVICT_CLOSED], 20);
  assert_int_equal(stats_of(world).evictions_by[0][KVI_EVICT_ROOM], 5);
  say(world, "three", 0, 0, &ends);
  kvi_store_evict(world->store, TENANT, NULL, 1, &(uint64_t){0}, &(uint64_t){0});
  assert_int_equal(departure(world, 3, 9).rule, KVI_EVICT_ASKED);
}

static void let_go(struct world *world, uint32_t chain, uint32_t place, enum kvi_evict_rule rule)
{
  struct kvi_key_tag tag;
  uint8_t key[KEY_BYTES];
  uint32_t number;

  key_of(chain, place, key);
  kvi_key_tag(world->store, key, KEY_BYTES, &tag);
  pthread_mutex_lock(&world->store->lock);
  number = kvi_entry_find_locked(world->store, TENANT, world->space, KEY_BYTES, &tag);
  assert_int_not_equal(number, KVI_NONE);
  kvi_store_evict_one_locked(world->store, number, rule);
  pthread_mutex_unlock(&world->store->lock);
}

/* over_s 0: no time was told. */
static void expect_gone(struct world *world, uint32_t chain, uint32_t place, enum kvi_evict_rule rule,
                        enum kvi_miss_cause cause, double over_s)
{
  struct kvi_departure gone;

  let_go(world, chain, place, rule);
  gone = departure(world, chain, place);
  assert_int_equal(gone.cause, cause);
  assert_int_equal(gone.rule, rule);
  assert_int_equal(gone.timed, over_s != 0);
  if (gone.timed)
    assert_true(fabs((double)gone.over_ns / SECOND - over_s) < 0.2);
}

/* What was kept for a told time, and had to go when it was over, has expired; when it was not, it was evicted. So by either rule of need, and by no other. */
static void told_times_run_out(void **state)
{
  static const struct {
    struct kvi_program_hint said;
    uint64_t after_s;
    enum kvi_evict_rule rule;
    enum kvi_miss_cause cause;
    double over_s;
  } cases[] = {
      {{.ttl_ms = 60000}, 30, KVI_EVICT_ROOM, KVI_MISS_EVICTED, -30},
      {{.ttl_ms = 60000}, 90, KVI_EVICT_ROOM, KVI_MISS_EXPIRED, 30},
      {{.ttl_ms = 60000}, 90, KVI_EVICT_INDEX, KVI_MISS_EXPIRED, 30},
      {{.ttl_ms = 60000}, 90, KVI_EVICT_ASKED, KVI_MISS_EVICTED, 30},
      {{.ttl_ms = 60000}, 90, KVI_EVICT_QUOTA, KVI_MISS_QUOTA, 30},
      {{.return_p90_ms = 60000}, 90, KVI_EVICT_ROOM, KVI_MISS_EXPIRED, 30},
      {{.return_p50_ms = 30000, .return_p90_ms = 60000}, 45, KVI_EVICT_ROOM, KVI_MISS_EVICTED, -15},
      {{.return_p50_ms = 30000}, 90, KVI_EVICT_ROOM, KVI_MISS_EVICTED, 0}, /* half of all come later */
      {{.return_p90_ms = 60000, .ttl_ms = 100000}, 90, KVI_EVICT_ROOM, KVI_MISS_EVICTED, -10},
      {{.return_p90_ms = 100000, .ttl_ms = 60000}, 90, KVI_EVICT_ROOM, KVI_MISS_EVICTED, -10},
      {{.wait_kind = KVI_WAIT_TOOL}, 90, KVI_EVICT_ROOM, KVI_MISS_EVICTED, 0},
  };
  struct world *world = *state;

  for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    prompt(world, 3, 2);
    assert_int_equal(hint(world, "three", 3, 2, &cases[i].said), KVI_HINT_ACCEPTED);
    world->now += cases[i].after_s * SECOND;
    expect_gone(world, 3, 1, cases[i].rule, cases[i].cause, cases[i].over_s);
    expect_gone(world, 3, 0, cases[i].rule, cases[i].cause, cases[i].over_s); /* who waits, waits there now */
  }
}

/* A time to live that is said of a beginning is that of its chunks alone. */
static void told_of_a_beginning(void **state)
{
  static const struct kvi_program_hint said = {
      .wait_kind = KVI_WAIT_TOOL, .ttl_ms = 60000, .range_tokens = 512};
  struct world *world = *state;

  prompt(world, 3, 3);
  assert_int_equal(hint(world, "three", 3, 3, &said), KVI_HINT_ACCEPTED);
  world->now += 90 * SECOND;
  expect_gone(world, 3, 2, KVI_EVICT_ROOM, KVI_MISS_EVICTED, 0);
  expect_gone(world, 3, 1, KVI_EVICT_ROOM, KVI_MISS_EXPIRED, 30);
}

/* Of several who wait at a chunk it is the one whose time ends last; and who has come back waits no more. */
static void the_last_time_counts(void **state)
{
  static const struct kvi_program_hint uses = {.turn = 1},
                                       first = {.wait_kind = KVI_WAIT_TOOL, .ttl_ms = 60000},
                                       second = {.wait_kind = KVI_WAIT_TOOL, .ttl_ms = 100000};
  struct world *world = *state;

  prompt(world, 3, 2);
  assert_int_equal(hint(world, "second", 3, 2, &second), KVI_HINT_ACCEPTED);
  assert_int_equal(hint(world, "first", 3, 2, &uses), KVI_HINT_ACCEPTED);
  assert_int_equal(hint(world, "first", 3, 2, &first), KVI_HINT_ACCEPTED);
  world->now += 90 * SECOND;
  expect_gone(world, 3, 1, KVI_EVICT_ROOM, KVI_MISS_EVICTED, -10);
  world->now += 20 * SECOND;
  expect_gone(world, 3, 0, KVI_EVICT_ROOM, KVI_MISS_EXPIRED, 10);
  prompt(world, 5, 1);
  assert_int_equal(hint(world, "first", 5, 1, &first), KVI_HINT_ACCEPTED);
  world->now += 120 * SECOND;
  prompt(world, 5, 1); /* it is back */
  expect_gone(world, 5, 0, KVI_EVICT_ROOM, KVI_MISS_EVICTED, 0);
  prompt(world, 6, 1);
  assert_int_equal(hint(world, "first", 6, 1, &first), KVI_HINT_ACCEPTED);
  world->now += 3600 * SECOND;
  assert_int_equal(hint(world, "second", 6, 1, &uses),
                   KVI_HINT_ACCEPTED); /* another uses it, and says no time */
  world->now += SECOND;
  expect_gone(world, 6, 0, KVI_EVICT_ROOM, KVI_MISS_EVICTED, 0);
}

/* As long as one of those who wait has told no time, none is over. */
static void one_told_no_time(void **state)
{
  static const struct kvi_program_hint uses = {.turn = 1}, waits = {.wait_kind = KVI_WAIT_TOOL},
                                       told = {.wait_kind = KVI_WAIT_TOOL, .ttl_ms = 10000};
  struct world *world = *state;

  prompt(world, 3, 1);
  assert_int_equal(hint(world, "silent", 3, 1, &waits), KVI_HINT_ACCEPTED);
  world->now += SECOND;
  assert_int_equal(hint(world, "told", 3, 1, &uses), KVI_HINT_ACCEPTED);
  assert_int_equal(hint(world, "told", 3, 1, &told), KVI_HINT_ACCEPTED);
  world->now += 100 * SECOND;
  expect_gone(world, 3, 0, KVI_EVICT_ROOM, KVI_MISS_EVICTED, 0);
}

/* And what was pinned and goes when that is over has expired, unless it was used since. */
static void pins_run_out(void **state)
{
  const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL};
  struct world *world = world_under("fixed-ttl");

  (void)state;
  prompt(world, 3, 3);
  prompt(world, 4, 1);
  assert_int_equal(hint(world, "three", 3, 3, &waits), KVI_HINT_ACCEPTED);
  world->now += SECOND;
  expect_gone(world, 3, 2, KVI_EVICT_ROOM, KVI_MISS_EVICTED, -1);
  world->now += 11 * SECOND;
  expect_gone(world, 3, 1, KVI_EVICT_ROOM, KVI_MISS_EXPIRED, 10);
  expect_gone(world, 4, 0, KVI_EVICT_ROOM, KVI_MISS_EVICTED, 0);
  prompt(world, 3, 1);
  expect_gone(world, 3, 0, KVI_EVICT_ROOM, KVI_MISS_EVICTED, 0);
  world_end(world);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(ended_is_why, setup, world_teardown),
      cmocka_unit_test_setup_teardown(told_times_run_out, setup, world_teardown),
      cmocka_unit_test_setup_teardown(the_last_time_counts, setup, world_teardown),
      cmocka_unit_test_setup_teardown(one_told_no_time, setup, world_teardown),
      cmocka_unit_test_setup_teardown(told_of_a_beginning, setup, world_teardown),
      cmocka_unit_test(pins_run_out),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
