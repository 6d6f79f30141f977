/*
 * tenants_testing.h: a store with the tenants A, who may have a bound, and B of three times its weight; and whether their accounts are exact.
 */
#ifndef KVASIR_TESTS_UNIT_TIERS_TENANTS_TESTING_H
#define KVASIR_TESTS_UNIT_TIERS_TENANTS_TESTING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "testing.h"

#include "memory_medium.h"
#include "store_waiting.h"
#include "tiers/store_private.h"
#include "tiers/tenants_private.h"

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

static inline void fixture_open(struct fixture *f, struct kvi_store_config config, uint64_t a_dram,
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

static inline kvs_status put(struct fixture *f, const char *tenant, uint32_t id, uint64_t length)
{
  uint8_t key[KEY_BYTES];

  testing_key(id, key, KEY_BYTES);
  return testing_put(f->store, tenant, f->space, key, KEY_BYTES, NULL, 0, length, id);
}

/* Chunk i of a chain whose ids begin at `first`. */
static inline kvs_status put_in_chain(struct fixture *f, const char *tenant, uint32_t first, uint32_t i)
{
  uint8_t key[KEY_BYTES], parent[KEY_BYTES];

  testing_key(first + i, key, KEY_BYTES);
  testing_key(first + i - 1, parent, KEY_BYTES);
  return testing_put(f->store, tenant, f->space, key, KEY_BYTES, i ? parent : NULL, i, CHUNK, first + i);
}

static inline bool has(struct fixture *f, const char *tenant, uint32_t id)
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

static inline uint64_t lease(struct fixture *f, const char *tenant, uint64_t owner, uint32_t id, uint32_t n)
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

static inline struct kvi_tenant_info info_of(struct fixture *f, const char *tenant)
{
  struct kvi_tenant_info infos[4];

  assert_int_equal(kvi_store_tenants(f->store, 0, infos, 4), 3);
  return infos[kvi_store_tenant_find(f->store, tenant)];
}

/* Nobody reads: the accounts are what the entries say, and together what memory says. Under one hold of the lock, since the store demotes by itself. */
static inline void check_accounts(struct fixture *f)
{
  uint64_t dram[3] = {0}, medium[3] = {0}, chunks[3] = {0}, entries[3] = {0};
  struct kvi_tenant_info infos[3];
  struct kvi_store *store = f->store;
  struct kvi_tier_usage usage;

  pthread_mutex_lock(&store->lock);
  assert_int_equal(store->tenants->n, 3);
  for (uint32_t i = 0; i < 3; i++)
    infos[i] = store->tenants->tenants[i].info;
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
  store->dram->ops->usage(store->dram, &usage);
  pthread_mutex_unlock(&store->lock);
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(infos[i].dram_bytes, dram[i]);
    assert_int_equal(infos[i].medium_bytes, medium[i]);
    assert_int_equal(infos[i].chunks, chunks[i]);
    assert_int_equal(infos[i].entries, entries[i]);
    assert_true(infos[i].dram_max == 0 || infos[i].dram_bytes <= infos[i].dram_max);
    assert_true(infos[i].medium_max == 0 || infos[i].medium_bytes <= infos[i].medium_max);
  }
  assert_int_equal(usage.used_bytes, dram[0] + dram[1] + dram[2]);
}

static inline void fixture_close(struct fixture *f)
{
  if (f->medium)
    memory_settle(f->medium);
  check_accounts(f);
  kvi_store_close(f->store);
}

#endif
