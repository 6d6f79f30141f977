/* testing.h: cmocka with its prerequisites, and what the tests of tiers share: a space, keys and chunks of known bytes. */
#ifndef KVI_TESTS_UNIT_TIERS_TESTING_H
#define KVI_TESTS_UNIT_TIERS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/rand.h"
#include "tiers/policy/policy.h"
#include "tiers/store.h"

#define TENANT    "default"
#define KEY_BYTES 32u

/* For a policy's insert. */
#define TESTING_CHUNK(parent_chunk)                                                                          \
  &(const struct kvi_policy_chunk)                                                                           \
  {                                                                                                          \
    .parent = (parent_chunk), .bytes = 1                                                                     \
  }

/* An opaque space whose chunks may have any length. */
static inline kvs_space_desc testing_space(const char *model, uint32_t key_length)
{
  return (kvs_space_desc){.struct_size = sizeof(kvs_space_desc),
                          .model = model,
                          .engine = "test",
                          .layout = KVS_LAYOUT_OPAQUE,
                          .tokens_per_chunk = 256,
                          .tp_size = 1,
                          .pp_size = 1,
                          .cp_size = 1,
                          .key_length = key_length};
}

/* Opens it and gives its digest. */
static inline void testing_space_open(struct kvi_store *store, const char *tenant, const kvs_space_desc *desc,
                                      uint8_t digest[KVS_DIGEST_SIZE])
{
  struct kvi_space_opened opened;

  assert_int_equal(kvs_space_digest(desc, digest), KVS_OK);
  assert_int_equal(kvi_store_space_open(store, tenant, digest, desc, &opened), KVS_OK);
}

/* The key number n: its bytes differ early and late. */
static inline void testing_key(uint64_t n, uint8_t *key, uint32_t key_length)
{
  uint64_t seed = n + 1;

  for (uint32_t i = 0; i < key_length; i += 8) {
    uint64_t word = kvi_splitmix64(&seed);

    memcpy(key + i, &word, key_length - i < 8 ? key_length - i : 8);
  }
}

/* Fills a landing with bytes that follow from `seed`, and the segments' checksums as a wire would. */
static inline void testing_fill(struct kvi_landing *landing, uint64_t seed)
{
  uint32_t segment = 0, crc = 0, left = landing->segments[0].length;
  kvi_rand rand;

  kvi_rand_seed(&rand, seed);
  for (uint32_t i = 0; i < landing->n_iov; i++) {
    uint8_t *at = landing->iov[i].base;

    for (size_t j = 0; j < landing->iov[i].length; j++) {
      at[j] = (uint8_t)kvi_rand_next(&rand);
      crc = kvi_crc32c_update(crc, &at[j], 1);
      if (--left == 0) {
        landing->segments[segment].crc32c = crc;
        crc = 0;
        left = ++segment < landing->n_segments ? landing->segments[segment].length : UINT32_MAX;
      }
    }
  }
  assert_int_equal(segment, landing->n_segments);
}

/* Whether a source holds exactly what testing_fill wrote, checksums included. */
static inline int testing_matches(const struct kvi_source *source, uint64_t seed)
{
  uint32_t segment = 0, crc = 0;
  uint32_t left = kvi_chunk_table_segment(&source->table, 0).length;
  uint64_t seen = 0;
  kvi_rand rand;

  kvi_rand_seed(&rand, seed);
  for (uint32_t i = 0; i < source->n_iov; i++) {
    const uint8_t *at = source->iov[i].base;

    seen += source->iov[i].length;
    for (size_t j = 0; j < source->iov[i].length; j++) {
      if (at[j] != (uint8_t)kvi_rand_next(&rand))
        return 0;
      crc = kvi_crc32c_update(crc, &at[j], 1);
      if (--left == 0) {
        if (crc != kvi_chunk_table_segment(&source->table, segment).crc32c)
          return 0;
        crc = 0;
        left = ++segment < source->table.n_segments ? kvi_chunk_table_segment(&source->table, segment).length
                                                    : UINT32_MAX;
      }
    }
  }
  return seen == source->table.length && segment == source->table.n_segments;
}

/* A put from begin to commit, in segments of up to 1000 bytes. The status of whichever step ended it. */
static inline kvs_status testing_put(struct kvi_store *store, const char *tenant, const uint8_t *space,
                                     const uint8_t *key, uint32_t key_length, const uint8_t *parent,
                                     uint32_t place, uint64_t length, uint64_t seed)
{
  uint32_t lengths[64];
  struct kvi_put_request request = {.space = space,
                                    .key = key,
                                    .key_length = key_length,
                                    .parent = parent,
                                    .place = place,
                                    .length = length,
                                    .segment_lengths = lengths};
  uint64_t piece = length / 64 > 1000 ? length / 64 + 1 : 1000;
  struct kvi_landing landing;
  kvs_status status;

  for (uint64_t left = length; left > 0; left -= lengths[request.n_segments++])
    lengths[request.n_segments] = (uint32_t)(left < piece ? left : piece);
  status = kvi_store_put_begin(store, tenant, &request, NULL, NULL, &landing);
  if (status != KVS_OK)
    return status;
  testing_fill(&landing, seed);
  return kvi_store_put_commit(store, &landing);
}

/* The end of a get that was opened with this status: KVS_OK with the right bytes, KVS_ERR_CHECKSUM with wrong ones. */
static inline kvs_status testing_compare(struct kvi_store *store, kvs_status status,
                                         struct kvi_source *source, uint64_t seed)
{
  if (status != KVS_OK)
    return status;
  if (!testing_matches(source, seed))
    status = KVS_ERR_CHECKSUM;
  kvi_store_get_close(store, source);
  return status;
}

/* As testing_compare, or the miss with its cause. */
static inline kvs_status testing_get(struct kvi_store *store, const char *tenant, const uint8_t *space,
                                     const uint8_t *key, uint32_t key_length, uint64_t seed,
                                     uint32_t *cause_p)
{
  struct kvi_source source;
  kvs_status status = kvi_store_get_open(store, tenant, space, key, key_length, NULL, &source, cause_p);

  return testing_compare(store, status, &source, seed);
}

#endif
