/* Chains of keys against vectors that vectors.py computes from the definitions alone. */
#include "tests/unit/proto/testing.h"

#include <kvasir/keys.h>

#include "tests/unit/proto/vectors.h"

#define N_TOKENS 1000u
#define ROOM     16u

static uint32_t tokens[N_TOKENS];
static uint8_t keys[ROOM * KVS_HASH_SIZE], seed[KVS_HASH_SIZE], none[KVS_HASH_SIZE];

static int setup(void **state)
{
  (void)state;
  for (uint32_t i = 0; i < N_TOKENS; i++)
    tokens[i] = i * 7919u % 128256u; /* as in vectors.py */
  unhex(vector_seed, seed, sizeof seed);
  return kvs_vllm_none_hash("0", none);
}

static void check(const char *const *expected, size_t n_expected, kvs_hash hash, const uint8_t *first,
                  const uint32_t *input, size_t n, uint32_t chunk, uint32_t block)
{
  size_t n_keys = ROOM;

  memset(keys, 0xAA, sizeof keys);
  assert_int_equal(kvs_keys_from_tokens(hash, first, NULL, input, n, chunk, block, NULL, 0, keys, &n_keys),
                   KVS_OK);
  assert_int_equal(n_keys, n_expected);
  for (size_t i = 0; i < n_keys; i++)
    assert_hex(keys + i * KVS_HASH_SIZE, KVS_HASH_SIZE, expected[i]);
  assert_int_equal(keys[n_keys * KVS_HASH_SIZE], 0xAA); /* nothing beyond the last key */
}

#define CHECK(expected, ...) check(expected, COUNT(expected), __VA_ARGS__)

static void native_chains(void **state)
{
  (void)state;
  CHECK(vector_native, KVS_HASH_NATIVE, seed, tokens, N_TOKENS, 256, 0);
  CHECK(vector_native, KVS_HASH_NATIVE, seed, tokens, N_TOKENS, 256, 256);
  CHECK(vector_native_blocks, KVS_HASH_NATIVE, seed, tokens, N_TOKENS, 256, 16);
  CHECK(vector_native_edges, KVS_HASH_NATIVE, seed, vector_edge_tokens, COUNT(vector_edge_tokens), 4, 4);
}

static void sglang_chains(void **state)
{
  (void)state;
  CHECK(vector_sglang, KVS_HASH_SGLANG, NULL, tokens, N_TOKENS, 256, 0);
  CHECK(vector_sglang, KVS_HASH_SGLANG, seed, tokens, N_TOKENS, 256, 0); /* it has no seed */
  CHECK(vector_sglang_pages, KVS_HASH_SGLANG, NULL, tokens, N_TOKENS, 256, 64);
}

static void vllm_chains(void **state)
{
  (void)state;
  CHECK(vector_vllm, KVS_HASH_VLLM_SHA256_CBOR, none, tokens, N_TOKENS, 256, 0);
  CHECK(vector_vllm_blocks, KVS_HASH_VLLM_SHA256_CBOR, none, tokens, N_TOKENS, 256, 32);
  CHECK(vector_vllm_edges, KVS_HASH_VLLM_SHA256_CBOR, none, vector_edge_tokens, COUNT(vector_edge_tokens), 6,
        3);
}

static void vllm_engine_told_the_same(void **state)
{
  uint8_t first[KVS_HASH_SIZE];

  (void)state;
  assert_int_equal(kvs_vllm_none_hash("vllm-none-hash", first), KVS_OK);
  CHECK(vector_vllm_engine, KVS_HASH_VLLM_SHA256_CBOR, first, vector_engine_tokens,
        COUNT(vector_engine_tokens), 32, 32);
}

static void vllm_salt_is_in_the_first_block(void **state)
{
  uint8_t item[64];
  size_t length = unhex(vector_salt_item, item, sizeof item), n_keys = ROOM;

  (void)state;
  assert_int_equal(kvs_keys_from_tokens(KVS_HASH_VLLM_SHA256_CBOR, none, NULL, tokens, N_TOKENS, 256, 32,
                                        item, length, keys, &n_keys),
                   KVS_OK);
  assert_int_equal(n_keys, COUNT(vector_vllm_salt));
  for (size_t i = 0; i < n_keys; i++)
    assert_hex(keys + i * KVS_HASH_SIZE, KVS_HASH_SIZE, vector_vllm_salt[i]);
}

/* A chain in two calls is the chain in one. */
static void a_chain_goes_on_from_its_parent(void **state)
{
  static const kvs_hash hashes[] = {KVS_HASH_NATIVE, KVS_HASH_SGLANG, KVS_HASH_VLLM_SHA256_CBOR};

  (void)state;
  for (size_t i = 0; i < COUNT(hashes); i++) {
    uint8_t whole[3 * KVS_HASH_SIZE], parts[3 * KVS_HASH_SIZE];
    size_t n_keys = 3, n_first = 1, n_rest = 2;
    assert_int_equal(
        kvs_keys_from_tokens(hashes[i], seed, NULL, tokens, 768, 256, 64, NULL, 0, whole, &n_keys), KVS_OK);
    assert_int_equal(
        kvs_keys_from_tokens(hashes[i], seed, NULL, tokens, 256, 256, 64, NULL, 0, parts, &n_first), KVS_OK);
    assert_int_equal(kvs_keys_from_tokens(hashes[i], NULL, parts, tokens + 256, 512, 256, 64, NULL, 0,
                                          parts + KVS_HASH_SIZE, &n_rest),
                     KVS_OK);
    assert_int_equal(n_rest, 2);
    assert_memory_equal(whole, parts, sizeof whole);
  }
}

static void none_hashes(void **state)
{
  char longest[257];
  const char *const texts[] = {"0", "", "vllm-none-hash", longest};
  uint8_t out[KVS_HASH_SIZE];

  (void)state;
  memset(longest, 'x', sizeof longest);
  longest[255] = '\0';
  for (size_t i = 0; i < COUNT(texts); i++) {
    assert_int_equal(kvs_vllm_none_hash(texts[i], out), KVS_OK);
    assert_hex(out, sizeof out, vector_none_hashes[i]);
  }
  longest[255] = 'x';
  longest[256] = '\0';
  assert_int_equal(kvs_vllm_none_hash(longest, out), KVS_ERR_INVALID);
  assert_int_equal(kvs_vllm_none_hash("\xC0\x80", out), KVS_ERR_INVALID);
  assert_int_equal(kvs_vllm_none_hash(NULL, out), KVS_ERR_INVALID);
  assert_int_equal(kvs_vllm_none_hash("0", NULL), KVS_ERR_INVALID);
}

static void a_tail_gives_no_key(void **state)
{
  size_t n_keys = ROOM;

  (void)state;
  assert_int_equal(
      kvs_keys_from_tokens(KVS_HASH_SGLANG, NULL, NULL, tokens, 255, 256, 0, NULL, 0, keys, &n_keys), KVS_OK);
  assert_int_equal(n_keys, 0);
  n_keys = ROOM;
  assert_int_equal(kvs_keys_from_tokens(KVS_HASH_SGLANG, NULL, NULL, NULL, 0, 256, 0, NULL, 0, keys, &n_keys),
                   KVS_OK);
  assert_int_equal(n_keys, 0);
}

static void too_small_a_buffer_tells_the_need(void **state)
{
  size_t n_keys = 2;

  (void)state;
  memset(keys, 0xAA, sizeof keys);
  assert_int_equal(
      kvs_keys_from_tokens(KVS_HASH_SGLANG, NULL, NULL, tokens, N_TOKENS, 256, 0, NULL, 0, keys, &n_keys),
      KVS_ERR_BUFFER);
  assert_int_equal(n_keys, 3);
  assert_int_equal(keys[0], 0xAA);
  n_keys = 0;
  assert_int_equal(
      kvs_keys_from_tokens(KVS_HASH_SGLANG, NULL, NULL, tokens, N_TOKENS, 256, 0, NULL, 0, NULL, &n_keys),
      KVS_ERR_BUFFER);
  assert_int_equal(n_keys, 3);
}

static kvs_status with(kvs_hash hash, const uint8_t *first, const uint32_t *input, uint32_t chunk,
                       uint32_t block, const uint8_t *extra, size_t extra_length, uint8_t *out)
{
  size_t n_keys = ROOM;

  return kvs_keys_from_tokens(hash, first, NULL, input, N_TOKENS, chunk, block, extra, extra_length, out,
                              &n_keys);
}

static void broken_arguments_are_refused(void **state)
{
  (void)state;
  assert_int_equal(with(KVS_HASH_NATIVE, seed, tokens, 256, 0, NULL, 0, keys), KVS_OK);
  assert_int_equal(with(KVS_HASH_OPAQUE, seed, tokens, 256, 0, NULL, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with((kvs_hash)99, seed, tokens, 256, 0, NULL, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_NATIVE, NULL, tokens, 256, 0, NULL, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_VLLM_SHA256_CBOR, NULL, tokens, 256, 0, NULL, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_NATIVE, seed, NULL, 256, 0, NULL, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_NATIVE, seed, tokens, 0, 0, NULL, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_NATIVE, seed, tokens, 256, 48, NULL, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_NATIVE, seed, tokens, 256, 512, NULL, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_NATIVE, seed, tokens, 256, 0, NULL, 0, NULL), KVS_ERR_INVALID);
  /* a salt is never dropped */
  assert_int_equal(with(KVS_HASH_NATIVE, seed, tokens, 256, 0, seed, 1, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_SGLANG, seed, tokens, 256, 0, seed, 1, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_VLLM_SHA256_CBOR, seed, tokens, 256, 0, seed, 0, keys), KVS_ERR_INVALID);
  assert_int_equal(with(KVS_HASH_VLLM_SHA256_CBOR, seed, tokens, 256, 0, NULL, 1, keys), KVS_ERR_INVALID);
  assert_int_equal(
      kvs_keys_from_tokens(KVS_HASH_NATIVE, seed, NULL, tokens, 256, 256, 0, NULL, 0, keys, NULL),
      KVS_ERR_INVALID);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(native_chains),
      cmocka_unit_test(sglang_chains),
      cmocka_unit_test(vllm_chains),
      cmocka_unit_test(vllm_engine_told_the_same),
      cmocka_unit_test(vllm_salt_is_in_the_first_block),
      cmocka_unit_test(a_chain_goes_on_from_its_parent),
      cmocka_unit_test(none_hashes),
      cmocka_unit_test(a_tail_gives_no_key),
      cmocka_unit_test(too_small_a_buffer_tells_the_need),
      cmocka_unit_test(broken_arguments_are_refused),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
