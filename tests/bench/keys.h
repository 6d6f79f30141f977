/*
 * tests/bench/keys.h: keys and the space of the ways that talk to a Kvasir store. The keys of what is read are the same
 * for every way, so that they share one working set; those of what is written are never used twice.
 */
#ifndef KVASIR_BENCH_KEYS_H
#define KVASIR_BENCH_KEYS_H

#include <stdint.h>
#include <string.h>

#include <kvasir/space.h>

#include "base/rand.h"

#define BENCH_KEY 32u

/* Key of the chunk at place `index` of the working set of this chunk size. */
static inline void bench_key_of_set(uint8_t key[BENCH_KEY], uint64_t size, uint64_t index)
{
  uint64_t state = size * 31 + index;

  for (size_t i = 0; i < BENCH_KEY / sizeof(uint64_t); i++) {
    uint64_t word = kvi_splitmix64(&state);

    memcpy(key + i * sizeof word, &word, sizeof word);
  }
}

/* A source of fresh keys. */
struct bench_fresh {
  kvi_rand random;
};

static inline kvs_status bench_fresh_open(struct bench_fresh *fresh)
{
  uint64_t seed;
  kvs_status status = kvi_random_id(&seed);

  if (status == KVS_OK)
    kvi_rand_seed(&fresh->random, seed);
  return status;
}

static inline void bench_fresh_keys(struct bench_fresh *fresh, uint8_t *keys, uint32_t n)
{
  for (size_t i = 0; i < n * (BENCH_KEY / sizeof(uint64_t)); i++) {
    uint64_t word = kvi_rand_next(&fresh->random);

    memcpy(keys + i * sizeof word, &word, sizeof word);
  }
}

/* An opaque space whose chunks may have any size. */
static inline kvs_space_desc bench_space(void)
{
  return (kvs_space_desc){.struct_size = sizeof(kvs_space_desc),
                          .model = "kvasir-bench",
                          .engine = "kvasir-bench",
                          .layout = KVS_LAYOUT_OPAQUE,
                          .tokens_per_chunk = 256,
                          .hash = KVS_HASH_OPAQUE,
                          .key_length = BENCH_KEY};
}

#endif
