/* The names of damaged chunks: the newest first, no more than there is room for; and the measure of how fast bytes move. */
#include "testing.h"

#include "tiers/damage.h"
#include "tiers/rate.h"

static void note(struct kvi_damages *damages, uint8_t number)
{
  uint8_t space[KVS_DIGEST_SIZE] = {number, 1}, key[KVS_KEY_MAX] = {number, 2};

  kvi_damages_note(damages, "tenant", space, key, number % 2 ? KVS_KEY_MAX : KVS_KEY_MIN, KVI_TIER_SSD,
                   KVI_DAMAGE_BY_SCRUB);
}

static void newest_first_and_bounded(void **state)
{
  struct kvi_damage list[KVI_DAMAGES_MAX];
  struct kvi_damages damages;

  (void)state;
  kvi_damages_init(&damages);
  assert_int_equal(kvi_damages_list(&damages, list), 0);
  for (uint8_t i = 0; i < 3; i++)
    note(&damages, i);
  assert_int_equal(kvi_damages_list(&damages, list), 3);
  for (uint8_t i = 0; i < 3; i++) {
    assert_int_equal(list[i].space[0], 2 - i);
    assert_int_equal(list[i].key[0], 2 - i);
    assert_int_equal(list[i].key[1], 2);
    assert_int_equal(list[i].key_length, (2 - i) % 2 ? KVS_KEY_MAX : KVS_KEY_MIN);
    assert_int_equal(list[i].tier, KVI_TIER_SSD);
    assert_string_equal(list[i].tenant, "tenant");
    assert_string_equal(kvi_damage_found_name(list[i].found), "scrub");
  }
  assert_true(list[0].at_ns >= list[2].at_ns);
  for (uint8_t i = 3; i < 100; i++)
    note(&damages, i);
  assert_int_equal(kvi_damages_list(&damages, list), KVI_DAMAGES_MAX);
  for (uint8_t i = 0; i < KVI_DAMAGES_MAX; i++)
    assert_int_equal(list[i].key[0], 99 - i);
  kvi_damages_destroy(&damages);
}

static void bytes_side_by_side_count_together(void **state)
{
  const uint64_t ms = KVI_NS_PER_MS;
  struct kvi_rate rate = {0};

  (void)state;
  kvi_rate_begin(&rate, 1000 * ms);
  kvi_rate_begin(&rate, 1000 * ms);
  kvi_rate_end(&rate, 500000, 1010 * ms);
  assert_int_equal(rate.bytes_per_s, 0); /* one is still under way */
  kvi_rate_end(&rate, 500000, 1010 * ms);
  assert_in_range(rate.bytes_per_s, 99000000, 100000000); /* 1 MB in 10 ms */

  /* Idle time does not count, and what failed does not count as infinitely slow. */
  kvi_rate_begin(&rate, 9000 * ms);
  kvi_rate_end(&rate, 1000000, 9010 * ms);
  assert_in_range(rate.bytes_per_s, 98000000, 101000000);
  kvi_rate_begin(&rate, 9100 * ms);
  kvi_rate_end(&rate, 0, 9200 * ms);
  assert_in_range(rate.bytes_per_s, 98000000, 101000000);

  /* Never idle: measured once a window all the same. */
  kvi_rate_begin(&rate, 10000 * ms);
  for (uint64_t at = 10000; at < 14000; at += 10) {
    kvi_rate_begin(&rate, at * ms);
    kvi_rate_end(&rate, 100000, (at + 10) * ms);
  }
  assert_in_range(rate.bytes_per_s, 9000000, 12000000); /* it follows: 10 MB/s now */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(newest_first_and_bounded),
      cmocka_unit_test(bytes_side_by_side_count_together),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
