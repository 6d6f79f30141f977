/* A store over the tier of test faults: two tenants have the same keys, and tiers that fail and damage do not mix them up. */
#include "faulty_testing.h"

static void filled(struct kvi_get_wait *wait, kvs_status status, uint32_t cause)
{
  (void)cause;
  test_wait_end(wait->user, status);
}

/* As testing_get, through the tier below. */
static kvs_status get_through(struct kvi_store *store, const char *tenant, const uint8_t *space,
                              const uint8_t *key, uint64_t seed)
{
  struct kvi_source source;
  struct test_wait ended;
  struct kvi_get_wait wait = {.done = filled, .user = &ended};
  uint32_t cause;
  kvs_status status;

  test_wait_init(&ended);
  status = kvi_store_get_open(store, tenant, space, key, KEY_BYTES, &wait, &source, &cause);
  if (status == KVS_PENDING) {
    status = test_wait_for(&ended);
    source = wait.source;
  }
  if (status != KVS_OK)
    return status;
  status = testing_matches(&source, seed) ? KVS_OK : KVS_ERR_CHECKSUM;
  kvi_store_get_close(store, &source);
  return status;
}

static void test_tenants_are_apart(void **state)
{
  static const char *const tenants[] = {"one", "two"};
  struct fixture *f = *state;
  kvs_space_desc desc = testing_space("tenants", KEY_BYTES);
  struct kvi_medium *medium = f->owner.medium;
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES];
  struct kvi_store_config config = {.dram_bytes = 1 << 20, .chunk_bytes_max = CHUNK_MAX};
  uint32_t hits = 0, wrong = 0;
  struct kvi_store *store;

  medium->ops->destroy(medium); /* the store recovers it itself */
  f->owner.medium = NULL;
  assert_int_equal(kvi_faulty_create(ssd_in(f->folder, false),
                                     "error:all:0.1,delay:all:1ms:0.1,error:read:miss:0.05", &medium),
                   KVS_OK);
  config.medium = medium;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  for (int t = 0; t < 2; t++)
    testing_space_open(store, tenants[t], &desc, space);
  for (uint32_t round = 0; round < 4; round++) {
    if (round == 3)
      assert_int_equal(kvi_faulty_set(medium, "corrupt:read:silent:0.5"), KVS_OK);
    for (uint32_t i = 0; i < 120; i++) /* 2.4 MB: memory holds a part */
      for (int t = 0; t < 2; t++) {
        testing_key(i, key, KEY_BYTES);
        (void)testing_put(store, tenants[t], space, key, KEY_BYTES, NULL, 0, 10000, 2 * i + (uint64_t)t);
      }
    for (uint32_t i = 0; i < 120; i++)
      for (int t = 0; t < 2; t++) {
        testing_key(i, key, KEY_BYTES);
        kvs_status status = get_through(store, tenants[t], space, key, 2 * i + (uint64_t)t);

        if (status == KVS_ERR_CHECKSUM) /* damaged, but not the other's */
          assert_int_not_equal(get_through(store, tenants[t], space, key, 2 * i + (uint64_t)(1 - t)), KVS_OK);
        hits += status == KVS_OK;
        wrong += status == KVS_ERR_CHECKSUM;
        if (round < 3)
          assert_int_not_equal(status, KVS_ERR_CHECKSUM);
      }
  }
  assert_true(hits > 100);
  assert_true(wrong > 0); /* silent damage is for the reader's own checksum to find */
  kvi_store_close(store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_tenants_are_apart, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
