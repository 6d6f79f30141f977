/* service_shared_testing.h: a node over a tier that nodes share, which other nodes have put chunks in. Memory is for 64 chunks; what a test puts has no parent, so that any chain may be made of it. */
#ifndef KVI_TESTS_UNIT_TIERS_SERVICE_SHARED_TESTING_H
#define KVI_TESTS_UNIT_TIERS_SERVICE_SHARED_TESTING_H

#include "tests/unit/tiers/shared_testing.h"

#include "tests/unit/tiers/memory_medium.h"

#define CHUNK  3000u
#define PAGE   4096u
#define KEYS   8u
#define SHARED 100u /* the number of the first chunk that another node has stored */

/* Of the node that is open. */
static struct memory_medium *lower;
static struct kvi_medium_ops lower_ops;
static uint64_t parts, out; /* of the shared tier */

static inline void stats_told(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  (void)medium;
  memset(stats_p, 0, sizeof(*stats_p));
  stats_p->devices = parts;
  stats_p->devices_failed = out;
}

static inline void setup(struct node *node, struct kvi_medium *below)
{
  struct kvi_store_config store = {.dram_bytes = 64 * PAGE, .dram_page_bytes = PAGE, .medium = below};
  struct kvi_shared_config shared = {
      .get_ms = PATIENCE_MS, .lookup_ms = PATIENCE_MS, .write = KVI_ADMIT_NONE};

  parts = 3;
  out = 0;
  lower = memory_medium_create(true);
  lower_ops = *lower->medium.ops;
  lower_ops.stats = stats_told;
  lower->medium.ops = &lower_ops;
  shared.medium = &lower->medium;
  node_open_over(node, &store, &shared);
}

static inline void key_make(uint8_t *keys, uint32_t i, uint64_t n)
{
  testing_key(n, keys + (size_t)i * KEY_BYTES, KEY_BYTES);
}

/* bytes: room for these keys. */
static inline Kvasir__V1__Keys keys_of(uint8_t *bytes, const uint64_t *numbers, uint32_t n)
{
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;

  for (uint32_t i = 0; i < n; i++)
    key_make(bytes, i, numbers[i]);
  keys.keys = (ProtobufCBinaryData){.data = bytes, .len = (size_t)n * KEY_BYTES};
  keys.key_length = KEY_BYTES;
  return keys;
}

static inline void put(struct node *node, uint64_t n)
{
  uint8_t key[KEY_BYTES];

  key_make(key, 0, n);
  assert_int_equal(testing_put(node->store, TENANT, node->space, key, KEY_BYTES, NULL, 0, CHUNK, n), KVS_OK);
}

/* Another node has put it. */
static inline void put_shared_in(const uint8_t *space, uint64_t n)
{
  uint8_t key[KEY_BYTES], bytes[CHUNK];
  struct kvi_segment segment = {.length = CHUNK};
  uint8_t *table = malloc(kvi_chunk_table_size(1));
  struct kvi_iov iov = {.base = bytes, .length = CHUNK};
  struct kvi_medium_put put = {
      .identity = {.tenant = TENANT, .space = space, .key = key, .key_length = KEY_BYTES, .unchained = true},
      .iov = &iov,
      .n_iov = 1,
      .length = CHUNK};

  memset(bytes, (int)n, sizeof(bytes));
  key_make(key, 0, n);
  segment.crc32c = kvi_crc32c_update(0, bytes, CHUNK);
  kvi_chunk_table_write(table, &segment, 1, 0);
  assert_int_equal(kvi_chunk_table_read(table, kvi_chunk_table_size(1), &put.table), KVS_OK);
  assert_int_equal(memory_put_now(lower, &put), KVS_OK);
  free(table);
}

static inline void put_shared(struct node *node, uint64_t n)
{
  put_shared_in(node->space, n);
}

/* What is told of these chunks, to be freed with why_done(). */
static inline Kvasir__V1__WhyMissReply *why_ask(struct node *node, const uint64_t *numbers, uint32_t n)
{
  Kvasir__V1__WhyMissRequest request = KVASIR__V1__WHY_MISS_REQUEST__INIT;
  uint8_t bytes[KEYS * KEY_BYTES];
  Kvasir__V1__Keys keys = keys_of(bytes, numbers, n);
  struct calling calling;

  request.space = (ProtobufCBinaryData){.data = node->space, .len = KVS_DIGEST_SIZE};
  request.keys = &keys;
  (void)call_start(node, KVI_METHOD_WHY_MISS, &request.base, &calling);
  memset(bytes, 0, sizeof(bytes)); /* a request lives as long as its call */
  return (Kvasir__V1__WhyMissReply *)call_end(&calling);
}

static inline void why_done(Kvasir__V1__WhyMissReply *reply)
{
  protobuf_c_message_free_unpacked(&reply->base, NULL);
}

#endif
