/* What was deleted stays deleted: over restarts, whatever happened to the files it lay in and to those that say so. */
#define CHUNKS 1000u
#include "medium_owner.h"

#include "ssd_fixture.h"

static void reopen(struct fixture *f)
{
  fixture_close(f);
  fixture_open(f);
}

/* Files are used over and over: `n` chunks from number `first` on, most of which the owner lets go. */
static void turn_over(struct fixture *f, uint32_t first, uint32_t n)
{
  for (uint32_t i = first; i < first + n; i++)
    if (i % 100 != 0)
      assert_int_equal(put_number(f, i), KVS_OK);
}

static void test_deleted(void **state)
{
  struct fixture *f = *state;

  fixture_open(f);
  turn_over(f, 1, 20);
  assert_int_equal(owner_delete(&f->owner, 7), KVS_OK);
  assert_int_equal(put_number(f, 30), KVS_OK);
  for (int i = 0; i < 3; i++) {
    reopen(f);
    assert_int_equal(f->owner.n_found, 20);
    assert_int_equal(get_number(f, 7), KVS_MISS);
    assert_int_equal(get_number(f, 8), KVS_OK);
  }
}

/* There are two copies of it, and the store knows of the newer one only. */
static void test_evicted_and_stored_again(void **state)
{
  struct fixture *f = *state;

  fixture_open(f);
  assert_int_equal(put_number(f, 7), KVS_OK);
  owner_drop(&f->owner, 7, false);
  assert_int_equal(put_number(f, 7), KVS_OK);
  assert_int_equal(owner_delete(&f->owner, 7), KVS_OK);
  reopen(f);
  assert_int_equal(get_number(f, 7), KVS_MISS);
}

/* It was evicted, and deleted when the store knew of no copy of it. */
static void test_deleted_after_it_was_evicted(void **state)
{
  struct fixture *f = *state;

  fixture_open(f);
  assert_int_equal(put_number(f, 7), KVS_OK);
  owner_drop(&f->owner, 7, false);
  assert_int_equal(owner_delete(&f->owner, 7), KVS_OK);
  reopen(f);
  assert_int_equal(get_number(f, 7), KVS_MISS);
}

static void test_stored_after_it_was_deleted(void **state)
{
  struct fixture *f = *state;

  fixture_open(f);
  assert_int_equal(put_number(f, 7), KVS_OK);
  assert_int_equal(owner_delete(&f->owner, 7), KVS_OK);
  assert_int_equal(put_number(f, 7), KVS_OK);
  for (int i = 0; i < 2; i++) {
    reopen(f);
    assert_int_equal(get_number(f, 7), KVS_OK);
  }
  assert_int_equal(owner_delete(&f->owner, 7), KVS_OK);
  reopen(f);
  assert_int_equal(get_number(f, 7), KVS_MISS);
}

/* A put that is under way when its chunk is deleted: the deletion is of it too. */
static void test_deleted_while_it_is_put(void **state)
{
  struct fixture *f = *state;
  struct test_chunk chunk;
  struct test_wait wait;
  struct kvi_medium_put put;

  for (uint32_t round = 0; round < 20; round++) {
    fixture_open(f);
    test_chunk_make(&chunk, 7, length_of(7), 1 + 7 % 40);
    test_wait_init(&wait);
    test_put_fill(&put, &chunk, &wait);
    assert_int_equal(f->owner.medium->ops->put(f->owner.medium, &put), KVS_OK);
    assert_int_equal(owner_delete(&f->owner, 7), KVS_OK);
    assert_int_equal(test_wait_for(&wait), KVS_OK);
    f->owner.medium->ops->drop(f->owner.medium, NULL, put.handle, false);
    test_chunk_free(&chunk);
    reopen(f);
    assert_int_equal(get_number(f, 7), KVS_MISS);
    fixture_close(f);
  }
}

/* Deletes a chunk when the tier asks whether it is to be moved: the copy is made all the same. */
static struct fixture *deleting;
static uint32_t n_deleted_while_moved;

static bool holds_and_deletes(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle)
{
  uint32_t number = number_of(identity);
  bool holds = owner_holds(ctx, identity, handle);

  if (holds && number % 200 == 0) {
    owner_drop(&deleting->owner, number, true);
    n_deleted_while_moved++;
  }
  return holds;
}

static void test_deleted_while_it_is_moved(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_owner ops = {.ctx = &f->owner,
                                 .holds = holds_and_deletes,
                                 .moved = owner_moved,
                                 .make_room = owner_make_room,
                                 .corrupt = owner_corrupt,
                                 .lost = owner_lost};

  deleting = f;
  n_deleted_while_moved = 0;
  f->config.bytes = 16 * MIB;
  assert_int_equal(kvi_ssd_create(&f->config, &f->owner.medium), KVS_OK);
  assert_int_equal(f->owner.medium->ops->recover(f->owner.medium, &ops, owner_found), KVS_OK);
  for (uint32_t i = 0; i < CHUNKS; i++)
    assert_int_equal(put_number(f, i), KVS_OK);
  assert_true(n_deleted_while_moved > 0);
  for (uint32_t i = 0; i < 4; i++) {
    reopen(f);
    for (uint32_t number = 0; number < CHUNKS; number += 200)
      if (n_deleted_while_moved == CHUNKS / 200)
        assert_int_equal(get_number(f, number), KVS_MISS);
    turn_over(f, 200 * i + 1, 100);
  }
}

/* The file it lay in was freed, and so was the one that says that it is deleted, but neither is used again. */
static void freed_and_not_used_again(struct fixture *f)
{
  for (uint32_t i = 0; i < 12; i++) {
    fixture_open(f);
    assert_int_equal(put_number(f, 7), KVS_OK);
    assert_int_equal(owner_delete(&f->owner, 7), KVS_OK);
    for (uint32_t j = 0; j < 12; j++) {
      turn_over(f, 100 + 37 * i + 6 * j, 6);
      if (j % 3 != 0)
        continue;
      reopen(f);
      assert_int_equal(get_number(f, 7), KVS_MISS);
    }
    fixture_close(f);
  }
}

static void test_in_a_file_that_was_freed(void **state)
{
  struct fixture *f = *state;

  f->config.discard = false;
  freed_and_not_used_again(f);
}

static void test_in_a_file_that_was_freed_and_discarded(void **state)
{
  freed_and_not_used_again(*state);
}

/* As far as the owner knows, whose chunks the tier's thread may be letting go. */
static bool is_there(struct fixture *f, uint32_t number)
{
  bool there;

  pthread_mutex_lock(&f->owner.mutex);
  there = f->owner.handles[number] != 0;
  pthread_mutex_unlock(&f->owner.mutex);
  return there;
}

/* Anything in any order, and restarts; the truth beside it. */
static void anything(struct fixture *f, uint64_t seed)
{
  bool gone[CHUNKS] = {false};
  kvi_rand rand;

  kvi_rand_seed(&rand, seed);
  f->config.discard = seed % 2 == 0;
  f->config.durability = (enum kvi_ssd_durability)(seed % 3);
  fixture_open(f);
  for (uint32_t i = 0; i < 600; i++) {
    uint32_t number = (uint32_t)kvi_rand_below(&rand, 120);

    switch (kvi_rand_below(&rand, 8)) {
    case 0:
      owner_drop(&f->owner, number, false);
      break;
    case 1:
    case 2:
      assert_int_equal(owner_delete(&f->owner, number), KVS_OK);
      gone[number] = true;
      break;
    case 3:
      if (kvi_rand_below(&rand, 6) != 0)
        break;
      reopen(f);
      for (uint32_t j = 0; j < CHUNKS; j++)
        if (gone[j] && is_there(f, j))
          fail_msg("seed %llu, step %u: chunk %u was deleted, and is there", (unsigned long long)seed, i, j);
      break;
    default:
      if (is_there(f, number))
        break;
      gone[number] = false;
      assert_int_equal(put_number(f, number), KVS_OK);
    }
  }
  fixture_close(f);
}

static void test_anything(void **state)
{
  const char *more = getenv("KVASIR_CRASH_SEEDS");
  uint64_t seeds = more ? strtoull(more, NULL, 10) : 6;

  for (uint64_t seed = 1; seed <= seeds; seed++) {
    anything(*state, seed);
    teardown(state);
    setup(state);
  }
}

/* More deletions than are kept without end, of chunks that are not there: the tier goes on, and what was deleted first stays so. */
static void test_many_deletions(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;
  uint8_t key[KEY_BYTES];
  struct test_chunk chunk;
  struct kvi_medium_identity identity;

  fixture_open(f);
  assert_int_equal(put_number(f, 100), KVS_OK); /* never let go: kept alive, and old */
  assert_int_equal(put_number(f, 7), KVS_OK);
  owner_drop(&f->owner, 7, false);
  assert_int_equal(owner_delete(&f->owner, 7), KVS_OK);
  test_chunk_make(&chunk, 0, 8, 1);
  identity = test_identity(&chunk);
  identity.key = key;
  for (uint32_t i = 0; i < 60; i++) {
    for (uint32_t j = 0; j < 2000; j++) {
      testing_key(CHUNKS + 2000 * i + j, key, KEY_BYTES);
      f->owner.medium->ops->drop(f->owner.medium, &identity, 0, true);
    }
    assert_int_equal(test_settle(f->owner.medium), KVS_OK);
    turn_over(f, 200 + i * 3, 3);
  }
  test_chunk_free(&chunk);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_true(stats.reclaims > 0);
  for (int i = 0; i < 2; i++) {
    reopen(f);
    assert_int_equal(get_number(f, 7), KVS_MISS);
    assert_int_equal(get_number(f, 100), KVS_OK);
  }
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(test_deleted),
      CASE(test_evicted_and_stored_again),
      CASE(test_deleted_after_it_was_evicted),
      CASE(test_stored_after_it_was_deleted),
      CASE(test_deleted_while_it_is_put),
      CASE(test_deleted_while_it_is_moved),
      CASE(test_in_a_file_that_was_freed),
      CASE(test_in_a_file_that_was_freed_and_discarded),
      CASE(test_anything),
      CASE(test_many_deletions),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
