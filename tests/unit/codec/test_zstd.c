/* Level "zstd": there and back, dense and in rows, and frames that no encoder of ours wrote. */
#include "layer_sample.h"

#include "base/bytes.h"

#define CODER (&kvi_codec_zstd)

static const struct kvi_codec_options plain = {.level = KVI_CODEC_ZSTD};

static struct kvi_codec_shape bytes_shape(uint64_t size)
{
  return (struct kvi_codec_shape){.dtype = KVI_CODEC_BYTES, .n_layers = 1, .raw_bytes = size};
}

static void check(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                  uint32_t layer, const uint8_t *raw, bool shrinks)
{
  size_t bytes = (size_t)kvi_codec_layer_bytes(shape, layer);
  struct segment segment = encode_layer(CODER, shape, options, layer, raw), again;
  uint8_t *out = malloc(bytes);

  assert_non_null(out);
  again = encode_layer(CODER, shape, options, layer, raw);
  assert_int_equal(segment.length, again.length);
  assert_memory_equal(segment.bytes, again.bytes, segment.length);
  assert_int_equal(segment.length < bytes, shrinks);
  memset(out, 0xee, bytes);
  assert_int_equal(decode_dense(CODER, shape, layer, segment.bytes, segment.length, out), KVS_OK);
  assert_memory_equal(out, raw, bytes);
  if (shape->dtype != KVI_CODEC_BYTES) {
    memset(out, 0xee, bytes);
    assert_int_equal(decode_strided(CODER, shape, layer, segment.bytes, segment.length, out), KVS_OK);
    assert_memory_equal(out, raw, bytes);
  }
  free(again.bytes);
  free(segment.bytes);
  free(out);
}

static void tensors_come_back(void **state)
{
  static const uint16_t first[3] = {0, 200, 255};
  const struct kvi_codec_shape shapes[] = {
      {.dtype = KVI_CODEC_BF16, .n_layers = 3, .n_tokens = 256, .n_heads = 4, .key_dim = 64, .value_dim = 64},
      {.dtype = KVI_CODEC_BF16, .n_layers = 3, .n_tokens = 256, .n_heads = 1, .key_dim = 576},
      {.dtype = KVI_CODEC_FP16, .n_layers = 3, .n_tokens = 256, .n_heads = 2, .value_dim = 64},
      {.dtype = KVI_CODEC_BF16,
       .n_layers = 3,
       .n_tokens = 256,
       .n_heads = 8,
       .key_dim = 128,
       .value_dim = 64,
       .first_token = first},
  };

  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
    for (uint32_t layer = 0; layer < 3; layer++) {
      struct kvi_codec_shape shape = layer_shape(shapes[i]);
      uint8_t *raw = sample_layer(&shape, layer, i, 1.0f);

      check(&shape, &plain, layer, raw, true);
      free(raw);
    }
}

static void bytes_come_back(void **state)
{
  const size_t sizes[] = {1, 2, 7, 100, 4096, 70000, 300001};
  const int levels[] = {0, 1, 19};
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 3);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++) {
      struct kvi_codec_options options = {.level = KVI_CODEC_ZSTD, .zstd_level = levels[l]};
      struct kvi_codec_shape shape = bytes_shape(sizes[i]);
      uint8_t *raw = malloc(sizes[i]);

      assert_non_null(raw);
      memset(raw, 'k', sizes[i]);
      check(&shape, &options, 0, raw, sizes[i] >= 100);
      for (size_t at = 0; at < sizes[i]; at++)
        raw[at] = (uint8_t)kvi_rand_next(&rand);
      check(&shape, &options, 0, raw, false);
      free(raw);
    }
}

/* A layer above the window, whose frame is no longer all in one. */
static void more_than_a_window_comes_back(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_INT8,
                                                                      .n_layers = 1,
                                                                      .n_tokens = 9000,
                                                                      .n_heads = 1,
                                                                      .key_dim = 512,
                                                                      .value_dim = 512});
  uint8_t *raw = malloc((size_t)shape.raw_bytes);

  (void)state;
  assert_non_null(raw);
  for (size_t i = 0; i < shape.raw_bytes; i++)
    raw[i] = (uint8_t)((i >> 9) * 31 + (i & 15));
  check(&shape, &plain, 0, raw, true);
  free(raw);
}

/* A frame by hand: 1000 sevens in blocks of one value (RFC 8878). */
struct frame {
  uint8_t descriptor, window;
  uint32_t content;
  uint32_t block_sizes[2];
  bool checksum;
};

static size_t write_frame(const struct frame *frame, uint8_t *out)
{
  uint8_t *at = out;

  kvi_store_le32(at, 0xfd2fb528u);
  at[4] = frame->descriptor;
  at += 5;
  if ((frame->descriptor & 0x20u) == 0)
    *at++ = frame->window;
  if ((frame->descriptor & 3u) != 0)
    *at++ = 9; /* a dictionary's number */
  kvi_store_le32(at, frame->content);
  at += 4;
  for (int i = 0; i < 2; i++) {
    uint32_t header = (i == 1) | 1u << 1 | frame->block_sizes[i] << 3;

    *at++ = (uint8_t)header;
    *at++ = (uint8_t)(header >> 8);
    *at++ = (uint8_t)(header >> 16);
    *at++ = 7;
  }
  if (frame->checksum) {
    kvi_store_le32(at, 0x12345678u);
    at += 4;
  }
  return (size_t)(at - out);
}

#define WINDOW(log, eighths) (uint8_t)(((log)-10) << 3 | (eighths))

static void only_frames_of_the_format_are_taken(void **state)
{
  static const struct {
    struct frame frame;
    bool ok;
  } cases[] = {
      {{0x80, WINDOW(20, 0), 1000, {400, 600}, false}, true},
      {{0x80, WINDOW(23, 0), 1000, {400, 600}, false}, true},
      {{0xa0, 0, 1000, {400, 600}, false}, true},
      {{0xa0, 0, 1000, {1000, 0}, false}, true},
      {{0x80, WINDOW(23, 1), 1000, {400, 600}, false}, false},
      {{0x80, WINDOW(31, 0), 1000, {400, 600}, false}, false},
      {{0x80, WINDOW(41, 7), 1000, {400, 600}, false}, false},
      {{0x80, WINDOW(20, 0), 999, {400, 599}, false}, false},
      {{0x80, WINDOW(20, 0), 1001, {400, 600}, false}, false},
      {{0x80, WINDOW(20, 0), 1000, {400, 599}, false}, false},
      {{0x80, WINDOW(20, 0), 1000, {400, 601}, false}, false},
      {{0x80, WINDOW(20, 0), 1000, {1000, 1}, false}, false},
      {{0x80, WINDOW(20, 0), 1000, {1001, 0}, false}, false},
      {{0x81, WINDOW(20, 0), 1000, {400, 600}, false}, false},
      {{0x84, WINDOW(20, 0), 1000, {400, 600}, true}, false},
      {{0x88, WINDOW(20, 0), 1000, {400, 600}, false}, false},
  };
  struct kvi_codec_shape dense = bytes_shape(1000);
  struct kvi_codec_shape rows = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_INT8, .n_layers = 1, .n_tokens = 25, .n_heads = 1, .key_dim = 24, .value_dim = 16});

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint8_t frame[64], out[1000], *exact;
    size_t length = write_frame(&cases[i].frame, frame);
    kvs_status expected = cases[i].ok ? KVS_OK : KVS_ERR_CORRUPT;

    for (int twice = 0; twice < 2; twice++) { /* two frames are never one */
      exact = malloc(length * (twice ? 2 : 1));
      assert_non_null(exact);
      for (int copy = 0; copy <= twice; copy++)
        memcpy(exact + (size_t)copy * length, frame, length);
      expected = twice ? KVS_ERR_CORRUPT : expected;
      assert_int_equal(decode_dense(CODER, &dense, 0, exact, length * (twice ? 2 : 1), out), expected);
      assert_int_equal(decode_strided(CODER, &rows, 0, exact, length * (twice ? 2 : 1), out), expected);
      free(exact);
    }
  }
}

static void damaged_frames_are_harmless(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 1, .n_tokens = 32, .n_heads = 1, .key_dim = 8, .value_dim = 16});
  size_t bytes = (size_t)shape.raw_bytes;
  uint8_t *raw = sample_layer(&shape, 0, 4, 1.0f), *out = malloc(bytes), *damaged;
  struct segment segment;

  (void)state;
  assert_non_null(out);
  for (size_t i = bytes / 3; i < bytes; i++)
    raw[i] = raw[i % 50];
  segment = encode_layer(CODER, &shape, &plain, 0, raw);
  for (size_t length = 0; length < segment.length; length++) {
    damaged = malloc(length + (length == 0));
    assert_non_null(damaged);
    memcpy(damaged, segment.bytes, length);
    assert_int_equal(decode_dense(CODER, &shape, 0, damaged, length, out), KVS_ERR_CORRUPT);
    assert_int_equal(decode_strided(CODER, &shape, 0, damaged, length, out), KVS_ERR_CORRUPT);
    free(damaged);
  }
  for (size_t bit = 0; bit < segment.length * 8; bit++) {
    kvs_status dense, strided;

    damaged = malloc(segment.length);
    assert_non_null(damaged);
    memcpy(damaged, segment.bytes, segment.length);
    damaged[bit / 8] ^= (uint8_t)(1u << (bit & 7));
    dense = decode_dense(CODER, &shape, 0, damaged, segment.length, out);
    strided = decode_strided(CODER, &shape, 0, damaged, segment.length, out);
    assert_true(dense == KVS_OK || dense == KVS_ERR_CORRUPT);
    assert_int_equal(dense, strided);
    free(damaged);
  }
  free(segment.bytes);
  free(out);
  free(raw);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensors_come_back),
      cmocka_unit_test(bytes_come_back),
      cmocka_unit_test(more_than_a_window_comes_back),
      cmocka_unit_test(only_frames_of_the_format_are_taken),
      cmocka_unit_test(damaged_frames_are_harmless),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
