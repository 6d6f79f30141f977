/* Why a get misses, for each cause that a store can have, and that the counters of gets say the same. */
#include "store_testing.h"

#include <math.h>

#include "base/clock.h"
#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/store_private.h"
#include "tiers/why.h"

#define OTHER_TENANT "someone"

static struct kvi_why ask(struct chain *chain, uint32_t i)
{
  struct kvi_why why;

  assert_int_equal(
      kvi_store_why(chain->store, TENANT, chain->space, NULL, chain_key(chain, i), KEY_BYTES, 0, &why),
      KVS_OK);
  return why;
}

/* What a get of it says, which is to be the same, and is counted once. */
static uint32_t get_cause(struct chain *chain, uint32_t i)
{
  struct kvi_source source;
  uint32_t cause = KVI_MISS_NONE;

  if (kvi_store_get_open(chain->store, TENANT, chain->space, chain_key(chain, i), KEY_BYTES, NULL, &source,
                         &cause) == KVS_OK)
    kvi_store_get_close(chain->store, &source);
  return cause;
}

static void agree(struct chain *chain, uint32_t i, enum kvi_miss_cause cause)
{
  struct kvi_store_stats before, after;

  kvi_store_stats(chain->store, &before);
  assert_int_equal(ask(chain, i).cause, cause);
  kvi_store_stats(chain->store, &after);
  assert_int_equal(after.gets, before.gets); /* it counts nothing */
  assert_int_equal(get_cause(chain, i), cause);
  kvi_store_stats(chain->store, &after);
  assert_int_equal(after.gets, before.gets + 1);
  assert_int_equal(after.get_misses[cause], before.get_misses[cause] + (cause != KVI_MISS_NONE));
}

static void there_and_never(void **state)
{
  struct chain chain;
  struct kvi_why why;

  (void)state;
  chain_open(&chain, 64, 3);
  agree(&chain, 1, KVI_MISS_NONE);
  why = ask(&chain, 1);
  assert_true(why.here);
  assert_false(why.went);
  assert_int_equal(why.chunk.length, CHUNK);
  assert_int_equal(why.chunk.tier, KVI_TIER_DRAM);
  assert_int_equal(why.chunk.place, 1);
  agree(&chain, 5, KVI_MISS_NEVER);
  why = ask(&chain, 5);
  assert_false(why.here || why.went || why.landing || why.damaged);
  assert_true(why.since_open);
  assert_int_equal(why.n_others, 0);
  kvi_store_close(chain.store);
}

static void evicted_for_room(void **state)
{
  struct chain chain;
  struct kvi_why why;
  uint64_t before = kvi_now_ns();

  (void)state;
  chain_open(&chain, 4, 1);
  for (uint32_t i = 10; i < 20; i++) /* roots: the first has to go */
    assert_int_equal(
        testing_put(chain.store, TENANT, chain.space, chain_key(&chain, i), KEY_BYTES, NULL, 0, CHUNK, i),
        KVS_OK);
  agree(&chain, 0, KVI_MISS_EVICTED);
  why = ask(&chain, 0);
  assert_true(why.went);
  assert_false(why.here);
  assert_int_equal(why.departure.cause, KVI_MISS_EVICTED);
  assert_int_equal(why.departure.rule, KVI_EVICT_ROOM);
  assert_int_equal(why.departure.length, CHUNK);
  assert_true(why.departure.at_ns + (UINT64_C(1) << 26) >= before && why.departure.at_ns <= kvi_now_ns());
  assert_true(isnan(why.departure.price)); /* lru has none */
  assert_false(why.departure.below);
  assert_int_equal(chain_put(&chain, 0),
                   KVS_OK); /* it comes again: it is there, and how it went is still known */
  agree(&chain, 0, KVI_MISS_NONE);
  assert_true(ask(&chain, 0).went);
  kvi_store_close(chain.store);
}

static void evicted_by_each_rule(void **state)
{
  static const struct {
    enum kvi_evict_rule rule;
    enum kvi_miss_cause cause;
    const char *name;
  } rules[] = {{KVI_EVICT_ROOM, KVI_MISS_EVICTED, "room"},
               {KVI_EVICT_INDEX, KVI_MISS_EVICTED, "index"},
               {KVI_EVICT_ASKED, KVI_MISS_EVICTED, "asked"},
               {KVI_EVICT_QUOTA, KVI_MISS_QUOTA, "quota"},
               {KVI_EVICT_CLOSED, KVI_MISS_CLOSED, "closed"}};
  struct chain chain;
  uint64_t chunks, bytes;

  (void)state;
  assert_int_equal(sizeof(rules) / sizeof(rules[0]), KVI_EVICT_RULES);
  assert_string_equal(kvi_evict_rule_name(KVI_EVICT_RULES), "");
  chain_open(&chain, 64, 0);
  for (uint32_t i = 0; i < KVI_EVICT_RULES; i++) {
    struct kvi_key_tag tag;
    uint32_t number;

    assert_int_equal(chain_put(&chain, i), KVS_OK);
    kvi_key_tag(chain.store, chain_key(&chain, i), KEY_BYTES, &tag);
    pthread_mutex_lock(&chain.store->lock);
    number = kvi_entry_find_locked(chain.store, TENANT, chain.space, KEY_BYTES, &tag);
    kvi_store_evict_one_locked(chain.store, number, rules[i].rule);
    pthread_mutex_unlock(&chain.store->lock);
    agree(&chain, i, rules[i].cause);
    assert_int_equal(ask(&chain, i).departure.rule, rules[i].rule);
    assert_string_equal(kvi_evict_rule_name(rules[i].rule), rules[i].name);
  }
  assert_int_equal(chain_put(&chain, 20), KVS_OK);
  kvi_store_evict(chain.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, 1);
  agree(&chain, 20, KVI_MISS_EVICTED);
  assert_int_equal(ask(&chain, 20).departure.rule, KVI_EVICT_ASKED);
  kvi_store_close(chain.store);
  chain_open_bounded(&chain, 64, 1, 1); /* one entry */
  assert_int_equal(
      testing_put(chain.store, TENANT, chain.space, chain_key(&chain, 9), KEY_BYTES, NULL, 0, CHUNK, 9),
      KVS_OK);
  assert_int_equal(ask(&chain, 0).departure.rule, KVI_EVICT_INDEX);
  kvi_store_close(chain.store);
}

static void prices_are_remembered(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4 * PAGE, .dram_page_bytes = PAGE, .policy = "index"};
  kvs_space_desc desc = testing_space("priced", KEY_BYTES);
  struct chain chain;

  (void)state;
  chain_open(&chain, 4, 0);
  kvi_store_close(chain.store);
  assert_int_equal(kvi_store_open(&config, &chain.store), KVS_OK);
  testing_space_open(chain.store, TENANT, &desc, chain.space);
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(
        testing_put(chain.store, TENANT, chain.space, chain_key(&chain, i), KEY_BYTES, NULL, 0, CHUNK, i),
        KVS_OK);
  for (uint32_t i = 0, n = 0; i < 10; i++) {
    struct kvi_why why = ask(&chain, i);

    n += why.went;
    if (why.went)
      assert_true(why.departure.price >= 0);
    assert_true(i < 9 || n >= 6);
  }
  kvi_store_close(chain.store);
}

static uint64_t clock_at(void *ctx)
{
  return *(const uint64_t *)ctx;
}

/* Told by the clock that the policy goes by: a minute, to 67 ms. */
static void idle_when_it_went(void **state)
{
  uint64_t now = UINT64_C(1000) * KVI_NS_PER_S, chunks, bytes;
  struct kvi_store_config config = {
      .dram_bytes = 64 * PAGE, .dram_page_bytes = PAGE, .policy_clock = clock_at, .policy_clock_ctx = &now};
  kvs_space_desc desc = testing_space("idle", KEY_BYTES);
  struct chain chain;
  struct kvi_why why;

  (void)state;
  assert_int_equal(kvi_store_open(&config, &chain.store), KVS_OK);
  testing_space_open(chain.store, TENANT, &desc, chain.space);
  testing_key(0, chain_key(&chain, 0), KEY_BYTES);
  assert_int_equal(chain_put(&chain, 0), KVS_OK);
  now += 60 * KVI_NS_PER_S;
  assert_int_equal(ask(&chain, 0).chunk.idle_ms, 60000);
  kvi_store_evict(chain.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  why = ask(&chain, 0);
  assert_in_range(why.departure.idle_ns / KVI_NS_PER_MS, 59900, 60000);
  kvi_store_close(chain.store);
}

static void deleted(void **state)
{
  struct chain chain;
  struct kvi_why why;

  (void)state;
  chain_open(&chain, 64, 2);
  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 1), KEY_BYTES),
                   KVS_OK);
  agree(&chain, 1, KVI_MISS_DELETED);
  why = ask(&chain, 1);
  assert_true(why.went);
  assert_int_equal(why.departure.rule, KVI_EVICT_RULES);
  kvi_store_close(chain.store);
}

static void corrupt(void **state)
{
  struct chain chain;
  struct kvi_source source;
  struct kvi_why why;
  uint32_t cause;

  (void)state;
  chain_open(&chain, 64, 1);
  assert_int_equal(kvi_store_get_open(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES, NULL,
                                      &source, &cause),
                   KVS_OK);
  assert_true(
      kvi_store_drop_corrupt(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES, &source));
  kvi_store_get_close(chain.store, &source);
  agree(&chain, 0, KVI_MISS_CORRUPT);
  why = ask(&chain, 0);
  assert_true(why.damaged);
  assert_int_equal(why.damage.tier, KVI_TIER_DRAM);
  assert_int_equal(ask(&chain, 1).damaged, false);
  kvi_store_close(chain.store);
}

/* Damage of a namesake of another tenant's is not told, though this one's went in the same way. */
static void damage_is_told_to_its_tenant(void **state)
{
  const enum kvi_damage_found by = KVI_DAMAGE_BY_SCRUB;
  struct chain chain;
  struct kvi_why why;

  (void)state;
  chain_open(&chain, 64, 1);
  pthread_mutex_lock(&chain.store->lock);
  kvi_entry_drop_locked(chain.store, 0, KVI_MISS_CORRUPT, chain_key(&chain, 0));
  pthread_mutex_unlock(&chain.store->lock);
  kvi_damages_note(kvi_store_damages(chain.store), OTHER_TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES,
                   KVI_TIER_SSD, by);
  why = ask(&chain, 0);
  assert_int_equal(why.cause, KVI_MISS_CORRUPT);
  assert_false(why.damaged);
  kvi_damages_note(kvi_store_damages(chain.store), TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES,
                   KVI_TIER_SSD, by);
  assert_true(ask(&chain, 0).damaged);
  kvi_store_close(chain.store);
}

static void while_it_lands(void **state)
{
  uint32_t length = CHUNK;
  struct chain chain;
  struct kvi_put_request request = {
      .key_length = KEY_BYTES, .length = CHUNK, .n_segments = 1, .segment_lengths = &length};
  struct kvi_landing landing;

  (void)state;
  chain_open(&chain, 64, 0);
  request.space = chain.space;
  request.key = chain_key(&chain, 0);
  assert_int_equal(kvi_store_put_begin(chain.store, TENANT, &request, NULL, NULL, &landing), KVS_OK);
  agree(&chain, 0, KVI_MISS_NEVER);
  assert_true(ask(&chain, 0).landing);
  kvi_store_put_abort(chain.store, &landing);
  assert_false(ask(&chain, 0).landing);
  kvi_store_close(chain.store);
}

/* ---- spaces ---- */

static void space_open(struct chain *chain, const char *tenant, kvs_space_desc desc,
                       uint8_t digest[KVS_DIGEST_SIZE])
{
  testing_space_open(chain->store, tenant, &desc, digest);
}

static void put_in(struct chain *chain, const char *tenant, const uint8_t *space, uint32_t i)
{
  assert_int_equal(
      testing_put(chain->store, tenant, space, chain_key(chain, i), KEY_BYTES, NULL, 0, CHUNK, i), KVS_OK);
}

static void another_space_has_it(void **state)
{
  kvs_space_desc near = testing_space("chain", KEY_BYTES), far = testing_space("far", KEY_BYTES);
  uint8_t near_digest[KVS_DIGEST_SIZE], far_digest[KVS_DIGEST_SIZE];
  struct chain chain;
  struct kvi_why why;

  (void)state;
  chain_open(&chain, 64, 1);
  near.tp_size = 2;
  far.tokens_per_chunk = 16;
  space_open(&chain, TENANT, far, far_digest);
  space_open(&chain, TENANT, near, near_digest);
  put_in(&chain, TENANT, far_digest, 5);
  agree(&chain, 5, KVI_MISS_ELSEWHERE);
  why = ask(&chain, 5);
  assert_int_equal(why.n_others, 1);
  assert_memory_equal(why.other.digest, far_digest, KVS_DIGEST_SIZE);
  assert_true(why.other.n_differences >= 2);
  put_in(&chain, TENANT, near_digest, 5);
  why = ask(&chain, 5);
  assert_int_equal(why.n_others, 2);
  assert_memory_equal(why.other.digest, near_digest, KVS_DIGEST_SIZE);
  assert_int_equal(why.other.n_differences, 1);
  assert_non_null(strstr(why.other.differences, "tp_size"));
  /* what went from here is told as that, and where else it is beside */
  put_in(&chain, TENANT, near_digest, 0);
  assert_int_equal(ask(&chain, 0).n_others, 0); /* there: nobody asks */
  assert_int_equal(kvi_store_delete(chain.store, TENANT, chain.space, chain_key(&chain, 0), KEY_BYTES),
                   KVS_OK);
  agree(&chain, 0, KVI_MISS_DELETED);
  assert_int_equal(ask(&chain, 0).n_others, 1);
  kvi_store_close(chain.store);
}

/* Neither chunks nor spaces nor departures of another tenant's are told. */
static void others_are_not_told_of(void **state)
{
  kvs_space_desc desc = testing_space("theirs", KEY_BYTES), own = testing_space("chain", KEY_BYTES);
  uint8_t theirs[KVS_DIGEST_SIZE], same[KVS_DIGEST_SIZE];
  struct kvi_why_space nearest;
  struct chain chain;
  struct kvi_why why;

  (void)state;
  chain_open(&chain, 64, 1);
  space_open(&chain, OTHER_TENANT, desc, theirs);
  space_open(&chain, OTHER_TENANT, own, same);
  put_in(&chain, OTHER_TENANT, theirs, 5);
  put_in(&chain, OTHER_TENANT, same, 5);
  put_in(&chain, OTHER_TENANT, same, 6);
  assert_int_equal(kvi_store_delete(chain.store, OTHER_TENANT, same, chain_key(&chain, 6), KEY_BYTES),
                   KVS_OK);
  agree(&chain, 5, KVI_MISS_NEVER);
  agree(&chain, 6, KVI_MISS_NEVER);
  assert_false(ask(&chain, 6).went);
  assert_int_equal(kvi_store_why(chain.store, TENANT, theirs, NULL, chain_key(&chain, 5), KEY_BYTES, 0, &why),
                   KVS_OK);
  assert_int_equal(why.cause, KVI_MISS_SPACE);
  assert_int_equal(why.n_others, 0);
  desc.model = "theirs too";
  assert_true(kvi_store_space_nearest(chain.store, TENANT, &desc, &nearest));
  assert_memory_equal(nearest.digest, chain.space, KVS_DIGEST_SIZE);
  assert_false(kvi_store_space_nearest(chain.store, "nobody", &desc, &nearest));
  kvi_store_close(chain.store);
}

static void a_space_that_is_not_known(void **state)
{
  kvs_space_desc desc = testing_space("chain", KEY_BYTES);
  uint8_t unknown[KVS_DIGEST_SIZE] = {1, 2, 3};
  struct kvi_why_space nearest;
  struct chain chain;
  struct kvi_why why;

  (void)state;
  chain_open(&chain, 64, 1);
  assert_int_equal(
      kvi_store_why(chain.store, TENANT, unknown, NULL, chain_key(&chain, 0), KEY_BYTES, 0, &why), KVS_OK);
  assert_int_equal(why.cause, KVI_MISS_SPACE);
  assert_true(why.since_open);
  assert_int_equal(why.since_ns, kvi_gone_begun_ns(chain.store->gone));
  assert_int_equal(why.n_others, 1);
  assert_int_equal(why.other.n_differences, 0);
  desc.engine = "newer";
  assert_int_equal(
      kvi_store_why(chain.store, TENANT, unknown, &desc, chain_key(&chain, 0), KEY_BYTES, 0, &why), KVS_OK);
  assert_int_equal(why.other.n_differences, 1);
  assert_true(kvi_store_space_nearest(chain.store, TENANT, &desc, &nearest));
  assert_int_equal(nearest.n_differences, 1);
  assert_non_null(strstr(nearest.differences, "newer"));
  assert_int_equal(kvi_store_why(chain.store, TENANT, chain.space, NULL, chain_key(&chain, 0), 16, 0, &why),
                   KVS_ERR_KEY_LENGTH);
  assert_int_equal(kvi_store_why(chain.store, TENANT, chain.space, NULL, chain_key(&chain, 0), 7, 0, &why),
                   KVS_ERR_KEY_LENGTH);
  kvi_store_close(chain.store);
}

/* More spaces than one hold of the lock looks at, or a get does. */
static void many_spaces(void **state)
{
  uint8_t digest[KVS_DIGEST_SIZE], first[KVS_DIGEST_SIZE];
  struct chain chain;
  struct kvi_why why;

  (void)state;
  chain_open(&chain, 64, 0);
  for (uint32_t i = 0; i < 200; i++) {
    kvs_space_desc desc = testing_space("many", KEY_BYTES);

    desc.tokens_per_chunk = 16 * (i + 1);
    space_open(&chain, TENANT, desc, i == 0 ? first : digest);
  }
  put_in(&chain, TENANT, first, 5);
  why = ask(&chain, 5);
  assert_int_equal(why.cause, KVI_MISS_ELSEWHERE);
  assert_int_equal(why.n_others, 1);
  assert_memory_equal(why.other.digest, first, KVS_DIGEST_SIZE);
  assert_int_equal(get_cause(&chain, 5), KVI_MISS_NEVER); /* a get looks at the newest only */
  put_in(&chain, TENANT, digest, 6);
  agree(&chain, 6, KVI_MISS_ELSEWHERE);
  kvi_store_close(chain.store);
}

/* ---- with a tier below ---- */

static uint64_t parts, out;

static void stats_told(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  (void)medium;
  memset(stats_p, 0, sizeof(*stats_p));
  stats_p->devices = parts;
  stats_p->devices_failed = out;
}

struct below {
  struct memory_medium *medium;
  struct kvi_medium_ops ops;
  struct chain chain;
};

static void below_open(struct below *below)
{
  struct kvi_store_config config = {.dram_bytes = 4 * PAGE, .dram_page_bytes = PAGE};
  kvs_space_desc desc = testing_space("below", KEY_BYTES);

  parts = 2;
  out = 0;
  below->medium = memory_medium_create(false);
  below->ops = *below->medium->medium.ops;
  below->ops.stats = stats_told;
  below->medium->medium.ops = &below->ops;
  config.medium = &below->medium->medium;
  assert_int_equal(kvi_store_open(&config, &below->chain.store), KVS_OK);
  testing_space_open(below->chain.store, TENANT, &desc, below->chain.space);
  for (uint32_t i = 0; i < 20; i++) {
    testing_key(i, chain_key(&below->chain, i), KEY_BYTES);
    put_in(&below->chain, TENANT, below->chain.space, i);
    memory_settle(below->medium);
  }
}

static void a_tier_that_is_out(void **state)
{
  struct below below;
  struct kvi_why why;

  (void)state;
  below_open(&below);
  why = ask(&below.chain, 0);
  assert_int_equal(why.cause, KVI_MISS_NONE);
  assert_int_equal(why.chunk.tier, KVI_TIER_SSD);
  out = 1; /* a part of it: chunks of that part are not known any more */
  assert_int_equal(ask(&below.chain, 0).cause, KVI_MISS_NONE);
  out = 2;
  why = ask(&below.chain, 0);
  assert_int_equal(why.cause, KVI_MISS_TIER);
  assert_true(why.here);
  assert_int_equal(ask(&below.chain, 19).cause, KVI_MISS_NONE); /* in memory */
  kvi_store_close(below.chain.store);
}

static void a_copy_that_cannot_be_read(void **state)
{
  struct below below;
  struct kvi_source source;
  struct kvi_why why;
  uint32_t cause;

  (void)state;
  below_open(&below);
  memory_fail(below.medium, KVS_ERR_IO, KVS_OK);
  assert_int_equal(
      waiting_open(below.chain.store, TENANT, below.chain.space, chain_key(&below.chain, 0), &source, &cause),
      KVS_MISS);
  assert_int_equal(cause, KVI_MISS_TIER);
  why = ask(&below.chain, 0);
  assert_int_equal(why.cause, KVI_MISS_TIER);
  assert_true(why.went);
  assert_true(why.departure.below);
  assert_false(why.here);
  memory_fail(below.medium, KVS_ERR_CORRUPT, KVS_OK);
  assert_int_equal(
      waiting_open(below.chain.store, TENANT, below.chain.space, chain_key(&below.chain, 1), &source, &cause),
      KVS_MISS);
  why = ask(&below.chain, 1);
  assert_int_equal(why.cause, KVI_MISS_CORRUPT);
  assert_true(why.damaged);
  assert_int_equal(why.damage.tier, KVI_TIER_SSD);
  memory_fail(below.medium, KVS_MISS, KVS_OK); /* the medium has let go of it by itself */
  assert_int_equal(
      waiting_open(below.chain.store, TENANT, below.chain.space, chain_key(&below.chain, 2), &source, &cause),
      KVS_MISS);
  why = ask(&below.chain, 2);
  assert_int_equal(why.cause, KVI_MISS_EVICTED);
  assert_int_equal(why.departure.rule, KVI_EVICT_RULES);
  kvi_store_close(below.chain.store);
}

static void more_loss_than_is_taken(void **state)
{
  uint32_t length = CHUNK;
  struct chain chain;
  struct kvi_put_request request = {.key_length = KEY_BYTES,
                                    .length = CHUNK,
                                    .n_segments = 1,
                                    .segment_lengths = &length,
                                    .quality = kvi_quality(2, KVI_LOSS_MAX, KVI_CODING_NONE)};
  struct kvi_landing landing;
  struct kvi_why why;

  (void)state;
  chain_open(&chain, 64, 0);
  request.space = chain.space;
  request.key = chain_key(&chain, 0);
  assert_int_equal(kvi_store_put_begin(chain.store, TENANT, &request, NULL, NULL, &landing), KVS_OK);
  testing_fill(&landing, 0);
  assert_int_equal(kvi_store_put_commit(chain.store, &landing), KVS_OK);
  agree(&chain, 0, KVI_MISS_QUALITY);
  why = ask(&chain, 0);
  assert_true(why.here);
  assert_int_equal(kvi_quality_loss(why.chunk.quality), 2);
  assert_int_equal(
      kvi_store_why(chain.store, TENANT, chain.space, NULL, chain_key(&chain, 0), KEY_BYTES, 2, &why),
      KVS_OK);
  assert_int_equal(why.cause, KVI_MISS_NONE);
  kvi_store_close(chain.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(there_and_never),
      cmocka_unit_test(evicted_for_room),
      cmocka_unit_test(evicted_by_each_rule),
      cmocka_unit_test(prices_are_remembered),
      cmocka_unit_test(idle_when_it_went),
      cmocka_unit_test(deleted),
      cmocka_unit_test(corrupt),
      cmocka_unit_test(damage_is_told_to_its_tenant),
      cmocka_unit_test(while_it_lands),
      cmocka_unit_test(another_space_has_it),
      cmocka_unit_test(others_are_not_told_of),
      cmocka_unit_test(a_space_that_is_not_known),
      cmocka_unit_test(many_spaces),
      cmocka_unit_test(a_tier_that_is_out),
      cmocka_unit_test(a_copy_that_cannot_be_read),
      cmocka_unit_test(more_loss_than_is_taken),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
