/* What the SSD tier does by itself keeps to what it was given: the scrubber's rate, and how much is written again to free room. */
#define CHUNKS 1000u
#include "ssd_fixture.h"

#include <unistd.h>

#define FILES 60u /* of 1 MiB, when it is turned over */
#define FULL  70u /* chunks of about 100 KB that fill most of 8 MiB */

/* An upper bound: a slow machine only scrubs less. */
static void test_the_scrubber_keeps_its_rate(void **state)
{
  struct fixture *f = *state;
  uint64_t rate = 2 * MIB, begin, until, elapsed_us;
  struct kvi_medium_stats stats;

  fixture_open(f);
  for (uint32_t i = 0; i < FULL; i++)
    assert_int_equal(put_number(f, i), KVS_OK);
  fixture_close(f);
  f->config.scrub_bytes_per_s = rate;
  begin = kvi_now_ns();
  until = begin + WAIT_SECONDS * KVI_NS_PER_S;
  fixture_open(f);
  do { /* what is told was read before the clock is */
    f->owner.medium->ops->stats(f->owner.medium, &stats);
    elapsed_us = (kvi_now_ns() - begin) / KVI_NS_PER_US;
    assert_in_range(stats.scrubbed_bytes, 0, rate * elapsed_us / 1000000 + CHUNK_MAX + 65536);
    usleep(5000);
  } while (stats.scrubbed_bytes < 2 * MIB && kvi_now_ns() < until);
  assert_true(stats.scrubbed_bytes >= 2 * MIB);
}

/*
 * Chunks leave in an order that is not the one they were put in, so that no file empties by itself, and are put again. What is copied is a share of the files that
 * are freed, and of the tier's size once.
 */
static void turn_over(struct fixture *f, uint32_t percent, uint32_t stride)
{
  struct kvi_medium_stats stats;

  f->config.bytes = FILES * MIB;
  f->config.copy_percent = percent;
  f->owner.stride = stride;
  fixture_open(f);
  for (uint32_t i = 0; i < 2 * CHUNKS; i++) {
    uint32_t number = i % CHUNKS;

    owner_drop(&f->owner, number, false);
    assert_int_equal(put_number(f, number), KVS_OK);
  }
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_true(stats.reclaims > FILES);
  assert_true(stats.copied_bytes > 0);
  assert_in_range(stats.copied_bytes, 1, (stats.reclaims + 1 + FILES / 2) * (MIB / 100 * percent));
  assert_true(stats.live_bytes > FILES * MIB / 4); /* and not because the tier was emptied */
  fixture_close(f);
  for (uint32_t i = 0; i < CHUNKS; i++)
    f->owner.handles[i] = 0;
  test_folder_remove(f->folder);
  test_folder_make(f->folder);
}

static void test_copying_keeps_its_budget(void **state)
{
  struct fixture *f = *state;

  turn_over(f, 25, 389);
  turn_over(f, 10, 389);
  turn_over(f, 10, 7);
  turn_over(f, 5, 7);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {CASE(test_the_scrubber_keeps_its_rate),
                                     CASE(test_copying_keeps_its_budget)};

  return cmocka_run_group_tests_name("tiers/ssd_rates", tests, NULL, NULL);
}
