/* Memory under pressure, and a tier below it: what has a copy there, or is to have one, keeps its planes, and what can leave memory whole does that first. */
#include "cut_testing.h"
#include "memory_medium.h"

/* Over a medium to which all that is put goes, or what is used. */
static struct memory_medium *open_above(struct coding_store *c, enum kvi_policy_admission write)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = ladder_config();

  config.medium = &medium->medium;
  config.write = write;
  open_with(c, &config);
  return medium;
}

/* It leaves memory as good as it is below. */
static void what_is_below_loses_none(void **state)
{
  struct coding_store c;
  struct memory_medium *medium = open_above(&c, KVI_ADMIT_ALL);

  (void)state;
  c.to.quality = QUALITY(0, 4);
  for (uint64_t i = 0; i < 60; i++) {
    put_coded(&c, i);
    AWAIT(store_stats_of(c.store).medium_chunks == i + 1);
  }
  assert_true(store_stats_of(c.store).medium_only > 10);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  /* and where it cannot be written, planes go */
  memory_fail(medium, KVS_OK, KVS_ERR_FULL);
  for (uint64_t i = 60; store_stats_of(c.store).cut_chunks < 20; i++) {
    put_coded(&c, i);
    memory_settle(medium);
  }
  close_it(&c);
}

/* Nothing is below any more: it may lose planes as others do. */
static void what_was_below_may_lose_some(void **state)
{
  struct coding_store c;
  struct memory_medium *medium = open_above(&c, KVI_ADMIT_ALL);
  uint64_t n = 0;

  (void)state;
  c.to.quality = QUALITY(0, 4);
  for (; n < 5; n++) {
    put_coded(&c, n);
    AWAIT(store_stats_of(c.store).medium_chunks == n + 1);
  }
  memory_fail(medium, KVS_OK, KVS_ERR_TOO_LARGE);
  medium->owner.lost(medium->owner.ctx, 1, UINT64_MAX);
  assert_int_equal(store_stats_of(c.store).medium_chunks, 0);
  while (store_stats_of(c.store).cut_chunks < 5) {
    put_coded(&c, n++);
    memory_settle(medium);
    assert_int_equal(store_stats_of(c.store).evictions, 0);
  }
  for (uint64_t i = 0; i < 5; i++)
    assert_true(loss_of(&c, i) > LOSS(ALL_PLANES));
  close_it(&c);
}

/* As a use of it: with KVI_ADMIT_REUSED it is written then. */
static void use_it(struct coding_store *c, uint64_t number)
{
  struct kvi_get_terms terms = any_form;
  uint64_t before = store_stats_of(c->store).medium_chunks;
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  terms.loss_max = KVI_LOSS_MAX;
  testing_key(number * KINDS, key, KEY_BYTES);
  assert_int_equal(kvi_store_get_here(c->store, TENANT, c->space, key, KEY_BYTES, &terms, &source, &cause),
                   KVS_OK);
  kvi_store_get_close(c->store, &source);
  AWAIT(store_stats_of(c->store).medium_chunks == before + 1);
}

/* Nor when something else is older, and is evicted. */
static void evicting_others_cuts_none_that_are_below(void **state)
{
  struct coding_store c;
  struct memory_medium *medium = open_above(&c, KVI_ADMIT_REUSED);

  (void)state;
  for (uint64_t i = 0; i < 4; i++)
    put_coded(&c, i); /* not to lose anything, and never used */
  c.to.quality = QUALITY(0, 4);
  for (uint64_t i = 4; store_stats_of(c.store).evictions < 4; i++) {
    put_coded(&c, i);
    use_it(&c, i);
  }
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  memory_settle(medium);
  close_it(&c);
}

/* What can leave memory whole does, while it is the older one. */
static void demotion_comes_first(void **state)
{
  struct coding_store c;
  struct memory_medium *medium = open_above(&c, KVI_ADMIT_REUSED);
  uint64_t n = 0;

  (void)state;
  c.to.quality = QUALITY(0, 4);
  for (; n < 4; n++) {
    put_coded(&c, n);
    use_it(&c, n);
  }
  while (store_stats_of(c.store).medium_only < 4) {
    assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
    put_coded(&c, n++);
  }
  while (store_stats_of(c.store).cut_chunks == 0)
    put_coded(&c, n++);
  assert_int_equal(store_stats_of(c.store).evictions, 0);
  memory_settle(medium);
  close_it(&c);
}

/* What waits for the tier below gets there whole: what has a copy there leaves, and then, whole, what can. */
static void one_old_chunk_does_not_cost_the_others_planes(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = ladder_config();
  struct coding_store c;
  uint64_t evictions, n = 0;

  (void)state;
  config.dram_bytes = 2 << 20;
  config.medium = &medium->medium;
  open_with(&c, &config);
  memory_fail(medium, KVS_OK, KVS_ERR_TOO_LARGE);
  put_coded(&c, n++); /* not to lose anything, and in memory only */
  memory_settle(medium);
  memory_fail(medium, KVS_OK, KVS_OK);
  c.to.quality = QUALITY(0, 4);
  for (; n <= 30; n++) {
    put_coded(&c, n);
    AWAIT(store_stats_of(c.store).medium_chunks == n);
  }
  memory_hold(medium, true);
  while (store_stats_of(c.store).medium_only < 30)
    put_coded(&c, n++);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  assert_int_equal(store_stats_of(c.store).evictions, 1);
  while (store_stats_of(c.store).evictions < 4)
    put_coded(&c, n++);
  assert_int_equal(store_stats_of(c.store).cut_chunks, 0);
  evictions = store_stats_of(c.store).evictions;
  memory_fail(medium, KVS_OK, KVS_ERR_TOO_LARGE);
  memory_hold(medium, false);
  memory_settle(medium);
  while (store_stats_of(c.store).cut_chunks < 4) { /* what was not taken may lose some */
    put_coded(&c, n++);
    assert_int_equal(store_stats_of(c.store).evictions, evictions);
    memory_settle(medium);
  }
  memory_settle(medium);
  close_it(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_below_loses_none),
      cmocka_unit_test(what_was_below_may_lose_some),
      cmocka_unit_test(evicting_others_cuts_none_that_are_below),
      cmocka_unit_test(demotion_comes_first),
      cmocka_unit_test(one_old_chunk_does_not_cost_the_others_planes),
  };

  return cmocka_run_group_tests_name("tiers/coder_cut_below", tests, NULL, NULL);
}
