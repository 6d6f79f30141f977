/* Summing a stored chunk: one that is damaged goes, a sound one stays. */
#include "testing.h"

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
    kvi_store_stats(s.store, &stats);
    assert_int_equal(stats.corrupt, 1);
    assert_int_equal(stats.chunks, 0);
    assert_int_equal(stats.dram.objects, 0);
    kvi_store_close(s.store);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_sound_chunk_stays),
      cmocka_unit_test(a_damaged_chunk_goes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
