/* Memory that holds chunks coded, and a tier below it: what is written there has been encoded once, is paid for once, and takes nothing away from what is there. */
#include "coder_testing.h"
#include "memory_medium.h"

static bool all_written(struct coding_store *c)
{
  struct kvi_store_stats stats = store_stats_of(c->store);

  return stats.coding == 0 && stats.medium_chunks == stats.chunks;
}

static void below_gets_it_coded(void **state)
{
  struct kvi_store_config config = coding_config();
  struct memory_medium *medium = memory_medium_create(false);
  struct coding_store c;

  (void)state;
  config.medium = &medium->medium;
  open_with(&c, &config);
  put_at_gate(&c, 0);
  memory_settle(medium);
  assert_int_equal(memory_puts(medium), 0); /* not before it is encoded */
  let_it_code(&c);
  AWAIT(all_written(&c));
  assert_int_equal(store_put(&c.to, 4), KVS_OK); /* noise: as it is */
  AWAIT(all_written(&c));
  assert_int_equal(memory_puts(medium), 2);
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(medium->items[i].size - medium->items[i].payload_at,
                     i == 0 ? store_stats_of(c.store).coded_bytes : RAW);
  close_it(&c);
}

/* The day's budget is taken once, and by what is written. */
static void the_budget_pays_for_the_coded_form(void **state)
{
  struct kvi_store_config config = coding_config();
  struct memory_medium *medium = memory_medium_create(false);
  struct coding_store c;

  (void)state;
  config.medium = &medium->medium;
  config.write_day_bytes = 24 * (RAW - 1); /* an hour's worth may be written at once */
  open_with(&c, &config);
  put_at_gate(&c, 0);
  let_it_code(&c);
  AWAIT(all_written(&c));
  assert_int_equal(store_stats_of(c.store).writes_over_budget, 0);
  assert_int_equal(store_put(&c.to, 4), KVS_OK); /* noise */
  AWAIT_CODED(c.store);
  assert_int_equal(store_stats_of(c.store).writes_over_budget, 1);
  close_it(&c);
}

/* Where it has only the form that memory made, too. */
static void an_equal_put_of_what_is_below_is_no_better(void **state)
{
  struct kvi_store_config config = coding_config();
  struct memory_medium *medium = memory_medium_create(false);
  struct coding_store c;
  uint64_t n = 0;

  (void)state;
  config.medium = &medium->medium;
  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = 2;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  for (; store_stats_of(c.store).medium_only == 0; n++) {
    assert_int_equal(store_put(&c.to, n), KVS_OK);
    AWAIT(all_written(&c));
  }
  for (uint64_t i = 0; i < n; i++)
    assert_int_equal(store_put(&c.to, i), KVS_EXISTS);
  c.to.quality = QUALITY(0, 1);
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT(all_written(&c));
  close_it(&c);
}

/* What is as good below already is not written again, and costs nothing. */
static void the_budget_does_not_pay_for_nothing(void **state)
{
  struct kvi_store_config config = coding_config();
  struct memory_medium *medium = memory_medium_create(false);
  struct coding_store c;

  (void)state;
  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = 1;
  open_with(&c, &config);
  c.to.quality = QUALITY(3, 4); /* has lost something: without loss from here on */
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT_CODED(c.store);
  config.write_day_bytes = 24 * (2 * RAW + store_stats_of(c.store).coded_bytes + 1000);
  close_it(&c);

  config.medium = &medium->medium;
  open_with(&c, &config);
  c.to.quality = QUALITY(3, 4);
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT(all_written(&c));
  c.to.quality = QUALITY(0, 4);
  assert_int_equal(store_put(&c.to, 0), KVS_OK);
  AWAIT_CODED(c.store);
  assert_int_equal(kvi_quality_loss(chunk_info(c.store, c.space, 0).quality), 3);
  for (uint64_t i = 4; i < 10; i += 5) /* noise: as it is */
    assert_int_equal(store_put(&c.to, i), KVS_OK);
  AWAIT(all_written(&c));
  assert_int_equal(memory_puts(medium), 3);
  assert_int_equal(store_stats_of(c.store).writes_over_budget, 0);
  close_it(&c);
}

/* Written once it is used, also if that is while it is encoded. */
static void below_gets_what_is_used(void **state)
{
  struct kvi_store_config config = coding_config();
  struct memory_medium *medium = memory_medium_create(false);
  struct coding_store c;

  (void)state;
  config.medium = &medium->medium;
  config.write = KVI_ADMIT_REUSED;
  open_with(&c, &config);
  put_at_gate(&c, 0);
  assert_false(is_coded(&c, 0)); /* a use */
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  let_it_code(&c);
  AWAIT(store_stats_of(c.store).medium_chunks == 1);
  memory_settle(medium);
  assert_int_equal(memory_puts(medium), 1);
  assert_true(is_coded(&c, 1));
  AWAIT(all_written(&c));
  assert_int_equal(memory_puts(medium), 2);
  close_it(&c);
}

/* What there is below has lost less than the ladder would: the better put is not made worse than that. */
static void a_better_copy_below_stays_no_better(void **state)
{
  struct kvi_store_config config = coding_config();
  struct memory_medium *medium = memory_medium_create(false);
  struct coding_store c;

  (void)state;
  config.medium = &medium->medium;
  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = 1;
  open_with(&c, &config);
  c.to.quality = QUALITY(1, KVI_LOSS_MAX);
  assert_int_equal(store_put(&c.to, 0), KVS_OK); /* has lost something: without loss from here on */
  AWAIT(all_written(&c));
  c.to.quality = QUALITY(0, KVI_LOSS_MAX);
  put_at_gate(&c, 0);
  let_it_code(&c);
  assert_int_equal(chunk_info(c.store, c.space, 0).quality, kvi_quality(0, KVI_LOSS_MAX, KVI_CODING_KVC1));
  AWAIT(memory_puts(medium) == 2);
  close_it(&c);
}

static void fresh_ones_that_wait_can_be_demoted(void **state)
{
  struct kvi_store_config config = coding_config();
  struct memory_medium *medium = memory_medium_create(false);
  struct coding_store c;
  uint8_t key[KEY_BYTES];
  uint32_t cause;
  bool coded;

  (void)state;
  config.medium = &medium->medium;
  open_with(&c, &config);
  c.to.quality = QUALITY(3, 4);
  assert_int_equal(store_put(&c.to, 1), KVS_OK);
  AWAIT(all_written(&c));
  c.to.quality = QUALITY(0, 4);
  put_at_gate(&c, 0);
  assert_int_equal(store_put(&c.to, 1), KVS_OK); /* a better one, which waits, over a copy below */
  memory_hold(medium, true);                     /* nothing but 1 is below */
  for (uint64_t i = 2; store_stats_of(c.store).medium_only == 0; i++)
    assert_int_equal(store_put(&c.to, i), KVS_OK);
  memory_hold(medium, false);
  let_it_code(&c);
  assert_int_equal(get_as(&c, 1, 4, &coded, &cause), KVS_OK);
  assert_int_equal(chunk_info(c.store, c.space, 1).quality, kvi_quality(3, 4, KVI_CODING_KVC1));
  testing_key(1, key, KEY_BYTES);
  assert_false(kvi_store_is_coding(c.store, TENANT, c.space, key, KEY_BYTES)); /* nor will it be */
  memory_settle(medium);
  close_it(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(below_gets_it_coded),
      cmocka_unit_test(the_budget_pays_for_the_coded_form),
      cmocka_unit_test(an_equal_put_of_what_is_below_is_no_better),
      cmocka_unit_test(the_budget_does_not_pay_for_nothing),
      cmocka_unit_test(below_gets_what_is_used),
      cmocka_unit_test(a_better_copy_below_stays_no_better),
      cmocka_unit_test(fresh_ones_that_wait_can_be_demoted),
  };

  return cmocka_run_group_tests_name("tiers/coder_below", tests, NULL, NULL);
}
