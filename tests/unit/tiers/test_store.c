/* The store, one thread: what it keeps, what it lets go, its spaces, bounds and metadata. */
#include <stdbool.h>
#include <time.h>

#include "store_testing.h"

#include "proto/limits.h"

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

static void a_reader_keeps_its_bytes(void **state)
{
  struct kvi_store_stats stats;
  struct kvi_source source;
  uint64_t chunks, bytes;
  struct chain chain;
  uint32_t cause;

  (void)state;
  chain_open(&chain, 4, 2);
  assert_int_equal(kvi_store_get_open(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES, NULL,
                                      &source, &cause),
                   KVS_OK);
  kvi_store_evict(chain.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 2);
  assert_int_equal(bytes, 2 * CHUNK);
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.evictions_by[0][KVI_EVICT_ASKED], 2);
  assert_int_equal(stats.dram.zombie_bytes, PAGE);
  for (uint32_t i = 10; i < 30; i++)
    assert_int_equal(
        testing_put(chain.store, TENANT, chain.space, chain_key(&chain, i), KEY_BYTES, NULL, 0, CHUNK, i),
        KVS_OK);
  assert_true(testing_matches(&source, 0));
  kvi_store_get_close(chain.store, &source);
  kvi_store_get_close(chain.store, &source); /* cleared: nothing happens */
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.dram.zombie_bytes, 0);
  assert_int_equal(stats.dram.used_bytes, 3 * PAGE);
  kvi_store_close(chain.store);
}

static void index_is_bounded(void **state)
{
  struct kvi_store *store = open_store(64, 4);
  kvs_space_desc desc = testing_space("m", KEY_BYTES);
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES];
  struct kvi_store_stats stats;

  (void)state;
  testing_space_open(store, TENANT, &desc, space);
  for (uint64_t i = 0; i < 20; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_put(store, TENANT, space, key, KEY_BYTES, NULL, 0, CHUNK, i), KVS_OK);
  }
  kvi_store_stats(store, &stats);
  assert_int_equal(stats.chunks, 4);
  assert_int_equal(stats.evictions, 16);
  assert_int_equal(stats.evictions_by[0][KVI_EVICT_INDEX], 16);
  kvi_store_close(store);
}

/* Nobody but the put itself is there to find out that the leases that hold every entry are over. */
static void an_index_full_of_ended_leases_has_room(void **state)
{
  struct kvi_store *store = open_store(64, 4);
  kvs_space_desc desc = testing_space("m", KEY_BYTES);
  uint8_t digest[KVS_DIGEST_SIZE], keys[5 * KEY_BYTES];
  const uint8_t *space = digest;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 7,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = 4,
                                   .unchained = true,
                                   .lease_ms = 1};
  struct kvi_store_lookup_result result = {0};
  kvs_status status = KVS_ERR_FULL;

  (void)state;
  testing_space_open(store, TENANT, &desc, digest);
  for (uint32_t i = 0; i < 5; i++)
    testing_key(i, keys + i * KEY_BYTES, KEY_BYTES);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(testing_put(store, TENANT, digest, keys + i * KEY_BYTES, KEY_BYTES, NULL, 0, CHUNK, i),
                     KVS_OK);
  assert_int_equal(kvi_store_lookup(store, &query, &result), KVS_OK);
  assert_true(result.lease != 0);
  for (int i = 0; i < 5000 && status == KVS_ERR_FULL;
       i++) { /* a deadline of a kind: it runs out after a ms */
    status = testing_put(store, TENANT, digest, keys + 4 * KEY_BYTES, KEY_BYTES, NULL, 0, CHUNK, 4);
    if (status == KVS_ERR_FULL)
      nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  assert_int_equal(status, KVS_OK);
  kvi_store_close(store);
}

static void evict_by_space_and_bytes(void **state)
{
  kvs_space_desc other = testing_space("other", KEY_BYTES);
  uint8_t other_digest[KVS_DIGEST_SIZE];
  uint64_t chunks, bytes;
  struct chain chain;

  (void)state;
  chain_open(&chain, 64, 10);
  testing_space_open(chain.store, TENANT, &other, other_digest);
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(
        testing_put(chain.store, TENANT, other_digest, chain_key(&chain, i), KEY_BYTES, NULL, 0, CHUNK, i),
        KVS_OK);
  kvi_store_evict(chain.store, TENANT, chain.space, 2 * CHUNK + 1, &chunks, &bytes);
  assert_int_equal(chunks, 3);
  assert_int_equal(chain_lookup(&chain, 10, 1, 0, NULL).prefix, 7); /* from the end of the chain */
  kvi_store_evict(chain.store, "somebody else", NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 0);
  kvi_store_evict(chain.store, "somebody else", chain.space, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 0);
  assert_true(chain_lookup(&chain, 3, 1, 60000, NULL).lease != 0);
  kvi_store_evict(chain.store, TENANT, chain.space, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 4); /* three are leased */
  kvi_store_evict(chain.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 5);
  kvi_store_close(chain.store);
}

/* Two chains, the first used before the second: it goes wholly before anything of the second does. */
static void evict_goes_by_last_use(void **state)
{
  uint64_t chunks, bytes;
  struct chain chain;
  uint32_t cause;

  (void)state;
  chain_open(&chain, 64, 3);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(testing_put(chain.store, TENANT, chain.space, chain_key(&chain, 10 + i), KEY_BYTES,
                                 i ? chain_key(&chain, 10 + i - 1) : NULL, i, CHUNK, 10 + i),
                     KVS_OK);
  kvi_store_evict(chain.store, TENANT, chain.space, 2 * CHUNK, &chunks, &bytes);
  assert_int_equal(chunks, 2);
  assert_int_equal(chain_lookup(&chain, 3, 1, 0, NULL).prefix, 1);
  for (uint32_t i = 10; i < 13; i++)
    assert_int_equal(
        testing_get(chain.store, TENANT, chain.space, chain_key(&chain, i), KEY_BYTES, i, &cause), KVS_OK);
  kvi_store_close(chain.store);
}

static void spaces_are_told_apart(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 16 * PAGE, .dram_page_bytes = PAGE, .max_spaces = 3};
  kvs_space_desc desc = testing_space("a", KEY_BYTES), bad;
  uint8_t a[KVS_DIGEST_SIZE], b[KVS_DIGEST_SIZE], key[KEY_BYTES];
  struct kvi_space_opened opened;
  struct kvi_space_info infos[4];
  char tenant[KVI_TENANT_MAX + 1];
  struct kvi_store *store;
  uint64_t cursor = 0;
  uint32_t cause;

  (void)state;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  assert_int_equal(kvs_space_digest(&desc, a), KVS_OK);
  assert_int_equal(kvi_store_space_open(store, TENANT, a, &desc, &opened), KVS_OK);
  assert_true(opened.created);
  assert_int_equal(opened.nearest_differences, 0);
  assert_int_equal(kvi_store_space_open(store, TENANT, a, &desc, &opened), KVS_OK);
  assert_false(opened.created);
  desc.model = "b";
  assert_int_equal(kvi_store_space_open(store, TENANT, a, &desc, &opened), KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(kvs_space_digest(&desc, b), KVS_OK);
  assert_int_equal(kvi_store_space_open(store, TENANT, b, &desc, &opened), KVS_OK);
  assert_true(opened.created);
  assert_int_equal(opened.nearest_differences, 1);
  assert_non_null(strstr(opened.nearest, "model"));
  assert_int_equal(kvi_store_space_open(store, "other", b, &desc, &opened), KVS_OK);
  assert_int_equal(opened.nearest_differences, 0); /* nothing of other tenants is told */
  assert_int_equal(kvi_store_space_open(store, "third", b, &desc, &opened), KVS_ERR_BUSY);
  assert_false(opened.created);
  memset(tenant, 'x', KVI_TENANT_MAX);
  tenant[KVI_TENANT_MAX] = '\0';
  assert_int_equal(kvi_store_space_open(store, tenant, b, &desc, &opened), KVS_ERR_INVALID);
  bad = testing_space("bad", 7);
  assert_int_equal(kvi_store_space_open(store, TENANT, a, &bad, &opened), KVS_ERR_KEY_LENGTH);
  testing_key(1, key, KEY_BYTES);
  assert_int_equal(testing_put(store, "other", b, key, KEY_BYTES, NULL, 0, CHUNK, 1), KVS_OK);
  assert_int_equal(testing_get(store, TENANT, b, key, KEY_BYTES, 1, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_NEVER);
  assert_int_equal(testing_get(store, TENANT, key, key, KEY_BYTES, 1, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_SPACE);
  assert_int_equal(testing_get(store, "other", b, key, 16, 1, &cause), KVS_ERR_KEY_LENGTH);
  assert_int_equal(testing_get(store, "other", b, key, 7, 1, &cause), KVS_ERR_KEY_LENGTH);
  assert_int_equal(testing_get(store, "other", b, key, KEY_BYTES, 1, &cause), KVS_OK);
  assert_int_equal(kvi_store_spaces(store, TENANT, &cursor, infos, 1), 1);
  assert_true(cursor != 0);
  assert_int_equal(kvi_store_spaces(store, TENANT, &cursor, infos, 4), 1);
  assert_int_equal(cursor, 0);
  assert_int_equal(kvi_store_spaces(store, "other", &cursor, infos, 4), 1);
  assert_int_equal(infos[0].chunks, 1);
  assert_int_equal(infos[0].bytes, CHUNK);
  assert_string_equal(infos[0].desc->model, "b");
  kvi_store_close(store);
}

/* Keys of every length, those that the index has only by their hash included, come back whole from the list. */
static void keys_of_all_lengths(void **state)
{
  struct kvi_store *store = open_store(64, 0);
  struct kvi_chunk_info infos[4];

  (void)state;
  for (uint32_t length = 8; length <= 64; length += 8) {
    kvs_space_desc desc = testing_space("keys", length);
    uint8_t space[KVS_DIGEST_SIZE], key[64];
    uint64_t cursor = 0;
    uint32_t cause;

    testing_space_open(store, TENANT, &desc, space);
    testing_key(5, key, length);
    assert_int_equal(testing_put(store, TENANT, space, key, length, NULL, 3, 5000, length), KVS_OK);
    assert_int_equal(testing_get(store, TENANT, space, key, length, length, &cause), KVS_OK);
    key[length - 1] ^= 1;
    assert_int_equal(testing_get(store, TENANT, space, key, length, length, &cause), KVS_MISS);
    key[length - 1] ^= 1;
    assert_int_equal(kvi_store_chunks(store, TENANT, space, &cursor, infos, 4), 1);
    assert_int_equal(infos[0].key_length, length);
    assert_memory_equal(infos[0].key, key, length);
    assert_int_equal(infos[0].length, 5000);
    assert_int_equal(infos[0].segments, 5);
    assert_int_equal(infos[0].place, 3);
    assert_int_equal(infos[0].tier, KVI_TIER_DRAM);
    assert_false(infos[0].leased);
  }
  kvi_store_close(store);
}

static void metadata_of_a_chunk(void **state)
{
  struct kvi_store *store = open_store(64, 100000);
  struct kvi_store_stats stats;

  (void)state;
  kvi_store_stats(store, &stats);
  assert_true(stats.index_bytes_per_chunk > 60);
  assert_true(stats.index_bytes_per_chunk <= 64);
  kvi_store_close(store);
}

static void open_errors(void **state)
{
  struct kvi_store_config good = {.dram_bytes = 16 * PAGE, .dram_page_bytes = PAGE};
  struct kvi_store_config config;
  struct kvi_store *store;

  (void)state;
#define EXPECT(status, change)                                                                               \
  do {                                                                                                       \
    config = good;                                                                                           \
    change;                                                                                                  \
    assert_int_equal(kvi_store_open(&config, &store), status);                                               \
    assert_null(store);                                                                                      \
  } while (0)
  EXPECT(KVS_ERR_INVALID, config.dram_bytes = 0);
  EXPECT(KVS_ERR_INVALID, config.dram_page_bytes = 5000);
  EXPECT(KVS_ERR_INVALID, config.dram_page_bytes = 2048);
  EXPECT(KVS_ERR_INVALID, config.dram_page_bytes = 4u << 20);
  EXPECT(KVS_ERR_INVALID, config.policy = "no-such");
  EXPECT(KVS_ERR_INVALID, config.max_spaces = 70000);
  EXPECT(KVS_ERR_INVALID, config.max_landings = UINT32_MAX);
  EXPECT(KVS_ERR_INVALID, config.max_chunks = UINT32_MAX);
  EXPECT(KVS_ERR_INVALID, config.max_leases = UINT32_MAX);
  EXPECT(KVS_ERR_INVALID, config.chunk_bytes_max = KVI_CHUNK_BYTES_MAX + 1);
#undef EXPECT
  kvi_store_close(NULL);
  good.huge_pages = true;
  good.lock_memory = true;
  assert_int_equal(kvi_store_open(&good, &store), KVS_OK);
  assert_int_equal(kvi_store_chunk_bytes_max(store), 16 * PAGE);
  kvi_store_close(store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(put_then_get),
      cmocka_unit_test(a_reader_keeps_its_bytes),
      cmocka_unit_test(index_is_bounded),
      cmocka_unit_test(an_index_full_of_ended_leases_has_room),
      cmocka_unit_test(evict_by_space_and_bytes),
      cmocka_unit_test(evict_goes_by_last_use),
      cmocka_unit_test(spaces_are_told_apart),
      cmocka_unit_test(keys_of_all_lengths),
      cmocka_unit_test(metadata_of_a_chunk),
      cmocka_unit_test(open_errors),
  };

  return cmocka_run_group_tests_name("tiers/store", tests, NULL, NULL);
}
