/* Coded payloads: what was put comes back, layer by layer and as soon as it can; damage and cuts are refused. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/proto/coded_sample.h"
#include "tests/unit/proto/testing.h"

#define N_LAYERS   3u
#define N_SEGMENTS (2 * N_LAYERS)

static const kvs_space_desc space = {.struct_size = sizeof(space),
                                     .layout = KVS_LAYOUT_TENSORS,
                                     .key_dtype = KVS_DTYPE_BF16,
                                     .value_dtype = KVS_DTYPE_BF16,
                                     .layers = N_LAYERS,
                                     .kv_heads = 2,
                                     .key_dim = 32,
                                     .value_dim = 32,
                                     .tokens_per_chunk = 64,
                                     .chunk_bytes = (uint64_t)N_LAYERS * 64 * 2 * 64 * 2};

/* A chunk as it was put, what it is encoded to, and room to decode it. */
struct chunk {
  struct coded_sample sample;
  uint8_t *decoded;
};

static void make(struct chunk *chunk, enum kvi_codec_level level, uint32_t planes)
{
  coded_sample_make(&chunk->sample, level, planes, N_LAYERS, N_SEGMENTS, 1);
  assert_int_equal(chunk->sample.shape.raw_bytes, space.chunk_bytes);
  chunk->decoded = calloc(1, space.chunk_bytes);
  assert_non_null(chunk->decoded);
}

static void unmake(struct chunk *chunk)
{
  coded_sample_free(&chunk->sample);
  free(chunk->decoded);
}

static void what_was_put_comes_back(void **state)
{
  struct kvi_segment segments[KVI_SEGMENTS_MAX];
  struct kvi_coded coded;
  struct chunk chunk;
  uint64_t sum = 0;
  uint32_t n;

  (void)state;
  make(&chunk, KVI_CODEC_LOSSLESS, 0);
  assert_in_range(chunk.sample.length, 1, space.chunk_bytes - 1);
  assert_int_equal(kvi_coded_open(chunk.sample.payload, chunk.sample.length, chunk.sample.length, &coded),
                   KVS_OK);
  assert_int_equal(coded.raw.n_segments, N_SEGMENTS);
  for (uint32_t layer = 0; layer < N_LAYERS; layer++)
    assert_int_equal(kvi_coded_layer(&coded, layer, chunk.sample.payload,
                                     chunk.decoded + kvi_codec_layer_offset(&coded.object.shape, layer)),
                     KVS_OK);
  assert_memory_equal(chunk.sample.raw, chunk.decoded, space.chunk_bytes);

  n = kvi_coded_segments(&coded, chunk.sample.payload, segments, KVI_SEGMENTS_MAX);
  assert_int_equal(n, 1 + N_LAYERS);
  assert_int_equal(kvi_coded_segments(&coded, chunk.sample.payload, segments, 2), n);
  for (uint32_t i = 0; i < n; i++) {
    assert_int_equal(kvi_crc32c_update(0, chunk.sample.payload + sum, segments[i].length),
                     segments[i].crc32c);
    sum += segments[i].length;
  }
  assert_int_equal(sum, chunk.sample.length);
  unmake(&chunk);
}

/* A layer needs no byte of the layers behind it: those are overwritten before it is decoded. */
static void layers_decode_as_they_come(void **state)
{
  struct kvi_coded coded;
  struct chunk chunk;

  (void)state;
  make(&chunk, KVI_CODEC_LOSSLESS, 0);
  for (uint32_t layer = N_LAYERS; layer-- > 0;) {
    uint64_t end;

    assert_int_equal(kvi_coded_open(chunk.sample.payload, chunk.sample.length, chunk.sample.length, &coded),
                     KVS_OK);
    end = kvi_coded_layer_end(&coded, layer);
    assert_true(layer + 1 < N_LAYERS ? end < chunk.sample.length : end == chunk.sample.length);
    memset(chunk.sample.payload + end, 0xA5, chunk.sample.length - end);
    assert_int_equal(kvi_coded_open(chunk.sample.payload, end, chunk.sample.length, &coded), KVS_OK);
    assert_int_equal(kvi_coded_layer(&coded, layer, chunk.sample.payload, chunk.decoded), KVS_OK);
    assert_memory_equal(chunk.sample.raw + kvi_codec_layer_offset(&chunk.sample.shape, layer), chunk.decoded,
                        kvi_codec_layer_bytes(&chunk.sample.shape, layer));
  }
  assert_int_equal(kvi_coded_layer(&coded, N_LAYERS, chunk.sample.payload, chunk.decoded), KVS_ERR_INVALID);
  unmake(&chunk);
}

static void test_cut(const struct kvi_coded *whole, const struct chunk *chunk)
{
  struct kvi_segment segments[KVI_SEGMENTS_MAX];
  struct kvi_coded_rest rest;
  uint64_t sum = 0;

  assert_false(kvi_coded_cut(whole, chunk->sample.payload, kvi_quality(2, 2, KVI_CODING_KVC1), 2, &rest));
  assert_true(kvi_coded_cut(whole, chunk->sample.payload, kvi_quality(2, 2, KVI_CODING_KVC1), 3,
                            &rest)); /* a reader's */
  assert_int_equal(rest.quality, kvi_quality(3, 2, KVI_CODING_KVC1));
  /* it had lost more before it was encoded */
  assert_true(kvi_coded_cut(whole, chunk->sample.payload, kvi_quality(3, 4, KVI_CODING_KVC1), 3, &rest));
  assert_int_equal(rest.quality, kvi_quality(3, 4, KVI_CODING_KVC1));
  assert_int_equal(kvi_coded_cut_loss(whole, kvi_quality(4, 4, KVI_CODING_KVC1)), 4);
  assert_false(kvi_coded_cut(whole, chunk->sample.payload, kvi_quality(4, 4, KVI_CODING_KVC1), 3, &rest));
  assert_true(kvi_coded_cut(whole, chunk->sample.payload, kvi_quality(2, 4, KVI_CODING_KVC1), 4, &rest));
  assert_int_equal(rest.length, whole->object_at + whole->object.quality_end[1]);
  assert_int_equal(rest.quality, kvi_quality(3, 4, KVI_CODING_KVC1));
  assert_in_range(kvi_coded_segments(whole, chunk->sample.payload, segments, KVI_SEGMENTS_MAX),
                  rest.n_segments + 1, KVI_SEGMENTS_MAX);
  for (uint32_t i = 0; i < rest.n_segments; i++)
    sum += segments[i].length;
  assert_int_equal(sum, rest.length);
}

static void planes_may_be_cut(void **state)
{
  struct kvi_coded whole, cut;
  struct chunk chunk;

  (void)state;
  make(&chunk, KVI_CODEC_LADDER, 2);
  assert_int_equal(kvi_coded_open(chunk.sample.payload, chunk.sample.length, chunk.sample.length, &whole),
                   KVS_OK);
  assert_int_equal(whole.planes, 2);
  for (uint32_t planes = 0; planes < 2; planes++) {
    uint64_t length = whole.object_at + whole.object.quality_end[planes];

    assert_int_equal(kvi_coded_open(chunk.sample.payload, length, length, &cut), KVS_OK);
    assert_int_equal(cut.planes, planes);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++)
      assert_int_equal(kvi_coded_layer(&cut, layer, chunk.sample.payload, chunk.decoded), KVS_OK);
    assert_int_equal(kvi_coded_open(chunk.sample.payload, length - 1, length - 1, &cut), KVS_ERR_CORRUPT);
  }
  test_cut(&whole, &chunk);
  assert_int_equal(kvi_coded_loss(KVI_CODEC_LOSSLESS, 0), 0);
  assert_true(kvi_coded_loss(KVI_CODEC_LADDER, 2) < kvi_coded_loss(KVI_CODEC_LADDER, 0));
  assert_true(kvi_coded_loss(KVI_CODEC_LADDER, 0) < kvi_coded_loss(KVI_CODEC_CACHEGEN, 0));
  unmake(&chunk);
}

/* ---- segments ---- */

#define MANY 1023u

/* What the chunk's own table has of an object, by each segment's place. */
static uint32_t segments_by_place(const struct kvi_coded *coded, const uint8_t *bytes,
                                  struct kvi_segment *segments)
{
  uint64_t at = coded->head_length;
  uint32_t n = 1;

  segments[0] = (struct kvi_segment){.length = coded->head_length,
                                     .crc32c = kvi_crc32c_update(0, bytes, coded->head_length)};
  for (uint32_t quality = 0; quality <= coded->planes; quality++)
    for (uint32_t layer = 0; layer < coded->object.shape.n_layers; layer++) {
      struct kvi_codec_segment segment = kvi_codec_segment_at(&coded->object, quality, layer);

      assert_int_equal(coded->object_at + segment.offset, at);
      at += segment.length;
      if (segment.length > 0)
        segments[n++] = (struct kvi_segment){.length = segment.length, .crc32c = segment.crc32c};
    }
  return n;
}

/* Every third layer has a NaN, so that it is coded without loss and nothing is in its planes. */
static void segments_of_many_layers_some_of_which_have_no_planes(void **state)
{
  static struct kvi_segment expected[KVI_SEGMENTS_MAX], segments[KVI_SEGMENTS_MAX];
  struct coded_sample sample;
  struct kvi_coded coded;
  struct kvi_coded_rest rest;

  (void)state;
  coded_sample_make(&sample, KVI_CODEC_LADDER, 3, MANY, 1, 3);
  for (uint32_t layer = 0; layer < MANY; layer += 3) {
    uint8_t *raw = sample.raw + kvi_codec_layer_offset(&sample.shape, layer);

    for (uint64_t at = 0; at < kvi_codec_layer_bytes(&sample.shape, layer); at += 64)
      memcpy(raw + at, "\xC0\x7F", 2);
  }
  coded_sample_seal(&sample, 1);
  coded_sample_encode(&sample);
  assert_int_equal(kvi_coded_open(sample.payload, sample.length, sample.length, &coded), KVS_OK);
  for (coded.planes = 3;; coded.planes--) {
    uint32_t n = segments_by_place(&coded, sample.payload, expected);

    assert_int_equal(n, 1 + MANY + coded.planes * (MANY - MANY / 3));
    assert_int_equal(kvi_coded_segments(&coded, sample.payload, NULL, 0), n);
    assert_int_equal(kvi_coded_segments(&coded, sample.payload, segments, KVI_SEGMENTS_MAX), n);
    assert_memory_equal(segments, expected, n * sizeof(*segments));
    if (coded.planes == 0)
      break;
    assert_true(kvi_coded_cut(&coded, sample.payload, sample.quality, KVI_LOSS_MAX, &rest));
    assert_int_equal(rest.n_segments, n - (MANY - MANY / 3));
  }
  coded_sample_free(&sample);
}

static void damage_is_refused(void **state)
{
  struct kvi_coded coded;
  struct chunk chunk;
  uint64_t room;

  (void)state;
  make(&chunk, KVI_CODEC_LOSSLESS, 0);
  room = coded_sample_room(&chunk.sample);
  assert_int_equal(kvi_coded_open(chunk.sample.payload, chunk.sample.length, chunk.sample.length, &coded),
                   KVS_OK);
  for (uint32_t size = 0; size < coded.head_length; size++)
    assert_int_equal(kvi_coded_open(chunk.sample.payload, size, chunk.sample.length, &(struct kvi_coded){0}),
                     KVS_ERR_CORRUPT);
  for (uint32_t at = 0; at < coded.head_length; at++) {
    chunk.sample.payload[at] ^= 0x10;
    assert_true(kvi_coded_open(chunk.sample.payload, chunk.sample.length, chunk.sample.length,
                               &(struct kvi_coded){0}) < 0);
    chunk.sample.payload[at] ^= 0x10;
  }
  chunk.sample.payload[chunk.sample.length - 1] ^= 1;
  assert_int_equal(kvi_coded_layer(&coded, N_LAYERS - 1, chunk.sample.payload, chunk.decoded),
                   KVS_ERR_CORRUPT);
  assert_int_equal(kvi_coded_layer(&coded, 0, chunk.sample.payload, chunk.decoded), KVS_OK);

  assert_int_equal(coded_sample_try(&chunk.sample, room - 1), KVS_ERR_BUFFER);
  chunk.sample.raw[5] ^= 1; /* what is encoded has to be what was put */
  assert_int_equal(coded_sample_try(&chunk.sample, room), KVS_ERR_CORRUPT);
  unmake(&chunk);
}

static void what_is_no_tensor_is_bytes(void **state)
{
  kvs_space_desc other = space;
  struct kvi_codec_shape shape;

  (void)state;
  assert_int_equal(kvi_coded_shape(&space, space.chunk_bytes, 3, false, &shape), KVS_OK);
  assert_int_equal(shape.dtype, KVI_CODEC_BF16);
  assert_int_equal(shape.start, 3 * 64);
  assert_int_equal(kvi_coded_shape(&space, space.chunk_bytes, 0, true, &shape), KVS_OK);
  assert_true(shape.start > 3); /* nobody knows where it stands: no sinks */
  assert_int_equal(kvi_coded_shape(&space, space.chunk_bytes, UINT32_MAX, false, &shape), KVS_OK);
  assert_true(shape.start > 3);
  assert_int_equal(kvi_coded_shape(&space, space.chunk_bytes - 2, 0, false, &shape), KVS_OK);
  assert_int_equal(shape.dtype, KVI_CODEC_BYTES);
  other.value_dtype = KVS_DTYPE_F16;
  assert_int_equal(kvi_coded_shape(&other, space.chunk_bytes, 0, false, &shape), KVS_OK);
  assert_int_equal(shape.dtype, KVI_CODEC_BYTES);
  other = space;
  other.layout = KVS_LAYOUT_OPAQUE;
  assert_int_equal(kvi_coded_shape(&other, space.chunk_bytes, 0, false, &shape), KVS_OK);
  assert_int_equal(shape.dtype, KVI_CODEC_BYTES);
  assert_int_equal(kvi_coded_shape(NULL, 17, 0, false, &shape), KVS_OK);
  assert_int_equal(shape.raw_bytes, 17);
  assert_int_equal(kvi_coded_shape(NULL, 0, 0, false, &shape), KVS_ERR_UNSUPPORTED);
}

static void bytes_come_back(void **state)
{
  struct kvi_coded coded;
  struct chunk chunk;

  (void)state;
  make(&chunk, KVI_CODEC_LOSSLESS, 0);
  assert_int_equal(kvi_coded_shape(NULL, space.chunk_bytes, 0, false, &chunk.sample.shape), KVS_OK);
  chunk.sample.options = (struct kvi_codec_options){.level = KVI_CODEC_ZSTD};
  memset(chunk.sample.raw, 7, space.chunk_bytes / 2);
  coded_sample_seal(&chunk.sample, 1);
  coded_sample_encode(&chunk.sample);
  assert_in_range(chunk.sample.length, 1, space.chunk_bytes * 3 / 4);
  assert_int_equal(kvi_coded_open(chunk.sample.payload, chunk.sample.length, chunk.sample.length, &coded),
                   KVS_OK);
  assert_int_equal(kvi_coded_layer(&coded, 0, chunk.sample.payload, chunk.decoded), KVS_OK);
  assert_memory_equal(chunk.sample.raw, chunk.decoded, space.chunk_bytes);
  unmake(&chunk);
}

/* Whatever a chunk of a model's shape is encoded with: a node sends it to those who have room for the chunk. */
static void none_is_longer_than_the_longest(void **state)
{
  static const uint32_t dims[] = {64, 80, 128, 576};

  (void)state;
  for (uint32_t i = 0; i < 4 * 3 * 4; i++) {
    struct kvi_codec_shape shape = {.dtype = i % 3 == 0 ? KVI_CODEC_INT8 : KVI_CODEC_BF16,
                                    .n_layers = i % 2 ? 1 : 128,
                                    .n_tokens = 16u << i / 12 * 2,
                                    .n_heads = 1 + i % 5,
                                    .key_dim = dims[i % 4],
                                    .value_dim = dims[i % 4]};
    static const enum kvi_codec_level levels[] = {KVI_CODEC_LADDER, KVI_CODEC_LOSSLESS, KVI_CODEC_CACHEGEN,
                                                  KVI_CODEC_RAW};
    struct kvi_codec_options options = {.level = levels[i / 3 % 4],
                                        .planes = levels[i / 3 % 4] == KVI_CODEC_LADDER ? 3 : 0};

    for (uint32_t layer = 0; layer < shape.n_layers; layer++)
      shape.raw_bytes += kvi_codec_layer_bytes(&shape, layer);
    assert_int_equal(kvi_codec_shape_check(&shape), KVS_OK);
    assert_true(kvi_coded_bound(&shape, &options, KVI_SEGMENTS_MAX) <= kvi_coded_longest(shape.raw_bytes));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(none_is_longer_than_the_longest),
      cmocka_unit_test(what_was_put_comes_back),
      cmocka_unit_test(layers_decode_as_they_come),
      cmocka_unit_test(planes_may_be_cut),
      cmocka_unit_test(segments_of_many_layers_some_of_which_have_no_planes),
      cmocka_unit_test(damage_is_refused),
      cmocka_unit_test(what_is_no_tensor_is_bytes),
      cmocka_unit_test(bytes_come_back),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
