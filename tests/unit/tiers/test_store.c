/* The store, one thread: puts, gets, lookups, leases, eviction, bounds and errors. */
#include <stdbool.h>
#include <time.h>

#include "testing.h"

#include "proto/limits.h"

#define PAGE  4096u
#define CHUNK 3000u /* one page with its head */

static struct kvi_store *open_store(uint32_t pages, uint32_t max_chunks)
{
  struct kvi_store_config config = {
      .dram_bytes = (uint64_t)pages * PAGE, .dram_page_bytes = PAGE, .max_chunks = max_chunks};
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

/* ---- leases ---- */

struct chain {
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t keys[128 * KEY_BYTES];
};

static uint8_t *chain_key(struct chain *chain, uint32_t i)
{
  return chain->keys + (size_t)i * KEY_BYTES;
}

static kvs_status chain_put(struct chain *chain, uint32_t i)
{
  return testing_put(chain->store, TENANT, chain->space, chain_key(chain, i), KEY_BYTES,
                     i ? chain_key(chain, i - 1) : NULL, i, CHUNK, i);
}

/* A store of so many chunks' room, and a chain of n in it. */
static void chain_open(struct chain *chain, uint32_t pages, uint32_t n)
{
  kvs_space_desc desc = testing_space("chain", KEY_BYTES);

  chain->store = open_store(pages, 0);
  testing_space_open(chain->store, TENANT, &desc, chain->space);
  for (uint32_t i = 0; i < 128; i++)
    testing_key(i, chain_key(chain, i), KEY_BYTES);
  for (uint32_t i = 0; i < n; i++)
    assert_int_equal(chain_put(chain, i), KVS_OK);
}

static struct kvi_store_lookup_result chain_lookup(struct chain *chain, uint32_t n, uint64_t owner,
                                                   uint32_t lease_ms, uint8_t *present)
{
  const uint8_t *space = chain->space;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = owner,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = chain->keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n,
                                   .lease_ms = lease_ms};
  struct kvi_store_lookup_result result = {.present = present};

  assert_int_equal(kvi_store_lookup(chain->store, &query, &result), KVS_OK);
  return result;
}

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

/* ---- landings ---- */

struct waiting {
  struct kvi_store *store;
  int calls;
  kvs_status status;
};

static void on_wait(void *ctx, kvs_status status)
{
  struct waiting *waiting = ctx;

  waiting->calls++;
  waiting->status = status;
  kvi_store_put_unwait(waiting->store, ctx); /* from inside the call: returns at once */
}

static void equal_puts_wait(void **state)
{
  uint32_t length = CHUNK;
  struct kvi_put_request request = {
      .key_length = KEY_BYTES, .length = CHUNK, .n_segments = 1, .segment_lengths = &length};
  struct kvi_landing landing, other;
  struct waiting waiting[3];
  struct chain chain;
  uint32_t cause;

  (void)state;
  chain_open(&chain, 16, 0);
  for (int i = 0; i < 3; i++)
    waiting[i] = (struct waiting){.store = chain.store};
  request.space = chain.space;
  request.key = chain_key(&chain, 0);
  assert_int_equal(kvi_store_put_begin(chain.store, TENANT, &request, on_wait, &waiting[0], &landing),
                   KVS_OK);
  for (int i = 0; i < 3; i++)
    assert_int_equal(kvi_store_put_begin(chain.store, TENANT, &request, on_wait, &waiting[i], &other),
                     KVS_PENDING);
  assert_null(other.handle);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, request.key, KEY_BYTES, 0, &cause),
                   KVS_MISS);
  assert_int_equal(chain_lookup(&chain, 1, 1, 1000, NULL).prefix, 0);
  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, request.key, KEY_BYTES), KVS_MISS);
  kvi_store_put_unwait(chain.store, &waiting[1]);
  kvi_store_put_abort(chain.store, &landing);
  assert_int_equal(waiting[0].calls, 1);
  assert_int_equal(waiting[0].status, KVS_ERR_BUSY);
  assert_int_equal(waiting[1].calls, 0);
  assert_int_equal(waiting[2].calls, 1);
  assert_int_equal(kvi_store_put_begin(chain.store, TENANT, &request, on_wait, &waiting[0], &landing),
                   KVS_OK);
  assert_int_equal(kvi_store_put_begin(chain.store, TENANT, &request, on_wait, &waiting[1], &other),
                   KVS_PENDING);
  testing_fill(&landing, 0);
  assert_int_equal(kvi_store_put_commit(chain.store, &landing), KVS_OK);
  assert_int_equal(waiting[0].calls, 1);
  assert_int_equal(waiting[1].calls, 1);
  assert_int_equal(waiting[1].status, KVS_OK);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, request.key, KEY_BYTES, 0, &cause), KVS_OK);
  kvi_store_put_unwait(chain.store, &waiting[2]); /* nothing is left to forget */
  kvi_store_close(chain.store);
}

static void landing_bounds(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 16 * PAGE, .dram_page_bytes = PAGE, .max_landings = 2};
  kvs_space_desc desc = testing_space("m", KEY_BYTES);
  uint8_t space[KVS_DIGEST_SIZE], keys[3][KEY_BYTES];
  uint32_t length = CHUNK, waits = 0;
  struct kvi_put_request request = {
      .space = space, .key_length = KEY_BYTES, .length = CHUNK, .n_segments = 1, .segment_lengths = &length};
  struct kvi_landing landing[2], other;
  struct waiting waiting[64];
  struct kvi_store *store;

  (void)state;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  testing_space_open(store, TENANT, &desc, space);
  for (uint32_t i = 0; i < 3; i++) {
    testing_key(i, keys[i], KEY_BYTES);
    request.key = keys[i];
    assert_int_equal(kvi_store_put_begin(store, TENANT, &request, NULL, NULL, i < 2 ? &landing[i] : &other),
                     i < 2 ? KVS_OK : KVS_ERR_BUSY);
  }
  request.key = keys[0];
  for (uint32_t i = 0; i < 64; i++) {
    kvs_status status;

    waiting[i] = (struct waiting){.store = store};
    status = kvi_store_put_begin(store, TENANT, &request, on_wait, &waiting[i], &other);
    assert_true(status == KVS_PENDING || (status == KVS_ERR_BUSY && waits >= 8));
    waits += status == KVS_PENDING;
  }
  assert_true(waits < 64);
  kvi_store_put_abort(store, &landing[0]);
  kvi_store_put_abort(store, &landing[1]);
  for (uint32_t i = 0; i < 64; i++)
    waits -= (uint32_t)waiting[i].calls;
  assert_int_equal(waits, 0);
  kvi_store_close(store);
}

static void put_errors(void **state)
{
  uint32_t lengths[2] = {1000, 2000};
  struct kvi_put_request good = {
      .key_length = KEY_BYTES, .length = 3000, .n_segments = 2, .segment_lengths = lengths};
  kvs_space_desc fixed = testing_space("fixed", KEY_BYTES);
  struct kvi_landing landing;
  struct kvi_put_request request;
  struct chain chain;
  uint8_t unknown[KVS_DIGEST_SIZE] = {9}, fixed_digest[KVS_DIGEST_SIZE];

  (void)state;
  chain_open(&chain, 16, 0);
  fixed.chunk_bytes = 2999;
  testing_space_open(chain.store, TENANT, &fixed, fixed_digest);
  good.space = chain.space;
  good.key = chain_key(&chain, 0);
#define EXPECT(status, ...)                                                                                  \
  do {                                                                                                       \
    request = good;                                                                                          \
    __VA_ARGS__;                                                                                             \
    assert_int_equal(kvi_store_put_begin(chain.store, TENANT, &request, NULL, NULL, &landing), status);      \
    assert_null(landing.handle);                                                                             \
  } while (0)
  EXPECT(KVS_ERR_KEY_LENGTH, request.key_length = 7);
  EXPECT(KVS_ERR_KEY_LENGTH, request.key_length = 65);
  EXPECT(KVS_ERR_KEY_LENGTH, request.key_length = 16);
  EXPECT(KVS_ERR_SPACE_UNKNOWN, request.space = unknown);
  EXPECT(KVS_ERR_SPACE_MISMATCH, request.space = fixed_digest);
  EXPECT(KVS_ERR_INVALID, request.length = 0);
  EXPECT(KVS_ERR_INVALID, request.length = 2999);
  EXPECT(KVS_ERR_INVALID, request.n_segments = 1);
  EXPECT(KVS_ERR_INVALID, request.n_segments = 0);
  EXPECT(KVS_ERR_TOO_LARGE, request.n_segments = KVI_SEGMENTS_MAX + 1);
  EXPECT(KVS_ERR_TOO_LARGE, request.length = (uint64_t)KVI_CHUNK_BYTES_MAX + 1);
  EXPECT(KVS_ERR_TOO_LARGE, lengths[1] = 17 * PAGE;
         request.length = 1000 + 17 * PAGE); /* above all of the memory */
  lengths[1] = 2000;
  EXPECT(KVS_ERR_INVALID, lengths[0] = 0; request.length = 2000);
#undef EXPECT
  kvi_store_close(chain.store);
}

/* What the wire did to the lengths is noticed at the seal. */
static void a_bad_seal_is_no_chunk(void **state)
{
  uint32_t length = CHUNK, cause;
  struct kvi_put_request request = {
      .key_length = KEY_BYTES, .length = CHUNK, .n_segments = 1, .segment_lengths = &length};
  struct kvi_store_stats stats;
  struct kvi_landing landing;
  struct chain chain;

  (void)state;
  chain_open(&chain, 16, 0);
  request.space = chain.space;
  request.key = chain_key(&chain, 0);
  assert_int_equal(kvi_store_put_begin(chain.store, TENANT, &request, NULL, NULL, &landing), KVS_OK);
  landing.segments[0].length--;
  assert_int_equal(kvi_store_put_commit(chain.store, &landing), KVS_ERR_INVALID);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, request.key, KEY_BYTES, 0, &cause),
                   KVS_MISS);
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.landings, 0);
  assert_int_equal(stats.dram.objects, 0);
  kvi_store_close(chain.store);
}

static void a_corrupt_table_is_a_miss(void **state)
{
  struct kvi_damage damaged[KVI_DAMAGES_MAX];
  struct kvi_store_stats stats;
  struct kvi_source source;
  struct chain chain;
  uint32_t cause;

  (void)state;
  chain_open(&chain, 16, 1);
  assert_int_equal(kvi_store_get_open(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES, NULL,
                                      &source, &cause),
                   KVS_OK);
  ((uint8_t *)(uintptr_t)source.table.segments)[4] ^= 1; /* a segment's checksum */
  kvi_store_get_close(chain.store, &source);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES, 0, &cause),
                   KVS_MISS);
  assert_int_equal(cause, KVI_MISS_CORRUPT);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES, 0, &cause),
                   KVS_MISS);
  assert_int_equal(cause, KVI_MISS_CORRUPT); /* still known, from the ghosts */
  kvi_store_stats(chain.store, &stats);
  assert_int_equal(stats.corrupt, 1);
  assert_int_equal(kvi_damages_list(kvi_store_damages(chain.store), damaged), 1);
  assert_memory_equal(damaged[0].key, chain_key(&chain, 0), KEY_BYTES);
  assert_memory_equal(damaged[0].space, chain.space, KVS_DIGEST_SIZE);
  assert_int_equal(damaged[0].tier, KVI_TIER_DRAM);
  assert_int_equal(stats.chunks, 0);
  assert_int_equal(stats.dram.objects, 0);
  assert_int_equal(chain_put(&chain, 0), KVS_OK);
  assert_int_equal(testing_get(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES, 0, &cause),
                   KVS_OK);
  kvi_store_close(chain.store);
}

/* ---- eviction, spaces, listing, metadata ---- */

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
  assert_true(stats.index_bytes_per_chunk > 52);
  assert_true(stats.index_bytes_per_chunk <= 96);
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
      cmocka_unit_test(lookup_gives_the_prefix),
      cmocka_unit_test(leases_hold),
      cmocka_unit_test(everything_leased_is_full),
      cmocka_unit_test(leases_run_out),
      cmocka_unit_test(a_deleted_chunk_under_a_lease),
      cmocka_unit_test(lease_bounds),
      cmocka_unit_test(lookup_over_spaces),
      cmocka_unit_test(lookup_errors),
      cmocka_unit_test(late_parents_are_linked),
      cmocka_unit_test(equal_puts_wait),
      cmocka_unit_test(landing_bounds),
      cmocka_unit_test(put_errors),
      cmocka_unit_test(a_bad_seal_is_no_chunk),
      cmocka_unit_test(a_corrupt_table_is_a_miss),
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
