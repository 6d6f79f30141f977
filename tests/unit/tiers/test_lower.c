/*
 * A store over a medium of its own and one that nodes share, both in plain memory: what one cannot give the other does, and what is deleted is
 * gone from all of them.
 */
#include "tests/unit/tiers/shared_testing.h"

#include "tests/unit/tiers/memory_medium.h"

#define CHUNK 100000u

/* Of the node that is open. */
static struct memory_medium *below, *lower;

static void node_open_with(struct node *node, enum kvi_policy_admission write)
{
  struct kvi_store_config store = {.dram_bytes = 4 << 20, .write = write};
  struct kvi_shared_config shared = {.write = write, .get_ms = PATIENCE_MS};

  below = memory_medium_create(false);
  lower = memory_medium_create(true);
  store.medium = &below->medium;
  shared.medium = &lower->medium;
  node_open_over(node, &store, &shared);
}

static void node_open(struct node *node)
{
  node_open_with(node, KVI_ADMIT_ALL);
}

static struct kvi_store_stats store_stats(struct node *node)
{
  struct kvi_store_stats stats;

  kvi_store_stats(node->store, &stats);
  return stats;
}

/* Each key stands alone. */
static kvs_status put_with(struct node *node, uint64_t n, uint32_t ttl_ms)
{
  uint8_t key[KEY_BYTES];
  uint32_t lengths[2] = {CHUNK / 2, CHUNK - CHUNK / 2};
  struct kvi_put_request request = {.space = node->space,
                                    .key = key,
                                    .key_length = KEY_BYTES,
                                    .unchained = true,
                                    .length = CHUNK,
                                    .n_segments = 2,
                                    .segment_lengths = lengths,
                                    .ttl_ms = ttl_ms};

  testing_key(n, key, KEY_BYTES);
  return put_request(node, &request, n);
}

static kvs_status put(struct node *node, uint64_t n)
{
  return put_with(node, n, 0);
}

/* As the lower tier was told; UINT32_MAX: it has not the chunk. */
static uint32_t ttl_of(struct node *node, uint64_t n)
{
  uint8_t key[KEY_BYTES];
  struct kvi_medium_identity identity = {
      .tenant = TENANT, .space = node->space, .key = key, .key_length = KEY_BYTES};

  testing_key(n, key, KEY_BYTES);
  return memory_ttl(lower, &identity);
}

/* Chunks first to first + n - 1 are written everywhere; so many that the first ones are on the medium only. */
static void fill(struct node *node, uint64_t first, uint64_t n)
{
  uint64_t medium_chunks = store_stats(node).medium_chunks, writes = shared_stats(node).writes;

  for (uint64_t i = 0; i < n; i++) {
    assert_int_equal(put(node, first + i), KVS_OK);
    AWAIT(store_stats(node).medium_chunks == medium_chunks + i + 1);
    AWAIT(shared_stats(node).writes == writes + i + 1);
  }
  assert_true(store_stats(node).medium_only > 10);
}

/* Whatever is wrong with the copy on the medium: the chunk comes from the tier that nodes share. */
static void what_the_medium_cannot_give(void **state)
{
  static const kvs_status wrong[] = {KVS_ERR_IO, KVS_ERR_CORRUPT, KVS_MISS, KVS_ERR_DEADLINE};
  struct node node;
  uint32_t cause;

  (void)state;
  node_open(&node);
  fill(&node, 0, 60);
  for (uint32_t i = 0; i < 4; i++) {
    struct kvi_shared_stats before = shared_stats(&node);
    struct kvi_store_stats store = store_stats(&node);

    memory_fail(below, wrong[i], KVS_OK);
    assert_int_equal(get(&node, i, &cause), KVS_OK);
    assert_int_equal(shared_stats(&node).fetch_hits, before.fetch_hits + 1);
    memory_fail(below, KVS_OK, KVS_OK);
    assert_int_equal(get(&node, i, &cause), KVS_OK); /* it is in memory now */
    assert_int_equal(shared_stats(&node).fetch_hits, before.fetch_hits + 1);
    assert_int_equal(store_stats(&node).chunks, store.chunks);
    /* A copy that failed is not trusted: there is a new one. One that was late is as good as before. */
    AWAIT(store_stats(&node).medium_chunks == store.medium_chunks);
    assert_int_equal(store_stats(&node).get_hits, store.get_hits + 2);
    /* The miss that the medium was is taken back beside the fetch, perhaps after its end. */
    AWAIT(store_stats(&node).gets == store.gets + 2);
  }
  node_close(&node);
}

/* What the device cannot read is not there any more: no look-up promises it, and it may be stored again. */
static void what_cannot_be_read_is_not_promised(void **state)
{
  struct kvi_store_stats before;
  struct node node;
  uint32_t cause;

  (void)state;
  node_open(&node);
  fill(&node, 0, 60);
  before = store_stats(&node);
  memory_fail(below, KVS_ERR_IO, KVS_OK);
  memory_fail(lower, KVS_ERR_IO, KVS_OK);
  assert_int_equal(get(&node, 5, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_TIER);
  assert_int_equal(store_stats(&node).chunks, before.chunks - 1);
  assert_int_equal(store_stats(&node).medium_lost, before.medium_lost + 1);
  memory_fail(below, KVS_OK, KVS_OK);
  memory_fail(lower, KVS_MISS, KVS_OK);
  assert_int_equal(get(&node, 5, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_TIER);
  memory_fail(lower, KVS_OK, KVS_OK);
  assert_int_equal(get(&node, 5, &cause), KVS_OK); /* from the tier that nodes share */
  node_close(&node);
}

/*
 * A chunk that is moved again and again while it is read is read where it is then. As often as a get puts up with; after that it is asked to come again, and
 * the chunk is as much there as before.
 */
static void moved_under_its_reads(void **state)
{
  static const struct {
    uint32_t moves; /* one before each of so many reads */
    kvs_status wanted;
  } cases[] = {{1, KVS_OK}, {2, KVS_OK}, {3, KVS_OK}, {40, KVS_ERR_BUSY}};
  static struct waiting getting;
  struct node node;

  (void)state;
  for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct kvi_store_stats before;
    kvs_status status;
    uint32_t cause;

    node_open(&node);
    fill(&node, 0, 60);
    before = store_stats(&node);
    memory_follow(below, cases[i].moves);
    status = get_start(&node, 0, &getting);
    assert_int_equal(status, KVS_PENDING);
    assert_int_equal(get_end(&node, 0, status, &getting), cases[i].wanted);
    memory_follow(below, 0);
    assert_int_equal(store_stats(&node).chunks, before.chunks);
    assert_int_equal(store_stats(&node).medium_chunks, before.medium_chunks);
    assert_int_equal(shared_stats(&node).fetch_hits, 0); /* nobody asked elsewhere */
    assert_int_equal(get(&node, 0, &cause), KVS_OK);
    node_close(&node);
  }
}

/* Several gets of one chunk, some of which give up at whatever moment: each is told, or was forgotten. */
static void waits_are_handed_over_once(void **state)
{
  enum { GETS = 6, ROUNDS = 120 };
  static struct waiting gettings[GETS];
  kvs_status statuses[GETS];
  struct node node;

  (void)state;
  node_open(&node);
  fill(&node, 0, 60);
  for (uint64_t round = 0; round < ROUNDS; round++) {
    uint64_t n = round % 40;

    memory_fail(below, round % 3 ? KVS_ERR_IO : KVS_ERR_DEADLINE, KVS_OK);
    memory_hold(lower, round % 5 == 0);
    memory_hold(below, round % 7 == 0);
    for (int i = 0; i < GETS; i++)
      statuses[i] = get_start(&node, n, &gettings[i]);
    memory_hold(below, false);
    for (int i = 0; i < GETS; i++) {
      bool forgotten = false;

      if (statuses[i] == KVS_PENDING && i % 2 == 0)
        forgotten = node.service->ops->get_unwait(node.service->self, &gettings[i].wait);
      if (forgotten) {
        assert_int_equal(gettings[i].calls, 0);
        statuses[i] = KVS_ERR_CANCELED;
      }
    }
    memory_hold(lower, false);
    for (int i = 0; i < GETS; i++) {
      kvs_status status = get_end(&node, n, statuses[i], &gettings[i]);

      assert_true(status == statuses[i] || status == KVS_OK || status == KVS_MISS || status == KVS_ERR_BUSY);
    }
  }
  node_close(&node);
  for (int i = 0; i < GETS; i++)
    assert_true(gettings[i].calls <= 1);
}

/* ---- deletes ---- */

/* A fetch is under way: what it brings is not kept, and who waits for it misses. */
static void deleted_beside_a_fetch(void **state)
{
  static struct waiting getting;
  struct calling deleting;
  struct node node;
  uint32_t n_deleted, unconfirmed, cause;

  (void)state;
  node_open(&node);
  assert_int_equal(put(&node, 1), KVS_OK);
  AWAIT(shared_stats(&node).writes == 1);
  uint64_t chunks, bytes;
  kvi_store_evict(node.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  memory_hold(lower, true);
  assert_int_equal(get_start(&node, 1, &getting), KVS_PENDING);
  assert_int_equal(delete_start(&node, 1, 1, &deleting), KVS_PENDING);
  {
    static struct waiting late;

    assert_int_equal(get_start(&node, 1, &late), KVS_PENDING); /* the same fetch */
    memory_hold(lower, false);
    assert_int_equal(get_end(&node, 1, KVS_PENDING, &late), KVS_MISS);
  }
  assert_int_equal(get_end(&node, 1, KVS_PENDING, &getting), KVS_MISS);
  assert_int_equal(getting.cause, KVI_MISS_DELETED);
  assert_int_equal(delete_end(&deleting, &n_deleted, &unconfirmed), KVS_OK);
  assert_int_equal(n_deleted, 1);
  assert_int_equal(memory_items(lower), 0);
  assert_int_equal(get(&node, 1, &cause), KVS_MISS);
  node_close(&node);
}

/* A write is under way, another one waits, and the chunk is put again before the delete is over: that one stays. */
static void deleted_beside_writes(void **state)
{
  struct calling deleting;
  struct node node;
  uint32_t n_deleted, unconfirmed, cause;

  (void)state;
  node_open(&node);
  memory_hold(lower, true);
  assert_int_equal(put(&node, 1), KVS_OK);
  assert_int_equal(delete_start(&node, 1, 1, &deleting), KVS_PENDING);
  assert_int_equal(get(&node, 1, &cause), KVS_MISS); /* and nothing is fetched meanwhile */
  assert_int_equal(shared_stats(&node).fetches, 0);
  memory_hold(lower, false);
  assert_int_equal(delete_end(&deleting, &n_deleted, &unconfirmed), KVS_OK);
  assert_int_equal(n_deleted, 1);
  assert_int_equal(memory_items(lower), 0);
  memory_hold(lower, true);
  assert_int_equal(put(&node, 2), KVS_OK);
  assert_int_equal(delete_start(&node, 2, 1, &deleting), KVS_PENDING);
  assert_int_equal(put(&node, 2), KVS_OK); /* again */
  memory_hold(lower, false);
  assert_int_equal(delete_end(&deleting, &n_deleted, &unconfirmed), KVS_OK);
  AWAIT(memory_items(lower) == 1);
  assert_int_equal(get(&node, 2, &cause), KVS_OK);
  node_close(&node);
}

/* What a put asks for goes with the chunk, also when it is written later. */
static void times_to_live(void **state)
{
  struct node node;
  uint32_t cause;

  (void)state;
  node_open(&node);
  assert_int_equal(put_with(&node, 1, 5000), KVS_OK);
  assert_int_equal(put(&node, 2), KVS_OK);
  AWAIT(shared_stats(&node).writes == 2);
  assert_int_equal(ttl_of(&node, 1), 5000);
  assert_int_equal(ttl_of(&node, 2), 0);
  node_close(&node);
  node_open_with(&node, KVI_ADMIT_REUSED);
  assert_int_equal(put_with(&node, 1, 7000), KVS_OK);
  assert_int_equal(put(&node, 2), KVS_OK);
  assert_int_equal(get(&node, 1, &cause), KVS_OK);
  assert_int_equal(get(&node, 2, &cause), KVS_OK);
  AWAIT(shared_stats(&node).writes == 2);
  assert_int_equal(ttl_of(&node, 1), 7000);
  assert_int_equal(ttl_of(&node, 2), 0);
  node_close(&node);
}

/* A chunk that nobody comes back for is written nowhere; the first get, or an equal put, writes it, and the next ones do not again. */
static void reused_ones_are_written(void **state)
{
  struct node node;
  uint32_t cause;

  (void)state;
  node_open_with(&node, KVI_ADMIT_REUSED);
  for (uint64_t n = 0; n < 10; n++)
    assert_int_equal(put(&node, n), KVS_OK);
  assert_int_equal(store_stats(&node).writes_put_off, 10);
  assert_int_equal(shared_stats(&node).puts_off, 10);
  assert_int_equal(memory_items(below), 0);
  assert_int_equal(memory_items(lower), 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(get(&node, 3, &cause), KVS_OK);
    assert_int_equal(put(&node, 4), KVS_EXISTS);
  }
  AWAIT(store_stats(&node).medium_chunks == 2);
  AWAIT(shared_stats(&node).writes == 2);
  assert_int_equal(ttl_of(&node, 3), 0);
  assert_int_equal(ttl_of(&node, 4), 0);
  assert_int_equal(get(&node, 3, &cause), KVS_OK);
  for (uint64_t n = 100; n < 160; n++) /* memory is full: what was not used is gone, what was is below */
    assert_int_equal(put(&node, n), KVS_OK);
  assert_int_equal(get(&node, 0, &cause), KVS_MISS);
  assert_int_equal(get(&node, 3, &cause), KVS_OK);
  assert_int_equal(get(&node, 4, &cause), KVS_OK);
  assert_int_equal(shared_stats(&node).offers, 70);
  assert_int_equal(below->puts, 2);
  assert_int_equal(lower->puts, 2);
  node_close(&node);
  node_open_with(&node, KVI_ADMIT_NONE);
  assert_int_equal(put(&node, 1), KVS_OK);
  assert_int_equal(get(&node, 1, &cause), KVS_OK);
  assert_int_equal(store_stats(&node).writes_put_off, 0);
  assert_int_equal(shared_stats(&node).offers, 0);
  assert_int_equal(memory_items(below) + memory_items(lower), 0);
  node_close(&node);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_the_medium_cannot_give),
      cmocka_unit_test(what_cannot_be_read_is_not_promised),
      cmocka_unit_test(moved_under_its_reads),
      cmocka_unit_test(waits_are_handed_over_once),
      cmocka_unit_test(deleted_beside_a_fetch),
      cmocka_unit_test(deleted_beside_writes),
      cmocka_unit_test(times_to_live),
      cmocka_unit_test(reused_ones_are_written),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
