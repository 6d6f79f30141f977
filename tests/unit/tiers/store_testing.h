/* store_testing.h: a small store for tests, and a chain of chunks in it. */
#ifndef KVI_TESTS_UNIT_TIERS_STORE_TESTING_H
#define KVI_TESTS_UNIT_TIERS_STORE_TESTING_H

#include "testing.h"

#define PAGE  4096u
#define CHUNK 3000u /* one page with its head */

static inline struct kvi_store *open_store(uint32_t pages, uint32_t max_chunks)
{
  struct kvi_store_config config = {
      .dram_bytes = (uint64_t)pages * PAGE, .dram_page_bytes = PAGE, .max_chunks = max_chunks};
  struct kvi_store *store;

  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  return store;
}

struct chain {
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t keys[128 * KEY_BYTES];
};

static inline uint8_t *chain_key(struct chain *chain, uint32_t i)
{
  return chain->keys + (size_t)i * KEY_BYTES;
}

static inline kvs_status chain_put(struct chain *chain, uint32_t i)
{
  return testing_put(chain->store, TENANT, chain->space, chain_key(chain, i), KEY_BYTES,
                     i ? chain_key(chain, i - 1) : NULL, i, CHUNK, i);
}

/* A store of so many chunks' room and entries (0: enough), and a chain of n in it. */
static inline void chain_open_bounded(struct chain *chain, uint32_t pages, uint32_t n, uint32_t max_chunks)
{
  kvs_space_desc desc = testing_space("chain", KEY_BYTES);

  chain->store = open_store(pages, max_chunks);
  testing_space_open(chain->store, TENANT, &desc, chain->space);
  for (uint32_t i = 0; i < 128; i++)
    testing_key(i, chain_key(chain, i), KEY_BYTES);
  for (uint32_t i = 0; i < n; i++)
    assert_int_equal(chain_put(chain, i), KVS_OK);
}

static inline void chain_open(struct chain *chain, uint32_t pages, uint32_t n)
{
  chain_open_bounded(chain, pages, n, 0);
}

static inline struct kvi_store_lookup_result chain_lookup(struct chain *chain, uint32_t n, uint64_t owner,
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

#endif
