/*
 * Several threads on one store that is too small for them: putters, getters, lookups with leases, deletes and evictions, equal puts that wait. Every
 * byte read must be the one that was put, everyone who waits is told once, and at the end nothing is left over. The same over a medium that moves and lets
 * go of chunks meanwhile: then a chunk that a lease holds, and nobody deletes, can be got whatever becomes of its bytes in memory.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "testing.h"

#include "memory_medium.h"
#include "store_waiting.h"

#define PAGE    4096u
#define KEYS    96u
#define CHAIN   8u
#define THREADS 6u
#define ROUNDS  1500u

#define DELETED (KEYS / 2) /* keys below it are deleted now and then */

struct shared {
  struct memory_medium *medium; /* NULL: none */
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t keys[KEYS * KEY_BYTES];
  atomic_uint wrong_bytes, wrong_status, broken_promises, waits, told;
};

struct worker {
  struct shared *shared;
  kvi_rand rand;
  uint64_t owner;
};

static void on_wait(void *ctx, kvs_status status)
{
  struct shared *shared = ctx;

  if (status != KVS_OK && status != KVS_ERR_BUSY)
    atomic_fetch_add(&shared->wrong_status, 1);
  atomic_fetch_add(&shared->told, 1);
}

static void put_one(struct worker *worker, uint32_t id)
{
  struct shared *shared = worker->shared;
  uint32_t lengths[3] = {500 + id, 4000, 100};
  struct kvi_put_request request = {.space = shared->space,
                                    .key = shared->keys + (size_t)id * KEY_BYTES,
                                    .key_length = KEY_BYTES,
                                    .parent = id % CHAIN ? shared->keys + (size_t)(id - 1) * KEY_BYTES : NULL,
                                    .place = id % CHAIN,
                                    .length = 4600 + id,
                                    .n_segments = 3,
                                    .segment_lengths = lengths};
  struct kvi_landing landing;
  kvs_status status = kvi_store_put_begin(shared->store, TENANT, &request, on_wait, shared, &landing);

  if (status == KVS_PENDING)
    atomic_fetch_add(&shared->waits, 1);
  else if (status == KVS_OK && kvi_rand_below(&worker->rand, 8) == 0)
    kvi_store_put_abort(shared->store, &landing);
  else if (status == KVS_OK) {
    testing_fill(&landing, id);
    if (kvi_store_put_commit(shared->store, &landing) != KVS_OK)
      atomic_fetch_add(&shared->wrong_status, 1);
  } else if (status != KVS_EXISTS && status != KVS_ERR_FULL &&
             status != KVS_ERR_BUSY) /* leases hold all that was looked at */
    atomic_fetch_add(&shared->wrong_status, 1);
}

static kvs_status get_one(struct worker *worker, uint32_t id)
{
  struct shared *shared = worker->shared;
  uint32_t cause;
  kvs_status status =
      waiting_get(shared->store, TENANT, shared->space, shared->keys + (size_t)id * KEY_BYTES, id, &cause);

  if (status == KVS_ERR_CHECKSUM)
    atomic_fetch_add(&shared->wrong_bytes, 1);
  else if (status != KVS_OK && status != KVS_MISS && !(status == KVS_ERR_BUSY && shared->medium))
    atomic_fetch_add(&shared->wrong_status, 1);
  return status;
}

static void lookup_one(struct worker *worker, uint32_t id)
{
  struct shared *shared = worker->shared;
  const uint8_t *space = shared->space;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = worker->owner,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = shared->keys + (size_t)(id / CHAIN * CHAIN) * KEY_BYTES,
                                   .key_length = KEY_BYTES,
                                   .n_keys = CHAIN,
                                   .lease_ms = 600000};
  struct kvi_store_lookup_result result = {0};

  if (kvi_store_lookup(shared->store, &query, &result) != KVS_OK)
    atomic_fetch_add(&shared->wrong_status, 1);
  for (uint32_t i = 0; result.lease && id >= DELETED && i < result.prefix; i++)
    if (get_one(worker, id / CHAIN * CHAIN + i) == KVS_MISS) /* busy is no miss: it is asked for again */
      atomic_fetch_add(&shared->broken_promises, 1);
  if (result.lease && kvi_rand_below(&worker->rand, 2) &&
      kvi_store_release(shared->store, worker->owner, result.lease) != KVS_OK)
    atomic_fetch_add(&shared->wrong_status, 1);
  if (kvi_rand_below(&worker->rand, 4) == 0)
    kvi_store_release_owner(shared->store, worker->owner);
}

static void admin_one(struct worker *worker, uint32_t id)
{
  struct shared *shared = worker->shared;
  struct kvi_chunk_info infos[16];
  struct kvi_store_stats stats;
  uint64_t chunks, bytes, cursor = 0;

  switch (kvi_rand_below(&worker->rand, 4)) {
  case 0:
    kvi_store_evict(shared->store, TENANT, shared->space, 20000, &chunks, &bytes);
    break;
  case 1:
    (void)kvi_store_delete(shared->store, TENANT, shared->space,
                           shared->keys + (size_t)(id % DELETED) * KEY_BYTES, KEY_BYTES);
    break;
  case 2:
    (void)kvi_store_chunks(shared->store, TENANT, shared->space, &cursor, infos, 16);
    break;
  default:
    kvi_store_stats(shared->store, &stats);
    kvi_store_expire(shared->store);
    if (shared->medium) {
      memory_let_go(shared->medium, 20000);
      memory_move(shared->medium, id);
    }
    kvi_store_put_unwait(shared->store, worker); /* never waited: nothing to forget */
    break;
  }
}

static void *work(void *arg)
{
  struct worker *worker = arg;

  for (uint32_t i = 0; i < ROUNDS; i++) {
    uint32_t id = (uint32_t)kvi_rand_below(&worker->rand, KEYS);

    switch (kvi_rand_below(&worker->rand, 8)) {
    case 0:
    case 1:
    case 2:
      put_one(worker, id);
      break;
    case 3:
    case 4:
    case 5:
      (void)get_one(worker, id);
      break;
    case 6:
      lookup_one(worker, id);
      break;
    default:
      admin_one(worker, id);
      break;
    }
  }
  kvi_store_release_owner(worker->shared->store, worker->owner);
  return NULL;
}

/* What the medium's thread had no time for meanwhile: chunks leave memory at the mark, and come back. */
static void leave_and_come_back(struct worker *worker)
{
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
  struct kvi_store_stats stats;
  uint32_t id = 0;

  do {
    put_one(worker, id % KEYS);
    memory_settle(worker->shared->medium);
    (void)get_one(worker, (id + KEYS / 2) % KEYS);
    id++;
    kvi_store_stats(worker->shared->store, &stats);
    assert_false(kvi_deadline_expired(patience));
  } while (stats.promotions == 0 || stats.demotions_by[KVI_DEMOTE_MARK] == 0);
}

/* The thread that demotes at the mark may still be at it, and what was coded last may have to be written. */
static bool is_quiet(const struct shared *shared, struct kvi_store_stats *stats)
{
  if (shared->medium)
    memory_settle(shared->medium);
  kvi_store_stats(shared->store, stats);
  return stats->coding == 0 && stats->writes_queued == 0 &&
         stats->dram.objects == stats->chunks - stats->medium_only &&
         (!shared->medium || stats->medium_chunks == memory_items(shared->medium));
}

static void run_workers(bool medium, uint32_t codec_threads)
{
  struct kvi_store_config config = {.dram_bytes = 100 * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .max_landings = 8,
                                    .codec = {.tensors = true, .bytes = true},
                                    .codec_threads = codec_threads};
  kvs_space_desc desc = testing_space("threads", KEY_BYTES);
  struct shared shared = {0};
  struct worker workers[THREADS];
  pthread_t threads[THREADS];
  struct kvi_store_stats stats, now;
  uint64_t chunks, bytes, evicted = 0;

  if (medium) {
    shared.medium = memory_medium_create(false);
    config.medium = &shared.medium->medium;
    config.dram_high_mark = 90;
    config.dram_low_mark = 75;
  }
  assert_int_equal(kvi_store_open(&config, &shared.store), KVS_OK);
  testing_space_open(shared.store, TENANT, &desc, shared.space);
  for (uint32_t i = 0; i < KEYS; i++)
    testing_key(i, shared.keys + (size_t)i * KEY_BYTES, KEY_BYTES);
  for (uint32_t i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){.shared = &shared, .owner = i + 1};
    kvi_rand_seed(&workers[i].rand, i);
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (uint32_t i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  if (medium)
    leave_and_come_back(&workers[0]);
  assert_int_equal(shared.wrong_bytes, 0);
  assert_int_equal(shared.wrong_status, 0);
  assert_int_equal(shared.broken_promises, 0);
  assert_int_equal(shared.told, shared.waits);
  AWAIT(is_quiet(&shared, &stats));
  assert_int_equal(stats.landings, 0);
  assert_int_equal(stats.leases, 0);
  assert_int_equal(stats.dram.zombie_bytes, 0);
  assert_true(stats.evictions > 0);
  /* a chunk that is just being looked at by another thread stays, and so do bytes that it still has open: for a moment */
  AWAIT((kvi_store_evict(shared.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes), evicted += chunks,
         kvi_store_stats(shared.store, &now), now.chunks == 0 && now.dram.used_bytes == 0));
  /* one may have gone for the room of another; the medium may have let go of all before */
  assert_in_range(evicted, stats.chunks > 0, stats.chunks);
  assert_int_equal(now.evictions - stats.evictions, stats.chunks);
  if (medium)
    assert_int_equal(memory_items(shared.medium), 0);
  kvi_store_close(shared.store);
}

static void nothing_is_torn(void **state)
{
  (void)state;
  run_workers(false, 0);
}

static void nothing_is_torn_over_a_medium(void **state)
{
  (void)state;
  run_workers(true, 0);
}

/* What is put here is as long coded: it is looked at and held, and stays. */
static void nothing_is_torn_with_a_codec(void **state)
{
  (void)state;
  run_workers(false, 2);
  run_workers(true, 2);
}

/* ---- put_unwait against the call it forbids ---- */

struct race {
  struct kvi_store *store;
  struct kvi_landing landing;
  atomic_bool forgotten;
  atomic_uint late;
};

static void on_race(void *ctx, kvs_status status)
{
  struct race *race = ctx;

  (void)status;
  if (atomic_load(&race->forgotten))
    atomic_fetch_add(&race->late, 1);
}

static void *commit_it(void *arg)
{
  struct race *race = arg;

  kvi_store_put_abort(race->store, &race->landing);
  return NULL;
}

static void no_call_after_unwait(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 16 * PAGE, .dram_page_bytes = PAGE};
  kvs_space_desc desc = testing_space("race", KEY_BYTES);
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES];
  uint32_t length = 100;
  struct kvi_put_request request = {.space = space,
                                    .key = key,
                                    .key_length = KEY_BYTES,
                                    .length = 100,
                                    .n_segments = 1,
                                    .segment_lengths = &length};
  struct kvi_store *store;

  (void)state;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  testing_space_open(store, TENANT, &desc, space);
  testing_key(1, key, KEY_BYTES);
  for (int i = 0; i < 300; i++) {
    struct race race = {.store = store};
    struct kvi_landing other;
    pthread_t thread;

    assert_int_equal(kvi_store_put_begin(store, TENANT, &request, NULL, NULL, &race.landing), KVS_OK);
    assert_int_equal(kvi_store_put_begin(store, TENANT, &request, on_race, &race, &other), KVS_PENDING);
    assert_int_equal(pthread_create(&thread, NULL, commit_it, &race), 0);
    kvi_store_put_unwait(store, &race);
    atomic_store(&race.forgotten, true);
    pthread_join(thread, NULL);
    assert_int_equal(race.late, 0);
  }
  kvi_store_close(store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_torn), cmocka_unit_test(nothing_is_torn_over_a_medium),
      cmocka_unit_test(nothing_is_torn_with_a_codec), cmocka_unit_test(no_call_after_unwait)};

  return cmocka_run_group_tests_name("tiers/store_threads", tests, NULL, NULL);
}
