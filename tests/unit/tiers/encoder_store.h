/*
 * encoder_store.h: a store whose chunks are encoded on their way down: puts of known content, gets by readers of all kinds, and what must hold of a store's lengths at
 * any time. A chunk's content follows from its number.
 */
#ifndef KVI_TESTS_UNIT_TIERS_ENCODER_STORE_H
#define KVI_TESTS_UNIT_TIERS_ENCODER_STORE_H

#include "encoder_testing.h"

#include "tests/unit/tiers/store_waiting.h"

static const struct kvi_get_terms any_form = {.codings = 1u << KVI_CODING_KVC1};
static const struct kvi_get_terms no_form;

/* Every fifth becomes no smaller. */
static inline enum content content_of(uint64_t number)
{
  return number % 5 == 4 ? TENSOR_NOISE : TENSORS;
}

/* Of few kinds, since making tensors takes its time: those of one kind have equal bytes. */
#define KINDS 10u

static inline const uint8_t *content_bytes(uint64_t number)
{
  static uint8_t *made[KINDS];
  uint32_t kind = (uint32_t)(number % KINDS);

  if (!made[kind])
    made[kind] = content_make(content_of(kind), kind, RAW);
  return made[kind];
}

/* The chunk's table as it was put. */
static inline void table_make(uint64_t number, uint8_t table[KVI_CHUNK_TABLE_HEAD + SEGMENTS * 8],
                              uint32_t lengths[SEGMENTS])
{
  struct kvi_segment segments[SEGMENTS];

  for (uint32_t i = 0; i < SEGMENTS; i++) {
    lengths[i] = RAW / SEGMENTS;
    segments[i] = (struct kvi_segment){
        .length = lengths[i],
        .crc32c = kvi_crc32c_update(0, content_bytes(number) + i * lengths[i], lengths[i])};
  }
  kvi_chunk_table_write(table, segments, SEGMENTS, 0);
}

struct put_to {
  struct kvi_store *store;           /* to this one, or */
  const struct kvi_service *service; /* by way of this one */
  const struct kvi_peer *peer;
  const uint8_t *space;
  uint16_t quality;
};

/* Each key stands alone. */
static inline kvs_status store_put(const struct put_to *to, uint64_t number)
{
  uint8_t key[KEY_BYTES], table[KVI_CHUNK_TABLE_HEAD + SEGMENTS * 8];
  uint32_t lengths[SEGMENTS];
  struct kvi_put_request request = {.space = to->space,
                                    .key = key,
                                    .key_length = KEY_BYTES,
                                    .unchained = true,
                                    .length = RAW,
                                    .n_segments = SEGMENTS,
                                    .segment_lengths = lengths,
                                    .quality = to->quality};
  const uint8_t *from = content_bytes(number);
  struct kvi_landing landing;
  struct kvi_chunk_table read;
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  table_make(number, table, lengths);
  assert_int_equal(kvi_chunk_table_read(table, sizeof(table), &read), KVS_OK);
  status = to->service
               ? to->service->ops->put_begin(to->service->self, to->peer, &request, NULL, NULL, &landing)
               : kvi_store_put_begin(to->store, TENANT, &request, NULL, NULL, &landing);
  if (status != KVS_OK)
    return status;
  for (uint32_t i = 0; i < landing.n_iov; from += landing.iov[i++].length)
    memcpy(landing.iov[i].base, from, landing.iov[i].length);
  for (uint32_t i = 0; i < SEGMENTS; i++)
    landing.segments[i].crc32c = kvi_chunk_table_segment(&read, i).crc32c;
  return to->service ? to->service->ops->put_commit(to->service->self, &landing)
                     : kvi_store_put_commit(to->store, &landing);
}

/* What a source holds is the chunk: as it was put, or coded. */
static inline void source_check(const struct kvi_source *source, uint64_t number, bool coded)
{
  uint8_t table[KVI_CHUNK_TABLE_HEAD + SEGMENTS * 8];
  uint8_t *bytes = malloc(source->table.length), *at = bytes;
  uint32_t lengths[SEGMENTS];

  assert_non_null(bytes);
  for (uint32_t i = 0; i < source->n_iov; at += source->iov[i++].length)
    memcpy(at, source->iov[i].base, source->iov[i].length);
  assert_int_equal(at - bytes, source->table.length);
  at = bytes;
  for (uint32_t i = 0; i < source->table.n_segments; i++) {
    struct kvi_segment segment = kvi_chunk_table_segment(&source->table, i);

    assert_int_equal(kvi_crc32c_update(0, at, segment.length), segment.crc32c);
    at += segment.length;
  }
  table_make(number, table, lengths);
  assert_int_equal(kvi_quality_coding(source->table.quality), coded ? KVI_CODING_KVC1 : KVI_CODING_NONE);
  if (coded) {
    assert_true(decodes_to(bytes, source->table.length, content_bytes(number), RAW, table));
  } else {
    assert_int_equal(source->table.length, RAW);
    assert_memory_equal(bytes, content_bytes(number), RAW);
  }
  free(bytes);
}

/* A get under way. */
struct getting {
  struct kvi_get_wait wait; /* first */
  struct test_wait ended;
  uint32_t cause;
};

static inline void getting_done(struct kvi_get_wait *wait, kvs_status status, uint32_t cause)
{
  struct getting *getting = (struct getting *)wait;

  getting->cause = cause;
  test_wait_end(&getting->ended, status);
}

static inline void getting_init(struct getting *getting, const struct kvi_get_terms *terms)
{
  memset(getting, 0, sizeof(*getting));
  getting->wait.terms = *terms;
  getting->wait.done = getting_done;
  test_wait_init(&getting->ended);
}

/* status: what the open said. */
static inline kvs_status getting_end(struct getting *getting, kvs_status status, struct kvi_source *source_p,
                                     uint32_t *cause_p)
{
  if (status != KVS_PENDING)
    return status;
  status = test_wait_for(&getting->ended);
  *source_p = getting->wait.source;
  *cause_p = getting->cause;
  return status;
}

/* *coded_p: whether it came coded; it is checked. Busy ones are tried again. */
static inline kvs_status store_get(struct kvi_store *store, const uint8_t *space, uint64_t number,
                                   const struct kvi_get_terms *terms, bool *coded_p, uint32_t *cause_p)
{
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
  uint8_t key[KEY_BYTES];
  struct getting getting;
  struct kvi_source source;
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  do {
    getting_init(&getting, terms);
    status = kvi_store_get_open(store, TENANT, space, key, KEY_BYTES, &getting.wait, &source, cause_p);
    status = getting_end(&getting, status, &source, cause_p);
  } while (status == KVS_ERR_BUSY && !kvi_deadline_expired(patience));
  if (status != KVS_OK)
    return status;
  *coded_p = kvi_quality_coding(source.table.quality) != KVI_CODING_NONE;
  source_check(&source, number, *coded_p);
  kvi_store_get_close(store, &source);
  return KVS_OK;
}

/* ---- what holds at any time that nothing is under way ---- */

static inline struct kvi_store_stats store_stats_of(struct kvi_store *store)
{
  struct kvi_store_stats stats;

  kvi_store_stats(store, &stats);
  return stats;
}

static inline struct kvi_space_info space_info(struct kvi_store *store, const uint8_t *space)
{
  struct kvi_space_info infos[4];
  uint64_t cursor = 0;
  size_t n = kvi_store_spaces(store, TENANT, &cursor, infos, 4);

  for (size_t i = 0; i < n; i++)
    if (memcmp(infos[i].digest, space, KVS_DIGEST_SIZE) == 0)
      return infos[i];
  fail_msg("no such space");
  return infos[0];
}

/* The space's bytes are those of its chunks, each of which is as long as the form it has. False too if chunks went between one look and the next. */
static inline bool lengths_fit(struct kvi_store *store, const uint8_t *space)
{
  struct kvi_space_info info = space_info(store, space);
  struct kvi_chunk_info chunks[64];
  uint64_t n = 0, bytes = 0, cursor = 0;
  bool fit = true;

  do {
    size_t got = kvi_store_chunks(store, TENANT, space, &cursor, chunks, 64);

    for (size_t i = 0; i < got; i++) {
      n++;
      bytes += chunks[i].length;
      fit = fit && chunks[i].length > 0 && chunks[i].length <= RAW;
      if (chunks[i].tier == KVI_TIER_DRAM)
        fit = fit && (kvi_quality_coding(chunks[i].quality) == KVI_CODING_NONE) == (chunks[i].length == RAW);
    }
  } while (cursor != 0);
  return fit && info.chunks == n && info.bytes == bytes;
}

/* So it is, and gets are hits and misses. The medium may still be letting chunks go. */
static inline void store_check(struct kvi_store *store, const uint8_t *space)
{
  struct kvi_store_stats stats = store_stats_of(store);
  uint64_t hits = 0, misses = 0;

  AWAIT(lengths_fit(store, space));
  for (uint32_t i = 0; i <= KVI_TIER_GPU; i++)
    hits += stats.tier_hits[i];
  for (uint32_t i = 0; i < KVI_MISS_COUNT; i++)
    misses += stats.get_misses[i];
  assert_int_equal(stats.get_hits, hits);
  assert_true(stats.gets >= hits + misses); /* and those that were told to come again */
}

#endif
