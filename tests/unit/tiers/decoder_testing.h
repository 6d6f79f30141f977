/*
 * decoder_testing.h: coded chunks as open sources, decodes that wait for their end, and a gate in front of the decoder's threads (the program is linked with
 * --wrap=kvi_decode_chunk too).
 */
#ifndef KVI_TESTS_UNIT_TIERS_DECODER_TESTING_H
#define KVI_TESTS_UNIT_TIERS_DECODER_TESTING_H

#include "encoder_testing.h"

#include "store_waiting.h"
#include "tiers/decode_chunk.h"
#include "tiers/decoder.h"

/* ---- the gate ---- */

static struct gate decode_gate = GATE_INITIALIZER;

kvs_status __real_kvi_decode_chunk(const struct kvi_decode_opened *opened, const atomic_bool *canceled,
                                   struct kvi_decoded_chunk *chunk_p);
kvs_status __wrap_kvi_decode_chunk(const struct kvi_decode_opened *opened, const atomic_bool *canceled,
                                   struct kvi_decoded_chunk *chunk_p);

/* NOLINTNEXTLINE(bugprone-reserved-identifier): the linker's name */
kvs_status __wrap_kvi_decode_chunk(const struct kvi_decode_opened *opened, const atomic_bool *canceled,
                                   struct kvi_decoded_chunk *chunk_p)
{
  gate_pass(&decode_gate);
  return __real_kvi_decode_chunk(opened, canceled, chunk_p);
}

/* ---- coded chunks ---- */

#define PIECES_MAX 16u

struct coded_chunk {
  struct test_chunk chunk; /* as it was put */
  struct kvi_encoded_chunk encoded;
  uint8_t *memory; /* where the source's bytes lie */
  struct kvi_iov iov[PIECES_MAX];
  struct kvi_source source;
};

/* The source's bytes lie in so many pieces, each beginning so many bytes behind an aligned address. */
static inline void coded_lay(struct coded_chunk *coded, uint32_t pieces, uint32_t shift)
{
  uint64_t length = coded->encoded.length, at = 0, step = length / pieces;

  assert_in_range(pieces, 1, PIECES_MAX);
  free(coded->memory);
  coded->memory = aligned_alloc(64, (length + pieces * 128 + 127) / 64 * 64);
  assert_non_null(coded->memory);
  for (uint32_t i = 0; i < pieces; i++) {
    uint64_t size = i + 1 == pieces ? length - at : step;
    uint8_t *to = coded->memory + (at + 63) / 64 * 64 + (uint64_t)i * 64 + shift;

    memcpy(to, coded->encoded.payload + at, size);
    coded->iov[i] = (struct kvi_iov){.base = to, .length = size};
    at += size;
  }
  coded->source = (struct kvi_source){
      .iov = coded->iov, .n_iov = pieces, .table = coded->encoded.table, .tier = KVI_TIER_SSD};
}

/* lossy: KVI_CODEC_RAW for none, and then its owner allows any. */
static inline void coded_make(struct coded_chunk *coded, uint64_t number, enum content content,
                              uint32_t length, enum kvi_codec_level lossy, uint32_t planes)
{
  const struct kvi_encode_rules rules = {.tensors = true, .bytes = true, .lossy = lossy, .planes = planes};
  kvs_space_desc desc = tensors_space();
  struct kvi_encode_room room = {0};
  struct kvi_medium_put put;
  struct test_wait wait;

  memset(coded, 0, sizeof(*coded));
  chunk_make(&coded->chunk, number, content, length);
  test_put_fill(&put, &coded->chunk, &wait);
  put.desc = &desc;
  put.table.quality = kvi_quality(0, lossy == KVI_CODEC_RAW ? 0 : KVI_LOSS_MAX, KVI_CODING_NONE);
  assert_int_equal(kvi_encode_chunk(&rules, &put, &room, &coded->encoded), KVS_OK);
  kvi_encode_room_free(&room);
  coded_lay(coded, 1, 0);
}

/* Its table is made anew, for other bytes or another quality. */
static inline void coded_seal(struct coded_chunk *coded, uint16_t quality)
{
  struct kvi_chunk_table *table = &coded->encoded.table;
  struct kvi_segment *segments = calloc(table->n_segments, sizeof(*segments));
  size_t size = kvi_chunk_table_size(table->n_segments);
  const uint8_t *at = coded->encoded.payload;
  uint32_t n = table->n_segments;

  assert_non_null(segments);
  for (uint32_t i = 0; i < n; at += segments[i++].length) {
    segments[i] = kvi_chunk_table_segment(table, i);
    segments[i].crc32c = kvi_crc32c_update(0, at, segments[i].length);
  }
  kvi_chunk_table_write(coded->encoded.table_bytes, segments, n, quality);
  assert_int_equal(kvi_chunk_table_read(coded->encoded.table_bytes, size, table), KVS_OK);
  free(segments);
  coded_lay(coded, 1, 0);
}

static inline void coded_free(struct coded_chunk *coded)
{
  free(coded->memory);
  kvi_encoded_chunk_free(&coded->encoded);
  test_chunk_free(&coded->chunk);
}

/* ---- decodes ---- */

struct decoding {
  struct kvi_decode decode; /* first */
  struct test_wait ended;
};

static inline void decoding_done(struct kvi_decode *decode, kvs_status status)
{
  test_wait_end(&((struct decoding *)decode)->ended, status);
}

static inline kvs_status decoding_start(struct kvi_decoder *decoder, struct coded_chunk *coded,
                                        struct decoding *decoding)
{
  memset(decoding, 0, sizeof(*decoding));
  decoding->decode.coded = &coded->source;
  decoding->decode.done = decoding_done;
  test_wait_init(&decoding->ended);
  return kvi_decoder_start(decoder, &decoding->decode);
}

static inline struct kvi_decoder_stats decoder_stats_of(struct kvi_decoder *decoder)
{
  struct kvi_decoder_stats stats;

  kvi_decoder_stats(decoder, &stats);
  return stats;
}

#endif
