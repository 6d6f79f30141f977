/*
 * What tenants take of the tiers is accounted for to the byte, whatever happens; a tenant that would take more than its bound loses chunks of its own, leaves first, and nobody else's; and what
 * cannot be had that way is refused as KVS_ERR_QUOTA.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "testing.h"

#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/store_private.h"

#define PAGE  4096u
#define CHUNK 5000u       /* with its head two pages, or three where heads take one */
#define ROOM  (3u * PAGE) /* more than it can take: what a bound has to have for it */
#define A     "a"
#define B     "b"

struct fixture {
  struct kvi_store *store;
  struct memory_medium *medium;
  uint8_t space[KVS_DIGEST_SIZE];
};

static void fixture_open(struct fixture *f, struct kvi_store_config config, uint64_t a_dram,
                         uint64_t a_medium)
{
  const struct kvi_tenant_config tenants[] = {{.name = A, .dram_bytes = a_dram, .medium_bytes = a_medium},
                                              {.name = B, .weight = 3}};
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);

  config.dram_page_bytes = PAGE;
  config.tenants = tenants;
  config.n_tenants = 2;
  if (f->medium)
    config.medium = &f->medium->medium;
  assert_int_equal(kvi_store_open(&config, &f->store), KVS_OK);
  testing_space_open(f->store, A, &desc, f->space);
  testing_space_open(f->store, B, &desc, f->space);
}

static kvs_status put(struct fixture *f, const char *tenant, uint32_t id, uint64_t length)
{
  uint8_t key[KEY_BYTES];

  testing_key(id, key, KEY_BYTES);
  return testing_put(f->store, tenant, f->space, key, KEY_BYTES, NULL, 0, length, id);
}

/* Chunk i of a chain whose ids begin at `first`. */
static kvs_status put_in_chain(struct fixture *f, const char *tenant, uint32_t first, uint32_t i)
{
  uint8_t key[KEY_BYTES], parent[KEY_BYTES];

  testing_key(first + i, key, KEY_BYTES);
  testing_key(first + i - 1, parent, KEY_BYTES);
  return testing_put(f->store, tenant, f->space, key, KEY_BYTES, i ? parent : NULL, i, CHUNK, first + i);
}

static bool has(struct fixture *f, const char *tenant, uint32_t id)
{
  uint8_t key[KEY_BYTES], present[1] = {0};
  const uint8_t *space = f->space;
  struct kvi_store_lookup query = {.tenant = tenant,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = key,
                                   .key_length = KEY_BYTES,
                                   .n_keys = 1,
                                   .unchained = true,
                                   .peek = true};
  struct kvi_store_lookup_result result = {.present = present};

  testing_key(id, key, KEY_BYTES);
  assert_int_equal(kvi_store_lookup(f->store, &query, &result), KVS_OK);
  return present[0] & 1;
}

static uint64_t lease(struct fixture *f, const char *tenant, uint64_t owner, uint32_t id, uint32_t n)
{
  uint8_t keys[64 * KEY_BYTES];
  const uint8_t *space = f->space;
  struct kvi_store_lookup query = {.tenant = tenant,
                                   .owner = owner,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n,
                                   .unchained = true,
                                   .lease_ms = 60000};
  struct kvi_store_lookup_result result = {0};

  for (uint32_t i = 0; i < n; i++)
    testing_key(id + i, keys + (size_t)i * KEY_BYTES, KEY_BYTES);
  assert_int_equal(kvi_store_lookup(f->store, &query, &result), KVS_OK);
  return result.lease;
}

static struct kvi_tenant_info info_of(struct fixture *f, const char *tenant)
{
  struct kvi_tenant_info infos[4];

  assert_int_equal(kvi_store_tenants(f->store, 0, infos, 4), 3);
  return infos[kvi_store_tenant_find(f->store, tenant)];
}

/* Nothing is under way: the accounts are what the entries say, and together what memory says. */
static void check_accounts(struct fixture *f)
{
  struct kvi_tenant_info infos[4];
  uint64_t dram[3] = {0}, medium[3] = {0}, chunks[3] = {0}, entries[3] = {0};
  struct kvi_store *store = f->store;
  struct kvi_tier_usage usage;

  assert_int_equal(kvi_store_tenants(store, 0, infos, 4), 3);
  pthread_mutex_lock(&store->lock);
  for (uint32_t i = 0; i < store->entry_fresh; i++) {
    const struct kvi_entry *entry = &store->entries[i];
    uint32_t account = store->spaces[entry->space].account;

    entries[account] += entry->state != KVI_ENTRY_FREE;
    if (!kvi_entry_is_present(entry))
      continue;
    chunks[account]++;
    if (entry->state == KVI_ENTRY_RESIDENT)
      dram[account] += store->dram->ops->room(store->dram, entry->object);
    if (kvi_below_has(store, i))
      medium[account] += kvi_below_length(entry);
  }
  pthread_mutex_unlock(&store->lock);
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(infos[i].dram_bytes, dram[i]);
    assert_int_equal(infos[i].medium_bytes, medium[i]);
    assert_int_equal(infos[i].chunks, chunks[i]);
    assert_int_equal(infos[i].entries, entries[i]);
    assert_true(infos[i].dram_max == 0 || infos[i].dram_bytes <= infos[i].dram_max);
    assert_true(infos[i].medium_max == 0 || infos[i].medium_bytes <= infos[i].medium_max);
  }
  store->dram->ops->usage(store->dram, &usage);
  assert_int_equal(usage.used_bytes, dram[0] + dram[1] + dram[2]);
}

static void fixture_close(struct fixture *f)
{
  if (f->medium)
    memory_settle(f->medium);
  check_accounts(f);
  kvi_store_close(f->store);
}

/* ---- memory ---- */

static void own_chunks_make_room(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20};
  struct fixture f = {0};

  (void)state;
  fixture_open(&f, config, 4 * ROOM, 0);
  for (uint32_t i = 0; i < 20; i++)
    assert_int_equal(put(&f, B, 1000 + i, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 100; i++) {
    assert_int_equal(put(&f, A, i, CHUNK), KVS_OK);
    check_accounts(&f);
  }
  assert_true(has(&f, A, 99) && has(&f, A, 98) && has(&f, A, 97));
  assert_false(has(&f, A, 0) || has(&f, A, 90));
  for (uint32_t i = 0; i < 20; i++)
    assert_true(has(&f, B, 1000 + i));
  assert_true(info_of(&f, A).own_evictions >= 94);
  assert_int_equal(info_of(&f, B).own_evictions, 0);
  assert_int_equal(info_of(&f, A).puts_refused, 0);
  fixture_close(&f);
}

/* The same key of the same space is another chunk for each tenant. */
static void tenants_see_their_own_alone(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20};
  struct fixture f = {0};
  uint8_t key[KEY_BYTES];
  uint32_t cause;

  (void)state;
  fixture_open(&f, config, 0, 0);
  testing_key(1, key, KEY_BYTES);
  assert_int_equal(testing_put(f.store, A, f.space, key, KEY_BYTES, NULL, 0, CHUNK, 7), KVS_OK);
  assert_false(has(&f, B, 1));
  assert_int_equal(testing_get(f.store, B, f.space, key, KEY_BYTES, 7, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_NEVER);
  assert_int_equal(testing_put(f.store, B, f.space, key, KEY_BYTES, NULL, 0, CHUNK, 8), KVS_OK);
  assert_int_equal(testing_get(f.store, A, f.space, key, KEY_BYTES, 7, &cause), KVS_OK);
  assert_int_equal(testing_get(f.store, B, f.space, key, KEY_BYTES, 8, &cause), KVS_OK);
  assert_int_equal(kvi_store_delete(f.store, B, f.space, key, KEY_BYTES), KVS_OK);
  assert_int_equal(testing_get(f.store, A, f.space, key, KEY_BYTES, 7, &cause), KVS_OK);
  fixture_close(&f);
}

/* A flood beyond all memory: nobody else loses a chunk. */
static void a_flood_evicts_nobody_else(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 64 * ROOM};
  struct fixture f = {0};

  (void)state;
  fixture_open(&f, config, 30 * ROOM, 0);
  for (uint32_t i = 0; i < 30; i++)
    assert_int_equal(put(&f, B, 1000 + i, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 500; i++)
    assert_int_equal(put(&f, A, i, 1 + i * 37 % (3 * CHUNK)), KVS_OK);
  for (uint32_t i = 0; i < 30; i++)
    assert_true(has(&f, B, 1000 + i));
  fixture_close(&f);
}

static void chains_go_from_their_ends(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 22};
  struct fixture f = {0};
  uint32_t left = 0;

  (void)state;
  fixture_open(&f, config, 40 * ROOM, 0);
  for (uint32_t i = 0; i < 32; i++)
    assert_int_equal(put_in_chain(&f, A, 0, i), KVS_OK);
  for (uint32_t i = 0; i < 45; i++)
    assert_int_equal(put(&f, A, 100 + i, CHUNK), KVS_OK);
  while (left < 32 && has(&f, A, left))
    left++;
  assert_true(left < 32);
  for (uint32_t i = left; i < 32; i++)
    assert_false(has(&f, A, i)); /* what is left of it is whole from the front */
  fixture_close(&f);
}

static void what_is_leased_is_refused(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20};
  struct fixture f = {0};
  uint64_t held;

  (void)state;
  fixture_open(&f, config, 4 * ROOM, 0);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(put(&f, A, i, CHUNK), KVS_OK);
  held = lease(&f, A, 1, 0, 4);
  assert_int_not_equal(held, 0);
  assert_int_equal(put(&f, A, 10, 8 * PAGE), KVS_ERR_QUOTA);
  assert_int_equal(put(&f, A, 10, 8 * PAGE), KVS_ERR_QUOTA);
  assert_int_equal(info_of(&f, A).puts_refused, 2);
  assert_int_equal(put(&f, B, 10, 8 * PAGE), KVS_OK); /* that is A's trouble alone */
  for (uint32_t i = 0; i < 4; i++)
    assert_true(has(&f, A, i));
  assert_int_equal(kvi_store_release(f.store, 1, held), KVS_OK);
  assert_int_equal(put(&f, A, 10, 8 * PAGE), KVS_OK);
  /* what never fits is refused without anybody's going */
  assert_int_equal(put(&f, A, 11, 4 * ROOM), KVS_ERR_QUOTA);
  assert_true(has(&f, A, 10));
  fixture_close(&f);
}

/* More is held than one put looks at: it says to come again, and one after a while that there is none. */
static void many_that_are_leased_are_looked_at_in_parts(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 13000 * PAGE, .max_chunks = 13000};
  struct fixture f = {0};
  uint32_t busy = 0;
  kvs_status status;

  (void)state;
  fixture_open(&f, config, 6001 * PAGE, 0);
  for (uint32_t i = 0; i < 6000; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  for (uint32_t i = 0; i < 6000; i += 40)
    assert_int_not_equal(lease(&f, A, 1, i, 40), 0);
  while ((status = put(&f, A, 99999, 2 * PAGE)) == KVS_ERR_BUSY && busy < 100)
    busy++;
  assert_int_equal(status, KVS_ERR_QUOTA);
  assert_int_not_equal(busy, 0);
  kvi_store_release_owner(f.store, 1);
  assert_int_equal(put(&f, A, 99999, 2 * PAGE), KVS_OK);
  fixture_close(&f);
}

/* Read and deleted, again and again: the memory is taken as long as somebody reads it, and it is his. */
static void what_is_read_is_its_tenants(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 200 * PAGE, .max_chunks = 2048};
  static struct kvi_source sources[200];
  struct fixture f = {0};
  kvs_status status = KVS_OK;
  uint8_t key[KEY_BYTES];
  uint32_t n = 0, cause;

  (void)state;
  fixture_open(&f, config, 100 * PAGE, 0);
  for (uint32_t i = 0; i < 90; i++)
    assert_int_equal(put(&f, B, 10000 + i, 100), KVS_OK);
  while (n < 200 && status == KVS_OK) {
    testing_key(n, key, KEY_BYTES);
    status = put(&f, A, n, 100);
    if (status != KVS_OK)
      break;
    assert_int_equal(waiting_open(f.store, A, f.space, key, &sources[n], &cause), KVS_OK);
    assert_int_equal(kvi_store_delete(f.store, A, f.space, key, KEY_BYTES), KVS_OK);
    n++;
    assert_int_equal(info_of(&f, A).dram_bytes, n * PAGE);
  }
  assert_int_equal(status, KVS_ERR_BUSY); /* which ends when they close */
  assert_true(n <= 100);
  for (uint32_t i = 0; i < 90; i++)
    assert_true(has(&f, B, 10000 + i));
  while (n > 0)
    kvi_store_get_close(f.store, &sources[--n]);
  assert_int_equal(info_of(&f, A).dram_bytes, 0);
  assert_int_equal(put(&f, A, 5, 100), KVS_OK);
  fixture_close(&f);
}

/* A share is taken away, and given to another: what goes for him is not a third's, who keeps to his. */
static void who_has_no_share_any_more_makes_room(void **state)
{
  const struct kvi_tenant_config tenants[] = {{.name = A, .dram_bytes = 20 * PAGE},
                                              {.name = B, .dram_bytes = 60 * PAGE},
                                              {.name = "c", .dram_bytes = 120 * PAGE}};
  const struct kvi_tenant_config more = {.name = A, .dram_bytes = 100 * PAGE},
                                 less = {.name = "c", .dram_bytes = 40 * PAGE},
                                 most = {.name = A, .dram_bytes = 140 * PAGE};
  struct kvi_store_config config = {.dram_bytes = 200 * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .max_chunks = 2048,
                                    .tenants = tenants,
                                    .n_tenants = 3};
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);
  struct kvi_tenant_info infos[4];
  struct fixture f = {0};

  (void)state;
  assert_int_equal(kvi_store_open(&config, &f.store), KVS_OK);
  for (uint32_t i = 0; i < 3; i++)
    testing_space_open(f.store, tenants[i].name, &desc, f.space);
  for (uint32_t i = 0; i < 58; i++)
    assert_int_equal(put(&f, B, 10000 + i, 100), KVS_OK);
  for (uint32_t i = 0; i < 118; i++)
    assert_int_equal(put(&f, "c", 20000 + i, 100), KVS_OK);
  kvi_store_tenant_set(f.store, &less);
  kvi_store_tenant_set(f.store, &more);
  for (uint32_t i = 0; i < 98; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  for (uint32_t i = 0; i < 58; i++)
    assert_true(has(&f, B, 10000 + i));
  assert_int_equal(kvi_store_tenants(f.store, 0, infos, 4), 4);
  assert_true(infos[3].chunks >= 38);
  kvi_store_tenant_remove(f.store, "c");
  assert_int_equal(put(&f, "c", 30000, 100), KVS_ERR_QUOTA);
  kvi_store_tenant_set(f.store, &most);
  for (uint32_t i = 0; i < 138; i++)
    assert_int_equal(put(&f, A, i, 100), i < 98 ? KVS_EXISTS : KVS_OK);
  for (uint32_t i = 0; i < 58; i++)
    assert_true(has(&f, B, 10000 + i));
  assert_int_equal(kvi_store_tenants(f.store, 0, infos, 4), 4);
  assert_int_equal(infos[1].own_evictions + infos[2].own_evictions + infos[3].own_evictions, 0);
  assert_true(infos[3].chunks < 38);
  kvi_store_close(f.store);
}

/* ---- the medium ---- */

static void copies_are_bounded(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 64 * ROOM};
  struct fixture f = {.medium = memory_medium_create(false)};

  (void)state;
  fixture_open(&f, config, 8 * ROOM, 20 * CHUNK);
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(put(&f, B, 1000 + i, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 200; i++) {
    assert_int_equal(put(&f, A, i, CHUNK), KVS_OK);
    memory_settle(f.medium);
    check_accounts(&f);
  }
  assert_true(info_of(&f, A).medium_bytes > 10 * CHUNK);
  assert_true(info_of(&f, A).own_demotions > 100);
  assert_true(has(&f, A, 199) && has(&f, A, 190) && !has(&f, A, 0));
  for (uint32_t i = 0; i < 10; i++)
    assert_true(has(&f, B, 1000 + i));
  fixture_close(&f);
}

/* Hundreds have to go for one: they do before it is written, so that it is written once. */
static void a_large_copy_has_room_before_it_is_written(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4000 * PAGE, .max_chunks = 4096};
  struct fixture f = {.medium = memory_medium_create(false)};
  uint64_t refused;
  uint32_t puts;

  (void)state;
  fixture_open(&f, config, 40 * PAGE, 100000);
  for (uint32_t i = 0; i < 1000; i++) {
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
    memory_settle(f.medium);
  }
  refused = info_of(&f, A).writes_refused;
  puts = f.medium->puts;
  assert_int_equal(put(&f, A, 5000, 60000), KVS_OK);
  memory_settle(f.medium);
  assert_int_equal(info_of(&f, A).writes_refused, refused);
  assert_int_equal(f.medium->puts, puts + 1);
  assert_true(info_of(&f, A).medium_bytes > 60000);
  for (uint32_t i = 0; i < 60; i++) /* it leaves memory, and is there */
    assert_int_equal(put(&f, A, 6000 + i, 100), KVS_OK);
  memory_settle(f.medium);
  assert_true(has(&f, A, 5000));
  fixture_close(&f);
}

/* ---- what is shared by number ---- */

static void nobody_takes_all_numbers(void **state)
{
  struct kvi_store_config config = {
      .dram_bytes = 1 << 20, .max_spaces = 8, .max_landings = 4, .max_leases = 4, .max_chunks = 1024};
  uint32_t length = CHUNK;
  struct kvi_landing landings[3];
  struct fixture f = {0};
  uint8_t keys[3][KEY_BYTES], digest[KVS_DIGEST_SIZE];
  struct kvi_space_opened opened;
  char model[16];
  kvs_status status = KVS_OK;

  (void)state;
  fixture_open(&f, config, 0, 0);
  for (uint32_t i = 0; i < 3; i++) {
    struct kvi_put_request request = {.space = f.space,
                                      .key = keys[i],
                                      .key_length = KEY_BYTES,
                                      .unchained = true,
                                      .length = length,
                                      .n_segments = 1,
                                      .segment_lengths = &length};

    testing_key(i, keys[i], KEY_BYTES);
    assert_int_equal(kvi_store_put_begin(f.store, A, &request, NULL, NULL, &landings[i]),
                     i < 2 ? KVS_OK : KVS_ERR_BUSY);
  }
  assert_int_equal(put(&f, B, 1, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 2; i++)
    kvi_store_put_abort(f.store, &landings[i]);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(put(&f, A, i, CHUNK), KVS_OK);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(lease(&f, A, 1, i, 1) != 0, i < 2);
  assert_int_not_equal(lease(&f, B, 2, 1, 1), 0);
  kvi_store_release_owner(f.store, 1);
  assert_int_not_equal(lease(&f, A, 1, 2, 1), 0);
  for (uint32_t i = 0; i < 4; i++) { /* one each is there */
    kvs_space_desc desc;

    snprintf(model, sizeof(model), "model %u", i);
    desc = testing_space(model, KEY_BYTES);
    assert_int_equal(kvs_space_digest(&desc, digest), KVS_OK);
    status = kvi_store_space_open(f.store, A, digest, &desc, &opened);
    assert_int_equal(status, i < 3 ? KVS_OK : KVS_ERR_BUSY);
  }
  assert_int_equal(kvi_store_space_open(f.store, B, digest, &(kvs_space_desc){0}, &opened), KVS_ERR_INVALID);
  {
    kvs_space_desc desc = testing_space("model 3", KEY_BYTES);

    assert_int_equal(kvi_store_space_open(f.store, B, digest, &desc, &opened), KVS_OK);
  }
  fixture_close(&f);
}

/* What is put, and what was deleted while a lease holds it, takes an entry too. */
static void entries_count_until_they_are_free(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20, .max_chunks = 1024};
  struct fixture f = {0};
  uint8_t key[KEY_BYTES];
  uint32_t length = CHUNK;
  struct kvi_landing landing;
  struct kvi_put_request request = {.key = key,
                                    .key_length = KEY_BYTES,
                                    .unchained = true,
                                    .length = length,
                                    .n_segments = 1,
                                    .segment_lengths = &length};

  (void)state;
  fixture_open(&f, config, 0, 0);
  request.space = f.space;
  testing_key(1, key, KEY_BYTES);
  assert_int_equal(kvi_store_put_begin(f.store, A, &request, NULL, NULL, &landing), KVS_OK);
  assert_int_equal(info_of(&f, A).chunks, 0);
  assert_int_equal(info_of(&f, A).entries, 1);
  kvi_store_put_abort(f.store, &landing);
  assert_int_equal(info_of(&f, A).entries, 0);
  for (uint32_t i = 0; i < 20; i++) {
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
    assert_int_not_equal(lease(&f, A, 1, i, 1), 0);
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(kvi_store_delete(f.store, A, f.space, key, KEY_BYTES), KVS_OK);
  }
  assert_int_equal(info_of(&f, A).chunks, 0);
  assert_int_equal(info_of(&f, A).entries, 20);
  assert_int_equal(info_of(&f, B).entries, 0);
  kvi_store_release_owner(f.store, 1);
  assert_int_equal(info_of(&f, A).entries, 0);
  fixture_close(&f);
}

/* The index is full: who has more than its share of it loses a chunk, not the others. */
static void an_index_is_shared_by_weight(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4096 * PAGE, .max_chunks = 1024};
  struct fixture f = {0};

  (void)state;
  fixture_open(&f, config, 0, 0);
  for (uint32_t i = 0; i < 400; i++)
    assert_int_equal(put(&f, B, 10000 + i, 100), KVS_OK);
  for (uint32_t i = 0; i < 2000; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  for (uint32_t i = 0; i < 400; i++)
    assert_true(has(&f, B, 10000 + i));
  fixture_close(&f);
}

/* Half of the chunks that leases may hold together, however often the same. */
static void nobody_takes_all_holds(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4096 * PAGE, .max_chunks = 4096};
  static uint8_t keys[2048 * KEY_BYTES];
  struct kvi_store_lookup_result result;
  struct kvi_store_lookup query;
  const uint8_t *space;
  struct fixture f = {0};
  uint64_t holds = 0;

  (void)state;
  fixture_open(&f, config, 0, 0);
  space = f.space;
  query = (struct kvi_store_lookup){.tenant = A,
                                    .owner = 1,
                                    .spaces = &space,
                                    .n_spaces = 1,
                                    .keys = keys,
                                    .key_length = KEY_BYTES,
                                    .n_keys = 2048,
                                    .unchained = true,
                                    .lease_ms = 60000};
  for (uint32_t i = 0; i < 2048; i++) {
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
    testing_key(i, keys + (size_t)i * KEY_BYTES, KEY_BYTES);
  }
  assert_int_equal(put(&f, B, 5, 100), KVS_OK);
  do {
    result = (struct kvi_store_lookup_result){0};
    assert_int_equal(kvi_store_lookup(f.store, &query, &result), KVS_OK);
    holds += result.lease ? 2048 : 0;
  } while (result.lease != 0);
  assert_int_equal(result.lease_status, KVS_ERR_BUSY);
  assert_int_equal(holds, f.store->lease_references_max / 2);
  assert_int_not_equal(lease(&f, B, 2, 5, 1), 0);
  kvi_store_release_owner(f.store, 1);
  assert_int_not_equal(lease(&f, A, 1, 0, 64), 0);
  fixture_close(&f);
}

/* A store whose index has 1024 entries and memory for all of them; B has 300 of those. */
static void index_open(struct fixture *f)
{
  struct kvi_store_config config = {.dram_bytes = 4096 * PAGE, .max_chunks = 1024};

  fixture_open(f, config, 0, 0);
  for (uint32_t i = 0; i < 300; i++)
    assert_int_equal(put(f, B, 10000 + i, 100), KVS_OK);
}

static uint32_t count_of(struct fixture *f, const char *tenant, uint32_t first, uint32_t n)
{
  uint32_t count = 0;

  for (uint32_t i = 0; i < n; i++)
    count += has(f, tenant, first + i);
  return count;
}

/* Put, lease, delete: nothing of it is there any more, and all entries are taken. */
static void what_is_deleted_and_leased_costs_nobody_else(void **state)
{
  struct fixture f = {0};
  kvs_status status = KVS_OK;
  uint8_t key[KEY_BYTES];

  (void)state;
  index_open(&f);
  for (uint32_t i = 0; i < 1500 && status == KVS_OK; i++) {
    status = put(&f, A, i, 100);
    if (status != KVS_OK)
      break;
    assert_int_not_equal(lease(&f, A, 1, i, 1), 0);
    testing_key(i, key, KEY_BYTES);
    assert_int_equal(kvi_store_delete(f.store, A, f.space, key, KEY_BYTES), KVS_OK);
  }
  assert_int_equal(status, KVS_ERR_QUOTA);
  assert_int_equal(info_of(&f, A).puts_refused, 1);
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  kvi_store_release_owner(f.store, 1);
  assert_int_equal(put(&f, A, 9999, 100), KVS_OK);
  fixture_close(&f);
}

static void what_is_leased_costs_nobody_else(void **state)
{
  struct fixture f = {0};
  kvs_status status = KVS_OK;

  (void)state;
  index_open(&f);
  for (uint32_t i = 0; i < 1500 && status == KVS_OK; i++) {
    status = put(&f, A, i, 100);
    if (status == KVS_OK)
      assert_int_not_equal(lease(&f, A, 1, i, 1), 0);
  }
  assert_int_equal(status, KVS_ERR_QUOTA);
  assert_int_equal(info_of(&f, A).chunks, 724);
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  fixture_close(&f);
}

/* Of one chain the last alone may go, and what is put continues that. */
static void a_long_chain_costs_nobody_else(void **state)
{
  struct fixture f = {0};
  kvs_status status = KVS_OK;

  (void)state;
  index_open(&f);
  for (uint32_t i = 0; i < 1500 && status == KVS_OK; i++)
    status = put_in_chain(&f, A, 0, i);
  assert_int_equal(status, KVS_ERR_QUOTA);
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  assert_int_equal(put(&f, A, 5000, 100), KVS_OK); /* another chain's: the end of that one goes */
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  fixture_close(&f);
}

/* More is leased than is looked at in one hold of the lock, in front of what may go. */
static void what_may_go_is_found_behind_what_is_leased(void **state)
{
  struct fixture f = {0};

  (void)state;
  index_open(&f);
  for (uint32_t i = 0; i < 724; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  for (uint32_t i = 0; i < 320; i += 40)
    assert_int_not_equal(lease(&f, A, 1, i, 40), 0);
  for (uint32_t i = 0; i < 20; i++)
    assert_int_equal(put(&f, A, 5000 + i, 100), KVS_OK);
  assert_int_equal(count_of(&f, A, 0, 320), 320);
  assert_int_equal(count_of(&f, B, 10000, 300), 300);
  fixture_close(&f);
}

/* Who has less than his share has an entry of who has most beyond his, not an older one of his own or of the third's. */
static void a_share_is_had_from_who_has_most(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 4096 * PAGE, .max_chunks = 1024};
  const struct kvi_tenant_config tenants[] = {{.name = A}, {.name = B}, {.name = "c"}};
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);
  struct kvi_tenant_info infos[4];
  struct fixture f = {0};

  (void)state;
  config.tenants = tenants;
  config.n_tenants = 3; /* and those who are not named: 256 each */
  assert_int_equal(kvi_store_open(&config, &f.store), KVS_OK);
  for (uint32_t i = 0; i < 3; i++)
    testing_space_open(f.store, tenants[i].name, &desc, f.space);
  for (uint32_t i = 0; i < 200; i++)
    assert_int_equal(put(&f, A, 20000 + i, 100), KVS_OK);
  for (uint32_t i = 0; i < 300; i++)
    assert_int_equal(put(&f, "c", i, 100), KVS_OK);
  for (uint32_t i = 0; i < 524; i++)
    assert_int_equal(put(&f, B, 10000 + i, 100), KVS_OK);
  for (uint32_t i = 0; i < 40; i++)
    assert_int_equal(put(&f, A, i, 100), KVS_OK);
  assert_int_equal(count_of(&f, A, 20000, 200), 200);
  assert_int_equal(count_of(&f, "c", 0, 300), 300);
  assert_int_equal(count_of(&f, B, 10000, 524), 484);
  for (uint32_t i = 0; i < 524; i += 4) /* those of B are held: c's go, of which there are too many too */
    (void)lease(&f, B, 2, 10000 + i, 4);
  for (uint32_t i = 0; i < 16; i++)
    assert_int_equal(put(&f, A, 100 + i, 100), KVS_OK);
  assert_int_equal(count_of(&f, A, 20000, 200), 200);
  assert_int_equal(count_of(&f, "c", 0, 300), 284);
  assert_int_equal(kvi_store_tenants(f.store, 0, infos, 4), 4);
  assert_int_equal(infos[2].own_evictions, 0); /* that was not for others of their own */
  kvi_store_close(f.store);
}

/* Whatever A does with many chunks: nothing of B's goes for them, who has less than his share. What B puts has an entry of A's, unless leases hold all of those: then one of B's. */
static void nobody_within_his_share_loses_an_entry(void **state)
{
  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++) {
    struct kvi_store_config config = {
        .dram_bytes = 4096 * PAGE, .max_chunks = 1024, .policy = seed & 1 ? "index" : "leaf-lru"};
    struct fixture f = {.medium = seed > 2 ? memory_medium_create(false) : NULL};
    uint32_t n = 0, refused = 0;
    uint64_t own;
    kvi_rand rand;

    kvi_rand_seed(&rand, seed);
    fixture_open(&f, config, 0, 0);
    for (uint32_t i = 0; i < 6000; i++) {
      uint32_t what = (uint32_t)(kvi_rand_next(&rand) % 32), id = (uint32_t)(kvi_rand_next(&rand) % 3000);
      uint8_t key[KEY_BYTES];
      kvs_status status = KVS_OK;

      testing_key(id, key, KEY_BYTES);
      if (what < 12)
        status = put(&f, A, id, 100);
      else if (what < 22)
        status = put_in_chain(&f, A, id - id % 100, id % 100);
      else if (what < 27)
        (void)lease(&f, A, 1 + id % 4, id, 8);
      else if (what < 29)
        (void)kvi_store_delete(f.store, A, f.space, key, KEY_BYTES);
      else if (what < 30 && id % 8 == 0)
        kvi_store_release_owner(f.store, 1 + id % 4);
      else if (n < 500) {
        status = put(&f, B, 10000 + n, 100);
        n += status == KVS_OK;
        assert_int_not_equal(status, KVS_ERR_QUOTA);
        refused += status < 0;
        status = KVS_OK;
      }
      assert_true(status >= 0 || status == KVS_ERR_QUOTA || status == KVS_ERR_BUSY);
      if (f.medium)
        memory_settle(f.medium);
    }
    own = info_of(&f, B).own_evictions;
    assert_int_equal(count_of(&f, B, 10000, n), n - own);
    assert_true(n > 5 * (own + refused));
    for (uint64_t owner = 1; owner <= 4; owner++)
      kvi_store_release_owner(f.store, owner);
    for (; n < 600; n++)
      assert_int_equal(put(&f, B, 10000 + n, 100), KVS_OK);
    assert_int_equal(info_of(&f, B).own_evictions, own);
    assert_int_equal(count_of(&f, B, 10000, n), n - own);
    fixture_close(&f);
  }
}

/* ---- all of it, at random ---- */

#define IDS 64u

struct worker {
  struct fixture *f;
  const char *tenant;
  kvi_rand rand;
  uint64_t owner;
  atomic_uint *wrong;
};

static void random_step(struct worker *w)
{
  uint32_t id = (uint32_t)(kvi_rand_next(&w->rand) % IDS), what = (uint32_t)(kvi_rand_next(&w->rand) % 16);
  uint32_t place = id % 8, first = id - place, cause;
  uint8_t key[KEY_BYTES], parent[KEY_BYTES];
  uint64_t chunks, bytes;
  kvs_status status = KVS_OK;

  testing_key(id, key, KEY_BYTES);
  testing_key(first + place - 1, parent, KEY_BYTES);
  if (what < 8) {
    status = testing_put(w->f->store, w->tenant, w->f->space, key, KEY_BYTES, place ? parent : NULL, place,
                         1 + id * 331 % 20000, id);
  } else if (what < 11) {
    struct kvi_source source;

    status = waiting_open(w->f->store, w->tenant, w->f->space, key, &source, &cause);
    if (status == KVS_OK) {
      if (!testing_matches(&source, id))
        atomic_fetch_add(w->wrong, 1);
      kvi_store_get_close(w->f->store, &source);
    }
  } else if (what < 13) {
    (void)kvi_store_delete(w->f->store, w->tenant, w->f->space, key, KEY_BYTES);
  } else if (what < 15) {
    (void)lease(w->f, w->tenant, w->owner, first, 8);
    if (what == 14)
      kvi_store_release_owner(w->f->store, w->owner);
  } else {
    kvi_store_evict(w->f->store, w->tenant, NULL, 20000, &chunks, &bytes);
  }
  if (status < 0 && status != KVS_ERR_QUOTA && status != KVS_ERR_BUSY && status != KVS_ERR_FULL)
    atomic_fetch_add(w->wrong, 1);
}

static void run_one(struct fixture *f, uint64_t seed, int steps)
{
  atomic_uint wrong = 0;
  struct worker workers[2] = {{.f = f, .tenant = A, .owner = 1, .wrong = &wrong},
                              {.f = f, .tenant = B, .owner = 2, .wrong = &wrong}};

  kvi_rand_seed(&workers[0].rand, seed);
  kvi_rand_seed(&workers[1].rand, ~seed);
  for (int i = 0; i < steps; i++) {
    random_step(&workers[i & 1]);
    if (f->medium)
      memory_settle(f->medium);
    check_accounts(f);
  }
  assert_int_equal(wrong, 0);
}

static void accounts_are_exact(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 96 * PAGE, .max_chunks = 1024};

  (void)state;
  for (uint64_t seed = 1; seed <= 10; seed++) {
    struct fixture f = {0};

    config.policy = seed & 1 ? "index" : "leaf-lru";
    fixture_open(&f, config, 40 * PAGE, 0);
    run_one(&f, seed, 2000);
    fixture_close(&f);
  }
}

static void accounts_are_exact_over_a_medium(void **state)
{
  struct kvi_store_config config = {
      .dram_bytes = 96 * PAGE, .max_chunks = 1024, .dram_high_mark = 90, .dram_low_mark = 70};

  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++) {
    struct fixture f = {.medium = memory_medium_create(false)};

    config.policy = seed & 1 ? "index" : "leaf-lru";
    fixture_open(&f, config, 40 * PAGE, 100000);
    run_one(&f, seed, 1000);
    fixture_close(&f);
  }
}

static void *run_worker(void *ctx)
{
  for (int i = 0; i < 3000; i++)
    random_step(ctx);
  return NULL;
}

static void accounts_are_exact_among_threads(void **state)
{
  struct kvi_store_config config = {
      .dram_bytes = 96 * PAGE, .max_chunks = 1024, .dram_high_mark = 90, .dram_low_mark = 70};
  struct fixture f = {.medium = memory_medium_create(false)};
  struct worker workers[4];
  atomic_uint wrong = 0;
  pthread_t threads[4];

  (void)state;
  fixture_open(&f, config, 40 * PAGE, 100000);
  for (uint32_t i = 0; i < 4; i++) {
    workers[i] = (struct worker){.f = &f, .tenant = i & 1 ? A : B, .owner = i + 1, .wrong = &wrong};
    kvi_rand_seed(&workers[i].rand, i);
    assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &workers[i]), 0);
  }
  for (uint32_t i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(wrong, 0);
  fixture_close(&f);
}

static void names_are_checked(void **state)
{
  char longest[KVI_TENANT_MAX + 1];
  struct kvi_tenant_config tenants[] = {{.name = "same"}, {.name = "same"}};
  struct kvi_store_config config = {.dram_bytes = 1 << 20, .tenants = tenants, .n_tenants = 2};
  struct kvi_store *store;

  (void)state;
  memset(longest, 'x', sizeof(longest));
  longest[KVI_TENANT_MAX] = '\0';
  assert_int_equal(kvi_store_open(&config, &store), KVS_ERR_INVALID);
  tenants[1].name = "";
  assert_int_equal(kvi_store_open(&config, &store), KVS_ERR_INVALID);
  tenants[1].name = longest;
  assert_int_equal(kvi_store_open(&config, &store), KVS_ERR_INVALID);
  tenants[1].name = longest + 1;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  assert_int_equal(kvi_store_tenant_find(store, "same"), 1);
  assert_int_equal(kvi_store_tenant_find(store, longest + 1), 2);
  assert_int_equal(kvi_store_tenant_find(store, "other"), 0);
  kvi_store_close(store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(own_chunks_make_room),
                                     cmocka_unit_test(tenants_see_their_own_alone),
                                     cmocka_unit_test(a_flood_evicts_nobody_else),
                                     cmocka_unit_test(chains_go_from_their_ends),
                                     cmocka_unit_test(what_is_leased_is_refused),
                                     cmocka_unit_test(many_that_are_leased_are_looked_at_in_parts),
                                     cmocka_unit_test(what_is_read_is_its_tenants),
                                     cmocka_unit_test(who_has_no_share_any_more_makes_room),
                                     cmocka_unit_test(copies_are_bounded),
                                     cmocka_unit_test(a_large_copy_has_room_before_it_is_written),
                                     cmocka_unit_test(nobody_takes_all_numbers),
                                     cmocka_unit_test(nobody_takes_all_holds),
                                     cmocka_unit_test(entries_count_until_they_are_free),
                                     cmocka_unit_test(an_index_is_shared_by_weight),
                                     cmocka_unit_test(what_is_deleted_and_leased_costs_nobody_else),
                                     cmocka_unit_test(what_is_leased_costs_nobody_else),
                                     cmocka_unit_test(a_long_chain_costs_nobody_else),
                                     cmocka_unit_test(what_may_go_is_found_behind_what_is_leased),
                                     cmocka_unit_test(a_share_is_had_from_who_has_most),
                                     cmocka_unit_test(nobody_within_his_share_loses_an_entry),
                                     cmocka_unit_test(accounts_are_exact),
                                     cmocka_unit_test(accounts_are_exact_over_a_medium),
                                     cmocka_unit_test(accounts_are_exact_among_threads),
                                     cmocka_unit_test(names_are_checked)};

  return cmocka_run_group_tests_name("tiers/tenants", tests, NULL, NULL);
}
