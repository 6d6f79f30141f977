/*
 * The store against a model: arrays, searched from end to end. Random operations on a few chains in a store that is too small for
 * them; after each one both must hold exactly the same chunks, so that every eviction is the one that leaf-first LRU demands.
 *
 * Once in memory alone, and once over a medium that holds all of it, moves what it holds, and asks now and then for chunks to be let go of: then memory
 * drops nothing, however small it is, and what a look-up or a lease has just reported can be got, wherever it lies.
 */
#include <stdbool.h>

#include "testing.h"

#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/store_private.h"

#define PAGE             4096u
#define CHUNK            3000u
#define CHAINS           6u
#define LENGTH           12u
#define IDS              (CHAINS * LENGTH)
#define ROOM             40u /* pages, i.e. chunks */
#define ROOM_OVER_MEDIUM 20u
#define READERS          6u
#define LEASES           5u

struct reader {
  bool open;
  uint32_t id, version;
  struct kvi_source source;
};

struct lease {
  uint64_t number; /* 0: none */
  uint32_t n, id[LENGTH], version[LENGTH];
};

struct model {
  struct memory_medium *medium; /* NULL: none */
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t keys[IDS * KEY_BYTES];
  uint64_t now;
  bool present[IDS], linked[IDS], deleted_last[IDS], ever[IDS];
  uint64_t used[IDS];
  uint32_t version[IDS]; /* counts the lives of a key */
  uint32_t holds[IDS];
  struct reader readers[READERS];
  struct lease leases[LEASES];
  uint32_t pages;              /* taken */
  uint8_t seen[(IDS + 7) / 8]; /* what the store held when it was asked last */
};

static const uint8_t *key_of(const struct model *model, uint32_t id)
{
  return model->keys + (size_t)id * KEY_BYTES;
}

static bool is_leaf(const struct model *model, uint32_t id)
{
  return id % LENGTH == LENGTH - 1 || !model->present[id + 1] || !model->linked[id + 1];
}

static bool seen(const struct model *model, uint32_t id)
{
  return (model->seen[id / 8] >> id % 8) & 1;
}

static void look(struct model *model)
{
  const uint8_t *space = model->space;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = model->keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = IDS,
                                   .unchained = true,
                                   .peek = true};
  struct kvi_store_lookup_result result = {.present = model->seen};

  assert_int_equal(kvi_store_lookup(model->store, &query, &result), KVS_OK);
}

static uint32_t readers_of(const struct model *model, uint32_t id, uint32_t version)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < READERS; i++)
    n += model->readers[i].open && model->readers[i].id == id && model->readers[i].version == version;
  return n;
}

/* The oldest leaf that is not held. */
static uint32_t victim(const struct model *model)
{
  uint32_t best = IDS;

  for (uint32_t i = 0; i < IDS; i++)
    if (model->present[i] && model->holds[i] == 0 && is_leaf(model, i) &&
        (best == IDS || model->used[i] < model->used[best]))
      best = i;
  return best;
}

static void leave(struct model *model, uint32_t id)
{
  if (readers_of(model, id, model->version[id]) == 0 && !model->medium)
    model->pages--;
  model->present[id] = false;
  model->version[id]++;
  model->holds[id] = 0;
  if (id % LENGTH < LENGTH - 1)
    model->linked[id + 1] = false;
}

/* What a put does to make room: true when there is some. */
static bool make_room(struct model *model)
{
  while (model->pages == ROOM && !model->medium) { /* with one something can always be demoted */
    uint32_t id = victim(model);

    if (id == IDS)
      return false;
    leave(model, id);
  }
  return true;
}

static void do_put(struct model *model, uint32_t id, bool abort)
{
  bool first = id % LENGTH == 0, exists = model->present[id];
  uint32_t length = CHUNK;
  struct kvi_put_request request = {.space = model->space,
                                    .key = key_of(model, id),
                                    .key_length = KEY_BYTES,
                                    .parent = first ? NULL : key_of(model, id - 1),
                                    .place = id % LENGTH,
                                    .length = CHUNK,
                                    .n_segments = 1,
                                    .segment_lengths = &length};
  struct kvi_landing landing;
  kvs_status status = kvi_store_put_begin(model->store, TENANT, &request, NULL, NULL, &landing);
  bool parent = !first && model->present[id - 1];
  bool room;

  if (exists) {
    assert_int_equal(status, KVS_EXISTS);
    model->used[id] = model->now;
    model->linked[id] |= parent;
    return;
  }
  if (parent)
    model->holds[id - 1]++;
  room = make_room(model);
  if (parent)
    model->holds[id - 1]--;
  assert_int_equal(status, room ? KVS_OK : KVS_ERR_FULL);
  if (!room)
    return;
  if (abort) {
    kvi_store_put_abort(model->store, &landing);
    return;
  }
  testing_fill(&landing, id);
  assert_int_equal(kvi_store_put_commit(model->store, &landing), KVS_OK);
  model->pages += !model->medium;
  model->present[id] = model->ever[id] = true;
  model->deleted_last[id] = false;
  model->linked[id] = parent;
  model->used[id] = model->now;
}

static void do_get(struct model *model, uint32_t id, uint32_t place)
{
  struct reader *reader = &model->readers[place];
  struct kvi_source source;
  uint32_t cause;
  kvs_status status;

  if (reader->open) { /* close the one there was: its bytes are still what they were */
    assert_true(testing_matches(&reader->source, reader->id));
    kvi_store_get_close(model->store, &reader->source);
    reader->open = false;
    if (model->version[reader->id] != reader->version &&
        readers_of(model, reader->id, reader->version) == 0 && !model->medium)
      model->pages--;
  }
  status = waiting_open(model->store, TENANT, model->space, key_of(model, id), &source, &cause);
  assert_int_equal(status, model->present[id] ? KVS_OK : KVS_MISS);
  if (status != KVS_OK) {
    if (!model->ever[id])
      assert_int_equal(cause, KVI_MISS_NEVER);
    else /* a ghost may have been overwritten, never be wrong about the kind */
      assert_true(cause == KVI_MISS_NEVER ||
                  cause == (model->deleted_last[id] ? KVI_MISS_DELETED : KVI_MISS_EVICTED));
    return;
  }
  model->used[id] = model->now;
  *reader = (struct reader){.open = true, .id = id, .version = model->version[id], .source = source};
}

/* What was just reported, in order: each is a use. */
static void deliver(struct model *model, uint32_t first, uint32_t n)
{
  for (uint32_t id = first; id < first + n; id++) {
    uint32_t cause;

    assert_int_equal(waiting_get(model->store, TENANT, model->space, key_of(model, id), id, &cause), KVS_OK);
    model->used[id] = ++model->now;
  }
}

static void do_lookup(struct model *model, uint32_t chain, struct lease *lease)
{
  const uint8_t *space = model->space;
  uint32_t first = chain * LENGTH, prefix = 0;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = key_of(model, first),
                                   .key_length = KEY_BYTES};
  struct kvi_store_lookup_result result = {0};

  while (prefix < LENGTH && model->present[first + prefix])
    prefix++;
  query.n_keys =
      prefix < LENGTH ? prefix + 1 : LENGTH; /* what comes after a gap is not touched: no ties in time */
  query.lease_ms = lease ? 60000 : 0;
  assert_int_equal(kvi_store_lookup(model->store, &query, &result), KVS_OK);
  assert_int_equal(result.prefix, prefix);
  assert_int_equal(result.lease != 0, lease && prefix > 0);
  for (uint32_t i = first; i < first + prefix; i++) {
    model->used[i] = model->now;
    model->linked[i] = i > first;
  }
  if (model->medium && !lease)
    deliver(model, first, prefix);
  if (!lease || prefix == 0)
    return;
  lease->number = result.lease;
  lease->n = prefix;
  for (uint32_t i = 0; i < prefix; i++) {
    lease->id[i] = first + i;
    lease->version[i] = model->version[first + i];
    model->holds[first + i]++;
  }
}

/* However long ago it was reported; but for what was deleted since. */
static void deliver_lease(struct model *model, const struct lease *lease)
{
  for (uint32_t i = 0; i < lease->n; i++)
    if (model->version[lease->id[i]] == lease->version[i])
      deliver(model, lease->id[i], 1);
}

static void do_release(struct model *model, struct lease *lease)
{
  assert_int_equal(kvi_store_release(model->store, 1, lease->number), KVS_OK);
  for (uint32_t i = 0; i < lease->n; i++)
    if (model->version[lease->id[i]] == lease->version[i])
      model->holds[lease->id[i]]--;
  lease->number = 0;
}

/* A delete cuts a chain in two, which may both be of one age by a lookup: reading the first part keeps the oldest leaf unique. */
static void touch_before(struct model *model, uint32_t id)
{
  for (uint32_t i = id / LENGTH * LENGTH; i < id; i++) {
    struct kvi_source source;
    uint32_t cause;

    if (!model->present[i])
      continue;
    assert_int_equal(waiting_open(model->store, TENANT, model->space, key_of(model, i), &source, &cause),
                     KVS_OK);
    kvi_store_get_close(model->store, &source);
    model->used[i] = ++model->now;
  }
}

static void do_delete(struct model *model, uint32_t id)
{
  kvs_status status = kvi_store_delete(model->store, TENANT, model->space, key_of(model, id), KEY_BYTES);

  assert_int_equal(status, model->present[id] ? KVS_OK : KVS_MISS);
  if (status == KVS_OK) {
    leave(model, id);
    model->deleted_last[id] = true;
    touch_before(model, id);
  }
}

static void do_evict_all(struct model *model)
{
  uint64_t chunks, bytes, expected = 0;

  kvi_store_evict(model->store, TENANT, model->space, UINT64_MAX, &chunks, &bytes);
  for (uint32_t id = victim(model); id != IDS; id = victim(model), expected++)
    leave(model, id);
  assert_int_equal(chunks, expected);
  assert_int_equal(bytes, expected * CHUNK);
}

/* The medium needs room, as it says: the oldest leaves go, whatever tier they are in. */
static void do_let_go(struct model *model, uint32_t n)
{
  memory_let_go(model->medium, (uint64_t)n * CHUNK);
  memory_settle(model->medium);
  for (uint32_t i = 0; i < n && victim(model) != IDS; i++)
    leave(model, victim(model));
}

static void compare(struct model *model)
{
  struct kvi_store_stats stats;
  uint32_t n = 0;

  if (model->medium)
    memory_settle(model->medium);
  look(model);
  for (uint32_t i = 0; i < IDS; i++) {
    assert_int_equal(seen(model, i), model->present[i]);
    n += model->present[i];
  }
  kvi_store_stats(model->store, &stats);
  assert_int_equal(stats.chunks, n);
  if (!model->medium)
    assert_int_equal(stats.dram.used_bytes, (uint64_t)model->pages * PAGE);
  else
    assert_int_equal(stats.medium_chunks, n);
  assert_int_equal(stats.landings, 0);
}

static void step(struct model *model, kvi_rand *rand)
{
  uint32_t id = (uint32_t)kvi_rand_below(rand, IDS);
  struct lease *lease = &model->leases[kvi_rand_below(rand, LEASES)];

  model->now++;
  switch (kvi_rand_below(rand, 16)) {
  case 0:
  case 1:
  case 2:
  case 3:
  case 4:
    do_put(model, id, false);
    break;
  case 5:
  case 6: /* a whole chain */
    for (uint32_t i = id / LENGTH * LENGTH; i <= id; i++, model->now++)
      do_put(model, i, false);
    break;
  case 7:
    do_put(model, id, true);
    break;
  case 8:
  case 9:
  case 10:
    do_get(model, id, (uint32_t)kvi_rand_below(rand, READERS));
    break;
  case 11:
    do_lookup(model, id / LENGTH, NULL);
    break;
  case 12:
  case 13:
    if (lease->number) {
      if (model->medium)
        deliver_lease(model, lease);
      do_release(model, lease);
    } else {
      do_lookup(model, id / LENGTH, lease);
    }
    break;
  case 14:
    do_delete(model, id);
    break;
  default:
    if (kvi_rand_below(rand, 20) == 0)
      do_evict_all(model);
    break;
  }
  if (model->medium && kvi_rand_below(rand, 6) == 0)
    do_let_go(model, 1 + (uint32_t)kvi_rand_below(rand, 4));
  if (model->medium && kvi_rand_below(rand, 4) == 0)
    memory_move(model->medium, (uint32_t)kvi_rand_below(rand, IDS));
}

static void close_all(struct model *model)
{
  struct kvi_store_stats stats;

  for (uint32_t i = 0; i < LEASES; i++)
    if (model->leases[i].number)
      do_release(model, &model->leases[i]);
  do_evict_all(model);
  for (uint32_t i = 0; i < READERS; i++)
    if (model->readers[i].open) {
      assert_true(testing_matches(&model->readers[i].source, model->readers[i].id));
      kvi_store_get_close(model->store, &model->readers[i].source);
    }
  if (model->medium) {
    memory_settle(model->medium);
    assert_int_equal(memory_items(model->medium), 0);
    kvi_store_stats(model->store, &stats);
    assert_true(stats.promotions > 100 && stats.evictions_by[1][KVI_EVICT_ROOM] > 100);
  }
  kvi_store_stats(model->store, &stats);
  assert_int_equal(stats.chunks, 0);
  assert_int_equal(stats.leases, 0);
  assert_int_equal(stats.dram.used_bytes, 0);
  assert_int_equal(stats.dram.zombie_bytes, 0);
  assert_int_equal(stats.dram.payload_bytes, 0);
  assert_int_equal(stats.dram.objects, 0);
  for (uint32_t i = 0; i < model->store->entry_fresh; i++) /* those deleted before their children too */
    assert_int_equal(model->store->entries[i].state, KVI_ENTRY_FREE);
  kvi_store_close(model->store);
}

static void compare_with_the_model(struct kvi_store_config config, bool medium, uint64_t seeds, int steps)
{
  kvs_space_desc desc = testing_space("model", KEY_BYTES);

  for (uint64_t seed = 1; seed <= seeds; seed++) {
    struct model model = {0};
    kvi_rand rand;

    kvi_rand_seed(&rand, seed);
    model.medium = medium ? memory_medium_create(false) : NULL;
    config.medium = medium ? &model.medium->medium : NULL;
    assert_int_equal(kvi_store_open(&config, &model.store), KVS_OK);
    testing_space_open(model.store, TENANT, &desc, model.space);
    for (uint32_t i = 0; i < IDS; i++)
      testing_key(i, model.keys + (size_t)i * KEY_BYTES, KEY_BYTES);
    for (int i = 0; i < steps; i++) {
      step(&model, &rand);
      compare(&model);
    }
    close_all(&model);
  }
}

static void like_the_model(void **state)
{
  struct kvi_store_config config = {.dram_bytes = ROOM * PAGE, .dram_page_bytes = PAGE, .max_chunks = 2048};

  (void)state;
  compare_with_the_model(config, false, 40, 2500);
}

static void like_the_model_over_a_medium(void **state)
{
  struct kvi_store_config config = {.dram_bytes = ROOM_OVER_MEDIUM * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .max_chunks = 2048,
                                    .dram_high_mark = 90,
                                    .dram_low_mark = 70};

  (void)state;
  compare_with_the_model(config, true, 8, 1500);
  config.dram_high_mark = config.dram_low_mark = 0;
  compare_with_the_model(config, true, 2, 1500);
}

/* Tenants without bounds change nothing. */
static void like_the_model_with_tenants(void **state)
{
  const struct kvi_tenant_config tenants[] = {{.name = TENANT}, {.name = "other"}};
  struct kvi_store_config config = {.dram_bytes = ROOM * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .max_chunks = 2048,
                                    .tenants = tenants,
                                    .n_tenants = 2};

  (void)state;
  compare_with_the_model(config, false, 5, 2500);
  config.dram_bytes = ROOM_OVER_MEDIUM * PAGE;
  compare_with_the_model(config, true, 2, 1500);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_model),
                                     cmocka_unit_test(like_the_model_over_a_medium),
                                     cmocka_unit_test(like_the_model_with_tenants)};

  return cmocka_run_group_tests_name("tiers/store_model", tests, NULL, NULL);
}
