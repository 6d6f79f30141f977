/*
 * What is counted by number is shared by weight: index entries, spaces, landings, leases and what they hold. A tenant within its share loses nothing to one that takes more.
 */
#include "tenants_testing.h"

static void nobody_takes_all_numbers(void **state)
{
  struct kvi_store_config config = {
      .dram_bytes = 1 << 20, .max_spaces = 8, .max_landings = 4, .max_leases = 4, .max_chunks = 1024};
  uint32_t length = CHUNK;
  struct kvi_landing landings[3];
  struct fixture f = {0};
  uint8_t keys[3][KEY_BYTES], digest[KVS_DIGEST_SIZE];
  struct kvi_space_opened opened;
  char model[16];
  kvs_status status = KVS_OK;

  (void)state;
  fixture_open(&f, config, 0, 0);
  for (uint32_t i = 0; i < 3; i++) {
    struct kvi_put_request request = {.space = f.space,
                                      .key = keys[i],
                                      .key_length = KEY_BYTES,
                                      .unchained = true,
                                      .length = length,
                                      .n_segments = 1,
                                      .segment_lengths = &length};

    testing_key(i, keys[i], KEY_BYTES);
    assert_int_equal(kvi_store_put_begin(f.store, A, &request, NULL, NULL, &landings[i]),
                     i < 2 ? KVS_OK : KVS_ERR_BUSY);
  }
  assert_int_equal(put(&f, B, 1, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 2; i++)
    kvi_store_put_abort(f.store, &landings[i]);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(put(&f, A, i, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(lease(&f, A, 1, i, 1) != 0, i < 2);
  assert_int_not_equal(lease(&f, B, 2, 1, 1), 0);
  kvi_store_release_owner(f.store, 1);
  assert_int_not_equal(lease(&f, A, 1, 2, 1), 0);
  for (uint32_t i = 0; i < 4; i++) { /* one each is there */
    kvs_space_desc desc;

    snprintf(model, sizeof(model), "model %u", i);
    desc = testing_space(model, KEY_BYTES);
    assert_int_equal(kvs_space_digest(&desc, digest), KVS_OK);
    status = kvi_store_space_open(f.store, A, digest, &desc, &opened);
    assert_int_equal(status, i < 3 ? KVS_OK : KVS_ERR_BUSY);
  }
  assert_int_equal(kvi_store_space_open(f.store, B, digest, &(kvs_space_desc){0}, &opened), KVS_ERR_INVALID);
  {
    kvs_space_desc desc = testing_space("model 3", KEY_BYTES);

    assert_int_equal(kvi_store_space_open(f.store, B, digest, &desc, &opened), KVS_OK);
  }
  fixture_close(&f);
}

/* What is put, and what was deleted while a lease holds it, takes an entry too. */
static void entries_count_until_they_are_free(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20, .max_chunks = 1024};
  struct fixture f = {0};
  uint8_t key[KEY_BYTES];
  uint32_t length = CHUNK;
  struct kvi_landing landing;
  struct kvi_put_request request = {.key = key,
                                    .key_length = KEY_BYTES,
                                    .unchained = true,
                                    .length = length,
                                    .n_segments = 1,
                                    .segment_lengths = &length};

  (void)state;
  fixture_open(&f, config, 0, 0);
  request.space = f.space;
  testing_key(1, key, KEY_BYTES);
  assert_int_equal(kvi_store_put_begin(f.store, A, &request, NULL, NULL, &landing), KVS_OK);
  assert_int_equal(info_of(&f, A).chunks, 0);
  assert_int_equal(info_of(&f, A).entries, 1);
  kvi_store_put_abort(f.store, &landing);
  assert_int_equal(info_of(&f, A).entries, 0);
  for (uint32_t i = 0; i < 20; i++) {
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
    assert_int_not_equal(lease(&f, A, 1, i, 1), 0);
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(kvi_store_delete(f.store, A, f.space, key, KEY_BYTES), KVS_OK);
  }
  assert_int_equal(info_of(&f, A).chunks, 0);
  assert_int_equal(info_of(&f, A).entries, 20);
  assert_int_equal(info_of(&f, B).entries, 0);
  kvi_store_release_owner(f.store, 1);
  assert_int_equal(info_of(&f, A).entries, 0);
  fixture_close(&f);
}

/* The index is full: who has more than its share of it loses a chunk, not the others. */
static void an_index_is_shared_by_weight(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4096 * PAGE, .max_chunks = 1024};
  struct fixture f = {0};

  (void)state;
  fixture_open(&f, config, 0, 0);
  for (uint32_t i = 0; i < 400; i++)
    assert_int_equal(put(&f, B, 10000 + i, 100), KVS_OK);
  for (uint32_t i = 0; i < 2000; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  for (uint32_t i = 0; i < 400; i++)
    assert_true(has(&f, B, 10000 + i));
  fixture_close(&f);
}

/* Half of the chunks that leases may hold together, however often the same. */
static void nobody_takes_all_holds(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4096 * PAGE, .max_chunks = 4096};
  static uint8_t keys[2048 * KEY_BYTES];
  struct kvi_store_lookup_result result;
  struct kvi_store_lookup query;
  const uint8_t *space;
  struct fixture f = {0};
  uint64_t holds = 0;

  (void)state;
  fixture_open(&f, config, 0, 0);
  space = f.space;
  query = (struct kvi_store_lookup){.tenant = A,
                                    .owner = 1,
                                    .spaces = &space,
                                    .n_spaces = 1,
                                    .keys = keys,
                                    .key_length = KEY_BYTES,
                                    .n_keys = 2048,
                                    .unchained = true,
                                    .lease_ms = 60000};
  for (uint32_t i = 0; i < 2048; i++) {
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
    testing_key(i, keys + (size_t)i * KEY_BYTES, KEY_BYTES);
  }
  assert_int_equal(put(&f, B, 5, 100), KVS_OK);
  do {
    result = (struct kvi_store_lookup_result){0};
    assert_int_equal(kvi_store_lookup(f.store, &query, &result), KVS_OK);
    holds += result.lease ? 2048 : 0;
  } while (result.lease != 0);
  assert_int_equal(result.lease_status, KVS_ERR_BUSY);
  assert_int_equal(holds, f.store->lease_references_max / 2);
  assert_int_not_equal(lease(&f, B, 2, 5, 1), 0);
  kvi_store_release_owner(f.store, 1);
  assert_int_not_equal(lease(&f, A, 1, 0, 64), 0);
  fixture_close(&f);
}

/* A store whose index has 1024 entries and memory for all of them; B has 300 of those. */
static void index_open(struct fixture *f)
{
  struct kvi_store_config config = {.dram_bytes = 4096 * PAGE, .max_chunks = 1024};

  fixture_open(f, config, 0, 0);
  for (uint32_t i = 0; i < 300; i++)
    assert_int_equal(put(f, B, 10000 + i, 100), KVS_OK);
}

static uint32_t count_of(struct fixture *f, const char *tenant, uint32_t first, uint32_t n)
{
  uint32_t count = 0;

  for (uint32_t i = 0; i < n; i++)
    count += has(f, tenant, first + i);
  return count;
}

/* Put, lease, delete: nothing of it is there any more, and all entries are taken. */
static void what_is_deleted_and_leased_costs_nobody_else(void **state)
{
  struct fixture f = {0};
  kvs_status status = KVS_OK;
  uint8_t key[KEY_BYTES];

  (void)state;
  index_open(&f);
  for (uint32_t i = 0; i < 1500 && status == KVS_OK; i++) {
    status = put(&f, A, i, 100);
    if (status != KVS_OK)
      break;
    assert_int_not_equal(lease(&f, A, 1, i, 1), 0);
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(kvi_store_delete(f.store, A, f.space, key, KEY_BYTES), KVS_OK);
  }
  assert_int_equal(status, KVS_ERR_QUOTA);
  assert_int_equal(info_of(&f, A).puts_refused, 1);
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  kvi_store_release_owner(f.store, 1);
  assert_int_equal(put(&f, A, 9999, 100), KVS_OK);
  fixture_close(&f);
}

static void what_is_leased_costs_nobody_else(void **state)
{
  struct fixture f = {0};
  kvs_status status = KVS_OK;

  (void)state;
  index_open(&f);
  for (uint32_t i = 0; i < 1500 && status == KVS_OK; i++) {
    status = put(&f, A, i, 100);
    if (status == KVS_OK)
      assert_int_not_equal(lease(&f, A, 1, i, 1), 0);
  }
  assert_int_equal(status, KVS_ERR_QUOTA);
  assert_int_equal(info_of(&f, A).chunks, 724);
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  fixture_close(&f);
}

/* Of one chain the last alone may go, and what is put continues that. */
static void a_long_chain_costs_nobody_else(void **state)
{
  struct fixture f = {0};
  kvs_status status = KVS_OK;

  (void)state;
  index_open(&f);
  for (uint32_t i = 0; i < 1500 && status == KVS_OK; i++)
    status = put_in_chain(&f, A, 0, i);
  assert_int_equal(status, KVS_ERR_QUOTA);
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  assert_int_equal(put(&f, A, 5000, 100), KVS_OK); /* another chain's: the end of that one goes */
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  fixture_close(&f);
}

/* More is leased than is looked at in one hold of the lock, in front of what may go. */
static void what_may_go_is_found_behind_what_is_leased(void **state)
{
  struct fixture f = {0};

  (void)state;
  index_open(&f);
  for (uint32_t i = 0; i < 724; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  for (uint32_t i = 0; i < 320; i += 40)
    assert_int_not_equal(lease(&f, A, 1, i, 40), 0);
  for (uint32_t i = 0; i < 20; i++)
    assert_int_equal(put(&f, A, 5000 + i, 100), KVS_OK);
  assert_int_equal(count_of(&f, A, 0, 320), 320);
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  fixture_close(&f);
}

/* Who has less than his share has an entry of who has most beyond his, not an older one of his own or of the third's. */
static void a_share_is_had_from_who_has_most(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4096 * PAGE, .max_chunks = 1024};
  const struct kvi_tenant_config tenants[] = {{.name = A}, {.name = B}, {.name = "c"}};
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);
  struct kvi_tenant_info infos[4];
  struct fixture f = {0};

  (void)state;
  config.tenants = tenants;
  config.n_tenants = 3; /* and those who are not named: 256 each */
  assert_int_equal(kvi_store_open(&config, &f.store), KVS_OK);
  for (uint32_t i = 0; i < 3; i++)
    testing_space_open(f.store, tenants[i].name, &desc, f.space);
  for (uint32_t i = 0; i < 200; i++)
    assert_int_equal(put(&f, A, 20000 + i, 100), KVS_OK);
  for (uint32_t i = 0; i < 300; i++)
    assert_int_equal(put(&f, "c", i, 100), KVS_OK);
  for (uint32_t i = 0; i < 524; i++)
    assert_int_equal(put(&f, B, 10000 + i, 100), KVS_OK);
  for (uint32_t i = 0; i < 40; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  assert_int_equal(count_of(&f, A, 20000, 200), 200);
  assert_int_equal(count_of(&f, "c", 0, 300), 300);
  assert_int_equal(count_of(&f, B, 10000, 524), 484);
  for (uint32_t i = 0; i < 524; i += 4) /* those of B are held: c's go, of which there are too many too */
    (void)lease(&f, B, 2, 10000 + i, 4);
  for (uint32_t i = 0; i < 16; i++)
    assert_int_equal(put(&f, A, 100 + i, 100), KVS_OK);
  assert_int_equal(count_of(&f, A, 20000, 200), 200);
  assert_int_equal(count_of(&f, "c", 0, 300), 284);
  assert_int_equal(kvi_store_tenants(f.store, 0, infos, 4), 4);
  assert_int_equal(infos[2].own_evictions, 0); /* that was not for others of their own */
  kvi_store_close(f.store);
}

/* Whatever A does with many chunks: nothing of B's goes for them, who has less than his share. What B puts has an entry of A's, unless leases hold all of those: then one of B's. */
static void nobody_within_his_share_loses_an_entry(void **state)
{
  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++) {
    struct kvi_store_config config = {
        .dram_bytes = 4096 * PAGE, .max_chunks = 1024, .policy = seed & 1 ? "index" : "lru"};
    struct fixture f = {.medium = seed > 2 ? memory_medium_create(false) : NULL};
    uint32_t n = 0, refused = 0;
    uint64_t own;
    kvi_rand rand;

    kvi_rand_seed(&rand, seed);
    fixture_open(&f, config, 0, 0);
    for (uint32_t i = 0; i < 6000; i++) {
      uint32_t what = (uint32_t)(kvi_rand_next(&rand) % 32), id = (uint32_t)(kvi_rand_next(&rand) % 3000);
      uint8_t key[KEY_BYTES];
      kvs_status status = KVS_OK;

      testing_key(id, key, KEY_BYTES);
      if (what < 12)
        status = put(&f, A, id, 100);
      else if (what < 22)
        status = put_in_chain(&f, A, id - id % 100, id % 100);
      else if (what < 27)
        (void)lease(&f, A, 1 + id % 4, id, 8);
      else if (what < 29)
        (void)kvi_store_delete(f.store, A, f.space, key, KEY_BYTES);
      else if (what < 30 && id % 8 == 0)
        kvi_store_release_owner(f.store, 1 + id % 4);
      else if (n < 500) {
        status = put(&f, B, 10000 + n, 100);
        n += status == KVS_OK;
        assert_int_not_equal(status, KVS_ERR_QUOTA);
        refused += status < 0;
        status = KVS_OK;
      }
      assert_true(status >= 0 || status == KVS_ERR_QUOTA || status == KVS_ERR_BUSY);
      if (f.medium)
        memory_settle(f.medium);
    }
    own = info_of(&f, B).own_evictions;
    assert_int_equal(count_of(&f, B, 10000, n), n - own);
    assert_true(n > 5 * (own + refused));
    for (uint64_t owner = 1; owner <= 4; owner++)
      kvi_store_release_owner(f.store, owner);
    for (; n < 600; n++)
      assert_int_equal(put(&f, B, 10000 + n, 100), KVS_OK);
    assert_int_equal(info_of(&f, B).own_evictions, own);
    assert_int_equal(count_of(&f, B, 10000, n), n - own);
    fixture_close(&f);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_takes_all_numbers),
                                     cmocka_unit_test(nobody_takes_all_holds),
                                     cmocka_unit_test(entries_count_until_they_are_free),
                                     cmocka_unit_test(an_index_is_shared_by_weight),
                                     cmocka_unit_test(what_is_deleted_and_leased_costs_nobody_else),
                                     cmocka_unit_test(what_is_leased_costs_nobody_else),
                                     cmocka_unit_test(a_long_chain_costs_nobody_else),
                                     cmocka_unit_test(what_may_go_is_found_behind_what_is_leased),
                                     cmocka_unit_test(a_share_is_had_from_who_has_most),
                                     cmocka_unit_test(nobody_within_his_share_loses_an_entry)};

  return cmocka_run_group_tests_name("tiers/tenants_numbers", tests, NULL, NULL);
}
