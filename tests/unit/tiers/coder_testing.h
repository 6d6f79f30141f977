/*
 * coder_testing.h: stores that hold chunks coded in memory, and a gate in front of whoever encodes (the program is linked with --wrap=kvi_encode_run, and with that of
 * encoder_testing.h, whose gate stays open).
 */
#ifndef KVI_TESTS_UNIT_TIERS_CODER_TESTING_H
#define KVI_TESTS_UNIT_TIERS_CODER_TESTING_H

#include "encoder_store.h"

static struct gate coding_gate = GATE_INITIALIZER;

kvs_status __real_kvi_encode_run(const struct kvi_encode_plan *plan, const struct kvi_chunk_table *table,
                                 const uint8_t *raw, struct kvi_encode_room *room,
                                 struct kvi_encoded *encoded_p);
kvs_status __wrap_kvi_encode_run(const struct kvi_encode_plan *plan, const struct kvi_chunk_table *table,
                                 const uint8_t *raw, struct kvi_encode_room *room,
                                 struct kvi_encoded *encoded_p);

/* NOLINTNEXTLINE(bugprone-reserved-identifier): the linker's name */
kvs_status __wrap_kvi_encode_run(const struct kvi_encode_plan *plan, const struct kvi_chunk_table *table,
                                 const uint8_t *raw, struct kvi_encode_room *room,
                                 struct kvi_encoded *encoded_p)
{
  gate_pass(&coding_gate);
  return __real_kvi_encode_run(plan, table, raw, room, encoded_p);
}

/* 1 MiB, in which 19 chunks have room as they were put, and one thread. */
static inline struct kvi_store_config coding_config(void)
{
  return (struct kvi_store_config){.dram_bytes = 1 << 20,
                                   .dram_page_bytes = 4096,
                                   .max_chunks = 1024,
                                   .codec = {.tensors = true, .bytes = true},
                                   .codec_threads = 1};
}

/* Of length 0: it is not in memory. */
static inline struct kvi_chunk_info chunk_info(struct kvi_store *store, const uint8_t *space, uint64_t number)
{
  struct kvi_chunk_info infos[64], none = {0};
  uint8_t key[KEY_BYTES];
  uint64_t cursor = 0;

  testing_key(number, key, KEY_BYTES);
  do {
    size_t n = kvi_store_chunks(store, TENANT, space, &cursor, infos, 64);

    for (size_t i = 0; i < n; i++)
      if (infos[i].key_length == KEY_BYTES && memcmp(infos[i].key, key, KEY_BYTES) == 0)
        return infos[i];
  } while (cursor != 0);
  return none;
}

/* Nothing is encoded, or waits for it. */
#define AWAIT_CODED(store) AWAIT(store_stats_of(store).coding == 0)

#define QUALITY(loss, loss_max) kvi_quality(loss, loss_max, KVI_CODING_NONE)

struct coding_store {
  struct kvi_store *store;
  struct put_to to;
  uint8_t space[KVS_DIGEST_SIZE];
};

static inline void open_with(struct coding_store *c, const struct kvi_store_config *config)
{
  kvs_space_desc desc = tensors_space();

  memset(c, 0, sizeof(*c));
  assert_int_equal(kvi_store_open(config, &c->store), KVS_OK);
  testing_space_open(c->store, TENANT, &desc, c->space);
  c->to = (struct put_to){.store = c->store, .space = c->space};
}

static inline void open_default(struct coding_store *c)
{
  struct kvi_store_config config = coding_config();

  open_with(c, &config);
}

static inline void close_it(struct coding_store *c)
{
  gate_set(&coding_gate, false);
  AWAIT_CODED(c->store);
  AWAIT(store_stats_of(c->store).dram.zombie_bytes == 0);
  store_check(c->store, c->space);
  kvi_store_close(c->store);
}

/* The only thread stands in front of the encoding of this one. */
static inline void put_at_gate(struct coding_store *c, uint64_t number)
{
  gate_set(&coding_gate, true);
  assert_int_equal(store_put(&c->to, number), KVS_OK);
  gate_await(&coding_gate, 1);
}

static inline void let_it_code(struct coding_store *c)
{
  gate_set(&coding_gate, false);
  AWAIT_CODED(c->store);
}

static inline kvs_status get_as(struct coding_store *c, uint64_t number, uint32_t loss_max, bool *coded_p,
                                uint32_t *cause_p)
{
  struct kvi_get_terms terms = any_form;

  terms.loss_max = loss_max;
  return store_get(c->store, c->space, number, &terms, coded_p, cause_p);
}

static inline bool is_coded(struct coding_store *c, uint64_t number)
{
  uint32_t cause;
  bool coded = false;

  assert_int_equal(get_as(c, number, 0, &coded, &cause), KVS_OK);
  return coded;
}

/* A look-up of one chunk, with a lease of `owner`. 0: not here. */
static inline uint64_t lease_as(struct coding_store *c, uint64_t owner, uint64_t number, uint32_t loss_max)
{
  const uint8_t *space = c->space;
  uint8_t key[KEY_BYTES];
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = owner,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = key,
                                   .key_length = KEY_BYTES,
                                   .n_keys = 1,
                                   .unchained = true,
                                   .loss_max = loss_max,
                                   .lease_ms = 600000};
  struct kvi_store_lookup_result result = {0};

  testing_key(number, key, KEY_BYTES);
  (void)kvi_store_lookup(c->store, &query, &result);
  return result.lease;
}

static inline uint64_t lease(struct coding_store *c, uint64_t number, uint32_t loss_max)
{
  return lease_as(c, 1, number, loss_max);
}

static inline void delete_it(struct coding_store *c, uint64_t number)
{
  uint8_t key[KEY_BYTES];

  testing_key(number, key, KEY_BYTES);
  assert_int_equal(kvi_store_delete(c->store, TENANT, c->space, key, KEY_BYTES), KVS_OK);
}

#endif
