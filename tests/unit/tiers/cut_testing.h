/* cut_testing.h: memory that holds tensors as ladders of ALL_PLANES planes, and what is left of a chunk when it has lost some. */
#ifndef KVI_TESTS_UNIT_TIERS_CUT_TESTING_H
#define KVI_TESTS_UNIT_TIERS_CUT_TESTING_H

#include "coder_testing.h"

#define ALL_PLANES   3u
#define LOSS(planes) kvi_coded_loss(KVI_CODEC_LADDER, planes)

static inline struct kvi_store_config ladder_config(void)
{
  struct kvi_store_config config = coding_config();

  config.codec.lossy = KVI_CODEC_LADDER;
  config.codec.planes = ALL_PLANES;
  return config;
}

/* Chunks of tensors alone, one after the other. */
static inline void put_coded(struct coding_store *c, uint64_t number)
{
  uint64_t before = store_stats_of(c->store).coded_chunks;

  assert_int_equal(store_put(&c->to, number * KINDS), KVS_OK);
  AWAIT_CODED(c->store);
  assert_int_equal(store_stats_of(c->store).coded_chunks, before + 1);
}

/* UINT32_MAX: it is not here. No use of it. */
static inline uint32_t loss_of(struct coding_store *c, uint64_t number)
{
  struct kvi_chunk_info info = chunk_info(c->store, c->space, number * KINDS);

  return info.length > 0 ? kvi_quality_loss(info.quality) : UINT32_MAX;
}

/* Free it. */
static inline uint8_t *payload_of(struct coding_store *c, uint64_t number, struct kvi_chunk_table *table_p)
{
  uint8_t key[KEY_BYTES], *bytes, *at;
  struct kvi_source source;

  testing_key(number * KINDS, key, KEY_BYTES);
  assert_int_equal(kvi_store_peek_open(c->store, TENANT, c->space, key, KEY_BYTES, &source), KVS_OK);
  assert_true(kvi_medium_fits(&source.table, source.iov, source.n_iov)); /* its checksums too */
  bytes = at = malloc(source.table.length);
  for (uint32_t i = 0; i < source.n_iov; at += source.iov[i++].length)
    memcpy(at, source.iov[i].base, source.iov[i].length);
  *table_p = source.table;
  kvi_store_get_close(c->store, &source);
  return bytes;
}

/* A part of the whole one, with as many planes as it says. */
static inline void check_rest(struct coding_store *c, uint64_t number, const uint8_t *whole)
{
  struct kvi_chunk_table table;
  uint8_t *bytes = payload_of(c, number, &table);
  uint8_t *layer = malloc(RAW / LAYERS);
  struct kvi_coded coded;

  assert_memory_equal(bytes, whole, table.length);
  assert_int_equal(kvi_coded_open(bytes, table.length, table.length, &coded), KVS_OK);
  assert_int_equal(LOSS(coded.planes), kvi_quality_loss(table.quality));
  for (uint32_t i = 0; i < LAYERS; i++)
    assert_int_equal(kvi_coded_layer(&coded, i, bytes, layer), KVS_OK);
  free(layer);
  free(bytes);
}

#endif
