/*
 * What tenants take of the tiers is accounted for to the byte, whatever happens; a tenant that would take more than its bound loses chunks of its own, leaves first, and nobody else's; and what
 * cannot be had that way is refused as KVS_ERR_QUOTA.
 */
#include "tenants_testing.h"

/* ---- memory ---- */

static void own_chunks_make_room(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20};
  struct fixture f = {0};

  (void)state;
  fixture_open(&f, config, 4 * ROOM, 0);
  for (uint32_t i = 0; i < 20; i++)
    assert_int_equal(put(&f, B, 1000 + i, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 100; i++) {
    assert_int_equal(put(&f, A, i, CHUNK), KVS_OK);
    check_accounts(&f);
  }
  assert_true(has(&f, A, 99) && has(&f, A, 98) && has(&f, A, 97));
  assert_false(has(&f, A, 0) || has(&f, A, 90));
  for (uint32_t i = 0; i < 20; i++)
    assert_true(has(&f, B, 1000 + i));
  assert_true(info_of(&f, A).own_evictions >= 94);
  assert_int_equal(info_of(&f, B).own_evictions, 0);
  assert_int_equal(info_of(&f, A).puts_refused, 0);
  fixture_close(&f);
}

/* The same key of the same space is another chunk for each tenant. */
static void tenants_see_their_own_alone(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20};
  struct fixture f = {0};
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  (void)state;
  fixture_open(&f, config, 0, 0);
  testing_key(1, key, KEY_BYTES);
  assert_int_equal(testing_put(f.store, A, f.space, key, KEY_BYTES, NULL, 0, CHUNK, 7), KVS_OK);
  assert_false(has(&f, B, 1));
  assert_int_equal(testing_get(f.store, B, f.space, key, KEY_BYTES, 7, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_NEVER);
  assert_int_equal(testing_put(f.store, B, f.space, key, KEY_BYTES, NULL, 0, CHUNK, 8), KVS_OK);
  assert_int_equal(testing_get(f.store, A, f.space, key, KEY_BYTES, 7, &cause), KVS_OK);
  assert_int_equal(testing_get(f.store, B, f.space, key, KEY_BYTES, 8, &cause), KVS_OK);
  assert_int_equal(kvi_store_delete(f.store, B, f.space, key, KEY_BYTES), KVS_OK);
  assert_int_equal(testing_get(f.store, A, f.space, key, KEY_BYTES, 7, &cause), KVS_OK);
  fixture_close(&f);
}

/* A flood beyond all memory: nobody else loses a chunk. */
static void a_flood_evicts_nobody_else(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 64 * ROOM};
  struct fixture f = {0};

  (void)state;
  fixture_open(&f, config, 30 * ROOM, 0);
  for (uint32_t i = 0; i < 30; i++)
    assert_int_equal(put(&f, B, 1000 + i, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 500; i++)
    assert_int_equal(put(&f, A, i, 1 + i * 37 % (3 * CHUNK)), KVS_OK);
  for (uint32_t i = 0; i < 30; i++)
    assert_true(has(&f, B, 1000 + i));
  fixture_close(&f);
}

static void chains_go_from_their_ends(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 22};
  struct fixture f = {0};
  uint32_t left = 0;

  (void)state;
  fixture_open(&f, config, 40 * ROOM, 0);
  for (uint32_t i = 0; i < 32; i++)
    assert_int_equal(put_in_chain(&f, A, 0, i), KVS_OK);
  for (uint32_t i = 0; i < 45; i++)
    assert_int_equal(put(&f, A, 100 + i, CHUNK), KVS_OK);
  while (left < 32 && has(&f, A, left))
    left++;
  assert_true(left < 32);
  for (uint32_t i = left; i < 32; i++)
    assert_false(has(&f, A, i)); /* what is left of it is whole from the front */
  fixture_close(&f);
}

static void what_is_leased_is_refused(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20};
  struct fixture f = {0};
  uint64_t held;

  (void)state;
  fixture_open(&f, config, 4 * ROOM, 0);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(put(&f, A, i, CHUNK), KVS_OK);
  held = lease(&f, A, 1, 0, 4);
  assert_int_not_equal(held, 0);
  assert_int_equal(put(&f, A, 10, 8 * PAGE), KVS_ERR_QUOTA);
  assert_int_equal(put(&f, A, 10, 8 * PAGE), KVS_ERR_QUOTA);
  assert_int_equal(info_of(&f, A).puts_refused, 2);
  assert_int_equal(put(&f, B, 10, 8 * PAGE), KVS_OK); /* that is A's trouble alone */
  for (uint32_t i = 0; i < 4; i++)
    assert_true(has(&f, A, i));
  assert_int_equal(kvi_store_release(f.store, 1, held), KVS_OK);
  assert_int_equal(put(&f, A, 10, 8 * PAGE), KVS_OK);
  /* what never fits is refused without anybody's going */
  assert_int_equal(put(&f, A, 11, 4 * ROOM), KVS_ERR_QUOTA);
  assert_true(has(&f, A, 10));
  fixture_close(&f);
}

/* More is held than one put looks at: it says to come again, and one after a while that there is none. */
static void many_that_are_leased_are_looked_at_in_parts(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 13000 * PAGE, .max_chunks = 13000};
  struct fixture f = {0};
  uint32_t busy = 0;
  kvs_status status;

  (void)state;
  fixture_open(&f, config, 6001 * PAGE, 0);
  for (uint32_t i = 0; i < 6000; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  for (uint32_t i = 0; i < 6000; i += 40)
    assert_int_not_equal(lease(&f, A, 1, i, 40), 0);
  while ((status = put(&f, A, 99999, 2 * PAGE)) == KVS_ERR_BUSY && busy < 100)
    busy++;
  assert_int_equal(status, KVS_ERR_QUOTA);
  assert_int_not_equal(busy, 0);
  kvi_store_release_owner(f.store, 1);
  assert_int_equal(put(&f, A, 99999, 2 * PAGE), KVS_OK);
  fixture_close(&f);
}

/* Read and deleted, again and again: the memory is taken as long as somebody reads it, and it is his. */
static void what_is_read_is_its_tenants(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 200 * PAGE, .max_chunks = 2048};
  static struct kvi_source sources[200];
  struct fixture f = {0};
  kvs_status status = KVS_OK;
  uint8_t key[KEY_BYTES];
  uint32_t n = 0, cause;

  (void)state;
  fixture_open(&f, config, 100 * PAGE, 0);
  for (uint32_t i = 0; i < 90; i++)
    assert_int_equal(put(&f, B, 10000 + i, 100), KVS_OK);
  while (n < 200 && status == KVS_OK) {
    testing_key(n, key, KEY_BYTES);
    status = put(&f, A, n, 100);
    if (status != KVS_OK)
      break;
    assert_int_equal(waiting_open(f.store, A, f.space, key, &sources[n], &cause), KVS_OK);
    assert_int_equal(kvi_store_delete(f.store, A, f.space, key, KEY_BYTES), KVS_OK);
    n++;
    assert_int_equal(info_of(&f, A).dram_bytes, n * PAGE);
  }
  assert_int_equal(status, KVS_ERR_BUSY); /* which ends when they close */
  assert_true(n <= 100);
  for (uint32_t i = 0; i < 90; i++)
    assert_true(has(&f, B, 10000 + i));
  while (n > 0)
    kvi_store_get_close(f.store, &sources[--n]);
  assert_int_equal(info_of(&f, A).dram_bytes, 0);
  assert_int_equal(put(&f, A, 5, 100), KVS_OK);
  fixture_close(&f);
}

/* A share is taken away, and given to another: what goes for him is not a third's, who keeps to his. */
static void who_has_no_share_any_more_makes_room(void **state)
{
  const struct kvi_tenant_config tenants[] = {{.name = A, .dram_bytes = 20 * PAGE},
                                              {.name = B, .dram_bytes = 60 * PAGE},
                                              {.name = "c", .dram_bytes = 120 * PAGE}};
  const struct kvi_tenant_config more = {.name = A, .dram_bytes = 100 * PAGE},
                                 less = {.name = "c", .dram_bytes = 40 * PAGE},
                                 most = {.name = A, .dram_bytes = 140 * PAGE};
  struct kvi_store_config config = {.dram_bytes = 200 * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .max_chunks = 2048,
                                    .tenants = tenants,
                                    .n_tenants = 3};
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);
  struct kvi_tenant_info infos[4];
  struct fixture f = {0};

  (void)state;
  assert_int_equal(kvi_store_open(&config, &f.store), KVS_OK);
  for (uint32_t i = 0; i < 3; i++)
    testing_space_open(f.store, tenants[i].name, &desc, f.space);
  for (uint32_t i = 0; i < 58; i++)
    assert_int_equal(put(&f, B, 10000 + i, 100), KVS_OK);
  for (uint32_t i = 0; i < 118; i++)
    assert_int_equal(put(&f, "c", 20000 + i, 100), KVS_OK);
  kvi_store_tenant_set(f.store, &less);
  kvi_store_tenant_set(f.store, &more);
  for (uint32_t i = 0; i < 98; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  for (uint32_t i = 0; i < 58; i++)
    assert_true(has(&f, B, 10000 + i));
  assert_int_equal(kvi_store_tenants(f.store, 0, infos, 4), 4);
  assert_true(infos[3].chunks >= 38);
  kvi_store_tenant_remove(f.store, "c");
  assert_int_equal(put(&f, "c", 30000, 100), KVS_ERR_QUOTA);
  kvi_store_tenant_set(f.store, &most);
  for (uint32_t i = 0; i < 138; i++)
    assert_int_equal(put(&f, A, i, 100), i < 98 ? KVS_EXISTS : KVS_OK);
  for (uint32_t i = 0; i < 58; i++)
    assert_true(has(&f, B, 10000 + i));
  assert_int_equal(kvi_store_tenants(f.store, 0, infos, 4), 4);
  assert_int_equal(infos[1].own_evictions + infos[2].own_evictions + infos[3].own_evictions, 0);
  assert_true(infos[3].chunks < 38);
  kvi_store_close(f.store);
}

/* ---- the medium ---- */

static void copies_are_bounded(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 64 * ROOM};
  struct fixture f = {.medium = memory_medium_create(false)};

  (void)state;
  fixture_open(&f, config, 8 * ROOM, 20 * CHUNK);
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(put(&f, B, 1000 + i, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 200; i++) {
    assert_int_equal(put(&f, A, i, CHUNK), KVS_OK);
    memory_settle(f.medium);
    check_accounts(&f);
  }
  assert_true(info_of(&f, A).medium_bytes > 10 * CHUNK);
  assert_true(info_of(&f, A).own_demotions > 100);
  assert_true(has(&f, A, 199) && has(&f, A, 190) && !has(&f, A, 0));
  for (uint32_t i = 0; i < 10; i++)
    assert_true(has(&f, B, 1000 + i));
  fixture_close(&f);
}

/* Hundreds have to go for one: they do before it is written, so that it is written once. */
static void a_large_copy_has_room_before_it_is_written(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4000 * PAGE, .max_chunks = 4096};
  struct fixture f = {.medium = memory_medium_create(false)};
  uint64_t refused;
  uint32_t puts;

  (void)state;
  fixture_open(&f, config, 40 * PAGE, 100000);
  for (uint32_t i = 0; i < 1000; i++) {
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
    memory_settle(f.medium);
  }
  refused = info_of(&f, A).writes_refused;
  puts = f.medium->puts;
  assert_int_equal(put(&f, A, 5000, 60000), KVS_OK);
  memory_settle(f.medium);
  assert_int_equal(info_of(&f, A).writes_refused, refused);
  assert_int_equal(f.medium->puts, puts + 1);
  assert_true(info_of(&f, A).medium_bytes > 60000);
  for (uint32_t i = 0; i < 60; i++) /* it leaves memory, and is there */
    assert_int_equal(put(&f, A, 6000 + i, 100), KVS_OK);
  memory_settle(f.medium);
  assert_true(has(&f, A, 5000));
  fixture_close(&f);
}

/* ---- all of it, at random ---- */

#define IDS 64u

struct worker {
  struct fixture *f;
  const char *tenant;
  kvi_rand rand;
  uint64_t owner;
  atomic_uint *wrong;
};

static void random_step(struct worker *w)
{
  uint32_t id = (uint32_t)(kvi_rand_next(&w->rand) % IDS), what = (uint32_t)(kvi_rand_next(&w->rand) % 16);
  uint32_t place = id % 8, first = id - place, cause;
  uint8_t key[KEY_BYTES], parent[KEY_BYTES];
  uint64_t chunks, bytes;
  kvs_status status = KVS_OK;

  testing_key(id, key, KEY_BYTES);
  testing_key(first + place - 1, parent, KEY_BYTES);
  if (what < 8) {
    status = testing_put(w->f->store, w->tenant, w->f->space, key, KEY_BYTES, place ? parent : NULL, place,
                         1 + id * 331 % 20000, id);
  } else if (what < 11) {
    struct kvi_source source;

    status = waiting_open(w->f->store, w->tenant, w->f->space, key, &source, &cause);
    if (status == KVS_OK) {
      if (!testing_matches(&source, id))
        atomic_fetch_add(w->wrong, 1);
      kvi_store_get_close(w->f->store, &source);
    }
  } else if (what < 13) {
    (void)kvi_store_delete(w->f->store, w->tenant, w->f->space, key, KEY_BYTES);
  } else if (what < 15) {
    (void)lease(w->f, w->tenant, w->owner, first, 8);
    if (what == 14)
      kvi_store_release_owner(w->f->store, w->owner);
  } else {
    kvi_store_evict(w->f->store, w->tenant, NULL, 20000, &chunks, &bytes);
  }
  if (status < 0 && status != KVS_ERR_QUOTA && status != KVS_ERR_BUSY && status != KVS_ERR_FULL)
    atomic_fetch_add(w->wrong, 1);
}

static void run_one(struct fixture *f, uint64_t seed, int steps)
{
  atomic_uint wrong = 0;
  struct worker workers[2] = {{.f = f, .tenant = A, .owner = 1, .wrong = &wrong},
                              {.f = f, .tenant = B, .owner = 2, .wrong = &wrong}};

  kvi_rand_seed(&workers[0].rand, seed);
  kvi_rand_seed(&workers[1].rand, ~seed);
  for (int i = 0; i < steps; i++) {
    random_step(&workers[i & 1]);
    if (f->medium)
      memory_settle(f->medium);
    check_accounts(f);
  }
  assert_int_equal(wrong, 0);
}

static void accounts_are_exact(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 96 * PAGE, .max_chunks = 1024};

  (void)state;
  for (uint64_t seed = 1; seed <= 10; seed++) {
    struct fixture f = {0};

    config.policy = seed & 1 ? "index" : "lru";
    fixture_open(&f, config, 40 * PAGE, 0);
    run_one(&f, seed, 2000);
    fixture_close(&f);
  }
}

static void accounts_are_exact_over_a_medium(void **state)
{
  struct kvi_store_config config = {
      .dram_bytes = 96 * PAGE, .max_chunks = 1024, .dram_high_mark = 90, .dram_low_mark = 70};

  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++) {
    struct fixture f = {.medium = memory_medium_create(false)};

    config.policy = seed & 1 ? "index" : "lru";
    fixture_open(&f, config, 40 * PAGE, 100000);
    run_one(&f, seed, 1000);
    fixture_close(&f);
  }
}

static void *run_worker(void *ctx)
{
  for (int i = 0; i < 3000; i++)
    random_step(ctx);
  return NULL;
}

static void accounts_are_exact_among_threads(void **state)
{
  struct kvi_store_config config = {
      .dram_bytes = 96 * PAGE, .max_chunks = 1024, .dram_high_mark = 90, .dram_low_mark = 70};
  struct fixture f = {.medium = memory_medium_create(false)};
  struct worker workers[4];
  atomic_uint wrong = 0;
  pthread_t threads[4];

  (void)state;
  fixture_open(&f, config, 40 * PAGE, 100000);
  for (uint32_t i = 0; i < 4; i++) {
    workers[i] = (struct worker){.f = &f, .tenant = i & 1 ? A : B, .owner = i + 1, .wrong = &wrong};
    kvi_rand_seed(&workers[i].rand, i);
    assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &workers[i]), 0);
  }
  for (uint32_t i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(wrong, 0);
  fixture_close(&f);
}

static void names_are_checked(void **state)
{
  char longest[KVI_TENANT_MAX + 1];
  struct kvi_tenant_config tenants[] = {{.name = "same"}, {.name = "same"}};
  struct kvi_store_config config = {.dram_bytes = 1 << 20, .tenants = tenants, .n_tenants = 2};
  struct kvi_store *store;

  (void)state;
  memset(longest, 'x', sizeof(longest));
  longest[KVI_TENANT_MAX] = '\0';
  assert_int_equal(kvi_store_open(&config, &store), KVS_ERR_INVALID);
  tenants[1].name = "";
  assert_int_equal(kvi_store_open(&config, &store), KVS_ERR_INVALID);
  tenants[1].name = longest;
  assert_int_equal(kvi_store_open(&config, &store), KVS_ERR_INVALID);
  tenants[1].name = longest + 1;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  assert_int_equal(kvi_store_tenant_find(store, "same"), 1);
  assert_int_equal(kvi_store_tenant_find(store, longest + 1), 2);
  assert_int_equal(kvi_store_tenant_find(store, "other"), 0);
  kvi_store_close(store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(own_chunks_make_room),
                                     cmocka_unit_test(tenants_see_their_own_alone),
                                     cmocka_unit_test(a_flood_evicts_nobody_else),
                                     cmocka_unit_test(chains_go_from_their_ends),
                                     cmocka_unit_test(what_is_leased_is_refused),
                                     cmocka_unit_test(many_that_are_leased_are_looked_at_in_parts),
                                     cmocka_unit_test(what_is_read_is_its_tenants),
                                     cmocka_unit_test(who_has_no_share_any_more_makes_room),
                                     cmocka_unit_test(copies_are_bounded),
                                     cmocka_unit_test(a_large_copy_has_room_before_it_is_written),
                                     cmocka_unit_test(accounts_are_exact),
                                     cmocka_unit_test(accounts_are_exact_over_a_medium),
                                     cmocka_unit_test(accounts_are_exact_among_threads),
                                     cmocka_unit_test(names_are_checked)};

  return cmocka_run_group_tests_name("tiers/tenants", tests, NULL, NULL);
}
