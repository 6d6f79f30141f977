/* The day's budget of bytes, by a clock of its own; and the store's use of it. */
#include "testing.h"

#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/budget.h"

#define MIB    (UINT64_C(1) << 20)
#define TIB    (UINT64_C(1) << 40)
#define DAY_NS (86400 * KVI_NS_PER_S)
#define START  (12345 * KVI_NS_PER_S + 6789)

/* What may be taken at once, by halving. */
static uint64_t takable(const struct kvi_budget *budget, uint64_t now_ns)
{
  uint64_t low = 0, high = UINT64_C(1) << 62;

  while (low < high) {
    struct kvi_budget copy = *budget;
    uint64_t middle = low + (high - low + 1) / 2;

    if (kvi_budget_take(&copy, middle, now_ns))
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

static void it_begins_with_an_hours_worth(void **state)
{
  struct kvi_budget budget;

  (void)state;
  kvi_budget_init(&budget, 24 * 1000, 10, START);
  assert_false(kvi_budget_take(&budget, 1001, START));
  assert_true(kvi_budget_take(&budget, 600, START));
  assert_true(kvi_budget_take(&budget, 400, START));
  assert_false(kvi_budget_take(&budget, 1, START));
}

static void what_was_not_needed_is_given_back(void **state)
{
  struct kvi_budget budget;

  (void)state;
  kvi_budget_init(&budget, 24 * 1000, 10, START);
  assert_true(kvi_budget_take(&budget, 900, START));
  kvi_budget_give(&budget, 300);
  assert_int_equal(takable(&budget, START), 400);
  kvi_budget_give(&budget, UINT64_MAX); /* no more than may be had at once */
  assert_int_equal(takable(&budget, START), 1000);
  kvi_budget_init(&budget, 0, 10, START);
  kvi_budget_give(&budget, 5);
  assert_true(kvi_budget_take(&budget, UINT64_MAX, START));
}

static void none_is_no_bound(void **state)
{
  struct kvi_budget budget;

  (void)state;
  kvi_budget_init(&budget, 0, 10, START);
  assert_true(kvi_budget_take(&budget, UINT64_MAX, START));
}

/* Asked every millisecond, and every nanosecond that is a prime number of them: as much as if asked once. */
static void small_ones_refill_however_often_they_are_asked(void **state)
{
  static const uint64_t days[] = {24, 1000, 86399999, 86400001, 500 * MIB};
  static const uint64_t steps[] = {KVI_NS_PER_MS, 999983, 1000003, 7919};

  (void)state;
  for (size_t d = 0; d < sizeof(days) / sizeof(days[0]); d++)
    for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
      uint64_t now = START, span = 2000000 * steps[s];
      struct kvi_budget often, once;

      kvi_budget_init(&often, days[d], 100000 * MIB, START);
      assert_true(kvi_budget_take(&often, days[d] / 24, START));
      once = often;
      while (now < START + span) {
        now += steps[s];
        (void)kvi_budget_take(&often, UINT64_MAX, now); /* refused: nothing is taken */
      }
      assert_in_range(takable(&often, now), takable(&once, now), takable(&once, now) + 1);
      /* days[d] * span / DAY_NS: without a fault of rounding beyond a millisecond's worth */
      assert_in_range(takable(&often, now),
                      (uint64_t)((double)days[d] * (double)(span - KVI_NS_PER_MS) / (double)DAY_NS),
                      (uint64_t)((double)days[d] * (double)span / (double)DAY_NS) + 1);
    }
}

static void large_ones_do_not_overflow(void **state)
{
  static const uint64_t days[] = {100 * TIB, 211 * TIB, 500 * TIB, 1024 * TIB};
  static const uint64_t idle[] = {DAY_NS - 1, DAY_NS, 3 * DAY_NS, 3000 * DAY_NS};

  (void)state;
  for (size_t d = 0; d < sizeof(days) / sizeof(days[0]); d++)
    for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
      struct kvi_budget budget;

      kvi_budget_init(&budget, days[d], 128 * MIB, START);
      assert_true(kvi_budget_take(&budget, days[d] / 24, START));
      assert_int_equal(takable(&budget, START + idle[i]), days[d] / 24); /* an hour's worth, not more */
      assert_true(kvi_budget_take(&budget, days[d] / 24, START + idle[i]));
      assert_false(kvi_budget_take(&budget, days[d] / 24, START + idle[i])); /* what lay idle is over */
      assert_in_range(takable(&budget, START + idle[i] + 60 * KVI_NS_PER_S), days[d] / 1441, days[d] / 1439);
    }
}

/* Whatever is asked for and when: over a day not more than it and the hour's worth it began with. */
static void a_day_is_the_bound(void **state)
{
  uint64_t day = 3 * MIB, taken = 0, now = START;
  struct kvi_budget budget;
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 7);
  kvi_budget_init(&budget, day, 100000, START);
  while (now < START + DAY_NS) {
    uint64_t bytes = 1 + kvi_rand_below(&rand, 100000);

    taken += kvi_budget_take(&budget, bytes, now) ? bytes : 0;
    now += kvi_rand_below(&rand, 5 * KVI_NS_PER_S);
  }
  assert_in_range(taken, day - 100000, day + day / 24);
}

static void one_chunk_may_always_come_to_be_written(void **state)
{
  struct kvi_budget budget;

  (void)state;
  kvi_budget_init(&budget, 2400, 1000, START); /* an hour's worth is a tenth of a chunk */
  assert_false(kvi_budget_take(&budget, 1000, START));
  assert_false(kvi_budget_take(&budget, 1000, START + DAY_NS / 3));
  assert_true(kvi_budget_take(&budget, 1000, START + DAY_NS / 2));
  kvi_budget_init(&budget, 1000, 5000, START); /* more than a day's worth, which begins with 41 */
  assert_int_equal(takable(&budget, START + 3 * DAY_NS), 3041);
  assert_false(kvi_budget_take(&budget, 5000, START + 4 * DAY_NS));
  assert_true(kvi_budget_take(&budget, 5000, START + 5 * DAY_NS));
}

/* ---- the store ---- */

static void beyond_it_chunks_stay_in_memory_only(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = {.dram_bytes = 4 << 20,
                                    .chunk_bytes_max = 20000,
                                    .write_day_bytes = 24 * 30000,
                                    .medium = &medium->medium};
  kvs_space_desc desc = testing_space("budget", KEY_BYTES);
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES];
  struct kvi_store_stats stats;
  struct kvi_store *store;
  uint32_t cause;

  (void)state;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  testing_space_open(store, TENANT, &desc, space);
  for (uint32_t i = 0; i < 5; i++) { /* three chunks are an hour's worth; the next comes 20 minutes later */
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_put(store, TENANT, space, key, KEY_BYTES, NULL, 0, 10000, i), KVS_OK);
  }
  AWAIT((kvi_store_stats(store, &stats), stats.medium_chunks == 3));
  assert_int_equal(stats.writes_over_budget, 2);
  assert_int_equal(stats.writes_queued, 0);
  for (uint32_t i = 0; i < 5; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(waiting_get(store, TENANT, space, key, i, &cause), KVS_OK);
  }
  kvi_store_close(store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_begins_with_an_hours_worth),
      cmocka_unit_test(none_is_no_bound),
      cmocka_unit_test(what_was_not_needed_is_given_back),
      cmocka_unit_test(small_ones_refill_however_often_they_are_asked),
      cmocka_unit_test(large_ones_do_not_overflow),
      cmocka_unit_test(a_day_is_the_bound),
      cmocka_unit_test(one_chunk_may_always_come_to_be_written),
      cmocka_unit_test(beyond_it_chunks_stay_in_memory_only),
  };

  return cmocka_run_group_tests_name("tiers/budget", tests, NULL, NULL);
}
