/* tests/unit/connector/fixture.c */
#include "tests/unit/connector/fixture.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"

const char *test_endpoint(void)
{
  const char *endpoint = getenv("KVASIR_TEST_ENDPOINT");

  return endpoint != NULL ? endpoint : "embedded:64MiB";
}

kvs_connector *test_open(const char *endpoint)
{
  kvs_options options = {.struct_size = sizeof(options),
                         .endpoint = endpoint != NULL ? endpoint : test_endpoint(),
                         .wait_connected_ms = WAIT_MS};
  kvs_connector *connector = NULL;

  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  assert_non_null(connector);
  assert_int_equal(kvs_state(connector, NULL, 0), KVS_OK);
  return connector;
}

kvs_space_desc test_desc(const char *model, uint64_t chunk_bytes)
{
  return (kvs_space_desc){.struct_size = sizeof(kvs_space_desc),
                          .model = model,
                          .engine = "test",
                          .isa = "any",
                          .layout = KVS_LAYOUT_OPAQUE,
                          .tokens_per_chunk = 16,
                          .hash = KVS_HASH_NATIVE,
                          .key_length = KVS_HASH_SIZE,
                          .chunk_bytes = chunk_bytes};
}

kvs_space *test_space(kvs_connector *connector, const char *model, uint64_t chunk_bytes)
{
  kvs_space_desc desc = test_desc(model, chunk_bytes);
  kvs_space *space = NULL;

  assert_int_equal(kvs_space_open(connector, &desc, &space), KVS_OK);
  return space;
}

void test_keys_init(struct test_keys *keys, uint32_t n)
{
  assert_true(n <= TEST_KEYS_MAX);
  assert_int_equal(kvi_random_bytes(keys->bytes, sizeof(keys->bytes)), KVS_OK);
  keys->keys = (kvs_keys){.struct_size = sizeof(keys->keys), .n = n, .keys = keys->bytes};
}

void test_fill(void *bytes, size_t size, uint64_t seed)
{
  unsigned char *at = bytes;
  kvi_rand rand;

  kvi_rand_seed(&rand, seed);
  for (size_t i = 0; i < size; i++)
    at[i] = (unsigned char)kvi_rand_next(&rand);
}

void test_memory_init(struct test_memory *memory, kvs_connector *connector, uint32_t n_regions,
                      uint32_t n_slots, uint32_t gap)
{
  size_t at = 0;

  assert_true(n_regions <= TEST_REGIONS_MAX);
  memset(memory, 0, sizeof(*memory));
  memory->n_regions = n_regions;
  for (uint32_t i = 0; i < n_regions; i++) {
    uint64_t size = 96 + 32 * (i % 3);

    memory->regions[i] =
        (kvs_region){.size = size, .stride = size + gap * (i + 1), .n_slots = n_slots, .layer = i / 2};
    memory->size += memory->regions[i].stride * n_slots;
  }
  memory->bytes = malloc(memory->size);
  assert_non_null(memory->bytes);
  for (uint32_t i = 0; i < n_regions; i++) {
    memory->regions[i].base = memory->bytes + at;
    at += memory->regions[i].stride * n_slots;
  }
  test_fill(memory->bytes, memory->size, (uintptr_t)memory);
  assert_int_equal(kvs_memory_register(connector, memory->regions, n_regions, &memory->registered), KVS_OK);
}

void test_memory_destroy(struct test_memory *memory)
{
  assert_int_equal(kvs_memory_unregister(memory->registered), KVS_OK);
  free(memory->bytes);
}

size_t test_chunk_bytes(const struct test_memory *memory, uint32_t slots_per_chunk)
{
  size_t bytes = 0;

  for (uint32_t i = 0; i < memory->n_regions; i++)
    bytes += memory->regions[i].size;
  return bytes * slots_per_chunk;
}

void reference_gather(const struct test_memory *memory, const int64_t *slots, uint32_t slots_per_chunk,
                      unsigned char *out)
{
  for (uint32_t r = 0; r < memory->n_regions; r++) {
    const kvs_region *region = &memory->regions[r];

    for (uint32_t s = 0; s < slots_per_chunk; s++)
      for (uint64_t b = 0; b < region->size; b++)
        *out++ = ((unsigned char *)region->base)[region->stride * (uint64_t)slots[s] + b];
  }
}

void reference_scatter(const struct test_memory *memory, unsigned char *bytes, const int64_t *slots,
                       uint32_t slots_per_chunk, const unsigned char *payload)
{
  for (uint32_t r = 0; r < memory->n_regions; r++) {
    const kvs_region *region = &memory->regions[r];
    unsigned char *base = bytes + ((unsigned char *)region->base - memory->bytes);

    for (uint32_t s = 0; s < slots_per_chunk; s++)
      for (uint64_t b = 0; b < region->size; b++, payload++)
        if (slots[s] >= 0)
          base[region->stride * (uint64_t)slots[s] + b] = *payload;
  }
}

kvs_completion test_wait(kvs_connector *connector, kvs_op op)
{
  kvs_completion completion = {0};

  assert_int_not_equal(op, 0);
  assert_int_equal(kvs_wait(connector, op, WAIT_MS, &completion), KVS_OK);
  assert_int_equal(completion.op, op);
  return completion;
}

void test_put(kvs_space *space, kvs_connector *connector, const kvs_keys *keys, struct test_memory *memory,
              const int64_t *slots, uint32_t slots_per_chunk)
{
  kvs_completion completion;
  kvs_op op = 0;

  assert_int_equal(kvs_put(space, keys, memory->registered, slots, slots_per_chunk, NULL, &op), KVS_OK);
  completion = test_wait(connector, op);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.n_ok, keys->n);
}

kvs_completion test_get(kvs_space *space, kvs_connector *connector, const kvs_keys *keys,
                        struct test_memory *memory, const int64_t *slots, uint32_t slots_per_chunk)
{
  kvs_op op = 0;

  assert_int_equal(kvs_get(space, keys, memory->registered, slots, slots_per_chunk, NULL, &op), KVS_OK);
  return test_wait(connector, op);
}
