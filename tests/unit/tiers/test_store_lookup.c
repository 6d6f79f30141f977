/* The store, one thread: lookups of chains over spaces, and the leases they give. */
#include <stdbool.h>
#include <time.h>

#include "store_testing.h"

#include "proto/limits.h"

static void lookup_gives_the_prefix(void **state)
{
  struct kvi_store_lookup_result result;
  struct chain chain;
  uint8_t present[16];

  (void)state;
  chain_open(&chain, 256, 100);
  result = chain_lookup(&chain, 128, 1, 0, present);
  assert_int_equal(result.prefix, 100);
  assert_int_equal(result.lease, 0);
  assert_int_equal(result.lease_status, KVS_MISS);
  assert_true(result.fetch_us > 0);
  for (uint32_t i = 0; i < 128; i++)
    assert_int_equal((present[i / 8] >> i % 8) & 1, i < 100);
  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 70), KEY_BYTES),
                   KVS_OK);
  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 70), KEY_BYTES),
                   KVS_MISS);
  result = chain_lookup(&chain, 128, 1, 0, present);
  assert_int_equal(result.prefix, 70);
  assert_int_equal((present[70 / 8] >> 70 % 8) & 1, 0);
  assert_int_equal((present[99 / 8] >> 99 % 8) & 1, 1);
  assert_int_equal(chain_lookup(&chain, 128, 1, 0, NULL).prefix, 70);
  kvi_store_close(chain.store);
}

/* An estimate is a space's, and a tenant's own; of single keys there is no verdict. */
static void a_verdict_is_of_who_measured(void **state)
{
  struct kvi_compute_measured measured = {.tokens = 256, .us = 25600};
  struct kvi_store_lookup_result result;
  struct chain chain;
  const uint8_t *spaces[2], *one;
  struct kvi_store_lookup query = {
      .tenant = TENANT, .owner = 1, .spaces = spaces, .n_spaces = 2, .key_length = KEY_BYTES, .n_keys = 4};
  kvs_space_desc desc = testing_space("another", KEY_BYTES);
  uint8_t other[KVS_DIGEST_SIZE];
  uint64_t whole_us;

  (void)state;
  chain_open(&chain, 64, 4);
  one = chain.space;
  testing_space_open(chain.store, "other", &desc, other);
  assert_int_equal(kvi_store_computed(chain.store, "other", chain.space, &measured), KVI_HINT_MISSING);
  assert_int_equal(kvi_store_computed(chain.store, TENANT, other, &measured), KVI_HINT_MISSING);
  for (uint32_t i = 0; i < KVI_COMPUTE_LEAST; i++) {
    result = chain_lookup(&chain, 8, 1, 0, NULL);
    assert_int_equal(kvi_verdict_compute_us(&result.verdict), 0);
    assert_int_equal(kvi_store_computed(chain.store, TENANT, chain.space, &measured), KVI_HINT_ACCEPTED);
  }
  result = chain_lookup(&chain, 8, 1, 0, NULL);
  assert_int_equal(result.verdict.n, 4);
  assert_int_equal(result.verdict.worth, 4);
  whole_us = kvi_verdict_compute_us(&result.verdict);
  assert_in_range(whole_us, 4 * 25600, 4 * 25600 * 102 / 100);

  query.keys = chain.keys;
  query.spaces = &one;
  query.n_spaces = 1;
  query.first_place = 1000; /* the same chunks, deeper in a chain */
  result = (struct kvi_store_lookup_result){0};
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_OK);
  assert_true(kvi_verdict_compute_us(&result.verdict) > 2 * whole_us);
  query.unchained = true;
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_OK);
  assert_int_equal(kvi_verdict_compute_us(&result.verdict), 0);

  /* Beside a space without an estimate. */
  testing_space_open(chain.store, TENANT, &desc, other);
  spaces[0] = other;
  spaces[1] = chain.space;
  query.spaces = spaces;
  query.n_spaces = 2;
  query.unchained = false;
  query.first_place = 0;
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(testing_put(chain.store, TENANT, other, chain_key(&chain, i), KEY_BYTES,
                                 i ? chain_key(&chain, i - 1) : NULL, i, CHUNK, i),
                     KVS_OK);
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_OK);
  assert_int_equal(result.verdict.n, 2);
  assert_in_range(kvi_verdict_compute_us(&result.verdict), 2 * 25600, 2 * 25600 * 102 / 100);
  kvi_store_close(chain.store);
}

/* With room for 16 and a chain of 8, new chunks push out the chain from its end, but never what is leased. */
static void leases_hold(void **state)
{
  struct kvi_store_lookup_result result;
  struct kvi_store_stats stats;
  struct chain chain;
  uint8_t key[KEY_BYTES];

  (void)state;
  chain_open(&chain, 16, 8);
  result = chain_lookup(&chain, 6, 7, 60000, NULL);
  assert_int_equal(result.prefix, 6);
  assert_true(result.lease != 0);
  assert_int_equal(result.lease_ms, 60000);
  for (uint64_t i = 1000; i < 1040; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_put(chain.store, TENANT, chain.space, key, KEY_BYTES, NULL, 0, CHUNK, i),
                     KVS_OK);
  }
  assert_int_equal(chain_lookup(&chain, 8, 7, 0, NULL).prefix, 6);
  assert_int_equal(kvi_store_release(chain.store, 8, result.lease), KVS_MISS); /* another's */
  assert_int_equal(kvi_store_release(chain.store, 7, result.lease), KVS_OK);
  assert_int_equal(kvi_store_release(chain.store, 7, result.lease), KVS_MISS); /* ended */
  assert_int_equal(kvi_store_release(chain.store, 7, 0), KVS_MISS);
  assert_int_equal(kvi_store_release(chain.store, 7, UINT64_MAX), KVS_MISS);
  for (uint64_t i = 2000; i < 2040; i++) {
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(testing_put(chain.store, TENANT, chain.space, key, KEY_BYTES, NULL, 0, CHUNK, i),
                     KVS_OK);
  }
  assert_int_equal(chain_lookup(&chain, 8, 7, 0, NULL).prefix, 0);
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.leases, 0);
  assert_int_equal(stats.chunks, 16);
  kvi_store_close(chain.store);
}

static void everything_leased_is_full(void **state)
{
  struct kvi_store_lookup_result result;
  struct chain chain;
  uint32_t cause;

  (void)state;
  chain_open(&chain, 8, 8);
  result = chain_lookup(&chain, 8, 7, 60000, NULL);
  assert_int_equal(result.prefix, 8);
  assert_int_equal(chain_put(&chain, 8), KVS_ERR_FULL);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, chain_key(&chain, 8), KEY_BYTES, 8, &cause),
                   KVS_MISS);
  kvi_store_release_owner(chain.store, 6);
  assert_int_equal(chain_put(&chain, 8), KVS_ERR_FULL);
  kvi_store_release_owner(chain.store, 7);
  assert_int_equal(chain_put(&chain, 8),
                   KVS_ERR_FULL); /* its parent is the only leaf, and a landing holds its parent */
  testing_key(500, chain_key(&chain, 9), KEY_BYTES);
  assert_int_equal(
      testing_put(chain.store, TENANT, chain.space, chain_key(&chain, 9), KEY_BYTES, NULL, 0, CHUNK, 9),
      KVS_OK);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, chain_key(&chain, 7), KEY_BYTES, 7, &cause),
                   KVS_MISS);
  assert_int_equal(cause, KVI_MISS_EVICTED);
  kvi_store_close(chain.store);
}

static void leases_run_out(void **state)
{
  struct kvi_store_stats stats;
  struct chain chain;

  (void)state;
  chain_open(&chain, 8, 8);
  assert_true(chain_lookup(&chain, 8, 7, 1, NULL).lease != 0);
  assert_true(chain_lookup(&chain, 4, 7, 60000, NULL).lease != 0);
  for (int i = 0; i < 5000; i++) { /* a deadline of a kind: it runs out after a millisecond */
    kvi_store_expire(chain.store);
    kvi_store_stats(chain.store, &stats);
    if (stats.leases_expired == 1)
      break;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  assert_int_equal(stats.leases_expired, 1);
  assert_int_equal(stats.leases, 1);
  testing_key(500, chain_key(&chain, 9), KEY_BYTES);
  assert_int_equal(
      testing_put(chain.store, TENANT, chain.space, chain_key(&chain, 9), KEY_BYTES, NULL, 0, CHUNK, 9),
      KVS_OK);
  kvi_store_close(chain.store);
}

static void a_deleted_chunk_under_a_lease(void **state)
{
  struct kvi_store_lookup_result result;
  struct chain chain;
  uint32_t cause;

  (void)state;
  chain_open(&chain, 16, 4);
  result = chain_lookup(&chain, 4, 7, 60000, NULL);
  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 2), KEY_BYTES),
                   KVS_OK);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, chain_key(&chain, 2), KEY_BYTES, 2, &cause),
                   KVS_MISS);
  assert_int_equal(cause, KVI_MISS_DELETED);
  assert_int_equal(chain_put(&chain, 2), KVS_OK); /* another entry, while the first is still held */
  assert_int_equal(kvi_store_release(chain.store, 7, result.lease), KVS_OK);
  assert_int_equal(chain_lookup(&chain, 4, 7, 0, NULL).prefix, 4);
  kvi_store_close(chain.store);
}

static void lease_bounds(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 16 * PAGE, .dram_page_bytes = PAGE, .max_leases = 2};
  kvs_space_desc desc = testing_space("chain", KEY_BYTES);
  struct kvi_store_lookup_result result;
  struct chain chain;

  (void)state;
  assert_int_equal(kvi_store_open(&config, &chain.store), KVS_OK);
  testing_space_open(chain.store, TENANT, &desc, chain.space);
  testing_key(0, chain_key(&chain, 0), KEY_BYTES);
  assert_int_equal(chain_lookup(&chain, 1, 1, 1000, NULL).lease_status, KVS_MISS);
  assert_int_equal(chain_put(&chain, 0), KVS_OK);
  assert_int_equal(chain_lookup(&chain, 1, 1, 60000, NULL).lease_status, KVS_OK);
  result = chain_lookup(&chain, 1, 2, UINT32_MAX, NULL);
  assert_int_equal(result.lease_status, KVS_OK);
  assert_int_equal(result.lease_ms, KVI_LEASE_MS_MAX);
  result = chain_lookup(&chain, 1, 3, 1000, NULL);
  assert_int_equal(result.lease, 0);
  assert_int_equal(result.lease_status, KVS_ERR_BUSY);
  assert_int_equal(result.prefix, 1); /* found all the same */
  kvi_store_release_owner(chain.store, 1);
  assert_int_equal(chain_lookup(&chain, 1, 3, 1000, NULL).lease_status, KVS_OK);
  kvi_store_close(chain.store);
}

/* ---- several spaces ---- */

static void lookup_over_spaces(void **state)
{
  struct kvi_store *store = open_store(1024, 0);
  uint8_t digests[64][KVS_DIGEST_SIZE], keys[10 * KEY_BYTES], present[2], tiers[10],
      unknown[KVS_DIGEST_SIZE] = {1};
  const uint8_t *spaces[64];
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 1,
                                   .spaces = spaces,
                                   .n_spaces = 64,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = 10,
                                   .lease_ms = 60000};
  struct kvi_store_lookup_result result = {.present = present, .tiers = tiers};
  struct kvi_store_stats stats;

  (void)state;
  for (uint32_t i = 0; i < 10; i++)
    testing_key(i, keys + i * KEY_BYTES, KEY_BYTES);
  for (uint32_t s = 0; s < 64; s++) {
    kvs_space_desc desc = testing_space("ranks", KEY_BYTES);

    desc.tp_rank = s;
    desc.tp_size = 64;
    testing_space_open(store, TENANT, &desc, digests[s]);
    spaces[s] = digests[s];
    for (uint32_t i = 0; i < 10; i++) /* rank 40 lacks key 7, rank 41 key 5 */
      if (!(s == 40 && i == 7) && !(s == 41 && i == 5))
        assert_int_equal(testing_put(store, TENANT, digests[s], keys + i * KEY_BYTES, KEY_BYTES,
                                     i ? keys + (i - 1) * KEY_BYTES : NULL, i, CHUNK, s * 100 + i),
                         KVS_OK);
  }
  assert_int_equal(kvi_store_lookup(store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, 5);
  assert_int_equal(present[0], 0x5f);
  assert_int_equal(present[1], 0x03);
  assert_int_equal(tiers[4], KVI_TIER_DRAM);
  assert_int_equal(tiers[5], KVI_TIER_ABSENT);
  assert_true(result.lease != 0);
  /* 5 of each space are held, and not one more */
  for (uint32_t s = 0; s < 64; s++) {
    struct kvi_chunk_info infos[16];
    uint64_t cursor = 0;
    uint32_t leased = 0;
    size_t n = 0;

    do {
      n = kvi_store_chunks(store, TENANT, digests[s], &cursor, infos, 3);
      for (size_t i = 0; i < n; i++) {
        assert_int_equal(infos[i].leased, infos[i].place < 5);
        leased += infos[i].leased;
      }
    } while (cursor != 0);
    assert_int_equal(leased, 5);
  }
  kvi_store_release_owner(store, 1);
  query.n_spaces = 3;
  query.unchained = true;
  spaces[2] = digests[41];
  assert_int_equal(kvi_store_lookup(store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, 5);
  assert_true(result.lease != 0);
  spaces[1] = unknown;
  assert_int_equal(kvi_store_lookup(store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, 0);
  assert_int_equal(result.lease, 0);
  assert_int_equal(present[0], 0);
  kvi_store_stats(store, &stats);
  assert_int_equal(stats.leases, 1);
  kvi_store_close(store);
}

static void lookup_errors(void **state)
{
  struct kvi_store_lookup query = {.tenant = TENANT, .key_length = KEY_BYTES};
  struct kvi_store_lookup_result result = {0};
  struct chain chain;
  const uint8_t *space = chain.space;

  (void)state;
  chain_open(&chain, 16, 2);
  query.spaces = &space;
  query.keys = chain.keys;
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_ERR_INVALID);
  query.n_spaces = 1;
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_ERR_INVALID);
  query.n_keys = KVI_LOOKUP_KEYS_MAX + 1;
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_ERR_INVALID);
  query.n_keys = 2;
  query.n_spaces = KVI_LOOKUP_SPACES_MAX + 1;
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_ERR_INVALID);
  query.n_spaces = 1;
  query.key_length = 7;
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_ERR_KEY_LENGTH);
  query.key_length = 16; /* legal, but not this space's */
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_ERR_KEY_LENGTH);
  query.key_length = KEY_BYTES;
  query.tenant = "somebody else";
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, 0);
  query.tenant = TENANT;
  query.peek = true;
  query.lease_ms = 1000;
  assert_int_equal(kvi_store_lookup(chain.store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, 2);
  assert_int_equal(result.lease, 0);
  kvi_store_close(chain.store);
}

/* A child that comes before its parent is linked to it by the next lookup of the chain, or put of the child. */
static void late_parents_are_linked(void **state)
{
  struct kvi_chunk_info infos[8];
  struct chain chain;
  uint64_t cursor = 0;

  (void)state;
  chain_open(&chain, 16, 0);
  for (uint32_t i = 4; i > 0; i--)
    assert_int_equal(chain_put(&chain, i - 1), KVS_OK);
  assert_int_equal(kvi_store_chunks(chain.store, TENANT, chain.space, &cursor, infos, 8), 4);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(infos[i].children, 0);
  assert_int_equal(chain_put(&chain, 3), KVS_EXISTS);
  assert_int_equal(chain_lookup(&chain, 3, 0, 0, NULL).prefix, 3);
  assert_int_equal(kvi_store_chunks(chain.store, TENANT, chain.space, &cursor, infos, 8), 4);
  assert_int_equal(cursor, 0);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(infos[i].children, infos[i].place < 3);
  kvi_store_close(chain.store);
}

/* A chunk that was deleted before its children keeps its number, which is one entry of max_chunks, until they have another parent or are gone. */
static void a_deleted_parent_keeps_its_number(void **state)
{
  struct kvi_store_stats stats;
  struct chain chain;

  (void)state;
  chain_open_bounded(&chain, 64, 3, 4);
  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 1), KEY_BYTES),
                   KVS_OK);
  assert_int_equal(chain_put(&chain, 1), KVS_OK); /* the fourth entry: 0, 2, and two for 1 */
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.evictions, 0);
  assert_int_equal(stats.chunks, 3);
  assert_int_equal(chain_lookup(&chain, 3, 0, 0, NULL).prefix, 3); /* 2 is linked to the new one */
  assert_int_equal(chain_put(&chain, 3), KVS_OK);
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.evictions, 0);
  assert_int_equal(stats.chunks, 4);

  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 2), KEY_BYTES),
                   KVS_OK);
  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 3), KEY_BYTES),
                   KVS_OK); /* its child: both are free */
  assert_int_equal(chain_put(&chain, 2), KVS_OK);
  assert_int_equal(chain_put(&chain, 3), KVS_OK);
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.evictions, 0);
  assert_int_equal(stats.chunks, 4);

  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES),
                   KVS_OK);
  assert_int_equal(chain_put(&chain, 10), KVS_OK); /* three beside the one kept: the end of the chain went */
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.evictions, 1);
  assert_int_equal(stats.chunks, 3);
  kvi_store_close(chain.store);
}

/* Nor can anybody fill the index with such numbers: each goes with the child that keeps it, which can be evicted. */
static void deleted_parents_deny_nobody(void **state)
{
  struct kvi_store_stats stats;
  struct chain chain;

  (void)state;
  chain_open_bounded(&chain, 64, 0, 8);
  for (uint32_t i = 0; i < 40; i += 2) { /* 1 continues 0, 3 continues 2, ...; then what is continued goes */
    for (uint32_t j = 0; j < 2; j++)
      assert_int_equal(testing_put(chain.store, TENANT, chain.space, chain_key(&chain, i + j), KEY_BYTES,
                                   j ? chain_key(&chain, i) : NULL, j, CHUNK, i + j),
                       KVS_OK);
    assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, i), KEY_BYTES),
                     KVS_OK);
  }
  for (uint32_t i = 50; i < 58; i++)
    assert_int_equal(
        testing_put(chain.store, TENANT, chain.space, chain_key(&chain, i), KEY_BYTES, NULL, 0, CHUNK, i),
        KVS_OK);
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.chunks, 8);
  kvi_store_close(chain.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lookup_gives_the_prefix),
      cmocka_unit_test(a_verdict_is_of_who_measured),
      cmocka_unit_test(leases_hold),
      cmocka_unit_test(everything_leased_is_full),
      cmocka_unit_test(leases_run_out),
      cmocka_unit_test(a_deleted_chunk_under_a_lease),
      cmocka_unit_test(lease_bounds),
      cmocka_unit_test(lookup_over_spaces),
      cmocka_unit_test(lookup_errors),
      cmocka_unit_test(late_parents_are_linked),
      cmocka_unit_test(a_deleted_parent_keeps_its_number),
      cmocka_unit_test(deleted_parents_deny_nobody),
  };

  return cmocka_run_group_tests_name("tiers/store_lookup", tests, NULL, NULL);
}
