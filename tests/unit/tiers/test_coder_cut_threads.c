/* Memory under pressure, and many threads that put, get, lease and delete: bytes fit, and what a lease holds stays as good as it was found. */
#include "cut_testing.h"

#define THREADS 4u
#define MANY    48u
#define DELETED (MANY / 2) /* keys below it are deleted now and then */

struct crowd {
  struct coding_store *c;
  uint32_t id;
  atomic_uint *wrong, *broken;
};

/* It fits its checksums, and has lost no more than the reader takes. */
static kvs_status crowd_get(struct crowd *crowd, uint64_t number, uint32_t loss_max)
{
  struct kvi_get_terms terms = {.codings = 1u << KVI_CODING_KVC1, .loss_max = loss_max};
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  uint32_t cause;
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  status =
      kvi_store_get_here(crowd->c->store, TENANT, crowd->c->space, key, KEY_BYTES, &terms, &source, &cause);
  *crowd->wrong += status == KVS_MISS && cause == KVI_MISS_CORRUPT;
  if (status != KVS_OK)
    return status;
  *crowd->wrong += !kvi_medium_fits(&source.table, source.iov, source.n_iov) ||
                   kvi_quality_loss(source.table.quality) > loss_max;
  kvi_store_get_close(crowd->c->store, &source);
  return KVS_OK;
}

static void crowd_lease(struct crowd *crowd, uint64_t number, uint32_t loss_max)
{
  uint64_t leased = lease_as(crowd->c, crowd->id, number, loss_max);

  for (int i = 0; leased != 0 && i < 4; i++)
    *crowd->broken += crowd_get(crowd, number, loss_max) != KVS_OK && number >= DELETED;
  kvi_store_release_owner(crowd->c->store, crowd->id);
}

static void crowd_run(void *arg)
{
  struct crowd *crowd = arg;
  uint64_t chunks, bytes;
  uint8_t key[KEY_BYTES];
  kvi_rand rand;

  kvi_rand_seed(&rand, crowd->id);
  for (uint32_t i = 0; i < 400; i++) {
    uint64_t number = kvi_rand_below(&rand, MANY);
    uint32_t what = (uint32_t)kvi_rand_below(&rand, 16);
    uint32_t loss_max = (uint32_t)kvi_rand_below(&rand, 5);

    testing_key(number, key, KEY_BYTES);
    if (what < 7)
      (void)store_put(&crowd->c->to, number);
    else if (what < 11)
      (void)crowd_get(crowd, number, loss_max);
    else if (what < 14)
      crowd_lease(crowd, number, loss_max);
    else if (what == 14 && number < DELETED)
      (void)kvi_store_delete(crowd->c->store, TENANT, crowd->c->space, key, KEY_BYTES);
    else if (what == 15)
      kvi_store_evict(crowd->c->store, TENANT, NULL, RAW, &chunks, &bytes);
  }
}

/* Whatever comes together: bytes fit, and what a lease holds stays as good as it was found. */
static void many_threads(void **state)
{
  struct kvi_store_config config = ladder_config();
  kvi_thread threads[THREADS] = {0};
  struct crowd crowds[THREADS];
  atomic_uint wrong = 0, broken = 0;
  struct coding_store c;
  uint64_t chunks, bytes;

  (void)state;
  for (uint64_t i = 0; i < KINDS; i++)
    (void)content_bytes(i); /* made before others look at them */
  config.dram_bytes = 512 << 10;
  config.codec_threads = 2;
  open_with(&c, &config);
  c.to.quality = QUALITY(0, 4);
  for (uint32_t t = 0; t < THREADS; t++) {
    crowds[t] = (struct crowd){.c = &c, .id = t + 1, .wrong = &wrong, .broken = &broken};
    assert_int_equal(kvi_thread_start(&threads[t], "test-crowd", crowd_run, &crowds[t]), KVS_OK);
  }
  for (uint32_t t = 0; t < THREADS; t++)
    kvi_thread_join(&threads[t]);
  assert_int_equal(wrong, 0);
  assert_int_equal(broken, 0);
  for (uint64_t i = MANY; store_stats_of(c.store).cut_chunks == 0; i++) {
    assert_int_equal(store_put(&c.to, i * KINDS), KVS_OK);
    AWAIT_CODED(c.store);
  }
  AWAIT_CODED(c.store);
  store_check(c.store, c.space);
  assert_int_equal(store_stats_of(c.store).leases, 0);
  kvi_store_evict(c.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  AWAIT(store_stats_of(c.store).dram.used_bytes == 0);
  assert_int_equal(store_stats_of(c.store).dram.payload_bytes, 0);
  assert_int_equal(store_stats_of(c.store).chunks, 0);
  kvi_store_close(c.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(many_threads),
  };

  return cmocka_run_group_tests_name("tiers/coder_cut_threads", tests, NULL, NULL);
}
