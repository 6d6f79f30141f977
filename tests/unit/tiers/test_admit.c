/* Puts that say how long their prompt is, in a store that is full: which of them are declined, and what becomes of the rest of their chain. By a clock that the test turns. */
#include "store_testing.h"

#include "chains_testing.h"
#include "tiers/policy/index_private.h"
#include "tiers/store_private.h"

#define ROOM 40u /* chunks */
#define FULL 1u  /* the chain that the store is full of, of an agent whose tool is back in two seconds */
#define COLD 9u  /* somebody whom nobody knows */

struct told {
  const char *policy;
  bool stores_all;
  struct memory_medium *medium;
  uint32_t n_tenants;
};

/* Four, two, and those that are not named one seventh of memory. */
static const struct kvi_tenant_config tenants[] = {{.name = TENANT, .weight = 4},
                                                   {.name = LOUD, .weight = 2}};

static struct world *world_told(const struct told *told)
{
  const struct kvi_store_config config = {.dram_bytes = (uint64_t)ROOM * PAGE,
                                          .dram_page_bytes = PAGE,
                                          .max_chunks = 1024,
                                          .policy = told->policy ? told->policy : "index",
                                          .declines = !told->stores_all,
                                          .tenants = tenants,
                                          .n_tenants = told->n_tenants};

  return world_new(config, told->medium);
}

static int setup(void **state)
{
  *state = world_told(&(struct told){0});
  return 0;
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

static const struct kvi_program_hint waits = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep"};

/* The agent's tool is known to be back in two seconds, and has just been called; so many chunks are left free. */
static void fill(struct world *world, uint32_t left)
{
  learn(world, "agent", FULL, &waits, 2);
  prompt(world, FULL, ROOM - left);
  say(world, "agent", FULL, ROOM - left, &waits);
  world->now += SECOND / 2;
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
  assert_int_equal(why_of(world, COLD, 0).cause, KVI_MISS_DECLINED);
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
  say(world, "agent", FULL, 0, &ends);
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
  drop_chunk(world, FULL, ROOM - 1);
  drop_chunk(world, FULL, ROOM - 2);
  assert_int_equal(put(world, COLD, 1, 4), KVS_DECLINED);
  assert_int_equal(put(world, COLD, 2, 4), KVS_DECLINED);
  assert_int_equal(why_of(world, COLD, 2).cause, KVI_MISS_DECLINED);
  assert_int_equal(put(world, COLD, 3, 0), KVS_OK); /* who does not say is stored */
  assert_int_equal(put(world, COLD, 0, 4), KVS_OK);
  assert_int_equal(stats_of(world).put_declined, 3);
  drop_chunk(world, COLD, 3);
  assert_int_equal(put(world, COLD, 1, 4), KVS_OK);
}

/* That is so for a minute from when the first was declined: chunks that only follow do not renew it. */
static void rest_is_not_renewed(void **state)
{
  struct world *world = *state;
  uint64_t at_ns;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 4), KVS_DECLINED);
  at_ns = why_of(world, COLD, 0).departure.at_ns;
  AWAIT(kvi_now_ns() > at_ns + SECOND / 4); /* times are kept to less than that */
  assert_int_equal(put(world, COLD, 1, 4), KVS_DECLINED);
  assert_int_equal(put(world, COLD, 2, 4), KVS_DECLINED);
  assert_int_equal(why_of(world, COLD, 2).departure.at_ns, at_ns);
}

/* By last use nothing is declined, and so does nothing follow. */
static void rest_by_last_use(void **state)
{
  struct world *world = *state;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 4), KVS_DECLINED);
  drop_chunk(world, FULL, ROOM - 1);
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
  look_up(world, COLD, 3, NULL);
  say(world, "other", COLD, 3, &waits);
  drop_chunk(world, COLD, 1);
  assert_int_equal(put(world, FULL, ROOM - 3, 0), KVS_OK); /* its room */
  say(world, "agent", FULL, ROOM - 2, &waits);
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
  look_up(world, COLD, 3, NULL);
  assert_int_equal(put(world, COLD, 2, 3), KVS_DECLINED);
  say(world, "other", COLD, 2, &prior);
  assert_int_equal(put(world, COLD, 2, 3), KVS_OK);
}

/* And of a beginning for what is in that, whatever comes behind it. */
static void priority_of_a_range(void **state)
{
  const struct kvi_program_hint
      short_of_it = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep", .priority = 100, .range_tokens = 512},
      has_it = {.wait_kind = KVI_WAIT_TOOL, .tool = "grep", .priority = 100, .range_tokens = 513};
  struct world *world = *state;

  assert_int_equal(put(world, COLD, 0, 0), KVS_OK);
  assert_int_equal(put(world, COLD, 1, 0), KVS_OK);
  fill(world, 2);
  look_up(world, COLD, 4, NULL);
  say(world, "other", COLD, 2, &short_of_it);
  assert_int_equal(put(world, COLD, 2, 4), KVS_DECLINED);
  say(world, "other", COLD, 2, &has_it);
  assert_int_equal(put(world, COLD, 2, 4), KVS_OK);
  assert_int_equal(put(world, COLD, 3, 4), KVS_DECLINED);
}

/* ---- what comes again ---- */

/* One request of it: what is there of the n chunks, and the rest is put as far as it is taken. */
static uint32_t ask(struct world *world, uint32_t chain, uint32_t n)
{
  uint32_t there = look_up(world, chain, n, NULL);

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
    say(world, "agent", FULL, n, &waits);
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

/* It is back, for what is there, and its tool is called again. */
static void agent_waits_again(struct world *world, uint32_t n)
{
  (void)look_up(world, FULL, n, NULL);
  say(world, "agent", FULL, n, &waits);
}

/* It is declined once, and let in when it is back: at once, if that is soon. A retry is not back. */
static void back_after_a_decline(void **state)
{
  struct world *world = *state;

  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 3), KVS_DECLINED);
  world->now += SECOND / 10;
  agent_waits_again(world, ROOM);
  assert_int_equal(put(world, COLD, 0, 3), KVS_DECLINED);
  world->now += SECOND;
  agent_waits_again(world, ROOM);
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
  agent_waits_again(world, ROOM);
  assert_int_equal(put(world, COLD + 1, 0, 1), KVS_OK);
  world->now += 59 * SECOND;
  agent_waits_again(world, ROOM - 1);
  assert_int_equal(put(world, FULL, ROOM - 1, ROOM), KVS_OK);
  assert_int_equal(there(world, COLD + 1), 0);
  agent_waits_again(world, ROOM);
  assert_int_equal(put(world, COLD, 0, 1), KVS_DECLINED);
}

/* ---- stores of other kinds ---- */

static void whatever_is_put(void **state)
{
  const struct told told[] = {{.stores_all = true}, {.policy = "lru"}};

  (void)state;
  for (uint32_t i = 0; i < 2; i++) {
    struct world *world = world_told(&told[i]);

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

/* Over an SSD nothing is lost for it: what has a copy there leaves memory. */
static void over_a_medium(void **state)
{
  struct world *world = world_told(&(struct told){.medium = memory_medium_create(false)});

  (void)state;
  fill(world, 0);
  AWAIT(all_is_below(world));
  assert_int_equal(put(world, COLD, 0, 3), KVS_OK);
  assert_int_equal(there(world, FULL), ROOM);
  assert_int_equal(stats_of(world).evictions, 0);
  world_end(world);
}

/* Not even while all of memory is yet to be written: an instant of that would cost the rest of a prompt. */
static void over_a_medium_that_lags(void **state)
{
  struct memory_medium *medium = memory_medium_create(false);
  struct world *world = world_told(&(struct told){.medium = medium});

  (void)state;
  memory_hold(medium, true);
  fill(world, 0);
  assert_int_equal(put(world, COLD, 0, 20), KVS_OK);
  memory_hold(medium, false);
  AWAIT(all_is_below(world));
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
  struct world *world = world_told(&(struct told){.n_tenants = 2});
  uint32_t n = 0;

  (void)state;
  fill(world, 0);
  say(world, "agent", FULL, ROOM, &dear);
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
  struct world *world = world_told(&(struct told){.n_tenants = 2});

  (void)state;
  fill(world, 0);
  say(world, "agent", FULL, ROOM, &dear);
  world->tenant = LOUD;
  assert_int_equal(put(world, COLD, 0, 2), KVS_OK);
  assert_int_equal(put(world, COLD + 1, 0, 1), KVS_DECLINED);
  assert_int_equal(put(world, COLD + 1, 0, 8000), KVS_OK);
  world_end(world);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(declined, setup, world_teardown),
      cmocka_unit_test_setup_teardown(stored_with_room, setup, world_teardown),
      cmocka_unit_test_setup_teardown(stored_for_who_stays_away, setup, world_teardown),
      cmocka_unit_test_setup_teardown(stored_for_what_has_ended, setup, world_teardown),
      cmocka_unit_test_setup_teardown(weighed_by_its_end, setup, world_teardown),
      cmocka_unit_test_setup_teardown(rest_of_the_chain, setup, world_teardown),
      cmocka_unit_test_setup_teardown(rest_is_not_renewed, setup, world_teardown),
      cmocka_unit_test_setup_teardown(rest_by_last_use, setup, world_teardown),
      cmocka_unit_test_setup_teardown(stored_before_what_is_there, setup, world_teardown),
      cmocka_unit_test_setup_teardown(priority_counts, setup, world_teardown),
      cmocka_unit_test_setup_teardown(priority_of_a_range, setup, world_teardown),
      cmocka_unit_test_setup_teardown(often, setup, world_teardown),
      cmocka_unit_test_setup_teardown(back_after_a_decline, setup, world_teardown),
      cmocka_unit_test_setup_teardown(back_too_late, setup, world_teardown),
      cmocka_unit_test(whatever_is_put),
      cmocka_unit_test_setup_teardown(over_a_shared_tier, setup, world_teardown),
      cmocka_unit_test(over_a_medium),
      cmocka_unit_test(over_a_medium_that_lags),
      cmocka_unit_test(a_share_is_not_declined),
      cmocka_unit_test(its_own_is_weighed),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
