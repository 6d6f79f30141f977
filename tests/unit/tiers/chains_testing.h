/*
 * chains_testing.h: chains of chunks in a store, by a clock that the test turns. A chain is a number; what its chunks' keys and bytes are follows from that and their places. CHUNK, the bytes of one, is the including file's.
 */
#ifndef KVI_TESTS_UNIT_TIERS_CHAINS_TESTING_H
#define KVI_TESTS_UNIT_TIERS_CHAINS_TESTING_H

#include "testing.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/hint.h"
#include "tiers/why.h"

#define SECOND     KVI_NS_PER_S
#define CHAIN_MOST 40u    /* chunks */
#define LOUD       "loud" /* another tenant than TENANT */

struct world {
  struct kvi_store *store;
  struct memory_medium *medium; /* NULL: there is none, or not of this kind */
  const char *tenant;           /* who does what is done */
  uint8_t space[KVS_DIGEST_SIZE];
  _Atomic uint64_t now;
};

static inline uint64_t world_clock(void *ctx)
{
  return ((const struct world *)ctx)->now;
}

/* Of TENANT, and of the tenants that the config names. The medium may be NULL; then the config's own is taken. */
static inline struct world *world_new(struct kvi_store_config config, struct memory_medium *medium)
{
  struct world *world = calloc(1, sizeof(*world));
  kvs_space_desc desc = testing_space("chains", KEY_BYTES);

  assert_non_null(world);
  world->now = 1000 * SECOND;
  world->tenant = TENANT;
  world->medium = medium;
  config.policy_clock = world_clock;
  config.policy_clock_ctx = world;
  if (medium)
    config.medium = &medium->medium;
  assert_int_equal(kvi_store_open(&config, &world->store), KVS_OK);
  testing_space_open(world->store, TENANT, &desc, world->space);
  for (uint32_t i = 0; i < config.n_tenants; i++)
    testing_space_open(world->store, config.tenants[i].name, &desc, world->space);
  return world;
}

static inline void world_end(struct world *world)
{
  kvi_store_close(world->store);
  free(world);
}

static inline int world_teardown(void **state)
{
  world_end(*state);
  return 0;
}

/* ---- chunks ---- */

static inline uint64_t chunk_number(uint32_t chain, uint32_t place)
{
  return 1000 * chain + place;
}

static inline void key_of(uint32_t chain, uint32_t place, uint8_t *key)
{
  testing_key(chunk_number(chain, place), key, KEY_BYTES);
}

static inline kvs_status put_chunk(struct world *world, uint32_t chain, uint32_t place, uint32_t length)
{
  uint8_t key[KEY_BYTES], parent[KEY_BYTES];

  key_of(chain, place, key);
  key_of(chain, place - (place > 0), parent);
  return testing_put(world->store, world->tenant, world->space, key, KEY_BYTES, place > 0 ? parent : NULL,
                     place, length, chunk_number(chain, place));
}

/* Waits for it, where it is below. */
static inline kvs_status get_chunk(struct world *world, uint32_t chain, uint32_t place)
{
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  key_of(chain, place, key);
  return waiting_get(world->store, world->tenant, world->space, key, chunk_number(chain, place), &cause);
}

static inline void drop_chunk(struct world *world, uint32_t chain, uint32_t place)
{
  uint8_t key[KEY_BYTES];

  key_of(chain, place, key);
  assert_int_equal(kvi_store_delete(world->store, world->tenant, world->space, key, KEY_BYTES), KVS_OK);
}

static inline struct kvi_why why_of(struct world *world, uint32_t chain, uint32_t place)
{
  uint8_t key[KEY_BYTES];
  struct kvi_why why;

  key_of(chain, place, key);
  assert_int_equal(kvi_store_why(world->store, world->tenant, world->space, NULL, key, KEY_BYTES, 0, &why),
                   KVS_OK);
  return why;
}

/* ---- look-ups ---- */

static inline uint32_t look_at(struct world *world, uint32_t chain, uint32_t n, bool peek, uint8_t *tiers)
{
  uint8_t keys[CHAIN_MOST * KEY_BYTES];
  const uint8_t *space = world->space;
  struct kvi_store_lookup query = {.tenant = world->tenant,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n,
                                   .peek = peek};
  struct kvi_store_lookup_result result = {.tiers = tiers};

  if (tiers)
    memset(tiers, 0, n);
  for (uint32_t i = 0; i < n; i++)
    key_of(chain, i, keys + (size_t)i * KEY_BYTES);
  assert_int_equal(kvi_store_lookup(world->store, &query, &result), KVS_OK);
  return result.prefix;
}

/* Looks the first n chunks up, as who is about to use them. Returns how many are there, from the first on, and the tier of each, 0 for none, unless tiers is NULL. */
static inline uint32_t look_up(struct world *world, uint32_t chain, uint32_t n, uint8_t *tiers)
{
  return look_at(world, chain, n, false, tiers);
}

/* The same of as many chunks as a chain may have, and nobody notices. */
static inline uint32_t peek(struct world *world, uint32_t chain, uint8_t tiers[CHAIN_MOST])
{
  return look_at(world, chain, CHAIN_MOST, true, tiers);
}

static inline uint32_t there(struct world *world, uint32_t chain)
{
  return peek(world, chain, NULL);
}

/* How many of those are in memory. */
static inline uint32_t in_memory(struct world *world, uint32_t chain)
{
  uint8_t tiers[CHAIN_MOST];
  uint32_t prefix = peek(world, chain, tiers), n = 0;

  for (uint32_t i = 0; i < prefix; i++)
    n += tiers[i] == KVI_TIER_DRAM;
  return n;
}

/* As an engine does: the prompt of n chunks is looked up, and what is missing of it is put. Returns the hits. */
static inline uint32_t prompt(struct world *world, uint32_t chain, uint32_t n)
{
  uint32_t hits = look_up(world, chain, n, NULL);

  for (uint32_t i = hits; i < n; i++)
    assert_int_equal(put_chunk(world, chain, i, CHUNK), KVS_OK);
  return hits;
}

/* ---- hints ---- */

/* n 0: without chunks; else the chain's n'th is named, alone. */
static inline enum kvi_hint_outcome hint(struct world *world, const char *program, uint32_t chain, uint32_t n,
                                         const struct kvi_program_hint *said)
{
  struct kvi_program_hint full = *said;
  uint8_t key[KEY_BYTES];
  struct kvi_hint_keys keys = {.space = world->space, .keys = key, .key_length = KEY_BYTES, .n_keys = n > 0};

  full.tenant = world->tenant;
  full.program = program;
  full.parent = "";
  if (!full.tool)
    full.tool = "";
  if (n > 0)
    key_of(chain, n - 1, key);
  return kvi_store_hint(world->store, &full, &keys);
}

/* A hint that is taken as it is. */
static inline void say(struct world *world, const char *program, uint32_t chain, uint32_t n,
                       const struct kvi_program_hint *said)
{
  assert_int_equal(hint(world, program, chain, n, said), KVI_HINT_ACCEPTED);
}

/* How long it takes until who says this is back is known from so many prompts of one chunk. */
static inline void learn(struct world *world, const char *program, uint32_t chain,
                         const struct kvi_program_hint *said, uint64_t seconds)
{
  for (uint32_t i = 0; i < 100; i++) {
    prompt(world, chain, 1);
    say(world, program, chain, 1, said);
    world->now += seconds * SECOND;
  }
}

/* False, and zeros: nobody of this name waits. */
static inline bool find_waiter(struct world *world, const char *program, struct kvi_policy_waiter *waiter_p)
{
  struct kvi_waiter_info infos[64];
  uint64_t cursor = 0, hash = kvi_store_program_hash(world->store, world->tenant, program);
  size_t n = kvi_store_waiters(world->store, world->tenant, &cursor, infos, 64);

  *waiter_p = (struct kvi_policy_waiter){0};
  for (size_t i = 0; i < n; i++)
    if (infos[i].waiter.program == hash) {
      *waiter_p = infos[i].waiter;
      return true;
    }
  return false;
}

/* ---- the store ---- */

static inline struct kvi_store_stats stats_of(struct world *world)
{
  struct kvi_store_stats stats;

  kvi_store_stats(world->store, &stats);
  return stats;
}

/* Every chunk has its copy on the medium. */
static inline bool all_is_below(struct world *world)
{
  struct kvi_store_stats stats = stats_of(world);

  return stats.medium_chunks == stats.chunks;
}

#endif
