/* The store, one thread: puts under way, equal ones that wait, and what is refused. */
#include "store_testing.h"

#include "proto/limits.h"

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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_puts_wait),
      cmocka_unit_test(landing_bounds),
      cmocka_unit_test(put_errors),
      cmocka_unit_test(a_bad_seal_is_no_chunk),
      cmocka_unit_test(a_corrupt_table_is_a_miss),
  };

  return cmocka_run_group_tests_name("tiers/store_landing", tests, NULL, NULL);
}
