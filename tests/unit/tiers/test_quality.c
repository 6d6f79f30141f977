/* How much a chunk has lost: who takes it, and that a better copy takes the place of a worse one, wherever that is, and never leaves a hole. */
#include "quality_testing.h"

static void who_takes_it(void **state)
{
  struct fixture *f = *state;
  struct kvi_store_stats stats;

  assert_int_equal(put(f, 2, CHUNK), KVS_OK);
  assert_int_equal(lookup(f, 0, 0, NULL), 0);
  assert_int_equal(lookup(f, 1, 0, NULL), 0);
  assert_int_equal(lookup(f, 2, 0, NULL), 1);
  assert_int_equal(get(f, 1), -1 - KVI_MISS_QUALITY);
  assert_int_equal(get(f, 2), 2);
  assert_int_equal(get(f, 3), 2);
  stats = stats_of(f);
  assert_int_equal(stats.gets, 3);
  assert_int_equal(stats.get_hits, 2);
  assert_int_equal(stats.get_bytes, 2 * CHUNK);
  assert_int_equal(stats.tier_hits[KVI_TIER_DRAM], 2);
  assert_int_equal(stats.get_misses[KVI_MISS_QUALITY], 1);
}

/* What a list of chunks says of this one. */
static uint16_t listed_quality(struct fixture *f)
{
  struct kvi_chunk_info infos[64];
  uint64_t cursor = 0;

  for (size_t n; (n = kvi_store_chunks(f->store, TENANT, f->space, &cursor, infos, 64)) > 0;)
    for (size_t i = 0; i < n; i++)
      if (infos[i].length == CHUNK && infos[i].quality != 0) /* all others are exact */
        return infos[i].quality;
  return 0;
}

static void the_same_from_below(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(put(f, 2, CHUNK), KVS_OK);
  assert_int_equal(listed_quality(f), kvi_quality(2, KVI_LOSS_MAX, KVI_CODING_NONE));
  demote(f);
  assert_int_equal(listed_quality(f), 2); /* its table lies on the medium */
  assert_int_equal(lookup(f, 1, 0, NULL), 0);
  assert_int_equal(lookup(f, 2, 0, NULL), 1);
  assert_int_equal(get(f, 1), -1 - KVI_MISS_QUALITY);
  assert_int_equal(stats_of(f).fetches, 0); /* known before it is read */
  assert_int_equal(get(f, 2), 2);
}

static void better_replaces_worse(void **state)
{
  struct fixture *f = *state;
  uint64_t lease;

  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  memory_settle(f->medium);
  assert_int_equal(lookup(f, 4, 60000, &lease), 1);
  assert_true(lease != 0);
  assert_int_equal(put(f, 4, BETTER), KVS_EXISTS);
  assert_int_equal(put(f, 5, BETTER), KVS_EXISTS);
  assert_int_equal(put(f, 1, BETTER), KVS_OK);
  assert_int_equal(get(f, 4), 1);
  assert_int_equal(lookup(f, 1, 0, NULL), 1);
  assert_int_equal(space_bytes(f), BETTER);
  assert_int_equal(stats_of(f).chunks, 1);
  assert_int_equal(put(f, 0, CHUNK), KVS_OK);
  assert_int_equal(get(f, 0), 0);
  assert_int_equal(space_bytes(f), CHUNK);
  assert_int_equal(kvi_store_release(f->store, 1, lease), KVS_OK); /* it was the entry's all the while */
  memory_settle(f->medium);
  assert_int_equal(memory_items(f->medium), 1);
  assert_int_equal(kvi_store_delete(f->store, TENANT, f->space, f->key, KEY_BYTES), KVS_OK);
  assert_int_equal(space_bytes(f), 0);
  memory_settle(f->medium);
  assert_int_equal(memory_items(f->medium), 0);
  assert_int_equal(stats_of(f).dram.payload_bytes, 0);
}

static void better_replaces_what_is_below(void **state)
{
  struct fixture *f = *state;
  struct kvi_store_stats before, after;

  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  demote(f);
  before = stats_of(f);
  assert_int_equal(put(f, 2, BETTER), KVS_OK);
  after = stats_of(f);
  assert_int_equal(after.chunks, before.chunks);
  assert_int_equal(get(f, 4), 2);
  memory_settle(f->medium);
  demote(f);
  before = stats_of(f);
  assert_int_equal(get(f, 4), 2);
  assert_int_equal(stats_of(f).promotions, before.promotions + 1);
}

/* The better one cannot be written: what was safe stays so, and is what is left when memory needs room. */
static void the_safe_copy_stays(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  memory_settle(f->medium);
  memory_fail(f->medium, KVS_OK, KVS_ERR_FULL);
  assert_int_equal(put(f, 2, BETTER), KVS_OK);
  memory_settle(f->medium);
  assert_int_equal(memory_items(f->medium), 1);
  assert_int_equal(get(f, 4), 2);
  demote(f);
  assert_int_equal(get(f, 4), 4);
  memory_fail(f->medium, KVS_OK, KVS_OK);
  assert_int_equal(put(f, 2, BETTER), KVS_OK);
  demote(f);
  assert_int_equal(get(f, 4), 2);
  assert_int_equal(kvi_store_delete(f->store, TENANT, f->space, f->key, KEY_BYTES), KVS_OK);
}

/* As what comes from the tier that nodes share. KVS_EXISTS: the store's own is as good. */
static kvs_status refill(struct fixture *f, uint32_t loss)
{
  struct kvi_landing landing;
  uint32_t length = CHUNK;
  struct kvi_put_request request = {.space = f->space,
                                    .key = f->key,
                                    .key_length = KEY_BYTES,
                                    .length = CHUNK,
                                    .n_segments = 1,
                                    .segment_lengths = &length,
                                    .quality = kvi_quality(loss, KVI_LOSS_MAX, KVI_CODING_NONE)};
  kvs_status status = kvi_store_refill_begin(f->store, TENANT, &request, &landing);

  if (status != KVS_OK)
    return status;
  testing_fill(&landing, loss);
  return kvi_store_refill_commit(f->store, TENANT, f->space, f->key, KEY_BYTES, &landing);
}

static void no_refill_with_worse(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(put(f, 1, CHUNK), KVS_OK);
  demote(f);
  assert_int_equal(refill(f, 3), KVS_EXISTS);
  assert_int_equal(get(f, 1), 1);
}

/* The bytes came from elsewhere while the medium was read, which then fails: its copy is not one to fall back to. */
static void a_bad_copy_is_written_anew(void **state)
{
  static const kvs_status wrong[] = {KVS_ERR_IO, KVS_ERR_CORRUPT, KVS_MISS};
  struct fixture *f = *state;

  assert_int_equal(put(f, 1, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 3; i++) {
    uint32_t puts;

    demote(f);
    puts = memory_puts(f->medium);
    memory_hold(f->medium, true);
    kvi_store_get_ahead(f->store, TENANT, f->space, f->key, KEY_BYTES);
    assert_int_equal(refill(f, 1), KVS_OK);
    memory_fail(f->medium, wrong[i], KVS_OK);
    memory_hold(f->medium, false);
    memory_settle(f->medium);
    memory_fail(f->medium, KVS_OK, KVS_OK);
    assert_int_equal(memory_puts(f->medium), puts + 1);
    assert_int_equal(stats_of(f).medium_chunks, stats_of(f).chunks);
    assert_int_equal(get(f, 1), 1);
  }
}

/* It is being read from the medium when the better one comes. */
static void better_replaces_what_is_read(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  demote(f);
  memory_hold(f->medium, true);
  kvi_store_get_ahead(f->store, TENANT, f->space, f->key, KEY_BYTES);
  assert_int_equal(stats_of(f).fetches_ahead, 1);
  assert_int_equal(put(f, 2, BETTER), KVS_OK);
  assert_int_equal(get(f, 4), 2);
  memory_hold(f->medium, false);
  memory_settle(f->medium);
  assert_int_equal(get(f, 4), 2);
  assert_int_equal(kvi_store_delete(f->store, TENANT, f->space, f->key, KEY_BYTES), KVS_OK);
}

/* Who waits for the read gets the better one. */
static void better_comes_to_who_waits(void **state)
{
  struct fixture *f = *state;
  struct waiting waiting = {.wait = {.terms = {.loss_max = 4}, .done = waiting_done, .user = &waiting}};
  struct kvi_source source;
  uint32_t cause = 0;

  pthread_mutex_init(&waiting.mutex, NULL);
  assert_int_equal(kvi_cond_init(&waiting.ended), KVS_OK);
  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  demote(f);
  memory_hold(f->medium, true);
  assert_int_equal(
      kvi_store_get_open(f->store, TENANT, f->space, f->key, KEY_BYTES, &waiting.wait, &source, &cause),
      KVS_PENDING);
  assert_int_equal(put(f, 2, BETTER), KVS_OK);
  memory_hold(f->medium, false);
  memory_settle(f->medium);
  assert_int_equal(waiting.calls, 1);
  assert_int_equal(waiting.status, KVS_OK);
  assert_int_equal(kvi_quality_loss(waiting.wait.source.table.quality), 2);
  assert_int_equal(testing_compare(f->store, KVS_OK, &waiting.wait.source, 2), KVS_OK);
  assert_int_equal(kvi_store_delete(f->store, TENANT, f->space, f->key, KEY_BYTES), KVS_OK);
  memory_settle(f->medium);
  assert_int_equal(stats_of(f).dram.zombie_bytes, 0);
  pthread_cond_destroy(&waiting.ended);
  pthread_mutex_destroy(&waiting.mutex);
}

/* Leases hold more chunks whose copies have lost something than are looked at in one go: others leave memory for them. */
static void held_ones_hide_no_others(void **state)
{
  enum { HELD = 200, MANY = 500 };
  struct fixture *f = *state;
  struct memory_medium *medium = memory_medium_create(false);
  struct kvi_store_config config = {.dram_bytes = 16 << 20, .medium = &medium->medium};
  kvs_space_desc desc = testing_space("held", KEY_BYTES);
  static uint8_t keys[MANY][KEY_BYTES];
  uint8_t space[KVS_DIGEST_SIZE];
  const uint8_t *spaces = space;
  struct kvi_store_lookup_result result = {0};
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 1,
                                   .spaces = &spaces,
                                   .n_spaces = 1,
                                   .keys = keys[0],
                                   .key_length = KEY_BYTES,
                                   .n_keys = HELD,
                                   .unchained = true,
                                   .lease_ms = 60000};
  struct kvi_store *store;

  (void)f;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  testing_space_open(store, TENANT, &desc, space);
  for (uint32_t i = 0; i < MANY; i++)
    testing_key(i, keys[i], KEY_BYTES);
  for (uint32_t i = 0; i < HELD; i++) {
    struct kvi_medium_identity identity = {
        .tenant = TENANT, .space = space, .key = keys[i], .key_length = KEY_BYTES};
    struct kvi_medium_found lossy = {.identity = identity, .length = CHUNK, .loss = 2};

    assert_int_equal(testing_put(store, TENANT, space, keys[i], KEY_BYTES, NULL, 0, CHUNK, i), KVS_OK);
    memory_settle(medium);
    lossy.handle = memory_place(medium, &identity) + 1;
    assert_true(medium->owner.moved(medium->owner.ctx, lossy.handle, &lossy));
  }
  assert_int_equal(kvi_store_lookup(store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, HELD);
  for (uint32_t i = HELD; i < MANY; i++) {
    assert_int_equal(testing_put(store, TENANT, space, keys[i], KEY_BYTES, NULL, 0, CHUNK, i), KVS_OK);
    memory_settle(medium);
  }
  query.lease_ms = 0;
  assert_int_equal(kvi_store_lookup(store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, HELD);
  kvi_store_close(store);
}

/* It is being written when the better one comes: what was written of the worse is let go of. */
static void better_replaces_what_is_written(void **state)
{
  struct fixture *f = *state;

  memory_hold(f->medium, true);
  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  assert_int_equal(put(f, 2, BETTER), KVS_OK);
  memory_hold(f->medium, false);
  memory_settle(f->medium);
  memory_settle(f->medium);
  assert_int_equal(memory_items(f->medium), 1);
  demote(f);
  assert_int_equal(get(f, 4), 2);
}

static void until_the_better_is_whole_the_worse_stays(void **state)
{
  struct kvi_landing landing, other;
  struct fixture *f = *state;

  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  assert_int_equal(put_begin(f, 2, BETTER, &landing), KVS_OK);
  assert_int_equal(get(f, 4), 4);
  kvi_store_put_abort(f->store, &landing);
  assert_int_equal(get(f, 4), 4);

  assert_int_equal(put_begin(f, 2, BETTER, &landing), KVS_OK);
  assert_int_equal(put_begin(f, 1, BETTER, &other), KVS_OK);
  testing_fill(&landing, 2);
  testing_fill(&other, 1);
  assert_int_equal(kvi_store_put_commit(f->store, &other), KVS_OK);
  assert_int_equal(kvi_store_put_commit(f->store, &landing), KVS_EXISTS);
  assert_int_equal(get(f, 4), 1);
  assert_int_equal(stats_of(f).landings, 0);
  memory_settle(f->medium); /* nobody writes it any more */
  assert_int_equal(stats_of(f).dram.payload_bytes, BETTER);
}

static void deleted_under_the_better_one(void **state)
{
  struct kvi_landing landing;
  struct fixture *f = *state;

  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  assert_int_equal(put_begin(f, 2, BETTER, &landing), KVS_OK);
  testing_fill(&landing, 2);
  assert_int_equal(kvi_store_delete(f->store, TENANT, f->space, f->key, KEY_BYTES), KVS_OK);
  assert_int_equal(kvi_store_put_commit(f->store, &landing), KVS_ERR_BUSY); /* again, as a new one */
  assert_int_equal(get(f, 4), -1 - KVI_MISS_DELETED);
  assert_int_equal(put(f, 2, BETTER), KVS_OK);
  assert_int_equal(get(f, 4), 2);
  assert_int_equal(stats_of(f).chunks, 1);
  memory_settle(f->medium); /* nobody writes it any more */
  assert_int_equal(stats_of(f).dram.payload_bytes, BETTER);
}

static void readers_keep_what_they_have(void **state)
{
  struct fixture *f = *state;
  struct kvi_get_wait wait = {.terms = {.loss_max = 4}};
  struct kvi_source source;
  uint32_t cause;

  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  assert_int_equal(kvi_store_get_open(f->store, TENANT, f->space, f->key, KEY_BYTES, &wait, &source, &cause),
                   KVS_OK);
  assert_int_equal(put(f, 0, BETTER), KVS_OK);
  assert_true(testing_matches(&source, 4));
  kvi_store_get_close(f->store, &source);
  memory_settle(f->medium); /* nobody writes it any more */
  assert_int_equal(stats_of(f).dram.payload_bytes, BETTER);
}

struct told {
  uint32_t calls;
  kvs_status status;
};

static void told(void *ctx, kvs_status status)
{
  struct told *own = ctx;

  own->calls++;
  own->status = status;
}

/* Whoever waits for a put of worse bytes than its own is not told that its own are stored. */
static void better_waits_for_worse(void **state)
{
  struct fixture *f = *state;
  struct told waits[3] = {0};
  struct kvi_landing landing, other;
  uint32_t length = CHUNK;
  struct kvi_put_request request = {.space = f->space,
                                    .key = f->key,
                                    .key_length = KEY_BYTES,
                                    .length = CHUNK,
                                    .n_segments = 1,
                                    .segment_lengths = &length};

  assert_int_equal(put_begin(f, 3, CHUNK, &landing), KVS_OK);
  for (uint32_t i = 0; i < 3; i++) {
    request.quality = kvi_quality(2 + i, KVI_LOSS_MAX, KVI_CODING_NONE);
    assert_int_equal(kvi_store_put_begin(f->store, TENANT, &request, told, &waits[i], &other), KVS_PENDING);
  }
  testing_fill(&landing, 3);
  assert_int_equal(kvi_store_put_commit(f->store, &landing), KVS_OK);
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(waits[i].calls, 1);
    assert_int_equal(waits[i].status, i == 0 ? KVS_ERR_BUSY : KVS_OK); /* put again */
  }
  assert_int_equal(put(f, 2, CHUNK), KVS_OK);
  assert_int_equal(get(f, 2), 2);
}

/* What a better copy was brought from is told of that copy, and only when it is there. */
static void better_comes_from_elsewhere(void **state)
{
  struct fixture *f = *state;
  struct kvi_landing landing;

  assert_int_equal(put(f, 4, CHUNK), KVS_OK);
  for (int aborted = 1; aborted >= 0; aborted--) {
    assert_int_equal(put_begin(f, 1, BETTER, &landing), KVS_OK);
    kvi_store_landing_from(f->store, &landing, KVI_TIER_REDIS);
    assert_int_equal(get(f, 4), 4);
    assert_int_equal(stats_of(f).tier_hits[KVI_TIER_REDIS], 0);
    testing_fill(&landing, 1);
    if (aborted)
      kvi_store_put_abort(f->store, &landing);
    else
      assert_int_equal(kvi_store_put_commit(f->store, &landing), KVS_OK);
  }
  assert_int_equal(get(f, 1), 1);
  assert_int_equal(stats_of(f).tier_hits[KVI_TIER_REDIS], 1);
  assert_int_equal(get(f, 1), 1);
  assert_int_equal(stats_of(f).tier_hits[KVI_TIER_REDIS], 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(better_waits_for_worse, setup, teardown),
      cmocka_unit_test_setup_teardown(better_comes_from_elsewhere, setup, teardown),
      cmocka_unit_test_setup_teardown(who_takes_it, setup, teardown),
      cmocka_unit_test_setup_teardown(the_same_from_below, setup, teardown),
      cmocka_unit_test_setup_teardown(better_replaces_worse, setup, teardown),
      cmocka_unit_test_setup_teardown(better_replaces_what_is_below, setup, teardown),
      cmocka_unit_test_setup_teardown(the_safe_copy_stays, setup, teardown),
      cmocka_unit_test_setup_teardown(no_refill_with_worse, setup, teardown),
      cmocka_unit_test_setup_teardown(a_bad_copy_is_written_anew, setup, teardown),
      cmocka_unit_test_setup_teardown(better_replaces_what_is_read, setup, teardown),
      cmocka_unit_test_setup_teardown(better_comes_to_who_waits, setup, teardown),
      cmocka_unit_test_setup_teardown(better_replaces_what_is_written, setup, teardown),
      cmocka_unit_test_setup_teardown(until_the_better_is_whole_the_worse_stays, setup, teardown),
      cmocka_unit_test_setup_teardown(deleted_under_the_better_one, setup, teardown),
      cmocka_unit_test_setup_teardown(readers_keep_what_they_have, setup, teardown),
      cmocka_unit_test_setup_teardown(held_ones_hide_no_others, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
