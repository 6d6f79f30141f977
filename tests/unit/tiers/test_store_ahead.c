/*
 * Chunks that left memory come back before they are asked for (tiers/ahead.h): over a medium in memory that can be held and fails on demand, and over real files; by a clock that the test turns. The store looks by itself, a few times a
 * second: what is not to happen is waited for over some looks.
 */
#include "store_testing.h"

#include "chains_testing.h"
#include "medium_testing.h"
#include "tiers/ssd/ssd.h"
#include "tiers/store_private.h"

#define ROOM  40u /* chunks */
#define LONG  12u /* chunks of the chain that is to come back */
#define LARGE (15 * PAGE)
#define BOUND 9u /* chunks of a tenant, where it has a bound */
#define SHORT 6u /* of a chain of its, of which there is room for one and a half */

static char folder[64]; /* of files */

static const struct kvi_store_config plain = {.dram_bytes = (uint64_t)ROOM * PAGE,
                                              .dram_page_bytes = PAGE,
                                              .chunk_bytes_max = 16 * PAGE,
                                              .max_chunks = 1024,
                                              .policy = "index",
                                              .prefetch = true,
                                              .dram_high_mark = 90,
                                              .dram_low_mark = 70};

static int setup(void **state)
{
  *state = world_new(plain, memory_medium_create(false));
  return 0;
}

static int setup_bound(void **state)
{
  const struct kvi_tenant_config tenants[] = {{.name = TENANT, .dram_bytes = (uint64_t)BOUND * PAGE}};
  struct kvi_store_config config = plain;

  config.tenants = tenants;
  config.n_tenants = 1;
  *state = world_new(config, memory_medium_create(false));
  return 0;
}

static int setup_files(void **state)
{
  const char *paths[] = {folder};
  struct kvi_ssd_config ssd = {.paths = paths,
                               .n_paths = 1,
                               .bytes = 8 << 20,
                               .file_bytes = 1 << 20,
                               .chunk_bytes_max = PAGE,
                               .durability = KVI_SSD_DURABLE_SEAL,
                               .ring = true};
  struct kvi_store_config config = plain;

  test_folder_make(folder);
  assert_int_equal(kvi_ssd_create(&ssd, &config.medium), KVS_OK);
  *state = world_new(config, NULL);
  return 0;
}

static int teardown_files(void **state)
{
  world_end(*state);
  test_folder_remove(folder);
  return 0;
}

/* It has looked since, from beginning to end. */
static void await_looks(struct world *world)
{
  uint64_t before = stats_of(world).prefetch_looks;

  AWAIT(stats_of(world).prefetch_looks >= before + 3);
}

static void prompt_of(struct world *world, uint32_t chain, uint32_t n, uint32_t length)
{
  kvs_status status;

  for (uint32_t i = look_up(world, chain, n, NULL); i < n; i++) {
    AWAIT((status = put_chunk(world, chain, i, length)) != KVS_ERR_FULL); /* what goes may just be written */
    assert_int_equal(status, KVS_OK);
  }
}

static const struct kvi_program_hint announces = {.wait_kind = KVI_WAIT_APPROVAL, .return_p50_ms = 30000},
                                     is_quick = {.wait_kind = KVI_WAIT_APPROVAL, .return_p50_ms = 2000},
                                     ends = {.close = true};

/* Who announced so much came so late. */
static void learn_announced(struct world *world)
{
  learn(world, "timer", 1, &announces, 29);
  say(world, "timer", 0, 0, &ends);
}

/*
 * Chain 3 is answered, and says that it will be back in 30 s; those who said so before came in 29. Somebody quick needs the memory, so it leaves that; by then it is overdue. Returns how much of it is in memory.
 */
static uint32_t leaves_memory(struct world *world)
{
  learn_announced(world);
  prompt_of(world, 3, LONG, CHUNK);
  say(world, "three", 3, LONG, &announces);
  AWAIT(all_is_below(world));
  prompt_of(world, 4, 27, CHUNK);
  say(world, "four", 4, 27, &is_quick);
  AWAIT(all_is_below(world) && in_memory(world, 3) <= LONG / 2);
  assert_int_equal(there(world, 3), LONG);
  return in_memory(world, 3);
}

/* It is in memory before its request comes, and not much before. */
static void before_its_request(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world), hits;

  world->now += 5 * SECOND;
  await_looks(world);
  assert_int_equal(in_memory(world, 3), left);
  assert_int_equal(stats_of(world).prefetched, 0);
  world->now += 22 * SECOND;
  AWAIT(in_memory(world, 3) == LONG);
  assert_int_equal(stats_of(world).prefetched, LONG - left);
  assert_int_equal(stats_of(world).prefetched_bytes, (LONG - left) * CHUNK);
  assert_int_equal(stats_of(world).prefetched_used, 0);
  hits = (uint32_t)stats_of(world).tier_hits[KVI_TIER_DRAM];
  world->now += 2 * SECOND;
  prompt_of(world, 3, LONG, CHUNK);
  for (uint32_t i = 0; i < LONG; i++)
    assert_int_equal(get_chunk(world, 3, i), KVS_OK);
  assert_int_equal(stats_of(world).prefetched_used, LONG - left);
  assert_int_equal(stats_of(world).prefetched_wasted, 0);
  assert_int_equal(stats_of(world).tier_hits[KVI_TIER_DRAM], hits + LONG);
  assert_int_equal(stats_of(world).fetches, 0);
}

/* It has ended: it leaves memory again unused. */
static void in_vain(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world);

  world->now += 27 * SECOND;
  AWAIT(in_memory(world, 3) == LONG);
  say(world, "three", 0, 0, &ends);
  prompt_of(world, 5, 27, CHUNK);
  AWAIT(stats_of(world).prefetched_wasted == LONG - left);
  await_looks(world);
  assert_int_equal(stats_of(world).prefetched, LONG - left);
}

static void closed(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world);

  say(world, "three", 0, 0, &ends);
  world->now += 27 * SECOND;
  await_looks(world);
  assert_int_equal(stats_of(world).prefetched, 0);
  assert_in_range(in_memory(world, 3), 0, left);
}

/* Somebody puts a better one before it is got. */
static void replaced(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world), number;
  uint8_t key[KEY_BYTES];
  struct kvi_key_tag tag;

  world->now += 27 * SECOND;
  AWAIT(in_memory(world, 3) == LONG);
  key_of(3, LONG - 1, key);
  kvi_key_tag(world->store, key, KEY_BYTES, &tag);
  pthread_mutex_lock(&world->store->lock);
  number = kvi_entry_find_locked(world->store, TENANT, world->space, KEY_BYTES, &tag);
  kvi_entry_loss_set_locked(world->store, number, 1);
  pthread_mutex_unlock(&world->store->lock);
  assert_int_equal(put_chunk(world, 3, LONG - 1, CHUNK), KVS_OK);
  assert_int_equal(get_chunk(world, 3, LONG - 1), KVS_OK);
  assert_int_equal(stats_of(world).prefetched, LONG - left);
  assert_int_equal(stats_of(world).prefetched_wasted, 1);
  assert_int_equal(stats_of(world).prefetched_used, 0);
}

static uint32_t under_way(struct world *world)
{
  uint32_t n;

  pthread_mutex_lock(&world->medium->mutex);
  n = world->medium->n_ops;
  pthread_mutex_unlock(&world->medium->mutex);
  return n;
}

/* A get of chain 3 that waits for the medium. */
static void get_begin(struct world *world, uint32_t place, struct waiting *waiting)
{
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  *waiting = (struct waiting){.wait = {.done = waiting_done, .user = waiting}};
  pthread_mutex_init(&waiting->mutex, NULL);
  assert_int_equal(kvi_cond_init(&waiting->ended), KVS_OK);
  key_of(3, place, key);
  assert_int_equal(
      kvi_store_get_open(world->store, TENANT, world->space, key, KEY_BYTES, &waiting->wait, &source, &cause),
      KVS_PENDING);
}

static void get_end(struct world *world, uint32_t place, struct waiting *waiting)
{
  pthread_mutex_lock(&waiting->mutex);
  while (waiting->calls == 0)
    assert_int_equal(kvi_cond_wait(&waiting->ended, &waiting->mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                     KVS_OK);
  pthread_mutex_unlock(&waiting->mutex);
  assert_int_equal(
      testing_compare(world->store, waiting->status, &waiting->wait.source, chunk_number(3, place)), KVS_OK);
  pthread_cond_destroy(&waiting->ended);
  pthread_mutex_destroy(&waiting->mutex);
}

/* A few at a time; who asks for one meanwhile waits for that, and tells its key before it is read. */
static void joined(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world);
  struct waiting waiting;

  memory_hold(world->medium, true);
  world->now += 27 * SECOND;
  AWAIT(under_way(world) > 0);
  await_looks(world);
  assert_int_equal(under_way(world), 4);
  get_begin(world, left, &waiting);
  assert_int_equal(stats_of(world).fetch_joins, 1);
  memory_hold(world->medium, false);
  get_end(world, left, &waiting);
  AWAIT(in_memory(world, 3) == LONG);
  assert_int_equal(stats_of(world).prefetched_used, 1);
}

/* When one has landed the next is begun, with the others still under way. */
static void goes_on(void **state)
{
  struct world *world = *state;

  (void)leaves_memory(world);
  memory_hold(world->medium, true);
  world->now += 27 * SECOND;
  AWAIT(under_way(world) == 4);
  memory_end(world->medium, 1);
  AWAIT(stats_of(world).prefetched == 1);
  AWAIT(under_way(world) == 4);
  memory_hold(world->medium, false);
}

/* Chain 3 has two long chunks, which have left memory, and is to be back in 4 s. */
static void long_ones_leave(struct world *world)
{
  learn_announced(world);
  prompt_of(world, 3, 2, LARGE);
  say(world, "three", 3, 2, &announces);
  AWAIT(all_is_below(world));
  prompt_of(world, 7, 2, LARGE);
  AWAIT(all_is_below(world));
  for (uint32_t i = 2; i-- > 0;)
    drop_chunk(world, 7, i);
  assert_int_equal(in_memory(world, 3), 0);
}

/* There is room for as many chunks as are begun at once, but not for one so long: something that is worth more would have to leave memory. */
static void not_for_what_is_worth_more(void **state)
{
  struct world *world = *state;

  long_ones_leave(world);
  prompt_of(world, 4, LONG, CHUNK);
  say(world, "four", 4, LONG, &is_quick);
  AWAIT(all_is_below(world));
  world->now += 26 * SECOND;
  (void)look_up(world, 4, LONG, NULL);
  say(world, "four", 4, LONG, &is_quick);
  await_looks(world);
  assert_int_equal(in_memory(world, 3), 0);
  assert_int_equal(in_memory(world, 4), LONG);
  say(world, "four", 0, 0, &ends);
  AWAIT(in_memory(world, 3) > 0);
}

/* So few bytes are under way that a get that comes has not long to wait. */
static void one_long_one(void **state)
{
  struct world *world = *state;

  long_ones_leave(world);
  memory_hold(world->medium, true);
  world->now += 26 * SECOND;
  AWAIT(under_way(world) > 0);
  await_looks(world);
  assert_int_equal(under_way(world), 1);
}

/* While anybody waits for the medium nothing is read ahead. */
static void others_first(void **state)
{
  struct world *world = *state;
  struct waiting waiting;

  (void)leaves_memory(world);
  memory_hold(world->medium, true);
  get_begin(world, LONG - 1, &waiting);
  world->now += 27 * SECOND;
  await_looks(world);
  assert_int_equal(under_way(world), 1);
  memory_hold(world->medium, false);
  get_end(world, LONG - 1, &waiting);
}

/* What cannot be read, or is not whole, is gone; the rest stays, and nobody has waited for it. */
static void fails(struct world *world, kvs_status status)
{
  uint32_t left = leaves_memory(world);

  memory_hold(world->medium, true);
  world->now += 27 * SECOND;
  AWAIT(under_way(world) > 0);
  memory_fail(world->medium, status, KVS_OK);
  memory_hold(world->medium, false);
  AWAIT(there(world, 3) < LONG && under_way(world) == 0);
  assert_in_range(there(world, 3), left, LONG - 1);
  assert_int_equal(stats_of(world).prefetched, 0);
  assert_int_equal(stats_of(world).fetch_misses, 0); /* nobody's */
  memory_fail(world->medium, KVS_OK, KVS_OK); /* not before: what is looked for meanwhile fails as well */
}

static void read_errors(void **state)
{
  fails(*state, KVS_ERR_IO);
  assert_true(stats_of(*state).medium_lost > 0);
}

static void damaged(void **state)
{
  fails(*state, KVS_ERR_CORRUPT);
  assert_true(stats_of(*state).corrupt > 0);
}

/* Another chunk lies there: it is not taken for the one that was wanted. */
static void another_chunk(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world);

  pthread_mutex_lock(&world->medium->mutex);
  for (uint32_t i = 0; i < MEMORY_ITEMS; i++)
    if (world->medium->items[i].bytes)
      world->medium->items[i].name.key[3] ^= 1;
  pthread_mutex_unlock(&world->medium->mutex);
  world->now += 27 * SECOND;
  AWAIT(there(world, 3) == left);
  assert_int_equal(stats_of(world).prefetched, 0);
  assert_true(stats_of(world).corrupt > 0);
}

/* The store is closed while chunks are read, by teardown. */
static void closed_under_it(void **state)
{
  struct world *world = *state;

  (void)leaves_memory(world);
  memory_hold(world->medium, true);
  world->now += 27 * SECOND;
  AWAIT(under_way(world) > 0);
}

/* It is deleted while it is read: it does not come back. */
static void deleted_under_it(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world);

  memory_hold(world->medium, true);
  world->now += 27 * SECOND;
  AWAIT(under_way(world) > 0);
  drop_chunk(world, 3, left);
  memory_hold(world->medium, false);
  await_looks(world);
  AWAIT(under_way(world) == 0);
  assert_int_equal(there(world, 3), left);
}

static uint32_t reads(struct world *world)
{
  uint32_t n;

  pthread_mutex_lock(&world->medium->mutex);
  n = world->medium->gets;
  pthread_mutex_unlock(&world->medium->mutex);
  return n;
}

/* Chain 3 is to be back in 30 s, as the others were that said so. */
static void announce(struct world *world)
{
  learn_announced(world);
  prompt_of(world, 3, SHORT, CHUNK);
  say(world, "three", 3, SHORT, &announces);
  AWAIT(all_is_below(world));
}

/* For a tenant at its bound nothing of its own leaves memory, nor is anything read time and again: two chains are to be back, and there is room for one and a half. */
static void none_of_its_own_leaves(void **state)
{
  struct world *world = *state;
  uint64_t demotions;
  uint32_t here;

  announce(world);
  prompt_of(world, 4, SHORT, CHUNK);
  say(world, "four", 4, SHORT, &announces);
  AWAIT(all_is_below(world));
  here = in_memory(world, 3) + in_memory(world, 4);
  demotions = stats_of(world).demotions_by[KVI_DEMOTE_ROOM];
  world->now += 27 * SECOND;
  await_looks(world);
  assert_int_equal(stats_of(world).demotions_by[KVI_DEMOTE_ROOM], demotions);
  assert_int_equal(stats_of(world).prefetched_wasted, 0);
  assert_int_equal(in_memory(world, 3) + in_memory(world, 4), here + stats_of(world).prefetched);
  assert_int_equal(reads(world), stats_of(world).prefetched);
  assert_true(stats_of(world).prefetched <= BOUND - here);
}

/* Nor is anything lost that it has in memory only. */
static void none_of_its_own_is_lost(void **state)
{
  struct world *world = *state;
  uint64_t evictions;

  announce(world);
  memory_fail(world->medium, KVS_OK, KVS_ERR_FULL);
  prompt_of(world, 6, BOUND - 1, CHUNK);
  AWAIT(in_memory(world, 3) < SHORT);
  evictions = stats_of(world).evictions;
  world->now += 27 * SECOND;
  await_looks(world);
  assert_int_equal(stats_of(world).evictions, evictions);
  assert_int_equal(there(world, 6), BOUND - 1);
}

/* Its bound has become smaller than a chunk: none is read. */
static void none_fits(void **state)
{
  const struct kvi_tenant_config less = {.name = TENANT, .dram_bytes = 1};
  struct world *world = *state;
  uint32_t before;

  announce(world);
  prompt_of(world, 4, SHORT, CHUNK);
  AWAIT(all_is_below(world) && in_memory(world, 3) < SHORT);
  kvi_store_tenant_set(world->store, &less);
  before = reads(world);
  world->now += 27 * SECOND;
  await_looks(world);
  assert_int_equal(reads(world), before);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(before_its_request, setup, world_teardown),
      {"before_its_request, files", before_its_request, setup_files, teardown_files, NULL},
      cmocka_unit_test_setup_teardown(in_vain, setup, world_teardown),
      {"in_vain, files", in_vain, setup_files, teardown_files, NULL},
      cmocka_unit_test_setup_teardown(closed, setup, world_teardown),
      cmocka_unit_test_setup_teardown(replaced, setup, world_teardown),
      cmocka_unit_test_setup_teardown(joined, setup, world_teardown),
      cmocka_unit_test_setup_teardown(goes_on, setup, world_teardown),
      cmocka_unit_test_setup_teardown(not_for_what_is_worth_more, setup, world_teardown),
      cmocka_unit_test_setup_teardown(one_long_one, setup, world_teardown),
      cmocka_unit_test_setup_teardown(others_first, setup, world_teardown),
      cmocka_unit_test_setup_teardown(read_errors, setup, world_teardown),
      cmocka_unit_test_setup_teardown(damaged, setup, world_teardown),
      cmocka_unit_test_setup_teardown(another_chunk, setup, world_teardown),
      cmocka_unit_test_setup_teardown(closed_under_it, setup, world_teardown),
      cmocka_unit_test_setup_teardown(deleted_under_it, setup, world_teardown),
      cmocka_unit_test_setup_teardown(none_of_its_own_leaves, setup_bound, world_teardown),
      cmocka_unit_test_setup_teardown(none_of_its_own_is_lost, setup_bound, world_teardown),
      cmocka_unit_test_setup_teardown(none_fits, setup_bound, world_teardown),
  };

  return cmocka_run_group_tests_name("tiers/store ahead", tests, NULL, NULL);
}
