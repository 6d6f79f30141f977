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

static inline struct kvi_chunk_info chunk_info(struct kvi_store *store, const uint8_t *space, uint64_t number)
{
  struct kvi_chunk_info infos[64], none = {0};
  uint8_t key[KEY_BYTES];
  uint64_t cursor = 0;
  size_t n = kvi_store_chunks(store, TENANT, space, &cursor, infos, 64);

  testing_key(number, key, KEY_BYTES);
  for (size_t i = 0; i < n; i++)
    if (infos[i].key_length == KEY_BYTES && memcmp(infos[i].key, key, KEY_BYTES) == 0)
      return infos[i];
  return none;
}

/* Nothing is encoded, or waits for it. */
#define AWAIT_CODED(store) AWAIT(store_stats_of(store).coding == 0)

#endif
