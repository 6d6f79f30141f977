/* The tier of test faults: what it does to a medium: each operation late, failed or damaged as it was told. */
#include "faulty_testing.h"

static void test_off_changes_nothing(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_attr attr;

  f->owner.medium->ops->attr(f->owner.medium, &attr);
  assert_string_equal(attr.name, "ssd");
  assert_true(attr.handles);
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(put_number(f, i), KVS_OK);
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
  assert_int_equal(counted(f).done[KVI_FAULTY_ERROR] + counted(f).done[KVI_FAULTY_DELAY], 0);
  assert_int_equal(kvi_faulty_set(f->owner.medium, "nonsense"), KVS_ERR_CONFIG);
  assert_int_equal(counted(f).changes, 1);
}

static void test_errors(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;

  assert_int_equal(put_number(f, 1), KVS_OK);
  rules(f, "error:read:first=2,error:write:full:first=1,error:write:first=2");
  assert_int_equal(get_number(f, 1), KVS_ERR_IO);
  assert_int_equal(get_number(f, 1), KVS_ERR_IO);
  assert_int_equal(get_number(f, 1), KVS_OK);
  assert_int_equal(put_number(f, 2), KVS_ERR_FULL);
  assert_int_equal(put_number(f, 2), KVS_ERR_IO);
  assert_int_equal(put_number(f, 2), KVS_OK);
  assert_int_equal(counted(f).done[KVI_FAULTY_ERROR], 4);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_int_equal(stats.get_errors, 2);
  assert_int_equal(stats.put_full, 1);
  assert_int_equal(stats.put_errors, 1);
}

static void test_other_errors(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(put_number(f, 1), KVS_OK);
  rules(f, "error:read:miss:at=1,error:read:busy:at=2,error:write:busy:first=1,delay:write:1ms:at=2,error:"
           "write:busy:at=2");
  assert_int_equal(get_number(f, 1), KVS_MISS);
  assert_int_equal(get_number(f, 1), KVS_ERR_BUSY); /* refused at once */
  assert_int_equal(get_number(f, 1), KVS_OK);
  assert_int_equal(put_number(f, 2), KVS_ERR_BUSY);
  assert_int_equal(put_number(f, 2), KVS_ERR_BUSY); /* later */
  assert_int_equal(put_number(f, 2), KVS_OK);
  assert_int_equal(counted(f).held, 0);
}

static void test_delays(void **state)
{
  struct fixture *f = *state;
  uint64_t began;

  rules(f, "delay:all:50ms");
  began = kvi_now_ns();
  assert_int_equal(put_number(f, 1), KVS_OK);
  assert_true(kvi_now_ns() - began >= 50 * KVI_NS_PER_MS);
  began = kvi_now_ns();
  assert_int_equal(get_number(f, 1), KVS_OK);
  assert_true(kvi_now_ns() - began >= 50 * KVI_NS_PER_MS);
  assert_int_equal(counted(f).done[KVI_FAULTY_DELAY], 2);
}

static void test_a_deadline_comes_before_the_delay_ends(void **state)
{
  struct fixture *f = *state;
  struct test_chunk chunk;
  struct test_wait put_wait, get_wait;
  struct kvi_medium_put put;

  assert_int_equal(put_number(f, 1), KVS_OK);
  rules(f, "delay:all:1h");
  test_chunk_make(&chunk, 1, LENGTH, 3);
  struct kvi_medium_get get = {.identity = test_identity(&chunk),
                               .handle = f->owner.handles[1],
                               .deadline_ns = kvi_now_ns() + 30 * KVI_NS_PER_MS,
                               .land = test_land,
                               .done = test_get_done,
                               .user = &get_wait};
  test_wait_init(&get_wait);
  test_wait_init(&put_wait);
  test_put_fill(&put, &chunk, &put_wait);
  put.deadline_ns = kvi_now_ns() + 20 * KVI_NS_PER_MS;
  assert_int_equal(f->owner.medium->ops->get(f->owner.medium, &get), KVS_OK);
  assert_int_equal(f->owner.medium->ops->put(f->owner.medium, &put), KVS_OK);
  assert_int_equal(test_wait_for(&put_wait), KVS_ERR_DEADLINE);
  assert_int_equal(test_wait_for(&get_wait), KVS_ERR_DEADLINE);
  assert_null(get_wait.landed);
  assert_int_equal(put.handle, 0);
  test_chunk_free(&chunk);
}

static void test_a_chunk_dropped_for_good_is_not_written_later(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *medium = f->owner.medium;
  struct test_chunk chunks[3];
  struct test_wait waits[3];
  struct kvi_medium_put puts[3];
  struct kvi_medium_identity identity;

  rules(f, "delay:write:1h:at=1,delay:write:1h:at=2,delay:write:300ms:at=3");
  for (uint32_t i = 0; i < 3; i++) {
    test_chunk_make(&chunks[i], i, LENGTH, 3);
    test_wait_init(&waits[i]);
    test_put_fill(&puts[i], &chunks[i], &waits[i]);
    puts[i].deadline_ns = kvi_now_ns() + 7200 * KVI_NS_PER_S;
    assert_int_equal(medium->ops->put(medium, &puts[i]), KVS_OK);
  }
  identity = test_identity(&chunks[1]);
  medium->ops->drop(medium, &identity, 0, false); /* others keep it: nothing happens */
  assert_int_equal(counted(f).held, 3);
  medium->ops->drop(medium, &identity, 0, true);
  assert_int_equal(test_wait_for(&waits[1]), KVS_ERR_CANCELED);
  assert_int_equal(puts[1].handle, 0);
  assert_int_equal(test_wait_for(&waits[2]), KVS_OK); /* another chunk's goes its way */
  assert_int_equal(counted(f).held, 1);
  identity = test_identity(&chunks[0]);
  medium->ops->drop(medium, &identity, 0, true);
  assert_int_equal(test_wait_for(&waits[0]), KVS_ERR_CANCELED);
  for (uint32_t i = 0; i < 3; i++)
    test_chunk_free(&chunks[i]);
}

static void test_damage(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;

  assert_int_equal(put_number(f, 1), KVS_OK);
  rules(f, "corrupt:read:first=1");
  assert_int_equal(get_number(f, 1), KVS_ERR_CORRUPT);
  assert_int_equal(get_number(f, 1), KVS_OK);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_int_equal(stats.corrupt, 1);
  rules(f, "corrupt:read:silent:first=1");
  assert_int_equal(get_number(f, 1), KVS_ERR_INTERNAL); /* wrong bytes, and no word of it */
  assert_int_equal(get_number(f, 1), KVS_OK);
  rules(f, "corrupt:write:first=1");
  assert_int_equal(put_number(f, 2), KVS_ERR_CORRUPT); /* this tier compares */
  assert_int_equal(put_number(f, 2), KVS_OK);
  assert_int_equal(get_number(f, 2), KVS_OK);
  assert_int_equal(counted(f).done[KVI_FAULTY_CORRUPT], 3);
}

static void test_one_around_another(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(kvi_faulty_create(f->owner.medium, "delay:all:5ms,error:read:at=2", &f->owner.medium),
                   KVS_OK);
  assert_int_equal(put_number(f, 1), KVS_OK);
  assert_int_equal(get_number(f, 1), KVS_OK);
  assert_int_equal(get_number(f, 1), KVS_ERR_IO);
  assert_int_equal(get_number(f, 1), KVS_OK);
}

static void test_wrong_rules_take_the_inner_medium_too(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *medium = f->owner.medium;

  assert_int_equal(kvi_faulty_create(medium, "nonsense", &f->owner.medium), KVS_ERR_CONFIG);
  assert_null(f->owner.medium); /* a leak would be told by the address sanitizer */
}

/* ---- look-ups: an inner medium that says yes to everything ---- */

static kvs_status yes_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  (void)medium;
  memset(lookup->present, 0xff, (lookup->n_keys + 7) / 8);
  lookup->done(lookup, KVS_OK);
  return KVS_OK;
}

static void look_done(struct kvi_medium_lookup *lookup, kvs_status status)
{
  test_wait_end(lookup->user, status);
}

static void test_lookups(void **state)
{
  static struct kvi_medium_ops ops = {.lookup = yes_lookup};
  static const kvs_status wanted[] = {KVS_ERR_IO, KVS_OK, KVS_ERR_DEADLINE, KVS_OK};
  struct kvi_medium yes = {.ops = &ops}, *medium;

  (void)state;
  kvi_medium_ops_complete(&ops);
  assert_int_equal(
      kvi_faulty_create(&yes, "error:lookup:at=1,delay:lookup:5ms:at=2,delay:lookup:1h:at=3", &medium),
      KVS_OK);
  for (size_t i = 0; i < 4; i++) {
    uint8_t present = 0;
    struct test_wait wait;
    struct kvi_medium_lookup lookup = {.n_keys = 3,
                                       .present = &present,
                                       .deadline_ns = kvi_now_ns() + (i == 2 ? 1 : 60000) * KVI_NS_PER_MS,
                                       .done = look_done,
                                       .user = &wait};

    test_wait_init(&wait);
    assert_int_equal(medium->ops->lookup(medium, &lookup), KVS_OK);
    assert_int_equal(test_wait_for(&wait), wanted[i]);
    assert_int_equal(present, wanted[i] == KVS_OK ? 0xff : 0);
  }
  medium->ops->destroy(medium);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_off_changes_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_other_errors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_delays, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_deadline_comes_before_the_delay_ends, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_chunk_dropped_for_good_is_not_written_later, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
      cmocka_unit_test_setup_teardown(test_one_around_another, setup, teardown),
      cmocka_unit_test_setup_teardown(test_wrong_rules_take_the_inner_medium_too, setup, teardown),
      cmocka_unit_test(test_lookups),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
