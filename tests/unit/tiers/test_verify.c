/* Summing a stored chunk: one that is damaged goes, a sound one stays, and one request sums no more than its bound. */
#include "testing.h"

#include "tiers/service.h"

#define TENANT "default"
#define KEY    32u
#define LENGTH 100000u

struct stored {
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE], key[KEY];
};

static void stored_open(struct stored *s)
{
  struct kvi_store_config config = {.dram_bytes = 1u << 20};
  kvs_space_desc desc = testing_space("verify", KEY);

  assert_int_equal(kvi_store_open(&config, &s->store), KVS_OK);
  testing_space_open(s->store, TENANT, &desc, s->space);
  testing_key(1, s->key, KEY);
  assert_int_equal(testing_put(s->store, TENANT, s->space, s->key, KEY, NULL, 0, LENGTH, 1), KVS_OK);
}

static void flip(struct stored *s, uint64_t at)
{
  struct kvi_source source;
  uint32_t cause;

  assert_int_equal(kvi_store_get_open(s->store, TENANT, s->space, s->key, KEY, NULL, &source, &cause),
                   KVS_OK);
  for (uint32_t i = 0; i < source.n_iov; i++) {
    if (at < source.iov[i].length)
      ((uint8_t *)source.iov[i].base)[at] ^= 1;
    at -= at < source.iov[i].length ? at : source.iov[i].length;
  }
  kvi_store_get_close(s->store, &source);
}

static void a_sound_chunk_stays(void **state)
{
  struct kvi_store_stats stats;
  struct stored s;
  uint64_t length;
  uint32_t cause;

  (void)state;
  stored_open(&s);
  assert_int_equal(kvi_store_verify(s.store, TENANT, s.space, s.key, KEY, &length), KVS_OK);
  assert_int_equal(length, LENGTH);
  assert_int_equal(testing_get(s.store, TENANT, s.space, s.key, KEY, 1, &cause), KVS_OK);
  testing_key(2, s.key, KEY);
  assert_int_equal(kvi_store_verify(s.store, TENANT, s.space, s.key, KEY, &length), KVS_MISS);
  assert_int_equal(length, 0);
  kvi_store_stats(s.store, &stats);
  assert_int_equal(stats.corrupt, 0);
  kvi_store_close(s.store);
}

static void a_damaged_chunk_goes(void **state)
{
  const uint64_t places[] = {0, LENGTH / 2, LENGTH - 1};

  (void)state;
  for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
    struct kvi_store_stats stats;
    struct stored s;
    uint64_t length;
    uint32_t cause;

    stored_open(&s);
    flip(&s, places[i]);
    assert_int_equal(kvi_store_verify(s.store, TENANT, s.space, s.key, KEY, &length), KVS_ERR_CORRUPT);
    assert_int_equal(length, LENGTH);
    assert_int_equal(testing_get(s.store, TENANT, s.space, s.key, KEY, 1, &cause), KVS_MISS);
    assert_int_equal(cause, KVI_MISS_CORRUPT);
    assert_int_equal(kvi_store_verify(s.store, TENANT, s.space, s.key, KEY, &length), KVS_MISS);
    kvi_store_stats(s.store, &stats);
    assert_int_equal(stats.corrupt, 1);
    assert_int_equal(stats.chunks, 0);
    assert_int_equal(stats.dram.objects, 0);
    kvi_store_close(s.store);
  }
}

static void a_damaged_table_goes(void **state)
{
  struct kvi_store_stats stats;
  struct kvi_source source;
  struct stored s;
  uint64_t length;
  uint32_t cause;

  (void)state;
  stored_open(&s);
  assert_int_equal(kvi_store_get_open(s.store, TENANT, s.space, s.key, KEY, NULL, &source, &cause), KVS_OK);
  ((uint8_t *)(uintptr_t)source.table.segments)[4] ^= 1; /* a segment's checksum */
  kvi_store_get_close(s.store, &source);
  assert_int_equal(kvi_store_verify(s.store, TENANT, s.space, s.key, KEY, &length), KVS_ERR_CORRUPT);
  assert_int_equal(length, 0);
  assert_int_equal(kvi_store_verify(s.store, TENANT, s.space, s.key, KEY, &length), KVS_MISS);
  kvi_store_stats(s.store, &stats);
  assert_int_equal(stats.corrupt, 1);
  assert_int_equal(stats.chunks, 0);
  kvi_store_close(s.store);
}

/* A put whose checksum its bytes do not fit: only a wire compares the two. */
static void put_damaged(struct kvi_store *store, const uint8_t *space, const uint8_t *key, uint32_t length)
{
  struct kvi_put_request request = {.space = space,
                                    .key = key,
                                    .key_length = KEY,
                                    .length = length,
                                    .n_segments = 1,
                                    .segment_lengths = &length};
  struct kvi_landing landing;
  uint32_t crc = 0;

  assert_int_equal(kvi_store_put_begin(store, TENANT, &request, NULL, NULL, &landing), KVS_OK);
  for (uint32_t i = 0; i < landing.n_iov; i++)
    crc = kvi_crc32c_update(crc, landing.iov[i].base, landing.iov[i].length);
  landing.segments[0].crc32c = crc ^ 1;
  assert_int_equal(kvi_store_put_commit(store, &landing), KVS_OK);
}

static void delete_corrupt(const struct kvi_service *service, uint8_t *space, uint8_t *keys, uint32_t n,
                           kvs_status status, uint64_t deleted)
{
  static const struct kvi_peer peer = {.id = 5, .tenant = TENANT, .name = "test"};
  Kvasir__V1__DeleteRequest request = KVASIR__V1__DELETE_REQUEST__INIT;
  Kvasir__V1__Keys message = KVASIR__V1__KEYS__INIT;
  ProtobufCMessage *reply = NULL;
  const Kvasir__V1__DeleteReply *answer;

  message.keys = (ProtobufCBinaryData){.data = keys, .len = (size_t)n * KEY};
  message.key_length = KEY;
  request.space = (ProtobufCBinaryData){.data = space, .len = KVS_DIGEST_SIZE};
  request.keys = &message;
  request.only_corrupt = true;
  assert_int_equal(service->ops->call(service->self, &peer, KVI_METHOD_DELETE, &request.base, NULL, &reply),
                   KVS_OK);
  answer = (const Kvasir__V1__DeleteReply *)reply;
  assert_int_equal(answer->status, status);
  assert_int_equal(answer->deleted, deleted);
  protobuf_c_message_free_unpacked(reply, NULL);
}

/* 64 MiB a request: the second chunk of 40 MiB begins below that and is summed whole, the third does not. */
static void one_request_sums_so_much(void **state)
{
  enum { N = 3 };
  struct kvi_store_config config = {.dram_bytes = 160u << 20};
  struct kvi_store_service_config service_config = {.software = "kvasir test", .incarnation = 1};
  kvs_space_desc desc = testing_space("verify", KEY);
  struct kvi_store_service *owner;
  struct kvi_store_stats stats;
  uint8_t space[KVS_DIGEST_SIZE], keys[N * KEY];

  (void)state;
  assert_int_equal(kvi_store_open(&config, &service_config.store), KVS_OK);
  assert_int_equal(kvi_store_service_create(&service_config, &owner), KVS_OK);
  testing_space_open(service_config.store, TENANT, &desc, space);
  for (uint32_t i = 0; i < N; i++) {
    testing_key(i, keys + i * KEY, KEY);
    put_damaged(service_config.store, space, keys + i * KEY, 40u << 20);
  }
  delete_corrupt(kvi_store_service_get(owner), space, keys, N, KVS_OK, 2);
  kvi_store_stats(service_config.store, &stats);
  assert_int_equal(stats.corrupt, 2);
  assert_int_equal(stats.chunks, 1);
  /* What is gone costs nothing: asked again, the third has its turn. */
  delete_corrupt(kvi_store_service_get(owner), space, keys, N, KVS_OK, 1);
  delete_corrupt(kvi_store_service_get(owner), space, keys, N, KVS_MISS, 0);
  kvi_store_stats(service_config.store, &stats);
  assert_int_equal(stats.chunks, 0);
  kvi_store_service_destroy(owner);
  kvi_store_close(service_config.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_sound_chunk_stays),
      cmocka_unit_test(a_damaged_chunk_goes),
      cmocka_unit_test(a_damaged_table_goes),
      cmocka_unit_test(one_request_sums_so_much),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
