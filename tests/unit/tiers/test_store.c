/* The store, one thread: puts, gets, lookups, leases, eviction, bounds and errors. */
#include <stdbool.h>

#include "testing.h"

#include "proto/limits.h"

#define PAGE   4096u
#define CHUNK  3000u /* one page with its head */

static struct kvi_store *open_store(uint32_t pages, uint32_t max_chunks)
{
  struct kvi_store_config config = {.dram_bytes = (uint64_t)pages * PAGE, .dram_page_bytes = PAGE, .max_chunks = max_chunks};
  struct kvi_store *store;

  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  return store;
}

static void put_then_get(void **state)
{
  struct kvi_store *store = open_store(64, 0);
  kvs_space_desc desc = testing_space("m", KEY_BYTES);
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES];
  uint64_t lengths[] = {1, 63, 64, 3000, 4096, 20000, 100000};
  struct kvi_store_stats stats;
  uint32_t cause;

  (void)state;
  testing_space_open(store, TENANT, &desc, space);
  for (uint64_t i = 0; i < 7; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_get(store, TENANT, space, key, KEY_BYTES, i, &cause), KVS_MISS);
    assert_int_equal(cause, KVI_MISS_NEVER);
    assert_int_equal(testing_put(store, TENANT, space, key, KEY_BYTES, NULL, 0, lengths[i], i), KVS_OK);
    assert_int_equal(testing_get(store, TENANT, space, key, KEY_BYTES, i, &cause), KVS_OK);
    assert_int_equal(testing_put(store, TENANT, space, key, KEY_BYTES, NULL, 0, lengths[i], i), KVS_EXISTS);
  }
  for (uint64_t i = 0; i < 7; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_get(store, TENANT, space, key, KEY_BYTES, i, &cause), KVS_OK);
  }
  kvi_store_stats(store, &stats);
  assert_int_equal(stats.chunks, 7);
  assert_int_equal(stats.put_commits, 7);
  assert_int_equal(stats.put_exists, 7);
  assert_int_equal(stats.get_hits, 14);
  assert_int_equal(stats.dram.objects, 7);
  kvi_store_close(store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(put_then_get)};

  return cmocka_run_group_tests_name("tiers/store", tests, NULL, NULL);
}
