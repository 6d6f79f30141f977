/*
 * The marks of the memory: above the high one clean chunks leave it until the low one is reached, the oldest first, and nothing is lost by it. The
 * medium is in plain memory.
 */
#include "testing.h"

#include "memory_medium.h"
#include "store_waiting.h"

#define PAGE   4096u
#define PAGES  100u
#define CHUNK  3000u /* a page each */
#define CHUNKS 200u
#define HIGH   90u
#define LOW    50u

struct fixture {
  struct memory_medium *medium; /* NULL: none */
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t keys[CHUNKS * KEY_BYTES];
};

static void open_with(struct fixture *f, bool medium, enum kvi_policy_admission write)
{
  struct kvi_store_config config = {.dram_bytes = PAGES * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .dram_high_mark = HIGH,
                                    .dram_low_mark = LOW,
                                    .write = write};
  kvs_space_desc desc = testing_space("marks", KEY_BYTES);

  f->medium = medium ? memory_medium_create(false) : NULL;
  config.medium = medium ? &f->medium->medium : NULL;
  assert_int_equal(kvi_store_open(&config, &f->store), KVS_OK);
  testing_space_open(f->store, TENANT, &desc, f->space);
  for (uint32_t i = 0; i < CHUNKS; i++)
    testing_key(i, f->keys + (size_t)i * KEY_BYTES, KEY_BYTES);
}

static const uint8_t *key_of(const struct fixture *f, uint32_t i)
{
  return f->keys + (size_t)i * KEY_BYTES;
}

/* Chunks first to end - 1 of the chain. */
static void put(struct fixture *f, uint32_t first, uint32_t end)
{
  for (uint32_t i = first; i < end; i++)
    assert_int_equal(testing_put(f->store, TENANT, f->space, key_of(f, i), KEY_BYTES,
                                 i > 0 ? key_of(f, i - 1) : NULL, i, CHUNK, i),
                     KVS_OK);
}

static void put_alone(struct fixture *f, uint32_t i)
{
  assert_int_equal(testing_put(f->store, TENANT, f->space, key_of(f, i), KEY_BYTES, NULL, 0, CHUNK, i),
                   KVS_OK);
}

static kvs_status get(struct fixture *f, uint32_t i)
{
  uint32_t cause;

  return waiting_get(f->store, TENANT, f->space, key_of(f, i), i, &cause);
}

static struct kvi_store_stats stats_of(struct fixture *f)
{
  struct kvi_store_stats stats;

  kvi_store_stats(f->store, &stats);
  return stats;
}

static uint64_t pages(struct fixture *f)
{
  return stats_of(f).dram.used_bytes / PAGE;
}

static void lookup(struct fixture *f, uint32_t n, uint32_t lease_ms, uint8_t *tiers)
{
  const uint8_t *space = f->space;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = f->keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n,
                                   .lease_ms = lease_ms,
                                   .peek = lease_ms == 0};
  struct kvi_store_lookup_result result = {.tiers = tiers};

  assert_int_equal(kvi_store_lookup(f->store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, n);
  assert_int_equal(result.lease != 0, lease_ms != 0);
}

static void from_the_high_mark_to_the_low_one(void **state)
{
  uint8_t tiers[HIGH + 1];
  struct fixture f;

  (void)state;
  open_with(&f, true, KVI_ADMIT_ALL);
  put(&f, 0, HIGH);
  AWAIT(stats_of(&f).medium_chunks == HIGH);
  assert_int_equal(pages(&f), HIGH); /* at the mark, not above */
  put(&f, HIGH, HIGH + 1);
  AWAIT(pages(&f) == LOW);
  AWAIT(stats_of(&f).medium_chunks == HIGH + 1); /* it has no say in what had to go */
  assert_int_equal(stats_of(&f).demotions_by[KVI_DEMOTE_MARK], HIGH + 1 - LOW);
  assert_int_equal(stats_of(&f).demotions_by[KVI_DEMOTE_ROOM], 0);
  assert_int_equal(stats_of(&f).evictions, 0);
  lookup(&f, HIGH + 1, 0, tiers);
  for (uint32_t i = 0; i <= HIGH; i++)
    assert_int_equal(tiers[i], i < HIGH + 1 - LOW ? KVI_TIER_SSD : KVI_TIER_DRAM);
  for (uint32_t i = 0; i <= HIGH; i++) /* reading them crosses it again and again */
    assert_int_equal(get(&f, i), KVS_OK);
  kvi_store_close(f.store);
}

static void a_lease_holds_over_it(void **state)
{
  struct fixture f;

  (void)state;
  open_with(&f, true, KVI_ADMIT_ALL);
  put(&f, 0, HIGH);
  AWAIT(stats_of(&f).medium_chunks == HIGH);
  lookup(&f, HIGH, 600000, NULL);
  put_alone(&f, HIGH);
  AWAIT(pages(&f) == LOW);
  for (uint32_t i = 0; i < HIGH; i++)
    assert_int_equal(get(&f, i), KVS_OK);
  kvi_store_close(f.store);
}

/* The medium takes nothing: there is nothing that could leave memory and stay. Then it takes all. */
static void goes_on_when_there_is_something_clean(void **state)
{
  struct fixture f;

  (void)state;
  open_with(&f, true, KVI_ADMIT_ALL);
  memory_hold(f.medium, true);
  put(&f, 0, HIGH + 2);
  assert_int_equal(pages(&f), HIGH + 2);
  memory_hold(f.medium, false);
  AWAIT(pages(&f) == LOW);
  assert_int_equal(stats_of(&f).evictions, 0);
  assert_int_equal(stats_of(&f).chunks, HIGH + 2);
  kvi_store_close(f.store);
}

/* What is in memory only and older than all that is clean goes when room is needed, not before; what is clean is not taken in its place. */
static void drops_nothing(void **state)
{
  struct fixture f;
  uint32_t clean = HIGH - 5;

  (void)state;
  open_with(&f, true, KVI_ADMIT_REUSED);
  for (uint32_t i = 0; i < 5; i++)
    put_alone(&f, i); /* never used */
  for (uint32_t i = 5; i < HIGH; i++) {
    put_alone(&f, i);
    assert_int_equal(get(&f, i), KVS_OK);
  }
  AWAIT(stats_of(&f).medium_chunks == clean);
  for (uint32_t i = HIGH; i < PAGES + 4; i++)
    put_alone(&f, i);
  assert_int_equal(stats_of(&f).evictions, 4);
  assert_int_equal(pages(&f), PAGES);
  assert_int_equal(stats_of(&f).medium_only, 0);
  put_alone(&f, PAGES + 4);    /* the last of the old ones */
  AWAIT(pages(&f) <= LOW + 1); /* one more if all that was done before the put took what it had evicted for */
  assert_int_equal(stats_of(&f).evictions, 5);
  assert_in_range(stats_of(&f).demotions_by[KVI_DEMOTE_MARK], PAGES - LOW - 1, PAGES - LOW);
  for (uint32_t i = 5; i < PAGES + 5; i++)
    assert_int_equal(get(&f, i), KVS_OK);
  kvi_store_close(f.store);
}

static void room_of_readers_counts_as_free(void **state)
{
  struct kvi_source sources[20];
  struct fixture f;
  uint32_t cause;

  (void)state;
  open_with(&f, true, KVI_ADMIT_ALL);
  put(&f, 0, HIGH);
  AWAIT(stats_of(&f).medium_chunks == HIGH);
  for (uint32_t i = 0; i < 20; i++)
    assert_int_equal(
        kvi_store_get_open(f.store, TENANT, f.space, key_of(&f, i), KEY_BYTES, NULL, &sources[i], &cause),
        KVS_OK);
  for (uint32_t i = 0; i < 20; i++) /* gone, but read */
    assert_int_equal(kvi_store_delete(f.store, TENANT, f.space, key_of(&f, i), KEY_BYTES), KVS_OK);
  put_alone(&f, HIGH);
  AWAIT(stats_of(&f).dram.zombie_bytes / PAGE == 20 && pages(&f) == LOW + 20);
  for (uint32_t i = 0; i < 20; i++) {
    assert_true(testing_matches(&sources[i], i));
    kvi_store_get_close(f.store, &sources[i]);
  }
  assert_int_equal(pages(&f), LOW);
  kvi_store_close(f.store);
}

static void nothing_happens_without_a_tier_below(void **state)
{
  struct fixture f;

  (void)state;
  open_with(&f, false, KVI_ADMIT_ALL);
  put(&f, 0, PAGES);
  assert_int_equal(pages(&f), PAGES);
  assert_int_equal(stats_of(&f).evictions, 0);
  kvi_store_close(f.store);
}

static void marks_that_make_no_sense_are_refused(void **state)
{
  struct kvi_store_config config = {.dram_bytes = PAGES * PAGE, .dram_page_bytes = PAGE};
  struct kvi_store *store;

  (void)state;
  config.dram_high_mark = 101;
  assert_int_equal(kvi_store_open(&config, &store), KVS_ERR_INVALID);
  config.dram_high_mark = 50;
  config.dram_low_mark = 51;
  assert_int_equal(kvi_store_open(&config, &store), KVS_ERR_INVALID);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(from_the_high_mark_to_the_low_one),
      cmocka_unit_test(a_lease_holds_over_it),
      cmocka_unit_test(goes_on_when_there_is_something_clean),
      cmocka_unit_test(drops_nothing),
      cmocka_unit_test(room_of_readers_counts_as_free),
      cmocka_unit_test(nothing_happens_without_a_tier_below),
      cmocka_unit_test(marks_that_make_no_sense_are_refused),
  };

  return cmocka_run_group_tests_name("tiers/marks", tests, NULL, NULL);
}
