/* Chunks that are deleted, and puts whose time is up, while the encoder has them: they end, each once, and nothing comes back. */
#include "encoder_putting.h"

/* ---- what is deleted meanwhile ---- */

/* One with the worker, one that waits, and one of another name between them. The first two are deleted by `way`. */
static void deleted_on_the_way(struct kvi_medium *medium,
                               void (*way)(struct kvi_medium *medium, const struct test_chunk *chunk))
{
  struct putting putting[4];
  uint32_t calls;

  gate_set(&gate, true);
  putting_start(&putting[0], medium, 40);
  putting_start(&putting[1], medium, 50);
  gate_await(&gate, 2);
  calls = gate_calls(&gate);
  putting_start(&putting[2], medium, 41);
  putting_start(&putting[3], medium, 51);
  way(medium, &putting[0].chunk);
  way(medium, &putting[2].chunk);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(putting_calls(&putting[i]), 0); /* nobody is called from a drop */
  gate_set(&gate, false);
  assert_int_equal(putting_end(&putting[0]), KVS_ERR_CANCELED);
  assert_int_equal(putting_end(&putting[1]), KVS_OK);
  assert_int_equal(putting_end(&putting[2]), KVS_ERR_CANCELED);
  assert_int_equal(putting_end(&putting[3]), KVS_OK);
  assert_int_equal(gate_calls(&gate), calls + 1); /* what is not wanted is not encoded */
  check_kept(medium, &putting[1].chunk, putting[1].put.handle, putting[1].put.stored, true);
  check_kept(medium, &putting[3].chunk, putting[3].put.handle, putting[3].put.stored, true);
  for (uint32_t i = 0; i < 4; i++)
    putting_free(&putting[i]);
}

static void removed(struct kvi_medium_remove *remove, kvs_status status)
{
  test_wait_end(remove->user, status);
}

static void remove_it(struct kvi_medium *medium, const struct test_chunk *chunk)
{
  struct test_wait wait;
  struct kvi_medium_remove remove = {.identity = test_identity(chunk),
                                     .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                                     .done = removed,
                                     .user = &wait};

  test_wait_init(&wait);
  assert_int_equal(medium->ops->remove(medium, &remove), KVS_OK);
  assert_int_equal(test_wait_for(&wait), KVS_MISS);
}

static void dropped_for_good_in_memory(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 2, 0);

  (void)state;
  deleted_on_the_way(medium, drop_for_good);
  assert_int_equal(memory_items(memory), 2);
  medium->ops->destroy(medium);
}

static void removed_from_a_shared_medium(void **state)
{
  struct memory_medium *memory = memory_medium_create(true);
  struct kvi_medium *medium = encoder_around(&memory->medium, 2, 0);

  (void)state;
  deleted_on_the_way(medium, remove_it);
  assert_int_equal(memory_items(memory), 2);
  medium->ops->destroy(medium);
}

static void deleted_chunks_do_not_come_back(void **state)
{
  struct fixture *f = *state;
  struct putting again;

  volume_open(f);
  deleted_on_the_way(f->owner.medium, drop_for_good);
  assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  fixture_close(f);
  volume_open(f);
  assert_int_equal(f->owner.n_found, 2);
  assert_true(f->owner.handles[40] == 0 && f->owner.handles[41] == 0);

  putting_start(&again, f->owner.medium, 40); /* put once more it is there */
  assert_int_equal(putting_end(&again), KVS_OK);
  f->owner.handles[40] = again.put.handle;
  fixture_close(f);
  volume_open(f);
  assert_int_equal(f->owner.n_found, 3);
  check_kept(f->owner.medium, &again.chunk, f->owner.handles[40], again.put.stored, true);
  putting_free(&again);
}

/* A chunk that the store lets go of, and one of the same key in another space and of another tenant, are none of the puts' business. */
static void other_drops_cancel_nothing(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);
  struct kvi_medium_identity identity;
  uint8_t space[KVS_DIGEST_SIZE] = {1};
  struct putting putting[2];

  (void)state;
  gate_set(&gate, true);
  putting_start(&putting[0], medium, 5);
  putting_start(&putting[1], medium, 6);
  gate_await(&gate, 1);
  for (uint32_t i = 0; i < 2; i++) {
    identity = test_identity(&putting[i].chunk);
    medium->ops->drop(medium, &identity, 0, false);
    medium->ops->drop(medium, NULL, 7, false);
    identity.tenant = "other";
    medium->ops->drop(medium, &identity, 0, true);
    identity = test_identity(&putting[i].chunk);
    identity.space = space;
    medium->ops->drop(medium, &identity, 0, true);
    identity = test_identity(&putting[i].chunk);
    identity.key_length -= 8;
    medium->ops->drop(medium, &identity, 0, true);
  }
  gate_set(&gate, false);
  for (uint32_t i = 0; i < 2; i++) {
    assert_int_equal(putting_end(&putting[i]), KVS_OK);
    putting_free(&putting[i]);
  }
  medium->ops->destroy(medium);
}

/* ---- deadlines ---- */

static void late_puts_end(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);
  struct putting inside, waits, in_time;
  uint32_t calls;

  (void)state;
  gate_set(&gate, true);
  putting_make(&inside, 1, TENSORS, RAW);
  inside.put.deadline_ns = kvi_now_ns() + 60 * KVI_NS_PER_S;
  assert_int_equal(medium->ops->put(medium, &inside.put), KVS_OK);
  gate_await(&gate, 1);
  calls = gate_calls(&gate);
  putting_make(&waits, 2, TENSORS, RAW);
  waits.put.deadline_ns = kvi_now_ns();
  assert_int_equal(medium->ops->put(medium, &waits.put), KVS_OK);
  putting_start(&in_time, medium, 3);
  gate_set(&gate, false);
  assert_int_equal(putting_end(&waits), KVS_ERR_DEADLINE);
  assert_int_equal(putting_end(&inside), KVS_OK);
  assert_int_equal(putting_end(&in_time), KVS_OK);
  assert_int_equal(gate_calls(&gate), calls + 1);
  assert_int_equal(memory_items(memory), 2);
  putting_free(&inside);
  putting_free(&waits);
  putting_free(&in_time);
  medium->ops->destroy(medium);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dropped_for_good_in_memory),
      cmocka_unit_test(removed_from_a_shared_medium),
      cmocka_unit_test_setup_teardown(deleted_chunks_do_not_come_back, setup, teardown),
      cmocka_unit_test(other_drops_cancel_nothing),
      cmocka_unit_test(late_puts_end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
