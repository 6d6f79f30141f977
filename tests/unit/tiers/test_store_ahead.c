/*
 * Chunks that left memory come back before they are asked for (tiers/ahead.h): over a medium in memory that can be held and fails on demand, and over real files; by a clock that the test turns. The store looks by itself, a few times a
 * second: what is not to happen is waited for over some looks.
 */
#include "store_testing.h"

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "medium_testing.h"
#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/hint.h"
#include "tiers/ssd/ssd.h"
#include "tiers/store_private.h"

#define SECOND KVI_NS_PER_S
#define ROOM   40u /* chunks */
#define LONG   12u /* chunks of the chain that is to come back */
#define LARGE  (15 * PAGE)
#define BOUND  9u /* chunks of a tenant, where it has a bound */
#define SHORT  6u /* of a chain of its, of which there is room for one and a half */

struct world {
  struct kvi_store *store;
  struct memory_medium *medium; /* NULL: files */
  char folder[64];
  uint8_t space[KVS_DIGEST_SIZE];
  _Atomic uint64_t now;
};

static uint64_t clock_of(void *ctx)
{
  return atomic_load(&((struct world *)ctx)->now);
}

static void pass(struct world *world, uint64_t seconds)
{
  atomic_fetch_add(&world->now, seconds * SECOND);
}

/* bound: of the tenant in memory; 0: none. */
static struct world *world_new(struct world *world, struct kvi_medium *medium, uint64_t bound)
{
  const struct kvi_tenant_config tenants[] = {{.name = TENANT, .dram_bytes = bound}};
  struct kvi_store_config config = {.dram_bytes = (uint64_t)ROOM * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .chunk_bytes_max = 16 * PAGE,
                                    .max_chunks = 1024,
                                    .policy = "index",
                                    .policy_clock = clock_of,
                                    .policy_clock_ctx = world,
                                    .medium = medium,
                                    .prefetch = true,
                                    .tenants = tenants,
                                    .n_tenants = bound > 0,
                                    .dram_high_mark = 90,
                                    .dram_low_mark = 70};
  kvs_space_desc desc = testing_space("ahead", KEY_BYTES);

  atomic_store(&world->now, 1000 * SECOND);
  assert_int_equal(kvi_store_open(&config, &world->store), KVS_OK);
  testing_space_open(world->store, TENANT, &desc, world->space);
  return world;
}

static int setup_memory(void **state, uint64_t bound)
{
  struct world *world = calloc(1, sizeof(*world));

  world->medium = memory_medium_create(false);
  *state = world_new(world, &world->medium->medium, bound);
  return 0;
}

static int setup(void **state)
{
  return setup_memory(state, 0);
}

static int setup_bound(void **state)
{
  return setup_memory(state, (uint64_t)BOUND * PAGE);
}

static int setup_files(void **state)
{
  struct world *world = calloc(1, sizeof(*world));
  const char *paths[] = {world->folder};
  struct kvi_ssd_config config = {.paths = paths,
                                  .n_paths = 1,
                                  .bytes = 8 << 20,
                                  .file_bytes = 1 << 20,
                                  .chunk_bytes_max = PAGE,
                                  .durability = KVI_SSD_DURABLE_SEAL,
                                  .ring = true};
  struct kvi_medium *medium;

  test_folder_make(world->folder);
  assert_int_equal(kvi_ssd_create(&config, &medium), KVS_OK);
  *state = world_new(world, medium, 0);
  return 0;
}

static int teardown(void **state)
{
  struct world *world = *state;

  kvi_store_close(world->store);
  if (world->folder[0])
    test_folder_remove(world->folder);
  free(world);
  return 0;
}

static struct kvi_store_stats stats_of(struct world *world)
{
  struct kvi_store_stats stats;

  kvi_store_stats(world->store, &stats);
  return stats;
}

/* It has looked since, from beginning to end. */
static void await_looks(struct world *world)
{
  uint64_t before = stats_of(world).prefetch_looks;

  AWAIT(stats_of(world).prefetch_looks >= before + 3);
}

static void key_of(uint32_t chain, uint32_t place, uint8_t *key)
{
  testing_key(1000 * chain + place, key, KEY_BYTES);
}

static struct kvi_store_lookup_result look_up(struct world *world, uint32_t chain, uint32_t n, bool peek,
                                              uint8_t *tiers)
{
  uint8_t keys[ROOM * KEY_BYTES];
  const uint8_t *space = world->space;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n,
                                   .peek = peek};
  struct kvi_store_lookup_result result = {.tiers = tiers};

  for (uint32_t i = 0; i < n; i++)
    key_of(chain, i, keys + (size_t)i * KEY_BYTES);
  assert_int_equal(kvi_store_lookup(world->store, &query, &result), KVS_OK);
  return result;
}

static void prompt_of(struct world *world, uint32_t chain, uint32_t n, uint32_t length)
{
  uint8_t key[KEY_BYTES], parent[KEY_BYTES];
  kvs_status status;

  for (uint32_t i = look_up(world, chain, n, false, NULL).prefix; i < n; i++) {
    key_of(chain, i, key);
    key_of(chain, i - (i > 0), parent);
    AWAIT((status = testing_put(world->store, TENANT, world->space, key, KEY_BYTES, i > 0 ? parent : NULL, i,
                                length, 1000 * chain + i)) !=
          KVS_ERR_FULL); /* what goes may just be written */
    assert_int_equal(status, KVS_OK);
  }
}

static void prompt(struct world *world, uint32_t chain, uint32_t n)
{
  prompt_of(world, chain, n, CHUNK);
}

static uint32_t there(struct world *world, uint32_t chain)
{
  return look_up(world, chain, LONG, true, NULL).prefix;
}

/* From its beginning on. */
static uint32_t in_memory(struct world *world, uint32_t chain)
{
  uint8_t tiers[ROOM] = {0};
  uint32_t prefix = look_up(world, chain, LONG, true, tiers).prefix, n = 0;

  while (n < prefix && tiers[n] == KVI_TIER_DRAM)
    n++;
  return n;
}

static void hint(struct world *world, const char *program, uint32_t chain, uint32_t n,
                 struct kvi_program_hint said)
{
  uint8_t key[KEY_BYTES];
  struct kvi_hint_keys keys = {.space = world->space, .keys = key, .key_length = KEY_BYTES, .n_keys = n > 0};

  said.tenant = TENANT;
  said.program = program;
  said.parent = said.tool = "";
  if (n > 0)
    key_of(chain, n - 1, key);
  assert_int_equal(kvi_store_hint(world->store, &said, &keys), KVI_HINT_ACCEPTED);
}

static const struct kvi_program_hint announces = {.wait_kind = KVI_WAIT_APPROVAL, .return_p50_ms = 30000},
                                     is_quick = {.wait_kind = KVI_WAIT_APPROVAL, .return_p50_ms = 2000},
                                     ends = {.close = true};

static void learn(struct world *world, const char *program, uint32_t chain, struct kvi_program_hint said,
                  uint64_t seconds)
{
  for (uint32_t i = 0; i < 100; i++) {
    prompt(world, chain, 1);
    hint(world, program, chain, 1, said);
    pass(world, seconds);
  }
  hint(world, program, 0, 0, ends);
}

/*
 * Chain 3 is answered, and says that it will be back in 30 s; those who said so before came in 29. Somebody quick needs the memory, so it leaves that; by then it is overdue. Returns how much of it is in memory.
 */
static uint32_t leaves_memory(struct world *world)
{
  learn(world, "timer", 1, announces, 29);
  prompt(world, 3, LONG);
  hint(world, "three", 3, LONG, announces);
  AWAIT(stats_of(world).medium_chunks == stats_of(world).chunks);
  prompt(world, 4, 27);
  hint(world, "four", 4, 27, is_quick);
  AWAIT(stats_of(world).medium_chunks == stats_of(world).chunks && in_memory(world, 3) <= LONG / 2);
  assert_int_equal(there(world, 3), LONG);
  return in_memory(world, 3);
}

static kvs_status get(struct world *world, uint32_t chain, uint32_t place)
{
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  key_of(chain, place, key);
  return waiting_get(world->store, TENANT, world->space, key, 1000 * chain + place, &cause);
}

/* It is in memory before its request comes, and not much before. */
static void before_its_request(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world), hits;

  pass(world, 5);
  await_looks(world);
  assert_int_equal(in_memory(world, 3), left);
  assert_int_equal(stats_of(world).prefetched, 0);
  pass(world, 22);
  AWAIT(in_memory(world, 3) == LONG);
  assert_int_equal(stats_of(world).prefetched, LONG - left);
  assert_int_equal(stats_of(world).prefetched_bytes, (LONG - left) * CHUNK);
  assert_int_equal(stats_of(world).prefetched_used, 0);
  hits = (uint32_t)stats_of(world).tier_hits[KVI_TIER_DRAM];
  pass(world, 2);
  prompt(world, 3, LONG);
  for (uint32_t i = 0; i < LONG; i++)
    assert_int_equal(get(world, 3, i), KVS_OK);
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

  pass(world, 27);
  AWAIT(in_memory(world, 3) == LONG);
  hint(world, "three", 0, 0, ends);
  prompt(world, 5, 27);
  AWAIT(stats_of(world).prefetched_wasted == LONG - left);
  await_looks(world);
  assert_int_equal(stats_of(world).prefetched, LONG - left);
}

static void closed(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world);

  hint(world, "three", 0, 0, ends);
  pass(world, 27);
  await_looks(world);
  assert_int_equal(stats_of(world).prefetched, 0);
  assert_in_range(in_memory(world, 3), 0, left);
}

/* Somebody puts a better one before it is got. */
static void replaced(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world), number;
  uint8_t key[KEY_BYTES], parent[KEY_BYTES];
  struct kvi_key_tag tag;

  pass(world, 27);
  AWAIT(in_memory(world, 3) == LONG);
  key_of(3, LONG - 1, key);
  key_of(3, LONG - 2, parent);
  kvi_key_tag(world->store, key, KEY_BYTES, &tag);
  pthread_mutex_lock(&world->store->lock);
  number = kvi_entry_find_locked(world->store, TENANT, world->space, KEY_BYTES, &tag);
  kvi_entry_loss_set_locked(world->store, number, 1);
  pthread_mutex_unlock(&world->store->lock);
  assert_int_equal(testing_put(world->store, TENANT, world->space, key, KEY_BYTES, parent, LONG - 1, CHUNK,
                               3000 + LONG - 1),
                   KVS_OK);
  assert_int_equal(get(world, 3, LONG - 1), KVS_OK);
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

/* A few at a time; who asks for one meanwhile waits for that, and tells its key before it is read. */
static void joined(void **state)
{
  struct world *world = *state;
  struct waiting waiting = {.wait = {.done = waiting_done, .user = &waiting}};
  uint32_t left = leaves_memory(world), cause;
  struct kvi_source source;
  uint8_t key[KEY_BYTES];

  pthread_mutex_init(&waiting.mutex, NULL);
  assert_int_equal(kvi_cond_init(&waiting.ended), KVS_OK);
  memory_hold(world->medium, true);
  pass(world, 27);
  AWAIT(under_way(world) > 0);
  await_looks(world);
  assert_int_equal(under_way(world), 4);
  key_of(3, left, key);
  assert_int_equal(
      kvi_store_get_open(world->store, TENANT, world->space, key, KEY_BYTES, &waiting.wait, &source, &cause),
      KVS_PENDING);
  assert_int_equal(stats_of(world).fetch_joins, 1);
  memory_hold(world->medium, false);
  pthread_mutex_lock(&waiting.mutex);
  while (waiting.calls == 0)
    assert_int_equal(kvi_cond_wait(&waiting.ended, &waiting.mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                     KVS_OK);
  pthread_mutex_unlock(&waiting.mutex);
  assert_int_equal(testing_compare(world->store, waiting.status, &waiting.wait.source, 3000 + left), KVS_OK);
  AWAIT(in_memory(world, 3) == LONG);
  assert_int_equal(stats_of(world).prefetched_used, 1);
  pthread_cond_destroy(&waiting.ended);
  pthread_mutex_destroy(&waiting.mutex);
}

/* When one has landed the next is begun, with the others still under way. */
static void goes_on(void **state)
{
  struct world *world = *state;

  (void)leaves_memory(world);
  memory_hold(world->medium, true);
  pass(world, 27);
  AWAIT(under_way(world) == 4);
  memory_end(world->medium, 1);
  AWAIT(stats_of(world).prefetched == 1);
  AWAIT(under_way(world) == 4);
  memory_hold(world->medium, false);
}

/* Chain 3 has two long chunks, which have left memory, and is to be back in 4 s. */
static void long_ones_leave(struct world *world)
{
  uint8_t key[KEY_BYTES];

  learn(world, "timer", 1, announces, 29);
  prompt_of(world, 3, 2, LARGE);
  hint(world, "three", 3, 2, announces);
  AWAIT(stats_of(world).medium_chunks == stats_of(world).chunks);
  prompt_of(world, 7, 2, LARGE);
  AWAIT(stats_of(world).medium_chunks == stats_of(world).chunks);
  for (uint32_t i = 2; i-- > 0;) {
    key_of(7, i, key);
    assert_int_equal(kvi_store_delete(world->store, TENANT, world->space, key, KEY_BYTES), KVS_OK);
  }
  assert_int_equal(in_memory(world, 3), 0);
}

/* There is room for as many chunks as are begun at once, but not for one so long: something that is worth more would have to leave memory. */
static void not_for_what_is_worth_more(void **state)
{
  struct world *world = *state;

  long_ones_leave(world);
  prompt(world, 4, LONG);
  hint(world, "four", 4, LONG, is_quick);
  AWAIT(stats_of(world).medium_chunks == stats_of(world).chunks);
  pass(world, 26);
  hint(world, "four", 4, LONG, is_quick);
  await_looks(world);
  assert_int_equal(in_memory(world, 3), 0);
  assert_int_equal(in_memory(world, 4), LONG);
  hint(world, "four", 0, 0, ends);
  AWAIT(in_memory(world, 3) > 0);
}

/* So few bytes are under way that a get that comes has not long to wait. */
static void one_long_one(void **state)
{
  struct world *world = *state;

  long_ones_leave(world);
  memory_hold(world->medium, true);
  pass(world, 26);
  AWAIT(under_way(world) > 0);
  await_looks(world);
  assert_int_equal(under_way(world), 1);
}

/* While anybody waits for the medium nothing is read ahead. */
static void others_first(void **state)
{
  struct world *world = *state;
  struct waiting waiting = {.wait = {.done = waiting_done, .user = &waiting}};
  uint32_t cause;
  struct kvi_source source;
  uint8_t key[KEY_BYTES];

  (void)leaves_memory(world);
  pthread_mutex_init(&waiting.mutex, NULL);
  assert_int_equal(kvi_cond_init(&waiting.ended), KVS_OK);
  memory_hold(world->medium, true);
  key_of(3, LONG - 1, key);
  assert_int_equal(
      kvi_store_get_open(world->store, TENANT, world->space, key, KEY_BYTES, &waiting.wait, &source, &cause),
      KVS_PENDING);
  pass(world, 27);
  await_looks(world);
  assert_int_equal(under_way(world), 1);
  memory_hold(world->medium, false);
  pthread_mutex_lock(&waiting.mutex);
  while (waiting.calls == 0)
    assert_int_equal(kvi_cond_wait(&waiting.ended, &waiting.mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                     KVS_OK);
  pthread_mutex_unlock(&waiting.mutex);
  assert_int_equal(testing_compare(world->store, waiting.status, &waiting.wait.source, 3000 + LONG - 1),
                   KVS_OK);
  pthread_cond_destroy(&waiting.ended);
  pthread_mutex_destroy(&waiting.mutex);
}

/* What cannot be read, or is not whole, is gone; the rest stays, and nobody has waited for it. */
static void fails(struct world *world, kvs_status status)
{
  uint32_t left = leaves_memory(world);

  memory_hold(world->medium, true);
  pass(world, 27);
  AWAIT(under_way(world) > 0);
  memory_fail(world->medium, status, KVS_OK);
  memory_hold(world->medium, false);
  AWAIT(there(world, 3) < LONG);
  memory_fail(world->medium, KVS_OK, KVS_OK);
  assert_in_range(there(world, 3), left, LONG - 1);
  assert_int_equal(stats_of(world).prefetched, 0);
  assert_int_equal(stats_of(world).fetch_misses, 0); /* nobody's */
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
  pass(world, 27);
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
  pass(world, 27);
  AWAIT(under_way(world) > 0);
}

/* It is deleted while it is read: it does not come back. */
static void deleted_under_it(void **state)
{
  struct world *world = *state;
  uint32_t left = leaves_memory(world);
  uint8_t key[KEY_BYTES];

  memory_hold(world->medium, true);
  pass(world, 27);
  AWAIT(under_way(world) > 0);
  key_of(3, left, key);
  assert_int_equal(kvi_store_delete(world->store, TENANT, world->space, key, KEY_BYTES), KVS_OK);
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
  learn(world, "timer", 1, announces, 29);
  prompt(world, 3, SHORT);
  hint(world, "three", 3, SHORT, announces);
  AWAIT(stats_of(world).medium_chunks == stats_of(world).chunks);
}

/* For a tenant at its bound nothing of its own leaves memory, nor is anything read time and again: two chains are to be back, and there is room for one and a half. */
static void none_of_its_own_leaves(void **state)
{
  struct world *world = *state;
  uint64_t demotions;
  uint32_t here;

  announce(world);
  prompt(world, 4, SHORT);
  hint(world, "four", 4, SHORT, announces);
  AWAIT(stats_of(world).medium_chunks == stats_of(world).chunks);
  here = in_memory(world, 3) + in_memory(world, 4);
  demotions = stats_of(world).demotions_by[KVI_DEMOTE_ROOM];
  pass(world, 27);
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
  prompt(world, 6, BOUND - 1);
  AWAIT(in_memory(world, 3) < SHORT);
  evictions = stats_of(world).evictions;
  pass(world, 27);
  await_looks(world);
  assert_int_equal(stats_of(world).evictions, evictions);
  assert_int_equal(look_up(world, 6, BOUND - 1, true, NULL).prefix, BOUND - 1);
}

/* Its bound has become smaller than a chunk: none is read. */
static void none_fits(void **state)
{
  const struct kvi_tenant_config less = {.name = TENANT, .dram_bytes = 1};
  struct world *world = *state;
  uint32_t before;

  announce(world);
  prompt(world, 4, SHORT);
  AWAIT(stats_of(world).medium_chunks == stats_of(world).chunks && in_memory(world, 3) < SHORT);
  kvi_store_tenant_set(world->store, &less);
  before = reads(world);
  pass(world, 27);
  await_looks(world);
  assert_int_equal(reads(world), before);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(before_its_request, setup, teardown),
      {"before_its_request, files", before_its_request, setup_files, teardown, NULL},
      cmocka_unit_test_setup_teardown(in_vain, setup, teardown),
      {"in_vain, files", in_vain, setup_files, teardown, NULL},
      cmocka_unit_test_setup_teardown(closed, setup, teardown),
      cmocka_unit_test_setup_teardown(replaced, setup, teardown),
      cmocka_unit_test_setup_teardown(joined, setup, teardown),
      cmocka_unit_test_setup_teardown(goes_on, setup, teardown),
      cmocka_unit_test_setup_teardown(not_for_what_is_worth_more, setup, teardown),
      cmocka_unit_test_setup_teardown(one_long_one, setup, teardown),
      cmocka_unit_test_setup_teardown(others_first, setup, teardown),
      cmocka_unit_test_setup_teardown(read_errors, setup, teardown),
      cmocka_unit_test_setup_teardown(damaged, setup, teardown),
      cmocka_unit_test_setup_teardown(another_chunk, setup, teardown),
      cmocka_unit_test_setup_teardown(closed_under_it, setup, teardown),
      cmocka_unit_test_setup_teardown(deleted_under_it, setup, teardown),
      cmocka_unit_test_setup_teardown(none_of_its_own_leaves, setup_bound, teardown),
      cmocka_unit_test_setup_teardown(none_of_its_own_is_lost, setup_bound, teardown),
      cmocka_unit_test_setup_teardown(none_fits, setup_bound, teardown),
  };

  return cmocka_run_group_tests_name("tiers/store ahead", tests, NULL, NULL);
}
