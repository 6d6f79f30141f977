/* Puts that say how long their prompt is, in a store that is full: which of them are declined, and what becomes of the rest of their chain. By a clock that the test turns. */
#include "store_testing.h"

#include <string.h>

#include "base/clock.h"
#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/hint.h"
#include "tiers/policy/index_private.h"
#include "tiers/store_private.h"
#include "tiers/why.h"

#define SECOND KVI_NS_PER_S
#define ROOM   40u /* chunks */
#define LOUD   "loud"
#define FULL   1u /* the chain that the store is full of, of an agent whose tool is back in two seconds */
#define COLD   9u /* somebody whom nobody knows */

struct world {
  struct kvi_store *store;
  const char *tenant; /* who does what is done */
  uint8_t space[KVS_DIGEST_SIZE];
  uint64_t now;
};

struct told {
  const char *policy;
  bool stores_all;
  struct memory_medium *medium;
  uint32_t n_tenants;
};

static uint64_t clock_of(void *ctx)
{
  return ((const struct world *)ctx)->now;
}

/* Four, two, and those that are not named one seventh of memory. */
static const struct kvi_tenant_config tenants[] = {{.name = TENANT, .weight = 4},
                                                   {.name = LOUD, .weight = 2}};

static struct world *world_new(const struct told *told)
{
  struct world *world = calloc(1, sizeof(*world));
  struct kvi_store_config config = {.dram_bytes = (uint64_t)ROOM * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .max_chunks = 1024,
                                    .policy = told->policy ? told->policy : "index",
                                    .declines = !told->stores_all,
                                    .tenants = tenants,
                                    .n_tenants = told->n_tenants,
                                    .policy_clock = clock_of,
                                    .policy_clock_ctx = world,
                                    .medium = told->medium ? &told->medium->medium : NULL};
  kvs_space_desc desc = testing_space("admission", KEY_BYTES);

  assert_non_null(world);
  world->now = 1000 * SECOND;
  assert_int_equal(kvi_store_open(&config, &world->store), KVS_OK);
  testing_space_open(world->store, TENANT, &desc, world->space);
  testing_space_open(world->store, LOUD, &desc, world->space);
  world->tenant = TENANT;
  return world;
}

static void world_end(struct world *world)
{
  kvi_store_close(world->store);
  free(world);
}

static int setup(void **state)
{
  *state = world_new(&(struct told){0});
  return 0;
}

static int teardown(void **state)
{
  world_end(*state);
  return 0;
}

static void key_of(uint32_t chain, uint32_t place, uint8_t *key)
{
  testing_key(1000 * chain + place, key, KEY_BYTES);
}

/* A put of one chunk, with n_behind that follow it. whole: chunks of its prompt; 0: not said. */
static kvs_status put_with(struct world *world, uint32_t chain, uint32_t place, uint32_t whole,
                           uint32_t n_behind)
{
  uint8_t key[KEY_BYTES], parent[KEY_BYTES], behind[ROOM * KEY_BYTES];
  const uint32_t length = CHUNK;
  const struct kvi_put_request request = {.space = world->space,
                                          .key = key,
                                          .key_length = KEY_BYTES,
                                          .parent = place > 0 ? parent : NULL,
                                          .place = place,
                                          .length = length,
                                          .n_segments = 1,
                                          .segment_lengths = &length,
                                          .chain_chunks = whole,
                                          .behind = behind,
                                          .n_behind = n_behind};
  struct kvi_landing landing;
  kvs_status status;

  key_of(chain, place, key);
  if (place > 0)
    key_of(chain, place - 1, parent);
  for (uint32_t i = 0; i < n_behind; i++)
    key_of(chain, place + 1 + i, behind + (size_t)i * KEY_BYTES);
  status = kvi_store_put_begin(world->store, world->tenant, &request, NULL, NULL, &landing);
  if (status != KVS_OK)
    return status;
  testing_fill(&landing, place);
  return kvi_store_put_commit(world->store, &landing);
}

static kvs_status put(struct world *world, uint32_t chain, uint32_t place, uint32_t whole)
{
  return put_with(world, chain, place, whole, 0);
}

static void drop(struct world *world, uint32_t chain, uint32_t place)
{
  uint8_t key[KEY_BYTES];

  key_of(chain, place, key);
  assert_int_equal(kvi_store_delete(world->store, TENANT, world->space, key, KEY_BYTES), KVS_OK);
}

/* Looks the first n chunks of a chain up. */
static uint32_t look(struct world *world, uint32_t chain, uint32_t n, bool peek)
{
  uint8_t keys[ROOM * KEY_BYTES];
  const uint8_t *space = world->space;
  struct kvi_store_lookup query = {.tenant = world->tenant,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n,
                                   .peek = peek};
  struct kvi_store_lookup_result result = {0};

  for (uint32_t i = 0; i < n; i++)
    key_of(chain, i, keys + (size_t)i * KEY_BYTES);
  assert_int_equal(kvi_store_lookup(world->store, &query, &result), KVS_OK);
  return result.prefix;
}

static uint32_t there(struct world *world, uint32_t chain)
{
  return look(world, chain, ROOM, true);
}

/* Of FULL's last chunk, or of another program's by its name alone. */
static void hint(struct world *world, uint32_t chain, uint32_t n, const struct kvi_program_hint *said)
{
  struct kvi_program_hint told = *said;
  uint8_t key[KEY_BYTES];
  const struct kvi_hint_keys keys = {
      .space = world->space, .keys = key, .key_length = KEY_BYTES, .n_keys = n > 0};

  told.tenant = world->tenant;
  told.program = chain == FULL ? "agent" : "other";
  told.parent = "";
  told.tool = told.tool ? told.tool : "";
  if (n > 0)
    key_of(chain, n - 1, key);
  assert_int_equal(kvi_store_hint(world->store, &told, &keys), KVI_HINT_ACCEPTED);
}

static const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"};

/* The agent's tool is known to be back in two seconds, and has just been called; so many chunks are left free. */
static void fill(struct world *world, uint32_t left)
{
  for (uint32_t i = 0; i < 100; i++) {
    look(world, FULL, 1, false);
    (void)put(world, FULL, 0, 0);
    hint(world, FULL, 1, &waits);
    world->now += 2 * SECOND;
  }
  look(world, FULL, ROOM - left, false);
  for (uint32_t i = 1; i < ROOM - left; i++)
    assert_int_equal(put(world, FULL, i, 0), KVS_OK);
  hint(world, FULL, ROOM - left, &waits);
  world->now += SECOND / 2;
}

static struct kvi_store_stats stats_of(struct world *world)
{
  struct kvi_store_stats stats;

  kvi_store_stats(world->store, &stats);
  return stats;
}

static struct kvi_why why_of(struct world *world, uint32_t chain, uint32_t place)
{
  uint8_t key[KEY_BYTES];
  struct kvi_why answer;

  key_of(chain, place, key);
  assert_int_equal(kvi_store_why(world->store, world->tenant, world->space, NULL, key, KEY_BYTES, 0, &answer),
                   KVS_OK);
  return answer;
}

static enum kvi_miss_cause why(struct world *world, uint32_t chain, uint32_t place)
{
  return why_of(world, chain, place).cause;
}

static struct kvi_departure went(struct world *world, uint32_t chain, uint32_t place)
{
  return why_of(world, chain, place).departure;
}

/* ---- */

/* Nobody knows who it is, and who waits is back in a second: nothing goes for it. It is no failure, and is told. */
static void declined(void **state)
{
  struct world *world = *state;
  struct kvi_store_stats before, after;
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  fill(world, 0);
  before = stats_of(world);
  assert_int_equal(put(world, COLD, 0, 3), KVS_DECLINED);
  after = stats_of(world);
  assert_int_equal(there(world, FULL), ROOM);
  assert_int_equal(after.put_declined, before.put_declined + 1);
  assert_int_equal(after.put_declined_bytes, before.put_declined_bytes + CHUNK);
  assert_int_equal(after.put_refused, before.put_refused);
  assert_int_equal(after.put_aborts, before.put_aborts);
  assert_int_equal(after.evictions, before.evictions);
  assert_int_equal(after.landings, 0);
  assert_int_equal(why(world, COLD, 0), KVI_MISS_DECLINED);
  key_of(COLD, 0, key);
  assert_int_equal(
      kvi_store_get_open(world->store, TENANT, world->space, key, KEY_BYTES, NULL, &source, &cause),
      KVS_MISS);
  assert_int_equal(cause, KVI_MISS_DECLINED);
  assert_int_equal(put(world, FULL, ROOM - 1, 1), KVS_EXISTS);
}

/* While there is room anything is stored, and so is what does not say how long its prompt is. */
static void stored_with_room(void **state)
{
  struct world *world = *state;

  fill(world, 2);
  assert_int_equal(put(world, COLD, 0, 3), KVS_OK);
  assert_int_equal(put(world, COLD, 1, 3), KVS_OK);
  assert_int_equal(put(world, COLD, 2, 3), KVS_DECLINED);
  assert_int_equal(there(world, FULL), ROOM - 2);
  assert_int_equal(put(world, COLD, 2, 0), KVS_OK);
  assert_int_equal(put(world, COLD + 1, 0, 0), KVS_OK);
  assert_int_equal(stats_of(world).put_declined, 1);
}

/* The tool should be back long since: who comes is worth more. */
static void stored_for_who_stays_away(void **state)
{
  struct world *world = *state;

  fill(world, 0);
  world->now += 100 * SECOND;
  assert_int_equal(put(world, COLD, 0, 3), KVS_OK);
  assert_int_equal(there(world, FULL), ROOM - 1);
}

/* What goes is what has ended, whatever the new one is worth. */
static void stored_for_what_has_ended(void **state)
{
  const struct kvi_program_hint ends = {.close = true};
  struct world *world = *state;

  fill(world, 0);
  hint(world, FULL, 0, &ends);
  assert_int_equal(put(world, COLD, 0, 3), KVS_OK);
}

/* The end of a long prompt is dear: it attends to all of it. */
static void weighed_by_its_end(void **state)
{
  struct world *world = *state;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 3), KVS_DECLINED);
  assert_int_equal(put(world, COLD + 1, 0, 8000), KVS_OK);
}

/* A chunk that follows one that was declined could not be used: it is declined too, also when there is room. Once the first is there it is like any other. */
static void rest_of_the_chain(void **state)
{
  struct world *world = *state;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 4), KVS_DECLINED);
  drop(world, FULL, ROOM - 1);
  drop(world, FULL, ROOM - 2);
  assert_int_equal(put(world, COLD, 1, 4), KVS_DECLINED);
  assert_int_equal(put(world, COLD, 2, 4), KVS_DECLINED);
  assert_int_equal(why(world, COLD, 2), KVI_MISS_DECLINED);
  assert_int_equal(put(world, COLD, 3, 0), KVS_OK); /* who does not say is stored */
  assert_int_equal(put(world, COLD, 0, 4), KVS_OK);
  assert_int_equal(stats_of(world).put_declined, 3);
  drop(world, COLD, 3);
  assert_int_equal(put(world, COLD, 1, 4), KVS_OK);
}

/* That is so for a minute from when the first was declined: chunks that only follow do not renew it. */
static void rest_is_not_renewed(void **state)
{
  struct world *world = *state;
  uint64_t at_ns;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 4), KVS_DECLINED);
  at_ns = went(world, COLD, 0).at_ns;
  AWAIT(kvi_now_ns() > at_ns + SECOND / 4); /* times are kept to less than that */
  assert_int_equal(put(world, COLD, 1, 4), KVS_DECLINED);
  assert_int_equal(put(world, COLD, 2, 4), KVS_DECLINED);
  assert_int_equal(went(world, COLD, 2).at_ns, at_ns);
}

/* By last use nothing is declined, and so does nothing follow. */
static void rest_by_last_use(void **state)
{
  struct world *world = *state;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 4), KVS_DECLINED);
  drop(world, FULL, ROOM - 1);
  assert_int_equal(put(world, COLD, 1, 4), KVS_DECLINED);
  kvi_index_of(world->store->policy)->shadow.live = KVI_SHADOW_BY_USE;
  assert_int_equal(put(world, COLD, 1, 4), KVS_OK);
}

/* It fills a hole: what is behind it is of no use without it. */
static void stored_before_what_is_there(void **state)
{
  struct world *world = *state;

  assert_int_equal(put(world, COLD, 0, 0), KVS_OK);
  assert_int_equal(put(world, COLD, 1, 0), KVS_OK);
  assert_int_equal(put(world, COLD, 2, 0), KVS_OK);
  fill(world, 3);
  look(world, COLD, 3, false);
  hint(world, COLD, 3, &waits);
  drop(world, COLD, 1);
  assert_int_equal(put(world, FULL, ROOM - 3, 0), KVS_OK); /* its room */
  hint(world, FULL, ROOM - 2, &waits);
  world->now += SECOND / 2;
  assert_int_equal(put_with(world, COLD, 1, 3, 0), KVS_DECLINED);
  assert_int_equal(put_with(world, COLD, 1, 3, 1), KVS_OK);
}

/* A priority that was told with the request counts. */
static void priority_counts(void **state)
{
  const struct kvi_program_hint prior = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep", .priority = 100};
  struct world *world = *state;

  assert_int_equal(put(world, COLD, 0, 0), KVS_OK);
  assert_int_equal(put(world, COLD, 1, 0), KVS_OK);
  fill(world, 2);
  look(world, COLD, 3, false);
  assert_int_equal(put(world, COLD, 2, 3), KVS_DECLINED);
  hint(world, COLD, 2, &prior);
  assert_int_equal(put(world, COLD, 2, 3), KVS_OK);
}

/* ---- what comes again ---- */

/* One request of it: what is there of the n chunks, and the rest is put as far as it is taken. */
static uint32_t ask(struct world *world, uint32_t chain, uint32_t n)
{
  uint32_t there = look(world, chain, n, false);

  for (uint32_t i = there; i < n && put(world, chain, i, n) != KVS_DECLINED; i++)
    ;
  return there;
}

/* The agent's tool is back: it has what is there, and computes the rest. */
static void agent_comes(struct world *world)
{
  uint32_t n;

  (void)ask(world, FULL, ROOM);
  n = there(world, FULL);
  if (n > 0)
    hint(world, FULL, n, &waits);
}

/* Memory is the agent's, who is back every two seconds. What comes once is not let in; a prompt that is asked for every half second is, and stays as long as it is. */
static void often(void **state)
{
  struct world *world = *state;
  uint32_t once = 0, hits = 0, begins = 0;

  fill(world, 0);
  for (uint32_t i = 0; i < 2400; i++) {
    world->now += SECOND / 2;
    if (i % 4 == 3)
      agent_comes(world);
    if (i < 1200)
      once += ask(world, 100 + i, 4) + there(world, 100 + i);
    else
      hits += ask(world, COLD, 4);
    begins = i < 1210 ? hits : begins;
  }
  assert_in_range(once, 0, 400);
  assert_in_range(begins, 16, 40);
  assert_in_range(hits, 4320, 4800); /* nine in ten of 1200 times four */
}

/* It is declined once, and let in when it is back: at once, if that is soon. A retry is not back. */
static void back_after_a_decline(void **state)
{
  struct world *world = *state;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 3), KVS_DECLINED);
  world->now += SECOND / 10;
  hint(world, FULL, ROOM, &waits);
  assert_int_equal(put(world, COLD, 0, 3), KVS_DECLINED);
  world->now += SECOND;
  hint(world, FULL, ROOM, &waits);
  assert_int_equal(put(world, COLD + 1, 0, 3), KVS_DECLINED);
  assert_int_equal(put(world, COLD, 0, 3), KVS_OK);
  assert_int_equal(put(world, COLD, 1, 3), KVS_OK);
  assert_int_equal(put(world, COLD, 2, 3), KVS_OK);
  assert_int_equal(put(world, COLD + 1, 0, 3), KVS_DECLINED);
  assert_int_equal(there(world, COLD), 3);
  assert_int_equal(there(world, FULL), ROOM - 3);
}

/* Who is back once in a minute is worth less than the agent, and what was let in is let go when it stays away. */
static void back_too_late(void **state)
{
  struct world *world = *state;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 1), KVS_DECLINED);
  assert_int_equal(put(world, COLD + 1, 0, 1), KVS_DECLINED);
  world->now += SECOND;
  hint(world, FULL, ROOM, &waits);
  assert_int_equal(put(world, COLD + 1, 0, 1), KVS_OK);
  world->now += 59 * SECOND;
  hint(world, FULL, ROOM - 1, &waits);
  assert_int_equal(put(world, FULL, ROOM - 1, ROOM), KVS_OK);
  assert_int_equal(there(world, COLD + 1), 0);
  hint(world, FULL, ROOM, &waits);
  assert_int_equal(put(world, COLD, 0, 1), KVS_DECLINED);
}

/* ---- stores of other kinds ---- */

static void whatever_is_put(void **state)
{
  const struct told told[] = {{.stores_all = true}, {.policy = "lru"}};

  (void)state;
  for (uint32_t i = 0; i < 2; i++) {
    struct world *world = world_new(&told[i]);

    fill(world, 0);
    assert_int_equal(put(world, COLD, 0, 3), KVS_OK);
    assert_int_equal(put(world, COLD, 1, 3), KVS_OK);
    assert_int_equal(stats_of(world).put_declined, 0);
    world_end(world);
  }
}

static kvs_status nobody_has_it(void *ctx, const char *tenant, const uint8_t *space, const uint8_t *key,
                                uint32_t key_length, uint32_t cause, struct kvi_get_wait *wait)
{
  (void)ctx, (void)tenant, (void)space, (void)key, (void)key_length, (void)cause, (void)wait;
  return KVS_MISS;
}

/* What goes may be in a tier that nodes share, and what is not stored does not get there. */
static void over_a_shared_tier(void **state)
{
  const struct kvi_store_lower lower = {.kind = KVI_TIER_REDIS, .missed = nobody_has_it};
  struct world *world = *state;

  fill(world, 0);
  kvi_store_set_lower(world->store, &lower);
  assert_int_equal(put(world, COLD, 0, 3), KVS_OK);
  kvi_store_set_lower(world->store, NULL);
}

static bool all_is_below(struct kvi_store *store)
{
  struct kvi_store_stats stats;

  kvi_store_stats(store, &stats);
  return stats.medium_chunks == stats.chunks;
}

/* Over an SSD nothing is lost for it: what has a copy there leaves memory. */
static void over_a_medium(void **state)
{
  struct world *world = world_new(&(struct told){.medium = memory_medium_create(false)});

  (void)state;
  fill(world, 0);
  AWAIT(all_is_below(world->store));
  assert_int_equal(put(world, COLD, 0, 3), KVS_OK);
  assert_int_equal(there(world, FULL), ROOM);
  assert_int_equal(stats_of(world).evictions, 0);
  world_end(world);
}

/* Not even while all of memory is yet to be written: an instant of that would cost the rest of a prompt. */
static void over_a_medium_that_lags(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct world *world = world_new(&(struct told){.medium = medium});

  (void)state;
  memory_hold(medium, true);
  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 20), KVS_OK);
  memory_hold(medium, false);
  AWAIT(all_is_below(world->store));
  for (uint32_t i = 1; i < 20; i++)
    assert_int_equal(put(world, COLD, i, 20), KVS_OK);
  assert_int_equal(stats_of(world).put_declined, 0);
  world_end(world);
}

static const struct kvi_program_hint dear = {
    .wait_kind = KVI_WAIT_TOOL, .tool = "grep", .ttl_ms = 1, .priority = 100};

/* Who has less than nine tenths of his share is not declined for others' sake, whatever theirs is worth; and is when he has it. */
static void a_share_is_not_declined(void **state)
{
  struct world *world = world_new(&(struct told){.n_tenants = 2});
  uint32_t n = 0;

  (void)state;
  fill(world, 0);
  hint(world, FULL, ROOM, &dear);
  world->tenant = LOUD;
  while (n < ROOM && put(world, COLD, n, ROOM) == KVS_OK)
    n++;
  assert_in_range(n, ROOM * 2 / 7 - 4, ROOM * 2 / 7); /* what is being put counts as its own */
  assert_int_equal(put(world, COLD, n, ROOM), KVS_DECLINED);
  assert_int_equal(put(world, COLD + 1, 0, 1), KVS_DECLINED); /* nor for another of its own */
  world->tenant = TENANT;
  assert_int_equal(there(world, FULL), ROOM - n);
  world_end(world);
}

/* What would go is its own: it has as much either way, and the dearer one stays. */
static void its_own_is_weighed(void **state)
{
  struct world *world = world_new(&(struct told){.n_tenants = 2});

  (void)state;
  fill(world, 0);
  hint(world, FULL, ROOM, &dear);
  world->tenant = LOUD;
  assert_int_equal(put(world, COLD, 0, 2), KVS_OK);
  assert_int_equal(put(world, COLD + 1, 0, 1), KVS_DECLINED);
  assert_int_equal(put(world, COLD + 1, 0, 8000), KVS_OK);
  world_end(world);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(declined, setup, teardown),
      cmocka_unit_test_setup_teardown(stored_with_room, setup, teardown),
      cmocka_unit_test_setup_teardown(stored_for_who_stays_away, setup, teardown),
      cmocka_unit_test_setup_teardown(stored_for_what_has_ended, setup, teardown),
      cmocka_unit_test_setup_teardown(weighed_by_its_end, setup, teardown),
      cmocka_unit_test_setup_teardown(rest_of_the_chain, setup, teardown),
      cmocka_unit_test_setup_teardown(rest_is_not_renewed, setup, teardown),
      cmocka_unit_test_setup_teardown(rest_by_last_use, setup, teardown),
      cmocka_unit_test_setup_teardown(stored_before_what_is_there, setup, teardown),
      cmocka_unit_test_setup_teardown(priority_counts, setup, teardown),
      cmocka_unit_test_setup_teardown(often, setup, teardown),
      cmocka_unit_test_setup_teardown(back_after_a_decline, setup, teardown),
      cmocka_unit_test_setup_teardown(back_too_late, setup, teardown),
      cmocka_unit_test(whatever_is_put),
      cmocka_unit_test_setup_teardown(over_a_shared_tier, setup, teardown),
      cmocka_unit_test(over_a_medium),
      cmocka_unit_test(over_a_medium_that_lags),
      cmocka_unit_test(a_share_is_not_declined),
      cmocka_unit_test(its_own_is_weighed),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
