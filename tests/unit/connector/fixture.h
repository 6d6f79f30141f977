/*
 * tests/unit/connector/fixture.h: what the connector's tests share: a connector on the endpoint under test, a space, an
 * engine's paged memory, and a simple reference for how chunks lie in it.
 */
#ifndef KVI_TESTS_UNIT_CONNECTOR_FIXTURE_H
#define KVI_TESTS_UNIT_CONNECTOR_FIXTURE_H

/* cmocka wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <kvasir/connector.h>

#define WAIT_MS 10000u /* longer than any operation of these tests may take */

/* KVASIR_TEST_ENDPOINT, or an embedded store. */
const char *test_endpoint(void);
/* NULL endpoint: test_endpoint(). Fails the test if it cannot be opened. */
kvs_connector *test_open(const char *endpoint);

/* A space of opaque chunks of `chunk_bytes` (0: any), 16 tokens a chunk, native keys. `model` tells spaces apart. */
kvs_space_desc test_desc(const char *model, uint64_t chunk_bytes);
kvs_space *test_space(kvs_connector *connector, const char *model, uint64_t chunk_bytes);

/* n keys of KVS_HASH_SIZE bytes that no other call in any process of these tests gives. */
#define TEST_KEYS_MAX 512u
struct test_keys {
  uint8_t bytes[TEST_KEYS_MAX * KVS_HASH_SIZE];
  kvs_keys keys; /* of all of them, as a chain from place 0 */
};
void test_keys_init(struct test_keys *keys, uint32_t n);

/* The engine's memory: regions with gaps between slots, filled with a pattern. */
#define TEST_REGIONS_MAX 16u
struct test_memory {
  kvs_region regions[TEST_REGIONS_MAX];
  uint32_t n_regions;
  unsigned char *bytes; /* all regions' memory */
  size_t size;
  kvs_memory *registered;
};
/* Region i belongs to layer i / 2; sizes and strides differ between regions; gap 0: slots touch. */
void test_memory_init(struct test_memory *memory, kvs_connector *connector, uint32_t n_regions,
                      uint32_t n_slots, uint32_t gap);
void test_memory_destroy(struct test_memory *memory);
void test_fill(void *bytes, size_t size, uint64_t seed);
/* Payload bytes of a chunk. */
size_t test_chunk_bytes(const struct test_memory *memory, uint32_t slots_per_chunk);

/*
 * The reference: byte by byte, with nothing joined. Gathers a chunk from memory, or scatters it (a slot of -1 is a hole)
 * to a copy of the memory.
 */
void reference_gather(const struct test_memory *memory, const int64_t *slots, uint32_t slots_per_chunk,
                      unsigned char *out);
void reference_scatter(const struct test_memory *memory, unsigned char *bytes, const int64_t *slots,
                       uint32_t slots_per_chunk, const unsigned char *payload);

/* Waits for an operation and takes its completion; fails the test if there is none. */
kvs_completion test_wait(kvs_connector *connector, kvs_op op);

/* Starts, waits, expects the status. */
void test_put(kvs_space *space, kvs_connector *connector, const kvs_keys *keys, struct test_memory *memory,
              const int64_t *slots, uint32_t slots_per_chunk);
kvs_completion test_get(kvs_space *space, kvs_connector *connector, const kvs_keys *keys,
                        struct test_memory *memory, const int64_t *slots, uint32_t slots_per_chunk);

#endif
