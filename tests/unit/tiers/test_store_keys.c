/*
 * Keys in full and the tags by which the index knows them: keys lie with the bytes, and two keys with one tag are never taken for one where there are
 * bytes. Such keys cannot be found by trying, so an entry is given the tag of another key here.
 */
#include <stdbool.h>

#include "store_testing.h"

#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/store_private.h"

struct fixture {
  struct memory_medium *medium;
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t here[KEY_BYTES], other[KEY_BYTES];
};

/* One chunk, `here`, in memory and on a medium; the index has room for it alone, and so one bucket. */
static void setup(struct fixture *f)
{
  kvs_space_desc desc = testing_space("keys", KEY_BYTES);
  struct kvi_store_config config = {.dram_bytes = 4 * PAGE, .dram_page_bytes = PAGE, .max_chunks = 1};

  f->medium = memory_medium_create(false);
  config.medium = &f->medium->medium;
  assert_int_equal(kvi_store_open(&config, &f->store), KVS_OK);
  testing_space_open(f->store, TENANT, &desc, f->space);
  testing_key(1, f->here, KEY_BYTES);
  testing_key(2, f->other, KEY_BYTES);
  assert_int_equal(testing_put(f->store, TENANT, f->space, f->here, KEY_BYTES, NULL, 0, CHUNK, 1), KVS_OK);
  memory_settle(f->medium);
}

/* From now on the entry is what the index finds for `other`. */
static void mistake(struct fixture *f)
{
  kvi_key_tag(f->store, f->other, KEY_BYTES, &f->store->entries[0].tag);
}

static void demote(struct fixture *f)
{
  pthread_mutex_lock(&f->store->lock);
  assert_int_equal(f->store->entries[0].state, KVI_ENTRY_RESIDENT);
  kvi_demote_locked(f->store, 0, KVI_DEMOTE_ROOM);
  pthread_mutex_unlock(&f->store->lock);
}

static bool is_found(struct fixture *f, const uint8_t *key)
{
  const uint8_t *space = f->space;
  struct kvi_store_lookup query = {
      .tenant = TENANT, .spaces = &space, .n_spaces = 1, .keys = key, .key_length = KEY_BYTES, .n_keys = 1};
  struct kvi_store_lookup_result result = {0};

  assert_int_equal(kvi_store_lookup(f->store, &query, &result), KVS_OK);
  return result.prefix == 1;
}

static void a_mistaken_chunk_in_memory_is_a_miss(void **state)
{
  struct kvi_source source;
  struct fixture f;
  uint32_t cause;

  (void)state;
  setup(&f);
  mistake(&f);
  assert_true(is_found(&f, f.other)); /* all that the index can tell */
  assert_int_equal(waiting_get(f.store, TENANT, f.space, f.other, 1, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_NEVER);
  assert_int_equal(kvi_store_peek_open(f.store, TENANT, f.space, f.other, KEY_BYTES,
                                       &source), /* as what others keep of it */
                   KVS_MISS);
  kvi_key_tag(f.store, f.here, KEY_BYTES, &f.store->entries[0].tag);
  assert_int_equal(waiting_get(f.store, TENANT, f.space, f.here, 1, &cause), KVS_OK);
  kvi_store_close(f.store);
}

static void a_mistaken_chunk_below_is_a_miss(void **state)
{
  struct kvi_store_stats stats;
  struct fixture f;
  uint32_t cause;

  (void)state;
  setup(&f);
  demote(&f);
  mistake(&f);
  assert_int_equal(waiting_get(f.store, TENANT, f.space, f.other, 1, &cause), KVS_MISS);
  kvi_store_stats(f.store, &stats);
  assert_int_equal(stats.get_hits, 0);
  assert_int_equal(stats.dram.objects, 0);
  kvi_store_close(f.store);
}

/* Those who wait for a read wait for that key. */
static void a_mistaken_chunk_is_not_waited_for(void **state)
{
  struct waiting waiting = {.wait = {.done = waiting_done, .user = &waiting}};
  struct kvi_source source;
  struct fixture f;
  uint32_t cause;

  (void)state;
  pthread_mutex_init(&waiting.mutex, NULL);
  assert_int_equal(kvi_cond_init(&waiting.ended), KVS_OK);
  setup(&f);
  demote(&f);
  memory_hold(f.medium, true);
  assert_int_equal(
      kvi_store_get_open(f.store, TENANT, f.space, f.here, KEY_BYTES, &waiting.wait, &source, &cause),
      KVS_PENDING);
  mistake(&f);
  assert_int_equal(waiting_get(f.store, TENANT, f.space, f.other, 1, &cause), KVS_MISS);
  memory_hold(f.medium, false);
  memory_settle(f.medium);
  pthread_mutex_lock(&waiting.mutex);
  while (waiting.calls == 0)
    assert_int_equal(kvi_cond_wait(&waiting.ended, &waiting.mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                     KVS_OK);
  pthread_mutex_unlock(&waiting.mutex);
  assert_int_equal(testing_compare(f.store, waiting.status, &waiting.wait.source, 1), KVS_OK);
  pthread_cond_destroy(&waiting.ended);
  pthread_mutex_destroy(&waiting.mutex);
  kvi_store_close(f.store);
}

/* A list has the keys of what is in memory; of the others what the index knows. */
static void a_list_has_the_keys_in_memory(void **state)
{
  struct kvi_chunk_info info;
  uint64_t cursor = 0;
  struct fixture f;
  uint32_t cause;

  (void)state;
  setup(&f);
  for (uint32_t round = 0; round < 2; round++) {
    assert_int_equal(kvi_store_chunks(f.store, TENANT, f.space, &cursor, &info, 1), 1);
    assert_int_equal(info.key_length, KEY_BYTES);
    assert_memory_equal(info.key, f.here, KEY_BYTES);
    assert_int_equal(info.tier, KVI_TIER_DRAM);
    demote(&f);
    cursor = 0;
    assert_int_equal(kvi_store_chunks(f.store, TENANT, f.space, &cursor, &info, 1), 1);
    assert_int_equal(info.key_length, 0);
    assert_int_equal(info.length, CHUNK);
    assert_int_equal(info.tier, KVI_TIER_SSD);
    cursor = 0;
    assert_int_equal(waiting_get(f.store, TENANT, f.space, f.here, 1, &cause), KVS_OK);
  }
  kvi_store_close(f.store);
}

static void labels(void **state)
{
  uint8_t label[KVI_TIER_LABEL_MAX], key[KVI_TIER_LABEL_MAX], parent[KVI_TIER_LABEL_MAX];

  (void)state;
  memset(key, 1, sizeof(key));
  memset(parent, 2, sizeof(parent));
  assert_int_equal(kvi_label_write(label, key, NULL, 8), 8);
  assert_int_equal(kvi_label_write(label, key, parent, 32), 64);
  assert_memory_equal(label, key, 32);
  assert_memory_equal(label + 32, parent, 32);
  assert_int_equal(kvi_label_write(label, key, parent, 33), 33); /* both do not fit */
  assert_int_equal(kvi_label_write(label, key, parent, 64), 64);
  assert_memory_equal(label, key, 64);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_mistaken_chunk_in_memory_is_a_miss),
      cmocka_unit_test(a_mistaken_chunk_below_is_a_miss),
      cmocka_unit_test(a_mistaken_chunk_is_not_waited_for),
      cmocka_unit_test(a_list_has_the_keys_in_memory),
      cmocka_unit_test(labels),
  };

  return cmocka_run_group_tests_name("tiers/store_keys", tests, NULL, NULL);
}
