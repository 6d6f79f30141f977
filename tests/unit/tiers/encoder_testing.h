/*
 * encoder_testing.h: chunks of tensors, bytes and noise under known names, what a coded chunk decodes to, and a gate in front of the encoder's workers
 * (the program is linked with --wrap=kvi_encode_chunk).
 */
#ifndef KVI_TESTS_UNIT_TIERS_ENCODER_TESTING_H
#define KVI_TESTS_UNIT_TIERS_ENCODER_TESTING_H

#include "coded_get.h"
#include "gate.h"

#include "tests/unit/codec/codec_testing.h"
#include "tiers/encoder/encode_chunk.h"
#include "tiers/encoder/encoder.h"

#define LAYERS   3u
#define TOKENS   64u
#define RAW      (LAYERS * TOKENS * 2 * 64 * 2)
#define SEGMENTS (2 * LAYERS)

/* Of bf16: a chunk is RAW bytes. */
static inline kvs_space_desc tensors_space(void)
{
  return (kvs_space_desc){.struct_size = sizeof(kvs_space_desc),
                          .model = "tensors",
                          .engine = "test",
                          .layout = KVS_LAYOUT_TENSORS,
                          .key_dtype = KVS_DTYPE_BF16,
                          .value_dtype = KVS_DTYPE_BF16,
                          .layers = LAYERS,
                          .kv_heads = 2,
                          .key_dim = 32,
                          .value_dim = 32,
                          .tokens_per_chunk = TOKENS,
                          .tp_size = 1,
                          .pp_size = 1,
                          .cp_size = 1,
                          .key_length = KEY_BYTES,
                          .chunk_bytes = RAW};
}

enum content { TENSORS, TENSOR_NOISE, TEXT, BYTE_NOISE };

/* RAW bytes that follow from number. Free them. */
static inline uint8_t *content_make(enum content content, uint64_t number, uint32_t length)
{
  kvs_space_desc desc = tensors_space();
  struct kvi_codec_shape shape;
  uint8_t *bytes;

  if (content == TENSORS || content == TENSOR_NOISE) {
    assert_int_equal(length, RAW);
    assert_int_equal(kvi_coded_shape(&desc, RAW, 1, false, &shape), KVS_OK);
    return sample_raw(&shape, content == TENSORS ? SAMPLE_GAUSSIAN : SAMPLE_NOISE, number + 1);
  }
  bytes = malloc(length);
  assert_non_null(bytes);
  test_bytes(number, bytes, length);
  for (uint32_t i = 0; content == TEXT && i < length; i++)
    bytes[i] = (uint8_t)("kvasir guards the well of wisdom"[i % 32] ^ (bytes[i] & 1));
  return bytes;
}

/* Sealed for what its bytes are now. */
static inline void chunk_seal(struct test_chunk *chunk)
{
  struct kvi_segment *segments = calloc(chunk->n_segments, sizeof(*segments));
  uint32_t at = 0;

  assert_non_null(segments);
  for (uint32_t i = 0; i < chunk->n_segments; i++) {
    segments[i].length = i + 1 == chunk->n_segments ? chunk->length - at : chunk->length / chunk->n_segments;
    segments[i].crc32c = kvi_crc32c_update(0, chunk->bytes + at, segments[i].length);
    at += segments[i].length;
  }
  kvi_chunk_table_write(chunk->table, segments, chunk->n_segments, 0);
  free(segments);
}

static inline void chunk_make(struct test_chunk *chunk, uint64_t number, enum content content,
                              uint32_t length)
{
  uint8_t *bytes = content_make(content, number, length);

  test_chunk_make(chunk, number, length, SEGMENTS);
  memcpy(chunk->bytes, bytes, length);
  free(bytes);
  chunk_seal(chunk);
}

/* ---- gets ---- */

/* stored: its length, as put or recovery told it. Free got->wait.landed. */
static inline kvs_status got_get(struct kvi_medium *medium, const struct test_chunk *chunk,
                                 kvi_medium_handle handle, uint64_t stored, struct got *got)
{
  struct kvi_medium_get get = test_get_of(chunk, handle, &got->wait);
  kvs_status status;

  memset(got, 0, sizeof(*got));
  test_wait_init(&got->wait);
  get.length = stored;
  get.land = got_land;
  status = medium->ops->get(medium, &get);
  if (status == KVS_OK)
    status = test_wait_for(&got->wait);
  test_wait_released(&got->wait);
  return status;
}

/* What is kept is coded, and decodes to the chunk; or is the chunk as it was put. */
static inline void check_kept(struct kvi_medium *medium, const struct test_chunk *chunk,
                              kvi_medium_handle handle, uint64_t stored, bool coded)
{
  struct got got;

  assert_int_equal(got_get(medium, chunk, handle, stored, &got), KVS_OK);
  assert_int_equal(got.wait.length, stored);
  if (coded) {
    assert_int_equal(got.quality, kvi_quality(0, 0, KVI_CODING_KVC1));
    assert_true(stored < chunk->length);
    assert_true(decodes_to(got.wait.landed, stored, chunk->bytes, chunk->length, chunk->table));
  } else {
    assert_int_equal(got.quality, 0);
    assert_int_equal(got.n_segments, chunk->n_segments);
    assert_int_equal(stored, chunk->length);
    assert_memory_equal(got.wait.landed, chunk->bytes, stored);
  }
  free(got.wait.landed);
}

/* ---- the gate ---- */

static struct gate gate = GATE_INITIALIZER;

kvs_status __real_kvi_encode_chunk(const struct kvi_encode_rules *rules, const struct kvi_medium_put *put,
                                   struct kvi_encode_room *room, struct kvi_encoded_chunk *chunk_p);
kvs_status __wrap_kvi_encode_chunk(const struct kvi_encode_rules *rules, const struct kvi_medium_put *put,
                                   struct kvi_encode_room *room, struct kvi_encoded_chunk *chunk_p);

/* NOLINTNEXTLINE(bugprone-reserved-identifier): the linker's name */
kvs_status __wrap_kvi_encode_chunk(const struct kvi_encode_rules *rules, const struct kvi_medium_put *put,
                                   struct kvi_encode_room *room, struct kvi_encoded_chunk *chunk_p)
{
  gate_pass(&gate);
  return __real_kvi_encode_chunk(rules, put, room, chunk_p);
}

static inline struct kvi_medium_stats stats_of(struct kvi_medium *medium)
{
  struct kvi_medium_stats stats = {0};

  medium->ops->stats(medium, &stats);
  return stats;
}

#endif
